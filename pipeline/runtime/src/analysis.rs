//! What one camera's frames mean: detections to tracks to findings. Pure: no clock,
//! no thread, no edge, so that `run` and `replay` give the same findings for the same frames.
//!
//! Where the analysis goes in chunks of wall-clock time, the tracker and every operator that counts start anew with each:
//! nothing that they saw before shows in what is counted after (Cangialosi et al., Privid, NSDI 2022). The guards go
//! on: who covers or turns the camera ends the counting for a while, in later chunks too.

use std::path::Path;
use std::time::Duration;

use kerbside_config::{NamedOperator, TimeZone};
use kerbside_core::detection::{Class, Detection};
use kerbside_core::finding::{Finding, Findings};
use kerbside_core::frame::Frame;
use kerbside_core::observation::{Observation, SceneStatistics, Track, TrackId};
use kerbside_core::operator::Role;
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_operators::tracker::{Tracker, TrackerSettings};

use crate::learned::{Memory, Named};

/// The longest time that one frame may stand for. After a longer pause nobody knows what happened,
/// so the pause counts as time without observation.
pub(crate) const LONGEST_STEP: Duration = Duration::from_secs(2);

/// A picture whose luma varies less than this (standard deviation, 8 bit) shows nothing: a black or
/// covered picture, or a decoder's grey. Even a foggy night scene is above 5.
const LEAST_CONTRAST: f32 = 2.0;

/// What is known of a frame beside its findings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// How long the frame stands for.
    pub(crate) step: Duration,
    /// Whether the picture can be trusted.
    pub(crate) trusted: bool,
}

/// What an analysis is made of.
pub(crate) struct AnalysisSettings {
    pub(crate) camera: String,
    pub(crate) min_score: f32,
    pub(crate) classes: Vec<Class>,
    pub(crate) time_zone: TimeZone,
    pub(crate) operators: Vec<NamedOperator>,
    /// How long the chunks are that must know nothing of each other, aligned to the Unix epoch.
    pub(crate) chunk: Option<Duration>,
}

/// One camera's tracker and operators with their state.
pub(crate) struct Analysis {
    tracker: Tracker,
    guards: Vec<Named>,
    operators: Vec<Named>,
    /// Which of `operators` count objects.
    counting: Vec<bool>,
    chunk: Option<Duration>,
    time_zone: TimeZone,
    wanted: [bool; Class::ALL.len()],
    detections: Vec<Detection>,
    findings: Findings,
    /// For each finding the place of its operator: guards first.
    authors: Vec<u16>,
    last: Option<(u32, MediaTime)>,
    /// The moment of the frame that was tracked last, on both clocks.
    tracked: Option<(MediaTime, WallTime)>,
}

impl Analysis {
    /// `operators` are those over frames: see [`crate::watchers`] for the others.
    pub(crate) fn new(settings: AnalysisSettings) -> Self {
        let AnalysisSettings { camera, min_score, classes, time_zone, operators, chunk } = settings;
        let (guards, analytics): (Vec<_>, Vec<_>) =
            operators.into_iter().partition(|named| named.configured.role == Role::Guard);
        let counts = |named: &NamedOperator| named.configured.cells.iter().any(|cell| cell.measure.is_count());
        let counting = analytics.iter().map(counts).collect();
        let named = |operators: Vec<NamedOperator>| {
            Named::all(&camera, operators.into_iter().map(|it| (it.name, it.configured.operator)))
        };
        let (guards, analytics) = (named(guards), named(analytics));
        Self {
            tracker: Tracker::new(TrackerSettings { min_score, ..TrackerSettings::DEFAULT }),
            guards,
            operators: analytics,
            counting,
            chunk,
            time_zone,
            wanted: Class::ALL.map(|class| classes.contains(&class)),
            detections: Vec::new(),
            findings: Findings::new(),
            authors: Vec::new(),
            last: None,
            tracked: None,
        }
    }

    /// Asks the guards whether the picture can be trusted and joins this frame's detections to the tracks.
    /// [`Analysis::operate`] comes next.
    ///
    /// Without statistics of the scene the picture is not trusted, and the guards are not asked.
    pub(crate) fn track(
        &mut self,
        frame: &Frame,
        detections: &[Detection],
        scene: Option<&SceneStatistics>,
    ) -> Seen {
        let step = self.step_to(frame);
        let mut seen = Seen {
            step: step.unwrap_or_default(),
            trusted: scene.is_some_and(|scene| scene.luma_deviation >= LEAST_CONTRAST),
        };
        self.findings.clear();
        self.authors.clear();
        self.begin_chunk_at(frame.media_time, frame.wall_time);
        if let Some(scene) = scene {
            let observation = observation(frame, &self.time_zone, scene, seen, &[]);
            for (place, guard) in (0..).zip(&mut self.guards) {
                guard.operator.observe(&observation, &mut self.findings);
                guard.operator.advance(frame.media_time, &mut self.findings);
                seen.trusted &= guard.operator.trusts();
                self.authors.resize(self.findings.as_slice().len(), place);
            }
        }
        self.detections.clear();
        if seen.trusted {
            self.detections.extend(detections.iter().filter(|detection| self.wanted[detection.class.index()]));
        }
        self.tracker.update(frame.media_time, frame.size, &self.detections);
        seen
    }

