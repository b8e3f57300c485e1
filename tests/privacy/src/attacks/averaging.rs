//! A12: noise averages out for whoever is told the same number often enough, so no number is told twice with other
//! noise: not by reading the spool again, not by closing a bin again, not after a restart.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::{Duration, Instant};

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction};
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_release::{Guarantee, ReleasedBatch};
use kerbside_uplink::{Item, Reader, Spool, SpoolSettings};

use crate::attacks::broken;
use crate::outcome::{Outcome, Size};
use crate::stage::{
    AggRow, QUARTER_SECS, SharedLedger, agg_rows, crossing_cell, fresh, from_zero, guarded_by, is_noised, plan,
    release, wall,
};
use crate::street::{Pace, Passage, play};

const START_SECS: u64 = 20_000 * 86_400;
/// How many people walk by in the bin that is attacked.
const PEOPLE: usize = 137;
const LIMIT: &str = "1 number a cell and bin, or none";

/// The attack and its control.
pub fn attack(size: Size) -> Vec<Outcome> {
    let times = size.pick(50, 1000);
    let tried = format!("{times} reads of the spool, {times} times advance and finish");
    let again = match retold(times) {
        Ok((read, closed)) => {
            let figure = format!("{read} different contents, {closed} rows more");
            Outcome::real("A12", tried, figure, "1 content, 0 rows", read == 1 && closed == 0)
        }
        Err(error) => broken("A12", &tried, LIMIT, error),
    };
    let ledger = SharedLedger::default();
    let restarts = restarted(&format!("{times} restarts within one bin"), times, || guarded_by(ledger.clone()));
    vec![again, restarts, restarted(&format!("{times} restarts that forget the ledger"), times, fresh).control()]
}

/// One bin with [`PEOPLE`] people.
fn bin(
    guarantee: Guarantee,
    again: impl FnOnce(&mut kerbside_release::Release),
) -> Result<Vec<ReleasedBatch>, Box<dyn Error>> {
    let cells: Vec<Cell> = vec![crossing_cell(Class::Person, Direction::Forward)];
    let plans = vec![plan(0, cells, Privacy::of(Profile::Strict))];
    let mut stage = release(plans, START_SECS, guarantee)?;
    let out = play(&mut stage, &people(), 1, (START_SECS, START_SECS + QUARTER_SECS), PACE)?;
    again(&mut stage);
    Ok(out)
}

const PACE: Pace = Pace { step: 5000, is_steady: true };

fn people() -> Vec<Passage> {
    let walk = |number: usize| Passage {
        camera: 0,
        at: START_SECS * 1000 + number as u64 * 6000,
        lasts: 10_000,
        class: Class::Person,
        direction: Direction::Forward,
        lines: 1,
        speed: 5.0,
    };
    (0..PEOPLE).map(walk).collect()
}

/// How many different contents the spool has had, and how many rows came of closing what was closed.
fn retold(times: usize) -> Result<(usize, usize), Box<dyn Error>> {
    let mut more = Vec::new();
    let end = START_SECS + QUARTER_SECS;
    let batches = bin(fresh(), |stage| {
        for turn in 0..times as u64 {
            // Forward to the same moment, and back by up to ten minutes.
            let told = stage.advance(wall(end - turn % 600), &mut more);
            told.and_then(|()| stage.finish(wall(end), &mut more)).expect("nothing is left to be released");
        }
    })?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("spool");
    let settings =
        SpoolSettings { folder: path.clone(), max_bytes: 1 << 20, sync_interval: Duration::from_secs(1) };
    let (mut spool, _) = Spool::open(settings, wall(START_SECS))?;
    // A new spool begins an epoch of its own: the rows are made for it.
    let at = spool.position(kerbside_release::Table::Agg);
    debug_assert_eq!(at, from_zero().agg);
    for batch in &batches {
        spool.append(batch, Instant::now())?;
    }
    spool.close()?;
    let mut contents = BTreeSet::new();
    for _ in 0..times {
        let mut content = String::new();
        for item in Reader::open(&path)? {
            match item? {
                Item::Batch { batch, .. } => content.push_str(&format!("{:?}", kerbside_uplink::rows(&batch))),
                other => return Err(format!("the spool is not whole: {other:?}").into()),
            }
        }
        contents.insert(content);
    }
    Ok((contents.len(), agg_rows(&more).len()))
}

/// Restarts the stage and plays the same people to it, again and again.
fn restarted(tried: &str, times: usize, guarantee: impl Fn() -> Guarantee) -> Outcome {
    let mut told: Vec<AggRow> = Vec::new();
    for _ in 0..times {
        match bin(guarantee(), |_| ()) {
            Ok(batches) => told.extend(agg_rows(&batches).into_iter().filter(is_noised)),
            Err(error) => return broken("A12", tried, LIMIT, error),
        }
    }
    let mean = told.iter().map(|row| f64::from(row.value)).sum::<f64>() / told.len().max(1) as f64;
    let figure = format!("{} numbers for one cell and bin; mean {mean:.1}, truth {PEOPLE}", told.len());
    Outcome::real("A12", tried, figure, LIMIT, told.len() == 1)
}
