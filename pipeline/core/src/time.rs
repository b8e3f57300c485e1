//! The two clocks of a stream as types of their own, so that they cannot be mixed.
//!
//! [`MediaTime`] is the stream's clock, [`WallTime`] is UTC. The process clock is `std::time::Instant`.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment on one camera's own clock: nanoseconds since that camera was first opened.
/// It never runs backwards, also not across reconnects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(u64);

impl MediaTime {
    /// The camera's first moment.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after [`MediaTime::ZERO`].
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after [`MediaTime::ZERO`].
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since [`MediaTime::ZERO`].
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MediaTime {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

impl Sub<Duration> for MediaTime {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

/// A moment in UTC: nanoseconds since 1970-01-01T00:00:00Z, from 1970 to 2554.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

impl WallTime {
    /// 1970-01-01T00:00:00Z, where `replay` puts the first frame of a clip unless told otherwise.
    pub const UNIX_EPOCH: Self = Self(0);

    /// The moment `nanos` nanoseconds after the Unix epoch.
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_unix_nanos(self) -> u64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down: the unit of the released tables.
    pub const fn as_unix_millis(self) -> i64 {
        (self.0 / 1_000_000) as i64
    }

    /// The time from `earlier` to `self`, zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The start of the bin of length `bin` in which this moment lies; bins are aligned to the Unix epoch.
    pub fn bin_start(self, bin: Duration) -> Self {
        let bin = nanos(bin).max(1);
        Self(self.0 / bin * bin)
    }

    /// Reads RFC 3339, such as `2026-01-31T08:00:00Z`; `None` for anything else or before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        humantime::parse_rfc3339(text).ok().map(Self::from)
    }
}

impl From<SystemTime> for WallTime {
    /// Moments before 1970 become the epoch: a node whose clock was never set must still run.
    fn from(time: SystemTime) -> Self {
        Self(nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

impl From<WallTime> for SystemTime {
    fn from(time: WallTime) -> Self {
        UNIX_EPOCH + Duration::from_nanos(time.0)
    }
}

impl Add<Duration> for WallTime {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

impl Sub<Duration> for WallTime {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339 with milliseconds: `2026-01-31T08:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_rfc3339_millis(SystemTime::from(*self)))
    }
}

/// A moment as the clocks of a town show it: without a zone, and not steady where clocks are changed.
/// The time of day and the day of the week matter to a street, not the moment in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime {
    /// Days since 1970-01-01 of the local calendar.
    pub day: i32,
    /// Seconds since midnight, 0 to 86 399.
    pub second_of_day: u32,
}

impl LocalTime {
    /// Where clocks show UTC.
    pub fn utc(at: WallTime) -> Self {
        let seconds = at.0 / 1_000_000_000;
        Self { day: (seconds / 86_400) as i32, second_of_day: (seconds % 86_400) as u32 }
    }

    /// 0 for Monday to 6 for Sunday.
    pub fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday.
        (self.day + 3).rem_euclid(7) as u32
    }

    /// Seconds since 1970-01-01T00:00:00 of the local calendar, as if no clock were ever changed.
    pub fn as_seconds(self) -> i64 {
        i64::from(self.day) * 86_400 + i64::from(self.second_of_day)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_start_on_multiples_of_their_length() {
        let quarter = Duration::from_secs(900);
        let at = WallTime::parse_rfc3339("2026-01-31T08:14:59.999Z").unwrap();
        assert_eq!(at.bin_start(quarter).to_string(), "2026-01-31T08:00:00.000Z");
        let next = at + Duration::from_millis(1);
        assert_eq!(next.bin_start(quarter), next);
    }

    #[test]
    fn local_days_have_their_weekdays() {
        let sunday = LocalTime::utc(WallTime::parse_rfc3339("2026-11-22T22:30:05Z").unwrap());
        assert_eq!((sunday.weekday(), sunday.second_of_day), (6, 81_005));
        assert_eq!(sunday.as_seconds(), 1_795_386_605);
        assert_eq!(LocalTime { day: -1, second_of_day: 0 }.weekday(), 2);
    }

    #[test]
    fn time_before_the_start_is_the_start() {
        assert_eq!(MediaTime::ZERO - Duration::from_secs(1), MediaTime::ZERO);
        assert_eq!(MediaTime::ZERO.since(MediaTime::from_millis(5)), Duration::ZERO);
        assert_eq!(WallTime::from(UNIX_EPOCH - Duration::from_secs(5)), WallTime::UNIX_EPOCH);
    }
}
