//! What can keep a node from starting, or end it.

use std::path::PathBuf;

use kerbside_core::error::{Classified, ErrorKind};
use kerbside_ingest::IngestError;
use kerbside_models::ModelError;
use kerbside_release::{LedgerError, NoiseError, ReleaseError};
use kerbside_uplink::SpoolError;
use kerbside_uplink::client::UplinkError;
use thiserror::Error;

/// Why the node could not start or had to end.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// A detector could not be loaded.
    #[error("the model of camera {camera} cannot be used")]
    Model {
        /// Which camera asked for it.
        camera: String,
        /// Why.
        source: ModelError,
    },
    /// A camera could not be started, or a clip could not be read.
    #[error("camera {camera}")]
    Ingest {
        /// Which camera.
        camera: String,
        /// Why.
        source: IngestError,
    },
    /// A detector failed on a clip, where every frame counts.
    #[error("frame {frame} of the clip could not be analysed")]
    Inference {
        /// The frame's number from 1.
        frame: u64,
        /// Why.
        source: kerbside_models::InferenceError,
    },
    /// The release stage refused.
    #[error("the release stage failed")]
    Release(#[from] ReleaseError),
    /// The spool cannot be used.
    #[error("the spool cannot be used")]
    Spool(#[from] SpoolError),
    /// The uplink could not be begun.
    #[error("the uplink to the gateway could not be started")]
    Uplink(#[from] UplinkError),
    /// The metrics address cannot be used.
    #[error("the metrics address {address} cannot be used")]
    Status {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The metrics socket cannot be used.
    #[error("the metrics socket {} cannot be used", path.display())]
    StatusSocket {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system gave no random numbers.
    #[error("the system has no random numbers")]
    Random(#[source] getrandom::Error),
    /// The privacy ledger cannot be used.
    #[error("the privacy ledger cannot be used")]
    Ledger(#[from] LedgerError),
    /// There is no noise.
    #[error("numbers with noise cannot be released")]
    Noise(#[source] NoiseError),
    /// A clip could not be read.
    #[error("{} cannot be read", path.display())]
    Clip {
        /// The clip.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An output file could not be written.
    #[error("{} cannot be written", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The overlay of a replay could not be written.
    #[error("the overlay was given up")]
    Overlay {
        /// Why.
        source: IngestError,
    },
    /// The overlay of a replay could not be drawn.
    #[error("the overlay was given up at frame {frame}, which could not be drawn on")]
    Drawing {
        /// The frame's number from 1.
        frame: u64,
        /// Why.
        source: kerbside_vision::VisionError,
    },
    /// The system gave no thread.
    #[error("the thread {name} could not be started")]
    Thread {
        /// The thread's name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// A stage panicked: a defect of the node.
    #[error("the stage {stage} ended in a panic")]
    Panicked {
        /// The stage.
        stage: String,
    },
    /// The node did not end in time.
    #[error("the stage {stage} did not end within {limit_secs} s of the stop")]
    Deadline {
        /// The stage that was still running.
        stage: String,
        /// The deadline.
        limit_secs: u64,
    },
}

impl Classified for RuntimeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Model { source, .. } => source.kind(),
            Self::Ingest { source, .. } | Self::Overlay { source } => source.kind(),
            Self::Drawing { source, .. } => source.kind(),
            Self::Inference { source, .. } => source.kind(),
            Self::Release(source) => source.kind(),
            Self::Spool(source) => source.kind(),
            Self::Uplink(source) => source.kind(),
            Self::Ledger(source) => source.kind(),
            Self::Noise(source) => source.kind(),
            Self::Status { .. } | Self::StatusSocket { .. } | Self::Clip { .. } => ErrorKind::Config,
            Self::Random(_)
            | Self::Output { .. }
            | Self::Thread { .. }
            | Self::Panicked { .. }
            | Self::Deadline { .. } => ErrorKind::Fatal,
        }
    }
}

/// Starts a named thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: String,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::JoinHandle<T>, RuntimeError> {
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(body)
        .map_err(|source| RuntimeError::Thread { name, source })
}
