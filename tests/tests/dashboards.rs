//! Dashboards and rules: checked as they lie, and evaluated by a real Prometheus that scrapes a real node and gateway.
//!
//! `tests/dashboards` does both in Python, which has readers of YAML, of PromQL and of Grafana's schema; what is here
//! brings the list of metrics and the programs.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::city::City;
use common::{Node, Running, camera_file, cameras, free_port, http_get, python, root, stderr, stdout, vtest};
use kerbside_telemetry::{Kind, Metric};

/// Long enough for a loaded machine and the ends of two minutes; nothing here measures speed.
const PATIENCE: Duration = Duration::from_secs(240);
const NAME: &str = "cabinet-1";
const CAMERAS: [&str; 2] = ["plaza", "bridge"];

#[test]
fn dashboards_and_rules_hold_together_and_name_every_metric() {
    needs("promtool");
    let python = python("dashboards");
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("metrics.json");
    let metrics: Vec<serde_json::Value> = Metric::ALL
        .into_iter()
        .map(|metric| {
            let kind = match metric.kind() {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            serde_json::json!({ "name": metric.name(), "type": kind, "labels": metric.labels() })
        })
        .collect();
    fs::write(&list, serde_json::to_string(&metrics).unwrap()).unwrap();
    let output = run(&python, "check.py", list.as_os_str());
    assert!(output.status.success(), "{}", stderr(&output));
    println!("{}", stdout(&output).trim_end());
}

#[test]
fn every_expression_gives_data_on_a_healthy_node() {
    needs("prometheus");
    let python = python("dashboards");
    let clip = vtest();
    let (_plaza, plaza_urls) = cameras(&[&clip], free_port());
    let (_bridge, bridge_urls) = cameras(&[&clip], free_port());
    let city = City::start(&[NAME], "commit_interval: 200ms\n");
    // Two frames a second, for a machine that has little to spare, and a guard, for what it says.
    let file = |url: &str| camera_file(url, 2.0) + "  detect_tamper: [{}]\n";
    let files = [(CAMERAS[0], file(&plaza_urls[0])), (CAMERAS[1], file(&bridge_urls[0]))];
    // Bins as in the street: numbers with noise have a budget, those of a demonstration have none.
    let node = Node::start_as(NAME, &files, &[], &city.uplink(NAME));
    let of_node = metrics_address(&node.folder.path().join("site/node.yaml"));
    let of_gateway = metrics_address(&city.folder.path().join("gateway.yaml"));
    let prometheus = Prometheus::start(of_node, of_gateway);

    node.wait_for("a whole minute of each camera", PATIENCE, |node| {
        let coverage = |camera| node.metric(&format!("kerbside_camera_coverage_ratio{{camera=\"{camera}\"}}"));
        CAMERAS.into_iter().all(|camera| coverage(camera).is_some())
    });
    // A row a camera and minute. A series at the gateway begins with its first rows, and a rate needs the next.
    node.wait_for("the rows of two minutes at the city", PATIENCE, |node| {
        let stored = node.metric("kerbside_uplink_stored_rows_total{table=\"health.v1\"}").unwrap_or_default();
        stored >= 2.0 * CAMERAS.len() as f64
    });
    let address = format!("http://{}", prometheus.address);
    let output = run(&python, "evaluate.py", address.as_ref());
    assert!(output.status.success(), "{}\n{}\n{}", stderr(&output), prometheus.log(), node.log());
    println!("{}", stdout(&output).trim_end());
}

/// Debian's Prometheus with the rules of the tree, in a folder of its own.
struct Prometheus {
    // Before the folder, so that it has ended when the folder goes.
    _running: Running,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one that scrapes a node and a gateway every second.
    fn start(node: SocketAddr, gateway: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let rules = root().join("dashboards/prometheus");
        let settings = serde_json::json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [rules.join("recording.yaml"), rules.join("alerts.yaml")],
            "scrape_configs": [
                {
                    "job_name": "kerbside",
                    "static_configs": [{ "targets": [node.to_string()], "labels": { "node": NAME } }],
                },
                { "job_name": "kerbside-gateway", "static_configs": [{ "targets": [gateway.to_string()] }] },
            ],
        });
        // JSON is YAML.
        let file = folder.path().join("prometheus.yaml");
        fs::write(&file, settings.to_string()).unwrap();
        let log = fs::File::create(folder.path().join("prometheus.log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let prometheus = Self { _running: Running(child), folder, address };
        let since = Instant::now();
        while http_get(address, "/-/ready").is_none_or(|(code, _)| code != 200) {
            assert!(since.elapsed() < PATIENCE, "Prometheus is not ready\n{}", prometheus.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        prometheus
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("prometheus.log")).unwrap()
    }
}

/// Where a node or gateway serves its metrics, as its configuration says.
fn metrics_address(file: &Path) -> SocketAddr {
    let text = fs::read_to_string(file).unwrap();
    let (_, rest) = text.split_once("metrics: {address: \"").unwrap();
    rest.split('"').next().unwrap().parse().unwrap()
}

/// Fails in words where one of Prometheus' programs is not installed.
fn needs(program: &str) {
    let found = Command::new(program).arg("--version").output();
    assert!(found.is_ok(), "{program} is missing: run sh deploy/setup/packages.sh observe");
}

/// Runs a script of `tests/dashboards`.
fn run(python: &Path, script: &str, argument: &std::ffi::OsStr) -> Output {
    let script = root().join("tests/dashboards").join(script);
    Command::new(python).arg(script).arg(argument).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap()
}
