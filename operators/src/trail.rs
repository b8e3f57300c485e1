//! Where an object has been in the last seconds, on the ground, and how much later another one came by.
//!
//! A trail is a line of points, a tenth of a second or more apart, in memory of its own size. Distances are
//! metres, velocities metres per second. Points are foot points as detected; velocities come smoothed.

use std::time::Duration;

use kerbside_core::time::MediaTime;

/// Points of a trail; with [`SPACING`] they reach back three seconds.
const POINTS: usize = 31;
/// The least time between two points.
const SPACING: Duration = Duration::from_millis(95);
/// How long a trail's point is of interest.
pub(crate) const MEMORY: Duration = Duration::from_secs(3);
/// How finely a new stretch is compared, in metres, and the most comparisons on one.
const FINENESS: f64 = 0.25;
const MOST_STEPS: f64 = 32.0;

/// One point of a trail.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    pub(crate) at: MediaTime,
    /// In metres.
    pub(crate) place: [f64; 2],
    /// In metres per second.
    pub(crate) velocity: [f32; 2],
    /// The detection's score.
    pub(crate) score: f32,
}

impl Point {
    /// In metres per second.
    pub(crate) fn speed(&self) -> f32 {
        self.velocity[0].hypot(self.velocity[1])
    }

    /// The point a share of the way to another.
    fn toward(&self, to: &Self, share: f64) -> Self {
        let blend = |a: f32, b: f32| a + share as f32 * (b - a);
        Self {
            at: self.at + to.at.since(self.at).mul_f64(share),
            place: [0, 1].map(|axis| self.place[axis] + share * (to.place[axis] - self.place[axis])),
            velocity: [0, 1].map(|axis| blend(self.velocity[axis], to.velocity[axis])),
            score: self.score.min(to.score),
        }
    }
}

/// The last points of one object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trail {
    points: [Point; POINTS],
    /// How many points there are, and where the next one goes.
    length: usize,
    next: usize,
    /// The box around all points.
    low: [f64; 2],
    high: [f64; 2],
}

impl Default for Trail {
    fn default() -> Self {
        Self { points: [Point::default(); POINTS], length: 0, next: 0, low: [0.0; 2], high: [0.0; 2] }
    }
}

impl Trail {
    /// Takes in a point, unless it is too soon after the last one. Whether it did.
    pub(crate) fn add(&mut self, point: Point) -> bool {
        if self.points().next().is_some_and(|last| point.at.since(last.at) < SPACING) {
            return false;
        }
        self.points[self.next] = point;
        self.next = (self.next + 1) % POINTS;
        self.length = (self.length + 1).min(POINTS);
        let (mut low, mut high) = (point.place, point.place);
        for other in self.points() {
            for axis in 0..2 {
                low[axis] = low[axis].min(other.place[axis]);
                high[axis] = high[axis].max(other.place[axis]);
            }
        }
        (self.low, self.high) = (low, high);
        true
    }

    /// The points from the newest to the oldest.
    fn points(&self) -> impl Iterator<Item = &Point> {
        (0..self.length).map(|back| &self.points[(self.next + POINTS - 1 - back) % POINTS])
    }

    /// The two newest points, older first, if they belong together.
    fn newest(&self) -> Option<(&Point, &Point)> {
        let mut points = self.points();
        let (to, from) = (points.next()?, points.next()?);
        (to.at.since(from.at) <= MEMORY).then_some((from, to))
    }
}

/// One object came to where another had been.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Passing {
    /// How much later: the post-encroachment time.
    pub(crate) apart: Duration,
    /// The one whose newest stretch it was, where they met.
    pub(crate) mover: Point,
    /// The other, when it was there.
    pub(crate) met: Point,
}

impl Passing {
    /// The same, told of the other one.
    pub(crate) fn reversed(self) -> Self {
        Self { apart: self.apart, mover: self.met, met: self.mover }
    }
}

/// The least time between a place of `met`'s trail and `mover`'s newest stretch coming within `distance` of
/// it; `None` where that is more than `most` or never.
pub(crate) fn passing(mover: &Trail, met: &Trail, distance: f64, most: Duration) -> Option<Passing> {
    let (from, to) = mover.newest()?;
    let apart = (0..2).any(|axis| {
        from.place[axis].max(to.place[axis]) + distance < met.low[axis]
            || from.place[axis].min(to.place[axis]) - distance > met.high[axis]
    });
    if apart {
        return None;
    }
    let length = (to.place[0] - from.place[0]).hypot(to.place[1] - from.place[1]);
    let steps = (length / FINENESS).ceil().clamp(1.0, MOST_STEPS) as u32;
    let mut nearest: Option<Passing> = None;
    for step in 0..=steps {
        let here = from.toward(to, f64::from(step) / f64::from(steps));
        let mut newer: Option<&Point> = None;
        for older in met.points() {
            if let Some(newer) = newer.replace(older)
                && newer.at.since(older.at) <= MEMORY
                && let Some(share) = last_within(older.place, newer.place, here.place, distance)
            {
                let there = older.toward(newer, share);
                let apart = here.at.since(there.at).max(there.at.since(here.at));
                if apart <= most && nearest.is_none_or(|nearest| apart < nearest.apart) {
                    nearest = Some(Passing { apart, mover: here, met: there });
                }
                // Older points are further away in time.
                break;
            }
        }
    }
    nearest
}

