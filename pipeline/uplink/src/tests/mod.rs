//! The crate from outside, on real files, and from inside where a disk must fail.

mod coarse;
mod crash;
mod damage;
mod export;
mod failing;
mod feed;
mod follow;
mod foreign;
mod model;
mod power;
mod retention;
mod rot;
mod rows;
pub(crate) mod simulated;
mod spool;
mod table_file;
mod uplink;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, UInt32Type, UInt64Type};
use kerbside_core::camera::CameraState;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::observation::TrackId;
use kerbside_core::privacy::{Bins, Privacy, Profile};
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_release::{
    CameraPlan, CameraUid, ClockQuality, FrameReport, Guarantee, HealthSample, IncidentSeed, NodeIdentity,
    Positions, Release, ReleasedBatch, StreamPosition, Table,
};

use crate::{Damage, Gap, Item, Reader, Spool, SpoolSettings};

const MINUTE: Duration = Duration::from_secs(60);

/// A release stage with some cells, whose values differ from row to row and from batch to batch.
struct Node {
    release: Release,
    minute: u64,
    site: &'static str,
}

impl Node {
    fn at(agg: StreamPosition, health: StreamPosition) -> Self {
        Self::with_site("crossing", agg, health)
    }

    fn with_site(site: &'static str, agg: StreamPosition, health: StreamPosition) -> Self {
        Self::named("cabinet", site, agg, health)
    }

    fn named(name: &str, site: &'static str, agg: StreamPosition, health: StreamPosition) -> Self {
        let identity = NodeIdentity {
            node: name.to_owned(),
            software: "0.1.0".to_owned(),
            config_revision: 1,
            incident_seed: IncidentSeed([0; 16]),
        };
        let cell =
            |class, direction| Cell::new(SiteId(0), Measure::CrossingCount, Some(class)).directed(direction);
        let plan = CameraPlan {
            camera: "north".to_owned(),
            model: "nanodet-g".to_owned(),
            sites: vec![site.to_owned()],
            cells: vec![
                cell(Class::Car, Direction::Forward),
                cell(Class::Car, Direction::Backward),
                cell(Class::Bus, Direction::Forward),
            ],
            incidents: Vec::new(),
            watched: Vec::new(),
            alerts: Vec::new(),
            uid: CameraUid([0; 16]),
            privacy: Privacy { bins: Bins::all(MINUTE), ..Privacy::of(Profile::Standard) },
        };
        let release = Release::new(
            identity,
            vec![plan],
            Positions { agg, health, incident: agg },
            WallTime::UNIX_EPOCH,
            Guarantee::Demonstration,
        )
        .unwrap();
        Self { release, minute: 0, site }
    }

    fn of(spool: &Spool) -> Self {
        Self::at(spool.position(Table::Agg), spool.position(Table::Health))
    }

    /// Three rows of `agg.v1`.
    fn agg(&mut self) -> ReleasedBatch {
        let at = MediaTime::from_millis(self.minute * 60_000 + 1000);
        let frame = FrameReport {
            media: at,
            wall: WallTime::from_unix_nanos(at.as_nanos()),
            step: Duration::from_millis(100),
            trusted: true,
            clock: ClockQuality::Synced,
        };
        let kind = FindingKind::Crossing { direction: Direction::Forward };
        let finding = Finding { at, site: SiteId(0), class: Some(Class::Car), track: Some(TrackId(1)), kind };
        let findings = vec![finding; self.minute as usize % 100 + 1];
        self.release.observe(0, &frame, &findings);
        self.minute += 1;
        let mut out = Vec::new();
        self.release.advance(WallTime::from_unix_millis(self.minute * 60_000), &mut out).unwrap();
        assert_eq!(out.len(), 1, "{}", self.site);
        out.remove(0)
    }

    /// One row of `health.v1`.
    fn health(&mut self) -> ReleasedBatch {
        let to = WallTime::from_unix_millis((self.minute + 1) * 60_000);
        let sample = HealthSample { fps_in: Some(self.minute as f32), ..HealthSample::new(CameraState::Up) };
        let mut out = Vec::new();
        self.release.health(to - MINUTE, to, ClockQuality::Synced, &[sample], &mut out).unwrap();
        out.remove(0)
    }
}

/// A batch of three rows of `agg.v1`.
pub(crate) fn any_agg() -> ReleasedBatch {
    let at = StreamPosition { epoch: 7, next_seq: 0 };
    Node::at(at, at).agg()
}

fn settings(folder: &Path) -> SpoolSettings {
    SpoolSettings {
        folder: folder.to_owned(),
        max_bytes: 64 << 20,
        sync_interval: Duration::from_secs(1),
        keep: Duration::from_secs(30 * 24 * 60 * 60),
        node: Some("cabinet".to_owned()),
    }
}

fn open(folder: &Path) -> Spool {
    Spool::open(settings(folder), WallTime::UNIX_EPOCH).unwrap().0
}

/// Table, epoch, number and a value of one row.
type Row = (Table, u32, u64, i64);

fn rows_of(table: Table, batch: &arrow_array::RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let value = |row: usize| match table {
        Table::Agg | Table::Incident => i64::from(column("value").as_primitive::<Int32Type>().value(row)),
        Table::Health => column("fps_in").as_primitive::<Float32Type>().value(row) as i64,
    };
    let epochs = column("epoch").as_primitive::<UInt32Type>().clone();
    let numbers = column("seq").as_primitive::<UInt64Type>().clone();
    (0..batch.num_rows()).map(|row| (table, epochs.value(row), numbers.value(row), value(row))).collect()
}

fn released_rows<'a>(batches: impl IntoIterator<Item = &'a ReleasedBatch>) -> Vec<Row> {
    batches.into_iter().flat_map(|batch| rows_of(batch.table(), batch.get())).collect()
}

#[derive(Debug, Default, PartialEq)]
struct Content {
    rows: Vec<Row>,
    damages: Vec<Damage>,
    gaps: Vec<Gap>,
}

fn sorted_out(items: impl IntoIterator<Item = Item>) -> Content {
    let mut content = Content::default();
    for item in items {
        match item {
            Item::Batch { table, batch } => content.rows.extend(rows_of(table, &batch)),
            Item::Damage(damage) => content.damages.push(damage),
            Item::Gap(gap) => content.gaps.push(gap),
        }
    }
    content
}

fn read(path: &Path) -> Content {
    sorted_out(Reader::open(path).unwrap().map(Result::unwrap))
}

fn segments(folder: &Path, table: Table) -> Vec<PathBuf> {
    crate::read::segments_in(&folder.join(table.name())).unwrap()
}

/// A spool that dies: nothing is synced, sealed or said goodbye to, as after `kill -9`.
fn kill(spool: Spool) {
    drop(spool);
}

fn now() -> Instant {
    Instant::now()
}
