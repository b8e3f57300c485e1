//! What is normal on a street, learned over hours, and what is not.
//!
//! Tracks are made directly, with the misses, shaking boxes and inventions of a detector: hours of a street
//! through the tracker would take minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Finding, FindingKind, Findings};
use kerbside_core::geometry::BoxInImage;
use kerbside_core::incident::{Incident, IncidentKind, Phase, Reason};
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::operator::{Operator, RecallError};
use kerbside_core::time::MediaTime;

use crate::camera::only;
use crate::street::observation;

const CAMERA: &str = "\
geometry: {}
operators:
  detect_unusual_motion: [{learn_for: 2h}]
";

/// Picture heights per second of a car.
const CAR_SPEED: f64 = 0.3;
const ASPECT: f64 = 768.0 / 576.0;

/// Something that moves evenly along a straight way, and may stand or vanish on it.
#[derive(Clone, Debug)]
struct Mover {
    class: Class,
    enters_at_secs: f64,
    from: (f64, f64),
    to: (f64, f64),
    /// Picture heights per second.
    speed: f64,
    /// Picture heights.
    height: f64,
    /// Width over height.
    shape: f64,
    /// Why it is unusual, if it is.
    unusual: Option<Reason>,
}

impl Mover {
    fn car(enters_at_secs: f64, row: f64, rightwards: bool) -> Self {
        let (from, to) = if rightwards { (0.0, 1.0) } else { (1.0, 0.0) };
        Self {
            class: Class::Car,
            enters_at_secs,
            from: (from, row),
            to: (to, row),
            speed: CAR_SPEED,
            height: 0.09,
            shape: 2.0,
            unusual: None,
        }
    }

    fn person(enters_at_secs: f64, row: f64, rightwards: bool) -> Self {
        let car = Self::car(enters_at_secs, row, rightwards);
        Self { class: Class::Person, speed: 0.09, height: 0.12, shape: 0.4, ..car }
    }

    fn unusual(self, reason: Reason) -> Self {
        Self { unusual: Some(reason), ..self }
    }

    fn seconds(&self) -> f64 {
        ((self.to.0 - self.from.0) * ASPECT).hypot(self.to.1 - self.from.1) / self.speed
    }

    fn box_at(&self, secs: f64) -> Option<BoxInImage> {
        let share = (secs - self.enters_at_secs) / self.seconds();
        if !(0.0..=1.0).contains(&share) {
            return None;
        }
        let x = self.from.0 + share * (self.to.0 - self.from.0);
        let y = self.from.1 + share * (self.to.1 - self.from.1);
        let half = self.height * self.shape / ASPECT / 2.0;
        let (left, right) = ((x - half) as f32, (x + half) as f32);
        Some(BoxInImage { left, top: (y - self.height) as f32, right, bottom: y as f32 })
    }
}

fn gauss(dice: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0
}

/// The lanes: the upper one goes left, the lower one right.
const LANES: [(f64, bool); 2] = [(0.50, false), (0.62, true)];
const PAVEMENTS: [f64; 2] = [0.36, 0.80];

/// Hours of a street where all is usual: a car every nine seconds, a person every fourteen, now and then a
/// bicycle or something that is not there.
fn usual(from_secs: f64, to_secs: f64, dice: &mut fastrand::Rng) -> Vec<Mover> {
    let mut movers = Vec::new();
    let mut arrive =
        |every_secs: f64, dice: &mut fastrand::Rng, make: &dyn Fn(f64, &mut fastrand::Rng) -> Mover| {
            let mut at = from_secs;
            loop {
                at += -every_secs * (1.0 - dice.f64()).ln();
                if at >= to_secs {
                    return;
                }
                let mut mover = make(at, dice);
                mover.speed *= (0.13 * gauss(dice).clamp(-2.5, 2.5)).exp();
                movers.push(mover);
            }
        };
    arrive(9.0, dice, &|at, dice| {
        let (row, rightwards) = LANES[dice.usize(0..2)];
        Mover::car(at, row + 0.012 * gauss(dice), rightwards)
    });
    arrive(14.0, dice, &|at, dice| {
        Mover::person(at, PAVEMENTS[dice.usize(0..2)] + 0.015 * gauss(dice), dice.bool())
    });
    arrive(40.0, dice, &|at, dice| {
        let (row, rightwards) = LANES[dice.usize(0..2)];
        let bicycle = Mover::person(at, row + 0.02, rightwards);
        Mover { class: Class::Bicycle, speed: 0.16, shape: 0.6, ..bicycle }
    });
    // What a detector invents stands still for a moment, anywhere.
    arrive(120.0, dice, &|at, dice| {
        let (x, y) = (0.1 + 0.8 * dice.f64(), 0.2 + 0.7 * dice.f64());
        let ghost = Mover::person(at, y, true);
        Mover { from: (x, y), to: (x + 0.001, y), speed: ASPECT * 0.001 / (0.5 + 2.0 * dice.f64()), ..ghost }
    });
    movers
}

