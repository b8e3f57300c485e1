//! What can go wrong when rows are stored or read, and what is found damaged.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use arrow_schema::ArrowError;
use kerbside_core::error::{Classified, ErrorKind};
use kerbside_release::{ReleaseError, Table};
use thiserror::Error;

/// Why rows could not be stored.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// Another process writes to the spool.
    #[error("the spool {} is in use by another process{owner}", folder.display())]
    InUse {
        /// The spool's folder.
        folder: PathBuf,
        /// Which process, in words, if it is known.
        owner: String,
    },
    /// The folder cannot be used.
    #[error("the folder {} cannot be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read, written or removed.
    #[error("{} could not be {action}", path.display())]
    Io {
        /// What was tried: written, synced.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system gave no random number for a new epoch.
    #[error("no random number could be had for a new epoch")]
    Random(#[source] getrandom::Error),
    /// A batch does not follow the rows that are stored.
    #[error(
        "{table}: rows from {found_seq} of epoch {found_epoch} do not follow: row {seq} of epoch {epoch} is next"
    )]
    Position {
        /// The table.
        table: Table,
        /// The spool's epoch.
        epoch: u32,
        /// The least number of the next row.
        seq: u64,
        /// The batch's epoch.
        found_epoch: u32,
        /// The batch's first row.
        found_seq: u64,
    },
    /// A batch is larger than a frame may be.
    #[error("{table}: a batch of {bytes} bytes is too large for the spool: at most {most}")]
    TooLarge {
        /// The table.
        table: Table,
        /// Its size.
        bytes: usize,
        /// The largest size.
        most: usize,
    },
    /// Arrow could not write a batch.
    #[error("{table}: a batch could not be encoded")]
    Encode {
        /// The table.
        table: Table,
        /// Why.
        source: ArrowError,
    },
    /// Old rows could not be summed up.
    #[error("old rows of agg.v1 could not be summed up to hours")]
    Coarsen(#[source] Box<ReleaseError>),
}

impl SpoolError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Classified for SpoolError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse { .. } | Self::Folder { .. } => ErrorKind::Config,
            Self::Io { .. } | Self::Random(_) => ErrorKind::Transient,
            Self::Position { .. } | Self::TooLarge { .. } | Self::Encode { .. } | Self::Coarsen(_) => {
                ErrorKind::Fatal
            }
        }
    }
}

/// Why a path cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// There is nothing.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// A folder that holds no released rows.
    #[error("{} is no spool and no replay output: no *.seg and no *.arrow files in it", .0.display())]
    NothingThere(PathBuf),
    /// A file of another kind.
    #[error("{} is neither a spool segment nor a table of kerbside: {found}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: String,
    },
    /// A segment of another version of the format.
    #[error("{} has version {found} of the segment format; this program reads version {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that can be read.
        known: u32,
    },
    /// The path cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ReadError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            _ => Self::Io { path, source },
        }
    }
}

impl Classified for ReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(_) | Self::NothingThere(_) | Self::Unknown { .. } | Self::Version { .. } => {
                ErrorKind::Config
            }
            Self::Io { .. } => ErrorKind::Transient,
        }
    }
}

/// Bytes that were found damaged. No row was taken from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where the damaged bytes begin.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, what } = self;
        write!(f, "{}: {bytes} bytes from byte {offset} on: {what}", file.display())
    }
}

/// Rows that must have been there, since later ones are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The table.
    pub table: Table,
    /// The epoch.
    pub epoch: u32,
    /// The number of the first missing row.
    pub first_seq: u64,
    /// The number of the last missing row.
    pub last_seq: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, epoch, first_seq, last_seq } = self;
        write!(f, "{table}: rows {first_seq} to {last_seq} of epoch {epoch} are missing")
    }
}
