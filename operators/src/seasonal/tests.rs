//! Properties of the whole detector, over series as sensors give them.

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::{DAY_SECS, SeasonalBaseline, SeasonalSettings, Verdict};

const STEP_SECS: i64 = 300;
const ROWS_A_DAY: i64 = DAY_SECS / STEP_SECS;

fn baseline() -> SeasonalBaseline {
    SeasonalBaseline::new(SeasonalSettings::DEFAULT)
}

fn judge(baseline: &mut SeasonalBaseline, rows: &[(i64, f64)]) -> Vec<Verdict> {
    rows.iter().filter_map(|(at, value)| baseline.observe(*at, *value)).collect()
}

/// The rows that were unusual.
fn alarms(rows: &[(i64, f64)]) -> Vec<usize> {
    let verdicts = judge(&mut baseline(), rows);
    verdicts.iter().enumerate().filter(|(_, verdict)| verdict.unusual).map(|(row, _)| row).collect()
}

/// Noise of mean 0 and deviation 1, near enough.
fn noise(dice: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0
}

/// Vehicles in five minutes: quiet nights, a morning and an evening peak on working days, a flat Sunday.
fn counts(days: i64, seed: u64, hush_on_sundays: bool) -> Vec<(i64, f64)> {
    let mut dice = fastrand::Rng::with_seed(seed);
    (0..days * ROWS_A_DAY)
        .map(|row| {
            let at = row * STEP_SECS;
            let hour = at.rem_euclid(DAY_SECS) as f64 / 3600.0;
            let peak = |centre: f64, width: f64| (-0.5 * ((hour - centre) / width).powi(2)).exp();
            // 1970-01-01 was a Thursday.
            let is_sunday = at.div_euclid(DAY_SECS).rem_euclid(7) == 3;
            let share = if is_sunday && hush_on_sundays { 0.1 } else { 1.0 };
            let mean = share * (2.0 + 60.0 * peak(8.0, 1.2) + 50.0 * peak(17.0, 1.8) + 30.0 * peak(13.0, 4.0));
            (at, (mean + mean.sqrt() * noise(&mut dice)).max(0.0).round())
        })
        .collect()
}

/// A speed that stays around `level`, in km/h.
fn speeds(rows: i64, level: f64, seed: u64) -> Vec<(i64, f64)> {
    let mut dice = fastrand::Rng::with_seed(seed);
    (0..rows).map(|row| (row * STEP_SECS, level + 2.0 * noise(&mut dice))).collect()
}

#[test]
fn a_constant_series_never_alarms_and_scores_nothing() {
    for value in [0.0, 1.0, -3.5, 1e90] {
        let rows: Vec<(i64, f64)> = (0..20 * ROWS_A_DAY).map(|row| (row * STEP_SECS, value)).collect();
        assert!(judge(&mut baseline(), &rows).iter().all(|verdict| verdict.score == 0.0), "{value}");
    }
}

#[test]
fn a_single_spike_alarms_at_the_spike_on_flat_and_on_noisy_series() {
    let flat: Vec<(i64, f64)> = (0..6 * ROWS_A_DAY).map(|row| (row * STEP_SECS, 5.0)).collect();
    for (mut rows, height) in
        [(flat, 6.0), (speeds(6 * ROWS_A_DAY, 60.0, 3), 5.0), (speeds(6 * ROWS_A_DAY, 60.0, 4), 140.0)]
    {
        rows[1200].1 = height;
        let found = alarms(&rows);
        assert!(found.contains(&1200), "{found:?}");
        assert!(!found.iter().any(|row| (1201..1300).contains(row)), "the way back is no news: {found:?}");
    }
}

