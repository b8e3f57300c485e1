//! A9, from outside: the noise of released rows has the distribution that `noise_b` says.
//!
//! Empty bins of the real stage are noise and nothing else. Their values are compared with the exact probabilities of
//! the discrete Laplace distribution by Pearson's chi-square. The sampler itself is held against its proofs beside it.

use std::collections::BTreeMap;

use kerbside_core::detection::Class;
use kerbside_core::finding::Direction;
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_release::ReleaseError;

use crate::attacks::broken;
use crate::outcome::{Outcome, Size};
use crate::stage::{QUARTER_SECS, crossing_cell, fresh, plan, release, scales, values, wall};
use crate::statistics::{chi_square_tail, discrete_laplace};

const START_SECS: u64 = 20_000 * 86_400;
const CAMERAS: usize = 500;
/// What a true sampler falls below once in a million audits.
const LEAST: f64 = 1e-6;
/// Values beyond this many scales are one class of the chi-square.
const TAIL_SCALES: f64 = 5.0;

/// The attack and its control.
pub fn attack(size: Size) -> Vec<Outcome> {
    let draws = size.pick(40_000, 1_000_000);
    let limit = format!("p > {LEAST:e}");
    let row = |tried: &str, claimed: f64| match p_value(draws, claimed) {
        Ok((p, b)) => {
            Outcome::real("A9", tried, format!("p = {p:.2e} at b = {:.3}", b * claimed), limit.clone(), p > LEAST)
        }
        Err(error) => broken("A9", tried, &limit, error),
    };
    vec![
        row(&format!("{draws} empty counts of released rows against the exact pmf"), 1.0),
        row(&format!("{draws} empty counts that claim a scale 10 % larger"), 1.1).control(),
    ]
}

/// The p-value of the released noise under `claimed` times the scale that is published, and that scale.
fn p_value(draws: usize, claimed: f64) -> Result<(f64, f64), ReleaseError> {
    let cells = [Direction::Forward, Direction::Backward].map(|way| crossing_cell(Class::Person, way)).to_vec();
    let per_bin = CAMERAS * cells.len();
    let plans = (0..CAMERAS).map(|number| plan(number, cells.clone(), Privacy::of(Profile::Strict))).collect();
    let mut stage = release(plans, START_SECS, fresh())?;
    let (mut counts, mut all, mut scale) = (BTreeMap::<i64, u64>::new(), 0u64, 0.0);
    let mut out = Vec::new();
    for bin in 1..=draws.div_ceil(per_bin) as u64 {
        out.clear();
        stage.advance(wall(START_SECS + bin * QUARTER_SECS), &mut out)?;
        for batch in &out {
            scale = scales(batch.get()).first().copied().map_or(scale, f64::from);
            for value in values(batch.get()) {
                *counts.entry(i64::from(*value)).or_default() += 1;
                all += 1;
            }
        }
    }
    Ok((chi_square(&counts, all, scale * claimed), scale))
}

/// Pearson's test of the counts of values against the discrete Laplace distribution.
fn chi_square(counts: &BTreeMap<i64, u64>, all: u64, scale: f64) -> f64 {
    let edge = (TAIL_SCALES * scale) as i64;
    let share = |value| discrete_laplace(value, scale);
    let inside: f64 = (-edge..=edge).map(share).sum();
    let (mut sum, mut seen) = (0.0, 0);
    for value in -edge..=edge {
        let count = counts.get(&value).copied().unwrap_or_default();
        seen += count;
        let expected = share(value) * all as f64;
        sum += (count as f64 - expected).powi(2) / expected;
    }
    // By symmetry both tails are one class each.
    let expected = 0.5 * (1.0 - inside) * all as f64;
    let below: u64 = counts.range(..-edge).map(|(_, count)| count).sum();
    for count in [below, all - seen - below] {
        sum += (count as f64 - expected).powi(2) / expected;
    }
    chi_square_tail(sum, (2 * edge + 2) as f64)
}
