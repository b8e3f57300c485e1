#![doc = include_str!("detect_object_left.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Finding, FindingKind, Findings};
use kerbside_core::geometry::{BoxInImage, Polygon, SiteId};
use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase};
use kerbside_core::observation::{Observation, SCENE_COLUMNS, SCENE_ROWS, Standing, Track};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::options;
use crate::seen::{MAX_STEP, foot_in_picture, is_gap};

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "detect_object_left",
    summary: "Notices what someone left behind: something new that stays after the person who brought it has gone.",
    manual: include_str!("detect_object_left.md"),
    options: &[
        OptionDoc { name: "zone", takes: "name of a zone, required", meaning: "Where." },
        OptionDoc {
            name: "after",
            takes: "10s to 20m; default 60s",
            meaning: "How long it must lie there alone.",
        },
        OptionDoc {
            name: "least_size",
            takes: "0.01 to 0.5 picture heights; default 0.03",
            meaning: "Smaller things are none.",
        },
        OptionDoc {
            name: "largest_size",
            takes: "0.02 to 1 picture heights; default 0.3",
            meaning: "Larger things are none.",
        },
    ],
    example: "\
geometry:
  zones:
    platform: {polygon: [[0.0, 0.3], [1.0, 0.3], [1.0, 1.0], [0.0, 1.0]]}
operators:
  detect_object_left: [{zone: platform, after: 90s, largest_size: 0.25}]
",
    configure,
};

const DEFAULT_AFTER: Duration = Duration::from_secs(60);
const DEFAULT_LEAST_SIZE: f64 = 0.03;
const DEFAULT_LARGEST_SIZE: f64 = 0.3;
/// Who was at the place so long before the thing appeared may have brought it.
const BROUGHT_WITHIN: Duration = Duration::from_secs(5);
/// Who is before a thing for this long is with it, and does not only pass.
const STAYS: Duration = Duration::from_secs(5);
/// A thing that has not been seen for this long is gone.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// Two boxes that share this much of either are the same thing.
const SAME: f32 = 0.3;
/// Someone who covers this share of a thing stands there.
const COVERS: f32 = 0.2;
/// As many things as the scene's statistics can hold, twice: some are gone and not yet forgotten.
const THINGS: usize = 16;

struct Settings {
    site: SiteId,
    zone: Polygon,
    after: Duration,
    /// Sides of squares, in picture heights.
    least_size: f32,
    largest_size: f32,
}

/// Something that stands in the picture.
#[derive(Clone, Copy, Debug)]
struct Thing {
    box_in_image: BoxInImage,
    /// When the scene last had it.
    seen: MediaTime,
    /// When the last person or vehicle was with it; `None` where nobody brought it.
    accompanied: Option<MediaTime>,
    /// Since when someone has been before it without a break.
    covered_since: Option<MediaTime>,
    /// Its incident's number and beginning.
    left: Option<(u32, MediaTime)>,
}

struct DetectObjectLeft {
    settings: Settings,
    things: [Option<Thing>; THINGS],
    /// When each cell of the picture last had a person.
    visited: [[Option<MediaTime>; SCENE_COLUMNS]; SCENE_ROWS],
    next_number: u32,
    last: MediaTime,
    /// When the picture was last back after nobody had seen anything: nothing was alone before.
    resumed: MediaTime,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let zone = options::zone(reader, surroundings);
    let range = Duration::from_secs(10)..=Duration::from_secs(1200);
    let after = options::duration_or(reader, "after", range, DEFAULT_AFTER);
    let size = |key, range, default| options::number_or(reader, key, range, "picture heights", default);
    let least_size = size("least_size", 0.01..=0.5, DEFAULT_LEAST_SIZE);
    let largest_size = size("largest_size", 0.02..=1.0, DEFAULT_LARGEST_SIZE);
    reader.finish();
    let ((site, zone), after) = (zone?, after?);
    let (least_size, largest_size) = (least_size? as f32, largest_size? as f32);
    if least_size >= largest_size {
        reader.problem("least_size is not below largest_size", "a range that something fits into is expected");
        return None;
    }
    let operator = DetectObjectLeft {
        settings: Settings { site, zone, after, least_size, largest_size },
        things: [None; THINGS],
        visited: [[None; SCENE_COLUMNS]; SCENE_ROWS],
        next_number: 0,
        last: MediaTime::ZERO,
        resumed: MediaTime::ZERO,
    };
    Some(Configured::counting(operator, Vec::new()).reporting([(IncidentKind::ObjectLeft, site)]))
}

