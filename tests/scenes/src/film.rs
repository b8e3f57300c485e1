//! What a detector makes of a scene: misses, shaken boxes, things that are not there, wrong classes.
//!
//! Everything that lasts is by time and not by frame, so that a scene is as hard at any frame rate; what a real
//! detector decides anew in each frame (a miss, a score, a box's edges) is drawn anew in each frame.

use kerbside_core::detection::{Class, Detection};
use kerbside_core::geometry::BoxInImage;
use kerbside_core::time::MediaTime;

use crate::cast::usual_size;
use crate::optics::Solid;
use crate::{Scene, Seen};

/// How bad a detector is.
#[derive(Clone, Debug, PartialEq)]
pub struct Detector {
    /// Share of objects missed in each frame.
    pub misses: f64,
    /// Times in which an object is missed altogether.
    pub bursts: Option<Bursts>,
    /// Standard deviation of each side of the box, in box heights.
    pub jitter: f64,
    /// Things that are not there, for each object that is (one at least), in each frame.
    pub inventions: f64,
    /// Share of frames in which an object is taken for something alike.
    pub confusion: f64,
    /// An object of which nearer ones hide more is not found at all; of which they hide half as much, weakly.
    pub hidden_share: f64,
    /// Things that it sees at fixed places.
    pub ghosts: Vec<Ghost>,
}

/// How often and for how long an object is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bursts {
    /// Mean time between them, seconds.
    pub every: f64,
    /// How long each lasts, seconds.
    pub lasts: f64,
}

/// Something at a fixed place that looks like an object at times.
#[derive(Clone, Debug, PartialEq)]
pub struct Ghost {
    /// What it looks like.
    pub class: Class,
    /// Where.
    pub box_in_image: BoxInImage,
    /// In which share of the frames.
    pub share: f64,
    /// Its mean score.
    pub score: f64,
}

impl Detector {
    /// It sees all that is in view, as it is; only what is hidden altogether is missed.
    pub const PERFECT: Self = Self {
        misses: 0.0,
        bursts: None,
        jitter: 0.0,
        inventions: 0.0,
        confusion: 0.0,
        hidden_share: 0.99,
        ghosts: Vec::new(),
    };
    /// A tenth is missed, and one object in twenty is not there.
    pub const USUAL: Self = Self {
        misses: 0.1,
        bursts: None,
        jitter: 0.025,
        inventions: 0.05,
        confusion: 0.02,
        hidden_share: 0.6,
        ghosts: Vec::new(),
    };
}

/// One frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When it was taken.
    pub at: MediaTime,
    /// What the detector found.
    pub detections: Vec<Detection>,
    /// Which actor each detection shows, if any.
    pub shows: Vec<Option<usize>>,
    /// What is truly there.
    pub seen: Vec<Seen>,
}

impl Scene {
    /// What this detector finds, `fps` times a second from the scene's beginning to its end. It finds no
    /// actor while the camera is disturbed.
    pub fn film(&self, detector: &Detector, fps: f64, seed: u64) -> Vec<Frame> {
        let mut dice = fastrand::Rng::with_seed(seed);
        let lost: Vec<Vec<(f64, f64)>> = self.actors.iter().map(|_| bursts(detector, self, &mut dice)).collect();
        (0..(self.duration.as_secs_f64() * fps).ceil() as u64)
            .map(|number| {
                let secs = number as f64 / fps;
                let seen = self.seen_at(secs);
                let mut frame = Frame {
                    at: MediaTime::from_nanos((secs * 1e9).round() as u64),
                    detections: Vec::with_capacity(seen.len() + 2),
                    shows: Vec::with_capacity(seen.len() + 2),
                    seen,
                };
                for index in 0..frame.seen.len() {
                    let seen = frame.seen[index];
                    let blind = self.disturbances.iter().any(|it| (it.from..it.to).contains(&secs));
                    let missed = blind || dice.f64() < detector.misses;
                    let lost = lost[seen.actor].iter().any(|(from, to)| (*from..*to).contains(&secs));
                    let confusion = detector.confusion.max(self.actors[seen.actor].confusion);
                    let class = if dice.f64() < confusion { alike(seen.class, &mut dice) } else { seen.class };
                    if missed || lost || seen.hidden > detector.hidden_share {
                        continue;
                    }
                    let weak = seen.hidden > detector.hidden_share / 2.0;
                    let score = if weak { 0.2 + 0.35 * dice.f64() } else { 0.5 + 0.45 * dice.f64() };
                    let box_in_image = self.shaken(&seen.box_in_image, detector.jitter, &mut dice);
                    frame.detections.push(Detection { class, score: score as f32, box_in_image });
                    frame.shows.push(Some(seen.actor));
                }
                self.invent(detector, &mut frame, &mut dice);
                frame
            })
            .collect()
    }

