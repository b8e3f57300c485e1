//! Situations, turns, peaks and watched bins.

use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase};

use super::*;

const SECOND: u64 = 1000;

pub(super) fn word(millis: u64, site: SiteId, class: Option<Class>, incident: Incident) -> Finding {
    Finding { at: MediaTime::from_millis(millis), site, class, track: None, kind: FindingKind::Incident(incident) }
}

pub(super) fn wrong_way(phase: Phase, number: u32, value: i32) -> Incident {
    Incident {
        kind: IncidentKind::WrongWay,
        phase,
        number,
        since: MediaTime::ZERO,
        severity: 74,
        confidence: 93,
        value,
        unit: IncidentUnit::KmPerHour,
        reason: None,
    }
}

fn tamper(phase: Phase) -> Incident {
    Incident { kind: IncidentKind::TamperCovered, value: 0, unit: IncidentUnit::None, ..wrong_way(phase, 0, 0) }
}

/// Kind, phase, site, class, the two times in milliseconds, value with unit, duration.
pub(super) fn words(batches: &[ReleasedBatch]) -> Vec<String> {
    let incidents = batches.iter().filter(|batch| batch.table() == Table::Incident);
    incidents
        .flat_map(|batch| {
            let batch = batch.get();
            let text = |name: &str| -> Vec<String> {
                let column = batch.column_by_name(name).unwrap();
                match column.as_dictionary_opt::<UInt8Type>() {
                    Some(words) => words
                        .downcast_dict::<arrow_array::StringArray>()
                        .unwrap()
                        .into_iter()
                        .map(|w| w.unwrap().to_owned())
                        .collect(),
                    None => {
                        let words = column.as_dictionary::<UInt16Type>();
                        words
                            .downcast_dict::<arrow_array::StringArray>()
                            .unwrap()
                            .into_iter()
                            .map(|w| w.unwrap().to_owned())
                            .collect()
                    }
                }
            };
            let (kind, phase, site, class, unit) =
                (text("kind"), text("phase"), text("site"), text("class"), text("unit"));
            let times = |name: &str| {
                batch.column_by_name(name).unwrap().as_primitive::<TimestampMillisecondType>().values().to_vec()
            };
            let (t0, t1) = (times("t0"), times("t1"));
            let value = batch.column_by_name("value").unwrap().as_primitive::<Int32Type>().clone();
            let duration = batch.column_by_name("duration_s").unwrap().as_primitive::<UInt32Type>().clone();
            let number = |name: &str, row: usize| {
                batch.column_by_name(name).unwrap().as_primitive::<UInt8Type>().value(row)
            };
            (0..batch.num_rows())
                .map(|row| {
                    let lasted =
                        if duration.is_null(row) { "-".to_owned() } else { duration.value(row).to_string() };
                    format!(
                        "{} {} {} {} {}..{} {} {} {}/{} {lasted}",
                        kind[row],
                        phase[row],
                        site[row],
                        class[row],
                        t0[row],
                        t1[row],
                        value.value(row),
                        unit[row],
                        number("severity", row),
                        number("confidence", row),
                    )
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

fn numbers(batches: &[ReleasedBatch]) -> Vec<u32> {
    let incidents = batches.iter().filter(|batch| batch.table() == Table::Incident);
    incidents
        .flat_map(|batch| {
            batch.get().column_by_name("incident").unwrap().as_primitive::<UInt32Type>().values().to_vec()
        })
        .collect()
}

#[test]
fn a_situation_is_told_coarsely_under_one_random_number() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    let car = Some(Class::Car);
    release.observe(0, &frame(1234, 100), &[word(1234, LINE, car, wrong_way(Phase::Begin, 0, 38))]);
    release.advance(wall(1300), &mut out).unwrap();
    release.observe(0, &frame(4100, 100), &[word(4100, LINE, car, wrong_way(Phase::Begin, 1, -13))]);
    release.observe(0, &frame(5900, 100), &[word(5900, LINE, car, wrong_way(Phase::End, 0, 42))]);
    release.observe(0, &frame(7000, 100), &[word(7000, SiteId::PICTURE, None, tamper(Phase::Begin))]);
    release.finish(wall(7000), &mut out).unwrap();
    assert_eq!(
        words(&out),
        [
            "wrong_way begin crossing car 1000..2000 40 km/h 70/95 -",
            "wrong_way begin crossing car 4000..5000 -10 km/h 70/95 -",
            "wrong_way end crossing car 5000..6000 45 km/h 70/95 4",
            "tamper_covered begin * all 7000..8000 0 none 70/95 -",
        ]
    );
    let numbers = numbers(&out);
    assert!(numbers[0] == numbers[2] && numbers[0] != numbers[1] && numbers[1] != numbers[3], "{numbers:?}");
    assert_eq!(release.counts(), ReleaseCounts::default());
}

#[test]
fn pc_6_situations_of_people_have_coarser_times() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    let at = 37 * SECOND;
    release.observe(0, &frame(at, 100), &[word(at, LINE, Some(Class::Person), wrong_way(Phase::Begin, 0, 0))]);
    release.advance(wall(at), &mut out).unwrap();
    assert_eq!(words(&out), ["wrong_way begin crossing person 30000..40000 0 km/h 70/95 -"]);
}

#[test]
fn class_and_quantum_hold_from_beginning_to_end_and_what_was_said_is_not_said_again() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    let said = [
        (37, Some(Class::Person), Phase::Begin, 2),
        (48, Some(Class::Person), Phase::Update, 4),
        (59, Some(Class::Person), Phase::Update, 6),
        (63, Some(Class::Car), Phase::End, 1),
    ];
    for (second, class, phase, value) in said {
        let count = Incident { unit: IncidentUnit::Count, ..wrong_way(phase, 0, value) };
        let at = second * SECOND;
        release.observe(0, &frame(at, 100), &[word(at, LINE, class, count)]);
    }
    release.advance(wall(64 * SECOND), &mut out).unwrap();
    assert_eq!(
        words(&out),
        [
            "wrong_way begin crossing person 30000..40000 5 count 70/95 -",
            "wrong_way update crossing person 50000..60000 10 count 70/95 -",
            "wrong_way end crossing person 60000..70000 5 count 70/95 30",
        ]
    );
}

#[test]
fn a_camera_tells_no_more_than_it_may_and_every_beginning_has_its_end() {
    let mut release = release(&["north", "south"], 0);
    let mut out = Vec::new();
    for number in 0..300 {
        for phase in [Phase::Begin, Phase::End] {
            let at = u64::from(number) * 100;
            release.observe(0, &frame(at, 100), &[word(at, LINE, None, wrong_way(phase, number, 0))]);
        }
    }
    release.observe(1, &frame(30_000, 100), &[word(30_000, LINE, None, wrong_way(Phase::Begin, 0, 0))]);
    release.advance(wall(30_000), &mut out).unwrap();
    let words = words(&out);
    let count = |phase: &str| words.iter().filter(|word| word.contains(phase)).count();
    assert_eq!((count(" begin "), count(" end ")), (51, 50), "one camera's flood does not take the other's rows");
    assert_eq!(release.counts().limited_incidents, 2 * 250);
}

#[test]
fn what_no_operator_of_the_camera_reports_is_not_told() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    release.observe(0, &frame(10, 10), &[word(10, ZONE, None, wrong_way(Phase::Begin, 0, 0))]);
    release.advance(wall(20), &mut out).unwrap();
    assert_eq!((out.len(), release.counts().unplanned_findings), (0, 1));
}

#[test]
fn an_end_without_a_beginning_is_counted_and_left_out() {
    let mut release = release(&["north"], 0);
    let mut out = Vec::new();
    for phase in [Phase::Update, Phase::End] {
        release.observe(0, &frame(10, 10), &[word(10, LINE, None, wrong_way(phase, 0, 0))]);
    }
    release.advance(wall(20), &mut out).unwrap();
    assert_eq!((out.len(), release.counts().unplanned_findings), (0, 2));
}

#[test]
fn turns_have_words_of_their_own_and_levels_their_units() {
    let turn = Cell { toward: Some(ZONE), ..Cell::new(LINE, Measure::TurnCount, Some(Class::Car)) };
    let mut cells =
        vec![turn, Cell::new(ZONE, Measure::QueueLen, None), Cell::new(ZONE, Measure::QueueReach, None)];
    cells.extend(Cell::new(LINE, Measure::SpeedHist, Some(Class::Car)).directed(Direction::Forward).histogram());
    cells.push(Cell::new(ZONE, Measure::DensityLevel, Some(Class::Car)));
    let mut release = Release::new(
        identity(),
        // Two square metres: a vehicle adds half of one to a square metre.
        vec![CameraPlan { cells, alerts: vec![crowd(Class::Car, 500_000)], ..plan("north") }],
        EVERYWHERE,
        wall(0),
        Guarantee::Demonstration,
    )
    .unwrap();
    let at = |site, class, kind| Finding { at: MediaTime::from_millis(6000), site, class, track: None, kind };
    let (car, peak) = (Some(Class::Car), |measure, amount| FindingKind::Peak { measure, amount });
    let speed = FindingKind::Counted { measure: Measure::SpeedHist, direction: Direction::Forward, bucket: 4 };
    let level =
        FindingKind::Level { measure: Measure::DensityLevel, share: 500_000, lasted: Duration::from_secs(6) };
    let findings = [
        at(LINE, car, FindingKind::Turn { toward: ZONE }),
        at(ZONE, None, peak(Measure::QueueLen, 4)),
        at(ZONE, None, peak(Measure::QueueLen, 3)),
        at(ZONE, None, peak(Measure::QueueReach, 27)),
        at(LINE, car, speed),
        at(ZONE, car, level),
    ];
    release.observe(0, &frame(6000, 100), &findings);
    let mut out = Vec::new();
    release.advance(wall(MINUTE), &mut out).unwrap();
    let batch = out[0].get();
    let word8 = |name: &str| batch.column_by_name(name).unwrap().as_dictionary::<UInt8Type>().clone();
    let (measure, unit, class) = (word8("measure"), word8("unit"), word8("class"));
    let site = batch.column_by_name("site").unwrap().as_dictionary::<UInt16Type>().clone();
    let value = batch.column_by_name("value").unwrap().as_primitive::<Int32Type>().clone();
    let bucket = batch.column_by_name("bucket").unwrap().as_primitive::<UInt8Type>().clone();
    let mut rows: Vec<String> = (0..batch.num_rows())
        .filter(|row| value.value(*row) != 0)
        .map(|row| {
            let of8 = |column: &arrow_array::DictionaryArray<UInt8Type>| {
                column
                    .downcast_dict::<arrow_array::StringArray>()
                    .unwrap()
                    .into_iter()
                    .nth(row)
                    .unwrap()
                    .unwrap()
                    .to_owned()
            };
            let site = site
                .downcast_dict::<arrow_array::StringArray>()
                .unwrap()
                .into_iter()
                .nth(row)
                .unwrap()
                .unwrap()
                .to_owned();
            format!(
                "{site} {} {} {} {} {}",
                of8(&measure),
                of8(&class),
                bucket.value(row),
                value.value(row),
                of8(&unit)
            )
        })
        .collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            "crossing speed_hist car 4 1 count",
            "crossing>square turn_count car 0 1 count",
            "square density_level car 0 50 permille",
            "square queue_len all 0 4 count",
            "square queue_reach all 0 27 m",
        ]
    );
    assert_eq!(release.counts(), ReleaseCounts::default());
}

#[test]
fn watched_bins_are_told_as_they_were_released() {
    let mut release = release(&["north", "south"], 0);
    release.observe(1, &frame(2000, 1000), &[crossing(2000, Class::Car, Direction::Forward)]);
    let mut out = Vec::new();
    release.advance(wall(2 * MINUTE), &mut out).unwrap();
    let told: Vec<_> =
        release.closed_bins().map(|bin| (bin.camera, bin.from.as_unix_millis(), bin.value)).collect();
    assert_eq!(told, [(0, 0, 0), (1, 0, 1), (0, MINUTE as i64, 0), (1, MINUTE as i64, 0)]);
    assert_eq!(release.closed_bins().count(), 0);
}
