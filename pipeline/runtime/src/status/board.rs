//! What stages tell the status page: each writes its part, the status thread reads all of it.
//!
//! Threads: any. Locks are held for as long as it takes to copy a few values, and never two at once.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kerbside_config::CameraSettings;
use kerbside_core::camera::CameraState;
use kerbside_core::time::WallTime;
use kerbside_ingest::CameraStatus;
use kerbside_telemetry::{Beat, CameraMetrics, Gauge, Metric, NodeMetrics, Telemetry, UplinkMetrics};

use super::snapshot::{BinView, CameraView, ConfigView, MachineView, Snapshot, SpoolView, UplinkView};
use crate::clock;
use crate::lane::LaneId;
use crate::machine::Reading;
use crate::releasing::Pulse;
use crate::setup::SetupMode;

/// A thread of the main program or of the release stage that has not moved for so long hangs.
const PULSE_LIMIT: Duration = Duration::from_secs(10);

/// What is known of the node.
pub(crate) struct Board {
    pub(crate) identity: Identity,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) setup: Arc<SetupMode>,
    /// Whether whoever looks after the node makes progress.
    pub(crate) keeper: Beat,
    node: NodeMetrics,
    disk: [Gauge; 2],
    /// The gateway's name, where there is one.
    uplink: Option<(String, UplinkMetrics)>,
    ready: Gauge,
    cameras: Mutex<Vec<Arc<CameraBoard>>>,
    config: Mutex<ConfigView>,
    machine: Mutex<Machine>,
    hung: Mutex<Vec<String>>,
}

/// What never changes.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) node: String,
    pub(crate) software: String,
    pub(crate) started: Instant,
    pub(crate) is_demonstration: bool,
    pub(crate) is_insecure: bool,
}

/// What the machine said last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) reading: Reading,
    /// Of all processors, 0..1.
    pub(crate) cpu_busy: Option<f64>,
    /// Of the processor packages.
    pub(crate) watts: Option<f64>,
    /// Whether a processor was slowed down for its heat within the last minute; `None` where it does not tell.
    pub(crate) is_throttled: Option<bool>,
    pub(crate) process_memory: Option<u64>,
}

/// What is known of one camera.
pub(crate) struct CameraBoard {
    pub(crate) name: String,
    pub(crate) lane: LaneId,
    pub(crate) analyse_fps: f64,
    pub(crate) profile: &'static str,
    pub(crate) model: String,
    /// The names of its lines and zones, by `SiteId`.
    pub(crate) sites: Vec<String>,
    /// Lines, zones and the ground, as the page for drawing takes them.
    pub(crate) geometry: String,
    pub(crate) status: Arc<CameraStatus>,
    pub(crate) metrics: CameraMetrics,
    /// Processor time of its detections so far.
    pub(crate) inference_nanos: Arc<AtomicU64>,
    told: Mutex<Told>,
}

/// What stages have told of a camera.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) fps_in: Option<f64>,
    pub(crate) fps_analysed: Option<f64>,
    pub(crate) latency: Option<(Duration, Duration)>,
    pub(crate) coverage: Option<f32>,
    pub(crate) is_trusted: Option<bool>,
    pub(crate) tampered: Vec<&'static str>,
    pub(crate) budget_milli: Option<(u32, u32)>,
    pub(crate) bins: Vec<BinView>,
    /// Why it is given up.
    pub(crate) given_up: Option<String>,
}

impl CameraBoard {
    /// `model` is the id of its manifest, `geometry` what the page for drawing takes.
    pub(crate) fn new(
        camera: &CameraSettings,
        lane: LaneId,
        model: &str,
        geometry: String,
        telemetry: &Telemetry,
    ) -> Self {
        telemetry.gauge(Metric::CameraAnalyseFps, &[&camera.name]).set(camera.analyse_fps);
        Self {
            name: camera.name.clone(),
            lane,
            analyse_fps: camera.analyse_fps,
            profile: camera.privacy.profile.name(),
            model: model.to_owned(),
            sites: camera.geometry.sites.iter().map(|site| site.name.clone()).collect(),
            geometry,
            status: Arc::new(CameraStatus::new()),
            metrics: CameraMetrics::new(telemetry, &camera.name),
            inference_nanos: Arc::default(),
            told: Mutex::default(),
        }
    }

    pub(crate) fn tell(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self, now: Instant) -> CameraView {
        let told = self.tell().clone();
        let state = match self.status.state() {
            CameraState::Up if told.is_trusted == Some(false) => CameraState::Tampered,
            state => state,
        };
        let trouble =
            self.status.trouble().map(|(words, at)| (words.to_owned(), now.saturating_duration_since(at)));
        CameraView {
            name: self.name.clone(),
            state,
            tampered: told.tampered,
            trouble: told.given_up.map(|words| (words, Duration::ZERO)).or(trouble),
            fps_in: told.fps_in,
            fps_analysed: told.fps_analysed,
            analyse_fps: self.analyse_fps,
            last_frame_age: self.status.last_frame_age(now),
            latency: told.latency,
            coverage: told.coverage,
            reconnects: self.status.reconnects(),
            profile: self.profile,
            budget_milli: told.budget_milli,
            model: self.model.clone(),
            bins: told.bins,
        }
    }
}

