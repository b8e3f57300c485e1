//! The `privacy` block: what is refused, and what is accepted as what.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::privacy::{Bins, Bounds, Epsilon, IncidentLimits, Privacy, Profile};

use super::{parse, refused};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn privacy(text: &str) -> Privacy {
    parse(&format!("privacy: {{{text}}}")).unwrap_or_else(|error| panic!("{text}: {error}")).privacy
}

#[test]
fn what_is_no_profile_and_no_block_is_refused() {
    refused(&[
        (
            "privacy: {profile: relaxed}",
            &[
                "plaza.yaml:1:20: privacy.profile: 'relaxed' is unknown; allowed are strict, standard, strict-worstcase",
            ],
        ),
        ("privacy: strict", &["plaza.yaml:1:10: privacy: a single value was found; a map of keys is expected"]),
        (
            "privacy: {profil: strict, epsilons: {}}",
            &[
                "plaza.yaml:1:11: privacy.profil: unknown key; did you mean 'profile'? allowed are bins, bounds, debug_view, display_k, epsilon, incidents, profile, release",
                "plaza.yaml:1:27: privacy.epsilons: unknown key; did you mean 'epsilon'? allowed are bins, bounds, debug_view, display_k, epsilon, incidents, profile, release",
            ],
        ),
        (
            "privacy: {epsilon: 0.66}",
            &["plaza.yaml:1:20: privacy.epsilon: a single value was found; a map of keys is expected"],
        ),
        (
            "privacy: {bounds: {cells: 1}, incidents: {per_day: 3}, debug_view: {port: 80}}",
            &[
                "plaza.yaml:1:20: privacy.bounds.cells: unknown key; did you mean 'cells_per_track'? allowed are cells_per_track, presence_max, track_max",
                "plaza.yaml:1:43: privacy.incidents.per_day: unknown key; did you mean 'max_per_day'? allowed are max_per_day, person_time_quantum, vehicle_time_quantum",
                "plaza.yaml:1:69: privacy.debug_view.port: unknown key; allowed are enabled, max",
            ],
        ),
        (
            "privacy: {display_k: 1001}",
            &[
                "plaza.yaml:1:22: privacy.display_k: 1001 is out of range; a whole number of objects from 0 to 1000 is expected",
            ],
        ),
        (
            "privacy: {display_k: -1}",
            &[
                "plaza.yaml:1:22: privacy.display_k: -1 is out of range; a whole number of objects from 0 to 1000 is expected",
            ],
        ),
    ]);
}

#[test]
fn pc_6_bins_below_the_profiles_are_refused() {
    refused(&[
        (
            "privacy: {bins: {vehicle: 1m}}",
            &[
                "plaza.yaml:1:27: privacy.bins.vehicle: 1m is out of range; a time with its unit (ms, s, m, h, d) from 15m to 24h is expected, such as 500ms or 15m",
            ],
        ),
        (
            "privacy: {profile: standard, bins: {person: 1m, bicycle: 14m, vehicle: 30s}}",
            &[
                "plaza.yaml:1:45: privacy.bins.person: 1m is out of range; a time with its unit (ms, s, m, h, d) from 15m to 24h is expected, such as 500ms or 15m",
                "plaza.yaml:1:58: privacy.bins.bicycle: 14m is out of range; a time with its unit (ms, s, m, h, d) from 15m to 24h is expected, such as 500ms or 15m",
                "plaza.yaml:1:72: privacy.bins.vehicle: 30s is out of range; a time with its unit (ms, s, m, h, d) from 1m to 24h is expected, such as 500ms or 15m",
            ],
        ),
        (
            "privacy: {profile: strict-worstcase, bins: {person: 15m, vehicle: 30m}}",
            &[
                "plaza.yaml:1:53: privacy.bins.person: 15m is out of range; a time with its unit (ms, s, m, h, d) from 1h to 24h is expected, such as 500ms or 15m",
                "plaza.yaml:1:67: privacy.bins.vehicle: 30m is out of range; a time with its unit (ms, s, m, h, d) from 1h to 24h is expected, such as 500ms or 15m",
            ],
        ),
        (
            "privacy: {bins: {person: 17m, bicycle: 48h, vehicle: 15}}",
            &[
                "plaza.yaml:1:26: privacy.bins.person: bins of 17m do not divide a day evenly; a bin that fits into 24h without a rest is expected, such as 15m, 20m, 30m or 1h",
                "plaza.yaml:1:40: privacy.bins.bicycle: 48h is out of range; a time with its unit (ms, s, m, h, d) from 15m to 24h is expected, such as 500ms or 15m",
                "plaza.yaml:1:54: privacy.bins.vehicle: '15' has no unit; a time with its unit (ms, s, m, h, d) from 15m to 24h is expected, such as 500ms or 15m",
            ],
        ),
        (
            "privacy: {bins: {person: 15M, car: 15m}}",
            &[
                "plaza.yaml:1:26: privacy.bins.person: '15M' has the unknown unit 'M'; a time with its unit (ms, s, m, h, d) from 15m to 24h is expected, such as 500ms or 15m",
                "plaza.yaml:1:31: privacy.bins.car: unknown key; allowed are bicycle, person, vehicle",
            ],
        ),
    ]);
}

