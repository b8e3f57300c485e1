//! `measure_queue` on a road whose truth is known in metres and seconds.

use kerbside_core::detection::Class;
use kerbside_core::finding::{Finding, FindingKind, Measure};
use kerbside_core::incident::{Incident, Phase};
use kerbside_core::observation::Track;
use kerbside_core::time::MediaTime;

use crate::camera::{configure, only};
use crate::road::{Drive, Vehicle, drive_by, ground, written};
use crate::street::{Detector, operate};

const STOP_LINE: f64 = 12.0;

/// A stop line at 12 m and a lane up to 50 m, with further options of the operator.
fn road(options: &str, ground: &str) -> String {
    format!(
        "geometry:\n  lines: {{stop: {{from: {}, to: {}}}}}\n  zones: {{lane: {{polygon: [{}]}}}}\n{ground}\
         operators:\n  measure_queue: [{{line: stop, zone: lane{options}}}]\n",
        written(&[(-4.0, STOP_LINE)]),
        written(&[(4.0, STOP_LINE)]),
        written(&[(-4.0, 50.0), (4.0, 50.0), (4.0, STOP_LINE - 1.5), (-4.0, STOP_LINE - 1.5)]),
    )
}

fn with_ground(options: &str) -> String {
    road(options, &format!("  ground: {}\n", ground()))
}

/// Drives up at 10 m/s, stands at `place` metres before the line, and drives on at `green` seconds.
fn waits(class: Class, enters_at_secs: f64, place: f64, green: f64) -> Vehicle {
    let from = 60.0;
    let stop = from - STOP_LINE - place;
    let drive: Drive = Box::new(move |secs| {
        let gone = (secs - (green - enters_at_secs)).max(0.0);
        let arriving = if secs * 10.0 < stop - 15.0 {
            secs * 10.0
        } else {
            // The last 15 m at an even deceleration, three seconds long.
            let braking = (secs - (stop - 15.0) / 10.0).min(3.0);
            stop - 15.0 + 10.0 * braking - 10.0 * braking * braking / 6.0
        };
        arriving + 0.75 * gone * gone
    });
    Vehicle::new(class, enters_at_secs, (0.0, from), (0.0, 7.0), drive)
}

/// Five cars, 7 m from front to front, from second 15 or so until the green at second 60.
fn platoon() -> Vec<Vehicle> {
    (0..5)
        .map(|index| {
            waits(Class::Car, 2.0 * f64::from(index), 1.0 + 7.0 * f64::from(index), 60.0 + 1.5 * f64::from(index))
        })
        .collect()
}

/// The highest of each measure from one second to another.
fn highest(findings: &[Finding], measure: Measure, secs: std::ops::Range<f64>) -> u32 {
    let amount = |finding: &Finding| match finding.kind {
        FindingKind::Peak { measure: found, amount }
            if found == measure && secs.contains(&(finding.at.as_nanos() as f64 / 1e9)) =>
        {
            Some(amount)
        }
        _ => None,
    };
    findings.iter().filter_map(amount).max().unwrap_or(0)
}

fn run(text: &str, tracks: &[(MediaTime, Vec<Track>)]) -> Vec<Finding> {
    operate(&mut *only(text).operator, tracks).as_slice().to_vec()
}

#[test]
fn a_queue_has_its_vehicles_and_its_reach_while_it_stands() {
    // The last one's front is 29 m before the line, its rear 4.5 m farther.
    for detector in [Detector::PERFECT, Detector::USUAL] {
        for fps in [5.0, 10.0, 25.0] {
            for seed in 0..4 {
                let found = run(&with_ground(""), &drive_by(&platoon(), detector, fps, 90.0, seed));
                let name = format!("{detector:?} {fps} fps, seed {seed}");
                assert_eq!(highest(&found, Measure::QueueLen, 25.0..60.0), 5, "{name}");
                let reach = highest(&found, Measure::QueueReach, 25.0..60.0);
                assert!((32..=36).contains(&reach), "{name}: {reach} m");
                assert_eq!(highest(&found, Measure::QueueLen, 0.0..5.0), 0, "{name}: all of them drive");
                assert_eq!(highest(&found, Measure::QueueLen, 71.0..90.0), 0, "{name}: all drive again");
            }
        }
    }
}

