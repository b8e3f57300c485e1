//! Rows as plain values, for whoever prints them and needs to know nothing of Arrow.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float32Type, Int32Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use kerbside_core::time::WallTime;

/// One value of a released table.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not measured.
    Null,
    /// A word of a closed vocabulary.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A whole number from 0.
    Unsigned(u64),
    /// A number.
    Number(f32),
    /// Yes or no.
    Truth(bool),
    /// A moment in UTC, in milliseconds.
    Moment(WallTime),
}

/// The names of a batch's columns, in order.
pub fn column_names(batch: &RecordBatch) -> Vec<String> {
    batch.schema_ref().fields().iter().map(|field| field.name().clone()).collect()
}

/// The rows of a batch, each with its values in the order of the columns.
pub fn rows(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let row = |row: usize| batch.columns().iter().map(|column| value(column, row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// A released table has no other types than these (the release contract), and words as plain text in a landing; the
/// readers of this crate give released tables only.
fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => Value::Truth(column.as_boolean().value(row)),
        DataType::UInt8 => Value::Unsigned(column.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt32 => Value::Unsigned(column.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => Value::Unsigned(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Int32 => Value::Integer(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Float32 => Value::Number(column.as_primitive::<Float32Type>().value(row)),
        DataType::Timestamp(..) => {
            let millis = column.as_primitive_opt::<TimestampMillisecondType>().map_or(0, |times| times.value(row));
            // Before 1970 and beyond 2554 there are no rows of ours.
            let nanos = u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000);
            Value::Moment(WallTime::from_unix_nanos(nanos))
        }
        DataType::Utf8 => {
            column.as_string_opt::<i32>().map_or(Value::Null, |words| Value::Text(words.value(row).to_owned()))
        }
        _ => word(column, row).map_or(Value::Null, |word| Value::Text(word.to_owned())),
    }
}

fn word(column: &ArrayRef, row: usize) -> Option<&str> {
    let (key, words) = if let Some(words) = column.as_dictionary_opt::<UInt8Type>() {
        (usize::from(words.keys().value(row)), words.values())
    } else {
        let words = column.as_dictionary_opt::<UInt16Type>()?;
        (usize::from(words.keys().value(row)), words.values())
    };
    let words = words.as_string_opt::<i32>()?;
    (key < words.len()).then(|| words.value(key))
}
