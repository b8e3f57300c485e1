//! One pipeline from its start to its end.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::backoff::Reason;
use crate::error::IngestError;
use crate::intake::{Intake, Refusal, Tap};
use crate::pipeline;
use crate::source::{Limits, Source};

/// How often a running pipeline is looked at when it has nothing to say.
const TICK: Duration = Duration::from_millis(50);

/// Why a connection failed. The words are ours: a camera's own never reach a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    NotStarted,
    Unreachable,
    NoSuchStream,
    Lost,
    Ended,
    Stalled,
    NoFirstPicture,
    Refused,
    Undecodable,
    NoVideo,
    TooLarge,
    Redirected,
}

impl Cause {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NotStarted => "its pipeline could not be started again: see its CA file",
            Self::Unreachable => "it cannot be reached, or did not answer as a camera does",
            Self::NoSuchStream => "it does not know this stream",
            Self::Lost => "the connection was lost",
            Self::Ended => "the camera ended the stream",
            Self::Stalled => "no picture came any more",
            Self::NoFirstPicture => "connected, but no whole picture came",
            Self::Refused => "it refused the credentials",
            Self::Undecodable => "its pictures cannot be decoded here",
            Self::NoVideo => "it has no video",
            Self::TooLarge => "its pictures are larger than allowed",
            Self::Redirected => "it sent us to another host, which is not followed",
        }
    }

    /// What it means for the next attempt.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Refused => Reason::Refused,
            Self::Undecodable | Self::NoVideo | Self::TooLarge | Self::Redirected => Reason::Undecodable,
            _ => Reason::Lost,
        }
    }

    fn of_error(error: &gst::glib::Error, was_up: bool) -> Self {
        if error.matches(gst::ResourceError::NotAuthorized) {
            Self::Refused
        } else if error.matches(gst::ResourceError::NotFound) {
            Self::NoSuchStream
        } else if error.matches(gst::CoreError::MissingPlugin)
            || error.matches(gst::CoreError::Negotiation)
            || (error.is::<gst::StreamError>() && !error.matches(gst::StreamError::Failed))
        {
            Self::Undecodable
        } else if was_up {
            Self::Lost
        } else {
            Self::Unreachable
        }
    }
}

impl From<Refusal> for Cause {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge => Self::TooLarge,
            Refusal::NoVideo => Self::NoVideo,
            Refusal::Redirected => Self::Redirected,
        }
    }
}

/// What a look at the pipeline found.
#[derive(Debug)]
pub(crate) enum Look {
    /// It runs.
    Running,
    /// The first whole picture came.
    Up,
    /// The stream or clip has ended.
    End,
    /// Nobody takes the frames any more.
    ReaderGone,
    /// It failed; `detail` is GStreamer's own text, for clips only.
    Failed { cause: Cause, detail: String },
}

/// Tells the camera's status which threads its pipeline has. Each says so itself, as it begins and ends.
fn tell_threads(bus: &gst::Bus, intake: &Arc<Intake>) {
    let intake = Arc::downgrade(intake);
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::StreamStatus(said) = message.view()
            && let Some(intake) = intake.upgrade()
        {
            match said.get().0 {
                gst::StreamStatusType::Enter => intake.counts.status().enter_thread(),
                gst::StreamStatusType::Leave => intake.counts.status().leave_thread(),
                _ => {}
            }
        }
        gst::BusSyncReply::Pass
    });
}

/// A running pipeline.
pub(crate) struct Session {
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    tap: Tap,
    intake: Arc<Intake>,
    is_stream: bool,
    limits: Limits,
    whole_before: u64,
    up_since: Option<Instant>,
    /// The decoder's total and when it last grew.
    progress: (u64, Instant),
    missing_plugin: Option<String>,
}

