//! From a TCP connection to one that the service is asked over.
//!
//! Every connection has a handshake of its own with certificates on both sides, under a deadline, so many at a time and
//! no more; who says nothing at all waits before that, and takes nobody's turn. What fails in it is counted by its reason. A connection ends when its certificate does, when the gateway's own
//! files were renewed (a certificate may be revoked since), when another connection of the same node took its place, or
//! when a node does not say what it wants.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow_flight::flight_service_server::FlightServiceServer;
use kerbside_telemetry::GatewayMetrics;
use kerbside_uplink::tls::{self, Identity, Reloading, Role};
use kerbside_uplink::wire;
use rustls::{AlertDescription, CertificateError, Error as RustlsError, PeerIncompatible, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::put::is_true;
use crate::service::Service;
use crate::session::{Connection, Leases};
use crate::sparing::Sparing;

/// The first byte may take so long.
const FIRST_BYTE_DEADLINE: Duration = Duration::from_secs(10);
/// A handshake that takes longer is given up.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Handshakes at a time.
const HANDSHAKES: usize = 64;
/// Connections at a time, those that shake hands included.
const CONNECTIONS: usize = 4096;
/// Connections that wait to be served.
const ACCEPTED_AHEAD: usize = 64;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls of one connection at a time.
const STREAMS: u32 = 32;
/// What is received ahead of one stream; of one connection twice as much.
const WINDOW: u32 = 4 << 20;
/// Connections of one identity at a time: the old and the new one of a node, with room. Readers may have more.
const CONNECTIONS_OF_NODE: usize = 4;
const CONNECTIONS_OF_OTHERS: usize = 16;
/// The longest headers of a call, in bytes.
const MAX_HEADERS: u32 = 8 << 10;
/// Beside the batch, a message has its lengths and what rides along.
const MAX_MESSAGE: usize = wire::MAX_MESSAGE_BYTES + (4 << 10);
/// How long a connection whose place was taken is left open, so that it hears why.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A node that has not begun with its first words by then is no node of ours, or hangs.
const LEASE_DEADLINE: Duration = Duration::from_secs(60);
/// A call whose request is not there by then, or that has no answer, is given up. Streams of rows are answered at once.
const CALL_DEADLINE: Duration = Duration::from_secs(120);
/// How long to wait after accepting failed, as it does without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest that a timer is set for: a certificate's end may be further than a timer goes.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What tells connections to end.
#[derive(Clone)]
pub(crate) struct Endings {
    /// The gateway is asked to stop: nobody new comes in, and streams end with what they have.
    pub(crate) stop: watch::Receiver<bool>,
    /// The gateway stops now.
    pub(crate) cut: watch::Receiver<bool>,
}

/// Takes connections until `endings.stop` tells, and serves those that there are to their end.
pub(crate) async fn serve(
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
    service: Service,
    leases: Arc<Leases>,
    metrics: GatewayMetrics,
    endings: Endings,
) -> Result<(), tonic::transport::Error> {
    let (sender, accepted) = mpsc::channel(ACCEPTED_AHEAD);
    let door = Arc::new(Door {
        config,
        leases: Arc::downgrade(&leases),
        metrics,
        cut: endings.cut.clone(),
        handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
        connections: Arc::new(Semaphore::new(CONNECTIONS)),
        refusals: Sparing::default(),
        names: Mutex::default(),
    });
    let mut stop = endings.stop;
    let mut stop_accepting = stop.clone();
    let accepting = tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, door, sender) => {}
            _ = stop_accepting.wait_for(|stop| *stop) => {}
        }
    });
    let flight = FlightServiceServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(usize::MAX);
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS)
        .timeout(CALL_DEADLINE)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .http2_max_header_list_size(MAX_HEADERS)
        .add_service(flight)
        .serve_with_incoming_shutdown(tokio_stream::wrappers::ReceiverStream::new(accepted), async move {
            // An error means that nobody can stop it any more: then it stops.
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await;
    accepting.abort();
    drop(leases);
    served
}

struct Door {
    config: watch::Receiver<Arc<ServerConfig>>,
    /// Not held: a handshake that hangs must not keep the state from being closed.
    leases: Weak<Leases>,
    metrics: GatewayMetrics,
    cut: watch::Receiver<bool>,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    refusals: Sparing,
    /// How many connections each identity has.
    names: Mutex<HashMap<Identity, usize>>,
}

impl Door {
    /// One more connection of an identity, if it may have one more.
    fn enter(&self, identity: &Identity) -> bool {
        let most = if identity.role == Role::Node { CONNECTIONS_OF_NODE } else { CONNECTIONS_OF_OTHERS };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let count = names.entry(identity.clone()).or_default();
        let may = *count < most;
        if may {
            *count += 1;
        }
        may
    }

    fn leave(&self, identity: &Identity) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = names.get_mut(identity) {
            *count -= 1;
            if *count == 0 {
                names.remove(identity);
            }
        }
    }

    fn refuse(&self, peer: SocketAddr, reason: &'static str, why: &str) {
        self.metrics.handshakes_refused(reason).increment();
        if let Some(withheld) = self.refusals.may(reason, Instant::now()) {
            tracing::warn!(%peer, reason, why, withheld, "a connection was refused");
        }
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>, sender: mpsc::Sender<Result<Io, io::Error>>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&door.connections).try_acquire_owned() else {
            door.refuse(peer, "too_many", "there are as many connections as the gateway takes");
            continue;
        };
        let (door, sender) = (Arc::clone(&door), sender.clone());
        tokio::spawn(async move {
            match let_in(&door, stream, permit).await {
                Ok(Some(io)) => {
                    // Where nobody takes it the gateway is stopping.
                    let _ = sender.send(Ok(io)).await;
                }
                Ok(None) => {}
                Err((reason, why)) => door.refuse(peer, reason, &why),
            }
        });
    }
}

