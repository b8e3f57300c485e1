//! `kerbside run`: the node.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use kerbside_runtime::{Node, NodeOptions, Reloaded};

use super::check::{load, log_notes, read};
use crate::files_watch::FilesWatch;
use crate::models::{EngineArgument, ModelsArgument};
use crate::service::Service;
use crate::signals::{ReloadRequest, StopRequest};
use crate::{Outcome, hardening, logging};

/// How often the main thread looks for a stop request.
const GLANCE: Duration = Duration::from_millis(50);

/// Runs the node until it is told to stop (Ctrl-C or SIGTERM; a second one ends it at once).
///
/// The whole configuration is checked before anything starts. When its files change, or on SIGHUP, it is read again and
/// applied camera by camera, or refused as a whole. Released rows go to the spool; read them with `kerbside events`.
/// The status page and metrics are served on the address of node.yaml.
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
        let reload = ReloadRequest::listen()?;
        let mut files = FilesWatch::new(&self.config, Instant::now());
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
        let mut service = Service::new();
        let mut node = Node::start(settings, &folder, &options)?;
        let mut hangs = false;
        service.ready();
        while !stop.is_asked() && !node.has_failed() {
            std::thread::sleep(GLANCE);
            node.look_after();
            let now = Instant::now();
            let hung = node.hung();
            if service.look(hung.is_empty(), now) {
                tracing::error!(stages = hung.join(", "), "the node ends, since these make no progress");
                hangs = true;
                break;
            }
            if reload.is_asked() {
                files.are_read();
                self.reload(&mut node, &service);
            } else if files.has_changed(now) {
                self.reload(&mut node, &service);
            }
        }
        service.stopping();
        tracing::info!("the node stops");
        node.stop()?;
        anyhow::ensure!(!hangs, "stages made no progress");
        tracing::info!("the node has stopped");
        Ok(Outcome::Done)
    }

    /// Reads the configuration again, and applies it or goes on with the one before.
    fn reload(&self, node: &mut Node, service: &Service) {
        service.reloading();
        let problems = match read(&self.config, &self.models) {
            Ok(Ok((folder, settings))) => match node.reload(settings, &folder) {
                Ok(reloaded) if reloaded.is_nothing() => {
                    tracing::info!("the configuration was read again: nothing has changed");
                    Vec::new()
                }
                Ok(Reloaded { added, changed, removed, .. }) => {
                    let [added, changed, removed] = [added, changed, removed].map(|names| names.join(", "));
                    tracing::info!(added, changed, removed, "another configuration is applied");
                    Vec::new()
                }
                Err(refusal) => vec![format!("{:#}", anyhow::Error::from(refusal))],
            },
            Ok(Err(problems)) => problems,
            Err(error) => vec![format!("{error:#}")],
        };
        if !problems.is_empty() {
            for problem in &problems {
                tracing::error!(problem, "the configuration is refused");
            }
            tracing::warn!(problems = problems.len(), "the node goes on with the configuration before");
            node.refuse_configuration(problems);
        }
        service.ready();
    }
}
