//! The one who stores: takes what all streams have checked, and writes it together.
//!
//! A commit has four steps, and a crash between any two loses and doubles nothing:
//!
//! 1. what is to be written goes into the state as an intent,
//! 2. each file is put under a name that was never used,
//! 3. files and numbers go into the state's lists, and the intent is gone,
//! 4. the rows are acknowledged.
//!
//! At the start every intent that is open is undone: nobody knows whether its files are whole, so they are deleted, and
//! the nodes send the rows again, which nobody has acknowledged. Which numbers are stored already is looked at here, one job after
//! the other, so rows that come twice at the same time are stored once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use bytes::Bytes;
use kerbside_telemetry::GatewayMetrics;
use kerbside_uplink::ranges::RangeSet;
use kerbside_uplink::wire::{GapReason, Refusal};
use object_store::PutMode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::error::GatewayError;
use crate::landing::{self, GAP_TABLE, GapRow, Store};
use crate::state::{Intent, LandingFile, State, StreamKey};

/// A commit is made when so many bytes wait, however long.
const FULL_BYTES: usize = 32 << 20;
/// So many bytes wait at most; streams wait with reading until there is room.
const WAITING_BYTES: usize = 128 << 20;
/// Bytes that a job counts for beside its own.
const JOB_BYTES: usize = 1024;
/// The most ranges that are remembered of a stream: a node that leaves more holes than this is not one of ours.
const MAX_STORED_RANGES: usize = 4096;
/// How often a file is tried, and for how long to wait after the first.
const TRIES: u32 = 4;
const WAIT: Duration = Duration::from_millis(200);
/// The reason of `gap.v1` for numbers that coarse rows stand for.
const COARSENED: &str = "coarsened";

/// What is to be stored.
#[derive(Debug)]
pub(crate) enum What {
    /// Checked rows, numbered from the job's first.
    Rows(RecordBatch),
    /// Nothing: these rows will never come.
    Gap(GapReason),
}

/// Something to store, and whom to tell.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) key: StreamKey,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) what: What,
    pub(crate) tell: mpsc::UnboundedSender<Outcome>,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Every number before it is stored or known never to come; what was refused; or nothing where the commit failed.
    pub(crate) result: Result<u64, Option<Refusal>>,
}

/// The way to the committer.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    jobs: mpsc::UnboundedSender<(Job, usize, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// The committer has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone;

impl Entrance {
    /// Hands a job over once there is room for it.
    pub(crate) async fn send(&self, job: Job, bytes: usize) -> Result<(), Gone> {
        let bytes = bytes + JOB_BYTES;
        let room = u32::try_from(bytes.min(WAITING_BYTES)).map_err(|_| Gone)?;
        let permit = Arc::clone(&self.room).acquire_many_owned(room).await.map_err(|_| Gone)?;
        self.jobs.send((job, bytes, permit)).map_err(|_| Gone)
    }
}

/// Stores what comes through its [`Entrance`].
pub(crate) struct Committer {
    state: Arc<State>,
    store: Store,
    metrics: GatewayMetrics,
    interval: Duration,
    jobs: mpsc::UnboundedReceiver<(Job, usize, OwnedSemaphorePermit)>,
    /// Whether a commit failed and its intent may still be open.
    is_unsettled: bool,
    /// Whether the last commit went well.
    healthy: Arc<AtomicBool>,
}

impl Committer {
    pub(crate) fn new(
        state: Arc<State>,
        store: Store,
        metrics: GatewayMetrics,
        interval: Duration,
        healthy: Arc<AtomicBool>,
    ) -> (Self, Entrance) {
        let (sender, jobs) = mpsc::unbounded_channel();
        let entrance = Entrance { jobs: sender, room: Arc::new(Semaphore::new(WAITING_BYTES)) };
        (Self { state, store, metrics, interval, jobs, is_unsettled: false, healthy }, entrance)
    }

