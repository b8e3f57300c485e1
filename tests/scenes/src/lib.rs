//! Scripted streets for tests.
//!
//! A [`Scene`] is a data file (`scenes/*.yaml`): a camera on a pole over a flat street, lines and zones on that
//! street in metres, what moves and stands on it, what hides it, the light, and how bad the detector is. From it
//! follow, each on its own:
//!
//! * the camera's `geometry:` and `operators:` blocks as an installer would write them ([`Scene::camera_yaml`]),
//!   with the exact ground of the pinhole camera;
//! * the exact truth ([`Scene::truth`]): crossings with speeds, visits, turns, standstills, near misses. It comes
//!   from the script alone: no frame rate, no noise, no seed;
//! * a film of noisy detections at any frame rate ([`Scene::film`]), the same for the same seed;
//! * pictures ([`render::Renderer`]).
//!
//! Units: metres on the street (see [`optics`] for the axes), seconds as `f64` inside a script, [`MediaTime`] in
//! frames and truth. Everything is deterministic; no threads, no clock. It does no tracking and knows no operator:
//! it is for tests alone and no program depends on it.
//!
//! [`MediaTime`]: kerbside_core::time::MediaTime

#![forbid(unsafe_code)]

mod cast;
pub mod film;
pub mod optics;
mod read;
pub mod render;
pub mod trip;
pub mod truth;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::diagnostics::{Problem, Problems};
use kerbside_core::geometry::{BoxInImage, Geometry, PointInImage, Shape, SiteId};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::tree::{Kind, Value};
use kerbside_core::yaml;

use crate::film::Detector;
use crate::optics::{Optics, Solid};
use crate::trip::{Place, Trip};

/// A street, what happens on it, and who looks.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The camera.
    pub optics: Optics,
    /// How long it goes on.
    pub duration: Duration,
    /// The daylight at some times, in seconds: 1 is noon, 0 is dark. Straight between them.
    pub daylight: Vec<(f64, f64)>,
    /// The lines and zones in the picture, sorted by name as operators know them.
    pub geometry: Geometry,
    /// The same on the street, in the same order.
    pub sites: Vec<SiteOnGround>,
    /// What stands in the way of the view.
    pub occluders: Vec<Solid>,
    /// Everything that a detector could find; an actor's number is its place in this list.
    pub actors: Vec<Actor>,
    /// The detector that the file asks for.
    pub detector: Detector,
    /// What the camera does at which times.
    pub disturbances: Vec<Disturbance>,
    operators: Vec<(String, Value)>,
}

/// A line or zone on the street.
#[derive(Clone, Debug, PartialEq)]
pub enum SiteOnGround {
    /// A line, from its beginning to its end.
    Line([PointOnGround; 2]),
    /// A zone's corners.
    Zone(Vec<PointOnGround>),
}

/// Something that moves or stands on the street.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Its name in the file; copies share it.
    pub name: String,
    /// What it is.
    pub class: Class,
    /// Length, width and height, metres.
    pub size: [f64; 3],
    /// Where it is when.
    pub trip: Trip,
    /// In which share of the frames it is taken for something alike.
    pub confusion: f64,
    /// Whether it has no way: it stands where it is.
    pub fixture: bool,
}

/// What an actor is at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Its number.
    pub actor: usize,
    /// What it is.
    pub class: Class,
    /// Its box, cut off at the picture's border.
    pub box_in_image: BoxInImage,
    /// Where it is.
    pub place: Place,
    /// The share of the box that something nearer hides, 0..1.
    pub hidden: f64,
}

/// Something that happens to the camera itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disturbance {
    /// What.
    pub kind: DisturbanceKind,
    /// From when, in seconds.
    pub from: f64,
    /// Until when, in seconds.
    pub to: f64,
}

/// What can happen to a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisturbanceKind {
    /// Something hangs before the lens.
    Covered,
    /// The lens is out of focus.
    Defocused,
    /// The camera has been turned aside.
    Moved,
    /// The picture does not change.
    Frozen,
    /// Hardly any light reaches the sensor.
    Dark,
    /// The sensor is flooded with light.
    Bright,
}

