//! Rows of `agg.v1` summed up to hours, for a spool that is full: an hour's four numbers become one.
//!
//! It computes with released numbers alone, noise and all, so it tells nobody more than they did and costs no budget.
//!
//! | measures | in an hour | why |
//! |---|---|---|
//! | crossing_count, dwell_hist, speed_hist, stopped_count, turn_count, headway_hist, loitering_count | sum | each object or passage is counted in one bin |
//! | occupancy_time | sum | seconds within disjoint bins |
//! | presence_mean, density_level | mean, weighted by length | each is a mean over its bin already |
//! | queue_len, queue_reach, flow_score | the largest | each is the largest of its bin; a mean would be another measure |
//!
//! `noise_b`: a Laplace draw of scale b has the variance 2b². The bins' draws are independent, so the sum has the
//! variance Σ2bᵢ², which a single draw has at the scale √Σbᵢ²; the mean with the weights wᵢ = length over whole length
//! the one at √Σ(wᵢbᵢ)². The sum of such draws is no Laplace draw itself: the scale tells the variance, and no more.
//! The largest of numbers with noise has no such scale; such rows stay as they are.
//!
//! `n_frames` adds up, `coverage` is the mean weighted by length, `clock_q` the worst. `suppressed` follows the rule of
//! fresh rows; its threshold is not in the rows, so it is the largest one that agrees with all of the camera's.
//!
//! Rows are summed up only where they agree in all else, lie within one hour of UTC by their beginnings, and follow each
//! other without a pause: a bin that was held back is not made up for. Bins of an hour and more stay.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowDictionaryKeyType, Float32Type, Int32Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, DictionaryArray, PrimitiveArray, RecordBatch,
    TimestampMillisecondArray,
};
use arrow_schema::SchemaRef;
use kerbside_core::finding::Measure;

use crate::agg::is_suppressed;
use crate::error::ReleaseError;
use crate::table::{ClockQuality, Table, UTC, Unit};

const HOUR_MILLIS: i64 = 3_600_000;

/// How the numbers of several bins become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Sum,
    Mean,
    Largest,
}

impl Way {
    const fn of(measure: Measure) -> Self {
        match measure {
            Measure::CrossingCount
            | Measure::OccupancyTime
            | Measure::DwellHist
            | Measure::SpeedHist
            | Measure::StoppedCount
            | Measure::TurnCount
            | Measure::HeadwayHist
            | Measure::LoiteringCount => Self::Sum,
            Measure::PresenceMean | Measure::DensityLevel => Self::Mean,
            Measure::QueueLen | Measure::QueueReach | Measure::FlowScore => Self::Largest,
        }
    }
}

/// What rows must agree in. Words by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    node: u16,
    camera: u16,
    model: u8,
    config_revision: u32,
    release: u8,
    site: u16,
    measure: u8,
    class: u8,
    direction: u8,
    bucket: u8,
    unit: u8,
}

/// One row, or several that became one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    key: Key,
    t0: i64,
    t1: i64,
    clock: u8,
    value: i32,
    noise_b: f32,
    coverage: f32,
    frames: u32,
    suppressed: bool,
}

/// Sums up the rows of some batches of `agg.v1` that have one schema and one set of words, in the order of their
/// numbers. `None` where no row can be summed up with another. The rows are numbered anew from the first one's number.
///
/// An error says that the batches are of another table, of several epochs, or of several sets of words.
pub fn coarsen(batches: &[RecordBatch]) -> Result<Option<RecordBatch>, ReleaseError> {
    let Some(first) = batches.first() else { return Ok(None) };
    let words = Words::of(first)?;
    let mut rows = Vec::new();
    for batch in batches {
        words.read(batch, &mut rows)?;
    }
    let Some((epoch, seq)) = words.begin else { return Ok(None) };
    let thresholds = thresholds(&rows, &words);
    let merged = merge(&rows, &words);
    if merged.len() == rows.len() {
        return Ok(None);
    }
    let rows: Vec<Row> = merged
        .into_iter()
        .map(|run| {
            let row = run.row();
            if run.rows.len() == 1 {
                return row;
            }
            let key = row.key;
            let threshold = thresholds.get(&(key.camera, key.config_revision)).copied().unwrap_or(i64::MAX);
            Row { suppressed: is_suppressed(words.counts(key.unit), row.value, threshold), ..row }
        })
        .collect();
    words.write(&rows, epoch, seq).map(Some)
}

