//! `kerbside check`: every problem of a configuration in one report, without camera, model or network.

use std::path::{Path, PathBuf};

use clap::Args;
use kerbside_config::{BYTES_PER_NUMBER, CameraSettings, Catalogue, ConfigError, Settings};
use kerbside_models::ModelFolder;

use crate::Outcome;
use crate::models::ModelsArgument;
use crate::output::{complain, say};

/// Checks a configuration and prints every problem as `file:line:col: key.path: what is wrong; what is allowed`.
///
/// Touches no camera, loads no model and needs no network. Exit code 2 when there is a problem. A note, marked as such,
/// is none: it tells what may surprise, such as a number that a privacy profile does not release.
#[derive(Args)]
pub(crate) struct Check {
    /// The folder with node.yaml and cameras/*.yaml
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    #[command(flatten)]
    models: ModelsArgument,
}

impl Check {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let Some((_, settings)) = load(&self.config, &self.models)? else { return Ok(Outcome::Refused) };
        let cameras = counted(settings.cameras.len(), "camera");
        let mut text = format!("node {}: {cameras}, no problems\n", settings.node.name);
        for camera in &settings.cameras {
            for note in &camera.notes {
                complain(&note.to_string());
            }
            let operators: Vec<&str> = camera.operators.iter().map(|named| named.name).collect();
            let (name, numbers) = (&camera.name, camera.numbers_per_day());
            text.push_str(&format!(
                "camera {name}: {} at {} fps, {}\n\
                 camera {name}: profile {}, ε {:.3} a passage, {}, at most {numbers} numbers ({} bytes) a day\n",
                camera.detector.model,
                camera.analyse_fps,
                operators.join(", "),
                camera.privacy.profile.name(),
                f64::from(camera.privacy.epsilon.passage) / 1000.0,
                counted(camera.released_cells().count(), "counter"),
                BYTES_PER_NUMBER * numbers,
            ));
        }
        say(&text)?;
        Ok(Outcome::Done)
    }
}

/// The models folder and the configuration, or `None` after the problems of either were printed.
pub(crate) fn load(config: &Path, models: &ModelsArgument) -> anyhow::Result<Option<(ModelFolder, Settings)>> {
    match read(config, models)? {
        Ok(loaded) => Ok(Some(loaded)),
        Err(problems) => {
            complain_of(&problems);
            Ok(None)
        }
    }
}

/// The models folder and the configuration, or the problems of either.
pub(crate) fn read(
    config: &Path,
    models: &ModelsArgument,
) -> anyhow::Result<Result<(ModelFolder, Settings), Vec<String>>> {
    let opened = models.open(kerbside_config::models_folder(config).as_deref());
    let names = opened.as_ref().map(ModelFolder::names).unwrap_or_default();
    let catalogue = Catalogue { operators: kerbside_operators::TABLE, models: &names };
    let settings = match kerbside_config::load(config, &catalogue) {
        Ok(settings) => settings,
        Err(error) => return Ok(Err(texts(&error))),
    };
    let folder = opened?;
    let mut used: Vec<&str> = settings.cameras.iter().map(|camera| camera.detector.model.as_str()).collect();
    used.sort_unstable();
    used.dedup();
    let problems: Vec<String> = used
        .into_iter()
        .filter_map(|model| folder.manifest(model).err())
        .map(|error| format!("{:#}", anyhow::Error::from(error)))
        .collect();
    Ok(if problems.is_empty() { Ok((folder, settings)) } else { Err(problems) })
}

/// Logs what a camera's file allows and its writer may not expect.
pub(crate) fn log_notes(camera: &CameraSettings) {
    for note in &camera.notes {
        tracing::info!(camera = %camera.name, "{note}");
    }
}

/// Prints the problems of a configuration.
pub(crate) fn report(error: &ConfigError) {
    complain_of(&texts(error));
}

fn texts(error: &ConfigError) -> Vec<String> {
    error.problems().iter().map(ToString::to_string).collect()
}

fn complain_of(problems: &[String]) {
    problems.iter().for_each(|problem| complain(problem));
    complain(&counted(problems.len(), "problem"));
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
