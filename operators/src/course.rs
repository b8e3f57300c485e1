//! Where an object is and how fast it moves, from noisy points: a straight line through its last points.
//!
//! A least squares line over time, in which points count less the older they are (half as much after
//! [`HALF_LIFE`]). It looks at times and not at frames, so that 2 and 30 frames a second give the same speed.
//! Units are those of the points: metres on the ground, or picture heights.

use std::time::Duration;

use kerbside_core::time::MediaTime;

/// After this time a point counts half.
const HALF_LIFE: Duration = Duration::from_millis(400);
/// The least time that the points must span before a speed is known.
const LEAST_SPAN: Duration = Duration::from_millis(400);

/// The last points of one object. Sums alone, so that it is small and needs no memory of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Course {
    first: Option<MediaTime>,
    last: MediaTime,
    weight: f64,
    /// Sums over the points; times are seconds before the last one, so zero or less.
    time: f64,
    time_squared: f64,
    place: [f64; 2],
    time_by_place: [f64; 2],
}

impl Course {
    /// Takes in where the object was at `at`, which never decreases.
    pub(crate) fn add(&mut self, at: MediaTime, point: [f64; 2]) {
        if self.first.is_none() {
            self.first = Some(at);
            self.last = at;
        }
        let passed = at.since(self.last).as_secs_f64();
        let fade = (-passed / HALF_LIFE.as_secs_f64()).exp2();
        // All sums move to the new origin of time, then fade.
        self.time_squared = fade * (self.time_squared - 2.0 * passed * self.time + passed * passed * self.weight);
        for (by, place) in self.time_by_place.iter_mut().zip(self.place) {
            *by = fade * (*by - passed * place);
        }
        self.time = fade * (self.time - passed * self.weight);
        self.weight = fade * self.weight + 1.0;
        for (sum, place) in self.place.iter_mut().zip(point) {
            *sum = fade * *sum + place;
        }
        self.last = at;
    }

    /// The velocity at the last point, in units per second on each axis; `None` until it is known.
    pub(crate) fn velocity(&self) -> Option<[f64; 2]> {
        let spread = self.weight * self.time_squared - self.time * self.time;
        if self.last.since(self.first?) < LEAST_SPAN || spread <= 0.0 {
            return None;
        }
        Some([0, 1].map(|axis| (self.weight * self.time_by_place[axis] - self.time * self.place[axis]) / spread))
    }

    /// The speed at the last point, in units per second.
    pub(crate) fn speed(&self) -> Option<f64> {
        self.velocity().map(|[x, y]| x.hypot(y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_walk_has_its_velocity_at_any_frame_rate() {
        for fps in [2.0, 5.0, 12.5, 30.0] {
            let mut course = Course::default();
            assert_eq!(course.velocity(), None);
            for frame in 0..(3.0 * fps) as u32 {
                let secs = f64::from(frame) / fps;
                course.add(MediaTime::from_nanos((secs * 1e9) as u64), [3.0 + 1.4 * secs, -0.5 * secs]);
            }
            let [x, y] = course.velocity().unwrap();
            assert!((x - 1.4).abs() < 1e-6 && (y + 0.5).abs() < 1e-6, "{fps} fps: {x} {y}");
            assert!((course.speed().unwrap() - 1.4f64.hypot(0.5)).abs() < 1e-6);
        }
    }

    #[test]
    fn who_stops_is_slow_within_three_seconds() {
        let mut course = Course::default();
        for frame in 0..80 {
            let secs = f64::from(frame) / 10.0;
            course.add(MediaTime::from_millis(100 * frame as u64), [10.0 * secs.min(3.0), 0.0]);
            if secs > 6.0 {
                assert!(course.speed().unwrap() < 0.5, "{secs} s: {:?}", course.speed());
            }
        }
    }

    #[test]
    fn one_point_has_no_speed_and_points_at_one_moment_have_none() {
        let mut course = Course::default();
        for _ in 0..3 {
            course.add(MediaTime::from_millis(5), [1.0, 2.0]);
        }
        assert_eq!(course.velocity(), None);
    }
}
