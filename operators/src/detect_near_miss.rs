#![doc = include_str!("detect_near_miss.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::Findings;
use kerbside_core::geometry::{Polygon, SiteId};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::incident::{IncidentKind, IncidentUnit};
use kerbside_core::observation::{Observation, Track, TrackId};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::course::Course;
use crate::episodes::{Episodes, Rules, Word};
use crate::options;
use crate::seen::{MAX_STEP, foot_in_picture, is_cut, is_gap};
use crate::trail::{MEMORY, Passing, Point, Trail, passing};

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "detect_near_miss",
    summary: "Reports vehicles that miss a person or bicycle by little time, at speed.",
    manual: include_str!("detect_near_miss.md"),
    options: &[
        OptionDoc { name: "zone", takes: "name of a zone, required", meaning: "Where the paths meet." },
        OptionDoc {
            name: "pet",
            takes: "a time from 200ms to 2500ms; default 2s",
            meaning: "The longest time between the two at the same place that is a near miss.",
        },
        OptionDoc {
            name: "distance",
            takes: "0.5 to 5 metres; default 1.5",
            meaning: "How near the paths of a car's and a person's foot points come, their sizes included.",
        },
        OptionDoc {
            name: "min_speed",
            takes: "1 to 100 km/h; default 10",
            meaning: "How fast the vehicle is, at the least, where it passes.",
        },
    ],
    example: "\
geometry:
  zones:
    crossing: {polygon: [[0.0, 0.2], [1.0, 0.2], [1.0, 1.0], [0.0, 1.0]]}
  ground:
    image: [[0.1, 0.2], [0.9, 0.2], [1.0, 1.0], [0.0, 1.0]]
    metres: [[0, 12], [14, 12], [14, 0], [0, 0]]
operators:
  detect_near_miss: [{zone: crossing, pet: 2s, distance: 1.5, min_speed: 10}]
",
    configure,
};

const DEFAULT_PET: Duration = Duration::from_secs(2);
const DEFAULT_DISTANCE: f64 = 1.5;
const DEFAULT_MIN_SPEED: f64 = 10.0;
/// Who moves more slowly than this stands aside, in metres per second.
const LEAST_WALK: f32 = 0.4;
/// No pedestrian is faster than this: it is someone in or on a vehicle. In metres per second.
const FASTEST_WALK: f32 = 4.5;
/// Who moves with a vehicle, up to this share of its speed, rides in or on it, or beside it.
const TOGETHER: f32 = 0.4;
/// A meeting is over when the paths have come no nearer for this long.
const OVER_AFTER: Duration = Duration::from_secs(1);
/// And forgotten, so that the two may meet anew, after this long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// The situation ends this long after it was reported.
const REPORTED_FOR: Duration = Duration::from_secs(1);
/// The most meetings that are followed at a time.
const MEETINGS: usize = 64;
/// Half of a car's width, in metres: `distance` is that of a car.
const HALF_CAR: f64 = 0.9;

struct Settings {
    site: SiteId,
    zone: Polygon,
    ground: Ground,
    pet: Duration,
    /// In metres.
    distance: f64,
    /// In metres per second.
    min_speed: f32,
}

struct DetectNearMiss {
    settings: Settings,
    /// In the order of tracks. Also those that are gone: somebody else may come to where they were.
    paths: Vec<Path>,
    meetings: Vec<Meeting>,
    next: u32,
    episodes: Episodes<u32>,
    /// The last frame that could be trusted.
    last: MediaTime,
}

/// Where one track has been of late.
#[derive(Clone, Copy, Debug)]
struct Path {
    track: TrackId,
    class: Class,
    trail: Trail,
    course: Course,
    seen: MediaTime,
    /// Whether this frame added to the trail.
    fresh: bool,
}

