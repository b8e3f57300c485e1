//! What is normal on a street, learned over hours, and what is not.
//!
//! Tracks are made directly, with the misses, shaking boxes and inventions of a detector: hours of a street
//! through the tracker would take minutes.

use std::collections::{BTreeMap, BTreeSet};

use kerbside_core::detection::Class;
use kerbside_core::finding::{Finding, FindingKind, Findings};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase, Reason};
use kerbside_core::observation::TrackId;
use kerbside_core::operator::{Operator, RecallError};
use kerbside_core::time::MediaTime;

use crate::camera::{configure, only};
use crate::habits::{CAR_SPEED, Film, LANES, Mover, usual};
use crate::street::{Actor, Detector, film, observation, operate, track};

const CAMERA: &str = "\
geometry: {}
operators:
  detect_unusual_motion: [{learn_for: 2h}]
";

/// The same with a street whose metres are known.
const WITH_GROUND: &str = "\
geometry:
  ground:
    image: [[0, 0.2], [1, 0.2], [1, 1], [0, 1]]
    metres: [[0, 0], [40, 0], [40, 24], [0, 24]]
operators:
  detect_unusual_motion: [{learn_for: 2h}]
";

/// Picture heights per second of a car.
/// Shows a film to an operator.
struct Watcher {
    operator: Box<dyn Operator>,
    findings: Findings,
    before: Option<MediaTime>,
}

impl Watcher {
    fn new(camera: &str) -> Self {
        Self { operator: only(camera).operator, findings: Findings::new(), before: None }
    }

    fn watch(&mut self, film: &mut Film, to_secs: f64) {
        film.play(to_secs, |at, tracks| {
            self.operator.observe(&observation(at, self.before, tracks), &mut self.findings);
            self.before = Some(at);
        });
    }

    fn remembered(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.operator.remember(&mut bytes);
        bytes
    }

    fn incidents(&self) -> Vec<(Finding, Incident)> {
        let incident = |finding: &Finding| match finding.kind {
            FindingKind::Incident(incident) => (*finding, incident),
            other => panic!("{other:?}"),
        };
        self.findings.as_slice().iter().map(incident).collect()
    }

    /// The tracks of incidents that began, with their reasons.
    fn began(&self) -> Vec<(TrackId, Reason)> {
        let begins = self.incidents().into_iter().filter(|(_, incident)| incident.phase == Phase::Begin);
        begins
            .map(|(finding, incident)| (finding.track.expect("a track"), incident.reason.expect("a reason")))
            .collect()
    }
}

/// The unusual things that are looked for, one of each.
fn unusual(at: f64) -> [Mover; 4] {
    let slow = Mover::car(at + 60.0, 0.62, true);
    let fast = Mover::car(at + 20.0, 0.50, false);
    [
        Mover::car(at, 0.62, false).unusual(Reason::Direction),
        Mover { speed: 2.0 * CAR_SPEED, ..fast }.unusual(Reason::TooFast),
        Mover { speed: 0.4 * CAR_SPEED, ..slow }.unusual(Reason::TooSlow),
        Mover::person(at + 40.0, 0.56, true).unusual(Reason::Place),
    ]
}

const HOUR: f64 = 3600.0;

/// What was learned in so many hours of a usual street.
fn learned(camera: &str, seed: u64, hours: f64, fps: f64) -> Watcher {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut film = Film::new(usual(0.0, hours * HOUR, &mut dice), fps, seed);
    let mut watcher = Watcher::new(camera);
    watcher.watch(&mut film, hours * HOUR);
    watcher.operator.finish(&mut watcher.findings);
    watcher
}

