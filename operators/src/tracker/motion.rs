//! Where a box is going: a Kalman filter with constant velocity, in seconds rather than frames.
//!
//! Lengths are in picture heights on both axes (x is multiplied by the picture's aspect ratio), so that
//! the motion of an object does not depend on the picture's shape. The noise is proportional to the
//! object's size, as in SORT (Bewley et al., ICIP 2016), where size is the square root of the box's area:
//! unlike the height it means about as much for a bus as for a person.
//!
//! Centre x, centre y, width and height are filtered each on its own: with the diagonal noise that SORT
//! uses, the filter over all eight numbers falls apart into these four of two numbers, exactly.
//! The process noise is that of white acceleration over continuous time, so one step of 0.5 s and five of
//! 0.1 s without a detection end in the same prediction and the same uncertainty.
//!
//! After a gap the filter is not corrected by one jump, which would leave it with a velocity from before
//! the gap and a wrong one after: it goes back to the last detection and is led along the straight way to
//! the new one, as if there had been detections (observation-centric re-update, OC-SORT, Cao et al., CVPR
//! 2023). The steps of that way are times, not frames.
//!
//! A box that the picture's border cuts says where its free sides are and no more: the hidden part is
//! completed from the size that the object had before, so that an object which leaves does not seem to
//! shrink and stop.

use kerbside_core::detection::Class;
use kerbside_core::geometry::BoxInImage;

/// How far a detector's box is off, standard deviation in object sizes.
const DETECTION_NOISE: f64 = 0.1;
/// Power density of the changes of width and height, in sizes² per s³; they change slowly.
const GROWTH_DENSITY: f64 = 0.05;
/// How fast an object may grow when it is first seen, in sizes per second.
const INITIAL_GROWTH: f64 = 0.3;
/// The step of the way along which the filter is led after a gap, and the most steps of it.
const REUPDATE_STEP_SECS: f64 = 0.1;
const MOST_REUPDATES: f64 = 16.0;
/// A side of a box that is this close to the picture's border may be cut by it, in picture heights.
const BORDER: f64 = 0.008;
/// The smallest width and height, in picture heights: a prediction never turns inside out.
const MIN_SIDE: f64 = 1e-4;

/// A number that changes at a rate, and what is unsure about both.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    value: f64,
    rate: f64,
    value_variance: f64,
    covariance: f64,
    rate_variance: f64,
}

impl Axis {
    fn new(value: f64, deviation: f64, rate_deviation: f64) -> Self {
        Self {
            value,
            rate: 0.0,
            value_variance: deviation * deviation,
            covariance: 0.0,
            rate_variance: rate_deviation * rate_deviation,
        }
    }

    fn predict(&mut self, seconds: f64, density: f64) {
        self.value += self.rate * seconds;
        self.value_variance += seconds * (2.0 * self.covariance + seconds * self.rate_variance)
            + density * seconds * seconds * seconds / 3.0;
        self.covariance += seconds * self.rate_variance + density * seconds * seconds / 2.0;
        self.rate_variance += density * seconds;
    }

    fn correct(&mut self, measured: f64, deviation: f64) {
        let total = self.value_variance + deviation * deviation;
        let (value_gain, rate_gain) = (self.value_variance / total, self.covariance / total);
        let surprise = measured - self.value;
        self.value += value_gain * surprise;
        self.rate += rate_gain * surprise;
        self.rate_variance -= rate_gain * self.covariance;
        self.value_variance *= 1.0 - value_gain;
        self.covariance *= 1.0 - value_gain;
    }
}

/// A box with both axes in picture heights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Shape {
    pub(super) fn new(box_in_image: &BoxInImage, aspect: f64) -> Self {
        let [left, right] = [box_in_image.left, box_in_image.right].map(|x| f64::from(x) * aspect);
        let [top, bottom] = [box_in_image.top, box_in_image.bottom].map(f64::from);
        Self {
            x: (left + right) / 2.0,
            y: (top + bottom) / 2.0,
            width: (right - left).max(MIN_SIDE),
            height: (bottom - top).max(MIN_SIDE),
        }
    }

    pub(super) fn in_image(&self, aspect: f64) -> BoxInImage {
        let (half_width, half_height) = (self.width / 2.0, self.height / 2.0);
        BoxInImage {
            left: ((self.x - half_width) / aspect) as f32,
            top: (self.y - half_height) as f32,
            right: ((self.x + half_width) / aspect) as f32,
            bottom: (self.y + half_height) as f32,
        }
    }

    /// The part of it that lies in the picture; of no size where there is none.
    pub(super) fn visible(&self, aspect: f64) -> Self {
        let (left, right) = clip(self.x, self.width, aspect);
        let (top, bottom) = clip(self.y, self.height, 1.0);
        Self {
            x: (left + right) / 2.0,
            y: (top + bottom) / 2.0,
            width: (right - left).max(MIN_SIDE),
            height: (bottom - top).max(MIN_SIDE),
        }
    }

    /// Which of its sides the picture's border may cut.
    pub(super) fn cut(&self, aspect: f64) -> Cut {
        Cut {
            left: self.x - self.width / 2.0 < BORDER,
            right: self.x + self.width / 2.0 > aspect - BORDER,
            top: self.y - self.height / 2.0 < BORDER,
            bottom: self.y + self.height / 2.0 > 1.0 - BORDER,
        }
    }

    /// The point at `share` (0..1) of the straight way to `other`, with a size between both.
    fn towards(&self, other: &Self, share: f64) -> Self {
        let between = |a: f64, b: f64| a + share * (b - a);
        Self {
            x: between(self.x, other.x),
            y: between(self.y, other.y),
            width: between(self.width, other.width),
            height: between(self.height, other.height),
        }
    }

    /// The square root of the area.
    pub(super) fn size(&self) -> f64 {
        (self.width * self.height).sqrt()
    }
}

