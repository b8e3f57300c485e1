//! Reading the node's UTC clock, and what is known of its quality.

use std::path::Path;
use std::time::SystemTime;

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
    if now >= PLAUSIBLE && Path::new(SYNCHRONIZED).exists() {
        ClockQuality::Synced
    } else {
        ClockQuality::Unsynced
    }
}
