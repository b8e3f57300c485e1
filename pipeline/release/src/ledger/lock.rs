//! Keeps a second process away from the ledger.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::LedgerError;

/// Held for as long as the ledger is open. The kernel gives it back when the process ends, however that ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of a ledger's folder.
    pub(super) fn take(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(LedgerError::folder(folder))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = owner(&mut file).map(|number| format!(" (number {number})")).unwrap_or_default();
                return Err(LedgerError::InUse { folder: folder.to_owned(), owner });
            }
            Err(TryLockError::Error(source)) => return Err(LedgerError::folder(folder)(source)),
        }
        // Who holds it is a courtesy: on a full disk the lock is held all the same.
        let _ = file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        Ok(Self { file, path })
    }

    /// Whether another process that comes would still find this lock. A file that was removed or replaced locks nobody
    /// out.
    pub(super) fn is_held(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn owner(file: &mut File) -> Option<String> {
    let mut owner = String::new();
    file.take(20).read_to_string(&mut owner).ok()?;
    (!owner.is_empty() && owner.bytes().all(|byte| byte.is_ascii_digit())).then_some(owner)
}
