//! Rules of the privacy contract that only a running node can show: what the system may do with its memory, and what
//! its metrics tell.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::Duration;

use common::{Node, camera_file, cameras, free_port, program, root, vtest};
use kerbside_core::detection::Class;
use kerbside_telemetry::Metric;

/// Long enough for a loaded machine; nothing here measures speed.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn pc_16_a_running_node_leaves_no_core_dump_and_lets_nobody_read_its_memory() {
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let node = Node::start(&[("plaza", camera_file(&urls[0], 1.0))], &[]);
    let process = format!("/proc/{}", node.running.0.id());
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{core}");
    // What belongs to an ordinary user becomes root's where the process must not be dumped. For root nothing shows.
    let owner = fs::metadata(format!("{process}/environ")).unwrap().uid();
    assert_eq!(owner, 0);
    assert!(node.log().contains("stays in memory") || node.log().contains("INSECURE"), "{}", node.log());
    let is_insecure = node.log().contains("INSECURE");
    assert_eq!(node.metric("kerbside_insecure_dev"), Some(f64::from(u8::from(is_insecure))));
    // The node still knows itself.
    node.wait_for("its own memory", PATIENCE, |node| {
        node.metric("kerbside_process_resident_bytes").unwrap_or_default() > 0.0
    });
}

#[test]
fn pc_16_a_node_that_could_be_swapped_out_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let swaps = folder.path().join("swaps");
    fs::write(&swaps, "Filename\tType\tSize\tUsed\tPriority\n/dev/fake-disk partition 8388604 0 -2\n").unwrap();
    // A mount namespace of our own, in which the system seems to have that swap.
    let in_namespace = |arguments: &[&str]| {
        Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg("ulimit -l 64 && mount --bind \"$0\" /proc/swaps && exec \"$@\"")
            .arg(&swaps)
            .args(arguments)
            .current_dir(root())
            .output()
    };
    if !in_namespace(&["true"]).is_ok_and(|output| output.status.success()) {
        println!("not shown: this system gives no namespace");
        return;
    }
    let node = program("kerbside");
    let node = node.get_program().to_str().unwrap();
    let config = ["--config", "/no/such/folder"];
    let said = |arguments: &[&str]| {
        let output = in_namespace(&[&[node, "run"], arguments, &config].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2));
        common::stderr(&output)
    };
    let refused = said(&[]);
    if refused.contains("its control group may not use swap") {
        println!("not shown: this system's control group forbids swap");
        return;
    }
    assert!(refused.contains("/dev/fake-disk") && refused.contains("--insecure-dev"), "{refused}");
    assert!(!refused.contains("/no/such/folder"), "it ends before it reads anything: {refused}");
    let warned = said(&["--insecure-dev"]);
    assert!(warned.contains("INSECURE") && warned.contains("/no/such/folder"), "{warned}");
}

#[test]
fn pc_12_metrics_count_nothing_that_the_pictures_show() {
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let node = Node::start(&[("plaza", camera_file(&urls[0], 5.0))], &["--bin", "2s"]);
    node.wait_for("released rows", PATIENCE, |node| {
        node.metric("kerbside_released_rows_total{table=\"agg.v1\"}").unwrap_or_default() >= 4.0
            && node.analysed("plaza") > 10.0
    });
    let (_, page) = node.get("/metrics").unwrap();
    let listed: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    // Lines, zones and operators of `camera_file`, and every class.
    let mut words: BTreeSet<&str> = Class::ALL.iter().map(|class| class.name()).collect();
    words.extend(["crossing", "square", "count_line", "measure_occupancy", "forward", "backward"]);
    let mut series = 0;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let known = listed.contains(name) || family.is_some_and(|family| listed.contains(family));
        assert!(known, "{name} is in no list");
        // Text between quotation marks: label values.
        for value in line.split('"').skip(1).step_by(2) {
            assert!(!words.contains(value), "{line}");
        }
        series += 1;
    }
    assert!(series > 50, "{page}");
    for one in ["kerbside_debug_view_active", "kerbside_findings_lost", "kerbside_incidents_limited"] {
        assert_eq!(node.metric(one), Some(0.0), "{one}");
    }
    // Rule PC-20: what leaves is measured.
    assert!(node.metric("kerbside_egress_bytes_total{class=\"agg\"}").unwrap() > 100.0);
}

#[test]
fn pc_9_and_pc_20_a_node_says_what_is_left_of_its_budget_and_releases_a_bin_once() {
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let mut node = Node::start(&[("plaza", camera_file(&urls[0], 5.0))], &[]);
    let budget = "kerbside_privacy_budget_remaining{camera=\"plaza\"}";
    node.wait_for("a budget and some frames", PATIENCE, |node| {
        node.metric(budget) == Some(0.66) && node.analysed("plaza") > 5.0
    });
    assert_eq!(node.metric("kerbside_privacy_refused_total{rule=\"PC-9\"}"), Some(0.0));
    assert!(node.running.terminate().success(), "{}", node.log());
    let first = agg_rows(&node);
    assert_eq!(first.len(), 4, "{first:#?}");
    for row in &first {
        assert_eq!(row["release"], "agg_dp", "{row}");
        assert!(row["noise_b"].as_f64().unwrap() > 4.5, "{row}");
    }

    // The node starts again, most likely within the same quarter of an hour: then nothing is left, and nothing leaves.
    node.restart(&[]);
    node.wait_for("a budget", PATIENCE, |node| node.metric(budget).is_some() && node.analysed("plaza") > 5.0);
    let left = node.metric(budget).unwrap();
    assert!(node.running.terminate().success(), "{}", node.log());
    let rows = agg_rows(&node);
    let bins: BTreeSet<String> = rows.iter().map(|row| row["t0"].to_string()).collect();
    assert_eq!(rows.len(), 4 * bins.len(), "each counter once a bin: {rows:#?}");
    assert!(left == 0.66 || bins.len() == 1, "{left} was left, and there are {bins:?}");
}

fn agg_rows(node: &Node) -> Vec<serde_json::Value> {
    common::rows(&node.spool()).into_iter().filter(|row| row.get("measure").is_some()).collect()
}
