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
    let opened = models.open(kerbside_config::models_folder(config).as_deref());
    let names = opened.as_ref().map(ModelFolder::names).unwrap_or_default();
    let catalogue = Catalogue { operators: kerbside_operators::TABLE, models: &names };
    let settings = match kerbside_config::load(config, &catalogue) {
        Ok(settings) => settings,
        Err(error) => {
            report(&error);
            return Ok(None);
        }
    };
    let folder = opened?;
    let mut used: Vec<&str> = settings.cameras.iter().map(|camera| camera.detector.model.as_str()).collect();
    used.sort_unstable();
    used.dedup();
    let mut sound = true;
    for model in used {
        if let Err(error) = folder.manifest(model) {
            complain(&format!("{:#}", anyhow::Error::from(error)));
            sound = false;
        }
    }
    Ok(sound.then_some((folder, settings)))
}

/// Logs what a camera's file allows and its writer may not expect.
pub(crate) fn log_notes(camera: &CameraSettings) {
    for note in &camera.notes {
        tracing::info!(camera = %camera.name, "{note}");
    }
}

/// Prints the problems of a configuration.
pub(crate) fn report(error: &ConfigError) {
    let problems = error.problems();
    for problem in problems {
        complain(&problem.to_string());
    }
    complain(&counted(problems.len(), "problem"));
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
