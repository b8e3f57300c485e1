//! From decoded buffers to frames.
//!
//! One [`Intake`] lives as long as its camera; every connection gets a [`Tap`] on it, whose methods GStreamer's
//! streaming thread calls in this order for each picture: [`Tap::encoded`] in front of the decoder,
//! [`Tap::decoded`] behind it, [`Tap::picture`] at the end of the pipeline. There is no queue between the last two,
//! so a picture that `decoded` lets pass is the next that `picture` sees.
//!
//! The lock is held for arithmetic and mapping only, never while a frame is sent. A tap of a connection that was
//! left behind does nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gstreamer as gst;
use kerbside_channel::Sender;
use kerbside_core::frame::{Frame, FrameHeader};
use kerbside_core::time::WallTime;
use kerbside_telemetry::DropReason;

use crate::cap::RateCap;
use crate::counts::Counts;
use crate::picture::Layout;
use crate::timeline::{Follows, Stamp, Timeline};

/// Pictures that a decoder may hold back for reordering; H.264 and H.265 allow 16.
const IN_DECODER: usize = 32;
/// A stream without key pictures repairs itself bit by bit; after this long it counts as whole.
const REPAIRED_AFTER: Duration = Duration::from_secs(10);

/// Why a connection is refused by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its pictures are larger than allowed.
    TooLarge,
    /// It has no video.
    NoVideo,
    /// It sends us to another host.
    Redirected,
}

/// One camera's way into the node.
pub(crate) struct Intake {
    pub(crate) counts: Counts,
    /// Whether pictures come over a network.
    is_stream: bool,
    widest_picture: u32,
    frames: Mutex<Option<Arc<Sender<Frame>>>>,
    /// When the frame arrived that was sent last.
    newest: Mutex<Option<Instant>>,
    reader_gone: AtomicBool,
    stopping: AtomicBool,
    /// Whole pictures that left the decoder.
    whole: AtomicU64,
    state: Mutex<State>,
    /// Told the address of each buffer that the decoder gives.
    #[cfg(test)]
    pub(crate) decoder_gave: Mutex<Option<Tell>>,
}

/// Hears of each buffer that the decoder gives.
#[cfg(test)]
pub(crate) type Tell = Box<dyn Fn(&gst::BufferRef) + Send>;

struct State {
    /// Which connection's tap is the living one.
    connection: u64,
    timeline: Timeline,
    cap: RateCap,
    /// The number of the next picture that leaves the decoder.
    sequence: u64,
    layout: Option<Layout>,
    /// The picture between the decoder and the end of the pipeline.
    passing: Option<Passing>,
    encoded: Encoded,
}

#[derive(Clone, Copy)]
struct Passing {
    sequence: u64,
    stamp: Stamp,
    arrived: Instant,
    memory: Option<usize>,
}

/// What is known of the pictures inside the decoder.
#[derive(Default)]
struct Encoded {
    inside: VecDeque<(Option<gst::ClockTime>, Instant, bool)>,
    /// Since when pictures miss what they refer to.
    broken: Option<Instant>,
    begun: bool,
}

impl Encoded {
    /// Takes a picture in; gives back whether something was lost just before it.
    fn enter(&mut self, timestamp: Option<gst::ClockTime>, lost: bool, key: bool, now: Instant) -> bool {
        let lost_here = lost && self.begun;
        if key {
            self.broken = None;
        } else if lost_here || !self.begun {
            self.broken.get_or_insert(now);
        }
        self.begun = true;
        if self.broken.is_some_and(|since| now.saturating_duration_since(since) > REPAIRED_AFTER) {
            self.broken = None;
        }
        if self.inside.len() == IN_DECODER {
            self.inside.pop_front();
        }
        self.inside.push_back((timestamp, now, self.broken.is_some()));
        lost_here
    }

    /// When the picture arrived and whether it is damaged, and how many that should have been shown before
    /// it never left. `None` for a picture that never entered.
    fn leave(&mut self, timestamp: Option<gst::ClockTime>) -> Option<(Instant, bool, usize)> {
        let index = self.inside.iter().position(|(entered, ..)| *entered == timestamp)?;
        let (_, arrived, damaged) = self.inside.remove(index)?;
        let inside = self.inside.len();
        // Pictures leave in the order of their times; those without a time are not judged.
        self.inside.retain(|(entered, ..)| entered.is_none() || *entered > timestamp);
        Some((arrived, damaged, inside - self.inside.len()))
    }
}