impl DisturbanceKind {
    /// Each with its name in a scene file.
    pub const ALL: [(&'static str, Self); 6] = [
        ("covered", Self::Covered),
        ("defocused", Self::Defocused),
        ("moved", Self::Moved),
        ("frozen", Self::Frozen),
        ("dark", Self::Dark),
        ("bright", Self::Bright),
    ];
}

/// The class of an object that a detector finds only if more than this share of its box is in the picture.
const LEAST_VISIBLE: f32 = 0.25;
/// How finely the hidden share of a box is found: samples on each side.
const SAMPLES: usize = 10;

impl Scene {
    /// Reads a scene file's text; all problems of it otherwise, sorted, each with its place.
    pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Self, Vec<Problem>> {
        let problems = Problems::in_file(file.as_ref());
        let scene = yaml::parse(text, &problems).and_then(|value| read::scene(&value, &problems));
        let problems = problems.into_sorted();
        match scene {
            Some(scene) if problems.is_empty() => Ok(scene),
            _ => Err(problems),
        }
    }

    /// The golden scene of that name.
    ///
    /// # Panics
    /// Where it is missing or has problems: it is a part of this crate.
    pub fn golden(name: &str) -> Self {
        let path = folder().join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&path, &text).unwrap_or_else(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}", problems.join("\n"))
        })
    }

    /// The number of the line or zone of that name.
    ///
    /// # Panics
    /// Where the scene has none of that name.
    pub fn site(&self, name: &str) -> SiteId {
        let place = self.geometry.sites.iter().position(|site| site.name == name);
        SiteId(place.unwrap_or_else(|| panic!("the scene has no site '{name}'")) as u16)
    }

    /// The street as this camera sees it.
    pub fn ground(&self) -> Ground {
        let (image, metres) = self.reference_points();
        Ground::fit(&image, &metres).expect("a camera over a street sees it")
    }

    /// The operators that the file configures, sorted by name.
    pub fn operators(&self) -> impl Iterator<Item = &str> {
        self.operators.iter().map(|(name, _)| name.as_str())
    }

    /// The `geometry:` and `operators:` blocks of the camera's file, with one of the operators; `None` where the file
    /// does not configure it.
    pub fn camera_yaml(&self, operator: &str) -> Option<String> {
        self.camera_yaml_in(operator, 1.0)
    }

    /// The same where a metre of the street is `scale` of the camera file's metres. Speeds and distances then are
    /// `scale` times as large, which moves the edges of a histogram's buckets over what is measured.
    pub fn camera_yaml_in(&self, operator: &str, scale: f64) -> Option<String> {
        let (name, entries) = self.operators.iter().find(|(name, _)| name == operator)?;
        Some(format!("{}operators:\n  {name}: {}\n", self.geometry_yaml(scale), flow(entries)))
    }

    fn geometry_yaml(&self, scale: f64) -> String {
        let point = |p: &PointInImage| format!("[{:.6}, {:.6}]", p.x, p.y);
        let (mut lines, mut zones) = (String::new(), String::new());
        for site in &self.geometry.sites {
            match &site.shape {
                Shape::Line(line) => {
                    let (from, to) = (point(&line.from), point(&line.to));
                    lines += &format!("    {}: {{from: {from}, to: {to}}}\n", site.name);
                }
                Shape::Zone(zone) => {
                    let corners: Vec<String> = zone.corners.iter().map(point).collect();
                    zones += &format!("    {}: {{polygon: [{}]}}\n", site.name, corners.join(", "));
                }
            }
        }
        let (image, metres) = self.reference_points();
        let image: Vec<String> = image.iter().map(point).collect();
        let metres: Vec<String> =
            metres.iter().map(|p| format!("[{:.6}, {:.6}]", scale * p.x, scale * p.y)).collect();
        let block = |key: &str, rows: String| if rows.is_empty() { rows } else { format!("  {key}:\n{rows}") };
        format!(
            "geometry:\n{}{}  ground:\n    image: [{}]\n    metres: [{}]\n",
            block("lines", lines),
            block("zones", zones),
            image.join(", "),
            metres.join(", ")
        )
    }

    /// Four points of the picture and of the street, well apart and below the horizon.
    fn reference_points(&self) -> (Vec<PointInImage>, Vec<PointOnGround>) {
        let far = self.optics.horizon().max(0.0);
        let far = (far + 0.15 * (1.0 - far)).max(0.05);
        [(0.1, 0.95), (0.9, 0.95), (0.8, far), (0.2, far)]
            .into_iter()
            .filter_map(|(x, y)| {
                let point = PointInImage { x: x as f32, y: y as f32 };
                Some((point, self.optics.on_ground(point.x.into(), point.y.into())?))
            })
            .unzip()
    }

    /// The light at a time, 0 to 1.
    pub fn daylight_at(&self, secs: f64) -> f64 {
        let next = self.daylight.partition_point(|(at, _)| *at <= secs);
        match (next.checked_sub(1).map(|before| self.daylight[before]), self.daylight.get(next).copied()) {
            (Some((from, a)), Some((to, b))) => a + (b - a) * (secs - from) / (to - from),
            (Some((_, light)), None) | (None, Some((_, light))) => light,
            (None, None) => 1.0,
        }
    }

    /// What an actor takes up at a time.
    pub fn solid(&self, actor: usize, secs: f64) -> Option<Solid> {
        let actor = &self.actors[actor];
        actor.trip.at(secs).map(|place| Solid { at: place.at, heading: place.heading, size: actor.size })
    }

    /// Every actor that is in the picture at a time, in the order of their numbers, hidden or not.
    pub fn seen_at(&self, secs: f64) -> Vec<Seen> {
        let mut before: Vec<(BoxInImage, f64)> =
            self.occluders.iter().filter_map(|it| self.optics.box_of(it)).collect();
        let mut seen: Vec<(Seen, f64)> = Vec::new();
        for (number, actor) in self.actors.iter().enumerate() {
            let Some(place) = actor.trip.at(secs) else { continue };
            let solid = Solid { at: place.at, heading: place.heading, size: actor.size };
            let Some((whole, depth)) = self.optics.box_of(&solid) else { continue };
            let cut = |side: f32| side.clamp(0.0, 1.0);
            let box_in_image = BoxInImage {
                left: cut(whole.left),
                top: cut(whole.top),
                right: cut(whole.right),
                bottom: cut(whole.bottom),
            };
            if box_in_image.area() < LEAST_VISIBLE * whole.area() {
                continue;
            }
            before.push((box_in_image, depth));
            seen.push((Seen { actor: number, class: actor.class, box_in_image, place, hidden: 0.0 }, depth));
        }
        seen.into_iter()
            .map(|(seen, depth)| {
                let nearer = || before.iter().filter(|(_, other)| *other < depth).map(|(shape, _)| shape);
                Seen { hidden: hidden_share(&seen.box_in_image, nearer), ..seen }
            })
            .collect()
    }
}

