#![doc = include_str!("detect_crowd.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{Polygon, SiteId};
use kerbside_core::ground::Ground;
use kerbside_core::incident::{IncidentKind, IncidentUnit};
use kerbside_core::observation::Observation;
use kerbside_core::operator::{Alert, Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::episodes::{Episodes, Rules, Word};
use crate::options;
use crate::per_track::PerTrack;
use crate::seen::{HOLD, is_fresh, is_gap};
use crate::zone::Depth;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "detect_crowd",
    summary: "Reports that more people are in a zone than it bears, and measures their density.",
    manual: include_str!("detect_crowd.md"),
    options: &[
        OptionDoc { name: "zone", takes: "name of a zone, required", meaning: "Which zone." },
        OptionDoc {
            name: "at_least",
            takes: "2 to 10000 people; this or density is required",
            meaning: "From how many people on it is a crowd.",
        },
        OptionDoc {
            name: "density",
            takes: "0.1 to 10 people per square metre; needs the camera's ground",
            meaning: "From which density on it is a crowd.",
        },
        OptionDoc {
            name: "until",
            takes: "as at_least or density, and not above it; default: 80% of it",
            meaning: "Down to what it stays a crowd.",
        },
    ],
    example: "\
geometry:
  zones:
    platform: {polygon: [[0.0, 0.4], [1.0, 0.4], [1.0, 1.0], [0.0, 1.0]]}
operators:
  detect_crowd: [{zone: platform, at_least: 3, until: 2}]
",
    configure,
};

const PERSON: Class = Class::Person;
/// The time constant of the mean number of people.
const SMOOTH: Duration = Duration::from_secs(3);
/// For how long there must be a crowd before it is reported, with how much of a gap.
const AFTER: Duration = Duration::from_secs(5);
const GAP: Duration = Duration::from_secs(1);
/// And for how long there must be none.
const PATIENCE: Duration = Duration::from_secs(10);
/// The smallest zone whose density means something, in square metres.
const LEAST_AREA: f64 = 1.0;
const UNTIL_SHARE: f64 = 0.8;
/// A lower mean is rounded to nobody.
const LEAST_PEOPLE: f64 = 0.5;

struct Settings {
    site: SiteId,
    zone: Polygon,
    /// In people per `per`.
    from: f64,
    until: f64,
    /// 1, or the area in square metres.
    per: f64,
    unit: IncidentUnit,
    /// What each person adds to the density, in millionths of a person per square metre; 0 where the area is unknown.
    share: u32,
}

struct DetectCrowd {
    settings: Settings,
    people: PerTrack<Presence>,
    /// The mean number of people; `None` before the first frame and after an interruption.
    mean: Option<f64>,
    episodes: Episodes<SiteId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Presence {
    inside: bool,
    detected: Option<MediaTime>,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let people = options::people(reader, surroundings);
    let zone = options::zone(reader, surroundings);
    let (at_least, density) = (reader.optional("at_least"), reader.optional("density"));
    let by_density = density.is_some();
    let (range, words) =
        if by_density { (0.1..=10.0, "people per square metre") } else { (2.0..=10_000.0, "people") };
    let from = match (&at_least, &density) {
        (Some(field), None) | (None, Some(field)) => field.number(range, words),
        (Some(field), Some(_)) => {
            field.key_problem("'at_least' and 'density' are given", "one of them is expected");
            None
        }
        (None, None) => {
            reader.problem("neither 'at_least' nor 'density' is given", "one of them is required");
            None
        }
    };
    let ground = if by_density {
        options::ground(reader, surroundings).map(Some)
    } else {
        Some(surroundings.ground.copied())
    };
    let until = match (reader.optional("until"), from) {
        (Some(field), Some(from)) => field.number(0.0..=from, words),
        (_, from) => from.map(|from| UNTIL_SHARE * from),
    };
    reader.finish();
    people?;
    let ((site, zone), from, until) = (zone?, from?, until?);
    let area = match ground? {
        Some(ground) => Some(area(reader, &ground, &zone)?),
        None => None,
    };
    let (per, unit) = match area {
        Some(area) if by_density => (area, IncidentUnit::PeoplePer100SquareMetres),
        _ => (1.0, IncidentUnit::Count),
    };
    let kind = IncidentKind::CrowdDensity;
    let cells = area.map(|_| Cell::new(site, Measure::DensityLevel, Some(PERSON))).into_iter().collect();
    let settings = Settings { site, zone, from, until, per, unit, share: share(area) };
    let alert = settings.alert(kind);
    let operator = DetectCrowd {
        settings,
        people: PerTrack::new(),
        mean: None,
        episodes: Episodes::new(Rules { kind, after: AFTER, gap: GAP, patience: PATIENCE }),
    };
    Some(Configured::counting(operator, cells).reporting([(kind, site)]).alerting([alert]))
}

/// What one person adds to the density of `area` square metres, in millionths.
fn share(area: Option<f64>) -> u32 {
    area.map_or(0, |area| (1e6 / area).round() as u32)
}

impl Settings {
    /// The same thresholds for the release stage, which knows no areas. Nobody is no crowd there either.
    fn alert(&self, kind: IncidentKind) -> Alert {
        let Self { site, from, until, per, unit, share, .. } = *self;
        let milli = |level: f64| (1000.0 * (level * per).max(LEAST_PEOPLE)).round() as u32;
        let value = self.told(from);
        let (from_milli, until_milli) = (milli(from), milli(until));
        Alert { site, kind, class: PERSON, from_milli, until_milli, value, unit, share }
    }

