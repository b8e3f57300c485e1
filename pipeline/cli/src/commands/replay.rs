//! `kerbside replay`: one recorded clip through the same stages as a live camera.

use std::fs;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kerbside_config::Catalogue;
use kerbside_core::time::WallTime;
use kerbside_runtime::{Progress, ReplayOptions, ReplayOutcome, TrackRow};

use super::check::{log_notes, report};
use crate::models::{EngineArgument, ModelsArgument};
use crate::output::{Refusal, complain};
use crate::signals::StopRequest;
use crate::whole_file::{WholeFile, refuse_same};
use crate::{Outcome, logging};

/// Analyses one recorded clip as if a camera had sent it, as fast as it goes and without losing a frame.
///
/// The camera's `analyse_fps` holds: at 10, every third frame of a clip with 30 frames a second is analysed.
/// The same clip and the same file give the same rows, byte for byte. Without --out the released rows
/// are printed as a table.
#[derive(Args)]
pub(crate) struct Replay {
    /// The clip: any file that GStreamer can decode
    clip: PathBuf,
    /// The camera's YAML file; its `source` is not used
    #[arg(long, value_name = "FILE")]
    camera: PathBuf,
    /// Writes the released tables into this folder, as Arrow IPC files that `kerbside events` reads
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Writes the tracks into this file: MOTChallenge lines frame,id,left,top,width,height,score,-1,-1,-1.
    /// A local aid for judging the tracker; `run` has no such output
    #[arg(long, value_name = "CSV")]
    tracks: Option<PathBuf>,
    /// Writes the clip as MP4 with boxes, tracks, lines, zones, running counts and findings drawn on it.
    /// A local aid for seeing why something counted; `run` has no such output. It shows whom the clip shows,
    /// no larger and no sharper: keep and delete it like the clip. After Ctrl-C it plays as far as it got
    #[arg(long, value_name = "MP4", value_parser = mp4)]
    overlay: Option<PathBuf>,
    /// The UTC moment of the clip's first frame
    #[arg(long, value_name = "TIME", default_value = "1970-01-01T00:00:00Z", value_parser = moment)]
    start: WallTime,
    /// Shortens every bin, such as 10s; the released rows are stamped 'demo'
    #[arg(long, value_name = "TIME", value_parser = bin)]
    bin: Option<Duration>,
    /// Frames at once, each in a detector of its own; the result does not depend on it [default: one a
    /// processor, or one for each --threads-per-frame of them]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Threads that split one frame; the result does not depend on it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads_per_frame: u16,
    #[command(flatten)]
    models: ModelsArgument,
    #[command(flatten)]
    engine: EngineArgument,
    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "warn", env = "KERBSIDE_LOG")]
    log: String,
}

impl Replay {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        logging::start(&self.log)?;
        let stop = StopRequest::listen()?;
        let folder = self.models.open(None)?;
        let names = folder.names();
        let catalogue = Catalogue { operators: kerbside_operators::TABLE, models: &names };
        let camera = match kerbside_config::load_camera(&self.camera, &catalogue) {
            Ok(camera) => camera,
            Err(error) => {
                report(&error);
                return Ok(Outcome::Refused);
            }
        };
        // In a demonstration nothing is kept back and nothing has noise.
        if self.bin.is_none() {
            log_notes(&camera);
        }
        let info = kerbside_runtime::clip_info(&self.clip)?;
        if let Some(overlay) = &self.overlay {
            refuse_same(overlay, &[&self.clip])?;
            if overlay.is_dir() {
                return Err(Refusal(format!("{} is a folder", overlay.display())).into());
            }
        }
        // Where the results go is known to be writable before minutes are spent on them.
        let made = self.out.as_deref().filter(|out| !out.exists());
        if let Some(out) = &self.out {
            fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
        }
        let others: Vec<&Path> =
            [Some(self.clip.as_path()), self.overlay.as_deref()].into_iter().flatten().collect();
        let tracks = self.tracks.as_deref().map(|path| WholeFile::create(path, &others)).transpose()?;

