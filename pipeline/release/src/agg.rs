//! `agg.v1`: the sums of closed bins as rows.

use std::sync::Arc;

use arrow_array::{BooleanArray, Float32Array, Int32Array, RecordBatch, UInt8Array, UInt32Array};
use arrow_schema::SchemaRef;
use kerbside_core::finding::{Cell, Measure};
use kerbside_core::time::WallTime;

use crate::bins::Bin;
use crate::columns::{Common, words8, words16};
use crate::error::ReleaseError;
use crate::plan::StreamPosition;
use crate::report::ShownBin;
use crate::table::{ClockQuality, Rule, Unit};
use crate::vocabulary::{Vocabulary, class_key};

/// What the rows of one closed bin have in common.
#[derive(Clone, Copy)]
pub(crate) struct Closed<'a> {
    pub(crate) camera: usize,
    /// From when until when.
    pub(crate) span: (WallTime, WallTime),
    pub(crate) bin: &'a Bin,
    /// What is said of the clock where no frame said it.
    pub(crate) clock: ClockQuality,
    /// A display should hide counts below this. It is a hint: the number itself is in the row.
    pub(crate) display_k: u32,
}

/// A number of a closed bin as it may leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) cell: Cell,
    /// In the unit of the measure's sums: objects or nanoseconds, with its noise.
    pub(crate) sum: i128,
    /// The scale of the noise in the same unit; 0 without.
    pub(crate) noise_b: f64,
    /// What one object adds to a density, in millionths.
    pub(crate) share: u32,
    pub(crate) rule: Rule,
}

impl Closed<'_> {
    /// The share of the bin with frames that can be trusted.
    pub(crate) fn coverage(&self) -> f32 {
        (self.bin.trusted_nanos as f64 / self.length() as f64).min(1.0) as f32
    }

    fn length(&self) -> u64 {
        let (from, to) = self.span;
        to.as_unix_nanos() - from.as_unix_nanos()
    }

    /// What of a number a page on the node may show.
    pub(crate) fn shown(&self, number: &Number) -> ShownBin {
        let (from, to) = self.span;
        let Number { cell, noise_b, share, .. } = *number;
        let value = self.value(number);
        let is_suppressed = is_suppressed(Unit::of(cell.measure) == Unit::Count, value, self.display_k.into());
        ShownBin {
            cell,
            from,
            to,
            value: (!is_suppressed).then_some(value.max(0)),
            noise_b: noise_b_in_unit(cell.measure, noise_b, self.length(), share),
            coverage: self.coverage(),
        }
    }

    /// The number in the unit of its measure.
    pub(crate) fn value(&self, number: &Number) -> i32 {
        value(number.cell.measure, number.sum, self.length(), number.share)
    }
}

/// The columns of one batch of `agg.v1`.
#[derive(Debug, Default)]
pub(crate) struct AggRows {
    common: Common,
    rules: Vec<Rule>,
    site: Vec<u16>,
    measure: Vec<u8>,
    class: Vec<u8>,
    direction: Vec<u8>,
    bucket: Vec<u8>,
    value: Vec<i32>,
    unit: Vec<u8>,
    noise_b: Vec<f32>,
    coverage: Vec<f32>,
    frames: Vec<u32>,
    suppressed: Vec<bool>,
}

