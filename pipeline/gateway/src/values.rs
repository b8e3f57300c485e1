//! The ranges and steps of the privacy contract, for the values of a batch.
//!
//! Everything is checked a column at a time; what a word means for other columns is looked up by its key, once a
//! stream.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float32Type, Int32Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array as _, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use kerbside_core::detection::Class;
use kerbside_core::finding::Measure;
use kerbside_core::incident::{IncidentKind, IncidentUnit, Phase};
use kerbside_release::{Table, unit_of};
use kerbside_uplink::wire::Refusal;

use crate::refused::Refused;

/// 2000-01-01 and 2100-01-01 UTC, in milliseconds.
const PLAUSIBLE: std::ops::Range<i64> = 946_684_800_000..4_102_444_800_000;
const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const QUARTER: i64 = 15 * MINUTE;
const DAY: i64 = 24 * 60 * MINUTE;
/// Time quanta of incidents about people.
const PERSON_QUANTUM: i64 = 10 * SECOND;
/// The most days that the rows of one batch lie in.
const MAX_DAYS: usize = 32;

/// What the words of a stream mean, by column and key.
#[derive(Debug)]
pub(crate) struct Rules {
    table: Table,
    places: Places,
    unsynced: Vec<bool>,
    release: Vec<Rule>,
    classes: Vec<Option<Class>>,
    measures: Vec<Option<Measure>>,
    kinds: Vec<Option<IncidentKind>>,
    phases: Vec<Option<Phase>>,
    /// By key of the `unit` column.
    units: Vec<String>,
}

/// The places of the columns that are looked at by name.
#[derive(Debug)]
struct Places(Vec<String>);

impl Places {
    fn of(&self, name: &str) -> usize {
        self.0.iter().position(|column| column == name).unwrap_or(usize::MAX)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    AggDp,
    AggExact,
    Incident,
    Health,
    Demo,
}

fn wrong(column: &str, why: &str) -> Refused {
    Refused::new(Refusal::Value, format!("{column}: {why}"))
}

impl Rules {
    pub(crate) fn new(table: Table, columns: &[Field], words: &[Option<Arc<StringArray>>]) -> Self {
        let places = Places(columns.iter().map(|column| column.name().clone()).collect());
        let of = |name: &str| -> Vec<String> {
            let words = words.get(places.of(name)).and_then(Option::as_ref);
            words.map_or_else(Vec::new, |words| words.iter().flatten().map(str::to_owned).collect())
        };
        fn known<T: Copy>(words: Vec<String>, all: &[T], name: impl Fn(T) -> &'static str) -> Vec<Option<T>> {
            words.iter().map(|word| all.iter().copied().find(|one| name(*one) == word)).collect()
        }
        let release = of("release");
        let release = release.iter().map(|word| match word.as_str() {
            "agg_dp" => Rule::AggDp,
            "agg_exact" => Rule::AggExact,
            "incident" => Rule::Incident,
            "health" => Rule::Health,
            _ => Rule::Demo,
        });
        Self {
            table,
            unsynced: of("clock_q").iter().map(|word| word == "unsynced").collect(),
            release: release.collect(),
            classes: known(of("class"), &Class::ALL, Class::name),
            measures: known(of("measure"), &Measure::ALL, Measure::name),
            kinds: known(of("kind"), &IncidentKind::ALL, IncidentKind::name),
            phases: known(of("phase"), &Phase::ALL, Phase::name),
            units: of("unit"),
            places,
        }
    }

    /// Checks all values. The columns are those of the table, as the reader made them.
    pub(crate) fn check(
        &self,
        batch: &RecordBatch,
        epoch: u32,
        first_seq: u64,
        accept_demo: bool,
        now: i64,
    ) -> Result<(), Refused> {
        let rows = Rows { batch, places: &self.places };
        if rows.of::<UInt32Type>("epoch")?.iter().any(|found| *found != epoch) {
            return Err(wrong("epoch", "a row of another epoch than its stream's"));
        }
        let mut expected = first_seq;
        for seq in rows.of::<UInt64Type>("seq")? {
            if *seq != expected {
                return Err(wrong("seq", "the rows are not numbered one after the other"));
            }
            expected = expected.wrapping_add(1);
        }
        let release: Vec<Rule> =
            rows.keys("release")?.map(|key| self.release.get(key).copied().unwrap_or(Rule::Demo)).collect();
        let is_right = |rule: &Rule| match (self.table, rule) {
            (Table::Agg, Rule::AggDp | Rule::AggExact)
            | (Table::Incident, Rule::Incident)
            | (Table::Health, Rule::Health) => true,
            (Table::Agg | Table::Incident, Rule::Demo) => accept_demo,
            _ => false,
        };
        if !release.iter().all(is_right) {
            return Err(wrong("release", "rows under a rule that is not accepted for this table"));
        }
        self.times(&rows, now)?;
        for field in batch.schema_ref().fields() {
            if field.data_type() == &DataType::Float32 {
                let column = batch.column(self.places.of(field.name())).as_primitive::<Float32Type>();
                if column.iter().flatten().any(|value| !value.is_finite()) {
                    return Err(wrong(field.name(), "not a number, or without end"));
                }
            }
        }
        match self.table {
            Table::Agg => self.agg(&rows, &release),
            Table::Incident => self.incident(&rows, &release),
            Table::Health => self.health(&rows),
        }
    }

