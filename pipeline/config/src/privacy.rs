//! The `privacy` block. A profile's values are also the loosest that are allowed: a file makes them stricter.

use std::ops::RangeInclusive;
use std::time::Duration;

use kerbside_core::privacy::{Bounds, IncidentLimits, Privacy, Profile};
use kerbside_core::tree::{Field, Kind, Reader, show_duration};

use crate::epsilon;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A shorter life of a track would hardly reach the other side of a crossing.
const LEAST_TRACK: Duration = Duration::from_secs(10);
/// Beyond it nothing would ever be shown.
const MOST_DISPLAY_K: u64 = 1000;
/// How long a debug view may stay open (rule PC-17 of the privacy contract).
const MOST_DEBUG_VIEW: Duration = HOUR;

/// What holds where nothing is written.
pub(crate) const DEFAULT: Privacy = Privacy::of(Profile::Strict);

/// Reads the block. What it does not say comes from `base`, with one exception: who names a profile gets all of that
/// profile's values, since what was chosen under another profile may not suit it.
pub(crate) fn read(field: &Field<'_>, base: Privacy) -> Privacy {
    let Some(reader) = field.map() else { return base };
    let mut privacy = base;
    let profiles = Profile::ALL.map(|profile| (profile.name(), profile));
    if let Some(profile) = reader.optional("profile").and_then(|field| field.one_of(&profiles)) {
        privacy = Privacy::of(profile);
    }
    let loosest = Privacy::of(privacy.profile);
    if let Some(bins) = reader.optional("bins").as_ref().and_then(Field::map) {
        bin(&bins, "person", loosest.bins.person, &mut privacy.bins.person);
        bin(&bins, "bicycle", loosest.bins.bicycle, &mut privacy.bins.bicycle);
        bin(&bins, "vehicle", loosest.bins.vehicle, &mut privacy.bins.vehicle);
        bins.finish();
    }
    if let Some(epsilon) = reader.optional("epsilon").as_ref().and_then(Field::map) {
        privacy.epsilon = epsilon::read(&epsilon, privacy.epsilon, loosest);
    }
    if let Some(bounds) = reader.optional("bounds").as_ref().and_then(Field::map) {
        read_bounds(&bounds, &mut privacy.bounds, loosest);
    }
    integer(&reader, "display_k", 0..=MOST_DISPLAY_K, "objects", &mut privacy.display_k);
    if let Some(incidents) = reader.optional("incidents").as_ref().and_then(Field::map) {
        read_incidents(&incidents, &mut privacy.incidents, loosest.incidents);
    }
    if let Some(view) = reader.optional("debug_view").as_ref().and_then(Field::map) {
        check_debug_view(&view);
    }
    refuse_rows_of_objects(&reader);
    refuse_labels(&reader);
    reader.finish();
    privacy
}

/// Refuses text that somebody would like to see in the tables. For every map whose name, or whose file's, is there
/// already.
pub(crate) fn refuse_labels(reader: &Reader<'_>) {
    for key in ["label", "labels"] {
        reader.refuse(
            key,
            "no free text can leave the node: its tables know names alone",
            "leave the key out: a comment, after '#', is the place for words of your own",
        );
    }
}

/// Rule PC-6: no bin is shorter than the profile's.
fn bin(bins: &Reader<'_>, key: &'static str, floor: Duration, target: &mut Duration) {
    let Some(field) = bins.optional(key) else { return };
    let Some(span) = field.duration(floor..=DAY) else { return };
    if DAY.as_nanos().is_multiple_of(span.as_nanos()) {
        *target = span;
    } else {
        field.problem(
            format!("bins of {} do not divide a day evenly", show_duration(span)),
            "a bin that fits into 24h without a rest is expected, such as 15m, 20m, 30m or 1h",
        );
    }
}

fn read_bounds(reader: &Reader<'_>, bounds: &mut Bounds, loosest: Privacy) {
    let Bounds { cells_per_track, presence_max, track_max } = loosest.bounds;
    integer(reader, "cells_per_track", 1..=u64::from(cells_per_track), "counts", &mut bounds.cells_per_track);
    if loosest.profile == Profile::StrictWorstcase
        && let Some(field) = reader.optional("cells_per_track")
    {
        field.note(
            "'strict-worstcase' bounds the counts of a minute, whoever they are of, so this changes nothing",
        );
    }
    whole_seconds(reader, "presence_max", SECOND..=presence_max, &mut bounds.presence_max);
    whole_seconds(reader, "track_max", LEAST_TRACK..=track_max, &mut bounds.track_max);
    reader.finish();
}

fn read_incidents(reader: &Reader<'_>, limits: &mut IncidentLimits, loosest: IncidentLimits) {
    integer(reader, "max_per_day", 1..=u64::from(loosest.max_per_day), "rows a day", &mut limits.max_per_day);
    whole_seconds(reader, "person_time_quantum", loosest.person_quantum..=HOUR, &mut limits.person_quantum);
    whole_seconds(reader, "vehicle_time_quantum", loosest.vehicle_quantum..=HOUR, &mut limits.vehicle_quantum);
    reader.finish();
}

/// Rule PC-17. The block is read so that a file for a version with such a view says the same to this one.
fn check_debug_view(reader: &Reader<'_>) {
    if let Some(field) = reader.optional("enabled")
        && field.boolean() == Some(true)
    {
        field.problem("this version has no debug view: pictures are not shown to anyone", "only false is allowed");
    }
    whole_seconds(reader, "max", SECOND..=MOST_DEBUG_VIEW, &mut MOST_DEBUG_VIEW.clone());
    reader.finish();
}

fn refuse_rows_of_objects(reader: &Reader<'_>) {
    const ALLOWED: &str = "only aggregated is allowed, which is also what holds without the key";
    let mut individual = false;
    if let Some(field) = reader.optional("release") {
        match field.kind() {
            Kind::Scalar { text, .. } if text == "aggregated" => {}
            Kind::Scalar { text, .. } if text == "individual" => {
                individual = true;
                field.problem("rows of single objects never leave the node, with or without 'dpia_ref'", ALLOWED);
            }
            _ => {
                field.one_of(&[("aggregated", ())]);
            }
        }
    }
    if individual {
        // What was said of the one key holds for the other.
        reader.declare(["dpia_ref"]);
    } else {
        let what = "no assessment makes rows of single objects leave the node, so there is nothing to refer to";
        reader.refuse("dpia_ref", what, "leave the key out");
    }
}

fn integer(reader: &Reader<'_>, key: &'static str, range: RangeInclusive<u64>, unit: &str, target: &mut u32) {
    let number = reader.optional(key).and_then(|field| field.integer(range, unit));
    if let Some(number) = number.and_then(|number| u32::try_from(number).ok()) {
        *target = number;
    }
}

fn whole_seconds(reader: &Reader<'_>, key: &'static str, range: RangeInclusive<Duration>, target: &mut Duration) {
    let Some(field) = reader.optional(key) else { return };
    let Some(span) = field.duration(range) else { return };
    if span.subsec_nanos() == 0 {
        *target = span;
    } else {
        field.problem(format!("{} is no whole number of seconds", show_duration(span)), "such as 10s is expected");
    }
}
