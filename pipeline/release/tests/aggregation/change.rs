//! Another list of cameras while the stage works.

use kerbside_release::{MemoryLedger, Noise, Seat};

use super::*;

const CAR: &str = "crossing crossing_count car forward";

fn car(millis: u64) -> Finding {
    crossing(millis, Class::Car, Direction::Forward)
}

/// Of one camera's crossings by cars: where each bin begins, its value, its frames, and the configuration's revision.
fn crossings(batches: &[ReleasedBatch], camera: &str) -> Vec<(i64, i32, u32)> {
    let rows = rows(batches);
    let wanted = rows.iter().filter(|row| row.camera == camera && row.cell == CAR);
    wanted.map(|row| (row.t0, row.value, row.frames)).collect()
}

#[test]
fn a_camera_that_is_as_it_was_goes_on_within_its_open_bins() {
    let mut release = release(&["north", "south", "west"], 0);
    let mut out = Vec::new();
    for camera in 0..3 {
        release.observe(camera, &frame(10_000, 100), &[car(10_000)]);
    }
    // South is changed, west is gone, east is new, and the order is another.
    let changed = CameraPlan { sites: vec!["bridge".to_owned(), "square".to_owned()], ..plan("south") };
    let plans = vec![(plan("east"), Seat::New), (plan("north"), Seat::Kept(0)), (changed, Seat::Changed(1))];
    release.change(4, plans, wall(20_000), &mut out).unwrap();
    assert_eq!(crossings(&out, "south"), [(0, 1, 1)], "its open bin leaves at once");
    assert_eq!(crossings(&out, "west"), [(0, 1, 1)]);
    assert_eq!(crossings(&out, "north"), []);
    assert!(rows(&out).iter().all(|row| row.coverage < 0.01));
    let revisions = |batches: &[ReleasedBatch]| -> Vec<u32> {
        let of = |batch: &ReleasedBatch| {
            batch.get().column_by_name("cfg_rev").unwrap().as_primitive::<UInt32Type>().values().to_vec()
        };
        batches.iter().flat_map(of).collect()
    };
    assert!(
        revisions(&out).iter().all(|revision| *revision == 3),
        "rows until now are of the configuration before"
    );

    out.clear();
    for camera in 0..3 {
        release.observe(camera, &frame(30_000, 100), &[car(30_000)]);
    }
    release.advance(wall(MINUTE), &mut out).unwrap();
    assert_eq!(crossings(&out, "north"), [(0, 2, 2)], "both, in one row");
    assert_eq!(crossings(&out, "east"), [(0, 1, 1)]);
    let bridge = "bridge crossing_count car forward";
    let south = rows(&out).into_iter().find(|row| row.camera == "south" && row.cell == bridge).unwrap();
    assert_eq!((south.t0, south.value), (0, 1), "the rest of the same bin");
    assert!(rows(&out).iter().all(|row| row.camera != "west"));
    assert!(revisions(&out).iter().all(|revision| *revision == 4));
    // Row numbers go on without a gap, through the change.
    let mut all = rows(&out).iter().map(|row| row.seq).collect::<Vec<_>>();
    all.sort_unstable();
    assert_eq!(all, (all[0]..all[0] + all.len() as u64).collect::<Vec<_>>());
}

#[test]
fn an_incident_of_a_camera_that_goes_on_keeps_its_number_at_another_place() {
    let word = |phase, millis| {
        let incident = kerbside_core::incident::Incident {
            kind: IncidentKind::WrongWay,
            phase,
            number: 0,
            since: MediaTime::from_millis(1000),
            severity: 50,
            confidence: 90,
            value: 0,
            unit: IncidentUnit::None,
            reason: None,
        };
        finding(millis, LINE, Class::Car, FindingKind::Incident(incident))
    };
    use kerbside_core::incident::Phase;
    let mut release = release(&["north", "south"], 0);
    let mut out = Vec::new();
    release.observe(1, &frame(1000, 100), &[word(Phase::Begin, 1000)]);
    let plans = vec![(plan("south"), Seat::Kept(1))];
    release.change(4, plans, wall(2000), &mut out).unwrap();
    release.observe(0, &frame(3000, 100), &[word(Phase::End, 3000)]);
    release.advance(wall(4000), &mut out).unwrap();
    let of_incidents = out.iter().filter(|batch| batch.table() == Table::Incident);
    let numbers: Vec<u32> = of_incidents
        .flat_map(|batch| {
            batch.get().column_by_name("incident").unwrap().as_primitive::<UInt32Type>().values().to_vec()
        })
        .collect();
    assert_eq!(numbers.len(), 2, "begin and end");
    assert_eq!(numbers[0], numbers[1]);
    assert_eq!(release.counts(), ReleaseCounts::default());
}

#[test]
fn pc_9_a_change_buys_no_budget_and_one_that_is_refused_changes_nothing() {
    let ledger = Box::new(MemoryLedger::new());
    let guarantee = Guarantee::Private { noise: Noise::from_key([3; 32]), ledger };
    let mut release = Release::new(identity(), vec![plan("north")], EVERYWHERE, wall(0), guarantee).unwrap();
    let mut out = Vec::new();
    release.observe(0, &frame(10_000, 100), &[]);
    let person = |batches: &[ReleasedBatch]| {
        rows(batches).iter().filter(|row| row.cell == "crossing crossing_count person forward").count()
    };
    // What the release stage would not take is refused before anything happens.
    let twice = vec![(plan("north"), Seat::Kept(0)), (plan("north"), Seat::New)];
    let plans: Vec<CameraPlan> = twice.iter().map(|(plan, _)| plan.clone()).collect();
    assert!(matches!(Release::check(&identity(), &plans, false), Err(ReleaseError::CameraTwice(_))));
    assert!(release.change(4, twice, wall(20_000), &mut out).is_err());
    assert!(out.is_empty());

    let again = || vec![(plan("north"), Seat::Changed(0))];
    release.change(4, again(), wall(20_000), &mut out).unwrap();
    assert_eq!(person(&out), 1, "the bin that was open leaves with its noise");
    release.change(5, again(), wall(30_000), &mut out).unwrap();
    release.advance(wall(QUARTER), &mut out).unwrap();
    assert_eq!(person(&out), 1, "no second noise for the same quarter of an hour");
    assert!(release.counts().refused_bins >= 2);
    release.advance(wall(2 * QUARTER), &mut out).unwrap();
    assert_eq!(person(&out), 2, "the next has its own");
}

#[test]
fn pc_13_what_a_page_may_show_is_what_was_released_last() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    assert_eq!(release.shown(0).count(), 0, "nothing has been released");
    let findings: Vec<Finding> = (0..12).map(|number| car(1000 + number)).collect();
    release.observe(0, &frame(2000, 100), &findings);
    assert_eq!(release.shown(0).count(), 0, "nothing of the open bin is shown");
    release.advance(wall(MINUTE), &mut out).unwrap();
    let shown = |release: &Release, direction| {
        let cell = crossing_cell(Class::Car, direction);
        *release.shown(0).find(|bin| bin.cell == cell).unwrap()
    };
    let forward = shown(&release, Direction::Forward);
    assert_eq!((forward.value, forward.from, forward.to), (Some(12), wall(0), wall(MINUTE)));
    assert_eq!(shown(&release, Direction::Backward).value, None, "too few to be shown");
}
