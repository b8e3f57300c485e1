//! The privacy contract: who gets noise, how much one track may add, and how often anything is released.
//!
//! Noise of the same key is the same, so two releases that differ in what was found show what was added, exactly.

use std::sync::{Arc, Mutex};

use kerbside_core::incident::Phase;
use kerbside_release::{Debit, Ledger, MemoryLedger, Noise, Verdict};

use super::situations::{word, words, wrong_way};
use super::*;

const SECOND: u64 = 1000;

/// A ledger that outlives its release stage, as a file does.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<MemoryLedger>>);

impl Ledger for Shared {
    fn debit(&mut self, debits: &[Debit]) -> Vec<Verdict> {
        self.0.lock().unwrap().debit(debits)
    }

    fn would_grant(&self, debit: &Debit) -> bool {
        self.0.lock().unwrap().would_grant(debit)
    }
}

/// A ledger that cannot be written.
#[derive(Debug)]
struct Broken;

impl Ledger for Broken {
    fn debit(&mut self, debits: &[Debit]) -> Vec<Verdict> {
        vec![Verdict::Unavailable; debits.len()]
    }

    fn would_grant(&self, _: &Debit) -> bool {
        false
    }
}

fn under(profile: Profile) -> CameraPlan {
    CameraPlan { privacy: Privacy::of(profile), ..plan("north") }
}

fn private(plan: CameraPlan, start: u64, ledger: impl Ledger + 'static) -> Release {
    let guarantee = Guarantee::Private { noise: Noise::from_key([3; 32]), ledger: Box::new(ledger) };
    Release::new(identity(), vec![plan], EVERYWHERE, wall(start), guarantee).unwrap()
}

fn of_track(track: u64, finding: Finding) -> Finding {
    Finding { track: Some(TrackId(track)), ..finding }
}

/// What these findings add to each cell of the first quarter, whatever the noise.
fn added(plan: &CameraPlan, findings: &[(u64, Finding)]) -> Vec<(String, i32)> {
    let values = |findings: &[(u64, Finding)]| {
        let mut release = private(plan.clone(), 0, MemoryLedger::new());
        let mut out = Vec::new();
        for (millis, finding) in findings {
            let (frame, track) = (frame(*millis, 100), finding.track.map(|track| (track, Class::Person)));
            release.advance(wall(*millis), &mut out).unwrap();
            release.follow(0, &frame, track);
            release.observe(0, &frame, &[*finding]);
        }
        release.advance(wall(4 * QUARTER), &mut out).unwrap();
        rows(&out)
    };
    let (with, without) = (values(findings), values(&[]));
    assert_eq!(with.len(), without.len());
    let changed = with.iter().zip(&without).filter(|(a, b)| a.value != b.value);
    changed.map(|(a, b)| (a.cell.clone(), a.value - b.value)).collect()
}

fn person(millis: u64, track: u64) -> (u64, Finding) {
    (millis, of_track(track, crossing(millis, Class::Person, Direction::Forward)))
}

const CROSSED: &str = "crossing crossing_count person forward";

#[test]
fn pc_7_people_have_noise_and_vehicles_only_where_the_profile_says_so() {
    for (profile, car) in [(Profile::Standard, "agg_exact"), (Profile::Strict, "agg_dp")] {
        let mut release = private(under(profile), 0, MemoryLedger::new());
        let mut out = Vec::new();
        release.observe(0, &frame(20_000, 100), &[crossing(20_000, Class::Car, Direction::Forward)]);
        release.advance(wall(QUARTER), &mut out).unwrap();
        let rows = rows(&out);
        let (people, cars): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.cell.contains(" person "));
        assert!(people.iter().all(|row| row.release == "agg_dp" && row.noise_b > 4.5), "{people:#?}");
        assert!(cars.iter().all(|row| row.release == car && (row.noise_b == 0.0) == (car == "agg_exact")));
        assert!(people.iter().any(|row| row.value != 0), "noise on empty cells too");
    }
}

