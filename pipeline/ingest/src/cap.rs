//! The frame-rate cap.
//!
//! A schedule with one place for each frame that may pass. A frame takes the next place when it comes at
//! most half a period before it, so that a stream of the same rate passes whole in spite of jitter, and a
//! faster one gives the frames nearest to the schedule. Places lie at multiples of the exact period
//! from their anchor: 29.97 does not drift.

use kerbside_core::time::MediaTime;

/// Decides by media time which frames pass.
pub(crate) struct RateCap {
    period_nanos: f64,
    /// Where the schedule begins and how many of its places are taken.
    schedule: Option<(u64, u64)>,
}

impl RateCap {
    /// Lets `fps` frames a second pass.
    pub(crate) fn new(fps: f64) -> Self {
        Self { period_nanos: 1e9 / fps, schedule: None }
    }

    /// Whether the frame passes. Times must not decrease.
    pub(crate) fn admit(&mut self, at: MediaTime) -> bool {
        let at = at.as_nanos();
        let Some((anchor, taken)) = &mut self.schedule else {
            self.schedule = Some((at, 1));
            return true;
        };
        let since = at.saturating_sub(*anchor) as f64;
        let place = *taken as f64 * self.period_nanos;
        if since < place - self.period_nanos / 2.0 {
            return false;
        }
        *taken += 1;
        // Late by a whole place or more: the stream is slower than the cap or had a gap. Places that
        // were missed are not made up for by a burst.
        if since >= place + self.period_nanos {
            self.schedule = Some((at, 1));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `frames` pictures at `stream_fps` pass a cap of `fps`; odd pictures come `jitter` late.
    fn passed(stream_fps: f64, fps: f64, frames: u64, jitter_nanos: u64) -> u64 {
        let mut cap = RateCap::new(fps);
        (0..frames)
            .map(|n| (n as f64 * 1e9 / stream_fps).round() as u64 + (n % 2) * jitter_nanos)
            .filter(|at| cap.admit(MediaTime::from_nanos(*at)))
            .count() as u64
    }

    #[test]
    fn the_rate_is_exact() {
        // (stream, cap, frames, jitter in ms, passed)
        let table = [
            (10.0, 10.0, 795, 0, 795),
            (10.0, 10.0, 795, 45, 795),
            (10.0, 30.0, 795, 20, 795),
            (29.97, 29.97, 100_000, 0, 100_000),
            (30_000.0 / 1001.0, 30.0, 100_000, 0, 100_000),
            (30.0, 10.0, 3000, 0, 1000),
            (30.0, 10.0, 3000, 10, 1000),
            (25.0, 10.0, 2500, 0, 1000),
            (30.0, 12.5, 2400, 0, 1000),
            (15.0, 10.0, 1500, 0, 1000),
            (30_000.0 / 1001.0, 10.0, 30_000, 0, 10_010),
            (25.0, 0.5, 250, 0, 5),
        ];
        for (stream, fps, frames, jitter, expected) in table {
            let passed = passed(stream, fps, frames, jitter * 1_000_000);
            // The ends of the schedule may add or take one place.
            assert!(
                passed.abs_diff(expected) <= u64::from(stream > fps),
                "{stream} fps capped at {fps}: {passed} of {frames} passed, not {expected}"
            );
        }
    }

    #[test]
    fn a_gap_is_not_followed_by_a_burst() {
        let mut cap = RateCap::new(10.0);
        assert!(cap.admit(MediaTime::ZERO));
        assert!(cap.admit(MediaTime::from_millis(60_000)));
        let burst = (1..10).filter(|n| cap.admit(MediaTime::from_millis(60_000 + n * 10))).count();
        assert_eq!(burst, 1);
    }
}
