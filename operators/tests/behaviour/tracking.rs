//! What the tracker promises, whatever the detector says.

use kerbside_core::detection::{Class, Detection};
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::BoxInImage;
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::time::MediaTime;
use kerbside_operators::tracker::{LOW_SCORE, Tracker, TrackerSettings};
use proptest::prelude::*;

use crate::quality::square;
use crate::street::{Detector, PICTURE, film, track};

const SETTINGS: TrackerSettings = TrackerSettings::DEFAULT;

fn person(x: f32, y: f32, score: f32) -> Detection {
    seen_as(Class::Person, x, y, score)
}

fn seen_as(class: Class, x: f32, y: f32, score: f32) -> Detection {
    Detection { class, score, box_in_image: BoxInImage { left: x, top: y, right: x + 0.06, bottom: y + 0.2 } }
}

/// Feeds frames 100 ms apart.
fn feed(tracker: &mut Tracker, from_millis: u64, frames: &[&[Detection]]) {
    for (index, detections) in (0u64..).zip(frames) {
        tracker.update(MediaTime::from_millis(from_millis + 100 * index), PICTURE, detections);
    }
}

fn ids(tracks: &[Track]) -> Vec<u64> {
    tracks.iter().map(|track| track.id.0).collect()
}

#[test]
fn a_flicker_of_one_frame_is_never_confirmed_and_a_second_sight_confirms() {
    let sure = person(0.5, 0.5, 0.99);
    let mut tracker = Tracker::new(SETTINGS);
    feed(&mut tracker, 0, &[&[sure]]);
    feed(&mut tracker, 100, &[[].as_slice(); 12]);
    assert_eq!((ids(tracker.confirmed()), ids(tracker.candidates())), (vec![], vec![]));
    feed(&mut tracker, 2000, &[&[sure]]);
    assert_eq!((ids(tracker.confirmed()), ids(tracker.candidates())), (vec![], vec![2]));
    feed(&mut tracker, 2100, &[&[sure]]);
    assert_eq!((ids(tracker.confirmed()), ids(tracker.candidates())), (vec![2], vec![]));
    assert_eq!(tracker.confirmed()[0].since, MediaTime::from_millis(2000));
    assert_eq!(tracker.confirmed()[0].box_in_image, sure.box_in_image);
}

#[test]
fn weak_detections_continue_a_track_and_never_begin_one() {
    let (strong, weak) = (person(0.5, 0.5, 0.8), person(0.5, 0.5, 0.2));
    let mut tracker = Tracker::new(SETTINGS);
    feed(&mut tracker, 0, &[&[weak], &[weak], &[weak]]);
    assert!(tracker.confirmed().is_empty() && tracker.candidates().is_empty());
    feed(&mut tracker, 300, &[&[strong], &[strong], &[weak]]);
    let track = tracker.confirmed()[0];
    assert!(track.detected && track.score == 0.2);
}

#[test]
fn a_lost_track_waits_at_the_predicted_place_and_then_ends() {
    let walk = |index: u64| person(0.2 + 0.01 * index as f32, 0.5, 0.8);
    let mut tracker = Tracker::new(SETTINGS);
    for index in 0..10 {
        feed(&mut tracker, 100 * index, &[&[walk(index)]]);
    }
    feed(&mut tracker, 1000, &[&[], &[], &[]]);
    let lost = tracker.confirmed()[0];
    assert!(!lost.detected);
    assert!(lost.box_in_image.iou(&walk(12).box_in_image) > 0.8, "{lost:?}");
    feed(&mut tracker, 1300, &[&[walk(13)]]);
    assert_eq!(ids(tracker.confirmed()), [1], "found again");
    assert!(tracker.confirmed()[0].detected);
    feed(&mut tracker, 1400, &[[].as_slice(); 21]);
    assert!(tracker.confirmed().is_empty(), "gone for good");
    feed(&mut tracker, 3500, &[&[walk(14)], &[walk(14)]]);
    assert_eq!(ids(tracker.confirmed()), [2]);
}

