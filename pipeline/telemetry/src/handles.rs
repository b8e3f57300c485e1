//! Handles that stages hold: one for each value, looked up once, never on the frame path.

use std::sync::Arc;
use std::time::Duration;

use kerbside_core::camera::CameraState;

use crate::{Metric, Telemetry};

/// A value that only grows.
#[derive(Clone, Debug)]
pub struct Counter(pub(crate) prometheus::Counter);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.0.inc();
    }

    /// `amount` more.
    pub fn add(&self, amount: u64) {
        self.0.inc_by(amount as f64);
    }

    /// That many seconds more.
    pub fn add_time(&self, time: Duration) {
        self.0.inc_by(time.as_secs_f64());
    }

    /// Follows a total that is counted elsewhere; a smaller total changes nothing.
    pub fn follow(&self, total: f64) {
        self.0.inc_by((total - self.0.get()).max(0.0));
    }

    /// The total so far.
    pub fn value(&self) -> f64 {
        self.0.get()
    }
}

/// A value that goes up and down.
#[derive(Clone, Debug)]
pub struct Gauge(pub(crate) prometheus::Gauge);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Adds to it, or takes from it where `change` is negative.
    pub fn add(&self, change: f64) {
        self.0.add(change);
    }

    /// The value that was set last.
    pub fn value(&self) -> f64 {
        self.0.get()
    }
}

/// Durations spread over buckets.
#[derive(Clone, Debug)]
pub struct Histogram(pub(crate) prometheus::Histogram);

impl Histogram {
    /// Counts one.
    pub fn observe(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }

    /// The mean of what was observed so far; zero before the first.
    pub fn mean(&self) -> Duration {
        let count = self.0.get_sample_count();
        if count == 0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(self.0.get_sample_sum() / count as f64).unwrap_or_default()
    }
}

/// Where on its way through the node a frame spends time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting in the slot between ingest and the camera's lane.
    Slot,
    /// From asking the detect pool to its answer: waiting for a worker included.
    Detect,
    /// Writing the model's input from the planes.
    Input,
    /// The network.
    Network,
    /// Reading the network's outputs and suppressing duplicates.
    Head,
    /// Statistics of the whole picture.
    Scene,
    /// Joining detections to tracks.
    Track,
    /// All operators of the camera.
    Operators,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 8] = [
        Self::Slot,
        Self::Detect,
        Self::Input,
        Self::Network,
        Self::Head,
        Self::Scene,
        Self::Track,
        Self::Operators,
    ];

    /// The stage's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Detect => "detect",
            Self::Input => "input",
            Self::Network => "network",
            Self::Head => "head",
            Self::Scene => "scene",
            Self::Track => "track",
            Self::Operators => "operators",
        }
    }
}

/// Why a frame was not analysed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// It came sooner than the camera's `analyse_fps` allows.
    RateCap,
    /// A newer one took its place before the lane was free.
    NewerFrame,
    /// The decoder marked it as damaged, or its planes did not fit its size.
    Damaged,
    /// It was older than a frame may become before anyone looked at it.
    TooOld,
    /// The detector failed on it.
    Inference,
    /// The node was stopping.
    Shutdown,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::RateCap, Self::NewerFrame, Self::Damaged, Self::TooOld, Self::Inference, Self::Shutdown];

    /// The reason's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateCap => "rate_cap",
            Self::NewerFrame => "newer_frame",
            Self::Damaged => "damaged",
            Self::TooOld => "too_old",
            Self::Inference => "inference",
            Self::Shutdown => "shutdown",
        }
    }
}

/// All that is measured about one camera.
#[derive(Clone, Debug)]
pub struct CameraMetrics {
    /// [`Metric::FramesDecoded`].
    pub frames_decoded: Counter,
    /// [`Metric::FramesIn`].
    pub frames_in: Counter,
    /// [`Metric::FramesAnalysed`].
    pub frames_analysed: Counter,
    /// [`Metric::PixelsCopied`].
    pub pixels_copied: Counter,
    /// [`Metric::InferenceErrors`].
    pub inference_errors: Counter,
    /// [`Metric::CaptureToReleaseSeconds`].
    pub capture_to_release: Histogram,
    /// [`Metric::CameraReconnects`].
    pub reconnects: Counter,
    /// [`Metric::CameraStalls`].
    pub stalls: Counter,
    /// [`Metric::CameraAuthFailures`].
    pub auth_failures: Counter,
    /// [`Metric::CameraDecodeErrors`].
    pub decode_errors: Counter,
    /// [`Metric::CameraClockJumps`].
    pub clock_jumps: Counter,
    /// [`Metric::CameraCpuSeconds`].
    pub cpu_seconds: Counter,
    /// [`Metric::InferenceCpuSeconds`].
    pub inference_cpu_seconds: Counter,
    dropped: [Counter; DropReason::ALL.len()],
    stages: [Histogram; Stage::ALL.len()],
    states: [Gauge; CameraState::ALL.len()],
}

