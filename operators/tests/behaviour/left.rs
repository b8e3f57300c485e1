//! `detect_object_left` on rendered pictures, with the tracks that a detector would have made of them.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{FindingKind, Findings};
use kerbside_core::frame::{PictureSize, Plane};
use kerbside_core::geometry::BoxInImage;
use kerbside_core::incident::{IncidentKind, Phase};
use kerbside_core::observation::{Observation, SceneStatistics, Track, TrackId};
use kerbside_core::time::{LocalTime, MediaTime, WallTime};

use crate::camera::only;
use crate::pictures::{Camera, HEIGHT, Light, Tamper, Thing, WIDTH};
use crate::scene::SceneMemory;

/// Someone who walks in from the left, stands from one second to another at a place, and walks on.
#[derive(Clone, Copy)]
struct Person {
    arrives: f64,
    leaves: f64,
    /// Where, in pixels; the middle of the feet.
    x: f32,
    tracked: bool,
}

impl Person {
    const SPEED: f64 = 16.0;
    const FEET: f32 = 76.0;

    fn place(&self, secs: f64) -> Option<[f32; 4]> {
        let x = if secs < self.arrives {
            f64::from(self.x) - (self.arrives - secs) * Self::SPEED
        } else {
            f64::from(self.x) + (secs - self.leaves).max(0.0) * Self::SPEED
        } as f32;
        (-4.0..WIDTH as f32 + 4.0).contains(&x).then_some([x - 3.5, Self::FEET - 24.0, x + 3.5, Self::FEET])
    }
}

/// A bag that lies beside [`Person::x`] from one second to another.
#[derive(Clone, Copy)]
struct Bag {
    from: f64,
    to: f64,
    x: f32,
}

/// When incidents begin and end, in seconds.
fn film(fps: f64, people: &[Person], bags: &[Bag], seed: u64) -> Vec<(f64, Phase)> {
    film_with(fps, people, bags, seed, |secs| secs)
}

/// The same, where the camera's clock shows `clock` of a second of the film.
fn film_with(
    fps: f64,
    people: &[Person],
    bags: &[Bag],
    seed: u64,
    clock: impl Fn(f64) -> f64,
) -> Vec<(f64, Phase)> {
    let text = "geometry:\n  zones: {square: {polygon: [[0, 0.4], [1, 0.4], [1, 1], [0, 1]]}}\noperators: {detect_object_left: [{zone: square}]}";
    let (mut it, mut camera, mut memory) = (only(text).operator, Camera::new(seed), SceneMemory::new());
    let (mut findings, mut scene, mut last) = (Findings::new(), SceneStatistics::default(), None);
    let mut dice = fastrand::Rng::with_seed(seed);
    let picture = PictureSize { width: WIDTH as u32, height: HEIGHT as u32 };
    for frame in 0..(260.0 * fps) as u64 {
        let secs = frame as f64 / fps;
        let at = MediaTime::from_nanos((clock(secs) * 1e9) as u64);
        let (mut things, mut tracks) = (Vec::new(), Vec::new());
        for bag in bags.iter().filter(|bag| (bag.from..bag.to).contains(&secs)) {
            let place = [bag.x, Person::FEET - 7.0, bag.x + 7.0, Person::FEET];
            things.push(Thing { place, albedo: 0.9, headlights: 0.0 });
        }
        for (id, person) in people.iter().enumerate() {
            let Some(place) = person.place(secs) else { continue };
            things.push(Thing { place, albedo: 0.05, headlights: 0.0 });
            let side = |at: usize, size: usize| place[at] / size as f32;
            let box_in_image = BoxInImage {
                left: side(0, WIDTH),
                top: side(1, HEIGHT),
                right: side(2, WIDTH),
                bottom: side(3, HEIGHT),
            };
            if person.tracked {
                tracks.push(Track {
                    id: TrackId(id as u64),
                    class: Class::Person,
                    score: 0.8,
                    box_in_image,
                    detected: dice.f32() > 0.1,
                    since: MediaTime::ZERO,
                    first_box: box_in_image,
                });
            }
        }
        camera.take(1.0 / fps as f32, &Light::NOON, &things, &Tamper::NONE);
        memory.take(Plane { bytes: &camera.picture, stride: WIDTH }, picture, at, 0, &mut scene);
        let wall = WallTime::from_unix_nanos(at.as_nanos());
        let observation = Observation {
            at,
            step: last.map_or(Duration::ZERO, |last| at.since(last)),
            picture,
            tracks: &tracks,
            wall,
            local: LocalTime::utc(wall),
            scene: &scene,
            trusted: true,
        };
        it.observe(&observation, &mut findings);
        last = Some(at);
    }
    it.finish(&mut findings);
    let word = |finding: &kerbside_core::finding::Finding| {
        let FindingKind::Incident(incident) = finding.kind else { panic!("{finding:?}") };
        assert_eq!(incident.kind, IncidentKind::ObjectLeft);
        (finding.at.as_nanos() as f64 / 1e9, incident.phase)
    };
    findings.as_slice().iter().map(word).collect()
}

