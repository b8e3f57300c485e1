//! The steps' formulas as they stand in [`crate::int8::steps`], one value at a time.
//!
//! For comparison only: every other kind of kernels gives the same bytes. Nothing is shared with them but the
//! exponential. The whole step is done by one member of the team.

use super::arena::Memory;
use super::exp::exp;
use super::finish::{greater, lesser};
use super::pack::Layout;
use crate::int8::steps::{
    Activation, Convolution, Depthwise, Dequantise, Finish, MaxPool, Operand, Output, Place, Step, Sum, Surround,
    Table, Window,
};

/// Does a step.
///
/// # Safety
/// As for [`super::elementwise::run`]; the caller does all parts.
pub(super) unsafe fn run(memory: Memory<'_>, step: &Step) {
    let mut scalars = Scalars(memory);
    match step {
        Step::Surround(Surround { tensor, zero }) => scalars.surround(tensor, *zero),
        Step::Convolution(step) => scalars.convolution(step),
        Step::Depthwise(step) => scalars.depthwise(step),
        Step::MaxPool(step) => scalars.max_pool(step),
        Step::Sum(step) => scalars.sum(step),
        Step::Table(step) => scalars.table(step),
        Step::Dequantise(step) => scalars.dequantise(step),
    }
}

/// The arena, byte by byte. Made in [`run`] alone, for a checked step.
struct Scalars<'a>(Memory<'a>);

