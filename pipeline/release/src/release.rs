//! The release stage itself: sums findings, closes bins, numbers rows, seals batches.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Finding, FindingKind, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::time::{MediaTime, WallTime};

use crate::agg::{AggRows, Closed};
use crate::bins::{Added, Series};
use crate::contract::check_contract;
use crate::error::ReleaseError;
use crate::health::{self, HealthSample};
use crate::incident::{IncidentRows, Numbers, Told};
use crate::plan::{CameraPlan, NodeIdentity, Positions, StreamPosition};
use crate::sealed::ReleasedBatch;
use crate::table::{ClockQuality, Rule, Table};
use crate::vocabulary::Vocabulary;

/// One analysed frame, without its picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameReport {
    /// When it was taken, on the camera's clock. Findings are placed in UTC by it and `wall`.
    pub media: MediaTime,
    /// The same moment in UTC.
    pub wall: WallTime,
    /// How long it stands for; zero for the first frame of a run.
    pub step: Duration,
    /// Whether the picture can be trusted.
    pub trusted: bool,
    /// How far the node's clock can be trusted.
    pub clock: ClockQuality,
}

/// What was not released, and why. Nothing is left out silently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReleaseCounts {
    /// Findings that fell, at least in part, into bins that were closed already.
    pub late_findings: u64,
    /// Frames that fell into bins that were closed already, counted once for each length of bin.
    pub late_frames: u64,
    /// Findings that feed no cell of their camera's plan, and words about situations that are not in it or that go on
    /// without having begun.
    pub unplanned_findings: u64,
    /// Empty bins that were left out after a jump of the clock, counted once for each camera and length.
    pub skipped_bins: u64,
    /// Words about situations that were more than a camera may tell in a day.
    pub limited_incidents: u64,
}

/// A number that was released, for whoever looks at the series of them on the node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReleasedBin {
    /// The camera's place in the plan.
    pub camera: usize,
    /// The counter.
    pub cell: Cell,
    /// Where the bin begins.
    pub from: WallTime,
    /// Where it ends.
    pub to: WallTime,
    /// The number, as it was released.
    pub value: i32,
    /// The share of the bin with frames that can be trusted, 0..1.
    pub coverage: f32,
}

/// One camera's cells, by the length of their bins.
#[derive(Debug)]
struct Camera {
    watched: Vec<Cell>,
    series: Vec<Series>,
    /// By class, and last for all together: which of the series.
    series_of: [Option<usize>; Class::ALL.len() + 1],
}

/// Turns findings into sealed rows. One a node.
#[derive(Debug)]
pub struct Release {
    words: Vocabulary,
    agg_schema: SchemaRef,
    health_schema: SchemaRef,
    incident_schema: SchemaRef,
    config_revision: u32,
    cameras: Vec<Camera>,
    at: Positions,
    numbers: Numbers,
    incidents: IncidentRows,
    closed: Vec<ReleasedBin>,
    /// What the `release` column of `agg.v1` says.
    rule: Rule,
    /// What was last said of the node's clock: for rows of cameras that say nothing.
    clock: ClockQuality,
    counts: ReleaseCounts,
}

impl Release {
    /// A stage whose first bins are those that hold `start`. Row numbers continue `at` the given positions.
    /// Cameras keep the order of the list.
    pub fn new(
        identity: NodeIdentity,
        cameras: Vec<CameraPlan>,
        at: Positions,
        start: WallTime,
    ) -> Result<Self, ReleaseError> {
        let words = Vocabulary::new(&identity, &cameras)?;
        let agg_schema = words.schema(Table::Agg);
        let health_schema = words.schema(Table::Health);
        let incident_schema = words.schema(Table::Incident);
        check_contract(Table::Agg, &agg_schema)?;
        check_contract(Table::Health, &health_schema)?;
        check_contract(Table::Incident, &incident_schema)?;
        let planned = cameras.iter().map(|plan| &plan.incidents);
        let numbers = Numbers::new(identity.incident_seed, planned, start.as_unix_nanos());
        let cameras = cameras.iter().map(|plan| Camera::new(plan, start)).collect::<Result<_, _>>()?;
        Ok(Self {
            words,
            agg_schema,
            health_schema,
            incident_schema,
            config_revision: identity.config_revision,
            cameras,
            at,
            numbers,
            incidents: IncidentRows::default(),
            closed: Vec::new(),
            rule: Rule::AggExact,
            clock: ClockQuality::Unsynced,
            counts: ReleaseCounts::default(),
        })
    }