/// The reason in metrics, and the whole in words.
type Refused = (&'static str, String);

/// A connection whose handshake went well; `None` when the gateway stops.
async fn let_in(door: &Arc<Door>, stream: TcpStream, permit: OwnedSemaphorePermit) -> Result<Option<Io>, Refused> {
    let broken = |error: io::Error| ("broken", error.to_string());
    stream.set_nodelay(true).map_err(broken)?;
    let mut first = [0];
    // Before its turn: with as many silent connections as there are turns nobody else would get one.
    let begun = tokio::time::timeout(FIRST_BYTE_DEADLINE, stream.peek(&mut first)).await;
    let begun = begun.map_err(|_| ("too_slow", "it said nothing".to_owned()))?.map_err(broken)?;
    // Every handshake begins with a record of this type.
    if begun == 1 && first != [22] {
        return Err(("plaintext", "it does not begin with a handshake".to_owned()));
    }
    let Ok(_turn) = door.handshakes.acquire().await else { return Ok(None) };
    let shaken = tokio::time::timeout(HANDSHAKE_DEADLINE, shake_hands(door, stream, permit)).await;
    shaken.map_err(|_| ("too_slow", "the handshake took too long".to_owned()))?.map(Some)
}

async fn shake_hands(door: &Arc<Door>, stream: TcpStream, permit: OwnedSemaphorePermit) -> Result<Io, Refused> {
    // What is renewed from here on ends the connection again.
    let mut renewed = door.config.clone();
    let config = Arc::clone(&renewed.borrow_and_update());
    let tls = TlsAcceptor::from(config).accept(stream).await.map_err(|error| reason_of(&error))?;
    let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = certificates.first().ok_or(("no_certificate", "it has no certificate".to_owned()))?;
    let no_identity = |error: tls::TlsError| ("no_identity", error.to_string());
    let identity = tls::identity_of(certificate).map_err(no_identity)?;
    let until = tls::not_after(certificate).map_err(no_identity)?;
    if identity.role == Role::Gateway {
        return Err(("no_identity", "it has the certificate of a gateway".to_owned()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_nanos(until.as_unix_nanos()).saturating_sub(now).min(LONGEST_WAIT);
    if !door.enter(&identity) {
        return Err(("too_many", format!("the {identity} has as many connections as it may have")));
    }
    let connection = Arc::new(Connection::new(identity.name.clone(), identity.role));
    let (close, closing) = oneshot::channel();
    tokio::spawn(end(Arc::clone(&connection), renewed, door.cut.clone(), left, close));
    door.metrics.connections.add(1.0);
    Ok(Io { tls, closing: Some(closing), identity, connection, door: Arc::clone(door), _permit: permit })
}

/// Waits for what ends a connection.
async fn end(
    connection: Arc<Connection>,
    mut renewed: watch::Receiver<Arc<ServerConfig>>,
    mut cut: watch::Receiver<bool>,
    left: Duration,
    mut close: oneshot::Sender<()>,
) {
    let (mut is_fenced, mut has_lease) = (connection.fenced(), connection.leased());
    let fenced = async {
        is_true(&mut is_fenced).await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    let silent = async {
        let heard = tokio::time::timeout(LEASE_DEADLINE, is_true(&mut has_lease)).await;
        if connection.role != Role::Node || heard.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = fenced => {}
        () = silent => {}
        Ok(()) = renewed.changed() => {}
        () = is_true(&mut cut) => {}
        () = tokio::time::sleep(left) => {}
        () = close.closed() => return,
    }
    // Where nobody listens the connection is gone.
    let _ = close.send(());
}

fn reason_of(error: &io::Error) -> Refused {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>());
    let reason = match inner {
        Some(RustlsError::NoCertificatesPresented) => "no_certificate",
        Some(RustlsError::InvalidCertificate(why)) => match why {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => "expired",
            CertificateError::Revoked | CertificateError::UnknownRevocationStatus => "revoked",
            // The latter where another authority has the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => "unknown_authority",
            _ => "certificate",
        },
        Some(RustlsError::PeerIncompatible(why)) => match why {
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::ServerDoesNotSupportTls12Or13 => "tls_version",
            _ => "incompatible",
        },
        Some(RustlsError::AlertReceived(alert)) => match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired => "not_trusted",
            _ => "alert",
        },
        Some(RustlsError::InvalidMessage(_)) => "malformed",
        Some(_) => "other",
        None => "broken",
    };
    (reason, error.to_string())
}

/// A connection that knows who it is, and when it is to end.
pub(crate) struct Io {
    tls: TlsStream<TcpStream>,
    closing: Option<oneshot::Receiver<()>>,
    identity: Identity,
    connection: Arc<Connection>,
    door: Arc<Door>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(leases) = self.door.leases.upgrade() {
            leases.release(&self.connection);
        }
        self.door.leave(&self.identity);
        self.door.metrics.connections.add(-1.0);
    }
}

impl Connected for Io {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(closing) = &mut self.closing
            && let Poll::Ready(told) = Pin::new(closing).poll(cx)
        {
            self.closing = None;
            if told.is_ok() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

/// How often certificates are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Takes renewed certificates and lists up, for ever.
pub(crate) async fn reload(
    mut files: Reloading<Arc<ServerConfig>>,
    config: watch::Sender<Arc<ServerConfig>>,
    metrics: GatewayMetrics,
) {
    loop {
        let began = Instant::now();
        match tls::expires(files.files()) {
            Ok(expires) => metrics.certificate_expires.set(expires.as_unix_nanos() as f64 / 1e9),
            Err(error) => tracing::debug!(%error, "when the certificate expires is not known"),
        }
        tokio::time::sleep(LOOK_INTERVAL.saturating_sub(began.elapsed())).await;
        let looked = tokio::task::spawn_blocking(move || {
            let looked = files.look();
            (files, looked)
        });
        let Ok((back, looked)) = looked.await else { return };
        files = back;
        match looked {
            Ok(true) => {
                tracing::info!("certificates were renewed; every connection begins anew");
                config.send_replace(Arc::clone(files.current()));
            }
            Ok(false) => {}
            Err(error) => {
                metrics.reload_errors.increment();
                tracing::error!(%error, "renewed certificates cannot be used; the old ones stay");
            }
        }
    }
}