const BRINGER: Person = Person { arrives: 90.0, leaves: 100.0, x: 80.0, tracked: true };
const BAG: Bag = Bag { from: 92.0, to: 200.0, x: 85.0 };

#[test]
fn a_bag_is_left_a_minute_after_its_bringer_has_gone_until_it_is_taken() {
    // Others pass before it, and stop for a moment.
    let passer = |arrives| Person { arrives, leaves: arrives + 2.0, x: 88.0, tracked: true };
    let people = [BRINGER, passer(115.0), passer(130.0), passer(150.0), passer(175.0)];
    for (fps, seed) in [(5.0, 1), (10.0, 2), (25.0, 3)] {
        let words = film(fps, &people, &[BAG], seed);
        let [(begins, Phase::Begin), (ends, Phase::End)] = words[..] else { panic!("{fps} fps: {words:?}") };
        assert!((158.0..164.0).contains(&begins), "{fps} fps: {words:?}");
        assert!((200.0..216.0).contains(&ends), "{fps} fps: {words:?}");
    }
}

#[test]
fn an_hour_without_the_camera_is_not_an_hour_alone() {
    // The camera is away for an hour, twenty seconds after the bringer has gone.
    let clock = |secs: f64| if secs < 120.0 { secs } else { secs + 3600.0 };
    let words = film_with(5.0, &[BRINGER], &[BAG], 1, clock);
    let begins: Vec<f64> = words.iter().filter(|(_, phase)| *phase == Phase::Begin).map(|(at, _)| *at).collect();
    assert!(begins.iter().all(|at| *at >= 3720.0 + 59.0), "{words:?}");
    // And while the incident lasts: it ends with the camera.
    let clock = |secs: f64| if secs < 180.0 { secs } else { secs + 3600.0 };
    let words = film_with(5.0, &[BRINGER], &[BAG], 1, clock);
    let [(_, Phase::Begin), (ends, Phase::End), ..] = words[..] else { panic!("{words:?}") };
    assert!((180.0..195.0).contains(&ends), "{words:?}");
}

#[test]
fn nothing_else_is_left() {
    let stays = Person { leaves: 250.0, ..BRINGER };
    let cases: [(&str, &[Person], &[Bag]); 6] = [
        ("an empty street", &[], &[]),
        ("people who stand and go", &[BRINGER, Person { arrives: 120.0, leaves: 230.0, x: 40.0, ..BRINGER }], &[]),
        ("a bag whose owner stays", &[stays], &[BAG]),
        ("what nobody brought", &[], &[BAG]),
        ("what nobody was seen to bring", &[Person { tracked: false, ..BRINGER }], &[BAG]),
        ("what is taken away", &[BRINGER], &[Bag { from: 0.0, to: 95.0, ..BAG }]),
    ];
    for (name, people, bags) in cases {
        for seed in 1..4 {
            assert_eq!(film(5.0, people, bags, seed), [], "{name}, seed {seed}");
        }
    }
}
