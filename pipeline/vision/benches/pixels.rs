//! How long the pixel work on one frame takes: `cargo bench -p kerbside-vision`.
//!
//! Prints the median and the minimum of many frames in milliseconds, on one thread, for the sizes that cameras send.

#![allow(clippy::print_stdout, reason = "printing is what a benchmark does")]

use std::sync::Arc;
use std::time::Instant;

use kerbside_core::frame::{Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};
use kerbside_core::geometry::Geometry;
use kerbside_core::time::MediaTime;

use kerbside_vision::SceneWatcher;
use kerbside_vision::input::{ColourOrder, InputWriter, PackedRows, PixelScale, Quantiser};
use kerbside_vision::overlay::{Analysed, Overlay};
use kerbside_vision::placement::Placement;

const ROUNDS: usize = 200;

fn main() {
    let scale = PixelScale {
        order: ColourOrder::Bgr,
        mean: [103.53, 116.28, 123.675],
        deviation: [57.375, 57.12, 58.395],
        padding: 114.0,
    };
    let quantiser = Quantiser { scale: 0.018, zero: 114 };
    println!("{:<10} {:>5} {:<16} {:>10} {:>10}", "picture", "", "work", "median ms", "least ms");
    for (width, height) in [(640, 360), (768, 576), (1280, 720), (1920, 1080)] {
        for format in [PixelFormat::I420, PixelFormat::Nv12] {
            let frame = frame(PictureSize { width, height }, format, 0);
            let placement = Placement::own_shape(frame.size, 416, 32);
            let mut input = vec![0.0; 3 * (placement.input.width * placement.input.height) as usize];
            let mut writer = InputWriter::new(scale);
            time(&frame, "planar input", || {
                writer.write_planar_f32(&frame, &placement, &mut input).expect("the buffer has the input's size");
            });
            let row_stride = 4 * placement.input.width as usize;
            let mut input = vec![0; row_stride * placement.input.height as usize];
            time(&frame, "packed input", || {
                let out = PackedRows { bytes: &mut input, row_stride };
                writer.write_packed_u8(&frame, &placement, quantiser, out).expect("the rows hold the input");
            });
            // Each round is a frame later and another picture, as from a camera.
            let frames = [frame.clone(), self::frame(PictureSize { width, height }, format, 1)];
            let (mut watcher, mut round) = (SceneWatcher::new(), 0);
            time(&frame, "scene statistics", || {
                round += 1;
                let mut frame = frames[round as usize % 2].clone();
                frame.media_time = MediaTime::from_millis(100 * round);
                watcher.watch(&frame).expect("OpenCV takes any picture");
            });
            // Of `replay --overlay` alone: the copy, and a header on it.
            let mut overlay = Overlay::new(Geometry::default(), Vec::new());
            let (tracks, trusted) = (&[][..], true);
            let analysed = Analysed {
                frame: &frame,
                confirmed: tracks,
                candidates: tracks,
                trusted,
                findings: &[],
                operators: &[],
            };
            time(&frame, "overlay", || overlay.draw(&analysed).expect("OpenCV takes any picture"));
        }
    }
}

fn time(frame: &Frame, work: &str, mut run: impl FnMut()) {
    let mut millis: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    millis.sort_by(f64::total_cmp);
    let picture = format!("{}x{}", frame.size.width, frame.size.height);
    let format = format!("{:?}", frame.format);
    println!("{picture:<10} {format:>5} {work:<16} {:>10.3} {:>10.3}", millis[ROUNDS / 2], millis[0]);
}

fn frame(size: PictureSize, format: PixelFormat, shift: usize) -> Frame {
    let header = FrameHeader::of_picture(size, format, Instant::now());
    let mut planes = OwnedPlanes::flat(size, format, 0, 0);
    for (at, value) in planes.planes.iter_mut().flat_map(|(bytes, _)| bytes.iter_mut()).enumerate() {
        *value = (at * at / 7 % 199 + shift) as u8;
    }
    Frame::new(header, Arc::new(planes)).expect("flat planes fit their picture")
}
