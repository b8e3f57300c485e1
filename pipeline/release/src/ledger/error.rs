//! What can go wrong with the ledger on disk.

use std::io;
use std::path::{Path, PathBuf};

use kerbside_core::error::{Classified, ErrorKind};
use thiserror::Error;

/// Why the ledger cannot be opened, written or renewed. A ledger that is there and cannot be trusted is no error: see
/// [`crate::LedgerState`].
#[derive(Debug, Error)]
pub enum LedgerError {
    /// Another process keeps the ledger.
    #[error("the privacy ledger in {} is in use by another process{owner}", folder.display())]
    InUse {
        /// The ledger's folder.
        folder: PathBuf,
        /// Which process, in words, if it is known.
        owner: String,
    },
    /// The folder cannot be used.
    #[error("the folder {} cannot be used for the privacy ledger", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("{} could not be written: nothing with noise is released until it can", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing that a renewal would cure.
    #[error("the privacy ledger {} needs no renewal", .0.display())]
    NothingToRenew(PathBuf),
}

impl LedgerError {
    pub(super) fn folder(folder: &Path) -> impl FnOnce(io::Error) -> Self {
        let folder = folder.to_owned();
        move |source| Self::Folder { folder, source }
    }

    pub(super) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }
}

impl Classified for LedgerError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse { .. } | Self::Folder { .. } | Self::NothingToRenew(_) => ErrorKind::Config,
            Self::Write { .. } => ErrorKind::Transient,
        }
    }
}
