//! `privacy-audit`: the large sizes of the attacks, the data sets for other programs, and the one table of all rows.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use kerbside_privacy::attacks::ATTACKS;
use kerbside_privacy::export::{Trouble, export};
use kerbside_privacy::outcome::{Outcome, Size, render, sort};
use kerbside_privacy::utility;

/// Attacks on what a node releases.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Puts the passages of DIR/in through the release stage and writes what is released to DIR/out
    Export {
        /// The folder with jobs.csv
        folder: PathBuf,
    },
    /// Runs the attacks of this program and prints their rows, then how useful the numbers are
    Attack {
        /// Also writes the rows, one JSON object a line
        #[arg(long)]
        out: Option<PathBuf>,
        /// As few runs as in the gate
        #[arg(long)]
        quick: bool,
        /// Some of the attacks, such as A8,A13
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
    /// Prints one table of all rows; ends with 1 where one is not as it must be
    Table {
        /// Files with one JSON object a line
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Every attack of the contract. Those whose tests hold their own controls have no row for them.
const EXPECTED: [(&str, bool); 18] = [
    ("A1", true),
    ("A2", true),
    ("A3", false),
    ("A4", true),
    ("A5", true),
    ("A6", true),
    ("A7", true),
    ("A8", true),
    ("A9", true),
    ("A10", true),
    ("A11", true),
    ("A12", true),
    ("A13", true),
    ("A14", true),
    ("A15", true),
    ("A16", false),
    ("A17", false),
    ("A18", true),
];

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Export { folder } => export(&folder).map(|()| true),
        Task::Attack { out, quick, only } => attack(out.as_deref(), quick, &only),
        Task::Table { files } => table(&files),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attack(out: Option<&Path>, quick: bool, only: &[String]) -> Result<bool, Trouble> {
    let size = if quick { Size::Ci } else { Size::Audit };
    let unknown = only.iter().find(|id| !ATTACKS.iter().any(|(known, _)| known == id));
    if let Some(id) = unknown {
        return Err(format!("there is no attack {id} here").into());
    }
    let mut rows = Vec::new();
    for (id, run) in ATTACKS.iter().filter(|(id, _)| only.is_empty() || only.iter().any(|chosen| chosen == id)) {
        let begun = Instant::now();
        rows.extend(run(size));
        eprintln!("{id}: {:.1} s", begun.elapsed().as_secs_f64());
    }
    println!("{}", render(&rows));
    if only.is_empty() {
        println!("{}", utility::render(&utility::usefulness(if quick { 1 } else { 7 })?));
    }
    if let Some(out) = out {
        let lines: String = rows.iter().map(|row| row.to_json() + "\n").collect();
        fs::write(out, lines)?;
    }
    Ok(rows.iter().all(Outcome::is_right))
}

fn table(files: &[PathBuf]) -> Result<bool, Trouble> {
    let mut rows = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let before = rows.len();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            rows.push(Outcome::from_json(line).map_err(|error| format!("{}: {error}: {line}", file.display()))?);
        }
        if rows.len() == before {
            return Err(format!("{}: there is no row", file.display()).into());
        }
    }
    sort(&mut rows);
    println!("{}", render(&rows));
    let have: BTreeSet<(&str, bool)> = rows.iter().map(|row| (row.attack.as_str(), row.is_control)).collect();
    let mut is_right = true;
    for (id, with_control) in EXPECTED {
        for is_control in [false, true] {
            if (with_control || !is_control) && !have.contains(&(id, is_control)) {
                is_right = false;
                println!("{id}: there is no row{}", if is_control { " of a control" } else { "" });
            }
        }
    }
    for row in rows.iter().filter(|row| !row.is_right()) {
        is_right = false;
        println!("not as it must be: {row}");
    }
    let (controls, real): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.is_control);
    println!(
        "{} rows, {} controls: {}",
        real.len(),
        controls.len(),
        if is_right { "all as they must be" } else { "FAILED" }
    );
    Ok(is_right)
}
