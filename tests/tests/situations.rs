//! Situations and what is learned, through the whole node.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use common::{Node, camera_file, cameras, free_port, kerbside, rows, stderr, vtest};

const PATIENCE: Duration = Duration::from_secs(60);

/// People walk over the west of the real clip now and then.
const INTRUSION: &str = "\
source: rtsp://10.0.4.21/stream2
classes: [person]
geometry:
  zones:
    west: {polygon: [[0.0, 0.3], [0.35, 0.3], [0.35, 0.9], [0.0, 0.9]]}
operators:
  detect_intrusion: [{zone: west}]
  detect_tamper: [{}]
";

#[test]
fn a_situation_in_the_real_clip_is_told_from_its_beginning_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let camera = folder.path().join("campus.yaml");
    fs::write(&camera, INTRUSION).unwrap();
    let out = folder.path().join("out");
    let output = kerbside([
        "replay".as_ref(),
        vtest().as_os_str(),
        "--camera".as_ref(),
        camera.as_os_str(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let words: Vec<_> = rows(&out).into_iter().filter(|row| row["table"] == "incident.v1").collect();
    let mut phases: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for row in &words {
        assert_eq!(
            (&row["kind"], &row["site"], &row["class"]),
            (&"restricted_zone".into(), &"west".into(), &"person".into()),
            "{row}"
        );
        assert_eq!(row["release"], "incident");
        assert!(
            row["t0"].as_str().unwrap().ends_with("0.000Z"),
            "people are told in quanta of ten seconds: {row}"
        );
        let phase = row["phase"].as_str().unwrap().to_owned();
        phases.entry(row["incident"].as_u64().unwrap()).or_default().push(phase);
    }
    assert!((1..=4).contains(&phases.len()), "{phases:?}");
    for told in phases.values() {
        assert_eq!(
            (told.first().unwrap().as_str(), told.last().unwrap().as_str()),
            ("begin", "end"),
            "{phases:?}"
        );
        assert!(told[1..told.len() - 1].iter().all(|phase| phase == "update"), "{phases:?}");
    }
}

#[test]
fn what_was_learned_is_there_after_a_restart_and_damage_costs_only_that() {
    let clip = vtest();
    let (_server, urls) = cameras(&[&clip], free_port());
    let text = camera_file(&urls[0], 5.0) + "  detect_unusual_motion: [{}]\n";
    let mut node = Node::start(&[("plaza", text)], &[]);
    node.wait_for("frames", PATIENCE, |node| node.analysed("plaza") > 20.0);
    assert!(node.running.terminate().success(), "{}", node.log());
    let learned = node.folder.path().join("learned/plaza/detect_unusual_motion-0.learned");
    let bytes = fs::read(&learned).unwrap();
    assert!(!node.log().contains("goes on from what was learned"), "{}", node.log());

    node.restart(&[]);
    node.wait_for("frames", PATIENCE, |node| node.analysed("plaza") > 5.0);
    assert!(node.log().contains("goes on from what was learned"), "{}", node.log());
    assert!(node.running.terminate().success(), "{}", node.log());

    fs::write(&learned, &bytes[..bytes.len() / 2]).unwrap();
    node.restart(&[]);
    node.wait_for("frames", PATIENCE, |node| node.analysed("plaza") > 5.0);
    assert!(node.log().contains("it is learned anew"), "{}", node.log());
    assert!(node.running.terminate().success(), "{}", node.log());
    assert_eq!(fs::read(&learned).unwrap().len(), bytes.len(), "a whole file takes its place");
}

#[test]
fn what_was_going_on_when_a_camera_falls_silent_is_over_while_it_is_away() {
    let clip = vtest();
    let (mut server, urls) = cameras(&[&clip], free_port());
    let text = "source: URL\nanalyse_fps: 5\nclasses: [person]\ngeometry:\n  zones:\n    \
                all: {polygon: [[0.0, 0.1], [1.0, 0.1], [1.0, 1.0], [0.0, 1.0]]}\noperators:\n  \
                detect_intrusion: [{zone: all}]\n";
    let node = Node::start(&[("plaza", text.replace("URL", &urls[0]))], &[]);
    let phases = |node: &Node| -> Vec<String> {
        let words = rows(&node.spool()).into_iter().filter(|row| row["table"] == "incident.v1");
        words.map(|row| row["phase"].as_str().unwrap().to_owned()).collect()
    };
    let told =
        |node: &Node| node.metric("kerbside_released_rows_total{table=\"incident.v1\"}").unwrap_or_default();
    node.wait_for("someone is there", PATIENCE, |node| told(node) >= 1.0);
    server.kill();
    node.wait_for("the end", PATIENCE, |node| phases(node).last().is_some_and(|phase| phase == "end"));
    assert_eq!(phases(&node).iter().filter(|phase| *phase == "begin").count(), 1, "{:?}", phases(&node));
}
