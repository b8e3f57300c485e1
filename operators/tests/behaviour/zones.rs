//! `measure_dwell` and `count_turns` where the truth is known.

use std::collections::BTreeMap;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Finding, FindingKind, Measure};
use kerbside_core::geometry::BoxInImage;
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::time::MediaTime;

use crate::camera::{configure, only, site_name};
use crate::street::{Actor, Detector, film, observation, operate, track};

type Tracks = Vec<(MediaTime, Vec<Track>)>;

const SQUARE: &str = "\
geometry:
  zones: {square: {polygon: [[0.2, 0.5], [0.8, 0.5], [0.8, 0.9], [0.2, 0.9]]}}
operators:
  measure_dwell: [{zone: square}]
";
/// Four arms of a junction.
const JUNCTION: &str = "\
geometry:
  zones:
    east: {polygon: [[0.8, 0.3], [1, 0.3], [1, 1], [0.8, 1]]}
    north: {polygon: [[0.25, 0.25], [0.75, 0.25], [0.75, 0.44], [0.25, 0.44]]}
    south: {polygon: [[0.25, 0.82], [0.75, 0.82], [0.75, 1], [0.25, 1]]}
    west: {polygon: [[0, 0.3], [0.2, 0.3], [0.2, 1], [0, 1]]}
operators:
  count_turns: [{zones: [north, east, south, west]}]
";

fn with(text: &str, from: &str, to: &str) -> String {
    let changed = text.replace(from, to);
    assert_ne!(changed, text);
    changed
}

/// Tracks whose feet are somewhere at certain times: (id, from second, to second, x, y).
fn stays(stays: &[(u64, f64, f64, f32, f32)], secs: f64) -> Tracks {
    (0..(10.0 * secs) as u64)
        .map(|frame| {
            let now = frame as f64 / 10.0;
            let here = stays.iter().filter(|(_, from, to, ..)| (*from..*to).contains(&now));
            let mut tracks: Vec<Track> = here.map(|&(id, _, _, x, y)| standing(id, x, y)).collect();
            tracks.sort_by_key(|track| track.id);
            (MediaTime::from_millis(100 * frame), tracks)
        })
        .collect()
}

fn standing(id: u64, x: f32, y: f32) -> Track {
    let box_in_image = BoxInImage { left: x - 0.04, top: y - 0.2, right: x + 0.04, bottom: y };
    Track {
        id: TrackId(id),
        class: Class::Person,
        score: 0.8,
        box_in_image,
        detected: true,
        since: MediaTime::ZERO,
        first_box: box_in_image,
    }
}

/// When each visit was counted, in seconds, and its bucket.
fn visits(text: &str, tracks: &Tracks) -> Vec<(f64, u8)> {
    let visit = |finding: &Finding| match finding.kind {
        FindingKind::Counted { bucket, .. } => (finding.at.as_nanos() as f64 / 1e9, bucket),
        other => panic!("{other:?}"),
    };
    operate(&mut *only(text).operator, tracks).as_slice().iter().map(visit).collect()
}

