//! A2: text that someone who writes the configuration tries to send out with the tables, the metrics or the log.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Running, free_port, program, rows, stderr};
use crate::scan::find;
use crate::site::{PATIENCE, Site};

/// The text: a thousand letters that would be allowed in a name, were they not so many.
fn payload() -> String {
    let mut state = 7u32;
    let letters = (0..1024).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 24) as u8 % 26)
    });
    letters.collect()
}

/// The longest part of the text that may come back in the answer to who wrote it: three names' length.
const ECHO: usize = 96;

const CAMERA: &str = "source: SOURCE\nanalyse_fps: 2\ndetector: {model: MODEL, min_score: 0.5}\n\
                      classes: [CLASS]\ngeometry:\n  lines:\n    SITE: {from: [0.5, 0.3], to: [0.5, 0.66]}\n  \
                      zones:\n    OTHER: {polygon: [[0.1, 0.3], [0.9, 0.3], [0.9, 0.9]]}\noperators:\n  \
                      count_line: [{line: SITE}]\n  OPERATOR: [{zone: OTHER}]\n";

/// The camera's file with other words in some places.
fn camera_file(words: &[(&str, &str)]) -> String {
    let plain = [
        ("SOURCE", "rtsp://127.0.0.1:9/stream"),
        ("MODEL", "nanodet-g"),
        ("CLASS", "person"),
        ("SITE", "crossing"),
        ("OTHER", "square"),
        ("OPERATOR", "measure_occupancy"),
    ];
    let text = words.iter().fold(CAMERA.to_owned(), |text, (place, word)| text.replace(place, word));
    plain.iter().fold(text, |text, (place, word)| text.replace(place, word))
}

/// Runs a node that must not start.
fn refused(site: &Site) -> Output {
    let child = program("kerbside")
        .args(["run", "--insecure-dev", "--log", "trace", "--config"])
        .arg(site.path("site"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let since = Instant::now();
    while running.0.try_wait().unwrap().is_none() {
        assert!(since.elapsed() < PATIENCE && site.fetch("/metrics").is_none(), "the node runs");
        thread::sleep(Duration::from_millis(10));
    }
    let mut output = Output { status: running.0.wait().unwrap(), stdout: Vec::new(), stderr: Vec::new() };
    running.0.stdout.take().unwrap().read_to_end(&mut output.stdout).unwrap();
    running.0.stderr.take().unwrap().read_to_end(&mut output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    output
}

/// Whether any part of the payload that is longer than [`ECHO`] is in the bytes.
fn holds(bytes: &[u8], payload: &str) -> bool {
    payload.as_bytes().windows(ECHO + 1).any(|part| find(bytes, part).is_some())
}

#[test]
fn a_2_names_that_carry_text_are_refused_and_not_repeated() {
    let payload = payload();
    let sentence = "Anna Schmidt, Hauptstr. 1";
    let label = "x\\\"} 1\\nkerbside_smuggled{x=\\\"";
    for place in ["MODEL", "CLASS", "SITE", "OTHER", "OPERATOR"] {
        for word in [payload.clone(), format!("\"{sentence}\""), format!("\"{label}\"")] {
            let site = Site::new(&[("plaza", camera_file(&[(place, &word)]))]);
            let output = refused(&site);
            assert!(stderr(&output).contains("plaza.yaml:"), "{place}: {}", stderr(&output));
            assert!(!holds(&output.stderr, &payload), "{place}: {}", stderr(&output));
            assert!(output.stdout.is_empty() && !site.path("spool").exists(), "{place}");
        }
    }
    for line in ["note: TEXT", "time_zone: TEXT", "TEXT: 1", "privacy: {profile: TEXT}", "# x\nclasses: [TEXT]"] {
        let site = Site::new(&[("plaza", camera_file(&[]) + &line.replace("TEXT", &payload))]);
        let output = refused(&site);
        assert!(!holds(&output.stderr, &payload), "{line}: {}", stderr(&output));
    }
    let node = Site::new(&[("plaza", camera_file(&[]))]);
    let text = fs::read_to_string(node.path("site/node.yaml")).unwrap();
    for word in [payload.as_str(), sentence] {
        fs::write(node.path("site/node.yaml"), text.replace("test-node", word)).unwrap();
        assert!(!holds(&refused(&node).stderr, &payload), "node: {word}");
    }
}

#[test]
fn a_2_a_file_name_is_a_cameras_name_or_refused() {
    let payload = payload();
    for name in [&payload[..240], "Anna Schmidt", "x\"} 1\nkerbside_smuggled{x=\""] {
        let site = Site::new(&[(name, camera_file(&[]))]);
        let output = refused(&site);
        assert!(stderr(&output).contains("is not a camera's name"), "{name}: {}", stderr(&output));
        assert!(!stderr(&output).lines().any(|line| line.starts_with("kerbside_smuggled")), "a line of its own");
        assert!(!site.path("spool").exists());
    }
}

#[test]
fn a_2_credentials_are_refused_in_the_address_and_never_told() {
    const SECRET: &str = "hunter2-is-secret";
    for source in [
        format!("rtsp://admin:{SECRET}@127.0.0.1:9/stream"),
        format!("rtsp://{SECRET}@127.0.0.1:9/stream"),
        format!("rtsp://admin:{SECRET}@"),
        format!("rtsp://admin:{SECRET}@[::1/stream"),
    ] {
        let site = Site::new(&[("plaza", camera_file(&[("SOURCE", &source)]))]);
        let output = refused(&site);
        assert!(!stderr(&output).contains(SECRET), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
    }

    // In the path, where some cameras want it, and in the file for it: both are used and neither is told.
    let file = camera_file(&[("SOURCE", &format!("rtsp://127.0.0.1:{}/{SECRET}?token={SECRET}", free_port()))])
        + "credentials: {username: kerbside, password: {file: ../../password}}\n";
    let mut site = Site::new(&[("plaza", file)]);
    private(&site.path("password"), SECRET);
    site.start(&["--log", "trace", "--bin", "1s"]);
    site.wait_for("attempts", |site| site.metric("kerbside_camera_reconnects_total{camera=\"plaza\"}") >= 2.0);
    site.wait_for("rows", |site| site.released("agg.v1") >= 1.0);
    site.terminate();
    assert!(!rows(&site.path("spool")).is_empty());
    for piece in site.egress().iter().filter(|piece| piece.name != "password") {
        assert!(find(&piece.bytes, SECRET.as_bytes()).is_none(), "{} tells it", piece.name);
    }
}

fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
