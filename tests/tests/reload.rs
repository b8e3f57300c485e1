//! Another configuration while the node runs.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use common::{Node, camera_file, cameras, free_port, kerbside, program, rows, vtest};
use rustix::process::Signal;

/// Long enough for a loaded machine; nothing here measures speed.
const PATIENCE: Duration = Duration::from_secs(60);
const BIN_MILLIS: i64 = 2000;

fn reloads(node: &Node, result: &str) -> f64 {
    node.metric(&format!("kerbside_config_reloads_total{{result=\"{result}\"}}")).unwrap_or_default()
}

fn change(node: &Node, camera: &str, text: &str) {
    fs::write(node.folder.path().join(format!("site/cameras/{camera}.yaml")), text).unwrap();
}

/// Of one camera's counter: the bins in their order, with frames and coverage.
fn bins(node: &Node, camera: &str, site: &str) -> Vec<(i64, u64, f64)> {
    let mut bins: Vec<(i64, u64, f64)> = rows(&node.spool().join("agg.v1"))
        .iter()
        .filter(|row| row["camera"] == camera && row["site"] == site && row["dir"] == "forward")
        .map(|row| (millis(&row["t0"]), row["n_frames"].as_u64().unwrap(), row["coverage"].as_f64().unwrap()))
        .collect();
    bins.sort_unstable_by_key(|(from, ..)| *from);
    bins
}

fn millis(time: &serde_json::Value) -> i64 {
    let text = time.as_str().unwrap();
    let (day, clock) = text.trim_end_matches('Z').split_once('T').unwrap();
    let number = |text: &str| text.parse::<f64>().unwrap();
    let clock: Vec<f64> = clock.split(':').map(number).collect();
    let day = number(day.rsplit('-').next().unwrap());
    ((((day * 24.0 + clock[0]) * 60.0 + clock[1]) * 60.0 + clock[2]) * 1000.0).round() as i64
}

#[test]
fn one_cameras_line_is_moved_and_the_others_counts_show_no_gap() {
    let clip = vtest();
    let (_server, urls) = cameras(&[&clip, &clip], free_port());
    let guard = "  detect_tamper: [{}]\n";
    let moved = camera_file(&urls[0], 4.0) + guard;
    let node = Node::start(&[("moved", moved.clone()), ("steady", camera_file(&urls[1], 4.0))], &["--bin", "2s"]);
    let has_rows = |node: &Node| node.metric("kerbside_released_rows_total{table=\"agg.v1\"}").unwrap_or_default();
    node.wait_for("rows of both", PATIENCE, |node| {
        has_rows(node) > 40.0 && node.is_in_state("moved", "up") && node.is_in_state("steady", "up")
    });
    let connections = "kerbside_camera_reconnects_total{camera=\"steady\"}";
    assert_eq!(node.metric(connections), Some(0.0));
    let before = node.analysed("steady");

    let elsewhere =
        moved.replace("crossing: {from: [0.5, 0.3], to: [0.5, 0.66]}", "gate: {from: [0.3, 0.3], to: [0.6, 0.7]}");
    let elsewhere = elsewhere.replace("{line: crossing}", "{line: gate}");
    // Its guard goes as well, and with it what was told of it.
    let elsewhere = elsewhere.replace(guard, "");
    let guarded = "kerbside_camera_tampered{camera=\"moved\",kind=\"covered\"}";
    assert_eq!(node.metric(guarded), Some(0.0));
    assert_ne!(elsewhere, moved);
    change(&node, "moved", &elsewhere);
    node.wait_for("the change", PATIENCE, |node| reloads(node, "applied") == 1.0);
    node.wait_for("pictures again", PATIENCE, |node| {
        node.is_in_state("moved", "up") && node.analysed("moved") > 8.0
    });
    assert_eq!(node.metric(guarded), None, "nobody looks after its picture any more");
    assert!(node.analysed("steady") > before, "its totals go on");
    assert_eq!(node.metric(connections), Some(0.0), "it was not connected anew");
    let after = has_rows(&node);
    node.wait_for("more rows", PATIENCE, |node| has_rows(node) > after + 40.0);
    assert!(node.log().contains("another configuration is applied"), "{}", node.log());
    let mut node = node;
    assert!(node.running.terminate().success(), "{}", node.log());

    let steady = bins(&node, "steady", "crossing");
    assert!(steady.len() > 6, "{steady:?}");
    for pair in steady.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, BIN_MILLIS, "a bin is missing or comes twice: {steady:?}");
    }
    // All but the first and last are whole, also the one in which the other camera was changed.
    for (from, frames, coverage) in &steady[2..steady.len() - 1] {
        assert!(*frames >= 4 && *coverage > 0.6, "bin {from} has a gap: {steady:?}");
    }
    assert!(!bins(&node, "moved", "crossing").is_empty() && !bins(&node, "moved", "gate").is_empty());
    // One revision of the configuration after the other.
    let mut revisions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in rows(&node.spool().join("agg.v1")) {
        let known = revisions.entry(row["site"].as_str().unwrap().to_owned()).or_default();
        let revision = row["cfg_rev"].as_u64().unwrap();
        if known.last() != Some(&revision) {
            known.push(revision);
        }
    }
    assert_eq!(revisions["gate"].len(), 1, "{revisions:?}");
    assert_eq!(revisions["crossing"].len(), 2, "{revisions:?}");
}

