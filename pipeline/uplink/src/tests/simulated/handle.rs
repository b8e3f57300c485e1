//! An open file of the simulated disk, and a lock that is held.

use std::io;
use std::path::PathBuf;

use super::{Op, Simulated};

/// An open file.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(super) disk: Simulated,
    pub(super) inode: u64,
    pub(super) path: PathBuf,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct HeldLock(pub(super) Handle);

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.0.disk.state().locks.remove(&self.0.path);
    }
}

impl Handle {
    pub(crate) fn len(&self) -> u64 {
        self.disk.state().inode(self.inode).cache.len() as u64
    }

    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        if state.bad_blocks.as_ref().is_some_and(|bad| self.path.to_str().unwrap().contains(bad)) {
            return Err(io::Error::other("a bad block"));
        }
        let cache = &state.inode(self.inode).cache;
        let rest = cache.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.dead || state.read_only {
            return state.begin(Op::Write);
        }
        let begun = state.begin(Op::Write);
        let room = state.capacity.map(|capacity| capacity.saturating_sub(state.used()));
        // Of a write that fails or is interrupted some arrives.
        let (arrives, result) = match (begun, room) {
            (Err(error), _) => (bytes.len() / 2, Err(error)),
            (Ok(()), Some(room)) if room < bytes.len() as u64 => {
                (room as usize, Err(io::ErrorKind::StorageFull.into()))
            }
            (Ok(()), _) => (bytes.len(), Ok(())),
        };
        let inode = state.inode(self.inode);
        let from = inode.cache.len();
        inode.cache.extend_from_slice(&bytes[..arrives]);
        inode.dirty_from(from);
        result
    }

    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin(Op::Cut)?;
        let inode = state.inode(self.inode);
        inode.cache.resize(len as usize, 0);
        inode.dirty_from(len as usize);
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let result = state.begin(Op::Sync);
        let is_dead = state.dead;
        let inode = state.inode(self.inode);
        match &result {
            Ok(()) => {
                inode.disk = inode.cache.clone();
                inode.dirty.clear();
            }
            // The kernel forgets that they are dirty.
            Err(_) if !is_dead => inode.dirty.clear(),
            Err(_) => {}
        }
        result
    }
}