    /// A level in people per `per` as an incident tells it.
    fn told(&self, level: f64) -> i32 {
        let parts = if self.unit == IncidentUnit::Count { 1.0 } else { 100.0 };
        (parts * level).round() as i32
    }
}

/// The zone's area on the street, in square metres. A homography keeps straight edges straight, so the
/// corners are enough.
fn area(reader: &Reader<'_>, ground: &Ground, zone: &Polygon) -> Option<f64> {
    if !options::is_on_ground(reader, ground, &zone.corners) {
        return None;
    }
    let mut twice = 0.0;
    for (a, b) in zone.edges() {
        let (a, b) = (ground.on_ground(a)?, ground.on_ground(b)?);
        twice += a.x * b.y - a.y * b.x;
    }
    let area = twice.abs() / 2.0;
    if area < LEAST_AREA {
        reader.problem(format!("the zone has only {area:.2} square metres"), "a square metre or more is expected");
        return None;
    }
    Some(area)
}

impl Operator for DetectCrowd {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let Settings { site, ref zone, from, until, per, unit, share } = self.settings;
        let (at, aspect, step) = (observation.at, observation.picture.aspect(), observation.step);
        self.episodes.advance(at, findings);
        if is_gap(observation) {
            self.people.clear();
            self.mean = None;
            self.episodes.interrupt();
        }
        if observation.trusted {
            let mut count = 0u32;
            let lasted = if self.mean.is_some() { step } else { Duration::ZERO };
            let level = FindingKind::Level { measure: Measure::DensityLevel, share, lasted };
            self.people.follow(observation.tracks, |track, presence| {
                if track.detected {
                    presence.detected = Some(at);
                    presence.inside = Depth::of(zone, aspect, &track.box_in_image).is_inside(presence.inside);
                }
                let fresh = is_fresh(at, presence.detected, HOLD);
                if fresh && presence.inside && track.class == PERSON {
                    count += 1;
                    // Each person by themselves, so that what one of them adds can be bounded.
                    if !lasted.is_zero() {
                        findings.push(Finding {
                            at,
                            site,
                            class: Some(PERSON),
                            track: Some(track.id),
                            kind: level,
                        });
                    }
                }
            });
            let count = f64::from(count);
            let keeps = (-step.as_secs_f64() / SMOOTH.as_secs_f64()).exp();
            let mean = self.mean.map_or(count, |mean| count + (mean - count) * keeps);
            self.mean = Some(mean);
            let level = mean / per;
            // A mean comes near to a number of people and never reaches it, so that it is rounded to whole ones.
            let rounded = (mean + 0.5) / per;
            // Nobody is no crowd, whatever `until` is.
            let anybody = mean >= LEAST_PEOPLE;
            if anybody && rounded >= if self.episodes.is_open(site) { until } else { from } {
                let times = level / from;
                let word = Word {
                    site,
                    class: Some(PERSON),
                    track: None,
                    severity: (50.0 * times).min(100.0) as u8,
                    confidence: 80,
                    value: self.settings.told(level),
                    unit,
                    reason: None,
                };
                self.episodes.holds(site, at, word, findings);
            }
        }
        self.episodes.settle(at, findings);
    }

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        self.episodes.advance(upto, findings);
    }

    fn finish(&mut self, findings: &mut Findings) {
        self.people.clear();
        self.mean = None;
        self.episodes.finish(findings);
    }
}