/// A vehicle and somebody else whose paths came near.
#[derive(Clone, Copy, Debug)]
struct Meeting {
    vehicle: TrackId,
    other: TrackId,
    class: Class,
    nearest: Passing,
    improved: MediaTime,
    met: MediaTime,
    told: bool,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let ground = options::ground(reader, surroundings);
    let zone = options::zone(reader, surroundings);
    let range = Duration::from_millis(200)..=Duration::from_millis(2500);
    let pet = options::duration_or(reader, "pet", range, DEFAULT_PET);
    let distance = options::number_or(reader, "distance", 0.5..=5.0, "metres", DEFAULT_DISTANCE);
    let min_speed = options::number_or(reader, "min_speed", 1.0..=100.0, "km/h", DEFAULT_MIN_SPEED);
    let looks = |wanted: fn(Class) -> bool| surroundings.classes.iter().any(|class| wanted(*class));
    let useful = looks(is_vehicle) && looks(is_exposed);
    if !useful {
        reader.problem(
            "the camera does not look for both vehicles and people or bicycles",
            "one of each is expected among its classes",
        );
    }
    let on_street = match (&ground, &zone) {
        (Some(ground), Some((_, zone))) => options::is_on_ground(reader, ground, &zone.corners),
        _ => true,
    };
    reader.finish();
    let (ground, (site, zone), pet, distance, min_speed) = (ground?, zone?, pet?, distance?, min_speed?);
    let kind = IncidentKind::NearMiss;
    let rules = Rules { kind, after: Duration::ZERO, gap: Duration::ZERO, patience: REPORTED_FOR };
    let operator = DetectNearMiss {
        settings: Settings { site, zone, ground, pet, distance, min_speed: (min_speed / 3.6) as f32 },
        paths: Vec::new(),
        meetings: Vec::with_capacity(MEETINGS),
        next: 0,
        episodes: Episodes::new(rules),
        last: MediaTime::ZERO,
    };
    (useful && on_street).then(|| Configured::counting(operator, Vec::new()).reporting([(kind, site)]))
}

fn is_vehicle(class: Class) -> bool {
    options::VEHICLES.contains(&class)
}

fn is_exposed(class: Class) -> bool {
    matches!(class, Class::Person | Class::Bicycle)
}

/// Half of a vehicle's width, in metres.
fn half_width(class: Class) -> f64 {
    match class {
        Class::Bus | Class::Truck => 1.25,
        Class::Motorcycle => 0.4,
        _ => HALF_CAR,
    }
}

impl Operator for DetectNearMiss {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let at = observation.at;
        if is_gap(observation) {
            self.interrupt(findings);
        }
        self.episodes.advance(at, findings);
        if observation.trusted {
            self.last = at;
            self.paths.retain(|path| at.since(path.seen) <= MEMORY);
            self.paths.iter_mut().for_each(|path| path.fresh = false);
            for track in observation.tracks.iter().filter(|track| track.detected) {
                self.extend(at, track);
            }
            self.meet(at);
        }
        self.report(at, OVER_AFTER, findings);
        self.episodes.settle(at, findings);
        self.meetings.retain(|meeting| at.since(meeting.met) <= FORGOTTEN_AFTER);
    }

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        if upto.since(self.last) > MAX_STEP {
            self.interrupt(findings);
        }
        self.episodes.advance(upto, findings);
    }

    fn finish(&mut self, findings: &mut Findings) {
        self.interrupt(findings);
        self.meetings.clear();
        self.episodes.finish(findings);
    }
}

impl DetectNearMiss {
    /// Nobody knows what comes next: the meetings until now came no nearer, and are told as of the last frame.
    /// They stay known, so that the same two are not told twice.
    fn interrupt(&mut self, findings: &mut Findings) {
        self.paths.clear();
        if self.meetings.iter().any(|meeting| !meeting.told) {
            self.report(self.last.max(self.episodes.now()), Duration::ZERO, findings);
        }
    }

