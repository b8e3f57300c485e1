//! A scene file's text to a [`Scene`], with every problem at its place.
//!
//! Lengths are metres, angles degrees, times spans such as `2500ms`. What has a value behind it here is optional.
//!
//! ```yaml
//! duration: 120s
//! seed: 0                      # of what differs between copies
//! camera: {height: 6, tilt: 24, turn: 0, view: 70, picture: [1280, 720]}
//! daylight: 1                  # or [[0s, 0.9], [60s, 0.2]]
//! sites:                       # on the street; all must lie in the picture
//!   lines: {kerb: [[0, 8], [0, 26]]}
//!   zones: {waiting: [[-9, 12], [-5, 12], [-5, 22]]}
//! occluders: [{at: [3, 11], size: [0.2, 0.2, 5], turned: 0}]
//! actors:
//!   - {name: parked, class: car, stands: [9, 21], faces: 90, begins: 0s, for: 10m}
//!   - name: walkers
//!     class: person
//!     size: [0.35, 0.5, 1.75]  # length, width, height; usual ones of each class by default
//!     path: [[-16, 12], [16, 13]]
//!     speed: 1.4               # m/s, acceleration in m/s², rounding of corners in m: usual ones by default
//!     begins: 0s
//!     changes: [{after: 10, speed: 3}]
//!     halts: [{after: 5, for: 20s}, {after: 8, until: 60s}]   # until: who comes later does not stop
//!     confusion: 0             # share of frames in which it is taken for something alike
//!     repeat:                  # copies, while the scene lasts
//!       {every: 4s, count: 9, spread: 1s, aside: 1, speed: 0.2, both_ways: false, behind: 0, later: 0s}
//! detector: {misses: 0.1, bursts: {every: 30s, for: 700ms}, jitter: 0.025, false_positives: 0.05, confusion: 0.02,
//!   hidden: 0.6, ghosts: [{class: person, box: [0.1, 0.2, 0.15, 0.4], share: 0.3, score: 0.5}]}
//! disturbances: [{kind: covered, from: 20s, to: 40s}]
//! operators: {count_line: [{line: kerb}]}
//! ```
//!
//! In `repeat`, `spread` is seconds either way, `aside` metres to either side, `speed` a share either way; each copy
//! halts `behind` metres before the one before it and, at a halt with `until`, starts `later` than that one: a queue.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::diagnostics::Problems;
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::{BoxInImage, Geometry, Line, PointInImage, Polygon, Shape, Site};
use kerbside_core::ground::PointOnGround;
use kerbside_core::tree::{Entry, Field, Kind, Reader, Value};

use crate::film::{Bursts, Detector, Ghost};
use crate::optics::{Optics, Solid};
use crate::{Disturbance, DisturbanceKind, Scene, SiteOnGround, cast};

/// The longest scene.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How far from the camera anything may be, metres.
const FARTHEST: f64 = 1000.0;

pub(crate) fn scene(value: &Value, problems: &Problems) -> Option<Scene> {
    let root = Reader::root(value, problems)?;
    let optics = root.required("camera").and_then(|field| optics(&field));
    let duration = root.required("duration").and_then(|field| field.duration(Duration::from_secs(1)..=LONGEST));
    let seed = integer(&root, "seed", 0..=u64::from(u32::MAX), "", 0);
    let daylight = root.optional("daylight").map_or(Some(vec![(0.0, 1.0)]), |field| curve(&field));
    let (geometry, sites) = match (&optics, root.optional("sites")) {
        (Some(optics), Some(field)) => sites(&field, optics).unzip(),
        _ => (Some(Geometry::default()), Some(Vec::new())),
    };
    let occluders = list(&root, "occluders", occluder);
    let actors =
        list(&root, "actors", |field| cast::actors(field, seed.unwrap_or_default(), duration.unwrap_or_default()));
    let detector = root.optional("detector").map_or(Some(Detector::PERFECT), |field| detector(&field));
    let disturbances = list(&root, "disturbances", disturbance);
    let operators = root.optional("operators").map_or(Some(Vec::new()), |field| operators(value, &field));
    root.finish();
    Some(Scene {
        optics: optics?,
        duration: duration?,
        daylight: daylight?,
        geometry: geometry?,
        sites: sites?,
        occluders: occluders?,
        actors: actors?.into_iter().flatten().collect(),
        detector: detector?,
        disturbances: disturbances?,
        operators: operators?,
    })
}