#[test]
fn without_a_ground_the_queue_is_counted_in_vehicles() {
    for fps in [5.0, 10.0, 25.0] {
        let found = run(&road("", ""), &drive_by(&platoon(), Detector::USUAL, fps, 90.0, 1));
        assert_eq!(highest(&found, Measure::QueueLen, 25.0..60.0), 5, "{fps} fps");
        assert_eq!(highest(&found, Measure::QueueReach, 0.0..90.0), 0, "{fps} fps");
    }
}

#[test]
fn a_queue_ends_at_a_gap_that_may_be_longer_behind_a_lorry() {
    let count = |text: &str, vehicles: Vec<Vehicle>| {
        let found = run(text, &drive_by(&vehicles, Detector::PERFECT, 10.0, 40.0, 1));
        highest(&found, Measure::QueueLen, 0.0..40.0)
    };
    let at = |class, place| waits(class, 0.0, place, 1000.0);
    let text = with_ground("");
    assert_eq!(count(&text, vec![at(Class::Car, 1.0), at(Class::Car, 13.0)]), 2);
    assert_eq!(count(&text, vec![at(Class::Car, 1.0), at(Class::Car, 19.0)]), 1);
    assert_eq!(count(&with_ground(", gap: 20"), vec![at(Class::Car, 1.0), at(Class::Car, 19.0)]), 2);
    assert_eq!(count(&text, vec![at(Class::Truck, 1.0), at(Class::Car, 19.0)]), 2);
    assert_eq!(count(&text, vec![at(Class::Car, 25.0)]), 0, "nobody stands at the line");
    assert_eq!(count(&text, vec![at(Class::Person, 1.0)]), 0, "no vehicle");
}

fn incidents(findings: &[Finding]) -> Vec<Incident> {
    let incident = |finding: &Finding| match finding.kind {
        FindingKind::Incident(incident) => Some(incident),
        _ => None,
    };
    findings.iter().filter_map(incident).collect()
}

#[test]
fn a_spillback_begins_and_ends_once() {
    for (options, value) in [(", spillback_at: 4", 4..=5), (", spillback_metres: 25", 25..=36)] {
        for fps in [5.0, 10.0, 25.0] {
            for seed in 0..4 {
                let found = run(&with_ground(options), &drive_by(&platoon(), Detector::USUAL, fps, 100.0, seed));
                let incidents = incidents(&found);
                let phases: Vec<Phase> =
                    incidents.iter().map(|it| it.phase).filter(|it| *it != Phase::Update).collect();
                assert_eq!(phases, [Phase::Begin, Phase::End], "{options} {fps} fps: {incidents:?}");
                assert!(incidents.len() <= 6 && value.contains(&incidents[0].value), "{incidents:?}");
                let since = incidents[0].since.as_nanos() as f64 / 1e9;
                assert!((22.0..32.0).contains(&since), "{options} {fps} fps: {since} s");
                assert!(incidents.iter().all(|it| it.number == 0 && it.since == incidents[0].since));
            }
        }
    }
}

#[test]
fn a_short_queue_is_no_spillback_and_one_that_lasts_ends_with_the_stream() {
    let short = with_ground(", spillback_at: 6");
    assert_eq!(incidents(&run(&short, &drive_by(&platoon(), Detector::USUAL, 10.0, 100.0, 1))), []);
    let tracks = drive_by(&platoon(), Detector::USUAL, 10.0, 50.0, 1);
    let lasting = incidents(&run(&with_ground(", spillback_at: 4"), &tracks));
    assert_eq!(lasting.last().map(|it| it.phase), Some(Phase::End));
}

#[test]
fn what_is_said_in_metres_needs_a_ground_and_one_limit_is_enough() {
    for (text, expected) in [
        (road(", spillback_metres: 30", ""), "the camera's geometry has no ground"),
        (road(", gap: 20", ""), "the camera's geometry has no ground"),
        (with_ground(", spillback_metres: 30, spillback_at: 4"), "either spillback_at or spillback_metres"),
        (with_ground(", standing_below: 0.3"), "a number of km/h from 1 to 30 is expected"),
        (road(", standing_below: 5", ""), "a number of box heights per second from 0.05 to 2 is expected"),
    ] {
        let problems = configure(&text).map(|_| ()).unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
    }
}
