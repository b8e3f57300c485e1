//! Forged rows of the tables about single situations and about the node itself.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt8Type;
use arrow_array::{ArrayRef, DictionaryArray, Float32Array, Int32Array, RecordBatch, UInt8Array, UInt32Array};
use kerbside_release::Table;
use kerbside_uplink::wire::Refusal;

use crate::common::*;
use crate::forgeries::{times, with_column, with_words, words};
use crate::hostile::answer;

type Forge = fn(&RecordBatch) -> RecordBatch;

/// The batch with another word in the first place of a column's list.
fn with_first_word(batch: &RecordBatch, name: &str, word: &str) -> RecordBatch {
    let mut words = words(batch, name);
    word.clone_into(&mut words[0]);
    with_words(batch, name, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The batch with one word of a column's list in all rows.
fn all_of(batch: &RecordBatch, name: &str, word: &str) -> RecordBatch {
    let key = words(batch, name).iter().position(|known| known == word).unwrap() as u8;
    let list = batch.column_by_name(name).unwrap().as_dictionary::<UInt8Type>().values().clone();
    let keys = UInt8Array::from(vec![key; batch.num_rows()]);
    with_column(batch, name, Arc::new(DictionaryArray::<UInt8Type>::new(keys, list)))
}

fn bytes(batch: &RecordBatch, name: &str, value: u8) -> RecordBatch {
    with_column(batch, name, Arc::new(UInt8Array::from(vec![value; batch.num_rows()])))
}

fn floats(batch: &RecordBatch, name: &str, value: f32) -> RecordBatch {
    with_column(batch, name, Arc::new(Float32Array::from(vec![value; batch.num_rows()])))
}

fn spanning(batch: &RecordBatch, from: i64, to: i64) -> RecordBatch {
    with_column(&with_column(batch, "t0", times(batch, from)), "t1", times(batch, to))
}

fn of_incidents() -> Vec<(&'static str, Forge, Refusal)> {
    vec![
        ("a severity between the steps", |batch| bytes(batch, "severity", 41), Refusal::Value),
        ("a severity that is no share", |batch| bytes(batch, "severity", 110), Refusal::Value),
        ("a confidence between the steps", |batch| bytes(batch, "confidence", 91), Refusal::Value),
        (
            "a number between the steps",
            |batch| with_column(batch, "value", Arc::new(Int32Array::from(vec![21; batch.num_rows()]))),
            Refusal::Value,
        ),
        (
            "a duration before the end",
            |batch| with_column(batch, "duration_s", Arc::new(UInt32Array::from(vec![5; batch.num_rows()]))),
            Refusal::Value,
        ),
        (
            "no duration at the end",
            |batch| {
                let none: ArrayRef = Arc::new(UInt32Array::from(vec![None; batch.num_rows()]));
                with_column(batch, "duration_s", none)
            },
            Refusal::Value,
        ),
        (
            "a time between the seconds",
            |batch| spanning(batch, START.as_unix_millis() + 500, START.as_unix_millis() + 1500),
            Refusal::Value,
        ),
        (
            "half a second",
            |batch| spanning(batch, START.as_unix_millis(), START.as_unix_millis() + 500),
            Refusal::Value,
        ),
        ("a person by the second", |batch| all_of(batch, "class", "person"), Refusal::Value),
        ("rows under the rule of counts", |batch| all_of(batch, "release", "agg_exact"), Refusal::Value),
        ("a situation that is unknown", |batch| with_first_word(batch, "kind", "face_seen"), Refusal::Vocabulary),
        ("a phase that is unknown", |batch| with_first_word(batch, "phase", "remembered"), Refusal::Vocabulary),
        ("a name of somebody", |batch| with_first_word(batch, "site", "Jane Doe"), Refusal::Vocabulary),
    ]
}

fn of_health() -> Vec<(&'static str, Forge, Refusal)> {
    vec![
        ("fewer frames than none", |batch| floats(batch, "fps_in", -1.0), Refusal::Value),
        ("frames without end", |batch| floats(batch, "fps_proc", f32::INFINITY), Refusal::Value),
        ("not a number", |batch| floats(batch, "fps_in", f32::NAN), Refusal::Value),
        ("more dropped than came", |batch| floats(batch, "drop_ratio", 1.5), Refusal::Value),
        ("a node that melts", |batch| floats(batch, "temp_c", 400.0), Refusal::Value),
        (
            "an end before the beginning",
            |batch| spanning(batch, START.as_unix_millis(), START.as_unix_millis() - 1000),
            Refusal::Value,
        ),
        ("rows of a demonstration", |batch| all_of(batch, "release", "demo"), Refusal::Value),
        ("a state that is unknown", |batch| with_first_word(batch, "state", "watched"), Refusal::Vocabulary),
        ("a letter as a version", |batch| with_first_word(batch, "sw", "dear reader,"), Refusal::Vocabulary),
        ("a name of somebody", |batch| with_first_word(batch, "camera", "Jane Doe"), Refusal::Vocabulary),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn pc_3_to_pc_6_forged_rows_of_the_other_tables_are_refused_by_name() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "hostile");
    let mut cabinet = Cabinet::new("hostile", 7);
    let health = cabinet.minute().into_iter().find(|batch| batch.table() == Table::Health).unwrap();
    let incident = cabinet.incident();
    let mut token = 0;
    for (honest, forgeries) in [(&incident, of_incidents()), (&health, of_health())] {
        let table = honest.table();
        for (what, forge, expected) in forgeries {
            let forged = encode(&forge(honest.get()));
            assert_eq!(answer(&gateway, &files, &forged, &mut token).await, expected, "{table}: {what}");
        }
        assert!(landed(&city.landing(), table.name()).is_empty());
        assert_eq!(answer(&gateway, &files, &encode(honest.get()), &mut token).await, Refusal::None, "{table}");
        assert_eq!(landed(&city.landing(), table.name()), expected([honest]));
    }
    assert_eq!(metric(&gateway, "kerbside_gateway_decoder_panics_total"), 0.0);
    gateway.stop().await.unwrap();
}
