use std::sync::Arc;

use kerbside_channel::{WhenFull, edge};
use kerbside_core::frame::Frame;
use kerbside_core::time::WallTime;
use kerbside_telemetry::{CameraMetrics, Telemetry};

use super::*;
use crate::{CameraSource, CameraStatus, Pace, Source};

const SIZE: PictureSize = PictureSize { width: 64, height: 48 };

/// A dark picture with a bright column at `x`.
fn luma(x: usize) -> Vec<u8> {
    (0..48).flat_map(|_| (0..64).map(move |column| if column / 8 == x { 200 } else { 40 })).collect()
}

fn picture(luma: &[u8], at: MediaTime, size: PictureSize) -> Picture<'_> {
    let chroma = Plane { bytes: &[128; 32 * 24], stride: 32 };
    let planes = [Plane { bytes: luma, stride: 64 }, chroma, chroma];
    Picture { at, size, matrix: ColourMatrix::Bt709, range: ColourRange::Limited, planes }
}

/// What ingest itself makes of a file.
fn decoded(path: &Path) -> Vec<Frame> {
    let telemetry = Telemetry::new();
    let metrics = CameraMetrics::new(&telemetry, "clip");
    let (sender, frames) = edge(&telemetry, "clip/slot", 100, WhenFull::Block);
    let pace = Pace::AsFastAsPossible { first_frame_at: WallTime::UNIX_EPOCH };
    let source = Source::File { path: path.to_owned(), pace };
    let source = CameraSource { name: "clip".to_owned(), source, analyse_fps: 60.0 };
    let camera = crate::start(source, sender, metrics, Arc::new(CameraStatus::new())).unwrap();
    let mut found = Vec::new();
    while let Some(frame) = frames.receive() {
        found.push(frame);
    }
    camera.join().unwrap();
    found
}

#[test]
fn every_encoder_keeps_each_picture_its_time_and_its_colours() {
    gst::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Not even: a clip need not have a rate, and begins where it begins.
    let moments = [5000u64, 5100, 5233, 5300, 5400, 5500, 5600, 6400].map(MediaTime::from_millis);
    for encoder in ENCODERS {
        let path = folder.path().join(format!("{}.mp4", encoder.0));
        let mut writer = ClipWriter::create_with(encoder, &path, 10.0).unwrap();
        for (x, at) in moments.into_iter().enumerate() {
            writer.write(&picture(&luma(x), at, SIZE)).unwrap();
        }
        assert!(!path.exists(), "{}: the name comes with the whole file", encoder.0);
        assert_eq!(writer.finish().unwrap(), 8);
        let frames = decoded(&path);
        assert_eq!(frames.len(), 8, "{}", encoder.0);
        for (x, (frame, at)) in frames.iter().zip(moments).enumerate() {
            assert_eq!((frame.size, frame.matrix, frame.range), (SIZE, ColourMatrix::Bt709, ColourRange::Limited));
            let off = frame.media_time.since(MediaTime::ZERO).abs_diff(at.since(moments[0]));
            assert!(off.as_millis() <= 1, "{}: picture {x} is off by {off:?}", encoder.0);
            let row = frame.luma().row(20, 64);
            assert!(row[8 * x + 4] > 150 && row[(8 * x + 36) % 64] < 90, "{}: {row:?}", encoder.0);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no partial file is left");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_was_there_is_replaced_by_a_whole_file_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    fs::write(&path, "before").unwrap();
    let mut writer = ClipWriter::create(&path, 10.0).unwrap();
    writer.write(&picture(&luma(0), MediaTime::ZERO, SIZE)).unwrap();
    drop(writer);
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert_eq!(ClipWriter::create(&path, 10.0).unwrap().finish().unwrap(), 0);
    assert_eq!(fs::read(&path).unwrap(), b"before");
    let mut writer = ClipWriter::create(&path, 10.0).unwrap();
    writer.write(&picture(&luma(0), MediaTime::ZERO, SIZE)).unwrap();
    assert_eq!(writer.finish().unwrap(), 1);
    assert_eq!(decoded(&path).len(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // Whatever is written to it, no space is left.
    std::os::unix::fs::symlink("/dev/full", folder.path().join("a.mp4.partial")).unwrap();
    let mut writer = ClipWriter::create(&folder.path().join("a.mp4"), 10.0).unwrap();
    let mut failure = None;
    // Buffers hold some of it; a picture of noise is more than they do.
    let mut noise = vec![0; 64 * 48];
    for number in 0..5000u64 {
        noise.fill_with(|| fastrand::u8(..));
        failure = writer.write(&picture(&noise, MediaTime::from_millis(100 * number), SIZE)).err();
        if failure.is_some() {
            break;
        }
    }
    let failure = failure.unwrap_or_else(|| writer.finish().unwrap_err());
    assert!(failure.to_string().ends_with("a.mp4: no space is left on the disk"), "{failure}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_cannot_be_made_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let refused = ClipWriter::create(&folder.path().join("missing/a.mp4"), 10.0).err().unwrap();
    assert!(matches!(refused, IngestError::Create { .. }), "{refused}");
}

#[test]
fn a_clip_that_changes_its_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = ClipWriter::create(&folder.path().join("a.mp4"), 10.0).unwrap();
    writer.write(&picture(&luma(0), MediaTime::ZERO, SIZE)).unwrap();
    let smaller = PictureSize { width: 32, ..SIZE };
    let refused = writer.write(&picture(&luma(0), MediaTime::from_millis(100), smaller)).unwrap_err();
    assert!(refused.to_string().contains("from 64x48 to 32x48"), "{refused}");
}

#[test]
fn a_missing_plugin_is_named_with_its_package() {
    for (missing, package) in [
        (&["mp4mux"][..], "gstreamer1.0-plugins-good"),
        (&["h264parse"], "gstreamer1.0-plugins-bad"),
        (&["x264enc", "openh264enc"], "gstreamer1.0-plugins-ugly"),
    ] {
        let refused = require(|element| !missing.contains(&element)).err().unwrap();
        assert!(refused.to_string().ends_with(&format!("install {package}")), "{refused}");
    }
    assert_eq!(require(|element| element != "x264enc").unwrap().0, "openh264enc");
}
