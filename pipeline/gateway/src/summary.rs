//! What the city sees: rows by node, table and day, and what is known never to come.
//!
//! It reads the landing alone and needs no gateway that runs. A row that lies in two files, as it does for a moment while
//! files are merged, is counted once.

use std::collections::BTreeMap;
use std::fmt;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{TimestampMillisecondType, UInt32Type, UInt64Type};
use bytes::Bytes;
use futures::TryStreamExt as _;
use kerbside_core::time::WallTime;
use kerbside_release::Table;
use kerbside_uplink::ranges::RangeSet;
use object_store::ObjectStoreExt as _;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use crate::commit::blocking;
use crate::error::GatewayError;
use crate::landing::{GAP_TABLE, Store};

/// A landing in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Rows that are stored.
    pub days: Vec<Day>,
    /// Rows that will never come.
    pub gaps: Vec<Gaps>,
    /// Files of the landing.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Rows of one node, table and day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The node.
    pub node: String,
    /// The table.
    pub table: String,
    /// The day of their beginning, in UTC.
    pub day: String,
    /// How many there are.
    pub rows: u64,
    /// The latest end among them, as RFC 3339 says it.
    pub newest: String,
}

/// Rows of one node and table that will never come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gaps {
    /// The node.
    pub node: String,
    /// The table.
    pub table: String,
    /// Why they will not.
    pub reason: String,
    /// How many they are.
    pub rows: u64,
}

#[derive(Default)]
struct Sums {
    numbers: BTreeMap<(String, String, u32), RangeSet>,
    days: BTreeMap<(String, String, String), (u64, i64)>,
    gap_numbers: BTreeMap<(String, String, u32), RangeSet>,
    gaps: BTreeMap<(String, String, String), u64>,
}

