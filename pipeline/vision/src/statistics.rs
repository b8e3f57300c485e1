//! What the picture as a whole looks like, and how that changes: by OpenCV and by [`crate::scene`].
//!
//! A covered, blinded, defocused, moved or frozen camera shows in these numbers over time. They are taken
//! from a reduced picture: the luma plane is halved (each pixel the mean of four) until it is at most
//! [`MAX_WIDTH`] pixels wide. That costs a fraction of a millisecond, keeps sensor noise out of the sharpness,
//! and makes the sharpness of two resolutions comparable, since an edge is then as wide in both.

use std::sync::Once;

use kerbside_core::frame::{Frame, PictureSize, Plane};
use kerbside_core::observation::SceneStatistics;
use opencv::core::{
    BORDER_DEFAULT, CV_16S, Mat, Rect, Scalar, Size, ToInputArray, mean_std_dev_def, set_num_threads,
};
use opencv::imgproc::{INTER_AREA, laplacian, resize};
use opencv::prelude::{MatTraitConst, MatTraitConstManual};

use crate::VisionError;
use crate::luma_mat::LumaMat;
use crate::scene::SceneMemory;

/// The width up to which the luma plane is halved, in pixels. 768 becomes 384, 1280 320, 1920 480, 3840 480.
const MAX_WIDTH: i32 = 480;

/// Watches one camera's pictures, in the order in which they were taken. It keeps small pictures of the last
/// minutes in RAM; nothing of them but [`SceneStatistics`] leaves it.
pub struct SceneWatcher {
    memory: SceneMemory,
    /// The halved pictures, each of half the size of the one before, reused from frame to frame.
    halves: Vec<Mat>,
    edges: Mat,
}

impl Default for SceneWatcher {
    fn default() -> Self {
        Self::new()
    }
}

impl SceneWatcher {
    /// For a camera of which nothing has been seen yet.
    pub fn new() -> Self {
        Self { memory: SceneMemory::new(), halves: Vec::new(), edges: Mat::default() }
    }

    /// Measures the whole picture's luma. Reads the plane in place. Frames of one camera come in order; a new
    /// run, a pause of more than two seconds or another size of picture begins anew where that matters.
    pub fn watch(&mut self, frame: &Frame) -> Result<SceneStatistics, VisionError> {
        use_no_threads()?;
        let luma = LumaMat::over(frame).map_err(|error| failed("wrapping the luma plane", error))?;
        let (mut columns, mut rows, mut steps) = (luma.as_mat().cols(), luma.as_mat().rows(), 0);
        while columns > MAX_WIDTH && rows >= 2 {
            (columns, rows) = (columns / 2, rows / 2);
            if self.halves.len() == steps {
                self.halves.push(Mat::default());
            }
            let (before, after) = self.halves.split_at_mut(steps);
            halve(before.last().unwrap_or(luma.as_mat()), &mut after[0], columns, rows)?;
            steps += 1;
        }
        let reduced = steps.checked_sub(1).map(|last| &self.halves[last]);
        let picture = reduced.unwrap_or(luma.as_mat());
        let (luma_mean, luma_deviation) = mean_and_deviation(picture)?;
        laplacian(picture, &mut self.edges, CV_16S, 1, 1.0, 0.0, BORDER_DEFAULT)
            .map_err(|error| failed("the Laplacian", error))?;
        let (_, edge_deviation) = mean_and_deviation(&self.edges)?;
        let mut statistics = SceneStatistics {
            luma_mean: luma_mean as f32,
            luma_deviation: luma_deviation as f32,
            sharpness: (edge_deviation * edge_deviation) as f32,
            ..SceneStatistics::default()
        };
        let plane = match reduced {
            Some(reduced) => Plane {
                bytes: reduced.data_bytes().map_err(|error| failed("reading the reduced picture", error))?,
                stride: columns as usize,
            },
            None => frame.luma(),
        };
        let size = PictureSize { width: columns as u32, height: rows as u32 };
        self.memory.take(plane, size, frame.media_time, frame.run, &mut statistics);
        Ok(statistics)
    }
}

/// Halves the source to `columns` × `rows`. An odd last row or column is left out: only whole blocks of
/// 2×2 take OpenCV's fast path.
fn halve(source: &Mat, half: &mut Mat, columns: i32, rows: i32) -> Result<(), VisionError> {
    let whole_blocks = Rect::new(0, 0, 2 * columns, 2 * rows);
    let source = Mat::roi(source, whole_blocks).map_err(|error| failed("cutting an odd edge", error))?;
    resize(&source, half, Size::new(columns, rows), 0.0, 0.0, INTER_AREA)
        .map_err(|error| failed("halving the luma plane", error))
}

