//! Python environments with fixed versions, for the tools that are written in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::shell::root;

/// The interpreter of the environment of that name with exactly what the requirements file lists, made when it is missing
/// or when the file changed: `deploy/setup/python.sh`.
pub(crate) fn environment(name: &str, requirements: &Path) -> anyhow::Result<PathBuf> {
    let script = root().join("deploy/setup/python.sh");
    let output = Command::new("sh")
        .arg(&script)
        .arg(name)
        .arg(requirements)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} could not be started", script.display()))?;
    ensure!(output.status.success(), "{} ended with {}", script.display(), output.status);
    let path = String::from_utf8(output.stdout).context("the interpreter's path is not text")?;
    Ok(PathBuf::from(path.trim_end()))
}

/// A folder with `__main__.py`, or a script, run by that interpreter and leaving no compiled files beside the sources.
pub(crate) fn script(python: &Path, script: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
