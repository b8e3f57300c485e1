//! Counts of samples by cell and group, and how improbable a movement is given them.
//!
//! A sample is one track at one place: see [`super::walk`]. In each cell and for each group there are a count
//! of visits, eight counts of directions (a sample between two of them is shared), and counts of speeds in
//! steps of a sixth of an octave, of which the first is "stands".
//!
//! Where a cell has seen little, its neighbours speak, and where they have seen little, the whole scene: the
//! distributions are blended as posterior means under Dirichlet priors, each centred on the wider one (Lidstone
//! smoothing with back-off; MacKay and Peto, "A hierarchical Dirichlet language model", Natural Language
//! Engineering 1(3), 1995).
//!
//! Improbable is measured alike for everything: as -ln of the share of what is usual that is as rare or rarer.
//! So a place where people go all ways has no surprising direction, and numbers of different kinds compare.
//! Units: nats, 0 to [`MOST_SURPRISE`].

use super::{Grid, Group};

/// Directions: bin `n` is centred at `n` eighths of a turn from the picture's right, towards its bottom.
pub(crate) const DIRECTIONS: usize = 8;
/// Bins of speed in an octave.
const BINS_PER_OCTAVE: f64 = 6.0;
/// Bins of speed: "stands", and seven octaves above the slowest speed, of which the last bin is open.
pub(crate) const SPEEDS: usize = 44;
/// No single moment counts for more: a share of one in 160 000.
pub(crate) const MOST_SURPRISE: f64 = 12.0;
/// How many samples the wider distribution is worth.
const PRIOR: f32 = 1.0;
/// What a visit adds to each neighbour cell: boxes shake, and one step beside the usual path is no event.
const SPILL: f32 = 0.0025;
/// What every cell has been visited without anyone seen there.
const UNSEEN: f32 = 0.05;
/// How often counts fade within a half-life.
const FADES_PER_HALF_LIFE: u32 = 256;

/// One track at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) cell: u16,
    /// In 1/256 of a turn.
    pub(crate) direction: u8,
    /// A bin of speed; 0 stands and has no direction.
    pub(crate) speed: u8,
}

/// How something moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Motion {
    Stands,
    Moves {
        /// Turns from the picture's right towards its bottom, 0..1.
        turn: f64,
        /// Multiples of the slowest speed that is a movement, from 1.
        speed: f64,
    },
}

impl Motion {
    /// Where the speed lies on the axis of bins: the bin is the integer part.
    fn speed_place(speed: f64) -> f32 {
        (1.0 + BINS_PER_OCTAVE * speed.max(1.0).log2()).min(SPEEDS as f64 - 0.01) as f32
    }

    pub(crate) fn sample(self, cell: usize) -> Sample {
        let cell = cell as u16;
        match self {
            Self::Stands => Sample { cell, direction: 0, speed: 0 },
            Self::Moves { turn, speed } => {
                let direction = (turn.rem_euclid(1.0) * 256.0) as u8;
                Sample { cell, direction, speed: Self::speed_place(speed) as u8 }
            }
        }
    }
}

/// How improbable a movement is, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Surprise {
    pub(crate) place: f64,
    /// `None` for what stands.
    pub(crate) direction: Option<f64>,
    pub(crate) too_fast: f64,
    pub(crate) too_slow: f64,
}

/// The counts. All have been multiplied alike by what was forgotten, but for the time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) grid: Grid,
    /// Visits by group and cell, with what spilt over from neighbours.
    pub(crate) visits: Vec<f32>,
    /// By group and cell.
    pub(crate) directions: Vec<[f32; DIRECTIONS]>,
    /// By group and cell.
    pub(crate) speeds: Vec<[f32; SPEEDS]>,
    /// Sums of the two over all cells, by group.
    pub(crate) directions_of_scene: [[f32; DIRECTIONS]; Group::COUNT],
    pub(crate) speeds_of_scene: [[f32; SPEEDS]; Group::COUNT],
}

impl Statistics {
    pub(crate) fn new(grid: Grid) -> Self {
        let places = Group::COUNT * grid.cells();
        Self {
            grid,
            visits: vec![0.0; places],
            directions: vec![[0.0; DIRECTIONS]; places],
            speeds: vec![[0.0; SPEEDS]; places],
            directions_of_scene: [[0.0; DIRECTIONS]; Group::COUNT],
            speeds_of_scene: [[0.0; SPEEDS]; Group::COUNT],
        }
    }

