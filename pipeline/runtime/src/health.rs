//! One row a camera and minute about how the camera and the node are doing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kerbside_core::camera::CameraState;
use kerbside_ingest::CameraStatus;
use kerbside_release::HealthSample;
use kerbside_uplink::SpoolStatus;

use crate::process;

/// Collects what one camera did since its last health row.
pub(crate) struct CameraHealth {
    status: Arc<CameraStatus>,
    before: Counts,
    state: CameraState,
    analysed: u64,
    failed: u64,
    /// Whether the last picture could be trusted.
    trusted: bool,
    latencies_ms: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    frames_in: u64,
    decoded: u64,
    dropped: u64,
    damaged: u64,
    reconnects: u64,
    decode_errors: u64,
}

impl CameraHealth {
    pub(crate) fn new(status: Arc<CameraStatus>) -> Self {
        let state = status.state();
        Self {
            status,
            before: Counts::default(),
            state,
            analysed: 0,
            failed: 0,
            trusted: true,
            latencies_ms: Vec::new(),
        }
    }

    /// Notes the camera's state. Not called once the node stops: a camera that is being switched off has
    /// not failed.
    pub(crate) fn look(&mut self) {
        self.state = self.status.state();
    }

    /// One frame could not be analysed.
    pub(crate) fn failed(&mut self) {
        self.failed += 1;
    }

    /// One frame was analysed, and its picture could be trusted or not.
    pub(crate) fn analysed(&mut self, latency: Duration, trusted: bool) {
        self.analysed += 1;
        self.trusted = trusted;
        self.latencies_ms.push(u32::try_from(latency.as_millis()).unwrap_or(u32::MAX));
    }

    /// The row for the `span` that ends now; the next one begins here.
    pub(crate) fn sample(&mut self, span: Duration, now: Instant, host: &Host) -> HealthSample {
        let counts = Counts {
            frames_in: self.status.frames_in(),
            decoded: self.status.frames_decoded(),
            dropped: self.status.frames_dropped(),
            damaged: self.status.frames_damaged(),
            reconnects: self.status.reconnects(),
            decode_errors: self.status.decode_errors(),
        };
        let whole = |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
        let since = |now: u64, before: u64| now.saturating_sub(before) as f32;
        let seconds = span.as_secs_f32().max(0.001);
        let frames_in = since(counts.frames_in, self.before.frames_in);
        let offered = frames_in + since(counts.damaged, self.before.damaged);
        let dropped = since(counts.dropped, self.before.dropped) + self.failed as f32;
        self.latencies_ms.sort_unstable();
        let sample = HealthSample {
            fps_in: Some(since(counts.decoded, self.before.decoded) / seconds),
            fps_proc: Some(self.analysed as f32 / seconds),
            drop_ratio: (offered > 0.0).then(|| (dropped / offered).min(1.0)),
            lat_p50_ms: percentile(&self.latencies_ms, 50),
            lat_p95_ms: percentile(&self.latencies_ms, 95),
            reconnects: Some(whole(counts.reconnects, self.before.reconnects)),
            last_frame_age_ms: self
                .status
                .last_frame_age(now)
                .map(|age| u32::try_from(age.as_millis()).unwrap_or(u32::MAX)),
            decode_err: Some(whole(counts.decode_errors, self.before.decode_errors)),
            temp_c: host.temp_c,
            rss_mb: host.rss_mb,
            wal_bytes: host.wal_bytes,
            wal_oldest_s: host.wal_oldest_s,
            disk_free_mb: host.disk_free_mb,
            debug_view: Some(false),
            ..HealthSample::new(match self.state {
                CameraState::Up if !self.trusted => CameraState::Tampered,
                state => state,
            })
        };
        self.before = counts;
        self.analysed = 0;
        self.failed = 0;
        self.latencies_ms.clear();
        sample
    }
}

/// What is the same for every camera of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Host {
    temp_c: Option<f32>,
    rss_mb: Option<u32>,
    wal_bytes: Option<u64>,
    wal_oldest_s: Option<u32>,
    disk_free_mb: Option<u64>,
}

impl Host {
    pub(crate) fn read(spool_folder: &Path, spool: &SpoolStatus, now: kerbside_core::time::WallTime) -> Self {
        Self {
            temp_c: process::temperature_celsius(),
            rss_mb: process::usage().map(|usage| (usage.resident_bytes >> 20) as u32),
            wal_bytes: Some(spool.bytes),
            wal_oldest_s: spool.oldest.map(|oldest| now.since(oldest).as_secs() as u32),
            disk_free_mb: process::free_bytes(spool_folder).map(|bytes| bytes >> 20),
        }
    }
}

/// The value below which `percent` of the sorted values lie (nearest rank).
fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[7], 95), Some(7));
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&values, 50), Some(50));
        assert_eq!(percentile(&values, 95), Some(95));
    }
}
