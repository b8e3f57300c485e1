//! From luma and chroma to what the network wants to see: colour conversion and normalisation, a row at a time.

use super::colour::{Coefficients, NEUTRAL};
use super::isa::Work;
use super::packed::{PIXEL_BYTES, Packer, Quantiser};
use super::{ColourOrder, PixelScale};

/// Colour conversion and normalisation of one pixel, with channels in the order red, green, blue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tone {
    coefficients: Coefficients,
    mean: [f32; 3],
    factor: [f32; 3],
    /// The place of red, green and blue in the network's order.
    places: [usize; 3],
    padding: f32,
}

impl Tone {
    pub(super) fn new(coefficients: Coefficients, pixels: PixelScale) -> Self {
        let places = match pixels.order {
            ColourOrder::Rgb => [0, 1, 2],
            ColourOrder::Bgr => [2, 1, 0],
        };
        Self {
            coefficients,
            mean: places.map(|place| pixels.mean[place]),
            factor: places.map(|place| 1.0 / pixels.deviation[place]),
            places,
            padding: pixels.padding,
        }
    }

    /// What the padding shows, in the network's order of channels.
    pub(super) fn padding(&self) -> [f32; 3] {
        self.places.map(|channel| (self.padding - self.mean[channel]) * self.factor[channel])
    }

    /// Packs what this makes of a pixel. The ends of an 8-bit channel become ends of the quantised one: the way
    /// from one to the other only rises, or only falls, so cutting once after it is the same as cutting before
    /// and after.
    pub(super) fn packer(&self, quantiser: Quantiser) -> Packer {
        let [low, high] = [0.0, 255.0].map(|end| self.normalised([end; 3]));
        Packer::new(quantiser, [[low[0], high[0]], [low[1], high[1]], [low[2], high[2]]], self.places)
    }

    /// Red, green, blue; not cut at the ends of an 8-bit channel.
    #[inline(always)]
    fn colours(&self, luma: f32, cb: f32, cr: f32) -> [f32; 3] {
        let c = &self.coefficients;
        let (light, cb, cr) = ((luma - c.black) * c.luma, cb - NEUTRAL, cr - NEUTRAL);
        [light + c.red_cr * cr, light + c.green_cb * cb + c.green_cr * cr, light + c.blue_cb * cb]
    }

    #[inline(always)]
    fn normalised(&self, [red, green, blue]: [f32; 3]) -> [f32; 3] {
        let (mean, factor) = (&self.mean, &self.factor);
        [(red - mean[0]) * factor[0], (green - mean[1]) * factor[1], (blue - mean[2]) * factor[2]]
    }
}

/// Cuts at the ends of an 8-bit channel. The fraction is kept: rounding would only add noise.
#[inline(always)]
fn byte(value: f32) -> f32 {
    value.clamp(0.0, 255.0)
}

/// A row as luma and chroma.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) luma: &'a [f32],
    pub(super) cb: &'a [f32],
    pub(super) cr: &'a [f32],
}

/// Writes a row as three rows of floats: red, green, blue.
pub(super) struct ToPlanes<'a> {
    pub(super) tone: Tone,
    pub(super) row: Row<'a>,
    pub(super) out: [&'a mut [f32]; 3],
}

impl Work for ToPlanes<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { tone, row: Row { luma, cb, cr }, out: [red, green, blue] } = self;
        let targets = red.iter_mut().zip(green).zip(blue);
        let sources = luma.iter().zip(cb).zip(cr);
        for (((red, green), blue), ((luma, cb), cr)) in targets.zip(sources) {
            let [r, g, b] = tone.colours(*luma, *cb, *cr);
            [*red, *green, *blue] = tone.normalised([byte(r), byte(g), byte(b)]);
        }
    }
}

/// Writes a row as packed pixels.
pub(super) struct ToPacked<'a> {
    pub(super) tone: Tone,
    pub(super) packer: Packer,
    pub(super) row: Row<'a>,
    pub(super) out: &'a mut [[u8; PIXEL_BYTES]],
}

impl Work for ToPacked<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { tone, packer, row: Row { luma, cb, cr }, out } = self;
        let sources = luma.iter().zip(cb).zip(cr);
        for (out, ((luma, cb), cr)) in out.iter_mut().zip(sources) {
            *out = packer.pack(tone.normalised(tone.colours(*luma, *cb, *cr)));
        }
    }
}
