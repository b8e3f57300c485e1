//! Recorded clips: every frame, once, in order, with the right pixels.

mod common;

use std::time::{Duration, Instant};

use common::{Camera, clip, replay};
use kerbside_camera::render::{Encoding, Picture, Scene};
use kerbside_core::camera::CameraState;
use kerbside_core::error::{Classified, ErrorKind};
use kerbside_core::frame::{ColourMatrix, ColourRange, Frame, PictureSize};
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_ingest::{IngestError, Limits, Pace, Source, probe};
use kerbside_telemetry::DropReason;

fn all(camera: &Camera) -> Vec<Frame> {
    std::iter::from_fn(|| camera.frames.receive()).collect()
}

#[test]
fn every_frame_of_a_clip_comes_once_and_in_order_and_the_sound_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene { pictures: 300, width: 160, height: 120, sound: true, ..Scene::default() };
    let path = clip(folder.path(), "clip.mkv", scene);
    let first_frame_at = WallTime::parse_rfc3339("2026-01-31T08:00:00Z").unwrap();
    let source = Source::File { path, pace: Pace::AsFastAsPossible { first_frame_at } };
    // At the clip's own rate nothing is capped.
    let camera = Camera::start(source, 10.0, Limits::DEFAULT).unwrap();
    let frames = all(&camera);
    assert_eq!(frames.len(), 300);
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!((frame.sequence, frame.run), (number as u64, 0));
        assert_eq!(frame.media_time, MediaTime::from_millis(100 * number as u64));
        assert_eq!(frame.wall_time, first_frame_at + frame.media_time.since(MediaTime::ZERO));
    }
    let frame = &frames[0];
    assert_eq!(frame.size, PictureSize { width: 160, height: 120 });
    assert_eq!((frame.matrix, frame.range), (ColourMatrix::Bt601, ColourRange::Limited));
    let ended = camera.handle.join().unwrap();
    assert_eq!((ended.frames_in, ended.stopped), (300, false));
    assert_eq!(camera.status.state(), CameraState::Disabled);
    assert_eq!(camera.status.frames_decoded(), 300);
    assert_eq!(camera.metrics.frames_in.value(), 300.0);
    assert_eq!(camera.metrics.clock_jumps.value(), 0.0);
    for reason in DropReason::ALL {
        assert_eq!(camera.metrics.dropped(reason).value(), 0.0, "{}", reason.name());
    }
}

#[test]
fn two_readings_of_a_clip_are_equal() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), "clip.mkv", Scene { picture: Picture::Snow, ..Scene::default() });
    let read = || {
        let camera = Camera::start(replay(&path), 7.0, Limits::DEFAULT).unwrap();
        let frames = all(&camera).into_iter();
        frames
            .map(|f| (f.sequence, f.run, f.media_time, f.wall_time, f.luma().row(17, 320).to_vec()))
            .collect::<Vec<_>>()
    };
    let first = read();
    assert_eq!(first.len(), 14);
    assert!(first == read());
}

#[test]
fn the_rate_cap_takes_the_frames_nearest_to_its_schedule_and_counts_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene { fps: (30_000, 1001), pictures: 150, width: 160, height: 120, ..Scene::default() };
    let path = clip(folder.path(), "clip.mkv", scene);
    for (analyse_fps, expected) in [(10.0, 50), (29.97, 150), (60.0, 150)] {
        let camera = Camera::start(replay(&path), analyse_fps, Limits::DEFAULT).unwrap();
        let frames = all(&camera);
        let capped = camera.metrics.dropped(DropReason::RateCap).value();
        assert_eq!(frames.len() as f64 + capped, 150.0, "at {analyse_fps}");
        assert!(frames.len().abs_diff(expected) <= 1, "{} frames at {analyse_fps}", frames.len());
        assert_eq!(camera.status.frames_dropped(), 0);
        // The number is the picture's in the clip, whatever was dropped before it.
        for frame in &frames {
            let pictures_before = frame.media_time.as_nanos() as f64 / 1e9 * 30_000.0 / 1001.0;
            assert_eq!(frame.sequence, pictures_before.round() as u64);
        }
    }
}

/// The luma that a field of the board should have: red at the top left, green next to it (BT.601).
fn board_luma(x: usize, y: usize) -> u8 {
    if (x / 8 + y / 8).is_multiple_of(2) { 81 } else { 145 }
}