#[test]
fn pc_7_noise_is_of_the_told_scale_and_does_not_shift_the_sum() {
    let mut release = private(under(Profile::Strict), 0, MemoryLedger::new());
    let mut out = Vec::new();
    for bin in 0..2000 {
        release.advance(wall(bin * QUARTER), &mut out).unwrap();
    }
    let rows = rows(&out);
    let counts: Vec<f64> = rows.iter().filter(|row| row.cell == CROSSED).map(|row| f64::from(row.value)).collect();
    let number = counts.len() as f64;
    let mean = counts.iter().sum::<f64>() / number;
    let deviation = (counts.iter().map(|value| value * value).sum::<f64>() / number).sqrt();
    // The variance of a discrete Laplace distribution of scale 50/11 is 2 q / (1 - q)², q = exp(-11/50).
    assert!((deviation - 6.41).abs() < 0.6, "{deviation}");
    assert!(mean.abs() < 5.0 * 6.41 / number.sqrt(), "{mean}");
    assert!(counts.iter().any(|value| *value < 0.0), "PC-13: the raw number may be negative");
}

#[test]
fn pc_8_one_track_adds_two_counts_and_no_more() {
    let plan = under(Profile::Strict);
    let often: Vec<_> = (1..=9).map(|second| person(second * SECOND, 1)).collect();
    assert_eq!(added(&plan, &often), [(CROSSED.to_owned(), 2)]);
    let two: Vec<_> = (1..=9).map(|second| person(second * SECOND, second % 2)).collect();
    assert_eq!(added(&plan, &two), [(CROSSED.to_owned(), 4)]);
    let mut once = plan;
    once.privacy.bounds.cells_per_track = 1;
    assert_eq!(added(&once, &often), [(CROSSED.to_owned(), 1)]);
}

