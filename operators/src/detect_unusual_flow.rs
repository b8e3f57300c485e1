#![doc = include_str!("detect_unusual_flow.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{Geometry, Line, PointInImage, Shape, SiteId};
use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase, Reason};
use kerbside_core::observation::Observation;
use kerbside_core::operator::{
    ClosedBin, Configured, Operator, OperatorSpec, OptionDoc, RecallError, Role, Surroundings,
};
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_core::tree::Reader;

use crate::normal_motion::memory::Fingerprint;
use crate::options;
use crate::seasonal::{SeasonalBaseline, SeasonalSettings};

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "detect_unusual_flow",
    summary: "Finds counts and speeds that are unusual for the time of day and the day of the week.",
    manual: include_str!("detect_unusual_flow.md"),
    options: &[
        OptionDoc { name: "line", takes: "name of a line", meaning: "Whose crossings or speeds are watched." },
        OptionDoc { name: "zone", takes: "name of a zone", meaning: "Whose presence or speeds are watched." },
        OptionDoc {
            name: "measures",
            takes: "a list of counts, speeds; default: [counts]",
            meaning: "What is watched: how many, or how fast.",
        },
        options::CLASSES,
        OptionDoc {
            name: "every",
            takes: "1m to 1h, a part of an hour without a rest; default 15m",
            meaning: "Released bins are joined to steps of this length.",
        },
        OptionDoc {
            name: "threshold",
            takes: "a score from 0.3 to 0.95; default 0.5",
            meaning: "From which score on a step is unusual; higher is quieter.",
        },
    ],
    example: "\
geometry:
  lines:
    crossing: {from: [0.10, 0.62], to: [0.88, 0.55]}
operators:
  count_line: [{line: crossing, classes: [car, truck]}]
  detect_unusual_flow: [{line: crossing, classes: [car, truck], every: 15m}]
",
    configure,
};

const DEFAULT_STEP: Duration = Duration::from_secs(900);
/// The one of `kerbside backtest`.
const DEFAULT_THRESHOLD: f64 = 0.5;
/// A step that the camera saw less of is a gap: neither judged nor learned.
const LEAST_COVERAGE: f64 = 0.8;
/// The mean of fewer speeds than this says nothing.
const LEAST_SPEEDS: f64 = 5.0;
/// The same where there is noise on the histogram, in times of the noise's scale: its buckets are up to 60 km/h from the
/// mean, so that of fewer the noise alone moves the mean by more than 5 km/h or so.
const LEAST_SPEEDS_IN_NOISE: f64 = 40.0;
/// Where there is noise on a number, which is seen from numbers below zero, this many times as many powers of ten of
/// improbability are needed: noise has longer tails than what happens on a street.
const IN_NOISE: f64 = 1.15;
/// A count that deviates by less is not told, however rare it is: one vehicle more in an empty street is improbable,
/// and would mark a single passage.
const LEAST_OBJECTS: f64 = 5.0;
/// The same for the mean number of objects in a zone.
const LEAST_PRESENCE_PERMILLE: f64 = 1000.0;
/// What is unusual lasts until so much time has passed without more of it.
const CALM: Duration = Duration::from_secs(3600);
/// The version of what is remembered.
const VERSION: u32 = 2;

/// What of a site is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Counts,
    Speeds,
}

/// One series of numbers: what is watched of one class in one direction.
struct Series {
    measure: Measure,
    class: Class,
    direction: Direction,
    baseline: SeasonalBaseline,
    step: Step,
    /// The incident that lasts, with its number, its beginning, and when it was last unusual.
    open: Option<(u32, MediaTime, WallTime)>,
    /// How far below zero numbers were since the start, as only noise makes them, and how many of them.
    below: f64,
    times_below: f64,
}

/// Where and how what is found is told.
struct Told<'a> {
    site: SiteId,
    threshold: f64,
    /// How many incidents there were.
    incidents: &'a mut u32,
    findings: &'a mut Findings,
}

/// The step that is being joined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Step {
    from: WallTime,
    /// Local civil time of its beginning, in seconds.
    at: i64,
    /// What has been joined so far, and the time that it stands for, with and without coverage.
    sum: f64,
    weight: f64,
    covered_secs: f64,
    secs: f64,
}

