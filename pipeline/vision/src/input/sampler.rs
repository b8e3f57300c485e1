//! One row of the scaled picture at a time, as luma and chroma at the target's columns.
//!
//! The source rows that make the target row are blended, whole rows at a time, and the blended row is sampled at
//! the target's columns. Luma and chroma go side by side. Chroma is sampled as if each of its pixels covered
//! its block of 2×2, as the usual converters of training pictures do.
//!
//! Invariants: the planes are read in place, and nothing is allocated after [`Sampler::new`].

#![allow(
    clippy::needless_range_loop,
    reason = "loops over several rows at one place become vectors, chains of iterators and closures often do not"
)]

use kerbside_core::frame::{ColourMatrix, ColourRange, Frame, PictureSize, PixelFormat, Plane};

use super::colour::Coefficients;
use super::columns::{Columns, SPARE};
use super::isa::{Isa, Work};
use super::taps::Taps;
use super::tone::Row;
use crate::placement::Placement;

/// Source rows that are blended in one pass: enough for nearly every camera, few enough to stay in registers.
const ROWS: usize = 6;

/// What the tables depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Key {
    picture: PictureSize,
    scaled: PictureSize,
    format: PixelFormat,
    matrix: ColourMatrix,
    range: ColourRange,
}

impl Key {
    pub(super) fn of(frame: &Frame, placement: &Placement) -> Self {
        Self {
            picture: frame.size,
            scaled: placement.scaled,
            format: frame.format,
            matrix: frame.matrix,
            range: frame.range,
        }
    }
}

/// Samples one row of the scaled picture at a time.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    pub(super) key: Key,
    pub(super) coefficients: Coefficients,
    luma_rows: Taps,
    luma_columns: Columns,
    chroma_rows: Taps,
    chroma_columns: Columns,
    /// Source rows blended to one, at the source's width and with spare zeros behind it.
    luma_blend: Vec<f32>,
    cb_blend: Vec<f32>,
    cr_blend: Vec<f32>,
    /// The row at the target's width, and a remainder without meaning that fills up the last group of columns.
    luma: Vec<f32>,
    cb: Vec<f32>,
    cr: Vec<f32>,
}

impl Sampler {
    pub(super) fn new(key: Key) -> Self {
        let (width, height) = (key.picture.width as usize, key.picture.height as usize);
        let columns = Taps::new(width, key.scaled.width as usize);
        let luma_rows = Taps::new(height, key.scaled.height as usize);
        let luma_columns = Columns::new(&columns);
        let blend = |width: usize| vec![0.0; width + SPARE];
        let row = vec![0.0; luma_columns.padded()];
        Self {
            key,
            coefficients: Coefficients::new(key.matrix, key.range),
            chroma_rows: luma_rows.halved(height),
            chroma_columns: Columns::new(&columns.halved(width)),
            luma_rows,
            luma_columns,
            luma_blend: blend(width),
            cb_blend: blend(width.div_ceil(2)),
            cr_blend: blend(width.div_ceil(2)),
            luma: row.clone(),
            cb: row.clone(),
            cr: row,
        }
    }

    /// Samples target row `y`.
    pub(super) fn sample(&mut self, isa: Isa, frame: &Frame, y: usize) -> Row<'_> {
        let width = self.key.picture.width as usize;
        let half = width.div_ceil(2);
        let (luma, cb, cr) = (&mut self.luma_blend, &mut self.cb_blend, &mut self.cr_blend);
        isa.run(Blend { plane: frame.luma(), taps: &self.luma_rows, y, out: &mut luma[..width] });
        let (taps, cb_out, cr_out) = (&self.chroma_rows, &mut cb[..half], &mut cr[..half]);
        match frame.format {
            PixelFormat::Nv12 => isa.run(BlendPairs { plane: frame.plane(1), taps, y, out: [cb_out, cr_out] }),
            PixelFormat::I420 => {
                isa.run(Blend { plane: frame.plane(1), taps, y, out: cb_out });
                isa.run(Blend { plane: frame.plane(2), taps, y, out: cr_out });
            }
        }
        isa.sample(luma, &self.luma_columns, &mut self.luma);
        isa.sample(cb, &self.chroma_columns, &mut self.cb);
        isa.sample(cr, &self.chroma_columns, &mut self.cr);
        let columns = self.key.scaled.width as usize;
        Row { luma: &self.luma[..columns], cb: &self.cb[..columns], cr: &self.cr[..columns] }
    }
}

/// The weighted sum of the source rows that make target row `y`.
struct Blend<'a> {
    plane: Plane<'a>,
    taps: &'a Taps,
    y: usize,
    out: &'a mut [f32],
}

impl Work for Blend<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { plane, taps, y, out } = self;
        for pass in passes(taps, y) {
            match pass.weights.len() {
                1 => pass.blend::<1>(plane, out),
                2 => pass.blend::<2>(plane, out),
                3 => pass.blend::<3>(plane, out),
                4 => pass.blend::<4>(plane, out),
                5 => pass.blend::<5>(plane, out),
                _ => pass.blend::<ROWS>(plane, out),
            }
        }
    }
}

/// [`Blend`] for a plane of interleaved Cb and Cr, which it takes apart.
struct BlendPairs<'a> {
    plane: Plane<'a>,
    taps: &'a Taps,
    y: usize,
    out: [&'a mut [f32]; 2],
}

