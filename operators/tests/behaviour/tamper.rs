//! `detect_tamper` on rendered pictures, through the very arithmetic that measures a camera's scene.

use std::time::Duration;

use kerbside_core::finding::{Finding, FindingKind, Findings};
use kerbside_core::frame::{PictureSize, Plane};
use kerbside_core::incident::{IncidentKind, Phase};
use kerbside_core::observation::{Observation, SceneStatistics};
use kerbside_core::operator::{Configured, Role};
use kerbside_core::time::{LocalTime, MediaTime, WallTime};

use crate::camera::only;
use crate::pictures::{Camera, HEIGHT, Light, Tamper, Thing, WIDTH};
use crate::scene::SceneMemory;

/// A camera, what measures its scene, and the guard.
pub(crate) struct Watch {
    memory: SceneMemory,
    pub(crate) guard: Configured,
    pub(crate) findings: Findings,
    last: Option<MediaTime>,
    pub(crate) scene: SceneStatistics,
}

impl Watch {
    pub(crate) fn new(options: &str) -> Self {
        let guard = only(&format!("geometry: {{}}\noperators: {{detect_tamper: [{{{options}}}]}}"));
        assert_eq!(guard.role, Role::Guard);
        Self {
            memory: SceneMemory::new(),
            guard,
            findings: Findings::new(),
            last: None,
            scene: SceneStatistics::default(),
        }
    }

    pub(crate) fn see(&mut self, picture: &[u8], size: (usize, usize), at: MediaTime) {
        let luma = Plane { bytes: picture, stride: size.0 };
        let size = PictureSize { width: size.0 as u32, height: size.1 as u32 };
        self.scene = SceneStatistics::default();
        let count = picture.len() as f32;
        let sum: u64 = picture.iter().map(|luma| u64::from(*luma)).sum();
        let squares: u64 = picture.iter().map(|luma| u64::from(*luma).pow(2)).sum();
        self.scene.luma_mean = sum as f32 / count;
        let variance = squares as f32 / count - self.scene.luma_mean.powi(2);
        self.scene.luma_deviation = variance.max(0.0).sqrt();
        self.scene.sharpness = sharpness(picture, size.width as usize);
        self.memory.take(luma, size, at, 0, &mut self.scene);
        let observation = Observation {
            at,
            step: self.last.map_or(Duration::ZERO, |last| at.since(last)),
            picture: size,
            tracks: &[],
            wall: WallTime::from_unix_nanos(at.as_nanos()),
            local: LocalTime::utc(WallTime::from_unix_nanos(at.as_nanos())),
            scene: &self.scene,
            trusted: true,
        };
        self.guard.operator.observe(&observation, &mut self.findings);
        self.last = Some(at);
    }

    /// Each word so far, with its second.
    pub(crate) fn words(&self) -> Vec<(f64, IncidentKind, Phase)> {
        self.findings.as_slice().iter().map(word).collect()
    }
}

/// The variance of the Laplacian, inside the border.
fn sharpness(picture: &[u8], width: usize) -> f32 {
    let (mut sum, mut squares, mut count) = (0i64, 0i64, 0);
    for at in width..picture.len() - width {
        if !(1..width - 1).contains(&(at % width)) {
            continue;
        }
        let luma = |at: usize| i64::from(picture[at]);
        let bend = luma(at - 1) + luma(at + 1) + luma(at - width) + luma(at + width) - 4 * luma(at);
        (sum, squares, count) = (sum + bend, squares + bend * bend, count + 1);
    }
    let mean = sum as f32 / count as f32;
    squares as f32 / count as f32 - mean * mean
}

fn word(finding: &Finding) -> (f64, IncidentKind, Phase) {
    let FindingKind::Incident(incident) = finding.kind else { panic!("{finding:?}") };
    (finding.at.as_nanos() as f64 / 1e9, incident.kind, incident.phase)
}

