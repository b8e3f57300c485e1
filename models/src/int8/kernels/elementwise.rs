//! Everything that is not a convolution: one body for all processors. AVX-512 has its own for some of it.
//!
//! Written over blocks of bytes in arrays, without branches inside, `inline(always)`: the compiler makes vector code of
//! it for the processor of whoever calls it. These steps are a small share of a network's time; convolutions have kernels
//! of their own.

use super::arena::Memory;
use super::convolution::{Ending, Prepared};
use super::finish::Finisher;
use super::pack::GROUP;
use super::team::Part;
use crate::int8::steps::{
    Depthwise, Dequantise, MaxPool, Operand, Output, Place, Resampling, Step, Sum, Surround, Table, Taps, Window,
};

/// Does a part of a step.
///
/// # Safety
/// [`super::check`] has passed the step for an arena of at most this size. Nobody else touches the arena but the
/// other parts of the same step.
#[inline(always)]
pub(super) unsafe fn run(memory: Memory<'_>, step: &Step, part: Part) {
    // SAFETY: the caller's promise.
    unsafe {
        match step {
            Step::Surround(Surround { tensor, zero }) => surround(memory, tensor, *zero, part),
            // Convolutions are made ready in their own form; this one cannot come here.
            Step::Convolution(_) => {}
            Step::Depthwise(step) => depthwise(memory, step, part),
            Step::MaxPool(step) => max_pool(memory, step, part),
            Step::Sum(step) => sum(memory, step, part),
            Step::Table(step) => table(memory, step, part),
            Step::Dequantise(step) => dequantise(memory, step, part),
        }
    }
}

/// Reads a block.
///
/// # Safety
/// As for [`Memory::read`].
#[inline(always)]
unsafe fn load<const L: usize>(memory: Memory<'_>, at: usize) -> [u8; L] {
    let mut block = [0; L];
    // SAFETY: the caller's promise.
    block.copy_from_slice(unsafe { memory.read(at, L) });
    block
}

/// Writes a block.
///
/// # Safety
/// As for [`Memory::write`].
#[inline(always)]
unsafe fn save<const L: usize>(memory: Memory<'_>, at: usize, block: [u8; L]) {
    // SAFETY: the caller's promise.
    unsafe { memory.write(at, L).copy_from_slice(&block) }
}

/// A block out of a slice.
#[inline(always)]
fn part_of<const L: usize, T: Copy + Default>(slice: &[T], at: usize) -> [T; L] {
    let mut block = [T::default(); L];
    block.copy_from_slice(&slice[at..at + L]);
    block
}

/// Does the body for each block of `count` bytes: as many of 32 as fit, then of 8, then of 1. The length is a constant
/// in the body, which is what makes vector code of it.
macro_rules! blocks {
    ($count:expr, |$at:ident, $lanes:ident| $body:block) => {
        let (mut $at, count): (usize, usize) = (0, $count);
        blocks!(@of 64, count, $at, $lanes, $body);
        blocks!(@of 32, count, $at, $lanes, $body);
        blocks!(@of 16, count, $at, $lanes, $body);
        blocks!(@of 1, count, $at, $lanes, $body);
    };
    (@of $length:literal, $count:ident, $at:ident, $lanes:ident, $body:block) => {
        while $count - $at >= $length {
            const $lanes: usize = $length;
            $body
            $at += $length;
        }
    };
}

/// How a row falls into pieces whose bytes follow one another in all places: `(pieces, bytes of each)`.
#[inline(always)]
pub(super) fn pieces(places: &[&Place]) -> (usize, usize) {
    let first = places[0];
    if places.iter().all(|place| place.pixel == place.channels) {
        (1, first.width * first.channels)
    } else {
        (first.width, first.channels)
    }
}

/// Fills the pixels around a tensor.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
pub(super) unsafe fn surround(memory: Memory<'_>, place: &Place, zero: u8, part: Part) {
    let Place { row, pixel, height, width, channels, halo, .. } = *place;
    if halo == 0 {
        return;
    }
    let corner = place.offset - halo * row - halo * pixel;
    // SAFETY: the pixels around a checked place lie in the arena and are no other part's.
    let fill = |at: usize, pixels: usize| unsafe {
        if pixel == channels {
            memory.write(at, pixels * pixel).fill(zero);
        } else {
            for x in 0..pixels {
                memory.write(at + x * pixel, channels).fill(zero);
            }
        }
    };
    for y in part.share(height + 2 * halo, 1) {
        let at = corner + y * row;
        if y < halo || y >= halo + height {
            fill(at, width + 2 * halo);
        } else {
            fill(at, halo);
            fill(at + (halo + width) * pixel, halo);
        }
    }
}

