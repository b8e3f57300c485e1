//! The release thread of a live node: the only one that holds exact counts of all cameras, and the only
//! one that writes to the spool.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kerbside_channel::{Empty, Receiver, Reply};
use kerbside_core::error::with_causes;
use kerbside_core::time::WallTime;
use kerbside_release::{CameraPlan, FrameReport, HealthSample, Release, ReleasedBatch, Seat, Table};
use kerbside_telemetry::{Beat, Counter, Metric, NodeMetrics, PrivacyMetrics, Telemetry};
use kerbside_uplink::{Spool, SpoolLimits};
use tracing::{error, info, warn};

use crate::analysis::LONGEST_STEP;
use crate::clock::{self, Steadiness};
use crate::error::RuntimeError;
use crate::health::Host;
use crate::lane::{Report, whole_milliseconds};
use crate::learned::{self, Memory, REMEMBER_EVERY};
use crate::machine;
use crate::status::board::Board;
use crate::uplink::Watch;
use crate::watchers::{Watcher, Watchers};

mod desk;

pub(crate) use desk::Desk;

/// How often bins, syncs and the host are looked at when no report comes.
const TICK: Duration = Duration::from_millis(250);
/// How long a bin waits after its end: a frame may stand for time before it, and be on its way for a while.
const LATENESS: Duration = LONGEST_STEP.saturating_add(Duration::from_secs(2));
/// How often the status page is told what has changed.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// The span of one health row.
const HEALTH_SPAN: Duration = Duration::from_secs(60);
/// The least time between two log lines about the same trouble.
const LOG_PAUSE: Duration = Duration::from_secs(30);

/// Why a sound ledger holds numbers back.
const HELD_BACK: &str = "their time was debited before, as when a node starts again within a bin, after a renewal of the \
                         privacy ledger, or after its clock was ahead; `kerbside ledger` shows until when";

/// What the status server and the supervisor may know of the release thread.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Goes with each tick.
    beat: Beat,
    /// Whether all that was released could be stored so far.
    spool_ok: AtomicBool,
    /// Whether the privacy ledger lets through what needs it.
    ledger_ok: AtomicBool,
    /// Set when the node begins to stop: cameras that end now have not failed.
    stopping: AtomicBool,
    /// Set when the release thread must end though a stage before it hangs: open bins are worth more than
    /// what that stage still had.
    finish_now: AtomicBool,
}

impl Pulse {
    pub(crate) fn beat(&self) -> &Beat {
        &self.beat
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn finish_now(&self) {
        self.finish_now.store(true, Ordering::Release);
    }

    pub(crate) fn ledger_ok(&self) -> bool {
        self.ledger_ok.load(Ordering::Acquire)
    }

    pub(crate) fn spool_ok(&self) -> bool {
        self.spool_ok.load(Ordering::Acquire)
    }
}

/// All that the release thread owns.
pub(crate) struct Releasing {
    pub(crate) release: Release,
    pub(crate) watchers: Watchers,
    pub(crate) learned_folder: PathBuf,
    pub(crate) spool: Spool,
    /// Where there is a gateway.
    pub(crate) uplink: Option<Watch>,
    pub(crate) spool_folder: PathBuf,
    pub(crate) reports: Receiver<Report>,
    pub(crate) changes: Receiver<Change>,
    /// In the order of the release stage's plan.
    pub(crate) desks: Vec<Desk>,
    pub(crate) metrics: NodeMetrics,
    pub(crate) privacy_metrics: PrivacyMetrics,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) board: Arc<Board>,
}

/// Another configuration. All reports of lanes that are gone with it have been sent before.
pub(crate) struct Change {
    pub(crate) revision: u32,
    /// In their new order.
    pub(crate) cameras: Vec<ChangedCamera>,
    pub(crate) spool: SpoolLimits,
    /// Is given back once it is done.
    pub(crate) done: Reply<()>,
}