fn mean_and_deviation(picture: &impl ToInputArray) -> Result<(f64, f64), VisionError> {
    let (mut mean, mut deviation) = (Scalar::default(), Scalar::default());
    mean_std_dev_def(picture, &mut mean, &mut deviation)
        .map_err(|error| failed("mean and standard deviation", error))?;
    Ok((mean[0], deviation[0]))
}

/// OpenCV would start a thread for every core at its first large call. The setting is the process's.
fn use_no_threads() -> Result<(), VisionError> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| result = set_num_threads(1));
    result.map_err(|error| failed("giving up its threads", error))
}

fn failed(step: &'static str, error: opencv::Error) -> VisionError {
    VisionError::OpenCv { step, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use kerbside_core::frame::{FrameHeader, OwnedPlanes, PixelFormat};
    use kerbside_core::observation::{SCENE_COLUMNS, SCENE_ROWS};

    use super::*;

    fn frame(width: u32, height: u32, spare: usize, luma: impl Fn(usize, usize) -> u8) -> Frame {
        let size = PictureSize { width, height };
        // What lies beyond the rows' ends is white, so that reading it would show.
        let mut planes = OwnedPlanes::flat(size, PixelFormat::I420, 255, spare);
        let (bytes, stride) = &mut planes.planes[0];
        for y in 0..height as usize {
            for x in 0..width as usize {
                bytes[y * *stride + x] = luma(x, y);
            }
        }
        let header = FrameHeader::of_picture(size, PixelFormat::I420, Instant::now());
        Frame::new(header, Arc::new(planes)).unwrap()
    }

    /// The definition, in floating point and without OpenCV, for pictures that are not reduced.
    fn by_definition(frame: &Frame) -> SceneStatistics {
        let (width, height) = (frame.size.width as usize, frame.size.height as usize);
        let at = |x: i64, y: i64| {
            // Mirrored at the border pixel: gfedcb|abcdefgh|gfedcba.
            let mirrored = |i: i64, n: i64| if n == 1 { 0 } else { (n - 1) - ((n - 1) - i.abs()).abs() };
            let (x, y) = (mirrored(x, width as i64), mirrored(y, height as i64));
            f64::from(frame.luma().row(y as usize, width)[x as usize])
        };
        let moments = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64)
        };
        let places = || (0..height as i64).flat_map(|y| (0..width as i64).map(move |x| (x, y)));
        let (mean, variance) = moments(&places().map(|(x, y)| at(x, y)).collect::<Vec<_>>());
        let laplacian = |(x, y)| at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y);
        let (_, sharpness) = moments(&places().map(laplacian).collect::<Vec<_>>());
        SceneStatistics {
            luma_mean: mean as f32,
            luma_deviation: variance.sqrt() as f32,
            sharpness: sharpness as f32,
            ..SceneStatistics::default()
        }
    }

    fn seen(frame: &Frame) -> SceneStatistics {
        SceneWatcher::new().watch(frame).unwrap()
    }

    #[test]
    fn statistics_are_those_of_the_definition() {
        for (width, height, spare) in [(480, 270, 0), (33, 17, 31), (2, 2, 5), (1, 9, 3), (1, 1, 0)] {
            let frame = frame(width, height, spare, |x, y| (x * 37 + y * y * 11 + x * y) as u8);
            let (found, expected) = (seen(&frame), by_definition(&frame));
            for (found, expected) in [
                (found.luma_mean, expected.luma_mean),
                (found.luma_deviation, expected.luma_deviation),
                (found.sharpness, expected.sharpness),
            ] {
                assert!(
                    (found - expected).abs() <= 1e-4 * expected.abs().max(1.0),
                    "{width}x{height}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn large_pictures_are_reduced_by_halves() {
        // Blocks of 4×4 make blocks of 1×1 of the picture at a quarter of its size.
        let checks =
            |side: usize| move |x: usize, y: usize| if (x / side + y / side).is_multiple_of(2) { 80 } else { 120 };
        let large = seen(&frame(1921, 1083, 7, checks(4)));
        let small = seen(&frame(480, 270, 0, checks(1)));
        assert_eq!(large, small);
        assert!(small.sharpness > 1000.0);
        let flat = seen(&frame(1921, 1083, 7, |_, _| 50));
        assert_eq!((flat.luma_mean, flat.luma_deviation, flat.sharpness), (50.0, 0.0, 0.0));
        assert_eq!((flat.luma, flat.edges_down), ([[50.0; SCENE_COLUMNS]; SCENE_ROWS], Default::default()));
    }
}
