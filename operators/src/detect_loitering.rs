#![doc = include_str!("detect_loitering.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{PointInImage, Polygon, SiteId};
use kerbside_core::ground::Ground;
use kerbside_core::observation::{Observation, Track};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::options;
use crate::per_object::{PerObject, Reach};
use crate::seen::{foot_in_picture, is_gap};
use crate::zone::Depth;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "detect_loitering",
    summary: "Counts people who stay in a zone for longer than usual.",
    manual: include_str!("detect_loitering.md"),
    options: &[
        OptionDoc { name: "zone", takes: "name of a zone, required", meaning: "Which zone." },
        OptionDoc {
            name: "after",
            takes: "a time from 5s to 1h; default 2m",
            meaning: "How long someone stays before it counts.",
        },
        OptionDoc {
            name: "within",
            takes: "0.5 to 50, in metres where the camera's ground is known, else in box heights; default: anywhere in the zone",
            meaning: "How far one may move meanwhile from where one began to stay.",
        },
    ],
    example: "\
geometry:
  zones:
    cash-machines: {polygon: [[0.1, 0.4], [0.9, 0.4], [0.9, 0.95], [0.1, 0.95]]}
operators:
  detect_loitering: [{zone: cash-machines, after: 5s, within: 20}]
",
    configure,
};

const DEFAULT_AFTER: Duration = Duration::from_secs(120);
/// Who is seen outside for this long has left.
const LEAVES: Duration = Duration::from_secs(3);
/// Who is hidden for longer than this has left, or is somebody else when found again.
const KEEP: Duration = Duration::from_secs(10);
const REACH: Reach = Reach { at_once: 0.7, per_second: 0.3 };

struct Settings {
    site: SiteId,
    zone: Polygon,
    after: Duration,
    within: Option<f64>,
    ground: Option<Ground>,
}

struct DetectLoitering {
    settings: Settings,
    stays: PerObject<Stay>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stay {
    /// When and where it began; `None` outside.
    began: Option<(MediaTime, PointInImage)>,
    /// When it was last true that the person stayed.
    last: MediaTime,
    counted: bool,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let people = options::people(reader, surroundings);
    let zone = options::zone(reader, surroundings);
    let range = Duration::from_secs(5)..=Duration::from_secs(3600);
    let after = options::duration_or(reader, "after", range, DEFAULT_AFTER);
    let unit = if surroundings.ground.is_some() { "metres" } else { "box heights" };
    let within = reader.optional("within").map_or(Some(None), |field| field.number(0.5..=50.0, unit).map(Some));
    reader.finish();
    people?;
    let ((site, zone), after, within) = (zone?, after?, within?);
    let settings = Settings { site, zone, after, within, ground: surroundings.ground.copied() };
    let cells = vec![Cell::new(site, Measure::LoiteringCount, Some(Class::Person))];
    Some(Configured::counting(DetectLoitering { settings, stays: PerObject::new(REACH) }, cells))
}

impl Operator for DetectLoitering {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        if is_gap(observation) {
            self.stays.clear();
        }
        if !observation.trusted {
            return;
        }
        let settings = &self.settings;
        let (at, aspect) = (observation.at, observation.picture.aspect());
        self.stays.follow(
            observation,
            |_| KEEP,
            |track, _, stay| {
                if track.class != Class::Person {
                    return;
                }
                if !settings.stays(track, aspect, stay) {
                    if at.since(stay.last) > LEAVES {
                        *stay = Stay::default();
                    }
                    return;
                }
                let foot = foot_in_picture(&track.box_in_image);
                let (since, _) = *stay.began.get_or_insert((at, foot));
                stay.last = at;
                if !stay.counted && at.since(since) >= settings.after {
                    stay.counted = true;
                    findings.push(Finding {
                        at,
                        site: settings.site,
                        class: Some(Class::Person),
                        track: Some(track.id),
                        kind: FindingKind::Counted {
                            measure: Measure::LoiteringCount,
                            direction: Direction::None,
                            bucket: 0,
                        },
                    });
                }
            },
        );
    }

    fn advance(&mut self, _upto: MediaTime, _findings: &mut Findings) {}

    fn finish(&mut self, _findings: &mut Findings) {
        self.stays.clear();
    }
}

impl Settings {
    /// Whether the person is in the zone and still near where the stay began.
    fn stays(&self, track: &Track, aspect: f32, stay: &Stay) -> bool {
        if !Depth::of(&self.zone, aspect, &track.box_in_image).is_inside(stay.began.is_some()) {
            return false;
        }
        let (Some(within), Some((_, began))) = (self.within, stay.began) else { return true };
        let foot = foot_in_picture(&track.box_in_image);
        let moved = match &self.ground {
            Some(ground) => ground.on_ground(began).zip(ground.on_ground(foot)).map(|(a, b)| a.distance(b)),
            None => {
                let moved = ((foot.x - began.x) * aspect).hypot(foot.y - began.y);
                Some(f64::from(moved / track.box_in_image.height()))
            }
        };
        moved.is_some_and(|moved| moved <= within)
    }
}
