//! The attacks, one file each.

pub mod averaging;
pub mod capacity;
pub mod differencing;
pub mod dp;
pub mod fuzz;
pub mod ledger;
pub mod sampler;
pub mod side_channel;
pub mod smuggle;

use crate::outcome::{Outcome, Size};

/// An attack: its id and what runs it.
pub type Attack = (&'static str, fn(Size) -> Vec<Outcome>);

/// Every attack of this crate, in the order of the table.
pub const ATTACKS: &[Attack] = &[
    ("A1", fuzz::attack),
    ("A2", smuggle::attack),
    ("A4", capacity::attack),
    ("A8", dp::attack),
    ("A9", sampler::attack),
    ("A12", averaging::attack),
    ("A13", differencing::attack),
    ("A14", ledger::attack),
    ("A15", side_channel::attack),
];

/// A row for a stage that could not even be built or run: it fails, whatever the attack.
fn broken(attack: &str, tried: &str, limit: &str, error: impl std::fmt::Display) -> Outcome {
    Outcome::real(attack, tried, format!("cannot be run: {error}"), limit, false)
}
