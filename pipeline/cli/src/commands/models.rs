//! `kerbside models`: which detectors there are, whether their files are what their manifests say, and what runs
//! which of their layers.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use kerbside_core::frame::PictureSize;
use serde::Serialize;

use crate::Outcome;
use crate::layers::{Layer, Summary, shape, table};
use crate::models::{EngineArgument, ModelsArgument};
use crate::output::{complain, say};
use crate::picture;

/// Lists detectors, verifies their files, or explains how they run.
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
        #[command(flatten)]
        engine: EngineArgument,
    },
    Explain(Explain),
}

/// Prints a model's layers and what runs each of them on this processor
#[derive(Args)]
struct Explain {
    /// The model
    #[arg(value_name = "MODEL")]
    name: String,
    /// The picture's height and width in pixels
    #[arg(long, value_name = "HxW", default_value = "320x416", value_parser = picture::shape)]
    shape: PictureSize,
    /// Prints one line of JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    models: ModelsArgument,
    #[command(flatten)]
    engine: EngineArgument,
}

/// What `explain` knows.
#[derive(Serialize)]
struct Explained<'a> {
    model: &'a str,
    network_shape: String,
    layers: Vec<Layer<'a>>,
    summary: &'a Summary,
}

impl Models {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::List { models } => list(&models),
            Command::Verify { name, models, engine } => verify(name, &models, engine),
            Command::Explain(explain) => explain.execute(),
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

fn verify(name: Option<String>, models: &ModelsArgument, engine: EngineArgument) -> anyhow::Result<Outcome> {
    let folder = models.open(None)?;
    let mut sound = true;
    let names = name.map_or_else(|| folder.names(), |name| vec![name]);
    for name in names {
        let loaded = |verified| folder.load_for(&name, engine.choice).map(|_| verified);
        match folder.verify(&name).and_then(loaded) {
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

impl Explain {
    fn execute(self) -> anyhow::Result<Outcome> {
        let model = self.models.open(None)?.load_for(&self.name, self.engine.choice)?;
        let mut detector = model.detector();
        let layers = detector.layers(self.shape)?;
        let summary = Summary::of(layers);
        let (height, width) = model.input_shape(self.shape);
        let network_shape = format!("{height}x{width}");
        if self.json {
            let lines = layers.iter().map(Layer::of).collect();
            let explained = Explained { model: model.id(), network_shape, layers: lines, summary: &summary };
            say(&format!("{}\n", serde_json::to_string(&explained)?))?;
        } else {
            let rows = layers.iter().map(|layer| {
                let (name, kind, path) = (layer.name.clone(), layer.kind.clone(), layer.path.to_string());
                vec![name, kind, path, shape(layer), layer.macs.to_string()]
            });
            let table = table(&["layer", "kind", "path", "shape", "macs"], 3, rows);
            say(&format!("{table}\n{}, network {network_shape}\n{}", model.id(), summary.text()))?;
        }
        Ok(Outcome::Done)
    }
}
