//! Sums of one camera, per bin and cell.
//!
//! A [`Series`] holds the cells of one camera whose bins have the same length. Its bins are closed in
//! order and each once: `next` only ever grows, and nothing is added before it.
//!
//! All times here are nanoseconds of wall time since the Unix epoch, and every interval is half open:
//! a bin holds its start and not its end.

use std::collections::BTreeMap;
use std::time::Duration;

use kerbside_core::finding::Cell;

use crate::table::ClockQuality;

/// The most bins that are held open, and the most empty ones that are emitted to catch up. A clock
/// that jumps days ahead must not cost memory or a flood of rows; a thousand one-minute bins are 17 hours.
pub(crate) const MAX_BINS: u64 = 1000;

/// What has been summed in one bin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bin {
    /// By cell: objects or nanoseconds, as the measure asks.
    pub(crate) sums: Vec<u64>,
    /// Time covered by trusted frames.
    pub(crate) trusted_nanos: u64,
    /// Frames analysed.
    pub(crate) frames: u32,
    /// The worst that any frame said of the clock.
    pub(crate) clock: Option<ClockQuality>,
}

/// What became of something that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// All of it is in.
    Whole,
    /// Some or all of it fell into bins that are closed, or that may not be opened any more.
    Late,
}

/// The cells of one camera whose bins have one length.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) length: u64,
    /// Sorted, each once.
    pub(crate) cells: Vec<Cell>,
    /// The start of the first bin that is not closed.
    pub(crate) next: u64,
    /// Bins that end at or before this moment are due. Set by the release stage.
    pub(crate) due: u64,
    open: BTreeMap<u64, Bin>,
    /// By cell: which time has been counted as occupied already.
    covered: Vec<Covered>,
}

impl Series {
    pub(crate) fn new(length: u64, mut cells: Vec<Cell>, start: u64) -> Self {
        cells.sort_unstable();
        cells.dedup();
        let covered = vec![Covered::default(); cells.len()];
        Self { length, cells, next: floor(start, length), due: 0, open: BTreeMap::new(), covered }
    }

    /// The place of a cell in [`Series::cells`].
    pub(crate) fn place(&self, cell: &Cell) -> Option<usize> {
        self.cells.binary_search(cell).ok()
    }

    /// One frame at `at` that stands for the `step` before it.
    pub(crate) fn frame(&mut self, at: u64, step: u64, trusted: bool, clock: ClockQuality) -> Added {
        let Some(bin) = self.bin(at) else { return Added::Late };
        bin.frames = bin.frames.saturating_add(1);
        bin.clock = bin.clock.max(Some(clock));
        if trusted {
            // What lies before the first open bin shows as coverage below 1 there: nothing to report.
            self.spread(at.saturating_sub(step), at, |bin, nanos| {
                bin.trusted_nanos = bin.trusted_nanos.saturating_add(nanos);
            });
        }
        Added::Whole
    }

    /// One object more in a cell.
    pub(crate) fn count(&mut self, place: usize, at: u64) -> Added {
        let Some(bin) = self.bin(at) else { return Added::Late };
        add(bin, place, 1);
        Added::Whole
    }

    /// A level that was reached at `at`: the bin keeps the highest.
    pub(crate) fn peak(&mut self, place: usize, at: u64, amount: u64) -> Added {
        let Some(bin) = self.bin(at) else { return Added::Late };
        if let Some(highest) = bin.sums.get_mut(place) {
            *highest = amount.max(*highest);
        }
        Added::Whole
    }

    /// One object in a zone from `from` to `to`: summed over objects.
    pub(crate) fn presence(&mut self, place: usize, from: u64, to: u64) -> Added {
        self.spread(from, to, |bin, nanos| add(bin, place, nanos))
    }

    /// Any object in a zone from `from` to `to`: the time that another object has covered counts once. What is summed is
    /// the union of all intervals, in whatever order they come, so that one object adds no more than its own time to it,
    /// and never takes away what another adds.
    pub(crate) fn occupancy(&mut self, place: usize, from: u64, to: u64) -> Added {
        let Some(covered) = self.covered.get_mut(place) else { return Added::Whole };
        let mut added = Added::Whole;
        for (from, to) in covered.cover(from, to) {
            if self.spread(from, to, |bin, nanos| add(bin, place, nanos)) == Added::Late {
                added = Added::Late;
            }
        }
        added
    }

