//! Where a frame lies in time.
//!
//! A stream's timestamps are foreign: they may jump, repeat or start anew. This turns them into media time
//! that only grows, in runs: within a run differences of media time are the stream's own; a new run begins with
//! every connection and wherever the timestamps jump. Pure: clocks are parameters.

use std::time::{Duration, Instant};

use kerbside_core::time::{MediaTime, WallTime};

/// A live stream that gains more than this on the process clock from one frame to the next has jumped.
/// A clip has no process clock: there it is the longest gap.
const LONGEST_LEAP: Duration = Duration::from_secs(5);
/// Wall time may differ from the system's by this much before it is set anew.
const WALL_TOLERANCE: Duration = Duration::from_secs(1);
/// Assumed between two frames when nothing better is known.
const FALLBACK_STEP: Duration = Duration::from_millis(40);
/// The least step: media time never stands still.
const LEAST_STEP: Duration = Duration::from_nanos(1);

/// Which clock the stream follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Pictures come when they are taken.
    Now,
    /// Pictures come whenever they are read; the first was taken then.
    Recording(WallTime),
}

/// A frame's place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) run: u32,
    pub(crate) media_time: MediaTime,
    pub(crate) wall_time: WallTime,
    /// The run is new because the stream's clock jumped.
    pub(crate) jumped: bool,
}

struct Last {
    timestamp: Option<Duration>,
    came: Instant,
    media_time: MediaTime,
    step: Duration,
}

/// One camera's clock.
pub(crate) struct Timeline {
    follows: Follows,
    run: u32,
    last: Option<Last>,
    interrupted: bool,
    wall_anchor: Option<(MediaTime, WallTime)>,
}

impl Timeline {
    pub(crate) fn new(follows: Follows) -> Self {
        Self { follows, run: 0, last: None, interrupted: false, wall_anchor: None }
    }

    /// The next frame comes from another connection.
    pub(crate) fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// The place of the frame that has the stream's `timestamp`, came at `now`, when UTC was `utc`.
    pub(crate) fn stamp(&mut self, timestamp: Option<Duration>, now: Instant, utc: WallTime) -> Stamp {
        let Some(last) = &self.last else {
            self.last = Some(Last { timestamp, came: now, media_time: MediaTime::ZERO, step: FALLBACK_STEP });
            self.interrupted = false;
            let wall_time = self.wall_time(MediaTime::ZERO, utc, false);
            return Stamp { run: self.run, media_time: MediaTime::ZERO, wall_time, jumped: false };
        };
        let elapsed = now.saturating_duration_since(last.came);
        let advance = match (timestamp, last.timestamp) {
            (Some(timestamp), Some(last)) => timestamp.checked_sub(last).filter(|step| !step.is_zero()),
            // A frame without a timestamp follows the one before it.
            _ => Some(last.step),
        };
        let longest = match self.follows {
            Follows::Now => elapsed + LONGEST_LEAP,
            Follows::Recording(_) => LONGEST_LEAP,
        };
        let trusted = advance.filter(|step| *step <= longest);
        let jumped = !self.interrupted && trusted.is_none();
        let new_run = self.interrupted || jumped;
        let step = match (trusted.filter(|_| !new_run), self.follows) {
            (Some(step), _) => step,
            (None, Follows::Now) => elapsed,
            // A gap in a clip is true time; a step back is not.
            (None, Follows::Recording(_)) => advance.unwrap_or(last.step),
        };
        let media_time = last.media_time + step.max(LEAST_STEP);
        let step = if new_run { last.step } else { step };
        // Without a timestamp of its own the frame stands where its step has led.
        let timestamp = timestamp.or(last.timestamp.map(|last| last + step));
        self.last = Some(Last { timestamp, came: now, media_time, step });
        self.interrupted = false;
        if new_run {
            self.run += 1;
        }
        let wall_time = self.wall_time(media_time, utc, new_run);
        Stamp { run: self.run, media_time, wall_time, jumped }
    }