    /// Works until every [`Entrance`] is gone and what came through them is stored.
    ///
    /// # Errors
    /// The state cannot be written: nothing can be acknowledged any more, and the gateway has to start again.
    pub(crate) async fn run(mut self) -> Result<(), GatewayError> {
        while let Some(first) = self.jobs.recv().await {
            let deadline = tokio::time::Instant::now() + self.interval;
            let mut bytes = first.1;
            let mut taken = vec![first];
            while bytes < FULL_BYTES {
                let next = match self.jobs.try_recv() {
                    Ok(next) => Some(next),
                    Err(_) => tokio::time::timeout_at(deadline, self.jobs.recv()).await.ok().flatten(),
                };
                let Some(next) = next else { break };
                bytes += next.1;
                taken.push(next);
            }
            let (jobs, _permits): (Vec<Job>, Vec<OwnedSemaphorePermit>) =
                taken.into_iter().map(|(job, _, permit)| (job, permit)).unzip();
            self.commit(jobs).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, jobs: Vec<Job>) -> Result<(), GatewayError> {
        let began = Instant::now();
        if self.is_unsettled && !self.settle_again().await? {
            self.fail(&jobs);
            return Ok(());
        }
        let state = Arc::clone(&self.state);
        let (jobs, plan) = blocking(move || {
            let plan = Plan::of(&jobs, &state)?.encoded()?;
            Ok((jobs, plan))
        })
        .await?;
        if !plan.ranges.is_empty() {
            let state = Arc::clone(&self.state);
            let (plan_files, ranges) = (plan.files.clone(), plan.ranges.clone());
            let (number, intent) =
                blocking(move || state.begin(|number| named(state.life(), number, plan_files, ranges))).await?;
            let Intent::Commit { files, ranges } = intent else { return Err(GatewayError::Ended("a commit")) };
            for (file, bytes) in files.iter().zip(&plan.bytes) {
                if let Err(error) = self.put(file, bytes).await {
                    tracing::error!(%error, file = %file.key, "rows could not be stored; they are not acknowledged");
                    self.is_unsettled = true;
                    self.fail(&jobs);
                    return Ok(());
                }
            }
            let state = Arc::clone(&self.state);
            let counted: Vec<LandingFile> = files.clone();
            blocking(move || state.finish_commit(number, &files, &ranges)).await?;
            for file in &counted {
                let (written, bytes) = self.metrics.written(&file.table);
                written.increment();
                bytes.add(file.bytes);
                self.measure_landing(&file.table);
            }
        }
        self.healthy.store(true, Ordering::Release);
        self.metrics.commit_seconds.observe(began.elapsed());
        plan.count(&self.metrics);
        for (job, outcome) in jobs.iter().zip(plan.outcomes) {
            // Whoever has hung up meanwhile asks again what is stored.
            let _ = job.tell.send(outcome);
        }
        Ok(())
    }

    async fn put(&self, file: &LandingFile, bytes: &Bytes) -> Result<(), GatewayError> {
        let (mut wait, mut mode) = (WAIT, PutMode::Create);
        for _ in 1..TRIES {
            match landing::put(&self.store, file, bytes.clone(), mode).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, file = %file.key, "a file could not be stored; once more"),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
            mode = PutMode::Overwrite;
        }
        landing::put(&self.store, file, bytes.clone(), mode).await
    }

    fn measure_landing(&self, table: &str) {
        let (count, bytes) = self.state.size(table);
        let (files_gauge, bytes_gauge) = self.metrics.landing(table);
        files_gauge.set(count as f64);
        bytes_gauge.set(bytes as f64);
    }

    fn fail(&self, jobs: &[Job]) {
        self.healthy.store(false, Ordering::Release);
        self.metrics.commit_errors.increment();
        for job in jobs {
            let Job { first_seq, last_seq, .. } = *job;
            let _ = job.tell.send(Outcome { first_seq, last_seq, result: Err(None) });
        }
    }

