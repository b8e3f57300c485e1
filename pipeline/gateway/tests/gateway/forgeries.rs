//! Forged rows are refused by name, and nobody else notices.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{UInt8Type, UInt16Type};
use arrow_array::{
    Array as _, ArrayRef, BinaryArray, DictionaryArray, Float32Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt8Array, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema};
use kerbside_release::{Guarantee, StreamPosition};
use kerbside_uplink::wire::Refusal;

use crate::common::*;
use crate::hostile::{Neighbour, answer};

pub(crate) fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let place = batch.schema().index_of(name).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[place] = column;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

pub(crate) fn with_words(batch: &RecordBatch, name: &str, words: &[&str]) -> RecordBatch {
    let words: ArrayRef = Arc::new(StringArray::from_iter_values(words));
    let column = batch.column_by_name(name).unwrap();
    let column: ArrayRef = match column.data_type() {
        DataType::Dictionary(key, _) if key.as_ref() == &DataType::UInt8 => {
            Arc::new(DictionaryArray::<UInt8Type>::new(column.as_dictionary::<UInt8Type>().keys().clone(), words))
        }
        _ => Arc::new(DictionaryArray::<UInt16Type>::new(
            column.as_dictionary::<UInt16Type>().keys().clone(),
            words,
        )),
    };
    with_column(batch, name, column)
}

/// The list of words of a column.
pub(crate) fn words(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name).unwrap();
    let list = match column.as_dictionary_opt::<UInt8Type>() {
        Some(words) => words.values(),
        None => column.as_dictionary::<UInt16Type>().values(),
    };
    list.as_string::<i32>().iter().map(|word| word.unwrap().to_owned()).collect()
}

pub(crate) fn times(batch: &RecordBatch, millis: i64) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(vec![millis; batch.num_rows()]).with_timezone("UTC"))
}
type Forge = fn(&RecordBatch) -> RecordBatch;

