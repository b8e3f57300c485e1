//! Whether a thread makes progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a thread says of its work: that it has begun something, or that it waits. Shared with whoever watches it.
///
/// A thread that waits for something to do is idle, however long. One that has worked on the same thing for too long
/// hangs; how long that is, the watcher knows.
#[derive(Clone, Debug)]
pub struct Beat(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    made: Instant,
    /// Nanoseconds from `made` to the begin of the work, plus one; 0 for idle.
    since: AtomicU64,
}

impl Default for Beat {
    /// Idle.
    fn default() -> Self {
        Self(Arc::new(Inner { made: Instant::now(), since: AtomicU64::new(0) }))
    }
}

impl Beat {
    /// Something has begun, and what was before it is done.
    pub fn work(&self) {
        let since = self.0.made.elapsed().as_nanos();
        self.0.since.store(u64::try_from(since).unwrap_or(u64::MAX - 1) + 1, Ordering::Release);
    }

    /// There is nothing to do.
    pub fn rest(&self) {
        self.0.since.store(0, Ordering::Release);
    }

    /// For how long the thread has worked on the same thing; `None` while it is idle.
    pub fn working_for(&self, now: Instant) -> Option<Duration> {
        let since = self.0.since.load(Ordering::Acquire).checked_sub(1)?;
        Some(now.saturating_duration_since(self.0.made + Duration::from_nanos(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_does_not_hang_and_every_beat_begins_anew() {
        let beat = Beat::default();
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(beat.working_for(later(1000)), None);
        beat.work();
        let hour = beat.clone().working_for(later(3600)).unwrap();
        assert!(hour.abs_diff(Duration::from_secs(3600)) < Duration::from_secs(60), "{hour:?}");
        beat.rest();
        assert_eq!(beat.working_for(later(1000)), None);
    }
}