    /// The schema of a table's batches, with its metadata.
    pub fn schema(&self, table: Table) -> SchemaRef {
        Arc::clone(match table {
            Table::Agg => &self.agg_schema,
            Table::Health => &self.health_schema,
            Table::Incident => &self.incident_schema,
        })
    }

    /// The same stage for a demonstration, whose bins may be shorter than privacy allows: all rows of
    /// `agg.v1` and `incident.v1` are stamped `demo`, so that whoever receives them can refuse them.
    #[must_use]
    pub fn for_demonstration(mut self) -> Self {
        self.rule = Rule::Demo;
        self
    }

    /// Takes in one analysed frame of the camera at place `camera` of the plan, and what was found in it.
    ///
    /// # Panics
    /// When there is no such camera.
    pub fn observe(&mut self, camera: usize, frame: &FrameReport, findings: &[Finding]) {
        self.clock = frame.clock;
        let wall = frame.wall.as_unix_nanos();
        for series in &mut self.cameras[camera].series {
            if series.frame(wall, nanos(frame.step), frame.trusted, frame.clock) == Added::Late {
                self.counts.late_frames += 1;
            }
        }
        self.add_findings(camera, frame, findings);
    }

    /// Takes in findings that come without a new frame: what operators still had when their camera ended.
    /// `frame` is the last frame; it ties their clock to UTC and is not counted again.
    ///
    /// # Panics
    /// When there is no such camera.
    pub fn add_findings(&mut self, camera: usize, frame: &FrameReport, findings: &[Finding]) {
        let of_camera = &mut self.cameras[camera];
        for finding in findings {
            let at = to_wall(frame, finding.at);
            if let FindingKind::Incident(incident) = &finding.kind {
                let Self { incidents, words, numbers, .. } = self;
                match incidents.push(words, numbers, camera, (finding, incident), (at, frame.clock)) {
                    Told::Row | Told::Again => {}
                    Told::Limited => self.counts.limited_incidents += 1,
                    Told::Unplanned => self.counts.unplanned_findings += 1,
                }
                continue;
            }
            match of_camera.add(finding, at) {
                Some(Added::Whole) => {}
                Some(Added::Late) => self.counts.late_findings += 1,
                None => self.counts.unplanned_findings += 1,
            }
        }
    }

