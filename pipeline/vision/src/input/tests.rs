use std::sync::Arc;
use std::time::Instant;

use kerbside_core::frame::{ColourMatrix, ColourRange, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};
use kerbside_core::time::{MediaTime, WallTime};

use super::*;

const PLAIN: PixelScale =
    PixelScale { order: ColourOrder::Rgb, mean: [0.0; 3], deviation: [1.0; 3], padding: 114.0 };

pub(super) fn header(
    size: PictureSize,
    format: PixelFormat,
    matrix: ColourMatrix,
    range: ColourRange,
) -> FrameHeader {
    FrameHeader {
        sequence: 0,
        run: 0,
        media_time: MediaTime::ZERO,
        wall_time: WallTime::UNIX_EPOCH,
        arrived: Instant::now(),
        size,
        format,
        matrix,
        range,
    }
}

/// A picture of smooth shapes, hard edges and colours, none of which leaves 0..255 as R G B.
fn scene(header: FrameHeader, spare: usize) -> Frame {
    let mut planes = OwnedPlanes::flat(header.size, header.format, 255, spare);
    let (width, height) = (header.size.width as usize, header.size.height as usize);
    let luma = |x: usize, y: usize| {
        (90 + (x * 7 + y * 3) % 50 + if (x / 9 + y / 5).is_multiple_of(2) { 20 } else { 0 }) as u8
    };
    let cb = |x: usize, y: usize| (118 + (x * 3 + y) % 20) as u8;
    let cr = |x: usize, y: usize| (120 + (x + y * 5) % 17) as u8;
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let mut put = |plane: usize, x: usize, y: usize, value: u8| {
        let (bytes, stride) = &mut planes.planes[plane];
        bytes[y * *stride + x] = value;
    };
    for y in 0..height {
        (0..width).for_each(|x| put(0, x, y, luma(x, y)));
    }
    for y in 0..half_height {
        for x in 0..half_width {
            match header.format {
                PixelFormat::Nv12 => {
                    put(1, 2 * x, y, cb(x, y));
                    put(1, 2 * x + 1, y, cr(x, y));
                }
                PixelFormat::I420 => {
                    put(1, x, y, cb(x, y));
                    put(2, x, y, cr(x, y));
                }
            }
        }
    }
    Frame::new(header, Arc::new(planes)).unwrap()
}

/// The whole picture as R G B first, each chroma pixel covering its 2×2 block.
fn as_rgb(frame: &Frame) -> Vec<[f64; 3]> {
    let (width, height) = (frame.size.width as usize, frame.size.height as usize);
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (cb, cr) = match frame.format {
                PixelFormat::Nv12 => {
                    let row = frame.plane(1).row(y / 2, 2 * width.div_ceil(2));
                    (row[x / 2 * 2], row[x / 2 * 2 + 1])
                }
                PixelFormat::I420 => {
                    let at = |plane| frame.plane(plane).row(y / 2, width.div_ceil(2))[x / 2];
                    (at(1), at(2))
                }
            };
            let (luma, cb, cr) =
                (f64::from(frame.luma().row(y, width)[x]), f64::from(cb) - 128.0, f64::from(cr) - 128.0);
            let (light, spread) = match frame.range {
                ColourRange::Limited => ((luma - 16.0) / 219.0 * 255.0, 255.0 / 224.0),
                ColourRange::Full => (luma, 1.0),
            };
            let (cb, cr) = (cb * spread, cr * spread);
            let pixel = match frame.matrix {
                ColourMatrix::Bt601 => {
                    [light + 1.402 * cr, light - 0.344_136 * cb - 0.714_136 * cr, light + 1.772 * cb]
                }
                ColourMatrix::Bt709 => {
                    [light + 1.5748 * cr, light - 0.187_324 * cb - 0.468_124 * cr, light + 1.8556 * cb]
                }
            };
            assert!(pixel.iter().all(|channel| (0.0..=255.0).contains(channel)), "{pixel:?}");
            rgb.push(pixel);
        }
    }
    rgb
}

