//! Which source pixels make one target pixel, along one axis.
//!
//! Up to a reduction by two this is bilinear interpolation with pixel centres at half coordinates, the
//! kernel that detectors are trained with. Beyond that bilinear would skip pixels and let thin things flicker,
//! so every source pixel counts by the share of it that the target pixel covers (area average). At exactly
//! two both are the same, so nothing jumps between them.

/// The source pixels of every target pixel, the same number for each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Taps {
    /// The first source pixel of each target pixel; `starts[i] + count` never exceeds the source.
    pub(super) starts: Vec<usize>,
    /// `count` weights for each target pixel, which sum to one.
    pub(super) weights: Vec<f32>,
    /// How many source pixels make one target pixel.
    pub(super) count: usize,
}

impl Taps {
    /// From `source` to `target` pixels, both at least one.
    pub(super) fn new(source: usize, target: usize) -> Self {
        let step = source as f64 / target as f64;
        let of_target = |i: usize| if step > 2.0 { area(i, step, source) } else { bilinear(i, step, source) };
        Self::of_rows(source, (0..target).map(of_target).collect())
    }

    /// The same filter on a plane of half the pixels (rounded up), each of which stands for two.
    pub(super) fn halved(&self, source: usize) -> Self {
        let rows = self.rows().map(|(start, weights)| {
            let first = start / 2;
            let mut halved = vec![0.0; (start + weights.len() - 1) / 2 - first + 1];
            for (at, weight) in (start..).zip(weights) {
                halved[at / 2 - first] += f64::from(*weight);
            }
            (first, halved)
        });
        Self::of_rows(source.div_ceil(2), rows.collect())
    }

    /// Each target pixel's first source pixel and weights.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.starts.iter().copied().zip(self.weights.chunks_exact(self.count))
    }

    /// Gives all rows the length of the longest, with weights of zero and without leaving the source.
    fn of_rows(source: usize, rows: Vec<(usize, Vec<f64>)>) -> Self {
        let count = rows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(1);
        let mut taps = Self { starts: Vec::new(), weights: Vec::new(), count };
        for (first, row) in rows {
            let start = first.min(source - count);
            let mut padded = vec![0.0; count];
            for (to, weight) in padded[first - start..].iter_mut().zip(row) {
                *to = weight as f32;
            }
            taps.starts.push(start);
            taps.weights.extend(padded);
        }
        taps
    }
}

fn bilinear(target: usize, step: f64, source: usize) -> (usize, Vec<f64>) {
    let centre = ((target as f64 + 0.5) * step - 0.5).clamp(0.0, (source - 1) as f64);
    let first = centre.floor();
    let share = centre - first;
    if share == 0.0 { (first as usize, vec![1.0]) } else { (first as usize, vec![1.0 - share, share]) }
}

fn area(target: usize, step: f64, source: usize) -> (usize, Vec<f64>) {
    let (from, to) = (target as f64 * step, (target + 1) as f64 * step);
    let first = from.floor() as usize;
    // The rounding of `to` must not reach for a pixel beyond the source.
    let beyond = (to.ceil() as usize).clamp(first + 1, source);
    let weights: Vec<f64> =
        (first..beyond).map(|i| (to.min((i + 1) as f64) - from.max(i as f64)).max(0.0)).collect();
    let sum: f64 = weights.iter().sum();
    (first, weights.into_iter().map(|weight| weight / sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reductions_up_to_two_are_bilinear_and_beyond_are_averages() {
        let half = Taps::new(4, 2);
        assert_eq!((half.starts, half.weights), (vec![0, 2], vec![0.5; 4]));
        let third = Taps::new(6, 2);
        assert_eq!((third.starts, third.count), (vec![0, 3], 3));
        assert!(third.weights.iter().all(|weight| (weight - 1.0 / 3.0).abs() < 1e-6));
        let same = Taps::new(3, 3);
        assert_eq!((same.starts, same.weights), (vec![0, 1, 2], vec![1.0; 3]));
        let twice = Taps::new(2, 4);
        assert_eq!(twice.starts, [0, 0, 0, 0]);
        assert_eq!(twice.weights, [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
    }

    proptest! {
        #[test]
        fn weights_sum_to_one_and_stay_within_the_source(source in 1usize..3000, target in 1usize..700) {
            let luma = Taps::new(source, target);
            for (length, taps) in [(source, &luma), (source.div_ceil(2), &luma.halved(source))] {
                prop_assert_eq!(taps.starts.len(), target);
                for (start, weights) in taps.rows() {
                    prop_assert!(start + weights.len() <= length);
                    let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
                    prop_assert!((sum - 1.0).abs() < 1e-5);
                    prop_assert!(weights.iter().all(|weight| *weight >= 0.0));
                }
            }
        }
    }
}
