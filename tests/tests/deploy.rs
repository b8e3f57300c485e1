//! What is deployed: the files of `deploy/` held to their own tools, and the node in its image.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{program, root, stderr, stdout, target, vtest};

#[test]
fn the_files_of_a_deployment_are_what_their_tools_accept() {
    let output = python().arg(root().join("tests/deploy/files.py")).arg(root()).output().unwrap();
    assert!(output.status.success(), "{}\n{}", stdout(&output), stderr(&output));
    println!("{}", stdout(&output).trim_end());
}

/// Where no image can be built it says so; in CI that is an error.
#[test]
fn the_node_runs_a_clip_and_a_stream_in_its_image_with_a_read_only_root_and_no_rights() {
    // The programs that this test was built with.
    let kerbside = PathBuf::from(program("kerbside").get_program());
    let output = python()
        .arg(root().join("tests/deploy/image.py"))
        .arg("--programs")
        .arg(kerbside.parent().unwrap())
        .arg("--clip")
        .arg(vtest())
        .arg("--target")
        .arg(target())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{}", stdout(&output), stderr(&output));
    println!("{}", stdout(&output).trim_end());
}

/// The interpreter of `tests/deploy`, made when it is missing: `make setup` has made it already.
fn python() -> Command {
    let output = Command::new("sh")
        .arg("deploy/setup/python.sh")
        .args(["deploy", "tests/deploy/requirements.txt"])
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mut command = Command::new(stdout(&output).trim_end());
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(root());
    command
}
