//! Convolution with AVX-VNNI: 32 multiply-accumulates an instruction, for processors without AVX-512.
//!
//! A tile is 6 pixels by two registers of 8 output channels: with the two registers of weights and one of bytes,
//! 15 of the 16 that there are.

#[allow(clippy::wildcard_imports, reason = "instructions, by the names that manuals give them")]
use std::arch::x86_64::*;
use std::hint::black_box;

use super::arena::Memory;
use super::convolution::{Ending, Prepared, Run, Tile};
use super::elementwise;
use super::pack::{GROUP, Layout, Quads};
use super::program::Ready;
use super::team::Part;

/// Multiply-accumulates of an instruction.
const MACS: u64 = 32;

/// Pixels of a tile.
const PIXELS: usize = 6;

/// Does a part of a step.
///
/// # Safety
/// As for [`elementwise::run`]; the processor has the features.
#[target_feature(enable = "avx2,avxvnni")]
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
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn convolution(memory: Memory<'_>, step: &Prepared, part: Part) {
    let Layout::Quads { groups: 1, lines } = step.weights.layout() else { return };
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
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn sums(
    memory: Memory<'_>,
    tile: &Tile<PIXELS>,
    runs: &[Run],
    mut weights: *const Quads,
    bias: *const i32,
) -> [[__m256i; 2]; PIXELS] {
    // SAFETY: the caller's promise; a quad of a run is 4 bytes of a window, loaded from wherever they lie.
    unsafe {
        let mut sums = [[_mm256_loadu_si256(bias.cast()), _mm256_loadu_si256(bias.add(8).cast())]; PIXELS];
        for run in runs {
            let mut pixels = [std::ptr::null::<u8>(); PIXELS];
            for (pixel, at) in pixels.iter_mut().zip(tile.sources) {
                *pixel = memory.read(at + run.offset, run.quads * 4).as_ptr();
            }
            for quad in 0..run.quads {
                let line: *const __m256i = weights.cast();
                let (low, high) = (_mm256_load_si256(line), _mm256_load_si256(line.add(1)));
                weights = weights.add(1);
                for (sums, pixel) in sums.iter_mut().zip(&pixels) {
                    let bytes = _mm256_set1_epi32(pixel.add(quad * 4).cast::<i32>().read_unaligned());
                    sums[0] = _mm256_dpbusd_avx_epi32(sums[0], bytes, low);
                    sums[1] = _mm256_dpbusd_avx_epi32(sums[1], bytes, high);
                }
            }
        }
        sums
    }
}

/// Finishes a tile's sums and stores them.
///
/// # Safety
/// The step is checked and its output pixels in the tile are the caller's.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn finish<const P: usize>(
    memory: Memory<'_>,
    step: &Prepared,
    group: usize,
    tile: &Tile<P>,
    sums: [[__m256i; 2]; P],
) {
    let scale = &step.scale[group * GROUP..][..GROUP];
    // SAFETY: sixteen floats are there.
    let scale = unsafe { [_mm256_loadu_ps(scale.as_ptr()), _mm256_loadu_ps(scale.as_ptr().add(8))] };
    for (sums, &target) in sums.iter().zip(&tile.targets) {
        let values = [
            _mm256_mul_ps(_mm256_cvtepi32_ps(sums[0]), scale[0]),
            _mm256_mul_ps(_mm256_cvtepi32_ps(sums[1]), scale[1]),
        ];
        // SAFETY: the caller's promise.
        unsafe {
            match step.ending {
                Ending::Linear { .. } if step.valid(group, 1) == GROUP => {
                    let place = memory.write(target + group * GROUP, GROUP).as_mut_ptr();
                    _mm_storeu_si128(place.cast(), linear(step.ending, values));
                }
                _ => {
                    let mut floats = [0.0; GROUP];
                    _mm256_storeu_ps(floats.as_mut_ptr(), values[0]);
                    _mm256_storeu_ps(floats.as_mut_ptr().add(8), values[1]);
                    elementwise::store(memory, step, group, target, floats);
                }
            }
        }
    }
}

/// The bytes of sixteen values.
#[inline]
#[target_feature(enable = "avx2")]
fn linear(ending: Ending, values: [__m256; 2]) -> __m128i {
    let (low, high) = (eight(ending, values[0]), eight(ending, values[1]));
    _mm_packus_epi16(low, high)
}

/// The bytes of eight values, as 16-bit numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn eight(ending: Ending, value: __m256) -> __m128i {
    let Ending::Linear { slope, rescale, low, high, zero } = ending else { return _mm_setzero_si128() };
    let value = _mm256_max_ps(value, _mm256_mul_ps(value, _mm256_set1_ps(slope)));
    let value = _mm256_mul_ps(value, _mm256_set1_ps(rescale));
    let value = _mm256_min_ps(_mm256_max_ps(value, _mm256_set1_ps(low)), _mm256_set1_ps(high));
    let bytes = _mm256_add_epi32(_mm256_cvtps_epi32(value), _mm256_set1_epi32(i32::from(zero)));
    _mm_packus_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes))
}

/// The multiplication alone, `rounds` times on 12 independent registers. Returns how many multiply-accumulates.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) fn peak(rounds: u64) -> u64 {
    const SUMS: usize = 12;
    let mut sums = [_mm256_setzero_si256(); SUMS];
    let (bytes, weights) = (_mm256_set1_epi8(black_box(3)), _mm256_set1_epi8(black_box(1)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_dpbusd_avx_epi32(*sum, bytes, weights);
        }
    }
    black_box(sums);
    rounds * SUMS as u64 * MACS
}
