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
use crate::unusual::learned_street;

type Tracks = Vec<(MediaTime, Vec<Track>)>;

/// Films a street.
type Street = fn() -> Tracks;

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

/// Operators that say nothing before they have learned what is usual: each with a street that is long enough.
const LEARNERS: [(&str, Street); 1] = [("detect_unusual_motion", learned_street)];

/// On which street an operator finds something.
fn scene(name: &str) -> Tracks {
    LEARNERS.iter().find(|(learner, _)| *learner == name).map_or_else(busy_street, |(_, street)| street())
}

fn busy_street() -> Tracks {
    track(&film(&square(3, 24, 10), Detector::USUAL, 10.0, 60.0, 3))
}

fn run(name: &str, tracks: &Tracks) -> Vec<Finding> {
    let (_, mut operators) = examples().into_iter().find(|(row, _)| *row == name).expect("a row");
    operators.iter_mut().flat_map(|it| operate(&mut *it.operator, tracks).as_slice().to_vec()).collect()
}

#[test]
fn the_example_finds_something_on_a_busy_street_and_every_time_the_same() {
    for spec in TABLE {
        let tracks = scene(spec.name);
        let first = run(spec.name, &tracks);
        assert!(!first.is_empty(), "{}", spec.name);
        assert_eq!(first, run(spec.name, &tracks), "{}", spec.name);
    }
}

/// The exception is for what learns, and for nothing else: an operator that is silent on the busy street for
/// another reason fails above.
#[test]
fn only_what_learns_is_given_time_to_learn() {
    for spec in TABLE {
        let (_, operators) = examples().into_iter().find(|(row, _)| *row == spec.name).expect("a row");
        let learns = operators.iter().any(|it| {
            let mut bytes = Vec::new();
            it.operator.remember(&mut bytes);
            !bytes.is_empty()
        });
        let listed = LEARNERS.iter().any(|(learner, _)| *learner == spec.name);
        assert!(learns || !listed, "{} learns nothing", spec.name);
        assert!(!listed || run(spec.name, &busy_street()).is_empty(), "{} needs no exception", spec.name);
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
    for (name, mut operators) in examples() {
        let tracks = scene(name);
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
    for cut in [1, 3, 7, 100] {
        for (name, mut operators) in examples() {
            let tracks = scene(name);
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
    for (name, mut operators) in examples() {
        let tracks = scene(name);
        let (end, _) = tracks.last().expect("frames");
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
            for (at, tracks) in &scene(name) {
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