/// What a forger does to a batch of `agg.v1`, and why it is refused.
fn forgeries() -> Vec<(&'static str, Forge, Refusal)> {
    fn add_faces(batch: &RecordBatch) -> RecordBatch {
        let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(Field::new("faces", DataType::Binary, true));
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(BinaryArray::from_iter_values(vec![[7_u8; 900]; batch.num_rows()])));
        let schema = Schema::new(fields).with_metadata(batch.schema().metadata().clone());
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }
    fn change_metadata(batch: &RecordBatch, change: fn(&mut HashMap<String, String>)) -> RecordBatch {
        let mut metadata: HashMap<String, String> =
            batch.schema().metadata().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        change(&mut metadata);
        let schema = Schema::new(batch.schema().fields().clone()).with_metadata(metadata);
        RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).unwrap()
    }
    fn rename(batch: &RecordBatch, name: &str, to: &str) -> RecordBatch {
        let fields: Vec<Field> =
            batch
                .schema()
                .fields()
                .iter()
                .map(|field| {
                    if field.name() == name {
                        field.as_ref().clone().with_name(to)
                    } else {
                        field.as_ref().clone()
                    }
                })
                .collect();
        let schema = Schema::new(fields).with_metadata(batch.schema().metadata().clone());
        RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).unwrap()
    }
    fn floats(batch: &RecordBatch, value: f32) -> ArrayRef {
        Arc::new(Float32Array::from(vec![value; batch.num_rows()]))
    }
    vec![
        ("a column of bytes", add_faces, Refusal::Schema),
        ("a column of another name", |batch| rename(batch, "bucket", "age"), Refusal::Schema),
        (
            "a note in the metadata",
            |batch| {
                change_metadata(batch, |metadata| {
                    metadata.insert("note".to_owned(), "hello".to_owned());
                })
            },
            Refusal::Schema,
        ),
        (
            "no vocabulary",
            |batch| {
                change_metadata(batch, |metadata| {
                    metadata.remove("vocabulary");
                })
            },
            Refusal::Schema,
        ),
        (
            "a hash that is none",
            |batch| {
                change_metadata(batch, |metadata| {
                    metadata.insert("vocabulary".to_owned(), "x".repeat(64));
                })
            },
            Refusal::Schema,
        ),
        ("another node's rows", |batch| with_words(batch, "node", &["neighbour"]), Refusal::Identity),
        ("two nodes", |batch| with_words(batch, "node", &["hostile", "neighbour"]), Refusal::Identity),
        ("a name of somebody", |batch| with_words(batch, "camera", &["Jane Doe", "south"]), Refusal::Vocabulary),
        ("the same word twice", |batch| with_words(batch, "camera", &["north", "north"]), Refusal::Vocabulary),
        ("an empty word", |batch| with_words(batch, "camera", &["", "north"]), Refusal::Vocabulary),
        (
            "a long word",
            |batch| with_words(batch, "site", &["*", &"x".repeat(4000), "square"]),
            Refusal::Vocabulary,
        ),
        (
            "an unknown measure",
            |batch| {
                let words: Vec<String> = (0..13).map(|place| format!("faces_{place}")).collect();
                with_words(batch, "measure", &words.iter().map(String::as_str).collect::<Vec<_>>())
            },
            Refusal::Vocabulary,
        ),
        (
            "other numbers",
            |batch| {
                let rows = batch.num_rows() as u64;
                with_column(batch, "seq", Arc::new(UInt64Array::from_iter_values((0..rows).map(|row| row * 2))))
            },
            Refusal::Value,
        ),
        (
            "another epoch in a row",
            |batch| {
                let mut epochs = vec![7; batch.num_rows()];
                *epochs.last_mut().unwrap() = 8;
                with_column(batch, "epoch", Arc::new(UInt32Array::from(epochs)))
            },
            Refusal::Value,
        ),
        ("an end before the beginning", |batch| with_column(batch, "t1", times(batch, 0)), Refusal::Value),
        (
            "no time at all",
            |batch| {
                let start = batch.column_by_name("t0").unwrap().clone();
                with_column(batch, "t1", start)
            },
            Refusal::Value,
        ),
        (
            "the year 1971",
            |batch| {
                with_column(
                    &with_column(batch, "t0", times(batch, 31_536_000_000)),
                    "t1",
                    times(batch, 31_536_060_000),
                )
            },
            Refusal::Value,
        ),
        (
            "half a minute",
            |batch| {
                let start = START.as_unix_millis();
                with_column(&with_column(batch, "t0", times(batch, start)), "t1", times(batch, start + 30_000))
            },
            Refusal::Value,
        ),
        (
            "people by the minute",
            |batch| {
                with_column(batch, "class", {
                    let words =
                        batch.column_by_name("class").unwrap().as_dictionary::<UInt8Type>().values().clone();
                    let keys = UInt8Array::from(vec![0; batch.num_rows()]);
                    Arc::new(DictionaryArray::<UInt8Type>::new(keys, words))
                })
            },
            Refusal::Value,
        ),
        ("a share that is none", |batch| with_column(batch, "coverage", floats(batch, 1.5)), Refusal::Value),
        ("not a number", |batch| with_column(batch, "coverage", floats(batch, f32::NAN)), Refusal::Value),
        ("noise without end", |batch| with_column(batch, "noise_b", floats(batch, f32::INFINITY)), Refusal::Value),
        ("noise that is called none", |batch| with_column(batch, "noise_b", floats(batch, 3.0)), Refusal::Value),
        (
            "a bucket of no histogram",
            |batch| with_column(batch, "bucket", Arc::new(UInt8Array::from(vec![9; batch.num_rows()]))),
            Refusal::Value,
        ),
        (
            "rows of a demonstration",
            |batch| {
                with_column(batch, "release", {
                    let words =
                        batch.column_by_name("release").unwrap().as_dictionary::<UInt8Type>().values().clone();
                    Arc::new(DictionaryArray::<UInt8Type>::new(UInt8Array::from(vec![4; batch.num_rows()]), words))
                })
            },
            Refusal::Value,
        ),
        ("no row", |batch| batch.slice(0, 0), Refusal::Malformed),
        (
            "more rows than a batch has",
            |batch| {
                let mut columns = Vec::new();
                for column in batch.columns() {
                    let indices = UInt32Array::from(vec![0; 70_000]);
                    columns.push(arrow_select::take::take(column, &indices, None).unwrap());
                }
                RecordBatch::try_new(batch.schema(), columns).unwrap()
            },
            Refusal::Size,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn pc_2_to_pc_6_forged_rows_are_refused_by_name_beside_a_neighbour_who_is_not_disturbed() {
    let city = City::new();
    let gateway = city.start().await;
    let neighbour = Neighbour::start(&city, &gateway);
    let files = city.issue(Role::Node, "hostile");
    let honest = Cabinet::new("hostile", 7).agg(1).remove(0);
    let mut token = 0;
    let mut told: HashMap<&str, f64> = HashMap::new();
    for (what, forge, expected) in forgeries() {
        let forged = forge(honest.get());
        let mut encoded = if forged.num_rows() == 0 { encode(honest.get()) } else { encode(&forged) };
        if forged.num_rows() == 0 {
            encoded.rows = encode_with_dictionaries(&forged);
        }
        let refusal = answer(&gateway, &files, &encoded, &mut token).await;
        assert_eq!(refusal, expected, "{what}");
        *told.entry(expected.name()).or_default() += 1.0;
    }
    for (reason, times) in told {
        assert_eq!(refused(&gateway, reason), times, "{reason}");
    }
    assert_eq!(metric(&gateway, "kerbside_gateway_decoder_panics_total"), 0.0);
    neighbour.undisturbed(&city).await;
    gateway.stop().await.unwrap();
}

/// The message of a batch without rows: a first slice of it would give no words.
fn encode_with_dictionaries(batch: &RecordBatch) -> Message {
    use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
    let options = IpcWriteOptions::try_new(8, false, arrow_ipc::MetadataVersion::V5).unwrap();
    let mut tracker = DictionaryTracker::new(false);
    let generator = IpcDataGenerator::default();
    generator.schema_to_bytes_with_dictionary_tracker(&batch.schema(), &mut tracker, &options);
    let (_, rows) = generator.encode(batch, &mut tracker, &options, &mut IpcWriteContext::default()).unwrap();
    Message { header: rows.ipc_message.into(), body: rows.arrow_data.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn pc_3_under_one_hash_there_is_one_vocabulary() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "hostile");
    let honest = Cabinet::with_site("hostile", "crossing", 7).agg(1).remove(0);
    let token = deliver(gateway.address(), &files, 0, std::slice::from_ref(&honest)).await;
    let other = Cabinet::with_site("hostile", "bridge", 8).agg(1).remove(0);
    let schema =
        Schema::new(other.get().schema().fields().clone()).with_metadata(honest.get().schema().metadata().clone());
    let forged = RecordBatch::try_new(Arc::new(schema), other.get().columns().to_vec()).unwrap();
    let mut token = token;
    assert_eq!(answer(&gateway, &files, &encode(&forged), &mut token).await, Refusal::Vocabulary);
    assert_eq!(answer(&gateway, &files, &encode(other.get()), &mut token).await, Refusal::None);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_demonstration_are_stored_only_where_that_is_wanted() {
    let mut city = City::new();
    let at = StreamPosition { epoch: 7, next_seq: 0 };
    let mut demo = Cabinet::with("demo", "crossing", at, Guarantee::Demonstration);
    let batch = demo.agg(1).remove(0);
    let files = city.issue(Role::Node, "demo");
    let gateway = city.start().await;
    assert_eq!(answer(&gateway, &files, &encode(batch.get()), &mut 0).await, Refusal::Value);
    gateway.stop().await.unwrap();
    city.settings.accept_demo = true;
    let gateway = city.start().await;
    assert_eq!(answer(&gateway, &files, &encode(batch.get()), &mut 0).await, Refusal::None);
    assert_eq!(landed(&city.landing(), "agg.v1"), expected([&batch]));
    gateway.stop().await.unwrap();
}