/// Where the golden scenes are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes")
}

/// The share of a box that lies under the others taken together.
fn hidden_share<'a, I: Iterator<Item = &'a BoxInImage>>(hidden: &BoxInImage, by: impl Fn() -> I) -> f64 {
    let overlaps = |b: &BoxInImage| {
        b.left < hidden.right && b.right > hidden.left && b.top < hidden.bottom && b.bottom > hidden.top
    };
    if !by().any(overlaps) {
        return 0.0;
    }
    let place = |sample: usize| (sample as f32 + 0.5) / SAMPLES as f32;
    let mut covered = 0;
    for sample in 0..SAMPLES * SAMPLES {
        let x = hidden.left + place(sample % SAMPLES) * hidden.width();
        let y = hidden.top + place(sample / SAMPLES) * hidden.height();
        covered += usize::from(by().any(|b| (b.left..b.right).contains(&x) && (b.top..b.bottom).contains(&y)));
    }
    covered as f64 / (SAMPLES * SAMPLES) as f64
}

/// A value on one line of YAML.
fn flow(value: &Value) -> String {
    match &value.kind {
        Kind::Null => "null".to_owned(),
        Kind::Scalar { text, quoted: true } => format!("'{}'", text.replace('\'', "''")),
        Kind::Scalar { text, .. } => text.clone(),
        Kind::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let pairs: Vec<String> = entries.iter().map(|e| format!("{}: {}", e.key, flow(&e.value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}