impl CameraMetrics {
    /// The handles of the camera of that name, every label value present from the start.
    pub fn new(telemetry: &Telemetry, camera: &str) -> Self {
        let counter = |metric| telemetry.counter(metric, &[camera]);
        Self {
            frames_decoded: counter(Metric::FramesDecoded),
            frames_in: counter(Metric::FramesIn),
            frames_analysed: counter(Metric::FramesAnalysed),
            pixels_copied: counter(Metric::PixelsCopied),
            inference_errors: counter(Metric::InferenceErrors),
            capture_to_release: telemetry.histogram(Metric::CaptureToReleaseSeconds, &[camera]),
            reconnects: counter(Metric::CameraReconnects),
            stalls: counter(Metric::CameraStalls),
            auth_failures: counter(Metric::CameraAuthFailures),
            decode_errors: counter(Metric::CameraDecodeErrors),
            clock_jumps: counter(Metric::CameraClockJumps),
            cpu_seconds: counter(Metric::CameraCpuSeconds),
            inference_cpu_seconds: counter(Metric::InferenceCpuSeconds),
            dropped: DropReason::ALL
                .map(|reason| telemetry.counter(Metric::FramesDropped, &[camera, reason.name()])),
            stages: Stage::ALL.map(|stage| telemetry.histogram(Metric::StageSeconds, &[camera, stage.name()])),
            states: CameraState::ALL.map(|state| telemetry.gauge(Metric::CameraState, &[camera, state.name()])),
        }
    }

    /// The counter of frames dropped for that reason.
    pub fn dropped(&self, reason: DropReason) -> &Counter {
        &self.dropped[reason as usize]
    }

    /// The histogram of that stage.
    pub fn stage(&self, stage: Stage) -> &Histogram {
        &self.stages[stage as usize]
    }

    /// Says in which state the camera is.
    pub fn set_state(&self, state: CameraState) {
        for (gauge, candidate) in self.states.iter().zip(CameraState::ALL) {
            gauge.set(if candidate == state { 1.0 } else { 0.0 });
        }
    }
}

/// All that is measured about one edge between two stages.
#[derive(Clone, Debug)]
pub struct EdgeMetrics {
    /// [`Metric::QueueDepth`].
    pub depth: Gauge,
    /// [`Metric::QueueBlockedSeconds`].
    pub blocked: Counter,
    /// [`Metric::QueueDropped`].
    pub dropped: Counter,
}

impl EdgeMetrics {
    /// The handles of the edge of that name.
    pub fn new(telemetry: &Telemetry, edge: &str) -> Self {
        Self {
            depth: telemetry.gauge(Metric::QueueDepth, &[edge]),
            blocked: telemetry.counter(Metric::QueueBlockedSeconds, &[edge]),
            dropped: telemetry.counter(Metric::QueueDropped, &[edge]),
        }
    }
}

/// What is measured about the node as a whole.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    /// [`Metric::FindingsLost`].
    pub findings_lost: Gauge,
    /// [`Metric::LateFrames`].
    pub late_frames: Counter,
    /// [`Metric::SkippedBins`].
    pub skipped_bins: Counter,
    /// [`Metric::IncidentsLimited`].
    pub incidents_limited: Gauge,
    /// [`Metric::SpoolHealthy`].
    pub spool_healthy: Gauge,
    /// [`Metric::SpoolMaxBytes`].
    pub spool_max_bytes: Gauge,
    /// [`Metric::SpoolOldestAge`].
    pub spool_oldest_age: Gauge,
    /// [`Metric::PrivacyLedgerHealthy`].
    pub ledger_healthy: Gauge,
    /// [`Metric::SpoolBytes`].
    pub spool_bytes: Gauge,
    /// [`Metric::SpoolUnsyncedRows`].
    pub spool_unsynced_rows: Gauge,
    /// [`Metric::SpoolDroppedRows`].
    pub spool_dropped_rows: Counter,
    /// [`Metric::SpoolCoarsenedRows`].
    pub spool_coarsened_rows: Counter,
    /// [`Metric::SpoolErrors`].
    pub spool_errors: Counter,
}

