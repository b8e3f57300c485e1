//! What holds for every operator of the table.

use std::time::Duration;

use kerbside_core::finding::{Finding, Findings};
use kerbside_core::observation::Track;
use kerbside_core::operator::Configured;
use kerbside_core::time::MediaTime;
use kerbside_operators::TABLE;

use crate::camera::configure;
use crate::quality::square;
use crate::street::{Detector, film, observation, operate, track};

type Tracks = Vec<(MediaTime, Vec<Track>)>;

/// The operators of each row's example.
fn examples() -> Vec<(&'static str, Vec<Configured>)> {
    TABLE
        .iter()
        .filter(|spec| !OF_PICTURES.contains(&spec.name))
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

/// Operators that find nothing in tracks alone; they have pictures of their own.
const OF_PICTURES: [&str; 2] = ["detect_object_left", "detect_tamper"];

fn busy_street() -> Tracks {
    track(&film(&square(3, 24, 10), Detector::USUAL, 10.0, 60.0, 3))
}

fn run(name: &str, tracks: &Tracks) -> Vec<Finding> {
    let (_, mut operators) = examples().into_iter().find(|(row, _)| *row == name).expect("a row");
    operators.iter_mut().flat_map(|it| operate(&mut *it.operator, tracks).as_slice().to_vec()).collect()
}

#[test]
fn the_example_finds_something_on_a_busy_street_and_every_time_the_same() {
    let tracks = busy_street();
    for (name, _) in examples() {
        let first = run(name, &tracks);
        assert!(!first.is_empty(), "{name}");
        assert_eq!(first, run(name, &tracks), "{name}");
    }
}

#[test]
fn nothing_in_nothing_out() {
    for (name, _) in examples() {
        assert_eq!(run(name, &Vec::new()), [], "{name}: no frame");
        let empty: Tracks = (0..50).map(|n| (MediaTime::from_millis(100 * n), Vec::new())).collect();
        assert_eq!(run(name, &empty), [], "{name}: empty frames");
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
    ];
    let problems = configure(text).map(|_| ()).unwrap_err();
    assert_eq!(problems, expected.map(|problem| format!("camera.yaml:{problem}")));
}
