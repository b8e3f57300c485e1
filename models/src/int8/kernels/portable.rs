//! Convolution without instructions of a special processor.
//!
//! Bytes and weights are multiplied as 16-bit numbers, two products added into a 32-bit sum at a time: x86's `pmaddwd`,
//! which every 64-bit x86 has. It is written out there, since the compiler finds it in loops only as long
//! as the sums lie in memory; elsewhere the loops stand, which become NEON's widening multiplications. A tile is
//! few pixels by 16 channels, so that its sums stay in 16 registers of 128 bits.

use super::arena::Memory;
use super::convolution::{Prepared, Run};
use super::elementwise;
use super::pack::{GROUP, Layout, Pairs};
use super::program::Ready;
use super::team::Part;

/// Pixels of a tile.
const PIXELS: usize = 2;

/// Sums of a tile.
type Sums = [[i32; GROUP]; PIXELS];

/// Does a part of a step.
///
/// # Safety
/// As for [`elementwise::run`].
pub(super) unsafe fn run(memory: Memory<'_>, step: &Ready, part: Part) {
    // SAFETY: the caller's promise.
    unsafe {
        match step {
            Ready::Convolution(step) => {
                elementwise::surround_output(memory, step, part);
                convolution(memory, step, part);
            }
            Ready::Other(step) => elementwise::run(memory, step, part),
        }
    }
}

/// # Safety
/// As for [`run`].
unsafe fn convolution(memory: Memory<'_>, step: &Prepared, part: Part) {
    let Layout::Pairs(lines) = step.weights.layout() else { return };
    let quads = step.weights.quads();
    for (group, weights) in lines.chunks_exact(quads).enumerate() {
        let bias = &step.bias[group * GROUP..][..GROUP];
        let scale = &step.scale[group * GROUP..][..GROUP];
        let mut tiles = step.tiles::<PIXELS>(part.share(step.pixels, PIXELS));
        while let Some(tile) = tiles.next() {
            let mut first = [0; GROUP];
            first.copy_from_slice(bias);
            let mut sums = [first; PIXELS];
            let mut weights = weights;
            for &Run { offset, quads } in &step.runs {
                let (now, later) = weights.split_at(quads);
                weights = later;
                // SAFETY: the windows of a checked step's pixels.
                let windows = tile.sources.map(|at| unsafe { memory.read(at + offset, quads * 4) });
                accumulate(&mut sums, windows.map(|window| window.as_chunks().0), now);
            }
            for (sums, &target) in sums.iter().zip(&tile.targets) {
                let mut values = [0.0; GROUP];
                for ((value, sum), scale) in values.iter_mut().zip(sums).zip(scale) {
                    *value = *sum as f32 * scale;
                }
                // SAFETY: the pixel is this part's.
                unsafe { elementwise::store(memory, step, group, target, values) };
            }
        }
    }
}

/// Adds the products of a run: of every pixel as many quads of bytes as there are of weights.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn accumulate(sums: &mut Sums, windows: [&[[u8; 4]]; PIXELS], weights: &[Pairs]) {
    #[allow(clippy::wildcard_imports, reason = "instructions, by the names that manuals give them")]
    use std::arch::x86_64::*;

    let windows = windows.map(|window| &window[..weights.len()]);
    // SAFETY: a register is four sums, and of loads and stores here each is within its array; SSE2 is a part of
    // every 64-bit x86.
    unsafe {
        let mask = _mm_set1_epi16(0xff);
        let place: *mut __m128i = sums.as_mut_ptr().cast();
        let mut held: [[__m128i; 4]; PIXELS] =
            std::array::from_fn(|p| std::array::from_fn(|n| _mm_loadu_si128(place.add(p * 4 + n))));
        for (quad, weights) in weights.iter().enumerate() {
            let even: *const __m128i = weights.even.as_ptr().cast();
            let odd: *const __m128i = weights.odd.as_ptr().cast();
            let bytes = windows.map(|window| {
                let bytes = _mm_set1_epi32(i32::from_ne_bytes(*window.get_unchecked(quad)));
                [_mm_and_si128(bytes, mask), _mm_srli_epi16::<8>(bytes)]
            });
            for n in 0..4 {
                let even = _mm_load_si128(even.add(n));
                for (held, bytes) in held.iter_mut().zip(&bytes) {
                    held[n] = _mm_add_epi32(held[n], _mm_madd_epi16(even, bytes[0]));
                }
                let odd = _mm_load_si128(odd.add(n));
                for (held, bytes) in held.iter_mut().zip(&bytes) {
                    held[n] = _mm_add_epi32(held[n], _mm_madd_epi16(odd, bytes[1]));
                }
            }
        }
        for (p, held) in held.iter().enumerate() {
            for (n, sum) in held.iter().enumerate() {
                _mm_storeu_si128(place.add(p * 4 + n), *sum);
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
use loops as accumulate;

/// The same for any processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn loops(sums: &mut Sums, windows: [&[[u8; 4]]; PIXELS], weights: &[Pairs]) {
    let windows = windows.map(|window| &window[..weights.len()]);
    for (quad, weights) in weights.iter().enumerate() {
        for (sums, window) in sums.iter_mut().zip(&windows) {
            let [a, b, c, d] = window[quad];
            for (sum, weights) in sums.iter_mut().zip(&weights.even) {
                let (left, right) = (i32::from(a) * i32::from(weights[0]), i32::from(c) * i32::from(weights[1]));
                *sum = sum.wrapping_add(left.wrapping_add(right));
            }
            for (sum, weights) in sums.iter_mut().zip(&weights.odd) {
                let (left, right) = (i32::from(b) * i32::from(weights[0]), i32::from(d) * i32::from(weights[1]));
                *sum = sum.wrapping_add(left.wrapping_add(right));
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn loops_are_the_instructions() {
        let quad = |seed: usize| std::array::from_fn(|at| (seed * 97 + at * 61) as u8);
        let windows: [Vec<[u8; 4]>; PIXELS] = std::array::from_fn(|p| (0..9).map(|at| quad(p * 9 + at)).collect());
        let pair = |seed: usize| [(seed * 73 % 256) as i16 - 128, (seed * 151 % 256) as i16 - 128];
        let weights: Vec<Pairs> = (0..9)
            .map(|at| Pairs {
                even: std::array::from_fn(|n| pair(at * 32 + n)),
                odd: std::array::from_fn(|n| pair(at * 32 + 16 + n)),
            })
            .collect();
        let windows = windows.each_ref().map(|window| &window[..]);
        let mut found = [[i32::MAX; GROUP]; PIXELS];
        let mut expected = found;
        accumulate(&mut found, windows, &weights);
        loops(&mut expected, windows, &weights);
        assert_eq!(found, expected);
        assert_ne!(found, [[i32::MAX; GROUP]; PIXELS]);
    }
}
