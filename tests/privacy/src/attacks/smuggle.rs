//! A2: a message of a kilobyte is pushed into everything that a configuration or a program may fill with text.
//!
//! Texts of the configuration are refused where the stage is built; what Arrow would carry beside the columns is
//! refused by the contract; and what does leave is searched for the message. Names themselves can carry what fits into
//! them: they are chosen once, by whoever configures the node, and the figure says how long they may be.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::UInt8Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, FixedSizeBinaryArray, ListArray, RecordBatch, StringArray,
    UInt8Array,
};
use arrow_schema::{DataType, Field, Schema};
use fastrand::Rng;
use kerbside_core::detection::Class;
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_release::{CameraPlan, NodeIdentity, Release, Table, check_contract};

use crate::attacks::broken;
use crate::outcome::{Outcome, Size};
use crate::stage::{QUARTER_SECS, fresh, from_zero, identity, ipc, plan, sixty_seven_cells, wall};

const MESSAGE_BYTES: usize = 1024;
/// The longest name that the rules allow: a model's.
const NAME_BYTES: usize = 64;

/// Writes a text into one place of a configuration.
type Place = (&'static str, fn(&mut NodeIdentity, &mut CameraPlan, String));

const PLACES: [Place; 5] = [
    ("node", |identity, _, text| identity.node = text),
    ("software", |identity, _, text| identity.software = text),
    ("camera", |_, plan, text| plan.camera = text),
    ("model", |_, plan, text| plan.model = text),
    ("line", |_, plan, text| plan.sites[0] = text),
];

/// The attack and its control.
pub fn attack(size: Size) -> Vec<Outcome> {
    vec![names(), carriers(size), searched(false), searched(true).control()]
}

/// A stage with a text in one place of its configuration.
fn built(place: &Place, text: &str) -> Option<Release> {
    let mut identity = identity();
    let mut plan = plan(0, sixty_seven_cells(Class::Person, Class::Car), Privacy::of(Profile::Strict));
    (place.1)(&mut identity, &mut plan, text.to_owned());
    Release::new(identity, vec![plan], from_zero(), wall(0), fresh()).ok()
}

/// Names: the message as it is, in letters alone, and the longest text that passes.
fn names() -> Outcome {
    let letters = "a".repeat(MESSAGE_BYTES);
    let hex: String = (0..MESSAGE_BYTES).map(|place| char::from(b"0123456789abcdef"[place % 16])).collect();
    let words = "meet me at noon ".repeat(MESSAGE_BYTES / 16);
    let (mut tried, mut taken, mut longest) = (0, 0, 0);
    for place in &PLACES {
        for message in [&letters, &hex, &words] {
            tried += 1;
            taken += usize::from(built(place, message).is_some());
        }
        longest = (1..=MESSAGE_BYTES)
            .filter(|bytes| built(place, &letters[..*bytes]).is_some())
            .max()
            .unwrap_or(0)
            .max(longest);
    }
    let figure = format!("{taken} of {tried} taken; the longest name is {longest} B");
    let what = format!("{MESSAGE_BYTES} B as the name of a node, camera, line, model or software");
    let limit = format!("none taken, names <= {NAME_BYTES} B");
    Outcome::real("A2", what, figure, limit, taken == 0 && (1..=NAME_BYTES).contains(&longest))
}

/// What Arrow can carry beside the columns of a table: the contract refuses every one.
fn carriers(size: Size) -> Outcome {
    let mutants = size.pick(500, 5_000);
    let (mut taken, mut tried) = (0, 0);
    for table in Table::ALL {
        let message = "m".repeat(MESSAGE_BYTES);
        let metadata = |key: &str| HashMap::from([(key.to_owned(), message.clone())]);
        let columns = table.columns();
        for key in ["note", "table", "vocabulary", "ARROW:extension:metadata", "ARROW:extension:name"] {
            let in_schema = Schema::new(columns.clone()).with_metadata(metadata(key));
            let mut marked = columns.clone();
            marked[0] = marked[0].clone().with_metadata(metadata(key));
            for schema in [in_schema, Schema::new(marked)] {
                tried += 1;
                taken += usize::from(check_contract(table, &schema).is_ok());
            }
        }
        for data_type in forbidden_types() {
            let mut columns = columns.clone();
            columns.push(Field::new("extra", data_type, true));
            tried += 1;
            taken += usize::from(check_contract(table, &Schema::new(columns)).is_ok());
        }
    }
    let random = &mut Rng::with_seed(2);
    match batch() {
        Ok(batch) => {
            for _ in 0..mutants {
                // A word beyond the vocabulary has the schema of any other: the receiver's walk finds it (A1).
                let mutant = mutated(random, &batch);
                if mutant.schema() != batch.schema() {
                    tried += 1;
                    taken += usize::from(check_contract(Table::Agg, &mutant.schema()).is_ok());
                }
            }
        }
        Err(error) => return broken("A2", "carriers", "", error),
    }
    let what = format!("{MESSAGE_BYTES} B as metadata of a schema or field, or in a column of another type");
    Outcome::real("A2", what, format!("{taken} of {tried} taken"), "none taken", taken == 0)
}

fn forbidden_types() -> Vec<DataType> {
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    vec![
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::FixedSizeBinary(1024),
        DataType::List(item(DataType::UInt8)),
        DataType::FixedSizeList(item(DataType::Float32), 256),
        DataType::Struct(vec![Field::new("x", DataType::Utf8, true)].into()),
        DataType::Decimal256(76, 0),
    ]
}

/// One bin of a camera that sees nobody.
fn batch() -> Result<RecordBatch, kerbside_release::ReleaseError> {
    let plan = plan(0, sixty_seven_cells(Class::Person, Class::Car), Privacy::of(Profile::Strict));
    let mut stage = Release::new(identity(), vec![plan], from_zero(), wall(0), fresh())?;
    let mut out = Vec::new();
    stage.advance(wall(QUARTER_SECS), &mut out)?;
    Ok(out.first().expect("a bin has ended").get().clone())
}

/// What leaves is searched for the message, which every place was offered; the control carries it in its metadata.
fn searched(is_broken: bool) -> Outcome {
    let message: String = (0..MESSAGE_BYTES).map(|place| char::from(b'a' + (place * 7 % 26) as u8)).collect();
    let tried =
        if is_broken { "a batch that carries the message in its schema" } else { "what leaves is searched" };
    const LIMIT: &str = "0 pieces of 64 B";
    let mut found = 0;
    for place in &PLACES {
        // Where the message is refused, so is the node; its longest legal piece is tried instead.
        let legal = (1..=NAME_BYTES).rev().find_map(|bytes| built(place, &message[..bytes]));
        let Some(mut stage) = legal else { return broken("A2", tried, LIMIT, "no name at all is taken") };
        let mut out = Vec::new();
        if let Err(error) = stage.advance(wall(QUARTER_SECS), &mut out) {
            return broken("A2", tried, LIMIT, error);
        }
        for batch in out {
            let mut batch = batch.get().clone();
            if is_broken {
                let schema = Schema::clone(&batch.schema());
                let schema = schema.with_metadata(HashMap::from([("note".to_owned(), message.clone())]));
                batch = batch.with_schema(Arc::new(schema)).expect("the columns are the same");
            }
            let bytes = ipc(&batch);
            // Longer than any name: a piece of the message that no rule of names let through.
            let pieces = message.as_bytes().windows(NAME_BYTES + 1).step_by(NAME_BYTES);
            found += pieces.filter(|piece| bytes.windows(piece.len()).any(|window| window == *piece)).count();
        }
    }
    Outcome::real("A2", tried, format!("{found} pieces"), LIMIT, found == 0)
}

/// A released batch with something in it that may not leave.
pub(crate) fn mutated(random: &mut Rng, batch: &RecordBatch) -> RecordBatch {
    let message = "s3cr3t ".repeat(20);
    let rows = batch.num_rows();
    let schema = batch.schema();
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| Field::clone(field)).collect();
    let mut columns = batch.columns().to_vec();
    let mut metadata = schema.metadata().clone();
    let place = random.usize(..fields.len());
    let note = HashMap::from([("note".to_owned(), message.clone())]);
    match random.u8(..7) {
        0 => fields[place] = fields[place].clone().with_metadata(note),
        1 => metadata.extend(note),
        2 => {
            let words: ArrayRef = Arc::new(StringArray::from(vec![message.as_str(); rows]));
            (fields[place], columns[place]) = (renamed(&fields[place], DataType::Utf8), words);
        }
        3 => {
            let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![message.as_bytes(); rows]));
            (fields[place], columns[place]) = (renamed(&fields[place], DataType::Binary), bytes);
        }
        4 => {
            let bytes = FixedSizeBinaryArray::try_from_iter((0..rows).map(|_| message.as_bytes()));
            let bytes: ArrayRef = Arc::new(bytes.expect("all are of one length"));
            fields.push(Field::new("extra", bytes.data_type().clone(), false));
            columns.push(bytes);
        }
        5 => {
            let lists = (0..rows).map(|_| Some(message.bytes().map(Some)));
            let bytes: ArrayRef = Arc::new(ListArray::from_iter_primitive::<UInt8Type, _, _>(lists));
            fields.push(Field::new("extra", bytes.data_type().clone(), true));
            columns.push(bytes);
        }
        _ => {
            // The column keeps its type, and its dictionary says something else.
            let place = fields.iter().position(|field| field.name() == "release").expect("every table has it");
            let keys = UInt8Array::from(vec![0; rows]);
            let words = DictionaryArray::try_new(keys, Arc::new(StringArray::from(vec![message.as_str()])));
            columns[place] = Arc::new(words.expect("there is one word"));
        }
    }
    let schema = Schema::new(fields).with_metadata(metadata);
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns are as long as before")
}

fn renamed(field: &Field, data_type: DataType) -> Field {
    Field::new(field.name(), data_type, field.is_nullable())
}
