//! The golden scenes are what they say, and a script's mistakes are named.

use kerbside_core::detection::Class;
use kerbside_core::diagnostics::Problems;
use kerbside_core::finding::Direction;
use kerbside_core::geometry::{PointInImage, Shape};
use kerbside_core::time::MediaTime;
use kerbside_core::yaml;
use kerbside_scenes::film::{Bursts, Detector, Ghost};
use kerbside_scenes::{Scene, SiteOnGround, folder};

fn scenes() -> Vec<(String, Scene)> {
    let entries = std::fs::read_dir(folder()).expect("the folder of scenes");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    names.into_iter().map(|name| (name.clone(), Scene::golden(&name))).collect()
}

#[test]
fn the_camera_file_of_a_scene_has_the_exact_ground_and_each_operator() {
    for (name, scene) in scenes() {
        assert!(scene.operators().count() > 0, "{name}");
        for operator in scene.operators() {
            let text = scene.camera_yaml(operator).expect("a configured operator");
            let problems = Problems::in_file(&name);
            assert!(yaml::parse(&text, &problems).is_some(), "{:?}", problems.into_sorted());
        }
        let ground = scene.ground();
        for (site, on_street) in scene.geometry.sites.iter().zip(&scene.sites) {
            let (image, street): (Vec<PointInImage>, Vec<_>) = match (&site.shape, on_street) {
                (Shape::Line(line), SiteOnGround::Line(ends)) => (vec![line.from, line.to], ends.to_vec()),
                (Shape::Zone(zone), SiteOnGround::Zone(corners)) => (zone.corners.clone(), corners.clone()),
                _ => panic!("{name}: {} is two things", site.name),
            };
            for (image, street) in image.into_iter().zip(street) {
                let found = ground.on_ground(image).expect("below the horizon");
                assert!(found.distance(street) < 0.02, "{name}: {} {found:?} {street:?}", site.name);
            }
        }
    }
}

#[test]
fn what_is_seen_agrees_with_the_truth_at_any_moment() {
    for (name, scene) in scenes() {
        let truth = scene.truth();
        for frame in scene.film(&Detector::PERFECT, 1.9, 1) {
            for (number, site) in scene.geometry.sites.iter().enumerate() {
                let Shape::Zone(zone) = &site.shape else { continue };
                let inside = frame
                    .seen
                    .iter()
                    .filter(|seen| scene.optics.in_image(seen.place.at).is_some_and(|point| zone.contains(point)));
                let zone = scene.site(&site.name);
                assert_eq!(usize::from(zone.0), number);
                assert_eq!(
                    inside.count(),
                    truth.inside(zone, frame.at),
                    "{name}: {} at {:?}",
                    site.name,
                    frame.at
                );
            }
        }
        for crossing in &truth.crossings {
            let ends = scene.actors[crossing.actor].trip.span();
            assert!(ends.0 < ends.1 && crossing.speed_mps > 0.0, "{name}");
        }
    }
}

#[test]
fn scenes_hold_what_their_first_lines_say() {
    let one_way = Scene::golden("one-way");
    let truth = one_way.truth();
    let entry = one_way.site("entry");
    assert_eq!((truth.crossed(entry, Direction::Forward), truth.crossed(entry, Direction::Backward)), (47, 7));

    let truth = Scene::golden("stop-zone").truth();
    let stops: Vec<_> = truth.standstills.iter().filter(|it| !it.fixture).collect();
    assert_eq!((stops.len(), truth.standstills.len()), (8, 10));
    assert!(stops.iter().all(|it| it.to.since(it.from).as_secs_f64() > 20.0 && it.zones.len() == 1));

    let junction = Scene::golden("junction");
    let turns = junction.truth().turns;
    let pairs: std::collections::BTreeSet<_> = turns.iter().map(|turn| (turn.zone, turn.toward)).collect();
    assert_eq!((turns.len(), pairs.len()), (junction.actors.len(), 8));

    let signal = Scene::golden("signal");
    let (truth, approach) = (signal.truth(), signal.site("approach"));
    let queue = |secs: u64| truth.standing(approach, MediaTime::from_millis(1000 * secs));
    assert_eq!([queue(10), queue(50), queue(75), queue(135), queue(200), queue(230)], [0, 9, 0, 8, 3, 0]);

    let plaza = Scene::golden("plaza");
    let (truth, stage) = (plaza.truth(), plaza.site("stage"));
    let crowd = truth.inside(stage, MediaTime::from_millis(150_000));
    assert!(crowd >= 24, "{crowd}");
    assert!(truth.inside(stage, MediaTime::from_millis(20_000)) <= 2);

    let encounters = Scene::golden("near-miss").truth().encounters;
    let close = |e: &&kerbside_scenes::truth::Encounter| (0.0..1.0).contains(&e.post_encroachment_secs);
    let far = encounters.iter().filter(|e| e.post_encroachment_secs > 6.0).count();
    assert_eq!((encounters.iter().filter(close).count(), far), (3, encounters.len() - 3));

    let truth = Scene::golden("loiterers").truth();
    let mut stays: Vec<f64> = truth
        .visits
        .iter()
        .filter(|visit| visit.class == Class::Person)
        .map(|visit| visit.to.since(visit.from).as_secs_f64())
        .collect();
    stays.sort_by(f64::total_cmp);
    let passing = stays.len() - 2;
    assert!(stays[passing] > 135.0 && stays[passing - 1] < 60.0, "two stay, the others pass: {stays:?}");

    let crossing = Scene::golden("crossing");
    let frames = crossing.film(&Detector::PERFECT, 5.0, 1);
    let hidden = frames.iter().flat_map(|frame| &frame.seen).filter(|seen| seen.hidden > 0.6).count();
    assert!(hidden > 10, "posts and a lorry hide people: {hidden}");
}