impl Board {
    pub(crate) fn new(
        identity: Identity,
        telemetry: &Arc<Telemetry>,
        node: NodeMetrics,
        uplink: Option<(String, UplinkMetrics)>,
        config: ConfigView,
    ) -> Self {
        telemetry.gauge(Metric::InsecureDev, &[]).set(if identity.is_insecure { 1.0 } else { 0.0 });
        Self {
            identity,
            telemetry: Arc::clone(telemetry),
            pulse: Arc::default(),
            setup: Arc::default(),
            keeper: Beat::default(),
            node,
            disk: ["free", "size"].map(|kind| telemetry.gauge(Metric::SpoolDiskBytes, &[kind])),
            uplink,
            ready: telemetry.gauge(Metric::NodeReady, &[]),
            cameras: Mutex::default(),
            config: Mutex::new(config),
            machine: Mutex::default(),
            hung: Mutex::default(),
        }
    }

    /// The cameras that run, sorted by name.
    pub(crate) fn cameras(&self) -> Vec<Arc<CameraBoard>> {
        lock(&self.cameras).clone()
    }

    /// The number of a camera's lane.
    pub(crate) fn lane_of(&self, name: &str) -> Option<u64> {
        self.cameras().iter().find(|camera| camera.name == name).map(|camera| camera.lane.0)
    }

    pub(crate) fn set_cameras(&self, mut cameras: Vec<Arc<CameraBoard>>) {
        cameras.sort_by(|a, b| a.name.cmp(&b.name));
        *lock(&self.cameras) = cameras;
    }

    pub(crate) fn config(&self) -> MutexGuard<'_, ConfigView> {
        lock(&self.config)
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }

    pub(crate) fn set_hung(&self, hung: Vec<String>) {
        *lock(&self.hung) = hung;
    }

    /// The stages that hang; empty for a node that is alive.
    pub(crate) fn hung(&self, now: Instant) -> Vec<String> {
        let mut hung = lock(&self.hung).clone();
        for (name, beat) in [("main", &self.keeper), ("release", self.pulse.beat())] {
            let is_known = hung.iter().any(|known| known == name);
            if !is_known && beat.working_for(now).is_some_and(|time| time > PULSE_LIMIT) {
                hung.push(name.to_owned());
            }
        }
        hung
    }

    /// What keeps the node from being ready, in words.
    pub(crate) fn not_ready(&self, now: Instant) -> Vec<String> {
        let mut words: Vec<String> =
            self.hung(now).into_iter().map(|stage| format!("the stage {stage} makes no progress")).collect();
        if !self.pulse.spool_ok() {
            words.push("what is released cannot be stored".to_owned());
        }
        if !self.pulse.ledger_ok() {
            words.push("the privacy ledger refuses, so numbers with noise are held back".to_owned());
        }
        if !self.cameras().iter().any(|camera| camera.status.state() == CameraState::Up) {
            words.push("no camera is up".to_owned());
        }
        self.ready.set(if words.is_empty() { 1.0 } else { 0.0 });
        words
    }

    /// Everything, at this moment.
    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        let Identity { node, software, started, is_demonstration, is_insecure } = self.identity.clone();
        Snapshot {
            node,
            software,
            now: clock::now(),
            uptime: now.saturating_duration_since(started),
            not_ready: self.not_ready(now),
            hung: self.hung(now),
            cameras: self.cameras().iter().map(|camera| camera.view(now)).collect(),
            spool: self.spool(),
            uplink: self.uplink.as_ref().map(|(gateway, metrics)| uplink(gateway, metrics)),
            machine: self.machine_view(),
            config: self.config().clone(),
            setup: self.setup.view(now),
            is_demonstration,
            is_insecure,
        }
    }

    fn spool(&self) -> SpoolView {
        let [free, size] = &self.disk;
        // No file system has no size: nothing has been read yet.
        let bytes = |gauge: &Gauge| (size.value() > 0.0).then_some(gauge.value() as u64);
        let oldest = self.node.spool_oldest_age.value();
        SpoolView {
            bytes: self.node.spool_bytes.value() as u64,
            max_bytes: self.node.spool_max_bytes.value() as u64,
            oldest_age: (oldest > 0.0).then(|| Duration::from_secs_f64(oldest)),
            unsynced_rows: self.node.spool_unsynced_rows.value() as u64,
            dropped_rows: self.node.spool_dropped_rows.value() as u64,
            is_healthy: self.pulse.spool_ok(),
            ledger_is_healthy: self.pulse.ledger_ok(),
            disk_free: bytes(free),
            disk_size: bytes(size),
        }
    }

    fn machine_view(&self) -> MachineView {
        let Machine { reading, cpu_busy, watts, process_memory, .. } = self.machine().clone();
        MachineView {
            cpu_busy,
            memory_available: reading.memory.map(|memory| memory.available),
            memory_total: reading.memory.map(|memory| memory.total),
            process_memory,
            temperature_celsius: reading.temperature_celsius,
            watts,
            clock_is_synchronised: clock::is_synchronised(clock::now()),
        }
    }
}

fn uplink(gateway: &str, metrics: &UplinkMetrics) -> UplinkView {
    let expires = metrics.certificate_expires.value();
    let expires = (expires > 0.0).then(|| WallTime::from_unix_millis((expires * 1000.0) as u64));
    UplinkView {
        gateway: gateway.to_owned(),
        is_connected: metrics.connected.value() > 0.0,
        waiting_rows: metrics.waiting_rows.value() as u64,
        lag: Duration::from_secs_f64(metrics.lag_seconds.value().max(0.0)),
        certificate_left: expires.map(|expires| expires.since(clock::now())),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Values are replaced as a whole: whoever panicked with the lock has left one that is true.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
