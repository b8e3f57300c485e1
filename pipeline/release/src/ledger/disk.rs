//! The few file operations that the ledger takes. In tests they are written down and can be told to fail.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Ours are a few tens of kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// Makes a folder and its parents, for owner and group, and waits until their names are on the disk.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o750).create(path)?;
    for folder in missing {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// A small file's bytes; `None` when there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"));
    }
    Ok(Some(bytes))
}

/// Replaces a small file at once and waits until that is on the disk: after a crash it is the old or the new one.
/// After an error it is either, too.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    let replaced = write(&beside, bytes)
        .and_then(|()| steps::take(Step::Rename { from: &beside, to: path }, || fs::rename(&beside, path)))
        .and_then(|()| steps::take(Step::SyncFolder { path: folder }, || steps::sync(&File::open(folder)?)));
    if replaced.is_err() {
        // On a full disk it would only be in the way.
        let _ = steps::take(Step::Remove { path: &beside }, || fs::remove_file(&beside));
    }
    replaced
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Writes a file anew. One that is there is not written over: after a failed sync the kernel may count pages of it as
/// clean that never reached the disk.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    steps::take(Step::Remove { path }, || match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })?;
    let options = OpenOptions::new().write(true).create_new(true).mode(0o640).clone();
    let mut file = steps::take(Step::Create { path }, || options.open(path))?;
    let half = bytes.len() / 2;
    steps::take(Step::Write { path, bytes: &bytes[..half] }, || file.write_all(&bytes[..half]))?;
    steps::take(Step::Write { path, bytes: &bytes[half..] }, || file.write_all(&bytes[half..]))?;
    steps::take(Step::Sync { path }, || steps::sync(&file))
}

/// One operation on the disk, such as a crash can come before or after.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "tests look at what is done; the node only does it"))]
pub(super) enum Step<'a> {
    Remove { path: &'a Path },
    Create { path: &'a Path },
    Write { path: &'a Path, bytes: &'a [u8] },
    Sync { path: &'a Path },
    Rename { from: &'a Path, to: &'a Path },
    SyncFolder { path: &'a Path },
}

#[cfg(not(test))]
mod steps {
    use std::fs::File;
    use std::io;

    pub(super) fn sync(file: &File) -> io::Result<()> {
        file.sync_all()
    }

    pub(super) fn take<T>(_: super::Step<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        act()
    }
}

/// A disk that remembers and fails on demand, for the test's own thread.
#[cfg(test)]
pub(super) mod steps {
    use std::cell::{Cell, RefCell};
    use std::fs::File;
    use std::io;
    use std::ops::Range;
    use std::path::PathBuf;

    use super::Step;

    /// What was done, with what tests need to play it again.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(in super::super) enum Done {
        Remove(PathBuf),
        Create(PathBuf),
        Write(PathBuf, Vec<u8>),
        Sync(PathBuf),
        Rename(PathBuf, PathBuf),
        SyncFolder(PathBuf),
    }

    #[derive(Default)]
    struct Plan {
        /// Which steps fail, counted from the last [`plan`].
        failing: Range<usize>,
        kind: Option<io::ErrorKind>,
        tried: usize,
        done: Vec<Done>,
    }

    thread_local! {
        static PLAN: RefCell<Plan> = RefCell::default();
        static IS_IMPATIENT: Cell<bool> = const { Cell::new(false) };
    }

    /// Waits for no disk from now on: for tests with thousands of writes, none of which could see the difference.
    pub(in super::super) fn wait_for_no_disk() {
        IS_IMPATIENT.set(true);
    }

    pub(super) fn sync(file: &File) -> io::Result<()> {
        if IS_IMPATIENT.get() { Ok(()) } else { file.sync_all() }
    }

    /// Lets the steps with these numbers fail, counted from now on. A crash is a disk on which everything fails from
    /// one step on.
    pub(in super::super) fn plan(failing: Range<usize>, kind: io::ErrorKind) {
        PLAN.set(Plan { failing, kind: Some(kind), ..Plan::default() });
    }

    /// Lets nothing fail any more; what was done since the last [`plan`] or [`heal`].
    pub(in super::super) fn heal() -> Vec<Done> {
        PLAN.take().done
    }

    pub(super) fn take<T>(step: Step<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        PLAN.with_borrow_mut(|plan| {
            plan.tried += 1;
            match plan.kind {
                Some(kind) if plan.failing.contains(&(plan.tried - 1)) => Err(io::Error::from(kind)),
                _ => Ok(()),
            }
        })?;
        let result = act()?;
        let done = match step {
            Step::Remove { path } => Done::Remove(path.to_owned()),
            Step::Create { path } => Done::Create(path.to_owned()),
            Step::Write { path, bytes } => Done::Write(path.to_owned(), bytes.to_vec()),
            Step::Sync { path } => Done::Sync(path.to_owned()),
            Step::Rename { from, to } => Done::Rename(from.to_owned(), to.to_owned()),
            Step::SyncFolder { path } => Done::SyncFolder(path.to_owned()),
        };
        PLAN.with_borrow_mut(|plan| plan.done.push(done));
        Ok(result)
    }
}
