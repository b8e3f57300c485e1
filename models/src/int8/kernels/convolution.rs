//! What all convolution kernels share: a step made ready, and the walk over its output pixels.
//!
//! A convolution is a product of the weights with, for each output pixel, the bytes under its window. Those bytes lie
//! in a few runs, the same for every pixel but for where they begin; nothing is copied together. A kernel takes
//! a few pixels, a tile, and sums up for one block of output channels at a time. Tiles go across the ends of rows.

use std::sync::Arc;

use super::finish::Finisher;
use super::pack::{GROUP, PackedWeights};
use crate::int8::steps::{Activation, Convolution, Output, Place};

/// Bytes under a window without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Bytes from the window's first byte.
    pub(super) offset: usize,
    /// How many times four bytes.
    pub(super) quads: usize,
}

/// A rectangle of pixels: byte `offset + y * row + x * pixel`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raster {
    pub(super) offset: usize,
    pub(super) row: usize,
    pub(super) pixel: usize,
}

/// How finished values are stored, for kernels that do it in registers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ending {
    /// `max(value, value * slope)`, `* rescale`, clamp, round, `+ zero`.
    Linear { slope: f32, rescale: f32, low: f32, high: f32, zero: u8 },
    /// By the [`Finisher`], to bytes.
    Bytes,
    /// By the [`Finisher`], to floats.
    Floats,
}

/// A convolution, ready to run.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) weights: Arc<PackedWeights>,
    pub(super) runs: Box<[Run]>,
    /// The bytes of the output pixels' windows, and the output pixels'.
    pub(super) source: Raster,
    pub(super) target: Raster,
    pub(super) width: usize,
    pub(super) pixels: usize,
    pub(super) channels: usize,
    /// One a channel, zero for the channels that fill up the last group.
    pub(super) bias: Box<[i32]>,
    pub(super) scale: Box<[f32]>,
    pub(super) ending: Ending,
    pub(super) finisher: Finisher,
    /// The place whose surroundings the step fills, and with what.
    pub(super) surround: Option<(Place, u8)>,
}

impl Prepared {
    /// Makes ready a step that has passed [`super::check`].
    pub(super) fn new(step: &Convolution) -> Self {
        let Convolution { input, window, weights, finish } = step;
        let (rescale, zero) = match finish.output {
            Output::Bytes { rescale, zero, .. } => (rescale, zero),
            Output::Floats { .. } => (1.0, 0),
        };
        let (target, height, width, surround) = match finish.output {
            Output::Bytes { place, zero, .. } => {
                let raster = Raster { offset: place.offset, row: place.row, pixel: place.pixel };
                (raster, place.height, place.width, Some((place, zero)))
            }
            Output::Floats { offset, height, width, channels } => {
                (Raster { offset, row: width * channels * 4, pixel: channels * 4 }, height, width, None)
            }
        };
        let channels = weights.out_channels();
        let filled = weights.groups() * GROUP;
        let fill = |index: usize| index < channels;
        Self {
            weights: Arc::clone(weights),
            runs: runs(step),
            source: Raster {
                offset: input.offset - window.padding[0] * input.row - window.padding[1] * input.pixel,
                row: input.row * window.stride[0],
                pixel: input.pixel * window.stride[1],
            },
            target,
            width,
            pixels: height * width,
            channels,
            bias: (0..filled).map(|at| if fill(at) { finish.bias[at] } else { 0 }).collect(),
            scale: (0..filled).map(|at| if fill(at) { finish.scale[at] } else { 0.0 }).collect(),
            ending: ending(finish.activation, &finish.output),
            finisher: Finisher::new(finish.activation, rescale, zero),
            surround,
        }
    }

