//! `detect_stopped`, `detect_wrong_way` and `detect_near_miss` where the truth is known.

use kerbside_core::detection::{Class, Detection};
use kerbside_core::finding::{Finding, FindingKind, Measure};
use kerbside_core::incident::{IncidentUnit, Phase};
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::time::MediaTime;

use crate::camera::only;
use crate::plaza::{GROUND, Mover, film, incidents, matched, rectangle, times, yaml};
use crate::street::{Detector, operate, track};

fn found(operators: &str, movers: &[Mover], detector: Detector, fps: f64, secs: f64, seed: u64) -> Vec<Finding> {
    let tracks = track(&film(movers, detector, fps, secs, seed));
    operate(&mut *only(operators).operator, &tracks).as_slice().to_vec()
}

/// A shoulder on the right of the street.
fn shoulder() -> String {
    format!(
        "geometry:\n  zones: {{shoulder: {{polygon: {}}}}}\noperators:\n  detect_stopped: [{{zone: shoulder, after: 10s, patience: 5s}}]\n",
        rectangle((11.0, 19.0), (1.0, 39.0))
    )
}

/// From the street's far end at 9 m/s, braking with 3 m/s² to a stop at `place`; and when it stands.
fn arrival(begin: f64, lane: f64, place: f64) -> (f64, Vec<(f64, f64, f64)>) {
    let (speed, brake) = (9.0, 3.0);
    let braking = speed / brake;
    let far = place + speed * braking / 2.0;
    let stop = begin + (39.0 - far).max(0.0) / speed + braking;
    let mut way = vec![(begin, lane, 39.0)];
    way.extend((0..=6).map(|step| {
        let left = braking * (1.0 - f64::from(step) / 6.0);
        (stop - left, lane, place + brake * left * left / 2.0)
    }));
    way.dedup_by(|b, a| b.0 - a.0 < 0.01);
    (stop, way)
}

/// Two minutes of a street: traffic, cars that were always parked, and cars that stop on the shoulder; with
/// the spans of time in which each that stops should be reported.
fn shoulder_scene(seed: u64) -> (Vec<Mover>, Vec<(f64, f64)>) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut movers = vec![
        Mover::car(&[(0.0, 17.0, 6.0), (200.0, 17.0, 6.0)]),
        Mover::car(&[(0.0, 17.0, 22.0), (200.0, 17.0, 22.0)]),
    ];
    for index in 0..12 {
        let from = 10.0 * f64::from(index) + 4.0 * dice.f64();
        let secs = 3.5 + 2.0 * dice.f64();
        movers.push(Mover::car(&[(from, 5.0, 1.0), (from + secs, 5.0, 39.0)]));
        movers.push(Mover::car(&[(from + 3.0, 9.0, 39.0), (from + 3.0 + secs, 9.0, 1.0)]));
    }
    let mut truths = Vec::new();
    for (index, lane) in [12.5, 12.5, 14.5].into_iter().enumerate() {
        let begin = 5.0 + 45.0 * (index % 2) as f64 + 5.0 * dice.f64();
        let (stays, place) = (14.0 + 14.0 * dice.f64(), 4.0 + 18.0 * dice.f64());
        let (stop, mut way) = arrival(begin, lane, place);
        let go = stop + stays;
        way.extend([(go, lane, place), (go + place / 7.0, lane, 0.5)]);
        movers.push(Mover::car(&way));
        truths.push((stop + 9.0, stop + 12.5));
    }
    // One that stops for too short a time to count.
    movers.push(Mover::car(&[(96.0, 12.5, 39.0), (99.0, 12.5, 15.0), (105.0, 12.5, 15.0), (107.0, 12.5, 1.0)]));
    (movers, truths)
}

/// Sums over scenes.
#[derive(Debug, Default)]
struct Score {
    truths: usize,
    found: usize,
    matched: usize,
}