/// Two minutes of the street with these on it besides the usual, shown to an operator that learned before.
fn trial(camera: &str, bytes: &[u8], more: &[Mover], fps: f64, seed: u64) -> (Film, Watcher) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut movers = usual(0.0, 120.0, &mut dice);
    movers.extend_from_slice(more);
    let mut film = Film::new(movers, fps, seed);
    let mut watcher = Watcher::new(camera);
    watcher.operator.recall(bytes).expect("what was remembered");
    watcher.watch(&mut film, 120.0);
    watcher.operator.finish(&mut watcher.findings);
    (film, watcher)
}

#[derive(Debug, Default)]
struct Tally {
    shown: usize,
    found: usize,
    with_its_reason: usize,
    missed: BTreeMap<&'static str, usize>,
    false_alarms: usize,
}

impl Tally {
    fn count(&mut self, film: &Film, watcher: &Watcher) {
        let began = watcher.began();
        let found: BTreeSet<TrackId> = began.iter().map(|(id, _)| *id).collect();
        assert_eq!(found.len(), began.len(), "no incident flaps: {began:?}");
        for (place, mover) in film.movers.iter().enumerate() {
            let id = TrackId(1 + place as u64);
            match mover.unusual {
                None => self.false_alarms += usize::from(found.contains(&id)),
                Some(reason) if found.contains(&id) => {
                    self.found += 1;
                    self.with_its_reason += usize::from(began.contains(&(id, reason)));
                }
                Some(reason) => *self.missed.entry(reason.name()).or_default() += 1,
            }
            self.shown += usize::from(mover.unusual.is_some());
        }
    }

    fn recall(&self) -> f64 {
        self.found as f64 / self.shown as f64
    }

    fn precision(&self) -> f64 {
        self.found as f64 / (self.found + self.false_alarms) as f64
    }
}

#[test]
fn what_is_unusual_is_found_and_little_else() {
    for fps in [5.0, 10.0, 25.0] {
        let mut total = Tally::default();
        for seed in 0..4 {
            let bytes = learned(CAMERA, seed, 4.0, fps).remembered();
            for trials in 0..8 {
                for mover in unusual(20.0) {
                    let (film, watcher) = trial(CAMERA, &bytes, &[mover], fps, 100 * seed + trials);
                    total.count(&film, &watcher);
                }
            }
        }
        println!("{fps} fps: {total:?}, recall {:.3}, precision {:.3}", total.recall(), total.precision());
        assert!(total.recall() >= 0.98 && total.precision() >= 0.98, "{fps} fps");
        assert!(total.with_its_reason >= total.found * 98 / 100, "{fps} fps");
    }
}

/// A thing that happened before is still unusual, as long as it is rare.
#[test]
fn three_like_it_in_six_hours_are_no_habit() {
    let mut total = Tally::default();
    for seed in 0..4 {
        let mut movers = usual(0.0, 6.0 * HOUR, &mut fastrand::Rng::with_seed(seed));
        movers.extend((0..3).flat_map(|n| unusual(2.0 * HOUR * f64::from(n) + 100.0)));
        let mut watcher = Watcher::new(CAMERA);
        watcher.watch(&mut Film::new(movers, 5.0, seed), 6.0 * HOUR);
        let bytes = watcher.remembered();
        for trials in 0..8 {
            for mover in unusual(20.0) {
                let (film, watcher) = trial(CAMERA, &bytes, &[mover], 5.0, 100 * seed + trials);
                total.count(&film, &watcher);
            }
        }
    }
    println!("{total:?}, recall {:.3}", total.recall());
    assert!(total.recall() >= 0.8 && total.precision() >= 0.98);
    assert!(!total.missed.contains_key("direction") && !total.missed.contains_key("place"));
}