    /// Beginnings before ends, in years that can be, and in no day that has not come. A clock that was never set may say any time from 1970 on; a row
    /// about the node itself may span the moment at which it was set.
    fn times(&self, rows: &Rows<'_>, now: i64) -> Result<(), Refused> {
        let clocks = rows.keys("clock_q")?;
        let (from, to) = (rows.of::<TimestampMillisecondType>("t0")?, rows.of::<TimestampMillisecondType>("t1")?);
        let mut days: Vec<i64> = Vec::new();
        for ((from, to), clock) in from.iter().zip(to).zip(clocks) {
            let is_health = self.table == Table::Health;
            let is_unsynced = self.unsynced.get(clock) == Some(&true);
            let earliest = if is_health || is_unsynced { 0 } else { PLAUSIBLE.start };
            if *from < earliest || *to > PLAUSIBLE.end {
                return Err(wrong("t0", "a year that cannot be"));
            }
            // A day of room: the gateway's clock, too, may be wrong.
            if !is_unsynced && *to > now.saturating_add(DAY) {
                return Err(wrong("t1", "a day that has not come, by a clock that is said to be right"));
            }
            if from > to || (!is_health && (from == to || to - from > DAY)) {
                return Err(wrong("t1", "a span of no time, or of more than a day"));
            }
            let day = from.div_euclid(DAY);
            if days.last() != Some(&day) && !days.contains(&day) {
                days.push(day);
                if days.len() > MAX_DAYS {
                    return Err(wrong("t0", "rows of too many days at once"));
                }
            }
        }
        Ok(())
    }

    fn agg(&self, rows: &Rows<'_>, release: &[Rule]) -> Result<(), Refused> {
        let (from, to) = (rows.of::<TimestampMillisecondType>("t0")?, rows.of::<TimestampMillisecondType>("t1")?);
        let (noise, buckets) = (rows.of::<Float32Type>("noise_b")?, rows.of::<UInt8Type>("bucket")?);
        let (mut classes, mut measures, mut units) =
            (rows.keys("class")?, rows.keys("measure")?, rows.keys("unit")?);
        if rows.of::<Float32Type>("coverage")?.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err(wrong("coverage", "no share"));
        }
        for row in 0..release.len() {
            let class = classes.next().and_then(|key| self.classes.get(key).copied().flatten());
            let measure = measures.next().and_then(|key| self.measures.get(key).copied().flatten());
            let unit = units.next().and_then(|key| self.units.get(key));
            let Some(measure) = measure else { return Err(wrong("measure", "an unknown measure")) };
            if unit.is_none_or(|unit| unit != unit_of(measure)) {
                return Err(wrong("unit", "another unit than the measure's"));
            }
            if buckets.get(row).is_none_or(|bucket| !measure.buckets().contains(bucket)) {
                return Err(wrong("bucket", "a bucket that the measure has not"));
            }
            if noise.get(row).is_none_or(|noise| *noise < 0.0) {
                return Err(wrong("noise_b", "a negative scale"));
            }
            let is_personal = class.is_some_and(Class::is_personal);
            let rule = release.get(row);
            if rule == Some(&Rule::AggExact) && (is_personal || noise.get(row) != Some(&0.0)) {
                return Err(wrong("release", "an exact number of people, or one with noise that is called exact"));
            }
            if rule != Some(&Rule::Demo) {
                let least = if is_personal { QUARTER } else { MINUTE };
                let (Some(from), Some(to)) = (from.get(row), to.get(row)) else { break };
                if to - from < least || from % least != 0 || to % least != 0 {
                    return Err(wrong(
                        "t1",
                        "a bin that is shorter than the contract allows, or begins within one",
                    ));
                }
            }
        }
        Ok(())
    }

