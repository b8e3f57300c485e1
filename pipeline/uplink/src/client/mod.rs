//! The uplink: brings durable rows from the spool to a gateway, over Arrow Flight, and says to the spool what has
//! arrived.
//!
//! [`Uplink::run`] makes one connection after the other until it is told to stop. It reads what is synced through a
//! [`Feed`], never more: what a power cut could take back is not sent, since its numbers would be given again. What
//! a connection learned of the gateway ends with it; the next one asks again.
//!
//! Time: the runtime's clock, for pauses and deadlines. Threads: none of its own; it runs on the runtime that calls it.

mod held;
mod import;
mod lane;
mod link;
mod pause;
mod put;
mod session;
mod status;
mod token;
mod window;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kerbside_core::error::{Classified, ErrorKind, with_causes};
use kerbside_core::time::WallTime;
use kerbside_release::Table;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tracing::{debug, error, info, warn};

use crate::export::ExportError;
use crate::feed::Feed;
use crate::tls::{Reloading, TlsError, TlsFiles, client_config, expires};
use crate::wire::{REFUSAL_TRAILER, Refusal};

pub use import::{Imported, import};
pub use status::UplinkStatus;

use held::Held;
use pause::{Ended, Pauses};
use session::{End, Memory, Session};
use token::TokenFile;

/// How long before its end a certificate is complained about.
const EXPIRY_NOTICE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Where the gateway is, and who we are.
#[derive(Clone, Debug)]
pub struct UplinkSettings {
    /// The gateway's name or address, as its certificate says it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Our certificate and key, and who may vouch for the gateway's.
    pub tls: TlsFiles,
    /// The spool's folder, where the gateway's token is kept.
    pub spool: PathBuf,
}

/// Why a connection could not be made, or ended.
#[derive(Debug, Error)]
pub enum UplinkError {
    /// The gateway's address cannot be used.
    #[error("'{host}:{port}' is no address of a gateway")]
    Address {
        /// Its name.
        host: String,
        /// Its port.
        port: u16,
    },
    /// There is no TCP connection.
    #[error("the gateway {host}:{port} cannot be reached")]
    Connect {
        /// Its name.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The two do not trust each other, or it is no TLS 1.3.
    #[error("no secure connection with {host}:{port}")]
    Handshake {
        /// Its name.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// HTTP/2 could not be begun.
    #[error("the gateway does not speak HTTP/2")]
    Http(#[source] tonic::transport::Error),
    /// Certificates or keys cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The gateway's token could not be kept.
    #[error("the gateway's token could not be written into the spool's folder")]
    Token(#[source] io::Error),
    /// A file of an exported folder could not be read.
    #[error("{} could not be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An exported folder is none.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The operating system gave no random number.
    #[error("no random number could be had")]
    Random(#[source] getrandom::Error),
    /// What rows need to be decoded is no Arrow, though its checksum is right.
    #[error("{table}: the schema of stored rows cannot be taken apart")]
    Unsendable {
        /// The table.
        table: Table,
    },
    /// The gateway refused.
    #[error("the gateway refuses: {} ({message})", refusal.name())]
    Refused {
        /// Why.
        refusal: Refusal,
        /// Its words.
        message: String,
    },
    /// The connection was lost, or the gateway failed.
    #[error("the connection ended: {0}")]
    Lost(String),
    /// No answer came.
    #[error("the gateway has not answered for {seconds} s")]
    Silent {
        /// How long it had time.
        seconds: u64,
    },
    /// What came is no answer.
    #[error("the gateway's answer makes no sense")]
    Answer,
    /// The gateway has rows that this spool never numbered.
    #[error(
        "{table}: the gateway has rows of epoch {epoch} that are not from this spool: it was set back, or copied"
    )]
    Ahead {
        /// The table.
        table: Table,
        /// The epoch.
        epoch: u32,
    },
}

impl UplinkError {
    fn from_status(status: Status) -> Self {
        let trailer = status.metadata().get(REFUSAL_TRAILER).and_then(|value| value.to_str().ok());
        match trailer.and_then(Refusal::from_name) {
            // The gateway's words are shown to a person: as much as fits a line.
            Some(refusal) => Self::Refused { refusal, message: status.message().chars().take(200).collect() },
            None => Self::Lost(format!(
                "{:?}: {}",
                status.code(),
                status.message().chars().take(200).collect::<String>()
            )),
        }
    }

    /// Why the gateway refused, if it did.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::Ahead { .. } => Some(Refusal::Replay),
            _ => None,
        }
    }

    fn ended(&self) -> Ended {
        match self.refusal() {
            Some(Refusal::Quota) => Ended::Busy,
            Some(Refusal::IdentityConflict | Refusal::Role | Refusal::Replay) => Ended::Refused,
            _ => Ended::Lost,
        }
    }
}

impl Classified for UplinkError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Address { .. } | Self::File { .. } => ErrorKind::Config,
            Self::Export(error) => error.kind(),
            Self::Tls(error) => error.kind(),
            Self::Unsendable { .. } => ErrorKind::Fatal,
            _ => ErrorKind::Transient,
        }
    }
}

