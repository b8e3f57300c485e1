//! AVX-512 VNNI: 64 multiply-accumulates an instruction. Convolutions, sums and tables have code of their own here.
//!
//! A tile is 10 pixels by two registers of 16 output channels: 20 sums, two registers of weights that all pixels share
//! and one that holds a quad of bytes 16 times over. The 20 sums hide the instruction's latency, and a load of bytes
//! serves two multiplications, so that loads do not limit. Where 16 output channels are left, 12 pixels by one.
//! Values are finished in the registers and stored as bytes.
//!
//! No closures here: one that uses these instructions cannot become a part of a function of the standard library
//! that does not, and a call in the middle of a tile moves all sums to memory and back.

#[allow(clippy::wildcard_imports, reason = "instructions, by the names that manuals give them")]
use std::arch::x86_64::*;
use std::hint::black_box;

use super::arena::Memory;
use super::convolution::{Ending, Prepared, Run, Tile};
use super::elementwise::{self, Corners};
use super::exp;
use super::pack::{GROUP, Layout, Quads};
use super::program::Ready;
use super::team::Part;
use crate::int8::steps::{Activation, Step, Sum, Table};

/// Multiply-accumulates of an instruction.
pub(super) const MACS: u64 = 64;

/// How a tile's values end; the cases that are worth code of their own.
const PLAIN: u8 = 0;
const LEAKY: u8 = 1;
const RESCALED: u8 = 2;
const LEAKY_RESCALED: u8 = LEAKY | RESCALED;
/// Through memory and the [`super::finish::Finisher`].
const OTHER: u8 = 4;

/// Does a part of a step.
///
/// # Safety
/// As for [`elementwise::run`]; the processor has the features.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn run(memory: Memory<'_>, step: &Ready, part: Part) {
    // SAFETY: the caller's promise.
    unsafe {
        match step {
            Ready::Convolution(step) => {
                elementwise::surround_output(memory, step, part);
                convolution(memory, step, part);
            }
            Ready::Other(Step::Table(step)) if is_x86_feature_detected!("avx512vbmi") => table(memory, step, part),
            Ready::Other(Step::Sum(step)) if is_linear(step.activation) => sum(memory, step, part),
            Ready::Other(step) => elementwise::run(memory, step, part),
        }
    }
}

/// Whether [`sum`] has the activation.
fn is_linear(activation: Activation) -> bool {
    matches!(activation, Activation::None | Activation::LeakyRelu { .. })
}

/// One or two tensors, resampled where need be, added: 16 channels at a time.
///
/// # Safety
/// As for [`run`]; the activation is linear.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sum(memory: Memory<'_>, step: &Sum, part: Part) {
    let Sum { operands, activation, output, zero } = step;
    // SAFETY: the caller's promise.
    unsafe { elementwise::surround(memory, output, *zero, part) };
    let slope = _mm512_set1_ps(if let Activation::LeakyRelu { slope } = activation { *slope } else { 1.0 });
    let low = _mm512_set1_ps(0.0 - f32::from(*zero));
    let high = _mm512_set1_ps(255.0 - f32::from(*zero));
    let zero = _mm512_set1_epi32(i32::from(*zero));
    for y in part.share(output.height, 1) {
        for x in 0..output.width {
            let one = Corners::new(&operands[0], y, x);
            let other = operands.get(1).map(|other| Corners::new(other, y, x));
            for first in (0..output.channels).step_by(GROUP) {
                let count = (output.channels - first).min(GROUP);
                let kept = ((1_u32 << count) - 1) as u16;
                // SAFETY: channels of pixels of the inputs and of the output, in a row of this part; the mask leaves
                // those beyond alone.
                unsafe {
                    let mut value = sample(memory, &one, first, count, kept);
                    if let Some(other) = &other {
                        value = _mm512_add_ps(value, sample(memory, other, first, count, kept));
                    }
                    value = _mm512_max_ps(value, _mm512_mul_ps(value, slope));
                    value = _mm512_min_ps(_mm512_max_ps(value, low), high);
                    let bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(value), zero));
                    let to = memory.write(output.at(y, x) + first, count).as_mut_ptr();
                    _mm_mask_storeu_epi8(to.cast(), kept, bytes);
                }
            }
        }
    }
}