impl NodeMetrics {
    /// The node's handles.
    pub fn new(telemetry: &Telemetry) -> Self {
        Self {
            findings_lost: telemetry.gauge(Metric::FindingsLost, &[]),
            late_frames: telemetry.counter(Metric::LateFrames, &[]),
            skipped_bins: telemetry.counter(Metric::SkippedBins, &[]),
            incidents_limited: telemetry.gauge(Metric::IncidentsLimited, &[]),
            spool_healthy: telemetry.gauge(Metric::SpoolHealthy, &[]),
            spool_max_bytes: telemetry.gauge(Metric::SpoolMaxBytes, &[]),
            spool_oldest_age: telemetry.gauge(Metric::SpoolOldestAge, &[]),
            ledger_healthy: telemetry.gauge(Metric::PrivacyLedgerHealthy, &[]),
            spool_bytes: telemetry.gauge(Metric::SpoolBytes, &[]),
            spool_unsynced_rows: telemetry.gauge(Metric::SpoolUnsyncedRows, &[]),
            spool_dropped_rows: telemetry.counter(Metric::SpoolDroppedRows, &[]),
            spool_coarsened_rows: telemetry.counter(Metric::SpoolCoarsenedRows, &[]),
            spool_errors: telemetry.counter(Metric::SpoolErrors, &[]),
        }
    }
}

/// What is measured about the way to the gateway.
#[derive(Clone, Debug)]
pub struct UplinkMetrics {
    /// [`Metric::UplinkConnected`].
    pub connected: Gauge,
    /// [`Metric::UplinkConnections`].
    pub connections: Counter,
    /// [`Metric::UplinkFailures`].
    pub failures: Counter,
    /// [`Metric::UplinkLostRows`].
    pub lost_rows: Counter,
    /// [`Metric::UplinkWrongAnswers`].
    pub wrong_answers: Counter,
    /// [`Metric::UplinkBytes`] that were sent.
    pub sent_bytes: Counter,
    /// [`Metric::UplinkBytes`] that were received.
    pub received_bytes: Counter,
    /// [`Metric::UplinkWaitingRows`].
    pub waiting_rows: Gauge,
    /// [`Metric::UplinkWaitingBytes`].
    pub waiting_bytes: Gauge,
    /// [`Metric::UplinkLagSeconds`].
    pub lag_seconds: Gauge,
    /// [`Metric::UplinkCertificateExpires`].
    pub certificate_expires: Gauge,
}

impl UplinkMetrics {
    /// The uplink's handles.
    pub fn new(telemetry: &Telemetry) -> Self {
        Self {
            connected: telemetry.gauge(Metric::UplinkConnected, &[]),
            connections: telemetry.counter(Metric::UplinkConnections, &[]),
            failures: telemetry.counter(Metric::UplinkFailures, &[]),
            lost_rows: telemetry.counter(Metric::UplinkLostRows, &[]),
            wrong_answers: telemetry.counter(Metric::UplinkWrongAnswers, &[]),
            sent_bytes: telemetry.counter(Metric::UplinkBytes, &["sent"]),
            received_bytes: telemetry.counter(Metric::UplinkBytes, &["received"]),
            waiting_rows: telemetry.gauge(Metric::UplinkWaitingRows, &[]),
            waiting_bytes: telemetry.gauge(Metric::UplinkWaitingBytes, &[]),
            lag_seconds: telemetry.gauge(Metric::UplinkLagSeconds, &[]),
            certificate_expires: telemetry.gauge(Metric::UplinkCertificateExpires, &[]),
        }
    }
}

/// What leaves and what is refused (rule PC-20 of the privacy contract).
#[derive(Clone)]
pub struct PrivacyMetrics {
    telemetry: Arc<Telemetry>,
}

impl PrivacyMetrics {
    /// The handles, none with a value yet: which cameras have a budget, and which rules there are, the release stage
    /// says.
    pub fn new(telemetry: &Arc<Telemetry>) -> Self {
        Self { telemetry: Arc::clone(telemetry) }
    }

    /// [`Metric::PrivacyBudgetRemaining`] of that camera.
    pub fn budget_remaining(&self, camera: &str) -> Gauge {
        self.telemetry.gauge(Metric::PrivacyBudgetRemaining, &[camera])
    }

    /// [`Metric::PrivacyBudget`] of that camera.
    pub fn budget(&self, camera: &str) -> Gauge {
        self.telemetry.gauge(Metric::PrivacyBudget, &[camera])
    }

    /// [`Metric::PrivacyRefused`] by that rule, such as `PC-9`.
    pub fn refused(&self, rule: &str) -> Counter {
        self.telemetry.counter(Metric::PrivacyRefused, &[rule])
    }

    /// [`Metric::EgressBytes`] of that class of data: `agg`, `incident` or `health`.
    pub fn egress_bytes(&self, class: &str) -> Counter {
        self.telemetry.counter(Metric::EgressBytes, &[class])
    }
}
