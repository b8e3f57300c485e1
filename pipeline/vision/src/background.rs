//! What is left of a scene when everything that moves has vanished: for drawing lines and zones on it.
//!
//! Each pixel of a reduced picture keeps a histogram of the values that it showed, and the background shows their
//! median. Where a detector has found somebody or something, the frame adds nothing, and a pixel at which it did so as
//! often as not is not known: so who stays for the whole time does not come into it either, as long as the detector finds
//! them in half of the frames. A pixel that was hardly ever seen empty, or whose values do not agree, is shown as grey:
//! what is not known is not guessed.
//!
//! Invariants: no frame is kept, only counts; nothing is shown before 120 frames over two minutes were added, which is
//! longer than a light stays red. Memory: 64 bytes for each pixel of luma and 128 for each of chroma, at most some 50 MB, for as long as the
//! background lives. Units: pixels of the reduced picture, values 0..255. Threads: none. Not here: when and to whom it
//! may be shown (rule PC-17 of the privacy contract).

use std::io::Cursor;
use std::time::Duration;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};
use kerbside_core::frame::{ColourMatrix, ColourRange, Frame, PictureSize, PixelFormat};
use kerbside_core::geometry::BoxInImage;
use kerbside_core::time::MediaTime;

use crate::VisionError;

/// The widest reduced picture.
const MAX_WIDTH: u32 = 800;
/// Between two frames that are added: what moves has moved on.
const STEP: Duration = Duration::from_millis(500);
/// How many frames must be added, and over what time, before anything is shown.
const LEAST_FRAMES: u32 = 120;
/// See [`LEAST_FRAMES`].
const LEAST_TIME: Duration = Duration::from_secs(120);
/// How often a pixel must have been seen without an object.
const LEAST_SEEN: u32 = 20;
/// The share of a pixel's values that must lie near its median.
const AGREEING: f32 = 0.35;
/// What counts as near, in bins on either side.
const NEAR: usize = 3;
/// By how much of its size a box is widened on each side, for shadows and what a detector cuts off; and by how many
/// pixels of the reduced picture at least.
const MARGIN: f32 = 0.15;
const LEAST_MARGIN: f32 = 4.0;
/// Levels of a value that share a bin.
const LEVELS: usize = 4;
const BINS: usize = 256 / LEVELS;
/// What is shown where nothing is known.
const UNKNOWN: u8 = 128;

/// Collects a background. For one camera.
pub struct Background {
    source: PictureSize,
    size: PictureSize,
    block: u32,
    colours: (ColourMatrix, ColourRange),
    luma: Vec<[u8; BINS]>,
    /// By pixel: how often an object was found there.
    hidden: Vec<u16>,
    chroma: [Vec<[u8; BINS]>; 2],
    frames: u32,
    first: Option<MediaTime>,
    last: Option<MediaTime>,
    masked: Vec<bool>,
}

/// A background that may be shown.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its size, smaller than that of the camera's pictures.
    pub size: PictureSize,
    /// Three bytes a pixel: red, green, blue.
    pub rgb: Vec<u8>,
    /// The share of pixels that are known, 0..1.
    pub known: f32,
}

impl Background {
    /// Nothing is known yet. Frames must be like this one.
    pub fn new(like: &Frame) -> Self {
        let source = like.size;
        let block = source.width.div_ceil(MAX_WIDTH).max(1);
        let size = PictureSize { width: (source.width / block).max(1), height: (source.height / block).max(1) };
        let count = |width: u32, height: u32| width as usize * height as usize;
        let chroma = count(size.width.div_ceil(2), size.height.div_ceil(2));
        Self {
            source,
            size,
            block,
            colours: (like.matrix, like.range),
            luma: vec![[0; BINS]; count(size.width, size.height)],
            hidden: vec![0; count(size.width, size.height)],
            chroma: [vec![[0; BINS]; chroma], vec![[0; BINS]; chroma]],
            frames: 0,
            first: None,
            last: None,
            masked: Vec::new(),
        }
    }

    /// Adds a frame, without what lies in `boxes`, where it is time for one. A frame of another size begins anew.
    pub fn add(&mut self, frame: &Frame, boxes: impl Iterator<Item = BoxInImage>) {
        if frame.size != self.source {
            *self = Self::new(frame);
        }
        if self.last.is_some_and(|last| frame.media_time.since(last) < STEP) {
            return;
        }
        self.first.get_or_insert(frame.media_time);
        self.last = Some(frame.media_time);
        self.frames = self.frames.saturating_add(1);
        self.mask(boxes);
        self.add_luma(frame);
        self.add_chroma(frame);
    }

