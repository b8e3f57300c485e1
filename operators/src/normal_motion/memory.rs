//! What was learned as bytes, little endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | `KBUM` |
//! | 4 | version |
//! | 8 | fingerprint of the settings under which the counts mean something |
//! | 8 + 8 | observed time and the part of it not yet forgotten for, nanoseconds |
//! | 4 each | the counts, `f32`: visits, directions, speeds, their sums over the scene, scores, tracks |
//! | 8 | FNV-1a of all before |
//!
//! Reading trusts nothing: it answers the counts as they were, or why not.

use kerbside_core::operator::RecallError;

use super::Grid;
use super::reached::Reached;
use super::statistics::{Age, Statistics};

const MAGIC: [u8; 4] = *b"KBUM";
const VERSION: u32 = 1;
const HEADER: usize = 4 + 4 + 8 + 8 + 8;
const CHECKSUM: usize = 8;

/// FNV-1a, 64 bit (draft-eastlake-fnv). Every change of a single byte changes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}

/// All that was learned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Learned {
    pub(crate) age: Age,
    pub(crate) statistics: Statistics,
    pub(crate) reached: Reached,
}

impl Learned {
    pub(crate) fn new(grid: Grid) -> Self {
        Self { age: Age::default(), statistics: Statistics::new(grid), reached: Reached::new() }
    }

    fn counts(&self) -> impl Iterator<Item = &f32> {
        let Self { statistics: it, reached, .. } = self;
        let of_cells = it.directions.as_flattened().iter().chain(it.speeds.as_flattened());
        let of_scene = it.directions_of_scene.as_flattened().iter().chain(it.speeds_of_scene.as_flattened());
        let scores = reached.scores.as_flattened().as_flattened().iter().chain(&reached.tracks);
        it.visits.iter().chain(of_cells).chain(of_scene).chain(scores)
    }

    /// The same counts in the same order.
    fn counts_mut(&mut self) -> impl Iterator<Item = &mut f32> {
        let Self { statistics: it, reached, .. } = self;
        let of_cells = it.directions.as_flattened_mut().iter_mut().chain(it.speeds.as_flattened_mut());
        let of_scene = it.directions_of_scene.as_flattened_mut().iter_mut();
        let of_scene = of_scene.chain(it.speeds_of_scene.as_flattened_mut());
        let scores = reached.scores.as_flattened_mut().as_flattened_mut().iter_mut().chain(&mut reached.tracks);
        it.visits.iter_mut().chain(of_cells).chain(of_scene).chain(scores)
    }

