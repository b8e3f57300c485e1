//! How improbable tracks usually get here, and from where on one is worth an incident.
//!
//! For each group and reason there is a histogram of the highest score that each track reached. The line is
//! drawn where one track in `rarity` gets. Few tracks have been seen that far out, so the tail above the usual
//! is taken as exponential and drawn on from two quantiles (peaks over a threshold: Pickands, "Statistical
//! inference using extreme order statistics", Annals of Statistics 3(1), 1975; on streams: Siffer et al.,
//! "Anomaly detection in streams with extreme value theory", KDD 2017). Quantiles and not moments, so that
//! one unusual track in a few hundred hardly moves the line.
//!
//! Units: nats.

use super::statistics::MOST_SURPRISE;
use super::{Group, REASONS};

/// Bins in a nat.
const BINS_PER_NAT: f64 = 10.0;
/// Bins of scores, up to [`MOST_SURPRISE`].
pub(crate) const BINS: usize = (MOST_SURPRISE * BINS_PER_NAT) as usize + 1;
/// With fewer tracks nothing is known about what is usual.
pub(crate) const LEAST_TRACKS: f32 = 200.0;
/// What at least one in a hundred does all the time is not unusual, however steady the rest is.
const LEAST_SCORE: f64 = 4.6;
/// The tail falls no faster than this: by a factor e in so many nats.
const LEAST_TAIL: f64 = 0.4;
/// From one track in 10 to one in 50 the tail is measured.
const TAIL_FROM: f32 = 0.1;
const TAIL_TO: f32 = 0.02;

/// The highest scores that tracks reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reached {
    /// By group and reason.
    pub(crate) scores: [[[f32; BINS]; REASONS.len()]; Group::COUNT],
    /// Tracks by group, from the beginning: also those before the scores were worth counting.
    pub(crate) tracks: [f32; Group::COUNT],
}

/// From which score on a track is unusual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line {
    /// For each reason; infinite while too little is known.
    pub(crate) scores: [f64; REASONS.len()],
    /// How sure that is, 0 to 100.
    pub(crate) confidence: u8,
}

impl Line {
    pub(crate) const NONE: Self = Self { scores: [f64::INFINITY; REASONS.len()], confidence: 0 };
}

impl Reached {
    pub(crate) fn new() -> Self {
        Self { scores: [[[0.0; BINS]; REASONS.len()]; Group::COUNT], tracks: [0.0; Group::COUNT] }
    }

    /// A track has ended.
    pub(crate) fn count(&mut self, group: Group) {
        self.tracks[group as usize] += 1.0;
    }

    /// It reached these scores; `None` where there was nothing to judge.
    pub(crate) fn learn(&mut self, group: Group, highest: [Option<f64>; REASONS.len()]) {
        for (counts, score) in self.scores[group as usize].iter_mut().zip(highest) {
            if let Some(score) = score {
                counts[((score * BINS_PER_NAT) as usize).min(BINS - 1)] += 1.0;
            }
        }
    }

    /// Where one track in `rarity` gets for any of the reasons.
    pub(crate) fn line(&self, group: Group, rarity: f64) -> Line {
        let counts = &self.scores[group as usize];
        let known: f32 = counts[0].iter().sum();
        let scores = std::array::from_fn(|reason| {
            let counts = &counts[reason];
            let all: f32 = counts.iter().sum();
            if all < LEAST_TRACKS {
                return f64::INFINITY;
            }
            let (from, to) = (exceeded_by(counts, TAIL_FROM * all), exceeded_by(counts, TAIL_TO * all));
            let tail = ((to - from) / f64::from(TAIL_FROM / TAIL_TO).ln()).max(LEAST_TAIL);
            let farther = rarity * REASONS.len() as f64 * f64::from(TAIL_TO);
            (to + tail * farther.ln().max(0.0)).max(LEAST_SCORE)
        });
        Line { scores, confidence: (100.0 * known / (known + LEAST_TRACKS)) as u8 }
    }

    /// -ln of the share of tracks that are of this group, which is unusual itself where it is rarer than
    /// tracks in `rarity`; `None` where it is not.
    pub(crate) fn unusual_group(&self, group: Group, rarity: f64) -> Option<f64> {
        let all: f32 = self.tracks.iter().sum();
        let share = f64::from(self.tracks[group as usize] + 1.0) / f64::from(all + 1.0);
        (share * rarity < 1.0).then(|| -share.ln())
    }

    pub(crate) fn fade(&mut self, factor: f32) {
        let scores = self.scores.as_flattened_mut().as_flattened_mut();
        scores.iter_mut().chain(&mut self.tracks).for_each(|count| *count *= factor);
    }
}

/// The score that `tracks` tracks exceed; within a bin they are spread evenly.
fn exceeded_by(counts: &[f32; BINS], tracks: f32) -> f64 {
    let mut above = 0.0;
    for (bin, count) in counts.iter().enumerate().rev() {
        if above + count >= tracks && *count > 0.0 {
            let share = (tracks - above) / count;
            return (bin as f64 + 1.0 - f64::from(share)) / BINS_PER_NAT;
        }
        above += count;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of an exponential distribution with that mean, evenly over its quantiles.
    fn learned(tracks: usize, mean: f64, outliers: usize) -> Reached {
        let mut reached = Reached::new();
        for track in 0..tracks {
            let score = -mean * (1.0 - (track as f64 + 0.5) / tracks as f64).ln();
            reached.learn(Group::People, [Some(score); 4]);
            reached.count(Group::People);
        }
        (0..outliers).for_each(|_| reached.learn(Group::People, [Some(11.0); 4]));
        reached
    }

    #[test]
    fn the_line_is_where_one_in_so_many_gets() {
        for (mean, rarity) in [(1.0, 500.0), (0.8, 5000.0), (0.9, 1000.0)] {
            let [line, ..] = learned(2000, mean, 0).line(Group::People, rarity).scores;
            let expected = mean * (4.0 * rarity).ln();
            assert!((line - expected).abs() < 0.3, "{line}, expected {expected}");
            let [moved, ..] = learned(2000, mean, 10).line(Group::People, rarity).scores;
            assert!((moved - line).abs() < 1.6, "{line} {moved}");
        }
    }

    #[test]
    fn the_line_waits_for_tracks_and_never_lies_low() {
        assert_eq!(learned(199, 1.0, 0).line(Group::People, 500.0), Line { confidence: 49, ..Line::NONE });
        assert_eq!(learned(2000, 0.05, 0).line(Group::People, 10.0).scores, [LEAST_SCORE; 4]);
        assert_eq!(learned(2000, 1.0, 0).line(Group::Vehicles, 10.0), Line::NONE);
    }

    #[test]
    fn a_group_that_never_comes_is_unusual_once_many_others_came() {
        let reached = learned(3000, 1.0, 0);
        assert!(reached.unusual_group(Group::Vehicles, 5000.0).is_none());
        assert!(reached.unusual_group(Group::Vehicles, 1000.0).unwrap() > 6.9);
        assert!(reached.unusual_group(Group::People, 1000.0).is_none());
    }
}
