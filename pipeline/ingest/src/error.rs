//! Why a camera cannot start or has ended, or a clip cannot be written.

use std::path::PathBuf;

use kerbside_core::error::{Classified, ErrorKind};
use thiserror::Error;

/// Why a camera cannot start or has ended, or a clip cannot be written.
#[derive(Debug, Error)]
pub enum IngestError {
    /// GStreamer or one of its plugins is missing.
    #[error("GStreamer cannot start, or lacks {what}; on Debian install {package}")]
    Missing {
        /// The element or library.
        what: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The address is no camera's. The address itself is not repeated: it may hold secrets.
    #[error("the camera's address {0}")]
    Address(&'static str),
    /// The file of certificate authorities cannot be used.
    #[error("the CA file {} cannot be used: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting is out of range.
    #[error("analyse_fps is {0}; it must be above 0 and finite")]
    FrameRate(f64),
    /// The clip cannot be opened or decoded.
    #[error("{}: {reason}", path.display())]
    Clip {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The clip was read to its end and held no picture.
    #[error("{}: it holds no picture that can be decoded", path.display())]
    EmptyClip {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be made.
    #[error("{} cannot be written", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file was begun and could not be written to its end.
    #[error("{}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The supervisor thread could not be started.
    #[error("the camera's thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// The supervisor thread panicked: a defect of this crate.
    #[error("the camera's thread panicked")]
    Panicked,
}

impl Classified for IngestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. }
            | Self::Address(_)
            | Self::CaFile { .. }
            | Self::FrameRate(_)
            | Self::Create { .. } => ErrorKind::Config,
            Self::Clip { .. } | Self::EmptyClip { .. } | Self::Write { .. } | Self::Panicked => ErrorKind::Fatal,
            Self::Thread(_) => ErrorKind::Transient,
        }
    }
}