/// Fills what lies around a convolution's output.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
pub(super) unsafe fn surround_output(memory: Memory<'_>, step: &Prepared, part: Part) {
    if let Some((place, zero)) = &step.surround {
        // SAFETY: the caller's promise.
        unsafe { surround(memory, place, *zero, part) }
    }
}

/// Finishes the values of one pixel's group of channels and stores those that exist.
///
/// # Safety
/// The step is checked, `target` is a pixel of its output, and that pixel is the caller's.
#[inline(always)]
pub(super) unsafe fn store(
    memory: Memory<'_>,
    step: &Prepared,
    group: usize,
    target: usize,
    mut values: [f32; GROUP],
) {
    let (first, count) = (group * GROUP, step.valid(group, 1));
    // SAFETY: the caller's promise.
    unsafe {
        if step.ending == Ending::Floats {
            step.finisher.activate(&mut values);
            memory.write_floats(target + first * 4, count).copy_from_slice(&values[..count]);
        } else {
            let bytes = step.finisher.bytes(values);
            if count == GROUP {
                memory.write(target + first, GROUP).copy_from_slice(&bytes);
            } else {
                memory.write(target + first, count).copy_from_slice(&bytes[..count]);
            }
        }
    }
}

/// The first byte of the window of an output pixel; it may lie before the tensor's first pixel.
#[inline(always)]
fn corner(input: &Place, window: &Window, y: usize, x: usize) -> usize {
    let at = input.at(y * window.stride[0], x * window.stride[1]);
    at - window.padding[0] * input.row - window.padding[1] * input.pixel
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn depthwise(memory: Memory<'_>, step: &Depthwise, part: Part) {
    let Depthwise { input, window, weights, finish } = step;
    let (height, width, finisher) = match finish.output {
        Output::Bytes { place, rescale, zero } => {
            // SAFETY: the caller's promise.
            unsafe { surround(memory, &place, zero, part) };
            (place.height, place.width, Finisher::new(finish.activation, rescale, zero))
        }
        Output::Floats { height, width, .. } => (height, width, Finisher::new(finish.activation, 1.0, 0)),
    };
    for y in part.share(height, 1) {
        for x in 0..width {
            let corner = corner(input, window, y, x);
            blocks!(input.channels, |first, LANES| {
                let mut sums: [i32; LANES] = part_of(&finish.bias, first);
                for ky in 0..window.size[0] {
                    for kx in 0..window.size[1] {
                        let right = kx * window.dilation[1] * input.pixel;
                        let at = corner + ky * window.dilation[0] * input.row + right + first;
                        // SAFETY: the window of a checked step's pixel.
                        let bytes: [u8; LANES] = unsafe { load(memory, at) };
                        let from = (ky * window.size[1] + kx) * input.channels + first;
                        let kernel: [i8; LANES] = part_of(weights, from);
                        for ((sum, byte), weight) in sums.iter_mut().zip(bytes).zip(kernel) {
                            // A byte times a weight fits 16 bits, for which processors have a faster product.
                            let product = i16::from(byte).wrapping_mul(i16::from(weight));
                            *sum = sum.wrapping_add(i32::from(product));
                        }
                    }
                }
                let scale: [f32; LANES] = part_of(&finish.scale, first);
                let mut values = [0.0_f32; LANES];
                for ((value, sum), scale) in values.iter_mut().zip(sums).zip(scale) {
                    *value = sum as f32 * scale;
                }
                // SAFETY: an output pixel of a checked step, in a row of this part.
                unsafe {
                    match &finish.output {
                        Output::Bytes { place, .. } => {
                            save(memory, place.at(y, x) + first, finisher.bytes(values));
                        }
                        Output::Floats { offset, width, channels, .. } => {
                            finisher.activate(&mut values);
                            let at = offset + ((y * width + x) * channels + first) * 4;
                            memory.write_floats(at, LANES).copy_from_slice(&values);
                        }
                    }
                }
            });
        }
    }
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn max_pool(memory: Memory<'_>, step: &MaxPool, part: Part) {
    let MaxPool { input, window, output, zero } = step;
    // SAFETY: the caller's promise.
    unsafe { surround(memory, output, *zero, part) };
    // Bytes from a place of the window to the next.
    let down_right = [window.dilation[0] * input.row, window.dilation[1] * input.pixel];
    for y in part.share(output.height, 1) {
        let rows = inside(window, 0, y, input.height);
        for x in 0..output.width {
            let columns = inside(window, 1, x, input.width);
            // The first pixel of the window that lies on the input.
            let row = y * window.stride[0] + rows.start * window.dilation[0] - window.padding[0];
            let column = x * window.stride[1] + columns.start * window.dilation[1] - window.padding[1];
            let corner = input.at(row, column);
            let taps = [rows.len(), columns.len()];
            blocks!(output.channels, |first, LANES| {
                // SAFETY: pixels of the input, and an output pixel of a checked step, in a row of this part.
                unsafe {
                    let most: [u8; LANES] = greatest_of(memory, corner + first, taps, down_right);
                    save(memory, output.at(y, x) + first, most);
                }
            });
        }
    }
}

/// The greatest byte of each channel over a window.
///
/// # Safety
/// The bytes lie in the arena and nobody writes them.
#[inline(always)]
unsafe fn greatest_of<const L: usize>(
    memory: Memory<'_>,
    corner: usize,
    [rows, columns]: [usize; 2],
    [down, right]: [usize; 2],
) -> [u8; L] {
    let mut most = [0; L];
    for row in 0..rows {
        for column in 0..columns {
            // SAFETY: the caller's promise.
            let bytes = unsafe { load(memory, corner + row * down + column * right) };
            most = greatest(most, bytes);
        }
    }
    most
}

/// The greater byte of each place. By value: a compiler that sees arrays in memory here takes byte after byte.
#[inline(always)]
fn greatest<const L: usize>(one: [u8; L], other: [u8; L]) -> [u8; L] {
    let mut greatest = [0; L];
    for at in 0..L {
        greatest[at] = one[at].max(other[at]);
    }
    greatest
}

/// The places of a window, along one axis, that lie on the input.
#[inline(always)]
fn inside(window: &Window, axis: usize, at: usize, length: usize) -> std::ops::Range<usize> {
    let (dilation, start) = (window.dilation[axis], at * window.stride[axis]);
    let first = window.padding[axis].saturating_sub(start).div_ceil(dilation);
    let end = (length + window.padding[axis]).saturating_sub(start).div_ceil(dilation);
    first..end.min(window.size[axis])
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn sum(memory: Memory<'_>, step: &Sum, part: Part) {
    let Sum { operands, activation, output, zero } = step;
    // SAFETY: the caller's promise.
    unsafe { surround(memory, output, *zero, part) };
    let finisher = Finisher::new(*activation, 1.0, *zero);
    let dense = operands
        .iter()
        .all(|operand| operand.resampling.is_none() && operand.input.pixel == operand.input.channels)
        && output.pixel == output.channels;
    let (pieces, length) =
        if dense { (1, output.width * output.channels) } else { (output.width, output.channels) };
    for y in part.share(output.height, 1) {
        for x in 0..pieces {
            let target = output.at(y, x);
            // A second operand that is not there adds nothing: its ratio is zero.
            let one = Corners::new(&operands[0], y, x);
            let other = operands.get(1).map_or(Corners { ratio: 0.0, ..one }, |other| Corners::new(other, y, x));
            // SAFETY: pixels of the inputs, which are no part of the output, and an output pixel of a checked step, in
            // a row of this part.
            unsafe {
                match (one.resampled, other.resampled) {
                    (false, false) => channels::<false, false>(memory, &one, &other, length, target, &finisher),
                    (false, true) => channels::<false, true>(memory, &one, &other, length, target, &finisher),
                    (true, false) => channels::<true, false>(memory, &one, &other, length, target, &finisher),
                    (true, true) => channels::<true, true>(memory, &one, &other, length, target, &finisher),
                }
            }
        }
    }
}

/// An operand at one output pixel.
#[derive(Clone, Copy)]
pub(super) struct Corners {
    /// Upper left, upper right, lower left, lower right.
    pub(super) at: [usize; 4],
    /// Of the columns: left and right; of the rows: upper and lower.
    pub(super) weights: [f32; 4],
    pub(super) resampled: bool,
    pub(super) zero: f32,
    pub(super) ratio: f32,
}

impl Corners {
    #[inline(always)]
    pub(super) fn new(operand: &Operand, y: usize, x: usize) -> Self {
        let Operand { input, ratio, zero, resampling } = operand;
        let (at, weights) = match resampling.as_deref() {
            // The others add exact zeros.
            None => ([input.at(y, x); 4], [1.0, 0.0, 1.0, 0.0]),
            Some(Resampling { rows, columns }) => {
                let Taps { at: [upper, lower], weights: [u, l] } = rows[y];
                let Taps { at: [left, right], weights: [a, b] } = columns[x];
                let at =
                    [input.at(upper, left), input.at(upper, right), input.at(lower, left), input.at(lower, right)];
                (at, [a, b, u, l])
            }
        };
        Self { at, weights, resampled: resampling.is_some(), zero: *zero, ratio: *ratio }
    }

    /// The values of some channels from `first` on.
    ///
    /// # Safety
    /// The bytes of these channels at each corner lie in the arena, and nobody writes them.
    #[inline(always)]
    unsafe fn values<const RESAMPLED: bool, const L: usize>(&self, memory: Memory<'_>, first: usize) -> [f32; L] {
        let Self { weights: [left, right, upper, lower], zero, ratio, .. } = *self;
        let mut values = [0.0_f32; L];
        // SAFETY: the caller's promise.
        unsafe {
            let a: [u8; L] = load(memory, self.at[0] + first);
            if RESAMPLED {
                let b: [u8; L] = load(memory, self.at[1] + first);
                let c: [u8; L] = load(memory, self.at[2] + first);
                let d: [u8; L] = load(memory, self.at[3] + first);
                for at in 0..L {
                    let above = f32::from(a[at]) * left + f32::from(b[at]) * right;
                    let below = f32::from(c[at]) * left + f32::from(d[at]) * right;
                    values[at] = ((above * upper + below * lower) - zero) * ratio;
                }
            } else {
                for at in 0..L {
                    values[at] = (f32::from(a[at]) - zero) * ratio;
                }
            }
        }
        values
    }
}

/// All channels of one output pixel.
///
/// # Safety
/// The `length` bytes at each corner and at the target lie in the arena; nobody writes the former, and the latter are
/// the caller's.
#[inline(always)]
unsafe fn channels<const ONE_RESAMPLED: bool, const OTHER_RESAMPLED: bool>(
    memory: Memory<'_>,
    one: &Corners,
    other: &Corners,
    length: usize,
    target: usize,
    finisher: &Finisher,
) {
    blocks!(length, |first, LANES| {
        // SAFETY: the caller's promise.
        unsafe {
            let mut values: [f32; LANES] = one.values::<ONE_RESAMPLED, LANES>(memory, first);
            let more: [f32; LANES] = other.values::<OTHER_RESAMPLED, LANES>(memory, first);
            for at in 0..LANES {
                values[at] += more[at];
            }
            save(memory, target + first, finisher.bytes(values));
        }
    });
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn table(memory: Memory<'_>, step: &Table, part: Part) {
    let Table { input, table, output, zero } = step;
    // SAFETY: the caller's promise.
    unsafe { surround(memory, output, *zero, part) };
    let (pieces, length) = pieces(&[output, input]);
    for y in part.share(output.height, 1) {
        for x in 0..pieces {
            blocks!(length, |first, LANES| {
                // SAFETY: a pixel of the input and one of the output, in a row of this part. Nothing is borrowed
                // between reading and writing, so the places may be the same.
                unsafe {
                    let mut block: [u8; LANES] = load(memory, input.at(y, x) + first);
                    for byte in &mut block {
                        *byte = table[usize::from(*byte)];
                    }
                    save(memory, output.at(y, x) + first, block);
                }
            });
        }
    }
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn dequantise(memory: Memory<'_>, step: &Dequantise, part: Part) {
    let Dequantise { input, table, offset } = step;
    let (pieces, length) = pieces(&[input]);
    for y in part.share(input.height, 1) {
        for x in 0..pieces {
            let to = offset + (y * input.width + x) * input.channels * 4;
            // SAFETY: a pixel of the input, and its floats, in a row of this part.
            unsafe {
                let bytes = memory.read(input.at(y, x), length);
                for (value, byte) in memory.write_floats(to, length).iter_mut().zip(bytes) {
                    *value = table[usize::from(*byte)];
                }
            }
        }
    }
}
