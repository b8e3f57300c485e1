//! A8: how much the released numbers tell about one passage, measured.
//!
//! Two worlds differ in one passage alone, which contributes all that it may. The real stage releases each world many
//! times, and whoever knows everything else guesses from the rows which world it was. The best he can do is the ratio
//! of likelihoods of all cells that the passage touches (Neyman and Pearson 1933); the events are thresholds on it and
//! single values of single cells, as in StatDP (Ding et al. 2018) and DP-Sniper (Bichsel et al. 2021). One half of the
//! runs chooses the event, the other half bounds it from below after Clopper and Pearson, so that choosing costs no
//! confidence: ε ≥ ln(P(event | one world) / P(event | the other)).
//!
//! A correct stage whose budget is used in full lies close below its ε: a bound far below it would be a weak attack.

mod alert;
mod scenes;

use std::collections::BTreeMap;
use std::thread;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Measure};
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_release::{ReleaseError, ReleasedBatch};

use alert::alert;
use scenes::{Visit, displace, hide};

use crate::outcome::{Outcome, Size};
use crate::stage::{LINE, QUARTER_SECS, crossing_cell, fresh, plan, release, scales, values, wall, zone_cell};
use crate::statistics::{share_at_least, share_at_most};

/// The bound holds with a probability of 1 − this.
const ALPHA: f64 = 1e-6;
/// What one passage may cost: PC-9.
const EPSILON: f64 = 0.66;
/// Single values farther than this from what they are without noise are too rare to be an event.
const FARTHEST: f64 = 60.0;
/// Cameras that one stage runs at once: each is a run of its own.
const CAMERAS: usize = 100;
/// Stretches of bins that one stage releases, each a run of its own.
const STRETCHES: usize = 40;
/// A moment at which bins of every length begin.
const START_SECS: u64 = 20_000 * 86_400;

/// What is tried on one kind of stage.
struct Game {
    /// How the cameras are configured.
    privacy: Privacy,
    /// The cells of each camera, in the order in which they are released.
    cells: Vec<Touched>,
    /// The bins in which a passage leaves something.
    bins: u64,
    /// Two stages with ledgers of their own release the same: noise that is drawn twice.
    is_drawn_twice: bool,
    /// What happens in each run.
    scene: Scene,
}

/// What happens in a run, with the passage or without it.
#[derive(Clone, Copy)]
enum Scene {
    /// The passage alone.
    Visit(Visit),
    /// Others cross the line backward; in each minute of the worst case there is room for so many counts, and the
    /// passage takes all of it, forward.
    Displacing,
    /// Others are in the zone all the time; the passage is told before each of them, in slivers of a millisecond, and
    /// leaves all its counts as well.
    Hiding,
}

/// A cell that the passage touches.
#[derive(Clone, Copy)]
struct Touched {
    cell: Cell,
    /// By how much, in the released unit, in each bin.
    by: [f64; 2],
    /// What it is without the passage.
    base: f64,
}

impl Touched {
    const fn first(cell: Cell, by: f64) -> Self {
        Self { cell, by: [by, 0.0], base: 0.0 }
    }
}

/// What one world looked like: how often each value of each statistic came, in both halves of the runs.
#[derive(Default)]
struct World {
    /// By half: the ratio of likelihoods in thousandths.
    ratios: [BTreeMap<i64, u64>; 2],
    /// By half: the values of single cells.
    singles: [BTreeMap<(usize, i32), u64>; 2],
    runs: [u64; 2],
}

/// An event that may tell the worlds apart.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The ratio is at least this.
    AtLeast(i64),
    /// The ratio is below this.
    Below(i64),
    /// The cell has this value.
    Is(usize, i32),
}

impl World {
    fn hits(&self, half: usize, event: Event) -> u64 {
        match event {
            Event::AtLeast(from) => self.ratios[half].range(from..).map(|(_, count)| count).sum(),
            Event::Below(to) => self.ratios[half].range(..to).map(|(_, count)| count).sum(),
            Event::Is(cell, value) => self.singles[half].get(&(cell, value)).copied().unwrap_or_default(),
        }
    }
}

