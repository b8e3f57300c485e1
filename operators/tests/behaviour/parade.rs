//! A street made for an example: whatever lines and zones it has, things pass the lines both ways, go from zone to
//! zone, stay in every zone for a while, gather there, and meet. The busy default that drives every operator of the
//! table; what an operator needs beyond it stands in [`SHOWINGS`].

use std::time::Duration;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::geometry::{BoxInImage, Geometry, PointInImage, Shape};
use kerbside_core::observation::{Observation, SceneStatistics, Standing, Track};
use kerbside_core::time::{LocalTime, MediaTime, WallTime};
use kerbside_operators::tracker::{Tracker, TrackerSettings};

use crate::street::{PICTURE, observation};

/// What an operator is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Showing {
    pub(crate) operator: &'static str,
    /// How long things stay in a zone.
    pub(crate) stay_secs: f64,
    /// How many people gather in a zone.
    pub(crate) crowd: usize,
    /// For how long cars pass from left to right before anything else happens: what is usual here.
    pub(crate) usual_secs: f64,
    /// Hour of the day at which it begins.
    pub(crate) hour: u32,
    /// What the picture as a whole looks like, where it is not an ordinary one all the time.
    pub(crate) scene: Option<fn(f64, &mut SceneStatistics)>,
    /// For how long it goes on when all is over.
    pub(crate) quiet_secs: f64,
}

const DEFAULT: Showing =
    Showing { operator: "", stay_secs: 30.0, crowd: 0, usual_secs: 0.0, hour: 0, scene: None, quiet_secs: 0.0 };

/// Operators that find nothing in the default.
const SHOWINGS: &[Showing] = &[
    Showing { operator: "detect_crowd", stay_secs: 120.0, crowd: 60, ..DEFAULT },
    Showing { operator: "detect_intrusion", hour: 23, ..DEFAULT },
    Showing { operator: "detect_loitering", stay_secs: 600.0, ..DEFAULT },
    Showing { operator: "detect_object_left", quiet_secs: 120.0, scene: Some(bag), ..DEFAULT },
    Showing { operator: "detect_stopped", stay_secs: 120.0, ..DEFAULT },
    Showing { operator: "detect_tamper", stay_secs: 120.0, scene: Some(lights_out), ..DEFAULT },
    Showing { operator: "detect_unusual_motion", usual_secs: 9000.0, ..DEFAULT },
];

/// For a minute the picture is black.
fn lights_out(secs: f64, scene: &mut SceneStatistics) {
    if (120.0..180.0).contains(&secs) {
        scene.luma_mean = 16.5;
        scene.dark = 1.0;
        scene.luma_deviation = 0.5;
        scene.sharpness = 0.1;
    }
}

/// From then on something lies where people stay.
fn bag(secs: f64, scene: &mut SceneStatistics) {
    if secs >= 20.0 {
        let box_in_image = BoxInImage { left: 0.39, top: 0.6, right: 0.43, bottom: 0.65 };
        scene.standing[0] = Some(Standing { box_in_image, since: MediaTime::from_millis(20_000), area: 0.002 });
    }
}

impl Showing {
    pub(crate) fn of(operator: &str) -> Self {
        SHOWINGS.iter().find(|showing| showing.operator == operator).copied().unwrap_or(DEFAULT)
    }
}

/// One frame as an operator sees it.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) at: MediaTime,
    /// The frame before it.
    before: Option<MediaTime>,
    pub(crate) tracks: Vec<Track>,
    scene: Option<Box<SceneStatistics>>,
    hour: u32,
}

impl Moment {
    /// An ordinary frame with these tracks.
    pub(crate) fn plain(at: MediaTime, before: Option<MediaTime>, tracks: Vec<Track>) -> Self {
        Self { at, before, tracks, scene: None, hour: 0 }
    }

    pub(crate) fn observation(&self) -> Observation<'_> {
        let mut observation = observation(self.at, self.before, &self.tracks);
        observation.wall = WallTime::from_unix_nanos(self.at.as_nanos()) + Duration::from_secs(3600) * self.hour;
        observation.local = LocalTime::utc(observation.wall);
        if let Some(scene) = &self.scene {
            observation.scene = scene;
        }
        observation
    }
}

/// One thing and its way: where it touches the ground at which second, straight between them.
#[derive(Clone, Debug)]
struct Thing {
    class: Class,
    way: Vec<(f64, PointInImage)>,
}

impl Thing {
    fn at(&self, secs: f64) -> Option<BoxInImage> {
        let next = self.way.partition_point(|(at, _)| *at <= secs);
        let (from, a) = *self.way.get(next.checked_sub(1)?)?;
        let (to, b) = *self.way.get(next)?;
        let share = ((secs - from) / (to - from)) as f32;
        let (x, y) = (a.x + share * (b.x - a.x), a.y + share * (b.y - a.y));
        let (height, shape) = match self.class {
            Class::Person => (0.12, 0.4),
            Class::Bicycle => (0.12, 0.8),
            _ => (0.1, 2.0),
        };
        let half = height * shape / PICTURE.aspect() / 2.0;
        Some(BoxInImage { left: x - half, top: y - height, right: x + half, bottom: y })
    }
}

const CLASSES: [Class; 3] = [Class::Person, Class::Bicycle, Class::Car];

