//! The program: what it says and how it ends.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use kerbside_release::Table;

use crate::common::*;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kerbside-gateway"))
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn check(file: &Path) -> (Option<i32>, String) {
    let output = program().args(["check", "--config"]).arg(file).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_example_lacks_nothing_but_its_secrets() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/gateway/gateway.yaml");
    let (code, said) = check(&example);
    assert_eq!(code, Some(2));
    let problems: Vec<&str> = said.lines().filter(|line| line.contains("gateway.yaml:")).collect();
    assert_eq!(problems.len(), 3, "{said}");
    assert!(problems.iter().all(|problem| problem.contains("there is no file /run/secrets/")), "{said}");
    assert!(said.ends_with("3 problems\n"), "{said}");
    // With every key that is commented out, but for the bucket.
    let text = fs::read_to_string(&example).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let all: String = text
        .lines()
        .map(|line| {
            let is_key = line.trim_start().starts_with("# ") && line.contains(':') && !line.ends_with('.');
            let key = line.replacen("# ", "", 1);
            let is_bucket = ["s3", "bucket", "prefix", "region", "endpoint", "access_key", "secret_key"]
                .iter()
                .any(|name| key.trim_start().starts_with(&format!("{name}:")));
            let is_plain = key.trim_start().split(':').next().is_some_and(|name| !name.contains(' '));
            format!("{}\n", if is_key && is_plain && !is_bucket { &key } else { line })
        })
        .collect();
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, &all).unwrap();
    let (_, said) = check(&file);
    let problems: Vec<&str> = said.lines().filter(|line| line.contains("gateway.yaml:")).collect();
    assert!(all.contains("\nretention:\n  incident: 72h"), "{all}");
    assert!(problems.iter().all(|problem| problem.contains("there is no file /run/secrets/")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_until_it_is_asked_to_stop_and_says_what_it_has() {
    let city = City::new();
    let (port, metrics) = (free_port(), free_port());
    let tls = &city.settings.tls;
    let file = city.folder.path().join("gateway.yaml");
    let text = format!(
        "listen: 127.0.0.1:{port}\nmetrics: {{address: '127.0.0.1:{metrics}'}}\ncommit_interval: 20ms\n\
         tls: {{certificate: {}, key: {}, authority: {}}}\nlanding: {{folder: landing}}\nstate: {{folder: state}}\n",
        tls.certificate.display(),
        tls.key.display(),
        tls.authority.display()
    );
    fs::write(&file, text).unwrap();
    assert_eq!(check(&file).0, Some(0));
    let mut running = program().args(["run", "--config"]).arg(&file).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(running.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("the gateway runs")));
    let reader = std::thread::spawn(move || log.map(Result::unwrap).collect::<Vec<_>>());

    // The state has one gateway.
    let second = program().args(["run", "--config"]).arg(&file).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("another gateway works on the state"), "{said}");

    let batches = Cabinet::new("cabinet", 7).agg(3);
    deliver(([127, 0, 0, 1], port).into(), &city.issue(Role::Node, "cabinet"), 0, &batches).await;
    let stopped = Command::new("kill").arg(running.id().to_string()).status().unwrap();
    assert!(stopped.success());
    assert_eq!(running.wait().unwrap().code(), Some(0), "{:?}", reader.join().unwrap());

    let summary = program().args(["summary", "--json", "--config"]).arg(&file).output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&summary.stdout).unwrap();
    assert_eq!(
        (said["days"][0]["node"].as_str(), said["days"][0]["table"].as_str()),
        (Some("cabinet"), Some("agg.v1"))
    );
    assert_eq!(said["days"][0]["rows"].as_u64(), Some(expected(&batches).len() as u64));
    let plain = program().args(["summary", "--landing"]).arg(city.landing()).output().unwrap();
    let said = String::from_utf8(plain.stdout).unwrap();
    assert!(said.starts_with(&format!("cabinet  {}  2026-03-29 ", Table::Agg)), "{said}");
    let missing = program().args(["summary", "--landing", "/no/such/folder"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
}
