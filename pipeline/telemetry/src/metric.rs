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
/// Upper bounds in seconds from capture to finding.
const LATENCY_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0];
/// Upper bounds in seconds of one commit of a gateway: a file or a few, and two syncs of its state.
const COMMIT_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What the names of a gateway's own metrics begin with.
const GATEWAY_PREFIX: &str = "kerbside_gateway_";

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
    /// Time from a frame's arrival at the node until its findings were handed to the release stage.
    CaptureToFindingSeconds = "kerbside_capture_to_finding_seconds", Kind::Histogram(LATENCY_SECONDS), ["camera"];
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
    /// Releases that a rule of the privacy contract has refused.
    PrivacyRefused = "kerbside_privacy_refused_total", Kind::Counter, ["rule"];
    /// Bytes of released rows that were handed to the spool, by class of data.
    EgressBytes = "kerbside_egress_bytes_total", Kind::Counter, ["class"];
    /// 1 while someone may look at pictures; always 0, since this version has no such view.
    DebugViewActive = "kerbside_debug_view_active", Kind::Gauge, [];
    /// 1 where the node runs for development on a system that may write its memory to a disk.
    InsecureDev = "kerbside_insecure_dev", Kind::Gauge, [];
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
        !self.is_of_node() || matches!(self, Self::ProcessResidentBytes | Self::ProcessCpuSeconds)
    }
}