    /// The output pixels of a range, `P` at a time.
    #[inline(always)]
    pub(super) fn tiles<const P: usize>(&self, pixels: std::ops::Range<usize>) -> Tiles<'_, P> {
        let (y, x) = (pixels.start / self.width, pixels.start % self.width);
        Tiles { step: self, left: pixels.len(), y, x }
    }

    /// How many of `groups` groups from `group` on are channels, not filling.
    #[inline(always)]
    pub(super) fn valid(&self, group: usize, groups: usize) -> usize {
        (self.channels - group * GROUP).min(groups * GROUP)
    }
}

fn ending(activation: Activation, output: &Output) -> Ending {
    let Output::Bytes { rescale, zero, .. } = *output else { return Ending::Floats };
    let (low, high) = (0.0 - f32::from(zero), 255.0 - f32::from(zero));
    let linear = |slope, low, high| Ending::Linear { slope, rescale, low, high, zero };
    match activation {
        Activation::None => linear(1.0, low, high),
        Activation::LeakyRelu { slope } => linear(slope, low, high),
        // Rescaling keeps the order of values, also after rounding: clamping before it is clamping after it
        // to the rescaled bounds.
        Activation::Clamp { low: floor, high: ceiling } => {
            linear(1.0, (floor * rescale).clamp(low, high), (ceiling * rescale).clamp(low, high))
        }
        Activation::HardSwish | Activation::Sigmoid | Activation::Silu => Ending::Bytes,
    }
}

/// The bytes under a window, with runs that touch made one.
fn runs(step: &Convolution) -> Box<[Run]> {
    let Convolution { input, window, .. } = step;
    let quads = input.channels.div_ceil(4);
    let mut runs: Vec<Run> = Vec::new();
    for y in 0..window.size[0] {
        for x in 0..window.size[1] {
            let offset = y * window.dilation[0] * input.row + x * window.dilation[1] * input.pixel;
            match runs.last_mut() {
                Some(last) if last.offset + last.quads * 4 == offset => last.quads += quads,
                _ => runs.push(Run { offset, quads }),
            }
        }
    }
    runs.into_boxed_slice()
}

/// Places of a tile: bytes from the start of the arena.
#[derive(Clone, Copy)]
pub(super) struct Tile<const P: usize> {
    /// Each pixel's window.
    pub(super) sources: [usize; P],
    /// Each pixel's first channel of the output.
    pub(super) targets: [usize; P],
}

/// See [`Prepared::tiles`]. Where the range is no multiple of `P`, the last tile has its last pixel more than once.
pub(super) struct Tiles<'a, const P: usize> {
    step: &'a Prepared,
    left: usize,
    y: usize,
    x: usize,
}

impl<const P: usize> Tiles<'_, P> {
    /// The next tile.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<Tile<P>> {
        if self.left == 0 {
            return None;
        }
        let Raster { offset, row, pixel } = self.step.source;
        let mut source = offset + self.y * row + self.x * pixel;
        let Raster { offset: target_offset, row: target_row, pixel: target_pixel } = self.step.target;
        let mut target = target_offset + self.y * target_row + self.x * target_pixel;
        if self.left >= P && self.x + P <= self.step.width {
            self.left -= P;
            self.x += P;
            if self.x == self.step.width {
                self.x = 0;
                self.y += 1;
            }
            return Some(Tile {
                sources: std::array::from_fn(|at| source + at * pixel),
                targets: std::array::from_fn(|at| target + at * target_pixel),
            });
        }
        let mut tile = Tile { sources: [source; P], targets: [target; P] };
        for at in 0..P {
            tile.sources[at] = source;
            tile.targets[at] = target;
            // The last pixel is the tile's from where it comes to the end.
            if self.left > 1 {
                self.left -= 1;
                self.x += 1;
                source += pixel;
                target += target_pixel;
                if self.x == self.step.width {
                    self.x = 0;
                    self.y += 1;
                    source = offset + self.y * row;
                    target = target_offset + self.y * target_row;
                }
            } else {
                self.left = 0;
            }
        }
        Some(tile)
    }
}
