//! Columns under construction: plain vectors that become the arrays of one batch.

use std::sync::Arc;

use arrow_array::types::{UInt8Type, UInt16Type};
use arrow_array::{
    ArrayRef, DictionaryArray, PrimitiveArray, TimestampMillisecondArray, UInt32Array, UInt64Array,
};
use kerbside_core::time::WallTime;

use crate::error::ReleaseError;
use crate::plan::StreamPosition;
use crate::table::{ClockQuality, Rule, UTC};
use crate::vocabulary::Vocabulary;

/// The columns that all tables share.
#[derive(Debug, Default)]
pub(crate) struct Common {
    camera: Vec<u16>,
    t0: Vec<i64>,
    t1: Vec<i64>,
    clock: Vec<u8>,
    model: Vec<u8>,
}

impl Common {
    pub(crate) fn push(
        &mut self,
        words: &Vocabulary,
        camera: usize,
        span: (WallTime, WallTime),
        clock: ClockQuality,
    ) {
        self.camera.push(camera as u16);
        self.t0.push(span.0.as_unix_millis());
        self.t1.push(span.1.as_unix_millis());
        self.clock.push(clock as u8);
        self.model.push(words.model_of.get(camera).copied().unwrap_or_default());
    }

    pub(crate) fn rows(&self) -> usize {
        self.camera.len()
    }

    pub(crate) fn finish(
        self,
        words: &Vocabulary,
        at: StreamPosition,
        config_revision: u32,
        rules: Vec<Rule>,
    ) -> Result<Vec<ArrayRef>, ReleaseError> {
        let rows = self.rows();
        let time = |millis: Vec<i64>| Arc::new(TimestampMillisecondArray::from(millis).with_timezone(UTC));
        // Past the last number this wraps; such a batch is refused where it is sealed.
        let seq = (0..rows as u64).map(|row| at.next_seq.wrapping_add(row));
        Ok(vec![
            words16(vec![0; rows], &words.node)?,
            words16(self.camera, &words.camera)?,
            Arc::new(UInt32Array::from(vec![at.epoch; rows])),
            Arc::new(UInt64Array::from_iter_values(seq)),
            time(self.t0),
            time(self.t1),
            words8(self.clock, &words.clock)?,
            words8(self.model, &words.model)?,
            Arc::new(UInt32Array::from(vec![config_revision; rows])),
            words8(rules.into_iter().map(Rule::key).collect(), &words.release)?,
        ])
    }
}

/// A column of words with at most 256 of them.
pub(crate) fn words8(keys: Vec<u8>, words: &ArrayRef) -> Result<ArrayRef, ReleaseError> {
    Ok(Arc::new(DictionaryArray::<UInt8Type>::try_new(PrimitiveArray::from(keys), Arc::clone(words))?))
}

/// A column of words with at most 65 536 of them.
pub(crate) fn words16(keys: Vec<u16>, words: &ArrayRef) -> Result<ArrayRef, ReleaseError> {
    Ok(Arc::new(DictionaryArray::<UInt16Type>::try_new(PrimitiveArray::from(keys), Arc::clone(words))?))
}