impl Intake {
    pub(crate) fn new(
        frames: Sender<Frame>,
        counts: Counts,
        (is_stream, follows): (bool, Follows),
        analyse_fps: f64,
        widest_picture: u32,
    ) -> Self {
        Self {
            counts,
            is_stream,
            widest_picture,
            frames: Mutex::new(Some(Arc::new(frames))),
            newest: Mutex::new(None),
            reader_gone: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            whole: AtomicU64::new(0),
            state: Mutex::new(State {
                connection: 0,
                timeline: Timeline::new(follows),
                cap: RateCap::new(analyse_fps),
                sequence: 0,
                layout: None,
                passing: None,
                encoded: Encoded::default(),
            }),
            #[cfg(test)]
            decoder_gave: Mutex::new(None),
        }
    }

    /// Begins a connection; taps of earlier ones become dead.
    pub(crate) fn connect(self: &Arc<Self>) -> Tap {
        let mut state = self.state();
        state.connection += 1;
        state.timeline.interrupt();
        (state.layout, state.passing, state.encoded) = (None, None, Encoded::default());
        Tap { intake: Arc::clone(self), connection: state.connection, refusal: Arc::default() }
    }

    /// Lets nothing pass any more.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Ends the camera: what is being sent now is the last.
    pub(crate) fn close(&self) {
        self.state().connection += 1;
        let sender = self.frames.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Of a camera that was stopped nobody needs the picture that still waits; a reader that hangs would keep it.
        if self.stopping.load(Ordering::Acquire) {
            for _ in 0..sender.map_or(0, |sender| sender.discard()) {
                self.counts.dropped(DropReason::Shutdown);
            }
        }
    }

