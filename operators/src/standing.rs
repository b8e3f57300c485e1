//! Whether something stands, judged by how far its box has gone and not by its velocity: boxes shake, and a
//! passing bus hides a part of them.
//!
//! A box has moved when opposite edges have moved the same way: an edge that alone moves is an obstacle
//! that hides a part. Lengths are in sizes of the box, the square root of its area in picture heights.

use std::time::Duration;

use kerbside_core::geometry::BoxInImage;
use kerbside_core::time::MediaTime;

/// Who has gone further than this does not stand at the old place any more.
const GONE: f32 = 0.25;
/// For how long it must be gone, so that a box which is wrong for a moment does not matter.
const GONE_FOR: Duration = Duration::from_millis(700);
/// Who has gone this far since it was first seen has been seen to arrive.
const ARRIVED: f32 = 0.75;
/// A box whose sides have both grown or shrunk by this factor has come nearer or gone away.
const GROWTH: f32 = 1.35;
/// Who has stood for this long stands.
const SETTLED: Duration = Duration::from_secs(3);

/// What is remembered of one object.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    born: Option<BoxInImage>,
    arrived: bool,
    /// Where it stands, and since when.
    anchor: Option<(BoxInImage, MediaTime)>,
    /// Where it was when it first was half as far from there as counts, and when: who rolls out to a stop may
    /// end just at the limit, where noise decides, and stands since then all the same.
    rolled: Option<(BoxInImage, MediaTime)>,
    gone_since: Option<MediaTime>,
    last: MediaTime,
}

impl Standing {
    /// Takes in a detection. Whether the object has left the place where it stood.
    pub(crate) fn follow(&mut self, at: MediaTime, aspect: f32, box_in_image: &BoxInImage) -> bool {
        self.last = at;
        let born = *self.born.get_or_insert(*box_in_image);
        let (anchor, _) = *self.anchor.get_or_insert((*box_in_image, at));
        let gone = shift(&anchor, box_in_image, aspect);
        if gone > GONE / 2.0 {
            self.rolled.get_or_insert((*box_in_image, at));
        }
        if gone <= GONE {
            self.gone_since = None;
            return false;
        }
        let since = *self.gone_since.get_or_insert(at);
        if at.since(since) < GONE_FOR {
            return false;
        }
        self.arrived |= shift(&born, box_in_image, aspect) >= ARRIVED;
        self.gone_since = None;
        let stays = |(place, since): &(BoxInImage, MediaTime)| {
            at.since(*since) >= SETTLED && shift(place, box_in_image, aspect) <= GONE
        };
        let rolled = self.rolled.take().filter(stays);
        self.anchor = rolled.or(Some((*box_in_image, at)));
        rolled.is_none()
    }

    /// Where it stands or last stood, and since when.
    pub(crate) fn place(&self) -> Option<(BoxInImage, MediaTime)> {
        self.anchor
    }

    /// Whether it was seen to come here, rather than to be here when it was first seen.
    pub(crate) fn arrived(&self) -> bool {
        self.arrived
    }

    /// Whether it has stood for some seconds when it was last seen.
    pub(crate) fn is_settled(&self) -> bool {
        self.anchor.is_some_and(|(_, since)| self.last.since(since) >= SETTLED)
    }
}

/// How far a box has gone from `a` to `b`, in sizes.
fn shift(a: &BoxInImage, b: &BoxInImage, aspect: f32) -> f32 {
    let ratio = |a: f32, b: f32| b / a.max(f32::MIN_POSITIVE);
    let (wider, higher) = (ratio(a.width(), b.width()), ratio(a.height(), b.height()));
    if wider.min(higher) > GROWTH || wider.max(higher) < 1.0 / GROWTH {
        return f32::INFINITY;
    }
    let x = together(b.left - a.left, b.right - a.right) * aspect;
    let y = together(b.top - a.top, b.bottom - a.bottom);
    let size = ((a.area() + b.area()) / 2.0 * aspect).sqrt();
    x.hypot(y) / size.max(f32::MIN_POSITIVE)
}

/// The smaller of two moves in the same direction; none where they are opposite.
fn together(a: f32, b: f32) -> f32 {
    if a * b <= 0.0 { 0.0 } else { a.abs().min(b.abs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: BoxInImage = BoxInImage { left: 0.4, top: 0.4, right: 0.6, bottom: 0.5 };

    fn moved(by: f32) -> BoxInImage {
        BoxInImage { left: HERE.left + by, right: HERE.right + by, ..HERE }
    }

    fn at(tenths: u64) -> MediaTime {
        MediaTime::from_millis(100 * tenths)
    }

    #[test]
    fn what_is_partly_hidden_or_wrong_for_a_moment_goes_on_standing() {
        let mut standing = Standing::default();
        for tenth in 0..100 {
            let shown = match tenth {
                20..40 => BoxInImage { bottom: 0.45, ..HERE },
                50..70 => BoxInImage { left: 0.52, ..HERE },
                80..84 => moved(0.3),
                _ => moved(0.002 * (tenth % 3) as f32),
            };
            assert!(!standing.follow(at(tenth), 1.5, &shown), "{tenth}");
        }
        assert_eq!(standing.place(), Some((HERE, at(0))));
        assert!(!standing.arrived() && standing.is_settled());
    }

    #[test]
    fn who_creeps_does_not_stand_and_who_stops_stands_since_then() {
        let mut standing = Standing::default();
        for tenth in 0..100 {
            standing.follow(at(tenth), 1.5, &moved(0.02 * tenth.min(40) as f32));
        }
        let (_, since) = standing.place().unwrap();
        assert!(standing.arrived());
        assert!((3000..5000).contains(&(since.as_nanos() / 1_000_000)), "{since:?}");
    }

    #[test]
    fn who_comes_to_stand_at_the_limit_stands_since_then() {
        let mut standing = Standing::default();
        // A size is 0.173 picture heights, so the limit is 0.029 of the picture's width; the first place has noise as well.
        for tenth in 0..200 {
            let noise = 0.001 * [1.0f32, -1.0, 0.5, 1.0, -0.5][tenth as usize % 5];
            let noise = if tenth > 120 { noise.abs() } else { noise };
            standing.follow(at(tenth), 1.5, &moved(0.015 * (tenth.min(20) as f32) / 10.0 + noise));
        }
        let (_, since) = standing.place().unwrap();
        assert!((500..2500).contains(&(since.as_nanos() / 1_000_000)), "{since:?}");
    }

    #[test]
    fn who_comes_nearer_does_not_stand() {
        let mut standing = Standing::default();
        let mut left = false;
        for tenth in 0..30 {
            let grown = 0.01 * tenth as f32;
            let shown =
                BoxInImage { left: 0.4 - grown, top: 0.4 - grown, right: 0.6 + grown, bottom: 0.5 + grown };
            left |= standing.follow(at(tenth), 1.5, &shown);
        }
        assert!(left);
    }
}