/// One camera of a changed configuration.
pub(crate) struct ChangedCamera {
    pub(crate) plan: CameraPlan,
    pub(crate) seat: Seat,
    /// What is new; `None` for a camera that is as it was.
    pub(crate) fresh: Option<(Desk, Watcher)>,
}

/// What changes while the thread runs.
struct State {
    batches: Vec<ReleasedBatch>,
    health_from: WallTime,
    next_tick: Instant,
    next_show: Instant,
    trouble_quiet_until: Option<Instant>,
    failures_quiet_until: Option<Instant>,
    in_trouble: bool,
    dropped_rows: u64,
    /// What operators have learned and is to be written.
    learned: VecDeque<Memory>,
    remembered_at: Instant,
    learned_quiet_until: Option<Instant>,
    /// Bins that were held back and of which the log has told.
    refused_bins: u64,
    refusals_quiet_until: Option<Instant>,
    steadiness: Steadiness,
}

impl Releasing {
    /// Runs until every lane is gone; then closes the open bins and the spool.
    pub(crate) fn run(mut self) -> Result<(), RuntimeError> {
        let mut state = State {
            batches: Vec::new(),
            health_from: clock::now(),
            next_tick: Instant::now(),
            next_show: Instant::now(),
            trouble_quiet_until: None,
            failures_quiet_until: None,
            in_trouble: false,
            dropped_rows: 0,
            learned: VecDeque::new(),
            remembered_at: Instant::now(),
            learned_quiet_until: None,
            refused_bins: 0,
            refusals_quiet_until: None,
            steadiness: Steadiness::from(Instant::now(), clock::now()),
        };
        self.say_what_waits(clock::now());
        self.desks.iter().for_each(|desk| desk.take_over(&self.telemetry));
        loop {
            let wait = state.next_tick.saturating_duration_since(Instant::now());
            match self.reports.receive_within(wait) {
                Ok(report) => self.take_in(report, &mut state),
                Err(Empty::Timeout) => {}
                Err(Empty::Closed) => break,
            }
            if self.pulse.finish_now.load(Ordering::Acquire) {
                break;
            }
            if let Ok(change) = self.changes.receive_within(Duration::ZERO) {
                self.change(change, &mut state)?;
            }
            if Instant::now() >= state.next_tick {
                self.tick(&mut state)?;
                state.next_tick = Instant::now() + TICK;
            }
        }
        self.release.finish(clock::now(), &mut state.batches)?;
        let now = clock::now();
        state.refusals_quiet_until = None;
        self.say_what_was_refused(&mut state, now);
        self.watchers.finish(&mut self.release, now, clock::quality(now));
        self.release.advance(now - LATENESS, &mut state.batches)?;
        state.learned.extend(self.watchers.remember());
        self.health(&mut state, clock::now())?;
        self.store(&mut state);
        let unsynced = self.spool.status().unsynced_rows;
        let spool_dropped_rows = self.metrics.spool_dropped_rows.clone();
        let closed = self.spool.close().inspect_err(|_| {
            spool_dropped_rows.add(unsynced);
            error!(rows = unsynced, "rows that were not synced to the disk are lost with the stop");
        });
        // What was learned comes last: rows are worth more.
        for memory in &state.learned {
            keep(&self.learned_folder, memory, &mut state.learned_quiet_until);
        }
        self.pulse.beat.rest();
        closed?;
        Ok(())
    }

