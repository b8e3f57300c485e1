//! A camera's metrics and its status, counted together so that they cannot differ.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use kerbside_core::camera::CameraState;
use kerbside_telemetry::{CameraMetrics, DropReason};

use crate::status::CameraStatus;

/// Counts into both.
pub(crate) struct Counts {
    metrics: CameraMetrics,
    status: Arc<CameraStatus>,
}

impl Counts {
    pub(crate) fn new(metrics: CameraMetrics, status: Arc<CameraStatus>) -> Self {
        Self { metrics, status }
    }

    pub(crate) fn status(&self) -> &CameraStatus {
        &self.status
    }

    pub(crate) fn share_status(&self) -> Arc<CameraStatus> {
        Arc::clone(&self.status)
    }

    pub(crate) fn state(&self) -> CameraState {
        self.status.state()
    }

    pub(crate) fn set_state(&self, state: CameraState) {
        self.metrics.set_state(state);
        self.status.set_state(state);
    }

    pub(crate) fn decoded(&self, now: Instant) {
        self.metrics.frames_decoded.increment();
        self.status.frames_decoded.fetch_add(1, Ordering::Relaxed);
        self.status.frame_came(now);
    }

    pub(crate) fn entered(&self) {
        self.metrics.frames_in.increment();
        self.status.frames_in.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, reason: DropReason) {
        self.metrics.dropped(reason).increment();
        if reason != DropReason::RateCap {
            self.status.frames_dropped.fetch_add(1, Ordering::Relaxed);
        }
        if reason == DropReason::Damaged {
            self.status.frames_damaged.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn decode_error(&self) {
        self.metrics.decode_errors.increment();
        self.status.decode_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pixels_copied(&self, bytes: usize) {
        self.metrics.pixels_copied.add(bytes as u64);
    }

    pub(crate) fn clock_jump(&self) {
        self.metrics.clock_jumps.increment();
    }

    pub(crate) fn reconnect(&self) {
        self.metrics.reconnects.increment();
        self.status.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stall(&self) {
        self.metrics.stalls.increment();
    }

    pub(crate) fn refusal(&self) {
        self.metrics.auth_failures.increment();
    }

    pub(crate) fn frames_in(&self) -> u64 {
        self.status.frames_in()
    }

    pub(crate) fn frames_decoded(&self) -> u64 {
        self.status.frames_decoded()
    }
}
