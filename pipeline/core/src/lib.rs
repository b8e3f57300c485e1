//! The words that every other crate speaks: frames, detections, tracks, observations, findings,
//! the operator contract, time, geometry, and the positioned configuration tree with its diagnostics.
//!
//! Invariants: no I/O, no threads, no clock. Time comes in as a parameter, pixels are only borrowed.

#![forbid(unsafe_code)]

pub mod camera;
pub mod detection;
pub mod diagnostics;
pub mod error;
pub mod finding;
pub mod frame;
pub mod geometry;
pub mod ground;
pub mod incident;
pub mod observation;
pub mod operator;
pub mod privacy;
pub mod time;
pub mod tree;
pub mod yaml;
