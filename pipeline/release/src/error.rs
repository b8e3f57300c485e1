//! What can go wrong at the door.

use arrow_schema::ArrowError;
use kerbside_core::error::{Classified, ErrorKind};
use thiserror::Error;

use crate::noise::NoiseError;
use crate::pseudonym::PseudonymError;
use crate::table::Table;

/// Why the release stage cannot be built, or refuses a batch.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// A text may not appear in a released table.
    #[error("'{text}' cannot be the name of a {what}: {allowed}")]
    Name {
        /// What the text names.
        what: &'static str,
        /// The text.
        text: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Two cameras share a name.
    #[error("the camera '{0}' is there twice")]
    CameraTwice(String),
    /// There are more names than the column's dictionary can hold.
    #[error("{found} different values of {what} are too many: at most {most}")]
    TooMany {
        /// Which column.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are allowed.
        most: usize,
    },
    /// A bin has no length, or none in whole milliseconds.
    #[error("camera '{camera}': a bin of {nanos} ns is not a whole number of milliseconds above zero")]
    BinLength {
        /// The camera.
        camera: String,
        /// The bin's length.
        nanos: u128,
    },
    /// A cell belongs to a site that the camera does not have.
    #[error("camera '{camera}': a cell belongs to site {site}, and there are {sites}")]
    UnknownSite {
        /// The camera.
        camera: String,
        /// The site's number.
        site: u16,
        /// How many sites the camera has.
        sites: usize,
    },
    /// Health was given for another number of cameras than there are.
    #[error("health of {found} cameras was given, and there are {expected}")]
    SampleCount {
        /// How many cameras there are.
        expected: usize,
        /// How many samples were given.
        found: usize,
    },
    /// A table does not keep the contract on what may leave.
    #[error("{table}: column '{column}' breaks the release contract: {why}")]
    Contract {
        /// The table.
        table: Table,
        /// The column; empty for the schema as a whole.
        column: String,
        /// Which rule, in words.
        why: String,
    },
    /// The rows of one epoch are all numbered.
    #[error("{0}: no sequence number is left in this epoch")]
    SequenceExhausted(Table),
    /// A budget or a bound is zero, or too large for the noise.
    #[error("the camera's budget and bounds give no noise that can be drawn")]
    Budget,
    /// Noise or a key could not be drawn.
    #[error("the noise cannot be drawn")]
    Noise(#[from] NoiseError),
    /// Keys cannot be held.
    #[error("the keys of the tracks' pseudonyms cannot be held")]
    Pseudonym(#[from] PseudonymError),
    /// Arrow refused the columns that we made.
    #[error("the rows could not be made into a batch")]
    Arrow(#[from] ArrowError),
}

impl Classified for ReleaseError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. }
            | Self::CameraTwice(_)
            | Self::TooMany { .. }
            | Self::BinLength { .. }
            | Self::UnknownSite { .. }
            | Self::Budget => ErrorKind::Config,
            Self::SampleCount { .. }
            | Self::Contract { .. }
            | Self::SequenceExhausted(_)
            | Self::Noise(_)
            | Self::Pseudonym(_)
            | Self::Arrow(_) => ErrorKind::Fatal,
        }
    }
}
