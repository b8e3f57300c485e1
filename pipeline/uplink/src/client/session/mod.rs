//! One connection's life: learn what the gateway has, then send what it has not, the newest first.
//!
//! Invariants
//! - Nothing is confirmed to the spool that the gateway has not said is stored, of what was sent.
//! - What is on its way is bounded by two windows. The backlog is sent piece by piece, and after each piece the link
//!   rests for as long as the piece took: it takes at most half of the link's time.
//! - An answer that fits nothing that was sent changes nothing and is counted.

mod answers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::Action;
use arrow_flight::flight_service_client::FlightServiceClient;
use kerbside_core::error::with_causes;
use kerbside_release::Table;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::transport::Channel;
use tracing::{error, info, warn};

use super::UplinkError;
use super::held::{Held, Subject};
use super::lane::{Kind, Lane, Load, What};
use super::put::{Answer, Put};
use super::status::UplinkStatus;
use super::token::TokenFile;
use super::window::Window;
use crate::feed::{Feed, Place, StreamEnd};
use crate::parcel::Opening;
use crate::ranges::RangeSet;
use crate::wire::{
    GapReason, Open, Position, RESUME, ResumeReply, ResumeRequest, decode, table_number, table_of_number,
};

/// For the answer to the first question.
const RESUME_LIMIT: Duration = Duration::from_secs(60);
/// How long the gateway may be silent about rows that are on their way.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// How long an answer may take while others come: one that was lost does not come any more, and its rows count as on
/// their way for ever.
const OLDEST_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How long a lane rests after the spool could not be read: what passes may pass, and what does not is damaged.
const READ_PAUSE: Duration = Duration::from_secs(2);
/// So much is stepped over in one go; then the lane rests for a moment, so that answers are heard in between.
const MOST_SKIPPED: usize = 64;
const SKIP_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that may wait without a lane of their own.
const LITTLE: u64 = 256 << 10;
/// In which order tables are sent.
const ORDER: [Table; 3] = [Table::Incident, Table::Agg, Table::Health];

/// What outlives a connection.
pub(super) struct Memory {
    pub(super) feed: Feed,
    pub(super) status: Arc<UplinkStatus>,
    pub(super) held: Held,
    pub(super) token: TokenFile,
    /// A random number of this process.
    pub(super) instance: u64,
}

/// Why a connection ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The node stops.
    Stopped,
    /// Someone asked for another connection.
    Renewed,
}

pub(super) struct Session<'a> {
    memory: &'a mut Memory,
    client: FlightServiceClient<Channel>,
    token: u64,
    /// What the gateway has.
    stored: BTreeMap<(Table, u32), RangeSet>,
    /// The largest number that was sent or is stored.
    reach: BTreeMap<(Table, u32), u64>,
    lanes: Vec<Lane>,
    /// Tables of which something was held back long enough.
    again: BTreeSet<Table>,
    /// Every stream that was begun: its table, epoch and opening.
    puts: Vec<(Table, u32, Arc<Opening>)>,
    answers: (mpsc::UnboundedSender<Answer>, mpsc::UnboundedReceiver<Answer>),
    on_its_way: BTreeMap<(Table, u32, u64), Sent>,
    retries: VecDeque<(Instant, usize, Load)>,
    live: Flow,
    backlog: Flow,
    /// Before this the backlog rests.
    backlog_rests_until: Instant,
    heard_at: Instant,
    pub(super) was_useful: bool,
}

/// Something that waits for its answer.
struct Sent {
    put: u64,
    lane: usize,
    load: Load,
    at: Instant,
}

/// One of the two windows, and what is in it.
struct Flow {
    window: Window,
    bytes: usize,
    loads: usize,
    was_full: bool,
    /// When the window was last adapted, or for the backlog: when its piece was begun.
    since: Instant,
}

impl Flow {
    fn new(window: Window) -> Self {
        Self { window, bytes: 0, loads: 0, was_full: false, since: Instant::now() }
    }
}

