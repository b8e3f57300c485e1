//! The few file operations that storing takes: all of the spool's go through here. In tests they can be
//! told to fail, and a thread can be given a simulated disk.

#![allow(clippy::infallible_destructuring_match, reason = "in tests a handle can be another")]

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kerbside_core::time::WallTime;

#[cfg(test)]
use crate::tests::simulated;

/// In tests, leaves a function with what the thread's simulated disk says, if it has one.
macro_rules! simulated {
    ($act:expr) => {
        #[cfg(test)]
        if let Some(disk) = simulated::current() {
            return ($act)(disk);
        }
    };
}

/// What small files are at most, in bytes.
pub(crate) const SMALL: u64 = 64 << 10;

/// Bytes that can be read at any place.
pub(crate) trait ReadAt {
    /// Reads up to `buffer.len()` bytes at `offset`; how many there were.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// How many bytes there are now.
    fn len(&self) -> io::Result<u64>;
}

/// A file to read from. It stays readable when its name is removed or given to another.
#[derive(Debug)]
pub(crate) struct File(Handle);

#[derive(Debug)]
enum Handle {
    Real(fs::File),
    #[cfg(test)]
    Simulated(simulated::Handle),
}

impl File {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        simulated!(|disk: simulated::Simulated| disk.open(path).map(|file| Self(Handle::Simulated(file))));
        fs::File::open(path).map(|file| Self(Handle::Real(file)))
    }

    /// When it was written to.
    pub(crate) fn modified(&self) -> io::Result<WallTime> {
        match &self.0 {
            Handle::Real(file) => file.metadata()?.modified().map(WallTime::from),
            #[cfg(test)]
            Handle::Simulated(_) => Ok(WallTime::UNIX_EPOCH),
        }
    }
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Handle::Real(file) => ReadAt::read_at(file, offset, buffer),
            #[cfg(test)]
            Handle::Simulated(file) => file.read_at(offset, buffer),
        }
    }

    fn len(&self) -> io::Result<u64> {
        match &self.0 {
            Handle::Real(file) => ReadAt::len(file),
            #[cfg(test)]
            Handle::Simulated(file) => Ok(file.len()),
        }
    }
}

impl ReadAt for fs::File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match FileExt::read_at(self, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(Bytes::len(self) as u64)
    }
}

/// A file that is only appended to.
#[derive(Debug)]
pub(crate) struct AppendFile(Handle);

impl AppendFile {
    /// A new, empty file, readable by its owner and group. What is under that name is overwritten.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        simulated!(|disk: simulated::Simulated| disk.create(path).map(|file| Self(Handle::Simulated(file))));
        faults::check(faults::Operation::Write)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(path)?;
        Ok(Self(Handle::Real(file)))
    }

    /// The file as it is, to be continued at `len`; what comes after is cut off.
    pub(crate) fn reopen(path: &Path, len: u64) -> io::Result<Self> {
        simulated!(|disk: simulated::Simulated| {
            let file = disk.open(path)?;
            file.set_len(len)?;
            Ok(Self(Handle::Simulated(file)))
        });
        let file = OpenOptions::new().append(true).open(path)?;
        file.set_len(len)?;
        Ok(Self(Handle::Real(file)))
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.0 {
            Handle::Real(file) => file,
            #[cfg(test)]
            Handle::Simulated(file) => return file.append(bytes),
        };
        if let Err(error) = faults::check(faults::Operation::Write) {
            // As a full disk does: some of it arrives.
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        file.write_all(bytes)
    }

    /// Says when the file was written, which is otherwise now.
    fn set_modified(&self, at: WallTime) -> io::Result<()> {
        match &self.0 {
            Handle::Real(file) => {
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(at.as_unix_nanos()))
            }
            #[cfg(test)]
            Handle::Simulated(_) => Ok(()),
        }
    }

    /// Waits until the data is on the disk. After an error the file must not be used any more: the
    /// kernel may count the lost pages as clean.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = match &self.0 {
            Handle::Real(file) => file,
            #[cfg(test)]
            Handle::Simulated(file) => return file.sync(),
        };
        faults::check(faults::Operation::Sync)?;
        file.sync_data()
    }

    /// The same, with the time of [`AppendFile::set_modified`].
    fn sync_all(&self) -> io::Result<()> {
        let file = match &self.0 {
            Handle::Real(file) => file,
            #[cfg(test)]
            Handle::Simulated(file) => return file.sync(),
        };
        faults::check(faults::Operation::Sync)?;
        file.sync_all()
    }
}

/// Waits until a file that somebody wrote is on the disk.
pub(crate) fn sync_file(path: &Path) -> io::Result<()> {
    simulated!(|disk: simulated::Simulated| disk.open(path)?.sync());
    faults::check(faults::Operation::Sync)?;
    OpenOptions::new().write(true).open(path)?.sync_data()
}

