//! One recorded clip through the same stages as a live camera: every frame, in order, as fast as it goes.
//!
//! Nothing here reads a clock that reaches a result: a clip's frames lie at `first_frame_at` plus their
//! media time, so the same clip and configuration give the same rows, byte for byte.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kerbside_channel::{Receiver, WhenFull, edge};
use kerbside_config::CameraSettings;
use kerbside_core::camera::CameraState;
use kerbside_core::time::WallTime;
use kerbside_ingest::{CameraStatus, ClipWriter};
use kerbside_models::{EngineChoice, ModelFolder};
use kerbside_release::{
    ClockQuality, FrameReport, HealthSample, IncidentSeed, NodeIdentity, Positions, Release, ReleasedBatch,
    StreamPosition,
};
use kerbside_telemetry::{Beat, CameraMetrics, Stage, Telemetry};
use kerbside_vision::SceneWatcher;

use crate::analysis::LONGEST_STEP;
use crate::error::{RuntimeError, spawn};
use crate::fleet::{analysis, plan};
use crate::guarantee;
use crate::lane::{Lane, LaneId, Report};
use crate::onlookers::{Onlookers, SharedOnlookers};
use crate::overlay::{self, OverlayClip};
use crate::pool::{Failure, Maker, Pool};
use crate::tracks::{TrackRow, TrackRows};
use crate::watchers::{Watcher, Watchers};

/// The span of one health row, of the clip's time.
const HEALTH_SPAN: Duration = Duration::from_secs(60);
/// Where a replay's row numbers begin.
const FIRST: StreamPosition = StreamPosition { epoch: 1, next_seq: 0 };
const POSITIONS: Positions = Positions { agg: FIRST, health: FIRST, incident: FIRST };
/// A replay gives the same rows every time.
const SEED: IncidentSeed = IncidentSeed([0; 16]);

/// How to replay.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// The clip.
    pub clip: PathBuf,
    /// The UTC moment at which the clip's first frame is put.
    pub first_frame_at: WallTime,
    /// Frames at once, each in a detector of its own; the result does not depend on it.
    pub threads: usize,
    /// Threads that split one frame; the result does not depend on it.
    pub threads_per_frame: usize,
    /// What runs the detector's network.
    pub engine: EngineChoice,
    /// Shortens every bin, for demonstrations; the rows are stamped as such.
    pub demo_bin: Option<Duration>,
    /// Whether to collect [`ReplayOutcome::tracks`].
    pub tracks: bool,
    /// Where to write the clip with what was found drawn on it, as MP4.
    pub overlay: Option<PathBuf>,
    /// The version that `health.v1` names.
    pub software: String,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Frames analysed so far.
    pub frames: u64,
    /// The clip's time so far.
    pub media: Duration,
}

/// What a replay gave.
pub struct ReplayOutcome {
    /// The released rows, in order.
    pub batches: Vec<ReleasedBatch>,
    /// The tracks, where they were asked for, by frame and id.
    pub tracks: Vec<TrackRow>,
    /// How many pictures the overlay has, where it was asked for. Where it failed, the rest is as it would be
    /// without it.
    pub overlay: Option<Result<u64, RuntimeError>>,
    /// Frames analysed.
    pub frames: u64,
    /// Frames of the clip that were damaged and left out.
    pub damaged: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Mean time of one frame in each stage.
    pub stages: Vec<(&'static str, Duration)>,
    /// Whether it was broken off by the progress callback.
    pub interrupted: bool,
}

/// A replay that can be run.
pub struct Replay {
    camera: CameraSettings,
    options: ReplayOptions,
    model: Arc<kerbside_models::Model>,
    overlay: Option<ClipWriter>,
}

impl Replay {
    /// Loads the camera's model and makes the overlay's file.
    pub fn new(
        camera: CameraSettings,
        models: &ModelFolder,
        options: ReplayOptions,
    ) -> Result<Self, RuntimeError> {
        let model = models
            .load_for(&camera.detector.model, options.engine)
            .map_err(|source| RuntimeError::Model { camera: camera.name.clone(), source })?;
        let overlay = options.overlay.as_deref();
        let overlay = overlay.map(|path| overlay::create(path, &options.clip, camera.analyse_fps)).transpose()?;
        Ok(Self { camera, options, model, overlay })
    }

