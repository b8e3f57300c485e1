//! Whether the corners of a zone enclose an area without crossing over.
//!
//! Coordinates are `f32` and the arithmetic is `f64`: for coordinates on any grid coarser than a
//! millionth of the picture the products below are exact, so that edges which touch are found to touch.

use kerbside_core::geometry::PointInImage;

/// The smallest zone, as a part of the picture's area: about 17 × 17 pixels of 768 × 576.
pub(crate) const MIN_AREA: f64 = 0.0005;

/// What is wrong with a polygon. Numbers are places in the list of corners, from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// This corner is where the one before it is.
    Repeated(usize),
    /// The edge that begins at the second corner touches or crosses the one that begins at the first.
    Crossing(usize, usize),
    /// It covers so small a part of the picture.
    TooSmall(f64),
}

/// The first thing that is wrong with a polygon of three or more corners.
pub(crate) fn fault(corners: &[PointInImage]) -> Option<Fault> {
    let count = corners.len();
    let points: Vec<Point> = corners.iter().map(|p| (f64::from(p.x), f64::from(p.y))).collect();
    let following = points.iter().skip(1).chain(points.first());
    let edges: Vec<(Point, Point)> = points.iter().copied().zip(following.copied()).collect();

    if let Some(place) = edges.iter().position(|(a, b)| a == b) {
        return Some(Fault::Repeated((place + 1) % count));
    }
    for (i, first) in edges.iter().enumerate() {
        for (j, second) in edges.iter().enumerate().skip(i + 1) {
            let crosses = match (j == i + 1, i == 0 && j == count - 1) {
                // A triangle's edges are all neighbours; doubling back leaves it without an area.
                (true, _) => doubles_back(*first, second.1),
                (_, true) => doubles_back(*second, first.1),
                _ => touch(*first, *second),
            };
            if crosses {
                return Some(Fault::Crossing(i, j));
            }
        }
    }
    let doubled: f64 = edges.iter().map(|((ax, ay), (bx, by))| ax * by - bx * ay).sum();
    let area = doubled.abs() / 2.0;
    (area < MIN_AREA).then_some(Fault::TooSmall(area))
}

type Point = (f64, f64);

/// Twice the signed area of the triangle a, b, c: zero when they lie on one line.
fn turn(a: Point, b: Point, c: Point) -> f64 {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
}

/// Whether going on from the edge's end to `next` runs back over the edge.
fn doubles_back((a, b): (Point, Point), next: Point) -> bool {
    let ahead = (b.0 - a.0) * (next.0 - b.0) + (b.1 - a.1) * (next.1 - b.1);
    turn(a, b, next) == 0.0 && ahead < 0.0
}

/// Whether two segments share a point.
fn touch((a, b): (Point, Point), (c, d): (Point, Point)) -> bool {
    let sides = [turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)];
    let [c_side, d_side, a_side, b_side] = sides.map(|side| side.partial_cmp(&0.0));
    if c_side != d_side && a_side != b_side {
        return true;
    }
    let within = |(a, b): (Point, Point), p: Point| {
        (a.0.min(b.0)..=a.0.max(b.0)).contains(&p.0) && (a.1.min(b.1)..=a.1.max(b.1)).contains(&p.1)
    };
    let on = |side: f64, segment, point| side == 0.0 && within(segment, point);
    on(sides[0], (a, b), c) || on(sides[1], (a, b), d) || on(sides[2], (c, d), a) || on(sides[3], (c, d), b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn corners(points: &[(f32, f32)]) -> Vec<PointInImage> {
        points.iter().map(|(x, y)| PointInImage { x: *x, y: *y }).collect()
    }

    #[test]
    fn faults_are_found_and_sound_zones_pass() {
        type Case = (&'static [(f32, f32)], Option<Fault>);
        let cases: [Case; 9] = [
            (&[(0.1, 0.4), (0.9, 0.4), (0.9, 0.95), (0.1, 0.95)], None),
            // An L, and a square with a corner on a straight edge.
            (&[(0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)], None),
            (&[(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)], None),
            // A bow tie.
            (&[(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)], Some(Fault::Crossing(0, 2))),
            // A corner that touches a far edge.
            (&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.0), (0.0, 1.0)], Some(Fault::Crossing(0, 2))),
            // A spike without width.
            (&[(0.0, 0.0), (1.0, 0.0), (0.5, 0.0), (0.5, 1.0)], Some(Fault::Crossing(0, 1))),
            (&[(0.0, 0.0), (0.0, 0.0), (1.0, 1.0)], Some(Fault::Repeated(1))),
            (&[(0.0, 0.0), (0.5, 0.0), (1.0, 1.0), (0.0, 0.0)], Some(Fault::Repeated(0))),
            (&[(0.5, 0.5), (0.51, 0.5), (0.5, 0.51)], Some(Fault::TooSmall(0.00005))),
        ];
        for (points, expected) in cases {
            match (fault(&corners(points)), expected) {
                (Some(Fault::TooSmall(found)), Some(Fault::TooSmall(area))) => {
                    assert!((found - area).abs() < 1e-6, "{found}");
                }
                (found, expected) => assert_eq!(found, expected, "{points:?}"),
            }
        }
    }

    /// Corners at these distances from the middle, in the order of their angle.
    fn star(radii: &[f32]) -> Vec<PointInImage> {
        let step = std::f32::consts::TAU / radii.len() as f32;
        let at = |(i, r): (usize, &f32)| {
            let (sin, cos) = (i as f32 * step).sin_cos();
            PointInImage { x: 0.5 + r * cos, y: 0.5 + r * sin }
        };
        radii.iter().enumerate().map(at).collect()
    }

    proptest! {
        #[test]
        fn corners_in_the_order_of_their_angle_never_cross(radii in prop::collection::vec(0.05f32..0.5, 4..32)) {
            prop_assert_eq!(fault(&star(&radii)), None);
        }

        #[test]
        fn two_neighbours_exchanged_in_a_polygon_of_four_cross(radii in prop::collection::vec(0.05f32..0.5, 4)) {
            let mut tie = star(&radii);
            tie.swap(1, 2);
            prop_assert_eq!(fault(&tie), Some(Fault::Crossing(0, 2)));
        }
    }
}
