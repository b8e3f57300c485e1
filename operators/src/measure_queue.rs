#![doc = include_str!("measure_queue.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{PointInImage, Polygon, SiteId};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::incident::{IncidentKind, IncidentUnit};
use kerbside_core::observation::{Observation, Track};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::course::Course;
use crate::episodes::{Episodes, Rules, Word};
use crate::options;
use crate::per_track::PerTrack;
use crate::seen::is_gap;
use crate::zone::Depth;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "measure_queue",
    summary: "Measures how long the queue of standing traffic before a line is.",
    manual: include_str!("measure_queue.md"),
    options: &[
        OptionDoc { name: "line", takes: "name of a line, required", meaning: "The stop line." },
        OptionDoc {
            name: "zone",
            takes: "name of a zone, required",
            meaning: "The lanes in which the queue stands.",
        },
        OptionDoc {
            name: "classes",
            takes: "a list of classes other than person and bicycle; default: all of them that the camera looks for",
            meaning: "Which classes queue.",
        },
        OptionDoc {
            name: "standing_below",
            takes: "with ground 1 to 30 km/h, default 5; without 0.05 to 2 box heights per second, default 0.25",
            meaning: "Who is slower for two seconds stands.",
        },
        OptionDoc {
            name: "gap",
            takes: "5 to 50 metres, default 15; with ground only",
            meaning: "How far from the line, or from the one before it, a vehicle still belongs to the queue.",
        },
        OptionDoc {
            name: "spillback_at",
            takes: "1 to 100 vehicles; default: never",
            meaning: "From how many vehicles on the queue is an incident.",
        },
        OptionDoc {
            name: "spillback_metres",
            takes: "5 to 500 metres, instead of `spillback_at`; with ground only; default: never",
            meaning: "From which reach on the queue is an incident.",
        },
    ],
    example: "\
geometry:
  lines:
    stop: {from: [0.30, 0.62], to: [0.30, 0.42]}
  zones:
    approach: {polygon: [[0.30, 0.42], [0.95, 0.42], [0.95, 0.62], [0.30, 0.62]]}
  ground:
    image: [[0.1, 0.9], [0.9, 0.9], [0.7, 0.25], [0.3, 0.25]]
    metres: [[0, 0], [12, 0], [12, 40], [0, 40]]
operators:
  measure_queue: [{line: stop, zone: approach, standing_below: 5, gap: 15, spillback_metres: 60}]
",
    configure,
};

/// Who is slow for this long joins the queue.
const JOIN_AFTER: Duration = Duration::from_secs(2);
/// Who is faster than `standing_below` times this for that long leaves it: a queue that moves up stays one.
const LEAVE_FACTOR: f64 = 2.0;
const LEAVE_AFTER: Duration = Duration::from_secs(1);
/// The gap may be this much longer where a lorry or a bus is on either side of it: places are measured
/// from foot to foot, so a vehicle's length is part of it.
const LONG_VEHICLE_METRES: f64 = 10.0;
/// A spillback begins after this long, and ends when the queue has been shorter for as long.
const HELD: Duration = Duration::from_secs(10);
/// A dip of the queue this short does not matter while it builds up.
const DIP: Duration = Duration::from_secs(2);
/// It ends when the queue is shorter than this share of the limit.
const RELEASE: f64 = 0.8;
const SPILLBACK: Rules = Rules { kind: IncidentKind::QueueSpillback, after: HELD, gap: DIP, patience: HELD };

struct Settings {
    zone: SiteId,
    lanes: Polygon,
    classes: Vec<Class>,
    scale: Scale,
    limit: Option<Limit>,
}

/// How places and speeds are measured.
enum Scale {
    /// In metres and metres per second.
    Street { ground: Ground, stop: [PointOnGround; 2], standing_below: f64, gap: f64 },
    /// In picture heights, speeds in box heights per second.
    Picture { standing_below: f64 },
}

/// From where on a queue is an incident.
#[derive(Clone, Copy)]
enum Limit {
    Vehicles(f64),
    Metres(f64),
}