#[test]
fn a_visit_is_counted_once_when_it_is_over() {
    let (inside, outside) = ((0.5, 0.7), (0.5, 0.4));
    let at = |id, from, to, (x, y): (f32, f32)| (id, from, to, x, y);
    type Case = (&'static str, Vec<(u64, f64, f64, f32, f32)>, Vec<(f64, u8)>);
    let cases: [Case; 7] = [
        (
            "walks through",
            vec![at(1, 0.0, 2.0, outside), at(1, 2.0, 6.0, inside), at(1, 6.0, 19.0, outside)],
            vec![(11.1, 0)],
        ),
        (
            "steps out for a moment",
            vec![
                at(1, 0.0, 4.0, inside),
                at(1, 4.0, 7.0, outside),
                at(1, 7.0, 14.0, inside),
                at(1, 14.0, 30.0, outside),
            ],
            vec![(19.1, 1)],
        ),
        (
            "comes back later",
            vec![
                at(1, 0.0, 4.0, inside),
                at(1, 4.0, 10.0, outside),
                at(1, 10.0, 14.0, inside),
                at(1, 14.0, 30.0, outside),
            ],
            vec![(9.1, 0), (19.1, 0)],
        ),
        (
            "its track is lost and another one goes on",
            vec![at(1, 0.0, 9.0, inside), at(2, 12.0, 17.5, inside)],
            vec![(22.5, 2)],
        ),
        (
            "its track is lost for long",
            vec![at(1, 0.0, 9.0, inside), at(2, 15.0, 21.0, inside)],
            vec![(14.0, 1), (26.0, 1)],
        ),
        (
            "another one comes elsewhere",
            vec![at(1, 0.0, 9.0, inside), at(2, 10.0, 16.0, (0.3, 0.7))],
            vec![(14.0, 1), (21.0, 1)],
        ),
        ("too short", vec![at(1, 0.0, 0.8, inside), at(1, 0.8, 9.0, outside)], vec![]),
    ];
    for (name, places, expected) in cases {
        let found = visits(SQUARE, &stays(&places, 40.0));
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        for ((at, bucket), (expected_at, expected_bucket)) in found.iter().zip(&expected) {
            assert!((at - expected_at).abs() < 0.15 && bucket == expected_bucket, "{name}: {found:?}");
        }
    }
}

#[test]
fn a_visit_at_the_end_counts_as_long_as_it_was_and_one_in_an_interruption_does_not() {
    let tracks = stays(&[(1, 0.0, 100.0, 0.5, 0.7)], 70.0);
    assert_eq!(visits(SQUARE, &tracks), [(69.9, 3)]);
    let mut operator = only(SQUARE).operator;
    let (mut findings, mut before) = (kerbside_core::finding::Findings::new(), None);
    for (index, (at, tracks)) in tracks.iter().enumerate() {
        let mut observation = observation(*at, before, tracks);
        observation.trusted = index != 400;
        operator.observe(&observation, &mut findings);
        before = Some(*at);
    }
    operator.finish(&mut findings);
    let buckets: Vec<_> = findings.as_slice().iter().map(|finding| finding.kind).collect();
    let [FindingKind::Counted { bucket, .. }] = buckets[..] else { panic!("{buckets:?}") };
    assert_eq!(bucket, Measure::DwellHist.bucket_of(29.8));
}

/// A shaking box on the zone's edge, and visits of known lengths.
#[test]
fn stays_are_in_their_buckets_with_a_usual_detector_at_any_frame_rate() {
    for fps in [5.0, 10.0, 25.0] {
        let (mut wrong, mut total) = (0, 0);
        for seed in 0..6 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut actors, mut differences) = (Vec::new(), [0i32; 5]);
            for index in 0..20 {
                // The way through the zone is 0.4 picture heights long.
                let speed = if dice.bool() { 0.1 + 0.1 * dice.f64() } else { 0.03 + 0.04 * dice.f64() };
                let x = 0.25 + 0.5 * dice.f64();
                actors.push(Actor { speed, ..Actor::person(14.0 * f64::from(index), &[(x, 0.4), (x, 0.98)]) });
                differences[usize::from(Measure::DwellHist.bucket_of(0.4 / speed))] -= 1;
                total += 1;
            }
            let tracks = track(&film(&actors, Detector::USUAL, fps, 320.0, seed));
            for (_, bucket) in visits(SQUARE, &tracks) {
                differences[usize::from(bucket)] += 1;
            }
            wrong += differences.iter().map(|difference| difference.abs()).sum::<i32>();
        }
        println!("{fps} fps: {wrong} of {total} visits in a wrong bucket, missing or too many");
        assert!(wrong * 20 <= total, "{fps} fps: {wrong} of {total}");
    }
}

#[test]
fn who_stands_on_the_edge_is_on_one_visit_or_none() {
    let text = with(SQUARE, "zone: square", "zone: square, grace: 1s");
    for seed in 0..10 {
        let actors = [Actor { speed: 1e-4, ..Actor::person(0.0, &[(0.5, 0.503), (0.5, 0.52)]) }];
        let found = visits(&text, &track(&film(&actors, Detector::USUAL, 10.0, 60.0, seed)));
        assert!(found.len() <= 1, "seed {seed}: {found:?}");
    }
}

/// From where, to where, and when in seconds.
fn turns(text: &str, tracks: &Tracks) -> Vec<(String, String, f64)> {
    let turn = |finding: &Finding| {
        let FindingKind::Turn { toward } = finding.kind else { panic!("{finding:?}") };
        (site_name(text, finding.site), site_name(text, toward), finding.at.as_nanos() as f64 / 1e9)
    };
    operate(&mut *only(text).operator, tracks).as_slice().iter().map(turn).collect()
}

