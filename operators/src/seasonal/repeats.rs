//! A sensor that repeats itself: the same value over and over, where values used to change.

use super::saved::Number;
use super::season::DAY_SECS;

/// A run counts from this many repeats and this long on, and when it is this much longer than the longest
/// run before it (nights without traffic are runs of zeros).
const LEAST_REPEATS: f64 = 12.0;
const LEAST_SECS: f64 = 5400.0;
const LONGER_BY: f64 = 2.5;
/// Runs are distinct from a series' habit only where this share of its rows changes.
const CHANGING_SHARE: f64 = 0.5;
/// Seconds after which the longest run is forgotten.
const MEMORY_SECS: f64 = 14.0 * DAY_SECS as f64;
/// The weight of one row in the share of rows that change.
const SHARE_RATE: f64 = 0.01;

/// Runs of one value.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeats {
    run_secs: f64,
    run_rows: f64,
    longest_secs: f64,
    changing: f64,
    rows: f64,
}

impl Repeats {
    /// Takes in a row; whether the series is stuck.
    pub(super) fn is_stuck(&mut self, secs: f64, is_repeat: bool) -> bool {
        if is_repeat {
            self.run_secs += secs;
            self.run_rows += 1.0;
            return self.changing > CHANGING_SHARE
                && self.run_rows >= LEAST_REPEATS
                && self.run_secs >= LEAST_SECS.max(LONGER_BY * self.longest_secs);
        }
        self.longest_secs = self.run_secs.max(self.longest_secs * (-secs / MEMORY_SECS).exp());
        self.rows += 1.0;
        let share = 1.0 / (1.0 + self.run_rows);
        self.changing += SHARE_RATE.max(1.0 / self.rows) * (share - self.changing);
        (self.run_secs, self.run_rows) = (0.0, 0.0);
        false
    }

    pub(super) fn visit(&mut self, each: &mut impl FnMut(Number<'_>)) {
        let Self { run_secs, run_rows, longest_secs, changing, rows } = self;
        for number in [run_secs, run_rows, longest_secs, changing, rows] {
            each(Number::Amount(number));
        }
    }
}
