//! The gateway from outside: over real TLS on loopback, with certificates of an authority of its own.

#![allow(clippy::unwrap_used)]

mod common;
mod compaction;
mod crash;
mod decoder;
mod delivery;
mod hostile;
mod identity;
mod importing;
mod reading;