impl Score {
    fn of(runs: impl Iterator<Item = (usize, usize, usize)>) -> Self {
        runs.fold(Self::default(), |sum, (truths, found, matched)| Self {
            truths: sum.truths + truths,
            found: sum.found + found,
            matched: sum.matched + matched,
        })
    }

    /// Precision and recall are 0.98 or more.
    fn is_good(&self) -> bool {
        let most = self.truths.max(self.found) as f64;
        self.truths > 0 && self.matched as f64 >= 0.98 * most
    }
}

#[test]
fn stopped_vehicles_are_found_and_parked_ones_are_not() {
    for (name, detector, fps) in [
        ("perfect, 5 fps", Detector::PERFECT, 5.0),
        ("usual, 10 fps", Detector::USUAL, 10.0),
        ("usual, 5 fps", Detector::USUAL, 5.0),
    ] {
        let runs = (0..20).map(|seed| {
            let (movers, truths) = shoulder_scene(seed);
            let begins = times(&found(&shoulder(), &movers, detector, fps, 120.0, seed), Phase::Begin);
            (truths.len(), begins.len(), matched(&truths, &begins))
        });
        let score = Score::of(runs);
        println!("stopped, {name}: {score:?}");
        assert!(score.is_good(), "{name}: {score:?}");
    }
}

/// A one-way lane with a line across it; another lane beside it goes the other way.
fn lane(ground: &str) -> String {
    format!(
        "geometry:\n{ground}  lines: {{gate: {{from: {}, to: {}}}}}\noperators:\n  detect_wrong_way: [{{line: gate, allowed: backward}}]\n",
        yaml(2.0, 18.0),
        yaml(7.0, 18.0)
    )
}

/// Two minutes of the lane: traffic the right way, some against it, a queue that stands on the line, one
/// that reverses a little over it; with the spans in which those against it should be reported.
fn lane_scene(seed: u64) -> (Vec<Mover>, Vec<(f64, f64)>) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut movers, mut truths) = (Vec::new(), Vec::new());
    for index in 0..20 {
        let from = 6.0 * f64::from(index) + 2.0 * dice.f64();
        let secs = 3.0 + 3.0 * dice.f64();
        movers.push(Mover::car(&[(from, 9.5, 39.0), (from + secs, 9.5, 1.0)]));
        match index % 5 {
            // Against the direction, straight through.
            1 => {
                movers.push(Mover::car(&[(from, 4.5, 38.0), (from + secs, 4.5, 1.0)]));
                let passes = from + secs * 20.0 / 37.0;
                truths.push((passes - 0.5, passes + 2.0));
            }
            // Stands on the line and goes on.
            2 => movers.push(Mover::car(&[
                (from, 4.5, 1.0),
                (from + 2.0, 4.5, 18.2),
                (from + 8.0, 4.5, 18.2),
                (from + 11.0, 4.5, 38.0),
            ])),
            // Reverses over the line by little, and goes on.
            3 => movers.push(Mover::car(&[
                (from, 4.5, 1.0),
                (from + 2.0, 4.5, 20.0),
                (from + 5.0, 4.5, 16.8),
                (from + 8.0, 4.5, 38.0),
            ])),
            4 if index > 15 => {}
            _ => movers.push(Mover::car(&[(from, 4.5, 1.0), (from + secs, 4.5, 38.0)])),
        }
    }
    (movers, truths)
}

#[test]
fn vehicles_that_go_the_wrong_way_are_found_and_others_are_not() {
    for (name, detector, fps, ground) in [
        ("perfect, 5 fps", Detector::PERFECT, 5.0, GROUND),
        ("usual, 10 fps", Detector::USUAL, 10.0, GROUND),
        ("usual, 5 fps", Detector::USUAL, 5.0, GROUND),
        ("usual, 10 fps, no ground", Detector::USUAL, 10.0, ""),
    ] {
        let runs = (0..20).map(|seed| {
            let (movers, truths) = lane_scene(seed);
            let mut text = lane(ground);
            if ground.is_empty() {
                text = text.replace("backward}", "backward, min_distance: 3}");
            }
            let begins = times(&found(&text, &movers, detector, fps, 125.0, seed), Phase::Begin);
            (truths.len(), begins.len(), matched(&truths, &begins))
        });
        let score = Score::of(runs);
        println!("wrong way, {name}: {score:?}");
        assert!(score.is_good(), "{name}: {score:?}");
    }
}

