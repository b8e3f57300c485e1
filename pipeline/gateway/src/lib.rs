//! The city's side: takes released rows from many nodes and stores each once, as Parquet.
//!
//! ```text
//! node ─TLS─▶ serve ─▶ service ─▶ put ─▶ check ─▶ commit ─▶ landing (Parquet)
//!                         │        ▲ Ack           │ intent, files, numbers
//!                         └ get ◀──┴──── state (redb) ◀─────┘
//! ```
//!
//! Invariants
//! - A row is acknowledged after it is stored, and stored once, whatever is sent again and whenever the gateway dies.
//! - Nothing that a node says is trusted: who it is says its certificate, and every batch is checked against the released
//!   tables before it is stored ([`check`]).
//! - The landing is plain Parquet; the gateway has no query engine.
//!
//! Threads: a tokio runtime's. What blocks, such as a sync, runs where it may.

#![forbid(unsafe_code)]

pub mod check;
mod commit;
mod compact;
mod error;
mod folder;
mod gateway;
mod get;
mod import;
mod ipc;
pub mod landing;
mod parts;
mod put;
mod quota;
mod refused;
mod serve;
mod service;
mod session;
pub mod settings;
mod sparing;
pub mod state;
mod status;
mod summary;
mod values;

pub use commit::settle_all;
pub use error::GatewayError;
pub use gateway::Gateway;
pub use refused::Refused;
pub use settings::Settings;
pub use summary::{Day, Gaps, Summary, summary};
