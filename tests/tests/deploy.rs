//! What is deployed: the files of `deploy/` held to their own tools, and the node in its image.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use common::{program, python, root, stderr, stdout, target, vtest};

/// One test: both parts share a Python, which is made when it is missing. Where no image can be built the second part
/// says so; in CI that is an error.
#[test]
fn deployment_files_are_sound_and_the_node_runs_in_its_image_with_a_read_only_root_and_no_rights() {
    let python = python("deploy");
    let root = root();
    run(&python, "tests/deploy/files.py", &[root.as_os_str()]);
    let kerbside = program("kerbside");
    let programs = Path::new(kerbside.get_program()).parent().unwrap();
    let (clip, target) = (vtest(), target());
    let arguments = [
        OsStr::new("--programs"),
        programs.as_os_str(),
        OsStr::new("--clip"),
        clip.as_os_str(),
        OsStr::new("--target"),
        target.as_os_str(),
    ];
    run(&python, "tests/deploy/image.py", &arguments);
}

/// Runs a script to its end, and shows what it found.
fn run(python: &Path, script: &str, arguments: &[&OsStr]) {
    let mut command = Command::new(python);
    command.arg(script).args(arguments).current_dir(root()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}\n{}", stdout(&output), stderr(&output));
    println!("{}", stdout(&output).trim_end());
}