#[test]
fn a_film_is_the_same_for_the_same_seed_and_as_bad_as_asked() {
    let scene = Scene::golden("crossing");
    let film = |seed| scene.film(&Detector { hidden_share: 2.0, ..Detector::USUAL }, 10.0, seed);
    let frames = film(5);
    let again = film(5);
    assert!(frames.iter().zip(&again).all(|(a, b)| a.detections == b.detections));
    let other = film(6);
    assert!(frames.iter().zip(&other).any(|(a, b)| a.detections != b.detections));
    let there: usize = frames.iter().map(|frame| frame.seen.len()).sum();
    let found = frames.iter().flat_map(|frame| &frame.shows).flatten().count();
    let invented = frames.iter().flat_map(|frame| &frame.shows).filter(|shows| shows.is_none()).count();
    let share = |part: usize| part as f64 / there as f64;
    assert!(
        (share(found) - 0.9).abs() < 0.01 && (share(invented) - 0.05).abs() < 0.01,
        "{found} {invented} {there}"
    );
}

#[test]
fn bursts_last_and_ghosts_flicker_where_they_are() {
    let scene = Scene::golden("stop-zone");
    let bursts = Some(Bursts { every: 10.0, lasts: 2.0 });
    let ghost = Ghost {
        class: Class::Person,
        box_in_image: kerbside_core::geometry::BoxInImage { left: 0.1, top: 0.2, right: 0.15, bottom: 0.4 },
        share: 0.3,
        score: 0.5,
    };
    let detector = Detector { bursts, ghosts: vec![ghost.clone()], ..Detector::PERFECT };
    let frames = scene.film(&detector, 5.0, 3);
    // The parked car on the left: never hidden for as long as a burst.
    let mut gaps = vec![0];
    for frame in &frames {
        if frame.shows.contains(&Some(0)) { gaps.push(0) } else { *gaps.last_mut().expect("one") += 1 }
    }
    let bursts = gaps.iter().filter(|gap| **gap >= 10).count();
    assert!((25..90).contains(&bursts), "{bursts} in ten minutes");
    let flickers: Vec<_> = frames
        .iter()
        .flat_map(|f| f.detections.iter().zip(&f.shows))
        .filter(|(_, shows)| shows.is_none())
        .collect();
    let share = flickers.len() as f64 / frames.len() as f64;
    assert!((share - 0.3).abs() < 0.05, "{share}");
    assert!(flickers.iter().all(|(found, _)| found.box_in_image == ghost.box_in_image));
}

#[test]
fn the_documented_file_reads() {
    let source = include_str!("../src/read.rs");
    let (_, text) = source.split_once("//! ```yaml\n").expect("an example");
    let (text, _) = text.split_once("//! ```").expect("it ends");
    let text = text.replace("//! ", "");
    let scene = Scene::parse("read.rs", &text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!((scene.actors.len(), scene.disturbances.len(), scene.occluders.len()), (10, 1, 1));
}

#[test]
fn every_mistake_in_a_script_is_named_at_its_place() {
    let text = "\
duration: 10
camera: {height: 6, tilt: 24, view: 70, picture: [1280]}
actors:
  - {name: walker, class: persn, path: [[0, 1]], spede: 2}
  - {name: car, class: car, path: [[0, 10], [5, 10]], halts: [{after: 2}]}
daylight: [[0s, 0.5], [0s, 2]]
lamps: 3
";
    let problems: Vec<String> =
        Scene::parse("scene.yaml", text).expect_err("problems").iter().map(ToString::to_string).collect();
    let places: Vec<&str> = problems.iter().map(|it| it.split(": ").next().expect("a place")).collect();
    let lines = ["1:11", "2:50", "4:27", "4:40", "4:50", "5:63", "6:28", "7:1"];
    assert_eq!(places, lines.map(|place| format!("scene.yaml:{place}")), "{problems:#?}");
    let off = "duration: 1s\ncamera: {height: 6, tilt: 24, view: 70, picture: [640, 360]}\nsites: {lines: {far: [[0, 9], [60, 9]]}}\n";
    let problems = Scene::parse("scene.yaml", off).expect_err("a line beyond the picture");
    assert!(problems[0].to_string().contains("sites.lines.far: [60, 9] is at ["), "{}", problems[0]);
}
