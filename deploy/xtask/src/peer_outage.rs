//! The same outage for Kerbside's peers: what a client that publishes to an MQTT broker loses while the broker is away.
//!
//! `tests/peers` does the work, in Python since that is what the peer's client is written in; `pipeline/uplink/README.md`
//! holds the table and says what it means.

use std::fs;

use anyhow::Context as _;

use crate::python::{environment, script};
use crate::shell::{root, run, target};

/// Installs what is missing, measures and prints the table; the figures go to `target/peers/mqtt.jsonl` too.
pub(crate) fn run_outages(minutes: &[f64], speed: f64) -> anyhow::Result<()> {
    run(std::process::Command::new("sh").arg(root().join("deploy/setup/packages.sh")).arg("peers"))?;
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
