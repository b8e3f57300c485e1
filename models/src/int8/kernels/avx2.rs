//! Convolution with AVX2: 16 multiply-accumulates an instruction, exact.
//!
//! The instruction that multiplies bytes with signed bytes saturates its 16-bit sums, so bytes and weights are
//! multiplied as 16-bit numbers instead. The weights are widened when they are packed; the bytes in registers: of
//! four in each 32-bit part, a mask leaves two and a shift the other two. A tile is 4 pixels by two registers of
//! 8 output channels: 8 sums, 4 registers of weights, 2 of bytes.

#[allow(clippy::wildcard_imports, reason = "instructions, by the names that manuals give them")]
use std::arch::x86_64::*;
use std::hint::black_box;

use super::arena::Memory;
use super::avxvnni::finish;
use super::convolution::{Prepared, Run, Tile};
use super::elementwise;
use super::pack::{GROUP, Layout, Pairs};
use super::program::Ready;
use super::team::Part;

/// Multiply-accumulates of an instruction.
const MACS: u64 = 16;

/// Pixels of a tile.
const PIXELS: usize = 4;

/// Does a part of a step.
///
/// # Safety
/// As for [`elementwise::run`]; the processor has the feature.
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
unsafe fn convolution(memory: Memory<'_>, step: &Prepared, part: Part) {
    let Layout::Pairs(lines) = step.weights.layout() else { return };
    for (group, weights) in lines.chunks_exact(step.weights.quads()).enumerate() {
        let bias = &step.bias[group * GROUP..][..GROUP];
        let mut tiles = step.tiles::<PIXELS>(part.share(step.pixels, PIXELS));
        while let Some(tile) = tiles.next() {
            // SAFETY: the windows of a checked step's pixels lie in the arena, and its output pixels are this
            // part's; there are as many weights as quads in the runs.
            unsafe {
                let sums = sums(memory, &tile, &step.runs, weights.as_ptr(), bias.as_ptr());
                finish(memory, step, group, &tile, sums);
            }
        }
    }
}

/// The sums of a tile.
///
/// # Safety
/// The tile's windows lie in the arena. `weights` has one for each quad of the runs, `bias` has 16.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sums(
    memory: Memory<'_>,
    tile: &Tile<PIXELS>,
    runs: &[Run],
    mut weights: *const Pairs,
    bias: *const i32,
) -> [[__m256i; 2]; PIXELS] {
    let mask = _mm256_set1_epi16(0xff);
    // SAFETY: the caller's promise; a quad of a run is 4 bytes of a window, loaded from wherever they lie.
    unsafe {
        let mut sums = [[_mm256_loadu_si256(bias.cast()), _mm256_loadu_si256(bias.add(8).cast())]; PIXELS];
        for run in runs {
            let mut pixels = [std::ptr::null::<u8>(); PIXELS];
            for (pixel, at) in pixels.iter_mut().zip(tile.sources) {
                *pixel = memory.read(at + run.offset, run.quads * 4).as_ptr();
            }
            for quad in 0..run.quads {
                let even: *const __m256i = (&raw const (*weights).even).cast();
                let odd: *const __m256i = (&raw const (*weights).odd).cast();
                let even = [_mm256_load_si256(even), _mm256_load_si256(even.add(1))];
                let odd = [_mm256_load_si256(odd), _mm256_load_si256(odd.add(1))];
                weights = weights.add(1);
                for (sums, pixel) in sums.iter_mut().zip(&pixels) {
                    let bytes = _mm256_set1_epi32(pixel.add(quad * 4).cast::<i32>().read_unaligned());
                    let (first, second) = (_mm256_and_si256(bytes, mask), _mm256_srli_epi16::<8>(bytes));
                    for half in 0..2 {
                        let products = _mm256_madd_epi16(first, even[half]);
                        sums[half] = _mm256_add_epi32(sums[half], products);
                        let products = _mm256_madd_epi16(second, odd[half]);
                        sums[half] = _mm256_add_epi32(sums[half], products);
                    }
                }
            }
        }
        sums
    }
}

/// The multiplication alone, `rounds` times on 12 independent registers. Returns how many multiply-accumulates.
#[target_feature(enable = "avx2")]
pub(super) fn peak(rounds: u64) -> u64 {
    const PRODUCTS: usize = 12;
    let mut products = [_mm256_set1_epi16(black_box(3)); PRODUCTS];
    let weights = _mm256_set1_epi16(black_box(1));
    for _ in 0..rounds {
        for product in &mut products {
            *product = _mm256_madd_epi16(*product, weights);
        }
    }
    black_box(products);
    rounds * PRODUCTS as u64 * MACS
}
