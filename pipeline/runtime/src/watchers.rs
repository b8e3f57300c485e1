//! Operators over released bins: they see what leaves the node, and nothing else.
//!
//! They run on the release thread, right behind the release stage, and what they find goes back into it. Since
//! they see released numbers only, what they find tells no more about anyone than those numbers do.

use std::path::Path;

use kerbside_config::{CameraSettings, TimeZone};
use kerbside_core::finding::Findings;
use kerbside_core::operator::{ClosedBin, Role};
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_release::{ClockQuality, FrameReport, Release, Seat};

use crate::learned::{Memory, Named};

/// The operators over bins of one camera.
pub(crate) struct Watcher {
    time_zone: TimeZone,
    operators: Vec<Named>,
}

impl Watcher {
    /// Takes the operators over bins out of a camera's.
    pub(crate) fn take_from(camera: &mut CameraSettings) -> Self {
        let of_bins = camera.operators.extract_if(.., |named| named.configured.role == Role::Bins);
        let of_bins = of_bins.map(|named| (named.name, named.configured.operator));
        Self { time_zone: camera.time_zone.clone(), operators: Named::all(&camera.name, of_bins) }
    }

    /// Gives the operators what was learned before and lies in `folder`.
    pub(crate) fn recall(&mut self, folder: &Path) {
        self.operators.iter_mut().for_each(|named| named.recall(folder));
    }
}

/// Those of all cameras, in the order of the release stage's plan.
pub(crate) struct Watchers {
    cameras: Vec<Watcher>,
    findings: Findings,
}

impl Watchers {
    pub(crate) fn new(cameras: Vec<Watcher>) -> Self {
        Self { cameras, findings: Findings::new() }
    }

    /// Shows the bins that were closed since the last call, up to those that ended at `upto`.
    pub(crate) fn look(&mut self, release: &mut Release, upto: WallTime, clock: ClockQuality) {
        let bins: Vec<_> = release.closed_bins().collect();
        for bin in bins {
            let Some(Watcher { time_zone, operators }) = self.cameras.get_mut(bin.camera) else { continue };
            let closed = ClosedBin {
                cell: bin.cell,
                from: bin.from,
                to: bin.to,
                local: time_zone.local(bin.from),
                value: bin.value,
                coverage: bin.coverage,
            };
            self.findings.clear();
            for Named { operator, .. } in operators {
                operator.observe_bin(&closed, &mut self.findings);
            }
            release.add_findings(bin.camera, &moment(bin.to, clock), self.findings.as_slice());
        }
        for (camera, watcher) in self.cameras.iter_mut().enumerate() {
            self.findings.clear();
            for Named { operator, .. } in &mut watcher.operators {
                operator.advance(MediaTime::from_nanos(upto.as_unix_nanos()), &mut self.findings);
            }
            release.add_findings(camera, &moment(upto, clock), self.findings.as_slice());
        }
    }

    /// Goes on with another list of cameras: those that are as they were keep their operators, the others bring new ones.
    pub(crate) fn rearrange(&mut self, cameras: Vec<(Seat, Option<Watcher>)>) {
        let mut before: Vec<Option<Watcher>> = self.cameras.drain(..).map(Some).collect();
        for (seat, fresh) in cameras {
            let kept = seat.kept().and_then(|place| before.get_mut(place)).and_then(Option::take);
            self.cameras.push(kept.or(fresh).expect("a camera goes on or is new"));
        }
    }

    /// What the operators have learned.
    pub(crate) fn remember(&self) -> Vec<Memory> {
        self.remember_of(|_| true)
    }

    /// What those of the cameras at these places have.
    pub(crate) fn remember_of(&self, is_wanted: impl Fn(usize) -> bool) -> Vec<Memory> {
        let wanted = self.cameras.iter().enumerate().filter(|(place, _)| is_wanted(*place));
        wanted.flat_map(|(_, watcher)| &watcher.operators).filter_map(Named::remember).collect()
    }

    /// Nothing more will come.
    pub(crate) fn finish(&mut self, release: &mut Release, now: WallTime, clock: ClockQuality) {
        self.look(release, now, clock);
        self.end(release, now, clock, |_| true);
    }

    /// Nothing more will come of the cameras at these places.
    pub(crate) fn end(
        &mut self,
        release: &mut Release,
        now: WallTime,
        clock: ClockQuality,
        is_over: impl Fn(usize) -> bool,
    ) {
        for (camera, watcher) in self.cameras.iter_mut().enumerate().filter(|(place, _)| is_over(*place)) {
            self.findings.clear();
            for Named { operator, .. } in &mut watcher.operators {
                operator.finish(&mut self.findings);
            }
            // The bins are closed: what can still be told is that situations are over.
            release.add_findings(camera, &moment(now, clock), self.findings.as_slice());
        }
    }
}

/// The clock of operators over bins is UTC: see [`Role::Bins`].
fn moment(wall: WallTime, clock: ClockQuality) -> FrameReport {
    FrameReport {
        media: MediaTime::from_nanos(wall.as_unix_nanos()),
        wall,
        step: std::time::Duration::ZERO,
        trusted: true,
        clock,
    }
}
