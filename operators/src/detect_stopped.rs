#![doc = include_str!("detect_stopped.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{BoxInImage, Polygon, SiteId};
use kerbside_core::incident::{IncidentKind, IncidentUnit};
use kerbside_core::observation::{Observation, Track};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::episodes::{Episodes, Rules, Word};
use crate::options;
use crate::per_object::{PerObject, Reach};
use crate::seen::{foot_in_picture, is_gap};
use crate::standing::Standing;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "detect_stopped",
    summary: "Reports and counts vehicles that stand where none should.",
    manual: include_str!("detect_stopped.md"),
    options: &[
        OptionDoc { name: "zone", takes: "name of a zone, required", meaning: "Which zone." },
        options::SITUATION_CLASSES,
        OptionDoc {
            name: "after",
            takes: "a time from 5s to 1h; default 10s",
            meaning: "How long a vehicle stands before it counts.",
        },
        OptionDoc {
            name: "patience",
            takes: "a time from 2s to 10m; default 30s",
            meaning: "How long it may be out of sight before it is taken to have gone.",
        },
    ],
    example: "\
geometry:
  zones:
    hard-shoulder: {polygon: [[0.0, 0.2], [1.0, 0.2], [1.0, 0.98], [0.0, 0.98]]}
operators:
  detect_stopped: [{zone: hard-shoulder, classes: [car, bus, truck], after: 10s, patience: 30s}]
",
    configure,
};

const DEFAULT_AFTER: Duration = Duration::from_secs(10);
const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);
/// A vehicle that nobody saw arrive is a fixture of the place once it has stood for this long.
const LEARNED_AFTER: Duration = Duration::from_secs(3);
/// A fixture that is out of sight is remembered for this long.
const FIXTURE_MEMORY: Duration = Duration::from_secs(600);
/// A standing vehicle that is hidden goes on standing for this long; one that moves is soon forgotten.
const KEEP_STANDING: Duration = Duration::from_secs(60);
const KEEP_MOVING: Duration = Duration::from_secs(3);
const REACH: Reach = Reach { at_once: 0.5, per_second: 0.0 };
/// Boxes that overlap by this much show a vehicle at the same place.
const SAME_PLACE: f32 = 0.6;

struct Settings {
    site: SiteId,
    zone: Polygon,
    classes: Vec<Class>,
    after: Duration,
}

