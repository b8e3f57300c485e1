//! Pictures for the tests.

use std::sync::Arc;
use std::time::Instant;

use kerbside_core::frame::{Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};

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
    let header = FrameHeader::of_picture(size, format, Instant::now());
    let mut planes = OwnedPlanes::flat(size, format, luma, 19);
    let (bytes, stride) = &mut planes.planes[0];
    for rectangle in rectangles {
        for y in rectangle.top..rectangle.top + rectangle.height {
            bytes[y * *stride + rectangle.left..][..rectangle.width].fill(other);
        }
    }
    Frame::new(header, Arc::new(planes)).expect("flat planes fit their picture")
}
