//! The release stage from outside: findings in, rows out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod change;
mod cuts;
mod private;
mod situations;

use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Int32Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use kerbside_core::camera::CameraState;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{IncidentKind, IncidentUnit};
use kerbside_core::observation::TrackId;
use kerbside_core::operator::Alert;
use kerbside_core::privacy::{Bins, Privacy, Profile};
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_release::{
    CameraPlan, CameraUid, ClockQuality, FrameReport, Guarantee, HealthSample, IncidentSeed, NodeIdentity,
    Positions, Release, ReleaseCounts, ReleaseError, ReleasedBatch, StreamPosition, Table,
};

const LINE: SiteId = SiteId(0);
const ZONE: SiteId = SiteId(1);
const MINUTE: u64 = 60_000;
const QUARTER: u64 = 15 * MINUTE;

fn crossing_cell(class: Class, direction: Direction) -> Cell {
    Cell::new(LINE, Measure::CrossingCount, Some(class)).directed(direction)
}

fn zone_cell(class: Class, measure: Measure) -> Cell {
    Cell::new(ZONE, measure, Some(class))
}

fn plan(name: &str) -> CameraPlan {
    let mut cells = Vec::new();
    for class in [Class::Person, Class::Car] {
        // Not in order, and one twice: two operators may feed one cell.
        cells.push(zone_cell(class, Measure::PresenceMean));
        cells.push(zone_cell(class, Measure::OccupancyTime));
        cells.push(crossing_cell(class, Direction::Backward));
        cells.push(crossing_cell(class, Direction::Forward));
        cells.push(crossing_cell(class, Direction::Forward));
    }
    CameraPlan {
        camera: name.to_owned(),
        model: "nanodet-g".to_owned(),
        sites: vec!["crossing".to_owned(), "square".to_owned()],
        cells,
        incidents: vec![(IncidentKind::WrongWay, LINE), (IncidentKind::TamperCovered, SiteId::PICTURE)],
        watched: vec![crossing_cell(Class::Car, Direction::Forward)],
        alerts: Vec::new(),
        uid: CameraUid(*b"a camera's place"),
        privacy: Privacy::of(Profile::Standard),
    }
}

/// A thousand of a class in the zone are a crowd, down to eight hundred.
fn crowd(class: Class, share: u32) -> Alert {
    let (kind, unit) = (IncidentKind::CrowdDensity, IncidentUnit::Count);
    Alert { site: ZONE, kind, class, from_milli: 1_000_000, until_milli: 800_000, value: 1000, unit, share }
}

fn identity() -> NodeIdentity {
    NodeIdentity {
        node: "cabinet-7".to_owned(),
        software: "0.1.0".to_owned(),
        config_revision: 3,
        incident_seed: IncidentSeed([7; 16]),
    }
}

const AT: StreamPosition = StreamPosition { epoch: 9, next_seq: 100 };
const EVERYWHERE: Positions = Positions { agg: AT, health: AT, incident: AT };

fn release(cameras: &[&str], start_millis: u64) -> Release {
    let plans = cameras.iter().map(|name| plan(name)).collect();
    Release::new(identity(), plans, EVERYWHERE, wall(start_millis), Guarantee::Demonstration).unwrap()
}

fn wall(millis: u64) -> WallTime {
    WallTime::from_unix_millis(millis)
}

/// A frame whose camera's clock began at the Unix epoch.
fn frame(millis: u64, step_millis: u64) -> FrameReport {
    FrameReport {
        media: MediaTime::from_millis(millis),
        wall: wall(millis),
        step: Duration::from_millis(step_millis),
        trusted: true,
        clock: ClockQuality::Synced,
    }
}

fn crossing(millis: u64, class: Class, direction: Direction) -> Finding {
    finding(millis, LINE, class, FindingKind::Crossing { direction })
}

fn presence(millis: u64, lasted_millis: u64, class: Class) -> Finding {
    finding(millis, ZONE, class, FindingKind::Presence { lasted: Duration::from_millis(lasted_millis) })
}

