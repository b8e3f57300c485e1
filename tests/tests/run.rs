//! The running node: cameras that come and go, kill -9, metrics, Ctrl-C.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use common::{
    Node, camera_file, cameras, free_port, kerbside, program, rows, rows_despite_damage, stderr, stdout, vtest,
};
use rustix::process::Signal;

/// Long enough for a loaded machine; nothing here measures speed.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_lost_camera_comes_back_and_does_not_disturb_the_other() {
    let clip = vtest();
    let lost_port = free_port();
    let (mut lost_server, lost_urls) = cameras(&[&clip], lost_port);
    let (_steady_server, steady_urls) = cameras(&[&clip], free_port());
    let node = Node::start(
        &[("lost", camera_file(&lost_urls[0], 2.0)), ("steady", camera_file(&steady_urls[0], 2.0))],
        &["--bin", "5s"],
    );
    for camera in ["lost", "steady"] {
        node.wait_for("both cameras up", PATIENCE, |node| {
            node.is_in_state(camera, "up") && node.analysed(camera) > 2.0
        });
    }
    assert_eq!(node.get("/livez").unwrap().0, 200);
    node.wait_for("ready", PATIENCE, |node| node.get("/readyz").unwrap().0 == 200);

    lost_server.kill();
    let noticed = node.wait_for("connecting", PATIENCE, |node| node.is_in_state("lost", "connecting"));
    println!("noticed after {noticed:?}");
    let before = node.analysed("steady");
    node.wait_for("a second attempt", PATIENCE, |node| {
        node.metric("kerbside_camera_reconnects_total{camera=\"lost\"}").unwrap_or_default() >= 2.0
    });
    node.wait_for("the steady camera goes on", PATIENCE, |node| node.analysed("steady") > before + 2.0);
    assert_eq!(node.metric("kerbside_camera_reconnects_total{camera=\"steady\"}"), Some(0.0));

    let (_again, _) = cameras(&[&clip], lost_port);
    let back = node.wait_for("up again", PATIENCE, |node| node.is_in_state("lost", "up"));
    println!("back after {back:?}");
    let lines = node.log();
    assert!(lines.lines().count() < 60, "too many log lines\n{lines}");
}

