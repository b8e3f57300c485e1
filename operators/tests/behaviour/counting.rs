//! `count_line` and `measure_occupancy` where the truth is known.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Finding, FindingKind, Findings};
use kerbside_core::geometry::BoxInImage;
use kerbside_core::observation::{Observation, Track, TrackId};
use kerbside_core::time::MediaTime;
use proptest::prelude::*;

use crate::camera::only;
use crate::street::{Actor, Detector, Frame, film, observation, operate, track};

/// Across the middle of the picture from left to right: forward is down.
const LINE: &str = "\
geometry:
  lines: {middle: {from: [0.2, 0.6], to: [0.8, 0.6]}}
operators:
  count_line: [{line: middle, hysteresis: 0.1}]
";
const ZONE: &str = "\
geometry:
  zones: {lower: {polygon: [[0, 0.6], [1, 0.6], [1, 1], [0, 1]]}}
operators:
  measure_occupancy: [{zone: lower}]
";
const HEIGHT: f32 = 0.2;

/// A track whose foot is at each of `feet` in turn, 10 times a second; `None` is a frame that misses it.
fn walk(feet: &[Option<(f32, f32)>]) -> Vec<(MediaTime, Vec<Track>)> {
    let at = |(x, y): (f32, f32)| BoxInImage { left: x - 0.04, top: y - HEIGHT, right: x + 0.04, bottom: y };
    let mut last = (0.5, 0.5);
    let first_box = at(feet.iter().flatten().next().copied().unwrap_or(last));
    feet.iter()
        .enumerate()
        .map(|(index, foot)| {
            last = foot.unwrap_or(last);
            let track = Track {
                id: TrackId(7),
                class: Class::Person,
                score: 0.8,
                box_in_image: at(last),
                detected: foot.is_some(),
                since: MediaTime::ZERO,
                first_box,
            };
            (MediaTime::from_millis(100 * index as u64), vec![track])
        })
        .collect()
}

/// The straight way from place to place, in steps shorter than a box.
fn steps(places: &[(f32, f32)]) -> Vec<Option<(f32, f32)>> {
    let legs = places.windows(2).flat_map(|leg| {
        let (x, y) = (leg[1].0 - leg[0].0, leg[1].1 - leg[0].1);
        let count = (x.hypot(y) / 0.05).ceil().max(1.0);
        (1..=count as u32).map(move |step| {
            let share = step as f32 / count;
            if share < 1.0 { (leg[0].0 + share * x, leg[0].1 + share * y) } else { leg[1] }
        })
    });
    places.first().copied().into_iter().chain(legs).map(Some).collect()
}

/// Forward and backward.
fn crossings(findings: &[Finding]) -> (usize, usize) {
    let count = |wanted| findings.iter().filter(|f| f.kind == FindingKind::Crossing { direction: wanted }).count();
    (count(Direction::Forward), count(Direction::Backward))
}

fn crossings_of(feet: &[Option<(f32, f32)>]) -> (usize, usize) {
    crossings(operate(&mut *only(LINE).operator, &walk(feet)).as_slice())
}

fn seconds_present(findings: &Findings) -> f64 {
    let lasted = |finding: &Finding| match finding.kind {
        FindingKind::Presence { lasted } => lasted.as_secs_f64(),
        _ => 0.0,
    };
    findings.as_slice().iter().map(lasted).sum()
}

#[test]
fn a_passage_counts_once_in_its_direction_and_only_between_the_ends_of_the_line() {
    type Case = (&'static str, &'static [(f32, f32)], (usize, usize));
    let cases: [Case; 8] = [
        ("down", &[(0.5, 0.5), (0.5, 0.7)], (1, 0)),
        ("up", &[(0.5, 0.7), (0.5, 0.5)], (0, 1)),
        ("down and up", &[(0.5, 0.5), (0.5, 0.7), (0.5, 0.5)], (1, 1)),
        ("slowly through the band", &[(0.5, 0.5), (0.5, 0.59), (0.5, 0.6), (0.5, 0.61), (0.5, 0.7)], (1, 0)),
        ("into the band and back", &[(0.5, 0.5), (0.5, 0.61), (0.5, 0.5)], (0, 0)),
        ("around the end", &[(0.1, 0.5), (0.1, 0.7)], (0, 0)),
        ("around the end and up through the line", &[(0.1, 0.5), (0.1, 0.7), (0.5, 0.7), (0.5, 0.5)], (0, 1)),
        ("aslant, past the end", &[(0.75, 0.5), (0.95, 0.7)], (0, 0)),
    ];
    for (name, feet, expected) in cases {
        assert_eq!(crossings_of(&steps(feet)), expected, "{name}");
    }
}