/// The bound on ε from one half of the runs.
fn bound(likely: &World, unlikely: &World, half: usize, event: Event) -> f64 {
    let low = share_at_least(likely.hits(half, event), likely.runs[half], ALPHA / 2.0);
    let high = share_at_most(unlikely.hits(half, event), unlikely.runs[half], ALPHA / 2.0);
    if low > 0.0 { (low / high).ln().max(0.0) } else { 0.0 }
}

/// The best event by the first half, judged by the second.
fn measured(with: &World, without: &World) -> f64 {
    let mut events = Vec::new();
    let ratios: Vec<i64> = with.ratios[0].keys().chain(without.ratios[0].keys()).copied().collect();
    let step = (ratios.len() / 400).max(1);
    let mut sorted = ratios;
    sorted.sort_unstable();
    for ratio in sorted.into_iter().step_by(step) {
        events.extend([Event::AtLeast(ratio), Event::Below(ratio)]);
    }
    events.extend(
        with.singles[0].keys().chain(without.singles[0].keys()).map(|(cell, value)| Event::Is(*cell, *value)),
    );
    let mut best = (0.0, None);
    for event in events {
        for (likely, unlikely, turned) in [(with, without, false), (without, with, true)] {
            // A cheap look first: the interval costs more.
            let rate = |world: &World| (world.hits(0, event) as f64 + 1.0) / world.runs[0].max(1) as f64;
            if (rate(likely) / rate(unlikely)).ln() <= best.0 {
                continue;
            }
            let found = bound(likely, unlikely, 0, event);
            if found > best.0 {
                best = (found, Some((event, turned)));
            }
        }
    }
    match best.1 {
        Some((event, false)) => bound(with, without, 1, event),
        Some((event, true)) => bound(without, with, 1, event),
        None => 0.0,
    }
}

impl Game {
    /// The lower bound on ε after at least `runs` runs of each world.
    fn play(&self, runs: usize) -> Result<f64, ReleaseError> {
        let (mut with, mut without) = (World::default(), World::default());
        // Two stages at least: one for each half.
        let rounds = runs.div_ceil(CAMERAS * STRETCHES).max(2);
        thread::scope(|scope| {
            let other = scope.spawn(|| self.fill(&mut without, rounds, false));
            self.fill(&mut with, rounds, true)?;
            other.join().expect("the other world ends as well")
        })?;
        Ok(measured(&with, &without))
    }

