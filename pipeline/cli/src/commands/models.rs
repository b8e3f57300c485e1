//! `kerbside models`: which detectors there are, and whether their files are what their manifests say.

use std::fmt::Write as _;

use clap::{Args, Subcommand};

use crate::Outcome;
use crate::models::ModelsArgument;
use crate::output::{complain, say};

/// Lists detectors, or verifies their files.
#[derive(Args)]
pub(crate) struct Models {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the models of the models folder
    List {
        #[command(flatten)]
        models: ModelsArgument,
    },
    /// Compares each model's file with the size and SHA-256 of its manifest, and loads it. Exit code 2 when one is wrong
    Verify {
        /// The model to verify [default: all]
        name: Option<String>,
        #[command(flatten)]
        models: ModelsArgument,
    },
}

impl Models {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::List { models } => list(&models),
            Command::Verify { name, models } => verify(name, &models),
        }
    }
}

fn list(models: &ModelsArgument) -> anyhow::Result<Outcome> {
    let folder = models.open(None)?;
    let mut text = String::new();
    let mut sound = true;
    for (name, manifest) in folder.manifests() {
        match manifest {
            Ok(manifest) => writeln!(
                text,
                "{name}  {}, {} head, pictures scaled to {} pixels, {:.1} MB, licence {}",
                manifest.id(),
                manifest.head.name(),
                manifest.input.default_long_side,
                manifest.size_bytes as f64 / 1e6,
                manifest.license
            )?,
            Err(error) => {
                complain(&format!("{name}: {:#}", anyhow::Error::from(error)));
                sound = false;
            }
        }
    }
    say(&text)?;
    Ok(if sound { Outcome::Done } else { Outcome::Refused })
}

fn verify(name: Option<String>, models: &ModelsArgument) -> anyhow::Result<Outcome> {
    let folder = models.open(None)?;
    let mut sound = true;
    let names = name.map_or_else(|| folder.names(), |name| vec![name]);
    for name in names {
        match folder.verify(&name).and_then(|verified| folder.load(&name).map(|_| verified)) {
            Ok(verified) => {
                say(&format!("{name}: ok, {} bytes, sha256 {}\n", verified.size_bytes, verified.sha256))?
            }
            Err(error) => {
                complain(&format!("{:#}", anyhow::Error::from(error)));
                sound = false;
            }
        }
    }
    Ok(if sound { Outcome::Done } else { Outcome::Refused })
}
