//! A14: every way to get a bin twice out of a node that keeps its ledger on disk: a clock that is set back, a ledger
//! that is deleted, an old one that is put back, a second process. The tests of the ledger try more of them; here the
//! whole stage is asked, and what counts is what leaves.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use kerbside_core::detection::Class;
use kerbside_core::finding::Direction;
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_release::{FileLedger, Guarantee};
use tempfile::TempDir;

use crate::attacks::broken;
use crate::outcome::{Outcome, Size};
use crate::stage::{
    DAY_SECS, QUARTER_SECS, agg_rows, crossing_cell, fresh, guarded_by, is_noised, plan, release, wall,
};

const START_SECS: u64 = 20_000 * DAY_SECS;
const LIMIT: &str = "0 rows, refusals counted";

/// A node's folders.
struct Node {
    _folder: TempDir,
    ledger: PathBuf,
    spool: PathBuf,
}

/// What a stage gave for one bin.
struct Told {
    rows: usize,
    refused: u64,
}

/// What is done to a node; it answers what leaves after it.
type Abuse = fn(&Node) -> Result<Told, Box<dyn Error>>;

const ABUSES: [(&str, Abuse); 4] = [
    ("the clock is set back by a day", |node| {
        node.bin(START_SECS)?;
        node.bin(START_SECS - DAY_SECS)
    }),
    ("the ledger is deleted", |node| {
        node.bin(START_SECS)?;
        for file in files(&node.ledger)? {
            fs::remove_file(file)?;
        }
        node.bin(START_SECS)
    }),
    ("an old ledger is put back", |node| {
        node.bin(START_SECS)?;
        let old: Vec<_> = files(&node.ledger)?.into_iter().map(|file| (fs::read(&file), file)).collect();
        node.bin(START_SECS + QUARTER_SECS)?;
        for (bytes, file) in old {
            fs::write(file, bytes?)?;
        }
        node.bin(START_SECS + QUARTER_SECS)
    }),
    ("a second process at the same time", |node| {
        let _first = FileLedger::open(&node.ledger, &node.spool, wall(START_SECS))?;
        match FileLedger::open(&node.ledger, &node.spool, wall(START_SECS)) {
            // No second stage is built at all.
            Err(_) => Ok(Told { rows: 0, refused: 1 }),
            Ok(second) => bin(guarded_by(second), START_SECS),
        }
    }),
];

/// The attack and its control.
pub fn attack(_: Size) -> Vec<Outcome> {
    let mut rows: Vec<Outcome> = ABUSES.iter().map(|(tried, abuse)| row(tried, *abuse)).collect();
    // A ledger in memory is deleted with every start.
    let forgotten = |_: &Node| {
        bin(fresh(), START_SECS)?;
        bin(fresh(), START_SECS)
    };
    rows.push(row("a node that keeps its ledger in memory is restarted", forgotten).control());
    rows
}

fn row(tried: &str, abuse: Abuse) -> Outcome {
    match Node::new().and_then(|node| abuse(&node)) {
        Ok(Told { rows, refused }) => {
            let figure = format!("{rows} rows released, {refused} refused");
            Outcome::real("A14", tried, figure, LIMIT, rows == 0 && refused > 0)
        }
        Err(error) => broken("A14", tried, LIMIT, error),
    }
}

impl Node {
    fn new() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let (ledger, spool) = (folder.path().join("ledger"), folder.path().join("spool"));
        Ok(Self { _folder: folder, ledger, spool })
    }

    /// Starts the node, lets one bin pass and stops it.
    fn bin(&self, from: u64) -> Result<Told, Box<dyn Error>> {
        bin(guarded_by(FileLedger::open(&self.ledger, &self.spool, wall(from))?), from)
    }
}

/// What leaves of the bin that begins at second `from`.
fn bin(guarantee: Guarantee, from: u64) -> Result<Told, Box<dyn Error>> {
    let cells = [Direction::Forward, Direction::Backward].map(|way| crossing_cell(Class::Person, way)).to_vec();
    let mut stage = release(vec![plan(0, cells, Privacy::of(Profile::Strict))], from, guarantee)?;
    let mut out = Vec::new();
    stage.advance(wall(from + QUARTER_SECS), &mut out)?;
    let rows = agg_rows(&out).iter().filter(|row| is_noised(row)).count();
    Ok(Told { rows, refused: stage.counts().refused_bins })
}

/// The files of a folder, without the lock.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && path.file_name().is_some_and(|name| name != "lock") {
            found.push(path);
        }
    }
    Ok(found)
}