    /// Offers a frame to the reader, by the policy of the edge.
    fn offer(&self, frame: Frame) -> Result<gst::FlowSuccess, gst::FlowError> {
        let sender = self.frames.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sender) = sender else { return Err(gst::FlowError::Eos) };
        // Before it is sent: what is sent meanwhile must not be taken for the one before it.
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(frame.arrived);
        match sender.send(frame) {
            Ok(replaced) => {
                if replaced.is_some() {
                    self.counts.dropped(DropReason::NewerFrame);
                }
                Ok(gst::FlowSuccess::Ok)
            }
            Err(_) => {
                self.counts.dropped(DropReason::Shutdown);
                self.reader_gone.store(true, Ordering::Release);
                Err(gst::FlowError::Eos)
            }
        }
    }

    /// See [`crate::CameraHandle::discard_older_than`].
    pub(crate) fn discard_older_than(&self, limit: Duration) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        // All that waits is at least as old as what was sent last.
        if newest.is_none_or(|arrived| arrived.elapsed() <= limit) {
            return;
        }
        *newest = None;
        let sender = self.frames.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for _ in 0..sender.map_or(0, |sender| sender.discard()) {
            self.counts.dropped(DropReason::TooOld);
        }
    }

    /// Whether nobody takes the frames any more.
    pub(crate) fn reader_gone(&self) -> bool {
        self.reader_gone.load(Ordering::Acquire)
    }

    /// Whole pictures that left the decoder so far.
    pub(crate) fn whole(&self) -> u64 {
        self.whole.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's hold on the camera's intake.
#[derive(Clone)]
pub(crate) struct Tap {
    intake: Arc<Intake>,
    connection: u64,
    refusal: Arc<OnceLock<Refusal>>,
}

impl Tap {
    pub(crate) fn refuse(&self, refusal: Refusal) {
        // The first reason stands.
        let _ = self.refusal.set(refusal);
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get().copied()
    }

    /// The size that the stream announces, before memory is taken for it; whether it is allowed.
    pub(crate) fn announced(&self, caps: &gst::CapsRef) -> bool {
        let side = |name| caps.structure(0).and_then(|s| s.get::<i32>(name).ok()).unwrap_or(0);
        let allowed = i64::from(self.intake.widest_picture);
        let fits = i64::from(side("width")) <= allowed && i64::from(side("height")) <= allowed;
        if !fits {
            self.refuse(Refusal::TooLarge);
        }
        fits
    }

    /// A picture enters the decoder.
    pub(crate) fn encoded(&self, buffer: &gst::BufferRef) {
        let mut state = self.intake.state();
        if state.connection != self.connection {
            return;
        }
        // Only a network loses packets; readers of files use the flag for other things.
        let lost = self.intake.is_stream && buffer.flags().contains(gst::BufferFlags::DISCONT);
        let key = !self.intake.is_stream || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        if state.encoded.enter(buffer.pts(), lost, key, Instant::now()) {
            self.intake.counts.decode_error();
        }
    }

    /// A picture leaves the decoder; `running_time` is its time in the pipeline. Whether it may go on.
    pub(crate) fn decoded(&self, buffer: &gst::BufferRef, running_time: Option<gst::ClockTime>) -> bool {
        let now = Instant::now();
        let Intake { counts, .. } = &*self.intake;
        let mut state = self.intake.state();
        if state.connection != self.connection || self.refusal().is_some() {
            return false;
        }
        #[cfg(test)]
        if let Some(tell) = &*self.intake.decoder_gave.lock().unwrap_or_else(PoisonError::into_inner) {
            tell(buffer);
        }
        counts.decoded(now);
        let sequence = state.sequence;
        state.sequence += 1;
        let (arrived, broken, lost) = state.encoded.leave(buffer.pts()).unwrap_or((now, false, 0));
        for _ in 0..lost {
            counts.decode_error();
        }
        let corrupted = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
        if corrupted {
            counts.decode_error();
        }
        if self.intake.stopping.load(Ordering::Acquire) {
            counts.dropped(DropReason::Shutdown);
            return false;
        }
        let damaged = corrupted || broken;
        if !damaged {
            self.intake.whole.fetch_add(1, Ordering::AcqRel);
        }
        let timestamp = running_time.or(buffer.pts()).map(|at| Duration::from_nanos(at.nseconds()));
        let stamp = state.timeline.stamp(timestamp, now, WallTime::from(SystemTime::now()));
        if stamp.jumped {
            counts.clock_jump();
        }
        if !state.cap.admit(stamp.media_time) {
            counts.dropped(DropReason::RateCap);
            return false;
        }
        if damaged {
            counts.dropped(DropReason::Damaged);
            return false;
        }
        state.passing = Some(Passing { sequence, stamp, arrived, memory: memory_of(buffer) });
        true
    }

    /// A picture comes to the end of the pipeline: maps it and offers it to the reader.
    pub(crate) fn picture(&self, sample: &gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(frame) = self.frame(sample)? else { return Ok(gst::FlowSuccess::Ok) };
        self.intake.offer(frame)
    }

    /// The frame of a sample; `None` when it is damaged.
    fn frame(&self, sample: &gst::Sample) -> Result<Option<Frame>, gst::FlowError> {
        let Intake { counts, .. } = &*self.intake;
        let mut state = self.intake.state();
        if state.connection != self.connection || self.refusal().is_some() {
            return Err(gst::FlowError::Flushing);
        }
        let (Some(buffer), Some(caps), Some(passing)) =
            (sample.buffer_owned(), sample.caps(), state.passing.take())
        else {
            return Err(gst::FlowError::Error);
        };
        if !state.layout.as_ref().is_some_and(|layout| layout.is_of(caps)) {
            if !self.announced(caps) {
                return Err(gst::FlowError::NotSupported);
            }
            state.layout = Layout::new(caps);
        }
        let Some(layout) = &state.layout else { return Err(gst::FlowError::NotNegotiated) };
        if memory_of(&buffer) != passing.memory {
            counts.pixels_copied(layout.bytes());
        }
        let Passing { sequence, stamp, arrived, .. } = passing;
        let header = FrameHeader {
            sequence,
            run: stamp.run,
            media_time: stamp.media_time,
            wall_time: stamp.wall_time,
            arrived: if self.intake.is_stream { arrived } else { Instant::now() },
            size: layout.size,
            format: layout.format,
            matrix: layout.matrix,
            range: layout.range,
        };
        let frame = layout.map(buffer).and_then(|picture| Frame::new(header, Arc::new(picture)).ok());
        if frame.is_some() {
            counts.entered();
        } else {
            counts.dropped(DropReason::Damaged);
        }
        Ok(frame)
    }
}

/// Where a buffer's first memory lives: a converted or copied picture has another one.
fn memory_of(buffer: &gst::BufferRef) -> Option<usize> {
    (buffer.n_memory() > 0).then(|| buffer.peek_memory(0).as_ptr() as usize)
}

#[cfg(test)]
mod zero_copy;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Option<gst::ClockTime> {
        Some(gst::ClockTime::from_mseconds(millis))
    }

    #[test]
    fn pictures_after_a_loss_are_damaged_until_the_next_key_picture() {
        let now = Instant::now();
        let mut encoded = Encoded::default();
        // (lost before it, key, counted as an error, damaged)
        let table = [
            (true, true, false, false),
            (false, false, false, false),
            (true, false, true, true),
            (false, false, false, true),
            (true, false, true, true),
            (false, true, false, false),
            (true, true, true, false),
        ];
        for (index, (lost, key, error, damaged)) in table.into_iter().enumerate() {
            let time = at(index as u64);
            assert_eq!(encoded.enter(time, lost, key, now), error, "picture {index}");
            assert_eq!(encoded.leave(time), Some((now, damaged, 0)), "picture {index}");
        }
    }

    #[test]
    fn a_stream_joined_between_key_pictures_is_damaged_until_the_next_one_or_for_ten_seconds() {
        let begin = Instant::now();
        let mut encoded = Encoded::default();
        for (second, damaged) in [(0, true), (10, true), (11, false), (12, false)] {
            let now = begin + Duration::from_secs(second);
            encoded.enter(at(second), second == 0, false, now);
            assert_eq!(encoded.leave(at(second)), Some((now, damaged, 0)), "second {second}");
        }
    }

    #[test]
    fn pictures_leave_in_the_order_of_their_times_and_those_that_never_leave_are_counted() {
        let now = Instant::now();
        let mut encoded = Encoded::default();
        let leave = |encoded: &mut Encoded, millis| encoded.leave(at(millis)).map(|(.., lost)| lost);
        // Sent in another order than shown.
        for millis in [0, 120, 40, 80, 240, 160, 200] {
            encoded.enter(at(millis), false, millis == 0, now);
        }
        // (leaves at, pictures before it that never left)
        for (millis, lost) in [(0, Some(0)), (40, Some(0)), (120, Some(1)), (240, Some(2)), (240, None)] {
            assert_eq!(leave(&mut encoded, millis), lost, "at {millis}");
        }
        // A decoder that gives nothing back does not make the list grow.
        for millis in 1000..1100 {
            encoded.enter(at(millis), false, false, now);
        }
        assert_eq!(leave(&mut encoded, 1000), None);
        assert_eq!(leave(&mut encoded, 1099), Some(IN_DECODER - 1));
    }

    #[test]
    fn pc_16_a_frame_that_nobody_takes_is_thrown_away_when_it_is_too_old() {
        use kerbside_channel::{WhenFull, edge};
        use kerbside_core::frame::{OwnedPlanes, PictureSize, PixelFormat};
        use kerbside_telemetry::{CameraMetrics, Telemetry};
        const LIMIT: Duration = Duration::from_secs(10);
        const SIZE: PictureSize = PictureSize { width: 16, height: 16 };
        let telemetry = Telemetry::new();
        let metrics = CameraMetrics::new(&telemetry, "plaza");
        let (sender, receiver) = edge(&telemetry, "plaza/slot", 1, WhenFull::DropOldest);
        let counts = Counts::new(metrics.clone(), Arc::default());
        let intake = Intake::new(sender, counts, (true, Follows::Now), 10.0, 64);
        let offer = |age: Duration| {
            let arrived = Instant::now().checked_sub(age).unwrap();
            let header = FrameHeader::of_picture(SIZE, PixelFormat::I420, arrived);
            let frame = Frame::new(header, Arc::new(OwnedPlanes::flat(SIZE, PixelFormat::I420, 0, 0))).unwrap();
            intake.offer(frame).unwrap();
        };
        offer(LIMIT);
        intake.discard_older_than(LIMIT);
        assert_eq!(metrics.dropped(DropReason::TooOld).value(), 1.0);
        offer(LIMIT / 2);
        intake.discard_older_than(LIMIT);
        assert_eq!(metrics.dropped(DropReason::TooOld).value(), 1.0);
        assert!(receiver.receive().is_some(), "a young one stays");
    }
}