impl Work for BlendPairs<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { plane, taps, y, out: [cb, cr] } = self;
        for pass in passes(taps, y) {
            match pass.weights.len() {
                1 => pass.blend_pairs::<1>(plane, cb, cr),
                2 => pass.blend_pairs::<2>(plane, cb, cr),
                3 => pass.blend_pairs::<3>(plane, cb, cr),
                4 => pass.blend_pairs::<4>(plane, cb, cr),
                5 => pass.blend_pairs::<5>(plane, cb, cr),
                _ => pass.blend_pairs::<ROWS>(plane, cb, cr),
            }
        }
    }
}

/// Some of the rows that make one target row.
#[derive(Clone, Copy)]
struct Pass<'a> {
    /// The first source row.
    start: usize,
    /// One weight a row, one to [`ROWS`] rows.
    weights: &'a [f32],
    /// Whether the sum begins here.
    is_first: bool,
}

/// Cuts the rows of target row `y` into passes; rows of weight zero at the ends are left out.
#[inline(always)]
fn passes(taps: &Taps, y: usize) -> impl Iterator<Item = Pass<'_>> {
    let (mut start, mut weights) = (taps.starts[y], &taps.weights[y * taps.count..][..taps.count]);
    while let [0.0, rest @ ..] = weights {
        (start, weights) = (start + 1, rest);
    }
    while let [rest @ .., 0.0] = weights {
        weights = rest;
    }
    (start..).step_by(ROWS).zip(weights.chunks(ROWS)).map(move |(at, weights)| Pass {
        start: at,
        weights,
        is_first: at == start,
    })
}

impl Pass<'_> {
    #[inline(always)]
    fn blend<const N: usize>(self, plane: Plane, out: &mut [f32]) {
        let len = out.len();
        let rows: [&[u8]; N] = std::array::from_fn(|at| plane.row(self.start + at, len));
        let weights = Weights::<N>::new(self.weights);
        if !self.is_first {
            for x in 0..len {
                out[x] += weights.sum(across(&rows, x));
            }
        } else if weights.are_level() {
            for x in 0..len {
                out[x] = weights.level_sum(across(&rows, x));
            }
        } else {
            for x in 0..len {
                out[x] = weights.sum(across(&rows, x));
            }
        }
    }

    #[inline(always)]
    fn blend_pairs<const N: usize>(self, plane: Plane, cb: &mut [f32], cr: &mut [f32]) {
        let len = cb.len();
        let cr = &mut cr[..len];
        let rows: [&[[u8; 2]]; N] =
            std::array::from_fn(|at| &plane.row(self.start + at, 2 * len).as_chunks::<2>().0[..len]);
        let weights = Weights::<N>::new(self.weights);
        if !self.is_first {
            for x in 0..len {
                let [cbs, crs] = apart(&rows, x);
                cb[x] += weights.sum(cbs);
                cr[x] += weights.sum(crs);
            }
        } else if weights.are_level() {
            for x in 0..len {
                let [cbs, crs] = apart(&rows, x);
                cb[x] = weights.level_sum(cbs);
                cr[x] = weights.level_sum(crs);
            }
        } else {
            for x in 0..len {
                let [cbs, crs] = apart(&rows, x);
                cb[x] = weights.sum(cbs);
                cr[x] = weights.sum(crs);
            }
        }
    }
}

/// The value of each row at `x`.
#[inline(always)]
fn across<const N: usize>(rows: &[&[u8]; N], x: usize) -> [u16; N] {
    let mut values = [0; N];
    for at in 0..N {
        values[at] = u16::from(rows[at][x]);
    }
    values
}

/// The Cb and the Cr of each row at `x`.
#[inline(always)]
fn apart<const N: usize>(rows: &[&[[u8; 2]]; N], x: usize) -> [[u16; N]; 2] {
    let (mut cbs, mut crs) = ([0; N], [0; N]);
    for at in 0..N {
        // As one number, whose halves stay in their vector lane.
        let pair = u16::from_le_bytes(rows[at][x]);
        (cbs[at], crs[at]) = (pair & 0xff, pair >> 8);
    }
    [cbs, crs]
}

/// The weights of the rows of a pass.
#[derive(Clone, Copy)]
struct Weights<const N: usize>([f32; N]);

impl<const N: usize> Weights<N> {
    fn new(weights: &[f32]) -> Self {
        Self(std::array::from_fn(|at| weights[at]))
    }

    /// Whether all rows but the first and the last weigh the same: the rows that an average covers in full.
    fn are_level(&self) -> bool {
        N >= 4 && (2..N - 1).all(|at| self.0[at] == self.0[1])
    }

    #[inline(always)]
    fn sum(&self, values: [u16; N]) -> f32 {
        let mut sum = f32::from(values[0]) * self.0[0];
        for at in 1..N {
            sum += f32::from(values[at]) * self.0[at];
        }
        sum
    }

    /// [`Weights::sum`], for level weights: the rows in between are counted in whole numbers, which is twice as fast.
    #[inline(always)]
    fn level_sum(&self, values: [u16; N]) -> f32 {
        let mut between = 0;
        for at in 1..N - 1 {
            between += values[at];
        }
        f32::from(values[0]) * self.0[0]
            + f32::from(between) * self.0[1]
            + f32::from(values[N - 1]) * self.0[N - 1]
    }
}