        let options = ReplayOptions {
            clip: self.clip,
            first_frame_at: self.start,
            threads: self.threads.map_or_else(|| default_threads(self.threads_per_frame), usize::from),
            threads_per_frame: usize::from(self.threads_per_frame),
            engine: self.engine.choice,
            demo_bin: self.bin,
            tracks: tracks.is_some(),
            overlay: self.overlay.clone(),
            software: format!("kerbside {}", env!("CARGO_PKG_VERSION")),
        };
        let bar = bar(info.duration);
        let replay = kerbside_runtime::Replay::new(camera, &folder, options).inspect_err(|_| {
            // Nothing is in it yet.
            let _ = made.map(fs::remove_dir);
        })?;
        let outcome = replay.run(&mut |done: Progress| {
            bar.set_position(u64::try_from(done.media.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(format!("{} frames", done.frames));
            if stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bar.finish_and_clear();
        let outcome = outcome?;
        if outcome.interrupted {
            if let Some(out) = made {
                fs::remove_dir(out).with_context(|| format!("{} cannot be removed", out.display()))?;
            }
            match (&self.overlay, outcome.overlay) {
                (Some(path), Some(Ok(pictures @ 1..))) => {
                    complain(&format!(
                        "broken off: {} holds {pictures} frames, nothing else was written",
                        path.display()
                    ));
                }
                _ => complain("broken off: nothing was written"),
            }
            return Ok(Outcome::Flawed);
        }
        if let Some(tracks) = tracks {
            write_tracks(tracks, &outcome.tracks)?;
        }
        match &self.out {
            Some(out) => kerbside_uplink::write_tables(out, &outcome.batches)?,
            None => super::events::print_batches(&outcome.batches)?,
        }
        summarise(&outcome);
        // Last: what else was asked for is not lost with it.
        outcome.overlay.transpose()?;
        Ok(Outcome::Done)
    }
}

/// What a person wants to know at the end; on standard error, so that results stay clean.
fn summarise(outcome: &ReplayOutcome) {
    let seconds = outcome.elapsed.as_secs_f64().max(0.001);
    complain(&format!(
        "{} frames in {seconds:.1} s: {:.1} frames a second",
        outcome.frames,
        outcome.frames as f64 / seconds
    ));
    if outcome.damaged > 0 {
        complain(&format!("{} frames of the clip were damaged and left out", outcome.damaged));
    }
    let stages: Vec<String> = outcome
        .stages
        .iter()
        .filter(|(_, mean)| !mean.is_zero())
        .map(|(stage, mean)| format!("{stage} {:.2} ms", mean.as_secs_f64() * 1e3))
        .collect();
    complain(&format!("mean time of a frame: {}", stages.join(", ")));
}

/// A bar on a terminal, nothing in a pipe.
fn bar(duration: Option<Duration>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match duration {
        Some(duration) => (
            ProgressBar::new(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            "{bar:40} {percent}%  {msg}  {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is valid"))
}

fn write_tracks(tracks: WholeFile, rows: &[TrackRow]) -> anyhow::Result<()> {
    let mut out = BufWriter::new(tracks.out());
    for row in rows {
        let TrackRow { frame, id, left, top, width, height, score } = row;
        writeln!(out, "{frame},{id},{left:.2},{top:.2},{width:.2},{height:.2},{score:.4},-1,-1,-1")
            .context("the tracks cannot be written")?;
    }
    out.flush().context("the tracks cannot be written")?;
    drop(out);
    tracks.finish()
}

fn default_threads(threads_per_frame: u16) -> usize {
    let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
    (parallelism / usize::from(threads_per_frame)).max(1)
}

/// 2500-01-01T00:00:00Z. Nanoseconds since 1970 end in 2554; a clip must not reach there.
const LATEST_START: WallTime = WallTime::from_unix_millis(16_725_225_600_000);

/// An overlay's file: players go by the ending.
fn mp4(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(ending) if ending.eq_ignore_ascii_case("mp4") => Ok(path),
        _ => Err("a file whose name ends in .mp4 is expected".to_owned()),
    }
}

fn moment(text: &str) -> Result<WallTime, String> {
    WallTime::parse_rfc3339(text)
        .filter(|moment| *moment < LATEST_START)
        .ok_or_else(|| "a moment such as 2026-01-31T08:00:00Z is expected, from 1970 to 2499".to_owned())
}

/// A bin's length: a whole number of seconds that divides a day.
pub(crate) fn bin(text: &str) -> Result<Duration, String> {
    const DAY_SECS: u64 = 86_400;
    let allowed = "a whole number of seconds that divides a day is expected, such as 10s or 5m";
    let span = humantime::parse_duration(text).map_err(|_| allowed.to_owned())?;
    let seconds = span.as_secs();
    if seconds == 0 || span.subsec_nanos() != 0 || !DAY_SECS.is_multiple_of(seconds) {
        return Err(allowed.to_owned());
    }
    Ok(span)
}
