//! A network's input, written straight from the planes of a frame.
//!
//! One pass a target row: the source rows that make it are blended (whole rows, which the compiler turns into
//! vector code), the blended row is sampled at the target's columns, and colour conversion and normalisation
//! write the input. Luma and chroma go side by side and meet at the target's resolution, where there are
//! three to thirty times fewer pixels. Chroma is sampled as if each of its pixels covered its block of
//! 2×2, as the usual converters of training pictures do.
//!
//! Invariants: the planes are read in place; after the first frame of a size nothing is allocated; results
//! are plain `f32` arithmetic in a fixed order, the same on every machine.

mod colour;
mod taps;

use kerbside_core::frame::{ColourMatrix, ColourRange, Frame, PictureSize, PixelFormat};

use crate::VisionError;
use crate::placement::Placement;
use colour::{Coefficients, NEUTRAL};
use taps::Taps;

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
    /// Most recently used first.
    samplers: Vec<Sampler>,
}

impl InputWriter {
    /// A writer for a network that wants its pixels like this.
    pub fn new(pixels: PixelScale) -> Self {
        Self { pixels, samplers: Vec::new() }
    }

    /// Writes the frame as three planes of 32-bit floats (NCHW with N = 1), padding included.
    pub fn write_planar_f32(
        &mut self,
        frame: &Frame,
        placement: &Placement,
        out: &mut [f32],
    ) -> Result<(), VisionError> {
        let columns = placement.input.width as usize;
        let plane = columns * placement.input.height as usize;
        if frame.size != placement.picture {
            return Err(VisionError::OtherPicture { frame: frame.size, placed: placement.picture });
        }
        if out.len() != 3 * plane {
            return Err(VisionError::BufferSize { expected: 3 * plane, found: out.len() });
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

        let PixelScale { order, mean, deviation, padding } = self.pixels;
        let (first, rest) = out.split_at_mut(plane);
        let (second, third) = rest.split_at_mut(plane);
        let scaled_columns = placement.scaled.width as usize;
        let scaled_rows = placement.scaled.height as usize;
        let factor = deviation.map(|deviation| 1.0 / deviation);
        for (channel, values) in [&mut *first, &mut *second, &mut *third].into_iter().enumerate() {
            let grey = (padding - mean[channel]) * factor[channel];
            for row in values[..scaled_rows * columns].chunks_exact_mut(columns) {
                row[scaled_columns..].fill(grey);
            }
            values[scaled_rows * columns..].fill(grey);
        }
        // The planes in the order red, green, blue, and each one's mean and factor.
        let (red, green, blue, [r, g, b]) = match order {
            ColourOrder::Rgb => (first, second, third, [0, 1, 2]),
            ColourOrder::Bgr => (third, second, first, [2, 1, 0]),
        };
        let rows =
            red.chunks_exact_mut(columns).zip(green.chunks_exact_mut(columns)).zip(blue.chunks_exact_mut(columns));
        for (y, ((red, green), blue)) in rows.take(scaled_rows).enumerate() {
            sampler.sample(frame, y);
            let c = sampler.coefficients;
            let targets = red.iter_mut().zip(green).zip(blue);
            let sources = sampler.luma.iter().zip(&sampler.cb).zip(&sampler.cr);
            for (((red, green), blue), ((luma, cb), cr)) in targets.zip(sources) {
                let (light, cb, cr) = ((luma - c.black) * c.luma, cb - NEUTRAL, cr - NEUTRAL);
                *red = (byte(light + c.red_cr * cr) - mean[r]) * factor[r];
                *green = (byte(light + c.green_cb * cb + c.green_cr * cr) - mean[g]) * factor[g];
                *blue = (byte(light + c.blue_cb * cb) - mean[b]) * factor[b];
            }
        }
        Ok(())
    }
}

/// Cuts at the ends of an 8-bit channel. The fraction is kept: rounding would only add noise.
fn byte(value: f32) -> f32 {
    value.clamp(0.0, 255.0)
}

/// What the tables depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Key {
    picture: PictureSize,
    scaled: PictureSize,
    format: PixelFormat,
    matrix: ColourMatrix,
    range: ColourRange,
}

impl Key {
    fn of(frame: &Frame, placement: &Placement) -> Self {
        Self {
            picture: frame.size,
            scaled: placement.scaled,
            format: frame.format,
            matrix: frame.matrix,
            range: frame.range,
        }
    }
}

