//! The one list of what is measured.
//!
//! Rule PC-12 of the privacy contract: nothing here counts what the pictures show, neither objects nor what was found
//! about them, since such a number would be exact where the released one has noise. What depends on the pictures at
//! all is told as a flag ([`Metric::FindingsLost`], [`Metric::IncidentsLimited`]), as rows that have left anyway
//! ([`Metric::ReleasedRows`]), or as a time in which it drowns ([`Metric::StageSeconds`]).

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Spreads values over buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// Upper bounds in seconds for work on one frame, from a tenth of a millisecond.
const WORK_SECONDS: &[f64] =
    &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// Upper bounds in seconds from capture to release.
const LATENCY_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0];
/// Upper bounds in seconds of one commit of a gateway: a file or a few, and two syncs of its state.
const COMMIT_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What the names of a gateway's own metrics begin with.
const GATEWAY_PREFIX: &str = "kerbside_gateway_";
/// And those that every process tells of itself.
const PROCESS_PREFIX: &str = "kerbside_process_";

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal, $kind:expr, [$($label:literal),*];)*) => {
        /// Everything that a node or a gateway measures about itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $($(#[doc = $help])+ $variant,)*
        }

        impl Metric {
            /// Every metric, in the order of the manual.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name that Prometheus sees.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// One sentence on what it says.
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+).trim()),* }
            }

            /// How it behaves.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => $kind),* }
            }

            /// The names of its labels, in the order in which their values are given.
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*]),* }
            }
        }
    };
}