    /// How far it has come, 0..1; at 1 there is a picture.
    pub fn progress(&self) -> f32 {
        let time = self.first.zip(self.last).map_or(Duration::ZERO, |(first, last)| last.since(first));
        let of_time = time.as_secs_f32() / LEAST_TIME.as_secs_f32();
        let of_frames = self.frames as f32 / LEAST_FRAMES as f32;
        of_time.min(of_frames).min(1.0)
    }

    /// The background, once enough was added.
    pub fn picture(&self) -> Option<Picture> {
        if self.progress() < 1.0 {
            return None;
        }
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let halves = width.div_ceil(2);
        let mut rgb = Vec::with_capacity(3 * width * height);
        let mut known = 0_usize;
        for (place, values) in self.luma.iter().enumerate() {
            let half = place / width / 2 * halves + place % width / 2;
            let seen: u32 = values.iter().map(|count| u32::from(*count)).sum();
            let luma = median(values).filter(|_| seen > u32::from(self.hidden[place]));
            match (luma, median(&self.chroma[0][half]), median(&self.chroma[1][half])) {
                (Some(luma), Some(cb), Some(cr)) => {
                    known += 1;
                    rgb.extend(to_rgb(luma, cb, cr, self.colours));
                }
                _ => rgb.extend([UNKNOWN; 3]),
            }
        }
        Some(Picture { size: self.size, rgb, known: known as f32 / (width * height) as f32 })
    }

    /// Marks the pixels in the boxes.
    fn mask(&mut self, boxes: impl Iterator<Item = BoxInImage>) {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        self.masked.clear();
        self.masked.resize(width * height, false);
        for found in boxes {
            let reach = |from: f32, to: f32, pixels: usize| {
                let margin = ((to - from) * MARGIN * pixels as f32).max(LEAST_MARGIN);
                let place = |at: f32| at.clamp(0.0, pixels as f32) as usize;
                place(from * pixels as f32 - margin)..place((to * pixels as f32 + margin).ceil())
            };
            let columns = reach(found.left, found.right, width);
            for row in reach(found.top, found.bottom, height) {
                self.masked[row * width..][columns.clone()].fill(true);
            }
        }
    }

    fn add_luma(&mut self, frame: &Frame) {
        let (plane, block) = (frame.luma(), self.block as usize);
        let width = self.size.width as usize;
        for row in 0..self.size.height as usize {
            let values = plane.row(row * block + block / 2, frame.size.width as usize);
            for column in 0..width {
                let place = row * width + column;
                if self.masked[place] {
                    self.hidden[place] = self.hidden[place].saturating_add(1);
                } else if count(&mut self.luma[place], values[column * block + block / 2]) {
                    self.hidden[place] /= 2;
                }
            }
        }
    }

    fn add_chroma(&mut self, frame: &Frame) {
        let (block, width, height) = (self.block as usize, self.size.width as usize, self.size.height as usize);
        let (columns, rows) = (width.div_ceil(2), height.div_ceil(2));
        let in_row = frame.size.width.div_ceil(2) as usize;
        let last = |at: usize, pixels: u32| at.min(pixels.div_ceil(2) as usize - 1);
        for row in 0..rows {
            let from = last(row * block + block / 2, frame.size.height);
            for column in 0..columns {
                if self.masked[2 * row * width + (2 * column).min(width - 1)] {
                    continue;
                }
                let at = last(column * block + block / 2, frame.size.width);
                let (cb, cr) = match frame.format {
                    PixelFormat::I420 => {
                        (frame.plane(1).row(from, in_row)[at], frame.plane(2).row(from, in_row)[at])
                    }
                    PixelFormat::Nv12 => {
                        let pairs = frame.plane(1).row(from, 2 * in_row);
                        (pairs[2 * at], pairs[2 * at + 1])
                    }
                };
                let place = row * columns + column;
                // What hides luma hides chroma.
                let _ = (count(&mut self.chroma[0][place], cb), count(&mut self.chroma[1][place], cr));
            }
        }
    }
}

