//! The command line of the camera server.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use kerbside_camera::{CameraServer, Codec, Mount, Options};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Plays video clips as RTSP cameras on this machine.
///
/// Each clip becomes one camera at rtsp://127.0.0.1:PORT/NAME, NAME being the file's name without its ending.
/// Clips play in real time, over and over. H.264 and H.265 clips are sent as they are; all others are encoded
/// once before the server starts. Nothing outside this machine can connect. Stop it with Ctrl-C.
#[derive(Parser)]
#[command(name = "kerbside-camera", version)]
struct Arguments {
    /// The video files; the same file may come twice
    #[arg(required = true, value_name = "CLIP")]
    clips: Vec<PathBuf>,
    /// The port to listen on; 0 takes any free one
    #[arg(long, default_value_t = 8554)]
    port: u16,
    /// End each stream when its clip ends, instead of starting over
    #[arg(long)]
    once: bool,
    /// What clips are encoded to that are neither H.264 nor H.265
    #[arg(long, value_enum, default_value_t = CodecName::H264)]
    codec: CodecName,
}

#[derive(Clone, Copy, ValueEnum)]
enum CodecName {
    H264,
    H265,
}

impl From<CodecName> for Codec {
    fn from(name: CodecName) -> Self {
        match name {
            CodecName::H264 => Self::H264,
            CodecName::H265 => Self::H265,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let options = Options {
        port: arguments.port,
        codec: arguments.codec.into(),
        looping: !arguments.once,
        ..Options::default()
    };
    let mut errors = std::io::stderr().lock();
    writeln!(errors, "reading {} clip(s)", arguments.clips.len())?;
    let mounts = Mount::from_files(&arguments.clips, options.codec)?;
    for clip in mounts.iter().flat_map(|mount| &mount.clips) {
        let how = if clip.was_encoded_here() { "encoded here" } else { "as it is" };
        writeln!(
            errors,
            "{} pictures, {:.1} s, {:?}, {how}",
            clip.pictures(),
            clip.duration().as_secs_f64(),
            clip.codec()
        )?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be caught")?;
    let server = CameraServer::start_mounts(mounts, &options)?;
    let mut output = std::io::stdout().lock();
    for url in server.urls() {
        writeln!(output, "{url}")?;
    }
    output.flush()?;
    signals.forever().next();
    server.stop();
    Ok(())
}
