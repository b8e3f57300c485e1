//! How well a detection fits a track.

use kerbside_core::detection::Class;

use super::motion::Shape;
use crate::classes::may_confuse;

/// By how many standard deviations of the prediction both boxes grow before they are compared.
const BUFFER_DEVIATIONS: f64 = 1.0;
/// The most that a box grows on each side, in object sizes.
const MAX_BUFFER: f64 = 2.0;
/// Two boxes laid over each other share at least this much if they show one object: doubt about where it is says nothing
/// about its size. At a fifth an object has grown to 2.2 times its width and height, which a car that comes on
/// takes longer for than a candidate waits.
const LEAST_ALIKE: f64 = 0.2;
/// The same where the picture's border cuts one of them: an object that comes in grows faster.
const LEAST_ALIKE_CUT: f64 = 0.1;
/// What a change between two classes that detectors confuse costs, in units of overlap.
const CONFUSION_COST: f64 = 0.1;

/// 1 minus the overlap of the predicted and the detected box, where both are first grown by what is unsure
/// about the prediction: buffered intersection over union (Yang et al., WACV 2023) with a buffer that
/// follows from the filter. A track that is well known is held to plain overlap; after a gap, at a low
/// frame rate or with a yet unknown velocity, a box that has jumped by more than its width still fits.
///
/// `None` when the boxes do not meet.
pub(super) fn cost(predicted: &Shape, (sigma_x, sigma_y): (f64, f64), detected: &Shape) -> Option<f64> {
    let most = MAX_BUFFER * predicted.size();
    let grow_x = 2.0 * (BUFFER_DEVIATIONS * sigma_x).min(most);
    let grow_y = 2.0 * (BUFFER_DEVIATIONS * sigma_y).min(most);
    let (width_a, width_b) = (predicted.width + grow_x, detected.width + grow_x);
    let (height_a, height_b) = (predicted.height + grow_y, detected.height + grow_y);
    let shared_x = shared(predicted.x, width_a, detected.x, width_b);
    let shared_y = shared(predicted.y, height_a, detected.y, height_b);
    if shared_x <= 0.0 || shared_y <= 0.0 {
        return None;
    }
    let both = shared_x * shared_y;
    Some(1.0 - both / (width_a * height_a + width_b * height_b - both))
}

/// What it costs that a track of class `a` goes on as class `b`; `None` where that cannot be.
pub(super) fn class_cost(a: Class, b: Class) -> Option<f64> {
    if a == b {
        return Some(0.0);
    }
    may_confuse(a, b).then_some(CONFUSION_COST)
}

/// Whether the sizes of two boxes fit, `cut` where the picture's border hides a part of one.
///
/// [`cost`] grows both boxes by the same lengths, after which a small box and a large one are nearly alike. What the
/// two would share with one centre is the most that plain overlap could ever be.
pub(super) fn alike(a: &Shape, b: &Shape, cut: bool) -> bool {
    let both = a.width.min(b.width) * a.height.min(b.height);
    let either = a.width * a.height + b.width * b.height - both;
    both >= either * if cut { LEAST_ALIKE_CUT } else { LEAST_ALIKE }
}

/// The length that two intervals, given by middle and length, have in common; negative for a gap.
fn shared(a: f64, length_a: f64, b: f64, length_b: f64) -> f64 {
    (a + length_a / 2.0).min(b + length_b / 2.0) - (a - length_a / 2.0).max(b - length_b / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: Shape = Shape { x: 0.5, y: 0.5, width: 0.1, height: 0.2 };

    #[test]
    fn without_doubt_it_is_plain_intersection_over_union() {
        let half_off = Shape { x: 0.55, ..BOX };
        let cost = cost(&BOX, (0.0, 0.0), &half_off).unwrap();
        assert!((cost - 2.0 / 3.0).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn doubt_lets_boxes_meet_that_do_not_touch_and_nearer_stays_better() {
        let [near, far] = [0.65, 0.7].map(|x| Shape { x, ..BOX });
        assert_eq!(cost(&BOX, (0.0, 0.0), &near), None);
        let [near, far] = [near, far].map(|shape| cost(&BOX, (0.1, 0.1), &shape).unwrap());
        assert!(near < far && far < 1.0);
    }

    #[test]
    fn a_near_object_is_not_a_far_one() {
        let far = Shape { width: 0.02, height: 0.04, ..BOX };
        let nearer = Shape { width: 0.06, height: 0.12, ..BOX };
        let cases = [
            (BOX, BOX, true, true),
            (BOX, nearer, true, true),
            (far, nearer, false, true),
            (far, BOX, false, false),
        ];
        for (a, b, whole, cut) in cases {
            assert_eq!((alike(&a, &b, false), alike(&b, &a, true)), (whole, cut), "{a:?} {b:?}");
        }
    }

    #[test]
    fn class_confusion_is_symmetric_and_never_involves_people() {
        for a in Class::ALL {
            for b in Class::ALL {
                assert_eq!(class_cost(a, b), class_cost(b, a));
                if a == Class::Person && b != Class::Person {
                    assert_eq!(class_cost(a, b), None);
                }
            }
            assert_eq!(class_cost(a, a), Some(0.0));
        }
        assert!(class_cost(Class::Car, Class::Truck).is_some());
        assert!(class_cost(Class::Bicycle, Class::Car).is_none());
    }
}
