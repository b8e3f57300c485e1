//! A picture in the making: what the light of noon would give, before the sensor.

use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::PointInImage;

use super::Paint;

/// Luma 0..255 and both chroma planes at half the size.
#[derive(Clone, Debug)]
pub(crate) struct Canvas {
    pub(crate) luma: Vec<u8>,
    pub(crate) chroma: [Vec<u8>; 2],
    width: usize,
    height: usize,
}

/// Whether a polygon of the picture, whose y points down, goes round against the clock as one sees it.
pub(crate) fn is_counter_clockwise(polygon: &[PointInImage; 4]) -> bool {
    let next = polygon.iter().cycle().skip(1);
    polygon.iter().zip(next).map(|(a, b)| a.x * b.y - b.x * a.y).sum::<f32>() < 0.0
}

impl Canvas {
    pub(crate) fn new(size: PictureSize) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let half = width.div_ceil(2) * height.div_ceil(2);
        Self { luma: vec![0; width * height], chroma: [vec![128; half], vec![128; half]], width, height }
    }

    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.luma.copy_from_slice(&other.luma);
        for (plane, from) in self.chroma.iter_mut().zip(&other.chroma) {
            plane.copy_from_slice(from);
        }
    }

    /// One colour all over.
    pub(crate) fn flood(&mut self, luma: u8, cb: u8, cr: u8) {
        self.luma.fill(luma);
        self.chroma[0].fill(cb);
        self.chroma[1].fill(cr);
    }

    /// A convex polygon, a little lighter towards its upper edge.
    pub(crate) fn fill(&mut self, polygon: &[PointInImage; 4], paint: Paint) {
        let top = polygon.iter().map(|p| p.y).fold(f32::INFINITY, f32::min);
        let bottom = polygon.iter().map(|p| p.y).fold(f32::NEG_INFINITY, f32::max);
        let height = self.height as f32;
        spans(polygon, self.width, self.height, |row, from, to| {
            let down = ((row as f32 / height - top) / (bottom - top).max(1e-6)).clamp(0.0, 1.0);
            let luma = (f32::from(paint.luma) * (1.1 - 0.2 * down)).min(255.0) as u8;
            self.luma[row * self.width + from..row * self.width + to].fill(luma);
        });
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        spans(polygon, width, height, |row, from, to| {
            for (plane, value) in self.chroma.iter_mut().zip([paint.cb, paint.cr]) {
                plane[row * width + from..row * width + to].fill(value);
            }
        });
    }

    /// A convex polygon in shadow.
    pub(crate) fn shade(&mut self, polygon: &[PointInImage; 4]) {
        spans(polygon, self.width, self.height, |row, from, to| {
            for value in &mut self.luma[row * self.width + from..row * self.width + to] {
                *value -= *value / 2;
            }
        });
    }

    /// The mean over a square of `2 radius + 1` pixels, twice: nearly the disc of a lens out of focus.
    pub(crate) fn blur(&mut self, radius: usize, spare: &mut Vec<u8>) {
        spare.resize(self.luma.len(), 0);
        for _ in 0..2 {
            for (row, out) in self.luma.chunks_exact(self.width).zip(spare.chunks_exact_mut(self.width)) {
                means(|x| row[x], self.width, radius, |x, mean| out[x] = mean);
            }
            for column in 0..self.width {
                let at = |y: usize| y * self.width + column;
                means(|y| spare[at(y)], self.height, radius, |y, mean| self.luma[at(y)] = mean);
            }
        }
    }
}

/// The sliding mean of a row or column; at its ends the last value goes on.
fn means(value: impl Fn(usize) -> u8, length: usize, radius: usize, mut put: impl FnMut(usize, u8)) {
    let at = |place: isize| u32::from(value(place.clamp(0, length as isize - 1) as usize));
    let reach = radius as isize;
    let mut sum: u32 = (-reach..=reach).map(at).sum();
    let count = 2 * radius as u32 + 1;
    for place in 0..length {
        put(place, (sum / count) as u8);
        let place = place as isize;
        sum = sum + at(place + reach + 1) - at(place - reach);
    }
}

/// The pixels of each row whose middle lies in the polygon.
fn spans(polygon: &[PointInImage; 4], width: usize, height: usize, mut span: impl FnMut(usize, usize, usize)) {
    let points = polygon.map(|p| (p.x * width as f32, p.y * height as f32));
    let lowest = points.iter().map(|p| p.1).fold(f32::INFINITY, f32::min).max(0.0) as usize;
    let highest =
        points.iter().map(|p| p.1).fold(f32::NEG_INFINITY, f32::max).min(height as f32).max(0.0) as usize;
    for row in lowest..(highest + 1).min(height) {
        let y = row as f32 + 0.5;
        let (mut left, mut right) = (f32::INFINITY, f32::NEG_INFINITY);
        for (a, b) in points.iter().zip(points.iter().cycle().skip(1)) {
            if (a.1 > y) != (b.1 > y) {
                let x = a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0);
                (left, right) = (left.min(x), right.max(x));
            }
        }
        let from = (left + 0.5).clamp(0.0, width as f32) as usize;
        let to = (right + 0.5).clamp(0.0, width as f32) as usize;
        if from < to {
            span(row, from, to);
        }
    }
}