#[test]
fn a_lasting_shift_is_told_once_and_becomes_the_norm() {
    for shift in [-30.0, 25.0] {
        let mut rows = speeds(12 * ROWS_A_DAY, 60.0, 7);
        let onset = 6 * ROWS_A_DAY as usize;
        rows[onset..].iter_mut().for_each(|(_, value)| *value += shift);
        let after: Vec<usize> = alarms(&rows).into_iter().filter(|row| *row >= onset).collect();
        assert!(after.first().is_some_and(|first| *first <= onset + 1), "{shift}: {after:?}");
        let within_hours = after.iter().filter(|row| **row < onset + ROWS_A_DAY as usize / 2).count();
        assert_eq!(within_hours, 1, "{shift}: {after:?}");
        assert!(after.len() <= 6, "then as seldom as ever: {shift}: {after:?}");
    }
}

#[test]
fn an_ordinary_series_alarms_seldom_from_its_first_hour_on() {
    for seed in 0..5 {
        let found = alarms(&counts(28, seed, false));
        assert!(found.len() <= 28, "no more than one a day: {}", found.len());
        let first_day = found.iter().filter(|row| **row < ROWS_A_DAY as usize).count();
        assert!(first_day <= 3, "nothing is known yet: {found:?}");
    }
}

#[test]
fn a_missing_rush_hour_is_found() {
    let mut rows = counts(15, 11, false);
    let (begin, end) = (14 * ROWS_A_DAY as usize + 80, 14 * ROWS_A_DAY as usize + 120);
    rows[begin..end].iter_mut().for_each(|(_, value)| *value *= 0.15);
    let found = alarms(&rows);
    assert!(found.iter().any(|row| (begin..end).contains(row)), "{found:?}");
}

#[test]
fn sundays_stop_alarming_once_they_have_been_seen_for_weeks() {
    let (mut first, mut late) = (0, 0);
    for seed in 0..6 {
        let rows = counts(10 * 7, seed, true);
        let verdicts = judge(&mut baseline(), &rows);
        let mut on_first = false;
        for (row, verdict) in verdicts.iter().enumerate() {
            let day = row as i64 / ROWS_A_DAY;
            let is_sunday = day.rem_euclid(7) == 3;
            let is_late = is_sunday && day > 7 * 7;
            on_first |= verdict.unusual && day == 3;
            late += usize::from(verdict.unusual && is_late);
            let hour = row as i64 % ROWS_A_DAY / 12;
            if is_late && (8..18).contains(&hour) {
                assert!(verdict.expected < 20.0, "a Sunday is expected: {}", verdict.expected);
            }
        }
        first += usize::from(on_first);
    }
    assert!(first >= 4, "the first Sunday differs from the days before: {first} of 6");
    assert!(late <= 6, "later ones are usual: {late} alarms on 18");
}

#[test]
fn a_sensor_that_is_stuck_is_found_and_a_silent_night_is_not_stuck() {
    let mut rows = speeds(8 * ROWS_A_DAY, 60.0, 5);
    for row in &mut rows {
        row.1 = if row.0.rem_euclid(DAY_SECS) < 5 * 3600 { 0.0 } else { row.1 };
    }
    let noon = 7 * ROWS_A_DAY as usize + 90;
    let held = rows[noon].1;
    let stuck = |verdicts: &[Verdict]| {
        verdicts.iter().filter(|verdict| verdict.unusual && verdict.reason == super::Reason::Stuck).count()
    };
    assert_eq!(stuck(&judge(&mut baseline(), &rows)), 0);
    rows[noon..].iter_mut().for_each(|(_, value)| *value = held);
    assert_eq!(stuck(&judge(&mut baseline(), &rows)), 1);
}

#[test]
fn what_is_no_number_is_neither_judged_nor_learned() {
    let rows = counts(3, 2, false);
    let plain = judge(&mut baseline(), &rows);
    let mut spoiled = baseline();
    let mut verdicts = Vec::new();
    for (at, value) in rows {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
            assert_eq!(spoiled.observe(at + 1, bad), None);
        }
        verdicts.extend(spoiled.observe(at, value));
    }
    assert_eq!(verdicts, plain);
}