fn finding(millis: u64, site: SiteId, class: Class, kind: FindingKind) -> Finding {
    Finding { at: MediaTime::from_millis(millis), site, class: Some(class), track: Some(TrackId(1)), kind }
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    camera: String,
    seq: u64,
    t0: i64,
    t1: i64,
    clock: String,
    release: String,
    cell: String,
    value: i32,
    unit: String,
    coverage: f32,
    frames: u32,
    suppressed: bool,
    noise_b: f32,
}

fn rows(batches: &[ReleasedBatch]) -> Vec<Row> {
    batches.iter().flat_map(|batch| batch_rows(batch.get())).collect()
}

fn batch_rows(batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let word = |name: &str, row: usize| -> String {
        let array = column(name);
        let (key, values) = match array.as_any_dictionary_opt() {
            Some(_) if array.as_dictionary_opt::<UInt8Type>().is_some() => {
                let dictionary = array.as_dictionary::<UInt8Type>();
                (usize::from(dictionary.keys().value(row)), dictionary.values().clone())
            }
            _ => {
                let dictionary = array.as_dictionary::<UInt16Type>();
                (usize::from(dictionary.keys().value(row)), dictionary.values().clone())
            }
        };
        values.as_string::<i32>().value(key).to_owned()
    };
    (0..batch.num_rows())
        .map(|row| Row {
            camera: word("camera", row),
            seq: column("seq").as_primitive::<UInt64Type>().value(row),
            t0: column("t0").as_primitive::<TimestampMillisecondType>().value(row),
            t1: column("t1").as_primitive::<TimestampMillisecondType>().value(row),
            clock: word("clock_q", row),
            release: word("release", row),
            cell: ["site", "measure", "class", "dir"].map(|name| word(name, row)).join(" "),
            value: column("value").as_primitive::<Int32Type>().value(row),
            unit: word("unit", row),
            coverage: column("coverage").as_primitive::<Float32Type>().value(row),
            frames: column("n_frames").as_primitive::<UInt32Type>().value(row),
            suppressed: column("suppressed").as_boolean().value(row),
            noise_b: column("noise_b").as_primitive::<Float32Type>().value(row),
        })
        .collect()
}

fn values(rows: &[Row], cell: &str) -> Vec<(i64, i32)> {
    rows.iter().filter(|row| row.cell == cell).map(|row| (row.t0, row.value)).collect()
}

#[test]
fn every_cell_is_emitted_in_every_bin_also_for_silent_cameras() {
    let mut release = release(&["north", "south"], 5_000);
    let mut out = Vec::new();
    release.observe(0, &frame(20_000, 100), &[crossing(20_000, Class::Car, Direction::Forward)]);
    release.advance(wall(2 * MINUTE), &mut out).unwrap();
    let rows = rows(&out);
    let car = [
        "crossing crossing_count car forward",
        "crossing crossing_count car backward",
        "square occupancy_time car none",
        "square presence_mean car none",
    ];
    let one_camera: Vec<String> = car.map(str::to_owned).to_vec();
    let found: Vec<String> = rows.iter().map(|row| row.cell.clone()).collect();
    assert_eq!(found, [one_camera.clone(), one_camera.clone(), one_camera.clone(), one_camera].concat());
    let cameras: Vec<&str> = rows.iter().map(|row| row.camera.as_str()).collect();
    assert_eq!(cameras, [["north"; 4], ["south"; 4], ["north"; 4], ["south"; 4]].concat());
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), (100..116).collect::<Vec<_>>());
    assert_eq!(values(&rows, car[0]), [(0, 1), (0, 0), (60_000, 0), (60_000, 0)]);
    assert!(rows.iter().filter(|row| row.camera == "south").all(|row| row.coverage == 0.0 && row.frames == 0));
    assert!(rows.iter().all(|row| row.release == "demo" && row.clock == "synced"));
    assert_eq!(release.counts(), ReleaseCounts::default());

    // The bin of a quarter of an hour comes with the minute that ends with it, sorted by camera and start.
    out.clear();
    release.advance(wall(QUARTER), &mut out).unwrap();
    let last = batch_rows(out.last().unwrap().get());
    let starts: Vec<i64> = last.iter().map(|row| row.t0).collect();
    assert_eq!(starts, [[0; 4], [840_000; 4], [0; 4], [840_000; 4]].concat());
    assert!(last.iter().all(|row| row.t1 == 900_000));
    assert_eq!(out.len(), 13);
}