#[test]
fn rows_that_were_synced_survive_kill_9_and_a_torn_tail_is_reported() {
    let clip = vtest();
    let (_server, urls) = cameras(&[&clip], free_port());
    let mut node = Node::start(&[("plaza", camera_file(&urls[0], 2.0))], &["--bin", "2s"]);
    node.wait_for("released rows", PATIENCE, |node| {
        node.metric("kerbside_released_rows_total{table=\"agg.v1\"}").unwrap_or_default() >= 20.0
    });
    node.wait_for("a sync", PATIENCE, |node| node.metric("kerbside_spool_unsynced_rows") == Some(0.0));
    let synced = rows(&node.spool()).len();
    assert!(synced >= 20, "{synced}");
    node.running.kill();

    let survived = rows(&node.spool());
    assert!(survived.len() >= synced, "{} of {synced}", survived.len());
    // What a power cut leaves behind: half a frame.
    let segment = newest_segment(&node.spool().join("agg.v1"));
    let mut torn = fs::read(&segment).unwrap();
    torn.truncate(torn.len() - 20);
    fs::write(&segment, &torn).unwrap();
    let output = kerbside(["events".as_ref(), node.spool().as_os_str(), "--format".as_ref(), "json".as_ref()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(segment.to_str().unwrap()), "{}", stderr(&output));
    let whole: Vec<String> = survived.iter().map(ToString::to_string).collect();
    let left: Vec<String> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap().to_string())
        .collect();
    assert!(!left.is_empty() && left.len() < whole.len());
    assert!(left.iter().all(|row| whole.contains(row)), "a row that was never written");

    // The node goes on with the same spool, and numbers no row twice.
    node.restart(&["--bin", "2s"]);
    node.wait_for("released rows", PATIENCE, |node| {
        node.metric("kerbside_released_rows_total{table=\"agg.v1\"}").unwrap_or_default() >= 8.0
    });
    assert!(node.running.terminate().success(), "{}", node.log());
    let all = rows_despite_damage(&node.spool());
    assert!(all.len() >= left.len() + 8, "the rows after the restart are missing: {} {}", all.len(), left.len());
    let mut keys: Vec<String> =
        all.iter().map(|row| format!("{} {} {}", row["table"], row["epoch"], row["seq"])).collect();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

#[test]
fn the_first_signal_drains_and_closes_the_open_bins() {
    let clip = vtest();
    let (_server, urls) = cameras(&[&clip], free_port());
    let mut node = Node::start(&[("plaza", camera_file(&urls[0], 2.0))], &[]);
    node.wait_for("frames", PATIENCE, |node| node.analysed("plaza") > 3.0);
    let (_, page) = node.get("/metrics").unwrap();
    for metric in [
        "kerbside_frames_in_total",
        "kerbside_frames_dropped_total",
        "kerbside_frames_decoded_total",
        "kerbside_stage_seconds_bucket",
        "kerbside_capture_to_release_seconds_bucket",
        "kerbside_queue_depth_items",
        "kerbside_camera_reconnects_total",
        "kerbside_camera_state",
        "kerbside_spool_bytes",
        "kerbside_process_resident_bytes",
        "kerbside_process_cpu_seconds_total",
    ] {
        assert!(page.contains(&format!("\n{metric}")), "{metric} is missing");
    }
    assert_eq!(node.metric("kerbside_pixels_copied_bytes_total{camera=\"plaza\"}"), Some(0.0));
    assert!(node.running.terminate().success(), "{}", node.log());

    // Bins of 15 minutes were all open; they are released as far as they were observed.
    let rows = rows(&node.spool());
    let agg: Vec<_> = rows.iter().filter(|row| row["table"] == "agg.v1").collect();
    assert_eq!(agg.iter().filter(|row| row["measure"] == "crossing_count").count() % 2, 0);
    assert!(!agg.is_empty());
    for row in agg {
        let coverage = row["coverage"].as_f64().unwrap();
        assert!(coverage > 0.0 && coverage < 1.0, "{row}");
        assert!(row["n_frames"].as_u64().unwrap() >= 3, "{row}");
        assert_eq!(row["release"], "agg_dp");
    }
    assert!(rows.iter().any(|row| row["table"] == "health.v1" && row["camera"] == "plaza"));
}

#[test]
fn a_second_node_on_the_same_spool_is_refused() {
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let node = Node::start(&[("plaza", camera_file(&urls[0], 1.0))], &[]);
    let second = node.folder.path().join("second");
    fs::create_dir_all(second.join("cameras")).unwrap();
    let text = fs::read_to_string(node.folder.path().join("site/node.yaml")).unwrap();
    let text = text.replacen("127.0.0.1:", &format!("127.0.0.1:{}\"}} # ", free_port()), 1);
    fs::write(second.join("node.yaml"), text).unwrap();
    fs::write(second.join("cameras/plaza.yaml"), camera_file(&urls[0], 1.0)).unwrap();
    let output = program("kerbside").args(["run", "--insecure-dev", "--config"]).arg(&second).output().unwrap();
    assert!(!output.status.success());
    let ledger = node.folder.path().join("ledger");
    let said = stderr(&output);
    assert!(said.contains(ledger.to_str().unwrap()) && said.contains("in use by another process"), "{said}");
}

#[test]
fn a_replay_that_is_broken_off_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let child = program("kerbside")
        .arg("replay")
        .arg(vtest())
        .args(["--camera", "deploy/config/examples/campus-path.yaml", "--log", "info"])
        .arg("--out")
        .arg(folder.path().join("out"))
        .arg("--tracks")
        .arg(folder.path().join("tracks.csv"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut running = common::Running(child);
    let partial = folder.path().join("tracks.csv.partial");
    while !partial.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal(Signal::INT);
    let status = running.0.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_clip_that_is_no_clip_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.avi");
    fs::File::create(&text).unwrap().write_all(b"not a clip at all").unwrap();
    for clip in [text.as_path(), Path::new("/no/such/clip.mp4"), folder.path()] {
        let output = program("kerbside")
            .arg("replay")
            .arg(clip)
            .args(["--camera", "deploy/config/examples/campus-path.yaml"])
            .output()
            .unwrap();
        let said = stderr(&output);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{clip:?}: {said}");
        assert!(said.contains(clip.to_str().unwrap()) && !said.contains("panicked"), "{clip:?}: {said}");
    }
}

fn newest_segment(stream: &Path) -> std::path::PathBuf {
    let mut segments: Vec<_> = fs::read_dir(stream)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    segments.pop().unwrap()
}
