//! What is usual at a time of day and on a day of the week.

use super::saved::Number;

pub(super) const DAY_SECS: i64 = 86_400;
const WEEK_SECS: i64 = 7 * DAY_SECS;
/// The day in bins of 15 minutes, the week in bins of 30.
const DAY_BIN_SECS: i64 = 900;
const DAY_BINS: usize = (DAY_SECS / DAY_BIN_SECS) as usize;
const WEEK_BIN_SECS: i64 = 1800;
const WEEK_BINS: usize = (WEEK_SECS / WEEK_BIN_SECS) as usize;
/// After this long older days and weeks are forgotten.
const MEMORY_DAYS: f64 = 21.0;
const MEMORY_WEEKS: f64 = 8.0;
/// What all times together have shown counts like this many days of one time of day, ...
const SHRINK_DAYS: f64 = 0.5;
/// What an unknown time of day shows counts this little as spread: most of it is the season.
const LEAST_SURE: f64 = 0.02;
/// ... and the daily pattern like this many weeks of one weekday.
const SHRINK_WEEKS: f64 = 1.0;
/// A value counts for learning up to this many standard deviations from what was expected.
const CLIP: f64 = 3.0;
/// The standard deviation of normal noise over its mean absolute deviation.
pub(super) const DEVIATION_OVER_MEAN: f64 = 1.2533;

/// One time of day.
#[derive(Clone, Debug, Default)]
struct DayBin {
    mean: f64,
    days: f64,
    spread: f64,
    /// Days that have shown the spread: those whose mean was known already.
    settled: f64,
    error: f64,
}

/// One time of one weekday: how it differs from the same time of all days.
#[derive(Clone, Debug, Default)]
struct WeekBin {
    difference: f64,
    weeks: f64,
}

/// Sums over the quarter of an hour that is going on, each weighted by the seconds that rows stand for. It
/// is learned when it is over: an event must not explain itself.
#[derive(Clone, Debug, Default)]
struct Open {
    at: i64,
    secs: f64,
    value: f64,
    error: f64,
    sure: f64,
    spread: f64,
}

/// What the season says about a moment, in the unit of the series.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usual {
    /// The value that belongs to the time of day and the weekday.
    pub(super) value: f64,
    /// The mean distance of values from it.
    pub(super) spread: f64,
    /// The mean error of the forecast at this time of day.
    pub(super) error: f64,
    /// How well this time of day is known, 0..1.
    pub(super) known: f64,
}

/// The daily pattern, each weekday's difference from it, and how noisy each time of day is.
#[derive(Clone, Debug)]
pub(super) struct Season {
    day: Vec<DayBin>,
    week: Vec<WeekBin>,
    /// The same for all times together: what an unknown time of day is taken to be.
    level: f64,
    spread: f64,
    error: f64,
    days: f64,
    settled: f64,
    open: Open,
}

impl Season {
    pub(super) fn new() -> Self {
        Self {
            day: vec![DayBin::default(); DAY_BINS],
            week: vec![WeekBin::default(); WEEK_BINS],
            level: 0.0,
            spread: 0.0,
            error: 0.0,
            days: 0.0,
            settled: 0.0,
            open: Open::default(),
        }
    }

    /// The mean distance of values from the season, all times together.
    pub(super) fn spread(&self) -> f64 {
        self.spread
    }

    pub(super) fn usual(&self, at: i64) -> Usual {
        let second = at.rem_euclid(DAY_SECS);
        let share = (second % DAY_BIN_SECS) as f64 / DAY_BIN_SECS as f64;
        let bin = day_bin(at);
        let (earlier, later) = ((bin + DAY_BINS - 1) % DAY_BINS, (bin + 1) % DAY_BINS);
        // Neighbours count too, the nearer one more, so that the pattern has no steps; never seen ones do not.
        let near = [(earlier, 0.75 - 0.5 * share), (bin, 1.0), (later, 0.25 + 0.5 * share)];
        let (mut weight, mut settled) = (0.0, 0.0);
        let (mut value, mut spread, mut error) = (0.0, 0.0, 0.0);
        for (index, nearness) in near {
            let bin = &self.day[index];
            let days = nearness * bin.days;
            weight += days;
            value += days * bin.mean;
            spread += nearness * bin.settled * bin.spread;
            settled += nearness * bin.settled;
            error += days * bin.error;
        }
        let blend = |sum: f64, of_all: f64| (sum + SHRINK_DAYS * of_all) / (weight + SHRINK_DAYS);
        // The quarter before may have been learned minutes ago, which says nothing about the usual of this one.
        let known: f64 = near[1..].iter().map(|(index, nearness)| nearness * self.day[*index].days).sum();
        let week = &self.week[week_bin(at)];
        Usual {
            value: blend(value, self.level) + week.difference * week.weeks / (week.weeks + SHRINK_WEEKS),
            spread: (spread + SHRINK_DAYS * self.spread) / (settled + SHRINK_DAYS),
            error: blend(error, self.error),
            known: known / (known + SHRINK_DAYS),
        }
    }

