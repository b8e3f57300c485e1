//! What is done to each number before it may leave: the noise of every cell, from the camera's budget.
//!
//! A passage is one track. Whatever the operators find, it feeds at most so much into each family of measures
//! ([`crate::passages`]), so a discrete Laplace noise of scale b = bound / ε on every cell of the family hides it with
//! ε (Dwork and Roth, "The Algorithmic Foundations of Differential Privacy", 2014, theorem 3.6). The parts of the families
//! add up to the budget of a passage.

use kerbside_core::finding::{Cell, Measure};
use kerbside_core::privacy::{Privacy, Profile, worstcase};

use crate::bins::nanos;
use crate::noise::Scale;

/// What happens to a cell's sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// It is released as it is, and is said to be exact.
    Exact,
    /// It was computed from numbers that have been released, and tells no more than they do.
    Derived,
    /// Noise of this scale is added, in the unit of the sum: objects or nanoseconds.
    Noise(Scale),
}

/// What shares a part of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Every track adds so many counts and no more.
    Counts,
    /// Every track is in one bucket of each histogram.
    Histograms,
    /// Every track adds so much time to each measure and no more.
    Presence,
    /// One object can change the number without bound.
    Unbounded,
    /// Computed from released numbers.
    Derived,
}

impl Family {
    pub(crate) const fn of(measure: Measure) -> Self {
        match measure {
            Measure::CrossingCount | Measure::TurnCount | Measure::StoppedCount | Measure::LoiteringCount => {
                Self::Counts
            }
            Measure::SpeedHist | Measure::DwellHist => Self::Histograms,
            Measure::PresenceMean | Measure::OccupancyTime | Measure::DensityLevel => Self::Presence,
            Measure::QueueLen | Measure::QueueReach | Measure::HeadwayHist => Self::Unbounded,
            Measure::FlowScore => Self::Derived,
        }
    }
}