    fn fill(&self, world: &mut World, rounds: usize, is_there: bool) -> Result<(), ReleaseError> {
        for round in 0..rounds {
            let draws = (0..=usize::from(self.is_drawn_twice)).map(|_| self.released(is_there));
            self.read(world, round % 2, &draws.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(())
    }

    /// All batches of one stage: every camera in every stretch of bins is one run.
    fn released(&self, is_there: bool) -> Result<Vec<ReleasedBatch>, ReleaseError> {
        let cells: Vec<Cell> = self.cells.iter().map(|touched| touched.cell).collect();
        let plans = (0..CAMERAS).map(|number| plan(number, cells.clone(), self.privacy)).collect();
        let mut stage = release(plans, START_SECS, fresh())?;
        let length = self.privacy.bins.of(self.cells[0].cell.class).as_secs();
        let mut out = Vec::new();
        for bin in (0..STRETCHES as u64 * self.bins).step_by(self.bins as usize) {
            let from = START_SECS + bin * length;
            for camera in 0..CAMERAS {
                match self.scene {
                    Scene::Visit(visit) if is_there => visit.make(&mut stage, camera, 1 + bin, from),
                    Scene::Visit(_) => {}
                    Scene::Displacing => displace(&mut stage, camera, 1 + bin, from, is_there),
                    Scene::Hiding => hide(&mut stage, camera, 1 + bin, from, is_there),
                }
            }
            stage.advance(wall(from + self.bins * length), &mut out)?;
        }
        Ok(out)
    }

    /// Turns released numbers into statistics. `draws` are releases of the same world.
    fn read(&self, world: &mut World, half: usize, draws: &[Vec<ReleasedBatch>]) {
        let width = self.cells.len();
        let bins = self.bins as usize;
        for stretch in (0..draws[0].len()).step_by(bins) {
            for camera in 0..CAMERAS {
                let mut ratio = 0.0;
                for draw in draws {
                    for bin in 0..bins {
                        let batch = draw[stretch + bin].get();
                        let rows = camera * width..(camera + 1) * width;
                        let (values, scales) = (&values(batch)[rows.clone()], &scales(batch)[rows]);
                        for (place, ((value, scale), touched)) in
                            values.iter().zip(scales).zip(&self.cells).enumerate()
                        {
                            let (value_of, by) = (f64::from(*value) - touched.base, touched.by[bin]);
                            if by != 0.0 {
                                ratio += (value_of.abs() - (value_of - by).abs()) / f64::from(*scale);
                            }
                            if by != 0.0 && value_of.abs() <= FARTHEST {
                                *world.singles[half].entry((bin * width + place, *value)).or_default() += 1;
                            }
                        }
                    }
                }
                *world.ratios[half].entry((ratio * 1000.0).round() as i64).or_default() += 1;
                world.runs[half] += 1;
            }
        }
    }
}

/// The cells of a passage that leaves one count in each direction, a minute of presence, and one bucket of two
/// histograms, sorted as they are released.
fn six_cells() -> Vec<Touched> {
    let person = Class::Person;
    let bucket = |cell: Cell| Cell { bucket: 1, ..cell };
    let mut cells = vec![
        Touched::first(crossing_cell(person, Direction::Forward), 1.0),
        Touched::first(crossing_cell(person, Direction::Backward), 1.0),
        // A minute of 15: thousandths of one person, and seconds.
        Touched::first(zone_cell(person, Measure::PresenceMean), 1000.0 / 15.0),
        Touched::first(zone_cell(person, Measure::OccupancyTime), 60.0),
        Touched::first(bucket(zone_cell(person, Measure::DwellHist)), 1.0),
        Touched::first(bucket(Cell::new(LINE, Measure::SpeedHist, Some(person))), 1.0),
    ];
    cells.sort_by_key(|touched| touched.cell);
    cells
}

/// One direction, one measure of presence and one histogram: fewer coins to win, so fewer runs tell as much.
fn three_cells(counts: f64, seconds: f64, buckets: f64) -> Vec<Touched> {
    let mut cells = six_cells();
    cells.retain(|Touched { cell, .. }| {
        matches!(cell.measure, Measure::OccupancyTime | Measure::SpeedHist) || cell.direction == Direction::Forward
    });
    for touched in &mut cells {
        touched.by[0] = match touched.cell.measure {
            Measure::OccupancyTime => seconds,
            Measure::SpeedHist => buckets,
            _ => counts,
        };
    }
    cells
}

/// A count alone.
fn one_cell(by: f64) -> Vec<Touched> {
    vec![Touched::first(crossing_cell(Class::Person, Direction::Forward), by)]
}

/// The attack and its controls.
pub fn attack(size: Size) -> Vec<Outcome> {
    let runs = size.pick(16_000, 1_000_000);
    let few = size.pick(8_000, 200_000);
    let strict = Privacy::of(Profile::Strict);
    let forward = Visit { ways: &[Direction::Forward], ..Visit::GREEDY };
    let game = Game {
        privacy: strict,
        cells: three_cells(2.0, 60.0, 1.0),
        bins: 1,
        is_drawn_twice: false,
        scene: Scene::Visit(forward),
    };
    let mut rows = vec![row("one passage that tries to leave 5 counts; 3 cells", &game, runs)];
    // From ten seconds before a border on: one count on each side, and a minute of presence in all, not in each.
    let both = Visit { after: QUARTER_SECS - 10, secs: 290, turns: 20, ..forward };
    let mut cells = three_cells(1.0, 10.0, 1.0);
    for touched in &mut cells {
        touched.by[1] = match touched.cell.measure {
            Measure::OccupancyTime => 50.0,
            Measure::SpeedHist => 0.0,
            _ => 1.0,
        };
    }
    let game = Game { cells, bins: 2, scene: Scene::Visit(both), ..game };
    rows.push(row("one passage over the border of two bins; 3 cells", &game, few));
    if size == Size::Audit {
        let game = Game { cells: six_cells(), bins: 1, scene: Scene::Visit(Visit::GREEDY), ..game };
        rows.push(row("one passage that tries to leave 10 counts; 6 cells", &game, runs));
    }
    // Every minute for five minutes, under one id a minute: what a tracker that starts anew sees of one person.
    let privacy = Privacy::of(Profile::StrictWorstcase);
    let minutes = Visit { secs: 50, turns: 6, ways: &[Direction::Forward; 10], ids: 5, ..Visit::GREEDY };
    let game = Game { privacy, cells: one_cell(40.0), bins: 1, scene: Scene::Visit(minutes), ..game };
    rows.push(row("strict-worstcase: 300 counts in five minutes under 5 ids", &game, few));

    // All counts of six minutes change their cell.
    let [forth, back] = [Direction::Forward, Direction::Backward].map(|way| crossing_cell(Class::Person, way));
    let cells = vec![Touched::first(forth, 48.0), Touched { base: 48.0, ..Touched::first(back, -48.0) }];
    let game = Game { cells, scene: Scene::Displacing, ..game };
    rows.push(row("strict-worstcase: 48 counts forward displace 48 of others", &game, few));
    let mut cells = three_cells(2.0, -290.0, 1.0);
    for touched in &mut cells {
        touched.base = if touched.cell.measure == Measure::OccupancyTime { 300.0 } else { 0.0 };
    }
    let game = Game { privacy: strict, cells, scene: Scene::Hiding, ..game };
    rows.push(row("slivers of presence in front of others; 3 cells", &game, size.pick(16_000, 200_000)));
    rows.push(alert("an alert on a number of people", strict, few));

    let mut halved = strict;
    halved.epsilon.count *= 2;
    halved.epsilon.occupancy *= 2;
    halved.epsilon.speed *= 2;
    halved.epsilon.passage *= 2;
    let cells = three_cells(2.0, 60.0, 1.0);
    let game = Game { privacy: halved, cells, bins: 1, is_drawn_twice: false, scene: Scene::Visit(forward) };
    rows.push(row("noise of half the scale", &game, size.pick(16_000, 200_000)).control());
    let once = Visit { secs: 10, turns: 2, ..forward };
    let game =
        Game { privacy: strict, is_drawn_twice: true, cells: one_cell(2.0), scene: Scene::Visit(once), ..game };
    rows.push(row("noise drawn twice for the same bin", &game, size.pick(60_000, 200_000)).control());
    // Five times as many counts and as much budget for them: the scale is that of two counts.
    let mut unbounded = strict;
    unbounded.bounds.cells_per_track *= 5;
    unbounded.epsilon.count *= 5;
    unbounded.epsilon.passage = unbounded.epsilon.count + unbounded.epsilon.occupancy + unbounded.epsilon.speed;
    let cells = three_cells(5.0, 60.0, 1.0);
    let game = Game { privacy: unbounded, cells, is_drawn_twice: false, scene: Scene::Visit(forward), ..game };
    rows.push(row("no bound on the counts of a track", &game, size.pick(16_000, 200_000)).control());
    let cells = three_cells(10.0, 300.0, 5.0);
    let visit = Visit { ids: 5, ..forward };
    let game = Game { privacy: strict, cells, scene: Scene::Visit(visit), ..game };
    rows.push(row("a tracker that gives one person five ids", &game, few).control());
    let mut certain = strict;
    certain.epsilon.alert *= 10;
    rows.push(alert("an alert with a tenth of the noise", certain, few).control());
    rows
}

fn row(what: &str, game: &Game, runs: usize) -> Outcome {
    let tried = format!("{what}; {runs} runs with and {runs} without");
    let limit = format!("<= {EPSILON} (PC-9)");
    match game.play(runs) {
        Ok(epsilon) => {
            let figure = format!("eps >= {epsilon:.3} at 1 - 1e-6");
            Outcome::real("A8", tried, figure, limit, epsilon <= EPSILON)
        }
        Err(error) => Outcome::real("A8", tried, format!("cannot be run: {error}"), limit, false),
    }
}
