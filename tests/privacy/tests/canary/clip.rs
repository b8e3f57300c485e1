//! The rendered clip: people who walk, and the canary on everything.
//!
//! The pictures are those of the real clip, so that the detector finds the people it was trained for and the node
//! has something to count. Onto each the canary is drawn three times: large and still in a corner, small and moving,
//! so that it is part of what changes too, and small where people pass, so that cuttings of people would show it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use kerbside_core::frame::{ColourMatrix, ColourRange, Plane};
use kerbside_core::time::MediaTime;
use kerbside_ingest::{ClipWriter, Picture};

use crate::common::{frames, vtest};
use crate::pattern;

/// Pictures, at ten a second.
const PICTURES: usize = 150;
/// The first: from here on there are people all the time.
const FROM: usize = 20;
const FPS: f64 = 10.0;

/// Held while a clip is written and while a node is started: the writer's file would be open in the node too, where
/// several tests run in one process.
pub static FILES: Mutex<()> = Mutex::new(());

/// Writes the clip, or one of the same length and size in which nothing ever happens.
pub fn render(path: &Path, busy: bool) {
    let _files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut writer = ClipWriter::create(path, FPS).unwrap();
    let mut luma = Vec::new();
    for (number, frame) in frames(&vtest()).skip(FROM).take(PICTURES).enumerate() {
        let [width, height] = [frame.size.width as usize, frame.size.height as usize];
        let chroma = vec![128; width.div_ceil(2) * height.div_ceil(2)];
        if busy || number == 0 {
            luma.clear();
            for y in 0..height {
                luma.extend_from_slice(&frame.luma().row(y, width)[..width]);
            }
            if !busy {
                // A street in general: a slope from dark to light, with a texture on it.
                for (at, luma) in luma.iter_mut().enumerate() {
                    *luma = (40 + 120 * (at / width) / height + (at * 7 + at / width * 13) % 29) as u8;
                }
            }
            pattern::draw(&mut luma, width, 8, [width - 130, height - 130]);
            pattern::draw(&mut luma, width, 4, [8 + number * 4 % (width - 80), 8]);
            pattern::draw(&mut luma, width, 4, [width / 2, height / 2]);
        }
        let picture = Picture {
            at: MediaTime::from_millis(100 * number as u64),
            size: frame.size,
            matrix: ColourMatrix::Bt601,
            range: ColourRange::Limited,
            planes: [
                Plane { bytes: &luma, stride: width },
                Plane { bytes: &chroma, stride: width.div_ceil(2) },
                Plane { bytes: &chroma, stride: width.div_ceil(2) },
            ],
        };
        writer.write(&picture).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), PICTURES as u64);
}
