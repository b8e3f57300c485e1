//! The detect pool: a few threads that run detectors for all cameras.
//!
//! The queue is first come, first served, and a camera has a fixed number of frames in it (one where it
//! is live), so a camera that asks more does not starve another. A detector that panics loses its frame
//! and is made anew; the pool and the other cameras go on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kerbside_channel::{Receiver, Reply, Sender, WhenFull, edge};
use kerbside_core::detection::Detection;
use kerbside_core::frame::Frame;
use kerbside_models::{Detector, InferenceError, Model, Stage};
use kerbside_telemetry::Telemetry;

use crate::error::{RuntimeError, spawn};

/// One frame to be looked at.
pub(crate) struct Ask {
    /// Which of the pool's models.
    pub(crate) model: usize,
    pub(crate) frame: Frame,
    /// An empty list whose memory is reused.
    pub(crate) detections: Vec<Detection>,
    pub(crate) reply: Reply<Answer>,
}

/// How long each stage of one detection took, in the order of [`Stage::ALL`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timings([Duration; Stage::ALL.len()]);

impl Timings {
    pub(crate) fn of(&self, stage: Stage) -> Duration {
        self.0[stage as usize]
    }
}

/// The same frame, looked at.
pub(crate) struct Answer {
    pub(crate) frame: Frame,
    pub(crate) detections: Vec<Detection>,
    pub(crate) outcome: Result<Timings, Failure>,
}

/// Why a frame has no detections.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Inference(#[from] InferenceError),
    #[error("the detector panicked")]
    Panicked,
}

/// The pool's threads. They end when the last [`Sender`] of asks is gone.
pub(crate) struct Pool {
    asks: Sender<Ask>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(crate) fn start(
        models: &[Arc<Model>],
        threads: usize,
        capacity: usize,
        telemetry: &Telemetry,
    ) -> Result<Self, RuntimeError> {
        let (asks, queue) = edge(telemetry, "detect", capacity.max(1), WhenFull::Block);
        let workers = (0..threads.max(1))
            .map(|number| {
                let (queue, models) = (queue.clone(), models.to_vec());
                spawn(format!("detect-{number}"), move || work(&queue, &models))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { asks, workers })
    }

    pub(crate) fn asks(&self) -> Sender<Ask> {
        self.asks.clone()
    }

    /// Lets the threads end once every lane is gone.
    pub(crate) fn close(self) -> Vec<JoinHandle<()>> {
        self.workers
    }
}

fn work(queue: &Receiver<Ask>, models: &[Arc<Model>]) {
    let mut detectors: Vec<Box<dyn Detector>> = models.iter().map(Model::detector).collect();
    while let Some(Ask { model, frame, mut detections, reply }) = queue.receive() {
        let detector = &mut detectors[model];
        let outcome = catch_unwind(AssertUnwindSafe(|| detect(&mut **detector, &frame, &mut detections)));
        let outcome = match outcome {
            Ok(outcome) => outcome.map_err(Failure::from),
            Err(_) => {
                detections.clear();
                *detector = models[model].detector();
                Err(Failure::Panicked)
            }
        };
        reply.give(Answer { frame, detections, outcome });
    }
}

fn detect(
    detector: &mut dyn Detector,
    frame: &Frame,
    detections: &mut Vec<Detection>,
) -> Result<Timings, InferenceError> {
    let mut timings = Timings::default();
    let mut since = Instant::now();
    detector.detect_in_stages(frame, detections, &mut |stage| {
        let now = Instant::now();
        timings.0[stage as usize] = now.duration_since(since);
        since = now;
    })?;
    Ok(timings)
}
