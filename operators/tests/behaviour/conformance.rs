//! What holds for every operator of the table.

use std::time::Duration;

use kerbside_core::finding::{Finding, Findings};
use kerbside_core::observation::Track;
use kerbside_core::operator::Configured;
use kerbside_core::time::MediaTime;
use kerbside_operators::TABLE;

use crate::camera::configure;
use crate::quality::square;
use crate::street::{Actor, Detector, film, observation, operate, track};

type Tracks = Vec<(MediaTime, Vec<Track>)>;

/// The operators of each row's example.
fn examples() -> Vec<(&'static str, Vec<Configured>)> {
    TABLE
        .iter()
        .map(|spec| {
            let configured =
                configure(spec.example).unwrap_or_else(|problems| panic!("{}: {problems:?}", spec.name));
            assert!(
                configured.iter().all(|(name, _)| name == spec.name) && !configured.is_empty(),
                "{}",
                spec.name
            );
            (spec.name, configured.into_iter().map(|(_, operator)| operator).collect())
        })
        .collect()
}

fn busy_street() -> Tracks {
    let mut actors = square(3, 24, 10);
    actors.push(halting_car());
    // People who run over the road between the cars.
    actors.extend((0..5).map(|index| Actor::person(8.0 + 9.0 * f64::from(index), &[(0.6, 0.6), (0.6, 0.22)])));
    track(&film(&actors, Detector::USUAL, 10.0, 60.0, 3))
}

/// A car that comes, stands for twenty seconds, but for a little shaking, and goes on.
fn halting_car() -> Actor {
    let (x, y, shake, speed) = (0.4, 0.4, 0.002, 0.3);
    let mut path = vec![(0.02, y)];
    path.extend((0..(20.0 * speed / shake) as u32).map(|step| (x, y + shake * f64::from(step % 2))));
    path.push((0.98, y));
    Actor { speed, ..Actor::car(5.0, &path) }
}

fn run(name: &str, tracks: &Tracks) -> Vec<Finding> {
    let (_, mut operators) = examples().into_iter().find(|(row, _)| *row == name).expect("a row");
    operators.iter_mut().flat_map(|it| operate(&mut *it.operator, tracks).as_slice().to_vec()).collect()
}

#[test]
fn the_example_finds_something_on_a_busy_street_and_every_time_the_same() {
    let tracks = busy_street();
    for spec in TABLE {
        let first = run(spec.name, &tracks);
        assert!(!first.is_empty(), "{}", spec.name);
        assert_eq!(first, run(spec.name, &tracks), "{}", spec.name);
    }
}

#[test]
fn nothing_in_nothing_out() {
    for spec in TABLE {
        assert_eq!(run(spec.name, &Vec::new()), [], "{}: no frame", spec.name);
        let empty: Tracks = (0..50).map(|n| (MediaTime::from_millis(100 * n), Vec::new())).collect();
        assert_eq!(run(spec.name, &empty), [], "{}: empty frames", spec.name);
    }
}

#[test]
fn every_finding_feeds_declared_cells_and_is_in_order() {
    let tracks = busy_street();
    for (name, mut operators) in examples() {
        for Configured { operator, cells, .. } in &mut operators {
            let mut sorted = cells.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted.len(), cells.len(), "{name}: a cell is declared twice");
            let findings = operate(&mut **operator, &tracks);
            assert!(findings.as_slice().is_sorted_by_key(|finding| finding.at), "{name}");
            for finding in findings.as_slice() {
                for cell in finding.feeds() {
                    let declared = cells.contains(&cell);
                    assert!(declared, "{name}: {finding:?}");
                }
            }
        }
    }
}

#[test]
fn where_the_stream_is_cut_does_not_matter() {
    let tracks = busy_street();
    for cut in [1, 3, 7, 100] {
        for (name, mut operators) in examples() {
            let mut cut_findings = Vec::new();
            for it in &mut operators {
                let (mut findings, mut before) = (Findings::new(), None);
                for (index, (at, tracks)) in tracks.iter().enumerate() {
                    it.operator.observe(&observation(*at, before, tracks), &mut findings);
                    before = Some(*at);
                    if index % cut == 0 {
                        it.operator.advance(*at, &mut findings);
                        cut_findings.extend_from_slice(findings.as_slice());
                        findings.clear();
                    }
                }
                it.operator.finish(&mut findings);
                cut_findings.extend_from_slice(findings.as_slice());
            }
            assert_eq!(cut_findings, run(name, &tracks), "{name}, cut every {cut} frames");
        }
    }
}

#[test]
fn nothing_is_found_after_the_end() {
    let tracks = busy_street();
    let (end, _) = tracks.last().expect("frames");
    for (name, mut operators) in examples() {
        for it in &mut operators {
            assert!(!operate(&mut *it.operator, &tracks).as_slice().is_empty(), "{name}");
            let mut findings = Findings::new();
            it.operator.advance(*end + Duration::from_secs(3600), &mut findings);
            assert_eq!(findings.as_slice(), [], "{name}");
        }
    }
}

#[test]
fn a_picture_that_cannot_be_trusted_yields_nothing() {
    for (name, mut operators) in examples() {
        for it in &mut operators {
            let (mut findings, mut before) = (Findings::new(), None);
            for (at, tracks) in &busy_street() {
                let mut observation = observation(*at, before, tracks);
                observation.trusted = false;
                it.operator.observe(&observation, &mut findings);
                before = Some(*at);
            }
            it.operator.finish(&mut findings);
            assert_eq!(findings.as_slice(), [], "{name}");
        }
    }
}

