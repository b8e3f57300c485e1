//! The `kerbside` command: the node, and what integrators and engineers need beside it.
//!
//! The only crate of the node that reads the environment, prints, or ends the process. Exit codes:
//! 0 done, 1 it failed while it worked, 2 something has to be changed first (arguments, configuration,
//! a path), 130 broken off by a second signal.

#![forbid(unsafe_code)]

mod commands;
mod files_watch;
mod hardening;
mod layers;
mod logging;
mod models;
mod output;
mod panics;
mod picture;
mod service;
mod signals;
mod whole_file;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reads camera streams, finds people and vehicles, and releases anonymised event records. Never video.
#[derive(Parser)]
#[command(name = "kerbside", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(commands::run::Run),
    Check(commands::check::Check),
    Health(commands::health::Health),
    Replay(commands::replay::Replay),
    Events(commands::events::Events),
    Backtest(commands::backtest::Backtest),
    Ledger(commands::ledger::Ledger),
    Spool(commands::spool::Spool),
    Enroll(commands::enroll::Enroll),
    Operators(commands::operators::Operators),
    Models(commands::models::Models),
    Bench(commands::bench::Bench),
}

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All went well.
    Done,
    /// It ran, but something is wrong with what it worked on, and it has said so.
    Flawed,
    /// A person has to change something first, and it has said what.
    Refused,
}

fn main() -> ExitCode {
    panics::withhold_data();
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Run(command) => command.execute(),
        Command::Check(command) => command.execute(),
        Command::Health(command) => command.execute(),
        Command::Replay(command) => command.execute(),
        Command::Events(command) => command.execute(),
        Command::Backtest(command) => command.execute(),
        Command::Ledger(command) => command.execute(),
        Command::Spool(command) => command.execute(),
        Command::Enroll(command) => command.execute(),
        Command::Operators(command) => command.execute(),
        Command::Models(command) => command.execute(),
        Command::Bench(command) => command.execute(),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Flawed) => ExitCode::from(1),
        Ok(Outcome::Refused) => ExitCode::from(2),
        // Whoever read our output has had enough: `kerbside events … | head`.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("error: {error:#}"));
            ExitCode::from(output::code_of(&error))
        }
    }
}