    /// Learns a value that stands for `secs`. `error` is how far off the forecast was.
    pub(super) fn learn(&mut self, at: i64, secs: f64, value: f64, usual: &Usual, error: f64) {
        let off = value - usual.value;
        // What is hardly known may move far.
        let known = usual.known.max(1e-3);
        let reach = CLIP * DEVIATION_OVER_MEAN / (known * known);
        // Where all has been equal so far there is no scale to clip by.
        let seen = if self.spread > 0.0 {
            usual.value + off.clamp(-reach * usual.spread, reach * usual.spread)
        } else {
            value
        };
        // The small share lets a scale that fell to nothing grow again.
        let off = off.abs().min((reach * usual.spread).max(0.05 * off.abs()));
        let error = if self.error > 0.0 { error.min(reach * usual.error) } else { error };

        let days = secs / DAY_SECS as f64;
        let is_first = self.days == 0.0;
        self.days = (self.days + days).min(MEMORY_DAYS);
        let rate = if is_first { 1.0 } else { (days / self.days).min(0.1) };
        self.level += rate * (if is_first { value } else { seen } - self.level);
        // What is not known yet is not spread.
        let sure = usual.known.max(LEAST_SURE);
        let news = sure * days;
        self.settled = (self.settled + news).min(MEMORY_DAYS);
        self.spread += news / self.settled * (off - self.spread);
        self.error += rate * (error - self.error);

        if day_bin(at) != day_bin(self.open.at) {
            self.close();
        }
        let open = &mut self.open;
        open.at = at;
        open.secs += secs;
        open.value += secs * seen;
        open.error += secs * error;
        open.sure += secs * usual.known;
        open.spread += secs * usual.known * off;
    }

    /// Adds the open quarter of an hour to what is known.
    fn close(&mut self) {
        let Open { at, secs, value, error, sure, spread } = std::mem::take(&mut self.open);
        if secs <= 0.0 {
            return;
        }
        let bin = &mut self.day[day_bin(at)];
        let days = (secs / DAY_BIN_SECS as f64).min(1.0);
        bin.days = (bin.days + days).min(MEMORY_DAYS);
        bin.mean += days / bin.days * (value / secs - bin.mean);
        bin.error += days / bin.days * (error / secs - bin.error);
        let difference = value / secs - bin.mean;
        if sure > 0.0 {
            let days = days * sure / secs;
            bin.settled = (bin.settled + days).min(MEMORY_DAYS);
            bin.spread += days / bin.settled * (spread / sure - bin.spread);
        }
        let bin = &mut self.week[week_bin(at)];
        let weeks = (secs / WEEK_BIN_SECS as f64).min(1.0);
        bin.weeks = (bin.weeks + weeks).min(MEMORY_WEEKS);
        bin.difference += weeks / bin.weeks * (difference - bin.difference);
    }

    pub(super) fn visit(&mut self, each: &mut impl FnMut(Number<'_>)) {
        for number in [&mut self.spread, &mut self.error, &mut self.days, &mut self.settled] {
            each(Number::Amount(number));
        }
        each(Number::Value(&mut self.level));
        let Open { at, secs, value, error, sure, spread } = &mut self.open;
        each(Number::Moment(at));
        each(Number::Value(value));
        for number in [secs, error, sure, spread] {
            each(Number::Amount(number));
        }
        for bin in &mut self.day {
            each(Number::Value(&mut bin.mean));
            for number in [&mut bin.days, &mut bin.spread, &mut bin.settled, &mut bin.error] {
                each(Number::Amount(number));
            }
        }
        for bin in &mut self.week {
            each(Number::Amount(&mut bin.weeks));
            each(Number::Value(&mut bin.difference));
        }
    }
}

fn day_bin(at: i64) -> usize {
    (at.rem_euclid(DAY_SECS) / DAY_BIN_SECS) as usize
}

fn week_bin(at: i64) -> usize {
    (at.rem_euclid(WEEK_SECS) / WEEK_BIN_SECS) as usize
}