/// One target pixel by the textbook: bilinear at the target's centre, or the mean over what it covers.
fn resized(rgb: &[[f64; 3]], from: PictureSize, to: PictureSize, x: usize, y: usize, channel: usize) -> f64 {
    let axis = |i: usize, source: u32, target: u32| -> Vec<(usize, f64)> {
        let step = f64::from(source) / f64::from(target);
        if step <= 2.0 {
            let centre = (i as f64 + 0.5) * step - 0.5;
            let clip = |place: f64| place.clamp(0.0, f64::from(source - 1)) as usize;
            let share = centre - centre.floor();
            vec![(clip(centre.floor()), 1.0 - share), (clip(centre.floor() + 1.0), share)]
        } else {
            let (low, high) = (i as f64 * step, (i + 1) as f64 * step);
            (0..source as usize)
                .map(|p| (p, ((p + 1) as f64).min(high) - (p as f64).max(low)))
                .filter(|(_, covered)| *covered > 0.0)
                .map(|(p, covered)| (p, covered / step))
                .collect()
        }
    };
    let columns = axis(x, from.width, to.width);
    let mut sum = 0.0;
    for (sy, wy) in axis(y, from.height, to.height) {
        for (sx, wx) in &columns {
            sum += wy * wx * rgb[sy * from.width as usize + sx][channel];
        }
    }
    sum
}

#[test]
fn the_input_is_the_picture_converted_and_then_resized() {
    let cases = [
        ((96, 72), 52, PixelFormat::I420, ColourMatrix::Bt601, ColourRange::Limited),
        ((97, 71), 52, PixelFormat::Nv12, ColourMatrix::Bt601, ColourRange::Full),
        ((96, 54), 33, PixelFormat::Nv12, ColourMatrix::Bt709, ColourRange::Limited),
        ((241, 135), 52, PixelFormat::I420, ColourMatrix::Bt709, ColourRange::Limited),
        ((240, 135), 52, PixelFormat::Nv12, ColourMatrix::Bt709, ColourRange::Full),
        ((20, 33), 64, PixelFormat::Nv12, ColourMatrix::Bt601, ColourRange::Limited),
        ((1, 3), 8, PixelFormat::I420, ColourMatrix::Bt601, ColourRange::Limited),
        // Averages over more rows and columns than one pass takes.
        ((60, 300), 20, PixelFormat::I420, ColourMatrix::Bt601, ColourRange::Limited),
        ((60, 300), 20, PixelFormat::Nv12, ColourMatrix::Bt601, ColourRange::Limited),
        ((600, 50), 30, PixelFormat::Nv12, ColourMatrix::Bt709, ColourRange::Limited),
        // Wide and low: a reduction by more than two in one direction only.
        ((101, 2), 40, PixelFormat::Nv12, ColourMatrix::Bt601, ColourRange::Limited),
    ];
    for ((width, height), long_side, format, matrix, range) in cases {
        let size = PictureSize { width, height };
        let frame = scene(header(size, format, matrix, range), 13);
        let placement = Placement::own_shape(size, long_side, 8);
        let (columns, rows) = (placement.input.width as usize, placement.input.height as usize);
        let mut out = vec![f32::NAN; 3 * columns * rows];
        InputWriter::new(PLAIN).write_planar_f32(&frame, &placement, &mut out).unwrap();

        let rgb = as_rgb(&frame);
        for channel in 0..3 {
            for y in 0..rows {
                for x in 0..columns {
                    let found = f64::from(out[(channel * rows + y) * columns + x]);
                    let inside = x < placement.scaled.width as usize && y < placement.scaled.height as usize;
                    let expected =
                        if inside { resized(&rgb, size, placement.scaled, x, y, channel) } else { 114.0 };
                    assert!((found - expected).abs() < 0.01, "{size:?} {channel} {x},{y}: {found} {expected}");
                }
            }
        }
    }
}