/// The values of some channels of an operand.
///
/// # Safety
/// The `count` bytes from channel `first` on at each corner lie in the arena, and nobody writes them; `kept` has a
/// bit for each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sample(memory: Memory<'_>, corners: &Corners, first: usize, count: usize, kept: u16) -> __m512 {
    let Corners { at, weights: [left, right, upper, lower], resampled, zero, ratio } = *corners;
    let mut found = [_mm512_setzero_ps(); 4];
    for (found, at) in found[..if resampled { 4 } else { 1 }].iter_mut().zip(at) {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm_maskz_loadu_epi8(kept, memory.read(at + first, count).as_ptr().cast()) };
        *found = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
    }
    let [a, b, c, d] = found;
    let mut value = a;
    if resampled {
        let (left, right) = (_mm512_set1_ps(left), _mm512_set1_ps(right));
        let above = _mm512_add_ps(_mm512_mul_ps(a, left), _mm512_mul_ps(b, right));
        let below = _mm512_add_ps(_mm512_mul_ps(c, left), _mm512_mul_ps(d, right));
        let (upper, lower) = (_mm512_set1_ps(upper), _mm512_set1_ps(lower));
        value = _mm512_add_ps(_mm512_mul_ps(above, upper), _mm512_mul_ps(below, lower));
    }
    _mm512_mul_ps(_mm512_sub_ps(value, _mm512_set1_ps(zero)), _mm512_set1_ps(ratio))
}

/// A table of bytes, 64 at a time: the table lies in four registers, of which an instruction picks out of two.
///
/// # Safety
/// As for [`run`], and the processor has AVX-512 VBMI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn table(memory: Memory<'_>, step: &Table, part: Part) {
    let Table { input, table, output, zero } = step;
    // SAFETY: the caller's promise.
    unsafe { elementwise::surround(memory, output, *zero, part) };
    let (pieces, length) = elementwise::pieces(&[output, input]);
    let quarters: &[[u8; 64]] = table.as_chunks().0;
    let mut held = [_mm512_setzero_si512(); 4];
    for (held, quarter) in held.iter_mut().zip(quarters) {
        // SAFETY: 64 bytes are there.
        *held = unsafe { _mm512_loadu_si512(quarter.as_ptr().cast()) };
    }
    for y in part.share(output.height, 1) {
        for x in 0..pieces {
            for first in (0..length).step_by(64) {
                let count = (length - first).min(64);
                let kept = u64::MAX >> (64 - count);
                // SAFETY: bytes of a pixel of the input and of one of the output, in a row of this part; the mask leaves
                // those beyond alone. Reading is over before writing begins, so the places may be the same.
                unsafe {
                    let from = memory.read(input.at(y, x) + first, count).as_ptr();
                    let bytes = _mm512_maskz_loadu_epi8(kept, from.cast());
                    let low = _mm512_permutex2var_epi8(held[0], bytes, held[1]);
                    let high = _mm512_permutex2var_epi8(held[2], bytes, held[3]);
                    let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), low, high);
                    let to = memory.write(output.at(y, x) + first, count).as_mut_ptr();
                    _mm512_mask_storeu_epi8(to.cast(), kept, found);
                }
            }
        }
    }
}

/// # Safety
/// As for [`run`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn convolution(memory: Memory<'_>, step: &Prepared, part: Part) {
    // SAFETY: the caller's promise.
    unsafe {
        match step.ending {
            Ending::Linear { slope: 1.0, rescale: 1.0, .. } => blocks::<PLAIN>(memory, step, part),
            Ending::Linear { rescale: 1.0, .. } => blocks::<LEAKY>(memory, step, part),
            Ending::Linear { slope: 1.0, .. } => blocks::<RESCALED>(memory, step, part),
            Ending::Linear { .. } => blocks::<LEAKY_RESCALED>(memory, step, part),
            Ending::Bytes | Ending::Floats => blocks::<OTHER>(memory, step, part),
        }
    }
}

/// All blocks of output channels over the part's pixels.
///
/// # Safety
/// As for [`run`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn blocks<const ENDING: u8>(memory: Memory<'_>, step: &Prepared, part: Part) {
    let Layout::Quads { groups: 2, lines } = step.weights.layout() else { return };
    let (groups, quads) = (step.weights.groups(), step.weights.quads());
    for group in (0..groups).step_by(2) {
        let weights = &lines[group * quads..];
        // SAFETY: the caller's promise; `weights` begins with the block's.
        unsafe {
            if group + 2 <= groups {
                block::<10, 2, ENDING>(memory, step, weights, group, part);
            } else {
                block::<12, 1, ENDING>(memory, step, weights, group, part);
            }
        }
    }
}

