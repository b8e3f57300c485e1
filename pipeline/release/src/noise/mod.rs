//! Noise for counts: the discrete Laplace distribution, sampled exactly with integers.

/// The scale b of a discrete Laplace distribution, P(x) ∝ exp(−|x| / b), as a fraction above zero.
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
