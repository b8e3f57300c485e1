//! `kerbside bench`: what this machine can do.

mod measure;
mod report;
mod uplink;

use std::time::Instant;

use clap::{Args, Subcommand};
use kerbside_core::frame::PictureSize;
use kerbside_models::{DetectorSettings, Stage};

use crate::Outcome;
use crate::layers::Summary;
use crate::models::{EngineArgument, ModelsArgument};
use crate::output::say;
use crate::picture;
use measure::StageTimes;
use report::{Measured, TimedLayer};

/// Measures what this machine can do.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Detect(Detect),
    Uplink(uplink::Uplink),
}

/// Times a detector from decoded frame to detections
#[derive(Args)]
struct Detect {
    /// The model
    #[arg(long, value_name = "NAME", default_value = "nanodet-g")]
    model: String,
    /// Threads that split one frame
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Frames at once, each in a detector of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    detectors: u16,
    /// The picture's height and width in pixels
    #[arg(long, value_name = "HxW", default_value = "320x416", value_parser = picture::shape)]
    shape: PictureSize,
    /// Frames to time in each detector
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Times each layer as well, in runs of their own
    #[arg(long)]
    layers: bool,
    /// Prints one line of JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    models: ModelsArgument,
    #[command(flatten)]
    engine: EngineArgument,
}

impl Bench {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Detect(detect) => detect.execute(),
            Command::Uplink(uplink) => uplink.execute(),
        }
    }
}

impl Detect {
    fn execute(self) -> anyhow::Result<Outcome> {
        let folder = self.models.open(None)?;
        let settings = DetectorSettings { threads: usize::from(self.threads), ..DetectorSettings::default() };
        let frame = picture::noise(self.shape)?;
        let before = measure::resident_bytes();
        let since = Instant::now();
        let model = folder.load_for(&self.model, self.engine.choice)?;
        let mut detector = model.detector_with(settings);
        detector.detect(&frame, &mut Vec::new())?;
        let load = since.elapsed();
        let grown = measure::resident_bytes().zip(before).map(|(now, before)| now.saturating_sub(before));

        let layers = detector.layers(self.shape)?.to_vec();
        let summary = Summary::of(&layers);
        // Its threads and memory are not to be there while others are measured.
        drop(detector);
        let detections = measure::detections(&model, settings, &frame, self.detectors, self.runs)?;
        let resident = measure::peak_resident_bytes();
        let peak = if summary.has_int8() { measure::peak_gmacs(self.engine.choice, self.threads) } else { None };
        let timed = match self.layers {
            true => measure::layers(&mut *model.detector_with(settings), &frame, self.runs)?,
            false => None,
        };

        let column = |pick: &dyn Fn(&StageTimes) -> f64| -> (f64, f64) {
            let mut times: Vec<f64> = detections.times.iter().map(pick).collect();
            times.sort_by(f64::total_cmp);
            (times[times.len() / 2], times[0])
        };
        let stage = |stage: Stage| column(&|row| 1e3 * row[stage as usize].as_secs_f64());
        let (median_ms, min_ms) = column(&|row| 1e3 * row.iter().map(|time| time.as_secs_f64()).sum::<f64>());
        let (network_median_ms, network_min_ms) = stage(Stage::Network);
        let (height, width) = model.input_shape(self.shape);
        let layers = self.layers.then(|| {
            let times_of = |at: usize| timed.as_ref().map(|timed| timed[at].as_slice());
            layers.iter().enumerate().map(|(at, layer)| TimedLayer::of(layer, times_of(at), peak)).collect()
        });
        let measured = Measured {
            model: model.id(),
            picture: format!("{}x{}", self.shape.height, self.shape.width),
            network_shape: format!("{height}x{width}"),
            // tract takes one thread, and the rest of the network then has no helpers either.
            threads: if summary.has_tract() { 1 } else { self.threads },
            detectors: self.detectors,
            runs: self.runs,
            load_ms: 1e3 * load.as_secs_f64(),
            median_ms,
            min_ms,
            input_median_ms: stage(Stage::Input).0,
            network_median_ms,
            network_min_ms,
            head_median_ms: stage(Stage::Head).0,
            frames_per_second: detections.frames_per_second,
            gmacs_per_second: summary.macs.map(|macs| macs as f64 / network_median_ms / 1e6),
            peak_gmacs_per_second: peak,
            detector_mb: grown.map(|bytes| bytes as f64 / 1e6),
            resident_mb: resident.map(|bytes| bytes as f64 / 1e6),
            engine: &summary.engine,
            layers,
        };
        say(&if self.json { measured.json()? } else { measured.text() })?;
        Ok(Outcome::Done)
    }
}