/// Samples one row of the scaled picture at a time into `luma`, `cb` and `cr`.
#[derive(Clone, Debug)]
struct Sampler {
    key: Key,
    coefficients: Coefficients,
    luma_columns: Taps,
    luma_rows: Taps,
    chroma_columns: Taps,
    chroma_rows: Taps,
    /// Source rows blended to one, at the source's width: luma; then Cb and Cr, interleaved for NV12.
    luma_blend: Vec<f32>,
    chroma_blend: Vec<f32>,
    /// The row at the target's width.
    luma: Vec<f32>,
    cb: Vec<f32>,
    cr: Vec<f32>,
}

impl Sampler {
    fn new(key: Key) -> Self {
        let (width, height) = (key.picture.width as usize, key.picture.height as usize);
        let (columns, rows) = (key.scaled.width as usize, key.scaled.height as usize);
        let luma_columns = Taps::new(width, columns);
        let luma_rows = Taps::new(height, rows);
        Self {
            key,
            coefficients: Coefficients::new(key.matrix, key.range),
            chroma_columns: luma_columns.halved(width),
            chroma_rows: luma_rows.halved(height),
            luma_columns,
            luma_rows,
            luma_blend: vec![0.0; width],
            chroma_blend: vec![0.0; 2 * width.div_ceil(2)],
            luma: vec![0.0; columns],
            cb: vec![0.0; columns],
            cr: vec![0.0; columns],
        }
    }

    fn sample(&mut self, frame: &Frame, y: usize) {
        blend(frame, 0, &self.luma_rows, y, &mut self.luma_blend);
        gather::<1>(&self.luma_blend, &self.luma_columns, &mut self.luma);
        match frame.format {
            PixelFormat::Nv12 => {
                blend(frame, 1, &self.chroma_rows, y, &mut self.chroma_blend);
                gather::<2>(&self.chroma_blend, &self.chroma_columns, &mut self.cb);
                gather::<2>(&self.chroma_blend[1..], &self.chroma_columns, &mut self.cr);
            }
            PixelFormat::I420 => {
                let half = self.chroma_blend.len() / 2;
                let (cb, cr) = self.chroma_blend.split_at_mut(half);
                blend(frame, 1, &self.chroma_rows, y, cb);
                blend(frame, 2, &self.chroma_rows, y, cr);
                gather::<1>(cb, &self.chroma_columns, &mut self.cb);
                gather::<1>(cr, &self.chroma_columns, &mut self.cr);
            }
        }
    }
}

/// The weighted sum of the source rows that make target row `y`.
fn blend(frame: &Frame, plane: usize, taps: &Taps, y: usize, out: &mut [f32]) {
    let plane = frame.plane(plane);
    let start = taps.starts[y];
    match &taps.weights[y * taps.count..][..taps.count] {
        [weight, other] => {
            let (above, below) = (plane.row(start, out.len()), plane.row(start + 1, out.len()));
            for ((out, above), below) in out.iter_mut().zip(above).zip(below) {
                *out = f32::from(*above) * weight + f32::from(*below) * other;
            }
        }
        weights => {
            out.fill(0.0);
            for (at, weight) in (start..).zip(weights) {
                let row = plane.row(at, out.len());
                for (out, value) in out.iter_mut().zip(row) {
                    *out += f32::from(*value) * weight;
                }
            }
        }
    }
}

/// Samples a blended row, whose values of one kind lie `STEP` apart, at the target's columns.
fn gather<const STEP: usize>(row: &[f32], taps: &Taps, out: &mut [f32]) {
    if taps.count == 2 {
        // Nearly every camera: a reduction by no more than two.
        let (weights, _) = taps.weights.as_chunks::<2>();
        for ((out, start), [weight, other]) in out.iter_mut().zip(&taps.starts).zip(weights) {
            let source = &row[start * STEP..][..STEP + 1];
            *out = source[0] * weight + source[STEP] * other;
        }
        return;
    }
    for (out, (start, weights)) in out.iter_mut().zip(taps.rows()) {
        let source = row[start * STEP..].iter().step_by(STEP);
        *out = source.zip(weights).map(|(value, weight)| value * weight).sum();
    }
}

#[cfg(test)]
mod tests;
