//! The same arithmetic for the instruction sets that a processor may have.
//!
//! The program is built for the oldest processor of its kind. Pixel work gains two to four times from wider
//! vectors, so its loops are compiled once more for AVX2 and for AVX-512, and the processor is asked which of them
//! it runs: [`Work`] is such a loop, plain safe code that the compiler turns into vectors. Only picking
//! values from scattered places of a row, which compilers do one by one, is written by hand.
//!
//! Invariant: all variants give the same values to the last bit. They do the same `f32` operations in the
//! same order for each pixel, and nothing contracts a product and a sum into one rounding.
//!
//! With [`crate::luma_mat`] this is the crate's only `unsafe` code: the calls into functions that need an instruction
//! set, and vector loads from slices of checked length.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::columns::{Columns, GROUP, Spread};

/// An instruction set that this processor has. Nothing but [`Isa::available`] makes one, so holding it is the
/// proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// What the program was built for.
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// A loop that is compiled for each instruction set. `run` and what it calls must be inlined, or they
/// stay what the program was built for.
pub(super) trait Work {
    /// Does it.
    fn run(self);
}

impl Isa {
    /// What this processor has, the best last.
    pub(super) fn available() -> impl Iterator<Item = Self> {
        let levels: &[(Level, bool)] = &[
            (Level::Plain, true),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, is_x86_feature_detected!("avx2")),
            #[cfg(target_arch = "x86_64")]
            (
                Level::Avx512,
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl"),
            ),
        ];
        levels
            .iter()
            .filter(|(_, is_there)| *is_there)
            .map(|(level, _)| Self(*level))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The best that this processor has.
    pub(super) fn best() -> Self {
        Self::available().last().expect("plain code runs everywhere")
    }

    /// Does the work with this instruction set.
    pub(super) fn run(self, work: impl Work) {
        match self.0 {
            Level::Plain => work.run(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` has found AVX2 before it made this level.
            Level::Avx2 => unsafe { x86::run_avx2(work) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` has found AVX2 and AVX-512 F, BW and VL before it made this level.
            Level::Avx512 => unsafe { x86::run_avx512(work) },
        }
    }

    /// Samples a row, spare values included, at the target's columns, padding included.
    pub(super) fn sample(self, row: &[f32], columns: &Columns, out: &mut [f32]) {
        match self.0 {
            _ if columns.spread == Spread::Any => sample_plain(row, columns, out),
            Level::Plain => sample_plain(row, columns, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` has found AVX2 before it made this level.
            Level::Avx2 => unsafe { x86::sample_avx2(row, columns, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` has found AVX2 and AVX-512 F, BW and VL before it made this level.
            Level::Avx512 => unsafe { x86::sample_avx512(row, columns, out) },
        }
    }
}

fn sample_plain(row: &[f32], columns: &Columns, out: &mut [f32]) {
    let (outs, starts) = (out.as_chunks_mut::<GROUP>().0, columns.starts.as_chunks::<GROUP>().0);
    for ((out, starts), weights) in outs.iter_mut().zip(starts).zip(columns.weights.chunks_exact(columns.lists)) {
        if let [left, right] = weights {
            for (((out, start), left), right) in out.iter_mut().zip(starts).zip(left).zip(right) {
                let source = &row[*start as usize..][..2];
                *out = source[0] * left + source[1] * right;
            }
        } else {
            for (lane, (out, start)) in out.iter_mut().zip(starts).enumerate() {
                let source = row[*start as usize..].iter().zip(&weights[..columns.count]);
                *out = source.map(|(value, weights)| value * weights[lane]).sum();
            }
        }
    }
}
