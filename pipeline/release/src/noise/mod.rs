//! Noise for numbers that may leave: the discrete Laplace distribution, sampled exactly with integers.
//!
//! [`Scale`] is the distribution's parameter, [`Noise`] draws from it.
//!
//! Why a sampler of our own: floating-point Laplace noise shows through its low bits what it was added to (Mironov
//! 2012, "On Significance of the Least Significant Bits for Differential Privacy"), so the sampler has to be exact,
//! and OpenDP's, which is, does not suit a cabinet. Its default features compile OpenSSL from source, with C and
//! Perl (82 crates, 278 s of processor time); without them (54 crates, 90 s) it takes its randomness from `rand` 0.7
//! and says itself that this is not secure. Here the source is the operating system's, and the path is short. OpenDP
//! without its default features is the oracle that the tests compare with.
//!
//! Invariants
//! - No floating point on the path from random bytes to noise; `clippy::float_arithmetic` is denied there.
//! - No noise without randomness: a source that fails is an error, never a zero.
//! - A random byte is used once and then erased; [`Noise`] cannot be cloned.
//!
//! Units: the noise is in whole units of what it is added to, and so is the scale.
//! Threads: none.
//!
//! What it deliberately does not do: run in constant time. How long a draw takes depends on its outcome; bins are
//! released on a schedule with many cells at once, so nobody outside sees the time of one draw.

mod laplace;
mod source;

use kerbside_core::error::{Classified, ErrorKind};
use thiserror::Error;

pub use source::Noise;

/// Why there is no noise.
#[derive(Debug, Error)]
pub enum NoiseError {
    /// The operating system gave no random numbers.
    #[error("the system has no random numbers for noise")]
    Random(#[source] getrandom::Error),
}

impl Classified for NoiseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Fatal
    }
}

/// The scale b of a discrete Laplace distribution, P(x) ∝ exp(−|x| / b), as a fraction above zero.
///
/// Every pair of numbers above zero is in range for [`Noise::laplace`]: its sums fit 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    numerator: u64,
    denominator: u64,
}

impl Scale {
    /// The scale `numerator / denominator`; `None` where either is zero.
    pub const fn new(numerator: u64, denominator: u64) -> Option<Self> {
        if numerator == 0 || denominator == 0 { None } else { Some(Self { numerator, denominator }) }
    }

    /// The scale as it is written beside a released number.
    pub fn as_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}