const NORTH: (f32, f32) = (0.5, 0.3);
const EAST: (f32, f32) = (0.9, 0.6);
const SOUTH: (f32, f32) = (0.5, 0.95);
const WEST: (f32, f32) = (0.1, 0.6);
const MIDDLE: (f32, f32) = (0.5, 0.6);

/// One track that is at each place until the given second.
fn trip(places: &[((f32, f32), f64)]) -> Tracks {
    let mut from = 0.0;
    let legs: Vec<_> = places
        .iter()
        .map(|&((x, y), until)| {
            let leg = (7, from, until, x, y);
            from = until;
            leg
        })
        .collect();
    stays(&legs, from + 1.0)
}

#[test]
fn a_trip_goes_from_the_first_zone_to_the_last() {
    type Case = (&'static str, Vec<((f32, f32), f64)>, Vec<(&'static str, &'static str, f64)>);
    let cases: [Case; 9] = [
        ("straight on", vec![(WEST, 2.0), (MIDDLE, 4.0), (EAST, 6.0)], vec![("west", "east", 6.0)]),
        ("waits in the exit", vec![(WEST, 2.0), (MIDDLE, 4.0), (EAST, 60.0)], vec![("west", "east", 9.0)]),
        ("waits in the entry", vec![(WEST, 50.0), (MIDDLE, 52.0), (NORTH, 53.0)], vec![("west", "north", 53.0)]),
        (
            "leaves the exit zone and goes on",
            vec![(WEST, 2.0), (EAST, 4.0), (MIDDLE, 30.0)],
            vec![("west", "east", 7.0)],
        ),
        (
            "brushes another arm",
            vec![(WEST, 2.0), (SOUTH, 4.0), (MIDDLE, 5.0), (EAST, 6.0)],
            vec![("west", "east", 6.0)],
        ),
        ("begins in the middle", vec![(MIDDLE, 2.0), (EAST, 6.0)], vec![]),
        ("ends in the middle", vec![(WEST, 2.0), (MIDDLE, 6.0)], vec![]),
        ("turns round", vec![(WEST, 2.0), (MIDDLE, 4.0), (WEST, 6.0)], vec![]),
        (
            "two trips",
            vec![(WEST, 2.0), (EAST, 20.0), (MIDDLE, 22.0), (SOUTH, 24.0)],
            vec![("west", "east", 7.0), ("east", "south", 24.0)],
        ),
    ];
    for (name, places, expected) in cases {
        let found = turns(JUNCTION, &trip(&places));
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        for ((from, to, at), (expected_from, expected_to, expected_at)) in found.iter().zip(expected) {
            assert_eq!((from.as_str(), to.as_str()), (expected_from, expected_to), "{name}");
            assert!((at - expected_at).abs() < 0.15, "{name}: {found:?}");
        }
    }
}

#[test]
fn a_u_turn_counts_where_it_is_asked_for_and_needs_a_way() {
    let text = with(JUNCTION, "west]", "west], u_turns: true");
    let found = turns(&text, &trip(&[(WEST, 2.0), (MIDDLE, 4.0), (WEST, 6.0)]));
    assert!(matches!(&found[..], [(from, to, _)] if from == "west" && to == "west"), "{found:?}");
    let (edge, out) = ((0.17, 0.6), (0.25, 0.6));
    assert_eq!(turns(&text, &trip(&[(edge, 2.0), (out, 4.0), (edge, 6.0)])), []);
    let (edge, out) = ((0.83, 0.6), (0.77, 0.6));
    let found = turns(&text, &trip(&[(WEST, 2.0), (edge, 20.0), (out, 22.0), (edge, 24.0)]));
    assert!(matches!(&found[..], [(from, to, _)] if from == "west" && to == "east"), "{found:?}");
}

#[test]
fn origins_and_destinations_may_differ() {
    let text = with(JUNCTION, "zones: [north, east, south, west]", "from: [west, north], to: [east, north]");
    let pairs = |places: &[_]| -> Vec<(String, String)> {
        turns(&text, &trip(places)).into_iter().map(|(from, to, _)| (from, to)).collect()
    };
    let pair = |from: &str, to: &str| vec![(from.to_owned(), to.to_owned())];
    assert_eq!(pairs(&[(WEST, 2.0), (EAST, 4.0)]), pair("west", "east"));
    assert_eq!(pairs(&[(NORTH, 2.0), (EAST, 4.0)]), pair("north", "east"));
    assert_eq!(pairs(&[(EAST, 2.0), (NORTH, 4.0)]), [], "east is no origin");
    assert_eq!(pairs(&[(NORTH, 2.0), (WEST, 4.0)]), [], "west is no destination");
    let cells = only(&text).cells;
    assert_eq!(cells.len(), 3 * 6, "west and north to east, west to north, of six classes");
}

#[test]
fn the_matrix_of_a_busy_junction_is_within_four_percent_at_any_frame_rate() {
    let places = [("north", NORTH), ("east", EAST), ("south", SOUTH), ("west", WEST)];
    for fps in [5.0, 10.0, 25.0] {
        let (mut wrong, mut total) = (0, 0);
        for seed in 0..6 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut differences: BTreeMap<(String, String), i32> = BTreeMap::new();
            let mut actors = Vec::new();
            for index in 0..40 {
                let from = dice.usize(0..4);
                let to = (from + dice.usize(1..4)) % 4;
                let mut near = |(x, y): (f32, f32)| {
                    let mut some = |spread: f64| spread * (dice.f64() - 0.5);
                    (f64::from(x) + some(0.1), f64::from(y) + some(0.06))
                };
                let path = [near(places[from].1), near(MIDDLE), near(places[to].1)];
                let speed = 0.1 + 0.08 * dice.f64();
                actors.push(Actor { speed, ..Actor::person(6.0 * f64::from(index), &path) });
                *differences.entry((places[from].0.to_owned(), places[to].0.to_owned())).or_default() -= 1;
                total += 1;
            }
            for (from, to, _) in turns(JUNCTION, &track(&film(&actors, Detector::USUAL, fps, 260.0, seed))) {
                *differences.entry((from, to)).or_default() += 1;
            }
            wrong += differences.values().map(|difference| difference.abs()).sum::<i32>();
        }
        println!("{fps} fps: {wrong} of {total} turns missing, wrong or too many");
        assert!(wrong * 100 <= 4 * total, "{fps} fps: {wrong} of {total}");
    }
}

