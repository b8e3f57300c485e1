//! Finds what is unusual in a traffic series: counts, speeds, occupancies, travel times.
//!
//! [`SeasonalBaseline`] takes one value after another with its local civil time, says how unusual it is given
//! everything before it, and then learns from it. One setting serves all series: every scale is learned from
//! the series itself, so a count of thousands and a share of 0..1 give the same verdicts.
//!
//! # Method
//!
//! 1. **Season** (`season`): mean, spread and forecast error for each quarter of an hour of the day, and each
//!    weekday's difference from the day, shrunk towards the daily pattern until it has been seen for weeks.
//!    Means forget exponentially; a value counts only up to three standard deviations (Huber 1964), so an
//!    incident does not become the norm, while a lasting shift does within days.
//! 2. **Forecast** (`forecast`): last value, local level, local level along the season, season; weighted by
//!    their recent errors, as in prediction with expert advice (Vovk 1990; Cesa-Bianchi and Lugosi 2006).
//!    It makes the cold start sensible: where no season is known, the local level leads.
//! 3. **Three deviations**, each upwards and downwards: a *jump* is the forecast's error over the scale of its
//!    time of day and of the last hours; an *extreme* is the distance from the long-term middle of all values;
//!    a *pattern* is the distance from the season, averaged over half an hour against its average of a day and
//!    a half, in which single rows need not stand out (Lavin and Ahmad 2015 average errors likewise).
//! 4. **Surprise** (`tail`): each deviation is turned into a tail probability by the series' own tail: a
//!    running 90 % quantile and the mean excess over it in `ln(1 + z)`. Excesses over a high bar are generally
//!    Pareto (Pickands 1975; Siffer et al. 2017 use this for streams), so heavy upper tails, as travel times
//!    have, do not alarm all the time. The surprise is the greatest of the six, as minus the decimal logarithm
//!    of the probability. A run of equal values far longer than any before (`repeats`) counts as surprise too.
//! 5. **Onset** (`onset`): a surprise is news only where it is clearly greater than the fading shadow of those
//!    before it. An event is told when it begins, and again only when it gets much worse.
//!
//! The score is `1 − 2^(−news / threshold)`: 0 on rows without news, 0.5 at the threshold.
//!
//! # Invariants
//!
//! - Causal: a verdict depends on the rows given before and on its own row only.
//! - Pure: no clock, no randomness; the same rows give the same verdicts, also across save and restore.
//! - No allocation after [`SeasonalBaseline::new`], about 10 KB a series, under a microsecond a row.
//! - Any order of moments is survived: a step of zero or backwards (the hour that daylight saving repeats)
//!   counts as one usual step.
//!
//! # What it does not do
//!
//! It knows no holidays and no other series, converts no time zones, and does not fill gaps: a row without a
//! value is left out by the caller. Steps from a minute to an hour are what it was made for.
//!
//! # Papers
//!
//! - P. Huber 1964, Robust estimation of a location parameter. Annals of Mathematical Statistics 35.
//! - J. Pickands 1975, Statistical inference using extreme order statistics. Annals of Statistics 3.
//! - V. Vovk 1990, Aggregating strategies. COLT.
//! - N. Cesa-Bianchi, G. Lugosi 2006, Prediction, Learning, and Games. Cambridge.
//! - A. Lavin, S. Ahmad 2015, Evaluating real-time anomaly detection algorithms. arXiv 1510.03336.
//! - A. Siffer et al. 2017, Anomaly detection in streams with extreme value theory. KDD.

mod forecast;
mod onset;
mod repeats;
mod saved;
mod season;
mod tail;
#[cfg(test)]
mod tests;

pub use saved::RestoreError;

use forecast::Forecast;
use onset::Onset;
use repeats::Repeats;
use saved::Number;
use season::{DAY_SECS, Season, Usual};
use tail::Tail;

/// Values beyond this, either way, are refused like those that are no numbers.
const LARGEST_VALUE: f64 = 1e100;
/// A row stands for the time since the one before it, but for no more than this many usual steps, nor a day.
const LONGEST_ROW_STEPS: f64 = 3.0;
/// How fast the usual step follows: each row moves it by this share.
const STEP_RATE: f64 = 0.05;
/// A scale is at least this share of what is usual over all times: a quiet night is not infinitely precise.
const LEAST_SCALE: f64 = 0.3;
/// The memory of the local scale, and how far it may be from that of the time of day.
const LOCAL_SCALE_SECS: f64 = 10_800.0;
const LOCAL_SCALE_REACH: f64 = 3.0;
/// The memory of the pattern's average, in time and in rows, and of what it is compared with.
const PATTERN_SECS: f64 = 1800.0;
const PATTERN_ROWS: f64 = 2.0;
const PATTERN_BASE_SECS: f64 = 1.5 * DAY_SECS as f64;
/// One row counts for the pattern up to this many mean spreads.
const PATTERN_CLIP: f64 = 8.0;
/// The memory of the long-term middle.
const MIDDLE_DAYS: f64 = 5.0;
/// A value moves the middle by up to this many mean distances.
const MIDDLE_CLIP: f64 = 5.0;
/// Deviations are cut off here; where nothing has ever varied, any change counts as `FROM_NOTHING`.
const LARGEST_DEVIATION: f64 = 1e3;
const FROM_NOTHING: f64 = 50.0;
/// A difference of this share is one of rounding.
const ROUNDING: f64 = 1e-9;
/// The surprise of a sensor that is stuck.
const STUCK_SURPRISE: f64 = 3.0;

