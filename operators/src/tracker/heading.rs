//! The direction of an object, from where it was detected rather than from the filter.
//!
//! Observation-centric momentum (OC-SORT, Cao et al., CVPR 2023): a detection fits a track better when the
//! way to it goes on in the direction in which the track's detections have moved so far. The velocity of a
//! filter is too noisy for that, most of all after a gap. What differs from the paper: the direction
//! is taken over a time, not a number of frames, and it counts for less the shorter the two ways are,
//! since the direction of someone who stands is noise.

use std::time::Duration;

use kerbside_core::time::MediaTime;

use super::motion::Shape;

/// The direction is that of the last detections over this time, or the next longer one there is.
const LOOK_BACK: Duration = Duration::from_millis(500);
/// Detections that are closer in time are not remembered one by one.
const SPACING: Duration = Duration::from_millis(80);
/// How many are remembered: enough for the look-back, and for one gap.
const LEN: usize = 8;
/// What it costs to turn right round, in units of overlap.
const TURN_COST: f64 = 0.2;
/// A way of this length, in object sizes, has a direction that can be relied on.
const CLEAR_WAY: f64 = 0.3;

/// Where a track was detected lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading {
    /// Oldest first.
    points: [(MediaTime, f64, f64); LEN],
    len: usize,
}

impl Heading {
    pub(super) fn new(at: MediaTime, shape: &Shape) -> Self {
        Self { points: [(at, shape.x, shape.y); LEN], len: 1 }
    }

    /// Remembers a detection.
    pub(super) fn push(&mut self, at: MediaTime, shape: &Shape) {
        let point = (at, shape.x, shape.y);
        if self.len >= 2 && at.since(self.points[self.len - 2].0) < SPACING {
            self.points[self.len - 1] = point;
            return;
        }
        if self.len == LEN {
            self.points.rotate_left(1);
            self.len -= 1;
        }
        self.points[self.len] = point;
        self.len += 1;
    }

    /// What the turn costs that the track would make towards a detection: 0 straight on, [`TURN_COST`]
    /// back to where it came from.
    pub(super) fn cost(&self, detected: &Shape) -> f64 {
        let points = &self.points[..self.len];
        let (now, x, y) = points[self.len - 1];
        let back = points.iter().rev().find(|point| now.since(point.0) >= LOOK_BACK).unwrap_or(&points[0]);
        let (came_x, came_y) = (x - back.1, y - back.2);
        let (goes_x, goes_y) = (detected.x - x, detected.y - y);
        let (came, goes) = (came_x.hypot(came_y), goes_x.hypot(goes_y));
        let clear = CLEAR_WAY * detected.size();
        if came * goes <= 0.0 {
            return 0.0;
        }
        let turn = (1.0 - (came_x * goes_x + came_y * goes_y) / (came * goes)) / 2.0;
        TURN_COST * turn * (came / clear).min(1.0) * (goes / clear).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64) -> Shape {
        Shape { x, y: 0.5, width: 0.05, height: 0.2 }
    }

    #[test]
    fn going_on_is_free_turning_back_is_not_at_any_frame_rate() {
        for fps in [2u64, 5, 10, 30] {
            let mut heading = Heading::new(MediaTime::ZERO, &at(0.2));
            for frame in 1..=2 * fps {
                heading
                    .push(MediaTime::from_millis(1000 * frame / fps), &at(0.2 + 0.1 * frame as f64 / fps as f64));
            }
            assert!(heading.cost(&at(0.45)) < 1e-9, "{fps} fps");
            assert!((heading.cost(&at(0.35)) - TURN_COST).abs() < 1e-9, "{fps} fps");
            assert!(heading.cost(&at(0.399)) < TURN_COST / 10.0, "{fps} fps: a shake is no turn");
        }
    }

    #[test]
    fn who_stands_has_no_direction() {
        let mut heading = Heading::new(MediaTime::ZERO, &at(0.5));
        for frame in 1..50 {
            heading.push(MediaTime::from_millis(100 * frame), &at(0.5 + 0.001 * (frame % 2) as f64));
        }
        assert!(heading.cost(&at(0.3)) < TURN_COST / 20.0);
    }
}