    /// Adds this frame's place to the track's path.
    fn extend(&mut self, at: MediaTime, track: &Track) {
        let of_interest = is_vehicle(track.class) || is_exposed(track.class);
        if !of_interest || is_cut(&track.box_in_image) {
            return;
        }
        let Some(place) = self.settings.ground.on_ground(foot_in_picture(&track.box_in_image)) else { return };
        let place = [place.x, place.y];
        let known = self.paths.binary_search_by_key(&track.id, |path| path.track);
        let index = known.unwrap_or_else(|index| {
            let (trail, course) = (Trail::default(), Course::default());
            let path = Path { track: track.id, class: track.class, trail, course, seen: at, fresh: false };
            self.paths.insert(index, path);
            index
        });
        let path = &mut self.paths[index];
        (path.class, path.seen) = (track.class, at);
        path.course.add(at, place);
        if let Some(velocity) = path.course.velocity() {
            let velocity = velocity.map(|element| element as f32);
            path.fresh = path.trail.add(Point { at, place, velocity, score: track.score });
        }
    }

    /// Compares the newest stretch of each path with what the others have left behind.
    fn meet(&mut self, at: MediaTime) {
        for vehicle in self.paths.iter().filter(|path| is_vehicle(path.class)) {
            let limit = self.settings.distance + half_width(vehicle.class) - HALF_CAR;
            for other in self.paths.iter().filter(|path| is_exposed(path.class)) {
                // Whoever comes second meets the other's trail, so both ways are looked at.
                let pet = self.settings.pet;
                let behind = |mover: &Path, met: &Path| {
                    mover.fresh.then(|| passing(&mover.trail, &met.trail, limit, pet)).flatten()
                };
                let (second, first) = (behind(vehicle, other), behind(other, vehicle));
                let passings = [second, first.map(Passing::reversed)].into_iter().flatten();
                let counts = passings.filter(|passing| self.settings.counts(other.class, passing));
                let Some(nearest) = counts.min_by_key(|passing| passing.apart) else { continue };
                let known = |it: &Meeting| it.vehicle == vehicle.track && it.other == other.track;
                if let Some(place) = self.meetings.iter().position(known) {
                    let meeting = &mut self.meetings[place];
                    meeting.met = at;
                    if nearest.apart < meeting.nearest.apart {
                        (meeting.nearest, meeting.improved) = (nearest, at);
                    }
                } else if self.meetings.len() < MEETINGS {
                    self.meetings.push(Meeting {
                        vehicle: vehicle.track,
                        other: other.track,
                        class: vehicle.class,
                        nearest,
                        improved: at,
                        met: at,
                        told: false,
                    });
                }
            }
        }
    }

    /// Reports the meetings that have come no nearer for `quiet`.
    fn report(&mut self, at: MediaTime, quiet: Duration, findings: &mut Findings) {
        let Self { settings, meetings, next, episodes, .. } = self;
        for meeting in meetings.iter_mut().filter(|it| !it.told && at.since(it.improved) >= quiet) {
            meeting.told = true;
            episodes.holds(*next, at, settings.word(meeting), findings);
            *next += 1;
        }
    }
}

impl Settings {
    /// Whether a passing is one of somebody on the street by a vehicle at speed. `mover` is the vehicle.
    fn counts(&self, other: Class, passing: &Passing) -> bool {
        let Passing { mover, met, .. } = passing;
        let (speed, walk) = (mover.speed(), met.speed());
        let relative = (mover.velocity[0] - met.velocity[0]).hypot(mover.velocity[1] - met.velocity[1]);
        let place = PointOnGround { x: met.place[0], y: met.place[1] };
        speed >= self.min_speed
            && walk >= LEAST_WALK
            && (other != Class::Person || walk <= FASTEST_WALK)
            && relative >= TOGETHER * speed
            && self.ground.in_image(place).is_some_and(|point| self.zone.contains(point))
    }

    fn word(&self, meeting: &Meeting) -> Word {
        let Passing { apart, mover, met } = meeting.nearest;
        let closeness = 1.0 - apart.as_secs_f32() / self.pet.as_secs_f32();
        let harm = (3.6 * mover.speed() / 50.0).min(1.0);
        Word {
            site: self.site,
            class: Some(meeting.class),
            track: Some(meeting.vehicle),
            severity: (20.0 + 50.0 * closeness.max(0.0) + 30.0 * harm) as u8,
            confidence: (100.0 * mover.score.min(met.score)) as u8,
            value: (apart.as_millis() as f64 / 100.0).round() as i32,
            unit: IncidentUnit::Deciseconds,
            reason: None,
        }
    }
}
