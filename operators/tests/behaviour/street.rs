//! A scripted street: objects on straight paths, and a detector that misses, shakes and invents.

use std::sync::LazyLock;
use std::time::Duration;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::finding::Findings;
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::BoxInImage;
use kerbside_core::observation::{Observation, SceneStatistics, Track};
use kerbside_core::operator::Operator;
use kerbside_core::time::{LocalTime, MediaTime, WallTime};
use kerbside_operators::tracker::{Tracker, TrackerSettings};

/// A picture in good light, in which nothing can be found.
static SCENE: LazyLock<SceneStatistics> = LazyLock::new(|| SceneStatistics {
    luma_mean: 110.0,
    luma_deviation: 50.0,
    sharpness: 300.0,
    change: 0.5,
    ..SceneStatistics::default()
});

pub(crate) const PICTURE: PictureSize = PictureSize { width: 768, height: 576 };

/// One object: it walks from point to point (where it touches the ground) at its own speed.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) class: Class,
    pub(crate) enters_at_secs: f64,
    pub(crate) path: Vec<(f64, f64)>,
    /// Picture heights per second.
    pub(crate) speed: f64,
    /// Height of the box in picture heights, where the foot is at the picture's lower edge.
    pub(crate) height: f64,
    /// Width over height, both in picture heights.
    pub(crate) shape: f64,
}

impl Actor {
    pub(crate) fn person(enters_at_secs: f64, path: &[(f64, f64)]) -> Self {
        Self { class: Class::Person, enters_at_secs, path: path.to_vec(), speed: 0.15, height: 0.22, shape: 0.4 }
    }

    pub(crate) fn car(enters_at_secs: f64, path: &[(f64, f64)]) -> Self {
        Self { class: Class::Car, enters_at_secs, path: path.to_vec(), speed: 0.6, height: 0.2, shape: 2.2 }
    }

    /// Its box, or nothing before it enters and after it has left.
    pub(crate) fn at(&self, secs: f64) -> Option<BoxInImage> {
        let aspect = f64::from(PICTURE.aspect());
        let mut left = (secs - self.enters_at_secs) * self.speed;
        if left < 0.0 {
            return None;
        }
        for leg in self.path.windows(2) {
            let (dx, dy) = ((leg[1].0 - leg[0].0) * aspect, leg[1].1 - leg[0].1);
            let length = dx.hypot(dy);
            if left <= length {
                let share = left / length;
                let (x, y) = (leg[0].0 + share * (leg[1].0 - leg[0].0), leg[0].1 + share * dy);
                return Some(self.box_at(x, y, aspect));
            }
            left -= length;
        }
        None
    }

    fn box_at(&self, x: f64, y: f64, aspect: f64) -> BoxInImage {
        // Perspective: half as high at the top of the picture as at the bottom.
        let height = self.height * (0.5 + 0.5 * y);
        let half = height * self.shape / aspect / 2.0;
        BoxInImage {
            left: (x - half) as f32,
            top: (y - height) as f32,
            right: (x + half) as f32,
            bottom: y as f32,
        }
    }
}

/// How bad the detector is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detector {
    /// Share of objects missed in each frame.
    pub(crate) misses: f64,
    /// Standard deviation of each side of the box, in box heights.
    pub(crate) jitter: f64,
    /// Things that are not there, per object that is, in each frame.
    pub(crate) inventions: f64,
    /// An object of which a nearer one hides more is not found at all; of which it hides half as much, weakly.
    pub(crate) hidden_share: f64,
}

impl Detector {
    pub(crate) const PERFECT: Self = Self { misses: 0.0, jitter: 0.0, inventions: 0.0, hidden_share: 2.0 };
    pub(crate) const USUAL: Self = Self { misses: 0.1, jitter: 0.025, inventions: 0.05, hidden_share: 0.6 };
}

/// One frame: each detection with the actor it shows, if any.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) at: MediaTime,
    pub(crate) detections: Vec<Detection>,
    pub(crate) shows: Vec<Option<usize>>,
    pub(crate) present: Vec<usize>,
}

