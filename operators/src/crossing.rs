//! Who passes over a line, and when: shared by every operator that looks at a line.
//!
//! An object is its foot point. Boxes shake, so a line has a band on both of its sides whose width grows
//! with the object's own box: inside the band an object stays on the side it came from. Places that were
//! only predicted are no evidence. Lengths are in picture heights.

use kerbside_core::finding::Direction;
use kerbside_core::geometry::{Line, PointInImage};
use kerbside_core::observation::Track;
use kerbside_core::time::MediaTime;

/// Half the band's width where nothing else is configured, in box heights.
pub(crate) const DEFAULT_HYSTERESIS: f64 = 0.1;

/// One line that is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrossingWatch {
    pub(crate) line: Line,
    /// Half the band's width, in heights of the object's box.
    pub(crate) hysteresis: f32,
}

/// What is remembered of one track.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Approach {
    /// Where the object was when it was last beyond the band.
    beyond: Option<Seen>,
    /// Where it was seen last, in the band or not: its distance from the line, and when.
    last: Option<(f32, MediaTime)>,
    /// When its foot was last on the line itself.
    touched: MediaTime,
}

/// An object has passed over the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Passage {
    pub(crate) direction: Direction,
    /// When its foot was on the line: between two frames, and some time before the object left the band,
    /// which is when the passage is known.
    pub(crate) touched: MediaTime,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    side: Side,
    foot: PointInImage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl CrossingWatch {
    /// Takes in a track's place at `at`; answers when it has passed between the line's ends.
    pub(crate) fn follow(
        &self,
        aspect: f32,
        at: MediaTime,
        track: &Track,
        approach: &mut Approach,
    ) -> Option<Passage> {
        if !track.detected {
            return None;
        }
        let foot = track.box_in_image.foot();
        let offset = offset(&self.line, aspect, foot);
        let last = approach.last.replace((offset, at));
        if let Some((before, then)) = last.filter(|(before, _)| (*before > 0.0) != (offset > 0.0)) {
            let share = f64::from(before / (before - offset));
            approach.touched = then + at.since(then).mul_f64(share.clamp(0.0, 1.0));
        }
        if offset.abs() <= self.hysteresis * track.box_in_image.height() {
            return None;
        }
        let now = Seen { side: if offset > 0.0 { Side::Right } else { Side::Left }, foot };
        let before = approach.beyond.replace(now).filter(|before| before.side != now.side)?;
        // Always from left to right, so that the way back is judged bit for bit like the way there.
        let (direction, left, right) = match now.side {
            Side::Right => (Direction::Forward, before.foot, now.foot),
            Side::Left => (Direction::Backward, now.foot, before.foot),
        };
        let passage = Passage { direction, touched: approach.touched };
        passes_between_ends(&self.line, aspect, left, right).then_some(passage)
    }
}

/// The distance from the line, extended beyond its ends, in picture heights: positive to its right.
/// Image y points down, which makes the usual cross product positive on the right.
fn offset(line: &Line, aspect: f32, point: PointInImage) -> f32 {
    let (along_x, along_y) = ((line.to.x - line.from.x) * aspect, line.to.y - line.from.y);
    let (x, y) = ((point.x - line.from.x) * aspect, point.y - line.from.y);
    let length = along_x.hypot(along_y).max(f32::MIN_POSITIVE);
    (along_x * y - along_y * x) / length
}

/// Whether the straight way from a point on the left to one on the right meets the line between its ends.
fn passes_between_ends(line: &Line, aspect: f32, left: PointInImage, right: PointInImage) -> bool {
    let (offset_left, offset_right) = (offset(line, aspect, left), offset(line, aspect, right));
    let share = offset_left / (offset_left - offset_right);
    let (x, y) = (left.x + share * (right.x - left.x), left.y + share * (right.y - left.y));
    let (along_x, along_y) = ((line.to.x - line.from.x) * aspect, line.to.y - line.from.y);
    let along = (x - line.from.x) * aspect * along_x + (y - line.from.y) * along_y;
    (0.0..=along_x * along_x + along_y * along_y).contains(&along)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerbside_core::detection::Class;
    use kerbside_core::geometry::BoxInImage;
    use kerbside_core::observation::TrackId;

    #[test]
    fn the_moment_on_the_line_lies_between_the_frames_also_for_one_that_waits_in_the_band() {
        let line = Line { from: PointInImage { x: 0.0, y: 0.5 }, to: PointInImage { x: 1.0, y: 0.5 } };
        let watch = CrossingWatch { line, hysteresis: 0.1 };
        let mut approach = Approach::default();
        let mut at_foot = |millis: u64, y: f32, detected: bool| {
            let box_in_image = BoxInImage { left: 0.45, top: y - 0.2, right: 0.55, bottom: y };
            let track = Track {
                id: TrackId(1),
                class: Class::Car,
                score: 0.9,
                box_in_image,
                detected,
                since: MediaTime::ZERO,
            };
            watch.follow(1.5, MediaTime::from_millis(millis), &track, &mut approach)
        };
        assert_eq!(at_foot(0, 0.46, true), None);
        assert_eq!(at_foot(500, 0.6, false), None, "only predicted");
        assert_eq!(at_foot(1000, 0.49, true), None);
        assert_eq!(at_foot(2000, 0.51, true), None, "in the band");
        assert_eq!(at_foot(60_000, 0.512, true), None, "it waits there");
        let passage = at_foot(61_000, 0.6, true).expect("a passage");
        assert_eq!(passage.direction, Direction::Forward);
        let touched = passage.touched.as_nanos() as f64 / 1e6;
        assert!((touched - 1500.0).abs() < 1.0, "{touched} ms");
    }
}
