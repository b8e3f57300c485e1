//! YAML files to settings: every problem of every file in one report, each with its place.
//!
//! A folder holds `node.yaml` and `cameras/*.yaml`, one file a camera; the file's name is the camera's.
//! [`load`] reads all of them and answers either resolved [`Settings`] or the list of everything that is
//! wrong. Reading goes on after a problem: a value that cannot be read is replaced by a stand-in, so that
//! one mistake gives one message; settings with stand-ins never leave this crate. What is allowed and may
//! surprise is a note beside the settings.
//!
//! Invariants: no key can run a command or fetch anything. No password is written in a YAML file, and no
//! message repeats one. Settings hold no default to be resolved later and no unit to be guessed.
//! Relative paths in a file start at that file's folder.
//!
//! It reads files, once, on the thread that calls. It opens no connection, looks up no host, loads no
//! model, and knows neither operators nor models by name: the caller says what exists ([`Catalogue`]).

#![forbid(unsafe_code)]

mod camera;
mod epsilon;
mod error;
mod files;
mod geometry;
mod identity;
mod load;
mod node;
mod operators;
mod outflow;
mod polygon;
mod privacy;
pub mod reading;
mod secret;
mod settings;
mod shared;
mod source;
mod time_zone;
mod uplink;

pub use error::ConfigError;
pub use load::{load, load_camera, models_folder, parse_camera, status_pages};
pub use outflow::BYTES_PER_NUMBER;
pub use secret::Secret;
pub use settings::{
    CameraSettings, Credentials, DetectSettings, DetectorSettings, FileSource, NamedOperator, NodeSettings,
    RtspSource, Settings, Source, SpoolSettings, Transport, UplinkSettings,
};
pub use time_zone::TimeZone;
pub use uplink::gateway_address;

use kerbside_core::operator::OperatorSpec;

/// What exists on this node: configuration itself knows no operator and no model.
#[derive(Clone, Copy)]
pub struct Catalogue<'a> {
    /// The operator table.
    pub operators: &'a [OperatorSpec],
    /// The detectors' names. The first is what a camera gets that names none.
    pub models: &'a [String],
}