    /// Appends the bytes.
    pub(crate) fn write(&self, settings: u64, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        for number in [settings, self.age.observed_nanos, self.age.pending_nanos] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for count in self.counts() {
            out.extend_from_slice(&count.to_le_bytes());
        }
        let checksum = Fingerprint::new().add(&out[begin..]).value();
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Reads what [`Learned::write`] wrote under the same settings.
    pub(crate) fn read(bytes: &[u8], settings: u64, grid: Grid) -> Result<Self, RecallError> {
        if bytes.len() < HEADER + CHECKSUM {
            return Err(RecallError::Damaged("it is too short"));
        }
        if bytes[..4] != MAGIC {
            return Err(RecallError::Damaged("it is something else"));
        }
        let number = |from: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[from + byte]));
        let (body, checksum) = (&bytes[..bytes.len() - CHECKSUM], number(bytes.len() - CHECKSUM));
        let found = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        if found != VERSION {
            return Err(RecallError::Version { found, expected: VERSION });
        }
        if Fingerprint::new().add(body).value() != checksum {
            return Err(RecallError::Damaged("its checksum does not hold"));
        }
        if number(8) != settings {
            return Err(RecallError::Settings);
        }
        let mut learned = Self::new(grid);
        if body.len() != HEADER + 4 * learned.counts().count() {
            return Err(RecallError::Damaged("its length does not fit"));
        }
        learned.age = Age { observed_nanos: number(16), pending_nanos: number(24) };
        for (count, bytes) in learned.counts_mut().zip(body[HEADER..].chunks_exact(4)) {
            *count = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if !(*count >= 0.0 && count.is_finite()) {
                return Err(RecallError::Damaged("a count is no count"));
            }
        }
        Ok(learned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normal_motion::Group;
    use crate::normal_motion::statistics::Motion;
    use proptest::prelude::*;

    const GRID: Grid = Grid { columns: 5, rows: 4 };

    fn written() -> (Learned, Vec<u8>) {
        let mut learned = Learned::new(GRID);
        learned.age = Age { observed_nanos: 86_400_000_000_000, pending_nanos: 77 };
        for cell in 0..7 {
            let sample = Motion::Moves { turn: 0.13 * cell as f64, speed: 3.0 }.sample(cell);
            learned.statistics.learn(Group::ALL[cell % 3], &[sample]);
            learned.reached.learn(Group::ALL[cell % 3], [Some(cell as f64), None, Some(0.4), Some(11.0)]);
            learned.reached.count(Group::People);
        }
        let mut bytes = Vec::new();
        learned.write(42, &mut bytes);
        (learned, bytes)
    }

    /// The bytes with a checksum that holds.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.len() - CHECKSUM;
        let checksum = Fingerprint::new().add(&bytes[..end]).value();
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn what_was_learned_comes_back_bit_for_bit() {
        let (learned, bytes) = written();
        assert_eq!(Learned::read(&bytes, 42, GRID).unwrap(), learned);
    }

    #[test]
    fn each_reason_to_refuse_is_named() {
        let (_, bytes) = written();
        let read = |bytes: &[u8]| Learned::read(bytes, 42, GRID).map(|_| ()).unwrap_err();
        assert_eq!(Learned::read(&bytes, 43, GRID).unwrap_err(), RecallError::Settings);
        let other_grid = Learned::read(&bytes, 42, Grid { columns: 4, rows: 5 });
        assert!(other_grid.is_ok(), "the fingerprint holds the grid, the length only its cells");
        assert!(Learned::read(&bytes, 42, Grid { columns: 6, rows: 4 }).is_err());
        assert_eq!(read(&[]), RecallError::Damaged("it is too short"));
        let changed = |place: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[place] = byte;
            sealed(bytes)
        };
        assert_eq!(read(&changed(0, b'X')), RecallError::Damaged("it is something else"));
        assert_eq!(read(&changed(4, 2)), RecallError::Version { found: 2, expected: 1 });
        // The sign of the first count, then its exponent.
        assert_eq!(read(&changed(HEADER + 3, 0x80 | 0x3f)), RecallError::Damaged("a count is no count"));
        let mut infinite = bytes.clone();
        infinite[HEADER..HEADER + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
        assert_eq!(read(&sealed(infinite)), RecallError::Damaged("a count is no count"));
        let mut longer = bytes.clone();
        longer.splice(HEADER..HEADER, [0; 4]);
        assert_eq!(read(&sealed(longer)), RecallError::Damaged("its length does not fit"));
    }

    proptest! {
        #[test]
        fn no_damage_is_taken_for_learning(place in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<prop::sample::Index>()) {
            let (_, bytes) = written();
            let mut flipped = bytes.clone();
            flipped[place.index(bytes.len())] ^= flip;
            prop_assert!(Learned::read(&flipped, 42, GRID).is_err());
            prop_assert!(Learned::read(&bytes[..cut.index(bytes.len())], 42, GRID).is_err());
        }

        #[test]
        fn foreign_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..4000), ours in any::<bool>()) {
            let mut bytes = bytes;
            if ours && bytes.len() > HEADER + CHECKSUM {
                bytes[..4].copy_from_slice(&MAGIC);
                bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
                bytes[8..16].copy_from_slice(&42u64.to_le_bytes());
                bytes = sealed(bytes);
            }
            prop_assert!(Learned::read(&bytes, 42, GRID).is_err());
        }
    }
}