    /// The watched cells of the bins that were closed since the last call, in the order in which they were closed.
    pub fn closed_bins(&mut self) -> std::vec::Drain<'_, ReleasedBin> {
        self.closed.drain(..)
    }

    /// Closes every bin that ended at or before `now`, of every camera, and appends one batch for each
    /// moment at which bins ended. Calls that are far apart give the same batches as calls that are close.
    ///
    /// Whoever calls it allows for lateness: a finding of a closed bin is counted and left out.
    /// Words about situations are not held back: what came since the last call is one batch of `incident.v1`.
    /// A `now` before an earlier one closes nothing. After a jump ahead by more than a thousand bins
    /// only bins into which something was summed are emitted; the others are counted as skipped.
    pub fn advance(&mut self, now: WallTime, out: &mut Vec<ReleasedBatch>) -> Result<(), ReleaseError> {
        for series in self.all_series() {
            series.due = now.as_unix_nanos();
        }
        self.emit_incidents(out)?;
        self.close_due(out)
    }

    /// Emits one row a camera of `health.v1` for the time from `from` to `to`. `samples` are in the
    /// order of the cameras. `clock` is how far the node's clock can be trusted; it holds for rows of
    /// `agg.v1` from silent cameras too, until a frame says otherwise.
    pub fn health(
        &mut self,
        from: WallTime,
        to: WallTime,
        clock: ClockQuality,
        samples: &[HealthSample],
        out: &mut Vec<ReleasedBatch>,
    ) -> Result<(), ReleaseError> {
        if samples.len() != self.cameras.len() {
            return Err(ReleaseError::SampleCount { expected: self.cameras.len(), found: samples.len() });
        }
        self.clock = clock;
        if samples.is_empty() {
            return Ok(());
        }
        // A clock that was set back within the minute must not give a row that ends before it begins.
        let span = (from.min(to), to);
        let rev = self.config_revision;
        let batch = health::batch(&self.words, &self.health_schema, samples, span, clock, self.at.health, rev)?;
        out.push(number(Table::Health, batch, &mut self.at.health)?);
        Ok(())
    }

    /// Emits all bins that have begun, those that have not ended included: their rows keep the end of
    /// the bin as `t1`, and a coverage below 1.
    pub fn finish(&mut self, now: WallTime, out: &mut Vec<ReleasedBatch>) -> Result<(), ReleaseError> {
        for series in self.all_series() {
            series.due = series.last_end(now.as_unix_nanos());
        }
        self.emit_incidents(out)?;
        self.close_due(out)
    }

    /// What was not released so far.
    pub fn counts(&self) -> ReleaseCounts {
        self.counts
    }

    /// Findings that fell, at least in part, into bins that were closed already.
    pub fn late_findings(&self) -> u64 {
        self.counts.late_findings
    }

    fn all_series(&mut self) -> impl Iterator<Item = &mut Series> {
        self.cameras.iter_mut().flat_map(|camera| &mut camera.series)
    }

    fn close_due(&mut self, out: &mut Vec<ReleasedBatch>) -> Result<(), ReleaseError> {
        loop {
            let mut skipped = 0;
            let mut first_end = None;
            for series in self.all_series() {
                skipped += series.skip_gap();
                first_end = match (first_end, series.next_end()) {
                    (Some(a), Some(b)) => Some(u64::min(a, b)),
                    (a, b) => a.or(b),
                };
            }
            self.counts.skipped_bins += skipped;
            let Some(end) = first_end else { return Ok(()) };
            self.close_at(end, out)?;
        }
    }

    /// Makes one batch of the words about situations that have come.
    fn emit_incidents(&mut self, out: &mut Vec<ReleasedBatch>) -> Result<(), ReleaseError> {
        if self.incidents.rows() == 0 {
            return Ok(());
        }
        let rule = if self.rule == Rule::Demo { Rule::Demo } else { Rule::Incident };
        let (at, rev) = (self.at.incident, self.config_revision);
        let rows = std::mem::take(&mut self.incidents);
        let batch = rows.finish(&self.words, &self.incident_schema, at, rev, rule)?;
        out.push(number(Table::Incident, batch, &mut self.at.incident)?);
        Ok(())
    }

    /// Closes all bins that end at `end` and makes one batch of them.
    fn close_at(&mut self, end: u64, out: &mut Vec<ReleasedBatch>) -> Result<(), ReleaseError> {
        let mut rows = AggRows::default();
        for (index, camera) in self.cameras.iter_mut().enumerate() {
            // The longest bin began first. All end together, so this is the order of `t0`.
            let mut ending: Vec<&mut Series> =
                camera.series.iter_mut().filter(|series| series.next_end() == Some(end)).collect();
            ending.sort_by_key(|series| series.next);
            for series in ending {
                let start = series.next;
                let bin = series.close();
                let span = (WallTime::from_unix_nanos(start), WallTime::from_unix_nanos(end));
                let closed = Closed { camera: index, series, bin: &bin, span, clock: self.clock };
                rows.push(&self.words, &closed, |cell, value, coverage| {
                    if camera.watched.contains(cell) {
                        let (from, to) = span;
                        self.closed.push(ReleasedBin { camera: index, cell: *cell, from, to, value, coverage });
                    }
                });
            }
        }
        if rows.rows() > 0 {
            let batch =
                rows.finish(&self.words, &self.agg_schema, self.at.agg, self.config_revision, self.rule)?;
            out.push(number(Table::Agg, batch, &mut self.at.agg)?);
        }
        Ok(())
    }
}