    /// Settles what a failed commit left. `false` while the landing does not answer.
    async fn settle_again(&mut self) -> Result<bool, GatewayError> {
        for (number, intent) in self.state.open_intents()? {
            if !matches!(intent, Intent::Commit { .. }) {
                continue;
            }
            match settle(&self.state, &self.store, number, &intent).await {
                Ok(()) => {}
                Err(GatewayError::Landing(error)) => {
                    tracing::error!(%error, "the landing does not answer");
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        self.is_unsettled = false;
        Ok(true)
    }
}

/// Undoes everything that was begun before a crash. To be called before anything else is begun.
///
/// # Errors
/// The state or the landing cannot be read or written.
pub async fn settle_all(state: &State, store: &Store) -> Result<(), GatewayError> {
    for (number, intent) in state.open_intents()? {
        settle(state, store, number, &intent).await?;
    }
    Ok(())
}

async fn settle(state: &State, store: &Store, number: u64, intent: &Intent) -> Result<(), GatewayError> {
    match intent {
        Intent::Commit { files, .. } => {
            tracing::info!(number, "a commit that was broken off is undone; its rows come again");
            for file in files {
                landing::delete(store, &file.key).await?;
            }
        }
        Intent::Merge { targets, .. } => {
            for file in targets {
                landing::delete(store, &file.key).await?;
            }
        }
        Intent::Delete { keys } => {
            for key in keys {
                landing::delete(store, key).await?;
            }
        }
    }
    state.drop_intent(number)
}

fn named(life: u32, number: u64, mut files: Vec<LandingFile>, ranges: Vec<(StreamKey, Ranges)>) -> Intent {
    for (place, file) in files.iter_mut().enumerate() {
        file.key = landing::file_key(&file.table, &file.day, life, number, place);
    }
    Intent::Commit { files, ranges }
}

/// Runs what blocks, such as a sync, where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GatewayError> + Send + 'static,
) -> Result<T, GatewayError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| GatewayError::Ended("a task of the committer"))?
}

/// Row numbers, first and last.
type Ranges = Vec<(u64, u64)>;

/// Whether there would be more ranges than are remembered. What fills a hole is always taken.
fn leaves_too_many_holes(set: &RangeSet, job: &Job) -> bool {
    let before = set.iter().len();
    if before < MAX_STORED_RANGES {
        return false;
    }
    let mut after = set.clone();
    after.insert(job.first_seq, job.last_seq);
    after.iter().len() > before
}

/// What one commit writes.
#[derive(Debug, Default)]
struct Plan {
    rows: BTreeMap<(String, String), Vec<RecordBatch>>,
    gaps: Vec<GapRow>,
    ranges: Vec<(StreamKey, Ranges)>,
    outcomes: Vec<Outcome>,
    files: Vec<LandingFile>,
    bytes: Vec<Bytes>,
    stored: BTreeMap<String, u64>,
    duplicate: BTreeMap<String, u64>,
    nodes: BTreeSet<String>,
    now: i64,
}

impl Plan {
    fn of(jobs: &[Job], state: &State) -> Result<Self, GatewayError> {
        let mut plan = Self { now: landing::now_millis(), ..Self::default() };
        let mut sets: HashMap<&StreamKey, (RangeSet, Ranges)> = HashMap::new();
        for job in jobs {
            let (set, added) = sets.entry(&job.key).or_insert_with(|| (state.stored(&job.key), Vec::new()));
            let before = added.len();
            let result = if leaves_too_many_holes(set, job) {
                Err(Some(Refusal::Quota))
            } else {
                plan.take(job, set, added)?;
                Ok(())
            };
            for (first, last) in added.iter().skip(before) {
                set.insert(*first, *last);
            }
            let Job { first_seq, last_seq, .. } = *job;
            plan.outcomes.push(Outcome { first_seq, last_seq, result: result.map(|()| 0) });
        }
        for (job, outcome) in jobs.iter().zip(&mut plan.outcomes) {
            if let (Ok(next), Some((set, _))) = (&mut outcome.result, sets.get(&job.key)) {
                *next = set.next();
            }
        }
        plan.ranges = sets
            .into_iter()
            .filter(|(_, (_, added))| !added.is_empty())
            .map(|(key, (_, added))| (key.clone(), added.into_iter().collect::<RangeSet>().iter().collect()))
            .collect();
        plan.ranges.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(plan)
    }

