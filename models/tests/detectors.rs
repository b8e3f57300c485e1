//! Models from files, frames in, detections out.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod scene;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::frame::{Frame, PictureSize, PixelFormat};
use kerbside_models::{DetectorSettings, InferenceError, Model, ModelError, ModelFolder, SCORE_FLOOR, Stage};
use scene::{Rectangle, picture};
use sha2::{Digest, Sha256};

const NANODET_HEAD: &str =
    "{kind: nanodet, strides: [8], reg_max: 3, nms_iou: 0.6, score_outputs: [scores_8], box_outputs: [boxes_8]}";
const YOLOX_HEAD: &str = "{kind: yolox, strides: [8, 16], output: output, nms_iou: 0.6}";
const LABELS: &str = "[person, car, dog]";

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

/// A folder with one model, `tiny`, made of a file of the test data.
fn folder(file: &str, head: &str, labels: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("tiny");
    fs::create_dir(&model).unwrap();
    let onnx = fs::read(data(file)).unwrap();
    let sum: String = Sha256::digest(&onnx).iter().map(|byte| format!("{byte:02x}")).collect();
    let manifest = format!(
        "name: tiny\nversion: 2\nfile: tiny.onnx\nsha256: \"{sum}\"\nsize_bytes: {}\nlicense: Apache-2.0\n\
         input: {{name: image, colour_order: rgb, std: [255, 255, 255], pad_value: 0, multiple_of: 32, default_long_side: 64}}\n\
         head: {head}\nlabels: {labels}\n",
        onnx.len()
    );
    fs::write(model.join("tiny.onnx"), onnx).unwrap();
    fs::write(model.join("manifest.yaml"), manifest).unwrap();
    dir
}

fn load(file: &str, head: &str, labels: &str) -> Result<Arc<Model>, ModelError> {
    let dir = folder(file, head, labels);
    ModelFolder::open(dir.path()).unwrap().load("tiny")
}

fn detections(model: &Arc<Model>, frame: &Frame) -> Result<Vec<Detection>, InferenceError> {
    let mut found = Vec::new();
    model.detector().detect(frame, &mut found).map(|()| found)
}

/// A black picture with white rectangles, of which the tiny networks see whole cells of 8×8.
fn with_white(width: u32, height: u32, rectangles: &[Rectangle]) -> Frame {
    picture(PictureSize { width, height }, PixelFormat::Nv12, 16, 235, rectangles)
}

fn assert_box(found: &Detection, pixels: [f32; 4], size: PictureSize) {
    let (width, height) = (size.width as f32, size.height as f32);
    let b = found.box_in_image;
    let found = [b.left * width, b.top * height, b.right * width, b.bottom * height];
    assert!(
        found.iter().zip(pixels).all(|(found, expected)| (found - expected).abs() < 0.01),
        "{found:?} {pixels:?}"
    );
}

#[test]
fn a_yolox_model_of_a_users_own_runs_from_file_to_boxes() {
    let model = load("tiny-yolox.onnx", YOLOX_HEAD, "[car, person, dog]").unwrap();
    assert_eq!(model.id(), "tiny@2");
    // 64 × 48 goes in as it is; the cell in column 3, row 1 has its centre at (28, 12).
    let frame = with_white(64, 48, &[Rectangle { left: 24, top: 8, width: 8, height: 8 }]);
    let found = detections(&model, &frame).unwrap();
    assert_eq!(found.iter().map(|d| d.class).collect::<Vec<_>>(), [Class::Person, Class::Car]);
    for detection in &found {
        assert!(detection.score > 0.99);
        assert_box(detection, [20.0, 8.0, 36.0, 16.0], frame.size);
    }
}

#[test]
fn a_nanodet_model_runs_from_file_to_boxes() {
    let model = load("tiny-nanodet.onnx", NANODET_HEAD, LABELS).unwrap();
    let frame = with_white(64, 48, &[Rectangle { left: 24, top: 24, width: 8, height: 8 }]);
    let found = detections(&model, &frame).unwrap();
    assert_eq!(found.iter().map(|d| d.class).collect::<Vec<_>>(), [Class::Person, Class::Car]);
    assert_box(&found[0], [20.0, 12.0, 44.0, 44.0], frame.size);
}

