//! Joins the detections of one camera into tracks.
//!
//! After ByteTrack (Zhang et al., ECCV 2022): detections with a high score are assigned first, those with
//! a low score then only continue tracks that nothing else continued, and never begin one. People who are
//! half hidden keep their track this way, and noise does not become an object. The motion is SORT's
//! (Bewley et al., ICIP 2016) in continuous time, and boxes are compared as in C-BIoU (Yang et al., WACV
//! 2023). From OC-SORT (Cao et al., CVPR 2023) come three ways to trust detections more than predictions:
//! the direction of a track counts in the association (`heading`), a track that was lost is led along
//! the way it must have taken (`motion`), and one that nothing fits by prediction is looked for
//! around where it was last seen, as far as it can have gone.
//!
//! What differs from the papers, and why:
//! - Every threshold is a time, none is a number of frames: 2 and 30 frames a second must behave alike.
//! - A track is confirmed by evidence, see `state`.
//! - A weak detection in the very place where a track is expected is preferred to a strong one that hardly fits it: someone
//!   who stands half hidden does not run off with a neighbour's box, or with one that shows nobody.
//! - Doubt about where an object is lets it be found further away, but in about the size that it had.
//! - Weak detections carry a track on for a limited time only, or noise would keep it alive for ever.
//! - What the detector invents at one fixed place is learned and neither begins nor continues a confirmed
//!   track, see `places`.
//! - A detection that better ones cover, such as a box around two people who walk together, is treated as
//!   weak whatever its score, see `coverage`.
//! - A track's class is what its detections speak for most over its life, weighted by score.
//! - The classes of a pair must fit: a person never becomes a car.
//! - A box that the picture's border cuts is completed for the motion and cut for the comparison; a
//!   track that was leaving ends soon, and none goes on outside the picture.
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
//! back while one hides the other may swap tracks. An object seen at fewer than two frames is lost, and so
//! is one that never moves and that the detector is never sure of.

mod assignment;
mod coverage;
mod heading;
mod motion;
mod places;
mod similarity;
mod state;

use std::cmp::Ordering;
use std::time::Duration;

use kerbside_core::detection::Detection;
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::BoxInImage;
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::time::MediaTime;

use assignment::Assignment;
use coverage::Coverage;
use motion::Cut;
use places::Places;
use state::{Found, State};

/// Detections below this score are ignored; detectors need not report them. ByteTrack uses 0.1, but what
/// NanoDet says between 0.1 and 0.2 on a street is noise four times out of five.
pub const LOW_SCORE: f32 = 0.2;

/// One stage of the association. The weaker the evidence, the better it has to fit.
struct Stage {
    /// The highest cost of a pair.
    gate: f64,
    /// Where the track is looked for.
    place: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Where it is predicted to be; boxes grow by what is unsure about that.
    About,
    /// Where it is predicted to be.
    There,
    /// Where it was last detected; boxes grow by the way that it has gone since, wherever it has turned.
    LastSeen,
}

/// What a detection may claim of a track in a stage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// All that the stage allows.
    Full,
    /// As much as a weak detection may claim, at a cost of [`WEAK_COST`].
    Weak,
}

const STRONG_TO_CONFIRMED: Stage = Stage { gate: 0.9, place: Expected::About };
const STRONG_TO_CANDIDATES: Stage = Stage { gate: 0.7, place: Expected::About };
const STRONG_TO_LAST_SEEN: Stage = Stage { gate: 0.7, place: Expected::LastSeen };
const WEAK_TO_CONFIRMED: Stage = Stage { gate: 0.45, place: Expected::There };
/// By how much a weak detection must fit a track better than a strong one does, to be preferred to it.
const WEAK_COST: f64 = 0.6;
/// A weak detection continues a track that the frame before had, or that was found this short time ago.
const WEAK_GAP: Duration = Duration::from_millis(500);
/// A candidate that overlaps a confirmed track of a like class by more is the same object seen twice.
const SAME_OBJECT_IOU: f32 = 0.8;

