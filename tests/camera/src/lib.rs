//! Serves clips as RTSP cameras on loopback, for tests and the demo.
//!
//! A clip is read once into encoded pictures held in memory ([`clip`]); every mount then plays them in real
//! time, again and again, with timestamps that go on across the seam (`feed`). A clip that is H.264 or H.265
//! already is not encoded again, anything else is encoded once at the start, so that serving costs next to nothing.
//! [`render`] makes clips of known content for tests.
//!
//! Invariants: nothing but 127.0.0.1 is bound. All clients of one mount see the same stream; a mount starts
//! at the beginning of its first clip when its first client comes. Threads: one for the server's events and one
//! for each mount that has a client, all joined by [`CameraServer::stop`].
//! Deliberately not here: sound, recording, more than one stream a mount, access from other machines.

#![forbid(unsafe_code)]

pub mod clip;
mod feed;
pub mod render;
mod server;

use std::path::PathBuf;

use thiserror::Error;

pub use clip::{Clip, Codec};
pub use server::{CameraServer, Mount, Options, Tls};

/// Why a clip cannot be served.
#[derive(Debug, Error)]
pub enum CameraError {
    /// GStreamer or one of its plugins is missing.
    #[error("GStreamer cannot start, or lacks {what}; on Debian install {package}")]
    Missing {
        /// The element or library.
        what: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The file cannot be read or holds no video.
    #[error("{}: {reason}", path.display())]
    Clip {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The clips of one mount do not fit into one stream.
    #[error("the clips of {mount} have different codecs")]
    MixedCodecs {
        /// The mount's name.
        mount: String,
    },
    /// Nothing to serve.
    #[error("no clip was given")]
    NoClip,
    /// The certificate or its key cannot be used.
    #[error("the TLS certificate or key cannot be used: {0}")]
    Tls(String),
    /// The port is taken, or the system refuses it.
    #[error("port {port} on 127.0.0.1 cannot be opened: {reason}")]
    Port {
        /// The port that was asked for, 0 for any free one.
        port: u16,
        /// The system's answer.
        reason: String,
    },
    /// A test clip could not be made.
    #[error("the test clip cannot be made: {0}")]
    Render(String),
    /// A thread could not be started.
    #[error("a thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// Starts GStreamer and looks for an element; names the Debian package when it is missing.
pub(crate) fn need(element: &str) -> Result<(), CameraError> {
    let missing = |what: &str, package| CameraError::Missing { what: what.to_owned(), package };
    gstreamer::init().map_err(|_| missing("its core library", "libgstreamer1.0-0"))?;
    if gstreamer::ElementFactory::find(element).is_some() {
        return Ok(());
    }
    Err(missing(
        element,
        match element {
            "h264parse" | "h265parse" => "gstreamer1.0-plugins-bad",
            "x265enc" => "gstreamer1.0-plugins-bad",
            "x264enc" => "gstreamer1.0-plugins-ugly",
            "rtph264pay" | "rtph265pay" | "matroskamux" | "jpegenc" => "gstreamer1.0-plugins-good",
            _ => "gstreamer1.0-plugins-base",
        },
    ))
}
