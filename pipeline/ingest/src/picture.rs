//! A decoder's buffer as a picture.

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use kerbside_core::frame::{ColourMatrix, ColourRange, PictureSize, PixelBuffer, PixelFormat, Plane};

/// Below this height a picture without a colour description is standard definition.
const HIGH_DEFINITION_HEIGHT: u32 = 720;

/// How a stream's pictures are laid out; changes with the stream's caps only.
#[derive(Clone)]
pub(crate) struct Layout {
    caps: gst::Caps,
    info: gst_video::VideoInfo,
    pub(crate) size: PictureSize,
    pub(crate) format: PixelFormat,
    pub(crate) matrix: ColourMatrix,
    pub(crate) range: ColourRange,
}

impl Layout {
    /// `None` for anything but NV12 and I420.
    pub(crate) fn new(caps: &gst::CapsRef) -> Option<Self> {
        let info = gst_video::VideoInfo::from_caps(caps).ok()?;
        let format = match info.format() {
            gst_video::VideoFormat::Nv12 => PixelFormat::Nv12,
            gst_video::VideoFormat::I420 => PixelFormat::I420,
            _ => return None,
        };
        let size = PictureSize { width: info.width(), height: info.height() };
        let colorimetry = info.colorimetry();
        let matrix = match colorimetry.matrix() {
            gst_video::VideoColorMatrix::Bt601 | gst_video::VideoColorMatrix::Fcc => ColourMatrix::Bt601,
            gst_video::VideoColorMatrix::Bt709 => ColourMatrix::Bt709,
            _ if size.height < HIGH_DEFINITION_HEIGHT => ColourMatrix::Bt601,
            _ => ColourMatrix::Bt709,
        };
        let range = match colorimetry.range() {
            gst_video::VideoColorRange::Range0_255 => ColourRange::Full,
            _ => ColourRange::Limited,
        };
        Some(Self { caps: caps.to_owned(), info, size, format, matrix, range })
    }

    /// Whether it was made from these caps.
    pub(crate) fn is_of(&self, caps: &gst::CapsRef) -> bool {
        std::ptr::eq(self.caps.as_ref(), caps) || self.caps.as_ref() == caps
    }

    /// Bytes of one picture.
    pub(crate) fn bytes(&self) -> usize {
        self.info.size()
    }

    /// Maps a buffer for reading; `None` when it is too small for its caps or cannot be mapped.
    pub(crate) fn map(&self, buffer: gst::Buffer) -> Option<MappedPicture> {
        gst_video::VideoFrame::from_buffer_readable(buffer, &self.info).ok().map(MappedPicture)
    }
}

/// The decoder's buffer, mapped for as long as a frame refers to it. Strides and offsets are the buffer's own
/// (its video meta), not those that the size would suggest.
pub(crate) struct MappedPicture(gst_video::VideoFrame<gst_video::video_frame::Readable>);

impl PixelBuffer for MappedPicture {
    fn plane(&self, index: usize) -> Option<Plane<'_>> {
        let stride = usize::try_from(*self.0.plane_stride().get(index)?).ok()?;
        let bytes = self.0.plane_data(u32::try_from(index).ok()?).ok()?;
        Some(Plane { bytes, stride })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_stream_or_else_its_height() {
        gst::init().unwrap();
        // (caps, matrix, range)
        for (caps, matrix, range) in [
            ("format=I420,width=64,height=576", ColourMatrix::Bt601, ColourRange::Limited),
            ("format=NV12,width=64,height=720", ColourMatrix::Bt709, ColourRange::Limited),
            ("format=I420,width=64,height=64,colorimetry=bt709", ColourMatrix::Bt709, ColourRange::Limited),
            ("format=I420,width=64,height=1080,colorimetry=1:4:0:0", ColourMatrix::Bt601, ColourRange::Full),
        ] {
            let text = format!("video/x-raw,framerate=25/1,{caps}");
            let caps: gst::Caps = text.parse().unwrap();
            let layout = Layout::new(&caps).unwrap();
            assert_eq!((layout.matrix, layout.range), (matrix, range), "{text}");
        }
    }

    #[test]
    fn other_formats_are_no_picture() {
        gst::init().unwrap();
        let caps: gst::Caps = "video/x-raw,format=RGB,width=64,height=64,framerate=25/1".parse().unwrap();
        assert!(Layout::new(&caps).is_none());
    }

    #[test]
    fn a_buffer_too_small_for_its_caps_is_no_picture() {
        gst::init().unwrap();
        let caps: gst::Caps = "video/x-raw,format=I420,width=64,height=64,framerate=25/1".parse().unwrap();
        let layout = Layout::new(&caps).unwrap();
        assert!(layout.map(gst::Buffer::with_size(64 * 64 * 3 / 2).unwrap()).is_some());
        assert!(layout.map(gst::Buffer::with_size(64 * 64).unwrap()).is_none());
    }
}