#[test]
fn bins_that_end_together_are_sorted_by_their_start() {
    let mut turned = plan("north");
    let bins = turned.privacy.bins;
    turned.privacy.bins = Bins { person: bins.vehicle, vehicle: bins.person, ..bins };
    let mut release =
        Release::new(identity(), vec![turned], EVERYWHERE, wall(0), Guarantee::Demonstration).unwrap();
    let mut out = Vec::new();
    release.advance(wall(QUARTER), &mut out).unwrap();
    let starts: Vec<i64> = batch_rows(out.last().unwrap().get()).iter().map(|row| row.t0).collect();
    assert_eq!(starts, [[0; 4], [840_000; 4]].concat());
}

#[test]
fn presence_becomes_a_mean_and_a_union_cut_at_the_bins() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    // Two cars from 0:50 to 1:10, frame by frame, one of them until 1:20.
    for second in 51..=80 {
        let millis = second * 1000;
        let mut findings = vec![presence(millis, 1000, Class::Car)];
        if second <= 70 {
            findings.push(presence(millis, 1000, Class::Car));
        }
        release.observe(0, &frame(millis, 1000), &findings);
    }
    release.advance(wall(2 * MINUTE), &mut out).unwrap();
    let rows = rows(&out);
    // 2 cars × 10 s of 60 s; then 20 s and 10 s.
    assert_eq!(values(&rows, "square presence_mean car none"), [(0, 333), (60_000, 500)]);
    assert_eq!(values(&rows, "square occupancy_time car none"), [(0, 10), (60_000, 20)]);
    let units: Vec<&str> = rows.iter().take(4).map(|row| row.unit.as_str()).collect();
    assert_eq!(units, ["count", "count", "s", "permille"]);
    let coverage: Vec<f32> = rows.iter().step_by(4).map(|row| row.coverage).collect();
    assert_eq!(coverage, [10.0 / 60.0, 20.0 / 60.0]);
    assert_eq!(rows.iter().step_by(4).map(|row| row.frames).collect::<Vec<_>>(), [9, 21]);
}

#[test]
fn untrusted_frames_are_counted_but_cover_nothing() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    for second in 1..=59 {
        let trusted = second <= 30;
        release.observe(0, &FrameReport { trusted, ..frame(second * 1000, 1000) }, &[]);
    }
    let unsynced = FrameReport { clock: ClockQuality::Unsynced, ..frame(59_500, 0) };
    release.observe(0, &unsynced, &[]);
    release.observe(0, &frame(59_900, 0), &[]);
    release.advance(wall(MINUTE), &mut out).unwrap();
    let rows = rows(&out);
    assert!(rows.iter().all(|row| row.coverage == 0.5 && row.frames == 61));
    assert!(rows.iter().all(|row| row.clock == "unsynced"), "the worst of the bin");
}

#[test]
fn findings_are_placed_by_the_two_clocks_of_their_frame() {
    let mut release = release(&["north"], 10 * MINUTE);
    let mut out = Vec::new();
    // The camera's clock began at 9:30; a finding of five seconds ago belongs to the minute before.
    let report = FrameReport { media: MediaTime::from_millis(93_000), ..frame(11 * MINUTE + 3000, 100) };
    let findings =
        [crossing(88_000, Class::Car, Direction::Forward), crossing(93_000, Class::Car, Direction::Forward)];
    release.observe(0, &report, &findings);
    release.advance(wall(12 * MINUTE), &mut out).unwrap();
    assert_eq!(values(&rows(&out), "crossing crossing_count car forward"), [(600_000, 1), (660_000, 1)]);
}

#[test]
fn what_comes_too_late_or_was_not_planned_is_counted_and_left_out() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    release.advance(wall(MINUTE), &mut out).unwrap();
    out.clear();
    let findings = [
        crossing(59_000, Class::Car, Direction::Forward),
        crossing(59_000, Class::Person, Direction::Forward),
        crossing(59_000, Class::Bus, Direction::Forward),
        crossing(59_000, Class::Car, Direction::None),
    ];
    release.observe(0, &frame(59_000, 100), &findings);
    assert_eq!(
        release.counts(),
        ReleaseCounts { late_findings: 1, late_frames: 1, unplanned_findings: 2, ..ReleaseCounts::default() }
    );
    release.advance(wall(QUARTER), &mut out).unwrap();
    let rows = rows(&out);
    assert_eq!(values(&rows, "crossing crossing_count person forward"), [(0, 1)], "the quarter was still open");
    assert!(values(&rows, "crossing crossing_count car forward").iter().all(|(_, value)| *value == 0));
}

