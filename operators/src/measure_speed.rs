#![doc = include_str!("measure_speed.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{Polygon, SiteId};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::observation::{Observation, Track, TrackId};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::crossing::{Approach, CrossingWatch, DEFAULT_HYSTERESIS};
use crate::options;
use crate::pace::{Footing, Pace, Speed};
use crate::per_track::PerTrack;
use crate::seen::{is_cut, is_gap};
use crate::zone::Depth;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "measure_speed",
    summary: "Measures how fast vehicles pass a line, or how fast they are on average through a zone.",
    manual: include_str!("measure_speed.md"),
    options: &[
        OptionDoc {
            name: "line",
            takes: "name of a line; this or `zone`",
            meaning: "Measures the speed at the moment of the crossing.",
        },
        OptionDoc {
            name: "zone",
            takes: "name of a zone; this or `line`",
            meaning: "Measures the mean speed from entering the zone to leaving it.",
        },
        options::VEHICLE_CLASSES,
    ],
    example: "\
geometry:
  lines:
    gate: {from: [0.5, 0.38], to: [0.5, 0.22]}
  ground:
    image: [[0.1, 0.9], [0.9, 0.9], [0.7, 0.25], [0.3, 0.25]]
    metres: [[0, 0], [12, 0], [12, 40], [0, 40]]
operators:
  measure_speed: [{line: gate, classes: [car, bus, truck]}]
",
    configure,
};

/// Nothing on a street is faster; what seems to be is a mistake of the tracker.
const MAX_MPS: f64 = 250.0 / 3.6;
/// The least way on which a speed is measured at a line: what stands and shakes moves less.
const LEAST_METRES_AT_LINE: f64 = 2.0;
/// The least way on which a mean speed is measured.
const LEAST_METRES_IN_ZONE: f64 = 5.0;
/// The way through a zone is measured in legs of at least this length: shorter ones would add up shake.
const LEG_METRES: f64 = 3.0;
/// And of this many standard deviations of the shake.
const LEG_SHAKES: f64 = 6.0;
/// Who makes no leg for this long and then vanishes has stopped in the zone.
const STOPPED: Duration = Duration::from_secs(2);
const LEAST_POINTS: u32 = 4;
const LEAST_TIME: Duration = Duration::from_millis(400);
/// The largest standard error of a speed at a line: this share of it, or this many metres per second.
const LARGEST_ERROR: (f64, f64) = (0.1, 0.5);

enum Place {
    Line(CrossingWatch),
    Zone(Polygon),
}

struct Settings {
    site: SiteId,
    place: Place,
    ground: Ground,
    classes: Vec<Class>,
}

struct MeasureSpeed {
    settings: Settings,
    objects: PerTrack<Object>,
    last: MediaTime,
}

/// What is known of one track: for a line or for a zone.
#[derive(Clone, Copy, Debug, Default)]
struct Object {
    class: Option<Class>,
    pace: Pace,
    /// The last two speeds.
    speeds: [Option<Speed>; 2],
    approach: Approach,
    /// It has crossed the line, and its speed will be known soon.
    crossed: Option<(Direction, MediaTime)>,
    inside: bool,
    passage: Option<Passage>,
}

/// A way through a zone so far.
#[derive(Clone, Copy, Debug)]
struct Passage {
    began: MediaTime,
    points: u32,
    /// The sum of all legs, in metres.
    metres: f64,
    /// Where the last leg ended, and when.
    leg: (PointOnGround, MediaTime),
    /// Where it was last.
    here: (PointOnGround, MediaTime),
    /// Whether it was a leg's length further there: a single such place may be a mistake.
    is_beyond: bool,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let ground = options::ground(reader, surroundings);
    let classes = options::vehicles(reader, surroundings);
    let place = match (reader.optional("line"), reader.optional("zone")) {
        (Some(_), None) => options::line(reader, surroundings)
            .map(|(site, line)| (site, Place::Line(CrossingWatch::new(line, DEFAULT_HYSTERESIS as f32)))),
        (None, Some(_)) => options::zone(reader, surroundings).map(|(site, zone)| (site, Place::Zone(zone))),
        _ => {
            reader.problem("it must be told where to measure", "either a line or a zone");
            None
        }
    };
    let on_street = match (&ground, &place) {
        (Some(ground), Some((_, Place::Line(watch)))) => {
            options::is_on_ground(reader, ground, &[watch.line.from, watch.line.to])
        }
        (Some(ground), Some((_, Place::Zone(zone)))) => options::is_on_ground(reader, ground, &zone.corners),
        _ => true,
    };
    reader.finish();
    if !on_street {
        return None;
    }
    let ((site, place), ground, classes) = (place?, ground?, classes?);
    let cells = classes
        .iter()
        .flat_map(|&class| {
            let cell = Cell::new(site, Measure::SpeedHist, Some(class));
            let directions: &[Direction] = match place {
                Place::Line(_) => &[Direction::Forward, Direction::Backward],
                Place::Zone(_) => &[Direction::None],
            };
            directions.iter().flat_map(move |direction| cell.directed(*direction).histogram())
        })
        .collect();
    let settings = Settings { site, place, ground, classes };
    let operator = MeasureSpeed { settings, objects: PerTrack::new(), last: MediaTime::ZERO };
    Some(Configured::counting(operator, cells))
}

