//! Merging the small files of a day, and letting go of days that were kept long enough.
//!
//! A gateway that stores every second writes tens of thousands of small files a day, which are slow to read. Those that
//! are old enough are merged, sorted by node, camera, time and number: many new ones to one while a day goes on, and all
//! that is small once nothing has come for a while, to files of up to a million rows or 128 MiB. A crash between any two
//! steps loses and doubles nothing:
//!
//! 1. what is to be written goes into the state as an intent,
//! 2. the merged file is put under a name that was never used,
//! 3. the list of files has the new in place of the old, and the intent is one to delete the old,
//! 4. the old files are deleted, and the intent is gone.
//!
//! Who lists the landing itself between the second step and the fourth sees rows twice; their keys (node, table, epoch,
//! seq) tell. `DoGet` takes the list from the state and never does. A file that somebody reads is deleted
//! in a later round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{TimestampMillisecondType, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, UInt32Array};
use kerbside_release::Table;
use kerbside_telemetry::GatewayMetrics;
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt as _, PutMode};
use tokio::sync::Mutex;

use crate::commit::blocking;
use crate::error::GatewayError;
use crate::get::Pins;
use crate::landing::{self, GAP_TABLE, Store};
use crate::state::{Intent, LandingFile, State};

/// Merged files are not larger than this.
const TARGET_BYTES: u64 = 128 << 20;
/// Nor do they have more rows: they lie in memory unpacked while they are sorted, some 300 bytes each.
const TARGET_ROWS: u64 = 1 << 20;
/// Fewer files than this are left as they are.
const LEAST_FILES: usize = 2;
/// While a day goes on, so many new files make one.
const LEAST_NEW_FILES: usize = 60;
/// The most files that are merged at a time.
const ROUND_FILES: usize = 2000;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// What is merged and kept.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Small files are merged when they are so old.
    pub(crate) after: Duration,
    /// For how long a table's days are kept; for ever where it is not listed.
    pub(crate) retention: BTreeMap<Table, Duration>,
}

/// Merges, deletes and counts.
#[derive(Clone)]
pub(crate) struct Compactor {
    pub(crate) state: Arc<State>,
    pub(crate) store: Store,
    pub(crate) pins: Arc<Pins>,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) rules: Rules,
    /// One round at a time: a round undoes merges that are open, and those of another round are.
    pub(crate) turn: Arc<Mutex<()>>,
}

impl Compactor {
    /// Looks at every partition once. `now` is in milliseconds since 1970.
    ///
    /// # Errors
    /// The first of those that came: the state or the landing cannot be read or written. What was begun is finished or
    /// undone later, and a partition that fails keeps no other from its turn.
    pub(crate) async fn round(&self, now: i64) -> Result<(), GatewayError> {
        let _turn = self.turn.lock().await;
        let mut first = self.finish().await.err();
        let (expired, kept): (Vec<_>, Vec<_>) =
            self.state.days().into_iter().partition(|(table, day)| self.is_expired(table, day, now));
        // What must go goes first: merging may take long, or fail.
        for (table, day) in expired {
            if let Err(error) = self.expire(&table, &day).await {
                tracing::error!(%error, table, day, "a day that was kept long enough could not be deleted; once more later");
                first.get_or_insert(error);
            }
        }
        for (table, day) in kept {
            if let Err(error) = self.merge_all(&table, &day, now).await {
                tracing::error!(%error, table, day, "small files could not be merged; once more later");
                first.get_or_insert(error);
            }
        }
        self.measure();
        first.map_or(Ok(()), Err)
    }

    async fn merge_all(&self, table: &str, day: &str, now: i64) -> Result<(), GatewayError> {
        while self.merge(table, day, now).await? {}
        Ok(())
    }

