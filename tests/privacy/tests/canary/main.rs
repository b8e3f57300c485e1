//! Attacks on the real node from outside: pixels in what leaves it (A3) and in what it leaves behind (A17), text that
//! is smuggled through the configuration (A2), and the size of what leaves (A15).
//!
//! The node is the program that goes into a cabinet; its camera is a real RTSP stream whose pictures hold a known
//! pattern, the canary. Every search runs first over bytes in which a canary was planted: what finds nothing there
//! proves nothing.

// A failure here is a failure of the test; modules of one test are seen by it alone.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../../tests/common/mod.rs"]
mod common;

mod clip;
mod controls;
mod entropy;
mod magic;
mod names;
mod pattern;
mod pixels;
mod requests;
mod residue;
mod scan;
mod site;
mod sizes;
mod unfold;