#[test]
fn f_36_a_broken_file_is_refused_with_its_position_and_the_node_runs_on() {
    let clip = vtest();
    let (_server, urls) = cameras(&[&clip], free_port());
    let good = camera_file(&urls[0], 4.0);
    let node = Node::start(&[("plaza", good.clone())], &["--bin", "2s"]);
    node.wait_for("up", PATIENCE, |node| node.is_in_state("plaza", "up"));
    let broken = good.replace("to: [0.5, 0.66]", "to: [0.5, 1.66]");
    change(&node, "plaza", &broken);
    node.wait_for("the refusal", PATIENCE, |node| reloads(node, "refused") == 1.0);
    let place = "site/cameras/plaza.yaml:7:44: geometry.lines.crossing.to[1]: 1.66 ";
    assert!(node.log().contains(place), "{}", node.log());
    assert_eq!(node.metric("kerbside_config_refused"), Some(1.0));
    let (code, page) = node.get("/").unwrap();
    assert!(code == 200 && page.contains("plaza.yaml:7:44"), "{page}");
    assert_eq!(node.get("/livez").unwrap().0, 200);
    let before = node.analysed("plaza");
    node.wait_for("it goes on", PATIENCE, |node| node.analysed("plaza") > before + 4.0);
    assert_eq!(node.metric("kerbside_camera_reconnects_total{camera=\"plaza\"}"), Some(0.0));

    // What is read only at the start is refused by its key, with all else.
    change(&node, "plaza", &good.replace("analyse_fps: 4", "analyse_fps: 5"));
    let node_yaml = node.folder.path().join("site/node.yaml");
    let text = fs::read_to_string(&node_yaml).unwrap();
    fs::write(&node_yaml, text.replace("name: test-node", "name: other-node")).unwrap();
    node.running.signal(Signal::HUP);
    node.wait_for("the second refusal", PATIENCE, |node| reloads(node, "refused") >= 2.0);
    assert!(node.log().contains("node.yaml: name: changed, but read only when the node starts"), "{}", node.log());
    assert_eq!(node.metric("kerbside_camera_analyse_fps{camera=\"plaza\"}"), Some(4.0), "as a whole");

    // Taken back, all is well again.
    fs::write(&node_yaml, text).unwrap();
    change(&node, "plaza", &good);
    node.running.signal(Signal::HUP);
    node.wait_for("all is well", PATIENCE, |node| node.metric("kerbside_config_refused") == Some(0.0));
    assert!(reloads(&node, "unchanged") >= 1.0 && reloads(&node, "applied") == 0.0);
    let mut node = node;
    assert!(node.running.terminate().success(), "{}", node.log());
}