#[test]
fn one_noisy_label_does_not_change_the_class_and_a_person_never_becomes_a_car() {
    let mut tracker = Tracker::new(SETTINGS);
    let [car, truck, human] = [Class::Car, Class::Truck, Class::Person].map(|class| seen_as(class, 0.5, 0.5, 0.8));
    feed(&mut tracker, 0, &[&[car], &[car], &[truck]]);
    assert_eq!(ids(tracker.confirmed()), [1]);
    assert_eq!(tracker.confirmed()[0].class, Class::Car);
    feed(&mut tracker, 300, &[&[truck], &[truck]]);
    assert_eq!(tracker.confirmed()[0].class, Class::Truck);
    feed(&mut tracker, 500, &[&[human]]);
    assert!(!tracker.confirmed()[0].detected);
    assert_eq!(ids(tracker.candidates()), [2]);
}

#[test]
fn an_object_that_is_reported_as_two_classes_counts_once() {
    let mut tracker = Tracker::new(SETTINGS);
    let (car, truck) = (seen_as(Class::Car, 0.5, 0.5, 0.8), seen_as(Class::Truck, 0.502, 0.5, 0.7));
    feed(&mut tracker, 0, &[&[car, truck] as &[Detection]; 10]);
    assert_eq!((ids(tracker.confirmed()), ids(tracker.candidates())), (vec![1], vec![2]));
}