metrics! {
    /// Frames that left the camera's decoder.
    FramesDecoded = "kerbside_frames_decoded_total", Kind::Counter, ["camera"];
    /// Frames that entered the node, after the frame-rate cap.
    FramesIn = "kerbside_frames_in_total", Kind::Counter, ["camera"];
    /// Frames that were dropped, by reason.
    FramesDropped = "kerbside_frames_dropped_total", Kind::Counter, ["camera", "reason"];
    /// Frames that went through detection, tracking and operators.
    FramesAnalysed = "kerbside_frames_analysed_total", Kind::Counter, ["camera"];
    /// Bytes of pixels that had to be converted or copied on the way into the node because the decoder gave neither NV12 nor I420.
    PixelsCopied = "kerbside_pixels_copied_bytes_total", Kind::Counter, ["camera"];
    /// Frames that a detector could not analyse.
    InferenceErrors = "kerbside_inference_errors_total", Kind::Counter, ["camera"];
    /// Time that one frame spent in a stage; of stages whose work grows with what is in the picture in whole milliseconds.
    StageSeconds = "kerbside_stage_seconds", Kind::Histogram(WORK_SECONDS), ["camera", "stage"];
    /// Time from a frame's arrival at the node until the release stage has taken its findings in.
    CaptureToReleaseSeconds = "kerbside_capture_to_release_seconds", Kind::Histogram(LATENCY_SECONDS), ["camera"];
    /// Items that wait in a queue between two stages.
    QueueDepth = "kerbside_queue_depth_items", Kind::Gauge, ["edge"];
    /// Time that senders spent waiting for room in a queue.
    QueueBlockedSeconds = "kerbside_queue_blocked_seconds_total", Kind::Counter, ["edge"];
    /// Items that a newer one replaced in a queue whose policy is newest wins.
    QueueDropped = "kerbside_queue_dropped_items_total", Kind::Counter, ["edge"];
    /// 1 for the state that the camera is in, 0 for the others.
    CameraState = "kerbside_camera_state", Kind::Gauge, ["camera", "state"];
    /// Attempts to connect to a camera again.
    CameraReconnects = "kerbside_camera_reconnects_total", Kind::Counter, ["camera"];
    /// Connections that were given up because no frame came.
    CameraStalls = "kerbside_camera_stalls_total", Kind::Counter, ["camera"];
    /// Attempts that a camera refused because of our credentials.
    CameraAuthFailures = "kerbside_camera_auth_failures_total", Kind::Counter, ["camera"];
    /// Errors that a camera's decoder reported.
    CameraDecodeErrors = "kerbside_camera_decode_errors_total", Kind::Counter, ["camera"];
    /// Jumps of a camera's clock; each ends all tracks.
    CameraClockJumps = "kerbside_camera_clock_jumps_total", Kind::Counter, ["camera"];
    /// The most frames a second that the configuration lets in.
    CameraAnalyseFps = "kerbside_camera_analyse_fps", Kind::Gauge, ["camera"];
    /// Age of the last frame that left the decoder; absent before the first.
    CameraLastFrameAge = "kerbside_camera_last_frame_age_seconds", Kind::Gauge, ["camera"];
    /// The share of the last minute with analysed frames that can be trusted, 0 to 1; absent before the first minute.
    CameraCoverage = "kerbside_camera_coverage_ratio", Kind::Gauge, ["camera"];
    /// 1 while the camera's guard says that its picture cannot be trusted, by what is wrong; absent where it has no guard.
    CameraTampered = "kerbside_camera_tampered", Kind::Gauge, ["camera", "kind"];
    /// Processor time for the camera: decoding, detection and analysis. An estimate: what no thread of one camera has used is shared out by what they have.
    CameraCpuSeconds = "kerbside_camera_cpu_seconds_total", Kind::Counter, ["camera"];
    /// Energy for the camera: the package's, shared out by processor time, that of an idle processor included. An estimate; absent where the package does not tell.
    CameraEnergyJoules = "kerbside_camera_energy_joules_total", Kind::Counter, ["camera"];
    /// Processor time of the camera's detections, part of its whole.
    InferenceCpuSeconds = "kerbside_inference_cpu_seconds_total", Kind::Counter, ["camera"];
    /// Energy of the camera's detections, part of its whole; over frames analysed it is joules per inference.
    InferenceEnergyJoules = "kerbside_inference_energy_joules_total", Kind::Counter, ["camera"];
    /// Rows that passed the release stage.
    ReleasedRows = "kerbside_released_rows_total", Kind::Counter, ["table"];
    /// 1 when, since the start, a finding came after its bin was closed or fitted no counter of the configuration, and was dropped.
    FindingsLost = "kerbside_findings_lost", Kind::Gauge, [];
    /// Frames that came after their bin was closed, counted once for each length of bin; many mean that the clock was set back.
    LateFrames = "kerbside_late_frames_total", Kind::Counter, [];
    /// Empty bins that were left out after the clock was set ahead.
    SkippedBins = "kerbside_skipped_bins_total", Kind::Counter, [];
    /// 1 when, since the start, a camera had more to say about situations than it may release in a day.
    IncidentsLimited = "kerbside_incidents_limited", Kind::Gauge, [];
    /// What is left of a passage's privacy budget for the bin that is open now, in units of epsilon; absent where a camera releases nothing with noise.
    PrivacyBudgetRemaining = "kerbside_privacy_budget_remaining", Kind::Gauge, ["camera"];
    /// The whole privacy budget of one bin, in units of epsilon; absent where a camera releases nothing with noise.
    PrivacyBudget = "kerbside_privacy_budget", Kind::Gauge, ["camera"];
    /// 1 while the privacy ledger lets through what needs it.
    PrivacyLedgerHealthy = "kerbside_privacy_ledger_healthy", Kind::Gauge, [];
    /// Releases that a rule of the privacy contract has refused.
    PrivacyRefused = "kerbside_privacy_refused_total", Kind::Counter, ["rule"];
    /// Bytes of released rows that were handed to the spool, by class of data.
    EgressBytes = "kerbside_egress_bytes_total", Kind::Counter, ["class"];
    /// 1 while setup mode is on, in which an installer sees a camera's background to draw lines and zones.
    DebugViewActive = "kerbside_debug_view_active", Kind::Gauge, [];
    /// 1 where the node runs for development on a system that may write its memory to a disk.
    InsecureDev = "kerbside_insecure_dev", Kind::Gauge, [];
    /// 1 while the node is ready: a camera is up, and what is released can be stored.
    NodeReady = "kerbside_node_ready", Kind::Gauge, [];
    /// 1 while a stage's thread has worked on the same thing for too long.
    ThreadHung = "kerbside_thread_hung", Kind::Gauge, ["thread"];
    /// Times that the configuration's files were read again, by what became of them.
    ConfigReloads = "kerbside_config_reloads_total", Kind::Counter, ["result"];
    /// 1 while the configuration's files are refused and the node runs with the ones before.
    ConfigRefused = "kerbside_config_refused", Kind::Gauge, [];
    /// When the configuration that runs was applied, in seconds since 1970.
    ConfigApplied = "kerbside_config_applied_timestamp_seconds", Kind::Gauge, [];
    /// 1 while the host vouches for its clock.
    ClockSynchronised = "kerbside_clock_synchronised", Kind::Gauge, [];
    /// Processors that the node may use.
    MachineCpus = "kerbside_machine_cpus", Kind::Gauge, [];
    /// Processor time of the whole machine, by what it did.
    MachineCpuSeconds = "kerbside_machine_cpu_seconds_total", Kind::Counter, ["mode"];
    /// Memory of the whole machine.
    MachineMemoryBytes = "kerbside_machine_memory_bytes", Kind::Gauge, ["kind"];
    /// Temperature of the machine's hottest sensor; absent where it has none.
    MachineTemperature = "kerbside_machine_temperature_celsius", Kind::Gauge, [];
    /// Times that the processor was slowed down to keep it cool; absent where it does not tell.
    MachineThrottles = "kerbside_machine_throttles_total", Kind::Counter, [];
    /// 1 while the supply's voltage is too low; absent where it is not watched.
    MachineUndervoltage = "kerbside_machine_undervoltage", Kind::Gauge, [];
    /// Energy of the processor package; absent where it does not tell, or not to this user.
    EnergyJoules = "kerbside_energy_joules_total", Kind::Counter, [];
    /// 1 while what is released can be stored.
    SpoolHealthy = "kerbside_spool_healthy", Kind::Gauge, [];
    /// How large the spool may become.
    SpoolMaxBytes = "kerbside_spool_max_bytes", Kind::Gauge, [];
    /// Age of the oldest rows in the spool; 0 where there are none.
    SpoolOldestAge = "kerbside_spool_oldest_age_seconds", Kind::Gauge, [];
    /// The file system that holds the spool.
    SpoolDiskBytes = "kerbside_spool_disk_bytes", Kind::Gauge, ["kind"];
    /// Bytes in the spool.
    SpoolBytes = "kerbside_spool_bytes", Kind::Gauge, [];
    /// Rows in the spool that are not yet synced to the disk.
    SpoolUnsyncedRows = "kerbside_spool_unsynced_rows", Kind::Gauge, [];
    /// Rows that were lost because the spool was full or its disk failed.
    SpoolDroppedRows = "kerbside_spool_dropped_rows_total", Kind::Counter, [];
    /// Writes and syncs of the spool that the disk refused.
    SpoolErrors = "kerbside_spool_errors_total", Kind::Counter, [];
    /// Rows that were summed up to rows of an hour because the spool was full.
    SpoolCoarsenedRows = "kerbside_spool_coarsened_rows_total", Kind::Counter, [];
    /// 1 while the gateway answers, 0 while it does not; absent where none is configured.
    UplinkConnected = "kerbside_uplink_connected", Kind::Gauge, [];
    /// Connections on which the gateway has answered.
    UplinkConnections = "kerbside_uplink_connections_total", Kind::Counter, [];
    /// Connections to the gateway that could not be made, were lost, or were refused.
    UplinkFailures = "kerbside_uplink_failures_total", Kind::Counter, [];
    /// Rows that the gateway has stored.
    UplinkStoredRows = "kerbside_uplink_stored_rows_total", Kind::Counter, ["table"];
    /// Rows that the gateway refused, each time that it did.
    UplinkRefusedRows = "kerbside_uplink_refused_rows_total", Kind::Counter, ["reason"];
    /// Rows of which the gateway was told that they will never come, because they were dropped or damaged.
    UplinkLostRows = "kerbside_uplink_lost_rows_total", Kind::Counter, [];
    /// Answers of the gateway that fit nothing that was sent; they change nothing.
    UplinkWrongAnswers = "kerbside_uplink_wrong_answers_total", Kind::Counter, [];
    /// Bytes on the way to and from the gateway, encryption and protocol included.
    UplinkBytes = "kerbside_uplink_bytes_total", Kind::Counter, ["direction"];
    /// Rows in the spool that the gateway has not stored yet.
    UplinkWaitingRows = "kerbside_uplink_waiting_rows", Kind::Gauge, [];
    /// Bytes in the spool that the gateway has not stored yet.
    UplinkWaitingBytes = "kerbside_uplink_waiting_bytes", Kind::Gauge, [];
    /// Age of the oldest rows that the gateway has not stored yet; 0 where there are none.
    UplinkLagSeconds = "kerbside_uplink_lag_seconds", Kind::Gauge, [];
    /// When the node's certificate expires, in seconds since 1970.
    UplinkCertificateExpires = "kerbside_uplink_certificate_expiry_timestamp_seconds", Kind::Gauge, [];
    /// Resident memory of the process.
    ProcessResidentBytes = "kerbside_process_resident_bytes", Kind::Gauge, [];
    /// Processor time that the process has used.
    ProcessCpuSeconds = "kerbside_process_cpu_seconds_total", Kind::Counter, [];
    /// Threads of the process.
    ProcessThreads = "kerbside_process_threads", Kind::Gauge, [];
    /// Files and connections that the process has open.
    ProcessOpenFiles = "kerbside_process_open_files", Kind::Gauge, [];
    /// When the process started, in seconds since 1970.
    ProcessStarted = "kerbside_process_start_timestamp_seconds", Kind::Gauge, [];
    /// Always 1; which version runs.
    BuildInfo = "kerbside_build_info", Kind::Gauge, ["version"];

    /// Rows that are stored and were acknowledged.
    GatewayRowsStored = "kerbside_gateway_rows_stored_total", Kind::Counter, ["table"];
    /// Rows that came again after they had been stored; they were acknowledged and not stored again.
    GatewayRowsDuplicate = "kerbside_gateway_rows_duplicate_total", Kind::Counter, ["table"];
    /// Rows that will never come, as nodes tell: dropped from a full spool, damaged on its disk, or summed up to coarser ones.
    GatewayGapRows = "kerbside_gateway_gap_rows_total", Kind::Counter, ["table", "reason"];
    /// Batches, streams and requests that were refused, by reason.
    GatewayRefused = "kerbside_gateway_refused_total", Kind::Counter, ["reason"];
    /// Connections that were refused before a word was said, by reason.
    GatewayHandshakesRefused = "kerbside_gateway_handshakes_refused_total", Kind::Counter, ["reason"];
    /// Messages on which the decoder failed in a way that it should not; each was refused.
    GatewayDecoderPanics = "kerbside_gateway_decoder_panics_total", Kind::Counter, [];
    /// Connections that are open.
    GatewayConnections = "kerbside_gateway_connections", Kind::Gauge, [];
    /// Nodes that are connected and may send.
    GatewayNodesConnected = "kerbside_gateway_nodes_connected", Kind::Gauge, [];
    /// When rows of a node were stored last, in seconds since 1970.
    GatewayNodeStored = "kerbside_gateway_node_stored_timestamp_seconds", Kind::Gauge, ["node"];
    /// Time from the first row of a commit until all of its rows may be acknowledged, the wait for more rows left out.
    GatewayCommitSeconds = "kerbside_gateway_commit_seconds", Kind::Histogram(COMMIT_SECONDS), [];
    /// Commits that failed; their rows were not acknowledged and come again.
    GatewayCommitErrors = "kerbside_gateway_commit_errors_total", Kind::Counter, [];
    /// Files that were written to the landing, merged ones included.
    GatewayFilesWritten = "kerbside_gateway_files_written_total", Kind::Counter, ["table"];
    /// Bytes of such files.
    GatewayBytesWritten = "kerbside_gateway_written_bytes_total", Kind::Counter, ["table"];
    /// Files in the landing.
    GatewayLandingFiles = "kerbside_gateway_landing_files", Kind::Gauge, ["table"];
    /// Bytes in the landing.
    GatewayLandingBytes = "kerbside_gateway_landing_bytes", Kind::Gauge, ["table"];
    /// Days of a table whose small files were merged.
    GatewayCompactions = "kerbside_gateway_compactions_total", Kind::Counter, ["table"];
    /// Files that were deleted because their rows had been kept long enough.
    GatewayFilesExpired = "kerbside_gateway_files_expired_total", Kind::Counter, ["table"];
    /// When the gateway's own certificate expires, in seconds since 1970.
    GatewayCertificateExpires = "kerbside_gateway_certificate_expires_timestamp_seconds", Kind::Gauge, [];
    /// Changed certificates, keys or lists that could not be read; the old ones stay in use.
    GatewayReloadErrors = "kerbside_gateway_reload_errors_total", Kind::Counter, [];
}

impl Metric {
    /// Whether a node measures it.
    pub fn is_of_node(self) -> bool {
        !self.name().starts_with(GATEWAY_PREFIX)
    }

    /// Whether a gateway measures it: what is its own, and what every process tells.
    pub fn is_of_gateway(self) -> bool {
        !self.is_of_node() || self.name().starts_with(PROCESS_PREFIX) || self == Self::BuildInfo
    }
}
