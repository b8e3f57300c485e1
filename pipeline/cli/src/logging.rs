//! Log lines on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::output::Refusal;

/// Begins to log at `level`, such as `info` or `kerbside_ingest=debug,info`.
pub(crate) fn start(level: &str) -> anyhow::Result<()> {
    // A filter takes any word for the name of a module: a level that is misspelt would silence the log.
    let is_level = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
    if !level.split(',').all(is_level) {
        return Err(Refusal(format!("--log {level}: allowed are error, warn, info, debug, trace")).into());
    }
    let filter = EnvFilter::try_new(level).map_err(|error| {
        Refusal(format!("--log {level}: {error}; allowed are error, warn, info, debug, trace"))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}
