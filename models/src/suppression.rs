//! Non-maximum suppression: of boxes of one class that overlap, only the best stays.
//!
//! Greedy and per class, best score first. Equal scores are ordered by class and then by the place in the
//! network's output, so the result never depends on a sort's whim.

use std::cmp::Ordering;

use kerbside_core::detection::Class;
use kerbside_core::geometry::BoxInImage;

/// How many candidates of a frame are compared; beyond that the best are. A street scene has a few dozen,
/// a broken model every cell of every class, and comparing is quadratic.
const MAX_CANDIDATES: usize = 1000;

/// What a head found in one place, in the pixels of the network's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) class: Class,
    pub(crate) score: f32,
    pub(crate) box_in_input: BoxInImage,
    /// Its place in the network's output.
    pub(crate) place: u32,
}

/// Best first; a total order over different places.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.total_cmp(&a.score).then(a.class.cmp(&b.class)).then(a.place.cmp(&b.place))
}

/// Leaves the best of each group of boxes whose intersection over union exceeds `max_iou`, best first.
pub(crate) fn suppress(candidates: &mut Vec<Candidate>, max_iou: f32) {
    if candidates.len() > MAX_CANDIDATES {
        candidates.select_nth_unstable_by(MAX_CANDIDATES, order);
        candidates.truncate(MAX_CANDIDATES);
    }
    candidates.sort_unstable_by(order);
    let mut kept = 0;
    for at in 0..candidates.len() {
        let candidate = candidates[at];
        let hidden = candidates[..kept].iter().any(|better| {
            better.class == candidate.class && better.box_in_input.iou(&candidate.box_in_input) > max_iou
        });
        if !hidden {
            candidates[kept] = candidate;
            kept += 1;
        }
    }
    candidates.truncate(kept);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(class: Class, score: f32, left: f32, width: f32, place: u32) -> Candidate {
        let box_in_input = BoxInImage { left, top: 10.0, right: left + width, bottom: 50.0 };
        Candidate { class, score, box_in_input, place }
    }

    #[test]
    fn the_best_of_each_class_stays() {
        let mut candidates = vec![
            candidate(Class::Car, 0.5, 0.0, 100.0, 0),
            candidate(Class::Car, 0.9, 10.0, 100.0, 1),
            candidate(Class::Truck, 0.6, 5.0, 100.0, 2),
            candidate(Class::Car, 0.4, 60.0, 100.0, 3),
        ];
        suppress(&mut candidates, 0.6);
        // The second and the fourth share a third of their union, so both stay.
        assert_eq!(candidates.iter().map(|c| c.place).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn an_overlap_of_exactly_the_limit_stays() {
        // 75 shared of 125: an intersection over union of 0.6.
        let pair = [candidate(Class::Car, 0.9, 0.0, 100.0, 0), candidate(Class::Car, 0.8, 25.0, 100.0, 1)];
        let iou = pair[0].box_in_input.iou(&pair[1].box_in_input);
        let mut at_limit = pair.to_vec();
        suppress(&mut at_limit, iou);
        assert_eq!(at_limit.len(), 2);
        let mut above = pair.to_vec();
        suppress(&mut above, iou - 1e-4);
        assert_eq!(above.len(), 1);
    }

    #[test]
    fn a_flood_of_candidates_leaves_the_best() {
        let mut flood: Vec<Candidate> = (0..5000)
            .map(|i| candidate(Class::Person, 0.1 + i as f32 / 10_000.0, 3.0 * i as f32, 1.0, i))
            .collect();
        suppress(&mut flood, 0.6);
        assert_eq!(flood.len(), MAX_CANDIDATES);
        assert_eq!((flood[0].place, flood[MAX_CANDIDATES - 1].place), (4999, 4000));
    }

    fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
        // Few values, so that ties and overlaps are common.
        let one = (0usize..3, 1u8..8, 0u8..20, 1u8..10);
        prop::collection::vec(one, 0..60).prop_map(|list| {
            let candidates = list.into_iter().enumerate().map(|(place, (class, score, left, width))| {
                let (score, left) = (f32::from(score) / 8.0, f32::from(left));
                candidate(Class::ALL[class], score, left, f32::from(width), place as u32)
            });
            candidates.collect()
        })
    }

    proptest! {
        #[test]
        fn suppressing_twice_changes_nothing(mut candidates in any_candidates(), max_iou in 0.0f32..1.0) {
            suppress(&mut candidates, max_iou);
            let once = candidates.clone();
            suppress(&mut candidates, max_iou);
            prop_assert_eq!(&candidates, &once);
            prop_assert!(once.is_sorted_by(|a, b| a.score >= b.score));
        }

        #[test]
        fn the_order_of_the_candidates_does_not_matter(candidates in any_candidates(), by in 0usize..60) {
            let mut turned = candidates.clone();
            if !turned.is_empty() {
                let by = by % turned.len();
                turned.rotate_left(by);
                turned.reverse();
            }
            let mut straight = candidates;
            suppress(&mut straight, 0.5);
            suppress(&mut turned, 0.5);
            prop_assert_eq!(straight, turned);
        }
    }
}
