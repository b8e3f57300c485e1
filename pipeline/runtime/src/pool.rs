//! The detect pool: a few threads that run detectors for all cameras.
//!
//! Cameras take turns ([`crate::turns`]): a camera with many frames waiting does not hold up another. Each of the
//! pool's threads has a detector of every model that a camera uses, and a detector may have threads of its own that split
//! one frame. A detector that panics loses its frame and is made anew; the pool and the other cameras go on. One of a
//! model that no camera uses any more goes when another is made.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kerbside_channel::Reply;
use kerbside_core::detection::Detection;
use kerbside_core::frame::Frame;
use kerbside_models::{Detector, DetectorSettings, InferenceError, Model, Stage};
use kerbside_telemetry::{Beat, Telemetry};
use rustix::time::{ClockId, clock_gettime};

use crate::error::{RuntimeError, spawn};
use crate::turns::{Doors, Entrance, Turns, turns};

/// One frame to be looked at.
pub(crate) struct Ask {
    /// What makes the detectors that it is for.
    pub(crate) maker: Arc<Maker>,
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
    /// Processor time that it took, about.
    pub(crate) cpu: Duration,
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

/// The pool's threads. They end when the pool and every [`Entrance`] are gone.
pub(crate) struct Pool {
    workers: Vec<(JoinHandle<()>, Beat)>,
    doors: Doors<Ask>,
}

/// Makes detectors of one model.
pub(crate) struct Maker {
    make: Box<dyn Fn() -> Box<dyn Detector> + Send + Sync>,
    threads_per_frame: u32,
}

impl Maker {
    /// Of detectors that split each frame over so many threads.
    pub(crate) fn new(model: Arc<Model>, threads_per_frame: usize) -> Self {
        let threads = threads_per_frame.max(1);
        let settings = DetectorSettings { threads, ..DetectorSettings::default() };
        let make = Box::new(move || model.detector_with(settings));
        Self { make, threads_per_frame: u32::try_from(threads).unwrap_or(u32::MAX) }
    }

    /// For a lane whose asks nobody answers with a detector.
    #[cfg(test)]
    pub(crate) fn of_no_model() -> Arc<Self> {
        Arc::new(Self { make: Box::new(|| unreachable!("nobody detects")), threads_per_frame: 1 })
    }
}

impl Pool {
    /// Starts so many threads. Each begins with a detector of every maker that is there already.
    pub(crate) fn start(
        makers: &[Arc<Maker>],
        detectors: usize,
        telemetry: &Telemetry,
    ) -> Result<Self, RuntimeError> {
        let (doors, asks) = turns(telemetry);
        let asks = Arc::new(asks);
        let workers = (0..detectors.max(1))
            .map(|number| {
                let (asks, makers, beat) = (Arc::clone(&asks), makers.to_vec(), Beat::default());
                let thread = spawn(format!("detect-{number}"), {
                    let beat = beat.clone();
                    move || work(&asks, makers, &beat)
                })?;
                Ok((thread, beat))
            })
            .collect::<Result<_, RuntimeError>>()?;
        Ok(Self { workers, doors })
    }

    /// Where a camera asks, which may have `room` asks waiting.
    pub(crate) fn entrance(&self, telemetry: &Telemetry, camera: &str, room: usize) -> Entrance<Ask> {
        self.doors.open(telemetry, camera, room)
    }

    /// Whether each of the threads makes progress.
    pub(crate) fn beats(&self) -> impl Iterator<Item = &Beat> {
        self.workers.iter().map(|(_, beat)| beat)
    }

    /// The threads, which end once every lane is gone.
    pub(crate) fn close(self) -> Vec<JoinHandle<()>> {
        self.workers.into_iter().map(|(thread, _)| thread).collect()
    }
}

/// The detectors of one thread, each with what made it.
struct Detectors(Vec<(Weak<Maker>, Box<dyn Detector>)>);

impl Detectors {
    /// Lets the detector go that has panicked.
    fn forget(&mut self, maker: &Arc<Maker>) {
        self.0.retain(|(made_by, _)| !std::ptr::eq(made_by.as_ptr(), Arc::as_ptr(maker)));
    }

