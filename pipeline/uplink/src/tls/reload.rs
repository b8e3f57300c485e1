//! Takes renewed files up while the program runs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{TlsError, TlsFiles};

/// A value that is built from [`TlsFiles`], and built anew when they have changed.
///
/// It has no clock and no thread: whoever holds it calls [`Reloading::look`] every now and then.
#[derive(Debug)]
pub struct Reloading<T> {
    files: TlsFiles,
    build: fn(&TlsFiles) -> Result<T, TlsError>,
    value: T,
    seen: Vec<Option<Stamp>>,
}

/// What tells a file from the one that was there before. The time of the last change of its attributes is part of
/// it, so that a key whose mode was put right is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    len: u64,
    device: u64,
    inode: u64,
}

impl<T> Reloading<T> {
    /// Builds the value for the first time: [`client_config`](super::client_config) and
    /// [`server_config`](super::server_config) fit as `build`.
    ///
    /// # Errors
    /// As `build` says.
    pub fn new(files: TlsFiles, build: fn(&TlsFiles) -> Result<T, TlsError>) -> Result<Self, TlsError> {
        let seen = stamps(&files);
        let value = build(&files)?;
        Ok(Self { files, build, value, seen })
    }

    /// The value of the last files that could be used.
    pub fn current(&self) -> &T {
        &self.value
    }

    /// The files.
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// Builds the value anew when a file has changed since the last look. True when it was replaced.
    ///
    /// # Errors
    /// The changed files cannot be used: the old value stays. That is said once a change. Where certificate and
    /// key are replaced one after the other and the look falls between, the next look finds them both.
    pub fn look(&mut self) -> Result<bool, TlsError> {
        // Taken before the files are read: what changes meanwhile differs at the next look.
        let found = stamps(&self.files);
        if found == self.seen {
            return Ok(false);
        }
        self.seen = found;
        self.value = (self.build)(&self.files)?;
        Ok(true)
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<Stamp>> {
    let TlsFiles { certificate, key, authority, revoked } = files;
    let paths = [Some(certificate), Some(key), Some(authority), revoked.as_ref()];
    paths.into_iter().flatten().map(|path| stamp(path)).collect()
}

/// `None` when the file is not there or cannot be looked at: reading it says why.
fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
        len: found.len(),
        device: found.dev(),
        inode: found.ino(),
    })
}
