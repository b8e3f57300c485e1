//! How long the tracker takes for one frame: `cargo bench -p kerbside-operators`.
//! Prints the median, the 99th percentile and the throughput; asserts nothing, since machines differ.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::Instant;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::BoxInImage;
use kerbside_core::time::MediaTime;
use kerbside_operators::tracker::{Tracker, TrackerSettings};

const FRAMES: u64 = 2000;

fn main() {
    for (objects, spread) in [(10, 1.0), (50, 1.0), (50, 0.25), (200, 1.0)] {
        let mut dice = fastrand::Rng::with_seed(1);
        let places: Vec<(f32, f32)> = (0..objects).map(|_| (spread * dice.f32(), spread * dice.f32())).collect();
        let mut tracker = Tracker::new(TrackerSettings::DEFAULT);
        let (mut detections, mut nanos) = (Vec::new(), Vec::new());
        for frame in 0..FRAMES {
            detections.clear();
            for (index, (x, y)) in places.iter().enumerate() {
                let phase = frame as f32 / 20.0 + index as f32;
                let (left, top) = (x + 0.05 * phase.sin() + 0.002 * dice.f32(), y + 0.05 * phase.cos());
                let box_in_image = BoxInImage { left, top, right: left + 0.04, bottom: top + 0.15 };
                if dice.u8(0..10) > 0 {
                    let score = 0.35 + 0.6 * dice.f32();
                    detections.push(Detection { class: Class::Person, score, box_in_image });
                }
            }
            let begun = Instant::now();
            let picture = PictureSize { width: 1280, height: 720 };
            tracker.update(MediaTime::from_millis(100 * frame), picture, &detections);
            nanos.push(begun.elapsed().as_nanos());
        }
        nanos.sort_unstable();
        let micros = |share: usize| nanos[(nanos.len() - 1) * share / 100] as f64 / 1000.0;
        let tracks = tracker.confirmed().len();
        let per_second = 1e9 * nanos.len() as f64 / nanos.iter().sum::<u128>().max(1) as f64;
        println!(
            "{objects} objects over {:.0} % of the picture: {tracks} tracks, median {:.0} µs, p99 {:.0} µs a frame, \
             {per_second:.0} frames a second",
            100.0 * spread * spread,
            micros(50),
            micros(99)
        );
    }
}