#[test]
fn rows_are_where_their_stride_says_also_at_odd_widths() {
    let folder = tempfile::tempdir().unwrap();
    for (encoding, width, height) in [
        (Encoding::H264, 322, 242),
        (Encoding::H265, 330, 250),
        (Encoding::H264, 1000, 700),
        (Encoding::H264Chroma422, 322, 242),
    ] {
        let scene =
            Scene { picture: Picture::Checkers, encoding, width, height, pictures: 12, ..Scene::default() };
        let path = clip(folder.path(), &format!("{encoding:?}{width}.mkv"), scene);
        let camera = Camera::start(replay(&path), 10.0, Limits::DEFAULT).unwrap();
        let frames = all(&camera);
        assert_eq!(frames.len(), 12, "{encoding:?}");
        for frame in [&frames[0], &frames[11]] {
            assert_eq!(frame.size, PictureSize { width, height });
            let full = frame.range == ColourRange::Full;
            for y in (4..height as usize - 4).step_by(8) {
                let row = frame.luma().row(y, width as usize);
                for x in (4..width as usize - 4).step_by(8) {
                    let wanted = board_luma(x, y);
                    let wanted = if full { ((f32::from(wanted) - 16.0) * 255.0 / 219.0) as u8 } else { wanted };
                    assert!(row[x].abs_diff(wanted) < 25, "{encoding:?} {x},{y}: {} not {wanted}", row[x]);
                }
            }
        }
    }
}

#[test]
fn only_pictures_that_had_to_be_converted_count_as_copied() {
    let folder = tempfile::tempdir().unwrap();
    for (encoding, copied) in [(Encoding::H264, false), (Encoding::H265, false), (Encoding::H264Chroma422, true)] {
        let scene = Scene { encoding, pictures: 5, ..Scene::default() };
        let path = clip(folder.path(), &format!("{encoding:?}.mkv"), scene);
        let camera = Camera::start(replay(&path), 10.0, Limits::DEFAULT).unwrap();
        assert_eq!(all(&camera).len(), 5);
        let expected = if copied { f64::from(5 * 320 * 240 * 3 / 2) } else { 0.0 };
        assert_eq!(camera.metrics.pixels_copied.value(), expected, "{encoding:?}");
    }
}

#[test]
fn a_reader_may_hold_many_frames_and_the_decoder_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene { picture: Picture::Snow, pictures: 60, width: 160, height: 120, ..Scene::default() };
    let path = clip(folder.path(), "clip.mkv", scene);
    let camera = Camera::start(replay(&path), 10.0, Limits::DEFAULT).unwrap();
    let frames = all(&camera);
    assert_eq!(frames.len(), 60);
    camera.handle.join().unwrap();
    // The pipeline is gone; the pixels are not, and no two frames share them.
    let rows: std::collections::BTreeSet<&[u8]> = frames.iter().map(|frame| frame.luma().row(100, 160)).collect();
    assert_eq!(rows.len(), 60);
}

#[test]
fn a_clip_in_real_time_takes_its_time_and_happens_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), "clip.mkv", Scene { pictures: 12, ..Scene::default() });
    let before = WallTime::from(std::time::SystemTime::now());
    let begin = Instant::now();
    let source = Source::File { path, pace: Pace::RealTime };
    let camera = Camera::start(source, 10.0, Limits::DEFAULT).unwrap();
    let frames = all(&camera);
    assert!(begin.elapsed() >= Duration::from_millis(1000), "{:?}", begin.elapsed());
    assert!(frames[0].wall_time >= before);
    let dropped = camera.metrics.dropped(DropReason::NewerFrame).value();
    assert_eq!(frames.len() as f64 + dropped, 12.0);
    assert!(!camera.handle.join().unwrap().stopped);
}

#[test]
fn pictures_that_are_sent_out_of_order_come_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene { encoding: Encoding::H264Reordered, pictures: 60, ..Scene::default() };
    let path = clip(folder.path(), "clip.mkv", scene);
    let camera = Camera::start(replay(&path), 10.0, Limits::DEFAULT).unwrap();
    let frames = all(&camera);
    let times: Vec<MediaTime> = frames.iter().map(|frame| frame.media_time).collect();
    assert_eq!(times, (0..60).map(|n| MediaTime::from_millis(100 * n)).collect::<Vec<_>>());
    assert!(frames.iter().all(|frame| frame.run == 0));
}

