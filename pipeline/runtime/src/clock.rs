//! Reading the node's UTC clock, and what is known of its quality.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use kerbside_core::time::WallTime;
use kerbside_release::ClockQuality;

/// systemd-timesyncd touches this file when it has set the clock.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// A clock before this moment (2025-01-01) was never set since boot.
const PLAUSIBLE: WallTime = WallTime::from_unix_millis(1_735_689_600_000);

/// Now, in UTC.
pub(crate) fn now() -> WallTime {
    WallTime::from(SystemTime::now())
}

/// How far UTC on this node can be trusted. Only what a file of the host tells is claimed: a node whose
/// time service says nothing is `unsynced`.
pub(crate) fn quality(now: WallTime) -> ClockQuality {
    if is_synchronised(now) { ClockQuality::Synced } else { ClockQuality::Unsynced }
}

/// Whether the host vouches for this moment.
pub(crate) fn is_synchronised(now: WallTime) -> bool {
    now >= PLAUSIBLE && Path::new(SYNCHRONIZED).exists()
}

/// After so long without a jump a clock is believed that nobody vouches for.
const PROBATION: Duration = Duration::from_secs(24 * 60 * 60);
/// The clocks of a process may drift apart by so much before it is a jump.
const JUMP: Duration = Duration::from_secs(60 * 60);

/// Whether the clock may decide on what is deleted: a cabinet may start with one that is years ahead, and what it
/// deletes then is lost.
#[derive(Debug)]
pub(crate) struct Steadiness {
    since: (Instant, WallTime),
}

impl Steadiness {
    pub(crate) fn from(instant: Instant, wall: WallTime) -> Self {
        Self { since: (instant, wall) }
    }

    /// Takes a look at both clocks.
    pub(crate) fn is_trusted(&mut self, instant: Instant, wall: WallTime, quality: ClockQuality) -> bool {
        let (began, began_wall) = self.since;
        let run = instant.saturating_duration_since(began);
        let (ahead, behind) = (wall.since(began_wall + run), (began_wall + run).since(wall));
        if ahead.max(behind) > JUMP {
            self.since = (instant, wall);
            return quality == ClockQuality::Synced;
        }
        quality == ClockQuality::Synced || run >= PROBATION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_decides_on_deletions_when_it_is_vouched_for_or_has_run_steadily() {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        let (instant, wall) = (Instant::now(), PLAUSIBLE);
        let mut clock = Steadiness::from(instant, wall);
        let (synced, unsynced) = (ClockQuality::Synced, ClockQuality::Unsynced);
        assert!(!clock.is_trusted(instant + HOUR, wall + HOUR, unsynced));
        assert!(clock.is_trusted(instant + HOUR, wall + HOUR, synced));
        assert!(clock.is_trusted(instant + 24 * HOUR, wall + 24 * HOUR, unsynced));
        // It is set ahead by a month, and has to prove itself again.
        assert!(!clock.is_trusted(instant + 25 * HOUR, wall + 745 * HOUR, unsynced));
        assert!(!clock.is_trusted(instant + 48 * HOUR, wall + 768 * HOUR, unsynced));
        assert!(clock.is_trusted(instant + 49 * HOUR, wall + 769 * HOUR, unsynced));
    }
}