/// The same behind the tracker: an hour and a half of a street, then wrong-way cars.
#[test]
fn wrong_ways_are_found_behind_the_tracker() {
    let mut dice = fastrand::Rng::with_seed(21);
    let mut actors = Vec::new();
    let mut car = |at: f64, row: f64, rightwards: bool, dice: &mut fastrand::Rng| {
        let path = if rightwards { [(0.05, row), (0.95, row)] } else { [(0.95, row), (0.05, row)] };
        actors.push(Actor { speed: 0.3 * (0.9 + 0.2 * dice.f64()), height: 0.12, ..Actor::car(at, &path) });
    };
    // Five of 700 cars of the lane, each in a gap: nobody drives through another.
    let wrong_ways: Vec<f64> = (0..5).map(|n| 5400.0 + 100.0 * f64::from(n)).collect();
    for second in (0..6000).step_by(4) {
        let (row, rightwards) = LANES[dice.usize(0..2)];
        let at = f64::from(second) + 2.0 * dice.f64();
        if rightwards || wrong_ways.iter().all(|wrong_way| (at - wrong_way).abs() > 8.0) {
            car(at, row, rightwards, &mut dice);
        }
    }
    for at in &wrong_ways {
        car(*at, LANES[0].0 + 0.005, true, &mut dice);
    }
    let tracks = track(&film(&actors, Detector::USUAL, 5.0, 6000.0, 21));
    let mut operator = only(&CAMERA.replace("2h", "30m")).operator;
    let findings = operate(&mut *operator, &tracks);
    let begins: Vec<f64> = findings
        .as_slice()
        .iter()
        .filter(|finding| matches!(finding.kind, FindingKind::Incident(it) if it.phase == Phase::Begin))
        .map(|finding| finding.at.as_nanos() as f64 / 1e9)
        .collect();
    let during = |at: f64| begins.iter().filter(|begin| (0.0..8.0).contains(&(*begin - at))).count();
    let found = wrong_ways.iter().filter(|at| during(**at) > 0).count();
    let others = begins.len() - wrong_ways.iter().map(|at| during(*at)).sum::<usize>();
    println!("{found} of 5 wrong ways found, {others} others: {begins:?}");
    assert!(found == 5 && others <= 1, "{found} {others}");
}

#[test]
fn a_usual_day_has_hardly_any_incident() {
    let began: Vec<_> = (0..4).flat_map(|seed| learned(CAMERA, 50 + seed, 26.0, 5.0).began()).collect();
    println!("{} in four days: {began:?}", began.len());
    assert!(began.len() <= 4, "{began:?}");
}

#[test]
fn nothing_is_reported_while_it_learns() {
    let mut movers = usual(0.0, 1.9 * HOUR, &mut fastrand::Rng::with_seed(3));
    movers.extend((1..11).flat_map(|n| unusual(600.0 * f64::from(n))));
    let mut watcher = Watcher::new(CAMERA);
    watcher.watch(&mut Film::new(movers, 5.0, 3), 1.9 * HOUR);
    watcher.operator.finish(&mut watcher.findings);
    assert_eq!(watcher.incidents(), []);
}

/// The counts in what was remembered: see the table in `normal_motion/memory.rs`.
fn counts(bytes: &[u8]) -> Vec<f32> {
    bytes[32..bytes.len() - 8].chunks_exact(4).map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]])).collect()
}

#[test]
fn the_same_is_learned_at_any_frame_rate() {
    let movers = usual(0.0, HOUR, &mut fastrand::Rng::with_seed(5));
    let learn = |fps: f64| {
        let mut film = Film { misses: 0.0, jitter: 0.0, ..Film::new(movers.clone(), fps, 5) };
        let mut watcher = Watcher::new(CAMERA);
        watcher.watch(&mut film, HOUR);
        watcher.operator.finish(&mut watcher.findings);
        let counts = counts(&watcher.remembered());
        // Visits, then eight directions, of every cell and group.
        (counts[..576].to_vec(), counts[576..9 * 576].to_vec(), counts.iter().sum::<f32>())
    };
    let apart =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.iter().sum::<f32>();
    let slow = learn(5.0);
    assert!(slow.2 > 10_000.0, "{}", slow.2);
    for fps in [10.0, 25.0] {
        let fast = learn(fps);
        let (visits, directions) = (apart(&slow.0, &fast.0), apart(&slow.1, &fast.1));
        println!("{fps} fps: visits {visits:.4}, directions {directions:.4}, all {:.4}", fast.2 / slow.2);
        assert!(visits < 0.06 && directions < 0.07 && (fast.2 / slow.2 - 1.0).abs() < 0.04, "{fps} fps");
    }
}