#[test]
fn a_clip_with_broken_bytes_ends_and_every_frame_of_it_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene { picture: Picture::Snow, pictures: 40, ..Scene::default() };
    let whole = std::fs::read(clip(folder.path(), "clip.mkv", scene)).unwrap();
    let path = folder.path().join("broken.mkv");
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..10 {
        let mut bytes = whole.clone();
        for _ in 0..20 {
            let at = random.usize(bytes.len() / 10..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(bytes.len() / 2..bytes.len()));
        std::fs::write(&path, &bytes).unwrap();
        let camera = Camera::start(replay(&path), 10.0, Limits::DEFAULT).unwrap();
        let frames = all(&camera).len() as u64;
        match camera.handle.join() {
            Ok(ended) => assert_eq!(ended.frames_in, frames),
            Err(error) => assert!(matches!(error, IngestError::Clip { .. }), "{error}"),
        }
        let dropped = camera.metrics.dropped(DropReason::Damaged).value() as u64;
        let capped = camera.metrics.dropped(DropReason::RateCap).value() as u64;
        assert_eq!(camera.status.frames_decoded(), frames + dropped + capped);
    }
}

#[test]
fn what_is_no_video_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.mkv");
    std::fs::write(&text, "this is no video\n".repeat(100)).unwrap();
    let nothing = folder.path().join("nothing.mkv");
    std::fs::write(&nothing, "").unwrap();
    for path in [&text, &nothing] {
        let camera = Camera::start(replay(path), 10.0, Limits::DEFAULT).unwrap();
        assert!(all(&camera).is_empty());
        let error = camera.handle.join().unwrap_err();
        assert!(matches!(error, IngestError::Clip { .. } | IngestError::EmptyClip { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Fatal);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(probe(path).is_err());
    }
    let missing = folder.path().join("missing.mkv");
    assert!(matches!(Camera::start(replay(&missing), 10.0, Limits::DEFAULT), Err(IngestError::Clip { .. })));
    assert!(matches!(Camera::start(replay(folder.path()), 10.0, Limits::DEFAULT), Err(IngestError::Clip { .. })));
}

#[test]
fn a_picture_larger_than_allowed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), "clip.mkv", Scene::default());
    let limits = Limits { widest_picture: 319, ..Limits::DEFAULT };
    let camera = Camera::start(replay(&path), 10.0, limits).unwrap();
    assert!(all(&camera).is_empty());
    let error = camera.handle.join().unwrap_err();
    assert!(error.to_string().contains("larger than allowed"), "{error}");
    assert_eq!(camera.status.frames_decoded(), 0);
}

#[test]
fn probing_tells_what_a_progress_bar_needs() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene { fps: (25, 1), pictures: 50, width: 322, height: 242, sound: true, ..Scene::default() };
    let info = probe(&clip(folder.path(), "clip.mkv", scene)).unwrap();
    assert_eq!(info.size, PictureSize { width: 322, height: 242 });
    assert_eq!(info.fps, Some(25.0));
    assert!(info.frames.unwrap().abs_diff(50) <= 2, "{info:?}");
}

#[test]
fn a_clip_can_be_stopped_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene { pictures: 300, width: 160, height: 120, ..Scene::default() };
    let path = clip(folder.path(), "clip.mkv", scene);
    let camera = Camera::start(replay(&path), 10.0, Limits::DEFAULT).unwrap();
    camera.next();
    let begin = Instant::now();
    camera.handle.stop();
    let rest = all(&camera).len();
    assert!(rest <= 3, "{rest} frames after the stop");
    assert!(camera.handle.join().unwrap().stopped);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[test]
fn pc_16_a_camera_that_was_stopped_leaves_no_picture_to_a_reader_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), "clip.mkv", Scene { pictures: 300, ..Scene::default() });
    let source = Source::File { path, pace: Pace::RealTime };
    let camera = Camera::start(source, 10.0, Limits::DEFAULT).unwrap();
    camera.wait_for(CameraState::Up);
    // Nobody has taken the picture that waits.
    assert!(camera.status.frames_in() >= 1);
    camera.handle.stop();
    let Camera { handle, frames, metrics, .. } = camera;
    assert!(handle.join().unwrap().stopped);
    assert!(frames.receive().is_none(), "a picture was left");
    assert!(metrics.dropped(DropReason::Shutdown).value() >= 1.0, "and it is counted");
}

#[test]
fn a_clip_whose_reader_is_gone_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), "clip.mkv", Scene { pictures: 100, ..Scene::default() });
    let Camera { handle, frames, .. } = Camera::start(replay(&path), 10.0, Limits::DEFAULT).unwrap();
    frames.receive().unwrap();
    drop(frames);
    assert!(handle.join().unwrap().stopped);
}
