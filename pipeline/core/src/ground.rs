//! Where the picture's points lie on the street: a homography between the picture and a flat ground.
//!
//! Lengths on the ground are metres, along axes of the user's choice. The street is taken as a plane and the
//! lens as free of distortion; both are good to some percent within the area that the reference points span,
//! and get worse outside of it.
//!
//! The fit is the direct linear transformation with normalised coordinates (Hartley, "In defense of the
//! eight-point algorithm", IEEE TPAMI 19(6), 1997; Hartley and Zisserman, Multiple View Geometry, 2nd ed.,
//! algorithm 4.2), with the last element set to 1, which the centre of the points, being on the street, allows.

use crate::geometry::PointInImage;

/// A point on the street, in metres.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PointOnGround {
    /// Along the first axis, metres.
    pub x: f64,
    /// Along the second axis, metres.
    pub y: f64,
}

impl PointOnGround {
    /// How far apart two points are, in metres.
    pub fn distance(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// Why reference points do not define a ground.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum GroundError {
    /// Fewer than four pairs, or as many of the one as not of the other.
    #[error("{image} points in the picture and {ground} on the street; four or more of each are needed")]
    Count {
        /// Points in the picture.
        image: usize,
        /// Points on the street.
        ground: usize,
    },
    /// Three of four points lie on a line, or points fall together.
    #[error("the points do not span an area")]
    Degenerate,
    /// No camera sees a flat street like this: the points are in another order, or one is far off.
    #[error("the horizon would run between the points")]
    Folded,
}

/// A row-major 3×3 matrix.
type Matrix = [f64; 9];

/// A flat street as a camera sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ground {
    ground_from_image: Matrix,
    image_from_ground: Matrix,
}

impl Ground {
    /// Fits a ground to pairs of points, in the same order. Four pairs are met exactly; of more, the sum of
    /// squared algebraic errors is least: see [`Ground::residuals`].
    pub fn fit(image: &[PointInImage], ground: &[PointOnGround]) -> Result<Self, GroundError> {
        if image.len() < 4 || image.len() != ground.len() {
            return Err(GroundError::Count { image: image.len(), ground: ground.len() });
        }
        let from: Vec<[f64; 2]> = image.iter().map(|p| [f64::from(p.x), f64::from(p.y)]).collect();
        let to: Vec<[f64; 2]> = ground.iter().map(|p| [p.x, p.y]).collect();
        let (normal_from, normal_to) = (normalising(&from)?, normalising(&to)?);
        let mut equations = [[0.0; 9]; 8];
        for (from, to) in from.iter().zip(&to) {
            let [(x, y, _), (u, v, _)] = [(normal_from, from), (normal_to, to)].map(|(m, p)| apply(&m, *p));
            add_equation(&mut equations, [x, y, 1.0, 0.0, 0.0, 0.0, -x * u, -y * u], u);
            add_equation(&mut equations, [0.0, 0.0, 0.0, x, y, 1.0, -x * v, -y * v], v);
        }
        let [a, b, c, d, e, f, g, h] = solve(equations).ok_or(GroundError::Degenerate)?;
        let normal = [a, b, c, d, e, f, g, h, 1.0];
        let to_metres = inverse(&normal_to).ok_or(GroundError::Degenerate)?;
        let mut ground_from_image = product(&to_metres, &product(&normal, &normal_from));
        // The sign is such that points in front of the camera have a positive third coordinate.
        if apply(&ground_from_image, *from.first().ok_or(GroundError::Degenerate)?).2 < 0.0 {
            ground_from_image = ground_from_image.map(|element| -element);
        }
        let image_from_ground = inverse(&ground_from_image).ok_or(GroundError::Degenerate)?;
        if from.iter().any(|point| apply(&ground_from_image, *point).2 <= 0.0) {
            return Err(GroundError::Folded);
        }
        Ok(Self { ground_from_image, image_from_ground })
    }

    /// Where a point of the picture lies on the street; `None` at and above the horizon.
    pub fn on_ground(&self, point_in_image: PointInImage) -> Option<PointOnGround> {
        let (x, y, w) = apply(&self.ground_from_image, [point_in_image.x.into(), point_in_image.y.into()]);
        let point = PointOnGround { x: x / w, y: y / w };
        (w > 0.0 && point.x.is_finite() && point.y.is_finite()).then_some(point)
    }