    /// Runs to the clip's end, or until `progress` breaks it off: then the rows so far are complete and true.
    pub fn run(
        self,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<ReplayOutcome, RuntimeError> {
        let Self { mut camera, options, model, overlay } = self;
        let started = Instant::now();
        let telemetry = Arc::new(Telemetry::new());
        let name = camera.name.clone();
        let metrics = CameraMetrics::new(&telemetry, &name);
        // The model was loaded for the engine.
        let ReplayOptions { clip, first_frame_at, threads, threads_per_frame, demo_bin, tracks, software, .. } =
            options;
        let identity = NodeIdentity {
            node: "replay".to_owned(),
            software,
            config_revision: camera.revision,
            incident_seed: SEED,
        };
        let plan = plan(&camera, model.id(), demo_bin);
        let guarantee = guarantee::of_clip(&clip, first_frame_at, camera.revision, demo_bin.is_some())?;
        let release = Release::new(identity, vec![plan], POSITIONS, first_frame_at, guarantee)?;
        let watchers = Watchers::new(vec![Watcher::take_from(&mut camera)]);

        let threads = threads.max(1);
        let maker = Arc::new(Maker::new(model, threads_per_frame));
        let pool = Pool::start(&[Arc::clone(&maker)], threads, &telemetry)?;
        let asks = pool.entrance(&telemetry, &name, threads);
        let (sender, frames) = edge(&telemetry, &format!("{name}/slot"), threads, WhenFull::Block);
        let (report_sender, reports) = edge(&telemetry, "reports", 64, WhenFull::Block);
        let source = crate::source::clip(&camera, clip, first_frame_at);
        let geometry = camera.geometry.clone();
        let analysis = analysis(camera);
        let overlay = overlay.map(|writer| OverlayClip::new(writer, geometry, analysis.operator_names()));
        let onlookers = SharedOnlookers::new(Onlookers { tracks: tracks.then(TrackRows::default), overlay });
        let lane = Lane {
            id: LaneId(0),
            name: name.clone(),
            maker,
            analysis,
            watcher: SceneWatcher::new(),
            frames,
            asks,
            reports: report_sender,
            metrics: metrics.clone(),
            in_flight: threads,
            inspect: onlookers.inspect(),
            is_live: false,
            beat: Beat::default(),
            setup: None,
            inference_nanos: Arc::default(),
        };
        let lane = spawn(format!("{name}/lane"), move || lane.run())?;
        let ingest_failed = |source| RuntimeError::Ingest { camera: name.clone(), source };
        let status = Arc::new(CameraStatus::new());
        let ingest =
            kerbside_ingest::start(source, sender, metrics.clone(), Arc::clone(&status)).map_err(ingest_failed)?;

        let mut releasing = Releasing::new(release, watchers, first_frame_at);
        let broken_off = releasing.run(reports, progress);
        ingest.stop();
        let ended = ingest.join();
        let panicked = |stage: &str| RuntimeError::Panicked { stage: stage.to_owned() };
        lane.join().map_err(|_| panicked("lane"))?;
        for worker in pool.close() {
            worker.join().map_err(|_| panicked("detect"))?;
        }
        let interrupted = broken_off?;
        ended.map_err(ingest_failed)?;
        let frames = releasing.frames;
        let batches = releasing.finish()?;
        let Onlookers { tracks, overlay } = onlookers.take();
        let tracks = tracks.map(TrackRows::into_sorted).unwrap_or_default();
        let overlay = overlay.map(OverlayClip::finish);
        let stages = Stage::ALL.iter().map(|stage| (stage.name(), metrics.stage(*stage).mean())).collect();
        let damaged = status.frames_damaged();
        Ok(ReplayOutcome {
            batches,
            tracks,
            overlay,
            frames,
            damaged,
            elapsed: started.elapsed(),
            stages,
            interrupted,
        })
    }
}

/// The release stage of a replay: the clip's time is its clock.
struct Releasing {
    release: Release,
    watchers: Watchers,
    batches: Vec<ReleasedBatch>,
    start: WallTime,
    health_from: WallTime,
    now: WallTime,
    frames: u64,
    frames_before: u64,
}

impl Releasing {
    fn new(release: Release, watchers: Watchers, start: WallTime) -> Self {
        Self {
            release,
            watchers,
            batches: Vec::new(),
            start,
            health_from: start.bin_start(HEALTH_SPAN),
            now: start,
            frames: 0,
            frames_before: 0,
        }
    }

    /// Takes in every report; whether `progress` broke it off.
    fn run(
        &mut self,
        reports: Receiver<Report>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<bool, RuntimeError> {
        while let Some(report) = reports.receive() {
            match report.failure {
                Some(Failure::Inference(source)) => {
                    return Err(RuntimeError::Inference { frame: report.sequence + 1, source });
                }
                // No frame of a clip is ever too old.
                Some(Failure::Panicked | Failure::TooOld) => {
                    return Err(RuntimeError::Panicked { stage: "detect".to_owned() });
                }
                None => {}
            }
            // A frame may stand for time before it, so a bin is closed only when that time is over.
            self.release.advance(report.wall - LONGEST_STEP, &mut self.batches)?;
            self.watchers.look(&mut self.release, report.wall - LONGEST_STEP, ClockQuality::Unsynced);
            while report.wall >= self.health_from + HEALTH_SPAN {
                self.health(self.health_from + HEALTH_SPAN)?;
            }
            let frame = FrameReport {
                media: report.media,
                wall: report.wall,
                step: report.seen.step,
                trusted: report.seen.trusted,
                clock: ClockQuality::Unsynced,
            };
            if report.is_afterword {
                self.release.add_findings(0, &frame, &report.findings);
                continue;
            }
            self.release.follow(0, &frame, report.tracks.iter().copied());
            self.release.observe(0, &frame, &report.findings);
            self.now = report.wall;
            self.frames += 1;
            let done = Progress { frames: self.frames, media: Duration::from_nanos(report.media.as_nanos()) };
            if progress(done).is_break() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn finish(mut self) -> Result<Vec<ReleasedBatch>, RuntimeError> {
        if self.frames > self.frames_before {
            self.health(self.health_from + HEALTH_SPAN)?;
        }
        self.release.finish(self.now, &mut self.batches)?;
        self.watchers.finish(&mut self.release, self.now, ClockQuality::Unsynced);
        self.release.advance(self.now - LONGEST_STEP, &mut self.batches)?;
        Ok(self.batches)
    }

    /// One health row: what a replay measures of itself must be the same every time, so memory, latency
    /// and the host are left out.
    fn health(&mut self, to: WallTime) -> Result<(), RuntimeError> {
        // The clip may begin or end within the minute.
        let seen = to.min(self.now).since(self.health_from.max(self.start)).as_secs_f32();
        let fps = (self.frames - self.frames_before) as f32 / seen.max(1.0);
        let sample =
            HealthSample { fps_proc: Some(fps), debug_view: Some(false), ..HealthSample::new(CameraState::Up) };
        self.release.health(self.health_from, to, ClockQuality::Unsynced, &[sample], &mut self.batches)?;
        self.health_from = to;
        self.frames_before = self.frames;
        Ok(())
    }
}