struct DetectUnusualFlow {
    site: SiteId,
    /// The site's name and shape, whatever its place in the list of sites.
    place: Fingerprint,
    every: Duration,
    /// From which score on a step is unusual.
    threshold: f64,
    series: Vec<Series>,
    incidents: u32,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let (is_line, site) = match (reader.optional("line"), reader.optional("zone")) {
        (Some(_), None) => (true, options::line(reader, surroundings).map(|(site, _)| site)),
        (None, Some(_)) => (false, options::zone(reader, surroundings).map(|(site, _)| site)),
        (line, zone) => {
            let found = if line.is_some() && zone.is_some() { "both are here" } else { "neither is here" };
            reader.problem(format!("a line or a zone is watched, and {found}"), "'line' or 'zone' is expected");
            (true, None)
        }
    };
    let measures = measures(reader);
    let classes = options::classes(reader, surroundings);
    let every = match reader.optional("every") {
        Some(field) => field.duration(Duration::from_secs(60)..=Duration::from_secs(3600)).filter(|every| {
            let whole = 3600 % every.as_secs() == 0 && every.subsec_nanos() == 0;
            if !whole {
                field.problem("it does not divide an hour evenly", "such as 5m, 15m or 1h is expected");
            }
            whole
        }),
        None => Some(DEFAULT_STEP),
    };
    let threshold = options::number_or(reader, "threshold", 0.3..=0.95, "", DEFAULT_THRESHOLD);
    reader.finish();
    let (site, measures, classes, every, threshold) = (site?, measures?, classes?, every?, threshold?);
    let mut series = Vec::new();
    let mut watches = Vec::new();
    for watched in measures {
        let (measure, directions): (_, &[Direction]) = match (watched, is_line) {
            (Watched::Counts, true) => (Measure::CrossingCount, &[Direction::Forward, Direction::Backward]),
            (Watched::Counts, false) => (Measure::PresenceMean, &[Direction::None]),
            (Watched::Speeds, true) => (Measure::SpeedHist, &[Direction::Forward, Direction::Backward]),
            (Watched::Speeds, false) => (Measure::SpeedHist, &[Direction::None]),
        };
        for (&class, &direction) in classes.iter().flat_map(|class| directions.iter().map(move |d| (class, d))) {
            watches.extend(Cell::new(site, measure, Some(class)).directed(direction).histogram());
            let baseline = SeasonalBaseline::new(SeasonalSettings::DEFAULT);
            series.push(Series {
                measure,
                class,
                direction,
                baseline,
                step: Step::default(),
                open: None,
                below: 0.0,
                times_below: 0.0,
            });
        }
    }
    let cells = classes.iter().map(|class| Cell::new(site, Measure::FlowScore, Some(*class))).collect();
    let place = place(surroundings.geometry, site);
    let operator = DetectUnusualFlow { site, place, every, threshold, series, incidents: 0 };
    let configured = Configured::counting(operator, cells).reporting([(IncidentKind::SceneAnomaly, site)]);
    Some(Configured { watches, ..configured.in_role(Role::Bins) })
}

/// What tells the site from every other: a line that was moved is another one.
fn place(geometry: &Geometry, site: SiteId) -> Fingerprint {
    let name = geometry.name(site).unwrap_or_default();
    let named = Fingerprint::new().add(name.as_bytes()).add(&[0]);
    let point = |print: Fingerprint, point: &PointInImage| {
        print.add(&point.x.to_bits().to_le_bytes()).add(&point.y.to_bits().to_le_bytes())
    };
    match geometry.sites.get(usize::from(site.0)).map(|site| &site.shape) {
        Some(Shape::Line(Line { from, to })) => [from, to].into_iter().fold(named.add(&[1]), point),
        Some(Shape::Zone(zone)) => zone.corners.iter().fold(named.add(&[2]), point),
        None => named,
    }
}

fn measures(reader: &Reader<'_>) -> Option<Vec<Watched>> {
    let Some(field) = reader.optional("measures") else { return Some(vec![Watched::Counts]) };
    let items = field.list()?;
    let mut found = Vec::new();
    for item in &items {
        let watched = match item.text()? {
            "counts" => Watched::Counts,
            "speeds" => Watched::Speeds,
            other => {
                item.problem(format!("'{other}' is unknown"), "counts and speeds are allowed");
                return None;
            }
        };
        if found.contains(&watched) {
            item.problem("it is listed twice", "each measure once");
            return None;
        }
        found.push(watched);
    }
    if found.is_empty() {
        field.problem("no measure is listed", "counts, speeds or both are expected");
        return None;
    }
    Some(found)
}

