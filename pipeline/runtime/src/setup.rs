//! Setup mode: for a while an installer may see one camera's background, to draw lines and zones on it.
//!
//! Rule PC-17 of the privacy contract: it is off unless `node.yaml` allows it and somebody asks for it on the status
//! page, it ends by itself, and it is told in a metric and in `health.v1`. What is shown is
//! [`kerbside_vision::Background`]: never a frame, and nothing of anybody whom the detector finds or who moves on. It is
//! forgotten when the mode ends.
//!
//! Threads: the camera's lane adds frames, the status thread asks for the picture, the main thread ends it. The lock is
//! held while a reduced frame is added or its medians are taken, some milliseconds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kerbside_core::detection::Detection;
use kerbside_core::frame::Frame;
use kerbside_vision::{Background, Picture, VisionError};
use tracing::{info, warn};

use crate::status::snapshot::SetupView;

/// The mode, on or off. One for a node.
#[derive(Default)]
pub(crate) struct SetupMode {
    /// Whether it has been on since that was asked last.
    was_on: AtomicBool,
    /// The number of the lane whose frames are wanted, plus one; 0 for none. Read on the frame path.
    wanted: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// For how long at a time it may be on; never if `None`.
    at_most: Option<Duration>,
    active: Option<Active>,
}

struct Active {
    camera: String,
    until: Instant,
    /// `None` before the first frame.
    background: Option<Background>,
    /// The last picture as a file, and when it was made.
    png: Option<(Instant, Shown)>,
}

/// A picture that may be shown.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) png: std::sync::Arc<[u8]>,
    /// The share of it that is known, 0..1.
    pub(crate) known: f32,
}

/// How far the picture is.
#[derive(Clone)]
pub(crate) enum Progress {
    /// Setup mode is off.
    Off,
    /// So much of what is needed has been seen, 0..1.
    Waiting(f32),
    /// It can be shown.
    Ready(Shown),
}

/// Why setup mode was not switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SetupRefusal {
    #[error("node.yaml does not allow setup mode")]
    Forbidden,
    #[error("setup mode may not be on for so long")]
    TooLong,
}

/// What a detector is less sure of hides nothing: much of it is always at the same place of the street.
const LEAST_SCORE: f32 = 0.3;
/// A picture is made anew when it is older.
const PICTURE_AGE: Duration = Duration::from_secs(5);

impl SetupMode {
    /// For how long at a time it may be on. Where that is no longer allowed, it ends.
    pub(crate) fn allow(&self, at_most: Option<Duration>) {
        let mut state = self.lock();
        state.at_most = at_most;
        if let Some(active) = &mut state.active {
            let latest = Instant::now() + at_most.unwrap_or_default();
            active.until = active.until.min(latest);
        }
        self.expire(&mut state, Instant::now());
    }

    /// Switches it on for a camera, whose lane has that number. Another camera's ends.
    pub(crate) fn start(&self, camera: &str, lane: u64, span: Duration, now: Instant) -> Result<(), SetupRefusal> {
        let mut state = self.lock();
        let at_most = state.at_most.ok_or(SetupRefusal::Forbidden)?;
        if span > at_most {
            return Err(SetupRefusal::TooLong);
        }
        let active = Active { camera: camera.to_owned(), until: now + span, background: None, png: None };
        state.active = Some(active);
        self.wanted.store(lane + 1, Ordering::Release);
        self.was_on.store(true, Ordering::Release);
        warn!(
            camera,
            minutes = span.as_secs() / 60,
            "setup mode is on: an installer may see this camera's background"
        );
        Ok(())
    }

