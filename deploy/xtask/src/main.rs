//! `cargo xtask`: what the Makefile calls.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod demo;
mod gate;
mod live;
mod metrics;
mod peer_outage;
mod privacy_audit;
mod python;
mod shell;
mod tally;

use clap::{Parser, Subcommand};

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The whole gate, in the order that fails soonest: format, lints, tests, doc tests, documentation
    Ci,
    /// Two RTSP cameras from a real clip, the node, a gateway, and a live summary of what the city has
    Demo {
        /// End by itself after the clip and print the table
        #[arg(long)]
        once: bool,
    },
    /// Times the detector, the way of rows to the city and a whole replay, and prints them
    Bench,
    /// Writes dashboards/METRICS.md from the list of metrics in the code
    Metrics,
    /// Kills nodes and a gateway a thousand times and counts the rows
    Soak,
    /// Attacks the released tables, those of a broken release too, and prints one table
    PrivacyAudit {
        /// A fifth of the data: a look, no evidence
        #[arg(long)]
        quick: bool,
    },
    /// Rows that are lost while a broker, or with --kerbside a gateway, is away: the table of pipeline/uplink/README.md
    PeerOutage {
        /// How long the broker is away, in minutes; several run side by side
        #[arg(long, num_args = 1.., default_values_t = [0.0, 1.0, 10.0])]
        minutes: Vec<f64>,
        /// Divides every pause, the clients' own too; 1 is real time
        #[arg(long, default_value_t = 1.0)]
        speed: f64,
        /// Instead, run a real node against a real gateway through the same outages, in real time
        #[arg(long, conflicts_with = "speed")]
        kerbside: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Ci => gate::ci(),
        Task::Demo { once } => demo::run(once),
        Task::Bench => gate::bench(),
        Task::Metrics => metrics::write(),
        Task::Soak => gate::soak(),
        Task::PrivacyAudit { quick } => privacy_audit::run_audit(quick),
        Task::PeerOutage { minutes, kerbside: true, .. } => peer_outage::run_kerbside(&minutes),
        Task::PeerOutage { minutes, speed, kerbside: false } => peer_outage::run_outages(&minutes, speed),
    }
}
