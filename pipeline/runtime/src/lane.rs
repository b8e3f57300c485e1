//! The lane of one camera: keeps its frames in order on their way from the slot to the release stage.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kerbside_channel::{Awaited, Empty, Receiver, Sender, reply};
use kerbside_core::detection::{Class, Detection};
use kerbside_core::finding::Finding;
use kerbside_core::frame::Frame;
use kerbside_core::observation::{SceneStatistics, TrackId};
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_operators::tracker::Tracker;
use kerbside_telemetry::{Beat, CameraMetrics, DropReason, Stage};
use kerbside_vision::SceneWatcher;
use tracing::warn;

use crate::analysis::{Analysis, Seen};
use crate::learned::{Memory, REMEMBER_EVERY};
use crate::pool::{Answer, Ask, Failure, Maker};
use crate::setup::SetupMode;
use crate::turns::Entrance;

/// The stages of a detection, as metrics name them.
const DETECTION: [(Stage, kerbside_models::Stage); 3] = [
    (Stage::Input, kerbside_models::Stage::Input),
    (Stage::Network, kerbside_models::Stage::Network),
    (Stage::Head, kerbside_models::Stage::Head),
];

/// How long a live camera is silent before its operators hear that time passes: by then ingest has given up the
/// connection, so no frame of before can come any more.
const SILENCE: Duration = Duration::from_secs(15);
/// How often they hear it from then on.
const SILENCE_STEP: Duration = Duration::from_secs(5);

/// The oldest that a live frame may become, counted from its arrival (rule PC-16 of the privacy contract): none that is
/// older is looked at or kept.
pub(crate) const MAX_FRAME_AGE: Duration = Duration::from_secs(10);

/// Which lane of a node something is of. A camera that is changed while the node runs gets a new lane with a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneId(pub(crate) u64);

/// What a lane tells the release stage about one frame.
pub(crate) struct Report {
    pub(crate) lane: LaneId,
    /// The frame's number on its camera, from 0.
    pub(crate) sequence: u64,
    pub(crate) media: MediaTime,
    pub(crate) wall: WallTime,
    pub(crate) seen: Seen,
    pub(crate) findings: Vec<Finding>,
    /// The confirmed tracks of the frame, in the order of their ids.
    pub(crate) tracks: Vec<(TrackId, Class)>,
    /// When the frame arrived.
    pub(crate) arrived: Instant,
    /// What happened where the frame could not be analysed.
    pub(crate) failure: Option<Failure>,
    /// Whether these are findings that operators had when no frames came any more, and no new frame.
    pub(crate) is_afterword: bool,
    /// What operators have learned so far, now and then and at the end.
    pub(crate) learned: Vec<Memory>,
}

/// What became of one frame.
#[derive(Clone, Copy)]
pub(crate) struct Inspected<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) tracker: &'a Tracker,
    pub(crate) seen: Seen,
    pub(crate) findings: &'a [Finding],
    /// For each finding the place of its operator: see [`Analysis::operator_names`].
    pub(crate) authors: &'a [u16],
}

/// Looks at every frame on the way; `replay` writes files with it, `run` has none.
pub(crate) type Inspect = Box<dyn FnMut(&Inspected<'_>) + Send>;

/// One camera's lane and all that it needs.
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) name: String,
    pub(crate) maker: Arc<Maker>,
    pub(crate) analysis: Analysis,
    pub(crate) watcher: SceneWatcher,
    pub(crate) frames: Receiver<Frame>,
    pub(crate) asks: Entrance<Ask>,
    pub(crate) reports: Sender<Report>,
    pub(crate) metrics: CameraMetrics,
    /// Frames that may be with the detect pool at once: one where the camera is live, so that a frame is
    /// never older than it must be; more where a clip is analysed as fast as it goes. At most what the pool was
    /// told of this camera.
    pub(crate) in_flight: usize,
    pub(crate) inspect: Option<Inspect>,
    /// Whether the camera is live: then what operators learn is told, to be kept for the next start, and they hear
    /// that time passes when it is silent.
    pub(crate) is_live: bool,
    pub(crate) beat: Beat,
    /// Where an installer may see the background.
    pub(crate) setup: Option<Arc<SetupMode>>,
    /// Processor time of the camera's detections so far, in nanoseconds.
    pub(crate) inference_nanos: Arc<AtomicU64>,
}

