//! From a network's outputs to candidates: what its numbers mean.
//!
//! A head is made once of the manifest. [`Head::check`] compares the outputs' shapes with it when a network
//! is made for a shape, so that decoding reads rows of known length; [`Head::decode`] checks the numbers of
//! every frame: a NaN, an infinite number or a score outside 0..1 anywhere in the outputs is an error, not a
//! detection.

mod nanodet;
mod yolox;

use kerbside_core::detection::Class;
use kerbside_core::frame::PictureSize;

use crate::detector::SCORE_FLOOR;
use crate::error::InferenceError;
use crate::labels;
use crate::manifest::{HeadManifest, Manifest};
use crate::suppression::Candidate;

/// How far above one a score may lie: the rounding of a sigmoid.
const SCORE_SLACK: f32 = 1e-3;

/// A head, ready to read outputs.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    kind: Kind,
    labels: usize,
    /// The labels that are counted: their places among the class scores, and their classes.
    counted: Vec<(usize, Class)>,
}

#[derive(Clone, Debug)]
enum Kind {
    NanoDet(nanodet::NanoDet),
    Yolox(yolox::Yolox),
}

impl Head {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let kind = match &manifest.head {
            HeadManifest::NanoDet { strides, reg_max, .. } => {
                Kind::NanoDet(nanodet::NanoDet { strides: strides.clone(), bins: *reg_max as usize + 1 })
            }
            HeadManifest::Yolox { strides, .. } => Kind::Yolox(yolox::Yolox { strides: strides.clone() }),
        };
        Self { kind, labels: manifest.labels.len(), counted: labels::counted(&manifest.labels) }
    }

    /// The outputs to select, in the order in which [`Head::decode`] wants them.
    pub(crate) fn outputs(manifest: &HeadManifest) -> Vec<&str> {
        match manifest {
            HeadManifest::NanoDet { score_outputs, box_outputs, .. } => {
                score_outputs.iter().chain(box_outputs).map(String::as_str).collect()
            }
            HeadManifest::Yolox { output, .. } => vec![output],
        }
    }

    /// Whether the outputs of a network with this input have the shapes that the manifest means; else what is wrong.
    pub(crate) fn check(&self, input: PictureSize, names: &[String], shapes: &[Vec<usize>]) -> Result<(), String> {
        let expected = match &self.kind {
            Kind::NanoDet(head) => head.shapes(input, self.labels),
            Kind::Yolox(head) => head.shapes(input, self.labels),
        };
        for ((name, found), expected) in names.iter().zip(shapes).zip(&expected) {
            if found != expected {
                return Err(format!(
                    "for an input of {}x{} output '{name}' has the shape {found:?}; {expected:?} is expected \
                     for {} labels",
                    input.width, input.height, self.labels
                ));
            }
        }
        Ok(())
    }

    /// Adds what the outputs show at or above [`SCORE_FLOOR`] to `found`. The shapes are those that
    /// [`Head::check`] saw.
    pub(crate) fn decode(
        &self,
        input: PictureSize,
        names: &[String],
        outputs: &[&[f32]],
        found: &mut Vec<Candidate>,
    ) -> Result<(), InferenceError> {
        for (name, values) in names.iter().zip(outputs) {
            if !all_finite(values) {
                return Err(InferenceError::NotFinite { output: name.clone() });
            }
        }
        let broken = match &self.kind {
            Kind::NanoDet(head) => head.decode(input, self.labels, &self.counted, outputs, found),
            Kind::Yolox(head) => head.decode(input, self.labels, &self.counted, outputs, found),
        };
        broken.map_err(|broken| {
            let name = |at: usize| names.get(at).cloned().unwrap_or_default();
            match broken {
                Broken::Score { output } => InferenceError::ScoreRange { output: name(output) },
                Broken::Overflow { output } => InferenceError::NotFinite { output: name(output) },
            }
        })
    }
}

/// What is wrong with the numbers of an output, given by its place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    Score { output: usize },
    Overflow { output: usize },
}

/// A score as it is; `None` when it does not reach the floor.
fn score(value: f32, output: usize) -> Result<Option<f32>, Broken> {
    if !(-SCORE_SLACK..=1.0 + SCORE_SLACK).contains(&value) {
        return Err(Broken::Score { output });
    }
    Ok((value >= SCORE_FLOOR).then_some(value.min(1.0)))
}

/// How many cells a level has from left to right and from top to bottom.
fn cells(input: PictureSize, stride: u32) -> (usize, usize) {
    ((input.width / stride) as usize, (input.height / stride) as usize)
}

/// In chunks without an early exit, so that the compiler can look at many numbers at once.
fn all_finite(values: &[f32]) -> bool {
    values.chunks(1024).all(|chunk| chunk.iter().fold(true, |finite, value| finite & value.is_finite()))
}

#[cfg(test)]
mod tests;