    /// Goes on with another configuration.
    fn change(&mut self, change: Change, state: &mut State) -> Result<(), RuntimeError> {
        // What lanes that are gone have said last is still of the configuration before.
        while let Ok(report) = self.reports.receive_within(Duration::ZERO) {
            self.take_in(report, state);
        }
        let now = clock::now();
        let Change { revision, cameras, spool, done } = change;
        // One health row of each camera of before, for the time until now.
        self.health(state, now)?;
        self.watchers.look(&mut self.release, now - LATENESS, clock::quality(now));
        let kept: Vec<usize> = cameras.iter().filter_map(|camera| camera.seat.kept()).collect();
        let is_over = |place: usize| !kept.contains(&place);
        // A camera that is changed goes on from what it has learned until now. The others' can wait for their turn.
        state.learned.extend(self.watchers.remember_of(is_over));
        let names: Vec<&str> = (0..)
            .zip(&self.desks)
            .filter(|(place, _)| is_over(*place))
            .map(|(_, desk)| desk.camera.name.as_str())
            .collect();
        let (ending, waiting): (Vec<_>, Vec<_>) =
            state.learned.drain(..).partition(|memory| names.contains(&memory.camera()));
        state.learned.extend(waiting);
        for memory in ending {
            keep(&self.learned_folder, &memory, &mut state.learned_quiet_until);
        }
        self.watchers.end(&mut self.release, now, clock::quality(now), is_over);
        let mut plans = Vec::with_capacity(cameras.len());
        let mut desks = Vec::with_capacity(cameras.len());
        let mut watchers = Vec::with_capacity(cameras.len());
        let mut before: Vec<Option<Desk>> = self.desks.drain(..).map(Some).collect();
        for ChangedCamera { plan, seat, fresh } in cameras {
            let had = seat.place().and_then(|place| before.get_mut(place)).and_then(Option::take);
            let (fresh_desk, mut fresh_watcher) = fresh.unzip();
            if let Some(watcher) = &mut fresh_watcher {
                watcher.recall(&self.learned_folder);
            }
            if let Some(desk) = &fresh_desk {
                desk.take_over(&self.telemetry);
            }
            desks.extend(fresh_desk.or(had));
            watchers.push((seat, fresh_watcher));
            plans.push((plan, seat));
        }
        self.desks = desks;
        self.release.change(revision, plans, now, &mut state.batches)?;
        self.watchers.rearrange(watchers);
        self.spool.set_limits(spool);
        self.store(state);
        self.show();
        // Whoever waited may have given up; the change is done all the same.
        done.give(());
        Ok(())
    }

    fn take_in(&mut self, report: Report, state: &mut State) {
        // A lane that was left behind by another configuration may still say something: nobody knows its cells any more.
        let Some(place) = self.desks.iter().position(|desk| desk.camera.lane == report.lane) else { return };
        for memory in report.learned {
            // The newest of each operator is the only one worth writing.
            state.learned.retain(|waiting| !waiting.is_of_same(&memory));
            state.learned.push_back(memory);
        }
        let desk = &mut self.desks[place];
        if let Some(failure) = report.failure {
            // Every one is counted in a metric; the log names one in a while, and no content.
            desk.health.failed();
            if may_log(&mut state.failures_quiet_until) {
                let camera = &desk.camera.name;
                warn!(camera, frame = report.sequence, error = %failure, "a frame could not be analysed");
            }
            return;
        }
        desk.hear(&report.findings, &self.telemetry);
        let frame = FrameReport {
            media: report.media,
            wall: report.wall,
            step: report.seen.step,
            trusted: report.seen.trusted,
            clock: clock::quality(report.wall),
        };
        if report.is_afterword {
            self.release.add_findings(place, &frame, &report.findings);
            return;
        }
        self.release.follow(place, &frame, report.tracks.iter().copied());
        self.release.observe(place, &frame, &report.findings);
        let desk = &mut self.desks[place];
        let latency = report.arrived.elapsed();
        desk.camera.metrics.capture_to_release.observe(whole_milliseconds(latency));
        desk.health.analysed(latency, report.seen.step, report.seen.trusted);
    }

