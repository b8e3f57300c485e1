//! Where the random bytes come from.

#![deny(clippy::float_arithmetic)]

use std::fmt;

use zeroize::Zeroize;

use super::NoiseError;

/// Bytes fetched at once: some seventy draws, so that a draw is not a call into the kernel.
const BUFFER: usize = 4096;

/// What the bytes of a key are made for; another use of the same key gives other bytes.
const CONTEXT: &[u8] = b"kerbside release noise 1";

/// A source of noise. It hands out every random byte once; it cannot be cloned, and `Debug` shows nothing of it.
pub struct Noise {
    source: Source,
    bytes: Box<[u8; BUFFER]>,
    /// How many of `bytes` are used up; those are zero.
    used: usize,
}

enum Source {
    Os,
    Key(Box<blake3::OutputReader>),
    #[cfg(test)]
    Broken,
}

impl Noise {
    /// Noise from the operating system's random source: the only one for a live node.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn from_os() -> Result<Self, NoiseError> {
        let mut noise = Self { source: Source::Os, bytes: Box::new([0; BUFFER]), used: BUFFER };
        noise.refill()?;
        Ok(noise)
    }

    /// Noise that follows from `key` (keyed BLAKE3 with extended output): the same key gives the same draws, in this
    /// and in every later version.
    ///
    /// Not for a live node: who has the key can take the noise off again. It is for replays of a clip, whose key
    /// says no more than the clip, and for tests.
    pub fn from_key(mut key: [u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&key);
        let reader = hasher.update(CONTEXT).finalize_xof();
        hasher.zeroize();
        key.zeroize();
        Self { source: Source::Key(Box::new(reader)), bytes: Box::new([0; BUFFER]), used: BUFFER }
    }

    /// Fills `into` with bytes that nothing else gets.
    pub(super) fn take(&mut self, into: &mut [u8]) -> Result<(), NoiseError> {
        let mut filled = 0;
        while filled < into.len() {
            if self.used == BUFFER {
                self.refill()?;
            }
            let count = (into.len() - filled).min(BUFFER - self.used);
            let bytes = &mut self.bytes[self.used..self.used + count];
            into[filled..filled + count].copy_from_slice(bytes);
            bytes.zeroize();
            self.used += count;
            filled += count;
        }
        Ok(())
    }

    fn refill(&mut self) -> Result<(), NoiseError> {
        match &mut self.source {
            Source::Os => getrandom::fill(&mut self.bytes[..]).map_err(NoiseError::Random)?,
            Source::Key(reader) => reader.fill(&mut self.bytes[..]),
            #[cfg(test)]
            Source::Broken => return Err(NoiseError::Random(getrandom::Error::UNSUPPORTED)),
        }
        self.used = 0;
        Ok(())
    }
}

impl fmt::Debug for Noise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.source {
            Source::Os => "Noise(from the system)",
            Source::Key(_) => "Noise(from a key)",
            #[cfg(test)]
            Source::Broken => "Noise(broken)",
        })
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.bytes.zeroize();
        if let Source::Key(reader) = &mut self.source {
            reader.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Scale;

    #[test]
    fn used_bytes_are_erased_and_none_comes_twice() {
        let mut noise = Noise::from_os().unwrap();
        let mut taken = [0; BUFFER - 3];
        let before = *noise.bytes;
        noise.take(&mut taken).unwrap();
        assert_eq!(taken, before[..BUFFER - 3]);
        assert_eq!(noise.bytes[..BUFFER - 3], [0; BUFFER - 3]);
        let mut over_the_border = [0; 16];
        noise.take(&mut over_the_border).unwrap();
        assert_eq!(over_the_border[..3], before[BUFFER - 3..]);
        assert_ne!(noise.bytes[13..], before[13..], "the next bytes are new ones");
    }

    #[test]
    fn pc_7_without_randomness_there_is_no_noise_rather_than_none_added() {
        let mut noise = Noise { source: Source::Broken, bytes: Box::new([0; BUFFER]), used: BUFFER - 40 };
        let scale = Scale::new(50, 11).unwrap();
        let first_failure = (0..1_000).find_map(|_| noise.laplace(scale).err());
        assert!(matches!(first_failure, Some(NoiseError::Random(_))));
        assert!(noise.laplace(scale).is_err(), "and it stays so");
    }

    #[test]
    fn debug_shows_no_state() {
        let mut noise = Noise::from_key([7; 32]);
        assert_eq!(format!("{noise:?}"), "Noise(from a key)");
        noise.take(&mut [0; 5]).unwrap();
        assert_eq!(format!("{noise:?}"), "Noise(from a key)");
        assert_eq!(format!("{:?}", Noise::from_os().unwrap()), "Noise(from the system)");
    }

    #[test]
    fn how_bytes_are_taken_does_not_change_the_sequence() {
        let (mut at_once, mut in_parts) = (vec![0; 3 * BUFFER], vec![0; 3 * BUFFER]);
        Noise::from_key([9; 32]).take(&mut at_once).unwrap();
        let mut noise = Noise::from_key([9; 32]);
        for part in in_parts.chunks_mut(7) {
            noise.take(part).unwrap();
        }
        assert_eq!(at_once, in_parts);
    }
}