struct DetectStopped {
    settings: Settings,
    vehicles: PerObject<Vehicle>,
    spots: Vec<Spot>,
    next_spot: u32,
    episodes: Episodes<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Vehicle {
    standing: Standing,
    /// The spot that it stands on.
    spot: Option<u32>,
}

/// A place where a vehicle stands, whatever its track is called.
#[derive(Clone, Copy, Debug)]
struct Spot {
    key: u32,
    place: BoxInImage,
    /// Nobody saw it arrive: it was always there.
    fixture: bool,
    since: MediaTime,
    seen: MediaTime,
    /// A vehicle that stood here was seen to move off.
    left: bool,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let zone = options::zone(reader, surroundings);
    let classes = options::classes_among(reader, surroundings, &options::VEHICLES, &options::VEHICLES);
    let range = Duration::from_secs(5)..=Duration::from_secs(3600);
    let after = options::duration_or(reader, "after", range, DEFAULT_AFTER);
    let range = Duration::from_secs(2)..=Duration::from_secs(600);
    let patience = options::duration_or(reader, "patience", range, DEFAULT_PATIENCE);
    reader.finish();
    let ((site, zone), classes, after, patience) = (zone?, classes?, after?, patience?);
    let cells = classes.iter().map(|class| Cell::new(site, Measure::StoppedCount, Some(*class))).collect();
    let kind = IncidentKind::StoppedVehicle;
    let operator = DetectStopped {
        settings: Settings { site, zone, classes, after },
        vehicles: PerObject::new(REACH),
        spots: Vec::new(),
        next_spot: 0,
        episodes: Episodes::new(Rules { kind, after: Duration::ZERO, gap: Duration::ZERO, patience }),
    };
    Some(Configured::counting(operator, cells).reporting([(kind, site)]))
}

impl Operator for DetectStopped {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let (at, aspect) = (observation.at, observation.picture.aspect());
        self.episodes.advance(at, findings);
        if is_gap(observation) {
            self.vehicles.clear();
        }
        if observation.trusted {
            let Self { settings, vehicles, spots, next_spot, episodes } = self;
            let keep = |vehicle: &Vehicle| {
                if vehicle.standing.is_settled() { KEEP_STANDING } else { KEEP_MOVING }
            };
            vehicles.follow(observation, keep, |track, _, vehicle| {
                if !settings.classes.contains(&track.class) {
                    return;
                }
                if vehicle.standing.follow(at, aspect, &track.box_in_image) {
                    let left = vehicle.spot.take();
                    spots.iter_mut().filter(|spot| Some(spot.key) == left).for_each(|spot| spot.left = true);
                }
                let Some(spot) = settings.spot(at, vehicle, spots, next_spot) else { return };
                (spot.seen, spot.left) = (at, false);
                if !spot.fixture {
                    if !episodes.is_open(spot.key) {
                        findings.push(settings.counted(at, track));
                    }
                    episodes.holds(spot.key, at, settings.word(at, track, spot), findings);
                }
            });
        }
        let (spots, episodes) = (&mut self.spots, &mut self.episodes);
        for spot in spots.iter().filter(|spot| spot.left) {
            episodes.end(spot.key, at, findings);
        }
        episodes.settle(at, findings);
        spots.retain(|spot| {
            let lasts =
                if spot.fixture { at.since(spot.seen) <= FIXTURE_MEMORY } else { episodes.is_open(spot.key) };
            lasts && !spot.left
        });
    }

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        self.episodes.advance(upto, findings);
    }

    fn finish(&mut self, findings: &mut Findings) {
        self.vehicles.clear();
        self.spots.clear();
        self.episodes.finish(findings);
    }
}

impl Settings {
    /// The spot that a vehicle stands on, if it has stood for long enough in the zone.
    fn spot<'a>(
        &self,
        at: MediaTime,
        vehicle: &mut Vehicle,
        spots: &'a mut Vec<Spot>,
        next: &mut u32,
    ) -> Option<&'a mut Spot> {
        let (place, since) = vehicle.standing.place()?;
        let fixture = !vehicle.standing.arrived();
        let after = if fixture { LEARNED_AFTER } else { self.after };
        if at.since(since) < after || !self.zone.contains(foot_in_picture(&place)) {
            return None;
        }
        let known = spots.iter().position(|spot| Some(spot.key) == vehicle.spot);
        let known = known.or_else(|| spots.iter().position(|spot| spot.place.iou(&place) >= SAME_PLACE));
        let known = known.unwrap_or_else(|| {
            spots.push(Spot { key: *next, place, fixture, since, seen: at, left: false });
            *next += 1;
            spots.len() - 1
        });
        let spot = spots.get_mut(known)?;
        vehicle.spot = Some(spot.key);
        Some(spot)
    }

    fn counted(&self, at: MediaTime, track: &Track) -> Finding {
        let measure = Measure::StoppedCount;
        Finding {
            at,
            site: self.site,
            class: Some(track.class),
            track: Some(track.id),
            kind: FindingKind::Counted { measure, direction: Direction::None, bucket: 0 },
        }
    }

    fn word(&self, at: MediaTime, track: &Track, spot: &Spot) -> Word {
        let minutes = (at.since(spot.since).as_secs() / 60).min(4) as u8;
        Word {
            site: self.site,
            class: Some(track.class),
            track: Some(track.id),
            severity: 50 + 10 * minutes,
            confidence: (100.0 * track.score) as u8,
            value: 0,
            unit: IncidentUnit::None,
            reason: None,
        }
    }
}
