//! The spool and the uplink: released rows on disk, safe against crashes, the ways to read them back, and the way to the city.
//!
//! - [`Spool`] appends sealed batches to segments of checksummed frames, one folder a table, and syncs
//!   them in groups. It takes nothing but [`kerbside_release::ReleasedBatch`].
//! - [`Feed`] and [`Cursor`] are the sender's side: durable rows as they may be sent, what is gone, and what the gateway
//!   has. [`read_segment`] reads an exported segment in the same way.
//! - [`Reader`] and [`Follower`] give the rows of a spool, a segment or a table file back, with
//!   everything that is damaged or missing as an item of its own.
//! - [`rows`] shows the rows of a batch as plain values.
//! - [`write_tables`] writes the released tables of a replay as Arrow IPC files.
//! - [`client`] sends a spool's rows to a gateway, and brings exported segments there.
//! - [`wire`] is what a node and a gateway say to each other, [`tls`] how they know each other, and [`enroll`] a
//!   small authority for trying that out. [`export`] copies a spool for somebody who carries it there.
//!
//! Invariants
//! - A row that was synced is read back after a crash. What is torn is reported, never read as data.
//! - No byte is decoded before its checksum was found right; the checksum covers the length too.
//! - Row numbers are never used twice within an epoch. Where they cannot be trusted a new epoch begins.
//! - A row that is dropped, or summed up with others because the spool is full, is counted.
//! - A row is handed out only once it is durable: else a power cut would give its number to another.
//!
//! Units: bytes; little-endian throughout. Threads: none; one process at a time writes, any number read.
//! Clocks: none in what stores, time comes in as a parameter; [`client`] has its runtime's for pauses and deadlines.

#![forbid(unsafe_code)]

pub mod client;
mod coarse;
mod codec;
mod disk;
pub mod enroll;
mod epoch;
mod error;
pub mod export;
mod feed;
mod follow;
mod forged;
mod format;
mod parcel;
mod parquet_file;
pub mod ranges;
mod read;
mod recover;
mod removal;
mod room;
mod rows;
mod scan;
mod segment;
mod shared;
mod spool;
mod stream;
mod table_file;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod wire;

pub use error::{Damage, Gap, ReadError, SpoolError};
pub use feed::{Cursor, Feed, Place, StreamEnd, Waiting};
pub use follow::Follower;
pub use forged::read_forged_segment;
pub use kerbside_release::ReleasedBatch;
pub use parcel::{Opening, Parcel, SegmentContent, read_segment};
pub use read::{Item, Reader};
pub use rows::{Value, column_names, rows};
pub use spool::{Recovery, Spool, SpoolLimits, SpoolSettings, SpoolStatus};
pub use table_file::write_tables;