/// What may be set; [`DEFAULT`](Self::DEFAULT) serves all series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeasonalSettings {
    /// News of this surprise, in powers of ten of improbability, is unusual. Greater is quieter.
    pub threshold: f64,
    /// Seconds in which the shadow of an event fades to 1/e.
    pub fade_secs: f64,
    /// How many times the shadow a surprise has to be to count as news. Above 1.25, what lasts is told once.
    pub worse_by: f64,
    /// Seconds of data until surprises count fully; before, in proportion.
    pub learning_secs: f64,
}

impl SeasonalSettings {
    /// Chosen on synthetic loop-detector series and hourly counts of real sensors with events put in.
    pub const DEFAULT: Self = Self { threshold: 2.4, fade_secs: 64_800.0, worse_by: 1.3, learning_secs: 43_200.0 };
}

/// In which way a value deviates most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It lies far from the middle of all values.
    Extreme,
    /// It lies far from what the rows just before let expect.
    Jump,
    /// The last rows together do not fit the time of day and the weekday.
    Pattern,
    /// The series repeats one value, which it does not usually do.
    Stuck,
}

/// What is said about one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// How unusual, 0..1, where an event begins; 0 elsewhere. 0.5 is the threshold.
    pub score: f64,
    /// Whether the score has reached the threshold.
    pub unusual: bool,
    /// The value that was expected, in the unit of the series; of the first row, the value itself.
    pub expected: f64,
    /// In which way the row deviates most, whether or not it is unusual.
    pub reason: Reason,
}

/// Everything learned about one series.
#[derive(Clone, Debug)]
pub struct SeasonalBaseline {
    settings: SeasonalSettings,
    last_at: i64,
    rows: f64,
    /// The usual time between rows, and the time that rows have stood for.
    step_secs: f64,
    seen_secs: f64,
    season: Season,
    forecast: Forecast,
    repeats: Repeats,
    onset: Onset,
    /// Upwards and downwards each.
    extreme: [Tail; 2],
    jump: [Tail; 2],
    pattern: [Tail; 2],
    local_error: f64,
    middle_distance: f64,
    middle_days: f64,
    middle: f64,
    pattern_now: f64,
    pattern_base: f64,
    last_value: f64,
}

impl SeasonalBaseline {
    /// A baseline that knows nothing yet.
    pub fn new(settings: SeasonalSettings) -> Self {
        let tails = || [Tail::new(), Tail::new()];
        Self {
            settings,
            last_at: 0,
            rows: 0.0,
            step_secs: 0.0,
            seen_secs: 0.0,
            season: Season::new(),
            forecast: Forecast::default(),
            repeats: Repeats::default(),
            onset: Onset::default(),
            extreme: tails(),
            jump: tails(),
            pattern: tails(),
            local_error: 0.0,
            middle_distance: 0.0,
            middle_days: 0.0,
            middle: 0.0,
            pattern_now: 0.0,
            pattern_base: 0.0,
            last_value: 0.0,
        }
    }

    /// Judges one value, then learns from it.
    ///
    /// `at` is local civil time in seconds since 1970-01-01T00:00 of the site's own clock. What is no number,
    /// or beyond ±1e100, is neither judged nor learned: `None`. Rows without a value are not given at all.
    pub fn observe(&mut self, at: i64, value: f64) -> Option<Verdict> {
        // Also false for what is not a number.
        let is_usable = value.abs() <= LARGEST_VALUE;
        if !is_usable {
            return None;
        }
        let usual = self.season.usual(at);
        let Some(forecast) = self.forecast.next(&usual) else {
            self.begin(at, value, &usual);
            return Some(Verdict { score: 0.0, unusual: false, expected: value, reason: Reason::Extreme });
        };
        let gap_secs = self.pass(at);
        let secs = gap_secs.min(LONGEST_ROW_STEPS * self.step_secs).clamp(1.0, DAY_SECS as f64);
        self.seen_secs += secs;
        let fresh = self.forecast.freshness(gap_secs, self.step_secs);
        let expected = usual.value + fresh * (forecast - usual.value);

        let (mut surprise, mut reason) = self.surprise(secs, value, expected, fresh, &usual);
        if self.repeats.is_stuck(secs, value == self.last_value) && surprise < STUCK_SURPRISE {
            (surprise, reason) = (STUCK_SURPRISE, Reason::Stuck);
        }
        surprise *= (self.seen_secs / self.settings.learning_secs.max(1.0)).min(1.0);
        self.learn(at, secs, gap_secs, value, (value - expected).abs(), &usual);

        let news = self.onset.news(gap_secs, surprise, &self.settings);
        let score = 1.0 - (-news / self.settings.threshold).exp2();
        Some(Verdict { score, unusual: score >= 0.5, expected, reason })
    }

