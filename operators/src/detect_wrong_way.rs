#![doc = include_str!("detect_wrong_way.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Findings};
use kerbside_core::geometry::{Line, PointInImage, Polygon, SiteId};
use kerbside_core::ground::Ground;
use kerbside_core::incident::{IncidentKind, IncidentUnit};
use kerbside_core::observation::{Observation, Track, TrackId};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::course::Course;
use crate::crossing::{Approach, CrossingWatch, DEFAULT_HYSTERESIS};
use crate::episodes::{Episodes, Rules, Word};
use crate::options;
use crate::per_object::{ObjectId, PerObject, Reach};
use crate::seen::{is_cut, is_gap};
use crate::zone::Depth;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "detect_wrong_way",
    summary: "Reports vehicles that go against the allowed direction.",
    manual: include_str!("detect_wrong_way.md"),
    options: &[
        OptionDoc { name: "line", takes: "name of a line", meaning: "Which line may be passed one way only." },
        OptionDoc {
            name: "zone",
            takes: "name of a zone, instead of a line",
            meaning: "In which zone everything goes one way.",
        },
        OptionDoc {
            name: "along",
            takes: "name of a line, required with a zone",
            meaning: "Which way the zone's traffic goes: along this line, from its beginning to its end.",
        },
        OptionDoc {
            name: "allowed",
            takes: "forward or backward; required with a line, default forward with a zone",
            meaning: "The allowed direction: over the line, or along it.",
        },
        options::SITUATION_CLASSES,
        OptionDoc {
            name: "min_distance",
            takes: "1 to 100 metres, default 5, where the camera's ground is known; else 0.5 to 20 box heights, default 1",
            meaning: "How far it must have gone against the allowed direction.",
        },
    ],
    example: "\
geometry:
  lines:
    crossing: {from: [0.5, 0.1], to: [0.5, 0.45]}
operators:
  detect_wrong_way: [{line: crossing, allowed: forward, classes: [car, bus, truck]}]
",
    configure,
};

const DEFAULT_METRES: f64 = 5.0;
const DEFAULT_HEIGHTS: f64 = 1.0;
/// The situation lasts for this long after the vehicle was last seen to go on.
const PATIENCE: Duration = Duration::from_secs(3);
/// Who stands in the way this long is not a vehicle that goes the wrong way any more.
const STANDS: Duration = Duration::from_secs(30);
const KEEP: Duration = Duration::from_secs(3);
const REACH: Reach = Reach { at_once: 0.7, per_second: 0.5 };

/// Where the allowed direction applies.
enum Where {
    Line(CrossingWatch),
    Zone(Polygon),
}

/// How far along the allowed direction a place lies.
enum Way {
    /// In metres.
    OnGround(Ground, [f64; 2]),
    /// In picture heights. `across` the line, from its left to its right, or along it.
    InPicture { line: Line, across: bool, sign: f64 },
}

struct Settings {
    site: SiteId,
    place: Where,
    way: Way,
    allowed: Direction,
    classes: Vec<Class>,
    /// In metres on the ground, else in box heights.
    min_distance: f64,
}

