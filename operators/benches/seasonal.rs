//! How fast the seasonal baseline judges: `cargo bench -p kerbside-operators --bench seasonal`.
//! Prints rows a second and what a save weighs; asserts nothing, since machines differ.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::time::Instant;

use kerbside_operators::seasonal::{SeasonalBaseline, SeasonalSettings};

const ROWS: i64 = 1_000_000;

fn main() {
    for step_secs in [60, 300, 3600] {
        let mut dice = fastrand::Rng::with_seed(1);
        let values: Vec<f64> = (0..ROWS).map(|_| f64::from(dice.u8(20..120))).collect();
        let mut baseline = SeasonalBaseline::new(SeasonalSettings::DEFAULT);
        let mut unusual = 0_u64;
        let begun = Instant::now();
        for (row, value) in (0..ROWS).zip(&values) {
            let verdict = baseline.observe(black_box(row * step_secs), black_box(*value));
            unusual += u64::from(verdict.is_some_and(|verdict| verdict.unusual));
        }
        let judging = begun.elapsed();
        let mut bytes = Vec::new();
        let begun = Instant::now();
        baseline.save(&mut bytes);
        let saving = begun.elapsed();
        println!(
            "steps of {step_secs} s: {:.2} million rows a second ({:.0} ns a row), {unusual} unusual; saved in {:.0} µs as {} bytes",
            ROWS as f64 / judging.as_secs_f64() / 1e6,
            judging.as_nanos() as f64 / ROWS as f64,
            saving.as_secs_f64() * 1e6,
            bytes.len()
        );
    }
}
