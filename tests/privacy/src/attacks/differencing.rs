//! A13: two configurations that differ in a line ask twice about the same people, and the difference or the mean of
//! the answers tells more than either. The budget belongs to the camera and the time, so the second one gets nothing;
//! and within one configuration a track counts twice, however many lines it crosses.

use std::collections::BTreeMap;
use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, FindingKind, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::observation::TrackId;
use kerbside_core::privacy::{Bins, Privacy, Profile};
use kerbside_core::time::MediaTime;
use kerbside_release::{CameraPlan, Guarantee, ReleaseError, ReleasedBatch, Table};

use crate::attacks::broken;
use crate::outcome::{Outcome, Size};
use crate::stage::{
    DAY_SECS, QUARTER_SECS, SECOND, SharedLedger, agg_rows, crossing_cell, finding, frame, fresh, guarded_by,
    is_noised, plan, release, values, wall,
};
use crate::street::{Pace, Traffic, arrivals, play};

const START_SECS: u64 = 20_000 * 86_400;
/// How often the line is changed in a day, and how many lines there are at once.
const LINES: usize = 50;
/// More exact totals than this cannot be luck: with the noise of two counts one in six is.
const LUCK: f64 = 0.25;

/// The attack and its controls.
pub fn attack(size: Size) -> Vec<Outcome> {
    let days = size.pick(1, 10) as u64;
    let ledger = SharedLedger::default();
    let moved = format!("the line is moved and bins are changed {LINES} times a day; {days} days");
    let lines = format!("{LINES} lines at one place: the mean of all");
    let cameras = size.pick(3, 30);
    let strict = Privacy::of(Profile::Strict);
    // As much noise as two counts ask for, and no limit on how many there are.
    let mut unbounded = strict;
    unbounded.bounds.cells_per_track = LINES as u32;
    unbounded.epsilon.count = strict.epsilon.count * LINES as u32 / strict.bounds.cells_per_track;
    unbounded.epsilon.passage = unbounded.epsilon.count + strict.epsilon.occupancy + strict.epsilon.speed;
    vec![
        reconfigured(&moved, days, || guarded_by(ledger.clone())),
        reconfigured(&format!("{moved}, each with a ledger of its own"), days, fresh).control(),
        crossed(&lines, cameras, strict),
        crossed(&format!("{lines}, without a bound on counts"), cameras, unbounded).control(),
    ]
}

/// How many releases cover the same moment, at most, when the configuration is changed again and again.
fn reconfigured(tried: &str, days: u64, guarantee: impl Fn() -> Guarantee) -> Outcome {
    const LIMIT: &str = "1 release of any moment";
    let covered = (0..days).map(|day| most_covered(START_SECS + day * DAY_SECS, &guarantee));
    match covered.collect::<Result<Vec<_>, _>>() {
        Ok(covered) => {
            let most = covered.into_iter().max().unwrap_or_default();
            Outcome::real("A13", tried, format!("{most} releases"), LIMIT, most == 1)
        }
        Err(error) => broken("A13", tried, LIMIT, error),
    }
}

fn most_covered(day: u64, guarantee: impl Fn() -> Guarantee) -> Result<u64, ReleaseError> {
    let mut random = fastrand::Rng::with_seed(day);
    let traffic = [Traffic { class: Class::Person, least: 5.0, most: 60.0, speed: 5.0 }];
    let mut spans = Vec::new();
    for change in 0..LINES as u64 {
        let mut privacy = Privacy::of(Profile::Strict);
        let lengths = [900, 1800, 3600, 1200];
        privacy.bins = Bins::all(Duration::from_secs(lengths[change as usize % lengths.len()]));
        let cells = vec![crossing_cell(Class::Person, Direction::Forward)];
        let plan = CameraPlan { sites: sites(change), ..plan(0, cells, privacy) };
        // Each configuration begins a while before the one before it ended, as if the clip of it were kept.
        let from = day + change * DAY_SECS / LINES as u64 / 60 * 60;
        let to = (from + 3 * QUARTER_SECS).min(day + DAY_SECS);
        let mut stage = release(vec![plan], from, guarantee())?;
        let begun = from / QUARTER_SECS * QUARTER_SECS;
        let people = arrivals(&mut random, 0, &traffic, (begun, to.next_multiple_of(QUARTER_SECS)));
        let people: Vec<_> = people.into_iter().filter(|passage| passage.at >= from * 1000).collect();
        let mut out = play(&mut stage, &people, 1, (from, to), Pace { step: 5000, is_steady: true })?;
        stage.finish(wall(to), &mut out)?;
        spans.extend(agg_rows(&out).into_iter().filter(is_noised).map(|row| row.span));
    }
    Ok(deepest(&spans))
}