impl Operator for DetectObjectLeft {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let at = observation.at;
        let passed = at.since(self.last);
        self.last = at;
        if is_gap(observation) {
            // Nothing was alone while nobody saw it.
            self.resumed = at;
            for thing in self.things.iter_mut().flatten().filter(|thing| thing.left.is_none()) {
                thing.accompanied = thing.accompanied.map(|_| at);
            }
        }
        if !observation.trusted && passed <= MAX_STEP {
            // Nothing is gone only because the picture of a camera that goes on could not be trusted.
            self.things.iter_mut().flatten().for_each(|thing| thing.seen = thing.seen + passed);
        }
        self.forget(at, findings);
        if !observation.trusted {
            return;
        }
        for track in observation.tracks.iter().filter(|track| track.class == Class::Person) {
            self.visit(&track.box_in_image, at);
        }
        for standing in observation.scene.standing.iter().flatten() {
            self.stands(standing, observation);
        }
        for place in 0..THINGS {
            let Some(mut thing) = self.things[place] else { continue };
            if observation.tracks.iter().any(|track| stands_at(track, &thing.box_in_image)) {
                let since = *thing.covered_since.get_or_insert(at);
                if at.since(since) >= STAYS {
                    thing.accompanied = thing.accompanied.map(|_| at);
                }
            } else {
                thing.covered_since = None;
            }
            let alone = thing.accompanied.map(|last| at.since(last));
            let long = alone.filter(|alone| thing.left.is_none() && *alone >= self.settings.after);
            if let Some(alone) = long {
                thing.left = Some((self.next_number, at));
                self.next_number += 1;
                findings.push(self.finding(Phase::Begin, thing.left, at, alone.as_secs()));
            }
            self.things[place] = Some(thing);
        }
    }

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        self.forget(upto, findings);
    }

    fn finish(&mut self, findings: &mut Findings) {
        for place in 0..THINGS {
            if let Some(thing) = self.things[place].take() {
                self.end(&thing, self.last, findings);
            }
        }
    }
}

impl DetectObjectLeft {
    /// Ends what has not been seen for too long by `now`, as of when that was so.
    fn forget(&mut self, now: MediaTime, findings: &mut Findings) {
        let gone = |thing: &Thing| now.since(thing.seen) > GONE_AFTER;
        while let Some(place) = (0..THINGS)
            .filter(|place| self.things[*place].as_ref().is_some_and(gone))
            .min_by_key(|place| self.things[*place].map(|thing| thing.seen))
        {
            if let Some(thing) = self.things[place].take() {
                self.end(&thing, thing.seen + GONE_AFTER, findings);
            }
        }
    }

    fn visit(&mut self, by: &BoxInImage, at: MediaTime) {
        let (rows, columns) = cells(by);
        for row in &mut self.visited[rows] {
            row[columns.clone()].fill(Some(at));
        }
    }

    /// The last time that anyone was where this is.
    fn visited(&self, place: &BoxInImage) -> Option<MediaTime> {
        let (rows, columns) = cells(place);
        self.visited[rows].iter().flat_map(|row| &row[columns.clone()]).copied().max().flatten()
    }

    fn stands(&mut self, standing: &Standing, observation: &Observation<'_>) {
        let place = standing.box_in_image;
        let known = self.things.iter_mut().flatten().find(|thing| same(&thing.box_in_image, &place));
        if let Some(thing) = known {
            (thing.seen, thing.box_in_image) = (observation.at, place);
            return;
        }
        let size = (place.width() * observation.picture.aspect() * place.height()).sqrt();
        let fits = (self.settings.least_size..=self.settings.largest_size).contains(&size);
        if !fits || !self.settings.zone.contains(foot_in_picture(&place)) {
            return;
        }
        let accompanied = self.visited(&place).filter(|last| *last + BROUGHT_WITHIN >= standing.since);
        let accompanied = accompanied.map(|last| last.max(self.resumed));
        if let Some(free) = self.things.iter_mut().find(|thing| thing.is_none()) {
            *free = Some(Thing {
                box_in_image: place,
                seen: observation.at,
                accompanied,
                covered_since: None,
                left: None,
            });
        }
    }

    fn end(&self, thing: &Thing, at: MediaTime, findings: &mut Findings) {
        if let Some((_, since)) = thing.left {
            findings.push(self.finding(Phase::End, thing.left, at, at.since(since).as_secs()));
        }
    }

    fn finding(&self, phase: Phase, left: Option<(u32, MediaTime)>, at: MediaTime, seconds: u64) -> Finding {
        let (number, since) = left.unwrap_or_default();
        let incident = Incident {
            kind: IncidentKind::ObjectLeft,
            phase,
            number,
            since,
            severity: 50,
            confidence: 60,
            value: seconds.min(86_400) as i32,
            unit: IncidentUnit::Seconds,
            reason: None,
        };
        let site = self.settings.site;
        Finding { at, site, class: None, track: None, kind: FindingKind::Incident(incident) }
    }
}

/// The rows and columns of the cells that a box touches, and one more on each side: who puts something down stands
/// beside it.
fn cells(place: &BoxInImage) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let cell = |share: f32, count: usize, more: i32| {
        let cell = (share * count as f32).floor() as i32 + more;
        cell.clamp(0, count as i32) as usize
    };
    let rows = cell(place.top, SCENE_ROWS, -1)..cell(place.bottom, SCENE_ROWS, 2);
    let columns = cell(place.left, SCENE_COLUMNS, -1)..cell(place.right, SCENE_COLUMNS, 2);
    (rows, columns)
}

fn shared(one: &BoxInImage, other: &BoxInImage) -> f32 {
    let width = one.right.min(other.right) - one.left.max(other.left);
    let height = one.bottom.min(other.bottom) - one.top.max(other.top);
    width.max(0.0) * height.max(0.0)
}

fn same(one: &BoxInImage, other: &BoxInImage) -> bool {
    shared(one, other) > SAME * one.area().min(other.area())
}

/// A person is with what lies within a step, aside or before the feet; a vehicle only with what it covers.
fn stands_at(track: &Track, place: &BoxInImage) -> bool {
    let mut reach = track.box_in_image;
    if track.class == Class::Person {
        let step = reach.width();
        (reach.left, reach.right) = (reach.left - step, reach.right + step);
        reach.bottom += reach.height() / 4.0;
    }
    shared(&reach, place) > COVERS * place.area()
}
