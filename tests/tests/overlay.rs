//! `kerbside replay --overlay` when something goes wrong: it says so, and what else was asked for is not lost.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::{Running, frames, program, rows, stderr, vtest};
use kerbside_core::frame::{ColourMatrix, ColourRange, PictureSize, Plane};
use kerbside_core::time::MediaTime;
use kerbside_ingest::{ClipWriter, Picture};
use rustix::process::Signal;

/// Frames of the short clip.
const FRAMES: u64 = 40;

/// A clip of four seconds at ten frames a second, in which nothing moves but noise.
fn short_clip(path: &Path) {
    let size = PictureSize { width: 320, height: 240 };
    let mut writer = ClipWriter::create(path, 10.0).unwrap();
    let chroma = Plane { bytes: &[128; 160 * 120], stride: 160 };
    let mut state = 1u32;
    for number in 0..FRAMES {
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let luma: Vec<u8> = (0..320 * 240).map(|_| noise()).collect();
        let planes = [Plane { bytes: &luma, stride: 320 }, chroma, chroma];
        let at = MediaTime::from_millis(100 * number);
        let (matrix, range) = (ColourMatrix::Bt601, ColourRange::Limited);
        writer.write(&Picture { at, size, matrix, range, planes }).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), FRAMES);
}

/// Replays the short clip, which lies in the folder, with an overlay there.
fn replay(folder: &Path, overlay: &str) -> Output {
    let clip = folder.join("clip.mp4");
    short_clip(&clip);
    program("kerbside")
        .arg("replay")
        .arg(clip)
        .args(["--camera", "deploy/config/examples/campus-path.yaml"])
        .arg("--out")
        .arg(folder.join("out"))
        .arg("--tracks")
        .arg(folder.join("tracks.csv"))
        .arg("--overlay")
        .arg(folder.join(overlay))
        .output()
        .unwrap()
}

/// What lies in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_short_clip_has_as_many_pictures_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let output = replay(folder.path(), "seen.mp4");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names(folder.path()), ["clip.mp4", "out", "seen.mp4", "tracks.csv"]);
    assert_eq!(frames(&folder.path().join("seen.mp4")).count() as u64, FRAMES);
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_anything_is_analysed() {
    let folder = tempfile::tempdir().unwrap();
    let output = replay(folder.path(), "missing/seen.mp4");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("missing/seen.mp4 cannot be written"), "{}", stderr(&output));
    assert_eq!(names(folder.path()), ["clip.mp4"]);
}

#[test]
fn a_full_disk_costs_the_overlay_alone() {
    let folder = tempfile::tempdir().unwrap();
    symlink("/dev/full", folder.path().join("seen.mp4.partial")).unwrap();
    let output = replay(folder.path(), "seen.mp4");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("no space is left on the disk"), "{}", stderr(&output));
    assert!(stderr(&output).contains(&format!("{FRAMES} frames in")), "{}", stderr(&output));
    assert_eq!(names(folder.path()), ["clip.mp4", "out", "tracks.csv"]);
    assert!(!rows(&folder.path().join("out")).is_empty());
}

#[test]
fn the_clip_itself_is_never_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let output = replay(folder.path(), "clip.mp4");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("would replace"), "{}", stderr(&output));
    assert_eq!(frames(&folder.path().join("clip.mp4")).count() as u64, FRAMES);
}

#[test]
fn a_replay_that_is_broken_off_leaves_an_overlay_that_plays() {
    let folder = tempfile::tempdir().unwrap();
    let (overlay, partial) = (folder.path().join("seen.mp4"), folder.path().join("seen.mp4.partial"));
    let child = program("kerbside")
        .arg("replay")
        .arg(vtest())
        .args(["--camera", "deploy/config/examples/campus-path.yaml", "--threads", "1"])
        .arg("--overlay")
        .arg(&overlay)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let since = Instant::now();
    while fs::metadata(&partial).map_or(0, |file| file.len()) == 0 {
        assert!(since.elapsed() < Duration::from_secs(60), "nothing was written");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal(Signal::INT);
    assert_eq!(running.0.wait().unwrap().code(), Some(1));
    assert_eq!(names(folder.path()), ["seen.mp4"]);
    let pictures = frames(&overlay).count();
    assert!((1..795).contains(&pictures), "{pictures}");
}
