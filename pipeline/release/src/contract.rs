//! Which shapes of table may leave at all: an allow-list of types, no metadata but two fixed keys,
//! and a list of words that no column's name may hold.
//!
//! The check knows nothing of our tables, so that it also serves whoever receives them.

use arrow_schema::{DataType, Schema, TimeUnit};

use crate::error::ReleaseError;
use crate::table::{TABLE_KEY, Table, UTC, VOCABULARY_KEY};

/// Longest schema metadata, keys and values together, in bytes.
const MAX_METADATA_BYTES: usize = 256;

/// Parts of column names that speak of one object, one place or one picture.
const FORBIDDEN_WORDS: [&str; 22] = [
    "track",
    "object",
    "uuid",
    "bbox",
    "box",
    "lat",
    "lon",
    "coord",
    "pixel",
    "image",
    "crop",
    "colour",
    "color",
    "plate",
    "face",
    "gender",
    "age",
    "gait",
    "embedding",
    "name",
    "text",
    "comment",
];

/// Columns whose names hold such a word in another sense: latency and the age of things.
const CLEARED_NAMES: [&str; 3] = ["lat_p50_ms", "lat_p95_ms", "last_frame_age_ms"];

/// Checks that a schema keeps the release contract.
pub fn check_contract(table: Table, schema: &Schema) -> Result<(), ReleaseError> {
    let refuse = |column: &str, why: String| Err(ReleaseError::Contract { table, column: column.to_owned(), why });
    let mut metadata_bytes = 0;
    for (key, value) in schema.metadata() {
        metadata_bytes += key.len() + value.len();
        let fits = match key.as_str() {
            TABLE_KEY => value == table.name(),
            VOCABULARY_KEY => value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit()),
            _ => false,
        };
        if !fits {
            return refuse("", format!("schema metadata '{key}' is not one of the fixed keys and values"));
        }
    }
    if metadata_bytes > MAX_METADATA_BYTES {
        return refuse("", format!("{metadata_bytes} bytes of schema metadata"));
    }
    for field in schema.fields() {
        if !field.metadata().is_empty() {
            return refuse(field.name(), "it carries metadata".to_owned());
        }
        if !is_allowed(field.data_type()) {
            return refuse(field.name(), format!("the type {} may not leave", field.data_type()));
        }
        let mut parts = field.name().split('_');
        if !CLEARED_NAMES.contains(&field.name().as_str()) && parts.any(|part| FORBIDDEN_WORDS.contains(&part)) {
            return refuse(field.name(), "its name speaks of one object, place or picture".to_owned());
        }
    }
    Ok(())
}

/// Numbers, times in milliseconds of UTC, and words of a dictionary. No type on the list has children
/// other than a dictionary's own two, so nothing can hide inside another type.
fn is_allowed(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Int32
        | DataType::Float32 => true,
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) => zone.as_ref() == UTC,
        DataType::Dictionary(key, value) => {
            matches!(key.as_ref(), DataType::UInt8 | DataType::UInt16) && value.as_ref() == &DataType::Utf8
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{Field, Fields};
    use std::collections::HashMap;
    use std::sync::Arc;

    fn dictionary(key: DataType, value: DataType) -> DataType {
        DataType::Dictionary(Box::new(key), Box::new(value))
    }

    fn refused(field: Field) -> bool {
        check_contract(Table::Agg, &Schema::new(vec![field])).is_err()
    }

    #[test]
    fn pc_1_our_tables_keep_the_contract() {
        for table in Table::ALL {
            check_contract(table, &Schema::new(table.columns())).unwrap();
        }
    }

    #[test]
    fn pc_2_a_type_that_can_carry_a_blob_is_refused() {
        let item = |of| Arc::new(Field::new("item", of, false));
        let forbidden = [
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Utf8View,
            DataType::Binary,
            DataType::LargeBinary,
            DataType::BinaryView,
            DataType::FixedSizeBinary(16),
            DataType::Float64,
            DataType::Decimal128(38, 0),
            DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
            DataType::Timestamp(TimeUnit::Millisecond, None),
            DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Paris".into())),
            DataType::List(item(DataType::UInt8)),
            DataType::FixedSizeList(item(DataType::Float32), 128),
            DataType::Struct(Fields::from(vec![Field::new("x", DataType::Int32, false)])),
            DataType::Struct(Fields::from(vec![Field::new("x", DataType::Binary, false)])),
            dictionary(DataType::UInt8, DataType::Binary),
            dictionary(DataType::UInt8, dictionary(DataType::UInt8, DataType::Utf8)),
            dictionary(DataType::Int64, DataType::Utf8),
            DataType::RunEndEncoded(item(DataType::Int32), item(DataType::Utf8)),
        ];
        for data_type in forbidden {
            assert!(refused(Field::new("x", data_type.clone(), true)), "{data_type}");
        }
        assert!(!refused(Field::new("x", dictionary(DataType::UInt8, DataType::Utf8), true)));
    }

    #[test]
    fn pc_4_and_pc_5_metadata_and_telling_names_are_refused() {
        let note = HashMap::from([("note".to_owned(), "x".to_owned())]);
        assert!(refused(Field::new("x", DataType::Int32, true).with_metadata(note.clone())));
        let columns = vec![Field::new("x", DataType::Int32, true)];
        let schema = |metadata: HashMap<String, String>| Schema::new(columns.clone()).with_metadata(metadata);
        assert!(check_contract(Table::Agg, &schema(note)).is_err());
        let smuggled = HashMap::from([(VOCABULARY_KEY.to_owned(), "x".repeat(1024))]);
        assert!(check_contract(Table::Agg, &schema(smuggled)).is_err());
        let other = HashMap::from([(TABLE_KEY.to_owned(), "health.v1".to_owned())]);
        assert!(check_contract(Table::Agg, &schema(other)).is_err());
        for name in ["track", "track_id", "bbox", "face_embedding", "age"] {
            assert!(refused(Field::new(name, DataType::UInt32, true)), "{name}");
        }
    }
}