#[test]
fn channels_follow_the_networks_order_and_scale() {
    let size = PictureSize { width: 16, height: 16 };
    let frame = scene(header(size, PixelFormat::Nv12, ColourMatrix::Bt601, ColourRange::Limited), 0);
    let placement = Placement::own_shape(size, 16, 32);
    let mut plain = vec![0.0; 3 * 32 * 32];
    InputWriter::new(PLAIN).write_planar_f32(&frame, &placement, &mut plain).unwrap();
    let scale = PixelScale {
        order: ColourOrder::Bgr,
        mean: [1.0, 2.0, 3.0],
        deviation: [10.0, 20.0, 40.0],
        padding: 114.0,
    };
    let mut scaled = vec![0.0; 3 * 32 * 32];
    InputWriter::new(scale).write_planar_f32(&frame, &placement, &mut scaled).unwrap();
    for (at, value) in scaled.iter().enumerate() {
        let (channel, pixel) = (at / 1024, at % 1024);
        let expected = (plain[(2 - channel) * 1024 + pixel] - scale.mean[channel]) / scale.deviation[channel];
        assert!((value - expected).abs() < 1e-4, "{at}");
    }
}

#[test]
fn colours_beyond_the_ends_are_cut() {
    let size = PictureSize { width: 8, height: 8 };
    for (luma, expected) in [(255, 255.0), (0, 0.0), (16, 0.0), (235, 255.0)] {
        let header = header(size, PixelFormat::I420, ColourMatrix::Bt709, ColourRange::Limited);
        let planes = OwnedPlanes::flat(size, PixelFormat::I420, luma, 0);
        let frame = Frame::new(header, Arc::new(planes)).unwrap();
        let mut out = vec![f32::NAN; 3 * 64];
        InputWriter::new(PLAIN).write_planar_f32(&frame, &Placement::own_shape(size, 8, 8), &mut out).unwrap();
        assert!(out.iter().all(|value| (value - expected).abs() < 1e-3), "{luma} {:?}", out[0]);
    }
}

#[test]
fn one_writer_serves_frames_of_many_sizes_and_formats() {
    let mut writer = InputWriter::new(PLAIN);
    let kinds = (0..6).flat_map(|i| [(64 - 5 * i, PixelFormat::Nv12), (64 - 5 * i, PixelFormat::I420)]);
    for (width, format) in kinds.clone().chain(kinds.rev()) {
        let size = PictureSize { width, height: 40 };
        let frame = scene(header(size, format, ColourMatrix::Bt601, ColourRange::Limited), 3);
        let placement = Placement::own_shape(size, 32, 32);
        let length = 3 * (placement.input.width * placement.input.height) as usize;
        let (mut reused, mut fresh) = (vec![0.0; length], vec![0.0; length]);
        writer.write_planar_f32(&frame, &placement, &mut reused).unwrap();
        InputWriter::new(PLAIN).write_planar_f32(&frame, &placement, &mut fresh).unwrap();
        assert_eq!(reused, fresh);
    }
}

#[test]
fn a_wrong_buffer_or_a_strange_frame_is_refused() {
    let size = PictureSize { width: 16, height: 16 };
    let frame = scene(header(size, PixelFormat::Nv12, ColourMatrix::Bt601, ColourRange::Limited), 0);
    let mut writer = InputWriter::new(PLAIN);
    let placement = Placement::own_shape(size, 16, 32);
    let error = writer.write_planar_f32(&frame, &placement, &mut [0.0; 7]).unwrap_err();
    assert_eq!(error.to_string(), "the input buffer has 7 values, 3072 are needed");
    let other = Placement::own_shape(PictureSize { width: 17, height: 16 }, 16, 32);
    let error = writer.write_planar_f32(&frame, &other, &mut [0.0; 3072]).unwrap_err();
    assert_eq!(error.to_string(), "the frame has 16x16 pixels, its placement is for 17x16");
}
