//! YOLOX's head: one row a cell, all levels one after another.
//!
//! A row is x, y, width, height, objectness and the class scores. With stride s the box's centre is
//! ((column + x)·s, (row + y)·s) and its size (exp(width)·s, exp(height)·s); a class's score is its own times the
//! objectness, both after the sigmoid, as YOLOX's export writes them (arXiv 2107.08430).

use kerbside_core::detection::Class;
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::BoxInImage;

use super::{Broken, cells, score};
use crate::suppression::Candidate;

/// x, y, width, height and objectness.
const BOX_VALUES: usize = 5;

#[derive(Clone, Debug)]
pub(super) struct Yolox {
    pub(super) strides: Vec<u32>,
}

impl Yolox {
    pub(super) fn shapes(&self, input: PictureSize, labels: usize) -> Vec<Vec<usize>> {
        let all: usize = self
            .strides
            .iter()
            .map(|stride| {
                let (columns, rows) = cells(input, *stride);
                columns * rows
            })
            .sum();
        vec![vec![1, all, BOX_VALUES + labels]]
    }

    pub(super) fn decode(
        &self,
        input: PictureSize,
        labels: usize,
        counted: &[(usize, Class)],
        outputs: &[&[f32]],
        found: &mut Vec<Candidate>,
    ) -> Result<(), Broken> {
        let output = outputs.first().copied().unwrap_or_default();
        let mut values = output.chunks_exact(BOX_VALUES + labels);
        let mut place = 0;
        for stride in &self.strides {
            let (columns, rows) = cells(input, *stride);
            for (cell, row) in values.by_ref().take(columns * rows).enumerate() {
                place += 1;
                let (geometry, classes) = row.split_at(BOX_VALUES);
                // A class's score never exceeds the objectness.
                let Some(objectness) = score(geometry[4], 0)? else { continue };
                for (label, class) in counted {
                    // Both factors are checked, not only their product.
                    score(classes[*label], 0)?;
                    if let Some(score) = score(objectness * classes[*label], 0)? {
                        let box_in_input = boxed(geometry, *stride, (cell % columns, cell / columns))?;
                        found.push(Candidate { class: *class, score, box_in_input, place });
                    }
                }
            }
        }
        Ok(())
    }
}

fn boxed(geometry: &[f32], stride: u32, (column, row): (usize, usize)) -> Result<BoxInImage, Broken> {
    let stride = stride as f32;
    let (x, y) = ((geometry[0] + column as f32) * stride, (geometry[1] + row as f32) * stride);
    let (width, height) = (geometry[2].exp() * stride, geometry[3].exp() * stride);
    if ![x, y, width, height].iter().all(|value| value.is_finite()) {
        return Err(Broken::Overflow { output: 0 });
    }
    let (half_width, half_height) = (width / 2.0, height / 2.0);
    Ok(BoxInImage { left: x - half_width, top: y - half_height, right: x + half_width, bottom: y + half_height })
}
