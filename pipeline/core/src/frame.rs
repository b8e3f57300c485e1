//! One decoded picture: shared, read-only, never copied between stages.
//!
//! A [`Frame`] borrows its pixels out of the buffer that the decoder wrote, row stride included.
//! Cloning a frame clones a reference to that buffer.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use crate::time::{MediaTime, WallTime};

/// A picture's size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PictureSize {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl PictureSize {
    /// Width over height.
    pub fn aspect(self) -> f32 {
        self.width as f32 / self.height.max(1) as f32
    }
}

/// How the planes hold the picture: 8 bit, 4:2:0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// A luma plane and one plane of interleaved Cb and Cr.
    Nv12,
    /// A luma, a Cb and a Cr plane.
    I420,
}

/// Bytes in one row and number of rows of a plane.
type PlaneSize = fn(PictureSize) -> (usize, usize);

impl PixelFormat {
    fn planes(self) -> &'static [PlaneSize] {
        fn luma(size: PictureSize) -> (usize, usize) {
            (size.width as usize, size.height as usize)
        }
        fn chroma(size: PictureSize) -> (usize, usize) {
            (size.width.div_ceil(2) as usize, size.height.div_ceil(2) as usize)
        }
        fn chroma_pairs(size: PictureSize) -> (usize, usize) {
            let (row, rows) = chroma(size);
            (2 * row, rows)
        }
        match self {
            Self::Nv12 => &[luma, chroma_pairs],
            Self::I420 => &[luma, chroma, chroma],
        }
    }
}

/// Which matrix turns Y'CbCr into R'G'B'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourMatrix {
    /// ITU-R BT.601, standard definition.
    Bt601,
    /// ITU-R BT.709, high definition.
    Bt709,
}

/// Which values luma takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourRange {
    /// 16..235, chroma 16..240.
    Limited,
    /// 0..255.
    Full,
}

/// One plane of a picture.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// All rows; the last may be shorter than the stride.
    pub bytes: &'a [u8],
    /// Bytes from the start of one row to the start of the next.
    pub stride: usize,
}

impl<'a> Plane<'a> {
    /// The first `len` bytes of row `y`.
    ///
    /// # Panics
    /// When the row lies outside the plane: [`Frame::new`] has checked that none does.
    pub fn row(&self, y: usize, len: usize) -> &'a [u8] {
        &self.bytes[y * self.stride..][..len]
    }
}

/// A mapped picture buffer. Planes keep their address for as long as the buffer lives.
pub trait PixelBuffer: Send + Sync {
    /// The plane at `index`: 0 luma, then chroma. `None` beyond the last.
    fn plane(&self, index: usize) -> Option<Plane<'_>>;
}

/// A picture's planes are smaller than its size and format say.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("plane {plane} of a {width}x{height} {format:?} picture has {found} bytes with stride {stride}, too few")]
pub struct LayoutError {
    plane: usize,
    width: u32,
    height: u32,
    format: PixelFormat,
    found: usize,
    stride: usize,
}

/// One decoded picture.
#[derive(Clone)]
pub struct Frame {
    /// Its number among the frames that this camera's decoder gave, from 0. Frames that were dropped on
    /// the way leave gaps.
    pub sequence: u64,
    /// Which uninterrupted run of the stream it belongs to; a reconnect or a jump of the stream's clock
    /// begins a new one. Nothing may be tracked from one run into the next.
    pub run: u32,
    /// When it was taken, on the camera's clock.
    pub media_time: MediaTime,
    /// When it was taken, in UTC, as far as the node knows.
    pub wall_time: WallTime,
    /// When it reached the node, before decoding where the source tells.
    pub arrived: Instant,
    /// The picture's size.
    pub size: PictureSize,
    /// How the planes hold it.
    pub format: PixelFormat,
    /// Its colour matrix.
    pub matrix: ColourMatrix,
    /// Its value range.
    pub range: ColourRange,
    pixels: Arc<dyn PixelBuffer>,
}

/// All of a frame but its pixels.
#[derive(Clone, Copy, Debug)]
pub struct FrameHeader {
    /// See [`Frame::sequence`].
    pub sequence: u64,
    /// See [`Frame::run`].
    pub run: u32,
    /// See [`Frame::media_time`].
    pub media_time: MediaTime,
    /// See [`Frame::wall_time`].
    pub wall_time: WallTime,
    /// See [`Frame::arrived`].
    pub arrived: Instant,
    /// See [`Frame::size`].
    pub size: PictureSize,
    /// See [`Frame::format`].
    pub format: PixelFormat,
    /// See [`Frame::matrix`].
    pub matrix: ColourMatrix,
    /// See [`Frame::range`].
    pub range: ColourRange,
}

