//! `detect_stopped`, `detect_wrong_way` and `detect_near_miss` where the truth is known.

use std::time::Duration;

use kerbside_core::finding::{Finding, FindingKind, Measure};
use kerbside_core::incident::{IncidentUnit, Phase};

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
        let (stays, place) = (14.0 + 14.0 * dice.f64(), 5.0 + 22.0 * dice.f64());
        let stop = begin + (39.0 - place) / 9.0;
        let go = stop + stays;
        movers.push(Mover::car(&[
            (begin, lane, 39.0),
            (stop, lane, place),
            (go, lane, place),
            (go + place / 7.0, lane, 0.5),
        ]));
        truths.push((stop + 9.0, stop + 12.5));
    }
    // One that stops for too short a time to count.
    movers.push(Mover::car(&[(96.0, 12.5, 39.0), (99.0, 12.5, 15.0), (105.0, 12.5, 15.0), (107.0, 12.5, 1.0)]));
    (movers, truths)
}

/// Sums over scenes: true, found and matched.
fn score(name: &str, runs: impl Iterator<Item = (usize, usize, usize)>) -> (f64, f64) {
    let (truths, found, matched) = runs.fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2));
    let (precision, recall) = (matched as f64 / found as f64, matched as f64 / truths as f64);
    println!(
        "{name}: {truths} true, {found} found, {matched} matched: precision {precision:.3}, recall {recall:.3}"
    );
    (precision, recall)
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
        let (precision, recall) = score(&format!("stopped, {name}"), runs);
        assert!(precision >= 0.98 && recall >= 0.98, "{name}");
    }
}
