//! Attacks on what the node releases.
#![forbid(unsafe_code)]
