//! How long to wait before a camera is tried again.

use std::time::Duration;

use crate::source::Limits;

/// The spread of a pause around its base.
const JITTER: std::ops::Range<f64> = 0.75..1.25;

/// Why the last attempt ended, as far as the pause depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It could not be reached or was lost.
    Lost,
    /// It refused our credentials.
    Refused,
    /// Its pictures cannot be decoded here.
    Undecodable,
}

/// Counts failures in a row and turns them into pauses.
pub(crate) struct Backoff {
    limits: Limits,
    random: fastrand::Rng,
    failures: u32,
    refusals: u32,
    undecodable: u32,
}

impl Backoff {
    pub(crate) fn new(limits: Limits, random: fastrand::Rng) -> Self {
        Self { limits, random, failures: 0, refusals: 0, undecodable: 0 }
    }

    /// The pause after an attempt that ended for `reason` after having brought pictures for `up`.
    pub(crate) fn pause(&mut self, reason: Reason, up: Option<Duration>) -> Duration {
        if up.is_some() {
            (self.refusals, self.undecodable) = (0, 0);
        }
        if up.is_some_and(|up| up >= self.limits.stable) {
            self.failures = 0;
        }
        let Limits { shortest_pause, longest_pause, refusals, refused_pause, codec_pause, .. } = self.limits;
        match reason {
            Reason::Lost => {
                self.failures = self.failures.saturating_add(1);
                self.spread(doubled(shortest_pause, self.failures), shortest_pause, longest_pause)
            }
            Reason::Refused => {
                self.refusals = self.refusals.saturating_add(1);
                if self.refusals < refusals {
                    self.spread(doubled(shortest_pause, self.refusals), shortest_pause, longest_pause)
                } else {
                    // Never sooner than promised: one-sided jitter.
                    refused_pause.mul_f64(1.0 + (JITTER.end - 1.0) * self.random.f64())
                }
            }
            Reason::Undecodable => {
                self.undecodable = self.undecodable.saturating_add(1);
                self.spread(doubled(codec_pause, self.undecodable), codec_pause, refused_pause)
            }
        }
    }

    fn spread(&mut self, base: Duration, shortest: Duration, longest: Duration) -> Duration {
        let factor = JITTER.start + (JITTER.end - JITTER.start) * self.random.f64();
        base.min(longest).mul_f64(factor).clamp(shortest, longest.max(shortest))
    }
}

/// `first` for the first failure, twice as much for each further one.
fn doubled(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(Limits::DEFAULT, fastrand::Rng::with_seed(seed))
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_stay_within_their_bounds() {
        // (base seconds, at least, at most)
        let table = [
            (1.0, 1.0, 1.25),
            (2.0, 1.5, 2.5),
            (4.0, 3.0, 5.0),
            (8.0, 6.0, 10.0),
            (16.0, 12.0, 20.0),
            (30.0, 22.5, 30.0),
            (30.0, 22.5, 30.0),
        ];
        for seed in 0..200 {
            let mut backoff = backoff(seed);
            for (base, least, most) in table {
                let pause = backoff.pause(Reason::Lost, None).as_secs_f64();
                assert!((least..=most).contains(&pause), "{pause} s around {base} s with seed {seed}");
            }
            for _ in 0..100 {
                assert!(backoff.pause(Reason::Lost, None) <= Limits::DEFAULT.longest_pause);
            }
        }
    }

    #[test]
    fn cameras_that_fail_together_do_not_come_back_together() {
        let pauses: std::collections::BTreeSet<_> = (0..64)
            .map(|seed| {
                let mut backoff = backoff(seed);
                backoff.pause(Reason::Lost, None);
                backoff.pause(Reason::Lost, None)
            })
            .collect();
        assert!(pauses.len() > 60, "{} different pauses", pauses.len());
    }

    #[test]
    fn a_stream_that_was_up_long_enough_starts_again_with_the_shortest_pause() {
        let most = Duration::from_millis(1250);
        for (up, short) in [(9, false), (10, true), (3600, true)] {
            let mut backoff = backoff(7);
            for _ in 0..6 {
                backoff.pause(Reason::Lost, None);
            }
            let pause = backoff.pause(Reason::Lost, Some(Duration::from_secs(up)));
            assert_eq!(pause <= most, short, "{pause:?} after {up} s");
        }
    }

    #[test]
    fn a_camera_that_refuses_us_is_asked_at_most_once_in_five_minutes_after_three_tries() {
        let mut backoff = backoff(3);
        for _ in 0..2 {
            assert!(backoff.pause(Reason::Refused, None) <= Duration::from_secs(3));
        }
        for _ in 0..50 {
            let pause = backoff.pause(Reason::Refused, None);
            assert!((300.0..=375.0).contains(&pause.as_secs_f64()), "{pause:?}");
            // That it cannot be reached in between does not make us bolder.
            backoff.pause(Reason::Lost, None);
        }
        assert!(backoff.pause(Reason::Refused, Some(Duration::from_secs(60))) <= Duration::from_secs(2));
    }

    #[test]
    fn an_undecodable_stream_is_tried_rarely() {
        let mut backoff = backoff(5);
        for (least, most) in [(30.0, 37.5), (45.0, 75.0), (90.0, 150.0), (180.0, 300.0), (225.0, 300.0)] {
            let pause = backoff.pause(Reason::Undecodable, None).as_secs_f64();
            assert!((least..=most).contains(&pause), "{pause} not in {least}..{most}");
        }
    }
}
