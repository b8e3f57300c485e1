//! Attacks on what the node releases, and what the numbers are worth in spite of the noise.
//!
//! Each attack is a function that is sized ([`outcome::Size`]) and answers rows of one table ([`outcome::Outcome`]): what was tried, the
//! figure that came out, the limit, and whether it was kept. Beside each row of the real release stage stands a
//! positive control: a variant that is broken on purpose and that the same code must catch, since an attack that
//! finds nothing anywhere proves nothing. `cargo nextest run` runs the small sizes, `privacy-audit` the large ones.
//!
//! The attacks know what an attacker would: the configuration, the published rows and the rules, and for A8 even all
//! that happened but the one passage. The ids are those of the privacy contract (A1 to A18).
//!
//! Units: times in nanoseconds of wall time where nothing else is written; ε as a plain number.
//! Threads: none. Clocks: none; time is simulated. Random numbers of the simulation come from fixed seeds, the noise
//! under attack from the operating system.
//!
//! What it deliberately does not do: attack the whole node (its log, memory and disk), which other tests do.

#![forbid(unsafe_code)]

pub mod attacks;
pub mod export;
pub mod outcome;
pub mod stage;
pub mod statistics;
pub mod street;
pub mod telltale;
pub mod utility;