#[test]
fn a_restart_changes_nothing() {
    let mut dice = fastrand::Rng::with_seed(7);
    // Nobody is on the street at the moment of the restart: tracks do not outlive a process.
    let restart = 2.5 * HOUR;
    let mut movers = usual(0.0, restart - 120.0, &mut dice);
    movers.extend(usual(restart + 1.0, 3.0 * HOUR, &mut dice));
    movers.extend(unusual(restart + 300.0));
    let mut film = Film::new(movers, 5.0, 7);
    let mut steady = Watcher::new(CAMERA);
    steady.watch(&mut film, restart);
    assert_eq!(steady.incidents(), []);
    let mut restarted = Watcher { before: steady.before, ..Watcher::new(CAMERA) };
    restarted.operator.recall(&steady.remembered()).expect("what was remembered");
    film.play(3.0 * HOUR, |at, tracks| {
        for watcher in [&mut steady, &mut restarted] {
            watcher.operator.observe(&observation(at, watcher.before, tracks), &mut watcher.findings);
            watcher.before = Some(at);
        }
    });
    for watcher in [&mut steady, &mut restarted] {
        watcher.operator.finish(&mut watcher.findings);
    }
    assert!(steady.began().len() >= 4, "{:?}", steady.began());
    assert_eq!(steady.incidents(), restarted.incidents());
    assert_eq!(steady.remembered(), restarted.remembered());
}

#[test]
fn what_another_setting_learned_is_refused_and_nothing_is_kept_of_it() {
    let bytes = learned(CAMERA, 1, 1.0, 5.0).remembered();
    let other = CAMERA.replace("learn_for: 2h", "grid: [8, 6]");
    let mut watcher = Watcher::new(&other);
    let as_new = watcher.remembered();
    assert_eq!(watcher.operator.recall(&bytes), Err(RecallError::Settings));
    let mut damaged = bytes.clone();
    damaged[1000] ^= 1;
    assert!(matches!(watcher.operator.recall(&damaged), Err(RecallError::Damaged(_))));
    assert_eq!(watcher.remembered(), as_new);
    // Other sites beside the zone are no other setting, another shape of it is.
    let zoned = "geometry:\n  zones: {lower: {polygon: [[0, 0.57], [1, 0.57], [1, 1]]}}\noperators:\n  detect_unusual_motion: [{zone: lower}]\n";
    let zoned_bytes = Watcher::new(zoned).remembered();
    let recall = |text: &str| Watcher::new(text).operator.recall(&zoned_bytes);
    assert_eq!(recall(&zoned.replace("{lower:", "{a: {polygon: [[0, 0], [1, 0], [1, 1]]}, lower:")), Ok(()));
    assert_eq!(recall(&zoned.replace("[1, 0.57]", "[1, 0.5]")), Err(RecallError::Settings));
    // What decides when something is reported does not decide what was learned.
    let later = CAMERA.replace("learn_for: 2h", "learn_for: 3d, half_life: 2d, rarity: 100");
    assert_eq!(Watcher::new(&later).operator.recall(&bytes), Ok(()));
}

