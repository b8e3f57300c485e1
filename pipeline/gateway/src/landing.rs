//! The landing: plain Parquet files, one folder a table and day, that anything can read.
//!
//! ```text
//! agg.v1/day=2026-03-29/000000000042-0-9f31c05e.parquet     rows of all nodes, by the day of t0 in UTC
//! gap.v1/day=2026-03-29/000000000042-1-9f31c05e.parquet     rows that will never come, by the day on which that was told
//! ```
//!
//! Words are plain text in the files: nodes have different vocabularies, and their rows lie side by side. Names
//! are never used twice, and a file never changes.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow_array::cast::AsArray as _;
use arrow_array::{BooleanArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use kerbside_release::Table;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::error::GatewayError;
use crate::folder::Folder;
use crate::settings::LandingSettings;
use crate::state::LandingFile;

/// The name of the table of rows that will never come.
pub const GAP_TABLE: &str = "gap.v1";
/// The key of the metadata of a file that holds its table's name and version.
pub const TABLE_KEY: &str = "kerbside.table";
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// A store that can be written to.
pub type Store = Arc<dyn ObjectStore>;

/// Opens the landing, making its folder where it is one.
///
/// # Errors
/// The folder cannot be made, or the settings of the bucket do not fit each other.
pub fn open(settings: &LandingSettings) -> Result<Store, GatewayError> {
    match settings {
        LandingSettings::Folder(folder) => open_folder(folder),
        LandingSettings::S3(s3) => {
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(&s3.bucket)
                .with_region(&s3.region)
                .with_access_key_id(s3.access_key.expose())
                .with_secret_access_key(s3.secret_key.expose());
            if let Some(endpoint) = &s3.endpoint {
                builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
            }
            let bucket = builder.build()?;
            Ok(match &s3.prefix {
                Some(prefix) => Arc::new(PrefixStore::new(bucket, prefix.as_str())),
                None => Arc::new(bucket),
            })
        }
    }
}

/// The landing in a folder. What was put or deleted is so on the disk, its name included, before it is said to be.
///
/// # Errors
/// The folder cannot be made.
pub fn open_folder(folder: &Path) -> Result<Store, GatewayError> {
    std::fs::create_dir_all(folder).map_err(GatewayError::io(format!("the folder {}", folder.display())))?;
    Ok(Arc::new(Folder::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true))))
}

/// The columns of a table in the landing: those that are released, with words as plain text.
pub fn plain_schema(table: Table) -> SchemaRef {
    let plain = |field: Field| match field.data_type() {
        DataType::Dictionary(_, values) => Field::new(field.name(), values.as_ref().clone(), field.is_nullable()),
        _ => field,
    };
    Arc::new(Schema::new(table.columns().into_iter().map(plain).collect::<Vec<_>>()))
}

/// The columns of the table of rows that will never come.
pub fn gap_schema() -> SchemaRef {
    let told_at = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, false);
    Arc::new(Schema::new(vec![
        field("node", DataType::Utf8),
        field("table", DataType::Utf8),
        field("epoch", DataType::UInt32),
        field("first_seq", DataType::UInt64),
        field("last_seq", DataType::UInt64),
        field("rows", DataType::UInt64),
        field("reason", DataType::Utf8),
        field("told_at", told_at),
    ]))
}

/// The columns of a table of the landing, by its name.
pub fn schema_of(table: &str) -> Option<SchemaRef> {
    if table == GAP_TABLE { Some(gap_schema()) } else { Table::from_name(table).map(plain_schema) }
}

/// Rows that will never come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GapRow {
    pub(crate) node: String,
    pub(crate) table: String,
    pub(crate) epoch: u32,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) reason: &'static str,
}

impl GapRow {
    pub(crate) fn rows(&self) -> u64 {
        (self.last_seq - self.first_seq).saturating_add(1)
    }
}

/// The rows of `gap.v1`, all told at the same time.
pub(crate) fn gap_batch(gaps: &[GapRow], told_at: i64) -> Result<RecordBatch, GatewayError> {
    let text = |of: fn(&GapRow) -> &str| Arc::new(StringArray::from_iter_values(gaps.iter().map(of)));
    let number = |of: fn(&GapRow) -> u64| Arc::new(UInt64Array::from_iter_values(gaps.iter().map(of)));
    let told_at = TimestampMillisecondArray::from(vec![told_at; gaps.len()]).with_timezone("UTC");
    Ok(RecordBatch::try_new(
        gap_schema(),
        vec![
            text(|gap| &gap.node),
            text(|gap| &gap.table),
            Arc::new(UInt32Array::from_iter_values(gaps.iter().map(|gap| gap.epoch))),
            number(|gap| gap.first_seq),
            number(|gap| gap.last_seq),
            number(GapRow::rows),
            text(|gap| gap.reason),
            Arc::new(told_at),
        ],
    )?)
}

fn times_of(batch: &RecordBatch) -> Result<&TimestampMillisecondArray, GatewayError> {
    let column = batch.column_by_name("t0").and_then(|column| column.as_primitive_opt());
    column.ok_or_else(|| GatewayError::StateContent("a batch without t0".to_owned()))
}

