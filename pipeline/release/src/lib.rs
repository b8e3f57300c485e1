//! The only door out: findings go in, sealed rows of the released tables come out.
//!
//! [`Release`] sums findings per cell and bin and hands out [`Released`] record batches of `agg.v1`
//! and `health.v1`. Nothing else in the workspace can make a [`Released`], and the spool takes
//! nothing else.
//!
//! Invariants
//! - No row names an object: no track id, no box, no coordinate, no frame time; bins only.
//! - The set of cells is fixed by the configuration, and every cell is emitted for every bin,
//!   also for a camera that is silent: the presence of a row says nothing.
//! - A bin is closed once. A clock that is set back neither reopens nor repeats it.
//! - Every text is a dictionary value from a vocabulary that is fixed when the stage is built.
//! - Rows depend on findings and time alone, not on how often [`Release::advance`] is called.
//!
//! Units: sums are kept in nanoseconds and whole objects, and rounded once, when a bin is closed.
//! Threads: none. Clocks: none; time comes in as a parameter.
//!
//! What it deliberately does not do: counts are exact, without noise, and the `release` column says
//! so (`agg_exact`, or `demo` for a demonstration). Open bins hold exact counts and are never persisted: a bin that a crash
//! interrupts is lost up to the crash, and what follows says so by its `coverage`.

#![forbid(unsafe_code)]

mod agg;
mod bins;
mod columns;
mod contract;
mod error;
mod health;
mod incident;
mod ledger;
mod noise;
mod plan;
mod release;
mod sealed;
mod table;
mod vocabulary;

pub use contract::check_contract;
pub use error::ReleaseError;
pub use health::HealthSample;
pub use ledger::{
    Account, AccountReport, Ahead, CameraUid, Debit, Distrust, FileLedger, Ledger, LedgerContent, LedgerError,
    LedgerReport, LedgerState, MemoryLedger, Verdict, inspect_ledger,
};
pub use plan::{Bins, CameraPlan, IncidentSeed, NodeIdentity, Positions, StreamPosition};
pub use release::{FrameReport, Release, ReleaseCounts, ReleasedBin};
pub use sealed::{Released, ReleasedBatch};
pub use table::{ClockQuality, Table};
