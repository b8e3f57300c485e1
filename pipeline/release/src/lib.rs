//! The only door out: findings go in, sealed rows of the released tables come out.
//!
//! [`Release`] sums findings per cell and bin and hands out [`Released`] record batches of `agg.v1`, `incident.v1`
//! and `health.v1`. Nothing else in the workspace can make a [`Released`], and the spool takes nothing else.
//! What the promise is, and to whom, is in `PRIVACY.md` beside this crate.
//!
//! Invariants
//! - No row names an object: no track id, no box, no coordinate, no frame time; bins only.
//! - The set of cells is fixed by the configuration, and every cell is emitted for every bin,
//!   also for a camera that is silent: the presence of a row says nothing.
//! - A bin is closed once. A clock that is set back neither reopens nor repeats it.
//! - Every text is a dictionary value from a vocabulary that is fixed by the configuration.
//! - Rows depend on findings, time and noise alone, not on how often [`Release::advance`] is called.
//! - Where a profile asks for noise, a track adds no more than its bounds ([`kerbside_core::privacy::Bounds`]), the
//!   ledger is debited before noise is drawn, and noise is drawn once for each cell and bin.
//!
//! The way of a number: `passages` bounds what a track adds, `bins` sums, `ledger` grants, `noise` adds, `agg` rounds.
//! Released numbers may be summed up to hours later ([`coarsen()`]).
//!
//! Units: sums are kept in nanoseconds and whole objects, and rounded once, when a bin is closed.
//! Threads: none. Clocks: none; time comes in as a parameter.
//!
//! What it deliberately does not do: open bins hold exact counts and are never persisted. A bin that a crash
//! interrupts is lost, and what follows says so by its `coverage` or, where numbers have noise, by its absence.

#![forbid(unsafe_code)]

mod agg;
mod alert;
mod bins;
mod camera;
mod change;
mod coarsen;
mod columns;
mod contract;
mod error;
mod health;
mod incident;
mod keeper;
mod ledger;
mod noise;
mod passages;
mod plan;
mod pseudonym;
mod rarity;
mod release;
mod report;
mod sealed;
mod table;
mod treatment;
mod vocabulary;
mod words;

pub use coarsen::coarsen;
pub use contract::check_contract;
pub use error::ReleaseError;
pub use health::HealthSample;
pub use ledger::{
    Account, AccountReport, Ahead, CameraUid, Debit, Distrust, FileLedger, Ledger, LedgerContent, LedgerError,
    LedgerReport, LedgerState, MemoryLedger, Verdict, inspect_ledger,
};
pub use noise::{Noise, NoiseError, Scale};
pub use plan::{CameraPlan, Guarantee, IncidentSeed, NodeIdentity, Positions, Seat, StreamPosition};
pub use pseudonym::PseudonymError;
pub use release::Release;
pub use report::{FrameReport, ReleaseCounts, ReleasedBin, ShownBin};
pub use sealed::{Released, ReleasedBatch};
pub use table::{ClockQuality, Column, Table};
pub use words::unit_of;
