//! The generated tables of PRIVACY.md are those of the code.
//!
//! `KERBSIDE_WRITE_DOCUMENT=1 cargo test -p kerbside-release --test document` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type};
use arrow_schema::DataType;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::privacy::{Privacy, Profile, worstcase};
use kerbside_core::time::WallTime;
use kerbside_release::{
    CameraPlan, CameraUid, Guarantee, IncidentSeed, MemoryLedger, NodeIdentity, Noise, Positions, Release,
    StreamPosition, Table,
};

/// Columns that all tables begin with.
const COMMON: usize = 10;

#[test]
fn the_tables_in_the_document_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PRIVACY.md");
    let written = fs::read_to_string(&path).unwrap();
    let mut fresh = written.clone();
    for (name, table) in
        [("tables", tables()), ("profiles", profiles()), ("scales", scales()), ("capacity", capacity())]
    {
        fresh = filled(&fresh, name, &table);
    }
    if std::env::var_os("KERBSIDE_WRITE_DOCUMENT").is_some() {
        fs::write(&path, fresh).unwrap();
        return;
    }
    let differs = written.lines().zip(fresh.lines()).find(|(written, fresh)| written != fresh);
    assert_eq!(differs, None, "PRIVACY.md is not what the code says; this file's head says how to write it anew");
    assert_eq!(written.len(), fresh.len());
}

fn filled(document: &str, name: &str, table: &str) -> String {
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no mark for {name}"));
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{begin}\n{table}\n<!-- end -->{after}")
}

fn tables() -> String {
    let mut text = String::new();
    let mut section = |title: &str, columns: &[kerbside_release::Column]| {
        let _ = writeln!(text, "{title}\n\n| column | type | what it says |\n| --- | --- | --- |");
        for column in columns {
            let optional = if column.field.is_nullable() { ", or nothing" } else { "" };
            let _ = writeln!(
                text,
                "| `{}` | {}{optional} | {} |",
                column.field.name(),
                type_name(column.field.data_type()),
                column.meaning
            );
        }
        text.push('\n');
    };
    section("Every row of each table begins with:", &Table::Agg.described()[..COMMON]);
    for (table, what) in [
        (Table::Agg, "one row a counter and bin"),
        (Table::Incident, "one row a word about a situation"),
        (Table::Health, "one row a camera and minute, nothing about what is seen"),
    ] {
        section(
            &format!("**`{table}`**, {what} (schema {}…):", &table.published_hash()[..12]),
            &table.described()[COMMON..],
        );
    }
    let measures: Vec<String> = Measure::ALL.iter().map(|measure| format!("`{}`", measure.name())).collect();
    let _ = writeln!(text, "Measures: {}.", measures.join(", "));
    text
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Dictionary(_, _) => "word of a closed list".to_owned(),
        DataType::Timestamp(_, _) => "time, ms".to_owned(),
        other => other.to_string(),
    }
}

fn minutes(span: Duration) -> String {
    format!("{} min", span.as_secs() / 60)
}