impl Picture {
    /// As a PNG file.
    ///
    /// # Errors
    /// The encoder refuses, which a picture with pixels gives it no reason for.
    pub fn to_png(&self) -> Result<Vec<u8>, VisionError> {
        let mut png = Cursor::new(Vec::new());
        PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
            .write_image(&self.rgb, self.size.width, self.size.height, ExtendedColorType::Rgb8)
            .map_err(|source| VisionError::Encode { source: Box::new(source) })?;
        Ok(png.into_inner())
    }
}

/// Counts a value. Where a count is full, all are halved, and that is the answer: what was seen long ago weighs less.
fn count(counts: &mut [u8; BINS], value: u8) -> bool {
    let bin = usize::from(value) / LEVELS;
    let is_full = counts[bin] == u8::MAX;
    if is_full {
        counts.iter_mut().for_each(|count| *count /= 2);
    }
    counts[bin] += 1;
    is_full
}

/// The median of what was counted, where enough of it agrees.
fn median(counts: &[u8; BINS]) -> Option<u8> {
    let total: u32 = counts.iter().map(|count| u32::from(*count)).sum();
    if total < LEAST_SEEN {
        return None;
    }
    let mut below = 0;
    let bin = counts.iter().position(|count| {
        below += u32::from(*count);
        2 * below >= total
    })?;
    let near = &counts[bin.saturating_sub(NEAR)..(bin + NEAR + 1).min(BINS)];
    let agreeing: u32 = near.iter().map(|count| u32::from(*count)).sum();
    if (agreeing as f32) < AGREEING * total as f32 {
        return None;
    }
    // Where within the bin, as if its values were spread evenly.
    let here = u32::from(counts[bin]);
    let into = (total / 2).saturating_sub(below - here) as f32 / here as f32;
    Some((bin * LEVELS) as u8 + ((LEVELS as f32 * into) as u8).min(LEVELS as u8 - 1))
}

