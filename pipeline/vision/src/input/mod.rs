//! A network's input, written straight from the planes of a frame.
//!
//! One pass a target row: it is sampled as luma and chroma (`sampler`), which meet at the target's resolution,
//! where there are three to thirty times fewer pixels; colour conversion and normalisation (`tone`) write the
//! input, as planes of floats or as packed bytes. Both come from the same `f32` arithmetic.
//!
//! Invariants: the planes are read in place; after the first frame of a size nothing is allocated; results
//! are plain `f32` arithmetic in a fixed order, the same on every machine and with every instruction set
//! (`isa`).

mod colour;
mod columns;
#[allow(unsafe_code)]
mod isa;
mod packed;
mod sampler;
mod taps;
mod tone;

use kerbside_core::frame::Frame;

use crate::VisionError;
use crate::placement::Placement;
use isa::Isa;
pub use packed::{PackedRows, Quantiser};
use sampler::{Key, Sampler};
use tone::{ToPacked, ToPlanes, Tone};

/// The order of the colour channels in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// How a network wants its pixels: `(value - mean) / deviation`, where the value runs from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelScale {
    /// The order of the channels.
    pub order: ColourOrder,
    /// Subtracted from each channel, in the order of the channels.
    pub mean: [f32; 3],
    /// Divides each channel, in the order of the channels; not zero.
    pub deviation: [f32; 3],
    /// What the padding shows in every channel, 0..255, before mean and deviation.
    pub padding: f32,
}

/// How many kinds of frames (size, format, colours) a writer keeps tables for: the cameras of one worker
/// thread take turns.
const MAX_SAMPLERS: usize = 4;

/// Writes inputs for one network. Keeps tables and row buffers for the kinds of frames that it saw last.
#[derive(Clone, Debug)]
pub struct InputWriter {
    pixels: PixelScale,
    isa: Isa,
    /// Most recently used first.
    samplers: Vec<Sampler>,
}

impl InputWriter {
    /// A writer for a network that wants its pixels like this.
    pub fn new(pixels: PixelScale) -> Self {
        Self { pixels, isa: Isa::best(), samplers: Vec::new() }
    }

    /// Writes the frame as three planes of 32-bit floats (NCHW with N = 1), padding included.
    pub fn write_planar_f32(
        &mut self,
        frame: &Frame,
        placement: &Placement,
        out: &mut [f32],
    ) -> Result<(), VisionError> {
        let order = self.pixels.order;
        let (isa, sampler, tone) = self.prepare(frame, placement)?;
        let columns = placement.input.width as usize;
        let plane = columns * placement.input.height as usize;
        if out.len() != 3 * plane {
            return Err(VisionError::BufferSize { expected: 3 * plane, found: out.len() });
        }
        let scaled_columns = placement.scaled.width as usize;
        let scaled = placement.scaled.height as usize * columns;
        let (first, rest) = out.split_at_mut(plane);
        let (second, third) = rest.split_at_mut(plane);
        for (values, grey) in [&mut *first, &mut *second, &mut *third].into_iter().zip(tone.padding()) {
            for row in values[..scaled].chunks_exact_mut(columns) {
                row[scaled_columns..].fill(grey);
            }
            values[scaled..].fill(grey);
        }
        let (red, green, blue) = match order {
            ColourOrder::Rgb => (first, second, third),
            ColourOrder::Bgr => (third, second, first),
        };
        let [red, green, blue] = [red, green, blue].map(|values| values[..scaled].chunks_exact_mut(columns));
        for (y, ((red, green), blue)) in red.zip(green).zip(blue).enumerate() {
            let row = sampler.sample(isa, frame, y);
            isa.run(ToPlanes { tone, row, out: [red, green, blue] });
        }
        Ok(())
    }

    /// Writes the frame as packed pixels (NHWC with N = 1), padding included: four bytes a pixel, of which three
    /// are the quantised channels in the network's order and the fourth is the quantiser's zero.
    /// Of each row of `out` nothing is written beyond the pixels.
    ///
    /// The bytes are those that [`Quantiser::quantise`] makes of [`InputWriter::write_planar_f32`]'s values.
    pub fn write_packed_u8(
        &mut self,
        frame: &Frame,
        placement: &Placement,
        quantiser: Quantiser,
        mut out: PackedRows<'_>,
    ) -> Result<(), VisionError> {
        let (isa, sampler, tone) = self.prepare(frame, placement)?;
        out.check(placement.input)?;
        let packer = tone.packer(quantiser);
        let [first, second, third] = tone.padding().map(|grey| quantiser.quantise(grey));
        let grey = [first, second, third, quantiser.zero];
        let scaled_columns = placement.scaled.width as usize;
        for y in 0..placement.input.height as usize {
            let row = out.row(y, placement.input.width as usize);
            if y < placement.scaled.height as usize {
                let (picture, padding) = row.split_at_mut(scaled_columns);
                padding.fill(grey);
                isa.run(ToPacked { tone, packer, row: sampler.sample(isa, frame, y), out: picture });
            } else {
                row.fill(grey);
            }
        }
        Ok(())
    }

    /// What writing this frame needs, with tables that are made when its kind is new.
    fn prepare(&mut self, frame: &Frame, placement: &Placement) -> Result<(Isa, &mut Sampler, Tone), VisionError> {
        if frame.size != placement.picture {
            return Err(VisionError::OtherPicture { frame: frame.size, placed: placement.picture });
        }
        let key = Key::of(frame, placement);
        match self.samplers.iter().position(|sampler| sampler.key == key) {
            Some(at) => self.samplers[..=at].rotate_right(1),
            None => {
                self.samplers.truncate(MAX_SAMPLERS - 1);
                self.samplers.insert(0, Sampler::new(key));
            }
        }
        let sampler = &mut self.samplers[0];
        let tone = Tone::new(sampler.coefficients, self.pixels);
        Ok((self.isa, sampler, tone))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_packed;
