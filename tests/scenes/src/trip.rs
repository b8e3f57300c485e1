//! The way of one actor over the street, and where it is on it at what time.
//!
//! A way is a chain of straight legs with rounded corners. Along it there is a speed limit for each place;
//! the speed follows it with a bounded acceleration, as in a forward and a backward pass over small steps
//! (the usual time-optimal profile along a path). All is known for any time, so truth has no frame rate.

use kerbside_core::ground::PointOnGround;

/// The step along the way, metres.
const STEP: f64 = 0.1;

/// A halt on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Halt {
    /// Metres along the way.
    pub after: f64,
    /// Until when.
    pub wait: Wait,
}

/// How long a halt lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wait {
    /// For so many seconds.
    For(f64),
    /// Until this second of the scene; who comes later does not stop.
    Until(f64),
}

/// What a way is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) corners: Vec<PointOnGround>,
    /// How far from each corner the way begins to bend, metres.
    pub(crate) rounding: f64,
    pub(crate) begins: f64,
    /// The speed from the start, m/s, and from so many metres on.
    pub(crate) speeds: Vec<(f64, f64)>,
    /// m/s².
    pub(crate) acceleration: f64,
    pub(crate) halts: Vec<Halt>,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    secs: f64,
    along: f64,
    speed: f64,
}

/// A way and its times.
#[derive(Clone, Debug)]
pub struct Trip {
    points: Vec<PointOnGround>,
    /// Metres from the start to each point.
    lengths: Vec<f64>,
    moments: Vec<Moment>,
}

/// Where something is at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// The middle of its footprint.
    pub at: PointOnGround,
    /// Which way it faces, a unit vector.
    pub heading: [f64; 2],
    /// m/s.
    pub speed: f64,
}

impl Trip {
    pub(crate) fn new(plan: &Plan) -> Self {
        let points = rounded(&plan.corners, plan.rounding);
        let mut lengths = vec![0.0];
        for leg in points.windows(2) {
            lengths.push(lengths[lengths.len() - 1] + leg[0].distance(leg[1]));
        }
        let mut trip = Self { points, lengths, moments: Vec::new() };
        let mut halts: Vec<Halt> = Vec::new();
        for halt in &plan.halts {
            // Whether a light is still red shows when the way up to it is known.
            if let Wait::Until(until) = halt.wait {
                trip.moments = trip.profile(plan, &halts);
                if trip.when(halt.after).is_none_or(|arrives| arrives >= until) {
                    continue;
                }
            }
            halts.push(*halt);
        }
        trip.moments = trip.profile(plan, &halts);
        trip
    }

    /// Something that stands at one place.
    pub(crate) fn standing(at: PointOnGround, heading_degrees: f64, begins: f64, ends: f64) -> Self {
        let (sin, cos) = heading_degrees.to_radians().sin_cos();
        let ahead = PointOnGround { x: at.x + 1e-6 * cos, y: at.y + 1e-6 * sin };
        let moment = |secs| Moment { secs, along: 0.0, speed: 0.0 };
        Self { points: vec![at, ahead], lengths: vec![0.0, 1e-6], moments: vec![moment(begins), moment(ends)] }
    }

    fn profile(&self, plan: &Plan, halts: &[Halt]) -> Vec<Moment> {
        let total = self.length();
        let mut places: Vec<f64> = (0..).map(|n| f64::from(n) * STEP).take_while(|s| *s < total).collect();
        places.extend(halts.iter().map(|halt| halt.after).filter(|after| *after < total));
        places.push(total);
        places.sort_by(f64::total_cmp);
        places.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
        let halt_at = |along: f64| halts.iter().find(|halt| (halt.after - along).abs() < 1e-9);
        let limit = |along: f64| {
            let speed = plan.speeds.iter().rev().find(|(from, _)| *from <= along).map_or(1.0, |(_, speed)| *speed);
            if halt_at(along).is_some() { 0.0 } else { speed }
        };
        let mut speeds: Vec<f64> = places.iter().map(|along| limit(*along)).collect();
        let reach = |from: f64, gap: f64| (from * from + 2.0 * plan.acceleration * gap).sqrt();
        for place in 1..places.len() {
            speeds[place] = speeds[place].min(reach(speeds[place - 1], places[place] - places[place - 1]));
        }
        for place in (0..places.len() - 1).rev() {
            speeds[place] = speeds[place].min(reach(speeds[place + 1], places[place + 1] - places[place]));
        }
        let mut secs = plan.begins;
        let mut moments: Vec<Moment> = Vec::with_capacity(places.len() + halts.len());
        for (&along, &speed) in places.iter().zip(&speeds) {
            if let Some(before) = moments.last() {
                // Two halts in one step would leave no speed at all.
                secs += 2.0 * (along - before.along) / (before.speed + speed).max(0.01);
            }
            moments.push(Moment { secs, along, speed });
            if let Some(halt) = halt_at(along) {
                secs = match halt.wait {
                    Wait::For(wait) => secs + wait,
                    Wait::Until(until) => until.max(secs),
                };
                moments.push(Moment { secs, along, speed });
            }
        }
        moments
    }

