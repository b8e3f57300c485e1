//! A pinhole camera on a pole over a flat street.
//!
//! Street coordinates are metres: x to the right and y ahead of the camera's foot, z up. The camera looks
//! along y unless it is turned, and down by its tilt. The picture's coordinates are normalised as everywhere
//! else. No lens distortion (Hartley and Zisserman, Multiple View Geometry, 2nd ed., chapter 6).

use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::{BoxInImage, PointInImage};
use kerbside_core::ground::PointOnGround;

/// Nothing nearer to the camera's plane than this is seen, in metres.
const NEAREST: f64 = 0.5;

/// Where the camera is and what it sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optics {
    /// The picture's size, pixels.
    pub size: PictureSize,
    height: f64,
    tilt: [f64; 2],
    turn: [f64; 2],
    /// The focal length in picture heights.
    focal: f64,
}

/// A box that stands on the street.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solid {
    /// The middle of its footprint.
    pub at: PointOnGround,
    /// Which way its length points, a unit vector on the street.
    pub heading: [f64; 2],
    /// Length, width and height, metres.
    pub size: [f64; 3],
}

impl Solid {
    /// The corners: four on the street, counter-clockwise seen from above from the front left, then the four above.
    pub fn corners(&self) -> [[f64; 3]; 8] {
        let [length, width, height] = self.size;
        let [ahead_x, ahead_y] = self.heading;
        std::array::from_fn(|corner| {
            let (along, aside) = [(0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)][corner % 4];
            let (along, aside) = (along * length, aside * width);
            let up = if corner < 4 { 0.0 } else { height };
            [self.at.x + along * ahead_x - aside * ahead_y, self.at.y + along * ahead_y + aside * ahead_x, up]
        })
    }
}

impl Optics {
    /// A camera `height` metres above the street, tilted down and turned to the right by degrees, which sees `view`
    /// degrees from left to right.
    pub fn new(size: PictureSize, height: f64, tilt: f64, turn: f64, view: f64) -> Self {
        let focal = f64::from(size.aspect()) / 2.0 / (view.to_radians() / 2.0).tan();
        let pair = |degrees: f64| [degrees.to_radians().sin(), degrees.to_radians().cos()];
        Self { size, height, tilt: pair(tilt), turn: pair(turn), focal }
    }

    /// The same camera with pictures of another size and the same shape.
    #[must_use]
    pub fn sized(self, size: PictureSize) -> Self {
        Self { size, ..self }
    }

    /// The same camera, turned further to the right by degrees.
    #[must_use]
    pub fn turned(self, degrees: f64) -> Self {
        let turn = (self.bearing() + degrees).to_radians();
        Self { turn: [turn.sin(), turn.cos()], ..self }
    }

    /// How far the camera is turned to the right, degrees.
    pub fn bearing(&self) -> f64 {
        self.turn[0].atan2(self.turn[1]).to_degrees()
    }

    /// Where a point is in the picture, also beyond its border, and how far from the camera along its axis;
    /// `None` behind the camera.
    pub fn project(&self, [x, y, z]: [f64; 3]) -> Option<(PointInImage, f64)> {
        let ([sin, cos], [turn_sin, turn_cos]) = (self.tilt, self.turn);
        let (right, ahead) = (x * turn_cos - y * turn_sin, x * turn_sin + y * turn_cos);
        let below = self.height - z;
        let depth = ahead * cos + below * sin;
        let down = below * cos - ahead * sin;
        let aspect = f64::from(self.size.aspect());
        (depth > NEAREST).then(|| {
            let (u, v) = (0.5 + self.focal * right / depth / aspect, 0.5 + self.focal * down / depth);
            (PointInImage { x: u as f32, y: v as f32 }, depth)
        })
    }

    /// Where a point of the street is in the picture.
    pub fn in_image(&self, point: PointOnGround) -> Option<PointInImage> {
        self.project([point.x, point.y, 0.0]).map(|(point, _)| point)
    }

