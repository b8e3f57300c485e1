//! The model that Kerbside ships.

mod scene;

use std::path::Path;

use kerbside_core::detection::Class;
use kerbside_core::frame::{PictureSize, PixelFormat};
use kerbside_models::ModelFolder;
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
