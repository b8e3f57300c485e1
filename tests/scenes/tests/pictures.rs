//! Rendered pictures: what they show and what a disturbance does to them.

use kerbside_core::frame::{OwnedPlanes, PictureSize};
use kerbside_scenes::film::Detector;
use kerbside_scenes::render::Renderer;
use kerbside_scenes::{Disturbance, DisturbanceKind, Scene};

const SIZE: PictureSize = PictureSize { width: 640, height: 360 };

fn luma(planes: &OwnedPlanes) -> &[u8] {
    &planes.planes[0].0
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

fn deviation(luma: &[u8]) -> f64 {
    let middle = mean(luma.iter().map(|v| f64::from(*v)));
    mean(luma.iter().map(|v| (f64::from(*v) - middle).powi(2))).sqrt()
}

/// The mean square of the difference from pixel to pixel.
fn edges(luma: &[u8]) -> f64 {
    mean(luma.windows(2).map(|pair| (f64::from(pair[0]) - f64::from(pair[1])).powi(2)))
}

#[test]
fn the_same_moment_is_the_same_picture_and_only_what_moves_changes() {
    let scene = Scene::golden("crossing");
    let mut renderer = Renderer::new(&scene, SIZE, 1);
    let (first, later) = (renderer.render(20.0), renderer.render(20.4));
    assert_eq!(first.planes, Renderer::new(&scene, SIZE, 1).render(20.0).planes);
    assert_ne!(first.planes, Renderer::new(&scene, SIZE, 2).render(20.0).planes, "another sensor's noise");
    let mut boxes: Vec<_> = [20.0, 20.4].iter().flat_map(|secs| scene.seen_at(*secs)).collect();
    boxes.retain(|seen| seen.place.speed > 0.0);
    assert!(!boxes.is_empty());
    let (mut still, mut moving) = (0.0f64, 0);
    for (place, (a, b)) in luma(&first).iter().zip(luma(&later)).enumerate() {
        let (x, y) = ((place % 640) as f32 / 640.0, (place / 640) as f32 / 360.0);
        let change = f64::from(a.abs_diff(*b));
        let near = boxes.iter().any(|seen| {
            let b = seen.box_in_image;
            (b.left - 0.02..b.right + 0.02).contains(&x) && (b.top - 0.02..b.bottom + 0.02).contains(&y)
        });
        if near { moving += usize::from(change > 25.0) } else { still = still.max(change) }
    }
    assert!(still < 25.0, "only noise where nothing moves: {still}");
    assert!(moving > 200, "what moves is seen: {moving}");
}

#[test]
fn dusk_is_darker() {
    let mut scene = Scene::golden("crossing");
    scene.daylight = vec![(0.0, 1.0), (100.0, 0.1)];
    let mut renderer = Renderer::new(&scene, SIZE, 1);
    let light: Vec<f64> = [0.0, 50.0, 100.0]
        .iter()
        .map(|secs| mean(luma(&renderer.render(*secs)).iter().map(|v| f64::from(*v))))
        .collect();
    assert!(light[0] > light[1] + 20.0 && light[1] > light[2] + 20.0, "{light:?}");
}

#[test]
fn each_disturbance_shows() {
    let undisturbed = Scene::golden("crossing");
    let mut renderer = Renderer::new(&undisturbed, SIZE, 1);
    let (before, plain) = (renderer.render(30.0), renderer.render(40.0));
    for (name, kind) in DisturbanceKind::ALL {
        let mut scene = undisturbed.clone();
        scene.disturbances = vec![Disturbance { kind, from: 35.0, to: 50.0 }];
        let mut renderer = Renderer::new(&scene, SIZE, 1);
        assert_eq!(renderer.render(30.0).planes, before.planes, "{name}: not yet");
        let picture = renderer.render(40.0);
        let (luma, plain) = (luma(&picture), luma(&plain));
        let changed = mean(luma.iter().zip(plain).map(|(a, b)| f64::from(a.abs_diff(*b))));
        match kind {
            DisturbanceKind::Covered => assert!(deviation(luma) < 4.0, "{name}"),
            DisturbanceKind::Defocused => assert!(edges(luma) < 0.4 * edges(plain), "{name}"),
            DisturbanceKind::Moved => assert!(changed > 10.0, "{name}: {changed}"),
            DisturbanceKind::Frozen => {
                assert_eq!(renderer.render(49.0).planes, picture.planes, "{name}");
                assert_ne!(luma, plain);
            }
            DisturbanceKind::Dark => assert!(luma.iter().all(|v| *v < 50), "{name}"),
            DisturbanceKind::Bright => assert!(mean(luma.iter().map(|v| f64::from(*v))) > 225.0, "{name}"),
        }
        let film = scene.film(&Detector::PERFECT, 1.0, 1);
        assert!(film[40].detections.is_empty() && !film[30].detections.is_empty(), "{name}");
    }
}