    /// Merges some files of a day. `false` when there is nothing (more) to merge.
    async fn merge(&self, table: &str, day: &str, now: i64) -> Result<bool, GatewayError> {
        let sources = chosen(self.state.files(table, day), self.rules.after, now);
        if sources.is_empty() {
            return Ok(false);
        }
        let mut batches = Vec::new();
        for file in &sources {
            let bytes = self.store.get(&Key::from(file.key.as_str())).await?.bytes().await?;
            let of = table.to_owned();
            batches.extend(blocking(move || landing::decode(&of, bytes)).await?);
        }
        let of = table.to_owned();
        let bytes = blocking(move || {
            let sorted = sorted(&of, &batches)?;
            landing::encode(&of, &[sorted])
        })
        .await?;
        let rows = sources.iter().map(|file| file.rows).sum();
        let merged = sources.iter().map(|file| file.merged).max().unwrap_or_default() + 1;
        let target = LandingFile {
            key: String::new(),
            table: table.to_owned(),
            day: day.to_owned(),
            rows,
            bytes: bytes.len() as u64,
            written: now,
            merged,
        };
        let (state, intended) = (Arc::clone(&self.state), sources.clone());
        let (number, target) = blocking(move || {
            let mut named = target;
            let begun = state.begin(|number| {
                named.key = landing::file_key(&named.table, &named.day, state.life(), number, 0);
                Intent::Merge { targets: vec![named.clone()], sources: intended }
            });
            Ok((begun?.0, named))
        })
        .await?;
        if let Err(error) = landing::put(&self.store, &target, bytes, PutMode::Create).await {
            // The intent stays until the file is known to be gone.
            landing::delete(&self.store, &target.key).await?;
            self.drop_intent(number).await?;
            return Err(error);
        }
        let (written, written_bytes) = self.metrics.written(table);
        written.increment();
        written_bytes.add(target.bytes);
        let state = Arc::clone(&self.state);
        let replaced = sources.clone();
        blocking(move || state.replace_files(Some(number), &[target], &replaced)).await?;
        self.metrics.compactions(table).increment();
        let keys: Vec<String> = sources.into_iter().map(|file| file.key).collect();
        self.delete(number, &keys).await?;
        Ok(true)
    }

    fn is_expired(&self, table: &str, day: &str, now: i64) -> bool {
        let keep = Table::from_name(table).and_then(|table| self.rules.retention.get(&table));
        let (Some(keep), Some(day)) = (keep, landing::day_of_name(day)) else { return false };
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        now.saturating_sub(keep) >= (day + 1) * DAY_MILLIS
    }

    async fn expire(&self, table: &str, day: &str) -> Result<(), GatewayError> {
        let files = self.state.files(table, day);
        tracing::info!(table, day, files = files.len(), "kept long enough: deleted");
        let keys: Vec<String> = files.iter().map(|file| file.key.clone()).collect();
        let state = Arc::clone(&self.state);
        let number = blocking(move || state.replace_files(None, &[], &files)).await?;
        self.metrics.files_expired(table).add(keys.len() as u64);
        self.delete(number, &keys).await
    }

    /// Deletions that readers held up, or that were broken off, and merges that could not even be undone.
    async fn finish(&self) -> Result<(), GatewayError> {
        let mut result = Ok(());
        for (number, intent) in self.state.open_intents()? {
            let keys = match intent {
                Intent::Delete { keys } => keys,
                Intent::Merge { targets, .. } => targets.into_iter().map(|file| file.key).collect(),
                Intent::Commit { .. } => continue,
            };
            if let Err(error) = self.delete(number, &keys).await {
                tracing::error!(%error, number, "files could not be deleted; once more later");
                result = Err(error);
            }
        }
        result
    }

    async fn delete(&self, number: u64, keys: &[String]) -> Result<(), GatewayError> {
        let mut are_gone = true;
        for key in keys {
            if self.pins.is_free(key) {
                landing::delete(&self.store, key).await?;
            } else {
                are_gone = false;
            }
        }
        if are_gone { self.drop_intent(number).await } else { Ok(()) }
    }

    async fn drop_intent(&self, number: u64) -> Result<(), GatewayError> {
        let state = Arc::clone(&self.state);
        blocking(move || state.drop_intent(number)).await
    }

    fn measure(&self) {
        for table in Table::ALL.map(Table::name).into_iter().chain([GAP_TABLE]) {
            let (count, bytes) = self.state.size(table);
            let (files_gauge, bytes_gauge) = self.metrics.landing(table);
            files_gauge.set(count as f64);
            bytes_gauge.set(bytes as f64);
        }
    }
}

