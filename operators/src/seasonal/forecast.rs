//! What the next value should be: four plain forecasts, weighted by how well each did lately.

use super::saved::Number;
use super::season::Usual;

const FORECASTS: usize = 4;
/// How long errors count when the forecasts are weighted.
const ERROR_MEMORY_SECS: f64 = 86_400.0;
/// An error counts up to this many mean errors.
const CLIP: f64 = 6.0;
/// How far back the local level reaches: a time, but some rows at least.
const LEVEL_SECS: f64 = 2700.0;
const LEVEL_ROWS: f64 = 3.0;

/// The last value, the local level, the local level moved along the season, and the season alone.
///
/// Which is best depends on the series: single counts scatter around the season, the speed of a free road
/// stays where it is. Weights fall with the fourth power of the mean error, so the best one leads and equals
/// are averaged.
#[derive(Clone, Debug, Default)]
pub(super) struct Forecast {
    last: f64,
    level: f64,
    /// The season, averaged as the local level is.
    season: f64,
    errors: [f64; FORECASTS],
    rows: f64,
}

impl Forecast {
    fn all(&self, usual: &Usual) -> [f64; FORECASTS] {
        [self.last, self.level, self.level + usual.known * (usual.value - self.season), usual.value]
    }

    /// How much of what was local still holds after a gap, 0..1.
    pub(super) fn freshness(&self, gap_secs: f64, step_secs: f64) -> f64 {
        (-(gap_secs - step_secs).max(0.0) / memory_secs(step_secs)).exp()
    }

    /// The value expected for the next row. Before the first one there is none.
    pub(super) fn next(&self, usual: &Usual) -> Option<f64> {
        if self.rows == 0.0 {
            return None;
        }
        let least = 1e-6 * self.errors.iter().sum::<f64>();
        if least == 0.0 {
            return Some(self.last);
        }
        let (mut weight, mut sum) = (0.0, 0.0);
        for (value, error) in self.all(usual).into_iter().zip(self.errors) {
            let share = (least / error.max(least)).powi(4);
            weight += share;
            sum += share * value;
        }
        Some(sum / weight)
    }

    /// Learns a value that came `gap_secs` after the one before.
    pub(super) fn learn(&mut self, gap_secs: f64, step_secs: f64, value: f64, usual: &Usual) {
        if self.rows == 0.0 {
            (self.last, self.level, self.season, self.rows) = (value, value, usual.value, 1.0);
            return;
        }
        let is_second = self.rows == 1.0;
        let rate = if is_second { 1.0 } else { 1.0 - (-step_secs.min(gap_secs) / ERROR_MEMORY_SECS).exp() };
        for (forecast, error) in self.all(usual).into_iter().zip(&mut self.errors) {
            let off = (value - forecast).abs();
            let clipped = if is_second { off } else { off.min((CLIP * *error).max(0.01 * off)) };
            *error += rate * (clipped - *error);
        }
        self.rows = 2.0;
        let rate = 1.0 - (-gap_secs / memory_secs(step_secs)).exp();
        self.level += rate * (value - self.level);
        self.season += rate * (usual.value - self.season);
        self.last = value;
    }

    pub(super) fn visit(&mut self, each: &mut impl FnMut(Number<'_>)) {
        for number in self.errors.iter_mut().chain([&mut self.rows]) {
            each(Number::Amount(number));
        }
        for number in [&mut self.last, &mut self.level, &mut self.season] {
            each(Number::Value(number));
        }
    }
}

fn memory_secs(step_secs: f64) -> f64 {
    LEVEL_SECS.max(LEVEL_ROWS * step_secs)
}