    /// Switches it off and forgets the background.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        self.end(&mut state, "it was switched off");
    }

    /// Ends it when its time is over; whether it is on. Call it now and then.
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        let mut state = self.lock();
        self.expire(&mut state, now);
        state.active.is_some()
    }

    /// Whether it is on, or has been since the last call of this.
    pub(crate) fn take_was_on(&self, now: Instant) -> bool {
        // In this order: one that is switched on in between is told next time as well.
        let was_on = self.was_on.swap(false, Ordering::AcqRel);
        self.is_on(now) || was_on
    }

    /// The camera has been changed, and its lane has another number from now on; or it is gone. What was seen until now may
    /// be of another street.
    pub(crate) fn lane_is_now(&self, camera: &str, lane: Option<u64>) {
        let mut state = self.lock();
        let State { active, .. } = &mut *state;
        let Some(active) = active.as_mut().filter(|active| active.camera == camera) else { return };
        (active.background, active.png) = (None, None);
        match lane {
            Some(lane) => self.wanted.store(lane + 1, Ordering::Release),
            None => self.end(&mut state, "its camera is gone"),
        }
    }

    /// Whether the frames of that lane are wanted.
    pub(crate) fn wants(&self, lane: u64) -> bool {
        self.wanted.load(Ordering::Acquire) == lane + 1
    }

    /// A frame of the lane whose frames are wanted, and what was found in it.
    pub(crate) fn look(&self, lane: u64, frame: &Frame, detections: &[Detection]) {
        let mut state = self.lock();
        self.expire(&mut state, Instant::now());
        if self.wants(lane)
            && let Some(active) = &mut state.active
        {
            let background = active.background.get_or_insert_with(|| Background::new(frame));
            let found = detections.iter().filter(|detection| detection.score >= LEAST_SCORE);
            background.add(frame, found.map(|detection| detection.box_in_image));
        }
    }

    /// For the page.
    pub(crate) fn view(&self, now: Instant) -> SetupView {
        let mut state = self.lock();
        self.expire(&mut state, now);
        match (&state.active, state.at_most) {
            (Some(Active { camera, until, .. }), _) => {
                SetupView::On { camera: camera.clone(), left: until.saturating_duration_since(now) }
            }
            (None, Some(at_most)) => SetupView::Off { at_most },
            (None, None) => SetupView::Forbidden,
        }
    }

    /// How far the picture is, and the picture. A new one is made at most every few seconds.
    pub(crate) fn picture(&self, now: Instant) -> Result<Progress, VisionError> {
        let made: Picture = {
            let mut state = self.lock();
            self.expire(&mut state, now);
            let Some(active) = &mut state.active else { return Ok(Progress::Off) };
            if let Some((at, shown)) = &active.png
                && now.saturating_duration_since(*at) < PICTURE_AGE
            {
                return Ok(Progress::Ready(shown.clone()));
            }
            let Some(background) = &active.background else { return Ok(Progress::Waiting(0.0)) };
            match background.picture() {
                Some(picture) => picture,
                None => return Ok(Progress::Waiting(background.progress())),
            }
        };
        let shown = Shown { png: made.to_png()?.into(), known: made.known };
        let mut state = self.lock();
        // It may have ended meanwhile.
        let Some(active) = &mut state.active else { return Ok(Progress::Off) };
        active.png = Some((now, shown.clone()));
        Ok(Progress::Ready(shown))
    }

    fn expire(&self, state: &mut State, now: Instant) {
        if state.active.as_ref().is_some_and(|active| now >= active.until) {
            self.end(state, "its time is over");
        }
    }

    fn end(&self, state: &mut State, because: &'static str) {
        self.wanted.store(0, Ordering::Release);
        if let Some(active) = state.active.take() {
            info!(camera = active.camera, because, "setup mode is off");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with it has left counts behind, which are no less true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kerbside_core::frame::{FrameHeader, OwnedPlanes, PictureSize, PixelFormat};
    use kerbside_core::time::MediaTime;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn show(mode: &SetupMode, lane: u64, frames: u64) {
        let size = PictureSize { width: 64, height: 48 };
        for number in 0..frames {
            let header = FrameHeader::of_picture(size, PixelFormat::I420, Instant::now());
            let header = FrameHeader { media_time: MediaTime::from_nanos(number * 1_000_000_000), ..header };
            let planes = OwnedPlanes::flat(size, PixelFormat::I420, 90, 0);
            mode.look(lane, &Frame::new(header, Arc::new(planes)).unwrap(), &[]);
        }
    }

    #[test]
    fn pc_17_it_is_off_unless_it_is_allowed_and_ends_by_itself() {
        let mode = SetupMode::default();
        let now = Instant::now();
        assert_eq!(mode.view(now), SetupView::Forbidden);
        assert_eq!(mode.start("plaza", 3, MINUTE, now), Err(SetupRefusal::Forbidden));
        mode.allow(Some(10 * MINUTE));
        assert_eq!(mode.view(now), SetupView::Off { at_most: 10 * MINUTE });
        assert!(!mode.is_on(now) && !mode.wants(3));
        assert_eq!(mode.start("plaza", 3, 11 * MINUTE, now), Err(SetupRefusal::TooLong));
        mode.start("plaza", 3, 10 * MINUTE, now).unwrap();
        assert!(mode.is_on(now + 9 * MINUTE) && mode.wants(3) && !mode.wants(2));
        assert_eq!(mode.view(now + 9 * MINUTE), SetupView::On { camera: "plaza".to_owned(), left: MINUTE });
        assert!(!mode.is_on(now + 10 * MINUTE) && !mode.wants(3));
        assert!(mode.take_was_on(now), "a row of health tells it, however short it was");
        assert!(!mode.take_was_on(now));
    }

    #[test]
    fn pc_17_the_picture_comes_when_enough_was_seen_and_goes_with_the_mode() {
        let mode = SetupMode::default();
        mode.allow(Some(10 * MINUTE));
        let now = Instant::now();
        assert!(matches!(mode.picture(now), Ok(Progress::Off)));
        mode.start("plaza", 3, MINUTE, now).unwrap();
        assert!(matches!(mode.picture(now), Ok(Progress::Waiting(0.0))));
        show(&mode, 2, 100);
        assert!(matches!(mode.picture(now), Ok(Progress::Waiting(0.0))), "another camera's frames");
        show(&mode, 3, 60);
        assert!(matches!(mode.picture(now), Ok(Progress::Waiting(half)) if half > 0.3));
        show(&mode, 3, 200);
        let Ok(Progress::Ready(shown)) = mode.picture(now) else { panic!("no picture") };
        assert!(shown.png.starts_with(b"\x89PNG") && shown.known == 1.0);
        mode.stop();
        assert!(matches!(mode.picture(now), Ok(Progress::Off)));
        mode.start("plaza", 3, MINUTE, now).unwrap();
        assert!(matches!(mode.picture(now), Ok(Progress::Waiting(0.0))), "it was forgotten");
        mode.allow(None);
        assert_eq!(mode.view(now), SetupView::Forbidden, "and ends when it is no longer allowed");
    }

    #[test]
    fn a_camera_that_is_started_anew_goes_on_and_one_that_is_gone_ends_it() {
        let mode = SetupMode::default();
        mode.allow(Some(MINUTE));
        mode.start("plaza", 3, MINUTE, Instant::now()).unwrap();
        show(&mode, 3, 200);
        mode.lane_is_now("bridge", None);
        assert!(matches!(mode.picture(Instant::now()), Ok(Progress::Ready(_))));
        mode.lane_is_now("plaza", Some(7));
        assert!(mode.wants(7) && !mode.wants(3));
        assert!(matches!(mode.picture(Instant::now()), Ok(Progress::Waiting(0.0))), "it may be another street");
        mode.lane_is_now("plaza", None);
        assert!(!mode.wants(7) && !mode.is_on(Instant::now()));
    }
}
