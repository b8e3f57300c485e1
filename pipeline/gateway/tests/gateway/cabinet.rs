//! A node's release stage, whose rows differ from minute to minute.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use kerbside_core::camera::CameraState;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase};
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_release::{
    CameraPlan, CameraUid, ClockQuality, FrameReport, Guarantee, HealthSample, IncidentSeed, MemoryLedger,
    NodeIdentity, Noise, Positions, Release, ReleasedBatch, StreamPosition, Table,
};

use crate::common::{MINUTE, START};

/// A release stage.
pub(crate) struct Cabinet {
    release: Release,
    minute: u64,
    incidents: u32,
}

impl Cabinet {
    pub(crate) fn new(name: &str, epoch: u32) -> Self {
        Self::with_site(name, "crossing", epoch)
    }

    pub(crate) fn with_site(name: &str, site: &str, epoch: u32) -> Self {
        let guarantee =
            Guarantee::Private { noise: Noise::from_key([3; 32]), ledger: Box::new(MemoryLedger::new()) };
        Self::with(name, site, StreamPosition { epoch, next_seq: 0 }, guarantee)
    }

    pub(crate) fn with(name: &str, site: &str, at: StreamPosition, guarantee: Guarantee) -> Self {
        let identity = NodeIdentity {
            node: name.to_owned(),
            software: "0.1.0".to_owned(),
            config_revision: 1,
            incident_seed: IncidentSeed([0; 16]),
        };
        let cell =
            |class, direction| Cell::new(SiteId(0), Measure::CrossingCount, Some(class)).directed(direction);
        let plan = |camera: &str| CameraPlan {
            camera: camera.to_owned(),
            model: "nanodet-g".to_owned(),
            sites: vec![site.to_owned(), "square".to_owned()],
            cells: vec![
                cell(Class::Car, Direction::Forward),
                cell(Class::Bus, Direction::Forward),
                cell(Class::Person, Direction::Forward),
            ],
            incidents: vec![
                (IncidentKind::StoppedVehicle, SiteId(0)),
                (IncidentKind::TamperCovered, SiteId::PICTURE),
            ],
            watched: Vec::new(),
            alerts: Vec::new(),
            uid: CameraUid([0; 16]),
            privacy: Privacy::of(Profile::Standard),
        };
        let positions = Positions { agg: at, health: at, incident: at };
        let cameras = vec![plan("north"), plan("south")];
        let release = Release::new(identity, cameras, positions, START, guarantee).unwrap();
        Self { release, minute: 0, incidents: 0 }
    }

    /// What is released in the next minute: two rows a camera, and three every quarter of an hour.
    pub(crate) fn minute(&mut self) -> Vec<ReleasedBatch> {
        let at = MediaTime::from_millis(self.minute * 60_000 + 1000);
        let frame = FrameReport {
            media: at,
            wall: WallTime::from_unix_nanos(START.as_unix_nanos() + at.as_nanos()),
            step: Duration::from_millis(100),
            trusted: true,
            clock: ClockQuality::Synced,
        };
        for _ in 0..=self.minute % 7 {
            self.release.observe(0, &frame, &[]);
        }
        self.minute += 1;
        let mut out = Vec::new();
        let to = self.now();
        self.release.advance(to, &mut out).unwrap();
        let sample = HealthSample { fps_in: Some(self.minute as f32), ..HealthSample::new(CameraState::Up) };
        self.release.health(to - MINUTE, to, ClockQuality::Synced, &[sample, sample], &mut out).unwrap();
        out
    }

    /// Rows of `agg.v1` of the next minutes, one batch each.
    pub(crate) fn agg(&mut self, minutes: usize) -> Vec<ReleasedBatch> {
        (0..minutes).flat_map(|_| self.minute()).filter(|batch| batch.table() == Table::Agg).collect()
    }

    /// A batch of `incident.v1`: something begins and ends.
    pub(crate) fn incident(&mut self) -> ReleasedBatch {
        self.incidents += 1;
        let at = MediaTime::from_millis(self.minute * 60_000 + 2000);
        let frame = FrameReport {
            media: at,
            wall: WallTime::from_unix_nanos(START.as_unix_nanos() + at.as_nanos()),
            step: Duration::from_millis(100),
            trusted: true,
            clock: ClockQuality::Synced,
        };
        let word = |phase| {
            let incident = Incident {
                kind: IncidentKind::StoppedVehicle,
                phase,
                number: self.incidents,
                since: at,
                severity: 40,
                confidence: 90,
                value: 20,
                unit: IncidentUnit::Seconds,
                reason: None,
            };
            let kind = FindingKind::Incident(incident);
            Finding { at, site: SiteId(0), class: Some(Class::Car), track: None, kind }
        };
        self.release.observe(0, &frame, &[word(Phase::Begin), word(Phase::End)]);
        let mut out = Vec::new();
        self.release.advance(self.now(), &mut out).unwrap();
        out.retain(|batch| batch.table() == Table::Incident);
        out.remove(0)
    }

    fn now(&self) -> WallTime {
        WallTime::from_unix_millis(START.as_unix_millis() as u64 + self.minute * 60_000)
    }
}