struct MeasureQueue {
    settings: Settings,
    vehicles: PerTrack<Vehicle>,
    /// Who stands in the lanes in this frame.
    standing: Vec<Standing>,
    spillback: Episodes<SiteId>,
}

/// What is known of one track.
#[derive(Clone, Copy, Debug, Default)]
struct Vehicle {
    course: Course,
    inside: bool,
    queued: bool,
    /// Since when it has been slow where it is not queued, or fast where it is.
    other_since: Option<MediaTime>,
    /// How far its nearer and its farther end are from the line.
    ends: Option<(f64, f64)>,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    foot_metres: f64,
    rear_metres: f64,
    is_long: bool,
}

/// The queue of one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    vehicles: u32,
    metres: f64,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let line = options::line(reader, surroundings);
    let zone = options::zone(reader, surroundings);
    // The counts are for all classes together and released as those of vehicles.
    let classes = options::classes_among(reader, surroundings, &options::TRAFFIC, &options::TRAFFIC);
    let standing_below = match (reader.optional("standing_below"), surroundings.ground) {
        (Some(field), Some(_)) => field.number(1.0..=30.0, "km/h"),
        (Some(field), None) => field.number(0.05..=2.0, "box heights per second"),
        (None, Some(_)) => Some(5.0),
        (None, None) => Some(0.25),
    };
    // What is said in metres needs a ground.
    let metres = |key, range, default: Option<f64>| match reader.optional(key) {
        Some(field) => {
            let ground = options::ground(reader, surroundings);
            field.number(range, "metres").and_then(|metres| ground.map(|_| Some(metres)))
        }
        None => Some(default),
    };
    let gap = metres("gap", 5.0..=50.0, Some(15.0));
    let reach = metres("spillback_metres", 5.0..=500.0, None);
    let number = match reader.optional("spillback_at") {
        Some(field) => field.integer(1..=100, "vehicles").map(Some),
        None => Some(None),
    };
    reader.finish();
    let ((_, line), (zone_site, lanes)) = (line?, zone?);
    let (classes, standing_below, gap, reach, number) = (classes?, standing_below?, gap?, reach?, number?);
    let limit = match (number, reach) {
        (Some(_), Some(_)) => {
            reader.problem("there are two limits for one incident", "either spillback_at or spillback_metres");
            return None;
        }
        (Some(number), None) => Some(Limit::Vehicles(number as f64)),
        (None, Some(reach)) => Some(Limit::Metres(reach)),
        (None, None) => None,
    };
    let scale = match surroundings.ground {
        Some(ground) => {
            let (Some(from), Some(to)) = (ground.on_ground(line.from), ground.on_ground(line.to)) else {
                reader
                    .problem("the line lies above the horizon of the ground", "a line on the street is expected");
                return None;
            };
            let (standing_below, gap) = (standing_below / 3.6, gap.unwrap_or(f64::INFINITY));
            Scale::Street { ground: *ground, stop: [from, to], standing_below, gap }
        }
        None => Scale::Picture { standing_below },
    };
    let mut cells = vec![Cell::new(zone_site, Measure::QueueLen, None)];
    if surroundings.ground.is_some() {
        cells.push(Cell::new(zone_site, Measure::QueueReach, None));
    }
    let incidents = limit.map(|_| (IncidentKind::QueueSpillback, zone_site));
    let settings = Settings { zone: zone_site, lanes, classes, scale, limit };
    let operator = MeasureQueue {
        settings,
        vehicles: PerTrack::new(),
        standing: Vec::new(),
        spillback: Episodes::new(SPILLBACK),
    };
    Some(Configured::counting(operator, cells).reporting(incidents))
}

