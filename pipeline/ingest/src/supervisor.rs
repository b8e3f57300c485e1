//! One thread a camera: connect, watch, reconnect, stop.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kerbside_channel::Sender;
use kerbside_core::camera::CameraState;
use kerbside_core::frame::Frame;
use kerbside_telemetry::CameraMetrics;
use tracing::{error, info, warn};

use crate::backoff::{Backoff, Reason};
use crate::counts::Counts;
use crate::error::IngestError;
use crate::intake::Intake;
use crate::pipeline;
use crate::quiet::Quiet;
use crate::session::{Cause, Look, Session};
use crate::source::{CameraSource, Limits, Pace, Source};
use crate::status::CameraStatus;
use crate::timeline::Follows;

/// How a camera ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Frames that entered the node.
    pub frames_in: u64,
    /// Whether it was stopped, or its reader was gone, before its end.
    pub stopped: bool,
}

/// A running camera. Dropping it stops it and waits.
pub struct CameraHandle {
    stop: Arc<Stop>,
    intake: Arc<Intake>,
    thread: Option<JoinHandle<Result<Ended, IngestError>>>,
}

impl CameraHandle {
    /// Tells the camera to stop, without waiting: no picture enters the node from now on. Frames in an edge that blocks must still be taken, or its
    /// reader dropped, for the camera to end within [`Limits::teardown`].
    pub fn stop(&self) {
        self.intake.stop();
        self.stop.set();
    }

    /// Throws away frames that nobody has taken within `limit` of their arrival, where the edge's newest frame wins.
    pub fn discard_older_than(&self, limit: Duration) {
        self.intake.discard_older_than(limit);
    }

    /// Whether the camera has ended: its clip is over, or it was stopped.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the camera's end.
    pub fn join(mut self) -> Result<Ended, IngestError> {
        let thread = self.thread.take().expect("only join and drop take the thread, and both consume it");
        thread.join().unwrap_or(Err(IngestError::Panicked))
    }
}