    /// Each side moves by itself, across by the box's height or its width, whichever is less.
    fn shaken(&self, truth: &BoxInImage, jitter: f64, dice: &mut fastrand::Rng) -> BoxInImage {
        let aspect = self.optics.size.aspect();
        let (up, across) = (truth.height(), truth.height().min(truth.width() * aspect) / aspect);
        let mut shake = |side: f32, scale: f32| (side + (gauss(dice) * jitter) as f32 * scale).clamp(0.0, 1.0);
        BoxInImage {
            left: shake(truth.left, across),
            top: shake(truth.top, up),
            right: shake(truth.right, across),
            bottom: shake(truth.bottom, up),
        }
    }

    /// Objects of a usual size anywhere on the street, and the ghosts.
    fn invent(&self, detector: &Detector, frame: &mut Frame, dice: &mut fastrand::Rng) {
        let mut expected = detector.inventions * frame.seen.len().max(1) as f64;
        while dice.f64() < expected {
            expected -= 1.0;
            let class = [Class::Person, Class::Person, Class::Car, Class::Bicycle][dice.usize(0..4)];
            let far = self.optics.horizon().max(0.0);
            let (x, y) = (dice.f64(), far + (1.0 - far) * (0.1 + 0.9 * dice.f64()));
            let angle = dice.f64() * std::f64::consts::TAU;
            let solid = |at| Solid { at, heading: [angle.cos(), angle.sin()], size: usual_size(class) };
            let found = self.optics.on_ground(x, y).and_then(|at| self.optics.box_of(&solid(at)));
            let Some((whole, _)) = found else { continue };
            let cut = |side: f32| side.clamp(0.0, 1.0);
            let [left, top, right, bottom] = [whole.left, whole.top, whole.right, whole.bottom].map(cut);
            let score = 0.3 + 0.35 * dice.f32();
            frame.detections.push(Detection {
                class,
                score,
                box_in_image: BoxInImage { left, top, right, bottom },
            });
            frame.shows.push(None);
        }
        for ghost in &detector.ghosts {
            let (appears, swing) = (dice.f64() < ghost.share, 0.2 * (dice.f64() - 0.5));
            if appears {
                let box_in_image = self.shaken(&ghost.box_in_image, detector.jitter, dice);
                let score = (ghost.score + swing).clamp(0.05, 1.0) as f32;
                frame.detections.push(Detection { class: ghost.class, score, box_in_image });
                frame.shows.push(None);
            }
        }
    }
}

/// When an object is lost: the gaps between bursts are exponential.
fn bursts(detector: &Detector, scene: &Scene, dice: &mut fastrand::Rng) -> Vec<(f64, f64)> {
    let Some(Bursts { every, lasts }) = detector.bursts else { return Vec::new() };
    let mut found = Vec::new();
    let mut at = 0.0;
    loop {
        at -= every.max(0.1) * (1.0 - dice.f64()).ln();
        if at >= scene.duration.as_secs_f64() {
            return found;
        }
        found.push((at, at + lasts));
        at += lasts;
    }
}

fn alike(class: Class, dice: &mut fastrand::Rng) -> Class {
    match class {
        Class::Car | Class::Bus => Class::Truck,
        Class::Truck => [Class::Car, Class::Bus][dice.usize(0..2)],
        Class::Bicycle => Class::Motorcycle,
        Class::Motorcycle => Class::Bicycle,
        Class::Person | Class::Other => class,
    }
}

/// Of mean 0 and deviation 1, nearly normal: twelve uniform numbers.
fn gauss(dice: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0
}
