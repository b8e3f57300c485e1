//! Test clips of known content.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::clip::{Codec, run_to_end};
use crate::{CameraError, need};

/// What a test clip shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// A white ball that moves over black.
    Ball,
    /// A board of fields of 8×8 pixels, red at the top left and green next to it.
    Checkers,
    /// Noise: the hardest to encode.
    Snow,
}

impl Picture {
    fn pattern(self) -> &'static str {
        match self {
            Self::Ball => "ball",
            Self::Checkers => "checkers-8",
            Self::Snow => "snow",
        }
    }
}

/// How a test clip is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// H.264, 4:2:0, key picture each second.
    H264,
    /// H.264, 4:2:0, sent in another order than shown (B-pictures).
    H264Reordered,
    /// H.265, 4:2:0, key picture each second.
    H265,
    /// H.264, 4:2:2, which no decoder gives as NV12 or I420.
    H264Chroma422,
    /// Motion JPEG.
    Mjpeg,
}

impl From<Codec> for Encoding {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::H264 => Self::H264,
            Codec::H265 => Self::H265,
        }
    }
}

/// A test clip.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// What it shows.
    pub picture: Picture,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// Pictures a second as a fraction: `(30000, 1001)` for 29.97.
    pub fps: (u32, u32),
    /// How many pictures.
    pub pictures: u32,
    /// How it is stored.
    pub encoding: Encoding,
    /// Whether a sound track comes with it.
    pub sound: bool,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            picture: Picture::Ball,
            width: 320,
            height: 240,
            fps: (10, 1),
            pictures: 20,
            encoding: Encoding::H264,
            sound: false,
        }
    }
}

impl Scene {
    /// Writes it to `path` as Matroska.
    pub fn render(&self, path: &Path) -> Result<(), CameraError> {
        for element in ["videotestsrc", "matroskamux"] {
            need(element)?;
        }
        let Self { width, height, fps: (numerator, denominator), pictures, .. } = *self;
        let key = (numerator / denominator.max(1)).max(1);
        let format = if self.encoding == Encoding::H264Chroma422 { "Y42B" } else { "I420" };
        let encoder = match self.encoding {
            Encoding::H264 | Encoding::H264Chroma422 => {
                need("x264enc")?;
                let options = "speed-preset=ultrafast tune=zerolatency pass=quant quantizer=18";
                format!("x264enc {options} key-int-max={key} ! h264parse")
            }
            Encoding::H264Reordered => {
                need("x264enc")?;
                let options = "speed-preset=veryfast bframes=2 b-adapt=false pass=quant quantizer=18";
                format!("x264enc {options} key-int-max={key} ! h264parse")
            }
            Encoding::H265 => {
                need("x265enc")?;
                let options = "speed-preset=ultrafast tune=zerolatency log-level=none";
                format!("x265enc {options} key-int-max={key} ! h265parse")
            }
            Encoding::Mjpeg => {
                need("jpegenc")?;
                "jpegenc".to_owned()
            }
        };
        let sound = if self.sound {
            let blocks = pictures * denominator * 10 / numerator.max(1);
            format!(
                "audiotestsrc num-buffers={blocks} samplesperbuffer=4410 ! audioconvert ! \
                 audio/x-raw,rate=44100,channels=1 ! vorbisenc ! mux."
            )
        } else {
            String::new()
        };
        let description = format!(
            "videotestsrc num-buffers={pictures} pattern={} ! \
             video/x-raw,format={format},width={width},height={height},framerate={numerator}/{denominator},\
             colorimetry=bt601 ! {encoder} ! queue ! matroskamux name=mux ! filesink name=file {sound}",
            self.picture.pattern()
        );
        let failed = |reason: String| CameraError::Render(reason);
        let pipeline = gst::parse::launch(&description)
            .map_err(|error| failed(error.to_string()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| failed("the description is no pipeline".to_owned()))?;
        let file = pipeline.by_name("file").expect("the description has a file sink");
        file.set_property("location", path);
        run_to_end(&pipeline, || (0, None)).map_err(failed)
    }
}