/// The files of a day that are merged next: small ones that are old enough. While new ones come, merged ones are left
/// alone, so that a row is written three times at most and not again and again.
fn chosen(files: Vec<LandingFile>, after: Duration, now: i64) -> Vec<LandingFile> {
    let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    let is_new = |file: &LandingFile| file.merged == 0 && now.saturating_sub(file.written) < after;
    let goes_on = files.iter().any(is_new);
    let is_small = |file: &LandingFile| file.bytes < TARGET_BYTES / 2 && file.rows < TARGET_ROWS / 2;
    let may_be = |file: &LandingFile| is_small(file) && !is_new(file) && !(goes_on && file.merged > 0);
    let mut small: Vec<LandingFile> = files.into_iter().filter(may_be).collect();
    small.sort_by(|a, b| (a.rows, &a.key).cmp(&(b.rows, &b.key)));
    let least = if goes_on { LEAST_NEW_FILES } else { LEAST_FILES };
    if small.len() < least {
        return Vec::new();
    }
    let (mut bytes, mut rows) = (0, 0);
    let fits = |file: &LandingFile| {
        bytes += file.bytes;
        rows += file.rows;
        bytes <= TARGET_BYTES && rows <= TARGET_ROWS
    };
    small.into_iter().take_while(fits).take(ROUND_FILES).collect()
}

/// All rows of some batches of one table, in one order: by node, camera, time and number.
fn sorted(table: &str, batches: &[RecordBatch]) -> Result<RecordBatch, GatewayError> {
    let schema =
        landing::schema_of(table).ok_or_else(|| GatewayError::StateContent(format!("the table {table}")))?;
    let all = arrow_select::concat::concat_batches(&schema, batches)?;
    let missing = || GatewayError::StateContent(format!("{table} without a column that it is sorted by"));
    let column = |name: &str| all.column_by_name(name).ok_or_else(missing);
    let texts = |name: &str| column(name)?.as_string_opt::<i32>().ok_or_else(missing);
    let (second, time, number) =
        if table == GAP_TABLE { ("table", "told_at", "first_seq") } else { ("camera", "t0", "seq") };
    let (node, second) = (texts("node")?, texts(second)?);
    let time = column(time)?.as_primitive_opt::<TimestampMillisecondType>().ok_or_else(missing)?;
    let epoch = column("epoch")?.as_primitive_opt::<UInt32Type>().ok_or_else(missing)?;
    let number = column(number)?.as_primitive_opt::<UInt64Type>().ok_or_else(missing)?;
    let mut order: Vec<u32> = (0..u32::try_from(all.num_rows()).map_err(|_| missing())?).collect();
    order.sort_by_cached_key(|row| {
        let row = *row as usize;
        (node.value(row), second.value(row), time.value(row), epoch.value(row), number.value(row))
    });
    let order = UInt32Array::from(order);
    let columns: Result<Vec<ArrayRef>, _> =
        all.columns().iter().map(|column| arrow_select::take::take(column, &order, None)).collect();
    Ok(RecordBatch::try_new(schema, columns?)?)
}

/// Looks at the partitions every now and then, for ever.
pub(crate) async fn run(compactor: Compactor) {
    let pause = (compactor.rules.after / 4).clamp(Duration::from_secs(15), Duration::from_secs(15 * 60));
    loop {
        // What failed is in the log, and comes again.
        let _ = compactor.round(landing::now_millis()).await;
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str, bytes: u64, written: i64, merged: u32) -> LandingFile {
        let (table, day) = ("agg.v1".to_owned(), "2026-01-02".to_owned());
        LandingFile { key: key.to_owned(), table, day, rows: 1, bytes, written, merged }
    }

    #[test]
    fn small_files_are_merged_when_they_are_old_enough() {
        let hour = Duration::from_secs(3600);
        let keys = |files: Vec<LandingFile>| files.into_iter().map(|file| file.key).collect::<Vec<_>>();
        let files =
            vec![file("a", 10, 0, 0), file("b", 10, 1000, 0), file("c", TARGET_BYTES, 0, 1), file("d", 9, 0, 1)];
        assert!(chosen(files.clone(), hour, 3_600_000).is_empty(), "b is new");
        assert_eq!(keys(chosen(files, hour, 3_601_000)), ["a", "b", "d"]);
        let large = TARGET_BYTES / 2 - 1;
        let files = vec![file("a", large, 0, 0), file("b", large, 0, 0), file("c", large, 0, 0)];
        assert_eq!(keys(chosen(files, hour, i64::MAX)), ["a", "b"], "no more than fit into one");
        let mut files: Vec<LandingFile> = (0..60).map(|place| file(&format!("{place:02}"), 10, 0, 0)).collect();
        files.extend([file("new", 10, i64::MAX, 0), file("merged", 10, 0, 1)]);
        assert_eq!(chosen(files.clone(), hour, i64::MAX).len(), 60, "the day goes on, and many are old enough");
        files.remove(0);
        assert!(chosen(files, hour, i64::MAX).is_empty());
    }
}