    fn begin(&mut self, at: i64, value: f64, usual: &Usual) {
        self.last_at = at;
        self.rows = 1.0;
        self.middle = value;
        self.last_value = value;
        self.forecast.learn(0.0, 0.0, value, usual);
    }

    /// Moves on to `at`: the seconds since the row before, and what a usual step is.
    fn pass(&mut self, at: i64) -> f64 {
        let gap_secs = at.saturating_sub(self.last_at) as f64;
        let gap_secs = if gap_secs > 0.0 { gap_secs } else { self.step_secs.max(1.0) };
        self.last_at = at;
        self.rows += 1.0;
        if self.rows == 2.0 {
            self.step_secs = gap_secs;
        } else {
            // A running median: as many steps are longer as are shorter.
            self.step_secs *= if gap_secs > self.step_secs { 1.0 + STEP_RATE } else { 1.0 - STEP_RATE };
        }
        gap_secs
    }

    /// The greatest surprise of the three deviations, and which one it is.
    fn surprise(&mut self, secs: f64, value: f64, expected: f64, fresh: f64, usual: &Usual) -> (f64, Reason) {
        let least = LEAST_SCALE * self.season.spread();
        let of_time = usual.error.max(least);
        let local = self.local_error.clamp(of_time / LOCAL_SCALE_REACH, LOCAL_SCALE_REACH * of_time);
        let scale = (of_time * local).sqrt();
        // After a gap the forecast is the season's, and as sure as that.
        let scale = scale.max(usual.spread) + fresh * (scale - scale.max(usual.spread));
        let jump = deviation(value, expected, scale);
        let extreme = deviation(value, self.middle, self.middle_distance);

        let off_season = deviation(value, usual.value, usual.spread.max(least)).clamp(-PATTERN_CLIP, PATTERN_CLIP);
        let rate = 1.0 - (-secs / PATTERN_SECS.max(PATTERN_ROWS * self.step_secs)).exp();
        self.pattern_now += rate * (usual.known * off_season - self.pattern_now);
        let pattern = self.pattern_now - self.pattern_base;
        self.pattern_base += (1.0 - (-secs / PATTERN_BASE_SECS).exp()) * (self.pattern_now - self.pattern_base);

        let mut greatest = (0.0, Reason::Extreme);
        for (tails, deviation, reason) in [
            (&mut self.extreme, extreme, Reason::Extreme),
            (&mut self.jump, jump, Reason::Jump),
            (&mut self.pattern, pattern, Reason::Pattern),
        ] {
            let [up, down] = tails;
            let surprise = up.surprise(deviation).max(down.surprise(-deviation));
            if surprise > greatest.0 {
                greatest = (surprise, reason);
            }
        }
        greatest
    }

    fn learn(&mut self, at: i64, secs: f64, gap_secs: f64, value: f64, error: f64, usual: &Usual) {
        let of_time = usual.error.max(LEAST_SCALE * self.season.spread());
        self.season.learn(at, secs, value, usual, error);
        self.forecast.learn(gap_secs, self.step_secs, value, usual);
        let clipped = error.min((4.0 * of_time).max(0.2 * error));
        self.local_error += (1.0 - (-secs / LOCAL_SCALE_SECS).exp()) * (clipped - self.local_error);

        let days = secs / DAY_SECS as f64;
        self.middle_days = (self.middle_days + days).min(MIDDLE_DAYS);
        let rate = (days / self.middle_days).min(1.0);
        let off = value - self.middle;
        let reach = MIDDLE_CLIP * self.middle_distance.max(0.05 * off.abs());
        self.middle += rate * off.clamp(-reach, reach);
        self.middle_distance += rate * (off.abs().min(reach) - self.middle_distance);
        self.last_value = value;
    }

    /// Hands out every number that is learned, always in the same order.
    fn visit(&mut self, each: &mut impl FnMut(Number<'_>)) {
        each(Number::Moment(&mut self.last_at));
        for number in [
            &mut self.rows,
            &mut self.step_secs,
            &mut self.seen_secs,
            &mut self.local_error,
            &mut self.middle_distance,
            &mut self.middle_days,
        ] {
            each(Number::Amount(number));
        }
        self.season.visit(each);
        self.forecast.visit(each);
        self.repeats.visit(each);
        self.onset.visit(each);
        for tail in self.extreme.iter_mut().chain(&mut self.jump).chain(&mut self.pattern) {
            tail.visit(each);
        }
        for number in [&mut self.middle, &mut self.pattern_now, &mut self.pattern_base, &mut self.last_value] {
            each(Number::Value(number));
        }
    }
}

/// How many scales a value lies from another; what differs where nothing ever varied is far off.
fn deviation(value: f64, from: f64, scale: f64) -> f64 {
    let off = value - from;
    if off.abs() <= ROUNDING * value.abs().max(from.abs()) {
        0.0
    } else if scale > 0.0 {
        (off / scale).clamp(-LARGEST_DEVIATION, LARGEST_DEVIATION)
    } else {
        FROM_NOTHING.copysign(off)
    }
}