    fn tick(&mut self, state: &mut State) -> Result<(), RuntimeError> {
        self.pulse.beat.work();
        let now = clock::now();
        self.release.advance(now - LATENESS, &mut state.batches)?;
        self.watchers.look(&mut self.release, now - LATENESS, clock::quality(now));
        if state.remembered_at.elapsed() >= REMEMBER_EVERY {
            state.remembered_at = Instant::now();
            state.learned.extend(self.watchers.remember());
        }
        // One file a tick: each costs two syncs, and rows must not wait for them.
        if let Some(memory) = state.learned.pop_front() {
            keep(&self.learned_folder, &memory, &mut state.learned_quiet_until);
        }
        if !self.pulse.stopping.load(Ordering::Acquire) {
            self.desks.iter_mut().for_each(|desk| desk.health.look());
        }
        let minute = now.bin_start(HEALTH_SPAN);
        if minute > state.health_from {
            self.health(state, minute)?;
        } else if now < state.health_from {
            // The clock was set back: health rows go on from here.
            state.health_from = now;
        }
        self.store(state);
        let counts = self.release.counts();
        if counts.late_findings + counts.unplanned_findings > 0 {
            self.metrics.findings_lost.set(1.0);
        }
        self.metrics.late_frames.follow(counts.late_frames as f64);
        self.metrics.skipped_bins.follow(counts.skipped_bins as f64);
        if counts.limited_incidents > 0 {
            self.metrics.incidents_limited.set(1.0);
        }
        self.say_what_was_refused(state, now);
        if let Some(uplink) = &mut self.uplink {
            uplink.look(now);
        }
        if Instant::now() >= state.next_show {
            state.next_show = Instant::now() + SHOW_EVERY;
            self.show();
        }
        Ok(())
    }

    /// What the ledger and the contract held back, in metrics and now and then in the log.
    fn say_what_was_refused(&self, state: &mut State, now: WallTime) {
        let counts = self.release.counts();
        for (rule, refused) in counts.refused() {
            self.privacy_metrics.refused(rule).follow(refused as f64);
        }
        let mut has_budgets = false;
        for (place, desk) in self.desks.iter().enumerate() {
            let left = self.release.budget_left_milli(place, now);
            has_budgets |= left.is_some();
            desk.tell_budget(left, &self.privacy_metrics);
        }
        let trouble = self.release.ledger_trouble().filter(|_| has_budgets);
        self.pulse.ledger_ok.store(trouble.is_none(), Ordering::Release);
        self.metrics.ledger_healthy.set(if trouble.is_none() { 1.0 } else { 0.0 });
        if counts.refused_bins > state.refused_bins && may_log(&mut state.refusals_quiet_until) {
            let bins = counts.refused_bins - state.refused_bins;
            match trouble {
                Some(trouble) => error!(bins, trouble, "numbers with noise were held back"),
                None => warn!(bins, "numbers with noise were held back: {HELD_BACK}"),
            }
            state.refused_bins = counts.refused_bins;
        }
    }

    /// Says at the start which cameras have to wait, so that nobody looks for their rows.
    fn say_what_waits(&self, now: WallTime) {
        for (place, desk) in self.desks.iter().enumerate() {
            if self.release.budget_left_milli(place, now) == Some(0) && self.release.ledger_trouble().is_none() {
                info!(camera = desk.camera.name, "numbers with noise are held back for now: {HELD_BACK}");
            }
        }
    }

    /// One health row a camera, for the time since the last ones.
    fn health(&mut self, state: &mut State, to: WallTime) -> Result<(), RuntimeError> {
        let span = to.since(state.health_from);
        if span.is_zero() {
            return Ok(());
        }
        let now = Instant::now();
        let is_shown = self.board.setup.take_was_on(now);
        let machine = self.board.machine().clone();
        let host = Host::read(&self.spool_folder, &self.spool.status(), &machine, is_shown, to);
        let refused_total = Some(self.release.counts().refused_releases());
        let samples: Vec<_> = self
            .desks
            .iter_mut()
            .enumerate()
            .map(|(place, desk)| HealthSample {
                budget_left_milli: self.release.budget_left_milli(place, to),
                refused_total,
                ..desk.sample(span, now, &host, &self.telemetry)
            })
            .collect();
        self.release.health(state.health_from, to, clock::quality(to), &samples, &mut state.batches)?;
        state.health_from = to;
        if !state.steadiness.is_trusted(Instant::now(), to, clock::quality(to)) {
            return Ok(());
        }
        match self.spool.expire(to) {
            Ok(0) => {}
            Ok(rows) => info!(rows, "rows that were older than spool.keep were deleted"),
            Err(error) => {
                self.metrics.spool_errors.increment();
                if may_log(&mut state.trouble_quiet_until) {
                    error!(error = %with_causes(&error), "rows that are older than spool.keep could not be deleted");
                }
            }
        }
        Ok(())
    }

