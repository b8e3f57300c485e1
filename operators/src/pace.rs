//! How fast an object moves on the street, and how sure that is.
//!
//! A weighted least squares line through the object's foot points in metres. A point counts less the older
//! it is, and less the more a shake of the box moves it on the ground: far from the camera, a pixel is many
//! metres along the street. The scatter around the line gives the standard error of the speed (Montgomery,
//! Peck and Vining, Introduction to Linear Regression Analysis, section 2.3), so that a track which jumps
//! from one object to another has no speed instead of a wrong one.

use std::time::Duration;

use kerbside_core::geometry::{BoxInImage, PointInImage};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::time::MediaTime;

/// After this time a point counts half.
const HALF_LIFE: Duration = Duration::from_millis(300);
/// Standard deviation of a box's lower edge, in box heights.
const SHAKE: f64 = 0.025;
/// What limits the accuracy of a foot point close to the camera, in metres.
const FLOOR_METRES: f64 = 0.1;
/// The least number of points and the least time for a speed.
const LEAST_POINTS: u32 = 4;
const LEAST_SPAN: Duration = Duration::from_millis(400);

/// Where a box's foot is on the street.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footing {
    pub(crate) point: PointOnGround,
    /// How far the shake of the box moves it, standard deviation in metres.
    pub(crate) shake_metres: f64,
}

impl Footing {
    /// `None` at and above the horizon.
    pub(crate) fn of(ground: &Ground, box_in_image: &BoxInImage) -> Option<Self> {
        const STEP: f32 = 1e-3;
        let foot = box_in_image.foot();
        let nearer = PointInImage { x: foot.x, y: foot.y + STEP };
        let point = ground.on_ground(foot)?;
        let metres_per_height = point.distance(ground.on_ground(nearer)?) / f64::from(STEP);
        Some(Self { point, shake_metres: SHAKE * f64::from(box_in_image.height()) * metres_per_height })
    }
}

/// A speed with its standard error, in metres per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed {
    /// When the object had it: some time before the last point, since a line through the last second has
    /// the speed of a moment in that second.
    pub(crate) at: MediaTime,
    pub(crate) mps: f64,
    pub(crate) error_mps: f64,
}

/// The last points of one object, as sums.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    first: Option<(MediaTime, PointOnGround)>,
    last: MediaTime,
    /// From the first point.
    last_place: [f64; 2],
    points: u32,
    weight: f64,
    weight_squared: f64,
    /// Sums over the points; times are seconds before the last one, places are from the first one.
    time: f64,
    time_squared: f64,
    time_cubed: f64,
    place: [f64; 2],
    place_squared: [f64; 2],
    time_by_place: [f64; 2],
}

impl Pace {
    /// Takes in where the object was at `at`, which never decreases.
    pub(crate) fn add(&mut self, at: MediaTime, footing: Footing) {
        let (_, origin) = *self.first.get_or_insert((at, footing.point));
        let place = [footing.point.x - origin.x, footing.point.y - origin.y];
        let passed = if self.points == 0 { 0.0 } else { at.since(self.last).as_secs_f64() };
        let fade = (-passed / HALF_LIFE.as_secs_f64()).exp2();
        let weight = 1.0 / (footing.shake_metres.powi(2) + FLOOR_METRES.powi(2));
        self.time_cubed = fade
            * (self.time_cubed - 3.0 * passed * self.time_squared + 3.0 * passed.powi(2) * self.time
                - passed.powi(3) * self.weight);
        self.time_squared = fade * (self.time_squared - 2.0 * passed * self.time + passed * passed * self.weight);
        self.time = fade * (self.time - passed * self.weight);
        for axis in [0, 1] {
            self.time_by_place[axis] = fade * (self.time_by_place[axis] - passed * self.place[axis]);
            self.place[axis] = fade * self.place[axis] + weight * place[axis];
            self.place_squared[axis] = fade * self.place_squared[axis] + weight * place[axis] * place[axis];
        }
        self.weight = fade * self.weight + weight;
        self.weight_squared = fade * fade * self.weight_squared + weight * weight;
        (self.last, self.last_place) = (at, place);
        self.points += 1;
    }

    /// The speed; `None` until it is known.
    pub(crate) fn speed(&self) -> Option<Speed> {
        let (began, _) = self.first?;
        let spread = self.time_squared - self.time * self.time / self.weight;
        let effective = self.weight * self.weight / self.weight_squared;
        if self.points < LEAST_POINTS || self.last.since(began) < LEAST_SPAN || spread <= 0.0 || effective <= 2.0 {
            return None;
        }
        let (mut squared, mut residual) = (0.0, 0.0);
        for axis in [0, 1] {
            let together = self.time_by_place[axis] - self.time * self.place[axis] / self.weight;
            let scatter = self.place_squared[axis] - self.place[axis] * self.place[axis] / self.weight;
            squared += (together / spread).powi(2);
            residual += (scatter - together * together / spread).max(0.0);
        }
        let error = (residual / 2.0 / (effective - 2.0) / spread).sqrt();
        // Of an object that speeds up evenly, the line has the slope of this time: cov(t, t²) / (2 var t).
        let behind = -(self.time_cubed - self.time * self.time_squared / self.weight) / spread / 2.0;
        let at = self.last - Duration::from_secs_f64(behind.clamp(0.0, 10.0));
        Some(Speed { at, mps: squared.sqrt(), error_mps: error })
    }

    /// How far the last point lies from the first, in metres.
    pub(crate) fn moved_metres(&self) -> f64 {
        self.last_place[0].hypot(self.last_place[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive(fps: f64, secs: f64, place: impl Fn(f64) -> f64) -> Pace {
        let mut pace = Pace::default();
        for frame in 0..=(secs * fps) as u32 {
            let at = f64::from(frame) / fps;
            let footing = Footing { point: PointOnGround { x: 100.0, y: place(at) }, shake_metres: 0.2 };
            pace.add(MediaTime::from_nanos((at * 1e9) as u64), footing);
        }
        pace
    }

    #[test]
    fn a_steady_drive_has_its_speed_and_no_error_at_any_frame_rate() {
        for fps in [5.0, 12.5, 30.0] {
            let speed = drive(fps, 2.0, |at| 40.0 - 14.0 * at).speed().unwrap();
            assert!((speed.mps - 14.0).abs() < 1e-6 && speed.error_mps < 1e-3, "{fps} fps: {speed:?}");
        }
    }

    #[test]
    fn one_that_speeds_up_has_the_speed_of_a_moment_before() {
        for fps in [10.0, 30.0] {
            let speed = drive(fps, 4.0, |at| at * at).speed().unwrap();
            let at = speed.at.as_nanos() as f64 / 1e9;
            assert!((speed.mps - 2.0 * at).abs() < 1e-3 && (2.8..3.8).contains(&at), "{fps} fps: {speed:?}");
        }
    }

    #[test]
    fn a_jump_to_another_object_shows_in_the_error() {
        let speed = drive(10.0, 1.0, |at| 10.0 * at + if at > 0.65 { 8.0 } else { 0.0 }).speed().unwrap();
        assert!(speed.error_mps > 0.1 * speed.mps, "{speed:?}");
    }

    #[test]
    fn few_points_have_no_speed() {
        assert_eq!(Pace::default().speed(), None);
        assert_eq!(drive(5.0, 0.4, |at| at).speed(), None);
        assert_eq!(drive(30.0, 0.2, |at| at).speed(), None);
    }
}