impl Operator for MeasureQueue {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let (settings, at) = (&self.settings, observation.at);
        self.spillback.advance(at, findings);
        self.standing.clear();
        if is_gap(observation) {
            self.vehicles.clear();
            self.spillback.interrupt();
        }
        if observation.trusted {
            let (aspect, standing) = (observation.picture.aspect(), &mut self.standing);
            self.vehicles.follow(observation.tracks, |track, vehicle| {
                if track.detected {
                    settings.go_on(vehicle, track, aspect, at);
                }
                if !(vehicle.queued && vehicle.inside && settings.classes.contains(&track.class)) {
                    return;
                }
                let (foot_metres, rear_metres) = vehicle.ends.unwrap_or_default();
                let is_long = matches!(track.class, Class::Bus | Class::Truck);
                standing.push(Standing { foot_metres, rear_metres, is_long });
            });
        }
        let queue = settings.queue(&mut self.standing);
        let site = settings.zone;
        let mut peak = |measure, amount| {
            let kind = FindingKind::Peak { measure, amount };
            findings.push(Finding { at, site, class: None, track: None, kind });
        };
        if queue.vehicles > 0 {
            peak(Measure::QueueLen, queue.vehicles);
            if matches!(settings.scale, Scale::Street { .. }) {
                peak(Measure::QueueReach, queue.metres.round() as u32);
            }
        }
        if let Some(limit) = settings.limit {
            limit.watch(at, site, queue, &mut self.spillback, findings);
        }
    }

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        self.spillback.advance(upto, findings);
    }

    fn finish(&mut self, findings: &mut Findings) {
        self.spillback.finish(findings);
        self.vehicles.clear();
    }
}

impl Settings {
    /// Takes in where the vehicle is now.
    fn go_on(&self, vehicle: &mut Vehicle, track: &Track, aspect: f32, at: MediaTime) {
        let box_in_image = &track.box_in_image;
        let foot = box_in_image.foot();
        vehicle.inside = Depth::of(&self.lanes, aspect, box_in_image).is_inside(vehicle.inside);
        // Speeds from here on are shares of `standing_below`.
        let (place, unit) = match &self.scale {
            Scale::Street { ground, stop, standing_below, .. } => {
                let Some(point) = ground.on_ground(foot) else { return };
                vehicle.ends = Some(ends(ground, stop, foot, point, track.class));
                ([point.x, point.y], *standing_below)
            }
            Scale::Picture { standing_below } => {
                let height = f64::from(box_in_image.height());
                ([f64::from(foot.x * aspect), f64::from(foot.y)], standing_below * height)
            }
        };
        vehicle.course.add(at, place);
        let Some(speed) = vehicle.course.speed() else { return };
        let (changes, after) = match vehicle.queued {
            true => (speed > LEAVE_FACTOR * unit, LEAVE_AFTER),
            false => (speed < unit, JOIN_AFTER),
        };
        if !changes {
            vehicle.other_since = None;
        } else if at.since(*vehicle.other_since.get_or_insert(at)) >= after {
            vehicle.queued = !vehicle.queued;
            vehicle.other_since = None;
        }
    }

    /// Those who stand one behind the other, beginning at the line.
    fn queue(&self, standing: &mut [Standing]) -> Queue {
        let Scale::Street { gap, .. } = self.scale else {
            return Queue { vehicles: standing.len() as u32, metres: 0.0 };
        };
        standing.sort_unstable_by(|a, b| a.foot_metres.total_cmp(&b.foot_metres));
        let (mut queue, mut before, mut was_long) = (Queue::default(), 0.0, false);
        for vehicle in standing {
            let longest = gap + if was_long || vehicle.is_long { LONG_VEHICLE_METRES } else { 0.0 };
            if vehicle.foot_metres - before > longest {
                break;
            }
            queue.vehicles += 1;
            queue.metres = queue.metres.max(vehicle.rear_metres);
            (before, was_long) = (vehicle.foot_metres, vehicle.is_long);
        }
        queue
    }
}

impl Limit {
    /// Takes in the queue of this moment.
    fn watch(
        self,
        at: MediaTime,
        site: SiteId,
        queue: Queue,
        spillback: &mut Episodes<SiteId>,
        findings: &mut Findings,
    ) {
        let (level, limit, unit) = match self {
            Self::Vehicles(limit) => (f64::from(queue.vehicles), limit, IncidentUnit::Count),
            Self::Metres(limit) => (queue.metres, limit, IncidentUnit::Metres),
        };
        let word = Word {
            site,
            class: None,
            track: None,
            // 50 at the limit, 100 at twice as much.
            severity: (50.0 * level / limit).clamp(0.0, 100.0).round() as u8,
            confidence: 90,
            value: level.round() as i32,
            unit,
            reason: None,
        };
        if level >= if spillback.is_open(site) { RELEASE * limit } else { limit } {
            spillback.holds(site, at, word, findings);
        }
        spillback.settle(at, findings);
    }
}

