//! How well the tracker keeps identities, on a street of known truth.

use std::collections::{BTreeMap, BTreeSet};

use kerbside_core::observation::TrackId;

use crate::street::{Actor, Detector, Frame, film, track};

/// What went right and wrong.
#[derive(Debug, Default)]
pub(crate) struct Quality {
    /// Appearances of actors in frames.
    pub(crate) truths: usize,
    /// Of these, found by the detector.
    pub(crate) detected: usize,
    /// Of these, in a confirmed track.
    pub(crate) tracked: usize,
    /// Boxes in confirmed tracks that show nobody.
    pub(crate) invented: usize,
    /// An actor's track changed.
    pub(crate) switches: usize,
    /// Share of boxes that keep the one best identity; a lower bound, since pairs are chosen greedily.
    pub(crate) idf1: f64,
}

pub(crate) fn judge(frames: &[Frame]) -> Quality {
    let mut quality = Quality::default();
    let mut holder: BTreeMap<usize, TrackId> = BTreeMap::new();
    let mut together: BTreeMap<(usize, TrackId), usize> = BTreeMap::new();
    for (frame, (_, tracks)) in frames.iter().zip(track(frames)) {
        quality.truths += frame.present.len();
        quality.detected += frame.shows.iter().flatten().count();
        for track in tracks.iter().filter(|track| track.detected) {
            // A detected track's box is the detection's own, so it says whom it shows.
            let place = frame.detections.iter().position(|found| found.box_in_image == track.box_in_image);
            let Some(actor) = frame.shows[place.expect("a raw detection")] else {
                quality.invented += 1;
                continue;
            };
            quality.tracked += 1;
            *together.entry((actor, track.id)).or_default() += 1;
            if holder.insert(actor, track.id).is_some_and(|before| before != track.id) {
                quality.switches += 1;
            }
        }
    }
    let mut pairs: Vec<_> = together.into_iter().collect();
    pairs.sort_by_key(|&(pair, count)| (usize::MAX - count, pair));
    let (mut actors, mut ids, mut kept) = (BTreeSet::new(), BTreeSet::new(), 0);
    for ((actor, id), count) in pairs {
        if !actors.contains(&actor) && !ids.contains(&id) {
            actors.insert(actor);
            ids.insert(id);
            kept += count;
        }
    }
    quality.idf1 = 2.0 * kept as f64 / (quality.truths + quality.tracked + quality.invented) as f64;
    quality
}

/// A square that people cross in all directions, and a road with cars both ways above it.
pub(crate) fn square(seed: u64, people: usize, cars: usize) -> Vec<Actor> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut actors: Vec<Actor> = (0..people)
        .map(|_| {
            let [from, to] = [0, 1].map(|_| 0.45 + 0.5 * dice.f64());
            let ends = if dice.bool() { (0.02, 0.98) } else { (0.98, 0.02) };
            let speed = 0.1 + 0.1 * dice.f64();
            Actor { speed, ..Actor::person(50.0 * dice.f64(), &[(ends.0, from), (ends.1, to)]) }
        })
        .collect();
    actors.extend((0..cars).map(|index| {
        let path = if index % 2 == 0 { [(0.05, 0.33), (0.95, 0.33)] } else { [(0.95, 0.26), (0.05, 0.26)] };
        Actor::car(60.0 * index as f64 / cars as f64, &path)
    }));
    actors
}

#[test]
fn identities_survive_misses_noise_and_crossing_paths() {
    for (fps, worst_idf1, most_switches) in [(30.0, 0.87, 14), (10.0, 0.86, 14), (5.0, 0.85, 18), (2.0, 0.83, 22)]
    {
        let mut total = Quality::default();
        let mut idf1 = 0.0;
        let seeds = 4;
        for seed in 0..seeds {
            let quality = judge(&film(&square(seed, 24, 10), Detector::USUAL, fps, 60.0, seed));
            total.truths += quality.truths;
            total.detected += quality.detected;
            total.tracked += quality.tracked;
            total.invented += quality.invented;
            total.switches += quality.switches;
            idf1 += quality.idf1 / seeds as f64;
        }
        println!("{fps} fps: idf1 {idf1:.3}, {total:?}");
        assert!(idf1 >= worst_idf1 && total.switches <= most_switches, "{fps} fps");
    }
}