/// The largest threshold of each camera that all of its rows agree with.
fn thresholds(rows: &[Row], words: &Words<'_>) -> HashMap<(u16, u32), i64> {
    let mut thresholds = HashMap::new();
    for row in rows.iter().filter(|row| !row.suppressed && words.counts(row.key.unit)) {
        let threshold = thresholds.entry((row.key.camera, row.key.config_revision)).or_insert(i64::MAX);
        *threshold = i64::from(row.value).min(*threshold);
    }
    thresholds
}

/// Rows that become one.
struct Run {
    rows: Vec<Row>,
    way: Option<Way>,
    /// The worst clock's key.
    clock: u8,
    t1: i64,
}

/// Puts rows together, in the order in which the first of each came.
fn merge(rows: &[Row], words: &Words<'_>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut open: HashMap<Key, usize> = HashMap::new();
    for row in rows {
        let way = words.way(row);
        let last = open.get(&row.key).and_then(|place| runs.get_mut(*place));
        if let Some(run) = last
            && let (Some(own), Some(first)) = (run.way, run.rows.first())
            && way == Some(own)
            && run.t1 == row.t0
            && first.t0.div_euclid(HOUR_MILLIS) == row.t0.div_euclid(HOUR_MILLIS)
        {
            run.rows.push(*row);
            run.t1 = row.t1;
            run.clock = words.worse(run.clock, row.clock);
            continue;
        }
        open.insert(row.key, runs.len());
        runs.push(Run { rows: vec![*row], way, clock: row.clock, t1: row.t1 });
    }
    runs
}

impl Run {
    fn row(&self) -> Row {
        let [first, rest @ ..] = self.rows.as_slice() else { unreachable!("a run begins with a row") };
        let Some(way) = self.way.filter(|_| !rest.is_empty()) else { return *first };
        let length = |row: &Row| (row.t1 - row.t0) as f64;
        let whole = (self.t1 - first.t0) as f64;
        let sum_of = |number: &dyn Fn(&Row) -> f64| self.rows.iter().map(number).sum::<f64>();
        let value = match way {
            Way::Sum => self.rows.iter().fold(0_i32, |sum, row| sum.saturating_add(row.value)),
            // Of whole numbers in 32 bits, so the mean is one as well.
            Way::Mean => (sum_of(&|row| f64::from(row.value) * length(row)) / whole).round() as i32,
            Way::Largest => self.rows.iter().map(|row| row.value).max().unwrap_or(first.value),
        };
        let noise_b = match way {
            Way::Sum => sum_of(&|row| f64::from(row.noise_b).powi(2)).sqrt(),
            Way::Mean => sum_of(&|row| (f64::from(row.noise_b) * length(row)).powi(2)).sqrt() / whole,
            Way::Largest => 0.0,
        };
        let coverage = sum_of(&|row| f64::from(row.coverage) * length(row)) / whole;
        let frames = self.rows.iter().fold(0_u32, |sum, row| sum.saturating_add(row.frames));
        Row {
            t1: self.t1,
            clock: self.clock,
            value,
            noise_b: noise_b as f32,
            coverage: coverage as f32,
            frames,
            ..*first
        }
    }
}

/// What the keys of the batches mean.
struct Words<'a> {
    like: &'a RecordBatch,
    schema: SchemaRef,
    measures: Vec<Option<Measure>>,
    clocks: Vec<Option<ClockQuality>>,
    /// Which key of the unit column says count.
    count: Option<u8>,
    /// Epoch and number of the first row.
    begin: Option<(u32, u64)>,
}

