//! `detect_intrusion`, `detect_loitering` and `detect_crowd` where the truth is known.

use std::collections::{BTreeMap, BTreeSet};

use kerbside_core::detection::Class;
use kerbside_core::finding::{Finding, FindingKind, Measure};
use kerbside_core::incident::{IncidentKind, IncidentUnit, Phase};
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::time::{LocalTime, MediaTime};

use crate::camera::{configure, only};
use crate::plaza::{GROUND, Mover, film, incidents, rectangle, times};
use crate::street::{Detector, observation, operate, track};

/// What one person adds to the density of the zone, in millionths: it has 200 square metres, but for the rounding of its
/// corners.
const ON_200: u32 = 4998;

type Tracks = Vec<(MediaTime, Vec<Track>)>;

fn zone(operator: &str) -> String {
    let corners = rectangle((5.0, 15.0), (5.0, 25.0));
    format!("geometry:\n{GROUND}  zones: {{inner: {{polygon: {corners}}}}}\noperators:\n  {operator}\n")
}

fn run(operator: &str, tracks: &Tracks) -> Vec<Finding> {
    operate(&mut *only(&zone(operator)).operator, tracks).as_slice().to_vec()
}

fn seen(movers: &[Mover], detector: Detector, fps: f64, secs: f64, seed: u64) -> Tracks {
    track(&film(movers, detector, fps, secs, seed))
}

/// Somebody who comes from the left, stays about `place` for so long, and goes on to the right.
fn visitor(from: f64, stays: f64, (x, y): (f64, f64)) -> Mover {
    let arrives = from + (x - 1.0) / 1.3;
    let mut way = vec![(from, 1.0, y), (arrives, x, y)];
    let steps = (stays / 2.0) as u32;
    way.extend((1..=steps).map(|step| {
        let (at, off) = (arrives + stays * f64::from(step) / f64::from(steps), f64::from(step % 3) * 0.4);
        (at, x + off, y - off / 2.0)
    }));
    way.push((arrives + stays + (19.0 - x) / 1.3, 19.0, y));
    Mover::person(&way)
}

#[test]
fn an_intrusion_is_one_for_the_zone_however_many_come_and_however_bad_the_detector() {
    // Two that overlap, and one half a minute later.
    let movers =
        [visitor(2.0, 6.0, (9.0, 12.0)), visitor(9.0, 8.0, (11.0, 18.0)), visitor(60.0, 0.0, (9.0, 15.0))];
    for fps in [5.0, 10.0, 25.0] {
        for seed in 0..10 {
            let found = run(
                "detect_intrusion: [{zone: inner, classes: [person]}]",
                &seen(&movers, Detector::USUAL, fps, 90.0, seed),
            );
            let (begins, ends) = (times(&found, Phase::Begin), times(&found, Phase::End));
            assert_eq!((begins.len(), ends.len()), (2, 2), "{fps} fps, seed {seed}: {begins:?} {ends:?}");
            // The first is inside 4 m after 1.3 m/s · 3.1 s, and counts a second later.
            assert!((begins[0] - 6.1).abs() < 1.0, "{fps} fps, seed {seed}: {begins:?}");
            assert!((begins[1] - 64.1).abs() < 1.0, "{fps} fps, seed {seed}: {begins:?}");
            let most = incidents(&found).iter().map(|(_, incident)| incident.value).max();
            assert!(most <= Some(2), "{most:?}");
        }
    }
}

#[test]
fn who_passes_a_corner_or_stays_outside_is_no_intrusion() {
    let corner: Vec<Mover> = (0..20)
        .map(|index| {
            let from = 2.0 * f64::from(index);
            Mover::person(&[(from, 3.0, 8.0), (from + 4.0, 8.0, 3.0)])
        })
        .collect();
    let outside = [
        Mover::person(&[(0.0, 2.0, 15.0), (40.0, 2.5, 15.0)]),
        Mover::car(&[(5.0, 10.0, 10.0), (30.0, 10.0, 12.0)]),
    ];
    for movers in [corner.as_slice(), &outside] {
        let found = run(
            "detect_intrusion: [{zone: inner, classes: [person], after: 2s}]",
            &seen(movers, Detector::PERFECT, 10.0, 45.0, 1),
        );
        assert_eq!(found, []);
    }
}