    /// Where a point of the street is in the picture, also beyond its border; `None` behind the camera.
    pub fn in_image(&self, point_on_ground: PointOnGround) -> Option<PointInImage> {
        let (x, y, w) = apply(&self.image_from_ground, [point_on_ground.x, point_on_ground.y]);
        // For a point in front of the camera both directions have the same sign: w · w' = 1.
        let point = PointInImage { x: (x / w) as f32, y: (y / w) as f32 };
        (w > 0.0 && point.x.is_finite() && point.y.is_finite()).then_some(point)
    }

    /// How far each reference point's picture lies from where it should be, in metres on the street.
    pub fn residuals<'a>(
        &'a self,
        image: &'a [PointInImage],
        ground: &'a [PointOnGround],
    ) -> impl Iterator<Item = f64> + 'a {
        image
            .iter()
            .zip(ground)
            .map(|(image, ground)| self.on_ground(*image).map_or(f64::INFINITY, |found| found.distance(*ground)))
    }

    /// How many metres one picture height is at a point, seen along the picture's rows: what a shift of the
    /// detector's box by a pixel means on the street. `None` at and above the horizon.
    pub fn metres_per_height(&self, point: PointInImage, aspect: f32) -> Option<f64> {
        const STEP: f32 = 1e-3;
        let beside = PointInImage { x: point.x + STEP / aspect, y: point.y };
        Some(self.on_ground(point)?.distance(self.on_ground(beside)?) / f64::from(STEP))
    }
}

/// Moves the points' centre to the origin and scales their mean distance from it to √2.
fn normalising(points: &[[f64; 2]]) -> Result<Matrix, GroundError> {
    let count = points.len() as f64;
    let [x, y] = [0, 1].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / count);
    let spread = points.iter().map(|p| (p[0] - x).hypot(p[1] - y)).sum::<f64>() / count;
    let scale = std::f64::consts::SQRT_2 / spread;
    if !scale.is_finite() {
        return Err(GroundError::Degenerate);
    }
    Ok([scale, 0.0, -scale * x, 0.0, scale, -scale * y, 0.0, 0.0, 1.0])
}

/// Adds `row · unknowns = right` to the normal equations of a least squares problem.
fn add_equation(equations: &mut [[f64; 9]; 8], row: [f64; 8], right: f64) {
    for (equation, factor) in equations.iter_mut().zip(row) {
        for (sum, element) in equation.iter_mut().zip(row.iter().chain([&right])) {
            *sum += factor * element;
        }
    }
}

/// Gaussian elimination with partial pivoting; `None` where the unknowns are not determined.
fn solve(mut rows: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for column in 0..8 {
        let pivot = (column..8).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        // Coordinates are of the order of 1; three points on a line leave about 1e-16 here.
        if rows[pivot][column].abs() < 1e-9 {
            return None;
        }
        rows.swap(column, pivot);
        let of_pivot = rows[column];
        for (place, row) in rows.iter_mut().enumerate() {
            if place != column {
                let factor = row[column] / of_pivot[column];
                row.iter_mut().zip(of_pivot).for_each(|(element, pivot)| *element -= factor * pivot);
            }
        }
    }
    Some(std::array::from_fn(|place| rows[place][8] / rows[place][place]))
}

fn apply(m: &Matrix, [x, y]: [f64; 2]) -> (f64, f64, f64) {
    (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5], m[6] * x + m[7] * y + m[8])
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|place| {
        let (row, column) = (place / 3, place % 3);
        (0..3).map(|k| a[3 * row + k] * b[3 * k + column]).sum()
    })
}

