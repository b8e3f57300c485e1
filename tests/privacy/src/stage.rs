//! The release stage as the attacks use it: plans, guarantees, and its rows as plain values.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, TimestampMillisecondType, UInt8Type, UInt16Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::observation::TrackId;
use kerbside_core::privacy::Privacy;
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_release::{
    CameraPlan, CameraUid, ClockQuality, Debit, FrameReport, Guarantee, IncidentSeed, Ledger, MemoryLedger,
    NodeIdentity, Noise, Positions, Release, ReleaseError, ReleasedBatch, StreamPosition, Table, Verdict,
};
use kerbside_uplink::{Spool, SpoolError, SpoolSettings};

/// The line of every plan here.
pub const LINE: SiteId = SiteId(0);
/// The second line of every plan here.
pub const SECOND_LINE: SiteId = SiteId(1);
/// The zone of every plan here.
pub const ZONE: SiteId = SiteId(2);

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;
/// Seconds of a quarter of an hour.
pub const QUARTER_SECS: u64 = 900;
/// Seconds of a day.
pub const DAY_SECS: u64 = 86_400;

/// A node that sends rows.
pub fn identity() -> NodeIdentity {
    NodeIdentity {
        node: "cabinet-7".to_owned(),
        software: "0.1.0".to_owned(),
        config_revision: 1,
        incident_seed: IncidentSeed([7; 16]),
    }
}

/// Every table's rows from 0 on.
pub fn from_zero() -> Positions {
    let at = StreamPosition { epoch: 1, next_seq: 0 };
    Positions { agg: at, health: at, incident: at }
}

/// What a camera looks through, told by a number.
pub fn uid(number: u64) -> CameraUid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    CameraUid(bytes)
}

/// A camera with two lines and one zone.
pub fn plan(number: usize, cells: Vec<Cell>, privacy: Privacy) -> CameraPlan {
    CameraPlan {
        camera: format!("camera-{number}"),
        model: "nanodet-g".to_owned(),
        sites: ["line-a", "line-b", "zone"].map(str::to_owned).to_vec(),
        cells,
        incidents: Vec::new(),
        watched: Vec::new(),
        alerts: Vec::new(),
        uid: uid(number as u64),
        privacy,
    }
}

/// Noise from the operating system and a ledger that nothing has been debited from.
pub fn fresh() -> Guarantee {
    guarded_by(MemoryLedger::new())
}

/// Noise from the operating system and this ledger.
pub fn guarded_by(ledger: impl Ledger + 'static) -> Guarantee {
    let noise = Noise::from_os().expect("the operating system has random numbers");
    Guarantee::Private { noise, ledger: Box::new(ledger) }
}

/// A ledger that several stages use one after the other, as they would one file.
#[derive(Clone, Debug, Default)]
pub struct SharedLedger(Arc<Mutex<MemoryLedger>>);

impl SharedLedger {
    fn ledger(&self) -> MutexGuard<'_, MemoryLedger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for SharedLedger {
    fn debit(&mut self, debits: &[Debit]) -> Vec<Verdict> {
        self.ledger().debit(debits)
    }

    fn would_grant(&self, debit: &Debit) -> bool {
        self.ledger().would_grant(debit)
    }
}

/// A stage whose first bin holds second `start_secs`.
pub fn release(plans: Vec<CameraPlan>, start_secs: u64, guarantee: Guarantee) -> Result<Release, ReleaseError> {
    release_from(from_zero(), plans, start_secs, guarantee)
}

/// The same for a spool that has begun.
pub fn release_from(
    at: Positions,
    plans: Vec<CameraPlan>,
    start_secs: u64,
    guarantee: Guarantee,
) -> Result<Release, ReleaseError> {
    Release::new(identity(), plans, at, wall(start_secs), guarantee)
}

/// A new spool in a folder, and where its tables begin.
pub fn spool(folder: &Path, start_secs: u64) -> Result<(Spool, Positions), SpoolError> {
    let settings = SpoolSettings {
        folder: folder.to_owned(),
        max_bytes: 1 << 30,
        sync_interval: Duration::from_secs(1),
        keep: Duration::from_secs(30 * DAY_SECS),
        node: None,
    };
    let (spool, _) = Spool::open(settings, wall(start_secs))?;
    let at = Positions {
        agg: spool.position(Table::Agg),
        health: spool.position(Table::Health),
        incident: spool.position(Table::Incident),
    };
    Ok((spool, at))
}

/// A moment in seconds since the Unix epoch.
pub const fn wall(secs: u64) -> WallTime {
    WallTime::from_unix_nanos(secs * SECOND)
}

/// A trusted frame whose camera's clock began at the Unix epoch.
pub fn frame(secs: u64, step_secs: u64) -> FrameReport {
    FrameReport {
        media: MediaTime::from_nanos(secs * SECOND),
        wall: wall(secs),
        step: Duration::from_secs(step_secs),
        trusted: true,
        clock: ClockQuality::Synced,
    }
}

/// What a track is found to have done, at second `secs`.
pub fn finding(secs: u64, site: SiteId, class: Class, track: u64, kind: FindingKind) -> Finding {
    Finding {
        at: MediaTime::from_nanos(secs * SECOND),
        site,
        class: Some(class),
        track: Some(TrackId(track)),
        kind,
    }
}

/// A count of passages over the first line.
pub fn crossing_cell(class: Class, direction: Direction) -> Cell {
    line_cell(LINE, class, direction)
}