fn day_of(time: i64) -> i64 {
    time.div_euclid(DAY_MILLIS)
}

/// The days of the `t0` of a batch, in order.
pub(crate) fn days_of(batch: &RecordBatch) -> Result<Vec<i64>, GatewayError> {
    let mut days: Vec<i64> = times_of(batch)?.values().iter().map(|time| day_of(*time)).collect();
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

/// The rows of a batch by the day of their `t0`.
pub(crate) fn by_day(batch: &RecordBatch) -> Result<Vec<(i64, RecordBatch)>, GatewayError> {
    let (times, days) = (times_of(batch)?, days_of(batch)?);
    if let [only] = days.as_slice() {
        return Ok(vec![(*only, batch.clone())]);
    }
    let of_day = |wanted: i64| {
        let mask: BooleanArray = times.values().iter().map(|time| Some(day_of(*time) == wanted)).collect();
        Ok((wanted, arrow_select::filter::filter_record_batch(batch, &mask)?))
    };
    days.into_iter().map(of_day).collect()
}

/// `YYYY-MM-DD` of a number of days since 1970.
pub(crate) fn day_name(day: i64) -> String {
    // Howard Hinnant's civil_from_days: years that begin in March, in eras of 400 years.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02}")
}

/// The number of days since 1970 of `YYYY-MM-DD`; `None` for what is no day.
pub(crate) fn day_of_name(name: &str) -> Option<i64> {
    let mut parts = name.split('-');
    let mut part = || parts.next()?.parse::<i64>().ok();
    let (year, month, day) = (part()?, part()?, part()?);
    if !(1970..=2200).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let found = era * 146_097 + of_era - 719_468;
    (day_name(found) == name).then_some(found)
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A file's name: `number` is never used twice in a `life` of the state.
pub(crate) fn file_key(table: &str, day: &str, life: u32, number: u64, place: usize) -> String {
    format!("{table}/day={day}/{number:012}-{place}-{life:08x}.parquet")
}

/// Writes batches of one table as the bytes of a file.
pub(crate) fn encode(table: &str, batches: &[RecordBatch]) -> Result<Bytes, GatewayError> {
    let schema = schema_of(table).ok_or_else(|| GatewayError::StateContent(format!("the table {table}")))?;
    let metadata = vec![KeyValue::new(TABLE_KEY.to_owned(), table.to_owned())];
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(metadata))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), Some(properties))?;
    for batch in batches {
        writer.write(&plain(batch, &schema)?)?;
    }
    writer.close()?;
    Ok(bytes.into())
}

/// The same rows with words as plain text.
pub(crate) fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, GatewayError> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        columns.push(if column.data_type() == field.data_type() {
            Arc::clone(column)
        } else {
            arrow_cast::cast(column, field.data_type())?
        });
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The batches of a file's bytes.
pub(crate) fn decode(table: &str, bytes: Bytes) -> Result<Vec<RecordBatch>, GatewayError> {
    let schema = schema_of(table).ok_or_else(|| GatewayError::StateContent(format!("the table {table}")))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(8192).build()?;
    reader.map(|batch| plain(&batch?, &schema)).collect()
}

/// Puts a file. At the first try nothing may be under its name; at the next there is perhaps what a try before has put
/// there, whose answer was lost, in whole or in part.
pub(crate) async fn put(
    store: &Store,
    file: &LandingFile,
    bytes: Bytes,
    mode: PutMode,
) -> Result<(), GatewayError> {
    let options = PutOptions { mode, ..PutOptions::default() };
    store.put_opts(&Key::from(file.key.as_str()), PutPayload::from_bytes(bytes), options).await?;
    Ok(())
}

/// Deletes a file; one that is not there is deleted.
pub(crate) async fn delete(store: &Store, key: &str) -> Result<(), GatewayError> {
    match store.delete(&Key::from(key)).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_names() {
        for (day, name) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_541, "2026-03-29"),
            (47_481, "2099-12-31"),
        ] {
            assert_eq!(day_name(day), name);
            assert_eq!(day_of_name(name), Some(day));
        }
        for wrong in ["2026-02-30", "2026-3-29", "2026-13-01", "x", "2026-03-29-1", ""] {
            assert_eq!(day_of_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_landing_in_a_folder_can_be_opened_again_and_holds_gaps() {
        let folder = tempfile::tempdir().unwrap();
        open_folder(&folder.path().join("a/b")).unwrap();
        open_folder(&folder.path().join("a/b")).unwrap();
        let gap = GapRow {
            node: "a".to_owned(),
            table: "agg.v1".to_owned(),
            epoch: 1,
            first_seq: 0,
            last_seq: 9,
            reason: "dropped",
        };
        let batch = gap_batch(&[gap], 5).unwrap();
        let bytes = encode(GAP_TABLE, std::slice::from_ref(&batch)).unwrap();
        assert_eq!(decode(GAP_TABLE, bytes).unwrap(), [batch]);
    }
}
