//! `measure_speed` and `measure_headway` on a road whose truth is known in metres and seconds.

use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Finding, FindingKind, Measure};

use crate::camera::{configure, only};
use crate::road::{Drive, Vehicle, drive_by, ground, steady, written};
use crate::street::{Detector, operate};

const RATES: [f64; 3] = [5.0, 10.0, 25.0];
const LANE: f64 = 2.0;

/// One operator over a road that runs away from the camera: a gate at 22 m, a zone from 12 m to 34 m; and a line
/// on a road across at 20 m.
fn road(operator: &str) -> String {
    format!(
        "geometry:\n  lines:\n    gate: {{from: {}, to: {}}}\n    across: {{from: {}, to: {}}}\n  zones: {{stretch: {{polygon: [{}]}}}}\n  ground: {}\n\
         operators:\n  {operator}\n",
        written(&[(6.0, 22.0)]),
        written(&[(-6.0, 22.0)]),
        written(&[(0.0, 14.0)]),
        written(&[(0.0, 32.0)]),
        written(&[(-5.0, 34.0), (5.0, 34.0), (5.0, 12.0), (-5.0, 12.0)]),
        ground(),
    )
}

/// The direction and bucket of each count.
fn counted(findings: &[Finding]) -> Vec<(Direction, u8)> {
    findings
        .iter()
        .filter_map(|finding| match finding.kind {
            FindingKind::Counted { direction, bucket, .. } => Some((direction, bucket)),
            _ => None,
        })
        .collect()
}

type Way = ((f64, f64), (f64, f64));
/// Toward the camera and away from it, and past it on a road across.
const ALONG: [Way; 2] = [((LANE, 55.0), (LANE, 7.0)), ((-LANE, 9.0), (-LANE, 60.0))];
const ACROSS: [Way; 2] = [((-20.0, 20.0), (20.0, 20.0)), ((20.0, 24.0), (-20.0, 24.0))];

/// Vehicles one after the other, six seconds apart, on both ways in turn.
fn traffic(class: Class, ways: [Way; 2], number: usize, drive: impl Fn() -> Drive) -> Vec<Vehicle> {
    (0..number)
        .map(|index| {
            let begin = 6.0 * index as f64;
            let (from, to) = ways[index % 2];
            Vehicle::new(class, begin, from, to, drive())
        })
        .collect()
}

/// How many of `number` are measured at all, and the share of these whose error is larger than `error`.
///
/// Released speeds are buckets, so vehicles drive a little faster than a bucket's edge, and others a little
/// slower: who ends up on the edge's other side has a larger error.
fn share_wrong(text: &str, ways: [Way; 2], class: Class, edge_kmh: f64, error: f64, fps: f64) -> (f64, f64) {
    const NUMBER: usize = 20;
    let (mut measured, mut total, mut wrong) = (0, 0, [0.0; 2]);
    for seed in 0..3 {
        for (place, factor) in [1.0 + error, 1.0 - error].into_iter().enumerate() {
            let kmh = edge_kmh * factor;
            let vehicles = traffic(class, ways, NUMBER, || steady(kmh / 3.6));
            let tracks = drive_by(&vehicles, Detector::USUAL, fps, 6.0 * NUMBER as f64 + 20.0, seed);
            let found = counted(operate(&mut *only(text).operator, &tracks).as_slice());
            let edge = Measure::SpeedHist.bucket_of(edge_kmh);
            let missed = found.iter().filter(|(_, bucket)| (*bucket >= edge) != (factor > 1.0)).count();
            measured += found.len();
            total += NUMBER;
            wrong[place] += missed as f64 / found.len().max(1) as f64 / 3.0;
        }
    }
    (measured as f64 / total as f64, wrong[0] + wrong[1])
}

