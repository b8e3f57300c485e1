//! The `kerbside-gateway` command.
//!
//! Exit codes: 0 done, 1 it failed while it worked, 2 something has to be changed first (arguments, configuration, a
//! path), 130 broken off by a second signal.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use kerbside_core::error::{Classified as _, ErrorKind};
use kerbside_gateway::{Gateway, GatewayError, Settings, landing, settings};
use kerbside_telemetry::Door;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The exit code of a process that a second signal ended.
const BROKEN_OFF: i32 = 130;

/// Takes anonymised event records from many nodes and stores each once, as Parquet.
#[derive(Parser)]
#[command(name = "kerbside-gateway", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Run),
    Check(Check),
    Summary(Summary),
    Health(Health),
}

/// Runs the gateway until it is asked to stop by SIGTERM or Ctrl-C.
#[derive(Args)]
struct Run {
    /// The file gateway.yaml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What is logged: error, warn, info, debug or trace
    #[arg(long, default_value = "info", env = "KERBSIDE_LOG")]
    log: String,
}

/// Checks a configuration and prints every problem as `file:line:col: key.path: what is wrong; what is allowed`.
///
/// Needs no network. Exit code 2 when there is a problem.
#[derive(Args)]
struct Check {
    /// The file gateway.yaml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Says what the city has: rows by node, table and day, and what will never come.
#[derive(Args)]
struct Summary {
    /// The file gateway.yaml, whose landing is read
    #[arg(long, value_name = "FILE", required_unless_present = "landing", conflicts_with = "landing")]
    config: Option<PathBuf>,
    /// A folder with a landing
    #[arg(long, value_name = "DIR")]
    landing: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Asks the running gateway whether it is alive: for health checks of containers.
///
/// Exit code 0 where it is, 1 where it is not or does not answer.
#[derive(Args)]
struct Health {
    /// The file gateway.yaml, which says where metrics are served
    #[arg(long, value_name = "FILE", default_value = "/etc/kerbside-gateway/gateway.yaml")]
    config: PathBuf,
    /// Asks whether what comes can be stored, too
    #[arg(long)]
    ready: bool,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(run) => run.execute(),
        Command::Check(check) => check.execute(),
        Command::Summary(summary) => summary.execute(),
        Command::Health(health) => health.execute(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let kind = error.downcast_ref::<GatewayError>().map(GatewayError::kind);
            match error.downcast_ref::<GatewayError>() {
                Some(GatewayError::Config(problems)) => {
                    let count = problems.problems().len();
                    complain(&format!("{error}\n{count} problem{}", if count == 1 { "" } else { "s" }));
                }
                _ => complain(&format!("error: {error:#}")),
            }
            ExitCode::from(if kind == Some(ErrorKind::Config) { 2 } else { 1 })
        }
    }
}

impl Check {
    fn execute(self) -> anyhow::Result<()> {
        let settings = settings::load(&self.config)?;
        let nodes = settings.nodes.as_ref().map_or("every node of the authority".to_owned(), |nodes| {
            format!("{} node{}", nodes.len(), if nodes.len() == 1 { "" } else { "s" })
        });
        let text = format!("{}: {nodes}, no problems\n", settings.listen);
        io::stdout().write_all(text.as_bytes()).context("standard output")
    }
}

impl Health {
    fn execute(self) -> anyhow::Result<()> {
        let address = settings::load(&self.config)?.metrics_address;
        let page = if self.ready { "/readyz" } else { "/livez" };
        let asked = Door::Address(address).ask(page);
        let (code, text) = asked.with_context(|| format!("no gateway answers on {address}"))?;
        anyhow::ensure!(code == 200, "{}", text.trim_end());
        io::stdout().write_all(text.as_bytes()).context("standard output")
    }
}

impl Summary {
    fn execute(self) -> anyhow::Result<()> {
        let store = match (&self.config, &self.landing) {
            (_, Some(folder)) if !folder.is_dir() => {
                return Err(GatewayError::Io {
                    what: format!("the landing {}", folder.display()),
                    source: io::ErrorKind::NotFound.into(),
                }
                .into());
            }
            (_, Some(folder)) => landing::open_folder(folder)?,
            (Some(config), None) => landing::open(&settings::load(config)?.landing)?,
            (None, None) => anyhow::bail!("--config or --landing is needed"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        let summary = runtime.block_on(kerbside_gateway::summary(&store))?;
        let text =
            if self.json { format!("{}\n", serde_json::to_string_pretty(&summary)?) } else { summary.to_string() };
        io::stdout().write_all(text.as_bytes()).context("standard output")
    }
}

impl Run {
    fn execute(self) -> anyhow::Result<()> {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_new(&self.log).with_context(|| format!("--log {}", self.log))?)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .init();
        let settings = settings::load(&self.config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("gateway")
            .enable_all()
            .build()
            .context("threads for the gateway")?;
        runtime.block_on(run(&settings))
    }
}

async fn run(settings: &Settings) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let gateway = Gateway::start(settings).await?;
    tracing::info!(address = %gateway.address(), metrics = %gateway.metrics_address(), "the gateway runs");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = gateway.failed() => tracing::error!("the gateway cannot go on"),
    }
    tracing::info!("stopping: what has come is stored and acknowledged");
    tokio::select! {
        stopped = gateway.stop() => Ok(stopped?),
        _ = interrupt.recv() => std::process::exit(BROKEN_OFF),
        _ = terminate.recv() => std::process::exit(BROKEN_OFF),
    }
}

/// Prints a line on standard error. A closed standard error is no reason to fail.
fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
