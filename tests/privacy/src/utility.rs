//! What the numbers are worth in spite of the noise: a busy and a quiet street for a week, the sums that a city reads
//! against what truly passed, beside what the contract calculates.
//!
//! The error is that of one line and one direction. Sums over lines or directions have the noise of each.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use kerbside_core::detection::Class;
use kerbside_core::finding::Direction;
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_release::ReleaseError;

use crate::stage::{DAY_SECS, QUARTER_SECS, agg_rows, crossing_cell, fresh, plan, release};
use crate::statistics::{discrete_laplace_deviation, mean_and_rms};
use crate::street::{Pace, Traffic, arrivals, play};

const START_SECS: u64 = 20_000 * DAY_SECS;
/// Cameras of each site: each is one more draw of everything.
const CAMERAS: usize = 4;

/// The error of sums of one class at one site.
#[derive(Clone, Debug, PartialEq)]
pub struct Usefulness {
    /// `busy` or `quiet`.
    pub site: &'static str,
    /// What is counted.
    pub class: Class,
    /// Over how long it is summed, in bins.
    pub bins: u64,
    /// What passes on average in that time, over one line in one direction.
    pub truth: f64,
    /// The mean error.
    pub bias: f64,
    /// The root of the mean square error.
    pub error: f64,
    /// The share of errors within the calculated 95 % of one bin, scaled by the root of the number of bins.
    pub within: f64,
    /// The error that the contract's noise should have.
    pub calculated: f64,
}

/// What truly passed and what was released, by bin.
type Series = (Vec<f64>, Vec<f64>);

/// Both sites, each class, for a quarter of an hour, an hour, a day and as many days as there are.
pub fn usefulness(days: u64) -> Result<Vec<Usefulness>, ReleaseError> {
    let of = |class, least, most| Traffic { class, least, most, speed: 15.0 };
    let busy = [of(Class::Person, 100.0, 400.0), of(Class::Bicycle, 20.0, 100.0), of(Class::Car, 50.0, 200.0)];
    let quiet = [of(Class::Person, 0.0, 5.0), of(Class::Bicycle, 0.0, 3.0), of(Class::Car, 0.0, 5.0)];
    let mut all = measured("busy", &busy, days)?;
    all.extend(measured("quiet", &quiet, days)?);
    Ok(all)
}

fn measured(site: &'static str, traffic: &[Traffic], days: u64) -> Result<Vec<Usefulness>, ReleaseError> {
    let privacy = Privacy::of(Profile::Strict);
    let ways = [Direction::Forward, Direction::Backward];
    let cells = traffic.iter().flat_map(|of| ways.map(|way| crossing_cell(of.class, way))).collect::<Vec<_>>();
    let plans = (0..CAMERAS).map(|number| plan(number, cells.clone(), privacy)).collect();
    let mut stage = release(plans, START_SECS, fresh())?;
    let span = (START_SECS, START_SECS + days * DAY_SECS);
    let random = &mut fastrand::Rng::with_seed(8);
    let mut passages: Vec<_> = (0..CAMERAS).flat_map(|camera| arrivals(random, camera, traffic, span)).collect();
    // Who is still there when the last bin closes belongs to the next.
    passages.retain(|passage| passage.at + passage.lasts < span.1 * 1000);
    passages.sort_unstable_by_key(|passage| passage.at);
    let batches = play(&mut stage, &passages, CAMERAS, span, Pace { step: 10_000, is_steady: false })?;

    let bins = days * DAY_SECS / QUARTER_SECS;
    // By camera, class and direction: truth and released numbers of every bin.
    let mut series: BTreeMap<(String, String, String), Series> = BTreeMap::new();
    for row in agg_rows(&batches) {
        let place = (row.span.0 / 1000 - START_SECS as i64) as usize / QUARTER_SECS as usize;
        let way = row.cell.split(' ').nth(3).unwrap_or_default().to_owned();
        let empty = || (vec![0.0; bins as usize], vec![0.0; bins as usize]);
        series.entry((row.camera, row.class, way)).or_insert_with(empty).1[place] = f64::from(row.value);
    }
    for passage in &passages {
        let place = ((passage.at + passage.lasts / 2) / 1000 - START_SECS) / QUARTER_SECS;
        let key = (
            format!("camera-{}", passage.camera),
            passage.class.name().to_owned(),
            passage.direction.name().to_owned(),
        );
        if let Some((truth, _)) = series.get_mut(&key) {
            truth[place as usize] += 1.0;
        }
    }

    let scale = f64::from(privacy.bounds.cells_per_track) * 1000.0 / f64::from(privacy.epsilon.count);
    let mut all = Vec::new();
    for of in traffic {
        for sum in BTreeSet::from([1, 4, 96, bins]) {
            let (mut errors, mut truths) = (Vec::new(), Vec::new());
            for ((_, class, _), (truth, told)) in &series {
                if class != of.class.name() {
                    continue;
                }
                for (truth, told) in truth.chunks(sum as usize).zip(told.chunks(sum as usize)) {
                    let truth: f64 = truth.iter().sum();
                    truths.push(truth);
                    errors.push(told.iter().sum::<f64>() - truth);
                }
            }
            let (bias, error) = mean_and_rms(&errors);
            let calculated = discrete_laplace_deviation(scale) * (sum as f64).sqrt();
            // 95 % of one draw lie within b · ln 20.
            let reach = scale * 20f64.ln() * (sum as f64).sqrt();
            let within = errors.iter().filter(|error| error.abs() <= reach).count() as f64 / errors.len() as f64;
            all.push(Usefulness {
                site,
                class: of.class,
                bins: sum,
                truth: mean_and_rms(&truths).0,
                bias,
                error,
                within,
                calculated,
            });
        }
    }
    Ok(all)
}

/// The table as text. The last column is what the contract's table says of the same sum of bins.
pub fn render(rows: &[Usefulness]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "site",
        "class",
        "sum over",
        "truth (mean)",
        "bias",
        "error (rms)",
        "calculated",
        "relative",
        "within 95 %",
        "contract says",
    ]);
    for row in rows {
        let over = match row.bins {
            1 => "15 min".to_owned(),
            4 => "1 h".to_owned(),
            96 => "1 day".to_owned(),
            bins => format!("{} days", bins / 96),
        };
        let contract = match row.bins {
            1 => "6.4; 95 % within 13.6",
            4 => "12.8",
            96 => "63 (0.65 % of 96 x 100)",
            _ => "63 x root of days",
        };
        table.add_row([
            row.site.to_owned(),
            row.class.name().to_owned(),
            over,
            format!("{:.1}", row.truth),
            format!("{:+.2}", row.bias),
            format!("{:.1}", row.error),
            format!("{:.1}", row.calculated),
            format!("{:.2} %", 100.0 * row.error / row.truth),
            format!("{:.3}", row.within),
            contract.to_owned(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PC-13: the raw numbers are unbiased, and as noisy as they say.
    #[test]
    fn pc_13_sums_are_unbiased_and_as_noisy_as_calculated() {
        let rows = usefulness(1).unwrap();
        assert_eq!(rows.len(), 2 * 3 * 3);
        for row in rows.iter().filter(|row| row.bins <= 4) {
            let sums = (96 / row.bins * 2 * CAMERAS as u64) as f64;
            assert!(row.bias.abs() < 6.0 * row.calculated / sums.sqrt(), "{row:?}");
            assert!((row.error / row.calculated - 1.0).abs() < 0.4, "{row:?}");
        }
    }
}
