//! A copy of a frame that can be drawn on.
//!
//! Drawing happens in the planes themselves, so that what is not drawn on keeps its bytes: no conversion to
//! another colour space and back. A shape is drawn once in luma and once, at half the size, in Cb and Cr; text is
//! drawn in luma only, on a ground that has its colour already.
//!
//! Coordinates are pixels of the picture. What lies outside of it is cut off.

use kerbside_core::frame::{Frame, PictureSize, PixelFormat, Plane};
use opencv::core::{CV_8UC1, Mat, Point, Scalar, Vector};
use opencv::imgproc::{FILLED, FONT_HERSHEY_SIMPLEX, LINE_AA, circle, fill_poly, get_text_size, line, put_text};
use opencv::prelude::{MatTraitConst, MatTraitConstManual, MatTraitManual};

use super::style::{Rgb, Sizes, in_planes};
use crate::VisionError;

/// Bits behind the point in coordinates that OpenCV gets.
const SHIFT: i32 = 4;

/// A place in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    pub(super) x: f32,
    pub(super) y: f32,
}

/// A rectangle in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

impl Area {
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.left < other.left + other.width
            && other.left < self.left + self.width
            && self.top < other.top + other.height
            && other.top < self.top + self.height
    }
}

/// Luma, Cb and Cr of one picture in memory of our own: reused from frame to frame.
#[derive(Default)]
pub(super) struct Canvas {
    frame: Option<Header>,
    planes: [Mat; 3],
    /// Where a polygon lies in luma and in chroma: of one call, kept for its memory.
    masks: [Mat; 2],
}

/// What is needed of the frame that was copied.
#[derive(Clone, Copy)]
struct Header {
    size: PictureSize,
    sizes: Sizes,
    matrix: kerbside_core::frame::ColourMatrix,
    range: kerbside_core::frame::ColourRange,
}

impl Canvas {
    /// Copies a frame over whatever was here.
    ///
    /// Encoders of 4:2:0 want even sizes: an odd last column or row is there twice.
    pub(super) fn load(&mut self, frame: &Frame) -> Result<(), VisionError> {
        let size = even(frame.size);
        if self.frame.is_none_or(|before| before.size != size) {
            let (rows, columns) = (size.height as i32, size.width as i32);
            let plane = |rows, columns| {
                Mat::new_rows_cols_with_default(rows, columns, CV_8UC1, Scalar::all(0.0))
                    .map_err(|error| failed("making a plane to draw on", error))
            };
            let half = || plane(rows / 2, columns / 2);
            self.planes = [plane(rows, columns)?, half()?, half()?];
            self.masks = [plane(rows, columns)?, half()?];
        }
        let Frame { matrix, range, .. } = *frame;
        self.frame = Some(Header { size, sizes: Sizes::of(size), matrix, range });
        let (width, height) = (frame.size.width as usize, frame.size.height as usize);
        let columns = size.width as usize;
        let [luma, cb, cr] = &mut self.planes;
        for (y, row) in bytes(luma)?.chunks_exact_mut(columns).enumerate() {
            row[..width].copy_from_slice(frame.luma().row(y.min(height - 1), width));
            let last = row[width - 1];
            row[width..].fill(last);
        }
        let half = columns / 2;
        match frame.format {
            PixelFormat::I420 => {
                for (index, plane) in [(1, cb), (2, cr)] {
                    for (y, row) in bytes(plane)?.chunks_exact_mut(half).enumerate() {
                        row.copy_from_slice(frame.plane(index).row(y, half));
                    }
                }
            }
            PixelFormat::Nv12 => {
                let rows = bytes(cb)?.chunks_exact_mut(half).zip(bytes(cr)?.chunks_exact_mut(half));
                for (y, (cb, cr)) in rows.enumerate() {
                    let pairs = frame.plane(1).row(y, 2 * half).chunks_exact(2);
                    for ((cb, cr), pair) in cb.iter_mut().zip(cr).zip(pairs) {
                        (*cb, *cr) = (pair[0], pair[1]);
                    }
                }
            }
        }
        Ok(())
    }