/// A count of passages over a line.
pub fn line_cell(line: SiteId, class: Class, direction: Direction) -> Cell {
    Cell::new(line, Measure::CrossingCount, Some(class)).directed(direction)
}

/// A measure of the zone.
pub fn zone_cell(class: Class, measure: Measure) -> Cell {
    Cell::new(ZONE, measure, Some(class))
}

/// The counts of both lines in both directions: 4 cells.
pub fn crossing_cells(class: Class) -> Vec<Cell> {
    let ways = [Direction::Forward, Direction::Backward];
    [LINE, SECOND_LINE].into_iter().flat_map(|line| ways.map(|way| line_cell(line, class, way))).collect()
}

/// A class's speed at the first line: 26 cells.
pub fn speed_cells(class: Class) -> Vec<Cell> {
    let of = |way| Cell::new(LINE, Measure::SpeedHist, Some(class)).directed(way).histogram();
    of(Direction::Forward).chain(of(Direction::Backward)).collect()
}

/// The presence in the zone and how long it lasted: 7 cells.
pub fn stay_cells(class: Class) -> Vec<Cell> {
    let mut cells = vec![zone_cell(class, Measure::PresenceMean), zone_cell(class, Measure::OccupancyTime)];
    cells.extend(zone_cell(class, Measure::DwellHist).histogram());
    cells
}

/// The site of the contract's bound on bytes: all that is measured of one class and two measures of another.
pub fn sixty_seven_cells(first: Class, second: Class) -> Vec<Cell> {
    let cells = [
        crossing_cells(first),
        speed_cells(first),
        stay_cells(first),
        crossing_cells(second),
        speed_cells(second),
    ];
    cells.concat()
}

/// A row of `agg.v1` as an attacker reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct AggRow {
    /// The camera's name.
    pub camera: String,
    /// The bin, in milliseconds since the Unix epoch.
    pub span: (i64, i64),
    /// Site, measure, class, direction, bucket.
    pub cell: String,
    /// The class alone.
    pub class: String,
    /// Under which rule it left.
    pub release: String,
    /// The number.
    pub value: i32,
    /// What it is of.
    pub unit: String,
    /// The scale of its noise.
    pub noise_b: f32,
}

/// The rows of all batches of `agg.v1`.
pub fn agg_rows(batches: &[ReleasedBatch]) -> Vec<AggRow> {
    batches.iter().filter(|batch| batch.table() == Table::Agg).flat_map(|batch| rows_of(batch.get())).collect()
}

fn rows_of(batch: &RecordBatch) -> Vec<AggRow> {
    let column = |name: &str| batch.column_by_name(name).expect("a column of agg.v1");
    let time = |name: &str, row| column(name).as_primitive::<TimestampMillisecondType>().value(row);
    (0..batch.num_rows())
        .map(|row| {
            let bucket = column("bucket").as_primitive::<UInt8Type>().value(row);
            let parts = ["site", "measure", "class", "dir"].map(|name| word(column(name), row));
            AggRow {
                camera: word(column("camera"), row),
                span: (time("t0", row), time("t1", row)),
                cell: format!("{} {bucket}", parts.join(" ")),
                class: word(column("class"), row),
                release: word(column("release"), row),
                value: column("value").as_primitive::<Int32Type>().value(row),
                unit: word(column("unit"), row),
                noise_b: column("noise_b").as_primitive::<Float32Type>().value(row),
            }
        })
        .collect()
}

/// The rows of all batches of `incident.v1`: camera, beginning in milliseconds, kind, phase, class.
pub fn incident_rows(batches: &[ReleasedBatch]) -> Vec<(String, i64, String, String, String)> {
    let mut rows = Vec::new();
    for batch in batches.iter().filter(|batch| batch.table() == Table::Incident).map(ReleasedBatch::get) {
        let column = |name: &str| batch.column_by_name(name).expect("a column of incident.v1");
        for row in 0..batch.num_rows() {
            let text = |name: &str| word(column(name), row);
            let t0 = column("t0").as_primitive::<TimestampMillisecondType>().value(row);
            rows.push((text("camera"), t0, text("kind"), text("phase"), text("class")));
        }
    }
    rows
}

/// The word of a dictionary column in one row.
pub fn word(column: &ArrayRef, row: usize) -> String {
    let (key, words) = if let Some(keys) = column.as_dictionary_opt::<UInt8Type>() {
        (usize::from(keys.keys().value(row)), keys.values())
    } else {
        let keys = column.as_dictionary::<UInt16Type>();
        (usize::from(keys.keys().value(row)), keys.values())
    };
    words.as_string::<i32>().value(key).to_owned()
}

/// The released numbers of a batch of `agg.v1`, in the order of its rows.
pub fn values(batch: &RecordBatch) -> &[i32] {
    batch.column_by_name("value").expect("a column of agg.v1").as_primitive::<Int32Type>().values()
}

/// The scales of the noise of a batch of `agg.v1`, in the order of its rows.
pub fn scales(batch: &RecordBatch) -> &[f32] {
    batch.column_by_name("noise_b").expect("a column of agg.v1").as_primitive::<Float32Type>().values()
}

/// Whether a row left with noise.
pub fn is_noised(row: &AggRow) -> bool {
    row.noise_b > 0.0
}

/// A batch as a stream of Arrow IPC, schema and dictionaries included.
pub fn ipc(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = StreamWriter::try_new(&mut bytes, batch.schema_ref()).and_then(|mut writer| {
        writer.write(batch)?;
        writer.finish()
    });
    written.expect("a released batch can be written to memory");
    bytes
}
