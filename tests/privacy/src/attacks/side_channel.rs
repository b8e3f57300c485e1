//! A15: who sees only that batches leave, when, and how long they are, must not learn whether anybody was there.
//!
//! The classifier is the best there is for this: in one half of the bins it learns which label is the more frequent
//! for each exact combination of length, rows and moment, and it is judged by the other half. Where all combinations
//! are equal it can only guess. The stage's own computing time is not looked at: batches leave at the pace of the
//! release thread, which does not depend on what is in them.

use std::collections::BTreeMap;

use kerbside_core::detection::Class;
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_release::{Guarantee, ReleaseError, Table};

use crate::attacks::broken;
use crate::outcome::{Outcome, Size};
use crate::stage::{DAY_SECS, QUARTER_SECS, fresh, ipc, plan, release, sixty_seven_cells, values};
use crate::street::{Pace, Passage, Traffic, arrivals, play_timed};

const START_SECS: u64 = 20_000 * DAY_SECS;
const LIMIT: f64 = 0.55;

/// What is seen of a batch from outside: bytes, rows, and the minute in which it left.
type Seen = (usize, usize, u64);

/// The attack and its control.
pub fn attack(size: Size) -> Vec<Outcome> {
    let days = size.pick(1, 7) as u64;
    let mut rows = Vec::new();
    for profile in [Profile::Strict, Profile::Standard] {
        let tried =
            format!("{}: {days} empty and {days} busy days, told apart by size, rows and time", profile.name());
        rows.push(row(&tried, || Ok((seen(profile, days, 0.0)?, seen(profile, days, 1.0)?))));
    }
    let tried = format!("batches without their zero rows, {days} days each");
    rows.push(row(&tried, || Ok((sparse(days, 0.0)?, sparse(days, 1.0)?))).control());
    rows
}

fn row(tried: &str, play: impl Fn() -> Result<(Vec<Seen>, Vec<Seen>), ReleaseError>) -> Outcome {
    let limit = format!("<= {LIMIT} right");
    match play() {
        Ok((empty, busy)) => {
            let right = accuracy(&empty, &busy);
            let figure = format!("{right:.3} right; {} and {} batches", empty.len(), busy.len());
            Outcome::real("A15", tried, figure, limit, right <= LIMIT && empty.len() == busy.len())
        }
        Err(error) => broken("A15", tried, &limit, error),
    }
}

/// The share of the second halves that is told apart by what was learned of the first halves.
fn accuracy(empty: &[Seen], busy: &[Seen]) -> f64 {
    let mut votes: BTreeMap<Seen, i64> = BTreeMap::new();
    let halves = |list: &[Seen]| -> (Vec<Seen>, Vec<Seen>) {
        // In turn, so that both halves hold every time of day.
        let (even, odd): (Vec<_>, Vec<_>) = list.iter().enumerate().partition(|(place, _)| place % 2 == 0);
        (even.into_iter().map(|(_, seen)| *seen).collect(), odd.into_iter().map(|(_, seen)| *seen).collect())
    };
    let (learn_empty, judge_empty) = halves(empty);
    let (learn_busy, judge_busy) = halves(busy);
    for (list, vote) in [(&learn_empty, -1), (&learn_busy, 1)] {
        for seen in list {
            *votes.entry(*seen).or_default() += vote;
        }
    }
    let is_busy = |seen: &Seen| votes.get(seen).copied().unwrap_or_default() > 0;
    let right = judge_empty.iter().filter(|seen| !is_busy(seen)).count()
        + judge_busy.iter().filter(|seen| is_busy(seen)).count();
    right as f64 / (judge_empty.len() + judge_busy.len()).max(1) as f64
}

fn people(days: u64, crowd: f64) -> Vec<Passage> {
    let traffic = [
        Traffic { class: Class::Person, least: 5.0 * crowd, most: 200.0 * crowd, speed: 5.0 },
        Traffic { class: Class::Car, least: 2.0 * crowd, most: 100.0 * crowd, speed: 40.0 },
    ];
    arrivals(&mut fastrand::Rng::with_seed(15), 0, &traffic, (START_SECS, START_SECS + days * DAY_SECS))
}

/// What is seen of the days of a scene that is so crowded.
fn seen(profile: Profile, days: u64, crowd: f64) -> Result<Vec<Seen>, ReleaseError> {
    let batches = batches(profile, days, crowd, fresh())?;
    Ok(batches.into_iter().map(|(minute, batch)| (ipc(&batch).len(), batch.num_rows(), minute)).collect())
}

/// The same for a stage that leaves out what is zero.
fn sparse(days: u64, crowd: f64) -> Result<Vec<Seen>, ReleaseError> {
    let batches = batches(Profile::Strict, days, crowd, Guarantee::Demonstration)?;
    let told = batches.into_iter().map(|(minute, batch)| {
        let rows = values(&batch).iter().filter(|value| **value != 0).count();
        (ipc(&batch.slice(0, rows)).len(), rows, minute)
    });
    Ok(told.collect())
}

/// Every batch of `agg.v1` with the minute of the quarter of an hour in which it left.
fn batches(
    profile: Profile,
    days: u64,
    crowd: f64,
    guarantee: Guarantee,
) -> Result<Vec<(u64, arrow_array::RecordBatch)>, ReleaseError> {
    let plans = vec![plan(0, sixty_seven_cells(Class::Person, Class::Car), Privacy::of(profile))];
    let mut stage = release(plans, START_SECS, guarantee)?;
    let span = (START_SECS, START_SECS + days * DAY_SECS);
    let told = play_timed(&mut stage, &people(days, crowd), 1, span, Pace { step: 10_000, is_steady: true })?;
    let of_agg = told.into_iter().filter(|(_, batch)| batch.table() == Table::Agg);
    Ok(of_agg.map(|(at, batch)| ((at % QUARTER_SECS) / 60, batch.get().clone())).collect())
}