    /// Adds one track's samples.
    pub(crate) fn learn(&mut self, group: Group, samples: &[Sample]) {
        let first = group as usize * self.grid.cells();
        for (index, sample) in samples.iter().enumerate() {
            let cell = usize::from(sample.cell);
            if !samples[..index].iter().any(|earlier| earlier.cell == sample.cell) {
                self.visits[first + cell] += 1.0;
                for other in self.grid.around(cell) {
                    self.visits[first + other] += SPILL;
                }
            }
            self.speeds[first + cell][usize::from(sample.speed)] += 1.0;
            self.speeds_of_scene[group as usize][usize::from(sample.speed)] += 1.0;
            if sample.speed > 0 {
                let place = f32::from(sample.direction) / 256.0 * DIRECTIONS as f32;
                let (bin, next, share) = direction_bins(place);
                for counts in [&mut self.directions[first + cell], &mut self.directions_of_scene[group as usize]] {
                    counts[bin] += 1.0 - share;
                    counts[next] += share;
                }
            }
        }
    }

    /// How improbable it is that one of `group` moves so at `place`, in units of cells. Cells up to `slack` away
    /// may speak for it: a cell's edge is no edge on the street, and who drives along it belongs to either side.
    pub(crate) fn surprise(&self, group: Group, place: [f64; 2], slack: [f64; 2], motion: Motion) -> Surprise {
        let here = self.grid.cell(place);
        let mut least = self.surprise_in(group, here, motion);
        let beside = [[slack[0], 0.0], [-slack[0], 0.0], [0.0, slack[1]], [0.0, -slack[1]]];
        for [x, y] in beside {
            let cell = self.grid.cell([(place[0] + x).max(0.0), (place[1] + y).max(0.0)]);
            if cell != here {
                let there = self.surprise_in(group, cell, motion);
                let direction = least.direction.zip(there.direction).map(|(one, other)| one.min(other));
                let too_fast = least.too_fast.min(there.too_fast);
                least = Surprise { direction, too_fast, too_slow: least.too_slow.min(there.too_slow), ..least };
            }
        }
        Surprise { place: self.surprise_of_place(group, place), ..least }
    }

    /// The same in a cell, but for the place.
    fn surprise_in(&self, group: Group, cell: usize, motion: Motion) -> Surprise {
        let speeds = self.blended(group, cell, &self.speeds, &self.speeds_of_scene);
        let Motion::Moves { turn, speed } = motion else {
            return Surprise { too_slow: nats(speeds[0]), ..Surprise::default() };
        };
        let directions = self.blended(group, cell, &self.directions, &self.directions_of_scene);
        let place = Motion::speed_place(speed);
        // Its own bin counts for both, and the next one by how near it is: steps would be seen.
        let faster = |bin: usize| (bin as f32 + 2.0 - place).clamp(0.0, 1.0);
        let slower = |bin: usize| (place + 1.0 - bin as f32).clamp(0.0, 1.0);
        let (mut share_faster, mut share_slower) = (0.0, 0.0);
        for (bin, share) in speeds.iter().enumerate() {
            share_faster += share * faster(bin);
            share_slower += share * slower(bin);
        }
        Surprise {
            place: 0.0,
            direction: Some(nats(share_as_rare(&directions, turn))),
            too_fast: nats(share_faster),
            too_slow: nats(share_slower),
        }
    }

    /// Between the middles of cells the visits are interpolated: a cell's edge is no edge on the street.
    fn surprise_of_place(&self, group: Group, place: [f64; 2]) -> f64 {
        let first = group as usize * self.grid.cells();
        let visits = &self.visits[first..first + self.grid.cells()];
        let here: f32 = self.grid.corners(place).map(|(cell, share)| share * visits[cell]).iter().sum();
        let (mut all, mut as_rare) = (0.0, 0.0);
        for count in visits {
            let count_and_unseen = count + UNSEEN;
            all += count_and_unseen;
            as_rare += if *count <= here { count_and_unseen } else { 0.0 };
        }
        // Nothing is as rare where the least visited cell is still more usual: the cell itself remains.
        nats(as_rare.max(here + UNSEEN) / all)
    }

    /// The distribution in a cell: shares that add up to 1.
    fn blended<const N: usize>(
        &self,
        group: Group,
        cell: usize,
        counts: &[[f32; N]],
        of_scene: &[[f32; N]; Group::COUNT],
    ) -> [f32; N] {
        let first = group as usize * self.grid.cells();
        let mut nearby = counts[first + cell];
        for other in self.grid.around(cell) {
            nearby.iter_mut().zip(&counts[first + other]).for_each(|(sum, count)| *sum += count);
        }
        let even = [1.0 / N as f32; N];
        let scene = posterior(&of_scene[group as usize], &even);
        posterior(&counts[first + cell], &posterior(&nearby, &scene))
    }