impl<'a> Session<'a> {
    /// Asks the gateway what it has.
    pub(super) async fn resume(
        memory: &'a mut Memory,
        mut client: FlightServiceClient<Channel>,
    ) -> Result<Self, UplinkError> {
        let streams = memory.feed.streams();
        let positions = streams.iter().map(|stream| Position {
            table: table_number(stream.table),
            epoch: stream.epoch,
            next_seq: stream.next_seq,
        });
        let (token, instance) = (memory.token.token(), memory.instance);
        let request = ResumeRequest { token, instance, streams: positions.collect() };
        let action = Action { r#type: RESUME.to_owned(), body: request.encode_to_vec().into() };
        let asked = async {
            let mut replies = client.do_action(action).await?.into_inner();
            replies.message().await
        };
        let silent = |_| UplinkError::Silent { seconds: RESUME_LIMIT.as_secs() };
        let reply = timeout(RESUME_LIMIT, asked).await.map_err(silent)?.map_err(UplinkError::from_status)?;
        let reply: ResumeReply =
            decode(&reply.ok_or(UplinkError::Answer)?.body).map_err(|_| UplinkError::Answer)?;
        memory.token.keep(reply.token).map_err(UplinkError::Token)?;

        let mut stored: BTreeMap<(Table, u32), RangeSet> = BTreeMap::new();
        let mut reach = BTreeMap::new();
        for of_stream in reply.stored {
            let table = table_of_number(of_stream.table).ok_or(UplinkError::Answer)?;
            let asked = |known: &&StreamEnd| (known.table, known.epoch) == (table, of_stream.epoch);
            let end = streams.iter().find(asked).ok_or(UplinkError::Answer)?;
            let set: RangeSet = of_stream.ranges.iter().map(|range| (range.first_seq, range.last_seq)).collect();
            if set.last().is_some_and(|last| last >= end.next_seq) {
                return Err(UplinkError::Ahead { table, epoch: of_stream.epoch });
            }
            for (first, last) in set.iter() {
                memory.feed.confirm(table, of_stream.epoch, first, last);
            }
            if let Some(last) = set.last() {
                reach.insert((table, of_stream.epoch), last);
            }
            stored.insert((table, of_stream.epoch), set);
        }
        memory.status.answered();
        let waiting = memory.feed.waiting();
        info!(rows = waiting.rows, bytes = waiting.bytes, "the gateway answers; so much waits for it");
        let start = Place::default();
        let cursor = |table, from| memory.feed.cursor(table, from);
        let mut lanes: Vec<Lane> = Vec::new();
        if waiting.bytes <= LITTLE {
            lanes.extend(ORDER.map(|table| Lane::new(table, Kind::Live, cursor(table, start), None)));
        } else {
            let ends = ORDER.map(|table| (table, memory.feed.end(table)));
            lanes.extend(ends.map(|(table, end)| Lane::new(table, Kind::Live, cursor(table, end), None)));
            lanes
                .extend(ends.map(|(table, end)| Lane::new(table, Kind::Backlog, cursor(table, start), Some(end))));
        }
        Ok(Self {
            memory,
            client,
            token: reply.token,
            stored,
            reach,
            lanes,
            again: BTreeSet::new(),
            puts: Vec::new(),
            answers: mpsc::unbounded_channel(),
            on_its_way: BTreeMap::new(),
            retries: VecDeque::new(),
            live: Flow::new(Window::live()),
            backlog: Flow::new(Window::backlog()),
            backlog_rests_until: Instant::now(),
            heard_at: Instant::now(),
            was_useful: false,
        })
    }

    /// Sends until the connection ends. `renew` is asked now and then whether another one should be made; `stop`
    /// holds, once the node stops, until when what is new may still be sent.
    pub(super) async fn run(
        &mut self,
        renew: &mut impl FnMut() -> bool,
        stop: &mut watch::Receiver<Option<Instant>>,
    ) -> Result<End, UplinkError> {
        const LOOK: Duration = Duration::from_secs(10);
        let mut look_at = Instant::now() + LOOK;
        let feed = self.memory.feed.clone();
        loop {
            // Asked for before looking: what comes in between is not missed.
            let changed = feed.changed();
            let now = Instant::now();
            if now >= look_at {
                look_at = now + LOOK;
                if renew() {
                    return Ok(End::Renewed);
                }
                if self.on_its_way.values().any(|sent| now - sent.at >= OLDEST_LIMIT) {
                    return Err(UplinkError::Silent { seconds: OLDEST_LIMIT.as_secs() });
                }
                self.try_held_again();
            }
            self.send_what_may_go(now)?;
            let last_call = *stop.borrow_and_update();
            if last_call.is_some_and(|until| self.on_its_way.is_empty() || Instant::now() >= until) {
                return Ok(End::Stopped);
            }
            if !self.on_its_way.is_empty() && self.heard_at.elapsed() >= ANSWER_LIMIT {
                return Err(UplinkError::Silent { seconds: ANSWER_LIMIT.as_secs() });
            }
            let wake_at = self.wakes_at(now, look_at, last_call);
            tokio::select! {
                Some(answer) = self.answers.1.recv() => {
                    self.take(answer)?;
                    while let Ok(answer) = self.answers.1.try_recv() {
                        self.take(answer)?;
                    }
                }
                () = changed => {}
                () = sleep_until(wake_at) => {}
                // Nobody who could stop us is left: the node is gone.
                result = stop.changed() => if result.is_err() { return Ok(End::Stopped) },
            }
        }
    }

    /// What was held back long enough is tried once more, by a lane over all that is not stored: the others have gone past.
    fn try_held_again(&mut self) {
        let Self { memory, lanes, again, .. } = self;
        again.extend(memory.held.release_due(std::time::Instant::now()).iter().map(Subject::table));
        again.retain(|table| {
            let cursor = memory.feed.cursor(*table, Place::default());
            let anew = Lane::new(*table, Kind::Backlog, cursor, Some(memory.feed.end(*table)));
            match lanes.iter_mut().find(|lane| lane.table == *table && lane.kind == Kind::Backlog) {
                Some(lane) if !lane.is_over() => return true,
                Some(lane) => *lane = anew,
                None => lanes.push(anew),
            }
            false
        });
    }

    fn wakes_at(&self, now: Instant, look_at: Instant, last_call: Option<Instant>) -> Instant {
        // What could go has gone at that moment: only rests that were not over then are waited for.
        let rests = self.backlog.loads == 0 && self.backlog_rests_until > now;
        let has_backlog = || self.lanes.iter().any(|lane| lane.kind == Kind::Backlog && !lane.is_over());
        let backlog = (rests && has_backlog()).then_some(self.backlog_rests_until);
        let retry = self.retries.iter().map(|(due, ..)| *due).min();
        let blocked = self.lanes.iter().filter_map(|lane| lane.blocked_until).filter(|until| *until > now).min();
        [backlog, blocked, retry, last_call].into_iter().flatten().fold(look_at, Instant::min)
    }

    /// Fills both windows.
    fn send_what_may_go(&mut self, now: Instant) -> Result<(), UplinkError> {
        for _ in 0..self.retries.len() {
            let Some((due, lane, load)) = self.retries.pop_front() else { break };
            if due <= now {
                self.lanes[lane].put_back(load);
            } else {
                self.retries.push_back((due, lane, load));
            }
        }
        self.live.was_full = self.fill(Kind::Live, now)?;
        if self.backlog.loads == 0 && now >= self.backlog_rests_until {
            self.backlog.since = now;
            self.backlog.was_full = self.fill(Kind::Backlog, now)?;
        }
        Ok(())
    }

    /// Sends from the lanes of that kind. Whether more would have come had there been room.
    fn fill(&mut self, kind: Kind, now: Instant) -> Result<bool, UplinkError> {
        for index in 0..self.lanes.len() {
            let lane = &self.lanes[index];
            if lane.kind == kind && !lane.is_blocked(now) && self.fill_from(index, now)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn fill_from(&mut self, index: usize, now: Instant) -> Result<bool, UplinkError> {
        let kind = self.lanes[index].kind;
        let mut skipped = 0;
        while skipped < MOST_SKIPPED {
            let lane = &mut self.lanes[index];
            let load = match lane.next() {
                Ok(Some(load)) => load,
                Ok(None) => {
                    if lane.is_over() {
                        // The gateway need not keep a stream on which nothing will come.
                        lane.put = None;
                    }
                    return Ok(false);
                }
                Err(error) => {
                    // The cursor counts: where it does not pass the rows are given up. With the connection the count
                    // would go, and one bad block would end every connection.
                    warn!(table = %lane.table, error = with_causes(&error), "the spool could not be read; once more soon");
                    lane.blocked_until = Some(now + READ_PAUSE);
                    return Ok(false);
                }
            };
            let flow = self.flow(kind);
            if flow.bytes > 0 && flow.bytes + load.bytes() > flow.window.bytes() {
                self.lanes[index].put_back(load);
                return Ok(true);
            }
            if !self.send(index, load)? {
                skipped += 1;
            }
        }
        self.lanes[index].blocked_until = Some(now + SKIP_PAUSE);
        Ok(false)
    }

    fn flow(&mut self, kind: Kind) -> &mut Flow {
        match kind {
            Kind::Live => &mut self.live,
            Kind::Backlog => &mut self.backlog,
        }
    }

    /// Sends what the gateway does not have of it. Whether anything went.
    fn send(&mut self, index: usize, load: Load) -> Result<bool, UplinkError> {
        let table = self.lanes[index].table;
        let stored = self.stored.entry((table, load.epoch)).or_default();
        let missing = stored.missing(load.first_seq, load.last_seq);
        if missing.is_empty() {
            return Ok(false);
        }
        let is_whole = missing == [(load.first_seq, load.last_seq)];
        match &load.what {
            What::Rows { rows, opening, .. } => {
                let is_coarse = load.last_seq - load.first_seq >= u64::from(*rows);
                let opening = Arc::clone(opening);
                let now = std::time::Instant::now();
                if self.memory.held.holds(Subject::Opening(table, opening.id), now) {
                    // A gap on a stream that begins with it would be refused with it: gaps wait for another opening.
                    return Ok(false);
                }
                self.lanes[index].opening = Some(Arc::clone(&opening));
                let mut has_sent = false;
                for gap in std::mem::take(&mut self.lanes[index].untold) {
                    has_sent |= self.send_on(index, &opening, gap)?;
                }
                if is_coarse && !is_whole {
                    // Part of what was summed up is stored as it was: the sum would count it again.
                    return self.send_gaps(index, load.epoch, missing, GapReason::Dropped);
                }
                if self.memory.held.holds(Subject::Batch(table, load.epoch, load.first_seq), now) {
                    return Ok(has_sent);
                }
                self.send_on(index, &opening, load)
            }
            What::Gap(reason) => {
                let reason = *reason;
                self.send_gaps(index, load.epoch, missing, reason)
            }
        }
    }

    fn send_gaps(
        &mut self,
        index: usize,
        epoch: u32,
        ranges: Vec<(u64, u64)>,
        reason: GapReason,
    ) -> Result<bool, UplinkError> {
        let mut has_sent = false;
        for (first_seq, last_seq) in ranges {
            let load = Load { epoch, first_seq, last_seq, what: What::Gap(reason) };
            match self.lanes[index].opening.clone() {
                Some(opening) => has_sent |= self.send_on(index, &opening, load)?,
                None => self.lanes[index].untold.push(load),
            }
        }
        Ok(has_sent)
    }

    /// Sends on a stream of that epoch and opening, which is begun if need be. Whether it did.
    fn send_on(&mut self, index: usize, opening: &Arc<Opening>, mut load: Load) -> Result<bool, UplinkError> {
        let (table, kind) = (self.lanes[index].table, self.lanes[index].kind);
        if self.on_its_way.contains_key(&(table, load.epoch, load.first_seq)) {
            // Another lane was here before.
            return Ok(false);
        }
        let fits = |put: &Put| put.epoch == load.epoch && put.opening.id == opening.id;
        if !self.lanes[index].put.as_ref().is_some_and(fits) {
            let number = self.puts.len() as u64;
            let open = Open { token: self.token, epoch: load.epoch };
            let put = Put::begin(&self.client, number, table, open, opening, self.answers.0.clone())?;
            self.puts.push((table, load.epoch, Arc::clone(opening)));
            self.lanes[index].put = Some(put);
        }
        let Some(put) = &self.lanes[index].put else { return Ok(false) };
        if let What::Rows { payload, .. } = &load.what
            && !put.rows(load.first_seq, load.last_seq, payload)
        {
            // Their checksum is right, so they were written like that. To end the connection for it would end each one.
            let Load { epoch, first_seq, last_seq, .. } = load;
            error!(%table, epoch, first_seq, last_seq, "rows are no Arrow, or too large for a message: they count as damaged");
            load.what = What::Gap(GapReason::Damaged);
        }
        if let Some(gap) = load.gap() {
            put.gap(gap);
        }
        let reach = self.reach.entry((table, load.epoch)).or_default();
        *reach = (*reach).max(load.last_seq);
        if self.on_its_way.is_empty() {
            self.heard_at = Instant::now();
        }
        let sent = Sent { put: put.number, lane: index, at: Instant::now(), load };
        let flow = self.flow(kind);
        flow.bytes += sent.load.bytes();
        flow.loads += 1;
        self.on_its_way.insert((table, sent.load.epoch, sent.load.first_seq), sent);
        Ok(true)
    }
}