#[test]
fn one_detection_that_has_jumped_over_the_line_is_no_passage_until_it_is_seen_there_again() {
    type Case<'a> = (&'static str, &'a [Option<(f32, f32)>], (usize, usize));
    let (above, below, on_line) = (Some((0.5, 0.45)), Some((0.5, 0.75)), Some((0.5, 0.61)));
    let cases: [Case<'_>; 8] = [
        ("never seen again", &[above, above, below], (0, 0)),
        ("seen there again", &[above, above, below, below], (1, 0)),
        ("seen there later", &[above, above, below, None, None, below], (1, 0)),
        ("seen back again", &[above, above, below, above, above], (0, 0)),
        ("there and back and there", &[above, below, above, below, above], (0, 0)),
        ("there for two frames and back", &[above, below, below, above, above], (1, 1)),
        ("back on the line", &[above, above, below, on_line, on_line], (0, 0)),
        ("as fast as before", &[Some((0.5, 0.3)), Some((0.5, 0.48)), Some((0.5, 0.66))], (1, 0)),
    ];
    for (name, feet, expected) in cases {
        assert_eq!(crossings_of(feet), expected, "{name}");
    }
}

#[test]
fn a_place_that_was_only_predicted_counts_when_the_object_is_found_there() {
    let (above, below) = (Some((0.5, 0.54)), Some((0.5, 0.66)));
    let mut tracks = walk(&[above, below, below]);
    for (_, list) in &mut tracks[1..] {
        list[0].detected = false;
    }
    assert_eq!(crossings(operate(&mut *only(LINE).operator, &tracks).as_slice()), (0, 0));
    tracks[2].1[0].detected = true;
    assert_eq!(crossings(operate(&mut *only(LINE).operator, &tracks).as_slice()), (1, 0));
}

#[test]
fn who_crosses_while_the_picture_cannot_be_trusted_is_not_counted_later() {
    let mut operator = only(LINE).operator;
    let mut findings = Findings::new();
    for (index, (at, tracks)) in walk(&[Some((0.5, 0.5)), Some((0.5, 0.55)), Some((0.5, 0.7))]).iter().enumerate()
    {
        let mut observation = observation(*at, None, tracks);
        observation.trusted = index != 1;
        operator.observe(&observation, &mut findings);
    }
    assert_eq!(findings.as_slice(), []);
}

#[test]
fn who_crossed_before_the_track_was_confirmed_is_counted_when_it_is() {
    let mut tracks = walk(&[Some((0.5, 0.5)), Some((0.5, 0.7)), Some((0.5, 0.8))]);
    assert_eq!(crossings(operate(&mut *only(LINE).operator, &tracks[1..]).as_slice()), (1, 0));
    // Not where the first detection is older than a frame that could not be trusted.
    let mut operator = only(LINE).operator;
    let mut findings = Findings::new();
    let empty = Observation { trusted: false, ..observation(tracks[1].0, None, &[]) };
    operator.observe(&empty, &mut findings);
    operator.observe(&observation(tracks[2].0, None, &tracks[2].1), &mut findings);
    assert_eq!(crossings(findings.as_slice()), (0, 0));
    // And only once.
    tracks.remove(0);
    let again = [tracks.clone(), tracks].concat();
    assert_eq!(crossings(operate(&mut *only(LINE).operator, &again).as_slice()), (1, 0));
}

#[test]
fn at_2_fps_who_crosses_between_the_first_two_detections_is_counted() {
    // First seen at 0.53 above the line at 0.6, then at 0.68 below it.
    let runner = Actor { speed: 0.3, ..Actor::person(0.0, &[(0.5, 0.53), (0.5, 0.95)]) };
    assert_eq!(count(&film(&[runner], Detector::PERFECT, 2.0, 3.0, 1)), (1, 0));
}

proptest! {
    #[test]
    fn a_walk_and_the_same_way_back_cancel(feet in prop::collection::vec((0.0f32..1.0, 0.3f32..0.9), 1..30)) {
        let there_and_back: Vec<_> = feet.iter().chain(feet.iter().rev()).copied().collect();
        let (forward, backward) = crossings_of(&steps(&there_and_back));
        prop_assert_eq!(forward, backward);
    }

    #[test]
    fn shaking_on_the_line_is_no_passage(
        shakes in prop::collection::vec((-0.5f32..0.5, -0.95f32..0.95), 1..60),
        starts_above in any::<bool>(),
    ) {
        let start = Some((0.5, if starts_above { 0.5 } else { 0.7 }));
        let band = 0.1 * HEIGHT;
        let on_line = shakes.iter().map(|(x, y)| Some((0.5 + 0.1 * x, 0.6 + band * y)));
        let feet: Vec<_> = std::iter::once(start).chain(on_line).collect();
        prop_assert_eq!(crossings_of(&feet), (0, 0));
    }

    #[test]
    fn directions_alternate_for_every_walk_that_stays_between_the_ends(
        feet in prop::collection::vec((0.25f32..0.75, 0.3f32..0.9), 1..60)
    ) {
        let feet: Vec<_> = feet.into_iter().map(Some).collect();
        let (forward, backward) = crossings_of(&feet);
        prop_assert!(forward.abs_diff(backward) <= 1);
    }
}

