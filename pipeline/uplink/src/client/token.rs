//! The token that the gateway gave us last, kept in the spool's folder.
//!
//! The file is as large as it will ever be from the first time on and is written in place, one of its two halves in turn: a full
//! disk must not keep the node from sending what fills it. A crash spoils at most the half that was being written,
//! and the gateway still takes the token before it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::disk::sync_folder;

const FILE: &str = "token";
/// Halves do not share a block of the disk.
const HALF: usize = 4096;
const MAGIC: [u8; 8] = *b"KERBTOK1";
/// magic 8 · count u64 · token u64 · crc32c u32
const USED: usize = 28;

/// The file, and what is in it.
pub(super) struct TokenFile {
    file: File,
    count: u64,
    token: u64,
}

impl TokenFile {
    /// Opens it in the spool's folder; it is made where there is none. One that is damaged holds no token.
    pub(super) fn open(spool: &Path) -> io::Result<Self> {
        let path = spool.join(FILE);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(&path)?;
        if file.metadata()?.len() < 2 * HALF as u64 {
            (&file).seek(SeekFrom::Start(0))?;
            (&file).write_all(&[0; 2 * HALF])?;
            file.sync_all()?;
            sync_folder(spool)?;
        }
        let mut bytes = [0; 2 * HALF];
        file.read_exact_at(&mut bytes, 0)?;
        let halves = [half(&bytes[..HALF]), half(&bytes[HALF..])];
        let (count, token) = halves.into_iter().flatten().max().unwrap_or_default();
        Ok(Self { file, count, token })
    }

    /// The token; 0 where there is none.
    pub(super) fn token(&self) -> u64 {
        self.token
    }

    /// Keeps another one. It is on the disk when this returns.
    pub(super) fn keep(&mut self, token: u64) -> io::Result<()> {
        let count = self.count + 1;
        let mut bytes = [0; USED];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&count.to_le_bytes());
        bytes[16..24].copy_from_slice(&token.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..USED - 4]);
        bytes[USED - 4..].copy_from_slice(&crc.to_le_bytes());
        self.file.seek(SeekFrom::Start((count % 2) * HALF as u64))?;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        (self.count, self.token) = (count, token);
        Ok(())
    }
}

/// Count and token of one half.
fn half(bytes: &[u8]) -> Option<(u64, u64)> {
    let used: &[u8; USED] = bytes.first_chunk()?;
    let number = |at: usize| used[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let stored = used[USED - 4..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
    let is_whole = used.starts_with(&MAGIC) && crc32c::crc32c(&used[..USED - 4]) == stored;
    is_whole.then_some((number(8)?, number(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_and_a_damaged_half_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(TokenFile::open(folder.path()).unwrap().token(), 0);
        let mut file = TokenFile::open(folder.path()).unwrap();
        for token in [11, 12, 13] {
            file.keep(token).unwrap();
            assert_eq!(TokenFile::open(folder.path()).unwrap().token(), token);
        }
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len(), 2 * HALF);
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            let token = TokenFile::open(folder.path()).unwrap().token();
            assert!([12, 13].contains(&token), "byte {place}: {token}");
        }
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!([0, 12, 13].contains(&TokenFile::open(folder.path()).unwrap().token()), "cut at {len}");
        }
    }
}
