//! What truly happens in a scene, from its script alone.
//!
//! An actor is where the middle of its footprint is. A tracker sees the lower edge of a box instead, which for a
//! long vehicle lies up to half its length nearer to the camera: sites should leave that much room. What is hidden
//! from the camera happens all the same.

use kerbside_core::detection::Class;
use kerbside_core::finding::Direction;
use kerbside_core::geometry::{PointInImage, Polygon, SiteId};
use kerbside_core::ground::PointOnGround;
use kerbside_core::time::MediaTime;

use crate::trip::{Trip, meet};
use crate::{Actor, Scene, SiteOnGround};

/// How finely a way is searched for zones, seconds; each border is then found to a microsecond.
const STEP: f64 = 0.02;

/// All that happens, each list in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Who passed which line.
    pub crossings: Vec<Crossing>,
    /// Who was in which zone.
    pub visits: Vec<Visit>,
    /// Who went from which zone to which.
    pub turns: Vec<Turn>,
    /// Who stood where.
    pub standstills: Vec<Standstill>,
    /// Whose ways met.
    pub encounters: Vec<Encounter>,
}

/// An actor passes a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossing {
    /// When.
    pub at: MediaTime,
    /// Which line.
    pub line: SiteId,
    /// Forward from its left to its right.
    pub direction: Direction,
    /// Who.
    pub actor: usize,
    /// What that is.
    pub class: Class,
    /// How fast, m/s.
    pub speed_mps: f64,
}

/// An actor is in a zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Visit {
    /// Which zone.
    pub zone: SiteId,
    /// Who.
    pub actor: usize,
    /// What that is.
    pub class: Class,
    /// Since when.
    pub from: MediaTime,
    /// Until when; the scene's end where it stays.
    pub to: MediaTime,
}

/// An actor goes from the first zone that it is in to the last one, where that is another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// When it enters the last one.
    pub at: MediaTime,
    /// The first.
    pub zone: SiteId,
    /// The last.
    pub toward: SiteId,
    /// Who.
    pub actor: usize,
    /// What that is.
    pub class: Class,
}

/// An actor stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standstill {
    /// Who.
    pub actor: usize,
    /// What that is.
    pub class: Class,
    /// Where.
    pub at: PointOnGround,
    /// In which zones.
    pub zones: Vec<SiteId>,
    /// Since when.
    pub from: MediaTime,
    /// Until when; the scene's end where it stays.
    pub to: MediaTime,
    /// Whether it never moves at all.
    pub fixture: bool,
}

/// The ways of a vehicle and of a person or bicycle meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encounter {
    /// When the second of the two is at the place.
    pub at: MediaTime,
    /// Where their ways meet.
    pub place: PointOnGround,
    /// The vehicle.
    pub vehicle: usize,
    /// The person or bicycle.
    pub vulnerable: usize,
    /// From when the middle of the first is at the place to when that of the second is, seconds.
    pub gap_secs: f64,
    /// The post-encroachment time: from when the first has left the place with all its length to when the second
    /// arrives, seconds (Allen, Shin and Cooper, Transportation Research Record 667, 1978). Negative where they would touch.
    pub post_encroachment_secs: f64,
}

impl Truth {
    /// How many are in a zone at a moment.
    pub fn inside(&self, zone: SiteId, at: MediaTime) -> usize {
        self.visits.iter().filter(|visit| visit.zone == zone && (visit.from..visit.to).contains(&at)).count()
    }

    /// How many stand in a zone at a moment, fixtures included.
    pub fn standing(&self, zone: SiteId, at: MediaTime) -> usize {
        self.standstills.iter().filter(|it| it.zones.contains(&zone) && (it.from..it.to).contains(&at)).count()
    }

    /// How many passed a line in a direction.
    pub fn crossed(&self, line: SiteId, direction: Direction) -> usize {
        self.crossings.iter().filter(|it| it.line == line && it.direction == direction).count()
    }
}

impl Scene {
    /// All that happens from the scene's beginning to its end.
    pub fn truth(&self) -> Truth {
        let mut truth = Truth::default();
        let end = self.duration.as_secs_f64();
        for (number, actor) in self.actors.iter().enumerate() {
            self.crossings(number, actor, end, &mut truth);
            self.visits(number, actor, end, &mut truth);
            let stands = actor.trip.standstills().filter(|(from, ..)| *from < end);
            truth.standstills.extend(stands.map(|(from, to, at)| Standstill {
                actor: number,
                class: actor.class,
                at,
                zones: self.zones_at(at),
                from: moment(from),
                to: moment(to.min(end)),
                fixture: actor.fixture,
            }));
        }
        truth.turns = turns(&truth.visits);
        truth.encounters = self.encounters(end);
        truth.crossings.sort_by_key(|it| (it.at, it.actor));
        truth.visits.sort_by_key(|it| (it.from, it.actor));
        truth.turns.sort_by_key(|it| (it.at, it.actor));
        truth.standstills.sort_by_key(|it| (it.from, it.actor));
        truth.encounters.sort_by_key(|it| (it.at, it.vehicle, it.vulnerable));
        truth
    }

    fn crossings(&self, number: usize, actor: &Actor, end: f64, truth: &mut Truth) {
        for (place, site) in self.sites.iter().enumerate() {
            let SiteOnGround::Line([from, to]) = site else { continue };
            for (along, rightwards) in actor.trip.passes(*from, *to) {
                let (Some(at), Some(speed_mps)) = (actor.trip.when(along), actor.trip.speed_at(along)) else {
                    continue;
                };
                if at < end {
                    truth.crossings.push(Crossing {
                        at: moment(at),
                        line: SiteId(place as u16),
                        direction: if rightwards { Direction::Forward } else { Direction::Backward },
                        actor: number,
                        class: actor.class,
                        speed_mps,
                    });
                }
            }
        }
    }