impl<'a> Words<'a> {
    fn of(first: &'a RecordBatch) -> Result<Self, ReleaseError> {
        let schema = first.schema();
        if !Table::Agg.is_published(schema.fields()) {
            return Err(contract("", "the batch is not of agg.v1"));
        }
        let measure = |word: &str| Measure::ALL.into_iter().find(|measure| measure.name() == word);
        let clock = |word: &str| ClockQuality::ALL.into_iter().find(|clock| clock.name() == word);
        let count =
            words_of(first, "unit")?.iter().position(|word| *word == Unit::WORDS[usize::from(Unit::Count.key())]);
        let begin = (first.num_rows() > 0).then(|| {
            Ok::<_, ReleaseError>((
                numbers::<UInt32Type>(first, "epoch")?[0],
                numbers::<UInt64Type>(first, "seq")?[0],
            ))
        });
        Ok(Self {
            measures: words_of(first, "measure")?.into_iter().map(measure).collect(),
            clocks: words_of(first, "clock_q")?.into_iter().map(clock).collect(),
            count: count.and_then(|key| u8::try_from(key).ok()),
            begin: begin.transpose()?,
            like: first,
            schema,
        })
    }

    fn counts(&self, unit: u8) -> bool {
        self.count == Some(unit)
    }

    /// How a row may be summed up with others, if at all.
    fn way(&self, row: &Row) -> Option<Way> {
        let measure = self.measures.get(usize::from(row.key.measure)).copied().flatten()?;
        let way = Way::of(measure);
        let is_short = row.t1 > row.t0 && row.t1 - row.t0 < HOUR_MILLIS;
        (is_short && (way != Way::Largest || row.noise_b == 0.0)).then_some(way)
    }

    /// The key of the worse clock; one without a known word is worse than all.
    fn worse(&self, a: u8, b: u8) -> u8 {
        let rank = |key: u8| {
            self.clocks
                .get(usize::from(key))
                .copied()
                .flatten()
                .map_or(ClockQuality::ALL.len(), |clock| clock as usize)
        };
        if rank(b) > rank(a) { b } else { a }
    }

    fn read(&self, batch: &RecordBatch, rows: &mut Vec<Row>) -> Result<(), ReleaseError> {
        if batch.schema() != self.schema {
            return Err(contract("", "the batches have different schemas"));
        }
        for (column, first) in batch.columns().iter().zip(self.like.columns()) {
            if let (Some(own), Some(first)) = (column.as_any_dictionary_opt(), first.as_any_dictionary_opt())
                && own.values() != first.values()
            {
                return Err(contract("", "the batches have different words"));
            }
        }
        let epochs = numbers::<UInt32Type>(batch, "epoch")?;
        if let Some((epoch, _)) = self.begin
            && epochs.iter().any(|of| *of != epoch)
        {
            return Err(contract("epoch", "the batches are of several epochs"));
        }
        let (node, camera, site) = (
            keys::<UInt16Type>(batch, "node")?,
            keys::<UInt16Type>(batch, "camera")?,
            keys::<UInt16Type>(batch, "site")?,
        );
        let (model, release, clock) = (
            keys::<UInt8Type>(batch, "model")?,
            keys::<UInt8Type>(batch, "release")?,
            keys::<UInt8Type>(batch, "clock_q")?,
        );
        let (measure, class, direction) = (
            keys::<UInt8Type>(batch, "measure")?,
            keys::<UInt8Type>(batch, "class")?,
            keys::<UInt8Type>(batch, "dir")?,
        );
        let (unit, bucket) = (keys::<UInt8Type>(batch, "unit")?, numbers::<UInt8Type>(batch, "bucket")?);
        let config_revision = numbers::<UInt32Type>(batch, "cfg_rev")?;
        let (t0, t1) =
            (numbers::<TimestampMillisecondType>(batch, "t0")?, numbers::<TimestampMillisecondType>(batch, "t1")?);
        let (value, noise_b) = (numbers::<Int32Type>(batch, "value")?, numbers::<Float32Type>(batch, "noise_b")?);
        let (coverage, frames) =
            (numbers::<Float32Type>(batch, "coverage")?, numbers::<UInt32Type>(batch, "n_frames")?);
        let suppressed = column(batch, "suppressed")?.as_boolean_opt().ok_or_else(|| of_type("suppressed"))?;
        rows.extend((0..batch.num_rows()).map(|row| Row {
            key: Key {
                node: node[row],
                camera: camera[row],
                model: model[row],
                config_revision: config_revision[row],
                release: release[row],
                site: site[row],
                measure: measure[row],
                class: class[row],
                direction: direction[row],
                bucket: bucket[row],
                unit: unit[row],
            },
            t0: t0[row],
            t1: t1[row],
            clock: clock[row],
            value: value[row],
            noise_b: noise_b[row],
            coverage: coverage[row],
            frames: frames[row],
            suppressed: suppressed.value(row),
        }));
        Ok(())
    }

