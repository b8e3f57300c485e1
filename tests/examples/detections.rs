//! What the detectors find in a clip, and the numbers that their network was given, as files:
//! `cargo run -p kerbside-tests --example detections -- CLIP OUT [--every N] [--engine NAME]...`
//!
//! For a comparison with another runtime on real frames (`models/workshop/compare`). A network amplifies what
//! its input differs by, so the other one must be given the same numbers. Every N-th frame goes from ingest
//! to a detector of each engine, as in the node, and into these files in the new folder OUT:
//!
//! | file | what it holds |
//! | --- | --- |
//! | `frames.csv` | each frame's number, from 0, and the sizes of the picture, the scaled picture and the input |
//! | `detections.csv` | what each engine found, boxes in pixels of the picture, every number in full |
//! | `input-FRAME.f32` | the network's input, 1×3×H×W little-endian floats; the int8 engine's is its quantised form |
//!
//! This writes pictures to disk, which the product never does; so it is no command of the product. Not here: the
//! network's outputs, which no detector shows.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it says what it did, or why it did not")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use kerbside_channel::{Receiver, WhenFull, edge};
use kerbside_core::detection::Detection;
use kerbside_core::frame::{Frame, PictureSize};
use kerbside_core::time::WallTime;
use kerbside_ingest::{CameraHandle, CameraSource, CameraStatus, Pace, Source};
use kerbside_models::{EngineChoice, InputManifest, ModelFolder};
use kerbside_telemetry::{CameraMetrics, Telemetry};
use kerbside_vision::input::InputWriter;
use kerbside_vision::placement::Placement;

const USAGE: &str = "usage: detections CLIP OUT [--every N] [--engine NAME]...";
const MODEL: &str = "nanodet-g";
/// More than any clip has, so that no frame is dropped.
const ANALYSE_FPS: f64 = 1000.0;

/// The command line.
struct Arguments {
    clip: PathBuf,
    out: PathBuf,
    every: u64,
    engines: Vec<EngineChoice>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("detections: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Arguments { clip, out, every, engines } = arguments(std::env::args().skip(1))?;
    let folder = ModelFolder::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models"))?;
    let mut detectors = Vec::new();
    for engine in &engines {
        detectors.push((engine.name(), folder.load_for(MODEL, *engine)?.detector()));
    }
    fs::create_dir(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut files = Files::create(&out, folder.manifest(MODEL)?.input)?;

    let (camera, frames) = open(&clip)?;
    let (mut taken, mut found) = (0_u32, Vec::new());
    while let Some(frame) = frames.receive() {
        if frame.sequence % every != 0 {
            continue;
        }
        taken += 1;
        files.write_frame(&frame)?;
        for (engine, detector) in &mut detectors {
            detector.detect(&frame, &mut found)?;
            files.write_detections(engine, &frame, &found)?;
        }
    }
    files.finish()?;
    drop(frames);
    let ended = camera.join()?;
    println!("{}: {taken} of {} frames", clip.display(), ended.frames_in);
    Ok(())
}

fn arguments(words: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let (mut paths, mut every, mut engines) = (Vec::new(), 1, Vec::new());
    let mut words = words;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--every" => every = words.next().ok_or(USAGE)?.parse()?,
            "--engine" => engines.push(words.next().ok_or(USAGE)?.parse()?),
            _ if word.starts_with('-') => return Err(USAGE.into()),
            _ => paths.push(PathBuf::from(word)),
        }
    }
    let [clip, out] = <[PathBuf; 2]>::try_from(paths).map_err(|_| USAGE)?;
    if every == 0 {
        return Err(USAGE.into());
    }
    if engines.is_empty() {
        engines.push(EngineChoice::Auto);
    }
    Ok(Arguments { clip, out, every, engines })
}

/// The clip's camera and its frames. Who drops both drops the frames first, so that the camera can end.
fn open(clip: &Path) -> Result<(CameraHandle, Receiver<Frame>), Box<dyn Error>> {
    let telemetry = Telemetry::new();
    let metrics = CameraMetrics::new(&telemetry, "clip");
    let (sender, frames) = edge(&telemetry, "clip/slot", 1, WhenFull::Block);
    let pace = Pace::AsFastAsPossible { first_frame_at: WallTime::UNIX_EPOCH };
    let source = Source::File { path: clip.to_owned(), pace };
    let source = CameraSource { name: "clip".to_owned(), source, analyse_fps: ANALYSE_FPS };
    let camera = kerbside_ingest::start(source, sender, metrics, Arc::new(CameraStatus::new()))?;
    Ok((camera, frames))
}

/// What is written.
struct Files {
    folder: PathBuf,
    frames: BufWriter<File>,
    detections: BufWriter<File>,
    writer: InputWriter,
    input: InputManifest,
}

impl Files {
    fn create(folder: &Path, input: InputManifest) -> Result<Self, Box<dyn Error>> {
        let table = |name: &str, head: &str| -> std::io::Result<BufWriter<File>> {
            let mut file = BufWriter::new(File::create(folder.join(name))?);
            writeln!(file, "{head}")?;
            Ok(file)
        };
        let sizes = "picture_width,picture_height,scaled_width,scaled_height,input_width,input_height";
        Ok(Self {
            folder: folder.to_owned(),
            frames: table("frames.csv", &format!("frame,{sizes}"))?,
            detections: table("detections.csv", "engine,frame,class,score,left,top,right,bottom")?,
            writer: InputWriter::new(input.pixels),
            input,
        })
    }

    /// The frame's sizes and the network's input.
    fn write_frame(&mut self, frame: &Frame) -> Result<(), Box<dyn Error>> {
        let InputManifest { default_long_side, multiple_of, .. } = self.input;
        let placement = Placement::own_shape(frame.size, default_long_side, multiple_of);
        let Placement { picture, scaled, input } = placement;
        write!(self.frames, "{}", frame.sequence)?;
        for PictureSize { width, height } in [picture, scaled, input] {
            write!(self.frames, ",{width},{height}")?;
        }
        writeln!(self.frames)?;

        let mut values = vec![0.0; 3 * input.width as usize * input.height as usize];
        self.writer.write_planar_f32(frame, &placement, &mut values)?;
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        fs::write(self.folder.join(format!("input-{}.f32", frame.sequence)), bytes)?;
        Ok(())
    }

    fn write_detections(&mut self, engine: &str, frame: &Frame, found: &[Detection]) -> std::io::Result<()> {
        let PictureSize { width, height } = frame.size;
        for Detection { class, score, box_in_image: found } in found {
            // Doubles, which do not round again: each number can be told from its neighbour.
            let [left, right] = [found.left, found.right].map(|x| f64::from(x) * f64::from(width));
            let [top, bottom] = [found.top, found.bottom].map(|y| f64::from(y) * f64::from(height));
            let (frame, class) = (frame.sequence, class.name());
            writeln!(self.detections, "{engine},{frame},{class},{score},{left},{top},{right},{bottom}")?;
        }
        Ok(())
    }

    /// What a full disk keeps from being written is an error, too.
    fn finish(mut self) -> std::io::Result<()> {
        self.frames.flush()?;
        self.detections.flush()
    }
}
