//! Sets of row numbers, kept as ranges that neither touch nor overlap.

use std::collections::BTreeMap;

/// Row numbers of one stream and epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// First number to last number, both within.
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the numbers from `first` to `last`, both within. A range that is upside down adds nothing.
    pub fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        // Everything that touches goes into one range. Those that begin before `first` first.
        if let Some((&start, &end)) = self.ranges.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            (first, last) = (start, last.max(end));
            self.ranges.remove(&start);
        }
        while let Some((&start, &end)) = self.ranges.range(first..=last.saturating_add(1)).next() {
            last = last.max(end);
            self.ranges.remove(&start);
        }
        self.ranges.insert(first, last);
    }

    /// Whether all numbers from `first` to `last` are in the set.
    pub fn contains(&self, first: u64, last: u64) -> bool {
        self.ranges.range(..=first).next_back().is_some_and(|(_, &end)| end >= last)
    }

    /// Whether any number from `first` to `last` is in the set.
    pub fn intersects(&self, first: u64, last: u64) -> bool {
        self.ranges.range(..=last).next_back().is_some_and(|(_, &end)| end >= first)
    }

    /// The numbers from `first` to `last` that are not in the set, as ranges, in order.
    pub fn missing(&self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut at = first;
        let from = self.ranges.range(..=first).next_back().map_or(first, |(&start, _)| start);
        for (&start, &end) in self.ranges.range(from..=last) {
            if start > at {
                missing.push((at, start - 1));
            }
            match end.checked_add(1) {
                Some(next) => at = at.max(next),
                None => return missing,
            }
        }
        if at <= last {
            missing.push((at, last));
        }
        missing
    }

    /// The number up to which, from 0, none is missing: the least that is not in the set.
    pub fn next(&self) -> u64 {
        match self.ranges.first_key_value() {
            Some((0, &end)) => end.saturating_add(1),
            _ => 0,
        }
    }

    /// The largest number in the set.
    pub fn last(&self) -> Option<u64> {
        self.ranges.last_key_value().map(|(_, &end)| end)
    }

    /// The ranges, first and last number, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(&first, &last)| (first, last))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl FromIterator<(u64, u64)> for RangeSet {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut set = Self::new();
        for (first, last) in ranges {
            set.insert(first, last);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_of_ranges_is_the_set_of_its_numbers(ranges in proptest::collection::vec((0u64..60, 0u64..12), 0..20), probe in (0u64..70, 0u64..20)) {
            let set: RangeSet = ranges.iter().map(|(first, len)| (*first, first + len)).collect();
            let plain: std::collections::BTreeSet<u64> =
                ranges.iter().flat_map(|(first, len)| *first..=first + len).collect();
            let (first, last) = (probe.0, probe.0 + probe.1);
            prop_assert_eq!(set.contains(first, last), (first..=last).all(|n| plain.contains(&n)));
            prop_assert_eq!(set.intersects(first, last), (first..=last).any(|n| plain.contains(&n)));
            let missing: Vec<u64> = set.missing(first, last).iter().flat_map(|(a, b)| *a..=*b).collect();
            prop_assert_eq!(missing, (first..=last).filter(|n| !plain.contains(n)).collect::<Vec<_>>());
            prop_assert_eq!(set.next(), (0..).find(|n| !plain.contains(n)).unwrap());
            prop_assert_eq!(set.last(), plain.last().copied());
            let listed: Vec<(u64, u64)> = set.iter().collect();
            prop_assert!(listed.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", listed);
        }
    }

    #[test]
    fn the_largest_number_does_not_overflow() {
        let mut set = RangeSet::new();
        set.insert(u64::MAX - 1, u64::MAX);
        set.insert(0, 5);
        set.insert(9, 3);
        assert!(set.contains(u64::MAX, u64::MAX) && !set.contains(6, 6));
        assert_eq!(set.missing(4, u64::MAX), [(6, u64::MAX - 2)]);
    }
}