    /// The whole way, metres.
    pub fn length(&self) -> f64 {
        self.lengths[self.lengths.len() - 1]
    }

    /// From when to when, in seconds.
    pub fn span(&self) -> (f64, f64) {
        (self.moments[0].secs, self.moments[self.moments.len() - 1].secs)
    }

    /// Where it is, and nothing before it begins and after it has ended.
    pub fn at(&self, secs: f64) -> Option<Place> {
        let (begins, ends) = self.span();
        if !(begins..ends).contains(&secs) {
            return None;
        }
        let next = self.moments.partition_point(|moment| moment.secs <= secs);
        let (a, b) = (self.moments[next - 1], self.moments[next]);
        // Between two moments the acceleration is steady.
        let passed = secs - a.secs;
        let share = passed / (b.secs - a.secs);
        let speed = a.speed + share * (b.speed - a.speed);
        let along = (a.along + passed * (a.speed + speed) / 2.0).clamp(a.along, b.along);
        let (at, heading) = self.point(along);
        Some(Place { at, heading, speed })
    }

    /// When it first is so many metres along its way, in seconds; `None` beyond the end.
    pub fn when(&self, along: f64) -> Option<f64> {
        let next = self.moments.partition_point(|moment| moment.along < along);
        let b = self.moments.get(next)?;
        let Some(a) = next.checked_sub(1).map(|before| self.moments[before]) else { return Some(b.secs) };
        let (way, gap) = (along - a.along, b.along - a.along);
        let squared = a.speed * a.speed + (b.speed * b.speed - a.speed * a.speed) * way / gap;
        Some((a.secs + 2.0 * way / (a.speed + squared.max(0.0).sqrt()).max(0.01)).min(b.secs))
    }

    /// How fast it is when it first is so many metres along its way, m/s.
    pub fn speed_at(&self, along: f64) -> Option<f64> {
        self.at(self.when(along)?).map(|place| place.speed)
    }

    /// When it stands, from when to when, and where.
    pub fn standstills(&self) -> impl Iterator<Item = (f64, f64, PointOnGround)> + '_ {
        let stands = |pair: &&[Moment]| pair[0].along == pair[1].along && pair[1].secs > pair[0].secs;
        self.moments
            .windows(2)
            .filter(stands)
            .map(|pair| (pair[0].secs, pair[1].secs, self.point(pair[0].along).0))
    }

    /// Where the way passes over the line from `from` to `to`, between its ends: metres along the way, and whether
    /// from the line's left to its right, seen from above.
    pub fn passes(&self, from: PointOnGround, to: PointOnGround) -> Vec<(f64, bool)> {
        let mut found = Vec::new();
        for (leg, start) in self.points.windows(2).zip(&self.lengths) {
            if let Some((share, rightwards)) = meet(leg[0], leg[1], from, to) {
                found.push((start + share * leg[0].distance(leg[1]), rightwards));
            }
        }
        found
    }

    /// The straight legs of the way with the metres from its start.
    pub(crate) fn legs(&self) -> impl Iterator<Item = (f64, PointOnGround, PointOnGround)> + '_ {
        self.points.windows(2).zip(&self.lengths).map(|(leg, start)| (*start, leg[0], leg[1]))
    }

    fn point(&self, along: f64) -> (PointOnGround, [f64; 2]) {
        let next = self.lengths.partition_point(|length| *length <= along).clamp(1, self.points.len() - 1);
        let (a, b) = (self.points[next - 1], self.points[next]);
        let length = self.lengths[next] - self.lengths[next - 1];
        let heading = [(b.x - a.x) / length, (b.y - a.y) / length];
        let way = along - self.lengths[next - 1];
        (PointOnGround { x: a.x + way * heading[0], y: a.y + way * heading[1] }, heading)
    }
}

/// The share of the leg from `a` to `b` at which it meets the line from `from` to `to`, and whether it goes from the
/// line's left to its right. A leg that begins on the line does not meet it: the one before it ended there.
pub(crate) fn meet(
    a: PointOnGround,
    b: PointOnGround,
    from: PointOnGround,
    to: PointOnGround,
) -> Option<(f64, bool)> {
    let side = |p: PointOnGround, q: PointOnGround, r: PointOnGround| {
        (q.x - p.x) * (r.y - p.y) - (q.y - p.y) * (r.x - p.x)
    };
    let (before, after) = (side(from, to, a), side(from, to, b));
    let crosses = (before < 0.0 && after >= 0.0) || (before > 0.0 && after <= 0.0);
    let (left, right) = (side(a, b, from), side(a, b, to));
    let between = (left <= 0.0 && right >= 0.0) || (left >= 0.0 && right <= 0.0);
    (crosses && between).then(|| (before / (before - after), before > 0.0))
}