/// Lets a beat rest at the end.
struct Resting(Beat);

impl Drop for Resting {
    fn drop(&mut self) {
        self.0.rest();
    }
}

/// The frame before, without its picture.
#[derive(Clone, Copy)]
struct Last {
    sequence: u64,
    media: MediaTime,
    wall: WallTime,
    arrived: Instant,
}

/// A frame that is with the detect pool, and what was learnt of it meanwhile.
struct Pending {
    /// `None` where the picture could not be measured.
    scene: Option<SceneStatistics>,
    asked: Instant,
    answer: Awaited<Answer>,
}

impl Lane {
    /// Runs until the frames end; then finishes the operators.
    pub(crate) fn run(mut self) {
        // Also where it panics: a lane that is no more does not hang.
        let _resting = Resting(self.beat.clone());
        let in_flight = self.in_flight.max(1);
        let mut buffers: Vec<Vec<Detection>> = Vec::with_capacity(in_flight);
        let mut pending: VecDeque<Pending> = VecDeque::with_capacity(in_flight);
        let mut last = None;
        let mut remembered_at = None;
        let mut ended = false;
        loop {
            while !ended && pending.len() < in_flight {
                let Some(frame) = self.next(last, pending.is_empty()) else {
                    ended = true;
                    break;
                };
                if self.is_live && is_too_old(&frame) {
                    self.metrics.dropped(DropReason::TooOld).increment();
                    continue;
                }
                let detections = buffers.pop().unwrap_or_default();
                match self.ask(frame, detections) {
                    Some(asked) => pending.push_back(asked),
                    None => ended = true,
                }
            }
            let Some(Pending { scene, asked, answer }) = pending.pop_front() else { break };
            // The worker that had the frame is gone: only a panic outside of the detector does that.
            let Some(answered) = answer.wait() else { break };
            self.metrics.stage(Stage::Detect).observe(asked.elapsed());
            let Answer { frame, mut detections, outcome, cpu } = answered;
            let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
            self.inference_nanos.fetch_add(nanos, Ordering::Relaxed);
            let Frame { sequence, media_time: media, wall_time: wall, arrived, .. } = frame;
            last = Some(Last { sequence, media, wall, arrived });
            if self.is_live && (matches!(outcome, Err(Failure::TooOld)) || is_too_old(&frame)) {
                self.analysis.skip(&frame);
                self.metrics.dropped(DropReason::TooOld).increment();
                detections.clear();
                buffers.push(detections);
                continue;
            }
            let mut report = match outcome {
                Ok(timings) => {
                    for (stage, of_detection) in DETECTION {
                        self.observe_coarsely(stage, timings.of(of_detection));
                    }
                    self.analyse(&frame, &detections, scene.as_ref())
                }
                Err(failure) => self.give_up(&frame, failure),
            };
            detections.clear();
            buffers.push(detections);
            let remembered = *remembered_at.get_or_insert(frame.media_time);
            if self.is_live && frame.media_time.since(remembered) >= REMEMBER_EVERY {
                report.learned = self.analysis.remember();
                remembered_at = Some(frame.media_time);
            }
            if self.reports.send(report).is_err() {
                break;
            }
        }
        self.finish(last);
    }

    /// The next frame; `None` when there will be none. Meanwhile, with no frame under way, operators hear that
    /// time passes: what was going on when a camera fell silent must not go on until it comes back.
    fn next(&mut self, last: Option<Last>, is_idle: bool) -> Option<Frame> {
        self.beat.rest();
        let next = self.wait_for_next(last, is_idle);
        self.beat.work();
        next
    }

    fn wait_for_next(&mut self, last: Option<Last>, is_idle: bool) -> Option<Frame> {
        let Some(last) = last.filter(|_| is_idle && self.is_live) else { return self.frames.receive() };
        loop {
            match self.frames.receive_within(SILENCE_STEP) {
                Ok(frame) => return Some(frame),
                Err(Empty::Closed) => return None,
                Err(Empty::Timeout) => {}
            }
            // A frame that is late by less may still come.
            let Some(passed) = last.arrived.elapsed().checked_sub(SILENCE) else { continue };
            self.beat.work();
            let findings = self.analysis.pass(last.media + passed).to_vec();
            if !findings.is_empty() && self.reports.send(self.afterword(last, findings, Vec::new())).is_err() {
                return None;
            }
            self.beat.rest();
        }
    }