#[test]
fn outside_of_its_hours_nothing_is_an_intrusion() {
    let tracks = seen(&[visitor(0.0, 50.0, (10.0, 15.0))], Detector::PERFECT, 5.0, 60.0, 1);
    let text = zone("detect_intrusion: [{zone: inner, hours: ['Mon 22:00-05:00']}]");
    // From ten seconds before until ten seconds after the change, by the clock of the town.
    for (day, from, expected) in [
        (4, 22 * 3600 - 20, vec![(20.0, Phase::Begin), (60.0, Phase::End)]),
        (5, 5 * 3600 - 30, vec![(5.0, Phase::Begin), (30.0, Phase::End)]),
        (5, 22 * 3600, vec![]),
    ] {
        let mut operator = only(&text).operator;
        let mut findings = kerbside_core::finding::Findings::new();
        let mut before = None;
        for (at, tracks) in &tracks {
            let mut observation = observation(*at, before, tracks);
            let second = from + (at.as_nanos() / 1_000_000_000) as u32;
            observation.local = LocalTime { day, second_of_day: second };
            operator.observe(&observation, &mut findings);
            before = Some(*at);
        }
        operator.finish(&mut findings);
        let found: Vec<_> = incidents(findings.as_slice()).iter().map(|(at, it)| (*at, it.phase)).collect();
        assert_eq!(found.len(), expected.len(), "{day} {from}: {found:?}");
        for ((at, phase), (truth, wanted)) in found.into_iter().zip(expected) {
            assert!(phase == wanted && (at - truth).abs() < 2.0, "{day} {from}: {phase:?} at {at}, not {truth}");
        }
    }
}

fn loiterers(found: &[Finding]) -> usize {
    let counted = |finding: &&Finding| {
        finding.class == Some(Class::Person)
            && matches!(finding.kind, FindingKind::Counted { measure: Measure::LoiteringCount, .. })
    };
    assert_eq!(found.iter().filter(counted).count(), found.len(), "nothing else is said");
    found.len()
}

#[test]
fn who_stays_is_counted_once_and_who_walks_about_only_without_a_radius() {
    let walks_about = Mover::person(&[(0.0, 6.0, 8.0), (20.0, 14.0, 22.0), (40.0, 6.0, 22.0), (60.0, 14.0, 8.0)]);
    for fps in [5.0, 10.0, 25.0] {
        for seed in 0..10 {
            let stays = seen(
                &[visitor(0.0, 45.0, (8.0, 12.0)), visitor(12.0, 15.0, (12.0, 20.0))],
                Detector::USUAL,
                fps,
                70.0,
                seed,
            );
            let about = seen(std::slice::from_ref(&walks_about), Detector::USUAL, fps, 60.0, seed);
            for (within, tracks, expected) in
                [("", &stays, 1), (", within: 3", &stays, 1), ("", &about, 1), (", within: 3", &about, 0)]
            {
                let text = format!("detect_loitering: [{{zone: inner, after: 30s{within}}}]");
                assert_eq!(loiterers(&run(&text, tracks)), expected, "{fps} fps, seed {seed}, {text}");
            }
        }
    }
}

#[test]
fn a_stay_goes_on_behind_an_obstacle_and_as_another_track() {
    for (hidden_secs, expected) in [(6.0, 1), (14.0, 0)] {
        let mut frames = film(&[visitor(0.0, 40.0, (9.0, 12.0))], Detector::PERFECT, 10.0, 60.0, 1);
        for frame in &mut frames {
            if (20.0..20.0 + hidden_secs).contains(&(frame.at.as_nanos() as f64 / 1e9)) {
                frame.detections.clear();
                frame.shows.clear();
            }
        }
        let tracks = track(&frames);
        let ids: BTreeSet<_> = tracks.iter().flat_map(|(_, tracks)| tracks).map(|it| it.id).collect();
        assert_eq!(ids.len(), 2, "the tracker gave up in between");
        let found = run("detect_loitering: [{zone: inner, after: 32s}]", &tracks);
        assert_eq!(loiterers(&found), expected, "hidden for {hidden_secs} s");
    }
}

