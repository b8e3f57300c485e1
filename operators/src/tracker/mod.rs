//! Joins the detections of one camera into tracks.
//!
//! After ByteTrack (Zhang et al., ECCV 2022): detections with a high score are assigned first, those with
//! a low score then only continue tracks that nothing else continued, and never begin one. People who are
//! half hidden keep their track this way, and noise does not become an object. The motion is SORT's
//! (Bewley et al., ICIP 2016) in continuous time, and boxes are compared as in C-BIoU (Yang et al., WACV
//! 2023); see `motion` and `similarity`.
//!
//! What differs from the papers, and why:
//! - Every threshold is a time, none is a number of frames: 2 and 30 frames a second must behave alike.
//! - A track is confirmed by evidence: the sum of its scores, from two or more frames that lie some time
//!   apart, with not too many misses between. A flicker of one frame is never an object, at any score.
//! - Weak detections carry a track on for a limited time only, or noise would keep it alive for ever.
//! - A track's class is what its detections speak for most over its life, weighted by score.
//! - The classes of a pair must fit: a person never becomes a car.
//!
//! # Invariants
//! - Pure: no clock, no randomness, no hash order. The order of the detections in a frame does not matter.
//! - Ids begin at 1, grow in the order in which tracks begin, and are never used twice by one `Tracker`.
//! - Each usable detection at or above `min_score` belongs to exactly one track of the frame, confirmed or
//!   candidate, whose box and score are the detection's own.
//! - Once the buffers have grown to the busiest frame, nothing is allocated.
//!
//! # Limits
//! Appearance is not compared, on purpose (it would be biometric for people). Two people who meet and turn
//! back while one hides the other may swap tracks. An object seen at fewer than two frames is lost.

mod assignment;
mod motion;
mod similarity;

use std::cmp::Ordering;
use std::time::Duration;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::BoxInImage;
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::time::MediaTime;

use assignment::Assignment;
use motion::{Motion, Shape};

/// Detections below this score are ignored; detectors need not report them. ByteTrack uses 0.1, but what
/// NanoDet says between 0.1 and 0.2 on a street is noise four times out of five.
pub const LOW_SCORE: f32 = 0.2;

/// One stage of the association. The weaker the evidence, the better it has to fit.
struct Stage {
    /// The highest cost of a pair.
    gate: f64,
    /// Whether boxes grow by what is unsure about the prediction.
    buffered: bool,
}
const STRONG_TO_CONFIRMED: Stage = Stage { gate: 0.85, buffered: true };
const STRONG_TO_CANDIDATES: Stage = Stage { gate: 0.7, buffered: true };
const WEAK_TO_CONFIRMED: Stage = Stage { gate: 0.55, buffered: false };
/// A weak detection continues a track that the frame before had, or that was found this short time ago.
const WEAK_GAP: Duration = Duration::from_millis(500);
/// A candidate that overlaps a confirmed track of a like class by more is the same object seen twice.
const SAME_OBJECT_IOU: f32 = 0.8;

/// How a [`Tracker`] decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackerSettings {
    /// Detections at or above this score may begin a track; those below, down to [`LOW_SCORE`], only
    /// continue one.
    pub min_score: f32,
    /// The sum of scores (each at least `min_score`, from two frames or more) from which a track is
    /// confirmed.
    pub confirm_evidence: f32,
    /// The least share of a candidate's frames that show it, 0..1: noise at one place comes and goes.
    pub confirm_share: f32,
    /// The least time from a track's first detection until it is confirmed.
    pub confirm_after: Duration,
    /// How long a candidate waits for its next detection; at 2 frames a second it must survive one miss.
    pub candidate_patience: Duration,
    /// How long a confirmed track goes on without a detection. Where two frames lie further apart than
    /// this, every track ends.
    pub lost_patience: Duration,
    /// How long a track may be continued by weak detections alone: on a bare street a detector that is
    /// asked for weak ones finds something nearly everywhere.
    pub weak_patience: Duration,
}

impl TrackerSettings {
    /// Settings for street cameras at 2 to 30 frames a second.
    pub const DEFAULT: Self = Self {
        min_score: 0.45,
        confirm_evidence: 0.8,
        confirm_share: 0.3,
        confirm_after: Duration::from_millis(60),
        candidate_patience: Duration::from_millis(1100),
        lost_patience: Duration::from_millis(1500),
        weak_patience: Duration::from_millis(2000),
    };
}

impl Default for TrackerSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Follows the objects of one camera.
#[derive(Debug)]
pub struct Tracker {
    settings: TrackerSettings,
    next_id: u64,
    last_update: Option<(MediaTime, PictureSize)>,
    /// In the order of ids.
    states: Vec<State>,
    confirmed: Vec<Track>,
    candidates: Vec<Track>,
    // Of one frame, kept for their memory:
    found: Vec<Found>,
    rows: Vec<usize>,
    columns: Vec<usize>,
    assignment: Assignment,
}

