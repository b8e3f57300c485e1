//! `kerbside bench`: what this machine can do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::{Args, Subcommand};
use kerbside_core::frame::{Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};

use kerbside_models::{Model, Stage};
use serde::Serialize;

use crate::Outcome;
use crate::models::ModelsArgument;
use crate::output::say;

/// Detections before the clock starts: plans are made, memory is warm.
const WARM_UP: u32 = 3;

/// Measures what this machine can do.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Detect(Detect),
}

/// Times a detector from decoded frame to detections
#[derive(Args)]
struct Detect {
    /// The model
    #[arg(long, value_name = "NAME", default_value = "nanodet-g")]
    model: String,
    /// Frames at once, each on a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// The picture's height and width in pixels
    #[arg(long, value_name = "HxW", default_value = "320x416", value_parser = shape)]
    shape: PictureSize,
    /// Frames to time on each thread
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Prints one line of JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    models: ModelsArgument,
}

/// What was measured; times in milliseconds for one frame.
#[derive(Serialize)]
struct Measured {
    model: String,
    engine: &'static str,
    picture: String,
    network_shape: String,
    threads: u16,
    runs: u32,
    load_ms: f64,
    median_ms: f64,
    min_ms: f64,
    input_median_ms: f64,
    network_median_ms: f64,
    head_median_ms: f64,
    frames_per_second: f64,
}

impl Bench {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let Command::Detect(detect) = self.command;
        detect.execute()
    }
}

impl Detect {
    fn execute(self) -> anyhow::Result<Outcome> {
        let folder = self.models.open(None)?;
        let since = Instant::now();
        let model = folder.load(&self.model)?;
        let frame = noise(self.shape)?;
        model.detector().detect(&frame, &mut Vec::new())?;
        let load = since.elapsed();

        let since = Instant::now();
        let workers: Vec<_> = (0..self.threads)
            .map(|_| {
                let (model, frame, runs) = (Arc::clone(&model), frame.clone(), self.runs);
                std::thread::spawn(move || time(&model, &frame, runs))
            })
            .collect();
        let mut timed = Vec::new();
        for worker in workers {
            timed.extend(worker.join().map_err(|_| anyhow::anyhow!("a detector panicked"))??);
        }
        let elapsed = since.elapsed();

        let column = |pick: &dyn Fn(&Times) -> Duration| {
            let mut times: Vec<f64> = timed.iter().map(|row| pick(row).as_secs_f64() * 1e3).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        let stage = |stage: Stage| median(&column(&|row| row[stage as usize]));
        let total = column(&|row| row.iter().sum());
        let (height, width) = model.input_shape(self.shape);
        let frames = f64::from(self.runs + WARM_UP) * f64::from(self.threads);
        let measured = Measured {
            model: model.id().to_owned(),
            engine: kerbside_models::ENGINE,
            picture: format!("{}x{}", self.shape.height, self.shape.width),
            network_shape: format!("{height}x{width}"),
            threads: self.threads,
            runs: self.runs,
            load_ms: load.as_secs_f64() * 1e3,
            median_ms: median(&total),
            min_ms: total.first().copied().unwrap_or_default(),
            input_median_ms: stage(Stage::Input),
            network_median_ms: stage(Stage::Network),
            head_median_ms: stage(Stage::Head),
            frames_per_second: frames / elapsed.as_secs_f64(),
        };
        if self.json {
            say(&format!("{}\n", serde_json::to_string(&measured)?))?;
        } else {
            say(&format!(
                "{} in {}, picture {} (height x width), network {}, {} threads, {} runs each\n\
                 load to first detection {:.0} ms\n\
                 one frame: median {:.2} ms, minimum {:.2} ms\n\
                 of it: input {:.2} ms, network {:.2} ms, head {:.2} ms (medians)\n\
                 all threads: {:.1} frames a second\n",
                measured.model,
                measured.engine,
                measured.picture,
                measured.network_shape,
                measured.threads,
                measured.runs,
                measured.load_ms,
                measured.median_ms,
                measured.min_ms,
                measured.input_median_ms,
                measured.network_median_ms,
                measured.head_median_ms,
                measured.frames_per_second
            ))?;
        }
        Ok(Outcome::Done)
    }
}

/// How long each stage of one detection took.
type Times = [Duration; Stage::ALL.len()];

fn time(model: &Arc<Model>, frame: &Frame, runs: u32) -> anyhow::Result<Vec<Times>> {
    let mut detector = model.detector();
    let mut detections = Vec::new();
    let mut timed = Vec::new();
    for run in 0..WARM_UP + runs {
        let mut times = Times::default();
        let mut since = Instant::now();
        detector.detect_in_stages(frame, &mut detections, &mut |stage| {
            let now = Instant::now();
            times[stage as usize] = now.duration_since(since);
            since = now;
        })?;
        if run >= WARM_UP {
            timed.push(times);
        }
    }
    Ok(timed)
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// A picture of noise, the same every time: its content does not change the work.
fn noise(size: PictureSize) -> anyhow::Result<Frame> {
    let mut planes = OwnedPlanes::flat(size, PixelFormat::I420, 128, 0);
    let mut state: u32 = 1;
    for byte in planes.planes.iter_mut().flat_map(|(bytes, _)| bytes) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    let header = FrameHeader::of_picture(size, PixelFormat::I420, Instant::now());
    Ok(Frame::new(header, Arc::new(planes))?)
}

fn shape(text: &str) -> Result<PictureSize, String> {
    let parsed = (|| -> anyhow::Result<PictureSize> {
        let (height, width) = text.split_once('x').ok_or_else(|| anyhow::anyhow!("no x"))?;
        let size = PictureSize { height: height.parse()?, width: width.parse()? };
        ensure!((16..=8192).contains(&size.height) && (16..=8192).contains(&size.width));
        Ok(size)
    })();
    parsed.map_err(|_| "height x width from 16 to 8192 is expected, such as 320x416".to_owned())
}