fn optics(field: &Field<'_>) -> Option<Optics> {
    let reader = field.map()?;
    let height = required(&reader, "height", 1.0..=100.0, "metres");
    let tilt = required(&reader, "tilt", 1.0..=89.0, "degrees");
    let turn = number(&reader, "turn", -180.0..=180.0, "degrees", 0.0);
    let view = required(&reader, "view", 10.0..=150.0, "degrees");
    let size = reader.required("picture").and_then(|field| {
        let sides = field.list()?;
        let [width, height] = sides.as_slice() else {
            field.problem("no size", "[width, height] in pixels is expected");
            return None;
        };
        let side = |field: &Field<'_>| field.integer(16..=8192, "pixels").map(|side| side as u32);
        Some(PictureSize { width: side(width)?, height: side(height)? })
    });
    reader.finish();
    Some(Optics::new(size?, height?, tilt?, turn?, view?))
}

fn sites(field: &Field<'_>, optics: &Optics) -> Option<(Geometry, Vec<SiteOnGround>)> {
    let reader = field.map()?;
    let mut found: Vec<(Site, SiteOnGround)> = Vec::new();
    let mut clean = true;
    let mut add = |name: &str, site: Option<(Shape, SiteOnGround)>| match site {
        Some((shape, on_ground)) => found.push((Site { name: name.to_owned(), shape }, on_ground)),
        None => clean = false,
    };
    if let Some(lines) = reader.optional("lines") {
        for (name, line) in lines.map()?.entries() {
            add(
                name,
                points(&line, 2..=2).and_then(|ends| {
                    let [from, to] = [in_picture(&line, optics, ends[0]), in_picture(&line, optics, ends[1])];
                    Some((Shape::Line(Line { from: from?, to: to? }), SiteOnGround::Line([ends[0], ends[1]])))
                }),
            );
        }
    }
    if let Some(zones) = reader.optional("zones") {
        for (name, zone) in zones.map()?.entries() {
            add(
                name,
                points(&zone, 3..=64).and_then(|corners| {
                    let image: Option<Vec<_>> = corners.iter().map(|p| in_picture(&zone, optics, *p)).collect();
                    Some((Shape::Zone(Polygon { corners: image? }), SiteOnGround::Zone(corners)))
                }),
            );
        }
    }
    reader.finish();
    found.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let (sites, on_ground) = found.into_iter().unzip();
    clean.then_some((Geometry { sites }, on_ground))
}

fn in_picture(field: &Field<'_>, optics: &Optics, point: PointOnGround) -> Option<PointInImage> {
    let inside = |p: &PointInImage| (0.0..=1.0).contains(&p.x) && (0.0..=1.0).contains(&p.y);
    let found = optics.in_image(point);
    let visible = found.filter(inside);
    if visible.is_none() {
        let place = found.map_or("behind the camera".to_owned(), |p| format!("at [{:.3}, {:.3}]", p.x, p.y));
        field.problem(
            format!("[{}, {}] is {place}", point.x, point.y),
            "points in the picture, 0 to 1, are expected",
        );
    }
    visible
}

fn occluder(field: &Field<'_>) -> Option<Solid> {
    let reader = field.map()?;
    let at = reader.required("at").and_then(|field| point(&field));
    let size = reader.required("size").and_then(|field| size(&field));
    let turned = number(&reader, "turned", -360.0..=360.0, "degrees", 0.0);
    reader.finish();
    let (sin, cos) = turned?.to_radians().sin_cos();
    Some(Solid { at: at?, heading: [cos, sin], size: size? })
}

fn disturbance(field: &Field<'_>) -> Option<Disturbance> {
    let reader = field.map()?;
    let kind = reader.required("kind").and_then(|field| field.one_of(&DisturbanceKind::ALL));
    let [from, to] = ["from", "to"].map(|key| reader.required(key).and_then(|field| secs(&field)));
    reader.finish();
    Some(Disturbance { kind: kind?, from: from?, to: to? })
}

fn detector(field: &Field<'_>) -> Option<Detector> {
    let reader = field.map()?;
    let base = Detector::PERFECT;
    let misses = number(&reader, "misses", 0.0..=1.0, "", base.misses);
    let bursts = reader.optional("bursts").map_or(Some(None), |field| {
        let reader = field.map()?;
        let [every, lasts] = ["every", "for"].map(|key| reader.required(key).and_then(|field| secs(&field)));
        reader.finish();
        Some(Some(Bursts { every: every?, lasts: lasts? }))
    });
    let jitter = number(&reader, "jitter", 0.0..=1.0, "box heights", base.jitter);
    let inventions = number(&reader, "false_positives", 0.0..=10.0, "", base.inventions);
    let confusion = number(&reader, "confusion", 0.0..=1.0, "", base.confusion);
    let hidden_share = number(&reader, "hidden", 0.0..=2.0, "", base.hidden_share);
    let ghosts = list(&reader, "ghosts", |field| {
        let reader = field.map()?;
        let class = reader.required("class").and_then(|field| class(&field));
        let sides = reader.required("box").and_then(|field| {
            let sides: Option<Vec<f64>> = field.list()?.iter().map(|side| side.number(0.0..=1.0, "")).collect();
            let [left, top, right, bottom] = <[f64; 4]>::try_from(sides?).ok()?.map(|side| side as f32);
            Some(BoxInImage { left, top, right, bottom })
        });
        let share = required(&reader, "share", 0.0..=1.0, "");
        let score = number(&reader, "score", 0.0..=1.0, "", 0.5);
        reader.finish();
        Some(Ghost { class: class?, box_in_image: sides?, share: share?, score: score? })
    });
    reader.finish();
    Some(Detector {
        misses: misses?,
        bursts: bursts?,
        jitter: jitter?,
        inventions: inventions?,
        confusion: confusion?,
        hidden_share: hidden_share?,
        ghosts: ghosts?,
    })
}