/// Reads a landing.
///
/// # Errors
/// It cannot be read, or holds a file that is none of a gateway's.
pub async fn summary(store: &Store) -> Result<Summary, GatewayError> {
    let mut summary = Summary::default();
    let mut sums = Sums::default();
    let mut listed: Vec<_> = store.list(None).try_collect().await?;
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    for file in listed {
        let key = file.location.as_ref();
        let Some((table, day)) = place(key) else { continue };
        let bytes = match store.get(&file.location).await {
            Ok(found) => found.bytes().await?,
            // Merged since it was listed: its rows are in a file that this list has not.
            Err(object_store::Error::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        summary.files += 1;
        summary.bytes += file.size;
        let (table, day) = (table.to_owned(), day.to_owned());
        sums = blocking(move || {
            sums.add(&table, &day, bytes)?;
            Ok(sums)
        })
        .await?;
    }
    summary.days = sums
        .days
        .into_iter()
        .map(|((node, table, day), (rows, newest))| {
            let newest = WallTime::from_unix_millis(u64::try_from(newest).unwrap_or_default()).to_string();
            Day { node, table, day, rows, newest }
        })
        .collect();
    let gap = |((node, table, reason), rows)| Gaps { node, table, reason, rows };
    summary.gaps = sums.gaps.into_iter().map(gap).collect();
    Ok(summary)
}

/// Table and day of a file's name.
fn place(key: &str) -> Option<(&str, &str)> {
    let mut parts = key.split('/');
    let (table, day, file) = (parts.next()?, parts.next()?.strip_prefix("day=")?, parts.next()?);
    let is_known = table == GAP_TABLE || Table::from_name(table).is_some();
    (is_known && parts.next().is_none() && file.ends_with(".parquet")).then_some((table, day))
}

impl Sums {
    fn add(&mut self, table: &str, day: &str, bytes: Bytes) -> Result<(), GatewayError> {
        let wanted: &[&str] = if table == GAP_TABLE {
            &["node", "table", "epoch", "first_seq", "last_seq", "reason"]
        } else {
            &["node", "epoch", "seq", "t1"]
        };
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
        let mask = ProjectionMask::columns(reader.parquet_schema(), wanted.iter().copied());
        for batch in reader.with_projection(mask).with_batch_size(8192).build()? {
            let batch = batch?;
            let added = if table == GAP_TABLE { self.add_gaps(&batch) } else { self.add_rows(table, day, &batch) };
            added.ok_or_else(|| GatewayError::StateContent(format!("a file of {table} with other columns")))?;
        }
        Ok(())
    }

    fn add_rows(&mut self, table: &str, day: &str, batch: &RecordBatch) -> Option<()> {
        let nodes = batch.column_by_name("node")?.as_string_opt::<i32>()?;
        let epochs = batch.column_by_name("epoch")?.as_primitive_opt::<UInt32Type>()?;
        let numbers = batch.column_by_name("seq")?.as_primitive_opt::<UInt64Type>()?;
        let ends = batch.column_by_name("t1")?.as_primitive_opt::<TimestampMillisecondType>()?;
        let mut from = 0;
        while from < batch.num_rows() {
            // Rows of one node and epoch that are numbered one after the other are looked at together.
            let (node, epoch, first) = (nodes.value(from), epochs.value(from), numbers.value(from));
            let mut to = from + 1;
            while to < batch.num_rows()
                && nodes.value(to) == node
                && epochs.value(to) == epoch
                && numbers.value(to) == first + (to - from) as u64
            {
                to += 1;
            }
            let last = first + (to - from - 1) as u64;
            let known = self.numbers.entry((node.to_owned(), table.to_owned(), epoch)).or_default();
            let new: u64 = known.missing(first, last).iter().map(|(first, last)| last - first + 1).sum();
            known.insert(first, last);
            let newest = ends.values().iter().skip(from).take(to - from).max().copied().unwrap_or_default();
            let sum = self.days.entry((node.to_owned(), table.to_owned(), day.to_owned())).or_insert((0, newest));
            sum.0 += new;
            sum.1 = sum.1.max(newest);
            from = to;
        }
        Some(())
    }

    fn add_gaps(&mut self, batch: &RecordBatch) -> Option<()> {
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let number = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<UInt64Type>();
        let (nodes, tables, reasons) = (text("node")?, text("table")?, text("reason")?);
        let (firsts, lasts) = (number("first_seq")?, number("last_seq")?);
        let epochs = batch.column_by_name("epoch")?.as_primitive_opt::<UInt32Type>()?;
        for row in 0..batch.num_rows() {
            let (node, table) = (nodes.value(row).to_owned(), tables.value(row).to_owned());
            let (first, last) = (firsts.value(row), lasts.value(row));
            let known = self.gap_numbers.entry((node.clone(), table.clone(), epochs.value(row))).or_default();
            let new = known
                .missing(first, last)
                .iter()
                .fold(0_u64, |sum, (first, last)| sum.saturating_add((last - first).saturating_add(1)));
            known.insert(first, last);
            let sum = self.gaps.entry((node, table, reasons.value(row).to_owned())).or_default();
            *sum = sum.saturating_add(new);
        }
        Some(())
    }
}

impl fmt::Display for Summary {
    /// One line a node, table and day, then one for each kind of gap.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = |of: fn(&Day) -> usize| self.days.iter().map(of).max().unwrap_or_default();
        let (node_wide, table_wide) = (wide(|day| day.node.len()), wide(|day| day.table.len()));
        for Day { node, table, day, rows, newest } in &self.days {
            writeln!(f, "{node:node_wide$}  {table:table_wide$}  {day}  {rows:>10} rows, the newest to {newest}")?;
        }
        for Gaps { node, table, reason, rows } in &self.gaps {
            writeln!(f, "{node:node_wide$}  {table:table_wide$}  {rows} rows will never come: {reason}")?;
        }
        writeln!(f, "{} files, {} bytes", self.files, self.bytes)
    }
}