    /// A frame that could not be analysed: the time that it stands for is time without observation.
    pub(crate) fn skip(&mut self, frame: &Frame) {
        self.step_to(frame);
    }

    /// The time since the frame before; `None`, and every track ends, when nobody knows what happened since.
    fn step_to(&mut self, frame: &Frame) -> Option<Duration> {
        let step = match self.last {
            Some((run, at)) if run == frame.run => Some(frame.media_time.since(at)),
            _ => None,
        };
        let step = step.filter(|step| *step <= LONGEST_STEP);
        if self.last.is_some() && step.is_none() {
            self.tracker.interrupt();
        }
        self.last = Some((frame.run, frame.media_time));
        step
    }

    /// Runs every operator on the tracks of the frame that was tracked last. What the guards found is among the
    /// findings.
    pub(crate) fn operate(&mut self, frame: &Frame, scene: Option<&SceneStatistics>, seen: Seen) -> &[Finding] {
        let unknown = SceneStatistics::default();
        let scene = scene.unwrap_or(&unknown);
        let observation = observation(frame, &self.time_zone, scene, seen, self.tracker.confirmed());
        let first = u16::try_from(self.guards.len()).expect("a camera's file holds few operators");
        for (place, operator) in (first..).zip(&mut self.operators) {
            operator.operator.observe(&observation, &mut self.findings);
            operator.operator.advance(frame.media_time, &mut self.findings);
            self.authors.resize(self.findings.as_slice().len(), place);
        }
        self.findings.as_slice()
    }

    /// Starts anew where this moment is in another chunk than the frame that was tracked last. What ends with it is
    /// found as of that frame.
    fn begin_chunk_at(&mut self, media: MediaTime, wall: WallTime) {
        let before = self.tracked.replace((media, wall));
        let (Some(chunk), Some((_, before))) = (self.chunk, before) else { return };
        if before.bin_start(chunk) == wall.bin_start(chunk) {
            return;
        }
        self.tracker.start_anew();
        let first = u16::try_from(self.guards.len()).expect("a camera's file holds few operators");
        for ((place, named), _) in
            (first..).zip(&mut self.operators).zip(&self.counting).filter(|(_, counts)| **counts)
        {
            named.operator.finish(&mut self.findings);
            self.authors.resize(self.findings.as_slice().len(), place);
        }
    }

    /// No frame has come, and none from before `upto` will.
    pub(crate) fn pass(&mut self, upto: MediaTime) -> &[Finding] {
        self.findings.clear();
        self.authors.clear();
        if let Some((media, wall)) = self.tracked {
            self.begin_chunk_at(upto, wall + upto.since(media));
        }
        for named in self.guards.iter_mut().chain(&mut self.operators) {
            named.operator.advance(upto, &mut self.findings);
        }
        self.findings.as_slice()
    }

    /// Nothing more will come.
    pub(crate) fn finish(&mut self) -> &[Finding] {
        self.findings.clear();
        for operator in self.guards.iter_mut().chain(&mut self.operators) {
            operator.operator.finish(&mut self.findings);
        }
        self.findings.as_slice()
    }

    /// What the operators have learned.
    pub(crate) fn remember(&self) -> Vec<Memory> {
        self.guards.iter().chain(&self.operators).filter_map(Named::remember).collect()
    }

    /// Gives the operators what the last start has left in `folder`.
    pub(crate) fn recall(&mut self, folder: &Path) {
        self.guards.iter_mut().chain(&mut self.operators).for_each(|named| named.recall(folder));
    }

    /// The tracks of the frame that was tracked last.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = (TrackId, Class)> {
        self.tracker.confirmed().iter().map(|track| (track.id, track.class))
    }

    /// For each finding of [`Analysis::operate`] the place of its operator in [`Analysis::operator_names`].
    pub(crate) fn authors(&self) -> &[u16] {
        &self.authors
    }

    /// The names of the operators over frames.
    pub(crate) fn operator_names(&self) -> Vec<String> {
        self.guards.iter().chain(&self.operators).map(|named| named.kind().to_owned()).collect()
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.tracker
    }
}

fn observation<'a>(
    frame: &Frame,
    time_zone: &TimeZone,
    scene: &'a SceneStatistics,
    seen: Seen,
    tracks: &'a [Track],
) -> Observation<'a> {
    Observation {
        at: frame.media_time,
        step: seen.step,
        picture: frame.size,
        tracks,
        wall: frame.wall_time,
        local: time_zone.local(frame.wall_time),
        scene,
        trusted: seen.trusted,
    }
}