/// How far a vehicle's foot and its rear are from the stop line, in metres. Its foot is at its front where it
/// comes toward the camera, at its rear where it drives away, and in between where it passes by.
fn ends(
    ground: &Ground,
    [from, to]: &[PointOnGround; 2],
    foot: PointInImage,
    point: PointOnGround,
    class: Class,
) -> (f64, f64) {
    const STEP: f32 = 1e-3;
    let (along_x, along_y) = (to.x - from.x, to.y - from.y);
    let length_squared = (along_x * along_x + along_y * along_y).max(f64::MIN_POSITIVE);
    let share = ((point.x - from.x) * along_x + (point.y - from.y) * along_y) / length_squared;
    let share = share.clamp(0.0, 1.0);
    let (x, y) = (from.x + share * along_x - point.x, from.y + share * along_y - point.y);
    let distance = x.hypot(y);
    // Toward the camera is down in the picture.
    let nearer = ground.on_ground(PointInImage { x: foot.x, y: foot.y + STEP }).unwrap_or(point);
    let (camera_x, camera_y) = (nearer.x - point.x, nearer.y - point.y);
    let cosine = (x * camera_x + y * camera_y) / (distance * camera_x.hypot(camera_y)).max(f64::MIN_POSITIVE);
    (distance, distance + (1.0 + cosine) / 2.0 * usual_length(class))
}

/// The usual length of a vehicle, in metres.
fn usual_length(class: Class) -> f64 {
    match class {
        Class::Person => 0.5,
        Class::Bicycle | Class::Motorcycle => 2.0,
        Class::Car => 4.5,
        Class::Truck => 9.0,
        Class::Bus => 12.0,
        Class::Other => 6.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerbside_core::incident::Phase;

    /// The phases that a queue of so many vehicles until each of these seconds leads to, and when.
    fn phases(levels: &[(u32, u64)]) -> Vec<(Phase, u64, i32)> {
        let (mut spillback, mut findings) = (Episodes::new(SPILLBACK), Findings::new());
        let end = levels.last().map_or(0, |(_, until)| *until);
        for millis in (0..1000 * end).step_by(100) {
            let (vehicles, _) = *levels.iter().find(|(_, until)| millis < 1000 * until).unwrap();
            let queue = Queue { vehicles, metres: 0.0 };
            let at = MediaTime::from_millis(millis);
            Limit::Vehicles(5.0).watch(at, SiteId(0), queue, &mut spillback, &mut findings);
        }
        let told = |finding: &Finding| match finding.kind {
            FindingKind::Incident(it) => (it.phase, finding.at.as_nanos() / 1_000_000_000, it.value),
            other => panic!("{other:?}"),
        };
        findings.as_slice().iter().map(told).collect()
    }

    #[test]
    fn a_spillback_bears_short_dips_and_begins_and_ends_late() {
        use Phase::{Begin, End, Update};
        type Case = (&'static str, &'static [(u32, u64)], &'static [(Phase, u64, i32)]);
        let cases: [Case; 7] = [
            ("too short", &[(9, 9), (0, 40)], &[]),
            ("long enough", &[(5, 20)], &[(Begin, 10, 5)]),
            ("a dip while it builds up", &[(6, 5), (4, 6), (6, 20)], &[(Begin, 10, 6)]),
            ("a longer one", &[(6, 5), (4, 8), (6, 17), (0, 40)], &[]),
            ("a little shorter for long", &[(5, 12), (4, 60)], &[(Begin, 10, 5), (Update, 20, 4)]),
            ("much shorter for a while", &[(5, 12), (1, 20), (5, 40)], &[(Begin, 10, 5)]),
            ("over, and again", &[(5, 12), (1, 23), (7, 60)], &[(Begin, 10, 5), (End, 21, 5), (Begin, 33, 7)]),
        ];
        for (name, levels, expected) in cases {
            assert_eq!(phases(levels), expected, "{name}");
        }
    }
}