impl Scalars<'_> {
    fn get(&self, at: usize) -> u8 {
        // SAFETY: see the type; every place of a checked step lies in the arena.
        unsafe { self.0.read(at, 1)[0] }
    }

    fn set(&mut self, at: usize, byte: u8) {
        // SAFETY: as above, and nothing is borrowed at the moment.
        unsafe { self.0.write(at, 1)[0] = byte }
    }

    fn set_float(&mut self, at: usize, value: f32) {
        // SAFETY: as above.
        unsafe { self.0.write(at, 4).copy_from_slice(&value.to_ne_bytes()) }
    }

    /// The byte under a window's place, for the output pixel (y, x); it may lie around the tensor.
    fn under(
        &self,
        input: &Place,
        window: &Window,
        [y, x]: [usize; 2],
        [ky, kx]: [usize; 2],
        channel: usize,
    ) -> u8 {
        let axis = |at: usize, k: usize, axis: usize| {
            (at * window.stride[axis] + k * window.dilation[axis]) as isize - window.padding[axis] as isize
        };
        let (y, x) = (axis(y, ky, 0), axis(x, kx, 1));
        let at = input.offset as isize + y * input.row as isize + x * input.pixel as isize;
        self.get(at as usize + channel)
    }

    fn surround(&mut self, place: &Place, zero: u8) {
        let halo = place.halo as isize;
        for y in -halo..place.height as isize + halo {
            for x in -halo..place.width as isize + halo {
                let inside = (0..place.height as isize).contains(&y) && (0..place.width as isize).contains(&x);
                if !inside {
                    let at = place.offset as isize + y * place.row as isize + x * place.pixel as isize;
                    for channel in 0..place.channels {
                        self.set(at as usize + channel, zero);
                    }
                }
            }
        }
    }

    fn convolution(&mut self, step: &Convolution) {
        let Convolution { input, window, weights, finish } = step;
        let Layout::Plain(plain) = weights.layout() else { return };
        let [height, width] = window.size;
        self.finish(finish, weights.out_channels(), |scalars, y, x, out| {
            let mut sum = finish.bias[out];
            for channel in 0..input.channels {
                for ky in 0..height {
                    for kx in 0..width {
                        let byte = scalars.under(input, window, [y, x], [ky, kx], channel);
                        let weight = plain[((out * input.channels + channel) * height + ky) * width + kx];
                        sum = sum.wrapping_add(i32::from(byte) * i32::from(weight));
                    }
                }
            }
            sum
        });
    }

    fn depthwise(&mut self, step: &Depthwise) {
        let Depthwise { input, window, weights, finish } = step;
        let [height, width] = window.size;
        self.finish(finish, input.channels, |scalars, y, x, channel| {
            let mut sum = finish.bias[channel];
            for ky in 0..height {
                for kx in 0..width {
                    let byte = scalars.under(input, window, [y, x], [ky, kx], channel);
                    let weight = weights[(ky * width + kx) * input.channels + channel];
                    sum = sum.wrapping_add(i32::from(byte) * i32::from(weight));
                }
            }
            sum
        });
    }

    /// Stores what becomes of `sum(y, x, channel)`.
    fn finish(&mut self, finish: &Finish, channels: usize, sum: impl Fn(&Self, usize, usize, usize) -> i32) {
        let (height, width) = match finish.output {
            Output::Bytes { place, zero, .. } => {
                self.surround(&place, zero);
                (place.height, place.width)
            }
            Output::Floats { height, width, .. } => (height, width),
        };
        for y in 0..height {
            for x in 0..width {
                for channel in 0..channels {
                    let value = sum(self, y, x, channel) as f32 * finish.scale[channel];
                    let value = activated(finish.activation, value);
                    match finish.output {
                        Output::Bytes { place, rescale, zero } => {
                            self.set(place.at(y, x) + channel, byte(value * rescale, zero));
                        }
                        Output::Floats { offset, width, channels, .. } => {
                            self.set_float(offset + ((y * width + x) * channels + channel) * 4, value);
                        }
                    }
                }
            }
        }
    }

    fn max_pool(&mut self, step: &MaxPool) {
        let MaxPool { input, window, output, zero } = step;
        self.surround(output, *zero);
        for y in 0..output.height {
            for x in 0..output.width {
                for channel in 0..output.channels {
                    let mut most = 0;
                    for ky in 0..window.size[0] {
                        for kx in 0..window.size[1] {
                            let row = (y * window.stride[0] + ky * window.dilation[0])
                                .checked_sub(window.padding[0])
                                .filter(|row| *row < input.height);
                            let column = (x * window.stride[1] + kx * window.dilation[1])
                                .checked_sub(window.padding[1])
                                .filter(|column| *column < input.width);
                            if let (Some(row), Some(column)) = (row, column) {
                                most = self.get(input.at(row, column) + channel).max(most);
                            }
                        }
                    }
                    self.set(output.at(y, x) + channel, most);
                }
            }
        }
    }

    fn sum(&mut self, step: &Sum) {
        let Sum { operands, activation, output, zero } = step;
        self.surround(output, *zero);
        for y in 0..output.height {
            for x in 0..output.width {
                for channel in 0..output.channels {
                    let mut value = self.operand(&operands[0], y, x, channel);
                    if let Some(second) = operands.get(1) {
                        value += self.operand(second, y, x, channel);
                    }
                    self.set(output.at(y, x) + channel, byte(activated(*activation, value), *zero));
                }
            }
        }
    }

    fn operand(&self, operand: &Operand, y: usize, x: usize, channel: usize) -> f32 {
        let Operand { input, ratio, zero, resampling } = operand;
        let get = |y, x| f32::from(self.get(input.at(y, x) + channel));
        let sample = match resampling {
            None => get(y, x),
            Some(resampling) => {
                let (rows, columns) = (resampling.rows[y], resampling.columns[x]);
                let [upper, lower] = rows.weights;
                let [left, right] = columns.weights;
                let above = get(rows.at[0], columns.at[0]) * left + get(rows.at[0], columns.at[1]) * right;
                let below = get(rows.at[1], columns.at[0]) * left + get(rows.at[1], columns.at[1]) * right;
                above * upper + below * lower
            }
        };
        (sample - zero) * ratio
    }

    fn table(&mut self, step: &Table) {
        let Table { input, table, output, zero } = step;
        self.surround(output, *zero);
        for y in 0..output.height {
            for x in 0..output.width {
                for channel in 0..output.channels {
                    let byte = self.get(input.at(y, x) + channel);
                    self.set(output.at(y, x) + channel, table[usize::from(byte)]);
                }
            }
        }
    }

    fn dequantise(&mut self, step: &Dequantise) {
        let Dequantise { input, table, offset } = step;
        for y in 0..input.height {
            for x in 0..input.width {
                for channel in 0..input.channels {
                    let value = table[usize::from(self.get(input.at(y, x) + channel))];
                    self.set_float(offset + ((y * input.width + x) * input.channels + channel) * 4, value);
                }
            }
        }
    }
}

fn activated(activation: Activation, value: f32) -> f32 {
    let sigmoid = |value: f32| 1.0 / (1.0 + exp(-value));
    match activation {
        Activation::None => value,
        Activation::LeakyRelu { slope } => greater(value, value * slope),
        Activation::Clamp { low, high } => lesser(greater(value, low), high),
        Activation::HardSwish => value * (lesser(greater(value + 3.0, 0.0), 6.0) * (1.0 / 6.0)),
        Activation::Sigmoid => sigmoid(value),
        Activation::Silu => value * sigmoid(value),
    }
}

fn byte(value: f32, zero: u8) -> u8 {
    let zero = i32::from(zero);
    let inside = value.clamp(-zero as f32, (255 - zero) as f32);
    (inside.round_ties_even() as i32 + zero) as u8
}
