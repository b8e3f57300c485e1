//! Plays clips into one stream in real time.
//!
//! Timestamps follow the clips' own, each clip beginning where the one before it ended, so that a client sees
//! one endless stream. A picture is pushed when it is due, never before. While [`Control::stall`] holds, nothing
//! is pushed and the connection stays open; what was due meanwhile is skipped up to the next key picture,
//! as a camera does that was busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::clip::{AccessUnit, Clip};

/// What all feeders of a server obey.
#[derive(Default)]
pub(crate) struct Control {
    stopped: AtomicBool,
    stalled: AtomicBool,
    changed: (Mutex<()>, Condvar),
}

impl Control {
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        let _guard = self.changed.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.1.notify_all();
    }

    /// Waits until `due`, at most a tick; whether it has come.
    fn wait(&self, due: Instant) -> bool {
        const TICK: Duration = Duration::from_millis(100);
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        let guard = self.changed.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.1.wait_timeout(guard, left.min(TICK)));
        Instant::now() >= due
    }
}

/// What one mount plays.
pub(crate) struct Playlist {
    pub(crate) clips: Vec<Arc<Clip>>,
    pub(crate) looping: bool,
}

impl Playlist {
    /// Every picture with the moment at which its clip begins.
    fn pictures(&self) -> impl Iterator<Item = (Duration, &AccessUnit)> {
        let rounds = if self.looping { usize::MAX } else { 1 };
        let mut start = Duration::ZERO;
        (0..rounds).flat_map(|_| &self.clips).flat_map(move |clip| {
            let begins = start;
            start += clip.duration();
            clip.units.iter().map(move |unit| (begins, unit))
        })
    }
}

/// Pushes the playlist until it ends, the stream is closed or the server stops.
pub(crate) fn feed(source: &gst_app::AppSrc, playlist: &Playlist, control: &Control, closed: &AtomicBool) {
    let ended = || control.is_stopped() || closed.load(Ordering::Acquire);
    // The stream's clock runs from the moment in which its pipeline plays.
    let zero = loop {
        if ended() {
            return;
        }
        if source.current_state() == gst::State::Playing
            && let Some(now) = source.current_running_time()
        {
            break now;
        }
        control.wait(Instant::now() + Duration::from_millis(5));
    };
    let begun = Instant::now();
    let mut waiting_for_key = false;
    for (begins, unit) in playlist.pictures() {
        while !control.wait(begun + begins + unit.sent) {
            if ended() {
                return;
            }
        }
        if ended() {
            return;
        }
        if control.stalled.load(Ordering::Acquire) {
            waiting_for_key = true;
            continue;
        }
        if waiting_for_key && unit.buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
            continue;
        }
        waiting_for_key = false;
        let stamp = |at: Duration| {
            zero + gst::ClockTime::from_nseconds(u64::try_from((begins + at).as_nanos()).unwrap_or(u64::MAX))
        };
        // Copies the reference and the times; the bytes are shared by all rounds and clients.
        let mut buffer = unit.buffer.copy();
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(stamp(unit.shown));
            buffer.set_dts(stamp(unit.sent));
        }
        if source.push_buffer(buffer).is_err() {
            return;
        }
    }
    // A refusal means that the stream is closed already.
    let _ = source.end_of_stream();
}
