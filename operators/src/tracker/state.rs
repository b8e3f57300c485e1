//! What is known of one track, and when it is believed.
//!
//! A candidate is confirmed by evidence: the sum of its scores, from two or more frames that lie some time
//! apart, with not too many misses between. A flicker of one frame is never an object, at any score.
//! Detections of a thing that does not move are no independent evidence (see `places`), so a
//! candidate that has not moved and that the detector is not sure of waits longer, until its place is known.

use std::time::Duration;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::geometry::BoxInImage;
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::time::MediaTime;

use super::heading::Heading;
use super::motion::{Cut, Motion, Shape};
use super::{TrackerSettings, places};

/// A weak detection, or one that others cover, is this much noisier: its box often shows a part, or two people.
const WEAK_DOUBT: f64 = 3.0;
/// A candidate that has gone this far, in object sizes, moves.
const MOVED_SIZES: f64 = 0.4;
/// A candidate whose strong detections score this much more than `min_score` on average is believed
/// where it stands.
const SURE_MARGIN: f32 = 0.15;
/// How long a track that was leaving the picture waits for another detection.
const LEAVING_PATIENCE: Duration = Duration::from_millis(500);
/// A track ends when less of its predicted box lies in the picture.
const LEAST_VISIBLE: f64 = 0.5;

/// A detection of this frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) detection: Detection,
    /// The part in the picture.
    pub(super) shape: Shape,
    pub(super) cut: Cut,
    /// A known place is reason enough for it: it is no evidence for an object.
    pub(super) explained: bool,
    /// Better detections make it up: it is no evidence for a further object.
    pub(super) covered: bool,
    pub(super) taken: bool,
}

impl Found {
    pub(super) fn new(detection: Detection, aspect: f64) -> Self {
        let shape = Shape::new(&detection.box_in_image, aspect);
        Self {
            detection,
            shape: shape.visible(aspect),
            cut: shape.cut(aspect),
            explained: false,
            covered: false,
            taken: false,
        }
    }
}

impl Found {
    pub(super) fn is_evidence(&self) -> bool {
        !self.explained && !self.covered
    }
}

/// A track and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) track: Track,
    pub(super) motion: Motion,
    pub(super) heading: Heading,
    pub(super) confirmed: bool,
    pub(super) last_hit: MediaTime,
    /// The last detection that was not weak.
    pub(super) last_strong: MediaTime,
    /// Whether the frame before this one had a detection of it.
    pub(super) was_detected: bool,
    /// Whether it has ever been away from where it was first seen.
    pub(super) moved: bool,
    first: Shape,
    /// The sum of the scores of its strong detections.
    evidence: f32,
    /// Frames with a detection that was not weak.
    strong_frames: u32,
    /// Frames since its first detection, that one included.
    frames: u32,
    votes: [f32; Class::ALL.len()],
}

impl State {
    /// A candidate begins with a strong detection.
    pub(super) fn begin(id: TrackId, at: MediaTime, found: &Found) -> Self {
        let Detection { class, score, box_in_image } = found.detection;
        let mut votes = [0.0; Class::ALL.len()];
        votes[class.index()] = score;
        let counts = found.is_evidence();
        Self {
            track: Track { id, class, score, box_in_image, detected: true, since: at, first_box: box_in_image },
            motion: Motion::new(&found.shape, found.cut, class),
            heading: Heading::new(at, &found.shape),
            confirmed: false,
            last_hit: at,
            last_strong: at,
            was_detected: false,
            moved: false,
            first: found.shape,
            evidence: if counts { score } else { 0.0 },
            strong_frames: u32::from(counts),
            frames: 1,
            votes,
        }
    }

    /// A frame passes, `step` after the one before.
    pub(super) fn predict(&mut self, step: Duration) {
        self.was_detected = self.track.detected;
        self.track.detected = false;
        self.motion.predict(step.as_secs_f64());
        self.frames += 1;
    }

    /// This frame has a detection of it.
    pub(super) fn hit(&mut self, at: MediaTime, found: &Found, min_score: f32) {
        let Detection { class, score, box_in_image } = found.detection;
        let strong = score >= min_score;
        let clear = strong && !found.covered;
        self.motion.correct(&found.shape, found.cut, if clear { 1.0 } else { WEAK_DOUBT });
        self.heading.push(at, self.motion.seen());
        if strong && found.is_evidence() {
            self.evidence += score;
            self.last_strong = at;
            self.strong_frames += 1;
        }
        self.last_hit = at;
        let now = self.motion.shape();
        let way = (now.x - self.first.x).hypot(now.y - self.first.y);
        self.moved |= way > MOVED_SIZES * now.size().max(self.first.size());
        self.votes[class.index()] += score;
        self.track = Track { class: self.elected(), score, box_in_image, detected: true, ..self.track };
    }

    /// Whether it goes on for now, in a frame that has no detection of it.
    pub(super) fn miss(&mut self, at: MediaTime, aspect: f64, settings: &TrackerSettings) -> bool {
        self.motion.miss();
        let patience = match (self.confirmed, self.motion.is_leaving()) {
            (true, true) => settings.lost_patience.min(LEAVING_PATIENCE),
            (true, false) => settings.lost_patience,
            (false, _) => settings.candidate_patience,
        };
        let shape = self.motion.shape();
        let visible = shape.visible(aspect);
        let share = visible.width * visible.height / (shape.width * shape.height);
        at.since(self.last_hit) <= patience && share >= LEAST_VISIBLE
    }

    /// Whether there is enough evidence that it is an object.
    pub(super) fn is_certain(&self, at: MediaTime, settings: &TrackerSettings) -> bool {
        let age = at.since(self.track.since);
        let mean_score = self.evidence / self.strong_frames.max(1) as f32;
        self.strong_frames >= 2
            && self.evidence >= settings.confirm_evidence
            && self.strong_frames as f32 >= settings.confirm_share * self.frames as f32
            && age >= settings.confirm_after
            && (self.moved || mean_score >= settings.min_score + SURE_MARGIN || age > places::LEARNED_AFTER)
    }

    /// This frame's detection, or where it is predicted to be, within the picture.
    pub(super) fn box_now(&self, aspect: f64) -> BoxInImage {
        if self.track.detected {
            return self.track.box_in_image;
        }
        self.motion.shape().visible(aspect).in_image(aspect)
    }

    /// The class with the most votes; of equal ones the first in [`Class::ALL`].
    fn elected(&self) -> Class {
        let mut best = self.track.class;
        for class in Class::ALL {
            if self.votes[class.index()] > self.votes[best.index()] {
                best = class;
            }
        }
        best
    }
}
