//! What a camera is, and the limits that it is held to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kerbside_core::time::WallTime;
use url::Url;

/// One camera.
#[derive(Clone, Debug)]
pub struct CameraSource {
    /// The camera's name: threads and log lines carry it.
    pub name: String,
    /// Where its pictures come from.
    pub source: Source,
    /// At most this many frames a second enter the node; the others are dropped right after decoding.
    pub analyse_fps: f64,
}

/// Where pictures come from.
#[derive(Clone)]
pub enum Source {
    /// A stream. Never given up.
    Rtsp {
        /// `rtsp://` or `rtsps://`, without user name and password.
        url: Url,
        /// How the pictures travel.
        transport: Transport,
        /// What the camera asks for.
        credentials: Option<Credentials>,
        /// The authorities that may vouch for an `rtsps` camera, PEM; the system's when absent.
        ca_file: Option<PathBuf>,
    },
    /// A recorded clip. Ends when it has been read.
    File {
        /// The clip.
        path: PathBuf,
        /// How fast it is read.
        pace: Pace,
    },
}

impl fmt::Debug for Source {
    /// Host and file only: paths and queries of addresses may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtsp { url, transport, .. } => f
                .debug_struct("Rtsp")
                .field("scheme", &url.scheme())
                .field("host", &url.host_str())
                .field("transport", transport)
                .finish_non_exhaustive(),
            Self::File { path, pace } => f.debug_struct("File").field("path", path).field("pace", pace).finish(),
        }
    }
}

/// How a stream's packets travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Inside the RTSP connection.
    #[default]
    Tcp,
    /// As datagrams, which may be lost.
    Udp,
}

/// What a camera asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// How fast a clip is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the reader of the frames takes them. Nothing depends on a clock: a frame's wall time is
    /// `first_frame_at` plus its media time.
    AsFastAsPossible {
        /// The wall time of the first frame.
        first_frame_at: WallTime,
    },
    /// As fast as it was recorded, as if it happened now.
    RealTime,
}

/// What a camera is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// A stream that was up and brings no picture for this long is connected anew.
    pub stall: Duration,
    /// A new connection that brings no picture for this long is given up: longer than [`Limits::stall`],
    /// because the first picture may have to wait for the next key picture.
    pub first_picture: Duration,
    /// The network's answer to a request must come within this.
    pub answer: Duration,
    /// The shortest pause before a connection is tried again.
    pub shortest_pause: Duration,
    /// The longest such pause, for cameras that cannot be reached.
    pub longest_pause: Duration,
    /// A stream that was up for this long starts again with the shortest pause.
    pub stable: Duration,
    /// Attempts that a camera may refuse because of our credentials before they become rare.
    pub refusals: u32,
    /// The pause between attempts from then on, so that the account is not locked.
    pub refused_pause: Duration,
    /// The first pause after a codec that cannot be decoded; it doubles up to [`Limits::refused_pause`].
    pub codec_pause: Duration,
    /// Wider or higher pictures are refused before memory is taken for them.
    pub widest_picture: u32,
    /// A pipeline that does not stop within this is left behind, and that is logged as an error.
    pub teardown: Duration,
}

impl Limits {
    /// The limits of [`crate::start`].
    pub const DEFAULT: Self = Self {
        stall: Duration::from_secs(5),
        first_picture: Duration::from_secs(15),
        answer: Duration::from_secs(5),
        shortest_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(30),
        stable: Duration::from_secs(10),
        refusals: 3,
        refused_pause: Duration::from_secs(300),
        codec_pause: Duration::from_secs(30),
        widest_picture: 8192,
        teardown: Duration::from_secs(3),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_no_secret() {
        let source = Source::Rtsp {
            url: Url::parse("rtsp://10.0.0.7/stream?token=geheim").unwrap(),
            transport: Transport::Tcp,
            credentials: Some(Credentials { username: "wachmann".into(), password: "geheim".into() }),
            ca_file: None,
        };
        let text = format!("{source:?} {:?}", Credentials { username: "wachmann".into(), password: "x".into() });
        assert!(text.contains("10.0.0.7"), "{text}");
        assert!(!text.contains("geheim") && !text.contains("wachmann"), "{text}");
    }
}