    /// The size of what is drawn on; zero before a frame was loaded.
    pub(super) fn size(&self) -> PictureSize {
        self.frame.map_or(PictureSize { width: 0, height: 0 }, |frame| frame.size)
    }

    /// How large things are here.
    pub(super) fn sizes(&self) -> Sizes {
        self.frame.map_or_else(|| Sizes::of(self.size()), |frame| frame.sizes)
    }

    /// The plane at `index`: luma, Cb, Cr.
    pub(super) fn plane(&self, index: usize) -> Option<Plane<'_>> {
        let mat = self.planes.get(index)?;
        Some(Plane { bytes: mat.data_bytes().ok()?, stride: mat.cols() as usize })
    }

    pub(super) fn line(&mut self, from: Spot, to: Spot, colour: Rgb, stroke: i32) -> Result<(), VisionError> {
        self.in_each_plane(colour, |plane, value, scale| {
            line(plane, point(from, scale), point(to, scale), value, scaled(stroke, scale), LINE_AA, SHIFT)
        })
    }

    /// A line of dashes.
    pub(super) fn dashes(&mut self, from: Spot, to: Spot, colour: Rgb, stroke: i32) -> Result<(), VisionError> {
        let dash = self.sizes().dash;
        let length = (to.x - from.x).hypot(to.y - from.y);
        let at = |share: f32| Spot { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
        // A box may reach far beyond the picture; nobody sees those dashes.
        let count = ((length / (2.0 * dash)).ceil() as usize).min(1000);
        for number in 0..count {
            let begin = number as f32 * 2.0 * dash;
            self.line(at(begin / length), at(((begin + dash) / length).min(1.0)), colour, stroke)?;
        }
        Ok(())
    }

    pub(super) fn dot(&mut self, centre: Spot, radius: i32, colour: Rgb) -> Result<(), VisionError> {
        self.in_each_plane(colour, |plane, value, scale| {
            let radius = ((radius as f32 * scale).max(1.0) * (1 << SHIFT) as f32) as i32;
            circle(plane, point(centre, scale), radius, value, FILLED, LINE_AA, SHIFT)
        })
    }

    /// A rectangle through which `1 - cover` of the picture shows.
    pub(super) fn ground(&mut self, area: Area, colour: Rgb, cover: f32) -> Result<(), VisionError> {
        let Some(header) = self.frame else { return Ok(()) };
        let values = in_planes(colour, header.matrix, header.range);
        for ((index, plane), value) in self.planes.iter_mut().enumerate().zip(values) {
            let by = if index == 0 { 1 } else { 2 };
            let (columns, rows) = (plane.cols(), plane.rows());
            let span = |from: i32, length: i32, limit: i32| {
                ((from / by).clamp(0, limit) as usize, ((from + length + by - 1) / by).clamp(0, limit) as usize)
            };
            let (left, right) = span(area.left, area.width, columns);
            let (top, bottom) = span(area.top, area.height, rows);
            for row in bytes(plane)?.chunks_exact_mut(columns as usize).take(bottom).skip(top) {
                row[left..right.max(left)].iter_mut().for_each(|pixel| *pixel = mixed(*pixel, value, cover));
            }
        }
        Ok(())
    }

    /// A polygon through which `1 - cover` of the picture shows.
    pub(super) fn tint(&mut self, corners: &[Spot], colour: Rgb, cover: f32) -> Result<(), VisionError> {
        let Some(header) = self.frame else { return Ok(()) };
        let values = in_planes(colour, header.matrix, header.range);
        for (mask, scale) in self.masks.iter_mut().zip([1.0, 0.5]) {
            bytes(mask)?.fill(0);
            let polygon: Vector<Point> = corners.iter().map(|corner| point(*corner, scale)).collect();
            let polygons: Vector<Vector<Point>> = Vector::from_iter([polygon]);
            fill_poly(mask, &polygons, Scalar::all(255.0), LINE_AA, SHIFT, Point::default())
                .map_err(|error| failed("filling a zone", error))?;
        }
        for ((index, plane), value) in self.planes.iter_mut().enumerate().zip(values) {
            let mask = self.masks[index.min(1)].data_bytes().map_err(|error| failed("reading a mask", error))?;
            for (pixel, covered) in bytes(plane)?.iter_mut().zip(mask).filter(|(_, covered)| **covered > 0) {
                *pixel = mixed(*pixel, value, cover * f32::from(*covered) / 255.0);
            }
        }
        Ok(())
    }

    /// The width and height of a line of text, pixels, with the strokes that reach below it.
    pub(super) fn measure(&self, text: &str) -> Result<(i32, i32), VisionError> {
        let (width, height, below) = self.extent(text)?;
        Ok((width, height + below))
    }

    /// Width, height above the line that letters stand on, and depth below it.
    fn extent(&self, text: &str) -> Result<(i32, i32, i32), VisionError> {
        let Sizes { font_scale, font_stroke, .. } = self.sizes();
        let mut below = 0;
        let size = get_text_size(text, FONT_HERSHEY_SIMPLEX, font_scale, font_stroke, &mut below)
            .map_err(|error| failed("measuring a text", error))?;
        Ok((size.width, size.height, below))
    }

    /// A line of text with its top left corner at `left`, `top`. Only luma is drawn: see [`Canvas::ground`].
    pub(super) fn text(&mut self, left: i32, top: i32, text: &str, colour: Rgb) -> Result<(), VisionError> {
        let Some(Header { sizes, matrix, range, .. }) = self.frame else { return Ok(()) };
        let (_, height, below) = self.extent(text)?;
        let [luma, ..] = in_planes(colour, matrix, range);
        let (origin, value) = (Point::new(left, top + height + below / 4), Scalar::all(f64::from(luma)));
        let Sizes { font_scale, font_stroke, .. } = sizes;
        let font = FONT_HERSHEY_SIMPLEX;
        put_text(&mut self.planes[0], text, origin, font, font_scale, value, font_stroke, LINE_AA, false)
            .map_err(|error| failed("writing a text", error))
    }

    /// Draws in luma at full size and in chroma at half the size.
    fn in_each_plane(
        &mut self,
        colour: Rgb,
        draw: impl Fn(&mut Mat, Scalar, f32) -> opencv::Result<()>,
    ) -> Result<(), VisionError> {
        let Some(header) = self.frame else { return Ok(()) };
        let values = in_planes(colour, header.matrix, header.range);
        for ((plane, value), scale) in self.planes.iter_mut().zip(values).zip([1.0, 0.5, 0.5]) {
            draw(plane, Scalar::all(f64::from(value)), scale).map_err(|error| failed("drawing", error))?;
        }
        Ok(())
    }
}

/// The size with an odd last column or row counted twice.
fn even(size: PictureSize) -> PictureSize {
    PictureSize { width: size.width.next_multiple_of(2), height: size.height.next_multiple_of(2) }
}

fn bytes(plane: &mut Mat) -> Result<&mut [u8], VisionError> {
    plane.data_bytes_mut().map_err(|error| failed("writing to a plane", error))
}

fn mixed(below: u8, above: u8, cover: f32) -> u8 {
    (f32::from(below) + (f32::from(above) - f32::from(below)) * cover).round() as u8
}

/// A place as OpenCV takes it. Far outside of the picture it is moved nearer: its numbers are small.
fn point(spot: Spot, scale: f32) -> Point {
    let fixed = |value: f32| (value.clamp(-16_000.0, 16_000.0) * scale * (1 << SHIFT) as f32) as i32;
    Point::new(fixed(spot.x), fixed(spot.y))
}

fn scaled(stroke: i32, scale: f32) -> i32 {
    ((stroke as f32 * scale).round() as i32).max(1)
}

fn failed(step: &'static str, error: opencv::Error) -> VisionError {
    VisionError::OpenCv { step, source: Box::new(error) }
}