    fn incident(&self, rows: &Rows<'_>, release: &[Rule]) -> Result<(), Refused> {
        let (from, to) = (rows.of::<TimestampMillisecondType>("t0")?, rows.of::<TimestampMillisecondType>("t1")?);
        let steps = |name: &'static str, step: u8| -> Result<(), Refused> {
            let wrong_one = |share: &u8| *share > 100 || !share.is_multiple_of(step);
            if rows.of::<UInt8Type>(name)?.iter().any(wrong_one) {
                return Err(wrong(name, "no share in its steps"));
            }
            Ok(())
        };
        steps("severity", 10)?;
        steps("confidence", 5)?;
        let values = rows.of::<Int32Type>("value")?;
        let durations = rows.batch.column(self.places.of("duration_s"));
        let (mut classes, mut kinds) = (rows.keys("class")?, rows.keys("kind")?);
        let (mut phases, mut units) = (rows.keys("phase")?, rows.keys("unit")?);
        for row in 0..release.len() {
            let class = classes.next().and_then(|key| self.classes.get(key).copied().flatten());
            let kind = kinds.next().and_then(|key| self.kinds.get(key).copied().flatten());
            let phase = phases.next().and_then(|key| self.phases.get(key).copied().flatten());
            let unit = units.next().and_then(|key| self.units.get(key));
            let unit = unit.and_then(|unit| IncidentUnit::ALL.into_iter().find(|one| one.name() == unit));
            let (Some(kind), Some(unit), Some(phase)) = (kind, unit, phase) else {
                return Err(wrong("kind", "an unknown kind, phase or unit"));
            };
            if durations.is_null(row) == (phase == Phase::End) {
                return Err(wrong("duration_s", "known before the end, or not at it"));
            }
            // A rare class is told as `other`: then the coarser steps may hold, and cannot be asked for.
            let is_personal = kind.is_personal(class);
            if values.get(row).is_none_or(|value| value % unit.step(is_personal) != 0) {
                return Err(wrong("value", "a number between the steps"));
            }
            if release.get(row) != Some(&Rule::Demo) {
                let quantum = if is_personal { PERSON_QUANTUM } else { SECOND };
                let (Some(from), Some(to)) = (from.get(row), to.get(row)) else { break };
                if to - from < quantum || from % quantum != 0 || to % quantum != 0 {
                    return Err(wrong("t0", "a time that is finer than the contract allows"));
                }
            }
        }
        Ok(())
    }

    fn health(&self, rows: &Rows<'_>) -> Result<(), Refused> {
        for (name, most) in [("fps_in", 10_000.0), ("fps_proc", 10_000.0), ("drop_ratio", 1.0)] {
            let column = rows.batch.column(self.places.of(name)).as_primitive::<Float32Type>();
            if column.iter().flatten().any(|value| !(0.0..=most).contains(&value)) {
                return Err(wrong(name, "out of its range"));
            }
        }
        let temperatures = rows.batch.column(self.places.of("temp_c")).as_primitive::<Float32Type>();
        if temperatures.iter().flatten().any(|value| !(-100.0..=250.0).contains(&value)) {
            return Err(wrong("temp_c", "out of its range"));
        }
        Ok(())
    }
}

/// A batch, by the names of its columns.
struct Rows<'a> {
    batch: &'a RecordBatch,
    places: &'a Places,
}

impl<'a> Rows<'a> {
    fn of<T: arrow_array::ArrowPrimitiveType>(&self, name: &str) -> Result<&'a [T::Native], Refused> {
        let column = self.batch.columns().get(self.places.of(name));
        let column = column.and_then(|column| column.as_primitive_opt::<T>());
        Ok(column.ok_or_else(|| Refused::new(Refusal::Schema, format!("{name} is missing")))?.values())
    }

    fn keys(&self, name: &str) -> Result<Keys<'a>, Refused> {
        let column = self.batch.columns().get(self.places.of(name));
        let missing = || Refused::new(Refusal::Schema, format!("{name} is missing"));
        let column = column.ok_or_else(missing)?;
        if let Some(words) = column.as_dictionary_opt::<UInt8Type>() {
            return Ok(Keys::Narrow(words.keys().values().iter()));
        }
        let words = column.as_dictionary_opt::<UInt16Type>().ok_or_else(missing)?;
        Ok(Keys::Wide(words.keys().values().iter()))
    }
}

/// The keys of a column of words.
enum Keys<'a> {
    Narrow(std::slice::Iter<'a, u8>),
    Wide(std::slice::Iter<'a, u16>),
}

impl Iterator for Keys<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::Narrow(keys) => keys.next().map(|key| usize::from(*key)),
            Self::Wide(keys) => keys.next().map(|key| usize::from(*key)),
        }
    }
}