impl Camera {
    fn new(plan: &CameraPlan, start: WallTime) -> Result<Self, ReleaseError> {
        let mut by_length: Vec<(u64, Vec<Cell>)> = Vec::new();
        let mut series_of = [None; Class::ALL.len() + 1];
        // What is about all vehicles together has their bins.
        for class in Class::ALL.map(Some).into_iter().chain([None]) {
            let length = bin_nanos(plan, class.unwrap_or(Class::Car))?;
            let cells: Vec<Cell> = plan.cells.iter().filter(|cell| cell.class == class).copied().collect();
            if cells.is_empty() {
                continue;
            }
            let place = by_length.iter().position(|(of, _)| *of == length).unwrap_or_else(|| {
                by_length.push((length, Vec::new()));
                by_length.len() - 1
            });
            by_length[place].1.extend(cells);
            series_of[series_place(class)] = Some(place);
        }
        let of_cells = plan.cells.iter().flat_map(|cell| [Some(cell.site), cell.toward]).flatten();
        let of_incidents = plan.incidents.iter().map(|(_, site)| *site).filter(|site| *site != SiteId::PICTURE);
        let unknown = of_cells.chain(of_incidents).find(|site| usize::from(site.0) >= plan.sites.len());
        if let Some(site) = unknown {
            return Err(ReleaseError::UnknownSite {
                camera: plan.camera.clone(),
                site: site.0,
                sites: plan.sites.len(),
            });
        }
        let start = start.as_unix_nanos();
        let series = by_length.into_iter().map(|(length, cells)| Series::new(length, cells, start)).collect();
        Ok(Self { watched: plan.watched.clone(), series, series_of })
    }

    /// Adds a finding that ended at `at`. `None` when it feeds no cell.
    fn add(&mut self, finding: &Finding, at: u64) -> Option<Added> {
        let place = self.series_of.get(series_place(finding.class)).copied().flatten()?;
        let series = self.series.get_mut(place)?;
        let mut fed = None;
        for cell in finding.feeds() {
            let Some(place) = series.place(&cell) else { continue };
            let since = |lasted: Duration| at.saturating_sub(nanos(lasted));
            let added = match finding.kind {
                FindingKind::Presence { lasted } if cell.measure == Measure::OccupancyTime => {
                    series.occupancy(place, since(lasted), at)
                }
                FindingKind::Presence { lasted } => series.presence(place, since(lasted), at),
                FindingKind::Level { share, lasted, .. } => {
                    series.level(place, since(lasted), at, u64::from(share))
                }
                FindingKind::Peak { amount, .. } => series.peak(place, at, u64::from(amount)),
                FindingKind::Crossing { .. } | FindingKind::Turn { .. } | FindingKind::Counted { .. } => {
                    series.count(place, at)
                }
                FindingKind::Incident(_) => continue,
            };
            // Late, even in part or for one of two cells, is late.
            fed = if fed == Some(Added::Late) { fed } else { Some(added) };
        }
        fed
    }
}

/// Where [`Camera::series_of`] has a class.
fn series_place(class: Option<Class>) -> usize {
    class.map_or(Class::ALL.len(), Class::index)
}

/// Seals a batch and moves the table's position past it.
fn number(table: Table, batch: RecordBatch, at: &mut StreamPosition) -> Result<ReleasedBatch, ReleaseError> {
    let rows = batch.num_rows() as u64;
    let next_seq = at.next_seq.checked_add(rows).ok_or(ReleaseError::SequenceExhausted(table))?;
    let released = ReleasedBatch::seal(table, batch, *at)?;
    at.next_seq = next_seq;
    Ok(released)
}

fn bin_nanos(plan: &CameraPlan, class: Class) -> Result<u64, ReleaseError> {
    let length = plan.bins.of(class).as_nanos();
    match u64::try_from(length) {
        Ok(nanos) if nanos > 0 && nanos % 1_000_000 == 0 => Ok(nanos),
        _ => Err(ReleaseError::BinLength { camera: plan.camera.clone(), nanos: length }),
    }
}

/// The moment `at` of the camera's clock in wall time.
fn to_wall(frame: &FrameReport, at: MediaTime) -> u64 {
    let wall =
        if at <= frame.media { frame.wall - frame.media.since(at) } else { frame.wall + at.since(frame.media) };
    wall.as_unix_nanos()
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