/// Cars that come and go, from the second of the day alone.
fn traffic(secs: f64, night: bool) -> Vec<Thing> {
    let car = |index: u32| {
        let (period, lane) = (17.0 + 6.0 * f64::from(index), f64::from(index % 2));
        let x = (secs % period) * 38.0 - 40.0;
        let x = if lane > 0.5 { WIDTH as f64 - x } else { x } as f32;
        let bottom = 66.0 + 12.0 * lane as f32;
        Thing {
            place: [x - 14.0, bottom - 12.0, x + 14.0, bottom],
            albedo: 0.1 + 0.2 * index as f32,
            headlights: if night { 1.0 } else { 0.0 },
        }
    };
    (0..4).map(car).collect()
}

const BEGINS: f64 = 40.0;
const ENDS: f64 = 55.0;
const LASTS: f64 = 70.0;

/// A street, then tamper, then the street again.
fn tampered(fps: f64, light: Light, tamper: Tamper, frozen: bool, seed: u64) -> Watch {
    let (mut camera, mut watch) = (Camera::new(seed), Watch::new(""));
    for _ in 0..60 {
        camera.take(2.0, &light, &[], &Tamper::NONE);
    }
    for frame in 0..(LASTS * fps) as u64 {
        let secs = frame as f64 / fps;
        let during = (BEGINS..ENDS).contains(&secs);
        if !(during && frozen) {
            let tamper = if during { tamper } else { Tamper::NONE };
            camera.take(1.0 / fps as f32, &light, &traffic(secs, light.lamps > 0.0), &tamper);
        }
        watch.see(&camera.picture, (WIDTH, HEIGHT), MediaTime::from_nanos((secs * 1e9) as u64));
        let trusts = watch.guard.operator.trusts();
        assert!(trusts || (BEGINS..ENDS + 10.0).contains(&secs), "{secs} s: {:?}", watch.words());
        assert!(!trusts || !(BEGINS + 10.0..ENDS).contains(&secs), "{secs} s: {:?} {tamper:?}", watch.words());
    }
    watch
}

#[test]
fn each_kind_is_found_within_ten_seconds_and_ends_by_itself() {
    let fifth = (WIDTH as i32 / 5, 0);
    let none = Tamper::NONE;
    let cases = [
        ("black", IncidentKind::TamperCovered, Tamper { black: true, ..none }),
        ("grey cloth", IncidentKind::TamperCovered, Tamper { cloth: Some(90.0), ..none }),
        ("white paint", IncidentKind::TamperCovered, Tamper { cloth: Some(190.0), ..none }),
        ("blur", IncidentKind::TamperDefocus, Tamper { blur: 2, ..none }),
        ("slight blur", IncidentKind::TamperDefocus, Tamper { blur: 1, ..none }),
        ("strong blur", IncidentKind::TamperDefocus, Tamper { blur: 4, ..none }),
        ("to the right", IncidentKind::TamperMoved, Tamper { turned: fifth, ..none }),
        ("to the left", IncidentKind::TamperMoved, Tamper { turned: (-fifth.0, 0), ..none }),
        ("down", IncidentKind::TamperMoved, Tamper { turned: (0, HEIGHT as i32 / 5), ..none }),
        ("away", IncidentKind::TamperMoved, Tamper { turned: (WIDTH as i32, 10), ..none }),
        ("rolled", IncidentKind::TamperMoved, Tamper { rolled: 6.0, ..none }),
        ("frozen", IncidentKind::TamperFrozen, none),
        ("dark signal", IncidentKind::TamperDark, Tamper { signal: 0.06, ..none }),
        ("bright signal", IncidentKind::TamperBright, Tamper { signal: 8.0, ..none }),
    ];
    let mut slowest = std::collections::BTreeMap::new();
    for (name, kind, tamper) in cases {
        for (fps, seed) in [(5.0, 1), (10.0, 2), (25.0, 3)] {
            let watch = tampered(fps, Light::NOON, tamper, name == "frozen", seed);
            let words = watch.words();
            let [(begin, first, Phase::Begin), (end, second, Phase::End)] = words[..] else {
                panic!("{name}, {fps} fps: {words:?}");
            };
            assert_eq!((first, second), (kind, kind), "{name}, {fps} fps");
            assert!((BEGINS..BEGINS + 10.0).contains(&begin), "{name}, {fps} fps: after {} s", begin - BEGINS);
            assert!((ENDS..ENDS + 10.0).contains(&end), "{name}, {fps} fps: over after {} s", end - ENDS);
            slowest.entry(name).or_insert_with(Vec::new).push((begin - BEGINS, end - ENDS));
        }
    }
    println!("delays in seconds at 5, 10 and 25 fps (begin, end): {slowest:?}");
}

