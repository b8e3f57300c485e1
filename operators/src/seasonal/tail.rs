//! How rare a deviation is, judged by the deviations of the same series before it.

use super::saved::Number;

/// The share of deviations that make the tail.
const TAIL_SHARE: f64 = 0.1;
/// Where the tail begins and how far it reaches on average, in `ln(1 + z)`, until the series has shown its
/// own: a little wider than that of normal noise.
const FIRST_BAR: f64 = 1.0;
const FIRST_EXCESS: f64 = 0.25;
/// What is assumed at first counts like this many rows.
const PRIOR_ROWS: f64 = 60.0;
/// Rows after which older ones are forgotten.
const MEMORY_ROWS: f64 = 4000.0;
/// An excess counts for learning up to this many mean excesses: an incident does not raise the bar by itself.
const CLIP: f64 = 4.0;
/// The step of the quantile's recursion, in mean excesses.
const BAR_GAIN: f64 = 4.0;
/// Rows over the bar come in runs, which say less than as many single ones: a row counts as one over 1 + this
/// times the length of its run, which each row under the bar halves.
const RUN_DISCOUNT: f64 = 0.3;
/// The tail is never taken to be shorter than this.
const LEAST_EXCESS: f64 = 1e-3;

/// The upper tail of a stream of deviations: a running 90 % quantile, and the mean excess above it.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    bar: f64,
    excess: f64,
    rows: f64,
    run_rows: f64,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self { bar: FIRST_BAR, excess: FIRST_EXCESS, rows: 0.0, run_rows: 0.0 }
    }

    /// Minus the decimal logarithm of the chance of a deviation this large; then learns from it.
    ///
    /// Below zero is the other side's business and counts as no deviation.
    pub(super) fn surprise(&mut self, deviation: f64) -> f64 {
        let height = deviation.max(0.0).ln_1p();
        let over = height - self.bar;
        let excess = self.excess.max(LEAST_EXCESS);
        let at_bar = -TAIL_SHARE.log10();
        let surprise = if over > 0.0 {
            at_bar + over / excess * std::f64::consts::LOG10_E
        } else if self.bar > 0.0 {
            at_bar * height / self.bar
        } else {
            0.0
        };
        self.rows = (self.rows + 1.0).min(MEMORY_ROWS);
        self.run_rows = if over > 0.0 { self.run_rows + 1.0 } else { 0.5 * self.run_rows };
        let rate = 1.0 / (self.rows + PRIOR_ROWS) / (1.0 + RUN_DISCOUNT * self.run_rows);
        if over > 0.0 {
            self.excess = excess + (rate / TAIL_SHARE).min(0.1) * (over.min(CLIP * excess) - excess);
        }
        // Robbins and Monro's recursion for a quantile, its step in proportion to the tail.
        let pull = if over > 0.0 { 1.0 - TAIL_SHARE } else { -TAIL_SHARE };
        self.bar = (self.bar + BAR_GAIN * rate * pull * self.excess.max(0.05)).max(0.0);
        surprise
    }

    pub(super) fn visit(&mut self, each: &mut impl FnMut(Number<'_>)) {
        for number in [&mut self.bar, &mut self.excess, &mut self.rows, &mut self.run_rows] {
            each(Number::Amount(number));
        }
    }
}