    fn wall_time(&mut self, media_time: MediaTime, utc: WallTime, new_run: bool) -> WallTime {
        let first_frame_at = match self.follows {
            Follows::Recording(first_frame_at) => return first_frame_at + media_time.since(MediaTime::ZERO),
            Follows::Now => utc,
        };
        if let (Some((anchor, at)), false) = (self.wall_anchor, new_run) {
            let wall = at + media_time.since(anchor);
            if wall.since(utc).max(utc.since(wall)) <= WALL_TOLERANCE {
                return wall;
            }
        }
        self.wall_anchor = Some((media_time, first_frame_at));
        first_frame_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: WallTime = WallTime::from_unix_millis(1_700_000_000_000);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Stamps frames given as (timestamp, arrival) in milliseconds.
    fn stamps(timeline: &mut Timeline, frames: &[(u64, u64)]) -> Vec<(u32, u64, bool)> {
        let begin = Instant::now();
        frames
            .iter()
            .map(|&(timestamp, came)| {
                let stamp = timeline.stamp(Some(ms(timestamp)), begin + ms(came), UTC + ms(came));
                (stamp.run, stamp.media_time.as_nanos() / 1_000_000, stamp.jumped)
            })
            .collect()
    }

    #[test]
    fn a_live_clock_that_jumps_begins_a_new_run_and_media_time_goes_on_as_time_passed() {
        type Frames = &'static [(u64, u64)];
        type Stamps = &'static [(u32, u64, bool)];
        // (what, frames as (timestamp, arrival), stamps as (run, media time, jumped))
        let table: [(&str, Frames, Stamps); 5] = [
            (
                "jitter of arrival",
                &[(500, 0), (600, 130), (700, 200)],
                &[(0, 0, false), (0, 100, false), (0, 200, false)],
            ),
            (
                "an hour forward",
                &[(0, 0), (3_600_000, 100), (3_600_100, 200)],
                &[(0, 0, false), (1, 100, true), (1, 200, false)],
            ),
            (
                "ten seconds back",
                &[(20_000, 0), (10_000, 100), (10_100, 200)],
                &[(0, 0, false), (1, 100, true), (1, 200, false)],
            ),
            (
                "repeated",
                &[(0, 0), (100, 100), (100, 200), (200, 300)],
                &[(0, 0, false), (0, 100, false), (1, 200, true), (1, 300, false)],
            ),
            ("a true gap", &[(0, 0), (30_000, 30_000)], &[(0, 0, false), (0, 30_000, false)]),
        ];
        for (what, frames, expected) in table {
            assert_eq!(stamps(&mut Timeline::new(Follows::Now), frames), expected, "{what}");
        }
    }

    #[test]
    fn a_reconnect_begins_a_new_run_without_a_jump() {
        let mut timeline = Timeline::new(Follows::Now);
        let begin = Instant::now();
        let stamp = |timeline: &mut Timeline, timestamp, came| {
            timeline.stamp(Some(ms(timestamp)), begin + ms(came), UTC + ms(came))
        };
        assert_eq!(stamp(&mut timeline, 90_000, 0).media_time, MediaTime::ZERO);
        timeline.interrupt();
        timeline.interrupt();
        let after = stamp(&mut timeline, 10, 4000);
        assert_eq!((after.run, after.jumped), (1, false));
        assert_eq!(after.media_time, MediaTime::from_millis(4000));
        assert_eq!(after.wall_time, UTC + ms(4000));
    }

    #[test]
    fn a_clip_depends_on_no_clock() {
        let mut timeline = Timeline::new(Follows::Recording(WallTime::UNIX_EPOCH));
        let begin = Instant::now();
        let frames = [Some(67), Some(167), None, Some(367), Some(20_367), Some(300), Some(400)];
        let stamps: Vec<_> = frames
            .into_iter()
            .map(|at| {
                let stamp = timeline.stamp(at.map(ms), begin, UTC);
                assert_eq!(stamp.wall_time.as_unix_nanos(), stamp.media_time.as_nanos());
                (stamp.run, stamp.media_time.as_nanos() / 1_000_000, stamp.jumped)
            })
            .collect();
        let expected = [
            (0, 0, false),
            (0, 100, false),
            (0, 200, false),
            (0, 300, false),
            (1, 20_300, true),
            (2, 20_400, true),
            (2, 20_500, false),
        ];
        assert_eq!(stamps, expected);
    }

    #[test]
    fn wall_time_follows_the_stream_until_the_system_clock_is_a_second_off() {
        let mut timeline = Timeline::new(Follows::Now);
        let begin = Instant::now();
        // (timestamp and arrival in ms, UTC in ms after the first, wall time in ms after the first)
        for (at, utc, expected) in [
            (0, 0, 0),
            (100, 130, 100),
            (200, 1100, 200),
            (300, 3_600_300, 3_600_300),
            (400, 3_600_500, 3_600_400),
        ] {
            let stamp = timeline.stamp(Some(ms(at)), begin + ms(at), UTC + ms(utc));
            assert_eq!(stamp.wall_time, UTC + ms(expected), "at {at}");
            assert!(!stamp.jumped);
        }
    }
}
