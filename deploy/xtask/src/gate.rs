//! The gate and the benchmarks.

use crate::shell::{cargo, root, run, target, works};

/// Everything that must hold before a change lands. Licences, crate edges and other rules of the tree
/// are tests themselves (`tests/tests/tidy.rs`).
pub(crate) fn ci() -> anyhow::Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))?;
    // The tests start the real programs.
    run(&mut cargo(&["build", "--workspace", "--locked"]))?;
    if works(&mut cargo(&["nextest", "--version"])) {
        run(&mut cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]))?;
    } else {
        run(&mut cargo(&["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"]))?;
    }
    run(&mut kernels_with_assertions())?;
    run(&mut cargo(&["test", "--workspace", "--locked", "--doc"]))?;
    run(cargo(&["doc", "--workspace", "--locked", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings"))
}

/// The int8 engine's tests once more, with the assertions on every access to memory and on every sum that the
/// ordinary profile leaves out.
fn kernels_with_assertions() -> std::process::Command {
    const PROFILE: &str = "profile.dev.package.kerbside-models";
    // Of the whole workspace: with fewer packages, dependencies would be compiled anew with fewer features.
    let mut tests = cargo(&["test", "--workspace", "--locked", "--lib"]);
    for setting in ["debug-assertions=true", "overflow-checks=true"] {
        tests.arg("--config").arg(format!("{PROFILE}.{setting}"));
    }
    tests.args(["--", "int8::"]);
    tests
}

/// The test of kills, five times as long.
pub(crate) fn soak() -> anyhow::Result<()> {
    run(&mut cargo(&["build", "--workspace", "--locked"]))?;
    let mut test = cargo(&["test", "--workspace", "--locked", "--test", "kills", "--", "--nocapture"]);
    run(test.env("KERBSIDE_KILLS", "1000"))
}

/// What this machine does: the tracker, the operators and the release of a bin by themselves, then the committed model
/// and the real clip.
pub(crate) fn bench() -> anyhow::Result<()> {
    run(&mut cargo(&["bench", "--locked", "--package", "kerbside-operators", "--benches"]))?;
    run(&mut cargo(&["bench", "--locked", "--package", "kerbside-privacy", "--bench", "release_bin"]))?;
    let programs = ["--package", "kerbside", "--package", "kerbside-gateway"];
    run(cargo(&["build", "--release", "--locked"]).args(programs))?;
    let kerbside = target().join("release/kerbside");
    let mut detect = std::process::Command::new(&kerbside);
    run(detect.args(["bench", "detect"]).current_dir(root()))?;
    run(std::process::Command::new(&kerbside).args(["bench", "uplink"]))?;
    let mut replay = std::process::Command::new(&kerbside);
    replay
        .arg("replay")
        .arg(target().join("clips/vtest.avi"))
        .args(["--camera", "deploy/config/examples/campus-path.yaml"])
        .current_dir(root());
    run(&mut replay)
}
