//! The taps of a row, laid out for kernels that make many target pixels at a time.
//!
//! [`Taps`] lists the weights pixel by pixel; here they lie tap by tap, so that the weights of neighbouring
//! target pixels are one vector. Invariants: all lists are padded to whole groups of [`GROUP`] target pixels, by
//! repeating the last start and by weights of zero, and kernels may read up to [`SPARE`] values beyond a
//! source row, which must be finite. So no kernel has a remainder to care for.

use super::taps::Taps;

/// Target pixels in a group, the largest number that a kernel makes at a time.
pub(super) const GROUP: usize = 16;
/// Values that a kernel may take for the reach of a group: any offset and a block from there.
pub(super) const REACH: usize = 256 + BLOCK;
/// Values that lie behind the last one of every source row.
pub(super) const SPARE: usize = REACH;
/// Taps that the kernel for any number of taps takes at a time.
pub(super) const BLOCK: usize = 4;

/// Which values of a row make each target pixel.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// The first value of each target pixel, never less than the one before.
    pub(super) starts: Vec<u32>,
    /// Where each target pixel starts beyond the first one of its group. A byte: an index that cannot leave
    /// [`REACH`] needs no check. Without meaning for [`Spread::Any`].
    pub(super) offsets: Vec<u8>,
    /// For each group and in it for each tap the weights of the group's target pixels.
    pub(super) weights: Vec<[f32; GROUP]>,
    /// How many taps a target pixel has, those of weight zero that fill up a block left out.
    pub(super) count: usize,
    /// How many taps a target pixel has in `weights`, at least one.
    pub(super) lists: usize,
    /// How the taps lie.
    pub(super) spread: Spread,
}

/// How far the taps reach, which decides on the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// One or two taps a target pixel. The starts of four neighbours in a quarter of a group lie within 6, those of a
    /// group within 30: so it is for any reduction by no more than two.
    Pairs,
    /// Any number of taps in blocks of [`BLOCK`]. The starts of a group lie within 255.
    Wide,
    /// Anything else: a reduction by more than 17.
    Any,
}

impl Columns {
    pub(super) fn new(taps: &Taps) -> Self {
        let targets = taps.starts.len();
        let padded = targets.next_multiple_of(GROUP);
        let last = taps.starts.last().copied().unwrap_or(0);
        let starts = taps.starts.iter().copied().chain(std::iter::repeat_n(last, padded - targets));
        let starts: Vec<u32> =
            starts.map(|start| u32::try_from(start).expect("a row has fewer than 2^32 pixels")).collect();
        let within = |group: usize, reach: u32| starts.chunks(group).all(|s| s[s.len() - 1] - s[0] <= reach);
        let is_close = taps.count <= 2 && within(4, 6) && within(GROUP, 30);
        let (spread, lists) = if is_close {
            (Spread::Pairs, 2)
        } else if within(GROUP, 255) {
            (Spread::Wide, taps.count.next_multiple_of(BLOCK))
        } else {
            (Spread::Any, taps.count)
        };
        let offsets =
            starts.chunks(GROUP).flat_map(|s| s.iter().map(|start| (start - s[0]).min(255) as u8)).collect();
        let mut weights = vec![[0.0; GROUP]; lists * padded / GROUP];
        for (target, (_, of_target)) in taps.rows().enumerate() {
            for (tap, weight) in of_target.iter().enumerate() {
                weights[target / GROUP * lists + tap][target % GROUP] = *weight;
            }
        }
        Self { starts, offsets, weights, count: taps.count, lists, spread }
    }

    /// The groups: first start, offsets, weights tap by tap.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only hand-written kernels take groups"))]
    #[inline(always)]
    pub(super) fn groups(&self) -> impl Iterator<Item = (usize, &[u8; GROUP], &[[f32; GROUP]])> {
        let (starts, offsets) = (self.starts.as_chunks::<GROUP>().0, self.offsets.as_chunks::<GROUP>().0);
        let groups = starts.iter().zip(offsets).zip(self.weights.chunks_exact(self.lists));
        groups.map(|((starts, offsets), weights)| (starts[0] as usize, offsets, weights))
    }

    /// Target pixels, padding included: how many values a sampled row needs.
    pub(super) fn padded(&self) -> usize {
        self.starts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reduction_decides_on_the_kernel() {
        let cases = [
            (768, 416, Spread::Pairs),
            (832, 416, Spread::Pairs),
            (833, 416, Spread::Wide),
            (1920, 416, Spread::Wide),
            (1, 416, Spread::Pairs),
            (5, 1, Spread::Wide),
            (17 * 64, 64, Spread::Wide),
            (18 * 64, 64, Spread::Any),
        ];
        for (source, target, spread) in cases {
            assert_eq!(Columns::new(&Taps::new(source, target)).spread, spread, "{source} {target}");
        }
    }

    #[test]
    fn groups_hold_the_taps_and_reach_no_further_than_the_spare_values() {
        for (source, target) in [(768, 416), (1920, 416), (1917, 130), (5, 1), (1, 9), (2000, 130), (832, 416)] {
            for (length, taps) in [
                (source, Taps::new(source, target)),
                (source.div_ceil(2), Taps::new(source, target).halved(source)),
            ] {
                let columns = Columns::new(&taps);
                assert_eq!(columns.padded() % GROUP, 0);
                for (group, (start, offsets, weights)) in columns.groups().enumerate() {
                    assert!(start + weights.len().next_multiple_of(BLOCK) - BLOCK + REACH <= length + SPARE);
                    for lane in 0..GROUP {
                        let target = group * GROUP + lane;
                        let of_lane = weights.iter().map(|weights| weights[lane]);
                        if target < taps.starts.len() {
                            assert_eq!(start + usize::from(offsets[lane]), taps.starts[target]);
                            let expected = taps.weights[target * taps.count..][..taps.count].iter().copied();
                            assert!(of_lane.eq(expected.chain([0.0; BLOCK]).take(weights.len())));
                        } else {
                            assert!(of_lane.eq(vec![0.0; weights.len()]));
                        }
                    }
                }
            }
        }
    }
}
