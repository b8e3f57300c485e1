//! A12: noise averages out for whoever is told the same number often enough, so no number is told twice with other
//! noise: not by reading the spool again, not by closing a bin again, not after a restart.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Instant;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction};
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_release::{Guarantee, Positions, Release, ReleaseError, ReleasedBatch};
use kerbside_uplink::{Item, Reader};

use crate::attacks::broken;
use crate::outcome::{Outcome, Size};
use crate::stage::{
    AggRow, QUARTER_SECS, SharedLedger, agg_rows, crossing_cell, fresh, from_zero, guarded_by, is_noised, plan,
    release_from, spool, wall,
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
fn bin(guarantee: Guarantee) -> Result<Vec<ReleasedBatch>, ReleaseError> {
    played(from_zero(), guarantee).map(|(_, batches)| batches)
}

fn played(at: Positions, guarantee: Guarantee) -> Result<(Release, Vec<ReleasedBatch>), ReleaseError> {
    let cells: Vec<Cell> = vec![crossing_cell(Class::Person, Direction::Forward)];
    let plans = vec![plan(0, cells, Privacy::of(Profile::Strict))];
    let mut stage = release_from(at, plans, START_SECS, guarantee)?;
    let batches = play(&mut stage, &people(), 1, (START_SECS, START_SECS + QUARTER_SECS), PACE)?;
    Ok((stage, batches))
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
    let folder = tempfile::tempdir()?;
    let (mut spool, at) = spool(folder.path(), START_SECS)?;
    let (mut stage, batches) = played(at, fresh())?;
    let (mut more, end) = (Vec::new(), START_SECS + QUARTER_SECS);
    for turn in 0..times as u64 {
        // Forward to the same moment, and back by up to ten minutes.
        stage.advance(wall(end - turn % 600), &mut more)?;
        stage.finish(wall(end), &mut more)?;
    }
    for batch in &batches {
        spool.append(batch, Instant::now())?;
    }
    spool.close()?;
    let mut contents = BTreeSet::new();
    for _ in 0..times {
        let mut content = String::new();
        for item in Reader::open(folder.path())? {
            match item? {
                Item::Batch { batch, .. } => content.push_str(&format!("{:?}", kerbside_uplink::rows(&batch))),
                other => return Err(format!("the spool is not whole: {other:?}").into()),
            }
        }
        contents.insert(content);
    }
    // The bin after it has begun, and may be released once.
    let again = agg_rows(&more).iter().filter(|row| row.span.0 == (START_SECS * 1000) as i64).count();
    Ok((contents.len(), again))
}

/// Restarts the stage and plays the same people to it, again and again.
fn restarted(tried: &str, times: usize, guarantee: impl Fn() -> Guarantee) -> Outcome {
    let mut told: Vec<AggRow> = Vec::new();
    for _ in 0..times {
        match bin(guarantee()) {
            Ok(batches) => told.extend(agg_rows(&batches).into_iter().filter(is_noised)),
            Err(error) => return broken("A12", tried, LIMIT, error),
        }
    }
    let mean = told.iter().map(|row| f64::from(row.value)).sum::<f64>() / told.len().max(1) as f64;
    let figure = format!("{} numbers for one cell and bin; mean {mean:.1}, truth {PEOPLE}", told.len());
    Outcome::real("A12", tried, figure, LIMIT, told.len() == 1)
}
