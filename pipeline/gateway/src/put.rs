//! One stream of rows: checked, handed to the committer, acknowledged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::{FlightData, PutResult};
use arrow_ipc::MessageHeader;
use kerbside_uplink::wire::{self, Ack, Gap, GapReason, Refusal, Said, Up};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tonic::{Code, Status, Streaming};

use crate::check::Checker;
use crate::commit::{Job, Outcome, What, blocking};
use crate::error::GatewayError;
use crate::ipc;
use crate::landing::{self, now_millis};
use crate::refused::Refused;
use crate::service::Shared;
use crate::session::{Connection, Failure};
use crate::state::StreamKey;

/// A stream on which nothing comes for so long is ended. All of it is answered, so that is no failure: the node begins
/// another when it has rows.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// An acknowledgement that is not taken for so long ends its stream.
const ACK_DEADLINE: Duration = Duration::from_secs(60);
/// Batches of one stream that wait for their commit at most.
const MAX_IN_FLIGHT: usize = 1024;
/// A stream with more refused batches than this is ended.
const MAX_REFUSED: usize = 100;
/// The most dictionaries that the widest table has, with room.
const MAX_DICTIONARIES: usize = 64;

type Acks = mpsc::Sender<Result<PutResult, Status>>;

/// Serves a stream until its end.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    messages: Streaming<FlightData>,
    acks: Acks,
) {
    // One more than may be at a time waits for another to end.
    let Ok(Ok(_place)) = tokio::time::timeout(IDLE, connection.streams.acquire()).await else { return };
    let ended = Put::run(&shared, &connection, messages, &acks).await;
    let status = match ended {
        Ok(()) => return,
        Err(End::Failure(Failure::Refused(refused))) => shared.refuse(&connection.name, refused),
        Err(End::Failure(Failure::Gateway(error))) => {
            tracing::error!(%error, "a stream could not be served");
            Status::unavailable("the gateway cannot store for now")
        }
        Err(End::Status(status)) => status,
        Err(End::Gone | End::Failure(Failure::Gone)) => return,
    };
    // Whoever has hung up needs no reason.
    let _ = tokio::time::timeout(ACK_DEADLINE, acks.send(Err(status))).await;
}

/// Why a stream ends before the node ends it.
enum End {
    Failure(Failure),
    Status(Status),
    /// Nobody listens.
    Gone,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        Self::Failure(refused.into())
    }
}

impl From<GatewayError> for End {
    fn from(error: GatewayError) -> Self {
        Self::Failure(error.into())
    }
}

struct Put<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    acks: &'a Acks,
    key: StreamKey,
    checker: Checker,
    dictionaries: usize,
    is_pinned: bool,
    refused: usize,
    in_flight: usize,
    tell: mpsc::UnboundedSender<Outcome>,
}

impl<'a> Put<'a> {
    async fn run(
        shared: &'a Shared,
        connection: &'a Arc<Connection>,
        mut messages: Streaming<FlightData>,
        acks: &'a Acks,
    ) -> Result<(), End> {
        let (mut fenced, mut stop) = (connection.fenced(), shared.stop.clone());
        let Ok(first) = tokio::time::timeout(IDLE, messages.message()).await else { return Ok(()) };
        let Some(first) = first.map_err(|status| broken(&status))? else { return Ok(()) };
        let (tell, mut outcomes) = mpsc::unbounded_channel();
        let mut put = Self::open(shared, connection, acks, tell, &first).await?;
        let mut has_ended = false;
        let mut deadline = tokio::time::Instant::now() + IDLE;
        loop {
            if (has_ended || *stop.borrow()) && put.in_flight == 0 {
                return Ok(());
            }
            let may_read = !has_ended && !*stop.borrow() && put.in_flight < MAX_IN_FLIGHT;
            tokio::select! {
                biased;
                () = is_true(&mut fenced) => {
                    return Err(Refused::new(Refusal::IdentityConflict, "another connection took this one's place").into());
                }
                Some(outcome) = outcomes.recv() => put.told(outcome).await?,
                message = messages.message(), if may_read => match message.map_err(|status| broken(&status))? {
                    Some(message) => {
                        deadline = tokio::time::Instant::now() + IDLE;
                        put.take(&message).await?;
                    }
                    None => has_ended = true,
                },
                () = is_true(&mut stop), if may_read => {}
                () = tokio::time::sleep_until(deadline), if put.in_flight == 0 => return Ok(()),
            }
        }
    }