/// Replaces each corner by a curve: a quadratic Bézier from `rounding` metres before it to as many behind it.
fn rounded(corners: &[PointOnGround], rounding: f64) -> Vec<PointOnGround> {
    const PIECES: u32 = 8;
    let mut points = vec![corners[0]];
    for triple in corners.windows(3) {
        let [a, b, c] = [triple[0], triple[1], triple[2]];
        let bend = rounding.min(a.distance(b) / 2.0).min(b.distance(c) / 2.0);
        if bend < 0.01 {
            points.push(b);
            continue;
        }
        let mix = |p: PointOnGround, q: PointOnGround, share: f64| PointOnGround {
            x: p.x + share * (q.x - p.x),
            y: p.y + share * (q.y - p.y),
        };
        let (begin, end) = (mix(b, a, bend / a.distance(b)), mix(b, c, bend / b.distance(c)));
        for piece in 0..=PIECES {
            let share = f64::from(piece) / f64::from(PIECES);
            points.push(mix(mix(begin, b, share), mix(b, end, share), share));
        }
    }
    points.push(corners[corners.len() - 1]);
    points.dedup_by(|a, b| a.distance(*b) < 1e-9);
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: f64) -> PointOnGround {
        PointOnGround { x, y }
    }

    fn plan() -> Plan {
        Plan {
            corners: vec![point(0.0, 0.0), point(100.0, 0.0)],
            begins: 2.0,
            speeds: vec![(0.0, 10.0)],
            acceleration: 2.0,
            ..Plan::default()
        }
    }

    #[test]
    fn a_steady_drive_is_where_it_should_be() {
        let trip = Trip::new(&plan());
        assert_eq!(trip.at(1.9), None);
        let place = trip.at(5.0).unwrap();
        assert!((place.at.x - 30.0).abs() < 1e-6 && (place.speed - 10.0).abs() < 1e-9, "{place:?}");
        assert!((trip.span().1 - 12.0).abs() < 1e-6);
        assert!((trip.when(30.0).unwrap() - 5.0).abs() < 1e-6);
        assert_eq!(trip.when(101.0), None);
    }

    #[test]
    fn braking_and_starting_take_their_time() {
        let halts = vec![Halt { after: 50.0, wait: Wait::For(20.0) }];
        let trip = Trip::new(&Plan { halts, ..plan() });
        let (from, to, at) = trip.standstills().next().unwrap();
        // 25 m at 10 m/s, then 5 s of braking over 25 m.
        assert!((from - 9.5).abs() < 0.05 && (to - from - 20.0).abs() < 1e-6 && (at.x - 50.0).abs() < 1e-6);
        assert_eq!(trip.standstills().count(), 1);
        assert!((trip.span().1 - (12.0 + 20.0 + 5.0)).abs() < 0.1, "{:?}", trip.span());
    }

    #[test]
    fn a_light_that_is_green_again_stops_nobody() {
        let halted = |until| {
            let halts = vec![Halt { after: 50.0, wait: Wait::Until(until) }];
            Trip::new(&Plan { halts, ..plan() }).standstills().count()
        };
        assert_eq!((halted(6.0), halted(30.0)), (0, 1));
    }

    #[test]
    fn a_line_is_passed_between_its_ends_with_its_direction() {
        let trip = Trip::new(&plan());
        let up = trip.passes(point(40.0, -1.0), point(40.0, 1.0));
        assert_eq!(up.len(), 1);
        assert!(
            (up[0].0 - 40.0).abs() < 1e-9 && up[0].1,
            "from the left of a line that points ahead to its right"
        );
        let down = trip.passes(point(40.0, 1.0), point(40.0, -1.0));
        assert!(!down[0].1);
        assert!(trip.passes(point(40.0, 1.0), point(40.0, 2.0)).is_empty());
    }

    #[test]
    fn a_corner_is_driven_as_a_curve() {
        let corners = vec![point(0.0, 0.0), point(20.0, 0.0), point(20.0, 20.0)];
        let trip = Trip::new(&Plan { corners, rounding: 6.0, ..plan() });
        assert!(trip.length() < 40.0 && trip.length() > 34.0);
        let mut before = [1.0, 0.0];
        for step in 0..300 {
            let Some(place) = trip.at(2.0 + f64::from(step) * 0.02) else { break };
            let turn = before[0] * place.heading[0] + before[1] * place.heading[1];
            assert!(turn > 0.95, "no sudden turn: {before:?} {:?}", place.heading);
            before = place.heading;
        }
    }
}
