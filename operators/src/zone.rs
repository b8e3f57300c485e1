//! Whether an object is in a zone, without flicker at the zone's edge.
//!
//! Boxes shake. An object enters a zone when its foot is further inside than a margin which grows with its
//! own box, and leaves it when it is as far outside; in between it stays where it was. Lengths are in
//! picture heights.

use kerbside_core::geometry::{BoxInImage, PointInImage, Polygon};

use crate::seen::foot_in_picture;

/// Half the width of the band at the edge, in box heights: a detector's lower edge shakes by half of it.
const MARGIN: f32 = 0.05;
/// An edge whose ends are this near to the picture's edge is no border to cross: nobody is seen beyond it.
const AT_PICTURE_EDGE: f32 = 1e-3;

/// How far inside the zone an object is, in heights of its own box: negative outside.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Depth(f32);

impl Depth {
    /// Of an object in a picture with that aspect ratio.
    pub(crate) fn of(zone: &Polygon, aspect: f32, box_in_image: &BoxInImage) -> Self {
        let foot = foot_in_picture(box_in_image);
        let distance = zone
            .edges()
            .filter(|(a, b)| !at_picture_edge(*a, *b))
            .map(|(a, b)| distance_to_segment(foot, a, b, aspect))
            .fold(f32::INFINITY, f32::min);
        let height = box_in_image.height().max(f32::MIN_POSITIVE);
        Self(if zone.contains(foot) { distance } else { -distance } / height)
    }

    /// Whether the object is inside, given whether it was before.
    pub(crate) fn is_inside(self, was: bool) -> bool {
        if was { self.0 > -MARGIN } else { self.0 > MARGIN }
    }

    /// How far outside of the zone, in heights of the object's box; 0 inside.
    pub(crate) fn away(self) -> f32 {
        (-self.0).max(0.0)
    }
}

fn at_picture_edge(a: PointInImage, b: PointInImage) -> bool {
    let (low, high) = (AT_PICTURE_EDGE, 1.0 - AT_PICTURE_EDGE);
    (a.x < low && b.x < low)
        || (a.y < low && b.y < low)
        || (a.x > high && b.x > high)
        || (a.y > high && b.y > high)
}

fn distance_to_segment(point: PointInImage, a: PointInImage, b: PointInImage, aspect: f32) -> f32 {
    let (along_x, along_y) = ((b.x - a.x) * aspect, b.y - a.y);
    let (x, y) = ((point.x - a.x) * aspect, point.y - a.y);
    let length_squared = (along_x * along_x + along_y * along_y).max(f32::MIN_POSITIVE);
    let share = ((x * along_x + y * along_y) / length_squared).clamp(0.0, 1.0);
    (x - share * along_x).hypot(y - share * along_y)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(corners: &[(f32, f32)]) -> Polygon {
        Polygon { corners: corners.iter().map(|&(x, y)| PointInImage { x, y }).collect() }
    }

    fn standing_at(x: f32, y: f32) -> BoxInImage {
        BoxInImage { left: x - 0.05, top: y - 0.2, right: x + 0.05, bottom: y }
    }

    #[test]
    fn in_the_band_at_the_edge_an_object_stays_where_it_was() {
        let square = zone(&[(0.2, 0.4), (0.6, 0.4), (0.6, 0.8), (0.2, 0.8)]);
        for (y, from_outside, from_inside) in
            [(0.6, true, true), (0.405, false, true), (0.395, false, true), (0.38, false, false)]
        {
            let depth = Depth::of(&square, 1.5, &standing_at(0.4, y));
            assert_eq!((depth.is_inside(false), depth.is_inside(true)), (from_outside, from_inside), "{y}");
        }
        let away = Depth::of(&square, 1.5, &standing_at(0.8, 0.6)).away();
        assert!((away - 0.2 * 1.5 / 0.2).abs() < 1e-5, "{away} box heights to the right");
    }

    #[test]
    fn the_edge_of_the_picture_is_no_border() {
        let lower_half = zone(&[(0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)]);
        for (x, y) in [(0.5, 1.05), (0.001, 0.9), (1.0, 0.8)] {
            assert!(Depth::of(&lower_half, 1.5, &standing_at(x, y)).is_inside(false), "{x} {y}");
        }
        let whole = zone(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]);
        assert!(Depth::of(&whole, 1.5, &standing_at(0.3, 0.3)).is_inside(false));
    }
}
