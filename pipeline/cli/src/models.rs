//! Where the models are, and what runs them.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;
use kerbside_models::{EngineChoice, ModelFolder, NoSuchEngine};

use crate::output::Refusal;

/// Where models lie once Kerbside is installed.
const INSTALLED: &str = "/usr/share/kerbside/models";

/// The models folder, for every command that needs one.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModelsArgument {
    /// The folder of models: one folder a model, with its manifest.yaml [default: ./models, or models/ beside
    /// or above this program, or /usr/share/kerbside/models]
    #[arg(long, value_name = "DIR", env = "KERBSIDE_MODELS", hide_env_values = true)]
    models: Option<PathBuf>,
}

/// What runs the networks, for every command that loads a model.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct EngineArgument {
    /// What runs the networks: auto (the best for this processor), tract, or the int8 engine with certain
    /// instructions: avx512-vnni, avx-vnni, avx2, portable or reference
    #[arg(
        id = "engine",
        long = "engine",
        value_name = "NAME",
        default_value = "auto",
        env = "KERBSIDE_ENGINE",
        hide_env_values = true,
        value_parser = engine
    )]
    pub(crate) choice: EngineChoice,
}

/// An empty variable is one that is not set.
fn engine(name: &str) -> Result<EngineChoice, NoSuchEngine> {
    if name.is_empty() { Ok(EngineChoice::Auto) } else { name.parse() }
}

impl ModelsArgument {
    /// Opens the folder that the command line names, else the one that the configuration names, else the
    /// first of the usual places that holds a model.
    pub(crate) fn open(&self, configured: Option<&Path>) -> anyhow::Result<ModelFolder> {
        if let Some(named) = self.models.as_deref().or(configured) {
            return Ok(ModelFolder::open(named)?);
        }
        let mut places = vec![PathBuf::from("models")];
        if let Ok(program) = env::current_exe() {
            places.extend(program.ancestors().skip(1).map(|folder| folder.join("models")));
        }
        places.push(PathBuf::from(INSTALLED));
        for place in places {
            if let Ok(folder) = ModelFolder::open(&place)
                && !folder.names().is_empty()
            {
                return Ok(folder);
            }
        }
        Err(Refusal("no models folder was found; name one with --models DIR".to_owned()).into())
    }
}
