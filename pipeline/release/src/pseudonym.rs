//! Pseudonyms for the objects that the stage has to recognise again (PC-15).
//!
//! Some rules bound what one object may add to the tables, so the stage keeps numbers per track. It keeps them
//! under a [`Pseudonym`]: keyed BLAKE3 over the track's number, with a key of 32 bytes from the operating system per
//! camera and epoch. Without the key a pseudonym says nothing, also not about another pseudonym of the same track.
//!
//! Invariants
//! - A key is random, never derived, and never written or handed out. It is the current one for [`EPOCH`] and the
//!   previous one for [`GRACE`] more, then it is erased.
//! - All keys lie in one allocation that is locked in RAM, so that they cannot reach a swap partition; it is
//!   erased before it is unlocked and freed. Keys are not moved or copied within the program, but from one such
//!   allocation to the next where the list of cameras changes, and what hashing leaves on the stack is erased after
//!   every pseudonym.
//! - A pseudonym has no order, no text and no wire form: results cannot depend on it.
//!
//! Units: keys' ages are counted in wall-clock time that goes forward. A clock that is set back makes a key neither
//! older nor younger; one that is set forward ends its epoch.
//! Threads: none. Clocks: none; time comes in as a parameter.
//!
//! What it deliberately does not do: erase the pseudonyms that its user keeps, or keep memory out of core dumps;
//! these are off for the whole node (PC-16).

use std::fmt;
use std::time::Duration;

use kerbside_core::error::{Classified, ErrorKind};
use kerbside_core::observation::TrackId;
use kerbside_core::time::WallTime;
use thiserror::Error;
use zeroize::{Zeroize, zeroize_stack};

/// How long a key names new tracks.
pub(crate) const EPOCH: Duration = Duration::from_secs(15 * 60);
/// How long the key before it is kept, so that tracks which are still in view can be carried over.
pub(crate) const GRACE: Duration = Duration::from_secs(6 * 60);

const KEY_BYTES: usize = 32;
const PAGE_BYTES: usize = 4096;
const KEYS_PER_PAGE: usize = PAGE_BYTES / KEY_BYTES;
/// Two keys a camera: the current one and the one before.
const CAMERAS_PER_PAGE: usize = KEYS_PER_PAGE / 2;
/// More than hashing one block needs of the stack, in a build without optimisation too.
const STACK_BYTES: usize = 16 * 1024;

/// Stands for one track of one camera during one epoch: 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pseudonym(u128);

impl fmt::Debug for Pseudonym {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pseudonym")
    }
}

impl Zeroize for Pseudonym {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// What a look at the clock did to a camera's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    Same,
    /// A new epoch began: there is a new current key, and the one before it is the previous one for [`GRACE`].
    Fresh,
    /// The previous key is gone: whatever is kept under its pseudonyms can never be found again and has to go too.
    PreviousErased,
}

/// Why there are no pseudonyms.
#[derive(Debug, Error)]
pub enum PseudonymError {
    /// The memory for keys may not be locked.
    #[error(
        "{bytes} bytes for keys cannot be locked in memory; raise the limit of locked memory (RLIMIT_MEMLOCK)"
    )]
    Lock {
        /// How many bytes there are.
        bytes: usize,
        /// What the system says.
        source: region::Error,
    },
    /// The operating system gave no random numbers.
    #[error("the system has no random numbers for a key")]
    Random(#[source] getrandom::Error),
}

impl Classified for PseudonymError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Lock { .. } => ErrorKind::Config,
            Self::Random(_) => ErrorKind::Fatal,
        }
    }
}

/// The keys of all cameras of a node.
pub(crate) struct Pseudonyms {
    // Unlocked before the pages go, since fields are dropped in order.
    _lock: region::LockGuard,
    pages: Box<[Page]>,
    epochs: Vec<Epoch>,
}

/// Keys that fill a page of the processor, so that nothing of another owner is locked or unlocked with them.
#[repr(align(4096))]
struct Page([[u8; KEY_BYTES]; KEYS_PER_PAGE]);

#[derive(Clone, Copy)]
struct Epoch {
    /// Which of the camera's two keys is the current one.
    current: usize,
    has_previous: bool,
    /// How long the current key has been in use, by a clock that only goes forward.
    age: Duration,
    seen: Option<WallTime>,
}

