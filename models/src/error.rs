//! What can go wrong with a model's files, and with one frame's inference.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use kerbside_core::diagnostics::Problem;
use kerbside_core::error::{Classified, ErrorKind};
use kerbside_vision::VisionError;
use thiserror::Error;

/// An engine's own error, with its chain of causes.
pub(crate) type EngineError = Box<dyn Error + Send + Sync>;

/// Why a model cannot be used at all.
#[derive(Debug, Error)]
pub enum ModelError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no model of that name.
    #[error(
        "there is no model '{name}' in {}; {}",
        folder.display(),
        if known.is_empty() { "it holds none".to_owned() } else { format!("it holds {}", known.join(", ")) }
    )]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// What is there, sorted.
        known: Vec<String>,
    },
    /// The manifest has mistakes.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Manifest {
        /// All of them, sorted by place.
        problems: Vec<Problem>,
    },
    /// The file is not of the size that the manifest gives.
    #[error("{} has {found} bytes, its manifest says {expected}: it is not the file the manifest speaks of", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// The manifest's size in bytes.
        expected: u64,
        /// The file's size in bytes.
        found: u64,
    },
    /// The file is not the one that the manifest speaks of.
    #[error("{} has the SHA-256 {found}, its manifest says {expected}: it is not the file the manifest speaks of", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The manifest's SHA-256, 64 hexadecimal digits.
        expected: String,
        /// The file's SHA-256, 64 hexadecimal digits.
        found: String,
    },
    /// The engine cannot make a network of the file.
    #[error("{model}: the file is no network that can be run: {what}")]
    Network {
        /// The model's name.
        model: String,
        /// What was being done.
        what: &'static str,
        /// What the engine says.
        #[source]
        source: EngineError,
    },
    /// The network does not have the inputs or outputs that the manifest describes.
    #[error("{model}: the network does not fit its manifest: {what}")]
    Mismatch {
        /// The model's name.
        model: String,
        /// What was found and what was expected.
        what: String,
    },
}

impl Classified for ModelError {
    /// Somebody has to put another file or another manifest there.
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

/// Why one frame has no detections. The texts go into logs and say nothing that was read from a picture.
#[derive(Debug, Error)]
pub enum InferenceError {
    /// No network could be made for this picture's shape.
    #[error("no network for pictures of {width}x{height}")]
    Shape {
        /// The picture's width in pixels.
        width: u32,
        /// The picture's height in pixels.
        height: u32,
        /// Why.
        #[source]
        source: ModelError,
    },
    /// The input could not be written.
    #[error("the network's input could not be written")]
    Input(#[from] VisionError),
    /// The engine failed.
    #[error("the network could not be run")]
    Run(#[source] EngineError),
    /// An output has not the size that its network declared.
    #[error("output '{output}' has {found} values instead of {expected}")]
    OutputSize {
        /// The output's name.
        output: String,
        /// What the network declared.
        expected: usize,
        /// What it gave.
        found: usize,
    },
    /// An output holds NaN or an infinite number.
    #[error("output '{output}' holds a number that is not finite")]
    NotFinite {
        /// The output's name.
        output: String,
    },
    /// A score lies outside 0..1.
    #[error("output '{output}' holds a score outside 0 to 1")]
    ScoreRange {
        /// The output's name.
        output: String,
    },
}

impl Classified for InferenceError {
    /// Broken numbers may be this frame's alone; all else would come back with the next frame.
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFinite { .. } | Self::ScoreRange { .. } | Self::OutputSize { .. } => ErrorKind::Transient,
            Self::Shape { .. } | Self::Input(_) | Self::Run(_) => ErrorKind::Fatal,
        }
    }
}