/// What kind of day it is.
#[derive(Clone, Copy, Debug)]
struct Day {
    /// The camera turns to infrared at dusk.
    infrared: bool,
    /// Rain from noon to three, and clouds all day.
    rain: bool,
    /// Snow falls from eight to eleven and stays.
    snow: bool,
    /// The encoder repeats the picture at night, for longer and longer.
    repeats: bool,
}

impl Day {
    fn light(&self, secs: f64, dice: &mut fastrand::Rng, cloud: &mut f32) -> Light {
        let hour = (secs / 3600.0) as f32;
        // Civil twilight takes half an hour on either side.
        let height = ((hour - 6.0) / 12.0 * std::f32::consts::PI).sin();
        let dusk = ((height + 0.1) / 0.2).clamp(0.0, 1.0).powi(3);
        // A cloud's edge passes within seconds, every few minutes.
        if dice.f32() < 1.0 / 240.0 {
            *cloud = if self.rain || dice.bool() { dice.f32() } else { 1.0 };
        }
        let falls = (8.0..11.0).contains(&hour);
        let night = dusk < 0.25;
        Light {
            ambient: 0.004 + 0.35 * dusk,
            sun: 0.65 * height.max(0.0).sqrt() * *cloud,
            sun_at: ((hour - 12.0) / 6.0).clamp(-1.0, 1.0),
            lamps: if night && !self.infrared { 1.0 } else { 0.0 },
            infrared: if night && self.infrared { 1.0 } else { 0.0 },
            flakes: match () {
                () if self.snow && falls => 0.03,
                () if self.rain && (12.0..15.0).contains(&hour) => 0.05,
                () => 0.0,
            },
            snow: if self.snow { ((hour - 8.0) / 2.0).clamp(0.0, 1.0) } else { 0.0 },
        }
    }
}

/// A bus that halts for 20 s and fills half of the picture, every ten minutes.
fn bus(secs: f64) -> Option<Thing> {
    let place = [-5.0, 12.0, 80.0, 92.0];
    (secs % 600.0 < 20.0).then_some(Thing { place, albedo: 0.5, headlights: 0.0 })
}

fn passes_without_a_word(day: Day, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut camera, mut watch, mut cloud) = (Camera::new(10 + seed), Watch::new(""), 1.0);
    let mut hold = 0;
    for second in 0..86_400u64 {
        let secs = second as f64;
        let light = day.light(secs, &mut dice, &mut cloud);
        let night = light.lamps + light.infrared > 0.0;
        let mut things = traffic(secs * 0.37, night);
        if night && dice.f32() > 0.3 {
            things.truncate(1);
        }
        things.extend(bus(secs));
        // A pause of up to two seconds at ten in the evening, of twenty at midnight.
        if day.repeats && night && hold == 0 && dice.f32() < 0.1 {
            hold = dice.u64(..2 + if secs > 79_200.0 { (secs as u64 - 79_200) / 400 } else { 0 });
        }
        if hold > 0 {
            hold -= 1;
        } else {
            camera.take(1.0, &light, &things, &Tamper::NONE);
        }
        watch.see(&camera.picture, (WIDTH, HEIGHT), MediaTime::from_millis(1000 * second));
    }
    assert_eq!(watch.words(), [], "{day:?}");
    // The day was a day: it can still be told from what was done to the camera at its end.
    for second in 86_400..86_410 {
        camera.take(1.0, &Light::NIGHT, &[], &Tamper { black: true, ..Tamper::NONE });
        watch.see(&camera.picture, (WIDTH, HEIGHT), MediaTime::from_millis(1000 * second));
    }
    let words = watch.words();
    assert!(matches!(words[..], [(_, IncidentKind::TamperCovered, Phase::Begin)]), "{day:?}: {words:?}");
}