    /// Hands a frame to the detect pool and looks at the scene meanwhile.
    fn ask(&mut self, frame: Frame, detections: Vec<Detection>) -> Option<Pending> {
        let asked = Instant::now();
        self.metrics.stage(Stage::Slot).observe(asked.saturating_duration_since(frame.arrived));
        // The ask holds the only sender: were it lost with its worker, the wait for the answer would end.
        let (reply, answer) = reply();
        let good_until = self.is_live.then(|| frame.arrived + MAX_FRAME_AGE);
        let maker = Arc::clone(&self.maker);
        let ask = Ask { maker, frame: frame.clone(), good_until, detections, reply };
        if self.asks.send(ask).is_err() {
            self.metrics.dropped(DropReason::Shutdown).increment();
            return None;
        }
        let since = Instant::now();
        let scene = self.watcher.watch(&frame);
        let scene =
            scene.inspect_err(|error| warn!(camera = self.name, %error, "the picture could not be measured")).ok();
        self.metrics.stage(Stage::Scene).observe(since.elapsed());
        Some(Pending { scene, asked, answer })
    }

    fn analyse(&mut self, frame: &Frame, detections: &[Detection], scene: Option<&SceneStatistics>) -> Report {
        let since = Instant::now();
        let seen = self.analysis.track(frame, detections, scene);
        self.observe_coarsely(Stage::Track, since.elapsed());
        let since = Instant::now();
        let findings = self.analysis.operate(frame, scene, seen).to_vec();
        self.observe_coarsely(Stage::Operators, since.elapsed());
        if let Some(inspect) = &mut self.inspect {
            let (tracker, authors) = (self.analysis.tracker(), self.analysis.authors());
            inspect(&Inspected { frame, tracker, seen, findings: &findings, authors });
        }
        if let Some(setup) = self.setup.as_ref().filter(|setup| setup.wants(self.id.0)) {
            setup.look(self.id.0, frame, detections);
        }
        self.metrics.frames_analysed.increment();
        let tracks = self.analysis.tracks().collect();
        Report { tracks, ..self.report(frame, seen, findings, None) }
    }

    /// Notes how long a stage took. In a live node in whole milliseconds: what the last stages cost grows with the number
    /// of objects, and a sum of microseconds would tell it (rule PC-12 of the privacy contract).
    fn observe_coarsely(&self, stage: Stage, took: Duration) {
        let grows = matches!(stage, Stage::Detect | Stage::Head | Stage::Track | Stage::Operators);
        let took = if self.is_live && grows { whole_milliseconds(took) } else { took };
        self.metrics.stage(stage).observe(took);
    }

    /// A frame without detections stands for no time at all: coverage shows the gap.
    fn give_up(&mut self, frame: &Frame, failure: Failure) -> Report {
        self.analysis.skip(frame);
        self.metrics.inference_errors.increment();
        self.metrics.dropped(DropReason::Inference).increment();
        let seen = Seen { step: Duration::ZERO, trusted: false };
        self.report(frame, seen, Vec::new(), Some(failure))
    }

    fn report(&self, frame: &Frame, seen: Seen, findings: Vec<Finding>, failure: Option<Failure>) -> Report {
        Report {
            lane: self.id,
            sequence: frame.sequence,
            media: frame.media_time,
            wall: frame.wall_time,
            seen,
            findings,
            tracks: Vec::new(),
            arrived: frame.arrived,
            failure,
            is_afterword: false,
            learned: Vec::new(),
        }
    }

    fn finish(mut self, last: Option<Last>) {
        let findings = self.analysis.finish().to_vec();
        let learned = if self.is_live { self.analysis.remember() } else { Vec::new() };
        if let Some(last) = last
            && !(findings.is_empty() && learned.is_empty())
        {
            // The release stage outlives the lanes; where it has failed, its own error says so.
            let _ = self.reports.send(self.afterword(last, findings, learned));
        }
    }

