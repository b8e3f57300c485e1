//! Pictures for the tests.

use std::sync::Arc;
use std::time::Instant;

use kerbside_core::frame::{ColourMatrix, ColourRange, Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};
use kerbside_core::time::{MediaTime, WallTime};

/// Pixels of a picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rectangle {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// A grey picture of one luma with rectangles of another; its rows are longer than the picture.
pub(crate) fn picture(
    size: PictureSize,
    format: PixelFormat,
    luma: u8,
    other: u8,
    rectangles: &[Rectangle],
) -> Frame {
    let header = FrameHeader {
        sequence: 0,
        run: 0,
        media_time: MediaTime::ZERO,
        wall_time: WallTime::UNIX_EPOCH,
        arrived: Instant::now(),
        size,
        format,
        matrix: ColourMatrix::Bt601,
        range: ColourRange::Limited,
    };
    let mut planes = OwnedPlanes::flat(size, format, luma, 19);
    let (bytes, stride) = &mut planes.planes[0];
    for rectangle in rectangles {
        for y in rectangle.top..rectangle.top + rectangle.height {
            bytes[y * *stride + rectangle.left..][..rectangle.width].fill(other);
        }
    }
    Frame::new(header, Arc::new(planes)).expect("flat planes fit their picture")
}
