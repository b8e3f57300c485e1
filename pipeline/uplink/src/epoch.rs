//! The spool's incarnation: a number that changes whenever row numbers cannot be trusted to continue.
//!
//! It begins at random, so that a spool that was lost is not mistaken for its successor, and grows by
//! one from then on, so that segments sort by age.

use std::path::Path;

use crate::disk;
use crate::error::SpoolError;

const FILE: &str = "epoch";
const WORD: &str = "kerbside-epoch-1";

/// The epoch in the folder's file; `None` when there is none, or it is not as we wrote it.
pub(crate) fn load(folder: &Path) -> Option<u32> {
    let text = disk::read(&folder.join(FILE)).ok()?;
    let text = str::from_utf8(&text).ok()?;
    let epoch = text.strip_prefix(WORD)?.trim().split(' ').next()?.parse().ok()?;
    (render(epoch) == text).then_some(epoch)
}

/// Stores an epoch so that it survives a crash.
pub(crate) fn store(folder: &Path, epoch: u32) -> Result<(), SpoolError> {
    let path = folder.join(FILE);
    disk::replace(&path, render(epoch).as_bytes()).map_err(SpoolError::io("written", &path))
}

/// The epoch after all that are known, or a random one.
pub(crate) fn next(known: impl Iterator<Item = u32>) -> Result<u32, SpoolError> {
    match known.max().and_then(|epoch| epoch.checked_add(1)) {
        Some(epoch) => Ok(epoch),
        // The lower half leaves room to count upwards.
        None => Ok(getrandom::u32().map_err(SpoolError::Random)? >> 1),
    }
}

fn render(epoch: u32) -> String {
    let body = format!("{WORD} {epoch}");
    let crc = crc32c::crc32c(body.as_bytes());
    format!("{body} {crc:08x}\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_garbled_file_is_no_epoch() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()), None);
        store(folder.path(), 4_000_000_000).unwrap();
        assert_eq!(load(folder.path()), Some(4_000_000_000));
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 4;
            fs::write(&path, &flipped).unwrap();
            assert_eq!(load(folder.path()), None, "byte {place}");
            fs::write(&path, &whole[..place]).unwrap();
            assert_eq!(load(folder.path()), None, "cut at {place}");
        }
    }

    #[test]
    fn epochs_grow() {
        assert_eq!(next([3, 9, 4].into_iter()).unwrap(), 10);
        assert!(next(std::iter::empty()).unwrap() < 1 << 31);
        assert!(next([u32::MAX].into_iter()).unwrap() < 1 << 31);
    }
}
