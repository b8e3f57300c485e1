//! Golden scenes: each folder under `tests/scenes` holds a camera's lines, zones and operators, the
//! detections of a short film, and what must be found. A new folder is a new case.
//!
//! `findings.csv` has one row for each operator, site, class and direction with anything in it, sorted:
//! crossings and what is counted as a count, presence in seconds, peaks as their highest.
//! In the column of the direction also stand the bucket of a histogram, the destination of a turn, the measure
//! of a peak, and the kind and phase of an incident.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::finding::{Direction, FindingKind, Measure};
use kerbside_core::geometry::BoxInImage;
use kerbside_core::time::MediaTime;
use kerbside_operators::tracker::{Tracker, TrackerSettings};

use crate::camera::{configure, site_name};
use crate::street::{PICTURE, operate};

fn films(text: &str) -> BTreeMap<u64, Vec<Detection>> {
    let mut frames: BTreeMap<u64, Vec<Detection>> = BTreeMap::new();
    for row in text.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let frame = frames.entry(cells[0].parse().expect("millis")).or_default();
        if cells[1].is_empty() {
            continue;
        }
        let class = Class::from_name(cells[1]).expect("a class");
        let numbers: Vec<f32> = cells[2..].iter().map(|cell| cell.parse().expect("a number")).collect();
        let [score, left, top, right, bottom] = numbers[..] else { panic!("five numbers: {row}") };
        frame.push(Detection { class, score, box_in_image: BoxInImage { left, top, right, bottom } });
    }
    frames
}

fn findings(folder: &Path) -> String {
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
    let camera = read("camera.yaml");
    let mut tracker = Tracker::new(TrackerSettings::DEFAULT);
    let tracks: Vec<_> = films(&read("detections.csv"))
        .into_iter()
        .map(|(millis, detections)| {
            let at = MediaTime::from_millis(millis);
            tracker.update(at, PICTURE, &detections);
            (at, tracker.confirmed().to_vec())
        })
        .collect();
    let mut sums: BTreeMap<(String, String, Option<Class>, String), f64> = BTreeMap::new();
    for (name, mut it) in configure(&camera).expect("no problems") {
        for finding in operate(&mut *it.operator, &tracks).as_slice() {
            let none = || "none".to_owned();
            let (direction, amount) = match finding.kind {
                FindingKind::Crossing { direction } => (direction.name().to_owned(), 1.0),
                FindingKind::Presence { lasted } => (none(), lasted.as_secs_f64()),
                FindingKind::Counted { measure, direction, bucket } => (detail(measure, direction, bucket), 1.0),
                FindingKind::Turn { toward } => (format!("to {}", site_name(&camera, toward)), 1.0),
                FindingKind::Incident(incident) => {
                    (format!("{} {}", incident.kind.name(), incident.phase.name()), 1.0)
                }
                FindingKind::Peak { measure, amount } => (measure.name().to_owned(), f64::from(amount)),
                // Without a ground there is no level.
                FindingKind::Level { share: 0, .. } => continue,
                FindingKind::Level { share, lasted, .. } => {
                    (none(), f64::from(share) / 1000.0 * lasted.as_secs_f64())
                }
            };
            let key = (name.clone(), site_name(&camera, finding.site), finding.class, direction);
            let sum = sums.entry(key).or_default();
            *sum = if matches!(finding.kind, FindingKind::Peak { .. }) { sum.max(amount) } else { *sum + amount };
        }
    }
    let mut out = String::from("operator,site,class,direction,amount\n");
    for ((operator, site, class, direction), amount) in sums {
        let amount = (amount * 10.0).round() / 10.0;
        out += &format!("{operator},{site},{},{direction},{amount}\n", class.map_or("all", Class::name));
    }
    out
}

/// The direction, and of a histogram the lower edge of the bucket: `forward from 50`.
fn detail(measure: Measure, direction: Direction, bucket: u8) -> String {
    if measure.edges().is_empty() {
        return direction.name().to_owned();
    }
    let edge = bucket.checked_sub(1).map_or(0, |place| measure.edges()[usize::from(place)]);
    format!("{} from {edge}", direction.name())
}

#[test]
fn every_scene_yields_its_findings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes");
    let mut scenes: Vec<_> =
        fs::read_dir(folder).expect("scenes").map(|entry| entry.expect("an entry").path()).collect();
    scenes.sort();
    assert!(!scenes.is_empty());
    for scene in scenes {
        let expected = fs::read_to_string(scene.join("findings.csv")).expect("findings.csv");
        assert_eq!(findings(&scene), expected, "{}", scene.display());
    }
}