#[test]
fn speeds_at_a_line_and_through_a_zone_have_a_median_error_below_five_percent() {
    for (operator, ways) in [
        ("measure_speed: [{line: gate}]", ALONG),
        ("measure_speed: [{zone: stretch}]", ALONG),
        ("measure_speed: [{line: across}]", ACROSS),
    ] {
        for fps in RATES {
            for (class, edge) in [(Class::Car, 30.0), (Class::Car, 50.0), (Class::Car, 80.0), (Class::Truck, 50.0)]
            {
                let [one, two, five] =
                    [0.01, 0.02, 0.05].map(|error| share_wrong(&road(operator), ways, class, edge, error, fps));
                let name = class.name();
                println!(
                    "{operator} {name} {edge} km/h {fps} fps, measured and wrong by more than 1, 2, 5 %: {one:.2?} {two:.2?} {five:.2?}"
                );
                assert!(five.1 < 0.25, "{operator} {name} {edge} km/h {fps} fps: {five:?}");
                assert!(
                    five.0 > if edge > 50.0 && fps < 10.0 { 0.7 } else { 0.9 },
                    "{operator} {name} {edge} {fps} fps: {five:?}"
                );
            }
        }
    }
}

#[test]
fn the_speed_of_one_that_brakes_is_that_at_the_line_to_two_kilometres_an_hour() {
    // It brakes all the way from 55 m on, with about 4 m/s².
    let braking = |at_gate: f64| -> Drive {
        let begin: f64 = 20.0;
        let deceleration = (begin.powi(2) - at_gate.powi(2)) / (2.0 * 33.0);
        Box::new(move |secs| {
            let driving = secs.min(begin / deceleration);
            begin * driving - deceleration * driving * driving / 2.0
        })
    };
    let text = road("measure_speed: [{line: gate}]");
    for fps in RATES {
        for (kmh, bucket) in [(42.0, 4), (48.0, 4), (38.0, 3), (52.0, 5)] {
            let car = Vehicle::new(Class::Car, 0.0, (LANE, 55.0), (LANE, 7.0), braking(kmh / 3.6));
            let tracks = drive_by(&[car], Detector::PERFECT, fps, 12.0, 1);
            let found = counted(operate(&mut *only(&text).operator, &tracks).as_slice());
            assert_eq!(found, [(Direction::Backward, bucket)], "{kmh} km/h at {fps} fps");
        }
    }
}

#[test]
fn what_stands_has_no_speed_and_what_only_enters_has_that_of_its_way() {
    let parks = |metres: f64| -> Drive { Box::new(move |secs| (5.0 * secs).min(metres)) };
    let cars = [
        Vehicle::new(Class::Car, 0.0, (LANE, 22.0), (LANE, 10.0), parks(0.3)),
        Vehicle::new(Class::Car, 0.0, (-LANE, 45.0), (-LANE, 10.0), parks(22.0)),
    ];
    for seed in 0..5 {
        let tracks = drive_by(&cars, Detector::USUAL, 10.0, 120.0, seed);
        let zone = operate(&mut *only(&road("measure_speed: [{zone: stretch}]")).operator, &tracks);
        assert_eq!(
            counted(zone.as_slice()),
            [(Direction::None, Measure::SpeedHist.bucket_of(18.0))],
            "seed {seed}"
        );
        let gate = operate(&mut *only(&road("measure_speed: [{line: gate}]")).operator, &tracks);
        assert_eq!(counted(gate.as_slice()), [], "seed {seed}");
    }
}

#[test]
fn who_shuffles_over_the_line_has_no_speed() {
    let shuffles = || -> Drive { Box::new(|secs| (0.7 * secs).min(1.9)) };
    let text = road("measure_speed: [{line: gate}]");
    let crosses = text.replace("measure_speed: [{line: gate}]", "count_line: [{line: gate}]");
    for seed in 0..3 {
        let car = Vehicle::new(Class::Car, 0.0, (LANE, 22.95), (LANE, 10.0), shuffles());
        let tracks = drive_by(&[car], Detector::PERFECT, 10.0, 30.0, seed);
        assert_eq!(operate(&mut *only(&crosses).operator, &tracks).as_slice().len(), 1);
        assert_eq!(counted(operate(&mut *only(&text).operator, &tracks).as_slice()), []);
    }
}

#[test]
fn a_vehicle_that_the_picture_cuts_off_is_not_slower() {
    let stretch = written(&[(-5.0, 34.0), (5.0, 34.0), (5.0, 12.0), (-5.0, 12.0)]);
    let near = "[0, 0.6], [1, 0.6], [1, 1], [0, 1]";
    let text = road("measure_speed: [{zone: stretch}]").replace(&stretch, near);
    for fps in RATES {
        let car = Vehicle::new(Class::Car, 0.0, (LANE, 50.0), (LANE, 1.5), steady(31.5 / 3.6));
        let tracks = drive_by(&[car], Detector::PERFECT, fps, 12.0, 1);
        let found = counted(operate(&mut *only(&text).operator, &tracks).as_slice());
        assert_eq!(found, [(Direction::None, 3)], "{fps} fps");
    }
}