#[test]
fn mistakes_in_options_are_named_all_at_once() {
    let text = "\
geometry:
  lines: {crossing: {from: [0, 0.5], to: [1, 0.5]}}
  zones: {square: {polygon: [[0, 0], [1, 0], [1, 1]]}}
operators:
  count_line:
    - {line: crosing, classes: [person, tram, person], hysteresis: 3}
    - {classes: []}
  measure_occupancy:
    - {zone: crossing, line: crossing, classes: person}
  detect_wrong_way:
    - {line: crossing, zone: square, classes: [person]}
    - {zone: square, allowed: left, min_distance: 0.1}
  detect_stopped:
    - {zone: square, after: 10, patience: 1s}
  detect_intrusion:
    - {zone: square, hours: ['22:00-05:00', 'Sat-Sum 00:00-24:00', '9-17'], after: 1h}
    - {zone: square, hours: []}
  detect_loitering:
    - {zone: square, classes: [person], after: 2d, within: 0.1}
  detect_crowd:
    - {zone: square}
    - {zone: square, at_least: 5, until: 6}
    - {zone: square, at_least: 5, density: 1}
    - {zone: square, density: 1}
  detect_near_miss:
    - {zone: square, pet: 3s}
";
    let expected = [
        "6:14: operators.count_line[0].line: there is no line 'crosing'; did you mean 'crossing'? only crossing is allowed",
        "6:41: operators.count_line[0].classes[1]: this camera does not look for 'tram'; allowed are person, bicycle, motorcycle, car, bus, truck",
        "6:47: operators.count_line[0].classes[2]: 'person' is listed twice; each class once",
        "6:68: operators.count_line[0].hysteresis: 3 is out of range; a number of box heights from 0 to 1 is expected",
        "7:7: operators.count_line[1]: the key 'line' is missing; it is required",
        "7:17: operators.count_line[1].classes: no class is listed; allowed are person, bicycle, motorcycle, car, bus, truck",
        "9:14: operators.measure_occupancy[0].zone: there is no zone 'crossing'; only square is allowed",
        "9:24: operators.measure_occupancy[0].line: unknown key; allowed are classes, zone",
        "9:49: operators.measure_occupancy[0].classes: a single value was found; a list is expected",
        "11:7: operators.detect_wrong_way[0]: the key 'allowed' is missing; it is required",
        "11:24: operators.detect_wrong_way[0].zone: a line and a zone are given; one of 'line' and 'zone' is expected",
        "11:48: operators.detect_wrong_way[0].classes[0]: this operator is not about 'person'; allowed are bicycle, motorcycle, car, bus, truck",
        "12:7: operators.detect_wrong_way[1]: the key 'along' is missing; it is required",
        "12:31: operators.detect_wrong_way[1].allowed: 'left' is unknown; allowed are forward, backward",
        "12:51: operators.detect_wrong_way[1].min_distance: 0.1 is out of range; a number of box heights from 0.5 to 20 is expected",
        "14:29: operators.detect_stopped[0].after: '10' has no unit; a time with its unit (ms, s, m, h, d) from 5s to 1h is expected, such as 500ms or 15m",
        "14:43: operators.detect_stopped[0].patience: 1s is out of range; a time with its unit (ms, s, m, h, d) from 2s to 10m is expected, such as 500ms or 15m",
        "16:45: operators.detect_intrusion[0].hours[1]: 'Sum' is not a day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun; a span such as '22:00-05:00', 'Mon-Fri 07:00-19:00' or 'Sun 00:00-24:00' is expected",
        "16:68: operators.detect_intrusion[0].hours[2]: '9' is not a time of day from 00:00 to 24:00; a span such as '22:00-05:00', 'Mon-Fri 07:00-19:00' or 'Sun 00:00-24:00' is expected",
        "16:84: operators.detect_intrusion[0].after: 1h is out of range; a time with its unit (ms, s, m, h, d) from 0s to 10m is expected, such as 500ms or 15m",
        "17:29: operators.detect_intrusion[1].hours: no span is listed; a span such as '22:00-05:00', 'Mon-Fri 07:00-19:00' or 'Sun 00:00-24:00' is expected",
        "19:22: operators.detect_loitering[0].classes: unknown key; allowed are after, within, zone",
        "19:48: operators.detect_loitering[0].after: 2d is out of range; a time with its unit (ms, s, m, h, d) from 5s to 1h is expected, such as 500ms or 15m",
        "19:60: operators.detect_loitering[0].within: 0.1 is out of range; a number of box heights from 0.5 to 50 is expected",
        "21:7: operators.detect_crowd[0]: neither 'at_least' nor 'density' is given; one of them is required",
        "22:42: operators.detect_crowd[1].until: 6 is out of range; a number of people from 0 to 5 is expected",
        "23:7: operators.detect_crowd[2]: distances on the street are needed here, and the camera's geometry has no ground; geometry.ground with four or more points of the picture and where they lie in metres is expected",
        "23:22: operators.detect_crowd[2].at_least: 'at_least' and 'density' are given; one of them is expected",
        "24:7: operators.detect_crowd[3]: distances on the street are needed here, and the camera's geometry has no ground; geometry.ground with four or more points of the picture and where they lie in metres is expected",
        "26:7: operators.detect_near_miss[0]: distances on the street are needed here, and the camera's geometry has no ground; geometry.ground with four or more points of the picture and where they lie in metres is expected",
        "26:27: operators.detect_near_miss[0].pet: 3s is out of range; a time with its unit (ms, s, m, h, d) from 200ms to 2s 500ms is expected, such as 500ms or 15m",
    ];
    let problems = configure(text).map(|_| ()).unwrap_err();
    assert_eq!(problems, expected.map(|problem| format!("camera.yaml:{problem}")));
}