#[test]
fn cameras_come_and_go_while_the_node_runs() {
    let clip = vtest();
    let (_server, urls) = cameras(&[&clip, &clip], free_port());
    let node = Node::start(&[("first", camera_file(&urls[0], 2.0))], &["--bin", "2s"]);
    node.wait_for("up", PATIENCE, |node| node.is_in_state("first", "up"));
    change(&node, "second", &camera_file(&urls[1], 2.0));
    node.wait_for("the second", PATIENCE, |node| {
        node.is_in_state("second", "up") && node.analysed("second") > 2.0
    });
    fs::remove_file(node.folder.path().join("site/cameras/first.yaml")).unwrap();
    node.wait_for("the end of the first", PATIENCE, |node| reloads(node, "applied") == 2.0);
    let (_, page) = node.get("/metrics").unwrap();
    let left: Vec<&str> = page.lines().filter(|line| line.contains("\"first")).collect();
    assert!(left.is_empty(), "series of a camera that is gone: {left:?}");
    let before = node.analysed("second");
    node.wait_for("the second goes on", PATIENCE, |node| node.analysed("second") > before + 2.0);
    assert!(!node.get("/").unwrap().1.contains("first"));
    let mut node = node;
    assert!(node.running.terminate().success(), "{}", node.log());
    // Everything that the first had counted is there, its last bin included.
    assert!(!bins(&node, "first", "crossing").is_empty() && !bins(&node, "second", "crossing").is_empty());
}

#[test]
fn the_service_manager_hears_that_the_node_is_ready_alive_reloading_and_stopping() {
    let clip = vtest();
    let (_server, urls) = cameras(&[&clip], free_port());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify.sock");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let metrics = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let status = folder.path().join("status.sock");
    common::write_site(folder.path(), "test-node", metrics, &[("plaza", camera_file(&urls[0], 2.0))], "");
    let site = folder.path().join("site");
    let text = fs::read_to_string(site.join("node.yaml")).unwrap();
    let with_socket =
        text.replace(&format!("\"{metrics}\""), &format!("\"{metrics}\", socket: {}", status.display()));
    assert_ne!(with_socket, text);
    fs::write(site.join("node.yaml"), with_socket).unwrap();
    let log = fs::File::create(folder.path().join("node.log")).unwrap();
    let child = program("kerbside")
        .args(["run", "--insecure-dev", "--config"])
        .arg(&site)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "3000000")
        .stderr(log)
        .spawn()
        .unwrap();
    let mut node = common::Running(child);
    let mut buffer = [0; 512];
    let mut next = || {
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert!(next().starts_with("READY=1"));
    assert!(next().starts_with("WATCHDOG=1"));
    assert!(next().starts_with("WATCHDOG=1"), "it comes again and again");
    // Health checks find it by either door.
    let health = kerbside(["health".as_ref(), "--config".as_ref(), site.as_os_str()]);
    assert!(health.status.success() && common::stdout(&health).contains("alive"), "{}", common::stderr(&health));
    assert!(status.exists());
    node.signal(Signal::HUP);
    let mut told = Vec::new();
    while !told.iter().any(|line: &String| line.starts_with("RELOADING=1")) {
        told.push(next());
    }
    assert!(told.last().unwrap().contains("MONOTONIC_USEC="), "{told:?}");
    assert!(next().starts_with("READY=1"));
    node.signal(Signal::TERM);
    while !told.iter().any(|line: &String| line.starts_with("STOPPING=1")) {
        told.push(next());
    }
    assert!(node.0.wait().unwrap().success());
    assert!(!status.exists(), "the socket is gone with the node");
    let health = kerbside(["health".as_ref(), "--config".as_ref(), site.as_os_str()]);
    assert_eq!(health.status.code(), Some(1));
    assert!(common::stderr(&health).contains("no node answers"), "{}", common::stderr(&health));
}
