//! A3: the canary in everything that leaves the running node.

use std::path::Path;

use kerbside_release::Table;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::common::{Running, cameras, free_port, rows};
use crate::scan::{Piece, pictures, unaccounted};
use crate::site::{Site, Tap};
use crate::{clip, controls, requests, scan, unfold};

const TO_THE_CAMERA: &str = "what the node sent to its camera";

/// People on a path, with all that makes the node talk: counts, incidents, what is learned.
pub fn camera_file(port: u16) -> String {
    format!(
        "source: rtsp://127.0.0.1:{port}/canary\nanalyse_fps: 5\ndetector: {{model: nanodet-g, min_score: 0.5}}\n\
         classes: [person]\ngeometry:\n  lines:\n    crossing: {{from: [0.5, 0.2], to: [0.5, 0.9]}}\n  zones:\n    \
         square: {{polygon: [[0.1, 0.2], [0.9, 0.2], [0.9, 0.9], [0.1, 0.9]]}}\noperators:\n  \
         count_line: [{{line: crossing}}]\n  measure_occupancy: [{{zone: square}}]\n  \
         detect_intrusion: [{{zone: square}}]\n  detect_tamper: [{{}}]\n  detect_unusual_motion: [{{}}]\n"
    )
}

/// A camera that plays the clip, and the tap before it.
pub fn camera(folder: &Path, busy: bool) -> (Running, Tap) {
    let path = folder.join("canary.mp4");
    clip::render(&path, busy);
    let port = free_port();
    let (server, _) = cameras(&[&path], port);
    (server, Tap::before(port))
}

#[test]
fn a_3_the_pixel_canary_is_nowhere_in_what_leaves_the_node() {
    let clips = tempfile::tempdir().unwrap();
    let (_server, tap) = camera(clips.path(), true);
    let mut site = Site::new(&[("plaza", camera_file(tap.port))]);

    // As in a cabinet, then once more on the same spool with bins short enough to see exact counts.
    site.start(&["--log", "trace"]);
    let mut outlets = 0;
    site.wait_for("someone is seen", |site| {
        if let Some(found) = site.outlets(&[tap.port]) {
            assert!(found.is_empty(), "{found:?}");
        }
        site.released("incident.v1") >= 1.0
    });
    outlets += usize::from(site.outlets(&[tap.port]).is_some());
    let mut pieces = site.egress();
    site.terminate();
    site.start(&["--log", "trace", "--bin", "2s"]);
    site.wait_for("counts", |site| site.released("agg.v1") >= 12.0);
    outlets += usize::from(site.outlets(&[tap.port]).is_some_and(|found| found.is_empty()));
    site.terminate();
    println!("outlets looked at in {outlets} of 2 runs");

    let all = rows(&site.path("spool"));
    let seen = |measure: &str| {
        all.iter().filter(|row| row["measure"] == measure && row["release"] == "demo").any(|row| row["value"] != 0)
    };
    assert!(seen("presence_mean") || seen("occupancy_time"), "the node saw nobody: nothing could have leaked");
    all.iter().for_each(is_in_its_domain);

    pieces.extend(site.egress());
    let sent = tap.sent();
    assert!(sent.starts_with(b"OPTIONS rtsp://"), "the tap is not between the node and its camera");
    let unknown = requests::unknown(&sent);
    assert!(unknown.is_empty(), "{unknown:#?}");
    pieces.push(Piece::new(TO_THE_CAMERA, sent));
    for piece in &pieces {
        println!("{}: {} bytes", piece.name, piece.bytes.len());
    }
    for needed in ["node.log", "spool/agg.v1", "spool/health.v1", "spool/incident.v1", "learned/plaza"] {
        assert!(pieces.iter().any(|piece| piece.name.starts_with(needed) && !piece.bytes.is_empty()), "{needed}");
    }

    let found: Vec<String> = pieces.iter().flat_map(pictures).collect();
    assert!(found.is_empty(), "{found:#?}");

    // What looks random and may: the hashes of the schemas and of the words that the configuration allows, and those
    // that the ledger's texts end with, each made anew here.
    let mut hashes: Vec<Vec<u8>> = Table::ALL.map(|table| table.schema_hash().to_vec()).into();
    hashes.push(vocabulary(&site));
    hashes.extend(pieces.iter().filter(|piece| piece.name.contains("ledger")).flat_map(seals));
    let judged = pieces.iter().filter(|piece| !is_exempt(&piece.name));
    let found: Vec<String> = judged.flat_map(|piece| unaccounted(piece, &hashes)).collect();
    assert!(found.is_empty(), "{found:#?}");

    // The same search, over the same pieces with a canary in them.
    let small =
        |name: &str| pieces.iter().find(|piece| piece.name.starts_with(name) && piece.bytes.len() < 1 << 16);
    for name in ["spool/agg.v1", "spool/incident.v1", "node.log"] {
        controls::planted_canaries_are_found(small(name).unwrap());
    }
}