#[test]
fn without_a_ground_or_a_place_the_operator_refuses() {
    let text = "\
geometry:
  lines: {gate: {from: [0, 0.5], to: [1, 0.5]}}
  zones: {stretch: {polygon: [[0, 0], [1, 0], [1, 1]]}}
operators:
  measure_speed: [{line: gate}, {line: gate, zone: stretch}]
";
    let expected = [
        "5:19: operators.measure_speed[0]: distances on the street are needed here, and the camera's geometry has no ground",
        "5:33: operators.measure_speed[1]: distances on the street are needed here, and the camera's geometry has no ground",
        "5:33: operators.measure_speed[1]: it must be told where to measure; either a line or a zone",
    ];
    let problems = configure(text).map(|_| ()).unwrap_err();
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem}");
    }
}

/// A platoon that comes: `gaps` seconds from front to front.
fn platoon(gaps: &[f64]) -> Vec<Vehicle> {
    let mut begin = 0.0;
    let mut vehicles = Vec::new();
    for gap in [0.0].iter().chain(gaps) {
        begin += gap;
        vehicles.push(Vehicle::new(Class::Car, begin, (LANE, 55.0), (LANE, 7.0), steady(12.0)));
    }
    vehicles
}

#[test]
fn headways_fall_into_their_buckets_at_any_frame_rate() {
    // At 5 frames a second half of these would be wrong without the moment between two frames.
    let gaps = [1.9, 2.1, 4.9, 2.9, 0.9, 1.1, 9.0, 12.0, 3.1, 31.0, 61.0, 2.5];
    let truth: Vec<u8> =
        gaps.iter().filter(|gap| **gap <= 60.0).map(|gap| Measure::HeadwayHist.bucket_of(*gap)).collect();
    let text = road("measure_headway: [{line: gate}]");
    for fps in [2.0, 5.0, 10.0, 25.0] {
        let tracks = drive_by(&platoon(&gaps), Detector::PERFECT, fps, 150.0, 1);
        let found = counted(operate(&mut *only(&text).operator, &tracks).as_slice());
        let expected: Vec<_> = truth.iter().map(|bucket| (Direction::Backward, *bucket)).collect();
        assert_eq!(found, expected, "{fps} fps");
    }
}

#[test]
fn headways_are_within_five_percent_with_a_usual_detector() {
    let text = road("measure_headway: [{line: gate}]");
    for fps in RATES {
        let (mut wrong, mut total) = (0, 0);
        for seed in 0..6 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let gaps: Vec<f64> = (0..40).map(|_| 1.2 + 6.0 * dice.f64() * dice.f64()).collect();
            let tracks = drive_by(&platoon(&gaps), Detector::USUAL, fps, 200.0, seed);
            let found = counted(operate(&mut *only(&text).operator, &tracks).as_slice());
            let mut differences = [0i32; 7];
            found.iter().for_each(|(_, bucket)| differences[usize::from(*bucket)] += 1);
            gaps.iter().for_each(|gap| differences[usize::from(Measure::HeadwayHist.bucket_of(*gap))] -= 1);
            wrong += differences.iter().map(|difference| difference.abs()).sum::<i32>();
            total += gaps.len() as i32;
        }
        println!("{fps} fps: {wrong} of {total} headways in a wrong bucket or missing");
        assert!(wrong * 20 <= total, "{fps} fps: {wrong} of {total}");
    }
}

#[test]
fn no_headway_reaches_over_an_interruption() {
    let text = road("measure_headway: [{line: gate}]");
    let tracks = drive_by(&platoon(&[8.0]), Detector::PERFECT, 10.0, 20.0, 1);
    assert_eq!(counted(operate(&mut *only(&text).operator, &tracks).as_slice()).len(), 1);
    // Nobody is near the line at 6 s; the pause ends before the second car appears.
    let torn: Vec<_> =
        tracks.into_iter().filter(|(at, _)| !(5_000_000_000..7_900_000_000).contains(&at.as_nanos())).collect();
    assert_eq!(counted(operate(&mut *only(&text).operator, &torn).as_slice()), []);
}
