//! The detect pool: a few threads that run detectors for all cameras.
//!
//! Cameras take turns ([`crate::turns`]): a camera with many frames waiting does not hold up another. Each of the
//! pool's threads has a detector of every model, and a detector may have threads of its own that split one frame. A
//! detector that panics loses its frame and is made anew; the pool and the other cameras go on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kerbside_channel::Reply;
use kerbside_core::detection::Detection;
use kerbside_core::frame::Frame;
use kerbside_models::{Detector, DetectorSettings, InferenceError, Model, Stage};
use kerbside_telemetry::Telemetry;

use crate::error::{RuntimeError, spawn};
use crate::turns::{Entrance, Turns, turns};

/// One frame to be looked at.
pub(crate) struct Ask {
    /// Which of the pool's models.
    pub(crate) model: usize,
    pub(crate) frame: Frame,
    /// From when on nobody may look at the frame any more.
    pub(crate) good_until: Option<Instant>,
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
    #[error("the frame was too old")]
    TooOld,
}

/// How many threads do what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolSettings {
    /// Frames at once, each in a detector of its own.
    pub(crate) detectors: usize,
    /// Threads that split one frame.
    pub(crate) threads_per_frame: usize,
}

/// The pool's threads. They end when every [`Entrance`] is gone.
pub(crate) struct Pool {
    workers: Vec<JoinHandle<()>>,
}

/// Makes detectors of one model.
type Maker = Box<dyn Fn() -> Box<dyn Detector> + Send + Sync>;

impl Pool {
    /// Starts the threads. `cameras` says each camera's name and how many asks it may have waiting; where they ask
    /// comes back in the same order.
    pub(crate) fn start(
        models: &[Arc<Model>],
        settings: PoolSettings,
        cameras: &[(&str, usize)],
        telemetry: &Telemetry,
    ) -> Result<(Self, Vec<Entrance<Ask>>), RuntimeError> {
        let PoolSettings { detectors, threads_per_frame } = settings;
        let of_each = DetectorSettings { threads: threads_per_frame.max(1), ..DetectorSettings::default() };
        let makers =
            models.iter().cloned().map(|model| -> Maker { Box::new(move || model.detector_with(of_each)) });
        Self::start_with(makers.collect(), detectors, cameras, telemetry)
    }

    fn start_with(
        makers: Arc<[Maker]>,
        detectors: usize,
        cameras: &[(&str, usize)],
        telemetry: &Telemetry,
    ) -> Result<(Self, Vec<Entrance<Ask>>), RuntimeError> {
        let (entrances, asks) = turns(telemetry, cameras);
        let asks = Arc::new(asks);
        let workers = (0..detectors.max(1))
            .map(|number| {
                let (asks, makers) = (Arc::clone(&asks), Arc::clone(&makers));
                spawn(format!("detect-{number}"), move || work(&asks, &makers))
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { workers }, entrances))
    }

    /// The threads, which end once every lane is gone.
    pub(crate) fn close(self) -> Vec<JoinHandle<()>> {
        self.workers
    }
}

