//! Operators on scripted scenes, against what truly happens there, at 10 % misses and 5 % false positives.
//!
//! One row is an operator, a scene that configures it, and what must hold over several seeds. A new row with its
//! scene file is a new case.

use std::collections::BTreeMap;
use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{IncidentKind, Phase};
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::time::MediaTime;
use kerbside_operators::tracker::{Tracker, TrackerSettings};
use kerbside_scenes::Scene;
use kerbside_scenes::truth::Truth;

use crate::camera::only;
use crate::street::observation;

const FPS: f64 = 10.0;
const SEEDS: u64 = 8;

struct Row {
    operator: &'static str,
    scenes: &'static [&'static str],
    check: fn(&[Stage]) -> Result<String, String>,
}

const ROWS: &[Row] = &[
    Row { operator: "count_turns", scenes: &["junction"], check: counts_turns },
    Row { operator: "detect_crowd", scenes: &["plaza"], check: finds_the_crowd },
    Row { operator: "detect_loitering", scenes: &["loiterers"], check: finds_who_stays },
    Row { operator: "detect_near_miss", scenes: &["near-miss"], check: finds_near_misses },
    Row { operator: "detect_stopped", scenes: &["stop-zone"], check: finds_stops },
    Row { operator: "detect_wrong_way", scenes: &["one-way"], check: finds_wrong_ways },
    Row { operator: "measure_occupancy", scenes: &["crossing"], check: measures_presence },
    Row { operator: "measure_queue", scenes: &["signal"], check: measures_queues },
    Row { operator: "measure_speed", scenes: &["arterial"], check: measures_speeds },
];

/// Operators whose rows wait for them.
const WAITING: &[&str] = &[
    "count_turns",
    "detect_crowd",
    "detect_loitering",
    "detect_near_miss",
    "detect_stopped",
    "detect_wrong_way",
    "measure_queue",
    "measure_speed",
];