    fn write(&self, rows: &[Row], epoch: u32, seq: u64) -> Result<RecordBatch, ReleaseError> {
        let time = |of: fn(&Row) -> i64| -> ArrayRef {
            Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(of)).with_timezone(UTC))
        };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            columns.push(match field.name().as_str() {
                "node" => self.words::<UInt16Type>("node", rows, |row| row.key.node)?,
                "camera" => self.words::<UInt16Type>("camera", rows, |row| row.key.camera)?,
                "epoch" => plain::<UInt32Type>(rows, |_| epoch),
                "seq" => Arc::new(PrimitiveArray::<UInt64Type>::from_iter_values((seq..).take(rows.len()))),
                "t0" => time(|row| row.t0),
                "t1" => time(|row| row.t1),
                "clock_q" => self.words::<UInt8Type>("clock_q", rows, |row| row.clock)?,
                "model" => self.words::<UInt8Type>("model", rows, |row| row.key.model)?,
                "cfg_rev" => plain::<UInt32Type>(rows, |row| row.key.config_revision),
                "release" => self.words::<UInt8Type>("release", rows, |row| row.key.release)?,
                "site" => self.words::<UInt16Type>("site", rows, |row| row.key.site)?,
                "measure" => self.words::<UInt8Type>("measure", rows, |row| row.key.measure)?,
                "class" => self.words::<UInt8Type>("class", rows, |row| row.key.class)?,
                "dir" => self.words::<UInt8Type>("dir", rows, |row| row.key.direction)?,
                "bucket" => plain::<UInt8Type>(rows, |row| row.key.bucket),
                "value" => plain::<Int32Type>(rows, |row| row.value),
                "unit" => self.words::<UInt8Type>("unit", rows, |row| row.key.unit)?,
                "noise_b" => plain::<Float32Type>(rows, |row| row.noise_b),
                "coverage" => plain::<Float32Type>(rows, |row| row.coverage),
                "n_frames" => plain::<UInt32Type>(rows, |row| row.frames),
                "suppressed" => Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.suppressed)))),
                other => return Err(contract(other, "the column is unknown")),
            });
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// A column of words that are those of the batches.
    fn words<K: ArrowDictionaryKeyType>(
        &self,
        name: &str,
        rows: &[Row],
        key: fn(&Row) -> K::Native,
    ) -> Result<ArrayRef, ReleaseError> {
        let values = column(self.like, name)?.as_dictionary_opt::<K>().ok_or_else(|| of_type(name))?.values();
        let keys = PrimitiveArray::<K>::from_iter_values(rows.iter().map(key));
        Ok(Arc::new(DictionaryArray::<K>::try_new(keys, Arc::clone(values))?))
    }
}

fn plain<T: ArrowPrimitiveType>(rows: &[Row], number: impl Fn(&Row) -> T::Native) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values(rows.iter().map(number)))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ReleaseError> {
    batch.column_by_name(name).ok_or_else(|| contract(name, "the column is missing"))
}

fn numbers<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a [T::Native], ReleaseError> {
    let array = column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| of_type(name))?;
    Ok(array.values())
}

fn keys<'a, K: ArrowDictionaryKeyType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a [K::Native], ReleaseError> {
    let array = column(batch, name)?.as_dictionary_opt::<K>().ok_or_else(|| of_type(name))?;
    Ok(array.keys().values())
}

/// The words of a column, by their keys.
fn words_of<'a>(batch: &'a RecordBatch, name: &str) -> Result<Vec<&'a str>, ReleaseError> {
    let words = column(batch, name)?.as_dictionary_opt::<UInt8Type>().ok_or_else(|| of_type(name))?.values();
    let words = words.as_string_opt::<i32>().ok_or_else(|| of_type(name))?;
    Ok((0..words.len()).map(|key| words.value(key)).collect())
}

fn of_type(column: &str) -> ReleaseError {
    contract(column, "the column is of another type")
}

fn contract(column: &str, why: &str) -> ReleaseError {
    ReleaseError::Contract { table: Table::Agg, column: column.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests;
