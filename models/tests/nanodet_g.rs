//! The model that Kerbside ships.

mod scene;

use std::path::Path;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::frame::{Frame, PictureSize, PixelFormat};
use kerbside_models::{DetectorSettings, EngineChoice, ModelFolder};
use scene::{Rectangle, picture};

fn models() -> ModelFolder {
    ModelFolder::open(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the crate's folder can be read")
}

#[test]
fn every_model_of_the_repository_is_whole() {
    let models = models();
    assert!(models.names().contains(&"nanodet-g".to_owned()));
    for (name, manifest) in models.manifests() {
        let manifest = manifest.unwrap();
        let verified = models.verify(name).unwrap();
        assert_eq!((verified.sha256, verified.size_bytes), (manifest.sha256, manifest.size_bytes));
    }
}

#[test]
fn the_default_detector_runs_at_the_pictures_own_shape() {
    let model = models().load("nanodet-g").unwrap();
    assert_eq!(model.id(), format!("nanodet-g@{}", model.manifest().version));
    let classes = [Class::Person, Class::Bicycle, Class::Motorcycle, Class::Car, Class::Bus, Class::Truck];
    assert!(classes.iter().all(|class| model.manifest().classes().contains(class)));
    let (wide, tall) = (PictureSize { width: 1280, height: 720 }, PictureSize { width: 768, height: 576 });
    assert_eq!((model.input_shape(wide), model.input_shape(tall)), ((256, 416), (320, 416)));

    let mut detector = model.detector();
    let (mut found, mut again) = (Vec::new(), Vec::new());
    for size in [wide, tall] {
        let poles = [Rectangle { left: 200, top: 100, width: 30, height: 300 }];
        let frame = picture(size, PixelFormat::Nv12, 90, 40, &poles);
        detector.detect(&frame, &mut found).unwrap();
        // Nothing in a picture of one grey and one pole is surely a person or a vehicle.
        assert!(found.iter().all(|detection| detection.score < 0.6), "{found:?}");
        model.detector().detect(&frame, &mut again).unwrap();
        assert_eq!(found, again);
    }
}

/// Two people of rectangles, to whom the detector has something to say.
fn street() -> Frame {
    let walker = |left: usize, top: usize, head: usize| {
        let torso = top + head * 4 / 3;
        [
            Rectangle { left, top, width: head, height: head * 4 / 3 },
            Rectangle { left: left - head / 2, top: torso, width: 2 * head, height: 3 * head },
            Rectangle { left: left - head, top: torso + 1, width: 3 * head, height: head * 2 / 3 },
            Rectangle { left: left - head / 2, top: torso + 3 * head, width: head * 2 / 3, height: 4 * head },
            Rectangle { left: left + head / 2, top: torso + 3 * head, width: head * 2 / 3, height: 4 * head },
        ]
    };
    let people = [walker(30, 28, 4), walker(74, 27, 5)].concat();
    picture(PictureSize { width: 160, height: 128 }, PixelFormat::Nv12, 150, 30, &people)
}

#[test]
fn every_int8_engine_and_every_number_of_threads_gives_the_same_detections() {
    let frame = street();
    let mut expected: Option<Vec<Detection>> = None;
    for name in EngineChoice::available().into_iter().filter(|name| *name != "tract") {
        let model = models().load_for("nanodet-g", name.parse().unwrap()).unwrap();
        for threads in 1..=3 {
            let mut found = Vec::new();
            let settings = DetectorSettings { long_side: Some(224), threads };
            model.detector_with(settings).detect(&frame, &mut found).unwrap();
            let expected = expected.get_or_insert_with(|| found.clone());
            assert_eq!(found, *expected, "{name}, {threads} threads");
        }
    }
    assert_eq!(expected.unwrap().first().map(|best| best.class), Some(Class::Person), "something was compared");
}

#[test]
fn the_int8_engine_tells_the_end_of_each_layer_and_tract_of_none() {
    let frame = street();
    let ends = |engine: EngineChoice| {
        let mut detector = models().load_for("nanodet-g", engine).unwrap().detector();
        detector.detect(&frame, &mut Vec::new()).unwrap();
        let layers = detector.layers(frame.size).unwrap().to_vec();
        let mut ends = Vec::new();
        detector.run_layers(&mut |layer| ends.push(layer)).unwrap();
        (layers, ends)
    };
    let (layers, told) = ends(EngineChoice::Auto);
    assert!(told.is_sorted(), "layers end in their order: {told:?}");
    for (at, layer) in layers.iter().enumerate().filter(|(_, layer)| layer.macs > 0) {
        assert!(told.contains(&at), "{layer:?}");
    }
    let (layers, told) = ends(EngineChoice::Tract);
    assert!(layers.iter().all(|layer| layer.path == kerbside_models::Path::Tract));
    assert!(told.is_empty(), "{told:?}");
}