    /// Multiplies all counts by `factor`.
    fn fade(&mut self, factor: f32) {
        let of_cells = self.directions.as_flattened_mut().iter_mut().chain(self.speeds.as_flattened_mut());
        let of_scene = self.directions_of_scene.as_flattened_mut().iter_mut();
        let of_scene = of_scene.chain(self.speeds_of_scene.as_flattened_mut());
        self.visits.iter_mut().chain(of_cells).chain(of_scene).for_each(|count| *count *= factor);
    }
}

/// The two bins that share a direction, and the share of the second.
fn direction_bins(place: f32) -> (usize, usize, f32) {
    let bin = place as usize % DIRECTIONS;
    (bin, (bin + 1) % DIRECTIONS, place.fract())
}

/// The share of directions that are as rare as `turn` or rarer; 1 where all are equally usual.
fn share_as_rare(directions: &[f32; DIRECTIONS], turn: f64) -> f32 {
    let (bin, next, share) = direction_bins((turn.rem_euclid(1.0) * DIRECTIONS as f64) as f32);
    let here = directions[bin] * (1.0 - share) + directions[next] * share;
    // Up to twice as usual counts in part, so that nothing jumps.
    directions.iter().map(|other| other * (2.0 - other / here).clamp(0.0, 1.0)).sum()
}

fn posterior<const N: usize>(counts: &[f32; N], prior: &[f32; N]) -> [f32; N] {
    let all: f32 = counts.iter().sum();
    std::array::from_fn(|bin| (counts[bin] + PRIOR * prior[bin]) / (all + PRIOR))
}

fn nats(share: f32) -> f64 {
    (-f64::from(share).ln()).clamp(0.0, MOST_SURPRISE)
}

/// Observed time, and when it is time to forget a little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Age {
    /// How long the scene has been watched, nanoseconds.
    pub(crate) observed_nanos: u64,
    /// How much of that has not been forgotten for yet, nanoseconds.
    pub(crate) pending_nanos: u64,
}