pub(crate) fn film(actors: &[Actor], detector: Detector, fps: f64, secs: f64, seed: u64) -> Vec<Frame> {
    let mut dice = fastrand::Rng::with_seed(seed);
    (0..(secs * fps) as u64)
        .map(|number| {
            let at = number as f64 / fps;
            let mut frame = Frame {
                at: MediaTime::from_nanos((at * 1e9) as u64),
                detections: Vec::new(),
                shows: Vec::new(),
                present: Vec::new(),
            };
            let boxes: Vec<Option<BoxInImage>> = actors.iter().map(|actor| actor.at(at)).collect();
            for (index, actor) in actors.iter().enumerate() {
                let Some(truth) = boxes[index] else { continue };
                frame.present.push(index);
                let hidden =
                    boxes.iter().flatten().filter(|b| b.bottom > truth.bottom).map(|b| covered(&truth, b));
                let hidden = f64::from(hidden.fold(0.0, f32::max));
                if dice.f64() < detector.misses || hidden > detector.hidden_share {
                    continue;
                }
                let weak = hidden > detector.hidden_share / 2.0;
                let score = if weak { 0.2 + 0.35 * dice.f64() } else { 0.5 + 0.45 * dice.f64() };
                let sigma = detector.jitter * f64::from(truth.height());
                let mut shake = |side: f32, scale: f64| side + (gauss(&mut dice) * sigma * scale) as f32;
                let narrow = actor.shape.min(1.0) / f64::from(PICTURE.aspect());
                frame.detections.push(Detection {
                    class: actor.class,
                    score: score as f32,
                    box_in_image: BoxInImage {
                        left: shake(truth.left, narrow),
                        top: shake(truth.top, 1.0),
                        right: shake(truth.right, narrow),
                        bottom: shake(truth.bottom, 1.0),
                    },
                });
                frame.shows.push(Some(index));
            }
            let mut inventions = detector.inventions * frame.present.len() as f64;
            while dice.f64() < inventions {
                inventions -= 1.0;
                let (left, top) = (dice.f32() * 0.9, dice.f32() * 0.8);
                let box_in_image = BoxInImage { left, top, right: left + 0.05, bottom: top + 0.15 };
                frame.detections.push(Detection {
                    class: Class::Person,
                    score: 0.3 + 0.35 * dice.f32(),
                    box_in_image,
                });
                frame.shows.push(None);
            }
            frame
        })
        .collect()
}

pub(crate) fn covered(hidden: &BoxInImage, by: &BoxInImage) -> f32 {
    let width = (hidden.right.min(by.right) - hidden.left.max(by.left)).max(0.0);
    let height = (hidden.bottom.min(by.bottom) - hidden.top.max(by.top)).max(0.0);
    width * height / hidden.area()
}

fn gauss(dice: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0
}

/// Tracks a film; each frame's confirmed tracks.
pub(crate) fn track(frames: &[Frame]) -> Vec<(MediaTime, Vec<Track>)> {
    let mut tracker = Tracker::new(TrackerSettings::DEFAULT);
    frames
        .iter()
        .map(|frame| {
            tracker.update(frame.at, PICTURE, &frame.detections);
            (frame.at, tracker.confirmed().to_vec())
        })
        .collect()
}

/// Runs an operator over tracks, and all it finds.
pub(crate) fn operate(operator: &mut dyn Operator, tracks: &[(MediaTime, Vec<Track>)]) -> Findings {
    let mut findings = Findings::new();
    let mut before = None;
    for (at, tracks) in tracks {
        operator.observe(&observation(*at, before, tracks), &mut findings);
        before = Some(*at);
    }
    operator.finish(&mut findings);
    findings
}

pub(crate) fn observation(at: MediaTime, before: Option<MediaTime>, tracks: &[Track]) -> Observation<'_> {
    Observation {
        at,
        step: before.map_or(Duration::ZERO, |before| at.since(before)),
        picture: PICTURE,
        tracks,
        wall: WallTime::from_unix_nanos(at.as_nanos()),
        local: LocalTime::utc(WallTime::from_unix_nanos(at.as_nanos())),
        scene: &SCENE,
        trusted: true,
    }
}