impl Operator for DetectUnusualFlow {
    fn observe(&mut self, _observation: &Observation<'_>, _findings: &mut Findings) {}

    fn advance(&mut self, upto: MediaTime, findings: &mut Findings) {
        let now = WallTime::from_unix_nanos(upto.as_nanos());
        for series in &mut self.series {
            // After as much time as ends it, the step at whose end that is shall speak first.
            if let Some((_, _, last)) = series.open.filter(|(_, _, last)| now.since(*last) > CALM) {
                series.close(self.site, last + CALM, findings);
            }
        }
    }

    fn finish(&mut self, findings: &mut Findings) {
        for series in &mut self.series {
            let end = series.open.map(|(_, _, last)| last);
            if let Some(last) = end {
                series.close(self.site, last, findings);
            }
        }
    }

    fn observe_bin(&mut self, bin: &ClosedBin, findings: &mut Findings) {
        let Self { site, every, threshold, series, incidents, .. } = self;
        let mut told = Told { site: *site, threshold: *threshold, incidents, findings };
        let of_bin = |series: &&mut Series| {
            bin.cell.site == *site
                && (series.measure, Some(series.class), series.direction)
                    == (bin.cell.measure, bin.cell.class, bin.cell.direction)
        };
        let Some(series) = series.iter_mut().find(of_bin) else { return };
        // Bins that do not fill a step evenly are steps themselves.
        let length = bin.to.since(bin.from);
        let is_even = !length.is_zero() && every.as_nanos().is_multiple_of(length.as_nanos());
        let every = &if is_even { *every } else { length };
        let from = bin.from.bin_start(*every);
        if from != series.step.from && series.step.secs > 0.0 {
            // The step before never came to its end: the node was off, or the clock jumped.
            series.judge(series.step.from + *every, *every, &mut told);
        }
        if series.step.secs == 0.0 {
            let into = bin.from.since(from).as_secs() as i64;
            series.step = Step { from, at: bin.local.as_seconds() - into, ..Step::default() };
        }
        series.join(bin);
        let last_bucket = bin.cell.bucket == *series.measure.buckets().end();
        if last_bucket && bin.to >= from + *every {
            series.judge(bin.to, *every, &mut told);
        }
    }

    fn remember(&self, out: &mut Vec<u8>) {
        out.extend(VERSION.to_le_bytes());
        out.extend(self.fingerprint());
        for series in &self.series {
            let mut bytes = Vec::new();
            series.baseline.save(&mut bytes);
            out.extend((bytes.len() as u64).to_le_bytes());
            out.append(&mut bytes);
        }
    }

    fn recall(&mut self, bytes: &[u8]) -> Result<(), RecallError> {
        let (version, rest) = bytes.split_first_chunk().ok_or(RecallError::Damaged("it is too short"))?;
        let found = u32::from_le_bytes(*version);
        if found != VERSION {
            return Err(RecallError::Version { found, expected: VERSION });
        }
        let mut rest = rest.strip_prefix(self.fingerprint().as_slice()).ok_or(RecallError::Settings)?;
        let mut baselines = Vec::with_capacity(self.series.len());
        for _ in &self.series {
            let (length, after) = rest.split_first_chunk().ok_or(RecallError::Damaged("it is cut off"))?;
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let (saved, after) = after.split_at_checked(length).ok_or(RecallError::Damaged("it is cut off"))?;
            let baseline = SeasonalBaseline::restore(saved, SeasonalSettings::DEFAULT);
            baselines.push(baseline.map_err(|_| RecallError::Damaged("a series is not whole"))?);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(RecallError::Damaged("it is too long"));
        }
        for (series, baseline) in self.series.iter_mut().zip(baselines) {
            series.baseline = baseline;
        }
        Ok(())
    }
}

impl DetectUnusualFlow {
    /// What the learned numbers depend on: where, which series there are, and how long a step is.
    fn fingerprint(&self) -> Vec<u8> {
        let mut bytes = (self.every.as_secs() as u32).to_le_bytes().to_vec();
        bytes.extend(self.place.value().to_le_bytes());
        bytes.push(self.series.len() as u8);
        bytes.extend(self.series.iter().flat_map(|it| [it.measure as u8, it.class as u8, it.direction as u8]));
        bytes
    }
}

impl Series {
    /// Adds a bin to the step.
    fn join(&mut self, bin: &ClosedBin) {
        let secs = bin.to.since(bin.from).as_secs_f64();
        let value = f64::from(bin.value);
        if value < 0.0 {
            (self.below, self.times_below) = (self.below - value, self.times_below + 1.0);
        }
        let Step { sum, weight, covered_secs, secs: of_step, .. } = &mut self.step;
        match self.measure {
            // The mean over what was seen, so that a bin that was seen in part counts in part.
            Measure::PresenceMean => {
                *sum += value * secs;
                *weight += secs * f64::from(bin.coverage);
            }
            // Buckets stand for their middles. What noise puts below zero counts as it is: it makes up for what noise
            // puts above.
            Measure::SpeedHist => {
                *sum += value * middle(Measure::SpeedHist, bin.cell.bucket);
                *weight += value;
            }
            _ => *sum += value,
        }
        if bin.cell.bucket == 0 {
            *covered_secs += secs * f64::from(bin.coverage);
            *of_step += secs;
        }
    }

