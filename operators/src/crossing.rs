//! Who passes over a line, and when: shared by every operator that looks at a line.
//!
//! An object is its foot point. Boxes shake, so a line has a band on both of its sides whose width grows
//! with the object's own box: inside the band an object stays on the side it came from. Places that were
//! only predicted are no evidence. A single detection far from the one before it may be a mistake: one that has jumped
//! over a line has passed it when it is seen there once more. Lengths are in picture heights.

use kerbside_core::finding::Direction;
use kerbside_core::geometry::{BoxInImage, Line, PointInImage};
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
    /// The last frame that could not be trusted: what was before it is not known.
    pub(crate) untrusted_at: Option<MediaTime>,
}

/// What is remembered of one track.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Approach {
    /// Whether the track was here before.
    known: bool,
    /// Where the object was when it was last beyond the band.
    beyond: Option<Seen>,
    /// The side to which it has jumped since: it has passed if it is seen there again.
    jumped_to: Option<Side>,
    /// Where it was seen last, in the band or not, and the time before that.
    last: Option<Sighting>,
    before_last: Option<Sighting>,
    /// When its foot was last on the line itself.
    touched: MediaTime,
}

/// An object has passed over the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Passage {
    pub(crate) direction: Direction,
    /// When its foot was on the line: between two frames, and some time before the object was beyond the band for
    /// certain, which is when the passage is known.
    pub(crate) touched: MediaTime,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    side: Side,
    foot: PointInImage,
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    foot: PointInImage,
    at: MediaTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Approach {
    /// Whether this box is further than its own length from where the object was seen last, and from where it would be
    /// had it gone on as it did then. The length is the side of a square of the box's area.
    ///
    /// A tracker that has lost an object, or knows nothing of its speed yet, looks for it in a wide circle, and may find
    /// something else there.
    fn is_jump(&self, aspect: f32, at: MediaTime, now: &BoxInImage) -> bool {
        let Some(last) = self.last else { return false };
        let foot = now.foot();
        let mut way = distance(aspect, last.foot, foot);
        if let Some(before) = self.before_last {
            let share = at.since(last.at).as_secs_f32() / last.at.since(before.at).as_secs_f32();
            let (x, y) = (last.foot.x - before.foot.x, last.foot.y - before.foot.y);
            let expected = PointInImage { x: last.foot.x + share * x, y: last.foot.y + share * y };
            way = way.min(distance(aspect, expected, foot));
        }
        way > (now.width() * aspect * now.height()).sqrt()
    }
}

impl CrossingWatch {
    /// Watches `line`, with a band of `hysteresis` box heights on both sides.
    pub(crate) fn new(line: Line, hysteresis: f32) -> Self {
        Self { line, hysteresis, untrusted_at: None }
    }

    /// A frame that cannot be trusted. The caller forgets its approaches.
    pub(crate) fn distrust(&mut self, at: MediaTime) {
        self.untrusted_at = Some(at);
    }

    /// Takes in a track's place at `at`; answers when it has passed between the line's ends.
    pub(crate) fn follow(
        &self,
        aspect: f32,
        at: MediaTime,
        track: &Track,
        approach: &mut Approach,
    ) -> Option<Passage> {
        // A track is first shown when it is confirmed; it may have crossed before.
        if !std::mem::replace(&mut approach.known, true) && self.untrusted_at.is_none_or(|at| track.since > at) {
            approach.beyond = self.beyond(aspect, &track.first_box);
            approach.last = Some(Sighting { foot: track.first_box.foot(), at: track.since });
        }
        if !track.detected {
            return None;
        }
        let foot = track.box_in_image.foot();
        let jumps = approach.is_jump(aspect, at, &track.box_in_image);
        let last = approach.last.filter(|last| last.at < at);
        if let Some(last) = last {
            let [before, now] = [last.foot, foot].map(|foot| offset(&self.line, aspect, foot));
            if (before > 0.0) != (now > 0.0) {
                let share = f64::from(before / (before - now));
                approach.touched = last.at + at.since(last.at).mul_f64(share.clamp(0.0, 1.0));
            }
        }
        approach.before_last = last;
        approach.last = Some(Sighting { foot, at });
        let now = self.beyond(aspect, &track.box_in_image)?;
        let jumped_to = approach.jumped_to.take();
        let before = *approach.beyond.get_or_insert(now);
        if before.side != now.side && jumps && jumped_to != Some(now.side) {
            approach.jumped_to = Some(now.side);
            return None;
        }
        approach.beyond = Some(now);
        if before.side == now.side {
            return None;
        }
        // Always from left to right, so that the way back is judged bit for bit like the way there.
        let (direction, left, right) = match now.side {
            Side::Right => (Direction::Forward, before.foot, now.foot),
            Side::Left => (Direction::Backward, now.foot, before.foot),
        };
        let passage = Passage { direction, touched: approach.touched };
        passes_between_ends(&self.line, aspect, left, right).then_some(passage)
    }

    /// On which side of the band an object with this box is; `None` inside the band.
    fn beyond(&self, aspect: f32, box_in_image: &BoxInImage) -> Option<Seen> {
        let foot = box_in_image.foot();
        let offset = offset(&self.line, aspect, foot);
        let side = if offset > 0.0 { Side::Right } else { Side::Left };
        (offset.abs() > self.hysteresis * box_in_image.height()).then_some(Seen { side, foot })
    }
}

/// The distance between two points, in picture heights.
fn distance(aspect: f32, a: PointInImage, b: PointInImage) -> f32 {
    ((b.x - a.x) * aspect).hypot(b.y - a.y)
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
    use kerbside_core::observation::TrackId;

    #[test]
    fn the_moment_on_the_line_lies_between_the_frames_also_for_one_that_waits_in_the_band() {
        let line = Line { from: PointInImage { x: 0.0, y: 0.5 }, to: PointInImage { x: 1.0, y: 0.5 } };
        let watch = CrossingWatch::new(line, 0.1);
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
                first_box: box_in_image,
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
