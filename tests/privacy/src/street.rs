//! A street for the release stage: who passes, and the findings that the operators would have of them.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Finding, FindingKind, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::observation::TrackId;
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_release::{ClockQuality, FrameReport, Release, ReleaseError, ReleasedBatch};

use crate::stage::{DAY_SECS, LINE, SECOND_LINE, ZONE};
use crate::statistics::poisson;

/// Nanoseconds of a millisecond.
const MILLI: u64 = 1_000_000;

/// One object that passes one camera: one track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passage {
    /// The camera's place in the plan.
    pub camera: usize,
    /// When it is seen first, in milliseconds since the Unix epoch.
    pub at: u64,
    /// For how long it is seen, in milliseconds. All of the time it is in the zone.
    pub lasts: u64,
    /// What it is.
    pub class: Class,
    /// Which way it goes.
    pub direction: Direction,
    /// How many of the two lines it crosses, half way.
    pub lines: u8,
    /// How fast it is, in km/h.
    pub speed: f64,
}

impl Passage {
    fn end(&self) -> u64 {
        self.at + self.lasts
    }

    fn middle(&self) -> u64 {
        self.at + self.lasts / 2
    }
}

/// When frames are taken.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The time from frame to frame, in milliseconds.
    pub step: u64,
    /// Whether there are frames while nobody is there. Without them coverage is too low; it saves time where nobody
    /// looks at it.
    pub is_steady: bool,
}

/// Plays passages, sorted by [`Passage::at`], to a stage with so many cameras, from second `from` on, and closes all
/// bins up to `to`. Every passage has an id of its own, in order.
pub fn play(
    stage: &mut Release,
    passages: &[Passage],
    cameras: usize,
    span: (u64, u64),
    pace: Pace,
) -> Result<Vec<ReleasedBatch>, ReleaseError> {
    let batches = play_timed(stage, passages, cameras, span, pace)?;
    Ok(batches.into_iter().map(|(_, batch)| batch).collect())
}

/// The same, with the second in which each batch left: the stage is asked every minute.
pub fn play_timed(
    stage: &mut Release,
    passages: &[Passage],
    cameras: usize,
    (from, to): (u64, u64),
    pace: Pace,
) -> Result<Vec<(u64, ReleasedBatch)>, ReleaseError> {
    let mut told = Vec::new();
    let mut out = Vec::new();
    let step = pace.step;
    let mut coming = passages.iter().enumerate().peekable();
    let mut present: Vec<Vec<(usize, Passage)>> = vec![Vec::new(); cameras];
    let mut findings = Vec::new();
    let (mut at, end) = (from * 1000, to * 1000);
    while at <= end {
        while let Some((id, passage)) = coming.next_if(|(_, passage)| passage.at <= at) {
            present[passage.camera].push((id, *passage));
        }
        for (camera, here) in present.iter_mut().enumerate() {
            if here.is_empty() && !pace.is_steady {
                continue;
            }
            let report = report(at, step);
            stage.follow(
                camera,
                report.media,
                report.wall,
                here.iter().map(|(id, passage)| (track(*id), passage.class)),
            );
            findings.clear();
            for (id, passage) in &*here {
                found(*id, passage, at, step, &mut findings);
            }
            stage.observe(camera, &report, &findings);
            here.retain(|(_, passage)| passage.end() > at);
        }
        // Bins are whole minutes.
        if at.is_multiple_of(60_000) {
            stage.advance(WallTime::from_unix_millis(at), &mut out)?;
            told.extend(out.drain(..).map(|batch| (at / 1000, batch)));
        }
        at += step;
        if !pace.is_steady && present.iter().all(Vec::is_empty) {
            let next = coming.peek().map_or(end, |(_, passage)| passage.at.min(end));
            at = at.max(next.div_ceil(step) * step);
        }
    }
    stage.advance(WallTime::from_unix_millis(end), &mut out)?;
    told.extend(out.into_iter().map(|batch| (to, batch)));
    Ok(told)
}

fn track(id: usize) -> TrackId {
    TrackId(id as u64 + 1)
}

/// A trusted frame at `at` milliseconds. The camera's clock began at the Unix epoch.
fn report(at: u64, step: u64) -> FrameReport {
    FrameReport {
        media: MediaTime::from_millis(at),
        wall: WallTime::from_unix_millis(at),
        step: Duration::from_millis(step),
        trusted: true,
        clock: ClockQuality::Synced,
    }
}

/// What the operators have found of a passage since the frame before `at`.
fn found(id: usize, passage: &Passage, at: u64, step: u64, findings: &mut Vec<Finding>) {
    let class = passage.class;
    let mut tell = |moment: u64, site: SiteId, kind: FindingKind| {
        let at = MediaTime::from_nanos(moment * MILLI);
        findings.push(Finding { at, site, class: Some(class), track: Some(track(id)), kind });
    };
    let (since, until) = (passage.at.max(at.saturating_sub(step)), passage.end().min(at));
    if since < until {
        tell(until, ZONE, FindingKind::Presence { lasted: Duration::from_millis(until - since) });
    }
    let is_new = |moment: u64| moment <= at && moment + step > at;
    if is_new(passage.middle()) {
        for line in [LINE, SECOND_LINE].into_iter().take(usize::from(passage.lines)) {
            tell(passage.middle(), line, FindingKind::Crossing { direction: passage.direction });
        }
        let (measure, bucket) = (Measure::SpeedHist, Measure::SpeedHist.bucket_of(passage.speed));
        tell(passage.middle(), LINE, FindingKind::Counted { measure, direction: passage.direction, bucket });
    }
    if is_new(passage.end()) {
        let (measure, direction) = (Measure::DwellHist, Direction::None);
        let bucket = measure.bucket_of(passage.lasts as f64 / 1000.0);
        tell(passage.end(), ZONE, FindingKind::Counted { measure, direction, bucket });
    }
}

/// How many come in a quarter of an hour, over a day.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// What comes.
    pub class: Class,
    /// At night, in a quarter of an hour.
    pub least: f64,
    /// At the busiest time.
    pub most: f64,
    /// The speed that most have, in km/h.
    pub speed: f64,
}

impl Traffic {
    /// What is expected in the quarter of an hour that begins at this second: a morning and an evening peak.
    pub fn expected(&self, secs: u64) -> f64 {
        let hour = (secs % DAY_SECS) as f64 / 3600.0;
        let peak = |centre: f64, width: f64| (-((hour - centre) / width).powi(2)).exp();
        self.least + (self.most - self.least) * (peak(8.5, 2.0) + peak(17.5, 3.0)).min(1.0)
    }
}

/// Arrivals at one camera from second `from` to `to`, sorted. Both lie on quarters of an hour.
pub fn arrivals(
    random: &mut fastrand::Rng,
    camera: usize,
    traffic: &[Traffic],
    (from, to): (u64, u64),
) -> Vec<Passage> {
    const QUARTER: u64 = 900;
    let mut passages = Vec::new();
    for quarter in (from..to).step_by(QUARTER as usize) {
        for of in traffic {
            for _ in 0..poisson(random, of.expected(quarter)) {
                passages.push(Passage {
                    camera,
                    at: quarter * 1000 + random.u64(..QUARTER * 1000),
                    lasts: random.u64(8_000..25_000),
                    class: of.class,
                    direction: if random.bool() { Direction::Forward } else { Direction::Backward },
                    lines: 1,
                    speed: of.speed * (0.6 + 0.8 * random.f64()),
                });
            }
        }
    }
    passages.sort_unstable_by_key(|passage| passage.at);
    passages
}