    /// Findings that come without a new frame.
    fn afterword(&self, last: Last, findings: Vec<Finding>, learned: Vec<Memory>) -> Report {
        Report {
            lane: self.id,
            sequence: last.sequence,
            media: last.media,
            wall: last.wall,
            seen: Seen { step: Duration::ZERO, trusted: true },
            findings,
            tracks: Vec::new(),
            arrived: last.arrived,
            failure: None,
            is_afterword: true,
            learned,
        }
    }
}

fn is_too_old(frame: &Frame) -> bool {
    frame.arrived.elapsed() > MAX_FRAME_AGE
}

/// The next whole number of milliseconds.
pub(crate) fn whole_milliseconds(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use kerbside_channel::{WhenFull, edge};
    use kerbside_config::TimeZone;
    use kerbside_core::frame::{FrameHeader, OwnedPlanes, PictureSize, PixelFormat};
    use kerbside_telemetry::Telemetry;

    use super::*;
    use crate::analysis::AnalysisSettings;
    use crate::turns::turns;

    const SIZE: PictureSize = PictureSize { width: 64, height: 64 };

    fn frame(sequence: u64, age: Duration) -> Frame {
        let arrived = Instant::now().checked_sub(age).unwrap();
        let header = FrameHeader { sequence, ..FrameHeader::of_picture(SIZE, PixelFormat::I420, arrived) };
        Frame::new(header, Arc::new(OwnedPlanes::flat(SIZE, PixelFormat::I420, 0, 0))).unwrap()
    }

    /// Which of some frames a lane reports, and how many it drops as too old. The detector answers the frame of
    /// number 7 only when it is told that it has become too old meanwhile.
    fn reported(is_live: bool) -> (Vec<u64>, f64) {
        let telemetry = Telemetry::new();
        let (sender, frames) = edge(&telemetry, "slot", 8, WhenFull::Block);
        let (reports, reported) = edge(&telemetry, "reports", 8, WhenFull::Block);
        let (doors, asked) = turns::<Ask>(&telemetry);
        let metrics = CameraMetrics::new(&telemetry, "a");
        let lane = Lane {
            id: LaneId(0),
            name: "a".to_owned(),
            maker: Maker::of_no_model(),
            analysis: Analysis::new(AnalysisSettings {
                camera: "a".to_owned(),
                min_score: 0.5,
                classes: Vec::new(),
                time_zone: TimeZone::UTC,
                operators: Vec::new(),
                chunk: None,
            }),
            watcher: SceneWatcher::new(),
            frames,
            asks: doors.open(&telemetry, "a", 1),
            reports,
            metrics: metrics.clone(),
            in_flight: 1,
            inspect: None,
            is_live,
            beat: Beat::default(),
            setup: None,
            inference_nanos: Arc::default(),
        };
        drop(doors);
        let young = MAX_FRAME_AGE / 2;
        for (number, age) in [(1, young), (2, MAX_FRAME_AGE), (3, 2 * MAX_FRAME_AGE), (7, young), (8, young)] {
            sender.send(frame(number, age)).unwrap();
        }
        drop(sender);
        let lane = std::thread::spawn(move || lane.run());
        while let Some(Ask { frame, detections, reply, .. }) = asked.receive() {
            let is_late = is_live && frame.sequence == 7;
            let outcome = if is_late { Err(Failure::TooOld) } else { Ok(Default::default()) };
            reply.give(Answer { frame, detections, outcome, cpu: Duration::ZERO });
        }
        lane.join().unwrap();
        let numbers = std::iter::from_fn(|| reported.receive()).map(|report| report.sequence).collect();
        (numbers, metrics.dropped(DropReason::TooOld).value())
    }

    #[test]
    fn pc_16_a_live_frame_that_is_too_old_is_dropped_and_counted_and_one_of_a_clip_is_not() {
        assert_eq!(reported(true), (vec![1, 8], 3.0));
        assert_eq!(reported(false), (vec![1, 2, 3, 7, 8], 0.0));
    }

    #[test]
    fn pc_12_what_a_stage_took_is_told_in_whole_milliseconds() {
        for (micros, millis) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (15_300, 16)] {
            assert_eq!(whole_milliseconds(Duration::from_micros(micros)), Duration::from_millis(millis));
        }
    }
}