#[test]
fn pc_8_one_track_adds_a_minute_of_presence() {
    let stay: Vec<_> =
        (1..=200).map(|second| (second * SECOND, presence(second * SECOND, SECOND, Class::Person))).collect();
    // Sixty of nine hundred seconds are 67 thousandths.
    let expected = [
        ("square occupancy_time person none".to_owned(), 60),
        ("square presence_mean person none".to_owned(), 67),
    ];
    let mut found = added(&under(Profile::Strict), &stay);
    found.sort();
    for ((cell, value), (wanted, most)) in found.iter().zip(&expected) {
        // Both numbers are rounded after the noise.
        assert!(cell == wanted && (value - most).abs() <= 1, "{found:?}");
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn pc_8_who_stays_long_adds_nothing_more() {
    let plan = under(Profile::Strict);
    let seen = |until: u64| {
        (0..until).map(|second| (second * SECOND, of_track(1, presence(second * SECOND, 0, Class::Person))))
    };
    let late: Vec<_> = seen(301).chain([person(301 * SECOND, 1)]).collect();
    assert_eq!(added(&plan, &late), []);
    let in_time: Vec<_> = seen(299).chain([person(299 * SECOND, 1)]).collect();
    assert_eq!(added(&plan, &in_time), [(CROSSED.to_owned(), 1)]);
}

/// The pseudonyms of tracks change every quarter of an hour, and what a track has added does not begin anew with them.
#[test]
fn pc_8_and_pc_15_a_new_epoch_forgets_no_bound() {
    let plan = under(Profile::Strict);
    let from = QUARTER - 60 * SECOND;
    let seen = (0..120).map(|second| from + second * SECOND);
    let seen = seen.map(|millis| (millis, of_track(1, presence(millis, 0, Class::Person))));
    let crossings = [QUARTER - 20 * SECOND, QUARTER - 10 * SECOND, QUARTER + 30 * SECOND, QUARTER + 59 * SECOND];
    // What the first epoch began with is another track.
    let mut findings: Vec<_> = seen.chain(crossings.map(|millis| person(millis, 1))).collect();
    findings.push(person(SECOND, 2));
    findings.sort_by_key(|(millis, _)| *millis);
    assert_eq!(added(&plan, &findings), [(CROSSED.to_owned(), 3)], "one of track 2, two of track 1");
}

#[test]
fn pc_8_a_histogram_has_a_track_once() {
    let mut plan = under(Profile::Strict);
    plan.cells = Cell::new(LINE, Measure::SpeedHist, Some(Class::Person)).histogram().collect();
    let speed = |millis: u64, track: u64, bucket: u8| {
        let kind = FindingKind::Counted { measure: Measure::SpeedHist, direction: Direction::None, bucket };
        (millis, of_track(track, finding(millis, LINE, Class::Person, kind)))
    };
    let found = added(&plan, &[speed(1000, 1, 0), speed(2000, 1, 1), speed(3000, 1, 1), speed(4000, 2, 1)]);
    assert_eq!(found.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn pc_8_a_finding_without_a_track_adds_nothing() {
    let mut release = private(under(Profile::Strict), 0, MemoryLedger::new());
    let nobody = Finding { track: None, ..crossing(1000, Class::Person, Direction::Forward) };
    release.observe(0, &frame(1000, 100), &[nobody]);
    assert_eq!(release.counts().unbounded_findings, 1);
    assert_eq!(added(&under(Profile::Strict), &[(1000, nobody)]), []);
}

#[test]
fn pc_8_the_worst_case_bounds_a_minute_whoever_they_are() {
    let plan = under(Profile::StrictWorstcase);
    let crowd: Vec<_> = (1..=50).map(|track| person(track * SECOND, track)).collect();
    assert_eq!(added(&plan, &crowd), [(CROSSED.to_owned(), 8)]);
    let next: Vec<_> = (1..=12).map(|track| person(55 * SECOND + track * SECOND, track)).collect();
    assert_eq!(added(&plan, &next), [(CROSSED.to_owned(), 12)], "four before the minute's end, eight after it");
    let mut release = private(plan, 0, MemoryLedger::new());
    let mut out = Vec::new();
    release.advance(wall(4 * QUARTER), &mut out).unwrap();
    let rows = rows(&out);
    assert!(!rows.is_empty() && rows.iter().all(|row| row.unit == "count" && row.noise_b > 169.0), "counts alone");
    assert!(rows.iter().all(|row| row.t1 - row.t0 == 4 * QUARTER as i64));
}

#[test]
fn pc_8_the_worst_case_gives_a_minute_no_second_bound_when_the_clock_goes_back() {
    let there = (61..=68).map(|second| person(second * SECOND, second));
    let and_back = (10..=17).map(|second| person(second * SECOND, second));
    let found = added(&under(Profile::StrictWorstcase), &there.chain(and_back).collect::<Vec<_>>());
    assert_eq!(found, [(CROSSED.to_owned(), 8)]);
}

#[test]
fn pc_9_a_bin_that_was_released_is_never_released_again() {
    let ledger = Shared::default();
    let mut out = Vec::new();
    let mut first = private(under(Profile::Standard), 0, ledger.clone());
    assert_eq!(first.budget_left_milli(0, wall(1000)), Some(660));
    first.finish(wall(7 * MINUTE), &mut out).unwrap();
    assert_eq!(first.budget_left_milli(0, wall(8 * MINUTE)), Some(0));
    assert_eq!(first.budget_left_milli(0, wall(QUARTER)), Some(660));
    let of_people = |batches: &[ReleasedBatch]| -> Vec<Row> {
        rows(batches).into_iter().filter(|row| row.cell.contains(" person ")).collect()
    };
    assert_eq!(of_people(&out).len(), 4);

    // The node starts again within the same quarter: vehicles go on, people wait for the next one.
    let mut out = Vec::new();
    let mut second = private(under(Profile::Standard), 8 * MINUTE, ledger);
    second.advance(wall(QUARTER), &mut out).unwrap();
    assert_eq!(of_people(&out), []);
    assert!(!rows(&out).is_empty());
    assert_eq!(second.counts().refused(), [("PC-8", 0), ("PC-9", 1), ("PC-14", 0), ("PC-18", 0)]);
    second.advance(wall(2 * QUARTER), &mut out).unwrap();
    assert_eq!(of_people(&out).len(), 4);
}

#[test]
fn pc_10_lines_names_and_clocks_buy_nothing() {
    let ledger = Shared::default();
    let mut out = Vec::new();
    private(under(Profile::Strict), 0, ledger.clone()).finish(wall(QUARTER), &mut out).unwrap();
    assert_eq!(rows(&out).len(), 8);
    let mut longer = under(Profile::Strict);
    longer.privacy.bins = Bins::all(Duration::from_millis(2 * QUARTER));
    let mut renamed = CameraPlan { camera: "south".to_owned(), ..under(Profile::Strict) };
    renamed.sites = vec!["moved".to_owned(), "place".to_owned()];
    for changed in [under(Profile::Strict), longer, renamed] {
        let mut out = Vec::new();
        let mut again = private(changed, 0, ledger.clone());
        again.finish(wall(QUARTER), &mut out).unwrap();
        assert_eq!(rows(&out), []);
        assert!(again.counts().refused_bins > 0);
    }
    let mut elsewhere = under(Profile::Strict);
    elsewhere.uid = CameraUid([9; 16]);
    let mut out = Vec::new();
    private(elsewhere, 0, ledger).finish(wall(QUARTER), &mut out).unwrap();
    assert_eq!(rows(&out).len(), 8, "another camera has a budget of its own");
}

#[test]
fn pc_9_a_ledger_that_cannot_be_written_keeps_numbers_with_noise_back() {
    let mut out = Vec::new();
    let mut release = private(under(Profile::Standard), 0, Broken);
    release.finish(wall(QUARTER), &mut out).unwrap();
    let rows = rows(&out);
    assert!(!rows.is_empty() && rows.iter().all(|row| row.release == "agg_exact"));
    assert_eq!(release.counts().refused_bins, 1);
    assert_eq!(release.budget_left_milli(0, wall(QUARTER)), Some(0));
}

#[test]
fn pc_11_every_cell_is_emitted_in_every_bin() {
    let shape = |findings: &[(u64, Finding)]| {
        let mut release = private(under(Profile::Strict), 0, MemoryLedger::new());
        let mut out = Vec::new();
        for (millis, finding) in findings {
            release.observe(0, &frame(*millis, 100), &[*finding]);
        }
        release.advance(wall(3 * QUARTER), &mut out).unwrap();
        let shape: Vec<_> =
            rows(&out).into_iter().map(|row| (row.seq, row.t0, row.t1, row.cell, row.noise_b.to_bits())).collect();
        shape
    };
    let busy: Vec<_> = (1..800).map(|second| person(second * SECOND, second)).collect();
    let empty = shape(&[]);
    assert_eq!(empty.len(), 3 * 8);
    assert_eq!(shape(&busy), empty);
}

#[test]
fn pc_13_the_hint_to_hide_follows_the_number_with_noise() {
    let mut plan = under(Profile::Strict);
    plan.privacy.display_k = 3;
    let mut release = private(plan, 0, MemoryLedger::new());
    let mut out = Vec::new();
    for bin in 1..50 {
        release.advance(wall(bin * QUARTER), &mut out).unwrap();
    }
    for row in rows(&out) {
        assert_eq!(row.suppressed, row.unit == "count" && row.value < 3, "{row:?}");
    }
}

/// So many people in the zone in the twenty seconds before that second.
fn people(second: u64, number: u64) -> Vec<Finding> {
    let kind = FindingKind::Level { measure: Measure::DensityLevel, share: 0, lasted: Duration::from_secs(20) };
    let person = |track| of_track(track, finding(second * SECOND, ZONE, Class::Person, kind));
    (0..number).map(|place| person(second / 60 * number + place)).collect()
}

fn crowded(people_in_minute: impl Fn(u64) -> u64, minutes: u64, profile: Profile) -> (Vec<String>, ReleaseCounts) {
    let mut plan = under(profile);
    plan.alerts = vec![crowd(Class::Person, 0)];
    plan.incidents.push((IncidentKind::CrowdDensity, ZONE));
    let mut release = private(plan, 0, MemoryLedger::new());
    let mut out = Vec::new();
    for second in (20..minutes * 60).step_by(20) {
        let findings = people(second, people_in_minute((second - 1) / 60));
        release.observe(0, &frame(second * SECOND, SECOND), &findings);
        release.advance(wall((second - 20) * SECOND), &mut out).unwrap();
    }
    release.finish(wall(minutes * MINUTE), &mut out).unwrap();
    (words(&out), release.counts())
}

#[test]
fn pc_14_a_crowd_is_decided_by_a_noisy_number() {
    let (found, counts) = crowded(|minute| if (5..20).contains(&minute) { 3000 } else { 0 }, 40, Profile::Strict);
    // It begins with the first full minute, and its end is asked for as soon as a passage's time is over.
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("crowd_density begin square person 360000.."), "{found:#?}");
    assert!(found[1].starts_with("crowd_density end square person 1260000.."), "{found:#?}");
    assert_eq!((counts.unplanned_findings, counts.refused_alerts), (0, 0));
}

/// Frames come some seconds after the moment up to which bins are closed: a window keeps all of its time.
#[test]
fn pc_14_a_window_loses_nothing_to_frames_that_come_later() {
    let (found, _) = crowded(|minute| if minute < 2 { 0 } else { 1300 }, 12, Profile::Strict);
    assert!(found.first().is_some_and(|word| word.contains(" begin ")), "{found:#?}");
}

#[test]
fn pc_14_one_person_is_in_a_window_once_however_often_they_are_found() {
    let mut plan = under(Profile::Strict);
    plan.alerts = vec![crowd(Class::Person, 0)];
    plan.incidents.push((IncidentKind::CrowdDensity, ZONE));
    let mut release = private(plan, 0, MemoryLedger::new());
    let mut out = Vec::new();
    for second in (20..600).step_by(20) {
        for _ in 0..5 {
            release.observe(0, &frame(second * SECOND, SECOND), &people(second, 300));
        }
        release.advance(wall((second - 20) * SECOND), &mut out).unwrap();
    }
    assert_eq!(words(&out), Vec::<String>::new());
}

#[test]
fn pc_14_what_the_operator_says_of_a_crowd_stays_in_the_node() {
    let mut plan = under(Profile::Strict);
    plan.alerts = vec![crowd(Class::Person, 0)];
    plan.incidents.push((IncidentKind::CrowdDensity, ZONE));
    let mut release = private(plan, 0, MemoryLedger::new());
    let incident =
        kerbside_core::incident::Incident { kind: IncidentKind::CrowdDensity, ..wrong_way(Phase::Begin, 0, 17) };
    let mut out = Vec::new();
    release.observe(0, &frame(1000, 100), &[word(1000, ZONE, Some(Class::Person), incident)]);
    release.advance(wall(2000), &mut out).unwrap();
    assert_eq!((out.len(), release.counts().unplanned_findings), (0, 0));
}

#[test]
fn pc_14_a_day_has_ten_answers_and_every_begin_its_end() {
    let flicker = |minute: u64| if (minute / 10).is_multiple_of(2) { 3000 } else { 0 };
    let (found, counts) = crowded(flicker, 300, Profile::Strict);
    let (begins, ends): (Vec<_>, Vec<_>) = found.iter().partition(|word| word.contains(" begin "));
    assert_eq!((begins.len(), ends.len(), counts.refused_alerts), (5, 5, 1), "{found:#?}");
}

#[test]
fn pc_14_the_worst_case_tells_of_no_crowd() {
    let (found, counts) = crowded(|_| 3000, 10, Profile::StrictWorstcase);
    assert_eq!((found.len(), counts.unplanned_findings), (0, 0));
}

#[test]
fn a_rare_class_is_told_as_other_and_keeps_its_quantum() {
    let begin = |release: &mut Release, number: u32, at: u64| {
        let mut out = Vec::new();
        let incident = wrong_way(Phase::Begin, number, 0);
        release.observe(0, &frame(at, 100), &[word(at, LINE, Some(Class::Bicycle), incident)]);
        release.advance(wall(at), &mut out).unwrap();
        words(&out).remove(0)
    };
    let mut release = private(under(Profile::Strict), 0, MemoryLedger::new());
    let rare = begin(&mut release, 0, 11_000);
    assert!(rare.contains(" other 10000..20000 "), "{rare}");
    for track in 0..5 {
        release.follow(0, &frame(12_000, 100), [(TrackId(track), Class::Bicycle)]);
    }
    let common = begin(&mut release, 1, 23_000);
    assert!(common.contains(" bicycle 20000..30000 "), "{common}");
}
