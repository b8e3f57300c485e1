//! How long one frame takes in a detector: `cargo bench -p kerbside-models [-- MODEL-FOLDER MODEL]`.
//!
//! Prints the time to load and to make the network for a shape, and for each stage the median and the minimum of
//! many frames in milliseconds, on one thread.

#![allow(clippy::print_stdout, reason = "printing is what a benchmark does")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kerbside_core::frame::{ColourMatrix, Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};

use kerbside_models::{ModelFolder, Stage};

const ROUNDS: usize = 30;

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let folder = words.first().map_or(concat!(env!("CARGO_MANIFEST_DIR"), "/"), String::as_str);
    let name = words.get(1).map_or("nanodet-g", String::as_str);

    let start = Instant::now();
    let folder = ModelFolder::open(Path::new(folder)).expect("the model folder can be read");
    let model = folder.load(name).expect("the model is whole");
    println!("{} loaded in {:.0} ms", model.id(), millis(start));
    let mut found = Vec::new();
    for (width, height) in [(768, 576), (1920, 1080)] {
        let frame = frame(PictureSize { width, height });
        let mut detector = model.detector();
        let start = Instant::now();
        detector.detect(&frame, &mut found).expect("the model runs");
        let (rows, columns) = model.input_shape(frame.size);
        println!("{width}x{height}: input {columns}x{rows}, first frame {:.0} ms", millis(start));

        let mut times = [const { Vec::new() }; Stage::ALL.len()];
        for _ in 0..ROUNDS {
            let mut start = Instant::now();
            let mut finished = |stage: Stage| {
                times[stage as usize].push(millis(start));
                start = Instant::now();
            };
            detector.detect_in_stages(&frame, &mut found, &mut finished).expect("the model runs");
        }
        for (stage, times) in Stage::ALL.iter().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            println!("    {:<8} median {:>8.2} ms, least {:>8.2} ms", stage.name(), times[ROUNDS / 2], times[0]);
        }
    }
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
