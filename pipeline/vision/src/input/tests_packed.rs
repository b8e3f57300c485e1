//! Packed against planar, and every instruction set against plain code: to the last bit.

use std::sync::Arc;

use kerbside_core::frame::{ColourMatrix, ColourRange, OwnedPlanes, PictureSize, PixelFormat};
use proptest::prelude::*;

use super::tests::header;
use super::*;

/// What lies where nothing may be written.
const UNTOUCHED: u8 = 0xa5;

/// A picture of every value, colours beyond the ends included, with rows `spare` bytes apart.
fn noise(size: PictureSize, format: PixelFormat, matrix: ColourMatrix, range: ColourRange, spare: usize) -> Frame {
    let mut planes = OwnedPlanes::flat(size, format, 0, spare);
    let mut state = 1u32;
    for byte in planes.planes.iter_mut().flat_map(|(bytes, _)| bytes.iter_mut()) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    Frame::new(header(size, format, matrix, range), Arc::new(planes)).unwrap()
}

/// Quantises as the definition says, in words of its own.
fn quantised(value: f32, Quantiser { scale, zero }: Quantiser) -> u8 {
    ((value * (1.0 / scale)).round_ties_even() + f32::from(zero)).clamp(0.0, 255.0) as u8
}

/// Writes the frame with every instruction set that there is, both ways, and compares.
fn check(frame: &Frame, placement: &Placement, pixels: PixelScale, quantiser: Quantiser, gap: usize) {
    let (columns, rows) = (placement.input.width as usize, placement.input.height as usize);
    let mut plain = None;
    for isa in Isa::available() {
        let mut writer = InputWriter { isa, ..InputWriter::new(pixels) };
        let mut planar = vec![f32::NAN; 3 * columns * rows];
        writer.write_planar_f32(frame, placement, &mut planar).unwrap();
        let bits: Vec<u32> = planar.iter().map(|value| value.to_bits()).collect();
        assert!(*plain.get_or_insert_with(|| bits.clone()) == bits, "{isa:?} differs, {placement:?}");

        let row_stride = 4 * columns + gap;
        // The last row ends where its pixels do.
        let mut packed = vec![UNTOUCHED; row_stride * rows - gap];
        let out = PackedRows { bytes: &mut packed, row_stride };
        writer.write_packed_u8(frame, placement, quantiser, out).unwrap();
        for (y, row) in packed.chunks(row_stride).enumerate() {
            let (pixels, beyond) = row.split_at(4 * columns);
            assert!(beyond.iter().all(|byte| *byte == UNTOUCHED), "{isa:?} wrote beyond row {y}");
            for (x, pixel) in pixels.chunks(4).enumerate() {
                let value = |channel: usize| planar[(channel * rows + y) * columns + x];
                let expected = [0, 1, 2].map(|channel| quantised(value(channel), quantiser));
                assert_eq!(pixel[..3], expected, "{isa:?} {x},{y} {placement:?} {quantiser:?}");
                assert_eq!(pixel[3], quantiser.zero);
            }
        }
    }
}

#[test]
fn packed_input_is_the_planar_one_quantised_for_every_reduction() {
    let pixels = PixelScale {
        order: ColourOrder::Bgr,
        mean: [103.53, 116.28, 123.675],
        deviation: [57.375, 57.12, 58.395],
        padding: 114.0,
    };
    let cases = [
        ((1, 1), 1, 1),
        ((1, 1), 32, 32),
        ((5, 3), 5, 4),
        ((5, 3), 32, 32),
        ((768, 36), 416, 32),
        ((833, 36), 416, 32),
        ((1920, 54), 416, 32),
        ((54, 1920), 416, 32),
        ((3840, 20), 416, 32),
        // Beyond what the hand-written kernels take, and with many passes of rows.
        ((2000, 9), 64, 8),
        ((9, 2000), 64, 8),
    ];
    for ((width, height), long_side, multiple_of) in cases {
        let size = PictureSize { width, height };
        for format in [PixelFormat::Nv12, PixelFormat::I420] {
            let frame = noise(size, format, ColourMatrix::Bt601, ColourRange::Limited, 0);
            let placement = Placement::own_shape(size, long_side, multiple_of);
            check(&frame, &placement, pixels, Quantiser { scale: 0.0187, zero: 113 }, 12);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packed_input_is_the_planar_one_quantised(
        (width, height) in (1u32..400, 1u32..90),
        (long_side, multiple_of) in (1u32..130, 1u32..40),
        is_nv12 in any::<bool>(),
        is_bt601 in any::<bool>(),
        is_limited in any::<bool>(),
        is_rgb in any::<bool>(),
        spare in 0usize..9,
        gap in 0usize..70,
        mean in prop::array::uniform3(-10f32..200.0),
        deviation in prop::array::uniform3(prop_oneof![Just(1.0f32), 0.5f32..255.0, -80f32..-0.5]),
        scale in prop_oneof![Just(1.0f32), Just(0.5f32), 0.0005f32..3.0],
        zero in any::<u8>(),
    ) {
        let size = PictureSize { width, height };
        let format = if is_nv12 { PixelFormat::Nv12 } else { PixelFormat::I420 };
        let matrix = if is_bt601 { ColourMatrix::Bt601 } else { ColourMatrix::Bt709 };
        let range = if is_limited { ColourRange::Limited } else { ColourRange::Full };
        let order = if is_rgb { ColourOrder::Rgb } else { ColourOrder::Bgr };
        let frame = noise(size, format, matrix, range, spare);
        let placement = Placement::own_shape(size, long_side, multiple_of);
        let pixels = PixelScale { order, mean, deviation, padding: 114.0 };
        check(&frame, &placement, pixels, Quantiser { scale, zero }, gap);
    }
}

#[test]
fn rows_lie_where_the_caller_says() {
    let size = PictureSize { width: 5, height: 3 };
    let frame = noise(size, PixelFormat::I420, ColourMatrix::Bt709, ColourRange::Full, 2);
    let placement = Placement::own_shape(size, 5, 4);
    let pixels = PixelScale { order: ColourOrder::Rgb, mean: [0.0; 3], deviation: [1.0; 3], padding: 7.0 };
    let mut writer = InputWriter::new(pixels);
    let mut bytes = [UNTOUCHED; 200];
    let out = PackedRows { bytes: &mut bytes[10..], row_stride: 40 };
    writer.write_packed_u8(&frame, &placement, Quantiser { scale: 1.0, zero: 0 }, out).unwrap();
    assert!(bytes[..10].iter().all(|byte| *byte == UNTOUCHED));
    // The first three rows show the picture and three columns of padding, the fourth padding alone.
    assert_eq!(bytes[10 + 5 * 4..10 + 8 * 4], [7, 7, 7, 0].repeat(3));
    assert_eq!(bytes[130..162], [7, 7, 7, 0].repeat(8));
    assert!(bytes[162..].iter().all(|byte| *byte == UNTOUCHED));
    let short = PackedRows { bytes: &mut bytes[..151], row_stride: 40 };
    let error = writer.write_packed_u8(&frame, &placement, Quantiser { scale: 1.0, zero: 0 }, short).unwrap_err();
    assert!(matches!(error, VisionError::PackedRows { found: 151, row_stride: 40, .. }), "{error}");
}