fn work(asks: &Turns<Ask>, makers: &[Maker]) {
    let mut detectors: Vec<Box<dyn Detector>> = makers.iter().map(|make| make()).collect();
    while let Some(Ask { model, frame, good_until, mut detections, reply }) = asks.receive() {
        if good_until.is_some_and(|until| Instant::now() > until) {
            reply.give(Answer { frame, detections, outcome: Err(Failure::TooOld) });
            continue;
        }
        let detector = &mut detectors[model];
        let outcome = catch_unwind(AssertUnwindSafe(|| detect(&mut **detector, &frame, &mut detections)));
        let outcome = match outcome {
            Ok(outcome) => outcome.map_err(Failure::from),
            Err(_) => {
                detections.clear();
                *detector = makers[model]();
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

#[cfg(test)]
mod tests {
    use kerbside_channel::{Awaited, Receiver, Sender, WhenFull, edge, reply};
    use kerbside_core::detection::{Class, Detection};
    use kerbside_core::frame::{FrameHeader, OwnedPlanes, PictureSize, PixelFormat};
    use kerbside_models::LayerReport;

    use super::*;

    const SIZE: PictureSize = PictureSize { width: 16, height: 16 };
    /// The number of a frame on which the detector panics.
    const BAD: u64 = 666;

    /// Says which frame it has begun, and finishes it when it is told to.
    struct Gated {
        begun: Sender<u64>,
        go_on: Receiver<()>,
    }

    impl Detector for Gated {
        fn detect_in_stages(
            &mut self,
            frame: &Frame,
            out: &mut Vec<Detection>,
            finished: &mut dyn FnMut(Stage),
        ) -> Result<(), InferenceError> {
            out.push(Detection { class: Class::Car, score: 0.9, box_in_image: Default::default() });
            self.begun.send(frame.sequence).unwrap();
            self.go_on.receive();
            assert_ne!(frame.sequence, BAD, "a picture that the detector cannot bear");
            Stage::ALL.into_iter().for_each(finished);
            Ok(())
        }

        fn layers(&mut self, _: PictureSize) -> Result<&[LayerReport], InferenceError> {
            Ok(&[])
        }

        fn run_layers(&mut self, _: &mut dyn FnMut(usize)) -> Result<(), InferenceError> {
            Ok(())
        }
    }

    /// A pool of gated detectors: frames that have begun come out of one edge, and go on by the other.
    struct Gates {
        pool: Pool,
        entrances: Vec<Entrance<Ask>>,
        begun: Receiver<u64>,
        go_on: Sender<()>,
    }

    fn gates(detectors: usize, cameras: &[(&str, usize)]) -> Gates {
        let telemetry = Telemetry::new();
        let (begin, begun) = edge(&telemetry, "begun", 64, WhenFull::Block);
        let (go_on, gate) = edge(&telemetry, "go-on", 64, WhenFull::Block);
        let make: Maker = Box::new(move || Box::new(Gated { begun: begin.clone(), go_on: gate.clone() }));
        let (pool, entrances) = Pool::start_with(Arc::new([make]), detectors, cameras, &telemetry).unwrap();
        Gates { pool, entrances, begun, go_on }
    }

    impl Gates {
        fn ask(&self, camera: usize, sequence: u64) -> Awaited<Answer> {
            let header =
                FrameHeader { sequence, ..FrameHeader::of_picture(SIZE, PixelFormat::I420, Instant::now()) };
            let planes = OwnedPlanes::flat(SIZE, PixelFormat::I420, 0, 0);
            let frame = Frame::new(header, Arc::new(planes)).unwrap();
            self.ask_of(camera, frame, None)
        }

        fn ask_of(&self, camera: usize, frame: Frame, good_until: Option<Instant>) -> Awaited<Answer> {
            let (reply, answer) = reply();
            let ask = Ask { model: 0, frame, good_until, detections: Vec::new(), reply };
            assert!(self.entrances[camera].send(ask).is_ok());
            answer
        }

        fn close(self) {
            drop(self.entrances);
            self.pool.close().into_iter().for_each(|worker| worker.join().unwrap());
        }
    }

    #[test]
    fn pc_16_a_frame_that_became_too_old_while_it_waited_is_not_looked_at() {
        let gates = gates(1, &[("a", 2)]);
        let frame = |sequence| {
            let header =
                FrameHeader { sequence, ..FrameHeader::of_picture(SIZE, PixelFormat::I420, Instant::now()) };
            Frame::new(header, Arc::new(OwnedPlanes::flat(SIZE, PixelFormat::I420, 0, 0))).unwrap()
        };
        let over = Instant::now().checked_sub(Duration::from_nanos(1)).unwrap();
        let old = gates.ask_of(0, frame(1), Some(over));
        let young = gates.ask_of(0, frame(2), Some(over + Duration::from_secs(3600)));
        gates.go_on.send(()).unwrap();
        let old = old.wait().unwrap();
        assert!(matches!(old.outcome, Err(Failure::TooOld)) && old.detections.is_empty());
        assert!(young.wait().unwrap().outcome.is_ok());
        assert_eq!(gates.begun.receive(), Some(2), "the old one never got to a detector");
        gates.close();
    }

    #[test]
    fn a_modest_camera_is_answered_next_after_the_frame_that_runs() {
        let gates = gates(1, &[("greedy", 8), ("modest", 1)]);
        let mut greedy = vec![gates.ask(0, 0)];
        assert_eq!(gates.begun.receive(), Some(0));
        greedy.extend((1..9).map(|sequence| gates.ask(0, sequence)));
        let modest = gates.ask(1, 100);
        (0..10).for_each(|_| drop(gates.go_on.send(())));
        assert_eq!(modest.wait().unwrap().frame.sequence, 100);
        let begun: Vec<_> = (0..9).map(|_| gates.begun.receive().unwrap()).collect();
        assert_eq!(begun, [100, 1, 2, 3, 4, 5, 6, 7, 8]);
        for (sequence, answer) in greedy.into_iter().enumerate() {
            assert_eq!(answer.wait().unwrap().frame.sequence, sequence as u64);
        }
        gates.close();
    }

    #[test]
    fn one_camera_alone_has_every_detector() {
        let gates = gates(2, &[("clip", 2), ("quiet", 1)]);
        let answers = [gates.ask(0, 0), gates.ask(0, 1)];
        // Neither has gone on: both run at once.
        let mut begun = [gates.begun.receive().unwrap(), gates.begun.receive().unwrap()];
        begun.sort_unstable();
        assert_eq!(begun, [0, 1]);
        (0..2).for_each(|_| drop(gates.go_on.send(())));
        assert!(answers.into_iter().all(|answer| answer.wait().unwrap().outcome.is_ok()));
        gates.close();
    }

    #[test]
    fn a_detector_that_panics_loses_its_frame_and_no_other() {
        let gates = gates(1, &[("a", 1), ("b", 1)]);
        (0..2).for_each(|_| drop(gates.go_on.send(())));
        let (bad, good) = (gates.ask(0, BAD), gates.ask(1, 1));
        let bad = bad.wait().unwrap();
        assert!(matches!(bad.outcome, Err(Failure::Panicked)) && bad.detections.is_empty());
        let good = good.wait().unwrap();
        assert!(good.outcome.is_ok());
        assert_eq!(good.detections.len(), 1);
        gates.close();
    }
}