    /// The first message: descriptor, schema and [`Open`].
    async fn open(
        shared: &'a Shared,
        connection: &'a Arc<Connection>,
        acks: &'a Acks,
        tell: mpsc::UnboundedSender<Outcome>,
        first: &FlightData,
    ) -> Result<Self, End> {
        let malformed = |why| Refused::new(Refusal::Malformed, why);
        let descriptor = first.flight_descriptor.as_ref().ok_or_else(|| malformed("a stream without a name"))?;
        let [table] = descriptor.path.as_slice() else {
            return Err(malformed("a stream's name is its table").into());
        };
        if descriptor.r#type != DescriptorType::Path as i32 || !descriptor.cmd.is_empty() {
            return Err(malformed("a stream's name is its table").into());
        }
        let Said::Open(open) = said(first)? else { return Err(malformed("a stream that does not open").into()) };
        let (node, accept_demo) = (connection.name.as_str(), shared.accept_demo);
        let (header, body) = (&first.data_header, &first.data_body);
        let checker = shared.guarded(|| Checker::open(node, open.epoch, accept_demo, table, header, body))?;
        let key = StreamKey { node: node.to_owned(), table: checker.table().name().to_owned(), epoch: open.epoch };
        let (leases, of, table) = (Arc::clone(&shared.leases), Arc::clone(connection), checker.table());
        let opened = key.clone();
        let opened =
            tokio::task::spawn_blocking(move || leases.open(&of, wire::table_number(table), &opened, &open));
        opened.await.map_err(|_| End::Status(Status::internal("the call failed")))??;
        take_epoch(shared, &key)?;
        Ok(Self {
            shared,
            connection,
            acks,
            key,
            checker,
            dictionaries: 0,
            is_pinned: false,
            refused: 0,
            in_flight: 0,
            tell,
        })
    }

    /// Any other message.
    async fn take(&mut self, message: &FlightData) -> Result<(), End> {
        let malformed = |why| Refused::new(Refusal::Malformed, why);
        if message.flight_descriptor.is_some() {
            return Err(malformed("a second name").into());
        }
        let (header, body) = (&message.data_header, &message.data_body);
        if message.app_metadata.is_empty() {
            self.dictionaries += 1;
            if self.dictionaries > MAX_DICTIONARIES || ipc::kind(header) != Some(MessageHeader::DictionaryBatch) {
                return Err(malformed("a message that says nothing").into());
            }
            self.meter(0, message)?;
            let checker = &mut self.checker;
            return Ok(self.shared.guarded(|| checker.dictionary(header, body))?);
        }
        match said(message)? {
            Said::Open(_) => Err(malformed("a stream opens once").into()),
            Said::Gap(gap) if header.is_empty() && body.is_empty() => self.gap(gap).await,
            Said::Gap(_) => Err(malformed("a gap with rows").into()),
            Said::Rows(numbers) => {
                self.meter(0, message)?;
                let checker = &self.checker;
                let checked = self.shared.guarded(|| checker.rows(header, body, &numbers, now_millis()));
                match checked {
                    Ok(batch) => {
                        self.pin().await?;
                        let days = landing::days_of(&batch)?;
                        self.shared.quotas.take_days(&self.connection.name, &self.key.table, days, now())?;
                        self.shared.quotas.take(&self.connection.name, batch.num_rows() as u64, 0, now())?;
                        // Decoded it takes about as much: the words are shared.
                        let bytes = header.len() + body.len();
                        self.hand_over(numbers.first_seq, numbers.last_seq, What::Rows(batch), bytes).await
                    }
                    Err(refused) => self.refuse(refused, numbers.first_seq, numbers.last_seq).await,
                }
            }
        }
    }

    async fn gap(&mut self, gap: Gap) -> Result<(), End> {
        let Gap { first_seq, last_seq, reason } = gap;
        let reason = GapReason::try_from(reason).ok();
        let Some(reason) = reason.filter(|_| first_seq <= last_seq && last_seq < u64::MAX) else {
            return Err(Refused::new(Refusal::Malformed, "a gap that is none").into());
        };
        self.shared.quotas.take(&self.connection.name, 1, 0, now())?;
        self.hand_over(first_seq, last_seq, What::Gap(reason), 0).await
    }

    fn meter(&self, rows: u64, message: &FlightData) -> Result<(), Refused> {
        let bytes = message.data_header.len() + message.data_body.len();
        self.shared.quotas.take(&self.connection.name, rows, bytes as u64, now())
    }

    async fn pin(&mut self) -> Result<(), End> {
        if !self.is_pinned {
            pin(self.shared, &self.checker, &self.key).await?;
            self.is_pinned = true;
        }
        Ok(())
    }

    async fn hand_over(&mut self, first_seq: u64, last_seq: u64, what: What, bytes: usize) -> Result<(), End> {
        let job = Job { key: self.key.clone(), first_seq, last_seq, what, tell: self.tell.clone() };
        let sent = self.shared.entrance.send(job, bytes).await;
        sent.map_err(|_| End::Status(Status::unavailable("the gateway cannot store for now")))?;
        self.in_flight += 1;
        Ok(())
    }

    async fn refuse(&mut self, refused: Refused, first_seq: u64, last_seq: u64) -> Result<(), End> {
        self.refused += 1;
        if self.refused > MAX_REFUSED {
            return Err(refused.into());
        }
        let refusal = refused.refusal;
        // The status is for a stream that ends; here the reason goes into the log and the count.
        let _ = self.shared.refuse(&self.connection.name, refused);
        let next_seq = self.shared.state.next_seq(&self.key);
        self.ack(Ack { epoch: self.key.epoch, next_seq, first_seq, last_seq, refusal: refusal as i32 }).await
    }

    /// The committer has answered.
    async fn told(&mut self, outcome: Outcome) -> Result<(), End> {
        self.in_flight -= 1;
        let Outcome { first_seq, last_seq, result } = outcome;
        match result {
            Ok(next_seq) => {
                let refusal = Refusal::None as i32;
                self.ack(Ack { epoch: self.key.epoch, next_seq, first_seq, last_seq, refusal }).await
            }
            Err(Some(refusal)) => {
                Err(Refused::new(refusal, "more holes in the numbers than are remembered").into())
            }
            Err(None) => Err(End::Status(Status::unavailable("the gateway could not store for now"))),
        }
    }

    async fn ack(&self, ack: Ack) -> Result<(), End> {
        let result = PutResult { app_metadata: ack.encode_to_vec().into() };
        match tokio::time::timeout(ACK_DEADLINE, self.acks.send(Ok(result))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Status(Status::deadline_exceeded("acknowledgements are not taken"))),
        }
    }
}