/// The cells of a camera that leave under its profile, each once and in order, with what happens to them.
pub(crate) fn treatments(cells: &[Cell], privacy: &Privacy, is_demonstration: bool) -> Vec<(Cell, Treatment)> {
    let mut cells = cells.to_vec();
    cells.sort_unstable();
    cells.dedup();
    if is_demonstration {
        return cells.into_iter().map(|cell| (cell, Treatment::Exact)).collect();
    }
    cells.retain(|cell| privacy.profile.releases(cell));
    let parts = |family: Family| {
        let mut measures: Vec<Measure> = cells
            .iter()
            .filter(|cell| privacy.profile.has_noise(cell.class) && Family::of(cell.measure) == family)
            .map(|cell| cell.measure)
            .collect();
        measures.sort_unstable();
        measures.dedup();
        measures.len() as u64
    };
    let (histograms, presences) = (parts(Family::Histograms), parts(Family::Presence));
    let treat = |cell: &Cell| {
        if !privacy.profile.has_noise(cell.class) {
            return Some(Treatment::Exact);
        }
        let Privacy { epsilon, bounds, .. } = privacy;
        let (bound, milli) = match Family::of(cell.measure) {
            Family::Counts if privacy.profile == Profile::StrictWorstcase => {
                (u64::from(worstcase::changes_per_passage(cells.len())), epsilon.passage)
            }
            Family::Counts => (u64::from(bounds.cells_per_track), epsilon.count),
            Family::Histograms => (histograms, epsilon.speed),
            Family::Presence => (presences * nanos(bounds.presence_max), epsilon.occupancy),
            Family::Derived => return Some(Treatment::Derived),
            Family::Unbounded => return None,
        };
        Scale::new(bound.checked_mul(1000)?, u64::from(milli)).map(Treatment::Noise)
    };
    cells.iter().filter_map(|cell| Some((*cell, treat(cell)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerbside_core::detection::Class;
    use kerbside_core::finding::Direction;
    use kerbside_core::geometry::SiteId;

    fn cell(measure: Measure, class: Class) -> Cell {
        Cell::new(SiteId(0), measure, Some(class))
    }

    fn scale_of(cells: &[Cell], profile: Profile, wanted: Cell) -> Option<f64> {
        let treated = treatments(cells, &Privacy::of(profile), false);
        treated.into_iter().find(|(cell, _)| *cell == wanted).map(|(_, treatment)| match treatment {
            Treatment::Noise(scale) => scale.as_f64(),
            Treatment::Exact | Treatment::Derived => 0.0,
        })
    }

    #[test]
    fn pc_9_scales_are_those_of_the_contract() {
        let person = |measure| cell(measure, Class::Person);
        let crossing = person(Measure::CrossingCount).directed(Direction::Forward);
        let near =
            |scale: Option<f64>, wanted: f64| assert!((scale.unwrap() - wanted).abs() < wanted / 1e3, "{scale:?}");
        near(scale_of(&[crossing], Profile::Strict, crossing), 4.545);
        near(scale_of(&[crossing], Profile::StrictWorstcase, crossing), 84.85);
        let back = crossing.directed(Direction::Backward);
        near(scale_of(&[crossing, back], Profile::StrictWorstcase, crossing), 169.70);
        let presence = person(Measure::PresenceMean);
        near(scale_of(&[presence], Profile::Strict, presence), 545.45e9);
        let both = [presence, person(Measure::OccupancyTime)];
        near(scale_of(&both, Profile::Strict, presence), 2.0 * 545.45e9);
        let speed = person(Measure::SpeedHist);
        near(scale_of(&[speed], Profile::Strict, speed), 9.09);
        let dwell = person(Measure::DwellHist);
        near(scale_of(&[dwell, speed], Profile::Strict, dwell), 2.0 * 9.09);
        // Two lines are two cells of one family: the bound is on the track, not on the cell.
        let other = Cell { site: SiteId(1), ..crossing };
        near(scale_of(&[crossing, other], Profile::Strict, other), 4.545);
    }

    #[test]
    fn vehicles_are_exact_in_standard_and_queues_leave_there_alone() {
        let car = cell(Measure::CrossingCount, Class::Car);
        let queue = Cell::new(SiteId(0), Measure::QueueLen, None);
        assert_eq!(scale_of(&[car, queue], Profile::Standard, car), Some(0.0));
        assert_eq!(scale_of(&[car, queue], Profile::Standard, queue), Some(0.0));
        assert!(scale_of(&[car, queue], Profile::Strict, car).unwrap() > 4.0);
        assert_eq!(scale_of(&[car, queue], Profile::Strict, queue), None);
        let speed = cell(Measure::SpeedHist, Class::Person);
        assert_eq!(scale_of(&[car, speed], Profile::StrictWorstcase, speed), None, "counts alone");
    }

    /// Over all families together one passage costs no more than its budget: the sum of bound over scale.
    #[test]
    fn pc_8_what_one_track_may_feed_fits_into_its_budget() {
        let all: Vec<Cell> = Measure::ALL.into_iter().map(|measure| cell(measure, Class::Person)).collect();
        for profile in [Profile::Strict, Profile::Standard] {
            let privacy = Privacy::of(profile);
            let spent: f64 = treatments(&all, &privacy, false)
                .into_iter()
                .filter_map(|(cell, treatment)| match treatment {
                    Treatment::Noise(scale) => Some((cell.measure, scale)),
                    Treatment::Exact | Treatment::Derived => None,
                })
                .map(|(measure, scale)| match Family::of(measure) {
                    // Four measures share two counts.
                    Family::Counts => f64::from(privacy.bounds.cells_per_track) / 4.0 / scale.as_f64(),
                    Family::Histograms => 1.0 / scale.as_f64(),
                    Family::Presence => nanos(privacy.bounds.presence_max) as f64 / scale.as_f64(),
                    Family::Unbounded | Family::Derived => unreachable!("they have no noise"),
                })
                .sum();
            assert!((spent * 1000.0 - f64::from(privacy.epsilon.passage)).abs() < 1e-6, "{spent}");
        }
    }
}
