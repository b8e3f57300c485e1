//! NanoDet's head: boxes as distributions over the distance from the cell to each side.
//!
//! For every level, stride s, there are (width/s)·(height/s) cells in row order. A cell's centre is
//! ((column + 0.5)·s, (row + 0.5)·s). Each of left, top, right, bottom has a distribution over the distances
//! 0, 1, … in strides; the distance is the expected one after a softmax (generalised focal loss, arXiv
//! 2006.04388).

use kerbside_core::detection::Class;
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::BoxInImage;

use super::{Broken, cells, score};
use crate::suppression::Candidate;

/// Outputs: the scores of all levels, then the distributions of all levels.
#[derive(Clone, Debug)]
pub(super) struct NanoDet {
    pub(super) strides: Vec<u32>,
    /// How many distances a distribution has.
    pub(super) bins: usize,
}

impl NanoDet {
    pub(super) fn shapes(&self, input: PictureSize, labels: usize) -> Vec<Vec<usize>> {
        let level = |width: usize| {
            self.strides.iter().map(move |stride| {
                let (columns, rows) = cells(input, *stride);
                vec![1, columns * rows, width]
            })
        };
        level(labels).chain(level(4 * self.bins)).collect()
    }

    pub(super) fn decode(
        &self,
        input: PictureSize,
        labels: usize,
        counted: &[(usize, Class)],
        outputs: &[&[f32]],
        found: &mut Vec<Candidate>,
    ) -> Result<(), Broken> {
        let (scores, boxes) = outputs.split_at(self.strides.len().min(outputs.len()));
        let mut place = 0;
        for (level, ((stride, scores), boxes)) in self.strides.iter().zip(scores).zip(boxes).enumerate() {
            let (columns, _) = cells(input, *stride);
            let rows = scores.chunks_exact(labels).zip(boxes.chunks_exact(4 * self.bins));
            for (cell, (scores, distribution)) in rows.enumerate() {
                let mut box_in_input = None;
                for (label, class) in counted {
                    place += 1;
                    if let Some(score) = score(scores[*label], level)? {
                        let box_in_input = *box_in_input.get_or_insert_with(|| {
                            side_distances(distribution, self.bins, *stride, (cell % columns, cell / columns))
                        });
                        found.push(Candidate { class: *class, score, box_in_input, place });
                    }
                }
            }
        }
        Ok(())
    }
}

fn side_distances(distribution: &[f32], bins: usize, stride: u32, (column, row): (usize, usize)) -> BoxInImage {
    let stride = stride as f32;
    let (x, y) = ((column as f32 + 0.5) * stride, (row as f32 + 0.5) * stride);
    let mut sides = distribution.chunks_exact(bins).map(|logits| expected(logits) * stride);
    let mut side = || sides.next().unwrap_or(0.0);
    BoxInImage { left: x - side(), top: y - side(), right: x + side(), bottom: y + side() }
}

/// The expected place in a distribution of which the logarithms are given.
fn expected(logits: &[f32]) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (place, logit) in logits.iter().enumerate() {
        let weight = (logit - most).exp();
        sum += weight;
        weighted += weight * place as f32;
    }
    weighted / sum
}