fn inverse(m: &Matrix) -> Option<Matrix> {
    let cofactor = |a: usize, b: usize, c: usize, d: usize| m[a] * m[d] - m[b] * m[c];
    let adjugate = [
        cofactor(4, 5, 7, 8),
        cofactor(2, 1, 8, 7),
        cofactor(1, 2, 4, 5),
        cofactor(5, 3, 8, 6),
        cofactor(0, 2, 6, 8),
        cofactor(2, 0, 5, 3),
        cofactor(3, 4, 6, 7),
        cofactor(1, 0, 7, 6),
        cofactor(0, 1, 3, 4),
    ];
    let determinant = m[0] * adjugate[0] + m[1] * adjugate[3] + m[2] * adjugate[6];
    let inverse = adjugate.map(|element| element / determinant);
    inverse.iter().all(|element| element.is_finite()).then_some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(points: &[(f32, f32)]) -> Vec<PointInImage> {
        points.iter().map(|&(x, y)| PointInImage { x, y }).collect()
    }

    fn metres(points: &[(f64, f64)]) -> Vec<PointOnGround> {
        points.iter().map(|&(x, y)| PointOnGround { x, y }).collect()
    }

    const TRAPEZIUM: [(f32, f32); 4] = [(0.21, 0.38), (0.74, 0.36), (0.93, 0.83), (0.05, 0.88)];
    const STREET: [(f64, f64); 4] = [(0.0, 0.0), (12.0, 0.0), (12.0, 18.0), (0.0, 18.0)];

    fn plaza() -> Ground {
        Ground::fit(&image(&TRAPEZIUM), &metres(&STREET)).unwrap()
    }

    #[test]
    fn four_points_are_met_exactly() {
        let (image, metres) = (image(&TRAPEZIUM), metres(&STREET));
        assert!(plaza().residuals(&image, &metres).all(|residual| residual < 1e-6));
        let scale = plaza().metres_per_height(PointInImage { x: 0.5, y: 0.6 }, 4.0 / 3.0).unwrap();
        assert!((5.0..40.0).contains(&scale), "{scale}");
    }

    #[test]
    fn a_point_above_the_horizon_is_nowhere_on_the_street() {
        assert_eq!(plaza().on_ground(PointInImage { x: 0.5, y: -0.8 }), None);
        assert!(plaza().on_ground(PointInImage { x: 0.5, y: 1.1 }).is_some());
    }

    #[test]
    fn points_that_define_no_street_are_refused() {
        let fit = |image_points: &[(f32, f32)], street: &[(f64, f64)]| {
            Ground::fit(&image(image_points), &metres(street)).unwrap_err()
        };
        assert_eq!(fit(&TRAPEZIUM[..3], &STREET[..3]), GroundError::Count { image: 3, ground: 3 });
        let on_a_line = [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3), (0.9, 0.1)];
        assert_eq!(fit(&on_a_line, &STREET), GroundError::Folded);
        let street_on_a_line = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (9.0, 1.0)];
        assert_eq!(fit(&on_a_line, &street_on_a_line), GroundError::Degenerate);
        assert_eq!(fit(&[(0.5, 0.5); 4], &STREET), GroundError::Degenerate);
        let swapped = [STREET[0], STREET[2], STREET[1], STREET[3]];
        assert_eq!(fit(&TRAPEZIUM, &swapped), GroundError::Folded);
    }

    #[test]
    fn a_fifth_point_that_is_off_shows_in_the_residuals() {
        let mut image_points = image(&TRAPEZIUM);
        let mut street = metres(&STREET);
        let middle = PointOnGround { x: 6.0, y: 9.0 };
        image_points.push(plaza().in_image(middle).unwrap());
        street.push(middle);
        let worst = |street: &[PointOnGround]| {
            let ground = Ground::fit(&image_points, street).unwrap();
            ground.residuals(&image_points, street).fold(0.0, f64::max)
        };
        assert!(worst(&street) < 1e-4);
        street[4].x += 3.0;
        assert!(worst(&street) > 0.5);
    }

    proptest! {
        #[test]
        fn to_the_street_and_back_is_where_one_was(x in 0.05f32..0.95, y in 0.4f32..1.0) {
            let there = PointInImage { x, y };
            let back = plaza().in_image(plaza().on_ground(there).unwrap()).unwrap();
            prop_assert!((back.x - x).abs() < 1e-4 && (back.y - y).abs() < 1e-4);
        }
    }
}
