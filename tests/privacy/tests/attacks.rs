//! Every attack in its small size: the real release stage keeps the limits, and each broken variant is caught.

#![allow(clippy::print_stdout, reason = "the rows explain a test that failed")]

use kerbside_privacy::attacks::{
    averaging, capacity, differencing, dp, fuzz, ledger, sampler, side_channel, smuggle,
};
use kerbside_privacy::outcome::{Outcome, Size};

/// All rows are as they must be, and there is at least one of each kind.
fn holds(attack: fn(Size) -> Vec<Outcome>) {
    let rows = attack(Size::Ci);
    for row in &rows {
        println!("{row}");
    }
    assert!(rows.iter().any(|row| row.is_control) && rows.iter().any(|row| !row.is_control));
    let wrong: Vec<String> = rows.iter().filter(|row| !row.is_right()).map(Outcome::to_string).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_1_no_forbidden_type_or_word_leaves() {
    holds(fuzz::attack);
}

#[test]
fn a_2_no_message_is_smuggled_beside_the_columns() {
    holds(smuggle::attack);
}

#[test]
fn a_4_a_day_holds_no_more_than_its_bytes() {
    holds(capacity::attack);
}

#[test]
fn a_8_one_passage_is_told_no_better_than_its_budget() {
    holds(dp::attack);
}

#[test]
fn a_9_released_noise_has_its_distribution() {
    holds(sampler::attack);
}

#[test]
fn a_12_no_number_is_told_twice() {
    holds(averaging::attack);
}

#[test]
fn a_13_configurations_cannot_be_subtracted() {
    holds(differencing::attack);
}

#[test]
fn a_14_a_bin_is_released_once_whatever_happens_to_the_ledger() {
    holds(ledger::attack);
}

#[test]
fn a_15_an_empty_street_looks_like_a_busy_one() {
    holds(side_channel::attack);
}