#[test]
fn pc_6_incidents_are_no_finer_than_the_contract() {
    refused(&[
        (
            "privacy: {incidents: {person_time_quantum: 9s, vehicle_time_quantum: 100ms}}",
            &[
                "plaza.yaml:1:44: privacy.incidents.person_time_quantum: 9s is out of range; a time with its unit (ms, s, m, h, d) from 10s to 1h is expected, such as 500ms or 15m",
                "plaza.yaml:1:70: privacy.incidents.vehicle_time_quantum: 100ms is out of range; a time with its unit (ms, s, m, h, d) from 1s to 1h is expected, such as 500ms or 15m",
            ],
        ),
        (
            "privacy: {incidents: {person_time_quantum: 10500ms, vehicle_time_quantum: 2h}}",
            &[
                "plaza.yaml:1:44: privacy.incidents.person_time_quantum: 10s 500ms is no whole number of seconds; such as 10s is expected",
                "plaza.yaml:1:75: privacy.incidents.vehicle_time_quantum: 2h is out of range; a time with its unit (ms, s, m, h, d) from 1s to 1h is expected, such as 500ms or 15m",
            ],
        ),
    ]);
}

#[test]
fn pc_8_one_track_contributes_no_more_than_the_contract_allows() {
    refused(&[
        (
            "privacy: {bounds: {cells_per_track: 3, presence_max: 61s, track_max: 301s}}",
            &[
                "plaza.yaml:1:37: privacy.bounds.cells_per_track: 3 is out of range; a whole number of counts from 1 to 2 is expected",
                "plaza.yaml:1:54: privacy.bounds.presence_max: 61s is out of range; a time with its unit (ms, s, m, h, d) from 1s to 1m is expected, such as 500ms or 15m",
                "plaza.yaml:1:70: privacy.bounds.track_max: 301s is out of range; a time with its unit (ms, s, m, h, d) from 10s to 5m is expected, such as 500ms or 15m",
            ],
        ),
        (
            "privacy: {bounds: {cells_per_track: 0, presence_max: 0s, track_max: 9s}}",
            &[
                "plaza.yaml:1:37: privacy.bounds.cells_per_track: 0 is out of range; a whole number of counts from 1 to 2 is expected",
                "plaza.yaml:1:54: privacy.bounds.presence_max: 0s is out of range; a time with its unit (ms, s, m, h, d) from 1s to 1m is expected, such as 500ms or 15m",
                "plaza.yaml:1:69: privacy.bounds.track_max: 9s is out of range; a time with its unit (ms, s, m, h, d) from 10s to 5m is expected, such as 500ms or 15m",
            ],
        ),
        (
            "privacy: {bounds: {cells_per_track: 1.5, presence_max: 1500ms, track_max: 60}}",
            &[
                "plaza.yaml:1:37: privacy.bounds.cells_per_track: 1.5 is not a whole number; a whole number of counts from 1 to 2 is expected",
                "plaza.yaml:1:56: privacy.bounds.presence_max: 1s 500ms is no whole number of seconds; such as 10s is expected",
                "plaza.yaml:1:75: privacy.bounds.track_max: '60' has no unit; a time with its unit (ms, s, m, h, d) from 10s to 5m is expected, such as 500ms or 15m",
            ],
        ),
    ]);
}

