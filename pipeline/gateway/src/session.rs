//! Who is connected, and which connection of a node may send.
//!
//! A node has one connection that may send, its lease. Every [`ResumeReply`] gives a new token, which the node keeps
//! beside its spool before it uses it. A copy of the node (a cloned memory card) has the token of the day it was
//! copied: once the gateway has seen a newer one used, whoever comes with an older one is refused. Until a stream was
//! begun with the new one, the one before is good too, and whoever comes with it gets the same new one again: a reply may
//! have been lost, or the request may be heard twice.
//!
//! Who has no token at all has lost its spool. It takes the place of nobody who is connected, and what the node had is
//! void only once the newcomer has begun a stream.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kerbside_telemetry::GatewayMetrics;
use kerbside_uplink::export::Manifest;
use kerbside_uplink::tls::Role;
use kerbside_uplink::wire::{self, MAX_RANGES, Open, Range, Refusal, ResumeReply, ResumeRequest, Stored};
use tokio::sync::{Semaphore, watch};

use crate::error::GatewayError;
use crate::refused::Refused;
use crate::state::{State, StreamKey, Tokens};

/// Streams of rows of one connection that are read at a time: three tables, new rows beside old ones, each while the
/// vocabulary changes.
const STREAMS: usize = 12;
/// The most streams that a node asks about: three tables, and every epoch that a spool can hold.
const MAX_STREAMS: usize = 4096;

/// One connection whose handshake went well.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// How many streams of rows may still begin.
    pub(crate) streams: Semaphore,
    /// What a courier has shown last.
    import: Mutex<Option<Arc<Manifest>>>,
    /// Becomes true when another connection has taken this one's place.
    fenced: watch::Sender<bool>,
    /// Becomes true when it has the lease of its node.
    leased: watch::Sender<bool>,
    /// It is gone: a question that is answered after its end must leave no lease.
    closed: AtomicBool,
}

impl Connection {
    pub(crate) fn new(name: String, role: Role) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            name,
            role,
            streams: Semaphore::new(STREAMS),
            import: Mutex::default(),
            fenced: watch::Sender::new(false),
            leased: watch::Sender::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Tells when another connection has taken this one's place.
    pub(crate) fn fenced(&self) -> watch::Receiver<bool> {
        self.fenced.subscribe()
    }

    /// Tells when it has the lease of its node.
    pub(crate) fn leased(&self) -> watch::Receiver<bool> {
        self.leased.subscribe()
    }

    pub(crate) fn set_import(&self, manifest: Manifest) {
        *self.import.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(manifest));
    }

    pub(crate) fn import(&self) -> Option<Arc<Manifest>> {
        self.import.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses what another role may do.
    pub(crate) fn must_be(&self, role: Role) -> Result<(), Refused> {
        if self.role == role {
            return Ok(());
        }
        Err(Refused::new(Refusal::Role, "this certificate may not do that"))
    }
}

#[derive(Debug)]
struct Lease {
    connection: Arc<Connection>,
    tokens: Tokens,
    /// What was asked about: of other epochs nothing may be stored yet.
    asked: BTreeSet<(u32, u32)>,
}

/// The leases of all nodes.
pub(crate) struct Leases {
    state: Arc<State>,
    nodes: Option<BTreeSet<String>>,
    metrics: GatewayMetrics,
    held: Mutex<HashMap<String, Lease>>,
}

/// What a call ends with.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The peer did something wrong.
    Refused(Refused),
    /// The gateway cannot.
    Gateway(GatewayError),
    /// The connection has ended meanwhile.
    Gone,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        Self::Gateway(error)
    }
}

impl Leases {
    pub(crate) fn new(state: Arc<State>, nodes: Option<BTreeSet<String>>, metrics: GatewayMetrics) -> Self {
        Self { state, nodes, metrics, held: Mutex::default() }
    }

