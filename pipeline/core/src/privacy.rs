//! How counts of a camera are anonymised: the numbers of the privacy contract that a configuration may choose.
//!
//! Budgets are whole thousandths of ε, so that no floating-point number is on the way to the noise.

use std::time::Duration;

use crate::detection::Class;
use crate::finding::{Cell, Measure};

/// Which rules apply to a camera. The names are those of `privacy.profile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Every count has noise and bins of 15 minutes or more.
    Strict,
    /// The same for people and bicycles; vehicles are counted exactly, in bins of a minute or more.
    Standard,
    /// Every count has noise that holds even if the tracker takes one object for many; bins of an hour or more,
    /// and counts alone.
    StrictWorstcase,
}

impl Profile {
    /// Every profile, the strictest that still serves all measures first.
    pub const ALL: [Self; 3] = [Self::Strict, Self::Standard, Self::StrictWorstcase];

    /// The profile's name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Standard => "standard",
            Self::StrictWorstcase => "strict-worstcase",
        }
    }

    /// Whether numbers about this class leave with noise; `None` stands for all vehicles together.
    pub const fn has_noise(self, class: Option<Class>) -> bool {
        match (self, class) {
            (Self::Strict | Self::StrictWorstcase, _) => true,
            (Self::Standard, Some(class)) => class.is_personal(),
            (Self::Standard, None) => false,
        }
    }

    /// Whether numbers of this counter leave at all. Under noise a queue's length and reach do not: one vehicle that
    /// stands in the right place joins two queues, so it can change them without bound. Nor do headways: a vehicle moves
    /// all that follow it over one line or another.
    /// Where the tracker is not trusted, counts alone leave: how much one object may add to them is bounded without it.
    pub const fn releases(self, cell: &Cell) -> bool {
        match self {
            Self::Strict | Self::Standard => {
                !(self.has_noise(cell.class)
                    && matches!(cell.measure, Measure::QueueLen | Measure::QueueReach | Measure::HeadwayHist))
            }
            Self::StrictWorstcase => cell.measure.is_count(),
        }
    }
}

/// Over how long a time counts are summed. Every bin divides a day evenly and is aligned to the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bins {
    /// Of people on foot.
    pub person: Duration,
    /// Of bicycles.
    pub bicycle: Duration,
    /// Of every other class.
    pub vehicle: Duration,
}

impl Bins {
    /// The same length for all classes.
    pub const fn all(length: Duration) -> Self {
        Self { person: length, bicycle: length, vehicle: length }
    }

    /// The bin for counts of `class`; `None` stands for all vehicles together.
    pub const fn of(&self, class: Option<Class>) -> Duration {
        match class {
            Some(Class::Person) => self.person,
            Some(Class::Bicycle) => self.bicycle,
            Some(Class::Motorcycle | Class::Car | Class::Bus | Class::Truck | Class::Other) | None => self.vehicle,
        }
    }
}

/// What one passage, a track from its beginning to its end, may cost: thousandths of ε.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epsilon {
    /// All that one passage feeds, alerts left out. At least the sum of the three parts.
    pub passage: u32,
    /// How many passages of one person a day the promise per day is made for.
    pub passages_per_day: u32,
    /// The part of counts: crossings, turns, stops, loitering.
    pub count: u32,
    /// The part of presence: occupancy, mean presence, density.
    pub occupancy: u32,
    /// The part of histograms: speed, dwell, headway.
    pub speed: u32,
    /// What an alert on a number of people costs beside: a line of its own.
    pub alert: u32,
}

impl Epsilon {
    /// What a day may cost a person who passes [`Epsilon::passages_per_day`] times, in thousandths of ε.
    pub const fn day(&self) -> u32 {
        self.passage * self.passages_per_day
    }
}

/// How much one track may contribute, whatever the operators find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// So many counts (m).
    pub cells_per_track: u32,
    /// So much time of presence in all zones together (D_max).
    pub presence_max: Duration,
    /// Nothing after it has been visible for so long (ρ).
    pub track_max: Duration,
}

/// How coarse and how many the rows of `incident.v1` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncidentLimits {
    /// Rows a camera and day, at most.
    pub max_per_day: u32,
    /// The time quantum of incidents about people and bicycles.
    pub person_quantum: Duration,
    /// The time quantum of all others.
    pub vehicle_quantum: Duration,
}

/// How a camera's counts and incidents are anonymised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// Which rules apply.
    pub profile: Profile,
    /// Over how long counts are summed.
    pub bins: Bins,
    /// The budget of one passage.
    pub epsilon: Epsilon,
    /// What one track may contribute.
    pub bounds: Bounds,
    /// A display should hide counts below this.
    pub display_k: u32,
    /// The limits of incidents.
    pub incidents: IncidentLimits,
}

