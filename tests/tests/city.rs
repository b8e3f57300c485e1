//! What arrived at the city, read with other people's programs: DuckDB over the landing, and Flight from Python.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::city::{City, keep};
use common::{Node, camera_file, cameras, free_port, python, root, rows_despite_damage, stderr, stdout, vtest};

/// Long enough for a loaded machine; nothing here measures speed.
const PATIENCE: Duration = Duration::from_secs(90);
const NAME: &str = "cabinet-1";
const READER: &str = "desk";
const ARGUMENTS: [&str; 2] = ["--bin", "1s"];

#[test]
fn duckdb_and_a_flight_client_read_what_the_node_released() {
    let python = python("city");
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let mut city = City::start(&[NAME], "commit_interval: 200ms\n");
    city.enroll("reader", READER);
    // The first rows are written while nobody takes them, so that some can be spoilt on the disk.
    city.gateway.kill();
    let settings = city.uplink(NAME);
    let mut node = Node::start_as(NAME, &[("plaza", camera_file(&urls[0], 2.0))], &ARGUMENTS, &settings);
    node.wait_for("rows in the spool", PATIENCE, |node| released(node, "agg.v1") >= 20.0);
    assert!(node.running.terminate().success(), "{}", node.log());
    let oracle = node.folder.path().join("oracle");
    keep(&node.spool(), &oracle);
    spoil(&node.spool().join("agg.v1"));

    city.restart();
    node.restart(&ARGUMENTS);
    node.wait_for("rows of this life at the city", PATIENCE, |node| {
        keep(&node.spool(), &oracle);
        node.metric("kerbside_uplink_stored_rows_total{table=\"agg.v1\"}").unwrap_or_default() >= 40.0
            && node.metric("kerbside_uplink_stored_rows_total{table=\"health.v1\"}").unwrap_or_default() >= 1.0
            && released(node, "agg.v1") >= 20.0
    });
    // As it ends it releases the open bins and sends them.
    assert!(node.running.terminate().success(), "{}", node.log());
    keep(&node.spool(), &oracle);

    let printed = node.folder.path().join("rows.jsonl");
    let lines: Vec<String> = rows_despite_damage(&oracle).iter().map(|row| format!("{row}\n")).collect();
    fs::write(&printed, lines.concat()).unwrap();
    let output = Command::new(&python)
        .arg(root().join("tests/city/read_landing.py"))
        .arg(city.folder.path())
        .arg("--rows")
        .arg(&printed)
        .arg("--schemas")
        .arg(root().join("pipeline/release/schemas"))
        .arg("--readme")
        .arg(root().join("pipeline/gateway/README.md"))
        .args(["--address", &city.address.to_string(), "--reader", READER, "--node", NAME])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{}\n{}", stdout(&output), stderr(&output), city.log());
    println!("{}", stdout(&output).trim_end());
}

fn released(node: &Node, table: &str) -> f64 {
    node.metric(&format!("kerbside_released_rows_total{{table=\"{table}\"}}")).unwrap_or_default()
}

/// Flips bits of one byte in the middle of a stream's first segment, so that rows are lost.
fn spoil(stream: &Path) {
    let mut segments: Vec<_> = fs::read_dir(stream).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.sort();
    let segment = &segments[0];
    let whole = rows_despite_damage(segment).len();
    let bytes = fs::read(segment).unwrap();
    for place in bytes.len() / 2..bytes.len() {
        let mut spoilt = bytes.clone();
        spoilt[place] ^= 0xff;
        // Written in place: the oracle's link is to the same file.
        fs::write(segment, &spoilt).unwrap();
        // Some bytes only fill a frame up.
        if rows_despite_damage(segment).len() < whole {
            return;
        }
    }
    panic!("no byte of {} matters", segment.display());
}