impl FrameHeader {
    /// The header of a single picture that comes from no stream, for tests and benchmarks: the first frame,
    /// at time zero, in BT.601 and limited range.
    pub const fn of_picture(size: PictureSize, format: PixelFormat, arrived: Instant) -> Self {
        Self {
            sequence: 0,
            run: 0,
            media_time: MediaTime::ZERO,
            wall_time: WallTime::UNIX_EPOCH,
            arrived,
            size,
            format,
            matrix: ColourMatrix::Bt601,
            range: ColourRange::Limited,
        }
    }
}

impl Frame {
    /// Joins a header and its pixels; checks once that every row of every plane is there.
    pub fn new(header: FrameHeader, pixels: Arc<dyn PixelBuffer>) -> Result<Self, LayoutError> {
        let FrameHeader { sequence, run, media_time, wall_time, arrived, size, format, matrix, range } = header;
        for (index, dimensions) in format.planes().iter().enumerate() {
            let (row, rows) = dimensions(size);
            let plane = pixels.plane(index).unwrap_or(Plane { bytes: &[], stride: 0 });
            let needed = plane.stride.checked_mul(rows.saturating_sub(1)).and_then(|n| n.checked_add(row));
            if rows == 0 || plane.stride < row || needed.is_none_or(|needed| plane.bytes.len() < needed) {
                return Err(LayoutError {
                    plane: index,
                    width: size.width,
                    height: size.height,
                    format,
                    found: plane.bytes.len(),
                    stride: plane.stride,
                });
            }
        }
        Ok(Self { sequence, run, media_time, wall_time, arrived, size, format, matrix, range, pixels })
    }

    /// The luma plane: one byte a pixel.
    pub fn luma(&self) -> Plane<'_> {
        self.plane(0)
    }

    /// The plane at `index`; 0 is luma. NV12 has 2 planes, I420 has 3.
    ///
    /// # Panics
    /// Beyond the format's last plane: [`Frame::new`] has checked that the others exist.
    pub fn plane(&self, index: usize) -> Plane<'_> {
        self.pixels.plane(index).expect("Frame::new checked the planes of the format")
    }
}

impl fmt::Debug for Frame {
    /// The header only: pixels never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("sequence", &self.sequence)
            .field("run", &self.run)
            .field("media_time", &self.media_time)
            .field("size", &self.size)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// A picture in ordinary memory, for tests and benchmarks.
#[derive(Clone, Debug, Default)]
pub struct OwnedPlanes {
    /// Each plane's bytes and stride.
    pub planes: Vec<(Vec<u8>, usize)>,
}

impl OwnedPlanes {
    /// A picture of one luma value and neutral chroma, with `padding` spare bytes at the end of each row.
    pub fn flat(size: PictureSize, format: PixelFormat, luma: u8, padding: usize) -> Self {
        let planes = format
            .planes()
            .iter()
            .enumerate()
            .map(|(index, dimensions)| {
                let (row, rows) = dimensions(size);
                let stride = row + padding;
                (vec![if index == 0 { luma } else { 128 }; stride * rows], stride)
            })
            .collect();
        Self { planes }
    }
}

impl PixelBuffer for OwnedPlanes {
    fn plane(&self, index: usize) -> Option<Plane<'_>> {
        self.planes.get(index).map(|(bytes, stride)| Plane { bytes, stride: *stride })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(format: PixelFormat) -> FrameHeader {
        FrameHeader::of_picture(PictureSize { width: 5, height: 3 }, format, Instant::now())
    }

    #[test]
    fn a_picture_with_a_row_too_few_is_refused() {
        for format in [PixelFormat::Nv12, PixelFormat::I420] {
            let header = header(format);
            let whole = OwnedPlanes::flat(header.size, format, 16, 3);
            assert!(Frame::new(header, Arc::new(whole.clone())).is_ok());
            for index in 0..whole.planes.len() {
                let mut torn = whole.clone();
                let (bytes, stride) = &mut torn.planes[index];
                bytes.truncate(bytes.len() - *stride);
                assert!(Frame::new(header, Arc::new(torn)).is_err(), "{format:?} plane {index}");
            }
        }
    }
}
