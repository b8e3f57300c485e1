//! How long the pixel work on one frame takes: `cargo bench -p kerbside-vision`.
//!
//! Prints the median and the minimum of many frames in milliseconds, on one thread, for the sizes that cameras send.

#![allow(clippy::print_stdout, reason = "printing is what a benchmark does")]

use std::sync::Arc;
use std::time::Instant;

use kerbside_core::frame::{Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};

use kerbside_vision::input::{ColourOrder, InputWriter, PixelScale};
use kerbside_vision::placement::Placement;
use kerbside_vision::scene_statistics;

const ROUNDS: usize = 200;

fn main() {
    let scale = PixelScale {
        order: ColourOrder::Bgr,
        mean: [103.53, 116.28, 123.675],
        deviation: [57.375, 57.12, 58.395],
        padding: 114.0,
    };
    println!("{:<10} {:>5} {:<16} {:>10} {:>10}", "picture", "", "work", "median ms", "least ms");
    for (width, height) in [(640, 360), (768, 576), (1280, 720), (1920, 1080)] {
        for format in [PixelFormat::I420, PixelFormat::Nv12] {
            let frame = frame(PictureSize { width, height }, format);
            let placement = Placement::own_shape(frame.size, 416, 32);
            let mut input = vec![0.0; 3 * (placement.input.width * placement.input.height) as usize];
            let mut writer = InputWriter::new(scale);
            time(&frame, "network input", || {
                writer.write_planar_f32(&frame, &placement, &mut input).expect("the buffer has the input's size");
            });
            time(&frame, "scene statistics", || {
                scene_statistics(&frame).expect("OpenCV takes any picture");
            });
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

fn frame(size: PictureSize, format: PixelFormat) -> Frame {
    let header = FrameHeader::of_picture(size, format, Instant::now());
    let mut planes = OwnedPlanes::flat(size, format, 0, 0);
    for (at, value) in planes.planes.iter_mut().flat_map(|(bytes, _)| bytes.iter_mut()).enumerate() {
        *value = (at * at / 7 % 199) as u8;
    }
    Frame::new(header, Arc::new(planes)).expect("flat planes fit their picture")
}