#[test]
fn one_bad_day_does_not_become_the_norm() {
    let mut rows = counts(16, 9, false);
    let (bad, next) = (14 * ROWS_A_DAY as usize, 15 * ROWS_A_DAY as usize);
    rows[bad + 60..bad + 260].iter_mut().for_each(|(_, value)| *value = 400.0);
    let verdicts = judge(&mut baseline(), &rows);
    let calm = judge(&mut baseline(), &counts(16, 9, false));
    for row in next + 90..next + 250 {
        let (after, without) = (verdicts[row].expected, calm[row].expected);
        assert!((after - without).abs() < 0.5 * without.max(10.0), "row {row}: {after} for {without}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_to_come_change_nothing_and_a_save_in_the_middle_neither(seed in any::<u64>(), cut in 1..1400_usize) {
        let rows = counts(5, seed, true);
        let whole = judge(&mut baseline(), &rows);
        let mut first = baseline();
        prop_assert_eq!(&judge(&mut first, &rows[..cut])[..], &whole[..cut]);
        let mut bytes = Vec::new();
        first.save(&mut bytes);
        let mut second = SeasonalBaseline::restore(&bytes, SeasonalSettings::DEFAULT).unwrap();
        prop_assert_eq!(&judge(&mut second, &rows[cut..])[..], &whole[cut..]);
        let mut again = Vec::new();
        first.save(&mut again);
        prop_assert_eq!(again, bytes, "saving changes nothing");
    }

    #[test]
    fn the_unit_does_not_matter(seed in any::<u64>(), power in -40..40_i32) {
        let rows = counts(8, seed, true);
        let verdicts = judge(&mut baseline(), &rows);
        let unusual: Vec<bool> = verdicts.iter().map(|verdict| verdict.unusual).collect();
        // A power of two is exact; a thousand may move a verdict that lies on the threshold, and none does.
        let scaled = |factor: f64| -> Vec<(i64, f64)> { rows.iter().map(|(at, value)| (*at, factor * value)).collect() };
        let exact = judge(&mut baseline(), &scaled(2_f64.powi(power)));
        prop_assert!(exact.iter().zip(&verdicts).all(|(scaled, plain)| scaled.score == plain.score));
        let thousands = judge(&mut baseline(), &scaled(1000.0));
        prop_assert_eq!(thousands.iter().map(|verdict| verdict.unusual).collect::<Vec<_>>(), unusual);
    }

    #[test]
    fn any_moments_and_values_give_scores_in_range(rows in proptest::collection::vec((any::<i64>(), any::<f64>()), 1..300)) {
        let mut baseline = baseline();
        for (at, value) in rows {
            if let Some(verdict) = baseline.observe(at, value) {
                prop_assert!((0.0..=1.0).contains(&verdict.score));
                prop_assert!(verdict.expected.is_finite());
                prop_assert_eq!(verdict.unusual, verdict.score >= 0.5);
            }
        }
        let mut bytes = Vec::new();
        baseline.save(&mut bytes);
        prop_assert!(SeasonalBaseline::restore(&bytes, SeasonalSettings::DEFAULT).is_ok());
    }

    #[test]
    fn disturbed_bytes_are_refused(place in any::<proptest::sample::Index>(), flip in 1..=255_u8, cut in any::<proptest::sample::Index>()) {
        let mut baseline = baseline();
        judge(&mut baseline, &counts(2, 1, false));
        let mut bytes = Vec::new();
        baseline.save(&mut bytes);
        let short = &bytes[..cut.index(bytes.len())];
        prop_assert!(SeasonalBaseline::restore(short, SeasonalSettings::DEFAULT).is_err());
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        prop_assert!(SeasonalBaseline::restore(&bytes, SeasonalSettings::DEFAULT).is_err());
    }

    #[test]
    fn gaps_and_repeated_hours_are_survived(seed in any::<u64>()) {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut rows = counts(14, seed, false);
        // Single rows, some hours and a day are missing; one hour comes twice.
        rows.retain(|_| dice.u8(0..10) > 0);
        let lost = dice.usize(500..2000);
        rows.drain(lost..lost + 260);
        let hour: Vec<(i64, f64)> = rows[300..312].to_vec();
        rows.splice(312..312, hour);
        prop_assert!(alarms(&rows).len() <= 14);
    }
}