impl AggRows {
    /// Appends one row.
    pub(crate) fn push(&mut self, words: &Vocabulary, closed: &Closed<'_>, number: &Number) {
        let Number { cell, noise_b, share, rule, .. } = *number;
        let unit = Unit::of(cell.measure);
        let value = closed.value(number);
        self.common.push(words, closed.camera, closed.span, closed.bin.clock.unwrap_or(closed.clock));
        self.rules.push(rule);
        self.site.push(words.site_key(closed.camera, cell.site, cell.toward));
        self.measure.push(cell.measure as u8);
        self.class.push(class_key(cell.class));
        self.direction.push(cell.direction as u8);
        self.bucket.push(cell.bucket);
        self.value.push(value);
        self.unit.push(unit.key());
        self.noise_b.push(noise_b_in_unit(cell.measure, noise_b, closed.length(), share));
        self.coverage.push(closed.coverage());
        self.frames.push(closed.bin.frames);
        self.suppressed.push(is_suppressed(unit == Unit::Count, value, closed.display_k.into()));
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
    ) -> Result<RecordBatch, ReleaseError> {
        let mut columns = self.common.finish(words, at, config_revision, self.rules)?;
        columns.extend([
            words16(self.site, &words.site)?,
            words8(self.measure, &words.measure)?,
            words8(self.class, &words.class)?,
            words8(self.direction, &words.direction)?,
            Arc::new(UInt8Array::from(self.bucket)),
            Arc::new(Int32Array::from(self.value)),
            words8(self.unit, &words.unit)?,
            Arc::new(Float32Array::from(self.noise_b)),
            Arc::new(Float32Array::from(self.coverage)),
            Arc::new(UInt32Array::from(self.frames)),
            Arc::new(BooleanArray::from(self.suppressed)),
        ]);
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

/// Whether a display should hide a number. Times and means count no objects, so the hint does not apply to them.
pub(crate) fn is_suppressed(counts_objects: bool, value: i32, display_k: i64) -> bool {
    counts_objects && i64::from(value) < display_k
}

/// Rounds a sum to the released number, to the nearest.
fn value(measure: Measure, sum: i128, length: u64, share: u32) -> i32 {
    let (length, share) = (i128::from(length), i128::from(share));
    let rounded = match measure {
        Measure::OccupancyTime => nearest(sum, 1_000_000_000),
        Measure::PresenceMean => nearest(sum.saturating_mul(1000), length),
        // Millionths times nanoseconds, and thousandths are asked for.
        Measure::DensityLevel => nearest(sum.saturating_mul(share), length * 1000),
        Measure::CrossingCount
        | Measure::DwellHist
        | Measure::SpeedHist
        | Measure::QueueLen
        | Measure::StoppedCount
        | Measure::TurnCount
        | Measure::HeadwayHist
        | Measure::QueueReach
        | Measure::LoiteringCount
        | Measure::FlowScore => sum,
    };
    i32::try_from(rounded).unwrap_or(if rounded < 0 { i32::MIN } else { i32::MAX })
}

/// The scale of a sum's noise in the released unit.
fn noise_b_in_unit(measure: Measure, b: f64, length: u64, share: u32) -> f32 {
    let length = length as f64;
    let in_unit = match measure {
        Measure::OccupancyTime => b / 1e9,
        Measure::PresenceMean => b * 1000.0 / length,
        Measure::DensityLevel => b * f64::from(share) / (length * 1000.0),
        _ => b,
    };
    in_unit as f32
}

fn nearest(numerator: i128, denominator: i128) -> i128 {
    (numerator.saturating_mul(2).saturating_add(denominator)).div_euclid(denominator.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_rounded_to_the_nearest_and_never_wrap() {
        let minute = 60_000_000_000;
        let long = i128::from(minute);
        assert_eq!(value(Measure::OccupancyTime, 499_999_999, minute, 0), 0);
        assert_eq!(value(Measure::OccupancyTime, 500_000_000, minute, 0), 1);
        assert_eq!(value(Measure::OccupancyTime, -1_600_000_000, minute, 0), -2);
        assert_eq!(value(Measure::PresenceMean, long / 2, minute, 0), 500);
        assert_eq!(value(Measure::PresenceMean, 29_999_999, minute, 0), 0);
        assert_eq!(value(Measure::PresenceMean, 30_000_000, minute, 0), 1);
        assert_eq!(value(Measure::DensityLevel, long * 3 / 2, minute, 500_000), 750);
        assert_eq!(value(Measure::CrossingCount, 7, minute, 0), 7);
        assert_eq!(value(Measure::CrossingCount, -7, minute, 0), -7);
        assert_eq!(value(Measure::CrossingCount, i128::MAX, 1, 0), i32::MAX);
        assert_eq!(value(Measure::PresenceMean, i128::MAX, minute, 0), i32::MAX);
        assert_eq!(value(Measure::PresenceMean, i128::MIN, minute, 0), i32::MIN);
    }

    #[test]
    fn pc_13_the_scale_is_told_in_the_unit_of_the_number() {
        let quarter = 900_000_000_000;
        assert_eq!(noise_b_in_unit(Measure::CrossingCount, 4.5, quarter, 0), 4.5);
        assert_eq!(noise_b_in_unit(Measure::OccupancyTime, 545e9, quarter, 0), 545.0);
        assert!((noise_b_in_unit(Measure::PresenceMean, 545e9, quarter, 0) - 605.6).abs() < 0.1);
        // Twenty square metres: a person is 0.05 people per square metre.
        assert!((noise_b_in_unit(Measure::DensityLevel, 545e9, quarter, 50_000) - 30.3).abs() < 0.1);
    }
}