struct DetectWrongWay {
    settings: Settings,
    drives: PerObject<Drive>,
    episodes: Episodes<ObjectId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Drive {
    track: Option<TrackId>,
    approach: Approach,
    /// Whether it has passed the line against the direction, or is in the zone.
    entered: bool,
    /// The furthest along the allowed direction that it has been since it last went that way, and the same
    /// since its track began: who takes over from a lost neighbour has gone nowhere yet.
    rear: f64,
    track_rear: f64,
    /// The furthest against it.
    front: f64,
    /// When it last got on against the direction, and how far it was then.
    got_on: Option<(MediaTime, f64)>,
    course: Course,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let directions = [("forward", Direction::Forward), ("backward", Direction::Backward)];
    let (place, line) = match (reader.optional("line"), reader.optional("zone")) {
        (None, Some(_)) => {
            let zone = options::zone(reader, surroundings);
            let along = reader.required("along").and_then(|field| options::named_line(&field, surroundings));
            (zone.map(|(site, zone)| (site, Where::Zone(zone))), along.map(|(_, line)| line))
        }
        (_, zone) => {
            if let Some(zone) = zone {
                zone.key_problem("a line and a zone are given", "one of 'line' and 'zone' is expected");
            }
            reader.declare(["zone", "along"]);
            let line = options::line(reader, surroundings);
            let hysteresis = DEFAULT_HYSTERESIS as f32;
            (
                line.map(|(site, line)| (site, Where::Line(CrossingWatch::new(line, hysteresis)))),
                line.map(|it| it.1),
            )
        }
    };
    let across = reader.optional("line").is_some() || reader.optional("zone").is_none();
    let allowed = if across { reader.required("allowed") } else { reader.optional("allowed") };
    let allowed = match allowed {
        Some(field) => field.one_of(&directions),
        None => (!across).then_some(Direction::Forward),
    };
    let usual = options::VEHICLES;
    let possible = [Class::Bicycle, Class::Motorcycle, Class::Car, Class::Bus, Class::Truck];
    let classes = options::classes_among(reader, surroundings, &possible, &usual);
    let min_distance = match surroundings.ground {
        Some(_) => options::number_or(reader, "min_distance", 1.0..=100.0, "metres", DEFAULT_METRES),
        None => options::number_or(reader, "min_distance", 0.5..=20.0, "box heights", DEFAULT_HEIGHTS),
    };
    reader.finish();
    let ((site, place), line, allowed, classes) = (place?, line?, allowed?, classes?);
    let Some(way) = way(surroundings.ground, line, across, allowed) else {
        reader.problem("the line reaches above the horizon of the ground", "a line on the street is expected");
        return None;
    };
    let settings = Settings { site, place, way, allowed, classes, min_distance: min_distance? };
    let kind = IncidentKind::WrongWay;
    let rules = Rules { kind, after: Duration::ZERO, gap: Duration::ZERO, patience: PATIENCE };
    let operator = DetectWrongWay { settings, drives: PerObject::new(REACH), episodes: Episodes::new(rules) };
    Some(Configured::counting(operator, Vec::new()).reporting([(kind, site)]))
}

/// The axis of the allowed direction; `None` where the line is not on the ground.
fn way(ground: Option<&Ground>, line: Line, across: bool, allowed: Direction) -> Option<Way> {
    let sign = if allowed == Direction::Forward { 1.0 } else { -1.0 };
    let Some(ground) = ground else { return Some(Way::InPicture { line, across, sign }) };
    let (from, to) = (ground.on_ground(line.from)?, ground.on_ground(line.to)?);
    let length = from.distance(to);
    let along = [(to.x - from.x) / length, (to.y - from.y) / length];
    let axis = if across {
        // To the right in the picture, which is one of the two sides on the ground. Picture coordinates
        // do not bend sides, whatever the aspect ratio, so the normal need not be a right angle there.
        const STEP: f32 = 1e-3;
        let middle = PointInImage { x: (line.from.x + line.to.x) / 2.0, y: (line.from.y + line.to.y) / 2.0 };
        let right = PointInImage {
            x: middle.x - STEP * (line.to.y - line.from.y),
            y: middle.y + STEP * (line.to.x - line.from.x),
        };
        let (middle, right) = (ground.on_ground(middle)?, ground.on_ground(right)?);
        let normal = [-along[1], along[0]];
        let side = normal[0] * (right.x - middle.x) + normal[1] * (right.y - middle.y);
        normal.map(|element| element * side.signum())
    } else {
        along
    };
    axis.iter().all(|element| element.is_finite()).then(|| Way::OnGround(*ground, axis.map(|it| it * sign)))
}

impl Way {
    /// How far along the allowed direction a track is, in metres or in heights of its box.
    fn along(&self, aspect: f32, track: &Track) -> Option<(f64, Option<[f64; 2]>)> {
        let foot = track.box_in_image.foot();
        match self {
            Self::OnGround(ground, axis) => {
                let point = ground.on_ground(foot)?;
                Some((axis[0] * point.x + axis[1] * point.y, Some([point.x, point.y])))
            }
            Self::InPicture { line, across, sign } => {
                let (x, y) = (f64::from((line.to.x - line.from.x) * aspect), f64::from(line.to.y - line.from.y));
                let axis = if *across { [-y, x] } else { [x, y] };
                let place = axis[0] * f64::from(foot.x * aspect) + axis[1] * f64::from(foot.y);
                Some((sign * place / x.hypot(y), None))
            }
        }
    }
}

impl Operator for DetectWrongWay {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let at = observation.at;
        self.episodes.advance(at, findings);
        if is_gap(observation) {
            self.drives.clear();
        }
        if let (false, Where::Line(watch)) = (observation.trusted, &mut self.settings.place) {
            watch.distrust(at);
        }
        if observation.trusted {
            let Self { settings, drives, episodes } = self;
            let aspect = observation.picture.aspect();
            drives.follow(
                observation,
                |_| KEEP,
                |track, object, drive| {
                    if !settings.classes.contains(&track.class) {
                        return;
                    }
                    match settings.judge(at, aspect, track, drive) {
                        Judgement::WrongWay => {
                            episodes.holds(object, at, settings.word(track, drive), findings);
                        }
                        Judgement::TurnedBack => episodes.end(object, at, findings),
                        Judgement::Nothing => {}
                    }
                },
            );
        }
        self.episodes.settle(at, findings);
    }

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        self.episodes.advance(upto, findings);
    }

    fn finish(&mut self, findings: &mut Findings) {
        self.drives.clear();
        self.episodes.finish(findings);
    }
}

