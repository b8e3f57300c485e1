//! A camera's settings as ingest wants them.

use std::path::PathBuf;

use kerbside_config::{CameraSettings, Source as Configured, Transport as ConfiguredTransport};
use kerbside_core::time::WallTime;
use kerbside_ingest::{CameraSource, Credentials, Pace, Source, Transport};

/// The stream that the camera's file names.
pub(crate) fn live(camera: &CameraSettings) -> CameraSource {
    let source = match &camera.source {
        Configured::Rtsp(rtsp) => Source::Rtsp {
            url: rtsp.url.clone(),
            transport: match rtsp.transport {
                ConfiguredTransport::Tcp => Transport::Tcp,
                ConfiguredTransport::Udp => Transport::Udp,
            },
            credentials: rtsp.credentials.as_ref().map(|credentials| Credentials {
                username: credentials.username.clone(),
                password: credentials.password.expose().to_owned(),
            }),
            ca_file: rtsp.tls_ca.clone(),
        },
        Configured::File(file) => Source::File { path: file.path.clone(), pace: Pace::RealTime },
    };
    CameraSource { name: camera.name.clone(), source, analyse_fps: camera.analyse_fps }
}

/// A clip in place of the camera's stream, as fast as it goes.
pub(crate) fn clip(camera: &CameraSettings, path: PathBuf, first_frame_at: WallTime) -> CameraSource {
    CameraSource {
        name: camera.name.clone(),
        source: Source::File { path, pace: Pace::AsFastAsPossible { first_frame_at } },
        analyse_fps: camera.analyse_fps,
    }
}
