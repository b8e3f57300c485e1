//! What happens in a run of A8: the passage, and what others do around it.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Finding, FindingKind, Measure};
use kerbside_core::observation::TrackId;
use kerbside_core::time::MediaTime;
use kerbside_release::Release;

use crate::stage::{LINE, ZONE, finding, frame};

/// Everything that a passage may leave, and as much more as it tries to.
#[derive(Clone, Copy)]
pub(super) struct Visit {
    /// How long after the first bin began it begins, in seconds.
    pub(super) after: u64,
    /// How long it lasts, in seconds.
    pub(super) secs: u64,
    /// In how many frames, ten seconds apart, it crosses the line and falls into buckets.
    pub(super) turns: u64,
    /// Which ways it crosses the line each time.
    pub(super) ways: &'static [Direction],
    /// Under how many ids it goes, one after the other: more than one is a tracker that lost it.
    pub(super) ids: u64,
}

/// Six minutes, eight counts in each for whoever comes first.
pub(super) fn displace(stage: &mut Release, camera: usize, run: u64, from: u64, is_there: bool) {
    let first = run * 1000;
    for minute in 0..6 {
        let at = from + 30 + 60 * minute;
        let cross =
            |track, direction| finding(at, LINE, Class::Person, track, FindingKind::Crossing { direction });
        let mut found = Vec::new();
        if is_there {
            found.extend((0..8).map(|_| cross(first, Direction::Forward)));
        }
        found.extend((1..=8).map(|other| cross(first + 8 * minute + other, Direction::Backward)));
        let report = frame(at, 10);
        stage.follow(camera, &report, found.iter().filter_map(|finding| Some((finding.track?, Class::Person))));
        stage.observe(camera, &report, &found);
    }
}

/// Five others, a minute each, and the passage's slivers.
pub(super) fn hide(stage: &mut Release, camera: usize, run: u64, from: u64, is_there: bool) {
    const STEP_SECS: u64 = 10;
    let first = run * 1000;
    let person = Class::Person;
    for turn in 1..=30 {
        let at = from + turn * STEP_SECS;
        let other = first + 1 + (turn - 1) / 6;
        let mut found = Vec::new();
        // Everything is told a millisecond before the frame, so that it is within the bin.
        let stay = |track, lasted| Finding {
            at: MediaTime::from_millis(at * 1000 - 1),
            ..finding(at, ZONE, person, track, FindingKind::Presence { lasted })
        };
        if is_there && turn < 30 {
            found.push(stay(first, Duration::from_millis(1)));
            if turn <= 2 {
                let direction = Direction::Forward;
                let (measure, bucket) = (Measure::SpeedHist, 1);
                found.push(finding(at, LINE, person, first, FindingKind::Crossing { direction }));
                let kind = FindingKind::Counted { measure, direction: Direction::None, bucket };
                found.push(finding(at, LINE, person, first, kind));
            }
        }
        found.push(stay(other, Duration::from_secs(STEP_SECS)));
        let report = frame(at, STEP_SECS);
        stage.follow(camera, &report, found.iter().filter_map(|finding| Some((finding.track?, person))));
        stage.observe(camera, &report, &found);
    }
}

impl Visit {
    /// A minute within one bin that tries to leave ten counts.
    pub(super) const GREEDY: Self =
        Self { after: 0, secs: 60, turns: 5, ways: &[Direction::Forward, Direction::Backward], ids: 1 };

    pub(super) fn make(&self, stage: &mut Release, camera: usize, run: u64, from: u64) {
        const STEP_SECS: u64 = 10;
        let person = Class::Person;
        for id in 0..self.ids {
            let track = run * self.ids + id;
            let from = from + self.after + id * (self.secs + STEP_SECS);
            for (turn, at) in (from..=from + self.secs).step_by(STEP_SECS as usize).enumerate() {
                let seen = std::iter::once((TrackId(track), person));
                stage.follow(camera, &frame(at, STEP_SECS), seen);
                let mut found = Vec::new();
                if at > from {
                    let lasted = Duration::from_secs(STEP_SECS);
                    found.push(finding(at, ZONE, person, track, FindingKind::Presence { lasted }));
                }
                if (turn as u64) < self.turns {
                    for &direction in self.ways {
                        found.push(finding(at, LINE, person, track, FindingKind::Crossing { direction }));
                    }
                    for (measure, site) in [(Measure::SpeedHist, LINE), (Measure::DwellHist, ZONE)] {
                        let kind = FindingKind::Counted { measure, direction: Direction::None, bucket: 1 };
                        found.push(finding(at, site, person, track, kind));
                    }
                }
                stage.observe(camera, &frame(at, STEP_SECS), &found);
            }
        }
    }
}
