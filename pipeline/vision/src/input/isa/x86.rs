//! Sampling a row with the vector instructions of x86-64.
//!
//! Four neighbours' taps lie close together: one load fetches them all and a permutation puts each in its
//! place. Where they lie far apart, a load fetches four taps of one target pixel, and four such are
//! transposed.

use std::arch::x86_64::{
    __m128, __m128i, __m256, __m512, __m512i, _mm_add_epi32, _mm_cvtepu8_epi32, _mm_cvtsi32_si128, _mm_loadu_ps,
    _mm_loadu_si128, _mm_set1_epi32, _mm_sub_epi32, _mm256_add_ps, _mm256_loadu_ps, _mm256_mul_ps,
    _mm256_permute2f128_ps, _mm256_permutevar8x32_ps, _mm256_set_m128, _mm256_set_m128i, _mm256_setzero_ps,
    _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_add_ps,
    _mm512_castps128_ps512, _mm512_cvtepu8_epi32, _mm512_insertf32x4, _mm512_loadu_ps, _mm512_mul_ps,
    _mm512_permutex2var_ps, _mm512_setzero_ps, _mm512_shuffle_ps, _mm512_storeu_ps, _mm512_unpackhi_ps,
    _mm512_unpacklo_ps,
};

use super::{Columns, GROUP, Spread, Work};
use crate::input::columns::{BLOCK, REACH};

#[target_feature(enable = "avx2")]
pub(super) fn run_avx2(work: impl Work) {
    work.run();
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
pub(super) fn run_avx512(work: impl Work) {
    work.run();
}

#[target_feature(enable = "avx2")]
pub(super) fn sample_avx2(row: &[f32], columns: &Columns, out: &mut [f32]) {
    for ((start, offsets, weights), out) in columns.groups().zip(out.as_chunks_mut::<GROUP>().0) {
        let row = &row[start..];
        let halves = out.as_chunks_mut::<8>().0.iter_mut().zip(offsets.as_chunks::<8>().0);
        for (half, (out, offsets)) in halves.enumerate() {
            let of_half = |weights: &[f32; GROUP]| weights.as_chunks::<8>().0[half];
            let sum = if let ([left, right], Spread::Pairs) = (weights, columns.spread) {
                let row: &[f32; REACH] = first(row);
                let (low, high) = (pairs(row, first(offsets)), pairs(row, first(&offsets[4..])));
                let (lefts, rights) =
                    (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high));
                let lefts = _mm256_mul_ps(lefts, load_8(&of_half(left)));
                _mm256_add_ps(lefts, _mm256_mul_ps(rights, load_8(&of_half(right))))
            } else {
                let mut sum = _mm256_setzero_ps();
                for (block, weights) in weights.as_chunks::<BLOCK>().0.iter().enumerate() {
                    let row: &[f32; REACH] = first(&row[BLOCK * block..]);
                    let four = transpose_8([
                        fours_8(row, offsets, 0),
                        fours_8(row, offsets, 1),
                        fours_8(row, offsets, 2),
                        fours_8(row, offsets, 3),
                    ]);
                    for (values, weights) in four.into_iter().zip(weights) {
                        sum = _mm256_add_ps(sum, _mm256_mul_ps(values, load_8(&of_half(weights))));
                    }
                }
                sum
            };
            store_8(out, sum);
        }
    }
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
pub(super) fn sample_avx512(row: &[f32], columns: &Columns, out: &mut [f32]) {
    for ((start, offsets, weights), out) in columns.groups().zip(out.as_chunks_mut::<GROUP>().0) {
        let row = &row[start..];
        let sum = if let ([left, right], Spread::Pairs) = (weights, columns.spread) {
            let row: &[f32; 33] = first(row);
            let places = _mm512_cvtepu8_epi32(load_bytes(offsets));
            let lefts = _mm512_mul_ps(pick(first(row), places), load_16(left));
            let rights = _mm512_mul_ps(pick(first(&row[1..]), places), load_16(right));
            _mm512_add_ps(lefts, rights)
        } else {
            let mut sum = _mm512_setzero_ps();
            for (block, weights) in weights.as_chunks::<BLOCK>().0.iter().enumerate() {
                let row: &[f32; REACH] = first(&row[BLOCK * block..]);
                let four = transpose_16([
                    fours_16(row, offsets, 0),
                    fours_16(row, offsets, 1),
                    fours_16(row, offsets, 2),
                    fours_16(row, offsets, 3),
                ]);
                for (values, weights) in four.into_iter().zip(weights) {
                    sum = _mm512_add_ps(sum, _mm512_mul_ps(values, load_16(weights)));
                }
            }
            sum
        };
        store_16(out, sum);
    }
}

/// The left values of four target pixels, then their right ones.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs(row: &[f32; REACH], offsets: &[u8; 4]) -> __m256 {
    let lefts = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(i32::from_le_bytes(*offsets)));
    let lefts = _mm_sub_epi32(lefts, _mm_set1_epi32(i32::from(offsets[0])));
    let rights = _mm_add_epi32(lefts, _mm_set1_epi32(1));
    let source = load_8(first(&row[usize::from(offsets[0])..]));
    _mm256_permutevar8x32_ps(source, _mm256_set_m128i(rights, lefts))
}

