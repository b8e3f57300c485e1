//! The gateway from outside: over real TLS on loopback, with certificates of an authority of its own.

#![allow(clippy::unwrap_used)]

mod cabinet;
mod command;
mod common;
mod compaction;
mod crash;
mod decoder;
mod delivery;
mod door;
mod forgeries;
mod hostile;
mod identity;
mod importing;
mod lies;
mod line;
mod reading;
mod tables;