/// The sides of a box that the picture's border may cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) left: bool,
    pub(super) right: bool,
    pub(super) top: bool,
    pub(super) bottom: bool,
}

/// Where an interval, given by middle and length, begins and ends within 0..`end`.
fn clip(middle: f64, length: f64, end: f64) -> (f64, f64) {
    ((middle - length / 2.0).clamp(0.0, end), (middle + length / 2.0).clamp(0.0, end))
}

/// Completes an interval of which one end may be cut, where it was known to be longer.
fn complete(middle: f64, length: f64, known: f64, (low_cut, high_cut): (bool, bool)) -> (f64, f64) {
    let hidden = known - length;
    match (low_cut, high_cut) {
        (true, false) if hidden > 0.0 => (middle - hidden / 2.0, known),
        (false, true) if hidden > 0.0 => (middle + hidden / 2.0, known),
        (true, true) if hidden > 0.0 => (middle, known),
        _ => (middle, length),
    }
}

/// The filter of one track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Motion {
    axes: Axes,
    /// Power density of the changes of velocity, in sizes² per s³.
    acceleration: f64,
    /// The filter as it was after the last detection, and that detection, completed.
    axes_then: Axes,
    seen: Shape,
    /// Which sides of that detection the border cut.
    cut: Cut,
    /// How long ago that was, and whether a frame without a detection lies between.
    unseen_secs: f64,
    missed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Axes {
    x: Axis,
    y: Axis,
    width: Axis,
    height: Axis,
}

impl Axes {
    fn predict(&mut self, seconds: f64, acceleration: f64) {
        let square = self.shape().size().powi(2);
        self.x.predict(seconds, acceleration * square);
        self.y.predict(seconds, acceleration * square);
        self.width.predict(seconds, GROWTH_DENSITY * square);
        self.height.predict(seconds, GROWTH_DENSITY * square);
    }

    fn correct(&mut self, shape: &Shape, doubt: f64) {
        let noise = doubt * DETECTION_NOISE * self.shape().size();
        self.x.correct(shape.x, noise);
        self.y.correct(shape.y, noise);
        self.width.correct(shape.width, noise);
        self.height.correct(shape.height, noise);
    }

    fn shape(&self) -> Shape {
        Shape {
            x: self.x.value,
            y: self.y.value,
            width: self.width.value.max(MIN_SIDE),
            height: self.height.value.max(MIN_SIDE),
        }
    }
}

impl Motion {
    /// A box seen for the first time: it may go anywhere at the speeds usual for its class.
    pub(super) fn new(shape: &Shape, cut: Cut, class: Class) -> Self {
        let size = shape.size();
        let (noise, speed) = (DETECTION_NOISE * size, initial_speed(class) * size);
        let axes = Axes {
            x: Axis::new(shape.x, noise, speed),
            y: Axis::new(shape.y, noise, speed),
            width: Axis::new(shape.width, noise, INITIAL_GROWTH * size),
            height: Axis::new(shape.height, noise, INITIAL_GROWTH * size),
        };
        let acceleration = acceleration_density(class);
        Self { axes, acceleration, axes_then: axes, seen: *shape, cut, unseen_secs: 0.0, missed: false }
    }

    pub(super) fn predict(&mut self, seconds: f64) {
        self.axes.predict(seconds, self.acceleration);
        self.unseen_secs += seconds;
    }

    /// Takes in a detection; `doubt` is how many times noisier than usual it is.
    pub(super) fn correct(&mut self, shape: &Shape, cut: Cut, doubt: f64) {
        let known = self.axes.shape();
        let (x, width) = complete(shape.x, shape.width, known.width, (cut.left, cut.right));
        let (y, height) = complete(shape.y, shape.height, known.height, (cut.top, cut.bottom));
        let shape = Shape { x, y, width, height };
        if self.missed {
            let steps = (self.unseen_secs / REUPDATE_STEP_SECS).ceil().clamp(1.0, MOST_REUPDATES);
            self.axes = self.axes_then;
            for step in 1..=steps as u32 {
                self.axes.predict(self.unseen_secs / steps, self.acceleration);
                self.axes.correct(&self.seen.towards(&shape, f64::from(step) / steps), doubt);
            }
        } else {
            self.axes.correct(&shape, doubt);
        }
        *self = Self { axes_then: self.axes, seen: shape, cut, unseen_secs: 0.0, missed: false, ..*self };
    }

