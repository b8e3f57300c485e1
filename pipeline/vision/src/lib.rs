//! Pixel work on shared frames: a detector's input, the statistics of the scene, and drawing for `replay`.
//!
//! Everything on a node's way reads the planes that the decoder wrote, row stride included, and copies none of
//! them: [`input::InputWriter`] samples them straight into the network's input tensor, and
//! [`SceneWatcher`] shows them to OpenCV through a header over the borrowed bytes. [`overlay`] draws on a
//! copy, for a clip that is replayed and only where that was asked for.
//!
//! Invariants: no OpenCV type in a public signature; results depend on the visible pixels alone, never on
//! what lies between the end of a row and the stride. Units: pixels, luma 0..255.
//! Threads: none of its own; OpenCV is told to use none either, since the runtime's pools already fill
//! the machine. Not here: detection, tracking, and any copy of a picture
//! that outlives a call, but for the reduced ones in RAM by which [`SceneWatcher`] knows what has changed, and the
//! counts of values of which a [`Background`] is made.

#![deny(unsafe_code)]

mod background;
mod error;
pub mod input;
#[allow(unsafe_code)]
mod luma_mat;
pub mod overlay;
pub mod placement;
mod scene;
mod statistics;

pub use background::{Background, Picture};
pub use error::VisionError;
pub use statistics::SceneWatcher;