/// A line that has been moved is another line with another name, or the same one.
fn sites(change: u64) -> Vec<String> {
    let line = if change.is_multiple_of(3) { "line-a".to_owned() } else { format!("line-{change}") };
    vec![line, "line-b".to_owned(), "zone".to_owned()]
}

/// How many spans hold the same moment, at most.
fn deepest(spans: &[(i64, i64)]) -> u64 {
    let mut steps: BTreeMap<i64, i64> = BTreeMap::new();
    for (from, to) in spans {
        *steps.entry(*from).or_default() += 1;
        *steps.entry(*to).or_default() -= 1;
    }
    let depths = steps.values().scan(0, |depth, step| {
        *depth += step;
        Some(*depth)
    });
    depths.max().unwrap_or_default().unsigned_abs()
}

/// In how many bins the exact total comes out of many lines at one place.
fn crossed(tried: &str, cameras: usize, privacy: Privacy) -> Outcome {
    let limit = format!("<= {LUCK} of bins");
    match exact_totals(cameras, privacy) {
        Ok(share) => {
            Outcome::real("A13", tried, format!("exact total in {share:.3} of bins"), limit, share <= LUCK)
        }
        Err(error) => broken("A13", tried, &limit, error),
    }
}

fn exact_totals(cameras: usize, privacy: Privacy) -> Result<f64, ReleaseError> {
    const PEOPLE: u64 = 40;
    const BINS: u64 = 96;
    let cell = |line: usize| {
        Cell::new(SiteId(line as u16), Measure::CrossingCount, Some(Class::Person)).directed(Direction::Forward)
    };
    let plans = (0..cameras).map(|number| CameraPlan {
        sites: (0..LINES).map(|line| format!("line-{line}")).collect(),
        ..plan(number, (0..LINES).map(cell).collect(), privacy)
    });
    let mut stage = release(plans.collect(), START_SECS, fresh())?;
    let mut out: Vec<ReleasedBatch> = Vec::new();
    for bin in 0..BINS {
        let from = START_SECS + bin * QUARTER_SECS;
        for person in 0..PEOPLE {
            let (at, track) = (from + person * 20, 1 + bin * PEOPLE + person);
            // Which lines count it first is another matter for each.
            let lines = (0..LINES).map(|line| (line + track as usize) % LINES);
            let crossings: Vec<_> = lines
                .map(|line| {
                    let kind = FindingKind::Crossing { direction: Direction::Forward };
                    finding(at, SiteId(line as u16), Class::Person, track, kind)
                })
                .collect();
            for camera in 0..cameras {
                let seen = std::iter::once((TrackId(track), Class::Person));
                stage.follow(camera, MediaTime::from_nanos(at * SECOND), wall(at), seen);
                stage.observe(camera, &frame(at, 20), &crossings);
            }
        }
        stage.advance(wall(from + QUARTER_SECS), &mut out)?;
    }
    let (mut exact, mut all) = (0u64, 0u64);
    for batch in out.iter().filter(|batch| batch.table() == Table::Agg) {
        for of_camera in values(batch.get()).chunks(LINES) {
            let sum: i64 = of_camera.iter().map(|value| i64::from(*value)).sum();
            // A track that is counted m times of all lines adds m to the sum.
            let counted = f64::from(privacy.bounds.cells_per_track.min(LINES as u32));
            exact += u64::from((sum as f64 / counted).round() as i64 == PEOPLE as i64);
            all += 1;
        }
    }
    Ok(exact as f64 / all.max(1) as f64)
}