#[test]
fn a_wrong_way_drive_has_its_speed_and_ends_when_it_turns_back() {
    let straight = Mover::car(&[(0.0, 4.5, 38.0), (4.0, 4.5, 2.0)]);
    let found = found(&lane(GROUND), &[straight], Detector::PERFECT, 10.0, 12.0, 1);
    let told = incidents(&found);
    assert_eq!(told.len(), 2, "{told:?}");
    let (_, begin) = told[0];
    assert_eq!(begin.unit, IncidentUnit::KmPerHour);
    assert!((begin.value - 32).abs() <= 2, "9 m/s is 32.4 km/h: {begin:?}");
    let turns = Mover::car(&[(0.0, 4.5, 38.0), (4.0, 4.5, 10.0), (8.0, 4.5, 38.0)]);
    let found = self::found(&lane(GROUND), &[turns], Detector::PERFECT, 10.0, 12.0, 1);
    let [ends] = times(&found, Phase::End)[..] else { panic!("one end: {found:?}") };
    assert!((4.0..5.5).contains(&ends), "{ends}");
}

#[test]
fn in_a_zone_the_direction_is_that_of_a_line() {
    let text = format!(
        "geometry:\n{GROUND}  lines: {{way: {{from: {}, to: {}}}}}\n  zones: {{lane: {{polygon: {}}}}}\noperators:\n  detect_wrong_way: [{{zone: lane, along: way, min_distance: 8}}]\n",
        yaml(4.5, 5.0),
        yaml(4.5, 30.0),
        rectangle((2.0, 7.0), (5.0, 35.0))
    );
    for (way, expected) in [
        ([(0.0, 4.5, 1.0), (4.0, 4.5, 38.0)], 0),
        ([(0.0, 4.5, 38.0), (4.0, 4.5, 1.0)], 1),
        ([(0.0, 9.5, 38.0), (4.0, 9.5, 1.0)], 0),
        ([(0.0, 4.5, 22.0), (4.0, 4.5, 16.0)], 0),
    ] {
        for seed in 0..10 {
            let found = found(&text, &[Mover::car(&way)], Detector::USUAL, 10.0, 10.0, seed);
            assert_eq!(times(&found, Phase::Begin).len(), expected, "{way:?}");
        }
    }
}

/// A crossing in the middle of the street.
fn crossing() -> String {
    format!(
        "geometry:\n{GROUND}  zones: {{crossing: {{polygon: {}}}}}\noperators:\n  detect_near_miss: [{{zone: crossing}}]\n",
        rectangle((1.0, 19.0), (8.0, 22.0))
    )
}

/// Somebody walks over the street at `y` 15 and is on the lane at `x` 6 at 10 s; a car drives there `late` seconds later.
fn meeting(late: f64, metres_per_second: f64) -> [Mover; 2] {
    let walk = Mover::person(&[(10.0 - 4.0, 6.0 - 5.2, 15.0), (10.0 + 8.0, 6.0 + 10.4, 15.0)]);
    let at = 10.0 + late;
    let car = Mover::car(&[(at - 22.0 / metres_per_second, 6.0, 37.0), (at + 12.0 / metres_per_second, 6.0, 3.0)]);
    [walk, car]
}