/// The values at these places.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn pick(row: &[f32; 32], places: __m512i) -> __m512 {
    let (low, high) = (load_16(first(row)), load_16(first(&row[16..])));
    _mm512_permutex2var_ps(low, places, high)
}

/// Four values for `target`, then for the target pixel four on.
#[inline]
#[target_feature(enable = "avx2")]
fn fours_8(row: &[f32; REACH], offsets: &[u8; 8], target: usize) -> __m256 {
    _mm256_set_m128(fours(row, offsets[target + 4]), fours(row, offsets[target]))
}

/// Four values for `target`, then for each fourth target pixel from there.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn fours_16(row: &[f32; REACH], offsets: &[u8; 16], target: usize) -> __m512 {
    let four = _mm512_castps128_ps512(fours(row, offsets[target]));
    let four = _mm512_insertf32x4::<1>(four, fours(row, offsets[target + 4]));
    let four = _mm512_insertf32x4::<2>(four, fours(row, offsets[target + 8]));
    _mm512_insertf32x4::<3>(four, fours(row, offsets[target + 12]))
}

#[inline]
#[target_feature(enable = "avx2")]
fn fours(row: &[f32; REACH], offset: u8) -> __m128 {
    load_4(first(&row[usize::from(offset)..]))
}

/// Four rows of four in each half, transposed.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_8([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
    let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
    let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
    [
        _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
        _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
        _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
        _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
    ]
}

/// Four rows of four in each quarter, transposed.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn transpose_16([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
    [
        _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd),
        _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd),
        _mm512_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
        _mm512_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
    ]
}

/// The first values of a slice, whose length is checked here.
#[inline(always)]
fn first<T, const N: usize>(values: &[T]) -> &[T; N] {
    values.first_chunk().expect("rows have spare values behind their last one")
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_4(values: &[f32; 4]) -> __m128 {
    // SAFETY: the reference covers the four values that are read; no alignment is needed.
    unsafe { _mm_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_8(values: &[f32; 8]) -> __m256 {
    // SAFETY: the reference covers the eight values that are read; no alignment is needed.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_8(out: &mut [f32; 8], values: __m256) {
    // SAFETY: the reference covers the eight values that are written; no alignment is needed.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), values) }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn load_16(values: &[f32; 16]) -> __m512 {
    // SAFETY: the reference covers the sixteen values that are read; no alignment is needed.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn load_bytes(values: &[u8; 16]) -> __m128i {
    // SAFETY: the reference covers the sixteen bytes that are read; no alignment is needed.
    unsafe { _mm_loadu_si128(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn store_16(out: &mut [f32; 16], values: __m512) {
    // SAFETY: the reference covers the sixteen values that are written; no alignment is needed.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), values) }
}