    /// The step of length `every` has ended: judges its number and learns from it. Where bins are missing, nothing
    /// was seen.
    fn judge(&mut self, end: WallTime, every: Duration, told: &mut Told<'_>) {
        let Told { site, threshold, incidents, findings } = told;
        let site = *site;
        let Step { at, sum, weight, covered_secs, secs, .. } = std::mem::take(&mut self.step);
        // What is below zero lies as far below it, on average, as the scale of the noise.
        let noise = self.below / self.times_below.max(1.0);
        let least_speeds = LEAST_SPEEDS.max(LEAST_SPEEDS_IN_NOISE * noise);
        let coverage = covered_secs / secs.max(every.as_secs_f64());
        let value = match self.measure {
            Measure::PresenceMean => sum / weight.max(1.0),
            Measure::SpeedHist if weight < least_speeds => return self.calm(site, end, findings),
            Measure::SpeedHist => sum / weight,
            // Of a step that was seen in part, as much is missing as was not seen.
            _ => sum / coverage.max(LEAST_COVERAGE),
        };
        if coverage < LEAST_COVERAGE {
            return self.calm(site, end, findings);
        }
        let Some(mut verdict) = self.baseline.observe(at, value) else { return };
        let least = match self.measure {
            Measure::CrossingCount => LEAST_OBJECTS,
            Measure::PresenceMean => LEAST_PRESENCE_PERMILLE,
            _ => 0.0,
        };
        if (value - verdict.expected).abs() < least {
            verdict.score = 0.0;
        }
        let moment = MediaTime::from_nanos(end.as_unix_nanos());
        let finding = |kind| Finding { at: moment, site, class: Some(self.class), track: None, kind };
        let permille = (verdict.score * 1000.0).round() as u32;
        if permille > 0 {
            findings.push(finding(FindingKind::Peak { measure: Measure::FlowScore, amount: permille }));
        }
        let threshold = if self.times_below > 0.0 { 1.0 - (1.0 - *threshold).powf(IN_NOISE) } else { *threshold };
        if verdict.score < threshold {
            return self.calm(site, end, findings);
        }
        if let Some((_, _, last)) = &mut self.open {
            *last = end;
            return;
        }
        let (number, reason) = (**incidents, if value > verdict.expected { Reason::High } else { Reason::Low });
        **incidents = incidents.wrapping_add(1);
        let of_usual = 1000.0 * value / verdict.expected.max(f64::MIN_POSITIVE);
        findings.push(finding(FindingKind::Incident(Incident {
            kind: IncidentKind::SceneAnomaly,
            phase: Phase::Begin,
            number,
            since: moment,
            severity: (verdict.score * 100.0) as u8,
            confidence: (verdict.score * 100.0) as u8,
            value: of_usual.clamp(0.0, 10_000.0) as i32,
            unit: IncidentUnit::Permille,
            reason: Some(reason),
        })));
        self.open = Some((number, moment, end));
    }

    /// Ends the incident when it has been calm for long enough.
    fn calm(&mut self, site: SiteId, now: WallTime, findings: &mut Findings) {
        if self.open.is_some_and(|(_, _, last)| now.since(last) >= CALM) {
            self.close(site, now, findings);
        }
    }

    fn close(&mut self, site: SiteId, at: WallTime, findings: &mut Findings) {
        let Some((number, since, _)) = self.open.take() else { return };
        let incident = Incident {
            kind: IncidentKind::SceneAnomaly,
            phase: Phase::End,
            number,
            since,
            severity: 0,
            confidence: 0,
            value: 0,
            unit: IncidentUnit::None,
            reason: None,
        };
        let (at, class) = (MediaTime::from_nanos(at.as_unix_nanos()), Some(self.class));
        findings.push(Finding { at, site, class, track: None, kind: FindingKind::Incident(incident) });
    }
}

/// The middle of a bucket, in the unit of its edges; of the last, which is open, its lower edge.
fn middle(measure: Measure, bucket: u8) -> f64 {
    let edge = |place: usize| measure.edges().get(place).copied().map(f64::from);
    let bucket = usize::from(bucket);
    let lower = bucket.checked_sub(1).and_then(edge).unwrap_or(0.0);
    edge(bucket).map_or(lower, |upper| f64::midpoint(lower, upper))
}
