//! What anyone may know about a camera at any time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kerbside_core::camera::CameraState;
use kerbside_telemetry::Beat;

/// A camera's state and totals: written by ingest, read by anyone, never waiting for each other.
/// The values are each right, but not taken at one moment.
#[derive(Debug)]
pub struct CameraStatus {
    state: AtomicU8,
    pub(crate) reconnects: AtomicU64,
    pub(crate) decode_errors: AtomicU64,
    pub(crate) frames_in: AtomicU64,
    pub(crate) frames_decoded: AtomicU64,
    pub(crate) frames_dropped: AtomicU64,
    pub(crate) frames_damaged: AtomicU64,
    created: Instant,
    /// Nanoseconds since `created` plus one; 0 for never.
    last_frame: AtomicU64,
    /// What went wrong last.
    trouble: Mutex<Option<(&'static str, Instant)>>,
    /// The kernel's numbers of the threads that work for the camera now.
    working: Mutex<BTreeSet<u32>>,
    beat: Beat,
}

impl Default for CameraStatus {
    fn default() -> Self {
        Self::new()
    }
}

impl CameraStatus {
    /// A camera that has not started: connecting, all totals zero.
    pub fn new() -> Self {
        Self {
            state: AtomicU8::new(CameraState::Connecting as u8),
            reconnects: AtomicU64::new(0),
            decode_errors: AtomicU64::new(0),
            frames_in: AtomicU64::new(0),
            frames_decoded: AtomicU64::new(0),
            frames_dropped: AtomicU64::new(0),
            frames_damaged: AtomicU64::new(0),
            created: Instant::now(),
            last_frame: AtomicU64::new(0),
            trouble: Mutex::default(),
            working: Mutex::default(),
            beat: Beat::default(),
        }
    }

    /// What went wrong last with the camera, in words that are ours and not the camera's, and when.
    pub fn trouble(&self) -> Option<(&'static str, Instant)> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_trouble(&self, words: &'static str) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some((words, Instant::now()));
    }

    /// The kernel's numbers of the threads that work for the camera now: for what they cost.
    pub fn threads(&self) -> Vec<u32> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// This thread works for the camera from now on.
    pub fn enter_thread(&self) {
        self.working.lock().unwrap_or_else(PoisonError::into_inner).insert(this_thread());
    }

    /// This thread works for the camera no more.
    pub fn leave_thread(&self) {
        self.working.lock().unwrap_or_else(PoisonError::into_inner).remove(&this_thread());
    }

    /// Whether the thread that watches over the camera makes progress.
    pub fn beat(&self) -> &Beat {
        &self.beat
    }

    /// What the camera is doing. Never [`CameraState::Tampered`]: that is not for ingest to say.
    pub fn state(&self) -> CameraState {
        let index = self.state.load(Ordering::Acquire);
        CameraState::ALL.into_iter().find(|state| *state as u8 == index).expect("set_state stores states only")
    }

    pub(crate) fn set_state(&self, state: CameraState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// Attempts to connect again.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Pictures that were lost or damaged on the way to the decoder or in it.
    pub fn decode_errors(&self) -> u64 {
        self.decode_errors.load(Ordering::Relaxed)
    }

    /// Frames that entered the node, after the frame-rate cap.
    pub fn frames_in(&self) -> u64 {
        self.frames_in.load(Ordering::Relaxed)
    }

    /// Frames that left the decoder.
    pub fn frames_decoded(&self) -> u64 {
        self.frames_decoded.load(Ordering::Relaxed)
    }

    /// Frames that the frame-rate cap would have let in but that were damaged or replaced by a newer one.
    pub fn frames_dropped(&self) -> u64 {
        self.frames_dropped.load(Ordering::Relaxed)
    }

    /// Those of them that were damaged: they are not among [`CameraStatus::frames_in`].
    pub fn frames_damaged(&self) -> u64 {
        self.frames_damaged.load(Ordering::Relaxed)
    }

    /// How long ago the last frame left the decoder; `None` when none ever did.
    pub fn last_frame_age(&self, now: Instant) -> Option<Duration> {
        let stored = self.last_frame.load(Ordering::Acquire).checked_sub(1)?;
        Some(now.saturating_duration_since(self.created + Duration::from_nanos(stored)))
    }

    pub(crate) fn frame_came(&self, now: Instant) {
        let since = now.saturating_duration_since(self.created).as_nanos();
        self.last_frame.store(u64::try_from(since).unwrap_or(u64::MAX - 1) + 1, Ordering::Release);
    }
}

fn this_thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_kept() {
        let status = CameraStatus::new();
        assert_eq!(status.state(), CameraState::Connecting);
        for state in CameraState::ALL {
            status.set_state(state);
            assert_eq!(status.state(), state);
        }
    }

    #[test]
    fn threads_that_work_for_a_camera_are_known_while_they_do() {
        let status = CameraStatus::new();
        status.enter_thread();
        let ours = status.threads();
        assert_eq!(ours.len(), 1);
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                status.enter_thread();
                let both = status.threads();
                status.leave_thread();
                both
            });
            assert_eq!(entered.join().unwrap().len(), 2);
        });
        assert_eq!(status.threads(), ours);
        // The kernel knows it by that number.
        assert!(std::path::Path::new(&format!("/proc/self/task/{}", ours[0])).exists());
    }

    #[test]
    fn the_age_of_the_last_frame_grows() {
        let status = CameraStatus::new();
        let now = Instant::now();
        assert_eq!(status.last_frame_age(now), None);
        status.frame_came(now);
        assert_eq!(status.last_frame_age(now + Duration::from_secs(2)), Some(Duration::from_secs(2)));
    }
}
