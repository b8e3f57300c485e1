//! The decoder over foreign bytes: it never panics, and what it lets through keeps the contract.

use std::sync::OnceLock;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, TimestampMillisecondType, UInt8Type, UInt32Type, UInt64Type};
use kerbside_gateway::check::{Checker, read_messages};
use kerbside_release::Table;
use kerbside_uplink::wire::{self, Refusal};
use proptest::prelude::*;

use crate::common::*;
use crate::forgeries::{with_words, words};

fn framed(messages: &[&Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend_from_slice(&(message.header.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(message.body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&message.header);
        bytes.extend_from_slice(&message.body);
    }
    bytes
}

fn taken_apart(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some((lengths, rest)) = bytes.split_first_chunk::<8>() {
        let length = |at: usize| u32::from_le_bytes(lengths[at..at + 4].try_into().unwrap()) as usize;
        let (header, rest) = rest.split_at(length(0));
        let (body, rest) = rest.split_at(length(4));
        messages.push(Message { header: header.to_vec().into(), body: body.to_vec().into() });
        bytes = rest;
    }
    messages
}

/// A valid stream of each table, with two batches.
fn streams() -> &'static [(Table, Vec<u8>)] {
    static STREAMS: OnceLock<Vec<(Table, Vec<u8>)>> = OnceLock::new();
    STREAMS.get_or_init(|| {
        let mut cabinet = Cabinet::new("cabinet", 7);
        let mut batches: Vec<_> = (0..2).flat_map(|_| cabinet.minute()).collect();
        batches.extend([cabinet.incident(), cabinet.incident()]);
        let of = |table: Table| {
            let encoded: Vec<Encoded> =
                batches.iter().filter(|batch| batch.table() == table).map(|batch| encode(batch.get())).collect();
            let mut messages = vec![&encoded[0].schema];
            messages.extend(&encoded[0].dictionaries);
            messages.extend(encoded.iter().map(|encoded| &encoded.rows));
            (table, framed(&messages))
        };
        Table::ALL.map(of).to_vec()
    })
}

/// What must hold of every row that is stored, looked at in another way than the gateway does.
fn keeps_the_contract(table: Table, batch: &RecordBatch) {
    assert_eq!(batch.schema().fields().len(), table.columns().len());
    for (column, field) in batch.columns().iter().zip(table.columns()) {
        assert_eq!(column.data_type(), field.data_type());
        assert!(field.is_nullable() || column.null_count() == 0);
        if matches!(field.data_type(), arrow_schema::DataType::Dictionary(..)) {
            let words = arrow_cast::cast(column, &arrow_schema::DataType::Utf8).unwrap();
            for word in words.as_string::<i32>().iter() {
                let word = word.unwrap();
                assert!(table.is_word(field.name(), word), "{word:?}");
                assert!(field.name() != "node" || word == "cabinet");
            }
        }
        if let Some(values) = column.as_primitive_opt::<Float32Type>() {
            assert!(values.iter().flatten().all(f32::is_finite));
        }
    }
    let column = |name: &str| batch.column_by_name(name).unwrap();
    assert!(column("epoch").as_primitive::<UInt32Type>().values().iter().all(|epoch| *epoch == 7));
    let seq = column("seq").as_primitive::<UInt64Type>().values();
    assert!(seq.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    let millis = |name: &str| column(name).as_primitive::<TimestampMillisecondType>().values().clone();
    for (from, to) in millis("t0").iter().zip(millis("t1").iter()) {
        assert!(from <= to && *from >= 0 && *to <= 4_102_444_800_000);
        assert!(table != Table::Agg || to - from >= 60_000);
    }
    if table == Table::Incident {
        assert!(column("severity").as_primitive::<UInt8Type>().values().iter().all(|severity| *severity <= 100));
    }
}

fn read(table: Table, bytes: &[u8]) -> Vec<RecordBatch> {
    let batches = read_messages("cabinet", 7, table.name(), bytes);
    batches.iter().for_each(|batch| keeps_the_contract(table, batch));
    batches
}

#[test]
fn whole_streams_are_read_and_cut_ones_as_far_as_they_go() {
    for (table, bytes) in streams() {
        assert_eq!(read(*table, bytes).len(), 2, "{table}");
        for len in (0..bytes.len()).step_by(37) {
            assert!(read(*table, &bytes[..len]).len() < 2);
        }
    }
}

#[test]
fn any_flipped_byte_is_refused_or_harmless() {
    for (table, bytes) in streams() {
        let mut bytes = bytes.clone();
        for place in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                bytes[place] ^= flip;
                read(*table, &bytes);
                bytes[place] ^= flip;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn mutated_streams_are_refused_or_keep_the_contract(
        stream in 0usize..3,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u64>(), 1usize..9), 1..6),
        cut in proptest::option::of((any::<prop::sample::Index>(), 0usize..64)),
    ) {
        let (table, bytes) = &streams()[stream];
        let mut bytes = bytes.clone();
        for (place, value, len) in changes {
            let place = place.index(bytes.len());
            for (byte, new) in bytes[place..].iter_mut().zip(&value.to_le_bytes()[..len.min(8)]) {
                *byte = *new;
            }
        }
        if let Some((place, len)) = cut {
            let place = place.index(bytes.len());
            bytes.drain(place..(place + len).min(bytes.len()));
        }
        read(*table, &bytes);
    }

    #[test]
    fn a_foreign_message_costs_itself_and_what_needs_it(
        stream in 0usize..3,
        place in any::<prop::sample::Index>(),
        header in proptest::collection::vec(any::<u8>(), 0..400),
        body in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let (table, bytes) = &streams()[stream];
        let mut messages = taken_apart(bytes);
        let place = place.index(messages.len());
        messages[place] = Message { header: header.into(), body: body.into() };
        let is_last = place + 1 == messages.len();
        let found = read(*table, &framed(&messages.iter().collect::<Vec<_>>()));
        // Without the schema, a word or the rows before them the last rows are nothing.
        prop_assert_eq!(found.len(), usize::from(is_last));
    }
}

#[test]
fn a_day_that_has_not_come_is_refused_unless_the_clock_is_said_to_be_wrong() {
    let honest = Cabinet::new("cabinet", 7).agg(1).remove(0);
    let swapped: Vec<&str> = words(honest.get(), "clock_q")
        .iter()
        .map(|word| match word.as_str() {
            "synced" => "unsynced",
            "unsynced" => "synced",
            _ => "holdover",
        })
        .collect();
    let unsynced = with_words(honest.get(), "clock_q", &swapped);
    let day = 24 * 60 * 60 * 1000;
    for (batch, is_synced) in [(honest.get(), true), (&unsynced, false)] {
        let encoded = encode(batch);
        let Encoded { schema, dictionaries, rows, .. } = &encoded;
        let mut checker = Checker::open("cabinet", 7, false, "agg.v1", &schema.header, &schema.body).unwrap();
        dictionaries.iter().for_each(|message| checker.dictionary(&message.header, &message.body).unwrap());
        let end = START.as_unix_millis() + 60_000;
        for (now, is_refused) in [(end - day - 1, is_synced), (end - day, false), (end, false)] {
            let checked = checker.rows(&rows.header, &rows.body, &numbers(&encoded), now);
            assert_eq!(checked.map_err(|refused| refused.refusal).err(), is_refused.then_some(Refusal::Value));
        }
    }
}

#[test]
fn a_core_checks_more_than_a_hundred_thousand_rows_a_second() {
    let batches = Cabinet::new("cabinet", 7).agg(400);
    let schema = batches[0].get().schema();
    let whole = arrow_select::concat::concat_batches(&schema, batches.iter().map(|batch| batch.get())).unwrap();
    let encoded = encode(&whole);
    let mut checker =
        Checker::open("cabinet", 7, false, "agg.v1", &encoded.schema.header, &encoded.schema.body).unwrap();
    for message in &encoded.dictionaries {
        checker.dictionary(&message.header, &message.body).unwrap();
    }
    let numbers: wire::Rows = numbers(&encoded);
    let began = Instant::now();
    let mut rows = 0;
    while rows < 200_000 {
        rows += checker.rows(&encoded.rows.header, &encoded.rows.body, &numbers, i64::MAX).unwrap().num_rows();
    }
    let rate = rows as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} rows/s");
    // Other tests share the machine; alone it is some ten times as many.
    assert!(rate > 100_000.0, "{rate} rows/s");
}
