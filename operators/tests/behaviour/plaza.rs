//! A street in metres: who is where when, as a camera of known geometry and a detector of known faults see it.

use kerbside_core::detection::{Class, Detection};
use kerbside_core::finding::{Finding, FindingKind};
use kerbside_core::geometry::{BoxInImage, PointInImage};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::incident::{Incident, Phase};
use kerbside_core::time::MediaTime;

use crate::street::{Detector, Frame, PICTURE, covered};

/// 20 m wide and 40 m deep, from `y` 0 at the picture's lower edge. To be put under `geometry:`.
pub(crate) const GROUND: &str = "  ground:
    image: [[0.02, 0.95], [0.98, 0.95], [0.65, 0.3], [0.35, 0.3]]
    metres: [[0, 0], [20, 0], [20, 40], [0, 40]]
";

/// One object: where its foot is at which second. It is there from the first to the last of them.
#[derive(Clone, Debug)]
pub(crate) struct Mover {
    pub(crate) class: Class,
    /// Seconds, metres, metres.
    pub(crate) way: Vec<(f64, f64, f64)>,
}

impl Mover {
    pub(crate) fn car(way: &[(f64, f64, f64)]) -> Self {
        Self { class: Class::Car, way: way.to_vec() }
    }

    pub(crate) fn person(way: &[(f64, f64, f64)]) -> Self {
        Self { class: Class::Person, way: way.to_vec() }
    }

    fn at(&self, secs: f64) -> Option<PointOnGround> {
        let leg = self.way.windows(2).find(|leg| (leg[0].0..=leg[1].0).contains(&secs))?;
        let share = (secs - leg[0].0) / (leg[1].0 - leg[0].0);
        let [x, y] = [leg[0].1 + share * (leg[1].1 - leg[0].1), leg[0].2 + share * (leg[1].2 - leg[0].2)];
        Some(PointOnGround { x, y })
    }
}

pub(crate) fn ground() -> Ground {
    let image = [(0.02, 0.95), (0.98, 0.95), (0.65, 0.3), (0.35, 0.3)].map(|(x, y)| PointInImage { x, y });
    let metres = [(0.0, 0.0), (20.0, 0.0), (20.0, 40.0), (0.0, 40.0)].map(|(x, y)| PointOnGround { x, y });
    Ground::fit(&image, &metres).expect("a ground")
}

/// Where a point of the street is in the picture.
pub(crate) fn image(x: f64, y: f64) -> PointInImage {
    ground().in_image(PointOnGround { x, y }).expect("in front of the camera")
}

/// A point as YAML.
pub(crate) fn yaml(x: f64, y: f64) -> String {
    let point = image(x, y);
    format!("[{:.4}, {:.4}]", point.x, point.y)
}

/// The four corners of a rectangle on the street, as YAML.
pub(crate) fn rectangle((left, right): (f64, f64), (near, far): (f64, f64)) -> String {
    let corners = [(left, near), (right, near), (right, far), (left, far)].map(|(x, y)| yaml(x, y));
    format!("[{}]", corners.join(", "))
}

