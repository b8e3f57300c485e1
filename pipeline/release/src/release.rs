//! The release stage itself: sums findings, closes bins, numbers rows, seals batches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Finding, FindingKind};
use kerbside_core::observation::TrackId;
use kerbside_core::time::{MediaTime, WallTime};

use crate::agg::{AggRows, Closed, Number};
use crate::alert::{Means, word};
use crate::bins::{Added, Series, nanos};
use crate::camera::{Camera, Counters, Fed};
use crate::contract::check_contract;
use crate::error::ReleaseError;
use crate::health::{self, HealthSample};
use crate::incident::{IncidentRows, Numbers, Told};
use crate::keeper::{Keeper, ask};
use crate::ledger::{Account, Debit};
use crate::plan::{CameraPlan, Guarantee, NodeIdentity, Positions, StreamPosition};
use crate::pseudonym::{Pseudonyms, Turn};
use crate::report::{FrameReport, ReleaseCounts, ReleasedBin, ShownBin};
use crate::sealed::ReleasedBatch;
use crate::table::{ClockQuality, Rule, Table};
use crate::treatment::Treatment;
use crate::vocabulary::Vocabulary;

/// Turns findings into sealed rows. One a node.
#[derive(Debug)]
pub struct Release {
    pub(crate) identity: NodeIdentity,
    pub(crate) words: Vocabulary,
    pub(crate) schemas: Schemas,
    pub(crate) cameras: Vec<Camera>,
    at: Positions,
    pub(crate) numbers: Numbers,
    incidents: IncidentRows,
    pub(crate) closed: Vec<ReleasedBin>,
    /// `None` for a demonstration.
    pub(crate) keeper: Option<Keeper>,
    /// What was last said of the node's clock: for rows of cameras that say nothing.
    clock: ClockQuality,
    counts: ReleaseCounts,
}

/// The schemas of all tables, with their metadata.
#[derive(Debug)]
pub(crate) struct Schemas {
    agg: SchemaRef,
    health: SchemaRef,
    incident: SchemaRef,
}

impl Schemas {
    /// Those of a vocabulary; refused where one breaks the contract.
    pub(crate) fn of(words: &Vocabulary) -> Result<Self, ReleaseError> {
        let checked = |table| {
            let schema = words.schema(table);
            check_contract(table, &schema).map(|()| schema)
        };
        Ok(Self {
            agg: checked(Table::Agg)?,
            health: checked(Table::Health)?,
            incident: checked(Table::Incident)?,
        })
    }
}

impl Release {
    /// A stage whose first bins are those that hold `start`. Row numbers continue `at` the given positions.
    /// Cameras keep the order of the list.
    pub fn new(
        identity: NodeIdentity,
        cameras: Vec<CameraPlan>,
        at: Positions,
        start: WallTime,
        guarantee: Guarantee,
    ) -> Result<Self, ReleaseError> {
        let words = Vocabulary::new(&identity, &cameras)?;
        let schemas = Schemas::of(&words)?;
        let numbers = Numbers::new(identity.incident_seed, &cameras, start.as_unix_nanos());
        let keeper = match guarantee {
            Guarantee::Private { noise, ledger } => {
                Some(Keeper { noise, ledger, pseudonyms: Pseudonyms::new(cameras.len())? })
            }
            Guarantee::Demonstration => None,
        };
        let camera = |plan| Camera::new(plan, start, keeper.is_none());
        let cameras = cameras.iter().map(camera).collect::<Result<_, _>>()?;
        Ok(Self {
            identity,
            words,
            schemas,
            cameras,
            at,
            numbers,
            incidents: IncidentRows::default(),
            closed: Vec::new(),
            keeper,
            clock: ClockQuality::Unsynced,
            counts: ReleaseCounts::default(),
        })
    }

    /// The schema of a table's batches, with its metadata.
    pub fn schema(&self, table: Table) -> SchemaRef {
        Arc::clone(match table {
            Table::Agg => &self.schemas.agg,
            Table::Health => &self.schemas.health,
            Table::Incident => &self.schemas.incident,
        })
    }

