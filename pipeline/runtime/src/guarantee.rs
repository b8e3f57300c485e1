//! What a node, and what a replay, promise about their numbers.
//!
//! A node takes noise from the operating system and keeps its ledger on the disk. A replay has no life beyond its clip: its
//! ledger is in memory, and its noise follows from the clip's bytes, its time and the camera's file, so that the same three
//! give the same rows. Who does not hold the clip cannot compute that noise. Who holds it can, and can replay it in many
//! ways: rows of several replays of one clip, published together, are not covered by any promise.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use kerbside_core::time::WallTime;
use kerbside_release::{FileLedger, Guarantee, Ledger as _, LedgerState, MemoryLedger, Noise};
use sha2::{Digest as _, Sha256};
use tracing::{error, info, warn};

use crate::error::RuntimeError;

/// The guarantee of a live node. To be called before its spool is opened: see [`FileLedger::open`].
pub(crate) fn of_node(
    ledger_folder: &Path,
    spool_folder: &Path,
    now: WallTime,
    is_demonstration: bool,
) -> Result<Guarantee, RuntimeError> {
    // In a demonstration too, so that a spool never stands without a ledger.
    let ledger = FileLedger::open(ledger_folder, spool_folder, now)?;
    if is_demonstration {
        return Ok(Guarantee::Demonstration);
    }
    let folder = ledger_folder.display();
    match ledger.state() {
        LedgerState::New => info!(%folder, "a new privacy ledger begins"),
        LedgerState::Sound => {}
        LedgerState::Refusing(reason) => {
            error!(%folder, %reason, "no number with noise is released until the privacy ledger is renewed");
        }
    }
    if let (LedgerState::New | LedgerState::Sound, Some(trouble)) = (ledger.state(), ledger.trouble()) {
        error!(%folder, trouble, "the privacy ledger cannot be written: no number with noise is released until it can");
    }
    if let Some(until) = ledger.ahead_of(now) {
        warn!(%until, "the privacy ledger is ahead of the clock: less is released until then");
    }
    Ok(Guarantee::Private { noise: Noise::from_os().map_err(RuntimeError::Noise)?, ledger: Box::new(ledger) })
}

/// The guarantee of a replay.
pub(crate) fn of_clip(
    clip: &Path,
    first_frame_at: WallTime,
    revision: u32,
    is_demonstration: bool,
) -> Result<Guarantee, RuntimeError> {
    if is_demonstration {
        return Ok(Guarantee::Demonstration);
    }
    let key = key_of(clip, first_frame_at, revision)
        .map_err(|source| RuntimeError::Clip { path: clip.to_owned(), source })?;
    Ok(Guarantee::Private { noise: Noise::from_key(key), ledger: Box::new(MemoryLedger::new()) })
}

fn key_of(clip: &Path, first_frame_at: WallTime, revision: u32) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new_with_prefix("kerbside replay noise ");
    hash.update(first_frame_at.as_unix_nanos().to_le_bytes());
    hash.update(revision.to_le_bytes());
    let mut file = File::open(clip)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_of_a_replay_follows_from_the_whole_clip_its_time_and_the_camera() {
        let folder = tempfile::tempdir().unwrap();
        let clip = folder.path().join("clip");
        let key = |bytes: &[u8], at| {
            std::fs::write(&clip, bytes).unwrap();
            key_of(&clip, at, 1).unwrap()
        };
        let long = vec![7; 3 << 20];
        let mut other = long.clone();
        other[3 << 19] ^= 1;
        let start = WallTime::UNIX_EPOCH;
        assert_eq!(key(&long, start), key(&long, start));
        assert_ne!(key(&long, start), key(&other, start));
        assert_ne!(key(&long, start), key(&long, WallTime::from_unix_millis(1)));
        assert_ne!(key(&long, start), key_of(&clip, start, 2).unwrap());
    }
}