#[test]
fn mistakes_in_the_zones_of_turns_are_named() {
    for (options, expected) in [
        ("zones: [north]", "1 zones are listed; 2 to 16 zones are expected"),
        ("zones: [north, nort]", "there is no zone 'nort'; did you mean 'north'?"),
        ("zones: [north, east, north]", "zones[2]: the zone is listed twice; each zone once"),
        ("zones: [north, east], to: [west]", "either zones, or both from and to"),
        ("from: [north]", "either zones, or both from and to"),
        ("from: [north], to: [north]", "no turn is left to count"),
        ("zones: [north, east], settle: 3", "'3' has no unit"),
    ] {
        let text = with(JUNCTION, "zones: [north, east, south, west]", options);
        let problems = configure(&text).map(|_| ()).unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains(expected), "{options}: {problems:?}");
    }
}

#[test]
fn an_outage_ends_trips_at_the_time_before_it() {
    // One has arrived in the east and may still go on, one is under way, when the camera is away for an hour.
    let mut tracks = stays(
        &[(1, 0.0, 2.0, 0.1, 0.6), (1, 2.0, 9.0, 0.9, 0.6), (2, 0.0, 3.0, 0.1, 0.7), (2, 3.0, 5.0, 0.5, 0.7)],
        5.0,
    );
    let last = tracks.last().expect("frames").0;
    let later = stays(&[(1, 0.0, 3.0, 0.9, 0.6), (2, 0.0, 3.0, 0.9, 0.7)], 9.0);
    tracks.extend(later.into_iter().map(|(at, tracks)| (at + std::time::Duration::from_secs(3600), tracks)));
    let found = operate(&mut *only(JUNCTION).operator, &tracks);
    let turns: Vec<_> = found.as_slice().iter().map(|it| (it.at, it.track)).collect();
    assert_eq!(turns, [(last, Some(TrackId(1)))]);
}