#[test]
fn a_clock_set_back_repeats_no_bin_and_one_set_ahead_makes_no_flood() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    release.observe(0, &frame(65_000, 100), &[crossing(65_000, Class::Car, Direction::Forward)]);
    release.advance(wall(MINUTE), &mut out).unwrap();
    release.advance(wall(0), &mut out).unwrap();
    release.observe(0, &frame(30_000, 100), &[crossing(30_000, Class::Car, Direction::Forward)]);
    release.advance(wall(MINUTE), &mut out).unwrap();
    assert_eq!(out.len(), 1);

    let days = 30 * 24 * 60 * MINUTE;
    release.observe(0, &frame(days, 100), &[crossing(days, Class::Car, Direction::Forward)]);
    release.advance(wall(days + MINUTE), &mut out).unwrap();
    let rows = rows(&out);
    assert!(rows.len() < 100, "{} rows", rows.len());
    let counted: Vec<_> = values(&rows, "crossing crossing_count car forward");
    let starts: Vec<i64> = counted.iter().map(|(t0, _)| *t0).collect();
    assert_eq!(
        starts,
        [0, 60_000, days as i64 - 60_000, days as i64],
        "only bins into which something was summed"
    );
    assert_eq!(counted[1].1 + counted[3].1, 2);
    let skipped = days / MINUTE - 3 + days / QUARTER - 2;
    assert_eq!(release.counts().skipped_bins, skipped);
    let unique: std::collections::BTreeSet<_> =
        rows.iter().map(|row| (row.t0, row.t1, row.cell.clone())).collect();
    assert_eq!(unique.len(), rows.len(), "no bin twice");
}

#[test]
fn finish_emits_open_bins_with_their_end_and_what_they_cover() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    for second in 1..=90 {
        release.observe(0, &frame(second * 1000, 1000), &[presence(second * 1000, 1000, Class::Car)]);
    }
    release.finish(wall(90_000), &mut out).unwrap();
    let rows = rows(&out);
    assert_eq!(values(&rows, "square presence_mean car none"), [(0, 1000), (60_000, 500)]);
    assert_eq!(values(&rows, "square presence_mean person none"), [(0, 0)]);
    let last = rows.last().unwrap();
    assert_eq!((last.t1, last.coverage, last.frames), (900_000, 0.1, 90));
    release.finish(wall(90_000), &mut out).unwrap();
    assert_eq!(out.len(), 3, "nothing is emitted a second time");
}

#[test]
fn a_demonstration_is_stamped_on_every_row() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    release.advance(wall(MINUTE), &mut out).unwrap();
    assert!(rows(&out).iter().all(|row| row.release == "demo"));
}

#[test]
fn small_counts_carry_the_hint_to_hide_them() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    let findings = [crossing(1000, Class::Car, Direction::Forward); 10];
    release.observe(0, &frame(1000, 100), &findings);
    release.observe(
        0,
        &frame(2000, 100),
        &findings.map(|f| crossing(2000, f.class.unwrap(), Direction::Backward))[..9],
    );
    release.advance(wall(MINUTE), &mut out).unwrap();
    let hints: Vec<(i32, bool)> = rows(&out).iter().map(|row| (row.value, row.suppressed)).collect();
    assert_eq!(hints, [(10, false), (9, true), (0, false), (0, false)]);
}

