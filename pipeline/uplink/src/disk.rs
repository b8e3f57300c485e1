//! The few file operations that storing takes. In tests they can be told to fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// A file that is only appended to.
#[derive(Debug)]
pub(crate) struct AppendFile(File);

impl AppendFile {
    /// A new, empty file, readable by its owner and group. What is under that name is overwritten.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        faults::check(faults::Operation::Write)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(path)?;
        Ok(Self(file))
    }

    /// The file as it is, to be continued at `len`; what comes after is cut off.
    pub(crate) fn reopen(path: &Path, len: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        file.set_len(len)?;
        Ok(Self(file))
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = faults::check(faults::Operation::Write) {
            // As a full disk does: some of it arrives.
            self.0.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.0.write_all(bytes)
    }

    /// Waits until the data is on the disk. After an error the file must not be used any more: the
    /// kernel may count the lost pages as clean.
    pub(crate) fn sync(&self) -> io::Result<()> {
        faults::check(faults::Operation::Sync)?;
        self.0.sync_data()
    }
}

/// Makes a folder and its parents.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(path)
}

/// Waits until the names in a folder are on the disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    faults::check(faults::Operation::Sync)?;
    File::open(path)?.sync_all()
}

/// Replaces a small file at once: after a crash it is the old or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = AppendFile::create(&temporary)?;
    file.append(bytes)?;
    file.sync()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Reads up to `buffer.len()` bytes at `offset`; how many there were.
pub(crate) fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(not(test))]
mod faults {
    pub(super) enum Operation {
        Write,
        Sync,
    }

    pub(super) fn check(operation: Operation) -> std::io::Result<()> {
        match operation {
            Operation::Write | Operation::Sync => Ok(()),
        }
    }
}

/// A disk that fails on demand, for the test's own thread.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::Cell;
    use std::io;

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Operation {
        Write,
        Sync,
    }

    thread_local! {
        static PLAN: Cell<Option<(Operation, u32, io::ErrorKind)>> = const { Cell::new(None) };
    }

    /// Lets the next `times` operations of that kind fail.
    pub(crate) fn fail(operation: Operation, times: u32, kind: io::ErrorKind) {
        PLAN.set((times > 0).then_some((operation, times, kind)));
    }

    pub(super) fn check(operation: Operation) -> io::Result<()> {
        match PLAN.get() {
            Some((planned, times, kind)) if planned == operation => {
                fail(planned, times - 1, kind);
                Err(kind.into())
            }
            _ => Ok(()),
        }
    }
}