/// People who pass the line down and up, some of them turning round behind it.
fn passers(seed: u64) -> (Vec<Actor>, (usize, usize)) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut forward, mut backward) = (0, 0);
    let actors = (0..30)
        .map(|index| {
            let x = 0.25 + 0.5 * dice.f64();
            let slant = 0.2 * (dice.f64() - 0.5);
            let (down, turns) = (dice.bool(), dice.u8(0..4) == 0);
            let (from, to) = if down { (0.38, 0.9) } else { (0.9, 0.38) };
            forward += usize::from(down || turns);
            backward += usize::from(!down || turns);
            let mut path = vec![(x, from), ((x + slant).clamp(0.25, 0.75), to)];
            if turns {
                path.push((x, from));
            }
            let speed = 0.1 + 0.08 * dice.f64();
            Actor { speed, ..Actor::person(4.0 * f64::from(index), &path) }
        })
        .collect();
    (actors, (forward, backward))
}

fn count(frames: &[Frame]) -> (usize, usize) {
    crossings(operate(&mut *only(LINE).operator, &track(frames)).as_slice())
}

#[test]
fn counts_do_not_depend_on_the_frame_rate() {
    for fps in [2.0, 3.7, 5.0, 10.0, 25.0, 30.0] {
        let (actors, truth) = passers(1);
        assert_eq!(count(&film(&actors, Detector::PERFECT, fps, 150.0, 1)), truth, "{fps} fps");
    }
}

#[test]
fn counts_stay_within_two_percent_with_a_usual_detector() {
    for fps in [2.0, 5.0, 10.0, 30.0] {
        let (mut counted, mut expected, mut wrong) = (0, 0, 0);
        for seed in 0..8 {
            let (actors, truth) = passers(seed);
            let found = count(&film(&actors, Detector::USUAL, fps, 150.0, seed));
            counted += found.0 + found.1;
            expected += truth.0 + truth.1;
            wrong += found.0.abs_diff(truth.0) + found.1.abs_diff(truth.1);
        }
        println!("{fps} fps: counted {counted} of {expected}, {wrong} wrong");
        assert!(wrong * 100 <= 2 * expected, "{fps} fps: counted {counted} of {expected}, {wrong} wrong");
    }
}

#[test]
fn presence_adds_up_to_the_time_in_the_zone_at_any_frame_rate() {
    // 0.15 picture heights a second: from 0.4 to 0.6 above the zone, from 0.6 to 0.9 inside it.
    let actors = [Actor::person(0.0, &[(0.5, 0.4), (0.5, 0.9)])];
    for fps in [2.0, 5.0, 10.0, 30.0] {
        let tracks = track(&film(&actors, Detector::PERFECT, fps, 3.3, 1));
        let present = seconds_present(&operate(&mut *only(ZONE).operator, &tracks));
        let truth = 0.3 / 0.15;
        assert!((present - truth).abs() <= 1.0 / fps + 0.05, "{fps} fps: {present} s of {truth} s");
    }
}

#[test]
fn a_flicker_of_the_detector_does_not_interrupt_presence_but_absence_does() {
    let inside = Some((0.5, 0.8));
    let present = |feet: &[_]| seconds_present(&operate(&mut *only(ZONE).operator, &walk(feet)));
    assert!((present(&[inside, None, None, inside]) - 0.3).abs() < 1e-9);
    let mut long_gone = vec![inside];
    long_gone.extend([None; 20]);
    assert!((present(&long_gone) - 0.5).abs() < 1e-9);
    assert!((present(&[Some((0.5, 0.5)); 10])).abs() < 1e-9);
}

#[test]
fn a_foot_at_the_edge_of_the_picture_is_in_a_zone_that_reaches_there() {
    for foot in [(0.5, 1.0), (0.5, 1.04), (1.0, 0.8), (0.0, 1.0)] {
        let present = seconds_present(&operate(&mut *only(ZONE).operator, &walk(&[Some(foot); 3])));
        assert!((present - 0.2).abs() < 1e-9, "{foot:?}");
    }
}

#[test]
fn time_that_nobody_saw_does_not_count() {
    let mut tracks = walk(&[Some((0.5, 0.8)); 3]);
    tracks[1].0 = tracks[0].0 + Duration::from_millis(2001);
    tracks[2].0 = tracks[1].0 + Duration::from_millis(2000);
    let findings = operate(&mut *only(ZONE).operator, &tracks);
    assert!((seconds_present(&findings) - 2.0).abs() < 1e-9);
}