enum Judgement {
    Nothing,
    WrongWay,
    TurnedBack,
}

impl Settings {
    fn judge(&self, at: MediaTime, aspect: f32, track: &Track, drive: &mut Drive) -> Judgement {
        match &self.place {
            Where::Line(watch) => {
                if let Some(passage) = watch.follow(aspect, at, track, &mut drive.approach) {
                    drive.entered = passage.direction != self.allowed;
                }
            }
            Where::Zone(zone) => {
                drive.entered = Depth::of(zone, aspect, &track.box_in_image).is_inside(drive.entered);
            }
        }
        let Some((along, point)) = self.way.along(aspect, track) else { return Judgement::Nothing };
        let on_ground = point.is_some();
        let unit = if on_ground { 1.0 } else { f64::from(track.box_in_image.height()) };
        let far = self.min_distance * unit;
        if drive.track != Some(track.id) {
            if drive.track.is_none() {
                (drive.rear, drive.front) = (along, along);
            }
            (drive.track, drive.track_rear) = (Some(track.id), along);
        }
        // A box that the picture's edge cuts has its foot elsewhere.
        if !is_cut(&track.box_in_image) {
            if let Some(point) = point {
                drive.course.add(at, point);
            }
            let outside = matches!(self.place, Where::Zone(_)) && !drive.entered;
            if outside || along > drive.front + far / 2.0 {
                let turned = drive.got_on.take().is_some();
                (drive.rear, drive.track_rear, drive.front) = (along, along, along);
                if turned {
                    drive.entered &= matches!(self.place, Where::Zone(_));
                    return Judgement::TurnedBack;
                }
            }
            drive.rear = drive.rear.max(along);
            drive.track_rear = drive.track_rear.max(along);
            drive.front = drive.front.min(along);
            let gone = drive.entered && drive.rear - along >= far && drive.track_rear - along >= far / 2.0;
            if gone && drive.got_on.is_none_or(|(_, then)| along <= then - far / 4.0) {
                drive.got_on = Some((at, along));
            }
        }
        match drive.got_on {
            Some((then, _)) if at.since(then) <= STANDS => Judgement::WrongWay,
            _ => Judgement::Nothing,
        }
    }

    fn word(&self, track: &Track, drive: &Drive) -> Word {
        let speed = drive.course.speed().map(|metres_per_second| 3.6 * metres_per_second);
        let (value, unit) =
            speed.map_or((0, IncidentUnit::None), |speed| (speed.round() as i32, IncidentUnit::KmPerHour));
        Word {
            site: self.site,
            class: Some(track.class),
            track: Some(track.id),
            severity: speed.map_or(70, |speed| (50.0 + speed / 2.0).min(100.0) as u8),
            confidence: (100.0 * track.score) as u8,
            value,
            unit,
            reason: None,
        }
    }
}
