//! Why a spool is not exported, or an export not believed.

use std::io;
use std::path::{Path, PathBuf};

use kerbside_core::error::{Classified, ErrorKind};
use thiserror::Error;

use crate::error::ReadError;
use crate::tls::{Identity, TlsError};

/// Why a spool is not exported, or an export not believed.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The folder holds something.
    #[error("{} is not empty; an empty folder, or one that does not exist yet, is expected", .0.display())]
    NotEmpty(PathBuf),
    /// A file or folder cannot be used.
    #[error("{} could not be {action}", path.display())]
    Io {
        /// What was tried: written, read.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The spool cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificate speaks for another node.
    #[error("{} is the certificate of the {found}; that of the node {node} is expected", certificate.display())]
    OtherNode {
        /// The certificate file.
        certificate: PathBuf,
        /// Whom it speaks for.
        found: Identity,
        /// The node's name.
        node: String,
    },
    /// The key can sign nothing but connections.
    #[error("the key {} cannot sign an export; an ECDSA (P-256, P-384, P-521), Ed25519 or RSA key is expected", key.display())]
    KeyKind {
        /// The key file.
        key: PathBuf,
    },
    /// The signature could not be made.
    #[error("the export could not be signed")]
    Sign(#[source] rustls::Error),
    /// A manifest that is none.
    #[error("the manifest cannot be used: {0}")]
    Manifest(String),
    /// The certificate does not lead to the authority, has expired or was revoked.
    #[error("the certificate of the export is not to be trusted")]
    Untrusted(#[source] rustls::Error),
    /// The signature is not one over this manifest by the certificate's key.
    #[error("the signature of the export is wrong")]
    Signature,
    /// The manifest speaks of another node than the certificate.
    #[error("the export says that it comes from the node {said}; its certificate is that of the {certified}")]
    Impostor {
        /// The manifest's node.
        said: String,
        /// The certificate's.
        certified: Identity,
    },
}

impl ExportError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Classified for ExportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotEmpty(_) | Self::OtherNode { .. } | Self::KeyKind { .. } => ErrorKind::Config,
            Self::Io { .. } => ErrorKind::Transient,
            Self::Read(error) => error.kind(),
            Self::Tls(error) => error.kind(),
            Self::Sign(_) | Self::Manifest(_) | Self::Untrusted(_) | Self::Signature | Self::Impostor { .. } => {
                ErrorKind::Fatal
            }
        }
    }
}
