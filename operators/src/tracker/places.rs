//! Places where the detector invents an object: a sign, a bin, a cone or a poster that looks a little like
//! a person.
//!
//! What a detector says of such a thing is not independent from frame to frame: it judges the same pixels
//! every time, so a hundred weak detections of one unmoving box say no more than one. What gives the thing
//! away is that it is always the same box, and hardly ever sure. A place is learned from detections that no
//! moving object took: where they keep coming back in the same box for some seconds while their mean
//! score stays below what may begin a track, what is found there is explained by the place.
//!
//! - Someone who walks past has another box, or a better score than the place ever had: not explained.
//! - Someone who stands, and a parked car, are found with a good score, or came there as a track that
//!   moved, whose detections teach the places nothing.
//! - A place that is no longer seen is forgotten: shadows move on, bins are emptied.
//!
//! The cost: an object that never moves and that the detector is never sure of is not counted. All times
//! are seconds of the stream; memory is bounded.

use std::time::Duration;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::geometry::BoxInImage;

/// How many places are remembered; the one that was seen least gives way.
const MOST_PLACES: usize = 64;
/// A detection belongs to a place from this overlap.
const SAME_PLACE_IOU: f32 = 0.6;
/// A detection is explained by a place from this overlap.
const EXPLAINED_IOU: f32 = 0.75;
/// What a place has been seen for before it explains anything, in seconds of frames that show it.
const LEARNED_SECS: f32 = 2.0;
/// Of how many frames at least: at 2 a second one frame stands for long.
const LEARNED_FRAMES: u32 = 4;
/// How long a place must have been known before it explains anything; someone who stops for a moment is
/// not furniture.
pub(super) const LEARNED_AFTER: Duration = Duration::from_secs(5);
/// The time constant with which sightings are forgotten.
const MEMORY_SECS: f32 = 120.0;
/// A place that has less left of its sightings is dropped.
const FORGOTTEN_SECS: f32 = 0.02;
/// One frame stands for no longer than this.
const MOST_STEP_SECS: f32 = 0.5;
/// How many standard deviations better than the place's mean a detection may score and still be explained.
const SCORE_DEVIATIONS: f32 = 3.0;
/// The least standard deviation of the scores of a place.
const LEAST_DEVIATION: f32 = 0.03;
/// How fast a place follows what is seen there.
const LEARNING_SHARE: f32 = 0.1;

#[derive(Clone, Copy, Debug)]
struct Place {
    class: Class,
    box_in_image: BoxInImage,
    mean_score: f32,
    score_variance: f32,
    /// Seconds of frames that showed it, fading.
    seen_secs: f32,
    frames: u32,
    age: Duration,
}

/// What is known of one camera's fixed places.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
}

impl Places {
    /// Time passes: what is not seen fades.
    pub(super) fn pass(&mut self, step: Duration) {
        let left = (-step.as_secs_f32() / MEMORY_SECS).exp();
        self.places.retain_mut(|place| {
            place.seen_secs *= left;
            place.age += step;
            place.seen_secs > FORGOTTEN_SECS
        });
    }

    /// Whether a place that is seen time and again, at scores which are below `min_score` on average,
    /// is reason enough for this detection.
    pub(super) fn explain(&self, detection: &Detection, min_score: f32) -> bool {
        self.places.iter().any(|place| {
            place.class == detection.class
                && place.seen_secs >= LEARNED_SECS
                && place.frames >= LEARNED_FRAMES
                && place.age >= LEARNED_AFTER
                && place.mean_score < min_score
                && detection.score
                    <= place.mean_score + SCORE_DEVIATIONS * place.score_variance.sqrt().max(LEAST_DEVIATION)
                && place.box_in_image.iou(&detection.box_in_image) >= EXPLAINED_IOU
        })
    }

    /// Learns from a detection that nothing which moves accounts for. The frame stands for `step`.
    pub(super) fn learn(&mut self, detection: &Detection, step: Duration) {
        let secs = step.as_secs_f32().clamp(FORGOTTEN_SECS * 2.0, MOST_STEP_SECS);
        let overlap = |place: &Place| place.box_in_image.iou(&detection.box_in_image);
        let nearest = self
            .places
            .iter_mut()
            .filter(|place| place.class == detection.class && overlap(place) >= SAME_PLACE_IOU)
            .max_by(|a, b| overlap(a).total_cmp(&overlap(b)));
        if let Some(place) = nearest {
            place.frames += 1;
            place.seen_secs += secs;
            let follow = |mean: &mut f32, now: f32| *mean += LEARNING_SHARE * (now - *mean);
            let (mean, now) = (&mut place.box_in_image, detection.box_in_image);
            follow(&mut mean.left, now.left);
            follow(&mut mean.top, now.top);
            follow(&mut mean.right, now.right);
            follow(&mut mean.bottom, now.bottom);
            let surprise = detection.score - place.mean_score;
            follow(&mut place.score_variance, surprise * surprise);
            follow(&mut place.mean_score, detection.score);
            return;
        }
        let place = Place {
            class: detection.class,
            box_in_image: detection.box_in_image,
            mean_score: detection.score,
            score_variance: LEAST_DEVIATION * LEAST_DEVIATION,
            seen_secs: secs,
            frames: 1,
            age: Duration::ZERO,
        };
        if self.places.len() < MOST_PLACES {
            self.places.push(place);
        } else if let Some(least) = self.places.iter_mut().min_by(|a, b| a.seen_secs.total_cmp(&b.seen_secs))
            && least.seen_secs <= secs
        {
            *least = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(score: f32) -> Detection {
        let box_in_image = BoxInImage { left: 0.2, top: 0.3, right: 0.23, bottom: 0.4 };
        Detection { class: Class::Person, score, box_in_image }
    }

    fn learned(score: f32, fps: u32, secs: u32) -> Places {
        let mut places = Places::default();
        let step = Duration::from_secs(1) / fps;
        for _ in 0..fps * secs {
            places.pass(step);
            places.learn(&sign(score), step);
        }
        places
    }

    #[test]
    fn a_place_is_learned_within_seconds_at_any_frame_rate_and_only_where_it_is_weak() {
        for fps in [2, 10, 30] {
            assert!(learned(0.4, fps, 6).explain(&sign(0.48), 0.45), "{fps} fps");
            assert!(!learned(0.4, fps, 4).explain(&sign(0.5), 0.45), "{fps} fps, too early");
            assert!(!learned(0.4, fps, 6).explain(&sign(0.7), 0.45), "{fps} fps, too good");
            assert!(!learned(0.5, fps, 60).explain(&sign(0.5), 0.45), "{fps} fps, a parked car");
        }
    }

    #[test]
    fn a_place_that_is_not_seen_is_forgotten() {
        let mut places = learned(0.4, 10, 30);
        places.pass(Duration::from_secs(60));
        assert!(places.explain(&sign(0.4), 0.45));
        places.pass(Duration::from_secs(3600));
        assert!(!places.explain(&sign(0.4), 0.45));
        assert!(places.places.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_what_is_seen_most_stays() {
        let mut places = learned(0.4, 10, 10);
        let mut dice = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let (left, top) = (dice.f32(), dice.f32());
            let box_in_image = BoxInImage { left, top, right: left + 0.02, bottom: top + 0.05 };
            places.learn(&Detection { box_in_image, ..sign(0.3) }, Duration::from_millis(100));
        }
        assert!(places.places.len() <= MOST_PLACES);
        assert!(places.explain(&sign(0.4), 0.45));
    }
}