impl Pseudonyms {
    /// A fresh key for each of so many cameras.
    ///
    /// # Errors
    /// The memory cannot be locked (then the caller says whether it goes without), or the system has no random
    /// numbers.
    pub(crate) fn new(cameras: usize) -> Result<Self, PseudonymError> {
        let pages: Box<[Page]> = (0..cameras.div_ceil(CAMERAS_PER_PAGE).max(1))
            .map(|_| Page([[0; KEY_BYTES]; KEYS_PER_PAGE]))
            .collect();
        let bytes = pages.len() * PAGE_BYTES;
        let lock = region::lock(pages.as_ptr(), bytes).map_err(|source| PseudonymError::Lock { bytes, source })?;
        let epoch = Epoch { current: 0, has_previous: false, age: Duration::ZERO, seen: None };
        let mut keys = Self { _lock: lock, pages, epochs: vec![epoch; cameras] };
        for camera in 0..cameras {
            getrandom::fill(keys.key_mut(camera, 0)).map_err(PseudonymError::Random)?;
        }
        Ok(keys)
    }

    /// The keys for another list of cameras: those of cameras that go on, each with the place that it had, and fresh
    /// ones for the others. The keys that `self` holds are erased with it.
    ///
    /// # Errors
    /// As for [`Pseudonyms::new`].
    pub(crate) fn rearranged(&self, kept: &[Option<usize>]) -> Result<Self, PseudonymError> {
        let mut keys = Self::new(kept.len())?;
        for (place, before) in kept.iter().enumerate() {
            let Some(before) = *before else { continue };
            for which in 0..2 {
                keys.key_mut(place, which).copy_from_slice(self.key(before, which));
            }
            keys.epochs[place] = self.epochs[before];
        }
        Ok(keys)
    }

    /// Looks at the clock for one camera, and gives it a new key or erases its previous one where it is time. To be
    /// called at least once a bin and a frame; a camera that sees nothing has keys that grow old too.
    ///
    /// # Errors
    /// The system has no random numbers for a new key. The old one stays the current one, and the next call tries
    /// again.
    pub(crate) fn roll(&mut self, camera: usize, now: WallTime) -> Result<Turn, PseudonymError> {
        let epoch = &mut self.epochs[camera];
        epoch.age += epoch.seen.map_or(Duration::ZERO, |seen| now.since(seen));
        epoch.seen = Some(now);
        let Epoch { current, has_previous, age, .. } = *epoch;
        let other = 1 - current;
        if age >= EPOCH {
            // Over the previous key, should it still be there after a jump of the clock.
            getrandom::fill(self.key_mut(camera, other)).map_err(PseudonymError::Random)?;
            self.epochs[camera] =
                Epoch { current: other, has_previous: true, age: Duration::ZERO, seen: Some(now) };
            return Ok(Turn::Fresh);
        }
        if has_previous && age >= GRACE {
            self.key_mut(camera, other).zeroize();
            self.epochs[camera].has_previous = false;
            return Ok(Turn::PreviousErased);
        }
        Ok(Turn::Same)
    }

    /// The track's pseudonym in the current epoch.
    pub(crate) fn current(&self, camera: usize, track: TrackId) -> Pseudonym {
        pseudonym(self.key(camera, self.epochs[camera].current), track)
    }

    /// The track's pseudonym in the epoch before; `None` where its key is gone.
    pub(crate) fn previous(&self, camera: usize, track: TrackId) -> Option<Pseudonym> {
        let epoch = self.epochs[camera];
        epoch.has_previous.then(|| pseudonym(self.key(camera, 1 - epoch.current), track))
    }

    fn key(&self, camera: usize, which: usize) -> &[u8; KEY_BYTES] {
        &self.pages[camera / CAMERAS_PER_PAGE].0[camera % CAMERAS_PER_PAGE * 2 + which]
    }

    fn key_mut(&mut self, camera: usize, which: usize) -> &mut [u8; KEY_BYTES] {
        &mut self.pages[camera / CAMERAS_PER_PAGE].0[camera % CAMERAS_PER_PAGE * 2 + which]
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pseudonyms(of {} cameras)", self.epochs.len())
    }
}

impl Drop for Pseudonyms {
    fn drop(&mut self) {
        for page in &mut self.pages {
            page.0.zeroize();
        }
    }
}

#[inline(never)]
fn pseudonym(key: &[u8; KEY_BYTES], track: TrackId) -> Pseudonym {
    let pseudonym = hashed(key, track);
    zeroize_stack::<STACK_BYTES>();
    pseudonym
}

/// A function of its own, so that its stack lies where the caller erases.
#[inline(never)]
fn hashed(key: &[u8; KEY_BYTES], track: TrackId) -> Pseudonym {
    let hash = blake3::keyed_hash(key, &track.0.to_le_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    Pseudonym(u128::from_le_bytes(*first))
}

#[cfg(test)]
mod tests;