#[test]
fn boxes_are_those_of_the_picture_at_any_size() {
    let model = load("tiny-nanodet.onnx", NANODET_HEAD, LABELS).unwrap();
    // 128 × 72 goes in as 64 × 36 with 28 rows of padding; everything is half as large there.
    assert_eq!(model.input_shape(PictureSize { width: 128, height: 72 }), (64, 64));
    let frame = with_white(128, 72, &[Rectangle { left: 48, top: 16, width: 16, height: 16 }]);
    let found = detections(&model, &frame).unwrap();
    assert_box(&found[0], [40.0, -0.0, 88.0, 56.0], frame.size);
}

#[test]
fn a_network_whose_file_fixes_its_input_gets_a_letterbox() {
    let model = load("tiny-yolox-64x64.onnx", YOLOX_HEAD, "[car, person, dog]").unwrap();
    let frame = with_white(64, 48, &[Rectangle { left: 24, top: 8, width: 8, height: 8 }]);
    assert_eq!(model.input_shape(frame.size), (64, 64));
    assert_eq!(model.input_shape(PictureSize { width: 640, height: 100 }), (64, 64));
    assert_box(&detections(&model, &frame).unwrap()[0], [20.0, 8.0, 36.0, 16.0], frame.size);
}

#[test]
fn detections_are_sorted_and_overlapping_ones_suppressed() {
    let model = load("tiny-nanodet.onnx", NANODET_HEAD, LABELS).unwrap();
    // Neighbouring cells whose boxes of 3 × 4 cells overlap: by half of the union side by side.
    let frame = with_white(64, 64, &[Rectangle { left: 16, top: 24, width: 16, height: 8 }]);
    let found = detections(&model, &frame).unwrap();
    assert!(found.is_sorted_by(|a, b| a.score >= b.score));
    assert_eq!(found.iter().filter(|d| d.class == Class::Person).count(), 2);
    let strict = NANODET_HEAD.replace("nms_iou: 0.6", "nms_iou: 0.4");
    let found = detections(&load("tiny-nanodet.onnx", &strict, LABELS).unwrap(), &frame).unwrap();
    assert_eq!(found.iter().filter(|d| d.class == Class::Person).count(), 1);
}

#[test]
fn what_a_detector_saw_before_changes_nothing() {
    let model = load("tiny-nanodet.onnx", NANODET_HEAD, LABELS).unwrap();
    // More shapes than a detector or a model keeps ready.
    let sizes = (1..8).flat_map(|i| [(256, 32 * i), (32 * i, 256)]);
    let white = [Rectangle { left: 8, top: 8, width: 16, height: 16 }];
    let frames: Vec<Frame> = sizes.map(|(width, height)| with_white(width, height, &white)).collect();
    let settings = DetectorSettings { long_side: Some(256), ..DetectorSettings::default() };
    let mut shared = model.detector_with(settings);
    for _ in 0..2 {
        for frame in &frames {
            let mut found = vec![];
            shared.detect(frame, &mut found).unwrap();
            assert!(!found.is_empty());
            let mut fresh = vec![];
            model.detector_with(settings).detect(frame, &mut fresh).unwrap();
            assert_eq!(found, fresh, "{:?}", frame.size);
        }
    }
}

#[test]
fn both_pixel_formats_give_the_same_detections() {
    let model = load("tiny-nanodet.onnx", NANODET_HEAD, LABELS).unwrap();
    let size = PictureSize { width: 70, height: 50 };
    let white = [Rectangle { left: 20, top: 10, width: 30, height: 20 }];
    let [nv12, i420] = [PixelFormat::Nv12, PixelFormat::I420].map(|format| picture(size, format, 16, 235, &white));
    assert_eq!(detections(&model, &nv12).unwrap(), detections(&model, &i420).unwrap());
}