/// A detection of this frame.
#[derive(Clone, Copy, Debug)]
struct Found {
    detection: Detection,
    shape: Shape,
    taken: bool,
}

/// A track and what is known of it.
#[derive(Clone, Copy, Debug)]
struct State {
    track: Track,
    motion: Motion,
    confirmed: bool,
    /// The sum of the scores of its strong detections.
    evidence: f32,
    last_hit: MediaTime,
    /// The last detection that was not weak.
    last_strong: MediaTime,
    /// Frames with a detection that was not weak.
    strong_frames: u32,
    /// Frames since its first detection, that one included.
    frames: u32,
    /// Whether the frame before this one had a detection of it.
    was_detected: bool,
    votes: [f32; Class::ALL.len()],
}

impl Tracker {
    /// No tracks yet.
    pub fn new(settings: TrackerSettings) -> Self {
        Self {
            settings,
            next_id: 1,
            last_update: None,
            states: Vec::new(),
            confirmed: Vec::new(),
            candidates: Vec::new(),
            found: Vec::new(),
            rows: Vec::new(),
            columns: Vec::new(),
            assignment: Assignment::default(),
        }
    }

    /// Takes in the detections of one frame, in any order. `at` never decreases.
    ///
    /// Boxes that are empty or not finite, and scores below both [`LOW_SCORE`] and `min_score`, are left out.
    pub fn update(&mut self, at: MediaTime, picture: PictureSize, detections: &[Detection]) {
        if let Some((before, picture_before)) = self.last_update {
            let gap = at.since(before);
            if gap > self.settings.lost_patience || picture.aspect() != picture_before.aspect() {
                self.interrupt();
            } else {
                self.predict(gap);
            }
        }
        self.last_update = Some((at, picture));
        let aspect = f64::from(picture.aspect());
        self.collect(detections, aspect);
        let TrackerSettings { min_score, weak_patience, .. } = self.settings;
        let strong = |found: &Found| found.detection.score >= min_score;
        self.assign(at, STRONG_TO_CONFIRMED, |state| state.confirmed, strong);
        self.assign(at, STRONG_TO_CANDIDATES, |state| !state.confirmed, strong);
        let backed = |state: &State| at.since(state.last_strong) <= weak_patience;
        let fresh = |state: &State| state.was_detected || at.since(state.last_hit) <= WEAK_GAP;
        let open_to_weak = |state: &State| state.confirmed && backed(state) && fresh(state);
        self.assign(at, WEAK_TO_CONFIRMED, open_to_weak, |found| !strong(found));
        self.end(at);
        self.begin(at);
        self.confirm(at);
        self.show(aspect);
    }

    /// The confirmed tracks, sorted by id. Those that this frame has no detection of
    /// ([`Track::detected`] is false) stay for a short time, at the predicted place.
    pub fn confirmed(&self) -> &[Track] {
        &self.confirmed
    }

    /// The tracks that are not confirmed yet, sorted by id. An id appears here before it appears among
    /// [`Tracker::confirmed`], or it never does.
    pub fn candidates(&self) -> &[Track] {
        &self.candidates
    }

    /// The stream was interrupted: every track ends. Ids go on.
    pub fn interrupt(&mut self) {
        self.states.clear();
        self.confirmed.clear();
        self.candidates.clear();
        self.last_update = None;
    }

    fn predict(&mut self, gap: Duration) {
        for state in &mut self.states {
            state.was_detected = state.track.detected;
            state.track.detected = false;
            state.motion.predict(gap.as_secs_f64());
            state.frames += 1;
        }
    }

    /// Sorts the usable detections, so that nothing below depends on the order they came in.
    fn collect(&mut self, detections: &[Detection], aspect: f64) {
        let lowest = LOW_SCORE.min(self.settings.min_score);
        self.found.clear();
        self.found.extend(detections.iter().filter(|detection| is_usable(detection, lowest)).map(|&detection| {
            Found { detection, shape: Shape::new(&detection.box_in_image, aspect), taken: false }
        }));
        self.found.sort_unstable_by(|a, b| by_score_and_place(&a.detection, &b.detection));
    }

