//! Pictures to try detectors with.

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use kerbside_core::frame::{Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};

/// A picture of noise, the same every time: its content does not change the work.
pub(crate) fn noise(size: PictureSize) -> anyhow::Result<Frame> {
    let mut planes = OwnedPlanes::flat(size, PixelFormat::I420, 128, 0);
    let mut state: u32 = 1;
    for byte in planes.planes.iter_mut().flat_map(|(bytes, _)| bytes) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    let header = FrameHeader::of_picture(size, PixelFormat::I420, Instant::now());
    Ok(Frame::new(header, Arc::new(planes))?)
}

/// A picture's height and width on the command line.
pub(crate) fn shape(text: &str) -> Result<PictureSize, String> {
    let parsed = (|| -> anyhow::Result<PictureSize> {
        let (height, width) = text.split_once('x').ok_or_else(|| anyhow::anyhow!("no x"))?;
        let size = PictureSize { height: height.parse()?, width: width.parse()? };
        ensure!((16..=8192).contains(&size.height) && (16..=8192).contains(&size.width));
        Ok(size)
    })();
    parsed.map_err(|_| "height x width from 16 to 8192 is expected, such as 320x416".to_owned())
}