    /// Steps over a gap that is too long to be filled with empty bins; says how many bins it leaves out.
    pub(crate) fn skip_gap(&mut self) -> u64 {
        let due = self.due.saturating_sub(self.next) / self.length;
        if due <= MAX_BINS {
            return 0;
        }
        let now = floor(self.due, self.length);
        let target = self.open.keys().next().map_or(now, |&first| first.min(now));
        let skipped = target.saturating_sub(self.next) / self.length;
        self.next = self.next.max(target);
        skipped
    }

    /// The end of the next bin, if it is due.
    pub(crate) fn next_end(&self) -> Option<u64> {
        let end = self.next.checked_add(self.length)?;
        (end <= self.due).then_some(end)
    }

    /// Closes the next bin.
    pub(crate) fn close(&mut self) -> Bin {
        let bin = self.open.remove(&self.next).unwrap_or_else(|| self.empty());
        self.next = self.next.saturating_add(self.length);
        // What comes for a closed bin is late, covered or not.
        self.covered.iter_mut().for_each(|covered| covered.forget_before(self.next));
        bin
    }

    /// The end of the last bin that has begun: the one that holds the moment before `now`, or the last
    /// into which anything was summed.
    pub(crate) fn last_end(&self, now: u64) -> u64 {
        let begun = now.div_ceil(self.length).saturating_mul(self.length);
        let summed = self.open.keys().next_back().map_or(0, |last| last.saturating_add(self.length));
        begun.max(summed)
    }

    fn empty(&self) -> Bin {
        Bin { sums: vec![0; self.cells.len()], ..Bin::default() }
    }

    /// The open bin that holds `at`.
    fn bin(&mut self, at: u64) -> Option<&mut Bin> {
        let start = floor(at, self.length);
        if start < self.next {
            return None;
        }
        if !self.open.contains_key(&start) {
            if self.open.len() as u64 >= MAX_BINS {
                return None;
            }
            let bin = self.empty();
            self.open.insert(start, bin);
        }
        self.open.get_mut(&start)
    }

    /// Cuts an interval at the borders of the bins.
    fn spread(&mut self, from: u64, to: u64, mut give: impl FnMut(&mut Bin, u64)) -> Added {
        let mut added = if from < self.next && from < to { Added::Late } else { Added::Whole };
        let mut at = from.max(self.next);
        while at < to {
            let end = floor(at, self.length).saturating_add(self.length).min(to);
            let Some(bin) = self.bin(at) else {
                added = Added::Late;
                break;
            };
            give(bin, end - at);
            at = end;
        }
        added
    }
}

/// Intervals that do not touch, by their starts.
#[derive(Clone, Debug, Default)]
struct Covered {
    ends: BTreeMap<u64, u64>,
}

impl Covered {
    /// Covers an interval; gives back the parts of it that were not covered before.
    fn cover(&mut self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut new = Vec::new();
        if from >= to {
            return new;
        }
        // All that touches the interval becomes one with it.
        let (mut first, mut last, mut at) = (from, to, from);
        while let Some((&start, &end)) = self.ends.range(..=to).next_back().filter(|(_, end)| **end >= from) {
            self.ends.remove(&start);
            (first, last) = (first.min(start), last.max(end));
            new.push((start, end));
        }
        let known = std::mem::take(&mut new);
        for (start, end) in known.into_iter().rev() {
            if at < start {
                new.push((at, start));
            }
            at = at.max(end);
        }
        if at < to {
            new.push((at, to));
        }
        self.ends.insert(first, last);
        new
    }

    /// Nothing before this moment is asked for again.
    fn forget_before(&mut self, moment: u64) {
        while let Some((&start, &end)) = self.ends.first_key_value().filter(|(_, end)| **end <= moment) {
            debug_assert!(start <= end);
            self.ends.remove(&start);
        }
    }
}

/// A span in nanoseconds.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn floor(at: u64, length: u64) -> u64 {
    at / length * length
}