/// The hash of the closed words, which stands in every schema as 64 digits. It is made of the configuration alone: the
/// node that [`crate::sizes`] lets watch an empty street has the same.
pub fn vocabulary(site: &Site) -> Vec<u8> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for piece in site.files().iter().filter(|piece| piece.name.ends_with(".seg")) {
        let digits = unfold::hexadecimal(&piece.bytes).into_iter().map(|(_, bytes)| bytes);
        found.extend(digits.filter(|bytes| bytes.len() == 32));
    }
    found.dedup();
    assert_eq!(found.len(), 1, "one vocabulary in all segments");
    found.remove(0)
}

/// The hash of a text, which its witness holds, and of all its lines but the last, which is in that.
fn seals(piece: &Piece) -> [Vec<u8>; 2] {
    let last = scan::find(&piece.bytes, b"\nsha256 ").map_or(0, |at| at + 1);
    [&piece.bytes[..], &piece.bytes[..last]].map(|text| Sha256::digest(text).to_vec())
}

/// What is not searched for random-looking bytes, but for pictures like everything: the floats that
/// `detect_unusual_motion` has learned of a street, which stay; GStreamer's list of its own plugins; and what is sent to
/// the camera, of which [`requests`] knows every byte's meaning.
fn is_exempt(name: &str) -> bool {
    name.starts_with("learned/") || name.starts_with("home/gstreamer-1.0/registry.") || name == TO_THE_CAMERA
}

/// Every value of a row is one of a closed set, or a number of a kind that cannot hold a picture.
pub fn is_in_its_domain(row: &Value) {
    let object = row.as_object().unwrap();
    for (column, value) in object {
        match value {
            Value::String(text) => assert!(is_word(column, text), "{column}: {text} in {row}"),
            Value::Number(number) => {
                let number = number.as_f64().unwrap();
                assert!(number.abs() < limit(column), "{column}: {number} in {row}");
            }
            Value::Bool(_) | Value::Null => {}
            Value::Array(_) | Value::Object(_) => panic!("{column} holds more than one value in {row}"),
        }
    }
}

fn is_word(column: &str, text: &str) -> bool {
    let one_of = |words: &[&str]| words.contains(&text);
    match column {
        "table" => one_of(&["agg.v1", "incident.v1", "health.v1"]),
        "node" => text == "test-node",
        "camera" => text == "plaza",
        "site" => one_of(&["crossing", "square", "*"]),
        "model" => text.starts_with("nanodet-g") && text.len() <= 64,
        "sw" => text.starts_with("kerbside ") && text.len() <= 64,
        "clock_q" => one_of(&["synced", "holdover", "unsynced"]),
        "release" => one_of(&["agg_dp", "agg_exact", "incident", "health", "demo"]),
        "measure" => one_of(&["crossing_count", "presence_mean", "occupancy_time"]),
        "class" => one_of(&["person", "other", "all"]),
        "dir" => one_of(&["none", "forward", "backward"]),
        "unit" => one_of(&["count", "s", "permille", "none", "people", "percent"]),
        "kind" => one_of(&["restricted_zone", "scene_anomaly", "signal_loss"]) || text.starts_with("tamper_"),
        "phase" => one_of(&["begin", "update", "end"]),
        "state" => one_of(&["up", "connecting", "auth_failed", "stalled", "tampered", "disabled"]),
        // 2026-01-31T12:00:00.000Z
        "t0" | "t1" => text.len() == 24 && text.ends_with('Z'),
        _ => false,
    }
}

/// The widest that a number of that column can be, from its meaning and unit in the schema.
fn limit(column: &str) -> f64 {
    match column {
        "seq" | "n_frames" => 1e6,
        // Of a run of seconds; noise of scale 545 s reaches 20 times that once in 10^8 draws.
        "value" => 1e5,
        "epoch" | "incident" | "cfg_rev" => 4_294_967_296.0,
        "coverage" | "drop_ratio" => 1.001,
        _ => 1e12,
    }
}