/// People who stand in the zone, each about a place of their own, from and to these seconds.
fn crowd(people: usize, from: f64, to: f64, seed: u64) -> Vec<Mover> {
    let mut dice = fastrand::Rng::with_seed(seed);
    (0..people)
        .map(|index| {
            let (x, y) = (6.0 + 1.9 * (index % 5) as f64, 7.0 + 3.5 * (index / 5) as f64);
            let mut way = Vec::new();
            let mut at = from + dice.f64();
            while at < to {
                way.push((at, x + 0.3 * dice.f64(), y + 0.3 * dice.f64()));
                at += 2.0;
            }
            Mover::person(&way)
        })
        .collect()
}

#[test]
fn a_crowd_is_one_incident_and_does_not_flap() {
    for fps in [5.0, 10.0, 25.0] {
        let mut words = 0;
        for seed in 0..10 {
            // Eight all the time, and a dozen more for forty seconds.
            let mut movers = crowd(8, 0.0, 120.0, seed);
            movers.extend(crowd(20, 30.0, 70.0, seed + 50).split_off(8));
            let tracks = seen(&movers, Detector::USUAL, fps, 120.0, seed);
            let found = run("detect_crowd: [{zone: inner, at_least: 14}]", &tracks);
            let [(begin, _), .., (end, _)] = incidents(&found)[..] else { panic!("{fps} fps, seed {seed}") };
            let begins = times(&found, Phase::Begin);
            assert_eq!(begins.len(), 1, "{fps} fps, seed {seed}");
            assert!(
                (36.0..42.0).contains(&begin) && (78.0..90.0).contains(&end),
                "{fps} fps, seed {seed}: {begin} {end}"
            );
            words += incidents(&found).len();
            assert_eq!(times(&run("detect_crowd: [{zone: inner, at_least: 24}]", &tracks), Phase::Begin).len(), 0);
        }
        println!("crowd, {fps} fps: {words} words about 10 crowds");
    }
}

#[test]
fn a_crowd_lasts_down_to_its_lower_threshold() {
    let mut movers = crowd(12, 0.0, 80.0, 1);
    movers.extend(crowd(16, 0.0, 20.0, 2).split_off(12));
    movers.extend(crowd(20, 80.0, 120.0, 3).split_off(16));
    let found = run(
        "detect_crowd: [{zone: inner, at_least: 15, until: 11}]",
        &seen(&movers, Detector::PERFECT, 10.0, 120.0, 1),
    );
    let (begins, ends) = (times(&found, Phase::Begin), times(&found, Phase::End));
    assert_eq!(begins.len(), 1, "{begins:?}");
    assert!(ends.len() == 1 && (88.0..100.0).contains(&ends[0]), "sixteen for 20 s, twelve until 80 s: {ends:?}");
}

#[test]
fn a_number_at_the_threshold_does_not_flap() {
    let mut begins = 0;
    for seed in 0..10 {
        let tracks = seen(&crowd(15, 0.0, 300.0, seed), Detector::USUAL, 10.0, 300.0, seed);
        let found = run("detect_crowd: [{zone: inner, at_least: 15}]", &tracks);
        begins += times(&found, Phase::Begin).len();
        assert!(times(&found, Phase::Begin).len() <= 1, "seed {seed}");
    }
    println!("crowd at its threshold: {begins} begins in 10 scenes of five minutes");
}

#[test]
fn nobody_is_no_crowd_whatever_the_lower_threshold() {
    let tracks = seen(&crowd(22, 0.0, 60.0, 1), Detector::PERFECT, 10.0, 120.0, 1);
    for threshold in ["at_least: 15, until: 0", "density: 0.1, until: 0", "density: 0.1, until: 0.001"] {
        let found = run(&format!("detect_crowd: [{{zone: inner, {threshold}}}]"), &tracks);
        let (begins, ends) = (times(&found, Phase::Begin), times(&found, Phase::End));
        assert_eq!((begins.len(), ends.len()), (1, 1), "{threshold}: {begins:?} {ends:?}");
        assert!((60.0..90.0).contains(&ends[0]), "{threshold}: {ends:?}");
    }
}

