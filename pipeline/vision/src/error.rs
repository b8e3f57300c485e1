//! What can go wrong with pixels.

use std::error::Error;

use kerbside_core::error::{Classified, ErrorKind};
use kerbside_core::frame::PictureSize;
use thiserror::Error;

/// An error of this crate.
#[derive(Debug, Error)]
pub enum VisionError {
    /// OpenCV refused a step.
    #[error("OpenCV failed at {step}")]
    OpenCv {
        /// What was asked of it.
        step: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The picture is not the one that the placement was computed for.
    #[error(
        "the frame has {}x{} pixels, its placement is for {}x{}",
        frame.width, frame.height, placed.width, placed.height
    )]
    OtherPicture {
        /// The frame's size.
        frame: PictureSize,
        /// The size that the placement was computed for.
        placed: PictureSize,
    },
    /// The caller's buffer does not have the input's size.
    #[error("the input buffer has {found} values, {expected} are needed")]
    BufferSize {
        /// Channels times rows times columns.
        expected: usize,
        /// What the caller gave.
        found: usize,
    },
    /// A picture could not be written as a file.
    #[error("the picture could not be encoded")]
    Encode {
        /// What the encoder said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The caller's rows do not hold the input's pixels.
    #[error(
        "the buffer of {found} bytes with {row_stride} bytes from row to row does not hold {}x{} packed pixels",
        input.width, input.height
    )]
    PackedRows {
        /// The input's size.
        input: PictureSize,
        /// How many bytes the caller gave.
        found: usize,
        /// The caller's bytes from the start of one row to the start of the next.
        row_stride: usize,
    },
}

impl Classified for VisionError {
    /// The same frame would fail again, and so would the camera's next one.
    fn kind(&self) -> ErrorKind {
        ErrorKind::Fatal
    }
}
