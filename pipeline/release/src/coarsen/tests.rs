use arrow_array::{Float32Array, Int32Array, StringArray, UInt8Array, UInt32Array, UInt64Array};
use arrow_schema::Schema;
use kerbside_core::detection::Class;
use kerbside_core::finding::Direction;
use proptest::prelude::*;

use super::*;
use crate::columns::{words8, words16};
use crate::contract::check_contract;
use crate::table::{Rule, TABLE_KEY, VOCABULARY_KEY};

const MINUTE: i64 = 60_000;
/// A hash of words, by its form.
const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// The beginning of an hour.
const ONE: i64 = 472_222 * HOUR_MILLIS;

/// A row of a quarter of an hour.
fn row(measure: Measure, quarter: i64, value: i32) -> Row {
    let t0 = ONE + quarter * 15 * MINUTE;
    let key = Key {
        node: 0,
        camera: 0,
        model: 0,
        config_revision: 7,
        release: Rule::AggDp.key(),
        site: 0,
        measure: measure as u8,
        class: 0,
        direction: 0,
        bucket: 0,
        unit: Unit::of(measure).key(),
    };
    Row {
        key,
        t0,
        t1: t0 + 15 * MINUTE,
        clock: 0,
        value,
        noise_b: 3.0,
        coverage: 1.0,
        frames: 9000,
        suppressed: false,
    }
}