#[test]
fn density_is_people_on_square_metres_of_the_street() {
    let tracks = seen(&crowd(22, 0.0, 60.0, 1), Detector::PERFECT, 10.0, 50.0, 1);
    let found = run("detect_crowd: [{zone: inner, density: 0.1, until: 0.05}]", &tracks);
    let told = incidents(&found);
    let (_, begin) = told.first().expect("a crowd");
    assert_eq!((begin.unit, begin.value), (IncidentUnit::PeoplePer100SquareMetres, 11), "22 on 200 m²");
    let (mut sum, mut frames) = (0.0, BTreeSet::new());
    for finding in &found {
        if let FindingKind::Level { measure, share, lasted } = finding.kind {
            assert_eq!((measure, share, finding.class), (Measure::DensityLevel, ON_200, Some(Class::Person)));
            assert!(finding.track.is_some() && !lasted.is_zero());
            sum += f64::from(share) / 1e6;
            frames.insert(finding.at);
        }
    }
    let mean = sum / frames.len() as f64;
    assert!((mean - 0.11).abs() < 0.006, "{mean} people on each square metre");
}

#[test]
fn pc_14_every_person_in_the_zone_has_a_share_of_their_own_also_where_nobody_knows_the_area() {
    let tracks = seen(&crowd(6, 0.0, 30.0, 1), Detector::PERFECT, 10.0, 20.0, 1);
    let crowd = "detect_crowd: [{zone: inner, at_least: 4, until: 0}]";
    for (text, share, cells) in [(zone(crowd), ON_200, 1), (zone(crowd).replace(GROUND, ""), 0, 0)] {
        let mut configured = only(&text);
        assert_eq!(configured.cells.len(), cells);
        let mut of_frame: BTreeMap<MediaTime, BTreeSet<TrackId>> = BTreeMap::new();
        for finding in operate(&mut *configured.operator, &tracks).as_slice() {
            let FindingKind::Level { share: found, .. } = finding.kind else { continue };
            assert_eq!(found, share);
            assert!(of_frame.entry(finding.at).or_default().insert(finding.track.expect("a track")), "once each");
        }
        assert!(of_frame.len() > 150, "{} frames", of_frame.len());
        assert!(of_frame.values().skip(20).take(100).all(|people| people.len() == 6), "{share}");
    }
}

#[test]
fn pc_14_alerts_are_declared_in_people_with_the_threshold_as_it_is_told() {
    let alert = |options: &str| {
        let alerts = only(&zone(&format!("detect_crowd: [{{zone: inner, {options}}}]"))).alerts;
        let [alert] = alerts[..] else { panic!("{alerts:?}") };
        assert_eq!((alert.kind, alert.class), (IncidentKind::CrowdDensity, Class::Person));
        (alert.from_milli, alert.until_milli, alert.value, alert.unit)
    };
    assert_eq!(alert("at_least: 30"), (30_000, 24_000, 30, IncidentUnit::Count));
    // Nobody is no crowd.
    assert_eq!(alert("at_least: 30, until: 0"), (30_000, 500, 30, IncidentUnit::Count));
    // On 200 m².
    let (from, until, value, unit) = alert("density: 0.25, until: 0.1");
    assert_eq!((value, unit), (25, IncidentUnit::PeoplePer100SquareMetres));
    assert!(from.abs_diff(50_000) < 50 && until.abs_diff(20_000) < 20, "{from} {until}");
}

#[test]
fn a_zone_above_the_horizon_has_no_area() {
    let text = format!(
        "geometry:\n{GROUND}  zones: {{sky: {{polygon: [[0.1, 0.0], [0.9, 0.0], [0.9, 0.9], [0.1, 0.9]]}}}}\noperators:\n  detect_crowd: [{{zone: sky, density: 1}}]\n"
    );
    let problems = configure(&text).map(|_| ()).unwrap_err();
    assert_eq!(
        problems,
        [
            "camera.yaml:7:18: operators.detect_crowd[0]: a part of it lies above the horizon of the ground; a line or zone that lies on the street with all of its corners is expected"
        ]
    );
}
