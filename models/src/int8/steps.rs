//! The steps of an int8 program: what each computes, where its tensors lie, and with which numbers.
//!
//! Plain data. [`super::plan`] makes steps of a graph, [`super::kernels`] runs them; neither knows the other.
//! All places are bytes from the start of one arena.
//!
//! Every quantised tensor is `uint8` with one scale and one zero point: `real = scale * (byte - zero)`.
//! Rounding is to nearest, ties to even. Numbers that are not integers are 32-bit floats and every operation on
//! them is rounded by itself, in the order given here, so that all processors give the same bytes.

use std::sync::Arc;

use super::kernels::PackedWeights;

/// The largest number, without its sign, that a value may be multiplied with: products of sums with it stay finite.
pub(crate) const LARGEST_FACTOR: f32 = 4_294_967_296.0;

/// Where a tensor lies: one picture, channels last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Bytes from the start of the arena to the first channel of the pixel at row 0, column 0.
    pub(crate) offset: usize,
    /// Bytes from row to row.
    pub(crate) row: usize,
    /// Bytes from pixel to pixel: a multiple of 4. A tensor that is a part of a joined one has that one's.
    pub(crate) pixel: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// How many pixels around the tensor, on each side, exist in the arena. Whoever writes the tensor fills
    /// them (its own channels of them) with the zero point.
    pub(crate) halo: usize,
}

impl Place {
    /// Bytes from the start of the arena to a pixel.
    pub(crate) fn at(&self, y: usize, x: usize) -> usize {
        self.offset + y * self.row + x * self.pixel
    }

    /// The number of pixels, without those around it.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }
}

/// One step of a program.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Fills the pixels around a tensor that somebody else writes: the network's input.
    Surround(Surround),
    Convolution(Convolution),
    Depthwise(Depthwise),
    MaxPool(MaxPool),
    Sum(Sum),
    Table(Table),
    Dequantise(Dequantise),
}

/// See [`Step::Surround`].
#[derive(Clone, Debug)]
pub(crate) struct Surround {
    pub(crate) tensor: Place,
    pub(crate) zero: u8,
}

/// The window of a convolution or a pool: `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) size: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Pixels above and to the left of the input; what lies below and to the right follows from the output's size.
    pub(crate) padding: [usize; 2],
}

/// `sum = bias + Σ byte * weight` in 32-bit integers over the window and all input channels, then the [`Finish`].
/// The input's halo is at least as wide as the window reaches.
#[derive(Clone, Debug)]
pub(crate) struct Convolution {
    pub(crate) input: Place,
    pub(crate) window: Window,
    /// Packed for the kernels that will run this step.
    pub(crate) weights: Arc<PackedWeights>,
    pub(crate) finish: Finish,
}

/// The same with each output channel made of the input channel of the same number alone.
#[derive(Clone, Debug)]
pub(crate) struct Depthwise {
    pub(crate) input: Place,
    pub(crate) window: Window,
    /// `[window row][window column][channel]`, -128..=127.
    pub(crate) weights: Arc<[i8]>,
    pub(crate) finish: Finish,
}

/// From the integer sum of an output channel to what is stored.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    /// One an output channel, added before anything else. It has the input's zero point in it: bytes are
    /// multiplied as they are.
    pub(crate) bias: Arc<[i32]>,
    /// `value = sum as f32 * scale[channel]`, finite.
    pub(crate) scale: Arc<[f32]>,
    pub(crate) activation: Activation,
    pub(crate) output: Output,
}

/// Where finished values go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Output {
    /// `byte = round(clamp(value * rescale, 0 - zero, 255 - zero)) + zero`
    Bytes { place: Place, rescale: f32, zero: u8 },
    /// 32-bit floats of the processor's own byte order, `channels` of them a pixel without gaps, rows without
    /// gaps, from this multiple of 4 on.
    Floats { offset: usize, height: usize, width: usize, channels: usize },
}

/// What happens to a value before it is stored. Each is a formula over single 32-bit operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activation {
    None,
    /// `max(value, value * slope)`, slope 0..=1. ReLU has slope 0.
    LeakyRelu {
        slope: f32,
    },
    /// `min(max(value, low), high)`: ReLU6 and its like.
    Clamp {
        low: f32,
        high: f32,
    },
    /// `value * (min(max(value + 3, 0), 6) * (1 / 6))`
    HardSwish,
    /// `1 / (1 + exp(-value))`, with the exponential of `kernels::exp`.
    Sigmoid,
    /// `value * sigmoid(value)`
    Silu,
}

/// The largest byte of each window; pixels beyond the edge do not count.
#[derive(Clone, Debug)]
pub(crate) struct MaxPool {
    pub(crate) input: Place,
    pub(crate) window: Window,
    pub(crate) output: Place,
    pub(crate) zero: u8,
}

/// `byte = round(clamp(activation(Σ operand), 0 - zero, 255 - zero)) + zero`, the operands added in their order.
/// The activation's numbers are in steps of the output's scale.
#[derive(Clone, Debug)]
pub(crate) struct Sum {
    /// One or two.
    pub(crate) operands: Vec<Operand>,
    pub(crate) activation: Activation,
    pub(crate) output: Place,
    pub(crate) zero: u8,
}

/// `(sample - zero) * ratio`, where the sample is the byte at the pixel, or is interpolated out of four:
/// `(a * left + b * right) * upper + (c * left + d * right) * lower`.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) input: Place,
    /// The input's scale over the output's.
    pub(crate) ratio: f32,
    pub(crate) zero: f32,
    /// `None` where input and output are of one size.
    pub(crate) resampling: Option<Arc<Resampling>>,
}

/// For each output row and column the two input rows and columns that make it, and their weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resampling {
    pub(crate) rows: Vec<Taps>,
    pub(crate) columns: Vec<Taps>,
}

/// Two neighbours (or the same twice) and their weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Taps {
    pub(crate) at: [usize; 2],
    pub(crate) weights: [f32; 2],
}

/// Each byte replaced by the table's. The places may be the same; else they do not touch.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) input: Place,
    pub(crate) table: Arc<[u8; 256]>,
    pub(crate) output: Place,
    /// The output's zero point.
    pub(crate) zero: u8,
}

/// Each byte replaced by the table's float, stored as [`Output::Floats`] are, with the input's size.
#[derive(Clone, Debug)]
pub(crate) struct Dequantise {
    pub(crate) input: Place,
    pub(crate) table: Arc<[f32; 256]>,
    pub(crate) offset: usize,
}