#[test]
fn the_stages_come_in_their_order() {
    let model = load("tiny-yolox.onnx", YOLOX_HEAD, LABELS).unwrap();
    let (mut stages, mut found) = (Vec::new(), Vec::new());
    model
        .detector()
        .detect_in_stages(&with_white(64, 64, &[]), &mut found, &mut |stage| stages.push(stage))
        .unwrap();
    assert_eq!(stages, Stage::ALL);
}

#[test]
fn a_network_that_computes_nan_gives_an_error_and_no_detections() {
    let model = load("tiny-nan.onnx", NANODET_HEAD, LABELS).unwrap();
    let mut found = vec![Detection { class: Class::Car, score: 1.0, box_in_image: Default::default() }];
    let error = model.detector().detect(&with_white(64, 48, &[]), &mut found).unwrap_err();
    assert_eq!(error.to_string(), "output 'boxes_8' holds a number that is not finite");
    assert!(found.is_empty());
}

#[test]
fn a_manifest_that_does_not_fit_its_network_is_refused_at_load() {
    let cases = [
        (
            "tiny-nanodet.onnx",
            NANODET_HEAD,
            "[person, car]",
            "output 'scores_8' has the shape [1, 64, 3]; [1, 64, 2] is expected for 2 labels",
        ),
        (
            "tiny-nanodet.onnx",
            &NANODET_HEAD.replace("strides: [8]", "strides: [16]"),
            LABELS,
            "[1, 64, 3]; [1, 16, 3] is expected",
        ),
        (
            "tiny-nanodet.onnx",
            &NANODET_HEAD.replace("reg_max: 3", "reg_max: 7"),
            LABELS,
            "[1, 64, 16]; [1, 64, 32] is expected",
        ),
        (
            "tiny-nanodet.onnx",
            YOLOX_HEAD,
            LABELS,
            "there is no output 'output'; its outputs are scores_8, boxes_8",
        ),
        (
            "tiny-yolox.onnx",
            &YOLOX_HEAD.replace("[8, 16]", "[8, 32]"),
            LABELS,
            "output 'output' has the shape [1, 80, 8]; [1, 68, 8] is expected for 3 labels",
        ),
    ];
    for (file, head, labels, expected) in cases {
        let error = load(file, head, labels).unwrap_err();
        assert!(matches!(error, ModelError::Mismatch { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_torn_network_is_an_error_and_no_panic() {
    let whole = fs::read(data("tiny-yolox.onnx")).unwrap();
    for length in (0..whole.len()).step_by(41) {
        let dir = folder("tiny-yolox.onnx", YOLOX_HEAD, LABELS);
        let model = dir.path().join("tiny");
        let torn = &whole[..length.max(1)];
        let sum: String = Sha256::digest(torn).iter().map(|byte| format!("{byte:02x}")).collect();
        let manifest = fs::read_to_string(model.join("manifest.yaml")).unwrap();
        let manifest: String = manifest
            .lines()
            .map(|line| match line.split_once(':') {
                Some(("sha256", _)) => format!("sha256: \"{sum}\"\n"),
                Some(("size_bytes", _)) => format!("size_bytes: {}\n", torn.len()),
                _ => format!("{line}\n"),
            })
            .collect();
        fs::write(model.join("manifest.yaml"), manifest).unwrap();
        fs::write(model.join("tiny.onnx"), torn).unwrap();
        let error = ModelFolder::open(dir.path()).unwrap().load("tiny").unwrap_err();
        assert!(matches!(error, ModelError::Network { .. } | ModelError::Mismatch { .. }), "{error}");
    }
}

#[test]
fn scores_below_the_floor_never_come_out() {
    let model = load("tiny-nanodet.onnx", NANODET_HEAD, LABELS).unwrap();
    // Greys around the half where the network's sigmoid changes.
    let mut seen = 0;
    for luma in 100..150 {
        let frame = picture(PictureSize { width: 64, height: 64 }, PixelFormat::Nv12, luma, luma, &[]);
        for detection in detections(&model, &frame).unwrap() {
            assert!((SCORE_FLOOR..=1.0).contains(&detection.score));
            seen += 1;
        }
    }
    assert!(seen > 0);
}