/// Kept as they are: their options are read by the operators themselves.
fn operators(root: &Value, field: &Field<'_>) -> Option<Vec<(String, Value)>> {
    field.map()?;
    let Kind::Map(entries) = &root.kind else { return None };
    let block = entries.iter().find(|entry| entry.key == "operators")?;
    let Kind::Map(entries) = &block.value.kind else { return None };
    let mut operators: Vec<_> =
        entries.iter().map(|Entry { key, value, .. }| (key.clone(), value.clone())).collect();
    operators.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(operators)
}

/// A number for all times, or a list of `[time, number]`.
fn curve(field: &Field<'_>) -> Option<Vec<(f64, f64)>> {
    let Kind::List(_) = field.kind() else { return Some(vec![(0.0, field.number(0.0..=1.0, "")?)]) };
    let points: Option<Vec<_>> = field
        .list()?
        .iter()
        .map(|pair| match pair.list()?.as_slice() {
            [at, light] => Some((secs(at)?, light.number(0.0..=1.0, "")?)),
            _ => {
                pair.problem("no pair", "[time, light] is expected");
                None
            }
        })
        .collect();
    let points = points?;
    let rising = points.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if !rising {
        field.problem("the times do not rise", "times in order are expected");
    }
    rising.then_some(points)
}

/// Every item of a list that may be missing; `None` when one has problems.
pub(crate) fn list<T>(
    reader: &Reader<'_>,
    key: &'static str,
    mut read: impl FnMut(&Field<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(field) = reader.optional(key) else { return Some(Vec::new()) };
    let items: Vec<Option<T>> = field.list()?.iter().map(&mut read).collect();
    items.into_iter().collect()
}

pub(crate) fn number(
    reader: &Reader<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<f64>,
    unit: &str,
    default: f64,
) -> Option<f64> {
    reader.optional(key).map_or(Some(default), |field| field.number(range, unit))
}

fn required(
    reader: &Reader<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<f64>,
    unit: &str,
) -> Option<f64> {
    reader.required(key).and_then(|field| field.number(range, unit))
}

pub(crate) fn integer(
    reader: &Reader<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<u64>,
    unit: &str,
    default: u64,
) -> Option<u64> {
    reader.optional(key).map_or(Some(default), |field| field.integer(range, unit))
}

/// A span of time, as seconds.
pub(crate) fn secs(field: &Field<'_>) -> Option<f64> {
    field.duration(Duration::ZERO..=LONGEST).map(|span| span.as_secs_f64())
}

pub(crate) fn class(field: &Field<'_>) -> Option<Class> {
    field.one_of(&Class::ALL.map(|class| (class.name(), class)))
}

pub(crate) fn point(field: &Field<'_>) -> Option<PointOnGround> {
    let numbers = metres::<2>(field, -FARTHEST..=FARTHEST)?;
    Some(PointOnGround { x: numbers[0], y: numbers[1] })
}

pub(crate) fn size(field: &Field<'_>) -> Option<[f64; 3]> {
    metres(field, 0.05..=50.0)
}

pub(crate) fn points(field: &Field<'_>, count: std::ops::RangeInclusive<usize>) -> Option<Vec<PointOnGround>> {
    let items = field.list()?;
    if !count.contains(&items.len()) {
        let allowed = format!("{} to {} are expected", count.start(), count.end());
        field.problem(format!("{} points", items.len()), allowed);
        return None;
    }
    items.iter().map(point).collect()
}

fn metres<const N: usize>(field: &Field<'_>, range: std::ops::RangeInclusive<f64>) -> Option<[f64; N]> {
    let items = field.list()?;
    let numbers: Option<Vec<f64>> = items.iter().map(|item| item.number(range.clone(), "metres")).collect();
    let found = numbers?.len();
    let numbers: Vec<f64> = items.iter().filter_map(|item| item.number(range.clone(), "metres")).collect();
    <[f64; N]>::try_from(numbers).map_or_else(
        |_| {
            field.problem(format!("{found} numbers"), format!("{N} numbers in metres are expected"));
            None
        },
        Some,
    )
}