/// From Y'CbCr to R'G'B' (ITU-R BT.601 and BT.709, 8 bit).
fn to_rgb(luma: u8, cb: u8, cr: u8, (matrix, range): (ColourMatrix, ColourRange)) -> [u8; 3] {
    let (offset, of_luma, of_chroma) = match range {
        ColourRange::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
        ColourRange::Full => (0.0, 1.0, 1.0),
    };
    let (of_red, of_blue) = match matrix {
        ColourMatrix::Bt601 => (0.299, 0.114),
        ColourMatrix::Bt709 => (0.2126, 0.0722),
    };
    let of_green = 1.0 - of_red - of_blue;
    let luma = (f32::from(luma) - offset) * of_luma;
    let (cb, cr) = ((f32::from(cb) - 128.0) * of_chroma, (f32::from(cr) - 128.0) * of_chroma);
    let red = luma + 2.0 * (1.0 - of_red) * cr;
    let blue = luma + 2.0 * (1.0 - of_blue) * cb;
    let green = (luma - of_red * red - of_blue * blue) / of_green;
    [red, green, blue].map(|value| value.round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use kerbside_core::frame::{FrameHeader, OwnedPlanes};

    use super::*;

    const SIZE: PictureSize = PictureSize { width: 96, height: 64 };

    fn street(x: usize, y: usize) -> u8 {
        (40 + (x * 7 + y * 13) % 120) as u8
    }

    /// A street with somebody at a place, on whom the light changes.
    fn frame(number: u64, format: PixelFormat, walker: Option<(usize, usize)>) -> Frame {
        let mut planes = OwnedPlanes::flat(SIZE, format, 0, 5);
        let (bytes, stride) = &mut planes.planes[0];
        for y in 0..SIZE.height as usize {
            for x in 0..SIZE.width as usize {
                bytes[y * *stride + x] = street(x, y);
            }
        }
        if let Some((left, top)) = walker {
            for y in top..top + 20 {
                for x in left..left + 8 {
                    bytes[y * *stride + x] = 230;
                }
            }
        }
        let header = FrameHeader::of_picture(SIZE, format, Instant::now());
        let header = FrameHeader { media_time: MediaTime::from_nanos(number * 500_000_000), ..header };
        Frame::new(header, Arc::new(planes)).unwrap()
    }

    fn walker_box(left: usize, top: usize) -> BoxInImage {
        let (width, height) = (SIZE.width as f32, SIZE.height as f32);
        BoxInImage {
            left: left as f32 / width,
            top: top as f32 / height,
            right: (left + 8) as f32 / width,
            bottom: (top + 20) as f32 / height,
        }
    }

    /// The largest difference of a pixel that is not grey from the street without anybody.
    fn furthest(picture: &Picture) -> u8 {
        let width = SIZE.width as usize;
        let of = |(place, rgb): (usize, &[u8])| {
            let expected = to_rgb(
                street(place % width, place / width),
                128,
                128,
                (ColourMatrix::Bt601, ColourRange::Limited),
            );
            if rgb == [UNKNOWN; 3] { 0 } else { rgb[0].abs_diff(expected[0]) }
        };
        picture.rgb.chunks(3).enumerate().map(of).max().unwrap()
    }

    #[test]
    fn who_walks_through_is_not_in_the_picture() {
        for format in [PixelFormat::I420, PixelFormat::Nv12] {
            let first = frame(0, format, None);
            let mut background = Background::new(&first);
            for number in 0..300 {
                // The detector never sees them.
                let walker = (number as usize % 80, 10 + number as usize % 20);
                background.add(&frame(number, format, Some(walker)), std::iter::empty());
            }
            let picture = background.picture().unwrap();
            assert!(picture.known > 0.99, "{}", picture.known);
            assert!(furthest(&picture) <= 8, "{format:?}: {}", furthest(&picture));
        }
    }

    #[test]
    fn who_stands_still_is_grey_where_a_detector_finds_them() {
        let mut background = Background::new(&frame(0, PixelFormat::I420, None));
        for number in 0..300 {
            // The detector misses them now and then.
            let found = (number % 10 > 0).then(|| walker_box(40, 20));
            background.add(&frame(number, PixelFormat::I420, Some((40, 20))), found.into_iter());
        }
        let picture = background.picture().unwrap();
        let at = |x: usize, y: usize| &picture.rgb[3 * (y * SIZE.width as usize + x)..][..3];
        assert_eq!(at(43, 30), [UNKNOWN; 3]);
        assert_eq!(at(38, 18), [UNKNOWN; 3], "a margin around them, too");
        assert!(furthest(&picture) <= 8 && picture.known > 0.8, "{}", picture.known);
        // They go, and the street is seen.
        for number in 300..1000 {
            background.add(&frame(number, PixelFormat::I420, None), std::iter::empty());
        }
        assert!(background.picture().unwrap().known > 0.99);
    }

    #[test]
    fn nothing_is_shown_before_enough_was_seen_and_frames_too_close_add_nothing() {
        let mut background = Background::new(&frame(0, PixelFormat::I420, None));
        for number in 0..200 {
            background.add(&frame(number, PixelFormat::I420, None), std::iter::empty());
        }
        for _ in 0..300 {
            background.add(&frame(199, PixelFormat::I420, None), std::iter::empty());
        }
        assert!(background.picture().is_none() && background.progress() < 1.0);
        background.add(&frame(240, PixelFormat::I420, None), std::iter::empty());
        assert!(background.picture().is_some());
    }

    #[test]
    fn values_that_do_not_agree_are_not_known() {
        let mut counts = [0; BINS];
        (0..=255).for_each(|value| assert!(!count(&mut counts, value)));
        assert_eq!(median(&counts), None);
        let mut counts = [0; BINS];
        assert_eq!((0..300).filter(|_| count(&mut counts, 77)).count(), 1, "once it is full");
        assert!(median(&counts).unwrap().abs_diff(77) < LEVELS as u8);
    }

    #[test]
    fn a_picture_is_a_png_of_its_size() {
        let picture =
            Picture { size: PictureSize { width: 2, height: 1 }, rgb: vec![255, 0, 0, 0, 0, 255], known: 1.0 };
        let png = picture.to_png().unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
        assert_eq!((&png[16..20], &png[20..24]), (&[0, 0, 0, 2][..], &[0, 0, 0, 1][..]));
    }

    #[test]
    fn colours_are_those_of_the_standard() {
        let limited = (ColourMatrix::Bt601, ColourRange::Limited);
        // White, black and the red of BT.601's colour bars.
        assert_eq!(to_rgb(235, 128, 128, limited), [255; 3]);
        assert_eq!(to_rgb(16, 128, 128, limited), [0; 3]);
        let red = to_rgb(81, 90, 240, limited);
        assert!(red[0] > 250 && red[1] < 4 && red[2] < 4, "{red:?}");
        assert_eq!(to_rgb(77, 128, 128, (ColourMatrix::Bt709, ColourRange::Full)), [77; 3]);
    }
}
