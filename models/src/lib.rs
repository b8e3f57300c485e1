//! Detectors: inference, heads and weights behind one trait.
//!
//! A folder of models holds one sub-folder a model: a manifest and the ONNX file that it names, with size and
//! SHA-256. [`ModelFolder`] finds and verifies them, [`Model`] is one loaded model with its weights, shared
//! by all, and [`Detector`] is what one worker thread runs frames through.
//!
//! ```text
//! frame ─▶ placement ─▶ input written from the planes ─▶ network ─▶ head ─▶ suppression ─▶ detections
//! ```
//!
//! Invariants: a file is parsed only after its size and checksum matched; the outputs' ranks, layouts and class
//! counts are checked when a network is made for a shape, and their numbers on every frame; nothing that a
//! model computes makes the process panic or reaches the tracker as NaN. The same frame gives the same detections,
//! whatever the detector saw before.
//!
//! Units: scores 0..1, boxes normalised to the picture. Threads: a [`Detector`] belongs to one thread and
//! uses no other but the helpers that split a frame, if it was told to have some; a [`Model`] is shared. Not here: pixels (kerbside-vision reads them), score thresholds and
//! class choices of a camera, tracking, and reading the clock: a caller that wants times measures between
//! the [`Stage`]s.

#![deny(unsafe_code)]

mod detector;
mod engine;
mod error;
mod folder;
mod head;
mod int8;
mod labels;
mod manifest;
mod model;
mod report;
mod suppression;

pub use detector::{Detector, DetectorSettings, SCORE_FLOOR, Stage};
pub use engine::{EngineChoice, NoSuchEngine, peak_macs};
pub use error::{InferenceError, ModelError};
pub use folder::{ModelFolder, Verified};
pub use int8::kernels::Kernels;
pub use manifest::{HeadManifest, InputManifest, Manifest};
pub use model::Model;
pub use report::{LayerReport, Path, Summary};
