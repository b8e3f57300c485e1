//! Tables of configurations: what is refused with which words at which place, and what is accepted as what.

#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod accepted;
mod camera;
mod damage;
mod folder;
mod operators;
mod outflow;
mod privacy;
mod uplink;

use std::path::Path;

use kerbside_config::{CameraSettings, Catalogue, ConfigError, parse_camera};

/// The keys that every camera needs; a case that is about one of them brings its own.
const REST: [&str; 3] = [
    "source: rtsp://10.0.4.21/stream2",
    "geometry: {lines: {crossing: {from: [0.1, 0.6], to: [0.9, 0.5]}}}",
    "operators: {count_line: [{line: crossing}]}",
];

/// `text` with those keys of [`REST`] below it that it does not have itself.
fn completed(text: &str) -> String {
    let mut text = text.to_owned();
    for line in REST {
        let key = line.split_inclusive(':').next().unwrap();
        if !text.lines().any(|own| own.starts_with(key)) {
            text.push('\n');
            text.push_str(line);
        }
    }
    text
}

/// Calls `check` with a catalogue of two operators and two models.
fn with_catalogue<T>(check: impl FnOnce(&Catalogue<'_>) -> T) -> T {
    let models = ["nanodet-g".to_owned(), "tram-9".to_owned()];
    check(&Catalogue { operators: &operators::TABLE, models: &models })
}

/// Reads a camera's file of which the other keys are in order.
fn parse(text: &str) -> Result<CameraSettings, ConfigError> {
    with_catalogue(|catalogue| parse_camera("plaza", Path::new("plaza.yaml"), &completed(text), catalogue))
}

/// Holds each file to the lines of its report.
#[allow(clippy::print_stdout, reason = "what a failed test shows")]
fn refused(cases: &[(&str, &[&str])]) {
    let mut wrong = 0;
    for (text, expected) in cases {
        let found = lines(&parse(text).expect_err(text));
        if found != *expected {
            println!("{text}");
            for line in &found {
                println!("            {line:?},");
            }
            wrong += 1;
        }
    }
    assert_eq!(wrong, 0, "cases gave other lines than expected");
}

fn lines(error: &ConfigError) -> Vec<String> {
    error.to_string().lines().map(str::to_owned).collect()
}
