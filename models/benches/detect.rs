//! How long one frame takes in a detector: `cargo bench -p kerbside-models [-- MODEL-FOLDER MODEL]`.
//!
//! Runs every engine that this processor has on the same frame, in turns, so that whatever else the machine does
//! disturbs them alike: the best one, AVX2, portable code, and tract. Prints for each the time to load and to make the
//! network for a shape, the median and the least of each stage in milliseconds on one thread, and how often the best
//! one goes into the others' medians.

#![allow(clippy::print_stdout, reason = "printing is what a benchmark does")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kerbside_core::frame::{ColourMatrix, Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};

use kerbside_models::{Detector, EngineChoice, Model, ModelFolder, Stage};

const ROUNDS: usize = 30;
/// The first is what the others are compared with.
const ENGINES: [&str; 4] = ["auto", "avx2", "portable", "tract"];

/// One engine's model.
struct Contender {
    name: &'static str,
    model: Arc<Model>,
}

/// One engine's detector and the times of its stages, in milliseconds.
struct Course {
    name: &'static str,
    detector: Box<dyn Detector>,
    stages: [Vec<f64>; Stage::ALL.len()],
    totals: Vec<f64>,
}

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let folder = words.first().map_or(concat!(env!("CARGO_MANIFEST_DIR"), "/"), String::as_str);
    let name = words.get(1).map_or("nanodet-g", String::as_str);
    let folder = ModelFolder::open(Path::new(folder)).expect("the model folder can be read");

    let contenders: Vec<Contender> =
        ENGINES.into_iter().filter_map(|engine| contender(&folder, name, engine)).collect();
    for (width, height) in [(768, 576), (1920, 1080)] {
        compare(&contenders, &frame(PictureSize { width, height }));
    }
}

/// `None` where this processor cannot run the engine.
fn contender(folder: &ModelFolder, model: &str, name: &'static str) -> Option<Contender> {
    let engine: EngineChoice = match name.parse() {
        Ok(engine) => engine,
        Err(error) => {
            println!("{name}: {error}");
            return None;
        }
    };
    let start = Instant::now();
    let model = folder.load_for(model, engine).expect("the model is whole");
    println!("{} for {name} loaded in {:.0} ms", model.id(), millis(start));
    Some(Contender { name, model })
}

fn compare(contenders: &[Contender], frame: &Frame) {
    let mut found = Vec::new();
    let PictureSize { width, height } = frame.size;
    let mut courses = Vec::new();
    for Contender { name, model } in contenders {
        let mut detector = model.detector();
        let start = Instant::now();
        detector.detect(frame, &mut found).expect("the model runs");
        let (rows, columns) = model.input_shape(frame.size);
        println!("{width}x{height}: input {columns}x{rows}, {name}: first frame {:.0} ms", millis(start));
        courses.push(Course { name, detector, stages: Default::default(), totals: Vec::new() });
    }
    for _ in 0..ROUNDS {
        for Course { detector, stages, totals, .. } in &mut courses {
            let begun = Instant::now();
            let mut since = begun;
            let mut finished = |stage: Stage| {
                stages[stage as usize].push(millis(since));
                since = Instant::now();
            };
            detector.detect_in_stages(frame, &mut found, &mut finished).expect("the model runs");
            totals.push(millis(begun));
        }
    }
    let mut best = None;
    for Course { name, stages, totals, .. } in &mut courses {
        let (median, least) = summary(totals);
        let best = *best.get_or_insert(median);
        println!(
            "    {name:<9} median {median:>8.2} ms, least {least:>8.2} ms, {:>6.2} times {}",
            median / best,
            ENGINES[0]
        );
        for (stage, times) in Stage::ALL.iter().zip(stages) {
            let (median, least) = summary(times);
            println!("        {:<8} median {median:>8.2} ms, least {least:>8.2} ms", stage.name());
        }
    }
}

/// The median and the least.
fn summary(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[0])
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// A picture without objects: the network's time does not depend on what it sees.
fn frame(size: PictureSize) -> Frame {
    let header = FrameHeader {
        matrix: ColourMatrix::Bt709,
        ..FrameHeader::of_picture(size, PixelFormat::Nv12, Instant::now())
    };
    let mut planes = OwnedPlanes::flat(size, header.format, 0, 0);
    for (at, value) in planes.planes[0].0.iter_mut().enumerate() {
        *value = (at * at / 7 % 199) as u8;
    }
    Frame::new(header, Arc::new(planes)).expect("flat planes fit their picture")
}
