//! Rule PC-8 of the privacy contract in its worst case: what was seen before a chunk's border does not show after it.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kerbside_config::Catalogue;
use kerbside_core::detection::{Class, Detection};
use kerbside_core::finding::{Finding, FindingKind};
use kerbside_core::frame::{Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};
use kerbside_core::geometry::BoxInImage;
use kerbside_core::observation::SceneStatistics;
use kerbside_core::privacy::worstcase::CHUNK;
use kerbside_core::time::{MediaTime, WallTime};

use crate::analysis::{Analysis, AnalysisSettings};

const CAMERA: &str = "
source: clip.mp4
detector: {model: nanodet-g, min_score: 0.5}
classes: [person, car]
geometry:
  lines:
    kerb: {from: [0.5, 0.0], to: [0.5, 1.0]}
  zones:
    left: {polygon: [[0, 0], [0.45, 0], [0.45, 1], [0, 1]]}
    right: {polygon: [[0.55, 0], [1, 0], [1, 1], [0.55, 1]]}
operators:
  count_line: [{line: kerb, classes: [person]}]
  count_turns: [{zones: [left, right], classes: [person]}]
  detect_stopped: [{zone: right, classes: [car], after: 10s}]
  detect_loitering: [{zone: left, after: 40s}]
";
const SIZE: PictureSize = PictureSize { width: 32, height: 32 };
/// Frames a second.
const RATE: u64 = 5;
const END: Duration = Duration::from_secs(119);

fn analysis(chunk: Option<Duration>) -> Analysis {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("cameras")).unwrap();
    fs::write(folder.path().join("node.yaml"), "name: a\n").unwrap();
    fs::write(folder.path().join("clip.mp4"), "").unwrap();
    fs::write(folder.path().join("cameras/clip.mp4"), "").unwrap();
    fs::write(folder.path().join("cameras/a.yaml"), CAMERA).unwrap();
    let models = ["nanodet-g".to_owned()];
    let catalogue = Catalogue { operators: kerbside_operators::TABLE, models: &models };
    let mut settings = kerbside_config::load(folder.path(), &catalogue).unwrap_or_else(|error| {
        panic!("{:#?}", error.problems().iter().map(ToString::to_string).collect::<Vec<_>>())
    });
    let camera = settings.cameras.remove(0);
    Analysis::new(AnalysisSettings {
        camera: camera.name,
        min_score: camera.detector.min_score,
        classes: camera.classes,
        time_zone: camera.time_zone,
        operators: camera.operators,
        chunk,
    })
}

fn object(class: Class, x: f32, bottom: f32, height: f32) -> Detection {
    let box_in_image = BoxInImage { left: x - 0.05, right: x + 0.05, top: bottom - height, bottom };
    Detection { class, score: 0.9, box_in_image }
}

/// A person who stays at the left, one who walks from left to right and is on the way at the border, a car that has
/// stopped just before it and one that does so after it; all of them from `from` on.
fn street(secs: f32, from: f32) -> Vec<Detection> {
    let mut seen = Vec::new();
    if secs >= from {
        seen.push(object(Class::Person, 0.07, 0.6, 0.2));
        if (52.0..85.0).contains(&secs) {
            seen.push(object(Class::Person, 0.2 + 0.024 * (secs - 55.0).max(0.0), 0.8, 0.4));
        }
        if secs >= 42.0 {
            seen.push(object(Class::Car, 0.9 - 0.02 * (52.0 - secs).max(0.0), 0.3, 0.1));
        }
        if secs >= 65.0 {
            seen.push(object(Class::Car, 0.6 + 0.02 * (secs - 65.0).min(7.0), 0.5, 0.1));
        }
    }
    seen
}

/// What is found from the first chunk's border on, without the tracks' names.
fn found_after_the_border(chunk: Option<Duration>, from: f32) -> Vec<Finding> {
    let mut analysis = analysis(chunk);
    let scene = SceneStatistics { luma_deviation: 40.0, ..SceneStatistics::default() };
    let planes = Arc::new(OwnedPlanes::flat(SIZE, PixelFormat::I420, 90, 128));
    let mut found = Vec::new();
    for number in 0..END.as_secs() * RATE {
        let millis = number * 1000 / RATE;
        let header = FrameHeader {
            sequence: number,
            media_time: MediaTime::from_millis(millis),
            wall_time: WallTime::from_unix_millis(millis),
            ..FrameHeader::of_picture(SIZE, PixelFormat::I420, Instant::now())
        };
        let frame = Frame::new(header, planes.clone()).unwrap();
        let detections = street(millis as f32 / 1000.0, from);
        let seen = analysis.track(&frame, &detections, Some(&scene));
        assert!(seen.trusted);
        found.extend_from_slice(analysis.operate(&frame, Some(&scene), seen));
    }
    found.extend_from_slice(analysis.finish());
    let border = MediaTime::ZERO + CHUNK;
    let counts = |kind: &FindingKind| !matches!(kind, FindingKind::Incident(_));
    found.retain(|finding| finding.at >= border && counts(&finding.kind));
    found.into_iter().map(|finding| Finding { track: None, ..finding }).collect()
}

#[test]
fn pc_8_in_the_worst_case_nothing_from_before_a_chunk_shows_in_its_counts() {
    let (long, short) = (0.0, CHUNK.as_secs_f32());
    let chunked = [long, short].map(|from| found_after_the_border(Some(CHUNK), from));
    assert_eq!(chunked[0], chunked[1]);
    let counted = |wanted: &str| chunked[0].iter().any(|finding| format!("{:?}", finding.kind).contains(wanted));
    for kind in ["Crossing", "Turn", "StoppedCount", "LoiteringCount"] {
        assert!(counted(kind), "{kind} is not among what is counted: {:?}", chunked[0]);
    }
    // The same street without chunks tells what was before: the test can fail.
    let whole = [long, short].map(|from| found_after_the_border(None, from));
    assert_ne!(whole[0], whole[1]);
}
