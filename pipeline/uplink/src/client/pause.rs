//! How long to wait before the gateway is tried again.

use std::time::Duration;

/// The pause after the first failure.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause after a connection that failed or was lost.
const LONGEST: Duration = Duration::from_secs(60);
/// The shortest pause after the gateway said that there is too much for now.
const BUSY: Duration = Duration::from_secs(30);
/// The pause after it refused who we are: trying again soon changes nothing, and a person has to look.
const REFUSED: Duration = Duration::from_secs(300);

/// Why the last connection ended, as far as the pause depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It could not be made, or was lost.
    Lost,
    /// The gateway has too much to do, or our share is used up.
    Busy,
    /// It does not want us.
    Refused,
    /// We ended it ourselves, to come back with other certificates.
    Renewed,
}

/// Counts failures in a row. Many nodes lose their gateway in the same moment, so half of every pause is drawn by lot.
pub(super) struct Pauses {
    random: fastrand::Rng,
    failures: u32,
}

impl Pauses {
    pub(super) fn new(random: fastrand::Rng) -> Self {
        Self { random, failures: 0 }
    }

    /// The pause after a connection that ended so, after having brought rows to the gateway or not.
    pub(super) fn next(&mut self, ended: Ended, was_useful: bool) -> Duration {
        if was_useful {
            self.failures = 0;
        }
        let base = match ended {
            Ended::Renewed => return Duration::ZERO,
            Ended::Refused => REFUSED,
            Ended::Lost | Ended::Busy => {
                let doubled = SHORTEST.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
                self.failures = self.failures.saturating_add(1).min(16);
                let least = if ended == Ended::Busy { BUSY } else { SHORTEST };
                doubled.clamp(least, LONGEST)
            }
        };
        base.mul_f64(0.5 + 0.5 * self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_half_of_each_is_drawn_by_lot() {
        let mut drawn = Vec::new();
        for seed in 0..100 {
            let mut pauses = Pauses::new(fastrand::Rng::with_seed(seed));
            for base in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
                let pause = pauses.next(Ended::Lost, false).as_secs_f64();
                assert!((0.5 * base..=base).contains(&pause), "{pause} s of {base} s");
                drawn.push(pause / base);
            }
            assert!(pauses.next(Ended::Lost, true) <= Duration::from_secs(1), "what worked begins anew");
            assert!(pauses.next(Ended::Busy, false) >= Duration::from_secs(15));
            assert!(pauses.next(Ended::Refused, false) >= Duration::from_secs(150));
            assert_eq!(pauses.next(Ended::Renewed, true), Duration::ZERO);
        }
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        assert!((0.7..0.8).contains(&mean), "{mean}");
    }
}