impl Privacy {
    /// What a profile brings where nothing else is written. Its bins are the shortest that are allowed. All else but
    /// `passages_per_day` and `display_k` is also the loosest that is allowed; of the budget's three parts their sum.
    pub const fn of(profile: Profile) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const QUARTER: Duration = Duration::from_secs(15 * 60);
        const HOUR: Duration = Duration::from_secs(60 * 60);
        Self {
            profile,
            bins: match profile {
                Profile::Strict => Bins::all(QUARTER),
                Profile::Standard => Bins { person: QUARTER, bicycle: QUARTER, vehicle: MINUTE },
                Profile::StrictWorstcase => Bins::all(HOUR),
            },
            epsilon: Epsilon {
                passage: 660,
                passages_per_day: 3,
                count: 440,
                occupancy: 110,
                speed: 110,
                alert: 660,
            },
            bounds: Bounds { cells_per_track: 2, presence_max: MINUTE, track_max: Duration::from_secs(300) },
            display_k: 10,
            incidents: IncidentLimits {
                max_per_day: 600,
                person_quantum: Duration::from_secs(10),
                vehicle_quantum: Duration::from_secs(1),
            },
        }
    }
}

/// The profile `strict-worstcase` after Cangialosi et al., "Privid: Practical, Privacy-Preserving Video Analytics
/// Queries" (NSDI 2022): video is analysed in chunks that know nothing of each other, and each chunk may add so many
/// counts and no more, whoever they are of.
pub mod worstcase {
    use std::time::Duration;

    /// The length of a chunk, aligned to the Unix epoch. Nothing is tracked from one chunk into the next.
    pub const CHUNK: Duration = Duration::from_secs(60);
    /// Counts that one chunk may add to all cells of its camera together.
    pub const ROWS_PER_CHUNK: u32 = 8;

    /// For how long somebody may be visible at a time for the promise to hold (ρ). Nothing enforces it.
    pub const VISIBLE_MAX: Duration = Duration::from_secs(300);

    /// By how much somebody who is visible for at most [`VISIBLE_MAX`] at a time changes the counts of so many cells, all
    /// changes added up: rows × (1 + ⌈ρ / chunk⌉) after Privid, with one chunk more, since what a chunk still has to say is
    /// counted with the first frame after it; and twice that where there are several cells, since what such a one adds
    /// to one cell may take the place of others' counts in another.
    pub const fn changes_per_passage(cells: usize) -> u32 {
        let chunks = 2 + VISIBLE_MAX.as_secs().div_ceil(CHUNK.as_secs()) as u32;
        let moved = if cells > 1 { 2 } else { 1 };
        moved * ROWS_PER_CHUNK * chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_contract() {
        let strict = Privacy::of(Profile::Strict);
        let Epsilon { passage, count, occupancy, speed, .. } = strict.epsilon;
        assert_eq!((passage, count + occupancy + speed, strict.epsilon.day()), (660, 660, 1980));
        assert_eq!(worstcase::changes_per_passage(1), 56);
        assert_eq!(worstcase::changes_per_passage(2), 112);
    }

    #[test]
    fn pc_8_what_one_object_changes_without_bound_is_not_released_with_noise() {
        let cell = |measure, class| Cell::new(crate::geometry::SiteId(0), measure, class);
        let released = |profile: Profile, class| {
            let names = Measure::ALL.into_iter().filter(|measure| profile.releases(&cell(*measure, class)));
            names.map(Measure::name).collect::<Vec<_>>()
        };
        let all = Measure::ALL.map(Measure::name);
        assert_eq!(released(Profile::Standard, None), all);
        assert_eq!(released(Profile::Standard, Some(Class::Car)), all);
        let unbounded = ["queue_len", "queue_reach", "headway_hist"];
        let bounded: Vec<&str> = all.into_iter().filter(|name| !unbounded.contains(name)).collect();
        assert_eq!(bounded.len(), all.len() - 3);
        assert_eq!(released(Profile::Standard, Some(Class::Person)), bounded);
        for class in [None, Some(Class::Person), Some(Class::Car)] {
            assert_eq!(released(Profile::Strict, class), bounded);
            let counts = ["crossing_count", "stopped_count", "turn_count", "loitering_count"];
            assert_eq!(released(Profile::StrictWorstcase, class), counts);
        }
    }

    #[test]
    fn vehicles_alone_are_exact_and_in_one_profile_alone() {
        for profile in Profile::ALL {
            for class in Class::ALL {
                let exact = profile == Profile::Standard && !class.is_personal();
                assert_eq!(profile.has_noise(Some(class)), !exact, "{} {}", profile.name(), class.name());
            }
        }
    }
}