impl Operator for MeasureSpeed {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let at = observation.at;
        self.last = at;
        if is_gap(observation) {
            self.objects.clear();
        }
        if !observation.trusted {
            if let Place::Line(watch) = &mut self.settings.place {
                watch.distrust(at);
            }
            return;
        }
        let settings = &self.settings;
        for (id, mut object) in self.objects.ended(observation.tracks) {
            settings.report(settings.close(&mut object), &object, at, id, findings);
        }
        let aspect = observation.picture.aspect();
        self.objects.follow(observation.tracks, |track, object| {
            if track.detected {
                object.class = Some(track.class);
                let measured = settings.go_on(object, track, aspect, at);
                settings.report(measured, object, at, track.id, findings);
            }
            let known = object.speeds[1].map_or(MediaTime::ZERO, |speed| speed.at);
            if object.crossed.is_some_and(|(_, touched)| known >= touched) {
                settings.report(settings.close(object), object, at, track.id, findings);
            }
        });
    }

    fn advance(&mut self, _upto: MediaTime, _findings: &mut Findings) {}

    fn finish(&mut self, findings: &mut Findings) {
        let (settings, at) = (&self.settings, self.last);
        self.objects.end_all(|id, mut object| {
            settings.report(settings.close(&mut object), &object, at, id, findings);
        });
    }
}

/// In which direction, and how many metres per second.
type Measured = (Direction, f64);

impl Settings {
    /// Takes in where the object is now; answers when it has left the zone.
    fn go_on(&self, object: &mut Object, track: &Track, aspect: f32, at: MediaTime) -> Option<Measured> {
        // The foot of an object that the picture cuts off is elsewhere.
        let footing = Footing::of(&self.ground, &track.box_in_image).filter(|_| !is_cut(&track.box_in_image));
        match &self.place {
            Place::Line(watch) => {
                if let Some(footing) = footing {
                    object.pace.add(at, footing);
                    object.speeds = [object.speeds[1], object.pace.speed()];
                }
                if let Some(passage) = watch.follow(aspect, at, track, &mut object.approach) {
                    object.crossed = Some((passage.direction, passage.touched));
                }
                None
            }
            Place::Zone(zone) => {
                object.inside = Depth::of(zone, aspect, &track.box_in_image).is_inside(object.inside);
                if !object.inside {
                    return object.passage.take().and_then(|passage| passage.speed(true));
                }
                if let Some(footing) = footing {
                    object.passage.get_or_insert_with(|| Passage::from(footing.point, at)).go_on(footing, at);
                }
                None
            }
        }
    }

    /// The speed of an object of which no more will come, or is needed.
    fn close(&self, object: &mut Object) -> Option<Measured> {
        if let Some(passage) = object.passage.take() {
            return passage.speed(false);
        }
        let (direction, touched) = object.crossed.take()?;
        let [before, last] = object.speeds;
        let last = last?;
        let mps = match before {
            Some(before) if before.at < touched && touched < last.at => {
                let share = touched.since(before.at).as_secs_f64() / last.at.since(before.at).as_secs_f64();
                before.mps + share * (last.mps - before.mps)
            }
            _ => last.mps,
        };
        let (share, least) = LARGEST_ERROR;
        let sure = last.error_mps <= (share * mps).max(least);
        (sure && object.pace.moved_metres() >= LEAST_METRES_AT_LINE).then_some((direction, mps))
    }

    fn report(
        &self,
        measured: Option<Measured>,
        object: &Object,
        at: MediaTime,
        track: TrackId,
        findings: &mut Findings,
    ) {
        let Some((direction, mps)) = measured.filter(|(_, mps)| *mps <= MAX_MPS) else { return };
        let Some(class) = object.class.filter(|class| self.classes.contains(class)) else { return };
        let bucket = Measure::SpeedHist.bucket_of(3.6 * mps);
        findings.push(Finding {
            at,
            site: self.site,
            class: Some(class),
            track: Some(track),
            kind: FindingKind::Counted { measure: Measure::SpeedHist, direction, bucket },
        });
    }
}

impl Passage {
    fn from(point: PointOnGround, at: MediaTime) -> Self {
        Self { began: at, points: 0, metres: 0.0, leg: (point, at), here: (point, at), is_beyond: false }
    }

    fn go_on(&mut self, footing: Footing, at: MediaTime) {
        self.points += 1;
        self.here = (footing.point, at);
        let leg = footing.point.distance(self.leg.0);
        let was_beyond =
            std::mem::replace(&mut self.is_beyond, leg >= LEG_METRES.max(LEG_SHAKES * footing.shake_metres));
        if self.is_beyond && was_beyond {
            self.metres += leg;
            self.leg = self.here;
            self.is_beyond = false;
        }
    }

    /// The mean speed; of the way until it stopped, if it did not leave.
    fn speed(&self, left: bool) -> Option<Measured> {
        let stopped = !left && self.here.1.since(self.leg.1) > STOPPED;
        let (rest, until) =
            if stopped { (0.0, self.leg.1) } else { (self.here.0.distance(self.leg.0), self.here.1) };
        let (metres, time) = (self.metres + rest, until.since(self.began));
        let enough = metres >= LEAST_METRES_IN_ZONE && self.points >= LEAST_POINTS && time >= LEAST_TIME;
        enough.then(|| (Direction::None, metres / time.as_secs_f64()))
    }
}
