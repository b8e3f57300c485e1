//! Runs the steps of an int8 program, as fast as the processor can.
//!
//! ```text
//! weights ─▶ PackedWeights ─▶ steps ─▶ Program (checked once) ─▶ run(arena, team)
//! ```
//!
//! [`Kernels`] names one way to compute; a value of it is the proof that this processor can. All of them give the
//! same bytes, those of the formulas in [`super::steps`]. Which is best is asked once, at start. While a
//! program runs, nothing is allocated.
//!
//! Invariants: the unsafe code of the int8 engine is here, and what it relies on is what [`check`] has found to
//! hold of the whole program before it runs. Wide registers are left clean: functions that use them end with the
//! instruction that clears their upper halves, which the compiler puts there. Threads: a [`Program`] is
//! shared, an [`Arena`] and a [`Team`] belong to whoever runs it. Not here: graphs, quantisation, clocks.

mod arena;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
mod check;
mod convolution;
mod elementwise;
mod exp;
mod finish;
mod pack;
mod portable;
mod program;
mod reference;
mod team;
#[cfg(test)]
mod tests;

pub(crate) use arena::Arena;
pub(crate) use pack::PackedWeights;
pub(crate) use program::Program;
pub(crate) use team::Team;

use arena::Memory;
use program::Ready;
use team::Part;

/// A way to compute that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels(Isa);

/// All ways, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
    Avx512Vnni,
    AvxVnni,
    Avx2,
    Portable,
    Reference,
}

const ALL: [Isa; 5] = [Isa::Avx512Vnni, Isa::AvxVnni, Isa::Avx2, Isa::Portable, Isa::Reference];

impl Isa {
    const fn name(self) -> &'static str {
        match self {
            Self::Avx512Vnni => "avx512-vnni",
            Self::AvxVnni => "avx-vnni",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
            Self::Reference => "reference",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn runs_here(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        match self {
            Self::Avx512Vnni => has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512vnni"),
            Self::AvxVnni => has!("avx2") && has!("avxvnni"),
            Self::Avx2 => has!("avx2"),
            Self::Portable | Self::Reference => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn runs_here(self) -> bool {
        matches!(self, Self::Portable | Self::Reference)
    }
}

impl Kernels {
    /// Every name, whether or not this processor has it.
    pub(crate) const NAMES: [&'static str; 5] =
        [ALL[0].name(), ALL[1].name(), ALL[2].name(), ALL[3].name(), ALL[4].name()];

    /// The formulas as they are written, slowly.
    pub(super) const REFERENCE: Self = Self(Isa::Reference);

    /// The fastest that this processor has.
    pub(crate) fn best() -> Self {
        let best = ALL.into_iter().find(|isa| isa.runs_here());
        Self(best.unwrap_or(Isa::Portable))
    }

    /// All that this processor has, the fastest first, the reference last.
    pub(crate) fn available() -> Vec<Self> {
        ALL.into_iter().filter(|isa| isa.runs_here()).map(Self).collect()
    }

    /// The one of that name; `None` when there is none or this processor lacks it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|kernels| kernels.name() == name)
    }

    /// One of [`Kernels::NAMES`].
    pub(crate) fn name(self) -> &'static str {
        self.0.name()
    }

    /// Packs a convolution's weights, given as `[output channel][input channel][window row][window column]`.
    ///
    /// # Panics
    /// When there are not as many as the sizes say.
    pub(crate) fn pack(
        self,
        weights: &[i8],
        out_channels: usize,
        in_channels: usize,
        window: [usize; 2],
    ) -> PackedWeights {
        PackedWeights::new(self, weights, out_channels, in_channels, window)
    }

    /// Runs the kernels' multiplication alone, out of registers, and returns how many multiply-accumulates that was:
    /// with a clock, the most that this processor can do. `None` for kernels that have no such instruction.
    pub(crate) fn peak_loop(self, rounds: u64) -> Option<u64> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => {
                // SAFETY: this value exists, so the processor has the features.
                Some(unsafe { avx512::peak(rounds) })
            }
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => {
                // SAFETY: this value exists, so the processor has the features.
                Some(unsafe { avxvnni::peak(rounds) })
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                // SAFETY: this value exists, so the processor has the features.
                Some(unsafe { avx2::peak(rounds) })
            }
            _ => None,
        }
    }

    /// Does a part of a step.
    ///
    /// # Safety
    /// [`check`] has passed the step for these kernels and an arena of at most this size. Nobody else touches the
    /// arena but the other parts of the same step.
    unsafe fn run(self, memory: Memory<'_>, step: &Ready, part: Part) {
        // SAFETY: the caller's promise; and this value exists, so the processor has the features.
        unsafe {
            match (self.0, step) {
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx512Vnni, _) => avx512::run(memory, step, part),
                #[cfg(target_arch = "x86_64")]
                (Isa::AvxVnni, _) => avxvnni::run(memory, step, part),
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx2, _) => avx2::run(memory, step, part),
                (Isa::Reference, Ready::Other(step)) => {
                    if part.index == 0 {
                        reference::run(memory, step);
                    }
                }
                _ => portable::run(memory, step, part),
            }
        }
    }
}
