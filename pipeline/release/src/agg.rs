//! `agg.v1`: the sums of closed bins as rows.

use std::sync::Arc;

use arrow_array::{BooleanArray, Float32Array, Int32Array, RecordBatch, UInt8Array, UInt32Array};
use arrow_schema::SchemaRef;
use kerbside_core::finding::{Cell, Measure};
use kerbside_core::time::WallTime;

use crate::bins::{Bin, Series};
use crate::columns::{Common, words8, words16};
use crate::error::ReleaseError;
use crate::plan::StreamPosition;
use crate::table::{ClockQuality, Rule, Unit};
use crate::vocabulary::{Vocabulary, class_key};

/// A display should hide counts below this. It is a hint: the number itself is in the row.
/// Times and means count no objects, so the hint does not apply to them.
const DISPLAY_K: i32 = 10;

/// A bin that was closed.
#[derive(Clone, Copy)]
pub(crate) struct Closed<'a> {
    pub(crate) camera: usize,
    pub(crate) series: &'a Series,
    pub(crate) bin: &'a Bin,
    /// From when until when.
    pub(crate) span: (WallTime, WallTime),
    /// What is said of the clock where no frame said it.
    pub(crate) clock: ClockQuality,
}

/// The columns of one batch of `agg.v1`.
#[derive(Debug, Default)]
pub(crate) struct AggRows {
    common: Common,
    site: Vec<u16>,
    measure: Vec<u8>,
    class: Vec<u8>,
    direction: Vec<u8>,
    bucket: Vec<u8>,
    value: Vec<i32>,
    unit: Vec<u8>,
    coverage: Vec<f32>,
    frames: Vec<u32>,
    suppressed: Vec<bool>,
}

impl AggRows {
    /// Appends one row a cell for a closed bin. `tell` hears each cell's released value and coverage.
    pub(crate) fn push(&mut self, words: &Vocabulary, closed: &Closed<'_>, mut tell: impl FnMut(&Cell, i32, f32)) {
        let Closed { camera, series, bin, span, clock } = *closed;
        let coverage = (bin.trusted_nanos as f64 / series.length as f64).min(1.0) as f32;
        for (cell, &sum) in series.cells.iter().zip(&bin.sums) {
            let unit = Unit::of(cell.measure);
            let value = value(cell.measure, sum, series.length);
            tell(cell, value, coverage);
            self.common.push(words, camera, span, bin.clock.unwrap_or(clock));
            self.site.push(words.site_key(camera, cell.site, cell.toward));
            self.measure.push(cell.measure as u8);
            self.class.push(class_key(cell.class));
            self.direction.push(cell.direction as u8);
            self.bucket.push(cell.bucket);
            self.value.push(value);
            self.unit.push(unit.key());
            self.coverage.push(coverage);
            self.frames.push(bin.frames);
            self.suppressed.push(unit == Unit::Count && value < DISPLAY_K);
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.common.rows()
    }

    pub(crate) fn finish(
        self,
        words: &Vocabulary,
        schema: &SchemaRef,
        at: StreamPosition,
        config_revision: u32,
        rule: Rule,
    ) -> Result<RecordBatch, ReleaseError> {
        let rows = self.common.rows();
        let mut columns = self.common.finish(words, at, config_revision, rule)?;
        columns.extend([
            words16(self.site, &words.site)?,
            words8(self.measure, &words.measure)?,
            words8(self.class, &words.class)?,
            words8(self.direction, &words.direction)?,
            Arc::new(UInt8Array::from(self.bucket)),
            Arc::new(Int32Array::from(self.value)),
            words8(self.unit, &words.unit)?,
            Arc::new(Float32Array::from(vec![0.0; rows])),
            Arc::new(Float32Array::from(self.coverage)),
            Arc::new(UInt32Array::from(self.frames)),
            Arc::new(BooleanArray::from(self.suppressed)),
        ]);
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

/// Rounds a sum to the released number, to the nearest.
fn value(measure: Measure, sum: u128, length: u64) -> i32 {
    let length = u128::from(length);
    let rounded = match Unit::of(measure) {
        Unit::Permille if measure == Measure::FlowScore => sum,
        // What was summed up is millionths times nanoseconds.
        Unit::Permille if measure == Measure::DensityLevel => (sum + 500 * length) / (1000 * length),
        Unit::Count | Unit::Metres => sum,
        Unit::Seconds => (sum + 500_000_000) / 1_000_000_000,
        Unit::Permille => (sum.saturating_mul(1000) + length / 2) / length,
    };
    i32::try_from(rounded).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_rounded_to_the_nearest_and_never_wrap() {
        let minute = 60_000_000_000;
        let long = u128::from(minute);
        assert_eq!(value(Measure::OccupancyTime, 499_999_999, minute), 0);
        assert_eq!(value(Measure::OccupancyTime, 500_000_000, minute), 1);
        assert_eq!(value(Measure::PresenceMean, long / 2, minute), 500);
        assert_eq!(value(Measure::PresenceMean, 29_999_999, minute), 0);
        assert_eq!(value(Measure::PresenceMean, 30_000_000, minute), 1);
        assert_eq!(value(Measure::DensityLevel, 1_500_000 * long / 2, minute), 750);
        assert_eq!(value(Measure::CrossingCount, 7, minute), 7);
        assert_eq!(value(Measure::CrossingCount, u128::from(u64::MAX), 1), i32::MAX);
        assert_eq!(value(Measure::PresenceMean, u128::from(u64::MAX), 1), i32::MAX);
    }
}
