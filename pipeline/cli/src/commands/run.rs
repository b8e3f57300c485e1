//! `kerbside run`: the node.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kerbside_runtime::{Node, NodeOptions};

use super::check::{load, log_notes};
use crate::models::{EngineArgument, ModelsArgument};
use crate::signals::StopRequest;
use crate::{Outcome, hardening, logging};

/// How often the main thread looks for a stop request.
const GLANCE: Duration = Duration::from_millis(50);

/// Runs the node until it is told to stop (Ctrl-C or SIGTERM; a second one ends it at once).
///
/// The whole configuration is checked before anything starts. Released rows go to the spool; read them
/// with `kerbside events`. Metrics are served on the address of node.yaml.
#[derive(Args)]
pub(crate) struct Run {
    /// The folder with node.yaml and cameras/*.yaml
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    #[command(flatten)]
    models: ModelsArgument,
    #[command(flatten)]
    engine: EngineArgument,
    /// For demonstrations only: shortens every bin, such as 10s, and counts without noise, people too; the released
    /// rows are stamped 'demo'
    #[arg(long, value_name = "TIME", value_parser = super::replay::bin)]
    bin: Option<Duration>,
    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "KERBSIDE_LOG")]
    log: String,
    /// For development only: runs also where the system may write the node's memory, and with it pictures, to a disk
    #[arg(long)]
    insecure_dev: bool,
}

impl Run {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let sealed = hardening::seal();
        logging::start(&self.log)?;
        let is_insecure = hardening::check(&sealed, self.insecure_dev)?;
        let stop = StopRequest::listen()?;
        let Some((folder, settings)) = load(&self.config, &self.models)? else { return Ok(Outcome::Refused) };
        if self.bin.is_some() {
            tracing::warn!(
                "a demonstration: counts leave without noise and in short bins, those of people too; rows are stamped \
                 'demo'"
            );
        } else {
            settings.cameras.iter().for_each(log_notes);
        }
        let options = NodeOptions {
            software: format!("kerbside {}", env!("CARGO_PKG_VERSION")),
            demo_bin: self.bin,
            engine: self.engine.choice,
            is_insecure,
        };
        let mut node = Node::start(settings, &folder, &options)?;
        while !stop.is_asked() && !node.has_failed() {
            std::thread::sleep(GLANCE);
            node.look_after_cameras();
        }
        tracing::info!("the node stops");
        node.stop()?;
        tracing::info!("the node has stopped");
        Ok(Outcome::Done)
    }
}
