//! Means over the cells of a grid: of luma, and of its steps from pixel to pixel.

use kerbside_core::frame::PictureSize;
use kerbside_core::observation::{SCENE_COLUMNS, SCENE_ROWS, SceneStatistics};

use super::{Fine, ONE};

/// Sums down each pixel column of one row of cells, which are then joined to cells.
#[derive(Debug, Default)]
pub(super) struct Columns {
    luma: Vec<u32>,
    across: Vec<u32>,
    down: Vec<u32>,
}

impl Columns {
    pub(super) fn of(size: PictureSize) -> Self {
        let zeros = || vec![0; size.width as usize];
        Self { luma: zeros(), across: zeros(), down: zeros() }
    }

    /// Fills in the three grids. A cell without a pixel, of a picture with fewer pixels than cells, is zero.
    /// The last pixel of a row or column has no next one: its step is zero.
    pub(super) fn measure(&mut self, settled: &[Fine], size: PictureSize, out: &mut SceneStatistics) {
        let (width, height) = (size.width as usize, size.height as usize);
        for row in 0..SCENE_ROWS {
            for sums in [&mut self.luma, &mut self.across, &mut self.down] {
                sums.fill(0);
            }
            let (top, bottom) = (row * height / SCENE_ROWS, (row + 1) * height / SCENE_ROWS);
            for y in top..bottom {
                let line = &settled[y * width..][..width];
                add_steps(&mut self.across, line, &line[1..]);
                if let Some(below) = settled.get((y + 1) * width..).and_then(|rest| rest.get(..width)) {
                    add_steps(&mut self.down, line, below);
                }
                for (sum, luma) in self.luma.iter_mut().zip(line) {
                    *sum += *luma as u32;
                }
            }
            for column in 0..SCENE_COLUMNS {
                let (left, right) = (column * width / SCENE_COLUMNS, (column + 1) * width / SCENE_COLUMNS);
                let pixels = ((bottom - top) * (right - left)).max(1) as f32 * f32::from(ONE);
                let mean = |sums: &[u32]| sums[left..right].iter().sum::<u32>() as f32 / pixels;
                out.luma[row][column] = mean(&self.luma);
                out.edges_across[row][column] = mean(&self.across);
                out.edges_down[row][column] = mean(&self.down);
            }
        }
    }
}

fn add_steps(sums: &mut [u32], from: &[Fine], to: &[Fine]) {
    for ((sum, from), to) in sums.iter_mut().zip(from).zip(to) {
        *sum += (i32::from(*to) - i32::from(*from)).unsigned_abs();
    }
}