#[test]
fn an_interruption_ends_every_track_and_ids_go_on() {
    let mut tracker = Tracker::new(SETTINGS);
    let here = person(0.5, 0.5, 0.8);
    type Cut = (&'static str, fn(&mut Tracker));
    let cuts: [Cut; 3] = [
        ("the runtime says so", |tracker| tracker.interrupt()),
        ("no frame for long", |tracker| tracker.update(MediaTime::from_millis(5000), PICTURE, &[])),
        ("another shape of picture", |tracker| {
            tracker.update(MediaTime::from_millis(200), PictureSize { width: 1920, height: 1080 }, &[]);
        }),
    ];
    for (turn, (name, cut)) in (1..).zip(cuts) {
        feed(&mut tracker, 0, &[&[here], &[here]]);
        assert_eq!(ids(tracker.confirmed()), [turn], "{name}");
        cut(&mut tracker);
        assert!(tracker.confirmed().is_empty() && tracker.candidates().is_empty(), "{name}");
        tracker.interrupt();
    }
}

#[test]
fn a_track_ends_when_its_object_has_left_the_picture() {
    let mut tracker = Tracker::new(SETTINGS);
    for index in 0..20 {
        feed(&mut tracker, 100 * index, &[&[person(0.6 + 0.02 * index as f32, 0.5, 0.8)]]);
    }
    assert_eq!(tracker.confirmed().len(), 1);
    feed(&mut tracker, 2000, &[[].as_slice(); 3]);
    assert!(tracker.confirmed().is_empty());
}

#[test]
fn a_track_that_leaves_keeps_its_pace_ends_soon_and_leaves_its_id_to_nobody() {
    // The border cuts the box more and more, as a detector reports it.
    let at = |index: i32| {
        let mut found = person(0.80 + 0.02 * index as f32, 0.5, 0.8);
        found.box_in_image.right = found.box_in_image.right.min(1.0);
        found
    };
    let mut tracker = Tracker::new(SETTINGS);
    for index in 0..10 {
        feed(&mut tracker, 100 * index as u64, &[&[at(index)]]);
    }
    assert_eq!(ids(tracker.confirmed()), [1]);
    feed(&mut tracker, 1000, &[&[]]);
    assert!(tracker.confirmed().iter().all(|track| track.box_in_image.right <= 1.0), "nothing is shown outside");
    // Someone enters at the same place a moment later.
    for index in (0..10).rev() {
        feed(&mut tracker, 1000 + 100 * (10 - index) as u64, &[&[at(index)]]);
    }
    assert_eq!(ids(tracker.confirmed()), [2]);
}

#[test]
fn who_is_hidden_by_a_post_is_found_behind_it_at_any_frame_rate() {
    for fps in [2u64, 5, 10, 30] {
        let mut tracker = Tracker::new(SETTINGS);
        for frame in 0..6 * fps {
            let x = 0.1 + 0.1 * frame as f32 / fps as f32;
            let hidden = (0.38..0.50).contains(&x);
            let found = [person(x, 0.5, 0.8)];
            let detections: &[Detection] = if hidden { &[] } else { &found };
            tracker.update(MediaTime::from_millis(1000 * frame / fps), PICTURE, detections);
        }
        assert_eq!(ids(tracker.confirmed()), [1], "{fps} fps");
        assert!(tracker.confirmed()[0].detected, "{fps} fps");
    }
}

/// Ids that were ever confirmed while frames pass at `fps` for `secs`.
fn ever_confirmed(tracker: &mut Tracker, fps: u64, secs: u64, frame: impl Fn(f32) -> Vec<Detection>) -> Vec<u64> {
    let mut seen = Vec::new();
    for index in 0..fps * secs {
        tracker.update(MediaTime::from_millis(1000 * index / fps), PICTURE, &frame(index as f32 / fps as f32));
        seen.extend(ids(tracker.confirmed()));
    }
    seen.sort_unstable();
    seen.dedup();
    seen
}

/// Between -1 and 1, the same for the same time.
fn flicker(secs: f32) -> f32 {
    (secs * 997.0).sin()
}

#[test]
fn a_sign_that_is_hardly_ever_a_person_is_never_an_object_and_hides_nobody_who_walks_by() {
    for fps in [2u64, 5, 10, 30] {
        let sign = |secs: f32| person(0.5, 0.5, 0.38 + 0.11 * flicker(secs));
        let mut tracker = Tracker::new(SETTINGS);
        assert_eq!(ever_confirmed(&mut tracker, fps, 120, |secs| vec![sign(secs)]), [0u64; 0], "{fps} fps");
        // Then people walk past it, one every ten seconds.
        let mut tracker = Tracker::new(SETTINGS);
        let passes = ever_confirmed(&mut tracker, fps, 60, |secs| {
            let x = 0.1 + 0.1 * (secs % 10.0);
            let passer = (x < 0.9).then(|| person(x, 0.55, 0.75));
            std::iter::once(sign(secs)).chain(passer).collect()
        });
        assert_eq!(passes.len(), 6, "{fps} fps");
    }
}

#[test]
fn who_waits_and_what_is_parked_stay_objects() {
    for fps in [2u64, 10, 30] {
        // A person comes, waits for two minutes half hidden, so that the detector is seldom sure, and leaves.
        let waits = |secs: f32| {
            let x = if secs < 3.0 { 0.2 + 0.1 * secs } else { 0.5 + 0.1 * (secs - 123.0).max(0.0) };
            let score = if (3.0..123.0).contains(&secs) { 0.42 + 0.08 * flicker(secs) } else { 0.8 };
            vec![person(x, 0.5, score)]
        };
        let mut tracker = Tracker::new(SETTINGS);
        assert_eq!(ever_confirmed(&mut tracker, fps, 126, waits), [1], "{fps} fps");
        assert!(tracker.confirmed()[0].detected);
        // A parked car was always there, and neither very clear nor ever gone.
        let parked = |secs: f32| vec![seen_as(Class::Car, 0.3, 0.4, 0.55 + 0.05 * flicker(secs))];
        let mut tracker = Tracker::new(SETTINGS);
        assert_eq!(ever_confirmed(&mut tracker, fps, 60, parked), [1], "{fps} fps");
        assert!(tracker.confirmed()[0].detected);
    }
}

#[test]
fn a_box_around_two_people_is_no_third_one() {
    let walk = |index: u64| {
        let x = 0.2 + 0.01 * index as f32;
        let [one, other] = [person(x, 0.5, 0.8), person(x + 0.05, 0.51, 0.75)];
        let mut both = person(x, 0.5, 0.6);
        both.box_in_image.right = other.box_in_image.right;
        both.box_in_image.bottom = other.box_in_image.bottom;
        [one, other, both]
    };
    let mut tracker = Tracker::new(SETTINGS);
    for index in 0..40 {
        feed(&mut tracker, 100 * index, &[&walk(index)]);
        assert!(tracker.confirmed().len() <= 2);
    }
    assert_eq!(ids(tracker.confirmed()), [1, 2]);
}

fn any_detection() -> impl Strategy<Value = Detection> {
    (0usize..7, 0.0f32..1.0, -0.1f32..1.0, -0.1f32..1.0, 0.0f32..0.3, 0.0f32..0.4).prop_map(
        |(class, score, left, top, width, height)| Detection {
            class: Class::ALL[class],
            score,
            box_in_image: BoxInImage { left, top, right: left + width, bottom: top + height },
        },
    )
}

/// Frames of a crowd that drifts, so that there is something to associate.
fn any_film() -> impl Strategy<Value = Vec<Vec<Detection>>> {
    (prop::collection::vec(any_detection(), 1..12), prop::collection::vec(any::<u64>(), 1..25)).prop_map(
        |(crowd, seeds)| {
            let frame = |(index, seed): (usize, &u64)| {
                let mut dice = fastrand::Rng::with_seed(*seed);
                let mut frame = crowd.clone();
                frame.retain(|_| dice.u8(0..5) > 0);
                for found in &mut frame {
                    let drift = 0.01 * index as f32 + 0.01 * dice.f32();
                    found.box_in_image.left += drift;
                    found.box_in_image.right += drift;
                }
                frame
            };
            seeds.iter().enumerate().map(frame).collect()
        },
    )
}

proptest! {
    #[test]
    fn tracks_do_not_depend_on_the_order_of_detections(frames in any_film(), seed in any::<u64>()) {
        let mut dice = fastrand::Rng::with_seed(seed);
        let (mut one, mut other) = (Tracker::new(SETTINGS), Tracker::new(SETTINGS));
        for (index, frame) in (0..).zip(&frames) {
            let at = MediaTime::from_millis(100 * index);
            let mut shuffled = frame.clone();
            dice.shuffle(&mut shuffled);
            one.update(at, PICTURE, frame);
            other.update(at, PICTURE, &shuffled);
            prop_assert_eq!(one.confirmed(), other.confirmed());
            prop_assert_eq!(one.candidates(), other.candidates());
        }
    }

    #[test]
    fn every_strong_detection_has_one_track_and_ids_are_sorted_and_new(frames in any_film()) {
        let mut tracker = Tracker::new(SETTINGS);
        let mut highest = TrackId(0);
        for (index, frame) in (0..).zip(&frames) {
            tracker.update(MediaTime::from_millis(100 * index), PICTURE, frame);
            let all = || tracker.confirmed().iter().chain(tracker.candidates());
            for list in [tracker.confirmed(), tracker.candidates()] {
                prop_assert!(list.is_sorted_by(|a, b| a.id < b.id));
            }
            for found in frame.iter().filter(|found| found.score >= SETTINGS.min_score && found.box_in_image.area() > 0.0) {
                let shown = all()
                    .filter(|t| t.detected && t.box_in_image == found.box_in_image && t.score == found.score)
                    .count();
                let equals = frame.iter().filter(|f| f.box_in_image == found.box_in_image && f.score == found.score);
                prop_assert_eq!(shown, equals.count());
            }
            for track in all().filter(|track| track.detected) {
                prop_assert!(track.score >= LOW_SCORE);
            }
            let begun = all().filter(|t| t.since == MediaTime::from_millis(100 * index)).map(|t| t.id);
            for id in begun {
                prop_assert!(id > highest, "{:?} was used before", id);
            }
            highest = all().map(|track| track.id).max().unwrap_or(highest).max(highest);
        }
    }
}

#[test]
fn boxes_that_are_no_boxes_are_left_out() {
    let mut tracker = Tracker::new(SETTINGS);
    let mut bad = [person(0.5, 0.5, 0.9); 4];
    bad[0].box_in_image.left = f32::NAN;
    bad[1].box_in_image.bottom = f32::INFINITY;
    bad[2].box_in_image.right = bad[2].box_in_image.left;
    bad[3].score = f32::NAN;
    feed(&mut tracker, 0, &[&bad, &bad]);
    assert!(tracker.confirmed().is_empty() && tracker.candidates().is_empty());
}

#[test]
fn the_same_film_gives_the_same_tracks() {
    let frames = film(&square(5, 24, 10), Detector::USUAL, 10.0, 30.0, 5);
    assert_eq!(track(&frames), track(&frames));
}