impl Drop for CameraHandle {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // Who wants to know how it ended calls join().
            let _ = thread.join();
        }
    }
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn set(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits until it is set, at most `limit`; whether it is.
    fn wait(&self, limit: Duration) -> bool {
        let guard = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.changed.wait_timeout_while(guard, limit, |stopped| !*stopped);
        *result.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// See [`crate::start_with`].
pub(crate) fn start(
    source: CameraSource,
    frames: Sender<Frame>,
    metrics: CameraMetrics,
    status: Arc<CameraStatus>,
    limits: Limits,
) -> Result<CameraHandle, IngestError> {
    let intake = prepare(&source, frames, metrics, status, &limits)?;
    spawn(source, intake, limits)
}

/// As [`start`], and tells each buffer that the decoder gives.
#[cfg(test)]
pub(crate) fn start_watched(
    source: CameraSource,
    frames: Sender<Frame>,
    metrics: CameraMetrics,
    tell: crate::intake::Tell,
) -> Result<CameraHandle, IngestError> {
    let limits = Limits::DEFAULT;
    let intake = prepare(&source, frames, metrics, Arc::new(CameraStatus::new()), &limits)?;
    *intake.decoder_gave.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
    spawn(source, intake, limits)
}

fn prepare(
    source: &CameraSource,
    frames: Sender<Frame>,
    metrics: CameraMetrics,
    status: Arc<CameraStatus>,
    limits: &Limits,
) -> Result<Arc<Intake>, IngestError> {
    let CameraSource { source, analyse_fps, .. } = source;
    if !(analyse_fps.is_finite() && *analyse_fps > 0.0) {
        return Err(IngestError::FrameRate(*analyse_fps));
    }
    pipeline::require(source)?;
    pipeline::check(source)?;
    let follows = match source {
        Source::File { pace: Pace::AsFastAsPossible { first_frame_at }, .. } => {
            Follows::Recording(*first_frame_at)
        }
        _ => Follows::Now,
    };
    let counts = Counts::new(metrics, status);
    counts.set_state(CameraState::Connecting);
    let kind = (matches!(source, Source::Rtsp { .. }), follows);
    Ok(Arc::new(Intake::new(frames, counts, kind, *analyse_fps, limits.widest_picture)))
}

fn spawn(source: CameraSource, intake: Arc<Intake>, limits: Limits) -> Result<CameraHandle, IngestError> {
    let stop = Arc::new(Stop::default());
    let thread = std::thread::Builder::new()
        .name(format!("{}/ingest", source.name))
        .spawn({
            let (stop, intake) = (Arc::clone(&stop), Arc::clone(&intake));
            move || {
                let closing = Closing(Arc::clone(&intake));
                let backoff = Backoff::new(limits, fastrand::Rng::new());
                let supervisor =
                    Supervisor { source, intake, limits, stop, backoff, quiet: Quiet::new(), retrying: false };
                let ended = supervisor.run();
                drop(closing);
                ended
            }
        })
        .map_err(IngestError::Thread)?;
    Ok(CameraHandle { stop, intake, thread: Some(thread) })
}

/// Closes the edge and says so, also when the supervisor panics.
struct Closing(Arc<Intake>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.counts.status().beat().rest();
        self.0.counts.set_state(CameraState::Disabled);
        self.0.close();
    }
}

/// What a log line says, to recognise repeats.
#[derive(Clone, Copy, PartialEq)]
enum Line {
    Up,
    Down(Cause),
    LeftBehind,
}

struct Supervisor {
    source: CameraSource,
    intake: Arc<Intake>,
    limits: Limits,
    stop: Arc<Stop>,
    backoff: Backoff,
    quiet: Quiet<Line>,
    /// Whether this is not the first attempt.
    retrying: bool,
}

/// How one connection ended.
enum Outcome {
    Stopped,
    End,
    Failed { cause: Cause, detail: String },
}

impl Supervisor {
    fn run(mut self) -> Result<Ended, IngestError> {
        let status = self.intake.counts.share_status();
        status.enter_thread();
        loop {
            let (outcome, up) = self.connection()?;
            let cause = match (outcome, &self.source.source) {
                (Outcome::Stopped, _) => return Ok(self.ended(true)),
                (Outcome::End, Source::Rtsp { .. }) => Cause::Ended,
                (Outcome::Failed { cause, .. }, Source::Rtsp { .. }) => cause,
                (Outcome::End, Source::File { path, .. }) => {
                    return if self.intake.whole() == 0 {
                        Err(IngestError::EmptyClip { path: path.clone() })
                    } else {
                        Ok(self.ended(false))
                    };
                }
                (Outcome::Failed { detail, .. }, Source::File { path, .. }) => {
                    return Err(IngestError::Clip { path: path.clone(), reason: detail });
                }
            };
            let pause = self.backoff.pause(cause.reason(), up);
            status.set_trouble(cause.text());
            self.say_down(cause, pause);
            status.beat().rest();
            if self.stop.wait(pause) {
                return Ok(self.ended(true));
            }
            self.intake.counts.reconnect();
            self.retrying = true;
        }
    }

    /// One connection from its start to its end, and how long it was up.
    fn connection(&mut self) -> Result<(Outcome, Option<Duration>), IngestError> {
        // A camera that refuses us or cannot be decoded stays so until it has shown a picture.
        let state = self.intake.counts.state();
        self.intake.counts.status().beat().work();
        if !matches!(state, CameraState::AuthFailed | CameraState::CodecUnsupported) {
            self.intake.counts.set_state(CameraState::Connecting);
        }
        let mut session = match Session::start(&self.source.source, &self.intake, &self.limits) {
            Ok(session) => session,
            // What was right at the start may be right again soon, such as a CA file that is being replaced.
            Err(error) if self.retrying => {
                let outcome = Outcome::Failed { cause: Cause::NotStarted, detail: error.to_string() };
                self.count(&outcome);
                return Ok((outcome, None));
            }
            Err(error) => return Err(error),
        };
        let outcome = loop {
            self.intake.counts.status().beat().work();
            if self.stop.wait(Duration::ZERO) {
                break Outcome::Stopped;
            }
            match session.look() {
                Look::Running => {}
                Look::Up => {
                    self.intake.counts.set_state(CameraState::Up);
                    self.say_up();
                }
                Look::End => break Outcome::End,
                Look::ReaderGone => break Outcome::Stopped,
                Look::Failed { cause, detail } => break Outcome::Failed { cause, detail },
            }
        };
        // While a camera stops its pictures are dropped: what it says of its end means nothing any more.
        let outcome = if self.stop.wait(Duration::ZERO) { Outcome::Stopped } else { outcome };
        // Said before the pipeline is stopped, which may take its time.
        self.count(&outcome);
        let up = session.up_for();
        if !session.end()
            && let Some(withheld) = self.quiet.admit(Line::LeftBehind, Instant::now())
        {
            error!(camera = self.source.name, withheld, "the pipeline does not stop and is left behind");
        }
        Ok((outcome, up))
    }

    fn count(&self, outcome: &Outcome) {
        let counts = &self.intake.counts;
        let cause = match (outcome, &self.source.source) {
            (Outcome::Failed { cause, .. }, Source::Rtsp { .. }) => *cause,
            (Outcome::End, Source::Rtsp { .. }) => Cause::Ended,
            _ => return,
        };
        match cause {
            Cause::Stalled | Cause::NoFirstPicture => {
                counts.stall();
                counts.set_state(CameraState::Stalled);
            }
            Cause::Refused => {
                counts.refusal();
                counts.set_state(CameraState::AuthFailed);
            }
            _ if cause.reason() == Reason::Undecodable => counts.set_state(CameraState::CodecUnsupported),
            _ => counts.set_state(CameraState::Connecting),
        }
    }

    fn say_up(&mut self) {
        if let Some(withheld) = self.quiet.admit(Line::Up, Instant::now()) {
            let (camera, retrying) = (&self.source.name, self.retrying);
            info!(camera, retrying, withheld, "camera is up");
        }
    }

    fn say_down(&mut self, cause: Cause, pause: Duration) {
        if let Some(withheld) = self.quiet.admit(Line::Down(cause), Instant::now()) {
            let (camera, pause_secs) = (&self.source.name, pause.as_secs_f64());
            warn!(camera, cause = cause.text(), pause_secs, withheld, "camera is down");
        }
    }

    fn ended(&self, stopped: bool) -> Ended {
        Ended { frames_in: self.intake.counts.frames_in(), stopped }
    }
}