#[test]
fn near_misses_are_those_with_little_time_at_speed() {
    let cases: [(f64, f64, bool); 8] = [
        (1.5, 10.0, true),
        (2.2, 10.0, true),
        (-1.6, 8.0, true),
        (-2.2, 10.0, true),
        (4.5, 10.0, false),
        (-4.5, 10.0, false),
        (1.5, 2.0, false),
        (5.0, 8.0, false),
    ];
    for (name, detector, fps) in [
        ("perfect, 5 fps", Detector::PERFECT, 5.0),
        ("usual, 10 fps", Detector::USUAL, 10.0),
        ("usual, 25 fps", Detector::USUAL, 25.0),
    ] {
        let runs = (0..20).flat_map(|seed| {
            cases.into_iter().map(move |(late, speed, near)| {
                let found = found(&crossing(), &meeting(late, speed), detector, fps, 20.0, seed);
                let begins = times(&found, Phase::Begin).len();
                (usize::from(near), begins, usize::from(near).min(begins))
            })
        });
        let score = Score::of(runs);
        println!("near miss, {name}: {score:?}");
        assert!(score.is_good(), "{name}: {score:?}");
    }
}

#[test]
fn the_post_encroachment_time_is_right_within_three_tenths() {
    // At 1.3 m/s somebody is within 1.5 m of the lane's middle for 1.15 s on either side of it.
    for fps in [5.0, 10.0, 25.0] {
        for (late, truth) in [(1.5, 0.35), (2.5, 1.35), (-2.0, 0.85)] {
            let found = found(&crossing(), &meeting(late, 10.0), Detector::PERFECT, fps, 20.0, 1);
            let told = incidents(&found);
            assert_eq!(told.len(), 2, "{late} s at {fps} fps: {told:?}");
            let (begin, incident) = told[0];
            let value = f64::from(incident.value) / 10.0;
            assert!((value - truth).abs() <= 0.3, "{late} s at {fps} fps: {value} for {truth}");
            assert!(told[1].0 - begin <= 1.5);
        }
    }
}

#[test]
fn who_waits_or_rides_along_is_no_near_miss() {
    let car = Mover::car(&[(8.0, 6.0, 37.0), (12.0, 6.0, 1.0)]);
    let waits = Mover::person(&[(0.0, 7.3, 15.0), (20.0, 7.3, 15.0)]);
    let rides = Mover::person(&[(8.0, 6.2, 37.0), (12.0, 6.2, 1.0)]);
    let rider = Mover { class: Class::Motorcycle, way: car.way.clone() };
    let [slow, beside] = [(Class::Car, 5.5), (Class::Bicycle, 6.5)].map(|(class, x)| {
        let way = vec![(2.0, x, 37.0), (10.0, x, 1.0)];
        Mover { class, way }
    });
    for seed in 0..10 {
        for movers in [[&car, &waits], [&rider, &rides], [&slow, &beside]].map(|pair| pair.map(Mover::clone)) {
            let found = found(&crossing(), &movers, Detector::USUAL, 10.0, 16.0, seed);
            assert_eq!(incidents(&found), [], "seed {seed}");
        }
    }
}

#[test]
fn a_stop_is_one_incident_through_a_change_of_track_and_is_counted_once() {
    let car = Mover::car(&[(2.0, 14.0, 39.0), (6.0, 14.0, 12.0), (50.0, 14.0, 12.0), (53.0, 14.0, 1.0)]);
    let mut frames = film(&[car], Detector::PERFECT, 10.0, 60.0, 1);
    // Hidden for three seconds, before and after it is reported: a tracker gives up in between.
    for (from, to) in [(10.0, 13.0), (30.0, 33.0)] {
        frames.iter_mut().filter(|f| (from..to).contains(&(f.at.as_nanos() as f64 / 1e9))).for_each(|frame| {
            frame.detections.clear();
            frame.shows.clear();
        });
    }
    let found = operate(&mut *only(&shoulder()).operator, &track(&frames)).as_slice().to_vec();
    let begins = times(&found, Phase::Begin);
    assert!(begins.len() == 1 && (15.0..18.5).contains(&begins[0]), "{begins:?}");
    let [end] = times(&found, Phase::End)[..] else { panic!("one end") };
    assert!((50.0..53.0).contains(&end), "{end}");
    let counted =
        |finding: &&Finding| matches!(finding.kind, FindingKind::Counted { measure: Measure::StoppedCount, .. });
    assert_eq!(found.iter().filter(counted).count(), 1);
}

