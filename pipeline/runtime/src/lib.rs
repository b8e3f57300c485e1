//! The node at work: threads, edges, supervision and shutdown.
//!
//! ```text
//! ingest ─▶ slot ─▶ lane ─┬─▶ detect pool ─┐
//!  thread   1 frame  one  └─▶ scene stats ─┴─▶ track ─▶ operators ─▶ reports ─▶ release ─▶ spool
//!  a camera          thread a camera                                            one thread a node
//! ```
//!
//! Invariants: one way only; every edge is bounded and named; live frames are dropped in the slot and
//! nowhere else; findings are never dropped. A camera that fails is its own supervisor's business and
//! reaches the others by no path. Clocks are read here, in ingest and in the command line only.
//!
//! Shutdown is the closing of edges in the direction of data: sources stop, each stage drains what it has
//! and ends, open bins close, the spool is synced, all under one deadline.

#![forbid(unsafe_code)]

mod analysis;
#[cfg(test)]
mod chunk_tests;
mod clock;
mod error;
mod fleet;
mod guarantee;
mod health;
mod lane;
mod learned;
mod machine;
mod monitor;
mod node;
mod onlookers;
mod overlay;
mod pool;
mod releasing;
mod reload;
mod replay;
mod setup;
mod shares;
mod source;
mod status;
mod tracks;
mod turns;
mod uplink;
mod watchdog;
mod watchers;

pub use error::RuntimeError;
pub use fleet::plan;
pub use kerbside_ingest::{ClipInfo, probe as clip_info};
pub use node::{Node, NodeOptions};
pub use reload::{ReloadRefusal, Reloaded};
pub use replay::{Progress, Replay, ReplayOptions, ReplayOutcome};
pub use tracks::TrackRow;
pub use uplink::UplinkThread;