fn batch(first_seq: u64, rows: &[Row]) -> RecordBatch {
    let list = |words: &[&str]| -> ArrayRef { Arc::new(StringArray::from_iter_values(words)) };
    let wide =
        |key: fn(&Row) -> u16, words: &[&str]| words16(rows.iter().map(key).collect(), &list(words)).unwrap();
    let short =
        |key: fn(&Row) -> u8, words: &[&str]| words8(rows.iter().map(key).collect(), &list(words)).unwrap();
    let time = |of: fn(&Row) -> i64| -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(of)).with_timezone(UTC))
    };
    let columns: Vec<ArrayRef> = vec![
        wide(|row| row.key.node, &["cabinet"]),
        wide(|row| row.key.camera, &["north", "south"]),
        Arc::new(UInt32Array::from(vec![5; rows.len()])),
        Arc::new(UInt64Array::from_iter_values((first_seq..).take(rows.len()))),
        time(|row| row.t0),
        time(|row| row.t1),
        short(|row| row.clock, &ClockQuality::ALL.map(ClockQuality::name)),
        short(|row| row.key.model, &["nanodet-g"]),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.key.config_revision))),
        short(|row| row.key.release, &Rule::WORDS),
        wide(|row| row.key.site, &["*", "crossing"]),
        short(|row| row.key.measure, &Measure::ALL.map(Measure::name)),
        short(|row| row.key.class, &Class::ALL.map(Class::name)),
        short(|row| row.key.direction, &Direction::ALL.map(Direction::name)),
        Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.key.bucket))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.value))),
        short(|row| row.key.unit, &Unit::WORDS),
        Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.noise_b))),
        Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.coverage))),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.frames))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.suppressed)))),
    ];
    let metadata = [(TABLE_KEY, "agg.v1"), (VOCABULARY_KEY, HASH)];
    let metadata = HashMap::from(metadata.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let schema = Schema::new(Table::Agg.columns()).with_metadata(metadata);
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn read(batch: &RecordBatch) -> Vec<Row> {
    let mut rows = Vec::new();
    Words::of(batch).unwrap().read(batch, &mut rows).unwrap();
    rows
}

fn coarse(rows: &[Row]) -> Vec<Row> {
    coarsen(&[batch(40, rows)]).unwrap().map_or_else(|| rows.to_vec(), |batch| read(&batch))
}

#[test]
fn every_measure_becomes_what_it_means_in_an_hour() {
    for measure in Measure::ALL {
        let rows: Vec<Row> = [4, -1, 10, 6]
            .into_iter()
            .zip(0..)
            .map(|(value, quarter)| Row { noise_b: 0.0, ..row(measure, quarter, value) })
            .collect();
        let [hour] = coarse(&rows)[..] else { panic!("{}", measure.name()) };
        let expected = match measure {
            Measure::CrossingCount
            | Measure::OccupancyTime
            | Measure::DwellHist
            | Measure::SpeedHist
            | Measure::StoppedCount
            | Measure::TurnCount
            | Measure::HeadwayHist
            | Measure::LoiteringCount => 19,
            // 4.75
            Measure::PresenceMean | Measure::DensityLevel => 5,
            Measure::QueueLen | Measure::QueueReach | Measure::FlowScore => 10,
        };
        assert_eq!(hour.value, expected, "{}", measure.name());
        assert_eq!((hour.t0, hour.t1), (ONE, ONE + HOUR_MILLIS));
        assert_eq!((hour.frames, hour.coverage, hour.noise_b), (36_000, 1.0, 0.0));
    }
}

#[test]
fn pc_13_the_scale_tells_the_variance_of_what_was_summed_up() {
    let of = |measure: Measure, scales: &[f32]| {
        let rows = scales.iter().zip(0..).map(|(b, quarter)| Row { noise_b: *b, ..row(measure, quarter, 0) });
        coarse(&rows.collect::<Vec<_>>())
    };
    let [sum] = of(Measure::CrossingCount, &[3.0, 4.0, 12.0])[..] else { panic!() };
    assert_eq!(sum.noise_b, 13.0, "2·13² = 2·(3² + 4² + 12²)");
    let [mean] = of(Measure::PresenceMean, &[3.0, 4.0, 12.0])[..] else { panic!() };
    assert!((mean.noise_b - 13.0 / 3.0).abs() < 1e-6);
    assert_eq!(of(Measure::QueueLen, &[3.0, 4.0, 12.0]).len(), 3, "the largest of noisy numbers has no scale");
}

#[test]
fn means_are_weighted_by_the_length_of_their_bins() {
    let short = Row { t1: ONE + 5 * MINUTE, coverage: 0.25, noise_b: 2.0, ..row(Measure::DensityLevel, 0, 100) };
    let long =
        Row { t0: ONE + 5 * MINUTE, t1: ONE + 20 * MINUTE, noise_b: 2.0, ..row(Measure::DensityLevel, 0, 500) };
    let [both] = coarse(&[short, long])[..] else { panic!() };
    assert_eq!(both.value, 400);
    assert!((both.coverage - 0.8125).abs() < 1e-6);
    let expected = (f32::hypot(2.0 * 5.0, 2.0 * 15.0)) / 20.0;
    assert!((both.noise_b - expected).abs() < 1e-6);
}

#[test]
fn only_what_follows_without_a_pause_within_an_hour_is_put_together() {
    let count = |quarter, value| row(Measure::CrossingCount, quarter, value);
    let spans = |rows: &[Row]| -> Vec<(i64, i64, i32)> {
        let in_quarters = |millis: i64| (millis - ONE) / (15 * MINUTE);
        coarse(rows).iter().map(|row| (in_quarters(row.t0), in_quarters(row.t1), row.value)).collect()
    };
    assert_eq!(spans(&[count(2, 1), count(3, 2), count(4, 4), count(5, 8)]), [(2, 4, 3), (4, 6, 12)], "the hour");
    assert_eq!(spans(&[count(0, 1), count(1, 2), count(3, 4)]), [(0, 2, 3), (3, 4, 4)], "the pause");
    let hour = Row { t1: ONE + HOUR_MILLIS, ..count(0, 1) };
    let later = Row { t0: ONE + 4 * HOUR_MILLIS, t1: ONE + 4 * HOUR_MILLIS + 90 * MINUTE, ..count(0, 2) };
    assert_eq!(coarsen(&[batch(0, &[hour, later])]).unwrap(), None, "bins that are long enough");
    assert_eq!(coarsen(&[]).unwrap(), None);
    assert_eq!(coarsen(&[batch(0, &[])]).unwrap(), None);
}

#[test]
fn rows_that_differ_in_anything_but_time_and_number_stay_apart() {
    let one = row(Measure::DwellHist, 0, 1);
    let other = |change: &dyn Fn(&mut Key)| {
        let mut row = row(Measure::DwellHist, 1, 1);
        change(&mut row.key);
        coarse(&[one, row]).len()
    };
    assert_eq!(other(&|_| ()), 1);
    assert_eq!(other(&|key| key.camera = 1), 2);
    assert_eq!(other(&|key| key.config_revision = 8), 2);
    assert_eq!(other(&|key| key.release = Rule::AggExact.key()), 2);
    assert_eq!(other(&|key| key.site = 1), 2);
    assert_eq!(other(&|key| key.measure = Measure::SpeedHist as u8), 2);
    assert_eq!(other(&|key| key.class = 1), 2);
    assert_eq!(other(&|key| key.direction = 1), 2);
    assert_eq!(other(&|key| key.bucket = 1), 2);
    assert_eq!(other(&|key| key.unit = Unit::Seconds.key()), 2);
}

#[test]
fn the_worst_clock_and_a_threshold_that_all_rows_agree_with() {
    let count = |quarter, value, suppressed| Row { suppressed, ..row(Measure::CrossingCount, quarter, value) };
    let unsynced = Row { clock: ClockQuality::Unsynced as u8, ..count(1, 6, true) };
    let [hour] = coarse(&[count(0, 6, true), unsynced, count(2, 1, true)])[..] else { panic!() };
    assert_eq!(hour.clock, ClockQuality::Unsynced as u8);
    assert!(hour.suppressed, "nothing says that 13 is enough");
    // Another cell of the same camera shows that it is.
    let shown = Row { key: Key { site: 1, ..count(0, 0, false).key }, ..count(0, 12, false) };
    let rows = coarse(&[count(0, 6, true), shown, count(1, 7, true), count(4, 2, true), count(5, 3, true)]);
    let hints: Vec<(i32, bool)> = rows.iter().map(|row| (row.value, row.suppressed)).collect();
    assert_eq!(hints, [(13, false), (12, false), (5, true)]);
    let [time] = coarse(&[row(Measure::OccupancyTime, 0, 1), row(Measure::OccupancyTime, 1, 1)])[..] else {
        panic!()
    };
    assert!(!time.suppressed, "times count nobody");
}

#[test]
fn the_rows_are_numbered_anew_and_keep_the_contract() {
    let first = batch(40, &[row(Measure::CrossingCount, 0, 1), row(Measure::DwellHist, 0, 1)]);
    let second = batch(42, &[row(Measure::CrossingCount, 1, 2), row(Measure::DwellHist, 1, 3)]);
    let coarse = coarsen(&[first.clone(), second]).unwrap().unwrap();
    check_contract(Table::Agg, &coarse.schema()).unwrap();
    assert_eq!(coarse.schema(), first.schema());
    assert_eq!(numbers::<UInt64Type>(&coarse, "seq").unwrap(), [40, 41]);
    assert_eq!(numbers::<UInt32Type>(&coarse, "epoch").unwrap(), [5, 5]);
    assert_eq!(read(&coarse).iter().map(|row| row.value).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let rows = [row(Measure::CrossingCount, 0, 1)];
    let one = batch(0, &rows);
    let mut columns = one.columns().to_vec();
    columns[2] = Arc::new(UInt32Array::from(vec![6]));
    let epoch = RecordBatch::try_new(one.schema(), columns).unwrap();
    let mut columns = one.columns().to_vec();
    let words: ArrayRef = Arc::new(StringArray::from_iter_values(["plaza"]));
    columns[0] = words16(vec![0], &words).unwrap();
    let node = RecordBatch::try_new(one.schema(), columns).unwrap();
    for other in [epoch, node] {
        assert!(matches!(coarsen(&[one.clone(), other]), Err(ReleaseError::Contract { .. })));
    }
    let other = RecordBatch::new_empty(Arc::new(Schema::new(Table::Health.columns())));
    assert!(matches!(coarsen(&[other]), Err(ReleaseError::Contract { .. })));
}

proptest! {
    #[test]
    fn sums_and_time_are_kept_whatever_the_bins_are(
        bins in proptest::collection::vec((0u8..3, 1i64..100, 0i64..3, -50i32..50), 0..60),
    ) {
        let mut ends = [ONE; 3];
        let rows: Vec<Row> = bins
            .into_iter()
            .map(|(site, minutes, pause, value)| {
                let end = &mut ends[usize::from(site)];
                let t0 = *end + pause * 5 * MINUTE;
                *end = t0 + minutes * MINUTE;
                let of = row(Measure::TurnCount, 0, value);
                Row { t0, t1: *end, key: Key { class: site, ..of.key }, ..of }
            })
            .collect();
        let coarse = coarse(&rows);
        let total = |rows: &[Row]| rows.iter().map(|row| i64::from(row.value)).sum::<i64>();
        let time = |rows: &[Row]| rows.iter().map(|row| row.t1 - row.t0).sum::<i64>();
        let variance = |rows: &[Row]| rows.iter().map(|row| f64::from(row.noise_b).powi(2)).sum::<f64>();
        prop_assert_eq!(total(&coarse), total(&rows));
        prop_assert_eq!(time(&coarse), time(&rows));
        prop_assert!((variance(&coarse) - variance(&rows)).abs() <= 1e-4 * variance(&rows));
        prop_assert!(coarse.len() <= rows.len());
        prop_assert_eq!(coarsen(&[batch(0, &coarse)]).unwrap(), None, "once is enough");
    }
}
