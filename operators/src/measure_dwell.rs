#![doc = include_str!("measure_dwell.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{BoxInImage, Polygon, SiteId};
use kerbside_core::observation::{Observation, Track, TrackId};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::options;
use crate::per_track::PerTrack;
use crate::seen::is_gap;
use crate::zone::Depth;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "measure_dwell",
    summary: "Measures how long objects stay in a zone.",
    manual: include_str!("measure_dwell.md"),
    options: &[
        OptionDoc { name: "zone", takes: "name of a zone, required", meaning: "Which zone." },
        options::CLASSES,
        OptionDoc {
            name: "grace",
            takes: "1s to 5m; default 5s",
            meaning: "For how long an object may be outside or out of sight without ending its visit.",
        },
        OptionDoc { name: "min_stay", takes: "0s to 5m; default 1s", meaning: "A shorter visit is not counted." },
    ],
    example: "\
geometry:
  zones:
    square: {polygon: [[0.1, 0.4], [0.9, 0.4], [0.9, 0.95], [0.1, 0.95]]}
operators:
  measure_dwell: [{zone: square, classes: [person], grace: 5s, min_stay: 1s}]
",
    configure,
};

const DEFAULT_GRACE: Duration = Duration::from_secs(5);
const DEFAULT_MIN_STAY: Duration = Duration::from_secs(1);
/// A new track takes over the visit of one that vanished where their boxes overlap by this much: enough
/// for one that stands, too much for one that walks by.
const SAME_PLACE_IOU: f32 = 0.4;

struct Settings {
    site: SiteId,
    zone: Polygon,
    classes: Vec<Class>,
    grace: Duration,
    min_stay: Duration,
}

struct MeasureDwell {
    settings: Settings,
    objects: PerTrack<Object>,
    /// Visits whose track vanished inside the zone, in the order in which they did.
    unseen: Vec<Unseen>,
    last: MediaTime,
}

/// What is known of one track.
#[derive(Clone, Copy, Debug, Default)]
struct Object {
    /// Whether it was detected since it has been followed.
    met: bool,
    inside: bool,
    visit: Option<Visit>,
}

#[derive(Clone, Copy, Debug)]
struct Visit {
    began: MediaTime,
    /// When it was last seen inside; when it was first seen outside, if it is outside now.
    until: MediaTime,
    class: Class,
    box_in_image: BoxInImage,
}

/// A visit without a track.
#[derive(Clone, Copy, Debug)]
struct Unseen {
    id: TrackId,
    visit: Visit,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let zone = options::zone(reader, surroundings);
    let classes = options::classes(reader, surroundings);
    let span = |key, least, default| {
        options::duration_or(reader, key, Duration::from_secs(least)..=Duration::from_secs(300), default)
    };
    // A single missed frame must not end a visit.
    let (grace, min_stay) = (span("grace", 1, DEFAULT_GRACE), span("min_stay", 0, DEFAULT_MIN_STAY));
    reader.finish();
    let (site, zone) = zone?;
    let settings = Settings { site, zone, classes: classes?, grace: grace?, min_stay: min_stay? };
    let cell = |class: &Class| Cell::new(site, Measure::DwellHist, Some(*class));
    let cells = settings.classes.iter().map(cell).flat_map(Cell::histogram).collect();
    let operator = MeasureDwell { settings, objects: PerTrack::new(), unseen: Vec::new(), last: MediaTime::ZERO };
    Some(Configured::counting(operator, cells))
}

impl Operator for MeasureDwell {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let at = observation.at;
        self.last = at;
        if is_gap(observation) {
            // Nobody knows how long the visits went on.
            self.objects.clear();
            self.unseen.clear();
        }
        if !observation.trusted {
            return;
        }
        let (settings, unseen) = (&self.settings, &mut self.unseen);
        for (id, object) in self.objects.ended(observation.tracks) {
            // One that was outside already has left.
            match object.visit {
                Some(visit) if object.inside => unseen.push(Unseen { id, visit }),
                Some(visit) => settings.report(visit, at, id, findings),
                None => {}
            }
        }
        unseen.retain(|Unseen { id, visit }| {
            let waits = at.since(visit.until) <= settings.grace;
            if !waits {
                settings.report(*visit, at, *id, findings);
            }
            waits
        });
        let aspect = observation.picture.aspect();
        self.objects.follow(observation.tracks, |track, object| {
            if track.detected {
                settings.go_on(object, track, aspect, at, unseen);
            }
            if let Some(visit) = object.visit.filter(|visit| at.since(visit.until) > settings.grace) {
                settings.report(visit, at, track.id, findings);
                (object.visit, object.inside) = (None, false);
            }
        });
    }

    fn advance(&mut self, _upto: MediaTime, _findings: &mut Findings) {}

    fn finish(&mut self, findings: &mut Findings) {
        let (settings, at) = (&self.settings, self.last);
        for Unseen { id, visit } in self.unseen.drain(..) {
            settings.report(visit, at, id, findings);
        }
        self.objects.end_all(|id, object| {
            if let Some(visit) = object.visit {
                settings.report(visit, at, id, findings);
            }
        });
    }
}

impl Settings {
    /// Takes in where the object is now.
    fn go_on(&self, object: &mut Object, track: &Track, aspect: f32, at: MediaTime, unseen: &mut Vec<Unseen>) {
        let was = object.inside;
        object.inside = Depth::of(&self.zone, aspect, &track.box_in_image).is_inside(was);
        let is_new = !std::mem::replace(&mut object.met, true);
        if object.inside {
            let taken_over = || {
                let here = |it: &Unseen| it.visit.box_in_image.iou(&track.box_in_image) >= SAME_PLACE_IOU;
                let place = unseen.iter().position(here).filter(|_| is_new)?;
                Some(unseen.remove(place).visit.began)
            };
            let began = object.visit.map(|visit| visit.began).or_else(taken_over).unwrap_or(at);
            let (class, box_in_image) = (track.class, track.box_in_image);
            object.visit = Some(Visit { began, until: at, class, box_in_image });
        } else if let Some(visit) = object.visit.as_mut().filter(|_| was) {
            visit.until = at;
        }
    }

    fn report(&self, visit: Visit, at: MediaTime, track: TrackId, findings: &mut Findings) {
        let stay = visit.until.since(visit.began);
        if stay < self.min_stay || !self.classes.contains(&visit.class) {
            return;
        }
        findings.push(Finding {
            at,
            site: self.site,
            class: Some(visit.class),
            track: Some(track),
            kind: FindingKind::Counted {
                measure: Measure::DwellHist,
                direction: Direction::None,
                bucket: Measure::DwellHist.bucket_of(stay.as_secs_f64()),
            },
        });
    }
}
