//! Whether a box is made up of others: detectors now and then put a box around two people who walk
//! together, or a second one around half of each.

use kerbside_core::geometry::BoxInImage;

/// Points along each side of the grid that stands for a box.
const SIDE: u32 = 8;

/// The parts of one box that others cover, as a grid of 8 by 8 points.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Coverage(u64);

impl Coverage {
    /// Adds what `other` covers of `this`.
    pub(super) fn add(&mut self, this: &BoxInImage, other: &BoxInImage) {
        let columns = points(this.left, this.width(), other.left, other.right);
        let rows = points(this.top, this.height(), other.top, other.bottom);
        for row in 0..SIDE {
            if rows >> row & 1 == 1 {
                self.0 |= columns << (SIDE * row);
            }
        }
    }

    /// The share of the points that are covered, 0..1.
    pub(super) fn share(self) -> f32 {
        self.0.count_ones() as f32 / (SIDE * SIDE) as f32
    }
}

/// A bit for each of the points along a side, at the middle of its eighth, that lies between `low` and `high`.
fn points(from: f32, length: f32, low: f32, high: f32) -> u64 {
    let place = |at: f32| ((at - from) / length * SIDE as f32 + 0.5).clamp(0.0, SIDE as f32) as u32;
    let below = |bits: u32| (1u64 << bits) - 1;
    below(place(high)) & !below(place(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: BoxInImage = BoxInImage { left: 0.2, top: 0.2, right: 0.4, bottom: 0.6 };

    fn covered(by: &[BoxInImage]) -> f32 {
        let mut coverage = Coverage::default();
        by.iter().for_each(|other| coverage.add(&BOX, other));
        coverage.share()
    }

    #[test]
    fn shares_add_up_and_what_two_cover_counts_once() {
        let left = BoxInImage { right: 0.3, ..BOX };
        let right = BoxInImage { left: 0.3, right: 0.9, ..BOX };
        let beside = BoxInImage { left: 0.5, right: 0.7, ..BOX };
        let cases: [(&[BoxInImage], f32); 6] = [
            (&[], 0.0),
            (&[beside], 0.0),
            (&[left], 0.5),
            (&[left, left, beside], 0.5),
            (&[left, right], 1.0),
            (&[BoxInImage { top: 0.5, ..BOX }], 0.25),
        ];
        for (by, share) in cases {
            assert_eq!(covered(by), share, "{by:?}");
        }
    }
}
