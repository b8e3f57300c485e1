//! From decoded frames to incidents: a camera of full size whose picture is tampered with, through the pixel work and
//! the guard as the node joins them.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kerbside_core::diagnostics::Problems;
use kerbside_core::finding::{FindingKind, Findings};
use kerbside_core::frame::{Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};
use kerbside_core::geometry::Geometry;
use kerbside_core::incident::{IncidentKind, Phase};
use kerbside_core::observation::Observation;
use kerbside_core::operator::{Operator, Surroundings};
use kerbside_core::time::{LocalTime, MediaTime, WallTime};
use kerbside_core::tree::Reader;
use kerbside_core::yaml;
use kerbside_vision::SceneWatcher;

#[allow(dead_code, reason = "nights are the operators' own tests'")]
#[path = "../../operators/tests/behaviour/pictures.rs"]
mod pictures;

use pictures::{Camera, HEIGHT, Light, Tamper, Thing, WIDTH};

/// Each rendered pixel is a block of so many.
const BLOCK: usize = 8;
const PICTURE: PictureSize = PictureSize { width: (BLOCK * WIDTH) as u32, height: (BLOCK * HEIGHT) as u32 };

fn guard() -> Box<dyn Operator> {
    let problems = Problems::in_file("camera.yaml");
    let value = yaml::parse("{}", &problems).unwrap();
    let reader = Reader::root(&value, &problems).unwrap();
    let geometry = Geometry::default();
    let surroundings = Surroundings { geometry: &geometry, ground: None, classes: &[] };
    (kerbside_operators::find("detect_tamper").unwrap().configure)(&reader, surroundings).unwrap().operator
}

/// A frame as a decoder gives it, with spare bytes at the rows' ends that are never the same.
fn frame(picture: &[u8], number: u64, at: MediaTime) -> Frame {
    let mut planes = OwnedPlanes::flat(PICTURE, PixelFormat::Nv12, number as u8, 37);
    let (bytes, stride) = &mut planes.planes[0];
    for (y, row) in bytes.chunks_mut(*stride).enumerate() {
        for (x, luma) in row[..BLOCK * WIDTH].iter_mut().enumerate() {
            *luma = picture[y / BLOCK * WIDTH + x / BLOCK];
        }
    }
    let header = FrameHeader::of_picture(PICTURE, PixelFormat::Nv12, Instant::now());
    Frame::new(FrameHeader { sequence: number, media_time: at, ..header }, Arc::new(planes)).unwrap()
}

/// What is found when `tamper` begins at 40 s and ends at 55 s; `None` for a picture that freezes.
fn found(tamper: Option<Tamper>) -> Vec<(IncidentKind, Phase, f64)> {
    let fps = 5.0;
    let (mut camera, mut watcher, mut guard) = (Camera::new(8), SceneWatcher::new(), guard());
    let (mut findings, mut before) = (Findings::new(), None);
    for number in 0..(70.0 * fps) as u64 {
        let secs = number as f64 / fps;
        let at = MediaTime::from_nanos((secs * 1e9) as u64);
        let during = (40.0..55.0).contains(&secs);
        let left = (secs * 38.0 % 240.0 - 40.0) as f32;
        let car = Thing { place: [left, 55.0, left + 28.0, 68.0], albedo: 0.4, headlights: 0.0 };
        match tamper {
            None if during => {}
            Some(tamper) if during => camera.take(0.2, &Light::NOON, &[car], &tamper),
            _ => camera.take(0.2, &Light::NOON, &[car], &Tamper::NONE),
        }
        let scene = watcher.watch(&frame(&camera.picture, number, at)).unwrap();
        let wall = WallTime::from_unix_nanos(at.as_nanos());
        let observation = Observation {
            at,
            step: before.map_or(Duration::ZERO, |before| at.since(before)),
            picture: PICTURE,
            tracks: &[],
            wall,
            local: LocalTime::utc(wall),
            scene: &scene,
            trusted: true,
        };
        guard.observe(&observation, &mut findings);
        before = Some(at);
        assert!(guard.trusts() || (40.0..65.0).contains(&secs), "{secs} s: {:?}", findings.as_slice());
        assert!(!guard.trusts() || !(50.0..55.0).contains(&secs), "{secs} s: {:?}", findings.as_slice());
    }
    guard.finish(&mut findings);
    let word = |kind: &FindingKind| match kind {
        FindingKind::Incident(incident) => Some((incident.kind, incident.phase)),
        _ => None,
    };
    let words = findings.as_slice().iter();
    words
        .filter_map(|it| word(&it.kind).map(|(kind, phase)| (kind, phase, it.at.as_nanos() as f64 / 1e9)))
        .collect()
}

#[test]
fn each_kind_is_found_within_ten_seconds_and_only_that() {
    let none = Tamper::NONE;
    let cases = [
        (IncidentKind::TamperCovered, Some(Tamper { black: true, ..none })),
        (IncidentKind::TamperCovered, Some(Tamper { cloth: Some(100.0), ..none })),
        (IncidentKind::TamperDefocus, Some(Tamper { blur: 3, ..none })),
        (IncidentKind::TamperMoved, Some(Tamper { turned: (WIDTH as i32 / 5, 0), ..none })),
        (IncidentKind::TamperDark, Some(Tamper { signal: 0.06, ..none })),
        (IncidentKind::TamperBright, Some(Tamper { signal: 8.0, ..none })),
        (IncidentKind::TamperFrozen, None),
    ];
    for (kind, tamper) in cases {
        let words = found(tamper);
        let [(first, Phase::Begin, begins), (second, Phase::End, ends)] = words[..] else {
            panic!("{}: {words:?}", kind.name());
        };
        assert_eq!((first, second), (kind, kind));
        assert!((40.0..50.0).contains(&begins) && (55.0..65.0).contains(&ends), "{words:?}");
    }
}
