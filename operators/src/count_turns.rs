#![doc = include_str!("count_turns.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{Polygon, SiteId};
use kerbside_core::observation::{Observation, Track, TrackId};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::options;
use crate::per_track::PerTrack;
use crate::seen::{MAX_STEP, is_gap};
use crate::zone::Depth;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "count_turns",
    summary: "Counts where objects come from and where they go to, as a matrix of zones.",
    manual: include_str!("count_turns.md"),
    options: &[
        OptionDoc {
            name: "zones",
            takes: "a list of 2 to 16 zone names; this or `from` and `to`",
            meaning: "The arms of a junction: each is both an origin and a destination.",
        },
        OptionDoc {
            name: "from",
            takes: "a list of 1 to 16 zone names, with `to`",
            meaning: "The zones where objects come from, if they are not the same as those they go to.",
        },
        OptionDoc {
            name: "to",
            takes: "a list of 1 to 16 zone names, with `from`",
            meaning: "The zones where objects go to.",
        },
        options::CLASSES,
        OptionDoc {
            name: "u_turns",
            takes: "true or false; default false",
            meaning: "Whether those count that leave by the zone they came from.",
        },
        OptionDoc {
            name: "settle",
            takes: "0s to 5m; default 5s",
            meaning: "How long after its arrival in a zone an object may still go on to another.",
        },
    ],
    example: "\
geometry:
  zones:
    east: {polygon: [[0.8, 0.3], [1, 0.3], [1, 1], [0.8, 1]]}
    south: {polygon: [[0.3, 0.85], [0.7, 0.85], [0.7, 1], [0.3, 1]]}
    west: {polygon: [[0, 0.3], [0.2, 0.3], [0.2, 1], [0, 1]]}
operators:
  count_turns: [{zones: [west, east, south], classes: [person, bicycle], settle: 3s}]
",
    configure,
};

/// How far an object must have been from the zone it came from before its return is a U-turn, in heights
/// of its own box: one that waits at the zone's edge does not turn.
const U_TURN_AWAY: f32 = 1.0;
const DEFAULT_SETTLE: Duration = Duration::from_secs(5);

/// One zone and what it is for.
struct Arm {
    site: SiteId,
    zone: Polygon,
    is_origin: bool,
    is_destination: bool,
}

struct Settings {
    arms: Vec<Arm>,
    classes: Vec<Class>,
    u_turns: bool,
    settle: Duration,
}

struct CountTurns {
    settings: Settings,
    trips: PerTrack<Trip>,
    last: MediaTime,
}

/// What is known of one object's way. Arms are places in [`Settings::arms`].
#[derive(Clone, Copy, Debug, Default)]
struct Trip {
    origin: Option<u8>,
    /// The arm it is in.
    inside: Option<u8>,
    /// How far it has been from its origin, in heights of its box.
    away: f32,
    /// The last destination it reached, and when.
    arrived: Option<(u8, MediaTime)>,
    class: Option<Class>,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let arms = arms(reader, surroundings);
    let classes = options::classes(reader, surroundings);
    let u_turns = reader.optional("u_turns").map_or(Some(false), |field| field.boolean());
    let settle = options::duration_or(reader, "settle", Duration::ZERO..=Duration::from_secs(300), DEFAULT_SETTLE);
    reader.finish();
    let settings = Settings { arms: arms?, classes: classes?, u_turns: u_turns?, settle: settle? };
    let mut cells = Vec::new();
    for from in settings.arms.iter().filter(|arm| arm.is_origin) {
        for to in settings.arms.iter().filter(|arm| arm.is_destination) {
            if from.site != to.site || settings.u_turns {
                let cell = |class: &Class| Cell::new(from.site, Measure::TurnCount, Some(*class));
                let turn = |class| Cell { toward: Some(to.site), ..cell(class) };
                cells.extend(settings.classes.iter().map(turn));
            }
        }
    }
    if cells.is_empty() {
        reader.problem("no turn is left to count", "an origin and a destination that differ, or u_turns: true");
        return None;
    }
    Some(Configured::counting(CountTurns { settings, trips: PerTrack::new(), last: MediaTime::ZERO }, cells))
}

