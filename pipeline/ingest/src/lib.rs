//! Cameras: RTSP streams and clips become shared frames. And one way back, for `replay` alone: drawn pictures
//! become a clip.
//!
//! The only user of GStreamer. Each camera has one supervisor thread (`NAME/ingest`) that builds a pipeline,
//! watches its bus, and builds the next one when it fails; GStreamer's own threads decode. A frame is the
//! decoder's buffer, mapped read-only and shared: no pixel is copied between the decoder and the reader of
//! the frame, unless the decoder gives neither NV12 nor I420; then the converted bytes are counted.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`source`] | what a camera is, and the limits that it is held to |
//! | `supervisor` | connect, watch, reconnect, stop |
//! | `session` | one pipeline from its start to its end |
//! | `pipeline` | which elements, with which settings |
//! | `intake` | from decoded buffers to [`Frame`]s: damage, rate cap, stamp, map, send |
//! | `clip_writer` | pictures to an MP4 file, for `replay --overlay`; no camera uses it |
//! | `timeline`, `cap`, `backoff`, `quiet` | the rules for time, rate, retries and logs: pure, tested with tables |
//!
//! Invariants: the frame-rate cap acts before anything is converted or mapped. Media time only grows, also
//! across reconnects; a new run begins wherever the stream's clock cannot be trusted. A live camera never
//! waits for its reader and a clip never loses a frame, by the policy of the edge that is passed in.
//! No address, credential or text from a camera reaches a log.
//!
//! Deliberately not here: recording of cameras, audio, ONVIF, HTTP tunnelling, following a redirect to another host.

#![forbid(unsafe_code)]

mod backoff;
mod cap;
mod clip_writer;
mod counts;
mod error;
mod intake;
mod picture;
mod pipeline;
mod probe;
mod quiet;
mod session;
pub mod source;
mod status;
mod supervisor;
mod timeline;

use std::sync::Arc;

use kerbside_channel::Sender;
use kerbside_core::frame::Frame;
use kerbside_telemetry::CameraMetrics;

pub use clip_writer::{ClipWriter, Picture};
pub use error::IngestError;
pub use probe::{ClipInfo, probe};
pub use source::{CameraSource, Credentials, Limits, Pace, Source, Transport};
pub use status::CameraStatus;
pub use supervisor::{CameraHandle, Ended};

/// Starts a camera. Frames go into `frames`, which is dropped when the camera ends; `status` and `metrics`
/// are kept up to date until then.
///
/// What can be known at once is checked here: the address, the CA file, the clip, GStreamer's plugins.
/// A stream that cannot be reached is no error: it is tried again for as long as the camera runs.
pub fn start(
    source: CameraSource,
    frames: Sender<Frame>,
    metrics: CameraMetrics,
    status: Arc<CameraStatus>,
) -> Result<CameraHandle, IngestError> {
    start_with(source, frames, metrics, status, Limits::DEFAULT)
}

/// As [`start`], with other limits than [`Limits::DEFAULT`].
pub fn start_with(
    source: CameraSource,
    frames: Sender<Frame>,
    metrics: CameraMetrics,
    status: Arc<CameraStatus>,
    limits: Limits,
) -> Result<CameraHandle, IngestError> {
    supervisor::start(source, frames, metrics, status, limits)
}
