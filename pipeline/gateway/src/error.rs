//! The one way in which a gateway fails.

use std::path::PathBuf;

use kerbside_config::ConfigError;
use kerbside_core::error::{Classified, ErrorKind};

/// Why a gateway does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Everything that is wrong with the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificate, key, authority or the list of what was revoked cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// A local address cannot be listened on.
    #[error("{what}: {address} cannot be listened on: {source}")]
    Listen {
        /// Which of the servers.
        what: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Another gateway works on the same state.
    #[error("another gateway works on the state in {}", .0.display())]
    StateInUse(PathBuf),
    /// The state cannot be opened, read or written.
    #[error("the gateway's state: {0}")]
    State(Box<redb::Error>),
    /// What the state holds was not written by this version, or was changed.
    #[error("the gateway's state is not as it was written: {0}")]
    StateContent(String),
    /// The landing cannot be read or written.
    #[error("the landing: {0}")]
    Landing(#[from] object_store::Error),
    /// Rows could not be written as Parquet, or read back.
    #[error("Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Arrow refused what it was given by the gateway itself.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A folder or thread that is needed cannot be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// No random numbers from the system.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// A part of the gateway ended that must not end before it is asked to.
    #[error("{0} has ended")]
    Ended(&'static str),
}

impl Classified for GatewayError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(_) | Self::Tls(_) | Self::Listen { .. } | Self::StateInUse(_) => ErrorKind::Config,
            Self::Landing(_) | Self::Random(_) => ErrorKind::Transient,
            Self::State(_)
            | Self::StateContent(_)
            | Self::Parquet(_)
            | Self::Arrow(_)
            | Self::Io { .. }
            | Self::Ended(_) => ErrorKind::Fatal,
        }
    }
}

impl GatewayError {
    /// From an error of the operating system, with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

macro_rules! state_errors {
    ($($kind:ty),*) => {
        $(impl From<$kind> for GatewayError {
            fn from(error: $kind) -> Self {
                Self::State(Box::new(error.into()))
            }
        })*
    };
}

state_errors!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);