    fn visits(&self, number: usize, actor: &Actor, end: f64, truth: &mut Truth) {
        let (begins, ends) = actor.trip.span();
        let (begins, ends) = (begins.max(0.0), ends.min(end));
        for (place, site) in self.sites.iter().enumerate() {
            let SiteOnGround::Zone(corners) = site else { continue };
            let inside = |secs: f64| actor.trip.at(secs).is_some_and(|place| contains(corners, place.at));
            let mut since = None;
            let mut before = begins;
            let mut add = |from: f64, to: f64| {
                let zone = SiteId(place as u16);
                let (from, to) = (moment(from), moment(to));
                truth.visits.push(Visit { zone, actor: number, class: actor.class, from, to });
            };
            for step in 0..((ends - begins).max(0.0) / STEP).ceil() as u64 {
                let now = begins + step as f64 * STEP;
                match (since, inside(now)) {
                    (None, true) if step == 0 => since = Some(now),
                    (None, true) => since = Some(change(before, now, &inside)),
                    (Some(from), false) => {
                        add(from, change(before, now, &inside));
                        since = None;
                    }
                    _ => {}
                }
                before = now;
            }
            if let Some(from) = since {
                add(from, ends);
            }
        }
    }

    fn zones_at(&self, at: PointOnGround) -> Vec<SiteId> {
        let holds = |site: &SiteOnGround| matches!(site, SiteOnGround::Zone(corners) if contains(corners, at));
        let zones = self.sites.iter().enumerate().filter(|(_, site)| holds(site));
        zones.map(|(place, _)| SiteId(place as u16)).collect()
    }

    fn encounters(&self, end: f64) -> Vec<Encounter> {
        let moving = |vulnerable: bool| {
            let wanted = move |actor: &Actor| !actor.fixture && actor.class.is_personal() == vulnerable;
            self.actors.iter().enumerate().filter(move |(_, actor)| wanted(actor) && actor.class != Class::Other)
        };
        let mut found = Vec::new();
        for (vehicle, driver) in moving(false) {
            for (vulnerable, walker) in moving(true) {
                for (a, b, place) in meetings(&driver.trip, &walker.trip) {
                    let (Some(one), Some(other)) = (driver.trip.when(a), walker.trip.when(b)) else { continue };
                    let at = one.max(other);
                    if at >= end {
                        continue;
                    }
                    // The place is as long for each as the other is wide.
                    let reach_a = (driver.size[0] + walker.size[1]) / 2.0;
                    let reach_b = (walker.size[0] + driver.size[1]) / 2.0;
                    let ((first, s1, r1), (second, s2, r2)) = if one <= other {
                        ((&driver.trip, a, reach_a), (&walker.trip, b, reach_b))
                    } else {
                        ((&walker.trip, b, reach_b), (&driver.trip, a, reach_a))
                    };
                    let leaves = first.when((s1 + r1).min(first.length())).unwrap_or(at);
                    let arrives = second.when((s2 - r2).max(0.0)).unwrap_or(at);
                    found.push(Encounter {
                        at: moment(at),
                        place,
                        vehicle,
                        vulnerable,
                        gap_secs: (one - other).abs(),
                        post_encroachment_secs: arrives - leaves,
                    });
                }
            }
        }
        found
    }
}

/// Where two ways meet: metres along each, and the place.
fn meetings(one: &Trip, other: &Trip) -> Vec<(f64, f64, PointOnGround)> {
    let mut found = Vec::new();
    for (start_a, a, b) in one.legs() {
        for (start_b, c, d) in other.legs() {
            if let Some((share, _)) = meet(a, b, c, d) {
                let place = PointOnGround { x: a.x + share * (b.x - a.x), y: a.y + share * (b.y - a.y) };
                found.push((start_a + share * a.distance(b), start_b + c.distance(place), place));
            }
        }
    }
    found
}

fn turns(visits: &[Visit]) -> Vec<Turn> {
    let mut actors: Vec<usize> = visits.iter().map(|visit| visit.actor).collect();
    actors.sort_unstable();
    actors.dedup();
    actors
        .into_iter()
        .filter_map(|actor| {
            let own = || visits.iter().filter(move |visit| visit.actor == actor);
            let (first, last) = (own().min_by_key(|visit| visit.from)?, own().max_by_key(|visit| visit.from)?);
            let Visit { class, from: at, zone: toward, .. } = *last;
            (first.zone != toward).then_some(Turn { at, zone: first.zone, toward, actor, class })
        })
        .collect()
}

/// When `inside` changes between two times.
fn change(mut before: f64, mut after: f64, inside: &impl Fn(f64) -> bool) -> f64 {
    let was = inside(before);
    while after - before > 1e-6 {
        let middle = (before + after) / 2.0;
        if inside(middle) == was { before = middle } else { after = middle }
    }
    after
}

fn contains(corners: &[PointOnGround], at: PointOnGround) -> bool {
    let point = |p: &PointOnGround| PointInImage { x: p.x as f32, y: p.y as f32 };
    Polygon { corners: corners.iter().map(point).collect() }.contains(point(&at))
}

fn moment(secs: f64) -> MediaTime {
    MediaTime::from_nanos((secs.max(0.0) * 1e9).round() as u64)
}