/// One block of `N` groups over the part's pixels.
///
/// # Safety
/// As for [`run`]; `weights` begins with the block's.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn block<const P: usize, const N: usize, const ENDING: u8>(
    memory: Memory<'_>,
    step: &Prepared,
    weights: &[Quads],
    group: usize,
    part: Part,
) {
    let weights = &weights[..step.weights.quads() * N];
    let bias = &step.bias[group * GROUP..][..N * GROUP];
    let mut tiles = step.tiles::<P>(part.share(step.pixels, P));
    while let Some(tile) = tiles.next() {
        // SAFETY: the windows of a checked step's pixels lie in the arena, and its output pixels are this part's;
        // there are as many weights as quads in the runs.
        unsafe { finished::<P, N, ENDING>(memory, step, &tile, group, weights.as_ptr(), bias.as_ptr()) };
    }
}

/// A tile from sums to bytes: a function of its own, whose registers are for nothing else.
///
/// # Safety
/// As for [`sums`] and [`store_bytes`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn finished<const P: usize, const N: usize, const ENDING: u8>(
    memory: Memory<'_>,
    step: &Prepared,
    tile: &Tile<P>,
    group: usize,
    weights: *const Quads,
    bias: *const i32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let sums = sums::<P, N>(memory, tile, &step.runs, weights, bias);
        if ENDING == OTHER {
            store_other(memory, step, group, tile, sums);
        } else {
            store_bytes::<P, N, ENDING>(memory, step, group, tile, sums);
        }
    }
}

/// The sums of a tile.
///
/// # Safety
/// The tile's windows lie in the arena. `weights` has `N` for each quad of the runs, `bias` has 16 times `N`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sums<const P: usize, const N: usize>(
    memory: Memory<'_>,
    tile: &Tile<P>,
    runs: &[Run],
    mut weights: *const Quads,
    bias: *const i32,
) -> [[__m512i; N]; P] {
    // SAFETY: the caller's promise; a quad of a run is 4 bytes of a window, loaded from wherever they lie.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); N]; P];
        for n in 0..N {
            let bias = _mm512_loadu_si512(bias.add(n * GROUP).cast());
            for sums in &mut sums {
                sums[n] = bias;
            }
        }
        for run in runs {
            let mut pixels = [std::ptr::null::<u8>(); P];
            for (pixel, at) in pixels.iter_mut().zip(tile.sources) {
                *pixel = memory.read(at + run.offset, run.quads * 4).as_ptr();
            }
            for quad in 0..run.quads {
                let mut block = [_mm512_setzero_si512(); N];
                for (n, block) in block.iter_mut().enumerate() {
                    *block = _mm512_load_si512(weights.add(n).cast());
                }
                weights = weights.add(N);
                for (sums, pixel) in sums.iter_mut().zip(&pixels) {
                    let bytes = _mm512_set1_epi32(pixel.add(quad * 4).cast::<i32>().read_unaligned());
                    for (sum, weights) in sums.iter_mut().zip(&block) {
                        *sum = _mm512_dpbusd_epi32(*sum, bytes, *weights);
                    }
                }
            }
        }
        sums
    }
}

/// Finishes a tile's sums and stores the bytes.
///
/// # Safety
/// The step is checked and its output pixels in the tile are the caller's.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_bytes<const P: usize, const N: usize, const ENDING: u8>(
    memory: Memory<'_>,
    step: &Prepared,
    group: usize,
    tile: &Tile<P>,
    sums: [[__m512i; N]; P],
) {
    let Ending::Linear { slope, rescale, low, high, zero } = step.ending else { return };
    let (slope, rescale) = (_mm512_set1_ps(slope), _mm512_set1_ps(rescale));
    let (low, high) = (_mm512_set1_ps(low), _mm512_set1_ps(high));
    let zero = _mm512_set1_epi32(i32::from(zero));
    let valid = step.valid(group, N);
    for n in 0..N {
        let first = (group + n) * GROUP;
        let scale = &step.scale[first..first + GROUP];
        // SAFETY: sixteen floats are there.
        let scale = unsafe { _mm512_loadu_ps(scale.as_ptr()) };
        let width = valid - (n * GROUP).min(valid);
        let kept = ((1_u32 << width.min(GROUP)) - 1) as u16;
        for (sums, &target) in sums.iter().zip(&tile.targets) {
            let mut value = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[n]), scale);
            if ENDING & LEAKY != 0 {
                value = _mm512_max_ps(value, _mm512_mul_ps(value, slope));
            }
            if ENDING & RESCALED != 0 {
                value = _mm512_mul_ps(value, rescale);
            }
            value = _mm512_min_ps(_mm512_max_ps(value, low), high);
            let bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(value), zero));
            // SAFETY: the first `width` bytes are channels of the output; the mask leaves those beyond alone.
            unsafe {
                let place = memory.write(target + first, width.min(GROUP)).as_mut_ptr();
                if kept == u16::MAX {
                    _mm_storeu_si128(place.cast(), bytes);
                } else {
                    _mm_mask_storeu_epi8(place.cast(), kept, bytes);
                }
            }
        }
    }
}