    /// Where a point of the picture lies on the street; `None` at and above the horizon.
    pub fn on_ground(&self, x: f64, y: f64) -> Option<PointOnGround> {
        let ([sin, cos], [turn_sin, turn_cos]) = (self.tilt, self.turn);
        let right = (x - 0.5) * f64::from(self.size.aspect()) / self.focal;
        let down = (y - 0.5) / self.focal;
        let fall = sin + down * cos;
        let stretch = self.height / fall;
        (fall > 1e-6).then(|| {
            let (right, ahead) = (stretch * right, stretch * (cos - down * sin));
            PointOnGround { x: right * turn_cos + ahead * turn_sin, y: ahead * turn_cos - right * turn_sin }
        })
    }

    /// The height of the horizon in the picture, 0 at its upper edge; negative above it.
    pub fn horizon(&self) -> f64 {
        0.5 - self.focal * self.tilt[0] / self.tilt[1]
    }

    /// The box around a solid, also beyond the picture's border, and its distance; `None` where a part of it
    /// is behind the camera.
    pub fn box_of(&self, solid: &Solid) -> Option<(BoxInImage, f64)> {
        let mut around = BoxInImage {
            left: f32::INFINITY,
            top: f32::INFINITY,
            right: f32::NEG_INFINITY,
            bottom: f32::NEG_INFINITY,
        };
        for corner in solid.corners() {
            let (point, _) = self.project(corner)?;
            around.left = around.left.min(point.x);
            around.top = around.top.min(point.y);
            around.right = around.right.max(point.x);
            around.bottom = around.bottom.max(point.y);
        }
        let (_, depth) = self.project([solid.at.x, solid.at.y, 0.0])?;
        Some((around, depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerbside_core::ground::Ground;

    const SIZE: PictureSize = PictureSize { width: 1280, height: 720 };

    #[test]
    fn the_middle_of_the_picture_is_where_the_axis_meets_the_street() {
        let optics = Optics::new(SIZE, 5.0, 45.0, 0.0, 60.0);
        let middle = optics.on_ground(0.5, 0.5).unwrap();
        assert!(middle.x.abs() < 1e-9 && (middle.y - 5.0).abs() < 1e-9, "{middle:?}");
        let right = Optics::new(SIZE, 5.0, 45.0, 90.0, 60.0).on_ground(0.5, 0.5).unwrap();
        assert!((right.x - 5.0).abs() < 1e-9 && right.y.abs() < 1e-9, "{right:?}");
    }

    #[test]
    fn the_street_and_the_picture_are_one_homography() {
        let optics = Optics::new(SIZE, 6.0, 25.0, 20.0, 70.0);
        let places = [(0.1, 0.9), (0.9, 0.95), (0.8, 0.4), (0.2, 0.35)];
        let image: Vec<_> = places.iter().map(|&(x, y)| PointInImage { x: x as f32, y: y as f32 }).collect();
        let street: Vec<_> = places.iter().map(|&(x, y)| optics.on_ground(x, y).unwrap()).collect();
        let ground = Ground::fit(&image, &street).unwrap();
        for (x, y) in [(0.5f32, 0.5f32), (0.05, 0.8), (0.99, 0.99), (0.4, 0.3)] {
            let exact = optics.on_ground(x.into(), y.into()).unwrap();
            let fitted = ground.on_ground(PointInImage { x, y }).unwrap();
            assert!(exact.distance(fitted) < 0.01, "{exact:?} {fitted:?}");
            let back = optics.in_image(exact).unwrap();
            assert!((back.x - x).abs() < 1e-5 && (back.y - y).abs() < 1e-5);
        }
        assert!(optics.on_ground(0.5, optics.horizon() - 0.01).is_none());
        assert!(optics.on_ground(0.5, optics.horizon() + 0.01).is_some());
    }

    #[test]
    fn nearer_is_larger_and_lower() {
        let optics = Optics::new(SIZE, 6.0, 25.0, 0.0, 70.0);
        let person = |y: f64| {
            let at = PointOnGround { x: 0.0, y };
            optics.box_of(&Solid { at, heading: [1.0, 0.0], size: [0.4, 0.5, 1.75] }).unwrap().0
        };
        let (near, far) = (person(8.0), person(30.0));
        assert!(near.height() > 2.0 * far.height() && near.bottom > far.bottom);
    }
}
