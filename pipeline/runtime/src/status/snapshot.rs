//! What the status page shows: plain values, taken at one moment.
//!
//! Nothing in here says more than what has left the node or may leave it: numbers of objects are those of released bins,
//! never those of a bin that is open (rule PC-12 of the privacy contract).

use std::time::Duration;

use kerbside_core::camera::CameraState;
use kerbside_core::time::WallTime;

/// The whole page.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The node's name.
    pub(crate) node: String,
    /// The program and its version.
    pub(crate) software: String,
    /// When this was taken.
    pub(crate) now: WallTime,
    /// How long the node has been running.
    pub(crate) uptime: Duration,
    /// What keeps the node from being ready, in words; empty where it is.
    pub(crate) not_ready: Vec<String>,
    /// Stages that make no progress, by the names of their threads.
    pub(crate) hung: Vec<String>,
    /// Sorted by name.
    pub(crate) cameras: Vec<CameraView>,
    pub(crate) spool: SpoolView,
    /// `None` where no gateway is configured.
    pub(crate) uplink: Option<UplinkView>,
    pub(crate) machine: MachineView,
    pub(crate) config: ConfigView,
    pub(crate) setup: SetupView,
    /// Whether bins are shortened and counted without noise.
    pub(crate) is_demonstration: bool,
    /// Whether the system may write the node's memory to a disk.
    pub(crate) is_insecure: bool,
}

/// One camera.
#[derive(Clone, Debug)]
pub(crate) struct CameraView {
    pub(crate) name: String,
    /// [`CameraState::Tampered`] where the picture cannot be trusted.
    pub(crate) state: CameraState,
    /// What its guard says is wrong with the picture: "covered", "defocus", "moved", "frozen", "dark", "bright".
    pub(crate) tampered: Vec<&'static str>,
    /// The last thing that went wrong, in words, and how long ago that was.
    pub(crate) trouble: Option<(String, Duration)>,
    /// Frames a second within the last ten seconds or so; `None` before that.
    pub(crate) fps_in: Option<f64>,
    pub(crate) fps_analysed: Option<f64>,
    /// The most that the configuration allows.
    pub(crate) analyse_fps: f64,
    pub(crate) last_frame_age: Option<Duration>,
    /// Median and 95th percentile from a frame's arrival until its findings are taken in, over the last minute.
    pub(crate) latency: Option<(Duration, Duration)>,
    /// The share of the last minute with frames that can be trusted, 0..1.
    pub(crate) coverage: Option<f32>,
    pub(crate) reconnects: u64,
    /// The privacy profile's name.
    pub(crate) profile: &'static str,
    /// What is left of the budget of the bins that are open, and the whole, in thousandths of epsilon; `None` where
    /// nothing has noise.
    pub(crate) budget_milli: Option<(u32, u32)>,
    /// The id of the detector's manifest.
    pub(crate) model: String,
    /// The last released bin of each counter, in the order of the configuration's sites.
    pub(crate) bins: Vec<BinView>,
}

/// One number that has been released.
#[derive(Clone, Debug)]
pub(crate) struct BinView {
    /// The line's or zone's name, or "from>to" for a turn.
    pub(crate) site: String,
    /// As in the table: "crossing_count".
    pub(crate) measure: &'static str,
    /// As in the table: "person", or "all".
    pub(crate) class: &'static str,
    /// As in the table: "forward", "backward" or "none".
    pub(crate) direction: &'static str,
    /// Of a histogram: which bucket, from 0; 0 where it is none.
    pub(crate) bucket: u8,
    /// As in the table: "count", "s", "m".
    pub(crate) unit: &'static str,
    /// Never below zero; `None` where it is too small to be shown (rule PC-13).
    pub(crate) value: Option<i32>,
    /// The scale of its noise; 0 where it is exact.
    pub(crate) noise_b: f64,
    pub(crate) from: WallTime,
    pub(crate) to: WallTime,
    /// The share of the bin with frames that can be trusted, 0..1.
    pub(crate) coverage: f32,
}

/// The spool.
#[derive(Clone, Debug)]
pub(crate) struct SpoolView {
    pub(crate) bytes: u64,
    pub(crate) max_bytes: u64,
    pub(crate) oldest_age: Option<Duration>,
    pub(crate) unsynced_rows: u64,
    /// Rows that were lost since the node started.
    pub(crate) dropped_rows: u64,
    pub(crate) is_healthy: bool,
    /// Whether the privacy ledger lets through what needs it.
    pub(crate) ledger_is_healthy: bool,
    pub(crate) disk_free: Option<u64>,
    pub(crate) disk_size: Option<u64>,
}

/// The way to the gateway.
#[derive(Clone, Debug)]
pub(crate) struct UplinkView {
    pub(crate) gateway: String,
    pub(crate) is_connected: bool,
    pub(crate) waiting_rows: u64,
    pub(crate) lag: Duration,
    /// How long the node's certificate is still good; `None` where it is not known.
    pub(crate) certificate_left: Option<Duration>,
}

/// The machine.
#[derive(Clone, Debug)]
pub(crate) struct MachineView {
    /// Of all processors, 0..1; `None` before the second reading.
    pub(crate) cpu_busy: Option<f64>,
    pub(crate) memory_available: Option<u64>,
    pub(crate) memory_total: Option<u64>,
    pub(crate) process_memory: Option<u64>,
    pub(crate) temperature_celsius: Option<f32>,
    /// Watts of the processor package, where it tells.
    pub(crate) watts: Option<f64>,
    pub(crate) clock_is_synchronised: bool,
}

/// The configuration that runs.
#[derive(Clone, Debug)]
pub(crate) struct ConfigView {
    pub(crate) revision: u32,
    pub(crate) applied: WallTime,
    /// Every problem of the files that are on the disk now and were refused; empty where they run.
    pub(crate) refused: Vec<String>,
}

/// The mode in which an installer may see a camera's background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SetupView {
    /// node.yaml does not allow it.
    Forbidden,
    /// It is allowed for so long at a time.
    Off { at_most: Duration },
    /// It is on for one camera.
    On { camera: String, left: Duration },
}