#[test]
fn a_day_of_clouds_and_snow_with_street_lamps_is_no_tamper() {
    passes_without_a_word(Day { infrared: false, rain: false, snow: true, repeats: false }, 2);
}

#[test]
fn a_day_of_rain_with_a_night_in_infrared_that_the_encoder_sends_as_one_picture_is_no_tamper() {
    passes_without_a_word(Day { infrared: true, rain: true, snow: false, repeats: true }, 3);
}

#[test]
fn a_new_view_that_stays_is_accepted_and_the_old_one_is_strange_then() {
    let (mut camera, mut watch) = (Camera::new(5), Watch::new("accept_new_view_after: 2m"));
    let turned = Tamper { turned: (40, 0), ..Tamper::NONE };
    for second in 0..600u64 {
        let tamper = if (100..400).contains(&second) { turned } else { Tamper::NONE };
        camera.take(1.0, &Light::NOON, &traffic(second as f64, false), &tamper);
        watch.see(&camera.picture, (WIDTH, HEIGHT), MediaTime::from_millis(1000 * second));
    }
    let words = watch.words();
    let [(first, _, Phase::Begin), (accepted, _, Phase::End), (back, _, Phase::Begin), (again, _, Phase::End)] =
        words[..]
    else {
        panic!("{words:?}");
    };
    assert!(words.iter().all(|(_, kind, _)| *kind == IncidentKind::TamperMoved), "{words:?}");
    assert!((100.0..110.0).contains(&first) && (220.0..240.0).contains(&accepted), "{words:?}");
    assert!((400.0..410.0).contains(&back) && (520.0..540.0).contains(&again), "{words:?}");
}

#[test]
fn a_bus_that_halts_in_half_of_the_picture_covers_nothing_and_a_lorry_before_the_lens_does() {
    for (left, top, covers) in [(80.0, -10.0, false), (-10.0, -200.0, true)] {
        let (mut camera, mut watch) = (Camera::new(6), Watch::new(""));
        for frame in 0..1000u64 {
            let secs = frame as f64 / 10.0;
            let place = [left, top, WIDTH as f32 + 10.0, HEIGHT as f32 + 60.0];
            let bus = Thing { place, albedo: 0.4, headlights: 0.0 };
            let things = if (50.0..70.0).contains(&secs) { vec![bus] } else { traffic(secs, false) };
            camera.take(0.1, &Light::NOON, &things, &Tamper::NONE);
            watch.see(&camera.picture, (WIDTH, HEIGHT), MediaTime::from_millis(100 * frame));
        }
        assert_eq!(watch.words().len(), if covers { 2 } else { 0 }, "{:?}", watch.words());
    }
}

#[test]
fn a_camera_that_was_black_from_the_start_is_too_dark_and_only_chosen_kinds_count() {
    let black = [16u8; WIDTH * HEIGHT];
    for (options, words, trusts) in [("", 1, false), ("kinds: [moved, frozen]", 0, true)] {
        let mut watch = Watch::new(options);
        for frame in 0..200 {
            watch.see(&black, (WIDTH, HEIGHT), MediaTime::from_millis(100 * frame));
        }
        assert_eq!(watch.words().len(), words, "{:?}", watch.words());
        assert_eq!(watch.guard.operator.trusts(), trusts);
        watch.guard.operator.finish(&mut watch.findings);
        assert_eq!(watch.words().len(), 2 * words, "what has begun ends: {:?}", watch.words());
    }
}

#[test]
fn mistakes_in_options_are_named() {
    let text = "\
geometry: {}
operators:
  detect_tamper:
    - {kinds: [moved, stolen], after: 90s, lost_share: 0.2}
    - {kinds: [], sharpness_left: 1, accept_new_view_after: 5s}
";
    let problems = crate::camera::configure(text).map(|_| ()).unwrap_err();
    let keys = ["kinds[1]", "after", "lost_share", "kinds", "sharpness_left", "accept_new_view_after"];
    assert_eq!(problems.len(), keys.len(), "{problems:#?}");
    for (problem, key) in problems.iter().zip(keys) {
        assert!(problem.contains(&format!(".{key}: ")), "{problem} {key}");
    }
}
