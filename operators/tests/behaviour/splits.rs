//! Into how many tracks an object falls, as far as its tracks feed counters.
//!
//! The release stage bounds what one track adds to the released numbers; what holds for an object is that bound times
//! the number of its tracks. The scripted scenes know which object a track shows at the moment of a finding.

use std::collections::{BTreeMap, BTreeSet};

use kerbside_core::finding::{FindingKind, Findings, Measure};
use kerbside_core::geometry::Shape;
use kerbside_core::observation::TrackId;
use kerbside_operators::TABLE;
use kerbside_operators::tracker::{Tracker, TrackerSettings};
use kerbside_scenes::Scene;

use crate::camera::configure;
use crate::street::observation;

const SCENES: [&str; 8] =
    ["arterial", "crossing", "junction", "loiterers", "near-miss", "one-way", "plaza", "stop-zone"];
const SEEDS: u64 = 4;
/// The mean number of tracks of an object that counts, by scene. In the crowd of the plaza people hide each other all the
/// time; where vehicles stop, they stand behind each other.
const TRACKS_AT_MOST: [f64; 8] = [1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 6.0, 2.2];
/// What an object adds in all, in times of what one track may: the mean and the worst, over all scenes.
const ADDED_AT_MOST: (f64, f64) = (0.4, 1.5);

/// What one track has added while it showed one object.
#[derive(Debug, Default)]
struct Added {
    counts: u32,
    histograms: BTreeSet<Measure>,
    presence: BTreeMap<Measure, f64>,
}

/// What an object has added under all of its tracks, in times of what one may add to all families together: the bounds
/// and the shares of the budget are those of the contract's defaults.
fn added(tracks: &BTreeMap<TrackId, Added>) -> f64 {
    let sum = |of: &dyn Fn(&Added) -> f64| tracks.values().map(of).sum::<f64>();
    let counts = sum(&|it| f64::from(it.counts.min(2)) / 2.0);
    let histograms = sum(&|it| if it.histograms.is_empty() { 0.0 } else { 1.0 });
    let presence = sum(&|it| it.presence.values().fold(0.0, |most: f64, secs| most.max(secs.min(60.0) / 60.0)));
    (0.44 * counts + 0.11 * histograms + 0.11 * presence) / 0.66
}

/// The tracks of each object of one film that have fed a counter.
fn feeding(scene: &Scene, fps: f64, seed: u64) -> BTreeMap<usize, BTreeMap<TrackId, Added>> {
    let cameras: Vec<String> = TABLE.iter().filter_map(|spec| scene.camera_yaml(spec.name)).collect();
    // Presence is fed by everybody whom the camera sees in a zone, for as long as they are there.
    let (geometry, _) = cameras[0].split_once("operators:").expect("an operators block");
    let zones = scene.geometry.sites.iter().filter(|site| matches!(site.shape, Shape::Zone(_)));
    let presences =
        zones.map(|zone| format!("{geometry}operators:\n  measure_occupancy: [{{zone: {}}}]\n", zone.name));
    let texts: Vec<String> = cameras.iter().cloned().chain(presences).collect();
    let mut operators: Vec<_> = texts.iter().flat_map(|text| configure(text).expect("no problems")).collect();
    let mut tracker = Tracker::new(TrackerSettings::DEFAULT);
    let (mut shows, mut of_object) = (BTreeMap::new(), BTreeMap::new());
    let (mut findings, mut before) = (Findings::new(), None);
    let mut take = |findings: &mut Findings, shows: &BTreeMap<TrackId, usize>| {
        for finding in findings.as_slice() {
            let Some(track) = finding.track.filter(|_| finding.feeds().next().is_some()) else { continue };
            let Some(object) = shows.get(&track) else { continue };
            let added: &mut Added =
                of_object.entry(*object).or_insert_with(BTreeMap::new).entry(track).or_default();
            match finding.kind {
                FindingKind::Presence { lasted } | FindingKind::Level { lasted, .. } => {
                    let cell = finding.feeds().next().expect("it feeds one").measure;
                    *added.presence.entry(cell).or_default() += lasted.as_secs_f64();
                }
                FindingKind::Counted { measure, .. } if !measure.edges().is_empty() => {
                    added.histograms.insert(measure);
                }
                _ => added.counts += 1,
            }
        }
        findings.clear();
    };
    for frame in scene.film(&scene.detector, fps, seed) {
        tracker.update(frame.at, scene.optics.size, &frame.detections);
        for track in tracker.confirmed().iter().filter(|track| track.detected) {
            let place = frame.detections.iter().position(|it| it.box_in_image == track.box_in_image);
            if let Some(object) = place.and_then(|place| frame.shows[place]) {
                shows.insert(track.id, object);
            }
        }
        let mut seen = observation(frame.at, before, tracker.confirmed());
        seen.picture = scene.optics.size;
        for (_, it) in &mut operators {
            it.operator.observe(&seen, &mut findings);
        }
        take(&mut findings, &shows);
        before = Some(frame.at);
    }
    for (_, it) in &mut operators {
        it.operator.finish(&mut findings);
    }
    take(&mut findings, &shows);
    of_object
}

#[test]
fn pc_8_an_object_adds_little_more_than_one_track_may() {
    for fps in [5.0, 10.0, 25.0] {
        let (mut sums, mut most_tracks, mut objects, mut tracks) = (Vec::new(), 0, 0, 0);
        for (name, at_most) in SCENES.into_iter().zip(TRACKS_AT_MOST) {
            let scene = Scene::golden(name);
            let (mut of_scene, mut tracks_of_scene, mut most) = (0, 0, 0);
            let before = sums.len();
            for seed in 0..SEEDS {
                let split = feeding(&scene, fps, seed);
                of_scene += split.len();
                for of_object in split.values() {
                    tracks_of_scene += of_object.len();
                    most = most.max(of_object.len());
                    sums.push(added(of_object));
                }
            }
            let factor = tracks_of_scene as f64 / of_scene as f64;
            let worst = sums[before..].iter().copied().fold(0.0, f64::max);
            println!(
                "{name} at {fps} fps: {tracks_of_scene} tracks of {of_scene} objects, s = {factor:.2}, at most {most}; \
                 added at most {worst:.2}"
            );
            assert!(of_scene > 30 && factor <= at_most, "{name} at {fps} fps: {factor}");
            (objects, tracks) = (objects + of_scene, tracks + tracks_of_scene);
            most_tracks = most_tracks.max(most);
        }
        sums.sort_by(f64::total_cmp);
        let mean = sums.iter().sum::<f64>() / sums.len() as f64;
        let (over, worst) = (sums[sums.len() * 99 / 100], sums[sums.len() - 1]);
        println!(
            "{fps} fps: s = {:.3} ({tracks} tracks of {objects} objects, at most {most_tracks}); added {mean:.2} of what \
             one track may on average, {over:.2} by one of a hundred, {worst:.2} at most",
            tracks as f64 / objects as f64
        );
        assert!(mean <= ADDED_AT_MOST.0 && worst <= ADDED_AT_MOST.1, "{fps} fps: {mean} {worst}");
    }
}
