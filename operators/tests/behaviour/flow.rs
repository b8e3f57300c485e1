//! `detect_unusual_flow` over released bins.

use std::time::Duration;

use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::incident::{Incident, Phase, Reason};
use kerbside_core::operator::{ClosedBin, Configured, Operator, RecallError, Role};
use kerbside_core::time::{LocalTime, WallTime};

use crate::camera::{configure, only};

const COUNTS: &str = "\
geometry:
  lines: {crossing: {from: [0.1, 0.6], to: [0.9, 0.6]}}
operators:
  detect_unusual_flow: [{line: crossing, classes: [car], every: 15m}]
";
const QUARTER: u64 = 900;
const DAY: u64 = 96;

/// Cars in one quarter of an hour of a street with two rush hours, quieter at weekends.
fn usual(quarter: u64, dice: &mut fastrand::Rng) -> i32 {
    let hour = (quarter % DAY) as f64 / 4.0;
    let rush = |at: f64| (-((hour - at) / 2.0).powi(2)).exp();
    let weekend = if (quarter / DAY + 3) % 7 >= 5 { 0.5 } else { 1.0 };
    let mean = weekend * (10.0 + 120.0 * rush(8.0) + 150.0 * rush(17.5));
    let noise: f64 = (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0;
    (mean + mean.sqrt() * noise).max(0.0).round() as i32
}

fn bin(cell: Cell, quarter: u64, value: i32, coverage: f32) -> ClosedBin {
    let from = WallTime::from_unix_millis(quarter * QUARTER * 1000);
    ClosedBin { cell, from, to: from + Duration::from_secs(QUARTER), local: LocalTime::utc(from), value, coverage }
}

/// What is found in `quarters`, in both directions; `change` makes the forward number of a quarter.
fn run(
    operator: &mut dyn Operator,
    cells: &[Cell],
    quarters: std::ops::Range<u64>,
    change: impl Fn(u64, i32) -> (i32, f32),
) -> Vec<Finding> {
    let mut findings = Findings::new();
    for quarter in quarters {
        let mut dice = fastrand::Rng::with_seed(quarter);
        for cell in cells {
            let value = usual(quarter, &mut dice);
            let (value, coverage) =
                if cell.direction == Direction::Forward { change(quarter, value) } else { (value, 1.0) };
            operator.observe_bin(&bin(*cell, quarter, value, coverage), &mut findings);
        }
    }
    findings.as_slice().to_vec()
}

fn watcher() -> (Configured, Vec<Cell>) {
    let configured = only(COUNTS);
    assert_eq!(configured.role, Role::Bins);
    let cells = configured.watches.clone();
    assert_eq!(cells.len(), 2);
    (configured, cells)
}

fn phases(findings: &[Finding]) -> Vec<(u64, Phase, Option<Reason>)> {
    let incidents = findings.iter().filter_map(|finding| match finding.kind {
        FindingKind::Incident(incident) => {
            Some((finding.at.as_nanos() / 1_000_000_000 / QUARTER, incident.phase, incident.reason))
        }
        _ => None,
    });
    incidents.collect()
}

#[test]
fn a_closed_street_is_told_when_it_closes_and_is_over_when_it_is() {
    let (mut it, cells) = watcher();
    // Three weeks as usual, then nothing from 7:00 to 11:00.
    let morning = 21 * DAY + 28;
    let found = run(&mut *it.operator, &cells, 0..22 * DAY, |quarter, usual| {
        (if (morning..morning + 16).contains(&quarter) { 0 } else { usual }, 1.0)
    });
    let late: Vec<_> = phases(&found).into_iter().filter(|(at, ..)| *at > 20 * DAY).collect();
    let [(begin, Phase::Begin, Some(Reason::Low)), .., (end, Phase::End, None)] = late[..] else {
        panic!("{late:?}");
    };
    assert!((morning..morning + 6).contains(&begin), "{late:?}");
    assert!(end > begin && end < morning + 16 + 12, "{late:?}");
    assert_eq!(late.len() % 2, 0, "{late:?}");
    let scores = found.iter().filter(|f| matches!(f.kind, FindingKind::Peak { measure: Measure::FlowScore, .. }));
    assert!(scores.count() > 0);
}

#[test]
fn chance_is_told_about_once_a_week_and_series() {
    let (mut it, cells) = watcher();
    let found = run(&mut *it.operator, &cells, 0..42 * DAY, |_, usual| (usual, 1.0));
    let begun = phases(&found).iter().filter(|(_, phase, _)| *phase == Phase::Begin).count();
    assert!(begun <= 18, "{begun} in two series of six weeks: {:?}", phases(&found));
}

#[test]
fn what_was_not_seen_is_neither_judged_nor_learned() {
    let with_gap = |value: i32| {
        let (mut it, cells) = watcher();
        run(
            &mut *it.operator,
            &cells,
            0..8 * DAY,
            move |quarter, usual| {
                if quarter % 50 < 10 { (value, 0.3) } else { (usual, 1.0) }
            },
        )
    };
    assert_eq!(with_gap(0), with_gap(100_000));
}

/// The same street in bins of a minute; `restarted_at` is the minute of a quarter in which the node came back, in
/// every tenth quarter.
fn by_minutes(days: u64, restarted_at: u64) -> (Vec<Finding>, Vec<u8>) {
    let (mut it, cells) = watcher();
    let mut findings = Findings::new();
    for minute in 0..days * 24 * 60 {
        let (quarter, of_quarter) = (minute / 15, minute % 15);
        if quarter % 10 == 3 && of_quarter < restarted_at {
            continue;
        }
        let from = WallTime::from_unix_millis(minute * 60_000);
        let mut dice = fastrand::Rng::with_seed(quarter);
        for cell in &cells {
            let (value, to) = (usual(quarter, &mut dice) / 15, from + Duration::from_secs(60));
            let bin = ClosedBin { cell: *cell, from, to, local: LocalTime::utc(from), value, coverage: 1.0 };
            it.operator.observe_bin(&bin, &mut findings);
        }
    }
    let mut learned = Vec::new();
    it.operator.remember(&mut learned);
    (findings.as_slice().to_vec(), learned)
}

#[test]
fn a_step_that_begins_in_the_middle_was_seen_in_part() {
    // Whether 2 or 8 of 15 minutes are left, too little was seen to say anything.
    let (late, middle) = (by_minutes(9, 13), by_minutes(9, 7));
    assert_eq!(late.1, middle.1);
    assert_eq!(late.0, middle.0);
    assert!(!late.0.is_empty());
    // What is nearly whole counts.
    assert_ne!(by_minutes(9, 1).1, late.1);
}

#[test]
fn a_step_that_never_ends_was_seen_in_part() {
    let cut_off_after = |minutes: u64| {
        let (mut it, cells) = watcher();
        let mut findings = Findings::new();
        for minute in 0..9 * 24 * 60u64 {
            let (quarter, of_quarter) = (minute / 15, minute % 15);
            if quarter % 10 == 3 && of_quarter >= minutes {
                continue;
            }
            let from = WallTime::from_unix_millis(minute * 60_000);
            let value = usual(quarter, &mut fastrand::Rng::with_seed(quarter)) / 15;
            let to = from + Duration::from_secs(60);
            let bin = ClosedBin { cell: cells[0], from, to, local: LocalTime::utc(from), value, coverage: 1.0 };
            it.operator.observe_bin(&bin, &mut findings);
        }
        let mut learned = Vec::new();
        it.operator.remember(&mut learned);
        (learned, findings.as_slice().to_vec())
    };
    assert_eq!(cut_off_after(2), cut_off_after(8));
    assert_ne!(cut_off_after(2), cut_off_after(14));
}

#[test]
fn what_was_learned_belongs_to_a_place_and_not_to_its_number() {
    let (mut it, cells) = watcher();
    run(&mut *it.operator, &cells, 0..2 * DAY, |_, usual| (usual, 1.0));
    let mut bytes = Vec::new();
    it.operator.remember(&mut bytes);
    let recall = |text: &str| only(text).operator.recall(&bytes);
    let another = "{another: {from: [0, 0], to: [1, 1]}, crossing:";
    assert_eq!(recall(&COUNTS.replace("{crossing:", another)), Ok(()));
    assert_eq!(recall(&COUNTS.replace("[0.9, 0.6]", "[0.9, 0.7]")), Err(RecallError::Settings));
    let swapped = COUNTS.replace("{crossing: {from: [0.1, 0.6]", "{another: {from: [0.1, 0.6]");
    assert_eq!(recall(&swapped.replace("line: crossing", "line: another")), Err(RecallError::Settings));
}

#[test]
fn what_was_learned_survives_a_restart_bit_for_bit() {
    let (mut whole, cells) = watcher();
    let halved = |quarter: u64, usual: i32| (if quarter > 12 * DAY { usual / 3 } else { usual }, 1.0);
    run(&mut *whole.operator, &cells, 0..11 * DAY, halved);
    let mut bytes = Vec::new();
    whole.operator.remember(&mut bytes);
    let (mut restarted, _) = watcher();
    restarted.operator.recall(&bytes).unwrap();
    let go_on = |it: &mut Configured| run(&mut *it.operator, &cells, 11 * DAY..14 * DAY, halved);
    let expected = go_on(&mut whole);
    assert!(!expected.is_empty());
    // What was going on is not remembered: only the numbers of incidents differ.
    let unnumbered = |findings: Vec<Finding>| -> Vec<Finding> {
        let plain = |kind| match kind {
            FindingKind::Incident(incident) => FindingKind::Incident(Incident { number: 0, ..incident }),
            other => other,
        };
        findings.into_iter().map(|finding| Finding { kind: plain(finding.kind), ..finding }).collect()
    };
    assert_eq!(unnumbered(go_on(&mut restarted)), unnumbered(expected));

    for cut in [0, 3, 4, 12, bytes.len() / 2, bytes.len() - 1] {
        assert!(watcher().0.operator.recall(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut other = only(&COUNTS.replace("15m", "30m"));
    assert_eq!(other.operator.recall(&bytes), Err(RecallError::Settings));
}

#[test]
fn speeds_are_judged_by_the_mean_of_their_histogram() {
    let text = COUNTS.replace("classes: [car]", "classes: [car], measures: [speeds]");
    let mut it = only(&text);
    assert_eq!(it.watches.len(), 2 * 13);
    let mut findings = Findings::new();
    for quarter in 0..10 * DAY {
        let mut dice = fastrand::Rng::with_seed(quarter);
        // About 45 km/h; on the last day everybody crawls from 8:00 on.
        let bucket = if quarter >= 9 * DAY + 32 { 0 } else { 4 };
        for cell in &it.watches {
            let near = cell.bucket.abs_diff(bucket);
            let value = if near == 0 {
                60 + dice.i32(0..10)
            } else if near == 1 {
                dice.i32(5..15)
            } else {
                0
            };
            it.operator.observe_bin(&bin(*cell, quarter, value, 1.0), &mut findings);
        }
    }
    let phases = phases(findings.as_slice());
    let jam = (9 * DAY + 33, Phase::Begin, Some(Reason::Low));
    assert_eq!(phases.iter().filter(|it| **it == jam).count(), 2, "{phases:?}");
    assert!(phases.len() <= 12, "{phases:?}");
}

#[test]
fn mistakes_are_named() {
    let wrong = "\
geometry:
  lines: {crossing: {from: [0, 0.5], to: [1, 0.5]}}
  zones: {square: {polygon: [[0, 0], [1, 0], [1, 1]]}}
operators:
  detect_unusual_flow:
    - {line: crossing, zone: square}
    - {line: crossing, measures: [counts, sizes], every: 7m}
";
    let Err(problems) = configure(wrong) else { panic!("no mistakes were found") };
    assert_eq!(
        problems,
        [
            "camera.yaml:6:7: operators.detect_unusual_flow[0]: a line or a zone is watched, and both are here; 'line' or 'zone' is expected",
            "camera.yaml:7:43: operators.detect_unusual_flow[1].measures[1]: 'sizes' is unknown; counts and speeds are allowed",
            "camera.yaml:7:58: operators.detect_unusual_flow[1].every: it does not divide an hour evenly; such as 5m, 15m or 1h is expected",
        ]
    );
}

#[test]
fn one_vehicle_in_an_empty_street_is_never_told() {
    let (mut it, cells) = watcher();
    // A vehicle every few hours, for weeks: each is improbable in its quarter of an hour.
    let found = run(&mut *it.operator, &cells, 0..40 * DAY, |quarter, _| (i32::from(quarter % 53 == 7), 1.0));
    let forward = |finding: &&Finding| matches!(finding.kind, FindingKind::Incident(_) | FindingKind::Peak { .. });
    let (mut same, _) = watcher();
    let without = run(&mut *same.operator, &cells, 0..40 * DAY, |_, _| (0, 1.0));
    assert_eq!(found.iter().filter(forward).count(), without.iter().filter(forward).count());
}

#[test]
fn bins_that_do_not_fill_a_step_are_steps() {
    // Bins of twenty minutes, steps of a quarter of an hour.
    let (mut it, cells) = watcher();
    let mut findings = Findings::new();
    let length = Duration::from_secs(1200);
    for number in 0..30 * 72u64 {
        let from = WallTime::from_unix_millis(number * 1_200_000);
        let mut dice = fastrand::Rng::with_seed(number);
        let value = 60 + dice.i32(0..12);
        let gone = number >= 29 * 72;
        let bin = ClosedBin {
            cell: cells[0],
            from,
            to: from + length,
            local: LocalTime::utc(from),
            value: if gone { 0 } else { value },
            coverage: 1.0,
        };
        it.operator.observe_bin(&bin, &mut findings);
    }
    let begun: Vec<_> =
        phases(findings.as_slice()).into_iter().filter(|(_, phase, _)| *phase == Phase::Begin).collect();
    let closed = 29 * 72 * 1200 / QUARTER;
    assert!(begun.iter().any(|(at, ..)| (closed..closed + 8).contains(at)), "{begun:?}");
}

/// People's counts as they are released: with noise of this scale, rounded, below zero where it falls so.
fn laplace(scale: f64, dice: &mut fastrand::Rng) -> f64 {
    let even = dice.f64() - 0.5;
    -scale * even.signum() * (1.0 - 2.0 * even.abs()).max(f64::MIN_POSITIVE).ln()
}

/// The noise of a count: at most two counts of each track, at a budget of 0.44.
const COUNT_NOISE: f64 = 2.0 / 0.44;

/// How often something is told of noisy counts about `share` of the usual street, in weeks of so many series.
fn told_by_chance(text: &str, noise: f64, share: f64, scale: f64, weeks: u64, seeds: u64) -> Vec<u64> {
    let mut of_week = vec![0; weeks as usize];
    for seed in 0..seeds {
        let mut it = only(text);
        let cell = it.watches[0];
        let mut findings = Findings::new();
        for quarter in 0..weeks * 7 * DAY {
            let mut dice = fastrand::Rng::with_seed(seed * 1_000_003 + quarter);
            let people = share * f64::from(usual(quarter, &mut dice));
            let value = (scale * people + laplace(noise, &mut dice)).round() as i32;
            it.operator.observe_bin(&bin(cell, quarter, value, 1.0), &mut findings);
        }
        for (at, phase, _) in phases(findings.as_slice()) {
            if phase == Phase::Begin {
                of_week[((at / (7 * DAY)) as usize).min(weeks as usize - 1)] += 1;
            }
        }
    }
    of_week
}

#[test]
fn the_noise_on_counts_of_people_is_seldom_told() {
    const SERIES: u64 = 40;
    const WEEKS: u64 = 6;
    let counts = COUNTS.replace("[car]", "[person]");
    let presence = counts
        .replace(
            "lines: {crossing: {from: [0.1, 0.6], to: [0.9, 0.6]}}",
            "zones: {crossing: {polygon: [[0, 0], [1, 0], [1, 1]]}}",
        )
        .replace("line:", "zone:");
    // Of a presence's seconds of a quarter of an hour, in permille of a person.
    let presence_noise = 60.0 / 0.11 / 900.0 * 1000.0;
    for (name, text, noise, share, scale) in [
        ("counts of nobody", &counts, COUNT_NOISE, 0.0, 1.0),
        ("counts of few", &counts, COUNT_NOISE, 0.1, 1.0),
        ("counts of many", &counts, COUNT_NOISE, 1.0, 1.0),
        ("presence of nobody", &presence, presence_noise, 0.0, 1.0),
        ("presence of some", &presence, presence_noise, 0.05, 1000.0),
    ] {
        let of_week = told_by_chance(text, noise, share, scale, WEEKS, SERIES);
        let mean = |weeks: &[u64]| weeks.iter().sum::<u64>() as f64 / (weeks.len() as u64 * SERIES) as f64;
        println!("{name}: {:.2} in the first week, {:.2} a week later", mean(&of_week[..1]), mean(&of_week[1..]));
        assert!(
            mean(&of_week[..1]) <= 3.0 && mean(&of_week[1..]) <= 2.0,
            "{name}: {of_week:?} in {SERIES} series"
        );
    }
}

#[test]
fn what_is_greater_than_the_noise_is_found_in_it() {
    let text = COUNTS.replace("[car]", "[person]");
    let morning = 21 * DAY + 28;
    let mut found = 0;
    for seed in 0..20 {
        let mut it = only(&text);
        let (cell, mut findings) = (it.watches[0], Findings::new());
        for quarter in 0..22 * DAY {
            let mut dice = fastrand::Rng::with_seed(seed * 1_000_003 + quarter);
            let people = f64::from(usual(quarter, &mut dice));
            let people = if (morning..morning + 16).contains(&quarter) { 0.0 } else { people };
            let value = (people + laplace(COUNT_NOISE, &mut dice)).round() as i32;
            it.operator.observe_bin(&bin(cell, quarter, value, 1.0), &mut findings);
        }
        let told = |it: &(u64, Phase, Option<Reason>)| {
            (morning..morning + 16).contains(&it.0) && it.1 == Phase::Begin && it.2 == Some(Reason::Low)
        };
        found += usize::from(phases(findings.as_slice()).iter().any(told));
    }
    println!("a closed street under noise: found {found} of 20 times");
    assert!(found >= 18, "{found} of 20");
}

#[test]
fn the_mean_of_hardly_any_speeds_is_not_judged_where_noise_outweighs_them() {
    // Noise of a histogram at a budget of 0.11.
    let noise = 1.0 / 0.11;
    let text = COUNTS.replace("classes: [car]", "classes: [bicycle], measures: [speeds]");
    let told = |objects: f64| {
        let mut it = only(&text);
        let mut findings = Findings::new();
        for quarter in 0..14 * DAY {
            let mut dice = fastrand::Rng::with_seed(quarter);
            for cell in it.watches.clone().iter().filter(|cell| cell.direction == Direction::Forward) {
                // About 15 km/h; twice as fast in the last two hours.
                let bucket = if quarter >= 14 * DAY - 8 { 3 } else { 1 };
                let value = if cell.bucket == bucket { objects } else { 0.0 };
                let value = (value + laplace(noise, &mut dice)).round() as i32;
                it.operator.observe_bin(&bin(*cell, quarter, value, 1.0), &mut findings);
            }
        }
        let begun = phases(findings.as_slice()).into_iter().filter(|(_, phase, _)| *phase == Phase::Begin);
        begun.map(|(at, ..)| at).collect::<Vec<_>>()
    };
    assert_eq!(told(0.0), [0u64; 0], "nobody drives");
    let busy = told(800.0);
    assert!(busy.iter().any(|at| *at > 14 * DAY - 8) && busy.len() <= 6, "{busy:?}");
}