/// Finishes a tile's sums through memory, but for floats of which nothing or a sigmoid is taken.
///
/// # Safety
/// As for [`store_bytes`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_other<const P: usize, const N: usize>(
    memory: Memory<'_>,
    step: &Prepared,
    group: usize,
    tile: &Tile<P>,
    sums: [[__m512i; N]; P],
) {
    let floats = step.ending == Ending::Floats;
    let activation = step.finisher.activation();
    for n in 0..N {
        let first = (group + n) * GROUP;
        let scale = &step.scale[first..first + GROUP];
        // SAFETY: sixteen floats are there.
        let scale = unsafe { _mm512_loadu_ps(scale.as_ptr()) };
        let width = step.valid(group + n, 1);
        let kept = ((1_u32 << width) - 1) as u16;
        for (sums, &target) in sums.iter().zip(&tile.targets) {
            let mut value = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[n]), scale);
            if floats && matches!(activation, Activation::None | Activation::Sigmoid) {
                if activation == Activation::Sigmoid {
                    value = sigmoid(value);
                }
                // SAFETY: the first `width` floats are channels of the output; the mask leaves those beyond alone.
                unsafe {
                    let place = memory.write_floats(target + first * 4, width).as_mut_ptr();
                    _mm512_mask_storeu_ps(place, kept, value);
                }
                continue;
            }
            let mut values = [0.0; GROUP];
            // SAFETY: sixteen floats are there to write; the caller's promise.
            unsafe {
                _mm512_storeu_ps(values.as_mut_ptr(), value);
                elementwise::store(memory, step, group + n, target, values);
            }
        }
    }
}

/// The sigmoid as [`super::finish`] has it, operation by operation.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn sigmoid(value: __m512) -> __m512 {
    let one = _mm512_set1_ps(1.0);
    let negated = _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(value), _mm512_set1_epi32(i32::MIN)));
    _mm512_div_ps(one, _mm512_add_ps(one, exponential(negated)))
}

/// [`exp::exp`], operation by operation.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn exponential(value: __m512) -> __m512 {
    let number = |number: f32| _mm512_set1_ps(number);
    let value = _mm512_min_ps(_mm512_max_ps(value, number(exp::LEAST)), number(exp::MOST));
    let shifted = _mm512_add_ps(_mm512_mul_ps(value, number(exp::LOG2_E)), number(exp::WHOLE));
    let whole = _mm512_sub_ps(shifted, number(exp::WHOLE));
    let rest = _mm512_sub_ps(value, _mm512_mul_ps(whole, number(exp::LN2_HIGH)));
    let rest = _mm512_sub_ps(rest, _mm512_mul_ps(whole, number(exp::LN2_LOW)));
    let mut sum = number(exp::POLYNOMIAL[0]);
    for coefficient in &exp::POLYNOMIAL[1..] {
        sum = _mm512_add_ps(_mm512_mul_ps(sum, rest), number(*coefficient));
    }
    let square = _mm512_mul_ps(rest, rest);
    let fraction = _mm512_add_ps(_mm512_add_ps(_mm512_mul_ps(sum, square), rest), number(1.0));
    let bits = _mm512_sub_epi32(_mm512_castps_si512(shifted), _mm512_castps_si512(number(exp::WHOLE)));
    let exponent = _mm512_slli_epi32::<23>(_mm512_add_epi32(bits, _mm512_set1_epi32(127)));
    _mm512_mul_ps(fraction, _mm512_castsi512_ps(exponent))
}

/// The multiplication alone, `rounds` times on 24 independent registers. Returns how many multiply-accumulates.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn peak(rounds: u64) -> u64 {
    const SUMS: usize = 24;
    let mut sums = [_mm512_setzero_si512(); SUMS];
    let (bytes, weights) = (_mm512_set1_epi8(black_box(3)), _mm512_set1_epi8(black_box(1)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, bytes, weights);
        }
    }
    black_box(sums);
    rounds * SUMS as u64 * MACS
}
