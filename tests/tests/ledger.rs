//! `kerbside ledger`, as a privacy officer meets it.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::process::Output;

use common::{camera_file, kerbside, stderr, stdout};

fn site() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("cameras")).unwrap();
    fs::write(folder.path().join("node.yaml"), "name: test-node\nspool: {folder: data/spool}\n").unwrap();
    let camera = camera_file("rtsp://10.0.4.21/stream2", 10.0);
    fs::write(folder.path().join("cameras/plaza.yaml"), camera).unwrap();
    folder
}

fn ledger(folder: &Path, more: &[&str]) -> Output {
    kerbside([&["ledger", "--config", folder.to_str().unwrap()], more].concat())
}

#[test]
fn a_14_a_ledger_that_is_missing_is_shown_as_such_and_renewed_once() {
    let folder = site();
    let folder = folder.path();
    let file = folder.join("data/ledger/ledger.txt");
    let output = ledger(folder, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), format!("privacy ledger {}: nothing was released yet\n", file.display()));
    assert!(!folder.join("data").exists(), "looking makes nothing");
    let output = ledger(folder, &["--renew"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("needs no renewal"), "{}", stderr(&output));

    fs::create_dir_all(folder.join("data/spool/agg.v1")).unwrap();
    fs::write(folder.join("data/spool/agg.v1/1-0.seg"), "rows of another day").unwrap();
    let output = ledger(folder, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains(": refusing\n"), "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains(&format!("{} is missing", file.display())) && said.contains("--renew"), "{said}");

    let output = ledger(folder, &["--renew"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    for part in [": sound\n", "generation 1, 1 renewal\n", "T00:00:00.000Z is released, whatever the camera\n"] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    for account in ["person", "bicycle", "vehicle", "alert"] {
        let row = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert!(row.into_iter().any(|words| words == ["plaza", account, "-", "-"]), "{account}\n{said}");
    }
    assert_eq!(ledger(folder, &["--renew"]).status.code(), Some(2));
    assert_eq!(ledger(folder, &["--renew", "--forget-future"]).status.code(), Some(2));
    assert_eq!(ledger(folder, &["--forget-future"]).status.code(), Some(2));

    fs::remove_file(folder.join("data/spool/ledger-witness.txt")).unwrap();
    let output = ledger(folder, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("ledger-witness.txt is missing"), "{}", stderr(&output));
}

#[test]
fn a_14_a_ledger_in_use_is_shown_and_not_renewed() {
    let folder = site();
    let folder = folder.path();
    fs::create_dir_all(folder.join("data/ledger")).unwrap();
    fs::create_dir_all(folder.join("data/spool/agg.v1")).unwrap();
    fs::write(folder.join("data/spool/agg.v1/1-0.seg"), "rows of another day").unwrap();
    let lock = File::create(folder.join("data/ledger/lock")).unwrap();
    lock.try_lock().unwrap();
    assert_eq!(ledger(folder, &[]).status.code(), Some(1));
    let output = ledger(folder, &["--renew"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is in use by another process"), "{}", stderr(&output));
}
