#![doc = include_str!("detect_intrusion.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::Findings;
use kerbside_core::geometry::{Polygon, SiteId};
use kerbside_core::incident::{IncidentKind, IncidentUnit};
use kerbside_core::observation::{Observation, TrackId};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::episodes::{Episodes, Rules, Word};
use crate::options;
use crate::per_object::{PerObject, Reach};
use crate::schedule::Schedule;
use crate::seen::{HOLD, is_fresh, is_gap};
use crate::zone::Depth;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "detect_intrusion",
    summary: "Reports that someone or something is in a zone where it may not be, at the hours that you name.",
    manual: include_str!("detect_intrusion.md"),
    options: &[
        OptionDoc { name: "zone", takes: "name of a zone, required", meaning: "Which zone." },
        options::CLASSES,
        OptionDoc {
            name: "hours",
            takes: "a list of spans of local time, such as '22:00-05:00' or 'Sat-Sun 00:00-24:00'; default: always",
            meaning: "When nobody may be there.",
        },
        OptionDoc {
            name: "after",
            takes: "a time from 0s to 10m; default 1s",
            meaning: "How long one object must be inside before it counts.",
        },
    ],
    example: "\
geometry:
  zones:
    tracks: {polygon: [[0.1, 0.4], [0.9, 0.4], [0.9, 0.95], [0.1, 0.95]]}
operators:
  detect_intrusion: [{zone: tracks, classes: [person, bicycle], hours: ['22:00-05:00', 'Sat-Sun 00:00-24:00'], after: 2s}]
",
    configure,
};

const DEFAULT_AFTER: Duration = Duration::from_secs(1);
/// The incident lasts for this long after the last one was seen inside.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who was lost inside may be found again as another track.
const KEEP: Duration = Duration::from_secs(3);
const REACH: Reach = Reach { at_once: 0.7, per_second: 0.5 };

struct Settings {
    site: SiteId,
    zone: Polygon,
    classes: Vec<Class>,
    hours: Schedule,
    after: Duration,
}

struct DetectIntrusion {
    settings: Settings,
    visits: PerObject<Visit>,
    episodes: Episodes<SiteId>,
}

/// One object's stay inside.
#[derive(Clone, Copy, Debug, Default)]
struct Visit {
    /// Since when it is inside.
    since: Option<MediaTime>,
    /// When it was last seen there.
    last: MediaTime,
    class: Option<Class>,
    track: Option<TrackId>,
    score: f32,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let zone = options::zone(reader, surroundings);
    let classes = options::classes(reader, surroundings);
    let hours = reader.optional("hours").map_or(Some(Schedule::ALWAYS), |field| Schedule::read(&field));
    let after = options::duration_or(reader, "after", Duration::ZERO..=Duration::from_secs(600), DEFAULT_AFTER);
    reader.finish();
    let ((site, zone), classes, hours, after) = (zone?, classes?, hours?, after?);
    let settings = Settings { site, zone, classes, hours, after };
    // Each object has waited on its own before its presence counts.
    let rules = Rules {
        kind: IncidentKind::RestrictedZone,
        after: Duration::ZERO,
        gap: Duration::ZERO,
        patience: PATIENCE,
    };
    let operator = DetectIntrusion { settings, visits: PerObject::new(REACH), episodes: Episodes::new(rules) };
    Some(Configured::counting(operator, Vec::new()).reporting([(IncidentKind::RestrictedZone, site)]))
}

impl Operator for DetectIntrusion {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let Settings { site, zone, classes, hours, after } = &self.settings;
        let (at, aspect) = (observation.at, observation.picture.aspect());
        self.episodes.advance(at, findings);
        let applies = hours.applies(observation.local);
        if !applies {
            self.episodes.end(*site, at, findings);
        }
        if !applies || is_gap(observation) {
            self.visits.clear();
        }
        if applies && observation.trusted {
            self.visits.follow(
                observation,
                |_| KEEP,
                |track, _, visit| {
                    let was = visit.since.is_some();
                    let inside = Depth::of(zone, aspect, &track.box_in_image).is_inside(was);
                    if !inside || !classes.contains(&track.class) {
                        visit.since = None;
                        return;
                    }
                    *visit = Visit {
                        since: visit.since.or(Some(at)),
                        last: at,
                        class: Some(track.class),
                        track: Some(track.id),
                        score: track.score,
                    };
                },
            );
            if let Some(word) = self.word(at, *site, *after) {
                self.episodes.holds(*site, at, word, findings);
            }
        }
        self.episodes.settle(at, findings);
    }

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        self.episodes.advance(upto, findings);
    }

    fn finish(&mut self, findings: &mut Findings) {
        self.visits.clear();
        self.episodes.finish(findings);
    }
}

impl DetectIntrusion {
    /// What there is to say, if anyone is inside for long enough: about who is there longest.
    fn word(&self, at: MediaTime, site: SiteId, after: Duration) -> Option<Word> {
        let mut inside = 0u8;
        let mut longest: Option<(MediaTime, &Visit)> = None;
        for visit in self.visits.states() {
            let Some(since) = visit
                .since
                .filter(|since| is_fresh(at, Some(visit.last), HOLD) && visit.last.since(*since) >= after)
            else {
                continue;
            };
            inside = inside.saturating_add(1);
            if longest.is_none_or(|(earlier, _)| since < earlier) {
                longest = Some((since, visit));
            }
        }
        let (_, visit) = longest?;
        Some(Word {
            site,
            class: visit.class,
            track: visit.track,
            severity: (40 + 10 * inside.min(6)).min(100),
            confidence: (100.0 * visit.score) as u8,
            value: i32::from(inside),
            unit: IncidentUnit::Count,
            reason: None,
        })
    }
}