/// A file that is locked for as long as this lives.
#[derive(Debug)]
#[expect(dead_code, reason = "what it holds is held, not used")]
pub(crate) enum Lock {
    Real(fs::File),
    #[cfg(test)]
    Simulated(simulated::HeldLock),
}

/// Why a file cannot be locked.
#[derive(Debug)]
pub(crate) enum NotLocked {
    /// Somebody has it; what is written in the file, up to twenty bytes.
    Held(String),
    /// It cannot be opened.
    Open(io::Error),
    /// It cannot be locked or written.
    Other(io::Error),
}

/// Locks a file, which is made if need be, and writes into it who has it.
pub(crate) fn lock(path: &Path, owner: &str) -> Result<Lock, NotLocked> {
    simulated!(|disk: simulated::Simulated| {
        disk.lock(path).map(Lock::Simulated).ok_or_else(|| NotLocked::Held(owner.to_owned()))
    });
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = open.map_err(NotLocked::Open)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut found = String::new();
            // Who has it is a courtesy: without it the message is still right.
            let read = (&mut file).take(20).read_to_string(&mut found).is_ok();
            return Err(NotLocked::Held(if read { found } else { String::new() }));
        }
        Err(TryLockError::Error(source)) => return Err(NotLocked::Other(source)),
    }
    file.set_len(0).and_then(|()| file.write_all(owner.as_bytes())).map_err(NotLocked::Other)?;
    Ok(Lock::Real(file))
}

/// Makes a folder and its parents.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    simulated!(|disk: simulated::Simulated| disk.create_folder(path));
    fs::DirBuilder::new().recursive(true).mode(0o750).create(path)
}

/// Waits until the names in a folder are on the disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    simulated!(|disk: simulated::Simulated| disk.sync_folder(path));
    faults::check(faults::Operation::Sync)?;
    fs::File::open(path)?.sync_all()
}

/// The names in a folder, in no order. Those that are no text are none of ours.
pub(crate) fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    simulated!(|disk: simulated::Simulated| disk.names_in(folder));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Whether a path is a folder's.
pub(crate) fn is_folder(path: &Path) -> io::Result<bool> {
    simulated!(|disk: simulated::Simulated| disk.is_folder(path));
    Ok(fs::metadata(path)?.is_dir())
}

/// The bytes of a small file, or the first of one that is not.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let len = ReadAt::len(&file)?.min(SMALL);
    let mut bytes = vec![0; len as usize];
    let found = ReadAt::read_at(&file, 0, &mut bytes)?;
    bytes.truncate(found);
    Ok(bytes)
}

/// Removes a file's name.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    simulated!(|disk: simulated::Simulated| disk.remove(path));
    faults::check(faults::Operation::Remove)?;
    fs::remove_file(path)
}

/// Gives a file another name, which loses the file that it named.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    simulated!(|disk: simulated::Simulated| disk.rename(from, to));
    faults::check(faults::Operation::Write)?;
    fs::rename(from, to)
}

/// Cuts a file off.
pub(crate) fn cut(path: &Path, len: u64) -> io::Result<()> {
    simulated!(|disk: simulated::Simulated| disk.open(path)?.set_len(len));
    faults::check(faults::Operation::Write)?;
    OpenOptions::new().write(true).open(path)?.set_len(len)
}

/// Replaces a small file at once.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put_in_place(path, None, |file| file.append(bytes))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Writes the first `len` bytes of a file and then `end` to a new one, and puts it in its place.
pub(crate) fn copy_anew(path: &Path, len: u64, end: &[u8]) -> io::Result<()> {
    let old = File::open(path)?;
    put_in_place(path, old.modified().ok(), |file| {
        let mut block = vec![0; 64 << 10];
        let mut at = 0;
        while at < len {
            let wanted = block.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
            let found = ReadAt::read_at(&old, at, &mut block[..wanted])?;
            if found == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.append(&block[..found])?;
            at += found as u64;
        }
        file.append(end)
    })
}

/// Replaces a file by what `fill` writes, as if it had been written at `modified`. After a crash it is the old or the
/// new one; which of them is settled once the folder is synced.
pub(crate) fn put_in_place(
    path: &Path,
    modified: Option<WallTime>,
    fill: impl FnOnce(&mut AppendFile) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let written = (|| {
        let mut file = AppendFile::create(&temporary)?;
        fill(&mut file)?;
        if let Some(modified) = modified {
            file.set_modified(modified)?;
        }
        file.sync_all()?;
        rename(&temporary, path)
    })();
    if written.is_err() {
        // What is left of it is of no use, and is overwritten the next time; the first error says more.
        let _ = remove(&temporary);
    }
    written
}

#[cfg(not(test))]
mod faults {
    pub(super) enum Operation {
        Write,
        Sync,
        Remove,
    }

    pub(super) fn check(operation: Operation) -> std::io::Result<()> {
        match operation {
            Operation::Write | Operation::Sync | Operation::Remove => Ok(()),
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
        Remove,
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
