//! Rule PC-16 of the privacy contract, in the sources: no log line and no panic says what is in a picture.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// The macros that write to the log.
const MACROS: [&str; 6] = ["error!(", "warn!(", "info!(", "debug!(", "trace!(", "event!("];
/// What no log line may be given, at any level: what is seen, where, whose, and how many. Log fields and the values in
/// them are words of their own.
const FORBIDDEN: [&str; 30] = [
    "track",
    "tracks",
    "track_id",
    "tracker",
    "detection",
    "detections",
    "finding",
    "findings",
    "object",
    "objects",
    "person",
    "people",
    "class",
    "classes",
    "score",
    "box_in_image",
    "left",
    "right",
    "foot",
    "observation",
    "scene",
    "pixels",
    "picture",
    "luma",
    "planes",
    "crop",
    "embedding",
    "plate",
    "face",
    "batch",
];

#[test]
fn pc_16_no_log_line_is_given_what_is_in_a_picture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut calls = 0;
    for folder in ["pipeline", "operators/src", "models/src"] {
        for file in sources(&root.join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            for call in calls_in(&text) {
                calls += 1;
                let told = without_literals(call);
                assert_eq!(forbidden_in(&told), None, "{}: {call}", file.display());
            }
        }
    }
    assert!(calls > 20, "only {calls} log lines were found");
    // The rule sees what it must see.
    for (call, word) in [
        ("warn!(camera = name, ?detections, \"x\")", Some("detections")),
        ("debug!(\"{} is there\", track.id.0)", Some("track")),
        ("debug!(\"at {box_in_image:?}\")", Some("box_in_image")),
        ("info!(camera = name, \"the picture could not be measured\")", None),
    ] {
        assert_eq!(calls_in(call).count(), 1, "{call}");
        assert_eq!(forbidden_in(&without_literals(calls_in(call).next().unwrap())), word, "{call}");
    }
}

fn forbidden_in(told: &str) -> Option<&'static str> {
    let words: Vec<&str> = told.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    FORBIDDEN.into_iter().find(|word| words.contains(word))
}

/// Every call of a log macro, up to its closing bracket.
fn calls_in(text: &str) -> impl Iterator<Item = &str> {
    MACROS.iter().flat_map(move |name| text.match_indices(name)).map(move |(begin, name)| {
        let rest = &text[begin..];
        let mut depth = 1;
        let end = rest[name.len()..].find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        &rest[..end.map_or(rest.len(), |end| name.len() + end + 1)]
    })
}

/// The call without the text of its literals, but with the names that they format: `"at {place}"` becomes `place`.
fn without_literals(call: &str) -> String {
    let mut told = String::new();
    for (index, part) in call.split('"').enumerate() {
        if index % 2 == 0 {
            told.push_str(part);
        } else {
            for (place, name) in part.split('{').enumerate() {
                if place > 0 {
                    told.push(' ');
                    told.push_str(name.split(['}', ':']).next().unwrap_or_default());
                }
            }
        }
        told.push(' ');
    }
    told
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