/// The sending side of a node.
pub struct Uplink {
    settings: UplinkSettings,
    /// Made with the first connection: certificates that are missing now may come.
    tls: Option<Reloading<Arc<ClientConfig>>>,
    memory: Memory,
}

impl Uplink {
    /// An uplink for the rows of that feed. Nothing is connected yet and no certificate is read: a node without them
    /// counts and stores, and tries again.
    ///
    /// # Errors
    /// The file of the gateway's token cannot be made in the spool's folder.
    pub fn new(settings: UplinkSettings, feed: Feed) -> Result<Self, UplinkError> {
        let token = TokenFile::open(&settings.spool).map_err(UplinkError::Token)?;
        let instance = getrandom::u64().map_err(UplinkError::Random)?;
        let memory = Memory { feed, status: Arc::default(), held: Held::default(), token, instance };
        Ok(Self { settings, tls: None, memory })
    }

    /// Holds back what was refused for another time than an hour.
    #[cfg(test)]
    pub(crate) fn holding_for(mut self, hold: Duration) -> Self {
        self.memory.held = Held::holding_for(hold);
        self
    }

    /// How it is, at any time.
    pub fn status(&self) -> Arc<UplinkStatus> {
        Arc::clone(&self.memory.status)
    }

    /// Sends until `stop` holds a moment; until that moment what is new is still sent. Trouble is told in the log and in
    /// the status, and tried again.
    pub async fn run(mut self, mut stop: watch::Receiver<Option<Instant>>) {
        let mut pauses = Pauses::new(fastrand::Rng::with_seed(self.memory.instance));
        let mut last_words = String::new();
        loop {
            let mut was_useful = false;
            let result = self.connect_and_send(&mut was_useful, &mut stop).await;
            self.memory.status.ended();
            let ended = match result {
                Ok(End::Stopped) => return,
                Ok(End::Renewed) => {
                    info!("certificates have changed: the connection is made anew");
                    Ended::Renewed
                }
                Err(error) => {
                    let words = with_causes(&error);
                    self.memory.status.failed(words.clone());
                    // The same trouble is told once, until something works again.
                    match error.ended() {
                        _ if words == last_words && !was_useful => debug!(error = words, "the uplink is down"),
                        Ended::Refused => {
                            error!(error = words, "the gateway does not want this node; rows wait in the spool")
                        }
                        _ => warn!(error = words, "the uplink is down; rows wait in the spool"),
                    }
                    last_words = words;
                    error.ended()
                }
            };
            let pause = pauses.next(ended, was_useful);
            tokio::select! {
                () = sleep(pause) => {}
                // An error means that nobody is left who could ask for a stop: it is one.
                _ = stop.wait_for(Option::is_some) => return,
            }
        }
    }

    async fn connect_and_send(
        &mut self,
        was_useful: &mut bool,
        stop: &mut watch::Receiver<Option<Instant>>,
    ) -> Result<End, UplinkError> {
        let tls = match &mut self.tls {
            Some(tls) => {
                renewed(tls);
                tls
            }
            none => none.insert(Reloading::new(self.settings.tls.clone(), client_config)?),
        };
        note_expiry(&self.settings.tls, &self.memory.status)?;
        let (host, port) = (self.settings.host.as_str(), self.settings.port);
        let status = Arc::clone(&self.memory.status);
        let made = async {
            let client = link::connect(host, port, Arc::clone(tls.current()), &status).await?;
            Session::resume(&mut self.memory, client).await
        };
        let mut session = tokio::select! {
            session = made => session?,
            _ = stop.wait_for(Option::is_some) => return Ok(End::Stopped),
        };
        let ended = session.run(&mut || renewed(tls), stop).await;
        *was_useful = session.was_useful;
        ended
    }
}

/// Whether certificates have changed, and can be used.
fn renewed(tls: &mut Reloading<Arc<ClientConfig>>) -> bool {
    tls.look().unwrap_or_else(|error| {
        warn!(error = with_causes(&error), "changed certificates cannot be used: the ones before stay");
        false
    })
}

/// Says in the status, and in good time in the log, when the node's certificate expires.
fn note_expiry(files: &TlsFiles, status: &UplinkStatus) -> Result<(), TlsError> {
    let end = expires(files)?;
    status.expires(end.as_unix_millis() / 1000);
    let remaining = end.since(WallTime::from(std::time::SystemTime::now()));
    if remaining < EXPIRY_NOTICE {
        warn!(days = remaining.as_secs() / 86_400, until = %end, "the node's certificate expires soon");
    }
    Ok(())
}