    /// Hands what was released to the spool. Trouble with the disk does not end the node: rows that cannot
    /// be written are counted as lost, said in the log, and the node is no longer ready.
    fn store(&mut self, state: &mut State) {
        let mut trouble = None;
        for batch in state.batches.drain(..) {
            self.released(&batch).add(batch.rows());
            match self.spool.append(&batch, Instant::now()) {
                Ok(bytes) => self.privacy_metrics.egress_bytes(data_class(batch.table())).add(bytes),
                Err(error) => {
                    self.metrics.spool_errors.increment();
                    self.metrics.spool_dropped_rows.add(batch.rows());
                    trouble = Some(error);
                }
            }
        }
        if let Err(error) = self.spool.maybe_sync(Instant::now()) {
            self.metrics.spool_errors.increment();
            trouble = Some(error);
        }
        let status = self.spool.status();
        self.metrics.spool_bytes.set(status.bytes as f64);
        self.metrics.spool_unsynced_rows.set(status.unsynced_rows as f64);
        self.metrics.spool_dropped_rows.add(status.dropped_rows.saturating_sub(state.dropped_rows));
        state.dropped_rows = status.dropped_rows;
        self.metrics.spool_coarsened_rows.follow(status.coarsened_rows as f64);
        // A retry comes only now and then: until one has stored everything, the trouble lasts.
        state.in_trouble = trouble.is_some() || (state.in_trouble && status.unsynced_rows > 0);
        self.pulse.spool_ok.store(!state.in_trouble, Ordering::Release);
        self.metrics.spool_healthy.set(if state.in_trouble { 0.0 } else { 1.0 });
        if let Some(trouble) = trouble
            && may_log(&mut state.trouble_quiet_until)
        {
            error!(error = %with_causes(&trouble), "released rows could not be stored");
        }
    }

    /// What metrics and the status page need now and then.
    fn show(&self) {
        let status = self.spool.status();
        let age = status.oldest.map_or(0.0, |oldest| clock::now().since(oldest).as_secs_f64());
        self.metrics.spool_oldest_age.set(age);
        self.metrics.spool_max_bytes.set(self.spool.max_bytes() as f64);
        if let Some((size, free)) = machine::disk(&self.spool_folder) {
            self.telemetry.gauge(Metric::SpoolDiskBytes, &["size"]).set(size as f64);
            self.telemetry.gauge(Metric::SpoolDiskBytes, &["free"]).set(free as f64);
        }
        for (place, desk) in self.desks.iter().enumerate() {
            desk.show(self.release.shown(place));
        }
    }

    fn released(&self, batch: &ReleasedBatch) -> Counter {
        self.telemetry.counter(Metric::ReleasedRows, &[batch.table().name()])
    }
}

/// The class of data that a table's rows belong to, as metrics name it.
fn data_class(table: Table) -> &'static str {
    match table {
        Table::Agg => "agg",
        Table::Incident => "incident",
        Table::Health => "health",
    }
}

/// Writes what an operator has learned. A disk that refuses costs what it would have known at the next start, and
/// nothing that is released.
fn keep(folder: &Path, memory: &Memory, quiet_until: &mut Option<Instant>) {
    if let Err(error) = learned::store(folder, memory)
        && may_log(quiet_until)
    {
        warn!(folder = %folder.display(), %error, "what operators have learned cannot be kept for the next start");
    }
}

/// Whether something may be logged again; if so, the next [`LOG_PAUSE`] is quiet.
fn may_log(until: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let may = until.is_none_or(|until| now >= until);
    if may {
        *until = Some(now + LOG_PAUSE);
    }
    may
}
