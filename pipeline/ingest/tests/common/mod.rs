//! What the tests of this crate share. Each test file uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kerbside_camera::render::Scene;
use kerbside_channel::{Receiver, WhenFull, edge};
use kerbside_core::camera::CameraState;
use kerbside_core::frame::Frame;
use kerbside_core::time::WallTime;
use kerbside_ingest::{
    CameraHandle, CameraSource, CameraStatus, Credentials, IngestError, Limits, Pace, Source, Transport,
};
use kerbside_telemetry::{CameraMetrics, Telemetry};

/// What no step of a test may exceed, also on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A camera under test.
pub(crate) struct Camera {
    pub(crate) handle: CameraHandle,
    pub(crate) frames: Receiver<Frame>,
    pub(crate) status: Arc<CameraStatus>,
    pub(crate) metrics: CameraMetrics,
}

impl Camera {
    pub(crate) fn start(source: Source, analyse_fps: f64, limits: Limits) -> Result<Self, IngestError> {
        let telemetry = Telemetry::new();
        let blocks = matches!(source, Source::File { pace: Pace::AsFastAsPossible { .. }, .. });
        let when_full = if blocks { WhenFull::Block } else { WhenFull::DropOldest };
        let (sender, frames) = edge(&telemetry, "plaza/slot", 1, when_full);
        let metrics = CameraMetrics::new(&telemetry, "plaza");
        let status = Arc::new(CameraStatus::new());
        let source = CameraSource { name: "plaza".to_owned(), source, analyse_fps };
        let handle = kerbside_ingest::start_with(source, sender, metrics.clone(), Arc::clone(&status), limits)?;
        Ok(Self { handle, frames, status, metrics })
    }

    pub(crate) fn next(&self) -> Frame {
        self.frames.receive_within(PATIENCE).expect("a frame comes")
    }

    /// Takes frames until one fits.
    pub(crate) fn until(&self, what: &str, fits: impl Fn(&Frame) -> bool) -> Frame {
        let begin = Instant::now();
        loop {
            let frame = self.next();
            if fits(&frame) {
                return frame;
            }
            assert!(begin.elapsed() < PATIENCE, "no frame that {what}");
        }
    }

    /// Waits for a state and gives back how long it took. Takes no frames.
    pub(crate) fn wait_for(&self, state: CameraState) -> Duration {
        let begin = Instant::now();
        while self.status.state() != state {
            assert!(begin.elapsed() < PATIENCE, "{:?} instead of {state:?}", self.status.state());
            std::thread::sleep(Duration::from_millis(5));
        }
        begin.elapsed()
    }
}

/// Limits that keep tests short.
pub(crate) fn quick() -> Limits {
    Limits {
        stall: Duration::from_millis(1500),
        shortest_pause: Duration::from_millis(100),
        longest_pause: Duration::from_millis(300),
        ..Limits::DEFAULT
    }
}

pub(crate) fn clip(folder: &Path, name: &str, scene: Scene) -> PathBuf {
    let path = folder.join(name);
    scene.render(&path).expect("the test clip is rendered");
    path
}

/// A clip read as replay reads it.
pub(crate) fn replay(path: &Path) -> Source {
    let pace = Pace::AsFastAsPossible { first_frame_at: WallTime::UNIX_EPOCH };
    Source::File { path: path.to_owned(), pace }
}

pub(crate) fn stream(url: &str) -> Source {
    let url = url.parse().expect("the server gives addresses");
    Source::Rtsp { url, transport: Transport::Tcp, credentials: None, ca_file: None }
}

pub(crate) fn stream_with(url: &str, password: &str) -> Source {
    let credentials = Credentials { username: "kerbside".to_owned(), password: password.to_owned() };
    let url = url.parse().expect("the server gives addresses");
    Source::Rtsp { url, transport: Transport::Tcp, credentials: Some(credentials), ca_file: None }
}