fn profiles() -> String {
    let mut text =
        String::from("| | strict (default) | standard | strict-worstcase |\n| --- | --- | --- | --- |\n");
    let mut row = |name: &str, of: &dyn Fn(&Privacy) -> String| {
        let values: Vec<String> = [Profile::Strict, Profile::Standard, Profile::StrictWorstcase]
            .map(|profile| of(&Privacy::of(profile)))
            .to_vec();
        let _ = writeln!(text, "| {name} | {} |", values.join(" | "));
    };
    let noise = |privacy: &Privacy, class| {
        if privacy.profile.has_noise(Some(class)) { "noise".to_owned() } else { "exact".to_owned() }
    };
    row("people and bicycles", &|privacy| noise(privacy, Class::Person));
    row("vehicles", &|privacy| noise(privacy, Class::Car));
    row("shortest bin, people and bicycles", &|privacy| minutes(privacy.bins.person));
    row("shortest bin, vehicles", &|privacy| minutes(privacy.bins.vehicle));
    row("ε of a passage", &|privacy| format!("{:.2}", f64::from(privacy.epsilon.passage) / 1000.0));
    row("ε of a day of three passages", &|privacy| format!("{:.2}", f64::from(privacy.epsilon.day()) / 1000.0));
    row("what bounds a passage", &|privacy| match privacy.profile {
        Profile::StrictWorstcase => format!(
            "{} counts in {} s, whoever they are of",
            worstcase::ROWS_PER_CHUNK,
            worstcase::CHUNK.as_secs()
        ),
        Profile::Strict | Profile::Standard => format!(
            "{} counts and {} s of presence a track, nothing after {} s",
            privacy.bounds.cells_per_track,
            privacy.bounds.presence_max.as_secs(),
            privacy.bounds.track_max.as_secs()
        ),
    });
    row("measures", &|privacy| {
        let released =
            |measure: &&Measure| privacy.profile.releases(&Cell::new(SiteId(0), **measure, Some(Class::Person)));
        let number = Measure::ALL.iter().filter(released).count();
        match privacy.profile {
            Profile::StrictWorstcase => "counts alone".to_owned(),
            Profile::Strict => format!("{number} of {}: no queues, no headways", Measure::ALL.len()),
            Profile::Standard => "all".to_owned(),
        }
    });
    row("incident rows a day", &|privacy| privacy.incidents.max_per_day.to_string());
    text
}

/// What a stage writes into `noise_b`.
fn scales() -> String {
    let person = |measure| Cell::new(SiteId(0), measure, Some(Class::Person));
    let mut cells =
        vec![person(Measure::CrossingCount).directed(Direction::Forward), person(Measure::PresenceMean)];
    cells.extend([person(Measure::OccupancyTime), person(Measure::SpeedHist)]);
    let mut text = String::from("| measure | unit | scale b | standard deviation |\n| --- | --- | --- | --- |\n");
    let plan = CameraPlan {
        camera: "camera".to_owned(),
        model: "model".to_owned(),
        sites: vec!["site".to_owned()],
        cells,
        incidents: Vec::new(),
        watched: Vec::new(),
        alerts: Vec::new(),
        uid: CameraUid([0; 16]),
        privacy: Privacy::of(Profile::Strict),
    };
    let identity = NodeIdentity {
        node: "node".to_owned(),
        software: "1".to_owned(),
        config_revision: 0,
        incident_seed: IncidentSeed([0; 16]),
    };
    let at = StreamPosition { epoch: 1, next_seq: 0 };
    let guarantee = Guarantee::Private { noise: Noise::from_key([0; 32]), ledger: Box::new(MemoryLedger::new()) };
    let positions = Positions { agg: at, health: at, incident: at };
    let mut release = Release::new(identity, vec![plan], positions, WallTime::UNIX_EPOCH, guarantee).unwrap();
    let mut out = Vec::new();
    release.advance(WallTime::from_unix_millis(900_000), &mut out).unwrap();
    let batch = out[0].get();
    let word = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap().as_dictionary::<UInt8Type>();
        column.values().as_string::<i32>().value(usize::from(column.keys().value(row))).to_owned()
    };
    let noise = batch.column_by_name("noise_b").unwrap().as_primitive::<Float32Type>();
    for row in 0..batch.num_rows() {
        let b = f64::from(noise.value(row));
        let q = (-1.0 / b).exp();
        // The variance of the discrete Laplace distribution is 2 q / (1 - q)².
        let deviation = (2.0 * q).sqrt() / (1.0 - q);
        let _ = writeln!(text, "| `{}` | {} | {b:.2} | {deviation:.1} |", word("measure", row), word("unit", row));
    }
    text
}

fn capacity() -> String {
    const CELLS: u64 = 67;
    let mut text = String::from("| table | at most, a camera and day |\n| --- | --- |\n");
    let _ = writeln!(
        text,
        "| `agg.v1`, {CELLS} counters in bins of 15 minutes | {} bytes of numbers |",
        CELLS * 96 * 4
    );
    let _ = writeln!(
        text,
        "| `agg.v1`, the most that any configuration may release | {} bytes of numbers |",
        CELLS * 1440 * 4
    );
    let rows = Privacy::of(Profile::Strict).incidents.max_per_day;
    let _ = writeln!(text, "| `incident.v1` | {rows} rows |");
    text
}
