//! What a camera would release: how much is too much, and what its writer is told of the rest.

use std::path::Path;

use kerbside_config::{BYTES_PER_NUMBER, CameraSettings, Catalogue, ConfigError, parse_camera};

use super::{completed, lines, operators, parse};

const NONE: [&str; 0] = [];

/// A camera whose operators are `measure_freely: [entries]`.
fn measuring(text: &str, entries: &str) -> Result<CameraSettings, ConfigError> {
    let catalogue = Catalogue { operators: &[operators::FREE], models: &["nanodet-g".to_owned()] };
    let text = completed(&format!("operators: {{measure_freely: [{entries}]}}\n{text}"));
    parse_camera("plaza", Path::new("plaza.yaml"), &text, &catalogue)
}

fn notes(text: &str, entries: &str) -> Vec<String> {
    let camera = measuring(text, entries).unwrap_or_else(|error| panic!("{entries}: {error}"));
    camera.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn pc_18_a_camera_with_more_numbers_a_day_than_the_cap_is_refused() {
    // 13 buckets by the minute, of five classes: 65 counters. Two more reach the cap, three pass it.
    let classes = "classes: [motorcycle, car, bus, truck, other]";
    let full =
        format!("{{feeds: [speed_hist], {classes}}}, {{feeds: [crossing_count, turn_count], classes: [car]}}");
    let camera = measuring("privacy: {profile: standard}", &full).unwrap();
    assert_eq!(camera.released_cells().count(), 67);
    assert_eq!(BYTES_PER_NUMBER * camera.numbers_per_day(), 385_920);

    let kept_back = format!("{full}, {{feeds: [queue_len], classes: [person]}}");
    let camera = measuring("privacy: {profile: standard}", &kept_back).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(camera.released_cells().count(), 67, "what does not leave needs no room");

    let over = format!("{full}, {{feeds: [stopped_count], classes: [bus]}}");
    let error = measuring("privacy: {profile: standard}", &over).unwrap_err();
    assert_eq!(
        lines(&error),
        [
            "plaza.yaml:1:1: operators: the camera would release 97920 numbers of 4 bytes a day, 391680 bytes; at most 96480 numbers, 385920 bytes, are allowed: longer privacy.bins, fewer classes, or fewer lines and zones"
        ]
    );
    for bins in ["profile: strict", "profile: standard, bins: {vehicle: 2m}"] {
        let camera = measuring(&format!("privacy: {{{bins}}}"), &over).unwrap();
        assert_eq!(camera.released_cells().count(), 68, "{bins}");
    }
}

#[test]
fn pc_18_what_a_profile_keeps_back_does_not_count() {
    let entries = "{feeds: [speed_hist, queue_len, crossing_count], classes: [car]}";
    let count = |profile: &str| {
        let camera = measuring(&format!("privacy: {{profile: {profile}}}"), entries).unwrap();
        (camera.released_cells().count(), camera.numbers_per_day())
    };
    assert_eq!(count("standard"), (15, 15 * 1440));
    assert_eq!(count("strict"), (14, 14 * 96));
    assert_eq!(count("strict-worstcase"), (1, 24));
}

#[test]
fn pc_8_a_measure_that_a_profile_keeps_back_is_noted_at_its_place() {
    let queue = "{feeds: [queue_len, queue_reach]}";
    assert_eq!(
        notes("", queue),
        [
            "plaza.yaml:1:30: operators.measure_freely[0]: note: the profile 'strict' does not release queue_len and queue_reach, because one vehicle can change them without bound; 'standard' does"
        ]
    );
    assert_eq!(notes("privacy: {profile: standard}", queue), NONE);
    assert_eq!(
        notes("privacy: {profile: strict-worstcase}", queue),
        [
            "plaza.yaml:1:30: operators.measure_freely[0]: note: the profile 'strict-worstcase' does not release queue_len and queue_reach, because it releases plain counts alone; 'standard' does"
        ]
    );
    let all = "{feeds: [crossing_count, dwell_hist, presence_mean], classes: [person]}";
    assert_eq!(
        notes("privacy: {profile: strict-worstcase}", all),
        [
            "plaza.yaml:1:30: operators.measure_freely[0]: note: the profile 'strict-worstcase' does not release presence_mean and dwell_hist, because it releases plain counts alone; 'strict' does"
        ]
    );
    let watch = "{feeds: [speed_hist]}, {watches: [speed_hist]}";
    assert_eq!(
        notes("privacy: {profile: strict-worstcase}", watch),
        [
            "plaza.yaml:1:30: operators.measure_freely[0]: note: the profile 'strict-worstcase' does not release speed_hist, because it releases plain counts alone; 'strict' does",
            "plaza.yaml:1:53: operators.measure_freely[1]: note: it looks at speed_hist, which the profile 'strict-worstcase' does not release"
        ]
    );
    assert_eq!(notes("", watch), NONE);
}

#[test]
fn a_note_does_not_hide_among_problems() {
    let error = measuring("colour: red", "{feeds: [queue_len]}").unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
}

#[test]
fn noise_that_drowns_a_mean_number_of_people_is_noted() {
    let presence = "{feeds: [presence_mean, occupancy_time], classes: [person, car]}";
    assert_eq!(
        notes("", presence),
        [
            "plaza.yaml:1:30: operators.measure_freely[0]: note: in a bin of 15m the noise of presence_mean has a standard deviation of 1.7 objects; longer bins make it smaller, such as 0.4 at 1h"
        ]
    );
    assert_eq!(notes("privacy: {bins: {person: 30m, vehicle: 1h}}", presence), NONE);
    let alone = "{feeds: [presence_mean], classes: [person]}";
    assert_eq!(notes("", alone), NONE);
    assert_eq!(
        notes("privacy: {epsilon: {split: {occupancy: 0.01}}, bins: {person: 2h}}", alone),
        [
            "plaza.yaml:1:30: operators.measure_freely[0]: note: in a bin of 2h the noise of presence_mean has a standard deviation of 1.2 objects; longer bins make it smaller, such as 0.6 at 4h"
        ]
    );
    let cars = "{feeds: [presence_mean, occupancy_time], classes: [car]}";
    assert_eq!(notes("privacy: {profile: standard}", cars), NONE);
}

#[test]
fn pc_14_an_alert_that_noise_can_set_off_is_noted() {
    assert_eq!(
        notes("", "{crowd: 12}"),
        [
            "plaza.yaml:1:30: operators.measure_freely[0]: note: crowd_density begins at 12 people, and a number decides on it whose noise has a standard deviation of 9.6: below 40 people an empty zone looks like a crowd once a day or more"
        ]
    );
    assert_eq!(notes("", "{crowd: 40}"), NONE);
    assert_eq!(
        notes("", "{crowd: 60}, {crowd: 80}"),
        [
            "plaza.yaml:1:30: operators.measure_freely[0]: note: crowd_density begins at 60 people, and a number decides on it whose noise has a standard deviation of 19.2: below 80 people an empty zone looks like a crowd once a day or more"
        ],
        "two share one budget"
    );
    assert_eq!(
        notes("privacy: {profile: strict-worstcase}", "{crowd: 500}"),
        [
            "plaza.yaml:1:30: operators.measure_freely[0]: note: the profile 'strict-worstcase' does not tell crowd_density, because it releases plain counts alone; 'strict' does"
        ]
    );
}

#[test]
fn keys_that_change_nothing_in_a_profile_are_noted() {
    let text =
        "privacy: {profile: strict-worstcase, epsilon: {split: {count: 0.1}}, bounds: {cells_per_track: 1}}";
    let notes: Vec<String> = parse(text).unwrap().notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "plaza.yaml:1:55: privacy.epsilon.split: note: 'strict-worstcase' releases counts alone and spends the whole budget on them, so this changes nothing",
            "plaza.yaml:1:96: privacy.bounds.cells_per_track: note: 'strict-worstcase' bounds the counts of a minute, whoever they are of, so this changes nothing"
        ]
    );
    assert_eq!(parse(&text.replace("strict-worstcase", "strict")).unwrap().notes, []);
}
