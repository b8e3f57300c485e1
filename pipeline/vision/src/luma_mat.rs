//! OpenCV's view of a luma plane: a matrix header over the bytes that the decoder wrote.
//!
//! With the instruction sets of the network's input this is the crate's only `unsafe` code. The header does not
//! own its bytes and must not outlive them or write to them; [`LumaMat`] holds both rules in its type.

use std::ffi::c_void;
use std::marker::PhantomData;

use kerbside_core::frame::Frame;
use opencv::core::{CV_8UC1, Mat};

/// A read-only matrix over the luma plane of a frame, which it borrows.
pub(crate) struct LumaMat<'a> {
    header: Mat,
    frame: PhantomData<&'a Frame>,
}

impl<'a> LumaMat<'a> {
    /// A header over the frame's luma, without a copy.
    pub(crate) fn over(frame: &'a Frame) -> opencv::Result<Self> {
        let (rows, columns) = (frame.size.height as i32, frame.size.width as i32);
        let luma = frame.luma();
        let data = luma.bytes.as_ptr().cast::<c_void>().cast_mut();
        // SAFETY: `Frame::new` has checked that `rows` rows of `columns` bytes, `stride` apart, lie within
        // the plane, so no read through the header leaves it. The pixel buffer keeps its address for as long as
        // the frame lives, and the lifetime in `LumaMat` keeps the frame alive. OpenCV takes a mutable
        // pointer, but only the shared reference of `as_mat` leaves this module, and OpenCV writes to
        // output arrays alone, never to input arrays.
        let header = unsafe { Mat::new_rows_cols_with_data_unsafe(rows, columns, CV_8UC1, data, luma.stride)? };
        Ok(Self { header, frame: PhantomData })
    }

    /// The matrix, as input for OpenCV.
    pub(crate) fn as_mat(&self) -> &Mat {
        &self.header
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use kerbside_core::frame::{Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};

    use opencv::prelude::MatTraitConst;

    use super::*;

    #[test]
    fn the_header_shows_the_decoders_own_bytes_and_steps_over_the_stride() {
        let size = PictureSize { width: 5, height: 3 };
        let mut planes = OwnedPlanes::flat(size, PixelFormat::Nv12, 7, 11);
        planes.planes[0].0[16] = 99;
        // The last row may end where its pixels do.
        planes.planes[0].0.truncate(2 * 16 + 5);
        let header = FrameHeader::of_picture(size, PixelFormat::Nv12, Instant::now());
        let frame = Frame::new(header, Arc::new(planes)).unwrap();
        let luma = LumaMat::over(&frame).unwrap();
        let mat = luma.as_mat();
        assert_eq!(mat.data(), frame.luma().bytes.as_ptr());
        assert_eq!(*mat.at_2d::<u8>(1, 0).unwrap(), 99);
        assert_eq!(*mat.at_2d::<u8>(2, 4).unwrap(), 7);
        assert_eq!((mat.rows(), mat.cols()), (3, 5));
    }
}
