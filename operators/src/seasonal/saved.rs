//! The saved form of a baseline: a header, a checksum, and numbers in little endian.
//!
//! Both directions walk one list of fields ([`SeasonalBaseline::visit`]), so they cannot drift apart.
//! Bytes from outside are checked whole before any of them is used; a file that passes cannot make a later
//! computation overflow.

use std::fmt;

use super::{LARGEST_VALUE, SeasonalBaseline, SeasonalSettings};

/// The first bytes of every saved baseline, before its version.
const MAGIC: [u8; 6] = *b"KSEASN";
const VERSION: u16 = 1;
/// The greatest time over which values are summed up.
const SUM_SECS: f64 = 1e6;
/// Magic, version, checksum.
const HEADER_BYTES: usize = MAGIC.len() + size_of::<u16>() + size_of::<u64>();

/// One field on its way to or from bytes.
pub(super) enum Number<'a> {
    /// In the unit of the series, of any sign.
    Value(&'a mut f64),
    /// A count, a time, a distance: never below zero.
    Amount(&'a mut f64),
    /// A moment in seconds.
    Moment(&'a mut i64),
}

/// Why saved bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// They are no saved baseline.
    NotABaseline,
    /// A version of the format that is not read here.
    Version {
        /// The version found.
        found: u16,
    },
    /// More or fewer bytes than a baseline has.
    Length {
        /// Bytes found.
        found: usize,
        /// Bytes that a baseline has.
        expected: usize,
    },
    /// The bytes are not those that were written.
    Checksum,
    /// A number that no baseline holds.
    Number {
        /// Where it stands, in bytes from the beginning.
        offset: usize,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABaseline => write!(out, "this is no saved seasonal baseline"),
            Self::Version { found } => {
                write!(out, "the seasonal baseline has version {found}; version {VERSION} is read")
            }
            Self::Length { found, expected } => {
                write!(out, "the seasonal baseline has {found} bytes; {expected} are expected")
            }
            Self::Checksum => write!(out, "the seasonal baseline is damaged: its checksum does not hold"),
            Self::Number { offset } => {
                write!(out, "the seasonal baseline has an impossible number at byte {offset}")
            }
        }
    }
}

impl std::error::Error for RestoreError {}

impl SeasonalBaseline {
    /// Appends everything learned to `out`. A restored baseline goes on bit for bit as this one would.
    pub fn save(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; size_of::<u64>()]);
        // The walk hands out fields to be changed; a copy of some 10 KB spares a second list of them.
        self.clone().visit(&mut |number| match number {
            Number::Value(number) | Number::Amount(number) => out.extend_from_slice(&number.to_le_bytes()),
            Number::Moment(moment) => out.extend_from_slice(&moment.to_le_bytes()),
        });
        let sum = checksum(&out[begin + HEADER_BYTES..]).to_le_bytes();
        out[begin + HEADER_BYTES - sum.len()..begin + HEADER_BYTES].copy_from_slice(&sum);
    }

    /// The baseline that was saved as exactly these bytes. `settings` need not be those it was saved with.
    ///
    /// # Errors
    /// Whatever is not what [`save`](Self::save) writes.
    pub fn restore(bytes: &[u8], settings: SeasonalSettings) -> Result<Self, RestoreError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(RestoreError::NotABaseline)?;
        let (version, rest) = rest.split_first_chunk().ok_or(RestoreError::NotABaseline)?;
        let found = u16::from_le_bytes(*version);
        if found != VERSION {
            return Err(RestoreError::Version { found });
        }
        let mut baseline = Self::new(settings);
        let mut expected = HEADER_BYTES;
        baseline.visit(&mut |_| expected += size_of::<u64>());
        let (sum, body) = match rest.split_first_chunk() {
            Some(parts) if bytes.len() == expected => parts,
            _ => return Err(RestoreError::Length { found: bytes.len(), expected }),
        };
        if u64::from_le_bytes(*sum) != checksum(body) {
            return Err(RestoreError::Checksum);
        }
        let (words, _) = body.as_chunks::<{ size_of::<u64>() }>();
        let mut words = words.iter().enumerate();
        let mut problem = None;
        baseline.visit(&mut |number| {
            let Some((index, word)) = words.next() else { return };
            let (place, is_amount) = match number {
                Number::Moment(moment) => {
                    *moment = i64::from_le_bytes(*word);
                    return;
                }
                Number::Value(place) => (place, false),
                Number::Amount(place) => (place, true),
            };
            let read = f64::from_le_bytes(*word);
            // Also false for what is not a number.
            let holds = read.abs() <= LARGEST_VALUE * SUM_SECS && !(is_amount && read < 0.0);
            if holds {
                *place = read;
            } else if problem.is_none() {
                problem = Some(HEADER_BYTES + index * size_of::<u64>());
            }
        });
        problem.map_or(Ok(baseline), |offset| Err(RestoreError::Number { offset }))
    }
}

/// FNV-1a over 64 bits: finds damage, proves nothing about who wrote the bytes.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Vec<u8> {
        let mut baseline = SeasonalBaseline::new(SeasonalSettings::DEFAULT);
        for row in 0..500_i64 {
            baseline.observe(300 * row, (row % 17) as f64);
        }
        let mut bytes = Vec::new();
        baseline.save(&mut bytes);
        bytes
    }

    fn refusal(bytes: &[u8]) -> RestoreError {
        SeasonalBaseline::restore(bytes, SeasonalSettings::DEFAULT).unwrap_err()
    }

    #[test]
    fn each_kind_of_damage_is_named() {
        let whole = saved();
        assert!(whole.len() < 20_000, "{} bytes", whole.len());
        assert_eq!(refusal(b""), RestoreError::NotABaseline);
        assert_eq!(refusal(b"KSEASN"), RestoreError::NotABaseline);
        let mut bytes = whole.clone();
        bytes[6] = 9;
        assert_eq!(refusal(&bytes), RestoreError::Version { found: 9 });
        let expected = whole.len();
        assert_eq!(refusal(&whole[..20]), RestoreError::Length { found: 20, expected });
        bytes = whole.clone();
        bytes.push(0);
        assert_eq!(refusal(&bytes), RestoreError::Length { found: expected + 1, expected });
        bytes = whole;
        bytes[100] ^= 1;
        assert_eq!(refusal(&bytes), RestoreError::Checksum);
    }

    #[test]
    fn numbers_that_no_baseline_holds_are_refused_even_under_a_right_checksum() {
        for (number, amount) in [(f64::NAN, false), (f64::INFINITY, false), (1e300, false), (-1.0, true)] {
            let mut bytes = saved();
            // The second word is the number of rows, an amount; the last one a value.
            let offset = if amount { HEADER_BYTES + 8 } else { bytes.len() - 8 };
            bytes[offset..offset + 8].copy_from_slice(&number.to_le_bytes());
            let sum = checksum(&bytes[HEADER_BYTES..]).to_le_bytes();
            bytes[8..16].copy_from_slice(&sum);
            assert_eq!(refusal(&bytes), RestoreError::Number { offset });
        }
    }
}