    /// Hears which tracks are visible in a frame of the camera at place `camera` of the plan: before
    /// [`Release::observe`] of the same frame.
    ///
    /// # Panics
    /// When there is no such camera.
    pub fn follow(
        &mut self,
        camera: usize,
        frame: &FrameReport,
        tracks: impl IntoIterator<Item = (TrackId, Class)>,
    ) {
        let Some(keeper) = &self.keeper else { return };
        let of_camera = &mut self.cameras[camera];
        for (track, class) in tracks {
            if of_camera.passages.see(keeper.names(camera, track), frame.media) {
                of_camera.rarity.see(class, frame.wall);
            }
        }
    }

    /// Takes in one analysed frame of the camera at place `camera` of the plan, and what was found in it.
    ///
    /// # Panics
    /// When there is no such camera.
    pub fn observe(&mut self, camera: usize, frame: &FrameReport, findings: &[Finding]) {
        self.clock = frame.clock;
        let wall = frame.wall.as_unix_nanos();
        for Counters { series, .. } in &mut self.cameras[camera].counters {
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
        let Self { cameras, keeper, words, numbers, incidents, counts, .. } = self;
        let of_camera = &mut cameras[camera];
        for finding in findings {
            let at = to_wall(frame, finding.at);
            if let FindingKind::Incident(incident) = &finding.kind {
                if of_camera.decides(incident.kind, finding.site) {
                    continue;
                }
                let told_class = |class| {
                    if keeper.is_some() { of_camera.rarity.told(class, frame.wall) } else { class }
                };
                match incidents.push(words, numbers, camera, (finding, incident), (at, frame.clock), told_class) {
                    Told::Row | Told::Again => {}
                    Told::Limited => counts.limited_incidents += 1,
                    Told::Unplanned => counts.unplanned_findings += 1,
                }
                continue;
            }
            let names = keeper.as_ref().zip(finding.track).map(|(keeper, track)| keeper.names(camera, track));
            match of_camera.add(finding, names, at, frame.wall.as_unix_nanos()) {
                Fed::Whole => {}
                Fed::Late => counts.late_findings += 1,
                Fed::Unplanned => counts.unplanned_findings += 1,
                Fed::Unbounded => counts.unbounded_findings += 1,
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
        self.turn_keys(now)?;
        for series in self.all_series() {
            series.due = now.as_unix_nanos();
        }
        self.decide_alerts(now)?;
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
        let rev = self.identity.config_revision;
        let batch = health::batch(&self.words, &self.schemas.health, samples, span, clock, self.at.health, rev)?;
        out.push(number(Table::Health, batch, &mut self.at.health)?);
        Ok(())
    }

    /// Emits all bins that have begun, those that have not ended included: their rows keep the end of
    /// the bin as `t1`, and a coverage below 1.
    pub fn finish(&mut self, now: WallTime, out: &mut Vec<ReleasedBatch>) -> Result<(), ReleaseError> {
        for series in self.all_series() {
            series.due = series.last_end(now.as_unix_nanos());
        }
        self.decide_alerts(now)?;
        self.end_alerts(now, |_| true);
        self.emit_incidents(out)?;
        self.close_due(out)
    }

    /// Why the ledger cannot be written at present, for the log.
    pub fn ledger_trouble(&self) -> Option<String> {
        self.keeper.as_ref()?.ledger.trouble()
    }

    /// What was not released so far.
    pub fn counts(&self) -> ReleaseCounts {
        self.counts
    }

    /// Findings that fell, at least in part, into bins that were closed already.
    pub fn late_findings(&self) -> u64 {
        self.counts.late_findings
    }

    /// Of each counter of the camera at place `camera` the last bin that was released, in the order of its cells.
    ///
    /// # Panics
    /// When there is no such camera.
    pub fn shown(&self, camera: usize) -> impl Iterator<Item = &ShownBin> {
        self.cameras[camera].shown.values()
    }

    fn all_series(&mut self) -> impl Iterator<Item = &mut Series> {
        self.cameras.iter_mut().flat_map(|camera| &mut camera.counters).map(|counters| &mut counters.series)
    }

    pub(crate) fn close_due(&mut self, out: &mut Vec<ReleasedBatch>) -> Result<(), ReleaseError> {
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
    pub(crate) fn emit_incidents(&mut self, out: &mut Vec<ReleasedBatch>) -> Result<(), ReleaseError> {
        if self.incidents.rows() == 0 {
            return Ok(());
        }
        let rule = if self.keeper.is_some() { Rule::Incident } else { Rule::Demo };
        let (at, rev) = (self.at.incident, self.identity.config_revision);
        let rows = std::mem::take(&mut self.incidents);
        let batch = rows.finish(&self.words, &self.schemas.incident, at, rev, rule)?;
        out.push(number(Table::Incident, batch, &mut self.at.incident)?);
        Ok(())
    }

    /// Gives every camera new keys for the pseudonyms of its tracks, or forgets the old ones, where it is time.
    fn turn_keys(&mut self, now: WallTime) -> Result<(), ReleaseError> {
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        for (place, camera) in self.cameras.iter_mut().enumerate() {
            match keeper.pseudonyms.roll(place, now)? {
                Turn::Same => {}
                Turn::Fresh => camera.passages.roll(),
                Turn::PreviousErased => camera.passages.forget_before(),
            }
        }
        Ok(())
    }

    /// Lets noisy numbers decide on the alerts of all windows that ended at or before `now`.
    fn decide_alerts(&mut self, now: WallTime) -> Result<(), ReleaseError> {
        let Self { cameras, keeper, words, numbers, incidents, counts, clock, .. } = self;
        let Some(keeper) = keeper else { return Ok(()) };
        for (place, camera) in cameras.iter_mut().enumerate() {
            let alerts = camera.watches.len() as u64;
            for (number, watch) in (0..).zip(&mut camera.watches) {
                let mut means = Means {
                    noise: &mut keeper.noise,
                    ledger: keeper.ledger.as_mut(),
                    camera: camera.uid,
                    privacy: &camera.privacy,
                    alerts,
                    refused: &mut counts.refused_alerts,
                };
                let alert = watch.alert;
                let mut limited = 0;
                watch.advance(now, &mut means, |answer, at| {
                    let (finding, incident) = word(&alert, answer, number, at);
                    let moment = (at.as_unix_nanos(), *clock);
                    // Its class is the configuration's: how many were seen must not show in it.
                    let told = incidents.push(words, numbers, place, (&finding, &incident), moment, |class| class);
                    limited += u64::from(told == Told::Limited);
                })?;
                counts.limited_incidents += limited;
            }
        }
        Ok(())
    }

    /// Ends the alerts that last, of the cameras at these places.
    pub(crate) fn end_alerts(&mut self, now: WallTime, is_wanted: impl Fn(usize) -> bool) {
        let Self { cameras, words, numbers, incidents, clock, .. } = self;
        for (place, camera) in cameras.iter_mut().enumerate().filter(|(place, _)| is_wanted(*place)) {
            for (number, watch) in (0..).zip(&mut camera.watches) {
                let Some(answer) = watch.finish() else { continue };
                let (finding, incident) = word(&watch.alert, answer, number, now);
                let moment = (now.as_unix_nanos(), *clock);
                incidents.push(words, numbers, place, (&finding, &incident), moment, |class| class);
            }
        }
    }

    /// What is left of the budget of the camera's bins that are open at `now`, in thousandths of ε: all of a passage's
    /// budget, or nothing. `None` for a camera whose numbers have no noise.
    ///
    /// # Panics
    /// When there is no such camera.
    pub fn budget_left_milli(&self, camera: usize, now: WallTime) -> Option<u32> {
        let keeper = self.keeper.as_ref()?;
        let of_camera = &self.cameras[camera];
        let debits = of_camera.counters.iter().flat_map(|counters| {
            let length = Duration::from_nanos(counters.series.length);
            let from = now.bin_start(length);
            of_camera.debits(counters, from, from + length)
        });
        let granted: Vec<bool> = debits.map(|debit| keeper.ledger.would_grant(&debit)).collect();
        let left = || if granted.iter().all(|granted| *granted) { of_camera.privacy.epsilon.passage } else { 0 };
        (!granted.is_empty()).then(left)
    }

    /// Closes all bins that end at `end` and makes one batch of them.
    fn close_at(&mut self, end: u64, out: &mut Vec<ReleasedBatch>) -> Result<(), ReleaseError> {
        let Self { cameras, keeper, words, counts, closed: told, clock, .. } = self;
        let to = WallTime::from_unix_nanos(end);
        // The longest bin began first. All end together, so this is the order of `t0`.
        let mut ending: Vec<(usize, usize, WallTime)> = Vec::new();
        for (index, camera) in cameras.iter().enumerate() {
            let first = ending.len();
            let due = |counters: &Counters| counters.series.next_end() == Some(end);
            let due = camera.counters.iter().enumerate().filter(|(_, counters)| due(counters));
            ending.extend(
                due.map(|(place, counters)| (index, place, WallTime::from_unix_nanos(counters.series.next))),
            );
            ending[first..].sort_by_key(|(_, _, from)| *from);
        }
        // Before any noise is drawn, and on the disk.
        let granted = match keeper {
            Some(keeper) => {
                let debits: Vec<Debit> = ending
                    .iter()
                    .flat_map(|(index, place, from)| {
                        let camera = &cameras[*index];
                        camera.debits(&camera.counters[*place], *from, to)
                    })
                    .collect();
                let (granted, refused) = ask(keeper.ledger.as_mut(), &debits);
                counts.refused_bins += refused;
                granted
            }
            None => BTreeSet::new(),
        };
        let mut rows = AggRows::default();
        for (index, place, from) in ending {
            let camera = &mut cameras[index];
            let display_k = camera.privacy.display_k;
            let bin = camera.counters[place].series.close();
            let closed = Closed { camera: index, span: (from, to), bin: &bin, clock: *clock, display_k };
            let counters = &camera.counters[place];
            for ((cell, &treatment), &sum) in counters.series.cells.iter().zip(&counters.treatments).zip(&bin.sums)
            {
                let share = camera.share(cell.site);
                let exact =
                    Number { cell: *cell, sum: i128::from(sum), noise_b: 0.0, share, rule: Rule::AggExact };
                let number = match (treatment, keeper.as_mut()) {
                    (_, None) => Number { rule: Rule::Demo, ..exact },
                    (Treatment::Exact, Some(_)) => exact,
                    (Treatment::Derived, Some(_)) => Number { rule: Rule::AggDp, ..exact },
                    (Treatment::Noise(scale), Some(keeper)) => {
                        let (camera, account) = (camera.uid, Account::of(cell.class));
                        if !granted.contains(&(camera, account, from)) {
                            continue;
                        }
                        let sum = exact.sum + keeper.noise.laplace(scale)?;
                        Number { sum, noise_b: scale.as_f64(), rule: Rule::AggDp, ..exact }
                    }
                };
                rows.push(words, &closed, &number);
                camera.shown.insert(*cell, closed.shown(&number));
                if camera.watched.contains(cell) {
                    let (value, coverage) = (closed.value(&number), closed.coverage());
                    told.push(ReleasedBin { camera: index, cell: *cell, from, to, value, coverage });
                }
            }
        }
        if rows.rows() > 0 {
            let batch = rows.finish(&self.words, &self.schemas.agg, self.at.agg, self.identity.config_revision)?;
            out.push(number(Table::Agg, batch, &mut self.at.agg)?);
        }
        Ok(())
    }
}

/// Seals a batch and moves the table's position past it.
fn number(table: Table, batch: RecordBatch, at: &mut StreamPosition) -> Result<ReleasedBatch, ReleaseError> {
    let rows = batch.num_rows() as u64;
    let next_seq = at.next_seq.checked_add(rows).ok_or(ReleaseError::SequenceExhausted(table))?;
    let released = ReleasedBatch::seal(table, batch, *at)?;
    at.next_seq = next_seq;
    Ok(released)
}

/// The moment `at` of the camera's clock in wall time.
fn to_wall(frame: &FrameReport, at: MediaTime) -> u64 {
    let wall =
        if at <= frame.media { frame.wall - frame.media.since(at) } else { frame.wall + at.since(frame.media) };
    wall.as_unix_nanos()
}
