//! Inputs of networks that count in whole numbers: four bytes a pixel, channels side by side.

use crate::VisionError;
use kerbside_core::frame::PictureSize;

/// How a network's input numbers stand for values: `value = scale * (byte - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiser {
    /// The step from one byte to the next; positive and finite.
    pub scale: f32,
    /// The byte that stands for zero.
    pub zero: u8,
}

/// Added to a number of no more than 22 bits, this leaves it rounded to the nearest whole number, halves to
/// even, in the lowest bits: 1.5 * 2^23.
const ROUNDING: f32 = 12_582_912.0;

impl Quantiser {
    /// The byte for a value: the nearest, halves to the even number of steps, cut at 0 and 255.
    pub fn quantise(self, value: f32) -> u8 {
        (self.steps(value) + ROUNDING).to_bits().wrapping_sub(ROUNDING.to_bits() - u32::from(self.zero)) as u8
    }

    /// Steps from zero, not rounded yet but cut to what a byte holds: the ends are whole numbers, so rounding moves
    /// nothing across them.
    fn steps(self, value: f32) -> f32 {
        let zero = f32::from(self.zero);
        (value * (1.0 / self.scale)).clamp(-zero, 255.0 - zero)
    }
}

/// Quantises the three channels of a pixel and packs them, as [`Quantiser::quantise`] would.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packer {
    steps_per_unit: f32,
    low: [f32; 3],
    high: [f32; 3],
    shifts: [u32; 3],
    /// What the shifted bits of `ROUNDING` add up to is taken away here, and the zeros are added.
    base: u32,
}

impl Packer {
    /// For channels whose values end at `ends`, in any order, and that go to these places.
    pub(super) fn new(quantiser: Quantiser, ends: [[f32; 2]; 3], places: [usize; 3]) -> Self {
        let ends = ends.map(|ends| ends.map(|end| quantiser.steps(end)));
        let shifts = places.map(|place| 8 * place as u32);
        let rounding = shifts.iter().fold(0u32, |sum, shift| sum.wrapping_add(ROUNDING.to_bits() << shift));
        Self {
            steps_per_unit: 1.0 / quantiser.scale,
            low: ends.map(|[one, other]| one.min(other)),
            high: ends.map(|[one, other]| one.max(other)),
            shifts,
            base: u32::from_le_bytes([quantiser.zero; PIXEL_BYTES]).wrapping_sub(rounding),
        }
    }

    /// The pixel of three values that may lie beyond their ends.
    #[inline(always)]
    pub(super) fn pack(&self, values: [f32; 3]) -> [u8; PIXEL_BYTES] {
        // As one number, so that a pixel stays in its vector lane.
        let mut pixel = self.base;
        for (channel, value) in values.into_iter().enumerate() {
            let steps = cut(value * self.steps_per_unit, self.low[channel], self.high[channel]);
            pixel = pixel.wrapping_add((steps + ROUNDING).to_bits() << self.shifts[channel]);
        }
        pixel.to_le_bytes()
    }
}

/// `clamp` without its check of the ends.
#[inline(always)]
fn cut(value: f32, low: f32, high: f32) -> f32 {
    let value = if value < low { low } else { value };
    if value > high { high } else { value }
}

/// Where a packed input goes: rows of pixels within a larger buffer, which may hold other things between them.
#[derive(Debug)]
pub struct PackedRows<'a> {
    /// From the first pixel of the first row on; the last row may end where its pixels do.
    pub bytes: &'a mut [u8],
    /// Bytes from the start of one row to the start of the next.
    pub row_stride: usize,
}

/// Bytes of one pixel: three channels and one of padding.
pub(super) const PIXEL_BYTES: usize = 4;

impl PackedRows<'_> {
    /// Refuses a buffer that is too small for an input of this size, or rows that overlap.
    pub(super) fn check(&self, input: PictureSize) -> Result<(), VisionError> {
        let (row, rows) = (PIXEL_BYTES * input.width as usize, input.height as usize);
        let needed = self.row_stride.checked_mul(rows.saturating_sub(1)).and_then(|n| n.checked_add(row));
        if self.row_stride < row || needed.is_none_or(|needed| self.bytes.len() < needed) {
            return Err(VisionError::PackedRows { input, found: self.bytes.len(), row_stride: self.row_stride });
        }
        Ok(())
    }

    /// The pixels of row `y`.
    pub(super) fn row(&mut self, y: usize, columns: usize) -> &mut [[u8; PIXEL_BYTES]] {
        self.bytes[y * self.row_stride..][..PIXEL_BYTES * columns].as_chunks_mut().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_number_of_steps_and_ends_are_cut() {
        // An odd zero: the steps are even or odd, not the byte.
        let quantiser = Quantiser { scale: 0.5, zero: 101 };
        let cases = [
            (0.0, 101),
            (0.25, 101),
            (0.75, 103),
            (1.25, 103),
            (-0.25, 101),
            (-0.75, 99),
            (0.26, 102),
            (-50.25, 1),
            (-50.5, 0),
            (-1e30, 0),
            (77.0, 255),
            (1e30, 255),
        ];
        for (value, expected) in cases {
            assert_eq!(quantiser.quantise(value), expected, "{value}");
        }
    }

    #[test]
    fn rows_that_do_not_hold_the_input_are_refused() {
        let input = PictureSize { width: 3, height: 2 };
        let mut bytes = [0; 100];
        for (length, row_stride, holds) in [
            (24, 12, true),
            (23, 12, false),
            (100, 11, false),
            (100, 88, true),
            (100, 89, false),
            (9, usize::MAX, false),
        ] {
            let rows = PackedRows { bytes: &mut bytes[..length], row_stride };
            assert_eq!(rows.check(input).is_ok(), holds, "{length} {row_stride}");
        }
        let error = PackedRows { bytes: &mut bytes[..23], row_stride: 12 }.check(input).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the buffer of 23 bytes with 12 bytes from row to row does not hold 3x2 packed pixels"
        );
    }
}
