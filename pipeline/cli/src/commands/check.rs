//! `kerbside check`: every problem of a configuration in one report, without camera, model or network.

use std::path::{Path, PathBuf};

use clap::Args;
use kerbside_config::{Catalogue, ConfigError, Settings};
use kerbside_models::ModelFolder;

use crate::Outcome;
use crate::models::ModelsArgument;
use crate::output::{complain, say};

/// Checks a configuration and prints every problem as `file:line:col: key.path: what is wrong; what is allowed`.
///
/// Touches no camera, loads no model and needs no network. Exit code 2 when there is a problem.
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
        let folder = self.models.open(configured_models(&self.config).as_deref())?;
        let Some(settings) = load(&self.config, &folder) else { return Ok(Outcome::Refused) };
        let mut text = format!("node {}: {} cameras, no problems\n", settings.node.name, settings.cameras.len());
        for camera in &settings.cameras {
            let operators: Vec<&str> = camera.operators.iter().map(|named| named.name).collect();
            text.push_str(&format!(
                "camera {}: {} at {} fps, {}\n",
                camera.name,
                camera.detector.model,
                camera.analyse_fps,
                operators.join(", ")
            ));
        }
        say(&text)?;
        Ok(Outcome::Done)
    }
}

/// The models folder that node.yaml names, as far as the file can be read at all; its problems are
/// reported by [`load`].
pub(crate) fn configured_models(config: &Path) -> Option<PathBuf> {
    kerbside_config::models_folder(config)
}

/// The configuration, or `None` after its problems were printed.
pub(crate) fn load(config: &Path, folder: &ModelFolder) -> Option<Settings> {
    let names = folder.names();
    let catalogue = Catalogue { operators: kerbside_operators::TABLE, models: &names };
    match kerbside_config::load(config, &catalogue) {
        Ok(settings) => Some(settings),
        Err(error) => {
            report(&error);
            None
        }
    }
}

/// Prints the problems of a configuration.
pub(crate) fn report(error: &ConfigError) {
    let problems = error.problems();
    for problem in problems {
        complain(&problem.to_string());
    }
    let count = problems.len();
    complain(&format!("{count} {}", if count == 1 { "problem" } else { "problems" }));
}