fn add(bin: &mut Bin, place: usize, amount: u64) {
    if let Some(sum) = bin.sums.get_mut(place) {
        *sum = sum.saturating_add(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerbside_core::detection::Class;
    use kerbside_core::finding::Measure;
    use kerbside_core::geometry::SiteId;

    fn cell(measure: Measure) -> Cell {
        Cell::new(SiteId(0), measure, Some(Class::Car))
    }

    fn series() -> Series {
        Series::new(10, vec![cell(Measure::PresenceMean), cell(Measure::OccupancyTime)], 103)
    }

    fn closed(series: &mut Series, due: u64) -> Vec<(u64, Vec<u64>)> {
        series.due = due;
        let mut list = Vec::new();
        loop {
            series.skip_gap();
            let Some(end) = series.next_end() else { return list };
            list.push((end, series.close().sums));
        }
    }

    #[test]
    fn a_stay_is_cut_at_the_borders_of_the_bins() {
        let mut series = series();
        assert_eq!(series.presence(1, 104, 127), Added::Whole);
        assert_eq!(closed(&mut series, 130), [(110, vec![0, 6]), (120, vec![0, 10]), (130, vec![0, 7])]);
    }

    #[test]
    fn a_bin_keeps_its_highest_level() {
        let mut series = series();
        for (at, amount) in [(101, 3), (105, 7), (109, 2), (115, 1)] {
            series.peak(0, at, amount);
        }
        series.presence(1, 105, 115);
        assert_eq!(closed(&mut series, 120), [(110, vec![7, 5]), (120, vec![1, 5])]);
    }

    #[test]
    fn two_objects_at_once_occupy_a_zone_once() {
        let mut series = series();
        for (from, to) in [(101, 105), (101, 105), (105, 112), (105, 112), (115, 116)] {
            series.occupancy(0, from, to);
        }
        assert_eq!(closed(&mut series, 120), [(110, vec![9, 0]), (120, vec![3, 0])]);
    }

    /// One object's sliver never hides what others add, in whatever order they come.
    #[test]
    fn pc_8_occupied_time_is_the_union_of_all_stays() {
        let union = |stays: &[(u64, u64)]| {
            let mut series = series();
            stays.iter().for_each(|(from, to)| _ = series.occupancy(0, *from, *to));
            closed(&mut series, 120).iter().map(|(_, sums)| sums[0]).sum::<u64>()
        };
        assert_eq!(union(&[(109, 110), (101, 110)]), 9);
        assert_eq!(union(&[(104, 105), (108, 109), (101, 112)]), 11);
        assert_eq!(union(&[(101, 112), (104, 105), (111, 115), (118, 119)]), 15);
        assert_eq!(union(&[(105, 105), (103, 101)]), 0);
        let stays = [(101, 104), (106, 107), (103, 106), (110, 118), (112, 113)];
        for turned in 0..stays.len() {
            let mut stays = stays;
            stays.rotate_left(turned);
            assert_eq!(union(&stays), 14, "{stays:?}");
        }
    }

    #[test]
    fn a_closed_bin_stays_closed() {
        let mut series = series();
        assert_eq!(closed(&mut series, 110).len(), 1);
        assert_eq!(series.presence(0, 95, 99), Added::Late);
        assert_eq!(series.presence(0, 105, 112), Added::Late, "the part before 110 is lost");
        assert_eq!(series.frame(109, 1, true, ClockQuality::Synced), Added::Late);
        assert_eq!(closed(&mut series, 90), [], "a clock that went back closes nothing");
        assert_eq!(closed(&mut series, 120), [(120, vec![2, 0])]);
    }

    #[test]
    fn a_jump_ahead_keeps_what_was_summed_and_leaves_the_gap_out() {
        let mut series = series();
        series.presence(0, 100, 104);
        series.presence(0, 1_000_000, 1_000_003);
        series.due = 1_000_025;
        assert_eq!(series.skip_gap(), 0, "the open bin comes first");
        assert_eq!((series.next_end(), series.close().sums), (Some(110), vec![4, 0]));
        assert_eq!(series.skip_gap(), (1_000_000 - 110) / 10);
        assert_eq!((series.next_end(), series.close().sums), (Some(1_000_010), vec![3, 0]));
        assert_eq!(closed(&mut series, 1_000_025), [(1_000_020, vec![0, 0])]);
    }

    #[test]
    fn a_clock_that_runs_wild_opens_a_bounded_number_of_bins() {
        let mut series = series();
        for second in 0..2 * MAX_BINS {
            series.count(0, 100 + second * 1000);
        }
        assert_eq!(series.open.len() as u64, MAX_BINS);
        assert_eq!(series.count(0, u64::MAX), Added::Late);
        assert_eq!(series.presence(0, 0, u64::MAX), Added::Late);
    }

    #[test]
    fn the_end_of_time_is_no_trap() {
        let mut series = series();
        series.count(0, u64::MAX);
        series.due = u64::MAX;
        series.skip_gap();
        while series.next_end().is_some() {
            series.close();
        }
        assert_eq!(series.presence(0, 0, u64::MAX), Added::Late);
        assert_eq!(series.last_end(u64::MAX), u64::MAX);
    }
}