    /// Whether rows of a node are taken at all.
    pub(crate) fn is_listed(&self, node: &str) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.contains(node))
    }

    /// A node's first words. Blocks: the new token is on the disk when it returns.
    pub(crate) fn resume(
        &self,
        connection: &Arc<Connection>,
        request: &ResumeRequest,
    ) -> Result<ResumeReply, Failure> {
        let node = connection.name.as_str();
        connection.must_be(Role::Node)?;
        if !self.is_listed(node) {
            return Err(Refused::new(Refusal::Role, "this node is not on the gateway's list").into());
        }
        let asked = asked(request)?;
        // Held throughout: of two that come at once one is first.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.closed.load(Ordering::Acquire) {
            return Err(Failure::Gone);
        }
        let known = self.state.tokens(node);
        let is_held = held.get(node).is_some_and(|lease| lease.connection.id != connection.id);
        if !may_go_on(known, request.token, &asked, &self.state.epochs(node), is_held) {
            let why = "an old token, or none: it is a copy of the node, or its spool was set back";
            return Err(Refused::new(Refusal::IdentityConflict, why).into());
        }
        let mut stored = Vec::new();
        for position in &request.streams {
            let Some(table) = wire::table_of_number(position.table) else { continue };
            let key = StreamKey { node: node.to_owned(), table: table.name().to_owned(), epoch: position.epoch };
            let set = self.state.stored(&key);
            if set.last().is_some_and(|last| last >= position.next_seq) {
                return Err(Refused::new(Refusal::Replay, "more is stored than the spool has numbered").into());
            }
            if set.is_empty() {
                continue;
            }
            let ranges = set.iter().take(MAX_RANGES).map(|(first_seq, last_seq)| Range { first_seq, last_seq });
            stored.push(Stored { table: position.table, epoch: position.epoch, ranges: ranges.collect() });
        }
        let instance = request.instance;
        let tokens = match known {
            Some(known) if known.previous != 0 && request.token != known.current => Tokens { instance, ..known },
            Some(known) => Tokens { current: random_token()?, previous: known.current, instance },
            // A token of a gateway before this one.
            None => Tokens { current: random_token()?, previous: request.token, instance },
        };
        if known != Some(tokens) {
            self.state.set_tokens(node, tokens)?;
        }
        let lease = Lease { connection: Arc::clone(connection), tokens, asked };
        connection.leased.send_replace(true);
        if let Some(old) = held.insert(node.to_owned(), lease)
            && old.connection.id != connection.id
        {
            tracing::info!(node, "a new connection takes the place of one before");
            old.connection.fenced.send_replace(true);
        }
        self.metrics.nodes_connected.set(held.len() as f64);
        Ok(ResumeReply { token: tokens.current, stored })
    }

    /// Whether a stream may begin. Blocks the first time that a token is used: the one before it is void from then on.
    pub(crate) fn open(
        &self,
        connection: &Connection,
        table: u32,
        key: &StreamKey,
        open: &Open,
    ) -> Result<(), Failure> {
        connection.must_be(Role::Node)?;
        let conflict = || Refused::new(Refusal::IdentityConflict, "the token is not this connection's");
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = held.get_mut(&connection.name).ok_or_else(conflict)?;
        if lease.connection.id != connection.id || lease.tokens.current != open.token {
            return Err(conflict().into());
        }
        if !lease.asked.contains(&(table, open.epoch)) && !self.state.stored(key).is_empty() {
            return Err(Refused::new(Refusal::Replay, "an epoch that the connection did not ask about").into());
        }
        if lease.tokens.previous != 0 {
            let tokens = Tokens { previous: 0, ..lease.tokens };
            self.state.set_tokens(&connection.name, tokens)?;
            lease.tokens = tokens;
        }
        Ok(())
    }

    /// A connection is gone.
    pub(crate) fn release(&self, connection: &Connection) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        connection.closed.store(true, Ordering::Release);
        if held.get(&connection.name).is_some_and(|lease| lease.connection.id == connection.id) {
            held.remove(&connection.name);
        }
        self.metrics.nodes_connected.set(held.len() as f64);
    }
}

fn asked(request: &ResumeRequest) -> Result<BTreeSet<(u32, u32)>, Refused> {
    let malformed = |why| Refused::new(Refusal::Malformed, why);
    if request.streams.len() > MAX_STREAMS {
        return Err(malformed("too many streams at once"));
    }
    let mut asked = BTreeSet::new();
    for position in &request.streams {
        if wire::table_of_number(position.table).is_none() {
            return Err(Refused::new(Refusal::Schema, "an unknown table"));
        }
        if !asked.insert((position.table, position.epoch)) {
            return Err(malformed("a stream twice"));
        }
    }
    Ok(asked)
}

/// The rule of tokens.
fn may_go_on(
    known: Option<Tokens>,
    token: u64,
    asked: &BTreeSet<(u32, u32)>,
    epochs: &[u32],
    is_held: bool,
) -> bool {
    let Some(known) = known else { return true };
    if token == 0 {
        // A spool that was lost begins with an epoch of its own, and its node is not here any more.
        return !is_held && !asked.is_empty() && asked.iter().all(|(_, epoch)| !epochs.contains(epoch));
    }
    token == known.current || token == known.previous
}

fn random_token() -> Result<u64, GatewayError> {
    // 0 stands for none.
    Ok(getrandom::u64()?.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_with_an_older_token_is_a_copy() {
        let asked = BTreeSet::from([(1, 7)]);
        let tokens = |current, previous| Some(Tokens { current, previous, instance: 0 });
        let may = |known, token, epoch| may_go_on(known, token, &asked, &[epoch], false);
        assert!(may(None, 0, 0) && may(None, 5, 0));
        assert!(may(tokens(5, 4), 5, 7) && may(tokens(5, 4), 4, 7));
        assert!(!may(tokens(5, 0), 4, 7) && !may(tokens(5, 4), 3, 7));
        assert!(!may(tokens(5, 0), 0, 7), "an epoch that is known, and no token");
        assert!(may(tokens(5, 0), 0, 6), "a spool that was lost");
        assert!(!may_go_on(tokens(5, 0), 0, &asked, &[6], true), "while its node is connected");
        assert!(may_go_on(tokens(5, 0), 5, &asked, &[7], true), "a node that comes again");
        assert!(!may_go_on(tokens(5, 0), 0, &BTreeSet::new(), &[6], false), "who asks nothing has no spool");
    }
}