#[test]
fn a_new_traffic_scheme_becomes_usual() {
    let camera = CAMERA.replace("learn_for: 2h", "learn_for: 2h, half_life: 4h");
    let mut dice = fastrand::Rng::with_seed(11);
    let mut movers = usual(0.0, 4.0 * HOUR, &mut dice);
    let mut reversed = usual(4.0 * HOUR, 12.0 * HOUR, &mut dice);
    for mover in reversed.iter_mut().filter(|mover| mover.class == Class::Car && mover.from.1 > 0.57) {
        std::mem::swap(&mut mover.from.0, &mut mover.to.0);
    }
    movers.extend(reversed);
    let mut watcher = Watcher::new(&camera);
    watcher.watch(&mut Film::new(movers, 5.0, 11), 12.0 * HOUR);
    let hours: Vec<u64> =
        watcher.incidents().iter().map(|(_, it)| it.since.as_nanos() / 3_600_000_000_000).collect();
    println!("incidents in hours {hours:?}");
    assert!(hours.contains(&4), "the first reversed cars are unusual");
    assert!(hours.iter().all(|hour| (4..6).contains(hour)), "{hours:?}");
}

#[test]
fn a_lost_id_is_no_new_incident_and_two_cars_are_two() {
    let bytes = learned(CAMERA, 2, 4.0, 5.0).remembered();
    let slow = Mover { speed: 0.2, ..Mover::car(20.0, 0.62, false) };
    let half = |from: f64, to: f64, enters_at_secs: f64| Mover {
        enters_at_secs,
        from: (from, 0.62),
        to: (to, 0.62),
        ..slow.clone().unusual(Reason::Direction)
    };
    let secs = slow.seconds();
    let incidents = |movers: &[Mover]| {
        let (_, watcher) = trial(CAMERA, &bytes, movers, 5.0, 4);
        watcher.incidents().iter().map(|(_, it)| (it.number, it.phase)).collect::<Vec<_>>()
    };
    let one = [(0, Phase::Begin), (0, Phase::End)];
    assert_eq!(incidents(&[half(1.0, 0.0, 20.0)]), one);
    // It is hidden for a moment, and comes back under another id.
    let lost = [half(1.0, 0.5, 20.0), half(0.4, 0.0, 20.0 + 0.6 * secs)];
    assert_eq!(incidents(&lost), one);
    let two = incidents(&[half(1.0, 0.0, 20.0), half(1.0, 0.0, 21.5)]);
    assert_eq!(two.iter().filter(|(_, phase)| *phase == Phase::Begin).count(), 2, "{two:?}");
}

#[test]
fn a_class_that_never_comes_is_unusual_anywhere() {
    let camera = CAMERA.replace("learn_for: 2h", "learn_for: 2h, rarity: 400");
    let mut movers = usual(0.0, 3.0 * HOUR, &mut fastrand::Rng::with_seed(6));
    movers.retain(|mover| mover.class == Class::Person);
    movers.push(Mover::car(2.9 * HOUR, 0.62, true).unusual(Reason::Place));
    let mut film = Film::new(movers, 5.0, 6);
    let mut watcher = Watcher::new(&camera);
    watcher.watch(&mut film, 3.0 * HOUR);
    let car = film.movers.iter().position(|mover| mover.class == Class::Car).unwrap();
    assert_eq!(watcher.began(), [(TrackId(1 + car as u64), Reason::Place)]);
}

#[test]
fn outside_the_zone_nothing_is_judged() {
    let camera = "\
geometry:
  zones: {lower: {polygon: [[0, 0.57], [1, 0.57], [1, 1], [0, 1]]}}
operators:
  detect_unusual_motion: [{zone: lower, learn_for: 2h}]
";
    let bytes = learned(camera, 2, 4.0, 5.0).remembered();
    let wrong_ways = [Mover::car(20.0, 0.50, true), Mover::car(60.0, 0.62, false)];
    for (mover, incidents) in wrong_ways.into_iter().zip([0, 2]) {
        let (_, watcher) = trial(camera, &bytes, &[mover.unusual(Reason::Direction)], 5.0, 1);
        assert_eq!(watcher.incidents().len(), incidents);
        for (finding, incident) in watcher.incidents() {
            assert_eq!((finding.site, finding.class), (SiteId(0), Some(Class::Car)));
            assert_eq!((incident.kind, incident.unit), (IncidentKind::SceneAnomaly, IncidentUnit::None));
        }
    }
}