#[test]
fn what_was_not_measured_is_null_and_the_rows_follow_the_cameras() {
    let mut release = release(&["north", "south"], 0);
    let mut out = Vec::new();
    let north = HealthSample {
        fps_in: Some(9.5),
        drop_ratio: Some(f32::NAN),
        reconnects: Some(2),
        debug_view: Some(false),
        ..HealthSample::new(CameraState::Up)
    };
    let south = HealthSample::new(CameraState::AuthFailed);
    release.health(wall(0), wall(MINUTE), ClockQuality::Holdover, &[north, south], &mut out).unwrap();
    let batch = out[0].get();
    assert_eq!(
        (out[0].table(), out[0].epoch(), out[0].first_seq(), out[0].last_seq()),
        (Table::Health, 9, 100, 101)
    );
    let nulls = |name: &str| {
        let column = batch.column_by_name(name).unwrap();
        [column.is_null(0), column.is_null(1)]
    };
    assert_eq!(nulls("fps_in"), [false, true]);
    assert_eq!(nulls("drop_ratio"), [true, true], "not-a-number is no measurement");
    assert_eq!(nulls("temp_c"), [true, true]);
    assert_eq!(nulls("debug_view"), [false, true]);
    let states = batch.column_by_name("state").unwrap().as_dictionary::<UInt8Type>().clone();
    let names = states.values().as_string::<i32>();
    let state = |row: usize| names.value(usize::from(states.keys().value(row)));
    assert_eq!([state(0), state(1)], ["up", "auth_failed"]);

    let wrong = release.health(wall(0), wall(MINUTE), ClockQuality::Synced, &[north], &mut out);
    assert!(matches!(wrong, Err(ReleaseError::SampleCount { expected: 2, found: 1 })));
    release.health(wall(MINUTE), wall(0), ClockQuality::Synced, &[north, south], &mut out).unwrap();
    assert_eq!(out[1].first_seq(), 102);
}

#[test]
fn pc_3_dictionaries_are_closed_and_shared_by_all_batches() {
    let mut release = release(&["north", "south"], 0);
    let mut out = Vec::new();
    release.advance(wall(2 * MINUTE), &mut out).unwrap();
    assert_eq!(out.len(), 2);
    let (first, second) = (out[0].get(), out[1].get());
    assert_eq!(first.schema(), second.schema());
    assert_eq!(first.schema(), release.schema(Table::Agg));
    assert_eq!(first.schema().metadata().len(), 2);
    let mut dictionaries = 0;
    for (a, b) in first.columns().iter().zip(second.columns()) {
        if let (Some(a), Some(b)) = (a.as_any_dictionary_opt(), b.as_any_dictionary_opt()) {
            assert!(a.values().to_data().ptr_eq(&b.values().to_data()));
            dictionaries += 1;
        }
    }
    assert_eq!(dictionaries, 10);
}

#[test]
fn a_plan_that_cannot_be_released_is_refused() {
    let new = |identity, plans| {
        Release::new(identity, plans, EVERYWHERE, wall(0), Guarantee::Demonstration).map(|_| ()).unwrap_err()
    };
    let named = |node: &str| NodeIdentity { node: node.to_owned(), ..identity() };
    assert!(matches!(new(named("Cabinet 7"), vec![]), ReleaseError::Name { what: "node", .. }));
    let mut odd = plan("north");
    odd.sites[0] = "ab 123 cd".to_owned();
    assert!(matches!(new(identity(), vec![odd]), ReleaseError::Name { what: "line or zone", .. }));
    let twice = vec![plan("north"), plan("north")];
    assert!(matches!(new(identity(), twice), ReleaseError::CameraTwice(_)));
    let mut homeless = plan("north");
    homeless.sites.pop();
    assert!(matches!(new(identity(), vec![homeless]), ReleaseError::UnknownSite { site: 1, sites: 1, .. }));
    for length in [Duration::ZERO, Duration::from_micros(1500), Duration::MAX] {
        let mut endless = plan("north");
        endless.privacy.bins.vehicle = length;
        assert!(matches!(new(identity(), vec![endless]), ReleaseError::BinLength { .. }), "{length:?}");
    }
}

#[test]
fn running_out_of_numbers_is_an_error_and_not_a_repetition() {
    let end = StreamPosition { epoch: 1, next_seq: u64::MAX - 5 };
    let mut release = Release::new(
        identity(),
        vec![plan("north")],
        Positions { agg: end, ..EVERYWHERE },
        wall(0),
        Guarantee::Demonstration,
    )
    .unwrap();
    let mut out = Vec::new();
    let result = release.advance(wall(2 * MINUTE), &mut out);
    assert!(matches!(result, Err(ReleaseError::SequenceExhausted(Table::Agg))));
    assert_eq!(out.len(), 1);
}