    /// This frame has no detection of it: the size stays as it is, since growth goes wrong fastest (as in ByteTrack).
    pub(super) fn miss(&mut self) {
        self.axes.width.rate = 0.0;
        self.axes.height.rate = 0.0;
        self.missed = true;
    }

    /// The last detection, completed where the border cut it.
    pub(super) fn seen(&self) -> &Shape {
        &self.seen
    }

    /// Whether the border cut the last detection.
    pub(super) fn is_cut(&self) -> bool {
        self.cut != Cut::default()
    }

    /// Whether the border cut the last detection on the side to which the object moves.
    pub(super) fn is_leaving(&self) -> bool {
        let Axes { x, y, .. } = &self.axes;
        let Cut { left, right, top, bottom } = self.cut;
        (left && x.rate < 0.0) || (right && x.rate > 0.0) || (top && y.rate < 0.0) || (bottom && y.rate > 0.0)
    }

    pub(super) fn shape(&self) -> Shape {
        self.axes.shape()
    }

    /// How far it has gone at its pace since the last detection, in picture heights, once for x and once for y: it may
    /// have turned while frames missed it.
    pub(super) fn reach(&self) -> (f64, f64) {
        if !self.missed {
            return (0.0, 0.0);
        }
        let way = self.unseen_secs * self.axes.x.rate.hypot(self.axes.y.rate);
        (way, way)
    }

    /// Standard deviation of the predicted centre in x and in y, in picture heights.
    pub(super) fn uncertainty(&self) -> (f64, f64) {
        let Axes { x, y, .. } = &self.axes;
        (x.value_variance.max(0.0).sqrt(), y.value_variance.max(0.0).sqrt())
    }
}

/// How fast objects of a class move, standard deviation in their own sizes per second. A person has a size
/// of about 0.9 m and walks at 1.4 m/s; a car has a size of about 2.2 m and drives at up to 14 m/s in a city.
fn initial_speed(class: Class) -> f64 {
    match class {
        Class::Person => 1.5,
        Class::Bicycle => 3.0,
        Class::Motorcycle | Class::Car | Class::Bus | Class::Truck | Class::Other => 4.0,
    }
}

/// How much objects of a class change their velocity: after one second it is unsure by the square root of
/// this, in sizes per second. That is about 0.4 m/s for someone who walks, who seldom stops or turns
/// within a second; more would follow the gait and the noise of the boxes, and miss the way on behind a
/// post. Vehicles brake and start at 2 m/s² and more.
fn acceleration_density(class: Class) -> f64 {
    match class {
        Class::Person => 0.25,
        Class::Bicycle | Class::Motorcycle | Class::Car | Class::Bus | Class::Truck | Class::Other => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Shape = Shape { x: 0.5, y: 0.5, width: 0.04, height: 0.1 };

    #[test]
    fn steps_without_detections_add_up_at_any_frame_rate() {
        let mut whole = Motion::new(&START, Cut::default(), Class::Person);
        whole.axes.x.rate = 0.2;
        let mut pieces = whole;
        whole.predict(0.5);
        for _ in 0..15 {
            pieces.predict(0.5 / 15.0);
        }
        let pairs = [
            (whole.axes.x.value, pieces.axes.x.value),
            (whole.axes.x.value_variance, pieces.axes.x.value_variance),
            (whole.axes.x.covariance, pieces.axes.x.covariance),
            (whole.axes.x.rate_variance, pieces.axes.x.rate_variance),
        ];
        for (one, many) in pairs {
            assert!((one / many - 1.0).abs() < 1e-9, "{one} and {many}");
        }
    }

    #[test]
    fn a_steady_walk_is_learned_at_2_and_at_30_frames_per_second() {
        for fps in [2.0, 5.0, 10.0, 30.0] {
            let mut motion = Motion::new(&START, Cut::default(), Class::Person);
            let speed = 0.08;
            for frame in 1..=(3.0 * fps) as u32 {
                motion.predict(1.0 / fps);
                motion.correct(
                    &Shape { x: START.x + speed * f64::from(frame) / fps, ..START },
                    Cut::default(),
                    1.0,
                );
            }
            assert!((motion.axes.x.rate / speed - 1.0).abs() < 0.02, "{fps} fps: {}", motion.axes.x.rate);
            assert!(motion.axes.y.rate.abs() < 1e-9);
        }
    }

    #[test]
    fn a_box_survives_the_way_to_picture_heights_and_back() {
        let before = BoxInImage { left: 0.1, top: 0.2, right: 0.15, bottom: 0.5 };
        let after = Shape::new(&before, 16.0 / 9.0).in_image(16.0 / 9.0);
        assert!(before.iou(&after) > 0.9999);
    }
}