impl Session {
    /// Builds the pipeline and starts it. It may fail later only.
    pub(crate) fn start(source: &Source, intake: &Arc<Intake>, limits: &Limits) -> Result<Self, IngestError> {
        let tap = intake.connect();
        let pipeline = pipeline::build(source, &tap, limits)?;
        let bus = pipeline.bus().expect("a pipeline has a bus");
        tell_threads(&bus, intake);
        // A failure is on the bus.
        let _ = pipeline.set_state(gst::State::Playing);
        Ok(Self {
            pipeline,
            bus,
            tap,
            intake: Arc::clone(intake),
            is_stream: matches!(source, Source::Rtsp { .. }),
            limits: *limits,
            whole_before: intake.whole(),
            up_since: None,
            progress: (intake.counts.frames_decoded(), Instant::now()),
            missing_plugin: None,
        })
    }

    /// Waits for news, at most a tick.
    pub(crate) fn look(&mut self) -> Look {
        let news = [gst::MessageType::Error, gst::MessageType::Eos, gst::MessageType::Element];
        let tick = gst::ClockTime::from_nseconds(TICK.as_nanos() as u64);
        let message = self.bus.timed_pop_filtered(tick, &news);
        let now = Instant::now();
        if let Some(refusal) = self.tap.refusal() {
            return Look::Failed { cause: refusal.into(), detail: Cause::from(refusal).text().to_owned() };
        }
        if self.intake.reader_gone() {
            return Look::ReaderGone;
        }
        // Before the message: a short clip comes up and ends within one tick.
        if self.up_since.is_none() && self.intake.whole() > self.whole_before {
            self.up_since = Some(now);
            if let Some(message) = message {
                // Put back for the next look.
                let _ = self.bus.post(message);
            }
            return Look::Up;
        }
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => Look::End,
            Some(gst::MessageView::Error(error)) => {
                let mut detail = error.error().message().to_owned();
                if let Some(missing) = &self.missing_plugin {
                    detail = format!("{detail} ({missing})");
                }
                Look::Failed { cause: Cause::of_error(&error.error(), self.up_since.is_some()), detail }
            }
            Some(gst::MessageView::Element(element)) => {
                if let Some(structure) = element.structure().filter(|s| s.name() == "missing-plugin") {
                    self.missing_plugin = structure.get::<String>("name").ok();
                }
                Look::Running
            }
            _ => self.check_progress(now),
        }
    }

    /// For how long pictures have been coming.
    pub(crate) fn up_for(&self) -> Option<Duration> {
        self.up_since.map(|since| since.elapsed())
    }

    fn check_progress(&mut self, now: Instant) -> Look {
        let decoded = self.intake.counts.frames_decoded();
        let first = self.up_since.is_none();
        if decoded != self.progress.0 && !first {
            self.progress = (decoded, now);
        }
        let (cause, limit) = if first {
            (Cause::NoFirstPicture, self.limits.first_picture)
        } else {
            (Cause::Stalled, self.limits.stall)
        };
        // A clip waits for its reader for as long as it takes.
        if self.is_stream && now.saturating_duration_since(self.progress.1) >= limit {
            return Look::Failed { cause, detail: cause.text().to_owned() };
        }
        Look::Running
    }

    /// Stops the pipeline; whether it did in time. A pipeline that hangs is left behind, and its tap is dead.
    pub(crate) fn end(self) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        self.pipeline.call_async(move |pipeline| {
            let _ = pipeline.set_state(gst::State::Null);
            let _ = done.send(());
        });
        wait.recv_timeout(self.limits.teardown).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        use gst::glib::Error;
        gst::init().unwrap();
        // (error, when up, cause)
        let table = [
            (Error::new(gst::ResourceError::NotAuthorized, ""), false, Cause::Refused),
            (Error::new(gst::ResourceError::NotFound, ""), false, Cause::NoSuchStream),
            (Error::new(gst::ResourceError::OpenRead, ""), false, Cause::Unreachable),
            (Error::new(gst::ResourceError::Read, ""), true, Cause::Lost),
            (Error::new(gst::StreamError::Failed, ""), true, Cause::Lost),
            (Error::new(gst::StreamError::CodecNotFound, ""), false, Cause::Undecodable),
            (Error::new(gst::CoreError::MissingPlugin, ""), false, Cause::Undecodable),
        ];
        for (error, up, cause) in table {
            assert_eq!(Cause::of_error(&error, up), cause, "{error:?}");
        }
    }
}
