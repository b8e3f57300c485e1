//! Which stretches of time have been covered, whoever came first.
//!
//! The time in which anybody is in a zone is a union: what an object adds to it, or takes away by having covered it
//! before, is never more than its own time. That holds only if the union does not depend on the order in which stretches
//! come, so all that is covered is kept, not just its end.

/// More stretches than this in one cell's open bins mean a clock that runs wild: nothing more is taken in.
const MOST: usize = 1 << 14;

/// Half-open stretches of time, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cover {
    /// Sorted; none touches another.
    list: Vec<(u64, u64)>,
}

impl Cover {
    /// Covers the time from `from` to `to`; `free` hears the parts that were not covered before, in order.
    pub(crate) fn add(&mut self, from: u64, to: u64, mut free: impl FnMut(u64, u64)) {
        if from >= to || self.list.len() >= MOST {
            return;
        }
        let first = self.list.partition_point(|(_, end)| *end < from);
        let behind = self.list.partition_point(|(start, _)| *start <= to);
        let (mut start, mut end, mut at) = (from, to, from);
        for &(since, until) in &self.list[first..behind] {
            if at < since {
                free(at, since);
            }
            at = at.max(until);
            start = start.min(since);
            end = end.max(until);
        }
        if at < to {
            free(at, to);
        }
        self.list.splice(first..behind, [(start, end)]);
    }

    /// Nothing will be asked about the time before this moment.
    pub(crate) fn forget_before(&mut self, moment: u64) {
        let over = self.list.partition_point(|(_, end)| *end <= moment);
        self.list.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covered(stretches: &[(u64, u64)]) -> (u64, Cover) {
        let (mut cover, mut sum) = (Cover::default(), 0);
        for (from, to) in stretches {
            cover.add(*from, *to, |from, to| sum += to - from);
        }
        (sum, cover)
    }

    #[test]
    fn what_is_covered_twice_counts_once_and_neighbours_are_joined() {
        let (sum, mut cover) = covered(&[(10, 20), (30, 40), (5, 12), (20, 30), (0, 50), (60, 60)]);
        assert_eq!((sum, cover.list.as_slice()), (50, [(0, 50)].as_slice()));
        cover.add(70, 80, |_, _| ());
        cover.forget_before(50);
        assert_eq!(cover.list, [(70, 80)]);
    }

    proptest! {
        /// PC-8: one stretch more or less changes the sum by at most its own length, wherever it comes in the list.
        #[test]
        fn pc_8_a_stretch_changes_the_union_by_no_more_than_itself(
            stretches in prop::collection::vec((0_u64..100, 0_u64..30), 0..12),
            extra in (0_u64..100, 0_u64..30),
            place in 0_usize..12,
        ) {
            let mut list: Vec<(u64, u64)> = stretches.iter().map(|(from, long)| (*from, from + long)).collect();
            let (without, _) = covered(&list);
            let exact = (0..130).filter(|at| list.iter().any(|(from, to)| from <= at && at < to)).count() as u64;
            prop_assert_eq!(without, exact);
            list.insert(place.min(list.len()), (extra.0, extra.0 + extra.1));
            let (with, _) = covered(&list);
            prop_assert!(without <= with && with <= without + extra.1, "{} and {}", without, with);
        }
    }
}
