//! The same outage for Kerbside and its peers: what a client that publishes to an MQTT broker loses while the broker is
//! away, and what a node loses while its gateway is.
//!
//! `tests/peers` measures the client, in Python since that is what the peer's is written in; `tests/tests/peer_outage.rs`
//! measures the node. `pipeline/uplink/README.md` holds the table and says what it means.

use std::fs;
use std::process::Command;

use anyhow::Context as _;

use crate::python::{environment, script};
use crate::shell::{cargo, root, run, target};

/// Installs what is missing, measures and prints the table; the figures go to `target/peers/mqtt.jsonl` too.
pub(crate) fn run_outages(minutes: &[f64], speed: f64) -> anyhow::Result<()> {
    run(Command::new("sh").arg(root().join("deploy/setup/packages.sh")).arg("peers"))?;
    let scripts = root().join("tests/peers");
    let python = environment("peers", &scripts.join("requirements.txt"))?;
    let folder = target().join("peers");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    run(script(&python, &scripts.join("mqtt_outage.py"))
        .arg("--minutes")
        .args(minutes.iter().map(f64::to_string))
        .args(["--speed", &speed.to_string()])
        .arg("--out")
        .arg(folder.join("mqtt.jsonl")))
}

/// Runs a real node against a real gateway through the same outages, in real time, and prints its rows of the table.
pub(crate) fn run_kerbside(minutes: &[f64]) -> anyhow::Result<()> {
    let minutes: Vec<String> = minutes.iter().map(f64::to_string).collect();
    // The test starts the real programs.
    run(&mut cargo(&["build", "--locked", "-p", "kerbside", "-p", "kerbside-gateway", "-p", "kerbside-camera"]))?;
    run(cargo(&[
        "test",
        "--locked",
        "-p",
        "kerbside-tests",
        "--test",
        "peer_outage",
        "--",
        "--ignored",
        "--nocapture",
    ])
    .env("KERBSIDE_OUTAGE_MINUTES", minutes.join(",")))
}
