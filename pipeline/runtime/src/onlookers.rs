//! Who looks on while a clip is replayed, from the lane's thread: what they see changes no result.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::lane::{Inspect, Inspected};
use crate::overlay::OverlayClip;
use crate::tracks::TrackRows;

/// Those that were asked for.
#[derive(Default)]
pub(crate) struct Onlookers {
    pub(crate) tracks: Option<TrackRows>,
    pub(crate) overlay: Option<OverlayClip>,
}

/// The same, for the lane and for whoever wants their results when it has ended.
pub(crate) struct SharedOnlookers(Arc<Mutex<Onlookers>>);

impl SharedOnlookers {
    pub(crate) fn new(onlookers: Onlookers) -> Self {
        Self(Arc::new(Mutex::new(onlookers)))
    }

    /// What the lane calls for each frame; none where nobody looks on.
    pub(crate) fn inspect(&self) -> Option<Inspect> {
        let anyone = {
            let onlookers = lock(&self.0);
            onlookers.tracks.is_some() || onlookers.overlay.is_some()
        };
        anyone.then(|| -> Inspect {
            let shared = Arc::clone(&self.0);
            Box::new(move |inspected| lock(&shared).take_in(inspected))
        })
    }

    /// The onlookers as they are now. Nobody looks on any more.
    pub(crate) fn take(&self) -> Onlookers {
        std::mem::take(&mut *lock(&self.0))
    }
}

impl Onlookers {
    fn take_in(&mut self, inspected: &Inspected<'_>) {
        if let Some(rows) = &mut self.tracks {
            rows.take_in(inspected.frame, inspected.tracker);
        }
        if let Some(overlay) = &mut self.overlay {
            overlay.take_in(inspected);
        }
    }
}

/// A holder that panicked was the lane, and its panic is told by whoever joins it.
fn lock(onlookers: &Mutex<Onlookers>) -> MutexGuard<'_, Onlookers> {
    onlookers.lock().unwrap_or_else(PoisonError::into_inner)
}
