//! Whether somebody is in a picture, as the default detector sees it.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::frame::{Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};
use kerbside_models::{Detector, DetectorSettings, EngineChoice, ModelFolder};
use kerbside_vision::Picture;

use crate::common::root;

/// From this score on, somebody is found.
const FOUND: f32 = 0.4;
/// Those who are found.
pub(crate) fn people(detector: &mut dyn Detector, frame: &Frame) -> Vec<Detection> {
    let mut found = Vec::new();
    detector.detect(frame, &mut found).unwrap();
    found.retain(|detection| detection.class == Class::Person && detection.score >= FOUND);
    found
}

/// The picture as a frame, so that a detector can look at it (ITU-R BT.601, limited range).
pub(crate) fn as_frame(picture: &Picture) -> Frame {
    let (width, height) = (picture.size.width as usize, picture.size.height as usize);
    let size = PictureSize { width: picture.size.width, height: picture.size.height };
    let mut planes = OwnedPlanes::flat(size, PixelFormat::I420, 16, 0);
    for (place, rgb) in picture.rgb.chunks(3).enumerate() {
        let [red, green, blue] = [rgb[0], rgb[1], rgb[2]].map(f32::from);
        let luma = 16.0 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255.0;
        planes.planes[0].0[place] = luma.round() as u8;
        let (x, y) = (place % width, place / width);
        if x % 2 == 0 && y % 2 == 0 && y < height {
            let at = y / 2 * width.div_ceil(2) + x / 2;
            planes.planes[1].0[at] =
                (128.0 + (-37.797 * red - 74.203 * green + 112.0 * blue) / 255.0).round() as u8;
            planes.planes[2].0[at] =
                (128.0 + (112.0 * red - 93.786 * green - 18.214 * blue) / 255.0).round() as u8;
        }
    }
    let header = FrameHeader::of_picture(size, PixelFormat::I420, Instant::now());
    Frame::new(header, Arc::new(planes)).unwrap()
}

/// The default detector.
pub(crate) fn detector() -> Box<dyn Detector> {
    let folder = ModelFolder::open(&root().join("models")).unwrap();
    folder.load_for("nanodet-g", EngineChoice::Auto).unwrap().detector_with(DetectorSettings::default())
}