impl Shared {
    /// Runs what reads foreign bytes. That it never panics is tested; where it does all the same, the message is
    /// refused, counted, and nobody else is disturbed.
    pub(crate) fn guarded<T>(&self, read: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
            self.metrics.decoder_panics.increment();
            Err(Refused::new(Refusal::Malformed, "the message cannot be read"))
        })
    }

    /// Counts and, if it is not the same again, logs a refusal, and gives it as the end of a stream or call.
    pub(crate) fn refuse(&self, name: &str, refused: Refused) -> Status {
        self.metrics.refused(refused.refusal.name()).increment();
        let reason = refused.refusal.name();
        if let Some(withheld) = self.refusals.may(reason, Instant::now()) {
            tracing::warn!(peer = name, reason, why = %refused.why, withheld, "refused");
        }
        refused.into_status()
    }
}

/// Under one hash a node has one vocabulary, from the first rows on. A new one is on the disk when this returns.
pub(crate) async fn pin(shared: &Shared, checker: &Checker, key: &StreamKey) -> Result<(), Failure> {
    let Some(digest) = checker.vocabulary_digest() else {
        return Err(Refused::new(Refusal::Malformed, "rows before all words are known").into());
    };
    let StreamKey { node, table, .. } = key.clone();
    let hash = checker.vocabulary().to_owned();
    match shared.state.vocabulary(&node, &hash, &table) {
        Some(known) if known == digest => Ok(()),
        Some(_) => {
            let why = "other words than before under the same hash of the vocabulary";
            Err(Refused::new(Refusal::Vocabulary, why).into())
        }
        None => {
            shared.quotas.take_vocabulary(&node, now())?;
            let state = Arc::clone(&shared.state);
            Ok(blocking(move || state.set_vocabulary(&node, &hash, &table, digest)).await?)
        }
    }
}

/// An epoch that is new counts: each is remembered for ever.
pub(crate) fn take_epoch(shared: &Shared, key: &StreamKey) -> Result<(), Refused> {
    match shared.state.last_stored(key) {
        Some(_) => Ok(()),
        None => shared.quotas.take_epoch(&key.node, key.epoch, now()),
    }
}

fn said(message: &FlightData) -> Result<Said, Refused> {
    if message.app_metadata.len() > wire::MAX_METADATA_BYTES {
        return Err(Refused::new(Refusal::Size, "too much beside the rows"));
    }
    let up = wire::decode::<Up>(&message.app_metadata);
    let up = up.map_err(|error| Refused::new(Refusal::Malformed, error.to_string()))?;
    up.said.ok_or_else(|| Refused::new(Refusal::Malformed, "a message that says nothing"))
}

/// An error of the transport ends a stream silently; one of the message is a refusal.
fn broken(status: &Status) -> End {
    if status.code() == Code::OutOfRange {
        return Refused::new(Refusal::Size, "a message that is too large").into();
    }
    let is_transport = std::error::Error::source(status).is_some();
    if !is_transport && matches!(status.code(), Code::Internal | Code::Unimplemented) {
        return Refused::new(Refusal::Malformed, "no message of Flight").into();
    }
    End::Gone
}

/// The moment, for quotas.
pub(crate) fn now() -> (Instant, i64) {
    (Instant::now(), now_millis())
}

/// Waits until it is told; for ever where whoever could tell is gone.
pub(crate) async fn is_true(told: &mut watch::Receiver<bool>) {
    if told.wait_for(|told| *told).await.is_err() {
        std::future::pending::<()>().await;
    }
}
