//! The status page's doors: who may come in, and what they may do.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use common::{Node, camera_file, cameras, free_port, vtest};
use kerbside_telemetry::Metric;
use rustix::process::Signal;

/// Long enough for a loaded machine; nothing here measures speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer as it came: head and body.
fn answer(address: SocketAddr, head: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let length = body.len();
    write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String, String) {
    answer(address, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n"), "")
}

fn post(address: SocketAddr, path: &str, form: &str) -> (u16, String, String) {
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    answer(address, &format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{kind}"), form)
}

fn token(page: &str) -> String {
    let (_, after) = page.split_once("name=\"token\"").unwrap();
    let (_, after) = after.split_once("value=\"").unwrap();
    after.split('"').next().unwrap().to_owned()
}

#[test]
fn pc_17_setup_mode_needs_leave_and_our_own_page() {
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let plaza = camera_file(&urls[0], 4.0);
    let forbidding = Node::start(&[("plaza", plaza.clone())], &["--bin", "5s"]);
    let door = forbidding.address();
    assert!(get(door, "localhost", "/setup").2.contains("at_most"), "it says what would allow it");
    assert_eq!(get(door, "localhost", "/setup/background.png").0, 404);
    assert!(!get(door, "localhost", "/setup").2.contains("<form"));
    drop(forbidding);

    let node = Node::start_as("test-node", &[("plaza", plaza)], &["--bin", "5s"], "setup: {at_most: 10m}\n");
    let door = node.address();
    node.wait_for("up", PATIENCE, |node| node.is_in_state("plaza", "up"));
    let (_, _, page) = get(door, "localhost", "/setup");
    let token = token(&page);
    for (form, expected) in [
        ("token=0&camera=plaza&minutes=5".to_owned(), 403),
        (format!("token={token}&camera=plaza&minutes=11"), 400),
        (format!("token={token}&camera=plaza&minutes=0"), 400),
        (format!("token={token}&camera=bridge&minutes=5"), 404),
        (format!("token={token}&camera=plaza&minutes=many"), 422),
        (format!("token={token}&camera={}&minutes=5", "x".repeat(5000)), 413),
    ] {
        let (code, _, text) = post(door, "/setup/start", &form);
        assert_eq!(code, expected, "{form}: {text}");
    }
    assert_eq!(node.metric("kerbside_debug_view_active"), Some(0.0));
    assert_eq!(post(door, "/setup/start", &format!("token={token}&camera=plaza&minutes=5")).0, 303);
    node.wait_for("it is told", PATIENCE, |node| node.metric("kerbside_debug_view_active") == Some(1.0));
    assert!(node.log().contains("setup mode is on"), "{}", node.log());
    assert_eq!(get(door, "localhost", "/setup/background.png").0, 404, "not enough was seen yet");
    assert_eq!(post(door, "/setup/stop", "token=0").0, 403);
    assert_eq!(post(door, "/setup/stop", &format!("token={token}")).0, 303);
    node.wait_for("it is over", PATIENCE, |node| node.metric("kerbside_debug_view_active") == Some(0.0));

    // Leave that is taken back while it is on ends it, and a form of before is refused for want of leave.
    let form = format!("token={token}&camera=plaza&minutes=5");
    assert_eq!(post(door, "/setup/start", &form).0, 303);
    let file = node.folder.path().join("site/node.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("setup: {at_most: 10m}\n", "")).unwrap();
    node.running.signal(Signal::HUP);
    let applied = "kerbside_config_reloads_total{result=\"applied\"}";
    node.wait_for("leave is taken back", PATIENCE, |node| node.metric(applied) == Some(1.0));
    assert!(get(door, "localhost", "/setup").2.contains("at_most"), "it says again what would allow it");
    let (code, _, text) = post(door, "/setup/start", &form);
    assert!(code == 403 && text.contains("does not allow setup mode"), "{code}: {text}");
}

#[test]
fn pages_answer_to_loopback_names_alone_and_say_what_a_browser_may_do() {
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let node = Node::start(&[("plaza", camera_file(&urls[0], 2.0))], &["--bin", "5s"]);
    let door = node.address();
    for host in ["localhost", "127.0.0.1:9600", "[::1]:1234"] {
        assert_eq!(get(door, host, "/livez").0, 200, "{host}");
    }
    // A name that somebody has made to point here.
    for page in ["/", "/metrics", "/setup"] {
        assert_eq!(get(door, "rebound.example", page).0, 421);
    }
    for page in ["/", "/setup"] {
        let (code, head, body) = get(door, "localhost", page);
        assert_eq!(code, 200);
        assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
        assert!(head.contains("cache-control: no-store") && head.contains("nosniff"), "{head}");
        assert!(!body.contains("<img") && !body.contains("<script>"), "{body}");
    }
    let whole: usize = ["/", "/assets/page.css", "/assets/page.js"]
        .iter()
        .map(|page| get(door, "localhost", page))
        .map(|(code, _, body)| {
            assert_eq!(code, 200);
            body.len()
        })
        .sum();
    assert!(whole < 40_000, "the page is small: {whole} bytes");
    assert_eq!(get(door, "localhost", "/assets/../node.yaml").0, 404);
}

#[test]
fn every_metric_of_a_node_is_told_or_it_is_known_why_not() {
    // Told once there is something to tell, or on machines that offer it.
    const NOT_YET: [&str; 12] = [
        "kerbside_camera_coverage_ratio",
        "kerbside_camera_energy_joules_total",
        "kerbside_camera_tampered",
        "kerbside_energy_joules_total",
        "kerbside_inference_energy_joules_total",
        "kerbside_machine_temperature_celsius",
        "kerbside_machine_throttles_total",
        "kerbside_machine_undervoltage",
        // In a demonstration nothing has noise.
        "kerbside_privacy_budget",
        "kerbside_privacy_budget_remaining",
        "kerbside_released_rows_total",
        "kerbside_egress_bytes_total",
    ];
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let node = Node::start(&[("plaza", camera_file(&urls[0], 4.0))], &["--bin", "5s"]);
    let costs = "kerbside_camera_cpu_seconds_total{camera=\"plaza\"}";
    node.wait_for("a camera that costs something", PATIENCE, |node| {
        node.analysed("plaza") > 8.0 && node.metric(costs).unwrap_or_default() > 0.0
    });
    let (_, page) = node.get("/metrics").unwrap();
    let is_told = |name: &str| page.lines().any(|line| line.starts_with(&format!("# TYPE {name} ")));
    let of_node = Metric::ALL.into_iter().filter(|metric| metric.is_of_node()).map(Metric::name);
    let missing: Vec<&str> = of_node
        .filter(|name| !is_told(name) && !NOT_YET.contains(name) && !name.starts_with("kerbside_uplink_"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let told = |series: &str| node.metric(series).unwrap_or_else(|| panic!("{series}"));
    assert!(told("kerbside_process_threads") > 5.0 && told("kerbside_process_open_files") > 5.0);
    assert!(
        told("kerbside_machine_memory_bytes{kind=\"total\"}")
            > told("kerbside_machine_memory_bytes{kind=\"available\"}")
    );
    assert!(told("kerbside_spool_disk_bytes{kind=\"size\"}") > told("kerbside_spool_disk_bytes{kind=\"free\"}"));
    assert!(told(costs) <= told("kerbside_process_cpu_seconds_total") + 0.5);
    assert_eq!(told("kerbside_thread_hung{thread=\"plaza/lane\"}"), 0.0);
    assert_eq!(told(&format!("kerbside_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
}
