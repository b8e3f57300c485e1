//! A road in metres under a camera on a mast: vehicles are blocks that drive on straight ways at speeds of
//! the test's choice, so that speeds, headways and queues have an exact truth on the ground.

use kerbside_core::detection::{Class, Detection};
use kerbside_core::geometry::{BoxInImage, PointInImage};
use kerbside_core::observation::Track;
use kerbside_core::time::MediaTime;
use kerbside_operators::tracker::{Tracker, TrackerSettings};

use crate::street::{Detector, PICTURE};

/// The camera: metres above the road, radians downward, focal length in picture heights.
const MAST: f64 = 6.0;
const PITCH: f64 = 0.314;
const FOCAL: f64 = 1.0;

/// How far a vehicle has driven, in metres, so many seconds after it appeared.
pub(crate) type Drive = Box<dyn Fn(f64) -> f64>;

/// A block of the size of a vehicle. x is to the right of the camera, y away from it, in metres.
pub(crate) struct Vehicle {
    pub(crate) class: Class,
    pub(crate) enters_at_secs: f64,
    /// The way of the middle of its front.
    pub(crate) from: (f64, f64),
    pub(crate) to: (f64, f64),
    pub(crate) drive: Drive,
}

/// At a constant speed.
pub(crate) fn steady(mps: f64) -> Drive {
    Box::new(move |secs| mps * secs)
}

/// Width, height and length in metres.
fn size(class: Class) -> (f64, f64, f64) {
    match class {
        Class::Person => (0.5, 1.7, 0.4),
        Class::Truck => (2.5, 3.2, 9.0),
        Class::Bus => (2.5, 3.0, 12.0),
        _ => (1.8, 1.5, 4.5),
    }
}

/// Where a point at height `z` is in the picture.
fn project(x: f64, y: f64, z: f64) -> (f64, f64) {
    let depth = y * PITCH.cos() + (MAST - z) * PITCH.sin();
    let down = -y * PITCH.sin() + (MAST - z) * PITCH.cos();
    (0.5 + FOCAL * x / depth / f64::from(PICTURE.aspect()), 0.5 + FOCAL * down / depth)
}

/// A point of the road in the picture.
pub(crate) fn in_picture(x: f64, y: f64) -> PointInImage {
    let (x, y) = project(x, y, 0.0);
    PointInImage { x: x as f32, y: y as f32 }
}

/// The same as an installer writes it.
pub(crate) fn written(points: &[(f64, f64)]) -> String {
    let written: Vec<String> = points
        .iter()
        .map(|&(x, y)| in_picture(x, y))
        .map(|point| format!("[{:.5}, {:.5}]", point.x.clamp(0.0, 1.0), point.y.clamp(0.0, 1.0)))
        .collect();
    written.join(", ")
}

/// The camera's `ground`.
pub(crate) fn ground() -> String {
    let corners = [(-4.0, 8.0), (4.0, 8.0), (8.0, 50.0), (-8.0, 50.0)];
    format!("{{image: [{}], metres: [[-4, 8], [4, 8], [8, 50], [-8, 50]]}}", written(&corners))
}

impl Vehicle {
    pub(crate) fn new(class: Class, enters_at_secs: f64, from: (f64, f64), to: (f64, f64), drive: Drive) -> Self {
        Self { class, enters_at_secs, from, to, drive }
    }

    /// Its box, cut off at the picture's edges; nothing where less than half of it is in the picture.
    fn at(&self, secs: f64) -> Option<BoxInImage> {
        let (dx, dy) = (self.to.0 - self.from.0, self.to.1 - self.from.1);
        let way = dx.hypot(dy);
        let driven = (self.drive)(secs - self.enters_at_secs);
        if secs < self.enters_at_secs || driven > way {
            return None;
        }
        let (ahead_x, ahead_y) = (dx / way, dy / way);
        let (width, height, length) = size(self.class);
        let (mut low, mut high) = ((f64::MAX, f64::MAX), (f64::MIN, f64::MIN));
        for (along, side, z) in [0.0, -length].into_iter().flat_map(|along| {
            [-width / 2.0, width / 2.0]
                .into_iter()
                .flat_map(move |side| [(along, side, 0.0), (along, side, height)])
        }) {
            let (forward, y_forward) = (driven + along, driven + along);
            let x = self.from.0 + forward * ahead_x - side * ahead_y;
            let y = self.from.1 + y_forward * ahead_y + side * ahead_x;
            if y < 1.0 {
                return None;
            }
            let (x, y) = project(x, y, z);
            low = (low.0.min(x), low.1.min(y));
            high = (high.0.max(x), high.1.max(y));
        }
        let whole = (high.0 - low.0) * (high.1 - low.1);
        let cut = |value: f64| value.clamp(0.0, 1.0) as f32;
        let seen = BoxInImage { left: cut(low.0), top: cut(low.1), right: cut(high.0), bottom: cut(high.1) };
        (f64::from(seen.area()) >= 0.5 * whole).then_some(seen)
    }
}

/// The tracks of the road as the detector sees it. Nothing hides anything.
pub(crate) fn drive_by(
    vehicles: &[Vehicle],
    detector: Detector,
    fps: f64,
    secs: f64,
    seed: u64,
) -> Vec<(MediaTime, Vec<Track>)> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut tracker = Tracker::new(TrackerSettings::DEFAULT);
    let mut detections = Vec::new();
    (0..(secs * fps) as u64)
        .map(|number| {
            let secs = number as f64 / fps;
            detections.clear();
            for (vehicle, truth) in vehicles.iter().filter_map(|it| it.at(secs).map(|truth| (it, truth))) {
                if dice.f64() < detector.inventions {
                    let (left, top) = (0.9 * dice.f32(), 0.8 * dice.f32());
                    let box_in_image = BoxInImage { left, top, right: left + 0.1, bottom: top + 0.08 };
                    detections.push(Detection { class: Class::Car, score: 0.3 + 0.35 * dice.f32(), box_in_image });
                }
                if dice.f64() < detector.misses {
                    continue;
                }
                let sigma = detector.jitter * f64::from(truth.height());
                let mut shake = |side: f32, scale: f64| side + (gauss(&mut dice) * sigma * scale) as f32;
                let across = 1.0 / f64::from(PICTURE.aspect());
                let box_in_image = BoxInImage {
                    left: shake(truth.left, across),
                    top: shake(truth.top, 1.0),
                    right: shake(truth.right, across),
                    bottom: shake(truth.bottom, 1.0),
                };
                detections.push(Detection { class: vehicle.class, score: 0.5 + 0.45 * dice.f32(), box_in_image });
            }
            let at = MediaTime::from_nanos((secs * 1e9) as u64);
            tracker.update(at, PICTURE, &detections);
            (at, tracker.confirmed().to_vec())
        })
        .collect()
}

fn gauss(dice: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0
}