/// All that happens around these lines and zones, and when it ends, in seconds.
fn things(geometry: &Geometry, showing: &Showing) -> (Vec<Thing>, f64) {
    let mut things = Vec::new();
    let mut now = 1.0;
    let mut passing = 0.0;
    while passing < showing.usual_secs {
        things.push(thing(Class::Car, passing, &[(0.0, (0.05, 0.7)), (4.0, (0.95, 0.7))]));
        passing += 3.0;
        now = passing + 5.0;
    }
    for site in &geometry.sites {
        let Shape::Line(line) = &site.shape else { continue };
        let (x, y) = ((line.from.x + line.to.x) / 2.0, (line.from.y + line.to.y) / 2.0);
        let (along_x, along_y) = ((line.to.x - line.from.x) * PICTURE.aspect(), line.to.y - line.from.y);
        let length = along_x.hypot(along_y).max(f32::MIN_POSITIVE);
        let (aside_x, aside_y) = (-along_y / length * 0.25 / PICTURE.aspect(), along_x / length * 0.25);
        for round in 0..12 {
            let class = CLASSES[round % 3];
            let (a, b) = ((x - aside_x, y - aside_y), (x + aside_x, y + aside_y));
            let ends = if round / 3 % 2 == 0 { [(0.0, a), (3.0, b)] } else { [(0.0, b), (3.0, a)] };
            things.push(thing(class, now, &ends));
            now += 4.0;
        }
    }
    let zones: Vec<(f32, f32)> = geometry
        .sites
        .iter()
        .filter_map(|site| match &site.shape {
            Shape::Zone(zone) => {
                let count = zone.corners.len() as f32;
                let sum = |axis: fn(&PointInImage) -> f32| zone.corners.iter().map(axis).sum::<f32>() / count;
                Some((sum(|p| p.x), sum(|p| p.y)))
            }
            Shape::Line(_) => None,
        })
        .collect();
    for (from, a) in zones.iter().enumerate() {
        for (_, b) in zones.iter().enumerate().filter(|(to, _)| *to != from) {
            for class in CLASSES {
                things.push(thing(class, now, &[(0.0, *a), (1.5, *a), (6.0, *b), (8.0, *b)]));
                now += 9.0;
            }
        }
    }
    // Without a zone, what happens in one happens in the middle of the picture.
    for &(x, y) in if zones.is_empty() { &[(0.5, 0.6)][..] } else { &zones[..] } {
        let side = if x < 0.5 { 0.03 } else { 0.97 };
        let leaves = 4.0 + showing.stay_secs;
        for (place, class) in CLASSES.into_iter().enumerate() {
            let (x, y) = (x + 0.09 * (place as f32 - 1.0), y);
            let way = [(0.0, (side, y)), (4.0, (x, y)), (leaves, (x, y)), (leaves + 4.0, (side, y))];
            things.push(thing(class, now + 6.0 * place as f64, &way));
        }
        for place in 0..showing.crowd {
            let (column, row) = (place % 10, place / 10);
            let at = (x + 0.022 * (column as f32 - 4.5), y + 0.02 * (row as f32 - 3.0));
            let way = [(0.0, (side, at.1)), (4.0, at), (leaves, at), (leaves + 4.0, (side, at.1))];
            things.push(thing(Class::Person, now + 20.0 + 0.7 * place as f64, &way));
        }
        now += leaves + 30.0 + 0.7 * showing.crowd as f64;
        // A person walks over a place where a car is a second later.
        things.push(thing(Class::Person, now, &[(0.0, (x, y - 0.2)), (4.0, (x, y + 0.2))]));
        things.push(thing(Class::Car, now, &[(2.0, (x - 0.3, y)), (4.0, (x + 0.3, y))]));
        now += 10.0;
    }
    (things, now + 5.0)
}

fn thing(class: Class, begins: f64, way: &[(f64, (f32, f32))]) -> Thing {
    let point = |(x, y): (f32, f32)| PointInImage { x: x.clamp(0.0, 1.0), y: y.clamp(0.13, 1.0) };
    Thing { class, way: way.iter().map(|(after, place)| (begins + after, point(*place))).collect() }
}

/// The showing of an operator around the lines and zones of its example, `fps` times a second.
pub(crate) fn parade(geometry: &Geometry, showing: &Showing, fps: f64) -> Vec<Moment> {
    let (mut things, ends) = things(geometry, showing);
    let ends = ends + showing.quiet_secs;
    let begins = |thing: &Thing| thing.way[0].0;
    things.sort_by(|a, b| begins(a).total_cmp(&begins(b)));
    let mut tracker = Tracker::new(TrackerSettings::DEFAULT);
    let mut detections = Vec::new();
    let mut before = None;
    let mut first = 0;
    (0..(ends * fps) as u64)
        .map(|number| {
            let secs = number as f64 / fps;
            let at = MediaTime::from_nanos((secs * 1e9) as u64);
            while things.get(first).is_some_and(|thing| thing.way[thing.way.len() - 1].0 < secs) {
                first += 1;
            }
            detections.clear();
            let begun = things[first..].iter().take_while(|thing| begins(thing) <= secs);
            detections.extend(begun.filter_map(|thing| {
                let box_in_image = thing.at(secs)?;
                Some(Detection { class: thing.class, score: 0.8, box_in_image })
            }));
            tracker.update(at, PICTURE, &detections);
            let mut moment = Moment::plain(at, before.replace(at), tracker.confirmed().to_vec());
            moment.hour = showing.hour;
            moment.scene = showing.scene.map(|change| {
                let mut scene = Box::new(moment.observation().scene.clone());
                change(secs, &mut scene);
                scene
            });
            moment
        })
        .collect()
}
