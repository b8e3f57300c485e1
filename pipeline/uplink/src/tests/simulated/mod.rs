//! A disk in memory, with a page cache before it, that loses power.
//!
//! Why not the crate turmoil-fs: it keeps files by their paths, so that a handle to a file that was removed or replaced is
//! not what it is on Unix; it has no file locks; the sync of a file makes its name durable too, so that a missing
//! sync of the folder would go unseen; and what a crash leaves is drawn at random, not enumerated.
//!
//! What it holds to: data reaches the disk with the sync of its file, in blocks of 512 bytes and in any order before
//! that; names reach it with the sync of their folder, in their order or in any before that. After a sync that failed the
//! cache still shows the data and calls it clean, as Linux does.

mod handle;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use handle::{Handle, HeldLock};

const BLOCK: usize = 512;

/// What is changed on a disk, for tests that let it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Write,
    Sync,
    SyncFolder,
    Rename,
    Remove,
    Cut,
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PowerCut {
    /// Nothing.
    Nothing,
    /// Everything, as if the kernel had just written it all.
    Everything,
    /// Some blocks of the data and some names, by this seed: the first so many where it is even, else any.
    Torn(u64),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// As processes see it.
    cache: Vec<u8>,
    /// As it is after a power cut.
    disk: Vec<u8>,
    /// Blocks of the cache that are not on the disk.
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum NameOp {
    Set(PathBuf, Option<u64>),
    /// From, to.
    Move(PathBuf, PathBuf),
}

impl NameOp {
    fn folder(&self) -> PathBuf {
        let (Self::Set(path, _) | Self::Move(_, path)) = self;
        path.parent().unwrap().to_owned()
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Option<u64>>) {
        match self {
            Self::Set(path, Some(inode)) => drop(names.insert(path.clone(), Some(*inode))),
            Self::Set(path, None) => drop(names.remove(path)),
            Self::Move(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

/// A thing that happens at an operation, counted from 0.
type Plan = Box<dyn FnMut(u64, Op) -> Option<io::ErrorKind> + Send>;

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    /// Files, and folders as `None`.
    names: BTreeMap<PathBuf, Option<u64>>,
    durable_names: BTreeMap<PathBuf, Option<u64>>,
    /// Not yet durable, in order.
    pending_names: Vec<NameOp>,
    locks: BTreeSet<PathBuf>,
    operations: Vec<Op>,
    /// The operation at which the process dies, and whether it still happens.
    dies_at: Option<(u64, bool)>,
    dead: bool,
    read_only: bool,
    /// Bytes that all files may have together.
    capacity: Option<u64>,
    plan: Option<Plan>,
    /// Numbers of reads that fail, of the paths that contain this.
    bad_blocks: Option<String>,
}

/// The disk. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Simulated(Arc<Mutex<State>>);

thread_local! {
    static CURRENT: RefCell<Option<Simulated>> = const { RefCell::new(None) };
}

/// The disk of this thread, if it has one.
pub(crate) fn current() -> Option<Simulated> {
    CURRENT.with_borrow(Clone::clone)
}

/// While it lives, the thread's files are on a simulated disk.
pub(crate) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    /// Before an operation; whether it is to be done. An error is the operation's.
    fn begin(&mut self, op: Op) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the process is dead"));
        }
        let number = self.operations.len() as u64;
        self.operations.push(op);
        if let Some((at, happens)) = self.dies_at
            && number == at
        {
            self.dead = true;
            if !happens {
                return Err(io::Error::other("the process died"));
            }
        }
        if let Some(plan) = &mut self.plan
            && let Some(kind) = plan(number, op)
        {
            return Err(kind.into());
        }
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        let files: BTreeSet<u64> = self.names.values().flatten().copied().collect();
        files.iter().map(|inode| self.inodes[*inode as usize].cache.len() as u64).sum()
    }

    fn change(&mut self, op: NameOp) {
        op.apply(&mut self.names);
        self.pending_names.push(op);
    }

    fn inode(&mut self, inode: u64) -> &mut Inode {
        &mut self.inodes[inode as usize]
    }
}

impl Inode {
    fn dirty_from(&mut self, from: usize) {
        self.dirty.extend(from / BLOCK..self.cache.len().div_ceil(BLOCK));
        if self.cache.len() != self.disk.len() {
            self.dirty.insert(self.cache.len() / BLOCK);
        }
    }

    /// Writes one block of the cache to the disk, and the file's length as far as that takes.
    fn flush(&mut self, block: usize) {
        let begin = block * BLOCK;
        let end = (begin + BLOCK).min(self.cache.len());
        if begin >= end {
            return;
        }
        if self.disk.len() < end {
            self.disk.resize(end, 0);
        }
        self.disk[begin..end].copy_from_slice(&self.cache[begin..end]);
    }
}

impl Simulated {
    /// An empty disk.
    pub(crate) fn new() -> Self {
        let disk = Self::default();
        for names in [PathBuf::from("/"), PathBuf::from("/disk")] {
            disk.state().names.insert(names.clone(), None);
            disk.state().durable_names.insert(names, None);
        }
        disk
    }

    pub(crate) fn enter(&self) -> Entered {
        CURRENT.set(Some(self.clone()));
        Entered
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The operations so far.
    pub(crate) fn operations(&self) -> Vec<Op> {
        self.state().operations.clone()
    }

    /// The process dies at that operation from now on, before or after it happens.
    pub(crate) fn die_at(&self, operation: u64, happens: bool) {
        let mut state = self.state();
        let at = state.operations.len() as u64 + operation;
        state.dies_at = Some((at, happens));
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Lets operations fail.
    pub(crate) fn plan(&self, plan: impl FnMut(u64, Op) -> Option<io::ErrorKind> + Send + 'static) {
        self.state().plan = Some(Box::new(plan));
    }

    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.plan = None;
        state.read_only = false;
        state.capacity = None;
        state.bad_blocks = None;
    }

    pub(crate) fn read_only(&self) {
        self.state().read_only = true;
    }

    pub(crate) fn capacity(&self, bytes: u64) {
        self.state().capacity = Some(bytes);
    }

    /// Reads of files whose path contains that fail from now on.
    pub(crate) fn bad_blocks(&self, path: &str) {
        self.state().bad_blocks = Some(path.to_owned());
    }

    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }

    /// The process is gone; the kernel lives on.
    pub(crate) fn kill(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.dead) {
            state.dies_at = None;
        }
        state.locks.clear();
    }

    /// The power is gone, and comes back.
    pub(crate) fn cut_power(&self, left: PowerCut) {
        self.kill();
        let mut state = self.state();
        let mut random = fastrand::Rng::with_seed(if let PowerCut::Torn(seed) = left { seed } else { 0 });
        for inode in &mut state.inodes {
            let dirty = std::mem::take(&mut inode.dirty);
            let kept: Vec<usize> = match left {
                PowerCut::Nothing => Vec::new(),
                PowerCut::Everything => dirty.into_iter().collect(),
                PowerCut::Torn(_) => dirty.into_iter().filter(|_| random.bool()).collect(),
            };
            kept.iter().for_each(|block| inode.flush(*block));
            let cut = match left {
                PowerCut::Nothing => false,
                PowerCut::Everything => true,
                PowerCut::Torn(_) => random.bool(),
            };
            if cut && inode.cache.len() < inode.disk.len() {
                inode.disk.truncate(inode.cache.len());
            }
            inode.cache = inode.disk.clone();
        }
        let pending = std::mem::take(&mut state.pending_names);
        let mut ended: BTreeSet<PathBuf> = BTreeSet::new();
        for op in pending {
            let kept = match left {
                PowerCut::Nothing => false,
                PowerCut::Everything => true,
                // As a journal keeps them, or as nothing does.
                PowerCut::Torn(seed) => (seed % 2 == 1 || !ended.contains(&op.folder())) && random.bool(),
            };
            if kept {
                op.apply(&mut state.durable_names);
            } else {
                ended.insert(op.folder());
            }
        }
        state.names = state.durable_names.clone();
    }

    /// A copy of the disk as it is, for one of several ends.
    pub(crate) fn fork(&self) -> Self {
        let state = self.state();
        let copy = State {
            inodes: state.inodes.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            pending_names: state.pending_names.clone(),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// Changes a byte on the disk and in the cache.
    pub(crate) fn with_bytes<T>(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut state = self.state();
        let inode = state.names[path].unwrap();
        let inode = state.inode(inode);
        let result = change(&mut inode.cache);
        inode.disk = inode.cache.clone();
        inode.dirty.clear();
        result
    }

    // What the spool asks of a disk.

    pub(crate) fn open(&self, path: &Path) -> io::Result<Handle> {
        let state = self.state();
        let inode = state.names.get(path).copied().flatten().ok_or_else(gone)?;
        Ok(Handle { disk: self.clone(), inode, path: path.to_owned() })
    }

    pub(crate) fn create(&self, path: &Path) -> io::Result<Handle> {
        let mut state = self.state();
        state.begin(Op::Create)?;
        if !matches!(path.parent().map(|folder| state.names.get(folder)), Some(Some(None))) {
            return Err(gone());
        }
        let inode = match state.names.get(path).copied().flatten() {
            Some(inode) => {
                state.inode(inode).cache.clear();
                state.inode(inode).dirty_from(0);
                inode
            }
            None => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() as u64 - 1;
                state.change(NameOp::Set(path.to_owned(), Some(inode)));
                inode
            }
        };
        drop(state);
        Ok(Handle { disk: self.clone(), inode, path: path.to_owned() })
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Op::Remove)?;
        state.names.get(path).copied().flatten().ok_or_else(gone)?;
        state.change(NameOp::Set(path.to_owned(), None));
        Ok(())
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Op::Rename)?;
        state.names.get(from).copied().flatten().ok_or_else(gone)?;
        state.change(NameOp::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub(crate) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Op::SyncFolder)?;
        state.names.get(path).ok_or_else(gone)?;
        let (of_it, others) =
            std::mem::take(&mut state.pending_names).into_iter().partition(|op| op.folder() == path);
        state.pending_names = others;
        let of_it: Vec<NameOp> = of_it;
        of_it.iter().for_each(|op| op.apply(&mut state.durable_names));
        Ok(())
    }

    pub(crate) fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        for folder in path.ancestors() {
            // Folders are made once, at the start; what becomes of their names is no question here.
            state.names.entry(folder.to_owned()).or_insert(None);
            state.durable_names.entry(folder.to_owned()).or_insert(None);
        }
        Ok(())
    }

    pub(crate) fn names_in(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.names.get(folder).ok_or_else(gone)?;
        let inside = state.names.iter().filter(|(path, inode)| path.parent() == Some(folder) && inode.is_some());
        Ok(inside.map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    pub(crate) fn is_folder(&self, path: &Path) -> io::Result<bool> {
        self.state().names.get(path).map(Option::is_none).ok_or_else(gone)
    }

    pub(crate) fn lock(&self, path: &Path) -> Option<HeldLock> {
        let fresh = self.state().locks.insert(path.to_owned());
        fresh.then(|| HeldLock(Handle { disk: self.clone(), inode: 0, path: path.to_owned() }))
    }
}