/// A detection that overlaps a moving track by more may be a second view of it.
const CLAIMED_IOU: f32 = 0.3;

/// Only detections that overlap another by this much cover it, so that a crowd hides nobody in its midst.
const COVERING_IOU: f32 = 0.2;
/// A detection of which better ones cover this share is no evidence for a further object.
const COVERED_SHARE: f32 = 0.8;

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
        lost_patience: Duration::from_secs(2),
        weak_patience: Duration::from_secs(4),
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
    places: Places,
    // Of one frame, kept for their memory:
    found: Vec<Found>,
    rows: Vec<usize>,
    columns: Vec<usize>,
    assignment: Assignment,
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
            places: Places::default(),
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
        let mut step = Duration::ZERO;
        if let Some((before, picture_before)) = self.last_update {
            step = at.since(before);
            if picture.aspect() != picture_before.aspect() {
                self.interrupt();
                self.places = Places::default();
            } else if step > self.settings.lost_patience {
                self.interrupt();
            } else {
                self.states.iter_mut().for_each(|state| state.predict(step));
            }
        }
        self.last_update = Some((at, picture));
        let aspect = f64::from(picture.aspect());
        self.places.pass(step);
        self.collect(detections, aspect);
        let TrackerSettings { min_score, weak_patience, .. } = self.settings;
        let strong = |found: &Found| found.detection.score >= min_score;
        let real = |found: &Found| strong(found) && found.is_evidence();
        let backed = |state: &State| at.since(state.last_strong) <= weak_patience;
        let fresh = |state: &State| state.was_detected || at.since(state.last_hit) <= WEAK_GAP;
        let open_to_weak = |state: &State| state.confirmed && backed(state) && fresh(state);
        let preferred = |state: &State, found: &Found| match real(found) {
            true => Some(Claim::Full),
            false => (open_to_weak(state) && !found.explained).then_some(Claim::Weak),
        };
        self.assign(at, STRONG_TO_CONFIRMED, |state| state.confirmed, preferred);
        let full = |claims: bool| claims.then_some(Claim::Full);
        self.assign(at, STRONG_TO_CANDIDATES, |state| !state.confirmed, |_, found| full(strong(found)));
        self.assign(at, STRONG_TO_LAST_SEEN, |state| state.confirmed, |_, found| full(real(found)));
        self.assign(at, WEAK_TO_CONFIRMED, open_to_weak, |_, found| full(!found.explained));
        self.learn(step, aspect);
        self.states.retain_mut(|state| state.track.detected || state.miss(at, aspect, &self.settings));
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

    /// Forgets everything, learned places too, as if it had been made anew. Ids go on.
    pub fn start_anew(&mut self) {
        *self = Self { next_id: self.next_id, ..Self::new(self.settings) };
    }

    /// Sorts the usable detections, so that nothing below depends on the order they came in.
    fn collect(&mut self, detections: &[Detection], aspect: f64) {
        let min_score = self.settings.min_score;
        let lowest = LOW_SCORE.min(min_score);
        self.found.clear();
        let usable = detections.iter().filter(|detection| is_usable(detection, lowest));
        self.found.extend(usable.map(|&detection| Found {
            explained: self.places.explain(&detection, min_score),
            ..Found::new(detection, aspect)
        }));
        self.found.sort_unstable_by(|a, b| by_score_and_place(&a.detection, &b.detection));
        self.cover();
    }

    /// Marks the detections that better ones of their class make up.
    fn cover(&mut self) {
        for index in 1..self.found.len() {
            let (better, rest) = self.found.split_at_mut(index);
            let Found { detection: Detection { class, box_in_image, .. }, covered, .. } = &mut rest[0];
            let mut coverage = Coverage::default();
            for Found { detection: other, .. } in better.iter().filter(|other| other.detection.class == *class) {
                if other.box_in_image.iou(box_in_image) >= COVERING_IOU {
                    coverage.add(box_in_image, &other.box_in_image);
                }
            }
            *covered = coverage.share() >= COVERED_SHARE;
        }
    }

    /// Assigns the detections that are free to the tracks that are `wanted` and without one, where the detection has
    /// a `claim` to the track.
    fn assign(
        &mut self,
        at: MediaTime,
        Stage { gate, place }: Stage,
        wanted: impl Fn(&State) -> bool,
        claim: impl Fn(&State, &Found) -> Option<Claim>,
    ) {
        let Self { states, found, rows, columns, assignment, settings, last_update, .. } = self;
        rows.clear();
        rows.extend((0..states.len()).filter(|&index| !states[index].track.detected && wanted(&states[index])));
        columns.clear();
        columns.extend((0..found.len()).filter(|&index| !found[index].taken));
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        assignment.reset(rows.len(), columns.len());
        let aspect = last_update.map_or(1.0, |(_, picture)| f64::from(picture.aspect()));
        for (row, &state) in rows.iter().enumerate() {
            let State { track, motion, heading, .. } = &states[state];
            let (expected, doubt) = match place {
                Expected::About => (motion.shape(), motion.uncertainty()),
                Expected::There => (motion.shape(), (0.0, 0.0)),
                Expected::LastSeen => (*motion.seen(), motion.reach()),
            };
            let expected = expected.visible(aspect);
            for (column, &index) in columns.iter().enumerate() {
                let Found { detection, shape, cut, .. } = &found[index];
                let (doubt, gate, extra) = match claim(&states[state], &found[index]) {
                    Some(Claim::Full) => (doubt, gate, 0.0),
                    Some(Claim::Weak) => ((0.0, 0.0), WEAK_TO_CONFIRMED.gate, WEAK_COST),
                    None => continue,
                };
                let cut = *cut != Cut::default() || motion.is_cut();
                let cost = similarity::class_cost(track.class, detection.class)
                    .filter(|_| similarity::alike(&expected, shape, cut))
                    .and_then(|change| Some(similarity::cost(&expected, doubt, shape)? + change))
                    .filter(|cost| *cost < gate)
                    .map(|cost| cost + heading.cost(shape));
                if let Some(cost) = cost.filter(|cost| *cost < gate) {
                    assignment.allow(row, column, cost + extra);
                }
            }
        }
        for (row, column) in assignment.solve(gate) {
            let found = &mut found[columns[column]];
            found.taken = true;
            states[rows[row]].hit(at, found, settings.min_score);
        }
    }

    /// Teaches the places what no moving object accounts for, not even as a second view of it.
    fn learn(&mut self, step: Duration, aspect: f64) {
        let Self { states, found, places, .. } = self;
        let claimed = |box_in_image: &BoxInImage| {
            states.iter().any(|state| {
                state.confirmed && state.moved && state.box_now(aspect).iou(box_in_image) > CLAIMED_IOU
            })
        };
        for found in found.iter().filter(|found| !found.taken && !claimed(&found.detection.box_in_image)) {
            places.learn(&found.detection, step);
        }
        for state in states.iter().filter(|state| state.track.detected && !state.moved) {
            let Track { class, score, box_in_image, .. } = state.track;
            if !claimed(&box_in_image) {
                places.learn(&Detection { class, score, box_in_image }, step);
            }
        }
    }

    /// Begins a candidate for each strong detection that no track took.
    fn begin(&mut self, at: MediaTime) {
        let Self { settings, states, found, next_id, .. } = self;
        for found in found.iter().filter(|found| !found.taken && found.detection.score >= settings.min_score) {
            states.push(State::begin(TrackId(*next_id), at, found));
            *next_id += 1;
        }
    }

    /// Confirms the candidates with enough evidence that are not a second view of a confirmed object.
    fn confirm(&mut self, at: MediaTime) {
        for index in 0..self.states.len() {
            let candidate = &self.states[index];
            if candidate.confirmed || !candidate.track.detected || !candidate.is_certain(at, &self.settings) {
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
                state.track.box_in_image = state.box_now(aspect);
            }
            if state.confirmed { &mut self.confirmed } else { &mut self.candidates }.push(state.track);
        }
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
