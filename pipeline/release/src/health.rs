//! `health.v1`: how the node and its cameras are, without anything about what they see.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::SchemaRef;
use kerbside_core::camera::CameraState;
use kerbside_core::time::WallTime;

use crate::columns::{Common, words8};
use crate::error::ReleaseError;
use crate::plan::StreamPosition;
use crate::table::{ClockQuality, Rule};
use crate::vocabulary::Vocabulary;

/// One camera's minute. `None` means that it was not measured, and becomes a null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthSample {
    /// What the camera is doing.
    pub state: CameraState,
    /// Frames a second that arrived.
    pub fps_in: Option<f32>,
    /// Frames a second that were analysed.
    pub fps_proc: Option<f32>,
    /// Frames dropped over frames arrived, 0..1.
    pub drop_ratio: Option<f32>,
    /// Median time from a frame's arrival to its findings, in milliseconds.
    pub lat_p50_ms: Option<u32>,
    /// The same for the slowest twentieth.
    pub lat_p95_ms: Option<u32>,
    /// Reconnects within the minute.
    pub reconnects: Option<u32>,
    /// How old the last frame is, in milliseconds.
    pub last_frame_age_ms: Option<u32>,
    /// Decoding errors within the minute.
    pub decode_err: Option<u32>,
    /// Temperature of the processor, in degrees Celsius.
    pub temp_c: Option<f32>,
    /// Whether the processor was slowed down to keep it cool.
    pub throttled: Option<bool>,
    /// Power drawn, in milliwatts.
    pub power_mw: Option<u32>,
    /// Memory of the process, in MiB.
    pub rss_mb: Option<u32>,
    /// Size of the spool, in bytes.
    pub wal_bytes: Option<u64>,
    /// Age of the spool's oldest rows, in seconds.
    pub wal_oldest_s: Option<u32>,
    /// Free space where the spool is, in MiB.
    pub disk_free_mb: Option<u64>,
    /// What is left of the camera's privacy budget, in thousandths.
    pub budget_left_milli: Option<u32>,
    /// Releases refused since the start.
    pub refused_total: Option<u64>,
    /// Whether a local debugging view was open.
    pub debug_view: Option<bool>,
}

impl HealthSample {
    /// A camera of which only the state is known.
    pub const fn new(state: CameraState) -> Self {
        Self {
            state,
            fps_in: None,
            fps_proc: None,
            drop_ratio: None,
            lat_p50_ms: None,
            lat_p95_ms: None,
            reconnects: None,
            last_frame_age_ms: None,
            decode_err: None,
            temp_c: None,
            throttled: None,
            power_mw: None,
            rss_mb: None,
            wal_bytes: None,
            wal_oldest_s: None,
            disk_free_mb: None,
            budget_left_milli: None,
            refused_total: None,
            debug_view: None,
        }
    }
}

/// One row a camera, in the order of the cameras.
pub(crate) fn batch(
    words: &Vocabulary,
    schema: &SchemaRef,
    samples: &[HealthSample],
    span: (WallTime, WallTime),
    clock: ClockQuality,
    at: StreamPosition,
    config_revision: u32,
) -> Result<RecordBatch, ReleaseError> {
    let mut common = Common::default();
    for camera in 0..samples.len() {
        common.push(words, camera, span, clock);
    }
    let mut columns = common.finish(words, at, config_revision, vec![Rule::Health; samples.len()])?;
    let states = samples.iter().map(|sample| sample.state as u8).collect();
    columns.extend([
        floats(samples, |s| s.fps_in),
        floats(samples, |s| s.fps_proc),
        floats(samples, |s| s.drop_ratio),
        numbers(samples, |s| s.lat_p50_ms),
        numbers(samples, |s| s.lat_p95_ms),
        numbers(samples, |s| s.reconnects),
        numbers(samples, |s| s.last_frame_age_ms),
        numbers(samples, |s| s.decode_err),
        words8(states, &words.state)?,
        floats(samples, |s| s.temp_c),
        flags(samples, |s| s.throttled),
        numbers(samples, |s| s.power_mw),
        numbers(samples, |s| s.rss_mb),
        large_numbers(samples, |s| s.wal_bytes),
        numbers(samples, |s| s.wal_oldest_s),
        large_numbers(samples, |s| s.disk_free_mb),
        numbers(samples, |s| s.budget_left_milli),
        large_numbers(samples, |s| s.refused_total),
        flags(samples, |s| s.debug_view),
        words8(vec![0; samples.len()], &words.software)?,
    ]);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn floats(samples: &[HealthSample], of: fn(&HealthSample) -> Option<f32>) -> ArrayRef {
    // Not-a-number is no measurement.
    Arc::new(Float32Array::from_iter(samples.iter().map(|s| of(s).filter(|value| value.is_finite()))))
}

fn numbers(samples: &[HealthSample], of: fn(&HealthSample) -> Option<u32>) -> ArrayRef {
    Arc::new(UInt32Array::from_iter(samples.iter().map(of)))
}

fn large_numbers(samples: &[HealthSample], of: fn(&HealthSample) -> Option<u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter(samples.iter().map(of)))
}

fn flags(samples: &[HealthSample], of: fn(&HealthSample) -> Option<bool>) -> ArrayRef {
    Arc::new(BooleanArray::from_iter(samples.iter().map(of)))
}