/// Frame by frame, the tracks of a film; each track's id is the mover's place in the order of entering.
struct Film {
    movers: Vec<Mover>,
    fps: f64,
    misses: f64,
    jitter: f64,
    dice: fastrand::Rng,
    frame: u64,
    next: usize,
    present: Vec<usize>,
    first_id: u64,
}

impl Film {
    fn new(mut movers: Vec<Mover>, from_secs: f64, fps: f64, seed: u64) -> Self {
        movers.sort_by(|a, b| a.enters_at_secs.total_cmp(&b.enters_at_secs));
        let frame = (from_secs * fps).ceil() as u64;
        let dice = fastrand::Rng::with_seed(seed);
        Self { movers, fps, misses: 0.1, jitter: 0.025, dice, frame, next: 0, present: Vec::new(), first_id: 1 }
    }

    fn mover(&self, id: TrackId) -> &Mover {
        &self.movers[(id.0 - self.first_id) as usize]
    }

    /// Shows all frames up to a moment.
    fn play(&mut self, to_secs: f64, mut show: impl FnMut(MediaTime, &[Track])) {
        let mut tracks = Vec::new();
        while (self.frame as f64) < to_secs * self.fps {
            let secs = self.frame as f64 / self.fps;
            let at = MediaTime::from_nanos((secs * 1e9) as u64);
            while self.movers.get(self.next).is_some_and(|mover| mover.enters_at_secs <= secs) {
                self.present.push(self.next);
                self.next += 1;
            }
            tracks.clear();
            self.present.retain(|&index| {
                let mover = &self.movers[index];
                let Some(truth) = mover.box_at(secs) else { return false };
                let sigma = self.jitter * mover.height;
                let narrow = mover.shape.min(1.0) / ASPECT;
                let mut shake = |side: f32, scale: f64| side + (gauss(&mut self.dice) * sigma * scale) as f32;
                let box_in_image = BoxInImage {
                    left: shake(truth.left, narrow),
                    top: shake(truth.top, 1.0),
                    right: shake(truth.right, narrow),
                    bottom: shake(truth.bottom, 1.0),
                };
                tracks.push(Track {
                    id: TrackId(self.first_id + index as u64),
                    class: mover.class,
                    score: 0.8,
                    box_in_image,
                    detected: self.dice.f64() >= self.misses,
                    since: MediaTime::from_nanos((mover.enters_at_secs * 1e9) as u64),
                });
                true
            });
            self.frame += 1;
            show(at, &tracks);
        }
    }
}

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
        begins.map(|(finding, incident)| (finding.track.unwrap(), incident.reason.unwrap())).collect()
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

#[derive(Debug, Default)]
struct Tally {
    found: usize,
    with_its_reason: usize,
    missed: BTreeMap<&'static str, usize>,
    false_alarms: usize,
    hours: f64,
}

impl Tally {
    fn count(&mut self, film: &Film, began: &[(TrackId, Reason)], from_secs: f64, to_secs: f64) {
        let found: BTreeSet<TrackId> = began.iter().map(|(id, _)| *id).collect();
        for (place, mover) in film.movers.iter().enumerate().filter(|(_, mover)| mover.unusual.is_some()) {
            let id = TrackId(film.first_id + place as u64);
            if !found.contains(&id) {
                *self.missed.entry(mover.unusual.unwrap().name()).or_default() += 1;
                continue;
            }
            self.found += 1;
            self.with_its_reason += usize::from(began.contains(&(id, mover.unusual.unwrap())));
        }
        self.false_alarms += found.iter().filter(|id| film.mover(**id).unusual.is_none()).count();
        self.hours += (to_secs - from_secs) / HOUR;
    }

    fn recall(&self) -> f64 {
        self.found as f64 / (self.found + self.missed.values().sum::<usize>()) as f64
    }

    fn precision(&self) -> f64 {
        self.found as f64 / (self.found + self.false_alarms) as f64
    }
}

/// Two hours and more to learn, then hours with something unusual of each kind every ten minutes.
fn street(seed: u64, hours: f64) -> Vec<Mover> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut movers = usual(0.0, hours * HOUR, &mut dice);
    let mut at = 2.2 * HOUR;
    while at + 90.0 < hours * HOUR {
        movers.extend(unusual(at));
        at += 600.0;
    }
    movers
}

#[test]
fn what_is_unusual_is_found_and_little_else() {
    let mut total = Tally::default();
    for seed in 0..8 {
        let mut film = Film::new(street(seed, 4.0), 0.0, 5.0, seed);
        let mut watcher = Watcher::new(CAMERA);
        watcher.watch(&mut film, 4.0 * HOUR);
        watcher.operator.finish(&mut watcher.findings);
        total.count(&film, &watcher.began(), 2.0 * HOUR, 4.0 * HOUR);
    }
    println!("{total:?}, recall {:.3}, precision {:.3}", total.recall(), total.precision());
    assert!(total.recall() >= 0.95 && total.precision() >= 0.95);
}