fn arms(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Vec<Arm>> {
    let arm = |(site, zone)| Arm { site, zone, is_origin: true, is_destination: true };
    let (zones, from, to) = (reader.optional("zones"), reader.optional("from"), reader.optional("to"));
    match (zones, from, to) {
        (Some(zones), None, None) => {
            Some(options::zones(&zones, surroundings, 2..=16)?.into_iter().map(arm).collect())
        }
        (None, Some(from), Some(to)) => {
            let from = options::zones(&from, surroundings, 1..=16);
            let to = options::zones(&to, surroundings, 1..=16);
            let mut arms: Vec<Arm> = from?.into_iter().map(arm).collect();
            arms.iter_mut().for_each(|arm| arm.is_destination = false);
            for (site, zone) in to? {
                match arms.iter_mut().find(|arm| arm.site == site) {
                    Some(both) => both.is_destination = true,
                    None => arms.push(Arm { site, zone, is_origin: false, is_destination: true }),
                }
            }
            Some(arms)
        }
        _ => {
            reader.problem("the zones are not given in one of the two ways", "either zones, or both from and to");
            None
        }
    }
}

impl Operator for CountTurns {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        if is_gap(observation) {
            self.interrupt(findings);
        }
        self.last = observation.at;
        if !observation.trusted {
            return;
        }
        let (settings, at) = (&self.settings, observation.at);
        let aspect = observation.picture.aspect();
        for (id, mut trip) in self.trips.ended(observation.tracks) {
            report(settings.close(&mut trip), at, id, findings);
        }
        self.trips.follow(observation.tracks, |track, trip| {
            let settled = trip.arrived.is_some_and(|(_, arrived)| at.since(arrived) >= settings.settle);
            if settled {
                report(settings.close(trip), at, track.id, findings);
            }
            if track.detected {
                settings.go_on(trip, track, aspect, at);
            }
        });
    }

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        if upto.since(self.last) > MAX_STEP {
            self.interrupt(findings);
        }
    }

    fn finish(&mut self, findings: &mut Findings) {
        self.interrupt(findings);
    }
}

impl CountTurns {
    /// Nobody knows what comes next: who has arrived has turned, as of the last frame; who is under way is dropped.
    fn interrupt(&mut self, findings: &mut Findings) {
        let (settings, at) = (&self.settings, self.last);
        self.trips.end_all(|id, mut trip| report(settings.close(&mut trip), at, id, findings));
    }
}

/// A trip that is over: of which class, from where, to where.
type Turn = (Class, SiteId, SiteId);

fn report(turn: Option<Turn>, at: MediaTime, track: TrackId, findings: &mut Findings) {
    if let Some((class, site, toward)) = turn {
        let kind = FindingKind::Turn { toward };
        findings.push(Finding { at, site, class: Some(class), track: Some(track), kind });
    }
}

impl Settings {
    /// Takes in where the object is now.
    fn go_on(&self, trip: &mut Trip, track: &Track, aspect: f32, at: MediaTime) {
        trip.class = Some(track.class);
        let depth = |arm: &Arm| Depth::of(&arm.zone, aspect, &track.box_in_image);
        if let Some(origin) = trip.origin.and_then(|origin| self.arms.get(usize::from(origin))) {
            trip.away = trip.away.max(depth(origin).away());
        }
        let stays = trip
            .inside
            .filter(|inside| self.arms.get(usize::from(*inside)).is_some_and(|arm| depth(arm).is_inside(true)));
        let found = || self.arms.iter().position(|arm| depth(arm).is_inside(false)).map(|place| place as u8);
        let inside = stays.or_else(found);
        if inside == trip.inside {
            return;
        }
        trip.inside = inside;
        let Some(here) = inside else { return };
        let arm = &self.arms[usize::from(here)];
        match trip.origin {
            None if arm.is_origin => (trip.origin, trip.away) = (Some(here), 0.0),
            None => {}
            Some(origin) if origin == here && trip.away < U_TURN_AWAY => {}
            Some(_) if arm.is_destination => trip.arrived = Some((here, at)),
            Some(_) => {}
        }
    }

    /// Ends the trip where it arrived; who goes on from there begins another.
    fn close(&self, trip: &mut Trip) -> Option<Turn> {
        let (origin, (here, _), class) = (trip.origin?, trip.arrived.take()?, trip.class?);
        let (from, to) = (self.arms.get(usize::from(origin))?, self.arms.get(usize::from(here))?);
        trip.origin = to.is_origin.then_some(here);
        trip.away = 0.0;
        let counts = (from.site != to.site || self.u_turns) && self.classes.contains(&class);
        counts.then_some((class, from.site, to.site))
    }
}