#[test]
fn pc_9_no_budget_is_looser_than_the_contract() {
    refused(&[
        (
            "privacy: {epsilon: {passage: 0.661}}",
            &[
                "plaza.yaml:1:30: privacy.epsilon.passage: 0.661 is out of range; a number with at most three decimals from 0.003 to 0.66 is expected",
            ],
        ),
        (
            "privacy: {profile: standard, epsilon: {passage: 1, alert: 0.67}}",
            &[
                "plaza.yaml:1:49: privacy.epsilon.passage: 1 is out of range; a number with at most three decimals from 0.003 to 0.66 is expected",
                "plaza.yaml:1:59: privacy.epsilon.alert: 0.67 is out of range; a number with at most three decimals from 0.001 to 0.66 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {passage: 0.002, alert: 0}}",
            &[
                "plaza.yaml:1:30: privacy.epsilon.passage: 0.002 is out of range; a number with at most three decimals from 0.003 to 0.66 is expected",
                "plaza.yaml:1:44: privacy.epsilon.alert: 0 is out of range; a number with at most three decimals from 0.001 to 0.66 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {passage: 0.6601}}",
            &[
                "plaza.yaml:1:30: privacy.epsilon.passage: 0.6601 is out of range; a number with at most three decimals from 0.003 to 0.66 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {passage: 0.6599}}",
            &[
                "plaza.yaml:1:30: privacy.epsilon.passage: 0.6599 cannot be taken exactly; a number with at most three decimals from 0.003 to 0.66 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {passage: 6.6e-1}}",
            &[
                "plaza.yaml:1:30: privacy.epsilon.passage: 6.6e-1 cannot be taken exactly; a number with at most three decimals from 0.003 to 0.66 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {passage: '0.66'}}",
            &[
                "plaza.yaml:1:30: privacy.epsilon.passage: '0.66' is in quotes, so it is text; a number with at most three decimals from 0.003 to 0.66 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {passage: -0.1, alert: .inf}}",
            &[
                "plaza.yaml:1:30: privacy.epsilon.passage: -0.1 is out of range; a number with at most three decimals from 0.003 to 0.66 is expected",
                "plaza.yaml:1:43: privacy.epsilon.alert: '.inf' is not a number; a number with at most three decimals from 0.001 to 0.66 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {passage: little, alert: [0.1]}}",
            &[
                "plaza.yaml:1:30: privacy.epsilon.passage: 'little' is not a number; a number with at most three decimals from 0.003 to 0.66 is expected",
                "plaza.yaml:1:45: privacy.epsilon.alert: a list was found; a number with at most three decimals from 0.001 to 0.66 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {passages_per_day: 4}}",
            &[
                "plaza.yaml:1:39: privacy.epsilon.passages_per_day: 4 passages of 0.66 would cost 2.64 a day; at most 1.98 a day is allowed, which is 3 of them",
            ],
        ),
        (
            "privacy: {epsilon: {passages_per_day: 101, passage: 0.01}}",
            &[
                "plaza.yaml:1:39: privacy.epsilon.passages_per_day: 101 is out of range; a whole number of passages a day from 1 to 100 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {passages_per_day: 0}}",
            &[
                "plaza.yaml:1:39: privacy.epsilon.passages_per_day: 0 is out of range; a whole number of passages a day from 1 to 100 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {passage: 0.2, passages_per_day: 10}}",
            &[
                "plaza.yaml:1:53: privacy.epsilon.passages_per_day: 10 passages of 0.2 would cost 2 a day; at most 1.98 a day is allowed, which is 9 of them",
            ],
        ),
        (
            "privacy: {epsilon: {split: {count: 0.45}}}",
            &[
                "plaza.yaml:1:28: privacy.epsilon.split: the parts are 0.45 for counts, 0.11 for occupancy and 0.11 for speeds, together 0.67; together at most 0.66 is allowed, the budget of a passage",
            ],
        ),
        (
            "privacy: {epsilon: {passage: 0.3, split: {count: 0.2, occupancy: 0.1, speed: 0.001}}}",
            &[
                "plaza.yaml:1:42: privacy.epsilon.split: the parts are 0.2 for counts, 0.1 for occupancy and 0.001 for speeds, together 0.301; together at most 0.3 is allowed, the budget of a passage",
            ],
        ),
        (
            "privacy: {epsilon: {split: {count: 0, occupancy: 0.67, speed: 0.0001}}}",
            &[
                "plaza.yaml:1:36: privacy.epsilon.split.count: 0 is out of range; a number with at most three decimals from 0.001 to 0.66 is expected",
                "plaza.yaml:1:50: privacy.epsilon.split.occupancy: 0.67 is out of range; a number with at most three decimals from 0.001 to 0.66 is expected",
                "plaza.yaml:1:63: privacy.epsilon.split.speed: 0.0001 is out of range; a number with at most three decimals from 0.001 to 0.66 is expected",
            ],
        ),
        (
            "privacy: {epsilon: {split: {counts: 0.1}}}",
            &[
                "plaza.yaml:1:29: privacy.epsilon.split.counts: unknown key; did you mean 'count'? allowed are count, occupancy, speed",
            ],
        ),
        (
            "privacy: {epsilon: {split: 0.2}}",
            &["plaza.yaml:1:28: privacy.epsilon.split: a single value was found; a map of keys is expected"],
        ),
    ]);
}

#[test]
fn pc_5_rows_of_single_objects_and_free_text_are_refused() {
    refused(&[
        (
            "privacy: {release: individual}",
            &[
                "plaza.yaml:1:20: privacy.release: rows of single objects never leave the node, with or without 'dpia_ref'; only aggregated is allowed, which is also what holds without the key",
            ],
        ),
        (
            "privacy: {release: individual, dpia_ref: DPIA-2026-7}",
            &[
                "plaza.yaml:1:20: privacy.release: rows of single objects never leave the node, with or without 'dpia_ref'; only aggregated is allowed, which is also what holds without the key",
            ],
        ),
        (
            "privacy: {release: all}",
            &["plaza.yaml:1:20: privacy.release: 'all' is unknown; only aggregated is allowed"],
        ),
        (
            "privacy: {dpia_ref: DPIA-2026-7}",
            &[
                "plaza.yaml:1:11: privacy.dpia_ref: no assessment makes rows of single objects leave the node, so there is nothing to refer to; leave the key out",
            ],
        ),
        (
            "privacy: {label: North of the town hall, labels: [a]}",
            &[
                "plaza.yaml:1:11: privacy.label: no free text can leave the node: its tables know names alone; leave the key out: a comment, after '#', is the place for words of your own",
                "plaza.yaml:1:42: privacy.labels: no free text can leave the node: its tables know names alone; leave the key out: a comment, after '#', is the place for words of your own",
            ],
        ),
        (
            "label: North of the town hall",
            &[
                "plaza.yaml:1:1: label: no free text can leave the node: its tables know names alone; leave the key out: a comment, after '#', is the place for words of your own",
            ],
        ),
        (
            "geometry:\n  lines: {crossing: {from: [0.1, 0.6], to: [0.9, 0.5], label: Main Street}}\n  zones: {square: {polygon: [[0, 0], [1, 0], [1, 1]], labels: [x]}}",
            &[
                "plaza.yaml:2:56: geometry.lines.crossing.label: no free text can leave the node: its tables know names alone; leave the key out: a comment, after '#', is the place for words of your own",
                "plaza.yaml:3:55: geometry.zones.square.labels: no free text can leave the node: its tables know names alone; leave the key out: a comment, after '#', is the place for words of your own",
            ],
        ),
    ]);
}

#[test]
fn pc_5_operators_that_recognise_somebody_are_refused_by_design() {
    refused(&[
        (
            "operators: {detect_faces: [{}]}",
            &[
                "plaza.yaml:1:13: operators.detect_faces: Kerbside has no operator that recognises faces, by design; allowed are count_line, measure_occupancy",
            ],
        ),
        (
            "operators: {read_plates: [], re-identify: [], re_id: [], estimate_pose: []}",
            &[
                "plaza.yaml:1:13: operators.read_plates: Kerbside has no operator that recognises number plates, by design; allowed are count_line, measure_occupancy",
                "plaza.yaml:1:30: operators.re-identify: Kerbside has no operator that recognises somebody who was seen before, by design; allowed are count_line, measure_occupancy",
                "plaza.yaml:1:47: operators.re_id: Kerbside has no operator that recognises somebody who was seen before, by design; allowed are count_line, measure_occupancy",
                "plaza.yaml:1:58: operators.estimate_pose: Kerbside has no operator that recognises poses, by design; allowed are count_line, measure_occupancy",
            ],
        ),
        (
            "operators: {detect_audio: [], classify_gait: [], measure_emotion: []}",
            &[
                "plaza.yaml:1:13: operators.detect_audio: Kerbside has no operator that recognises sounds, by design; allowed are count_line, measure_occupancy",
                "plaza.yaml:1:31: operators.classify_gait: Kerbside has no operator that recognises gaits, by design; allowed are count_line, measure_occupancy",
                "plaza.yaml:1:50: operators.measure_emotion: Kerbside has no operator that recognises emotions, by design; allowed are count_line, measure_occupancy",
            ],
        ),
        (
            "operators: {count_age: [], count_gender: [], list_attributes: []}",
            &[
                "plaza.yaml:1:13: operators.count_age: Kerbside has no operator that recognises ages, by design; allowed are count_line, measure_occupancy",
                "plaza.yaml:1:28: operators.count_gender: Kerbside has no operator that recognises genders, by design; allowed are count_line, measure_occupancy",
                "plaza.yaml:1:46: operators.list_attributes: Kerbside has no operator that recognises attributes of people, by design; allowed are count_line, measure_occupancy",
            ],
        ),
    ]);
}

#[test]
fn pc_17_a_debug_view_is_off_and_short() {
    refused(&[
        (
            "privacy: {debug_view: {enabled: true}}",
            &[
                "plaza.yaml:1:33: privacy.debug_view.enabled: this version has no debug view: pictures are not shown to anyone; only false is allowed",
            ],
        ),
        (
            "privacy: {debug_view: {enabled: yes, max: 61m}}",
            &[
                "plaza.yaml:1:33: privacy.debug_view.enabled: 'yes' is not a truth value; true or false is expected",
                "plaza.yaml:1:43: privacy.debug_view.max: 61m is out of range; a time with its unit (ms, s, m, h, d) from 1s to 1h is expected, such as 500ms or 15m",
            ],
        ),
        (
            "privacy: {debug_view: {max: 0s}}",
            &[
                "plaza.yaml:1:29: privacy.debug_view.max: 0s is out of range; a time with its unit (ms, s, m, h, d) from 1s to 1h is expected, such as 500ms or 15m",
            ],
        ),
    ]);
}

#[test]
fn pc_18_incidents_are_bounded_by_day() {
    refused(&[
        (
            "privacy: {incidents: {max_per_day: 601}}",
            &[
                "plaza.yaml:1:36: privacy.incidents.max_per_day: 601 is out of range; a whole number of rows a day from 1 to 600 is expected",
            ],
        ),
        (
            "privacy: {incidents: {max_per_day: 0}}",
            &[
                "plaza.yaml:1:36: privacy.incidents.max_per_day: 0 is out of range; a whole number of rows a day from 1 to 600 is expected",
            ],
        ),
    ]);
}

#[test]
fn pc_6_bins_follow_the_profile_and_the_class() {
    let cases = [
        ("profile: standard", [15, 15, 1]),
        ("profile: standard, bins: {vehicle: 5m, person: 1h}", [60, 15, 5]),
        ("bins: {person: 24h, bicycle: 1d, vehicle: 20m}", [1440, 1440, 20]),
        ("profile: strict-worstcase, bins: {person: 2h}", [120, 60, 60]),
    ];
    for (text, minutes) in cases {
        let bins = privacy(text).bins;
        let found = [Class::Person, Class::Bicycle, Class::Other].map(|class| bins.of(Some(class)));
        assert_eq!(found, minutes.map(|minutes| minutes * MINUTE), "{text}");
    }
}

#[test]
fn each_profile_brings_the_values_of_the_contract() {
    for profile in Profile::ALL {
        let written = privacy(&format!("profile: {}", profile.name()));
        assert_eq!(written, Privacy::of(profile));
    }
    let contract = "profile: standard, bins: {person: 15m, bicycle: 15m, vehicle: 1m}, \
                    epsilon: {passage: 0.66, passages_per_day: 3, \
                    split: {count: 0.44, occupancy: 0.11, speed: 0.11}, alert: 0.66}, \
                    bounds: {cells_per_track: 2, presence_max: 60s, track_max: 300s}, display_k: 10, \
                    incidents: {max_per_day: 600, person_time_quantum: 10s, vehicle_time_quantum: 1s}, \
                    debug_view: {enabled: false, max: 60m}, release: aggregated";
    assert_eq!(privacy(contract), Privacy::of(Profile::Standard));
}

#[test]
fn every_key_can_be_stricter() {
    let text = "profile: standard, bins: {person: 1h, bicycle: 30m, vehicle: 5m}, \
                epsilon: {passage: 0.1, passages_per_day: 19, split: {count: 0.05, occupancy: 0.001, speed: 0.049}, \
                alert: 0.001}, bounds: {cells_per_track: 1, presence_max: 1s, track_max: 10s}, display_k: 0, \
                incidents: {max_per_day: 1, person_time_quantum: 1h, vehicle_time_quantum: 1m}, \
                debug_view: {max: 1s}";
    let expected = Privacy {
        profile: Profile::Standard,
        bins: Bins { person: 60 * MINUTE, bicycle: 30 * MINUTE, vehicle: 5 * MINUTE },
        epsilon: Epsilon { passage: 100, passages_per_day: 19, count: 50, occupancy: 1, speed: 49, alert: 1 },
        bounds: Bounds { cells_per_track: 1, presence_max: SECOND, track_max: 10 * SECOND },
        display_k: 0,
        incidents: IncidentLimits { max_per_day: 1, person_quantum: 60 * MINUTE, vehicle_quantum: MINUTE },
    };
    assert_eq!(privacy(text), expected);
}

#[test]
fn pc_9_a_smaller_passage_scales_what_is_not_written() {
    let cases = [
        ("passage: 0.33", [330, 220, 55, 55]),
        ("passage: 0.1", [100, 66, 16, 16]),
        ("passage: 0.003", [3, 1, 1, 1]),
        ("passage: 0.33, split: {speed: 0.01}", [330, 220, 55, 10]),
        ("split: {count: 0.2, occupancy: 0.4, speed: 0.06}", [660, 200, 400, 60]),
        ("split: {count: 0.001}", [660, 1, 110, 110]),
    ];
    for (text, expected) in cases {
        let Epsilon { passage, count, occupancy, speed, .. } = privacy(&format!("epsilon: {{{text}}}")).epsilon;
        assert_eq!([passage, count, occupancy, speed], expected, "{text}");
    }
    assert_eq!(privacy("epsilon: {passage: 0.198, passages_per_day: 10}").epsilon.day(), 1980);
    assert_eq!(privacy("epsilon: {passage: 0.019, passages_per_day: 100}").epsilon.passages_per_day, 100);
}
