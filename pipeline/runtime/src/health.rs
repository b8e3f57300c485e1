//! One row a camera and minute about how the camera and the node are doing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kerbside_core::camera::CameraState;
use kerbside_core::finding::{Finding, FindingKind};
use kerbside_core::incident::{IncidentKind, Phase};
use kerbside_ingest::CameraStatus;
use kerbside_release::HealthSample;
use kerbside_uplink::SpoolStatus;

use crate::machine;
use crate::status::board::Machine;

/// What a guard may find wrong with a picture, and how the metric and the page name it.
const TAMPERED: [(IncidentKind, &str); 6] = [
    (IncidentKind::TamperCovered, "covered"),
    (IncidentKind::TamperDefocus, "defocus"),
    (IncidentKind::TamperMoved, "moved"),
    (IncidentKind::TamperFrozen, "frozen"),
    (IncidentKind::TamperDark, "dark"),
    (IncidentKind::TamperBright, "bright"),
];

/// Collects what one camera did since its last health row.
pub(crate) struct CameraHealth {
    status: Arc<CameraStatus>,
    before: Counts,
    state: CameraState,
    analysed: u64,
    failed: u64,
    /// Whether the last picture could be trusted.
    trusted: bool,
    /// For how long frames that can be trusted stood.
    covered: Duration,
    latencies_ms: Vec<u32>,
    /// In the order of [`TAMPERED`].
    tampered: [bool; TAMPERED.len()],
}

/// A camera's last minute, for metrics and the status page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Minute {
    /// The share of it with frames that can be trusted, 0..1.
    pub(crate) coverage: f32,
    /// Median and 95th percentile from arrival to release.
    pub(crate) latency: Option<(Duration, Duration)>,
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
            covered: Duration::ZERO,
            latencies_ms: Vec::new(),
            tampered: [false; TAMPERED.len()],
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

    /// One frame was analysed, which stands for the time `step`, and its picture could be trusted or not.
    pub(crate) fn analysed(&mut self, latency: Duration, step: Duration, trusted: bool) {
        self.analysed += 1;
        self.trusted = trusted;
        self.covered += if trusted { step } else { Duration::ZERO };
        self.latencies_ms.push(u32::try_from(latency.as_millis()).unwrap_or(u32::MAX));
    }

    /// Hears what was found, of which what is wrong with the picture is kept; whether that changed.
    pub(crate) fn hear(&mut self, findings: &[Finding]) -> bool {
        let before = self.tampered;
        for finding in findings {
            let FindingKind::Incident(incident) = &finding.kind else { continue };
            if let Some(place) = TAMPERED.iter().position(|(kind, _)| *kind == incident.kind) {
                self.tampered[place] = incident.phase != Phase::End;
            }
        }
        before != self.tampered
    }

    /// What is wrong with the picture now: each kind with its name and whether it is so.
    pub(crate) fn tampered(&self) -> impl Iterator<Item = (&'static str, bool)> {
        TAMPERED.iter().map(|(_, name)| *name).zip(self.tampered)
    }

    /// Whether the last picture could be trusted.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The `span` that ends now; ask before [`CameraHealth::sample`], with which the next one begins.
    pub(crate) fn minute(&mut self, span: Duration) -> Minute {
        self.latencies_ms.sort_unstable();
        let latency = |percent| percentile(&self.latencies_ms, percent).map(|ms| Duration::from_millis(ms.into()));
        Minute {
            coverage: (self.covered.as_secs_f32() / span.as_secs_f32().max(0.001)).min(1.0),
            latency: latency(50).zip(latency(95)),
        }
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
            throttled: host.throttled,
            power_mw: host.power_mw,
            rss_mb: host.rss_mb,
            wal_bytes: host.wal_bytes,
            wal_oldest_s: host.wal_oldest_s,
            disk_free_mb: host.disk_free_mb,
            debug_view: Some(host.debug_view),
            ..HealthSample::new(match self.state {
                CameraState::Up if !self.trusted => CameraState::Tampered,
                state => state,
            })
        };
        self.before = counts;
        self.analysed = 0;
        self.failed = 0;
        self.covered = Duration::ZERO;
        self.latencies_ms.clear();
        sample
    }
}

/// What is the same for every camera of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Host {
    temp_c: Option<f32>,
    throttled: Option<bool>,
    power_mw: Option<u32>,
    debug_view: bool,
    rss_mb: Option<u32>,
    wal_bytes: Option<u64>,
    wal_oldest_s: Option<u32>,
    disk_free_mb: Option<u64>,
}

impl Host {
    /// `debug_view` says whether somebody may see a camera's background.
    pub(crate) fn read(
        spool_folder: &Path,
        spool: &SpoolStatus,
        machine: &Machine,
        debug_view: bool,
        now: kerbside_core::time::WallTime,
    ) -> Self {
        Self {
            temp_c: machine.reading.temperature_celsius,
            throttled: machine.is_throttled,
            power_mw: machine.watts.map(|watts| (watts * 1000.0) as u32),
            debug_view,
            rss_mb: machine.process_memory.map(|bytes| (bytes >> 20) as u32),
            wal_bytes: Some(spool.bytes),
            wal_oldest_s: spool.oldest.map(|oldest| now.since(oldest).as_secs() as u32),
            disk_free_mb: machine::disk(spool_folder).map(|(_, free)| free >> 20),
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
    fn what_is_wrong_with_a_picture_lasts_from_its_begin_to_its_end() {
        use kerbside_core::geometry::SiteId;
        use kerbside_core::incident::{Incident, IncidentUnit};
        use kerbside_core::time::MediaTime;
        let word = |kind, phase| Finding {
            at: MediaTime::ZERO,
            site: SiteId::PICTURE,
            class: None,
            track: None,
            kind: FindingKind::Incident(Incident {
                kind,
                phase,
                number: 0,
                since: MediaTime::ZERO,
                severity: 90,
                confidence: 90,
                value: 0,
                unit: IncidentUnit::None,
                reason: None,
            }),
        };
        let mut health = CameraHealth::new(Arc::new(CameraStatus::new()));
        let wrong = |health: &CameraHealth| -> Vec<&str> {
            health.tampered().filter(|(_, is)| *is).map(|(name, _)| name).collect()
        };
        assert!(
            health.hear(&[
                word(IncidentKind::TamperMoved, Phase::Begin),
                word(IncidentKind::WrongWay, Phase::Begin)
            ])
        );
        assert!(health.hear(&[word(IncidentKind::TamperDark, Phase::Begin)]));
        assert!(!health.hear(&[word(IncidentKind::TamperDark, Phase::Update)]));
        assert_eq!(wrong(&health), ["moved", "dark"]);
        assert!(health.hear(&[word(IncidentKind::TamperMoved, Phase::End)]));
        assert_eq!(wrong(&health), ["dark"]);
    }

    #[test]
    fn a_minute_is_covered_by_the_time_of_frames_that_can_be_trusted() {
        let mut health = CameraHealth::new(Arc::new(CameraStatus::new()));
        let second = Duration::from_secs(1);
        for number in 0..60 {
            health.analysed(Duration::from_millis(100 + number), second, number % 4 != 0);
        }
        let ms = Duration::from_millis;
        let minute = health.minute(60 * second);
        assert_eq!(minute, Minute { coverage: 0.75, latency: Some((ms(129), ms(156))) });
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[7], 95), Some(7));
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&values, 50), Some(50));
        assert_eq!(percentile(&values, 95), Some(95));
    }
}