/// The last place on the way from `a` to `b` that is within `distance` of `centre`, as a share of the way.
fn last_within(a: [f64; 2], b: [f64; 2], centre: [f64; 2], distance: f64) -> Option<f64> {
    let along = [b[0] - a[0], b[1] - a[1]];
    let off = [a[0] - centre[0], a[1] - centre[1]];
    let square = along[0] * along[0] + along[1] * along[1];
    let middle = off[0] * along[0] + off[1] * along[1];
    let excess = off[0] * off[0] + off[1] * off[1] - distance * distance;
    if square <= f64::EPSILON {
        return (excess <= 0.0).then_some(1.0);
    }
    let root = middle * middle - square * excess;
    if root < 0.0 {
        return None;
    }
    let (first, last) = ((-middle - root.sqrt()) / square, (-middle + root.sqrt()) / square);
    (first <= 1.0 && last >= 0.0).then(|| last.min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A straight way through `(0, 0)` at `zero_secs`, from `from_secs` to `to_secs`, at `fps`.
    fn way(velocity: [f64; 2], zero_secs: f64, from_secs: f64, to_secs: f64, fps: f64) -> Trail {
        let mut trail = Trail::default();
        for frame in 0..=((to_secs - from_secs) * fps).round() as u32 {
            let secs = from_secs + f64::from(frame) / fps;
            trail.add(Point {
                at: MediaTime::from_nanos((secs * 1e9) as u64),
                place: velocity.map(|speed| speed * (secs - zero_secs)),
                velocity: velocity.map(|speed| speed as f32),
                score: 0.9,
            });
        }
        trail
    }

    #[test]
    fn the_time_between_two_at_a_crossing_is_known_at_any_frame_rate() {
        for fps in [2.0, 5.0, 10.0, 25.0] {
            // Someone walks over the crossing at 5 s, a car comes 1.5 s later at 10 m/s.
            let walk = way([0.0, 1.25], 5.0, 4.0, 7.0, fps);
            let car = (0..4).map(|step| way([10.0, 0.0], 6.5, 4.0, 6.0 + f64::from(step) * 0.5, fps));
            let nearest = car.filter_map(|car| passing(&car, &walk, 1.0, Duration::from_secs(2)));
            let nearest = nearest.min_by_key(|passing| passing.apart).expect("they meet");
            // The walker leaves the place 0.8 s after 5 s; the car comes to it 0.05 s before 6.5 s.
            let apart = nearest.apart.as_secs_f64();
            assert!((0.6..=0.75).contains(&apart), "{fps} fps: {apart}");
            assert!((nearest.mover.speed() - 10.0).abs() < 1e-3);
        }
    }

    #[test]
    fn ways_that_stay_apart_or_are_long_after_do_not_meet() {
        let walk = way([0.0, 1.25], 5.0, 4.0, 7.0, 10.0);
        let late = way([10.0, 0.0], 9.5, 8.0, 9.5, 10.0);
        assert_eq!(passing(&late, &walk, 1.0, Duration::from_secs(2)), None);
        let mut beside = Trail::default();
        for tenth in 40..70u64 {
            let at = MediaTime::from_millis(100 * tenth);
            beside.add(Point { at, place: [2.0, tenth as f64], ..Point::default() });
        }
        assert_eq!(passing(&beside, &walk, 1.0, Duration::from_secs(2)), None);
    }

    #[test]
    fn the_last_place_within_a_circle_is_where_one_leaves_it() {
        let within = |a, b, distance| last_within(a, b, [0.0, 0.0], distance);
        assert_eq!(within([-2.0, 0.0], [2.0, 0.0], 1.0), Some(0.75));
        assert_eq!(within([-2.0, 0.0], [0.0, 0.0], 1.0), Some(1.0));
        assert_eq!(within([-2.0, 1.5], [2.0, 1.5], 1.0), None);
        assert_eq!(within([2.0, 0.0], [4.0, 0.0], 1.0), None);
        assert_eq!(within([0.5, 0.0], [0.5, 0.0], 1.0), Some(1.0));
    }
}
