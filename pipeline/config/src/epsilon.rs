//! The `privacy.epsilon` block: what one passage may cost, and how it is split.
//!
//! Budgets are read digit by digit into whole thousandths of ε, and no floating-point number is on the way: 0.66 is
//! 660, never 659.

use std::ops::RangeInclusive;

use kerbside_core::privacy::{Epsilon, Privacy, Profile};
use kerbside_core::tree::{Field, Kind, Reader};

/// Thousandths in 1.
const MILLI: u32 = 1000;
/// Room for one thousandth in each of the three parts.
const LEAST_PASSAGE: u32 = 3;
const MOST_PASSAGES: u64 = 100;

/// Reads the block. What it does not say comes from `base`, with one exception: where the passage's budget changes,
/// the parts that are not written change in proportion.
pub(crate) fn read(reader: &Reader<'_>, base: Epsilon, loosest: Privacy) -> Epsilon {
    let most = loosest.epsilon;
    let mut epsilon = base;
    let passage = reader.optional("passage");
    if let Some(field) = &passage
        && let Some(budget) = thousandths(field, LEAST_PASSAGE..=most.passage)
    {
        epsilon = scaled(base, budget);
    }
    if let Some(field) = reader.optional("split") {
        read_split(&field, &mut epsilon, loosest.profile);
    }
    if let Some(alert) = reader.optional("alert").and_then(|field| thousandths(&field, 1..=most.alert)) {
        epsilon.alert = alert;
    }
    let passages = reader.optional("passages_per_day");
    if let Some(count) = passages.as_ref().and_then(|field| field.integer(1..=MOST_PASSAGES, "passages a day")) {
        epsilon.passages_per_day = count as u32;
    }
    // Where the number of passages is not written here, it is the budget that does not go with it.
    if let Some(field) = passages.or(passage)
        && epsilon.day() > most.day()
    {
        let Epsilon { passage, passages_per_day: count, .. } = epsilon;
        let (passage, day, most_day) = (show(passage), show(epsilon.day()), show(most.day()));
        let fits = most.day() / epsilon.passage;
        field.problem(
            format!("{count} passages of {passage} would cost {day} a day"),
            format!("at most {most_day} a day is allowed, which is {fits} of them"),
        );
    }
    reader.finish();
    epsilon
}

/// `base` with another budget of a passage and its parts in the same proportion, in whole thousandths rounded down;
/// none is without budget.
fn scaled(base: Epsilon, passage: u32) -> Epsilon {
    let part = |part: u32| (part * passage / base.passage).max(1);
    let mut epsilon = Epsilon {
        passage,
        count: part(base.count),
        occupancy: part(base.occupancy),
        speed: part(base.speed),
        ..base
    };
    let excess = sum(&epsilon).saturating_sub(passage);
    let Epsilon { count, occupancy, speed, .. } = &mut epsilon;
    // At most two parts were lifted to 1; the third has that much to give, since a passage has three thousandths.
    if let Some(largest) = [count, occupancy, speed].into_iter().max_by_key(|part| **part) {
        *largest -= excess;
    }
    epsilon
}

fn sum(epsilon: &Epsilon) -> u32 {
    epsilon.count + epsilon.occupancy + epsilon.speed
}

fn read_split(field: &Field<'_>, epsilon: &mut Epsilon, profile: Profile) {
    let Some(reader) = field.map() else { return };
    let passage = epsilon.passage;
    let mut sound = true;
    for (key, target) in
        [("count", &mut epsilon.count), ("occupancy", &mut epsilon.occupancy), ("speed", &mut epsilon.speed)]
    {
        let Some(field) = reader.optional(key) else { continue };
        match thousandths(&field, 1..=passage) {
            Some(part) => *target = part,
            None => sound = false,
        }
    }
    reader.finish();
    if sound && sum(epsilon) > passage {
        let Epsilon { count, occupancy, speed, .. } = *epsilon;
        let [count, occupancy, speed, sum] = [count, occupancy, speed, sum(epsilon)].map(show);
        field.problem(
            format!("the parts are {count} for counts, {occupancy} for occupancy and {speed} for speeds, together {sum}"),
            format!("together at most {} is allowed, the budget of a passage", show(passage)),
        );
    }
    if profile == Profile::StrictWorstcase {
        field.note("'strict-worstcase' releases counts alone and spends the whole budget on them, so this changes nothing");
    }
}

/// A number with at most three decimals as whole thousandths.
fn thousandths(field: &Field<'_>, range: RangeInclusive<u32>) -> Option<u32> {
    let allowed = || {
        let (least, most) = (show(*range.start()), show(*range.end()));
        format!("a number with at most three decimals from {least} to {most} is expected")
    };
    let what = match field.kind() {
        Kind::Scalar { text, quoted: false } => match milli(text) {
            Some(number) if range.contains(&number) => return Some(number),
            Some(_) => format!("{text} is out of range"),
            // The float chooses words alone.
            None => {
                match text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|it| it * f64::from(MILLI))
                {
                    Some(number) if (f64::from(*range.start())..=f64::from(*range.end())).contains(&number) => {
                        format!("{text} cannot be taken exactly")
                    }
                    Some(_) => format!("{text} is out of range"),
                    None => format!("'{text}' is not a number"),
                }
            }
        },
        Kind::Scalar { text, .. } => format!("'{text}' is in quotes, so it is text"),
        other => format!("{} was found", other.name()),
    };
    field.problem(what, allowed());
    None
}

/// `0.66` as 660. `None` for a sign, an exponent, more decimals than three, and what is too large.
fn milli(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
        return None;
    }
    let decimals: u32 = format!("{decimals:0<3}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(MILLI)?.checked_add(decimals)
}

/// 660 as `0.66`.
fn show(milli: u32) -> String {
    let text = format!("{}.{:03}", milli / MILLI, milli % MILLI);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_budget_is_taken_exactly() {
        for number in 0..=2000 {
            assert_eq!(milli(&show(number)), Some(number), "{}", show(number));
        }
        for (text, expected) in [("0.66", 660), ("0.660", 660), ("00.001", 1), ("1", 1000), ("0.29", 290)] {
            assert_eq!(milli(text), Some(expected), "{text}");
        }
        for text in
            ["", ".", ".5", "1.", "-0.1", "+0.1", "0.6600", "6.6e-1", "0.0005", "4294967.296", "0,66", "٠.1"]
        {
            assert_eq!(milli(text), None, "{text:?}");
        }
    }

    #[test]
    fn pc_9_a_smaller_passage_keeps_its_split_and_never_costs_more() {
        let base = Privacy::of(Profile::Strict).epsilon;
        let parts = |it: Epsilon| [it.count, it.occupancy, it.speed];
        assert_eq!(parts(scaled(base, 660)), [440, 110, 110]);
        assert_eq!(parts(scaled(base, 330)), [220, 55, 55]);
        assert_eq!(parts(scaled(base, 500)), [333, 83, 83]);
        assert_eq!(parts(scaled(base, 3)), [1, 1, 1]);
        let bases =
            [base, Epsilon { count: 1, occupancy: 658, speed: 1, ..base }, scaled(base, 3), scaled(base, 41)];
        for base in bases {
            for passage in LEAST_PASSAGE..=660 {
                let epsilon = scaled(base, passage);
                assert!(parts(epsilon).iter().all(|part| *part > 0), "{epsilon:?}");
                assert!(sum(&epsilon) <= passage, "{epsilon:?}");
            }
        }
    }
}