#[test]
fn who_stands_when_observation_begins_anew_was_always_there() {
    let car = Mover::car(&[(2.0, 14.0, 39.0), (6.0, 14.0, 12.0), (90.0, 14.0, 12.0)]);
    let frames = film(&[car], Detector::PERFECT, 5.0, 90.0, 1);
    let cut: Vec<_> = frames.into_iter().filter(|frame| frame.at >= MediaTime::from_millis(9000)).collect();
    let found = operate(&mut *only(&shoulder()).operator, &track(&cut)).as_slice().to_vec();
    assert_eq!(found, []);
}

#[test]
fn a_near_miss_needs_no_one_to_be_still_there() {
    let [mut walk, car] = meeting(1.8, 10.0);
    // Out of sight half a second after the middle of the lane, and before the car is near.
    walk.way = vec![walk.way[0], (10.5, 6.0 + 0.65, 15.0)];
    let found = found(&crossing(), &[walk, car], Detector::PERFECT, 10.0, 20.0, 1);
    assert_eq!(times(&found, Phase::Begin).len(), 1);
}

#[test]
fn a_track_that_jumps_from_a_passing_car_to_a_parked_one_is_no_stop() {
    let (passing, parked) = (
        Mover::car(&[(5.0, 13.0, 38.0), (8.0, 13.0, 13.0)]),
        Mover::car(&[(0.0, 13.0, 12.0), (40.0, 13.0, 12.0)]),
    );
    let frames = film(&[passing, parked], Detector::PERFECT, 10.0, 40.0, 1);
    let tracks: Vec<_> = frames
        .iter()
        .map(|frame| {
            let passes = frame.shows.contains(&Some(0));
            let was_there = frame.at > MediaTime::from_millis(8000);
            let track = |(found, shown): (&Detection, &Option<usize>)| Track {
                // The passing car's id goes on as the parked car's.
                id: TrackId(if *shown == Some(0) || (was_there && !passes) { 2 } else { 1 }),
                class: found.class,
                score: found.score,
                box_in_image: found.box_in_image,
                detected: true,
                since: MediaTime::ZERO,
                first_box: found.box_in_image,
            };
            let mut tracks: Vec<Track> = frame.detections.iter().zip(&frame.shows).map(track).collect();
            tracks.sort_by_key(|track| track.id);
            (frame.at, tracks)
        })
        .collect();
    assert_eq!(tracks.last().expect("frames").1[0].id, TrackId(2));
    let found = operate(&mut *only(&shoulder()).operator, &tracks).as_slice().to_vec();
    assert_eq!(found, []);
}

#[test]
fn a_near_miss_before_an_outage_is_told_as_of_then_and_once() {
    let tracks = track(&film(&meeting(1.8, 10.0), Detector::PERFECT, 10.0, 20.0, 1));
    let whole = operate(&mut *only(&crossing()).operator, &tracks).as_slice().to_vec();
    let [begin] = times(&whole, Phase::Begin)[..] else { panic!("{whole:?}") };
    // The camera is away for an hour, half a second before it would have been told.
    let gone = begin - 0.5;
    let hour = std::time::Duration::from_secs(3600);
    let secs = |at: MediaTime| at.as_nanos() as f64 / 1e9;
    let shifted: Vec<_> =
        tracks.into_iter().map(|(at, tracks)| (if secs(at) < gone { at } else { at + hour }, tracks)).collect();
    let found = operate(&mut *only(&crossing()).operator, &shifted).as_slice().to_vec();
    let (begins, ends) = (times(&found, Phase::Begin), times(&found, Phase::End));
    let ([begins], [ends]) = (&begins[..], &ends[..]) else { panic!("{found:?}") };
    assert!((gone - 0.2..gone).contains(begins) && (ends - begins - 1.0).abs() < 0.01, "{found:?}");
}