#[test]
fn operators_find_what_truly_happens() {
    let mut wrong = Vec::new();
    for Row { operator, scenes, check } in ROWS {
        if kerbside_operators::find(operator).is_none() {
            assert!(WAITING.contains(operator), "{operator} is gone");
            println!("{operator} on {scenes:?}: waits");
            continue;
        }
        let stages: Vec<Stage> = scenes.iter().map(|scene| Stage::new(operator, scene)).collect();
        match check(&stages) {
            Ok(numbers) => println!("{operator} on {scenes:?}: {numbers}"),
            Err(numbers) => wrong.push(format!("{operator} on {scenes:?}: {numbers}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Counts are within 2 % in each direction of each line of each scene, at any frame rate. Whatever is too much or too
/// little in one is not made up for by another; where fewer than 50 truly pass, one may be wrong.
#[test]
fn lines_are_counted_within_two_percent_in_every_direction_at_any_frame_rate() {
    let mut wrong = Vec::new();
    for scene in ["arterial", "crossing", "one-way"] {
        for fps in [5.0, FPS, 25.0] {
            let tally = Stage::filmed("count_line", scene, fps).crossings();
            assert!(!tally.is_empty(), "{scene}: nobody passes");
            for ((line, direction), (truth, found)) in tally {
                let numbers = format!("{scene} at {fps} fps, {line:?} {direction:?}: counted {found} of {truth}");
                println!("{numbers}");
                if found.abs_diff(truth) > (truth / 50).max(1) {
                    wrong.push(numbers);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A scene whose films have been tracked.
struct Stage {
    operator: &'static str,
    scene: Scene,
    truth: Truth,
    runs: Vec<Run>,
}

/// One film of it.
struct Run {
    tracks: Vec<(MediaTime, Vec<Track>)>,
    /// Whom each track shows most of the time.
    shows: BTreeMap<TrackId, usize>,
}

impl Stage {
    fn new(operator: &'static str, scene: &str) -> Self {
        Self::filmed(operator, scene, FPS)
    }

    fn filmed(operator: &'static str, scene: &str, fps: f64) -> Self {
        let scene = Scene::golden(scene);
        let detector = &scene.detector;
        assert!(detector.misses >= 0.1 && detector.inventions >= 0.05, "as bad as the promise says");
        let runs = (0..SEEDS).map(|seed| Run::new(&scene, fps, seed)).collect();
        Self { operator, truth: scene.truth(), scene, runs }
    }

    fn find(&self, run: &Run) -> Vec<Finding> {
        self.find_in(run, 1.0)
    }

    /// What the operator finds where a metre of the street is `scale` metres for it.
    fn find_in(&self, run: &Run, scale: f64) -> Vec<Finding> {
        let camera = self.scene.camera_yaml_in(self.operator, scale).expect("the scene configures its operator");
        let mut operator = only(&camera).operator;
        let (mut findings, mut before) = (Findings::new(), None);
        for (at, tracks) in &run.tracks {
            let mut seen = observation(*at, before, tracks);
            seen.picture = self.scene.optics.size;
            operator.observe(&seen, &mut findings);
            before = Some(*at);
        }
        operator.finish(&mut findings);
        findings.as_slice().to_vec()
    }

    /// Who truly passes each line in each direction, and who is counted, in all runs.
    fn crossings(&self) -> Tally<(SiteId, Direction)> {
        let cells = only(&self.scene.camera_yaml(self.operator).expect("configured")).cells;
        let counted =
            |line: SiteId, class| cells.iter().any(|cell| (cell.site, cell.class) == (line, Some(class)));
        let mut tally: Tally<(SiteId, Direction)> = BTreeMap::new();
        for run in &self.runs {
            for it in self.truth.crossings.iter().filter(|it| counted(it.line, it.class)) {
                tally.entry((it.line, it.direction)).or_default().0 += 1;
            }
            for finding in self.find(run) {
                let FindingKind::Crossing { direction } = finding.kind else { continue };
                tally.entry((finding.site, direction)).or_default().1 += 1;
            }
        }
        tally
    }

    /// The incidents of a kind in one run: from when to when.
    fn incidents(&self, run: &Run, kind: IncidentKind) -> Vec<Span> {
        let mut spans: BTreeMap<u32, Span> = BTreeMap::new();
        for finding in self.find(run) {
            let FindingKind::Incident(incident) = finding.kind else { continue };
            assert_eq!(incident.kind, kind);
            match incident.phase {
                Phase::Begin => drop(spans.insert(incident.number, (finding.at, finding.at))),
                Phase::Update => {}
                Phase::End => spans.get_mut(&incident.number).expect("it has begun").1 = finding.at,
            }
        }
        spans.into_values().collect()
    }

    /// Precision and recall of at least `least` over all runs: an incident belongs to one true event at most, and
    /// must begin within `late` of its beginning or while it lasts.
    fn finds(&self, kind: IncidentKind, events: &[Span], late: Duration, least: f64) -> Result<String, String> {
        let (mut found, mut right, mut wrong) = (0, 0, Vec::new());
        for (seed, run) in self.runs.iter().enumerate() {
            let mut open = events.to_vec();
            for span in self.incidents(run, kind) {
                found += 1;
                match open.iter().position(|(begin, end)| (*begin..=*end + late).contains(&span.0)) {
                    Some(place) => drop(open.remove(place)),
                    None => wrong.push(("too many", seed, span)),
                }
            }
            right += events.len() - open.len();
            wrong.extend(open.into_iter().map(|span| ("missed", seed, span)));
        }
        let truth = events.len() * self.runs.len();
        let (precision, recall) = (share(right, found), share(right, truth));
        let numbers = format!(
            "precision {precision:.3}, recall {recall:.3}: {right} right of {found} found and {truth} true; {wrong:?}"
        );
        if truth > 0 && precision >= least && recall >= least { Ok(numbers) } else { Err(numbers) }
    }
}

type Span = (MediaTime, MediaTime);

impl Run {
    fn new(scene: &Scene, fps: f64, seed: u64) -> Self {
        let mut tracker = Tracker::new(TrackerSettings::DEFAULT);
        let mut together: BTreeMap<TrackId, BTreeMap<usize, usize>> = BTreeMap::new();
        let tracks = scene
            .film(&scene.detector, fps, seed)
            .into_iter()
            .map(|frame| {
                tracker.update(frame.at, scene.optics.size, &frame.detections);
                for track in tracker.confirmed().iter().filter(|track| track.detected) {
                    // A detected track's box is the detection's own, so it says whom it shows.
                    let place = frame.detections.iter().position(|it| it.box_in_image == track.box_in_image);
                    if let Some(actor) = place.and_then(|place| frame.shows[place]) {
                        *together.entry(track.id).or_default().entry(actor).or_default() += 1;
                    }
                }
                (frame.at, tracker.confirmed().to_vec())
            })
            .collect();
        let most =
            |actors: BTreeMap<usize, usize>| actors.into_iter().max_by_key(|(_, count)| *count).map(|it| it.0);
        let shows = together.into_iter().filter_map(|(id, actors)| Some((id, most(actors)?))).collect();
        Self { tracks, shows }
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// Sums of counts by key; true and found.
type Tally<K> = BTreeMap<K, (usize, usize)>;

/// All that was counted in a wrong cell, or not at all, is at most this share of what is true.
fn tallied<K: std::fmt::Debug + Ord>(tally: &Tally<K>, most: f64) -> Result<String, String> {
    let truth: usize = tally.values().map(|it| it.0).sum();
    let found: usize = tally.values().map(|it| it.1).sum();
    let wrong: usize = tally.values().map(|it| it.0.abs_diff(it.1)).sum();
    let percent = 100.0 * share(wrong, truth);
    let numbers = format!("counted {found} of {truth}, {wrong} wrong ({percent:.1} %); true and found: {tally:?}");
    if truth > 0 && wrong as f64 <= most * truth as f64 { Ok(numbers) } else { Err(numbers) }
}

/// At most one turn in twenty is in a wrong cell of the matrix, or in none.
fn counts_turns(stages: &[Stage]) -> Result<String, String> {
    let stage = &stages[0];
    let mut tally: Tally<(SiteId, SiteId)> = BTreeMap::new();
    for run in &stage.runs {
        for turn in &stage.truth.turns {
            tally.entry((turn.zone, turn.toward)).or_default().0 += 1;
        }
        for finding in stage.find(run) {
            let FindingKind::Turn { toward } = finding.kind else { continue };
            tally.entry((finding.site, toward)).or_default().1 += 1;
        }
    }
    tallied(&tally, 0.05)
}

/// Time in a zone, of all people together, is within a tenth: a zone's edge is a step wide.
fn measures_presence(stages: &[Stage]) -> Result<String, String> {
    let stage = &stages[0];
    let people = |class: Option<Class>| class == Some(Class::Person);
    let truth: f64 = stage
        .truth
        .visits
        .iter()
        .filter(|visit| people(Some(visit.class)))
        .map(|visit| visit.to.since(visit.from).as_secs_f64())
        .sum();
    let mut present = 0.0;
    for run in &stage.runs {
        for finding in stage.find(run).iter().filter(|finding| people(finding.class)) {
            let FindingKind::Presence { lasted } = finding.kind else { continue };
            present += lasted.as_secs_f64() / stage.runs.len() as f64;
        }
    }
    let numbers = format!("{present:.1} s of {truth:.1} s");
    if (present - truth).abs() <= 0.1 * truth { Ok(numbers) } else { Err(numbers) }
}

/// Whoever goes against the allowed direction is found once, around its crossing.
fn finds_wrong_ways(stages: &[Stage]) -> Result<String, String> {
    let stage = &stages[0];
    const AROUND: Duration = Duration::from_secs(5);
    let wrong = stage.truth.crossings.iter().filter(|it| it.direction == Direction::Backward);
    let events: Vec<Span> = wrong.map(|it| (it.at - AROUND, it.at)).collect();
    stage.finds(IncidentKind::WrongWay, &events, AROUND, 0.98)
}

/// Every vehicle that comes and stands is found; those that were always there are not.
fn finds_stops(stages: &[Stage]) -> Result<String, String> {
    let stage = &stages[0];
    let stops = stage.truth.standstills.iter().filter(|it| !it.fixture && !it.zones.is_empty());
    let events: Vec<Span> = stops.map(|it| (it.from, it.to)).collect();
    stage.finds(IncidentKind::StoppedVehicle, &events, Duration::ZERO, 0.98)
}

/// Encounters with less than 1.5 s between the two are found, those of more than 5 s are not.
fn finds_near_misses(stages: &[Stage]) -> Result<String, String> {
    let stage = &stages[0];
    let close = stage.truth.encounters.iter().filter(|it| it.post_encroachment_secs < 1.5);
    let events: Vec<Span> = close.map(|it| (it.at - Duration::from_secs(2), it.at)).collect();
    stage.finds(IncidentKind::NearMiss, &events, Duration::from_secs(5), 0.95)
}

/// Who is in the zone for more than two minutes is found.
fn finds_who_stays(stages: &[Stage]) -> Result<String, String> {
    let stage = &stages[0];
    let long = |it: &&kerbside_scenes::truth::Visit| {
        it.class == Class::Person && it.to.since(it.from) > Duration::from_secs(120)
    };
    let events: Vec<MediaTime> = stage.truth.visits.iter().filter(long).map(|it| it.to).collect();
    let mut tally: Tally<&str> = BTreeMap::new();
    for run in &stage.runs {
        let counted = |finding: &&Finding| {
            matches!(finding.kind, FindingKind::Counted { measure: Measure::LoiteringCount, .. })
        };
        let found = stage.find(run).iter().filter(counted).count();
        let (truth, sum) = tally.entry("stayed").or_default();
        *truth += events.len();
        *sum += found;
    }
    tallied(&tally, 0.0)
}

/// One crowd, from when more than half of the most that ever come are there until they leave.
fn finds_the_crowd(stages: &[Stage]) -> Result<String, String> {
    let stage = &stages[0];
    let stage_zone = stage.scene.site("stage");
    let at = |secs: u64| MediaTime::from_millis(1000 * secs);
    let secs = stage.scene.duration.as_secs();
    let most = (0..secs).map(|secs| stage.truth.inside(stage_zone, at(secs))).max().unwrap_or_default();
    let crowded = |secs: &u64| 2 * stage.truth.inside(stage_zone, at(*secs)) > most;
    let (from, to) = ((0..secs).find(crowded), (0..secs).rev().find(crowded));
    let (Some(from), Some(to)) = (from, to) else { return Err("nobody comes".to_owned()) };
    stage.finds(IncidentKind::CrowdDensity, &[(at(from.saturating_sub(20)), at(to))], Duration::ZERO, 0.98)
}

/// The longest queue of each half minute is known to one vehicle. Who joins or leaves within three seconds of its ends
/// may belong to either.
fn measures_queues(stages: &[Stage]) -> Result<String, String> {
    const WINDOW: u64 = 30;
    const EDGE: u64 = 3;
    let stage = &stages[0];
    let zone = stage.scene.site("approach");
    let moment = |secs: u64| MediaTime::from_millis(1000 * secs);
    let longest = |secs: std::ops::Range<u64>| {
        secs.map(|secs| stage.truth.standing(zone, moment(secs))).max().unwrap_or_default()
    };
    let (mut windows, mut wrong, mut all) = (0, 0, Vec::new());
    for run in &stage.runs {
        let findings = stage.find(run);
        for from in (0..stage.scene.duration.as_secs()).step_by(WINDOW as usize) {
            let within = findings.iter().filter(|it| (moment(from)..moment(from + WINDOW)).contains(&it.at));
            let peaks = within.filter_map(|it| match it.kind {
                FindingKind::Peak { measure: Measure::QueueLen, amount } => Some(amount as usize),
                _ => None,
            });
            let found = peaks.max().unwrap_or_default();
            let least = longest(from + EDGE..from + WINDOW - EDGE);
            let most = longest(from.saturating_sub(EDGE)..from + WINDOW + EDGE);
            windows += 1;
            wrong += usize::from(found + 1 < least || found > most + 1);
            all.push((from, least, most, found));
        }
    }
    let numbers = format!("{wrong} of {windows} windows wrong by more than one vehicle");
    if wrong == 0 { Ok(numbers) } else { Err(format!("{numbers}: (from s, least, most, found) {all:?}")) }
}

/// The median error of a vehicle's speed is at most 5 %, and nine of ten are measured.
///
/// A finding tells no speed but a bucket of 10 km/h. With a ground on which a metre is a little longer the same passage
/// falls into the next bucket at some scale: from all scales together follows its speed to a percent.
fn measures_speeds(stages: &[Stage]) -> Result<String, String> {
    let stage = &stages[0];
    let (mut errors, mut passages) = (Vec::new(), 0);
    for run in &stage.runs {
        let mut bounds: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        for percent in 0..35 {
            let scale = 1.0 + f64::from(percent) / 100.0;
            for finding in stage.find_in(run, scale) {
                let FindingKind::Counted { measure: Measure::SpeedHist, bucket, .. } = finding.kind else {
                    continue;
                };
                let Some(actor) = finding.track.and_then(|track| run.shows.get(&track)) else { continue };
                let edges = Measure::SpeedHist.edges();
                let edge = |place: usize| edges.get(place).map(|edge| f64::from(*edge) / scale);
                let low = usize::from(bucket).checked_sub(1).and_then(edge).unwrap_or(0.0);
                let high = edge(bucket.into()).unwrap_or(f64::INFINITY);
                let bound = bounds.entry(*actor).or_insert((0.0, f64::INFINITY));
                *bound = (bound.0.max(low), bound.1.min(high));
            }
        }
        for crossing in &stage.truth.crossings {
            passages += 1;
            let Some((low, high)) = bounds.get(&crossing.actor) else { continue };
            let (measured, truth) = ((low + high) / 2.0, crossing.speed_mps * 3.6);
            errors.push((measured - truth).abs() / truth);
        }
    }
    errors.sort_by(f64::total_cmp);
    let median = errors.get(errors.len() / 2).copied().unwrap_or(f64::INFINITY);
    let ninth = errors.get(errors.len() * 9 / 10).copied().unwrap_or(f64::INFINITY);
    let numbers = format!(
        "median error {:.1} %, nine in ten below {:.1} %, {} of {passages} measured",
        100.0 * median,
        100.0 * ninth,
        errors.len()
    );
    if median <= 0.05 && errors.len() * 10 >= passages * 9 { Ok(numbers) } else { Err(numbers) }
}
