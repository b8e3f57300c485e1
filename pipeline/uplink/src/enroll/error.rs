//! Why a certificate is not issued.

use std::io;
use std::path::{Path, PathBuf};

use kerbside_core::error::{Classified, ErrorKind};
use thiserror::Error;

use crate::tls::TlsError;

/// Why a certificate is not issued, or not revoked.
#[derive(Debug, Error)]
pub enum EnrollError {
    /// A file is there already.
    #[error("{} exists already and is not overwritten; another folder, or another name, is expected", .0.display())]
    Exists(PathBuf),
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
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An authority that was not made here.
    #[error("{} is no development authority of kerbside: {what}; one made by 'kerbside enroll authority' is expected", path.display())]
    Foreign {
        /// Its certificate.
        path: PathBuf,
        /// What is different.
        what: &'static str,
    },
    /// A certificate that the authority has not issued, or a list that is not its own.
    #[error("{}: {what}; only what this authority has issued can be revoked by it", path.display())]
    NotIssued {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A request that cannot be granted.
    #[error("{what}; {allowed}")]
    Request {
        /// What is wrong.
        what: String,
        /// What is allowed.
        allowed: String,
    },
    /// A certificate could not be made.
    #[error("the certificate could not be made")]
    Certificate(#[source] rcgen::Error),
    /// The operating system gave no random number.
    #[error("no random number could be had")]
    Random(#[source] getrandom::Error),
}

impl EnrollError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Classified for EnrollError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Tls(error) => error.kind(),
            Self::Io { .. } | Self::Random(_) => ErrorKind::Transient,
            Self::Certificate(_) => ErrorKind::Fatal,
            Self::Exists(_) | Self::Foreign { .. } | Self::NotIssued { .. } | Self::Request { .. } => {
                ErrorKind::Config
            }
        }
    }
}