impl Age {
    /// Lets observed time pass; all counts fade when a part of the half-life is over.
    pub(crate) fn pass(
        &mut self,
        step: std::time::Duration,
        half_life: std::time::Duration,
        statistics: &mut Statistics,
        reached: &mut super::reached::Reached,
    ) {
        let step_nanos = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX);
        self.observed_nanos = self.observed_nanos.saturating_add(step_nanos);
        self.pending_nanos = self.pending_nanos.saturating_add(step_nanos);
        let every_nanos = u64::try_from((half_life / FADES_PER_HALF_LIFE).as_nanos()).unwrap_or(u64::MAX);
        if self.pending_nanos >= every_nanos {
            self.pending_nanos -= every_nanos;
            let factor = (-1.0 / FADES_PER_HALF_LIFE as f32).exp2();
            statistics.fade(factor);
            reached.fade(factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normal_motion::reached::Reached;
    use std::time::Duration;

    const GRID: Grid = Grid { columns: 6, rows: 4 };

    /// No slack.
    const HERE: [f64; 2] = [0.0, 0.0];

    fn moves(turn: f64, speed: f64) -> Motion {
        Motion::Moves { turn, speed }
    }

    fn after(tracks: usize, motion: Motion) -> Statistics {
        let mut statistics = Statistics::new(GRID);
        let samples: Vec<Sample> = (6..12).map(|cell| motion.sample(cell)).collect();
        (0..tracks).for_each(|_| statistics.learn(Group::Vehicles, &samples));
        statistics
    }

    #[test]
    fn who_knows_nothing_is_surprised_by_no_place_and_no_direction() {
        let surprise = Statistics::new(GRID).surprise(Group::People, [1.5, 1.5], HERE, moves(0.3, 4.0));
        assert!(surprise.place < 1e-6 && surprise.direction.unwrap() < 1e-6, "{surprise:?}");
        assert!(surprise.too_fast < 1.0 && surprise.too_slow < 2.0, "{surprise:?}");
    }

    #[test]
    fn the_usual_is_probable_and_each_other_thing_is_not() {
        let statistics = after(300, moves(0.01, 8.0));
        let middle = |cell: usize| [(cell % 6) as f64 + 0.5, (cell / 6) as f64 + 0.5];
        let of = |cell, motion| statistics.surprise(Group::Vehicles, middle(cell), HERE, motion);
        let usual = of(8, moves(0.01, 8.0));
        assert!(usual.place < 0.1 && usual.direction.unwrap() < 0.1, "{usual:?}");
        assert!(usual.too_fast < 1.5 && usual.too_slow < 1.5, "{usual:?}");
        assert!(of(8, moves(0.51, 8.0)).direction.unwrap() > 6.0);
        assert!(of(8, moves(0.01, 16.0)).too_fast > 6.0);
        assert!(of(8, moves(0.01, 4.0)).too_slow > 6.0);
        assert!(of(8, Motion::Stands).too_slow > 6.0);
        assert!(of(20, moves(0.01, 8.0)).place > 6.0);
        assert_eq!(
            statistics.surprise(Group::People, middle(20), HERE, moves(0.5, 8.0)).place,
            0.0,
            "groups learn apart"
        );
    }

    #[test]
    fn who_drives_along_the_edge_of_cells_belongs_to_either_side() {
        let statistics = after(300, moves(0.0, 8.0));
        let wrong = |row: f64, slack: f64| {
            let surprise = statistics.surprise(Group::Vehicles, [2.5, row], [slack, slack], moves(0.0, 16.0));
            assert_eq!(surprise, statistics.surprise(Group::Vehicles, [2.5, row], [0.0, slack], moves(0.0, 16.0)));
            surprise.too_fast
        };
        let mut other_lane = statistics.clone();
        let fast: Vec<Sample> = (12..18).map(|cell| moves(0.5, 16.0).sample(cell)).collect();
        (0..300).for_each(|_| other_lane.learn(Group::Vehicles, &fast));
        let beside =
            |slack: f64| other_lane.surprise(Group::Vehicles, [2.5, 1.95], [slack, slack], moves(0.5, 16.0));
        assert!(wrong(1.95, 0.0) > 6.0 && wrong(1.95, 0.1) > 6.0);
        assert!(beside(0.0).too_fast > 4.0 && beside(0.0).direction.unwrap() > 4.0);
        assert!(beside(0.1).too_fast < 1.0 && beside(0.1).direction.unwrap() < 0.1);
    }

    #[test]
    fn the_more_was_seen_the_more_surprising_is_the_rest() {
        let surprise =
            |tracks| after(tracks, moves(0.0, 8.0)).surprise(Group::Vehicles, [2.5, 1.5], HERE, moves(0.5, 8.0));
        let surprises = [1, 10, 100, 1000].map(|tracks| surprise(tracks).direction.unwrap());
        assert!(surprises.is_sorted() && surprises[0] < 5.0, "{surprises:?}");
    }

    #[test]
    fn counts_of_two_days_add_up() {
        let (monday, tuesday) =
            ([moves(0.1, 3.0).sample(3)], [moves(0.9, 5.0).sample(4), Motion::Stands.sample(5)]);
        let [mut apart, mut other, mut both] = [0; 3].map(|_| Statistics::new(GRID));
        apart.learn(Group::People, &monday);
        other.learn(Group::People, &tuesday);
        both.learn(Group::People, &monday);
        both.learn(Group::People, &tuesday);
        for (sum, more) in apart.visits.iter_mut().zip(&other.visits) {
            *sum += more;
        }
        for (sum, more) in apart.directions.as_flattened_mut().iter_mut().zip(other.directions.as_flattened()) {
            *sum += more;
        }
        for (sum, more) in apart.speeds.as_flattened_mut().iter_mut().zip(other.speeds.as_flattened()) {
            *sum += more;
        }
        assert_eq!((apart.visits, apart.directions, apart.speeds), (both.visits, both.directions, both.speeds));
    }

    #[test]
    fn half_is_forgotten_after_a_half_life_however_time_is_cut() {
        let half_life = Duration::from_secs(3600);
        for step_millis in [40, 200, 500] {
            let (mut statistics, mut reached) = (after(100, moves(0.0, 8.0)), Reached::new());
            let before = statistics.speeds_of_scene[Group::Vehicles as usize].iter().sum::<f32>();
            let mut age = Age::default();
            for _ in 0..3_600_000 / step_millis {
                age.pass(Duration::from_millis(step_millis), half_life, &mut statistics, &mut reached);
            }
            assert_eq!(age.observed_nanos, 3_600_000_000_000);
            let left = statistics.speeds_of_scene[Group::Vehicles as usize].iter().sum::<f32>() / before;
            assert!((left - 0.5).abs() < 2e-3, "{left}");
        }
    }
}
