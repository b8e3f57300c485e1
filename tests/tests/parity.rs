//! The detections of every engine against those of another runtime, on the real clip.
//!
//! `data/vtest-onnxruntime.csv` holds what ONNX Runtime finds in a few frames, given the numbers that the network's
//! input had here; `models/workshop/compare --record` writes it. What is promised of any two runtimes: a box above
//! [`SCORE`] on one side has a partner on the other. The record holds for the pixels that libav's decoder gives;
//! should another decoder give others, `models/workshop/compare` tells that from a fault, as it gives both sides the
//! same input.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use kerbside_channel::{WhenFull, edge};
use kerbside_core::detection::{Class, Detection};
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::BoxInImage;
use kerbside_core::time::WallTime;
use kerbside_ingest::{CameraSource, CameraStatus, Pace, Source};
use kerbside_models::{EngineChoice, ModelFolder};
use kerbside_telemetry::{CameraMetrics, Telemetry};

const RECORD: &str = include_str!("../data/vtest-onnxruntime.csv");
/// The record's boxes are in pixels of it.
const PICTURE: PictureSize = PictureSize { width: 768, height: 576 };
/// Boxes above this have partners.
const SCORE: f32 = 0.4;
/// A partner's least intersection over union, and its largest difference of scores.
const PARTNER: (f32, f32) = (0.95, 0.03);

/// Left out: it takes seconds a frame, and kerbside-models compares it with the other int8 engines byte for byte.
const TOO_SLOW: &str = "reference";

/// Detections by frame.
type Record = BTreeMap<u64, Vec<Detection>>;

fn record() -> Record {
    let mut record = Record::new();
    for line in RECORD.lines().skip_while(|line| line.starts_with('#')).skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [frame, class, ..] = fields[..] else { panic!("{line}") };
        let numbers: Vec<f32> = fields[2..].iter().map(|number| number.parse().unwrap()).collect();
        let [score, left, top, right, bottom] = numbers[..] else { panic!("{line}") };
        let (width, height) = (PICTURE.width as f32, PICTURE.height as f32);
        let box_in_image =
            BoxInImage { left: left / width, top: top / height, right: right / width, bottom: bottom / height };
        let class = Class::from_name(class).unwrap();
        record.entry(frame.parse().unwrap()).or_default().push(Detection { class, score, box_in_image });
    }
    record
}

/// Those of `found` above [`SCORE`] that have no partner in `others`.
fn alone<'a>(found: &'a [Detection], others: &[Detection]) -> Vec<&'a Detection> {
    let (least_iou, most_difference) = PARTNER;
    let is_partner = |one: &Detection, other: &Detection| {
        one.class == other.class
            && one.box_in_image.iou(&other.box_in_image) >= least_iou
            && (one.score - other.score).abs() <= most_difference
    };
    found.iter().filter(|one| one.score > SCORE && !others.iter().any(|other| is_partner(one, other))).collect()
}

#[test]
fn every_engine_finds_what_onnx_runtime_finds() {
    let record = record();
    let models = ModelFolder::open(&common::root().join("models")).unwrap();
    let model = models.manifest("nanodet-g").unwrap();
    let of_model = RECORD.lines().find_map(|line| line.strip_prefix("# model ")).unwrap();
    assert_eq!(of_model, model.sha256, "another model was recorded: run models/workshop/compare --record");

    let engines = EngineChoice::available().into_iter().filter(|engine| *engine != TOO_SLOW);
    let mut detectors: Vec<_> = engines
        .map(|engine| (engine, models.load_for("nanodet-g", engine.parse().unwrap()).unwrap().detector()))
        .collect();

    let telemetry = Telemetry::new();
    let (sender, frames) = edge(&telemetry, "campus/slot", 1, WhenFull::Block);
    let pace = Pace::AsFastAsPossible { first_frame_at: WallTime::UNIX_EPOCH };
    let source = Source::File { path: common::vtest(), pace };
    let source = CameraSource { name: "campus".to_owned(), source, analyse_fps: 60.0 };
    let metrics = CameraMetrics::new(&telemetry, "campus");
    let camera = kerbside_ingest::start(source, sender, metrics, Arc::new(CameraStatus::new())).unwrap();

    let (mut compared, mut found) = (0, Vec::new());
    for (number, expected) in &record {
        let frame = std::iter::from_fn(|| frames.receive()).find(|frame| frame.sequence == *number).unwrap();
        assert_eq!(frame.size, PICTURE);
        compared += expected.iter().filter(|detection| detection.score > SCORE).count();
        for (engine, detector) in &mut detectors {
            detector.detect(&frame, &mut found).unwrap();
            let missed = alone(expected, &found);
            assert!(missed.is_empty(), "frame {number}: {engine} misses {missed:#?} and finds {found:#?}");
            let extra = alone(&found, expected);
            assert!(extra.is_empty(), "frame {number}: {engine} alone finds {extra:#?} besides {expected:#?}");
        }
    }
    assert!(compared >= 40, "{compared} boxes are too few to show anything");
    drop(frames);
    camera.stop();
    camera.join().unwrap();
}

#[test]
fn a_box_that_is_not_the_same_is_no_partner() {
    let changes: [fn(&mut Detection); 4] = [
        |other| other.class = Class::Bicycle,
        |other| other.score -= PARTNER.1 + 0.001,
        |other| other.score += PARTNER.1 + 0.001,
        // A twentieth of its width: an intersection over union of 0.905.
        |other| {
            let by = other.box_in_image.width() / 20.0;
            other.box_in_image.left += by;
            other.box_in_image.right += by;
        },
    ];
    let mut checked = 0;
    for found in record().into_values() {
        assert!(alone(&found, &found).is_empty());
        for (at, one) in found.iter().enumerate().filter(|(_, one)| one.score > SCORE) {
            for change in changes {
                let mut others = found.clone();
                change(&mut others[at]);
                assert_eq!(alone(&found, &others), [one]);
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
}