    fn of(&mut self, maker: &Arc<Maker>) -> &mut Box<dyn Detector> {
        let is_of = |(made_by, _): &(Weak<Maker>, _)| std::ptr::eq(made_by.as_ptr(), Arc::as_ptr(maker));
        let place = self.0.iter().position(is_of).unwrap_or_else(|| {
            self.0.retain(|(made_by, _)| made_by.strong_count() > 0);
            self.0.push((Arc::downgrade(maker), (maker.make)()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

fn work(asks: &Turns<Ask>, makers: Vec<Arc<Maker>>, beat: &Beat) {
    let mut detectors = Detectors(Vec::new());
    for maker in &makers {
        beat.work();
        detectors.of(maker);
    }
    // Only cameras keep a maker.
    drop(makers);
    loop {
        beat.rest();
        let Some(Ask { maker, frame, good_until, mut detections, reply }) = asks.receive() else { break };
        beat.work();
        if good_until.is_some_and(|until| Instant::now() > until) {
            reply.give(Answer { frame, detections, outcome: Err(Failure::TooOld), cpu: Duration::ZERO });
            continue;
        }
        let since = thread_cpu();
        let looked = || detect(&mut **detectors.of(&maker), &frame, &mut detections);
        let outcome = catch_unwind(AssertUnwindSafe(looked));
        let outcome = match outcome {
            Ok(outcome) => outcome.map_err(Failure::from),
            Err(_) => {
                detections.clear();
                detectors.forget(&maker);
                Err(Failure::Panicked)
            }
        };
        // The threads that split a frame meet after each layer, so all take about the same.
        let cpu = thread_cpu().saturating_sub(since) * maker.threads_per_frame;
        reply.give(Answer { frame, detections, outcome, cpu });
    }
}

/// Processor time of this thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
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
        maker: Arc<Maker>,
        entrances: Vec<Entrance<Ask>>,
        begun: Receiver<u64>,
        go_on: Sender<()>,
    }

    fn gates(detectors: usize, cameras: &[(&str, usize)]) -> Gates {
        let telemetry = Telemetry::new();
        let (begin, begun) = edge(&telemetry, "begun", 64, WhenFull::Block);
        let (go_on, gate) = edge(&telemetry, "go-on", 64, WhenFull::Block);
        let make = Box::new(move || -> Box<dyn Detector> {
            Box::new(Gated { begun: begin.clone(), go_on: gate.clone() })
        });
        let maker = Arc::new(Maker { make, threads_per_frame: 1 });
        let pool = Pool::start(&[Arc::clone(&maker)], detectors, &telemetry).unwrap();
        let entrances = cameras.iter().map(|(name, room)| pool.entrance(&telemetry, name, *room)).collect();
        Gates { pool, maker, entrances, begun, go_on }
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
            let maker = Arc::clone(&self.maker);
            let ask = Ask { maker, frame, good_until, detections: Vec::new(), reply };
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

    #[test]
    fn a_detector_that_hangs_shows_by_the_beat_of_its_thread() {
        let gates = gates(2, &[("a", 1)]);
        let beats: Vec<Beat> = gates.pool.beats().cloned().collect();
        let hours = || Instant::now() + Duration::from_secs(3600);
        let busy = || beats.iter().filter(|beat| beat.working_for(hours()).is_some()).count();
        let asked = gates.ask(0, 1);
        assert_eq!(gates.begun.receive(), Some(1));
        assert_eq!(busy(), 1, "one has a frame, the other waits for one");
        gates.go_on.send(()).unwrap();
        assert!(asked.wait().is_some());
        gates.close();
        assert_eq!(busy(), 0);
    }

    #[test]
    fn a_model_that_comes_later_is_made_and_one_that_no_camera_uses_goes() {
        struct Counted {
            _made: Arc<()>,
        }
        impl Detector for Counted {
            fn detect_in_stages(
                &mut self,
                _: &Frame,
                _: &mut Vec<Detection>,
                _: &mut dyn FnMut(Stage),
            ) -> Result<(), InferenceError> {
                Ok(())
            }
            fn layers(&mut self, _: PictureSize) -> Result<&[LayerReport], InferenceError> {
                Ok(&[])
            }
            fn run_layers(&mut self, _: &mut dyn FnMut(usize)) -> Result<(), InferenceError> {
                Ok(())
            }
        }
        let maker = |made: &Arc<()>| {
            let made = Arc::clone(made);
            let make = Box::new(move || -> Box<dyn Detector> { Box::new(Counted { _made: Arc::clone(&made) }) });
            Arc::new(Maker { make, threads_per_frame: 1 })
        };
        let (first_made, second_made) = (Arc::new(()), Arc::new(()));
        // One handle here, one in the maker, one in each detector.
        let detectors = |made: &Arc<()>, makers: usize| Arc::strong_count(made) - 1 - makers;
        let (first, second) = (maker(&first_made), maker(&second_made));
        let mut detectors_of_thread = Detectors(Vec::new());
        detectors_of_thread.of(&first);
        detectors_of_thread.of(&first);
        assert_eq!((detectors(&first_made, 1), detectors(&second_made, 1)), (1, 0));
        drop(first);
        detectors_of_thread.of(&second);
        assert_eq!((detectors(&first_made, 0), detectors(&second_made, 1)), (0, 1));
    }
}
