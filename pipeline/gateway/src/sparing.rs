//! Log lines that a peer can provoke: of each reason one a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(1);

/// When each reason was in the log last, and how often it was withheld since.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    reasons: Mutex<HashMap<&'static str, (Instant, u64)>>,
}

impl Sparing {
    /// Whether a line may be written now; how many of its reason were not since the last.
    pub(crate) fn may(&self, reason: &'static str, now: Instant) -> Option<u64> {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        match reasons.get_mut(reason) {
            Some((said, withheld)) if now.saturating_duration_since(*said) < PAUSE => {
                *withheld += 1;
                None
            }
            _ => Some(reasons.insert(reason, (now, 0)).map_or(0, |(_, withheld)| withheld)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_a_second() {
        let (sparing, now) = (Sparing::default(), Instant::now());
        assert_eq!(sparing.may("size", now), Some(0));
        assert_eq!((sparing.may("size", now), sparing.may("size", now + PAUSE / 2)), (None, None));
        assert_eq!(sparing.may("value", now), Some(0));
        assert_eq!((sparing.may("size", now + PAUSE), sparing.may("size", now + 2 * PAUSE)), (Some(2), Some(0)));
    }
}