#[test]
fn with_a_ground_speeds_are_in_metres() {
    let camera = WITH_GROUND;
    let bytes = learned(camera, 2, 4.0, 5.0).remembered();
    let fast = Mover { speed: 2.0 * CAR_SPEED, ..Mover::car(20.0, 0.50, false) };
    let (_, watcher) = trial(camera, &bytes, &[fast.unusual(Reason::TooFast)], 5.0, 1);
    let (_, begin) = watcher.incidents()[0];
    assert_eq!((begin.reason, begin.unit), (Some(Reason::TooFast), IncidentUnit::KmPerHour));
    // 0.6 picture heights a second over 40 m in 4/3 of a height: 18 m/s.
    assert!((60..70).contains(&begin.value), "{begin:?}");
    let without = CAMERA.replace("[{learn_for: 2h}]", "[{}]");
    assert_eq!(Watcher::new(&without).operator.recall(&bytes), Err(RecallError::Settings));
}

#[test]
fn nobody_is_reported_for_how_fast_they_walk_and_no_speed_of_theirs_is_told() {
    let camera = WITH_GROUND;
    let bytes = learned(camera, 2, 4.0, 5.0).remembered();
    let pavement = usual(0.0, HOUR, &mut fastrand::Rng::with_seed(2))
        .into_iter()
        .find(|mover| mover.class == Class::Person)
        .expect("someone on the pavement");
    for times in [0.2, 4.0] {
        let walker = Mover { enters_at_secs: 20.0, speed: times * pavement.speed, ..pavement.clone() };
        let (film, watcher) = trial(camera, &bytes, &[walker], 5.0, 1);
        let walker = TrackId(film.movers.len() as u64);
        assert!(watcher.began().iter().all(|(id, _)| *id != walker), "{times}: {:?}", watcher.began());
        for (finding, incident) in watcher.incidents() {
            let personal = finding.class.is_some_and(Class::is_personal);
            assert!(!personal || incident.unit == IncidentUnit::None, "{finding:?}");
        }
    }
}

#[test]
fn mistakes_in_options_are_named() {
    let text = "\
geometry: {}
operators:
  detect_unusual_motion:
    - {zone: square, grid: [3, 12], rarity: 5, learn_for: 2m}
    - {grid: [16], after: 2, half_life: 400d}
    - {grid: 16}
";
    let problems = configure(text).map(|_| ()).unwrap_err();
    let expected = [
        "4:14: operators.detect_unusual_motion[0].zone: there is no zone 'square'; the camera's geometry has no zones",
        "4:29: operators.detect_unusual_motion[0].grid[0]: 3 is out of range; a whole number of columns from 4 to 32 is expected",
        "4:45: operators.detect_unusual_motion[0].rarity: 5 is out of range; a number of tracks from 100 to 1000000 is expected",
        "4:59: operators.detect_unusual_motion[0].learn_for: 2m is out of range; a time with its unit (ms, s, m, h, d) from 10m to 1440h is expected, such as 500ms or 15m",
        "5:14: operators.detect_unusual_motion[1].grid: 1 numbers were found; columns and rows are expected, such as [16, 12]",
        "5:27: operators.detect_unusual_motion[1].after: '2' has no unit; a time with its unit (ms, s, m, h, d) from 200ms to 1m is expected, such as 500ms or 15m",
        "5:41: operators.detect_unusual_motion[1].half_life: 400d is out of range; a time with its unit (ms, s, m, h, d) from 1h to 8760h is expected, such as 500ms or 15m",
        "6:14: operators.detect_unusual_motion[2].grid: a single value was found; a list is expected",
    ];
    assert_eq!(problems, expected.map(|problem| format!("camera.yaml:{problem}")));
}