    /// What of a job is not stored yet.
    fn take(&mut self, job: &Job, set: &RangeSet, added: &mut Ranges) -> Result<(), GatewayError> {
        let missing = set.missing(job.first_seq, job.last_seq);
        let gap = |(first_seq, last_seq): (u64, u64), reason: &'static str| {
            let StreamKey { node, table, epoch } = job.key.clone();
            GapRow { node, table, epoch, first_seq, last_seq, reason }
        };
        match &job.what {
            What::Gap(reason) => self.gaps.extend(missing.iter().map(|range| gap(*range, reason.name()))),
            What::Rows(batch) => {
                let rows = batch.num_rows() as u64;
                let last_row = job.first_seq + rows.saturating_sub(1);
                let is_coarse = job.last_seq > last_row;
                let whole = [(job.first_seq, job.last_seq)];
                let mut kept = 0;
                if is_coarse && missing != whole {
                    // Some of what the rows sum up is stored as it was: they would count it twice.
                    self.gaps.extend(missing.iter().map(|range| gap(*range, COARSENED)));
                } else if is_coarse {
                    kept = self.keep(job, batch)?;
                    self.gaps.push(gap((last_row + 1, job.last_seq), COARSENED));
                } else {
                    for (first, last) in &missing {
                        let (from, len) = ((first - job.first_seq) as usize, (last - first + 1) as usize);
                        kept += self.keep(job, &batch.slice(from, len))?;
                    }
                }
                *self.stored.entry(job.key.table.clone()).or_default() += kept;
                *self.duplicate.entry(job.key.table.clone()).or_default() += rows - kept;
                self.nodes.insert(job.key.node.clone());
            }
        }
        added.extend(missing);
        Ok(())
    }

    fn keep(&mut self, job: &Job, batch: &RecordBatch) -> Result<u64, GatewayError> {
        for (day, part) in landing::by_day(batch)? {
            self.rows.entry((job.key.table.clone(), landing::day_name(day))).or_default().push(part);
        }
        Ok(batch.num_rows() as u64)
    }

    /// With the files' bytes.
    fn encoded(mut self) -> Result<Self, GatewayError> {
        if !self.gaps.is_empty() {
            let day = landing::day_name(self.now.div_euclid(24 * 60 * 60 * 1000));
            let batch = landing::gap_batch(&self.gaps, self.now)?;
            self.rows.insert((GAP_TABLE.to_owned(), day), vec![batch]);
        }
        for ((table, day), batches) in std::mem::take(&mut self.rows) {
            let bytes = landing::encode(&table, &batches)?;
            let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
            let len = bytes.len() as u64;
            let key = String::new();
            self.files.push(LandingFile { key, table, day, rows, bytes: len, written: self.now, merged: 0 });
            self.bytes.push(bytes);
        }
        Ok(self)
    }

    fn count(&self, metrics: &GatewayMetrics) {
        for (table, rows) in &self.stored {
            metrics.rows_stored(table).add(*rows);
        }
        for (table, rows) in self.duplicate.iter().filter(|(_, rows)| **rows > 0) {
            metrics.rows_duplicate(table).add(*rows);
        }
        for gap in &self.gaps {
            metrics.gap_rows(&gap.table, gap.reason).add(gap.rows());
        }
        for node in &self.nodes {
            metrics.node_stored(node).set(self.now as f64 / 1000.0);
        }
    }
}
