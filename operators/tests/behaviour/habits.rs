//! A street of habits: hours of usual traffic as tracks, without a tracker, and movers that are unusual.

use kerbside_core::detection::Class;
use kerbside_core::geometry::BoxInImage;
use kerbside_core::incident::Reason;
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::time::MediaTime;

pub(crate) const CAR_SPEED: f64 = 0.3;
pub(crate) const ASPECT: f64 = 768.0 / 576.0;

/// Something that moves evenly along a straight way, and may stand or vanish on it.
#[derive(Clone, Debug)]
pub(crate) struct Mover {
    pub(crate) class: Class,
    pub(crate) enters_at_secs: f64,
    pub(crate) from: (f64, f64),
    pub(crate) to: (f64, f64),
    /// Picture heights per second.
    pub(crate) speed: f64,
    /// Picture heights.
    pub(crate) height: f64,
    /// Width over height.
    pub(crate) shape: f64,
    /// Why it is unusual, if it is.
    pub(crate) unusual: Option<Reason>,
}

impl Mover {
    pub(crate) fn car(enters_at_secs: f64, row: f64, rightwards: bool) -> Self {
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

    pub(crate) fn person(enters_at_secs: f64, row: f64, rightwards: bool) -> Self {
        let car = Self::car(enters_at_secs, row, rightwards);
        Self { class: Class::Person, speed: 0.09, height: 0.12, shape: 0.4, ..car }
    }

    pub(crate) fn unusual(self, reason: Reason) -> Self {
        Self { unusual: Some(reason), ..self }
    }

    pub(crate) fn seconds(&self) -> f64 {
        ((self.to.0 - self.from.0) * ASPECT).hypot(self.to.1 - self.from.1) / self.speed
    }

    pub(crate) fn box_at(&self, secs: f64) -> Option<BoxInImage> {
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

pub(crate) fn gauss(dice: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0
}

/// The lanes: the upper one goes left, the lower one right.
pub(crate) const LANES: [(f64, bool); 2] = [(0.50, false), (0.62, true)];
pub(crate) const PAVEMENTS: [f64; 2] = [0.36, 0.80];

/// Hours of a street where all is usual: a car every nine seconds, a person every fourteen, now and then a
/// bicycle or something that is not there.
pub(crate) fn usual(from_secs: f64, to_secs: f64, dice: &mut fastrand::Rng) -> Vec<Mover> {
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
pub(crate) struct Film {
    pub(crate) movers: Vec<Mover>,
    pub(crate) fps: f64,
    pub(crate) misses: f64,
    pub(crate) jitter: f64,
    pub(crate) dice: fastrand::Rng,
    pub(crate) frame: u64,
    pub(crate) next: usize,
    pub(crate) present: Vec<usize>,
}

impl Film {
    pub(crate) fn new(mut movers: Vec<Mover>, fps: f64, seed: u64) -> Self {
        movers.sort_by(|a, b| a.enters_at_secs.total_cmp(&b.enters_at_secs));
        let dice = fastrand::Rng::with_seed(seed);
        Self { movers, fps, misses: 0.1, jitter: 0.025, dice, frame: 0, next: 0, present: Vec::new() }
    }

    /// Shows all frames up to a moment.
    pub(crate) fn play(&mut self, to_secs: f64, mut show: impl FnMut(MediaTime, &[Track])) {
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
                    id: TrackId(1 + index as u64),
                    class: mover.class,
                    score: 0.8,
                    box_in_image,
                    detected: self.dice.f64() >= self.misses,
                    since: MediaTime::from_nanos((mover.enters_at_secs * 1e9) as u64),
                    first_box: box_in_image,
                });
                true
            });
            self.frame += 1;
            show(at, &tracks);
        }
    }
}
