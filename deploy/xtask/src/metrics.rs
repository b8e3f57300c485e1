//! The list of metrics as a document.

use std::fs;

use anyhow::{Context as _, ensure};

use crate::shell::{cargo, root};

/// Writes it where people read it.
pub(crate) fn write() -> anyhow::Result<()> {
    let example = ["run", "--locked", "--package", "kerbside-telemetry", "--example", "metrics"];
    let output = cargo(&example).output().context("cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = root().join("dashboards/METRICS.md");
    fs::write(&path, output.stdout).with_context(|| format!("{} cannot be written", path.display()))?;
    println!("{}", path.display());
    Ok(())
}