    /// Assigns the detections that are `eligible` and free to the tracks that are `wanted` and without one.
    fn assign(
        &mut self,
        at: MediaTime,
        Stage { gate, buffered }: Stage,
        wanted: impl Fn(&State) -> bool,
        eligible: impl Fn(&Found) -> bool,
    ) {
        let Self { states, found, rows, columns, assignment, settings, .. } = self;
        rows.clear();
        rows.extend((0..states.len()).filter(|&index| !states[index].track.detected && wanted(&states[index])));
        columns.clear();
        columns.extend((0..found.len()).filter(|&index| !found[index].taken && eligible(&found[index])));
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        assignment.reset(rows.len(), columns.len());
        for (row, &state) in rows.iter().enumerate() {
            let State { track, motion, .. } = &states[state];
            let predicted = motion.shape();
            let doubt = if buffered { motion.uncertainty() } else { (0.0, 0.0) };
            for (column, &index) in columns.iter().enumerate() {
                let Found { detection, shape, .. } = &found[index];
                let cost = similarity::class_cost(track.class, detection.class)
                    .and_then(|change| Some(similarity::cost(&predicted, doubt, shape)? + change));
                if let Some(cost) = cost.filter(|cost| *cost < gate) {
                    assignment.allow(row, column, cost);
                }
            }
        }
        for (row, column) in assignment.solve(gate) {
            let found = &mut found[columns[column]];
            found.taken = true;
            states[rows[row]].hit(at, &found.detection, &found.shape, settings.min_score);
        }
    }

    /// Ends the tracks that have waited too long, and those that have left the picture.
    fn end(&mut self, at: MediaTime) {
        let Self { settings, states, last_update, .. } = self;
        let aspect = last_update.map_or(1.0, |(_, picture)| f64::from(picture.aspect()));
        states.retain_mut(|state| {
            if state.track.detected {
                return true;
            }
            state.motion.hold_size();
            let patience = if state.confirmed { settings.lost_patience } else { settings.candidate_patience };
            let Shape { x, y, .. } = state.motion.shape();
            at.since(state.last_hit) <= patience && (0.0..=aspect).contains(&x) && (0.0..=1.0).contains(&y)
        });
    }

    /// Begins a candidate for each strong detection that no track took.
    fn begin(&mut self, at: MediaTime) {
        let Self { settings, states, found, next_id, .. } = self;
        for found in found.iter().filter(|found| !found.taken && found.detection.score >= settings.min_score) {
            let Detection { class, score, box_in_image } = found.detection;
            let id = TrackId(*next_id);
            *next_id += 1;
            let mut votes = [0.0; Class::ALL.len()];
            votes[class.index()] = score;
            states.push(State {
                track: Track { id, class, score, box_in_image, detected: true, since: at },
                motion: Motion::new(&found.shape, class),
                confirmed: false,
                evidence: score,
                last_hit: at,
                last_strong: at,
                strong_frames: 1,
                frames: 1,
                was_detected: false,
                votes,
            });
        }
    }

    /// Confirms the candidates with enough evidence that are not a second view of a confirmed object.
    fn confirm(&mut self, at: MediaTime) {
        let TrackerSettings { confirm_evidence, confirm_share, confirm_after, .. } = self.settings;
        for index in 0..self.states.len() {
            let candidate = &self.states[index];
            let certain = candidate.strong_frames >= 2
                && candidate.evidence >= confirm_evidence
                && candidate.strong_frames as f32 >= confirm_share * candidate.frames as f32
                && at.since(candidate.track.since) >= confirm_after;
            if candidate.confirmed || !candidate.track.detected || !certain {
                continue;
            }
            let seen_twice = self.states.iter().any(|other| {
                other.confirmed
                    && other.track.detected
                    && similarity::class_cost(other.track.class, candidate.track.class).is_some()
                    && other.track.box_in_image.iou(&candidate.track.box_in_image) > SAME_OBJECT_IOU
            });
            self.states[index].confirmed = !seen_twice;
        }
    }

    fn show(&mut self, aspect: f64) {
        self.confirmed.clear();
        self.candidates.clear();
        for state in &mut self.states {
            if !state.track.detected {
                state.track.box_in_image = state.motion.shape().in_image(aspect);
            }
            if state.confirmed { &mut self.confirmed } else { &mut self.candidates }.push(state.track);
        }
    }
}

impl State {
    fn hit(&mut self, at: MediaTime, detection: &Detection, shape: &Shape, min_score: f32) {
        let Detection { class, score, box_in_image } = *detection;
        self.motion.correct(shape);
        if score >= min_score {
            self.evidence += score;
            self.last_strong = at;
            self.strong_frames += 1;
        }
        self.last_hit = at;
        self.votes[class.index()] += score;
        self.track = Track { class: self.elected(), score, box_in_image, detected: true, ..self.track };
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

fn is_usable(detection: &Detection, lowest: f32) -> bool {
    let BoxInImage { left, top, right, bottom } = detection.box_in_image;
    let finite = [left, top, right, bottom].iter().all(|side| side.is_finite());
    finite && left < right && top < bottom && detection.score >= lowest
}

/// Highest score first; the rest only makes the order total.
fn by_score_and_place(a: &Detection, b: &Detection) -> Ordering {
    let place =
        |d: &Detection| [d.box_in_image.left, d.box_in_image.top, d.box_in_image.right, d.box_in_image.bottom];
    b.score.total_cmp(&a.score).then_with(|| a.class.cmp(&b.class)).then_with(|| {
        let (a, b) = (place(a), place(b));
        a.iter().zip(&b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    })
}