/// What the camera sees.
pub(crate) fn film(movers: &[Mover], detector: Detector, fps: f64, secs: f64, seed: u64) -> Vec<Frame> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let ground = ground();
    (0..(secs * fps) as u64)
        .map(|number| {
            let secs = number as f64 / fps;
            let mut frame = Frame {
                at: MediaTime::from_nanos((secs * 1e9) as u64),
                detections: Vec::new(),
                shows: Vec::new(),
                present: Vec::new(),
            };
            let boxes: Vec<Option<BoxInImage>> = movers
                .iter()
                .map(|mover| mover.at(secs).map(|place| box_of(&ground, mover.class, place)))
                .collect();
            for (index, mover) in movers.iter().enumerate() {
                let Some(truth) = boxes[index] else { continue };
                frame.present.push(index);
                let nearer = boxes.iter().flatten().filter(|it| it.bottom > truth.bottom);
                let hidden = f64::from(nearer.map(|it| covered(&truth, it)).fold(0.0, f32::max));
                if dice.f64() >= detector.misses && hidden <= detector.hidden_share {
                    let box_in_image = shaken(truth, detector.jitter, &mut dice);
                    let weak = hidden > detector.hidden_share / 2.0;
                    let score = if weak { 0.2 + 0.35 * dice.f32() } else { 0.5 + 0.45 * dice.f32() };
                    frame.detections.push(Detection { class: mover.class, score, box_in_image });
                    frame.shows.push(Some(index));
                }
                if dice.f64() < detector.inventions {
                    let place = PointOnGround { x: 20.0 * dice.f64(), y: 40.0 * dice.f64() };
                    let class = if dice.bool() { Class::Person } else { Class::Car };
                    let score = 0.3 + 0.35 * dice.f32();
                    frame.detections.push(Detection { class, score, box_in_image: box_of(&ground, class, place) });
                    frame.shows.push(None);
                }
            }
            frame
        })
        .collect()
}

fn box_of(ground: &Ground, class: Class, place: PointOnGround) -> BoxInImage {
    let foot = ground.in_image(place).expect("in front of the camera");
    let metres = ground.metres_per_height(foot, PICTURE.aspect()).expect("below the horizon");
    let (width, height) = match class {
        Class::Person => (0.6, 1.75),
        Class::Bicycle => (0.7, 1.7),
        Class::Bus | Class::Truck => (2.6, 3.2),
        _ => (1.9, 1.5),
    };
    let (half, height) = ((width / metres / 2.0) as f32 / PICTURE.aspect(), (height / metres) as f32);
    BoxInImage { left: foot.x - half, top: foot.y - height, right: foot.x + half, bottom: foot.y }
}

fn shaken(truth: BoxInImage, jitter: f64, dice: &mut fastrand::Rng) -> BoxInImage {
    let sigma = jitter * f64::from(truth.height());
    let mut shake = |side: f32, scale: f32| {
        let gauss = (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0;
        side + scale * (gauss * sigma) as f32
    };
    let narrow = 1.0 / PICTURE.aspect();
    BoxInImage {
        left: shake(truth.left, narrow),
        top: shake(truth.top, 1.0),
        right: shake(truth.right, narrow),
        bottom: shake(truth.bottom, 1.0),
    }
}

/// The incidents among findings, with their seconds; checks that each begins and ends once.
pub(crate) fn incidents(findings: &[Finding]) -> Vec<(f64, Incident)> {
    let mut open = std::collections::BTreeSet::new();
    let mut all = Vec::new();
    for finding in findings {
        let FindingKind::Incident(incident) = finding.kind else { continue };
        match incident.phase {
            Phase::Begin => assert!(open.insert(incident.number), "{incident:?}"),
            Phase::Update => assert!(open.contains(&incident.number), "{incident:?}"),
            Phase::End => assert!(open.remove(&incident.number), "{incident:?}"),
        }
        all.push((finding.at.as_nanos() as f64 / 1e9, incident));
    }
    assert!(open.is_empty(), "{open:?} did not end");
    all
}

/// The seconds at which incidents are in that phase.
pub(crate) fn times(findings: &[Finding], phase: Phase) -> Vec<f64> {
    incidents(findings).iter().filter(|(_, incident)| incident.phase == phase).map(|(at, _)| *at).collect()
}

/// True, found and matched: each found time is matched with at most one true span.
pub(crate) fn matched(truths: &[(f64, f64)], found: &[f64]) -> usize {
    let mut free: Vec<_> = truths.to_vec();
    found
        .iter()
        .filter(|at| {
            let place = free.iter().position(|(from, to)| (*from..=*to).contains(*at));
            place.map(|place| free.swap_remove(place)).is_some()
        })
        .count()
}
