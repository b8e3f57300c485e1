//! How long each operator takes for one frame with 50 tracks: `cargo bench -p kerbside-operators --bench operators`.
//! Every operator of the table is configured by its own example. Asserts nothing, since machines differ.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::{Duration, Instant};

use kerbside_core::detection::Class;
use kerbside_core::diagnostics::Problems;
use kerbside_core::finding::Findings;
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::{BoxInImage, Geometry, Line, PointInImage, Polygon, Shape, Site};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::observation::{Observation, SceneStatistics, Track, TrackId};
use kerbside_core::operator::{Configured, OperatorSpec, Surroundings};
use kerbside_core::time::{LocalTime, MediaTime, WallTime};
use kerbside_core::tree::{Field, Reader};
use kerbside_core::yaml;

const FRAMES: u64 = 5000;
const TRACKS: u64 = 50;
const PICTURE: PictureSize = PictureSize { width: 1280, height: 720 };

fn main() {
    println!("{:<24} {:>10} {:>10} {:>12}", "operator", "median µs", "p99 µs", "frames/s");
    for spec in kerbside_operators::TABLE {
        let mut operators = example(spec);
        let (mut tracks, mut findings, mut nanos) = (Vec::new(), Findings::new(), Vec::new());
        let scene = SceneStatistics { luma_mean: 110.0, luma_deviation: 50.0, sharpness: 300.0 };
        for frame in 0..FRAMES {
            crowd(frame, &mut tracks);
            let at = MediaTime::from_millis(100 * frame);
            let wall = WallTime::from_unix_nanos(at.as_nanos());
            let observation = Observation {
                at,
                step: Duration::from_millis(if frame == 0 { 0 } else { 100 }),
                picture: PICTURE,
                tracks: &tracks,
                wall,
                local: LocalTime::utc(wall),
                scene: &scene,
                trusted: true,
            };
            findings.clear();
            let begun = Instant::now();
            for it in &mut operators {
                it.operator.observe(&observation, &mut findings);
                it.operator.advance(at, &mut findings);
            }
            nanos.push(begun.elapsed().as_nanos());
        }
        nanos.sort_unstable();
        let micros = |share: usize| nanos[(nanos.len() - 1) * share / 100] as f64 / 1000.0;
        println!("{:<24} {:>10.2} {:>10.2} {:>12.0}", spec.name, micros(50), micros(99), 1e6 / micros(50));
    }
}

/// Walkers and vehicles that go to and fro over the whole picture; one in ten is missed in each frame, and
/// after a minute each is followed by another.
fn crowd(frame: u64, tracks: &mut Vec<Track>) {
    tracks.clear();
    for index in 0..TRACKS {
        let life = (frame + 12 * index) / 600;
        let phase = frame as f32 / 40.0 + index as f32;
        let (x, foot) = (0.5 + 0.45 * phase.sin(), 0.3 + 0.65 * index as f32 / TRACKS as f32);
        let class = [Class::Person, Class::Car, Class::Truck][index as usize % 3];
        let box_in_image = BoxInImage { left: x - 0.03, top: foot - 0.12, right: x + 0.03, bottom: foot };
        tracks.push(Track {
            id: TrackId(1 + life * TRACKS + index),
            class,
            score: 0.8,
            box_in_image,
            detected: !(frame + index).is_multiple_of(10),
            since: MediaTime::from_millis(60_000 * life),
            first_box: box_in_image,
        });
    }
    tracks.sort_by_key(|track| track.id);
}

/// The operators of a row's example.
fn example(spec: &OperatorSpec) -> Vec<Configured> {
    let problems = Problems::in_file("example.yaml");
    let value = yaml::parse(spec.example, &problems).expect("valid YAML");
    let reader = Reader::root(&value, &problems).expect("a map");
    let (geometry, ground) = reader.optional("geometry").map(|field| geometry(&field)).unwrap_or_default();
    let surroundings = Surroundings { geometry: &geometry, ground: ground.as_ref(), classes: &Class::ALL[..6] };
    let operators = reader.required("operators").expect("operators").map().expect("a map");
    let entries = operators.entries().flat_map(|(_, entries)| entries.list().expect("a list"));
    entries
        .map(|entry| (spec.configure)(&entry.map().expect("a map"), surroundings).expect("a valid example"))
        .collect()
}

fn geometry(field: &Field<'_>) -> (Geometry, Option<Ground>) {
    let (mut sites, mut ground) = (Vec::new(), None);
    for (kind, entry) in field.map().expect("a map").entries() {
        let map = entry.map().expect("a map");
        if kind == "ground" {
            let image: Vec<_> = numbers(&map.required("image").expect("image")).into_iter().map(point).collect();
            let metres = numbers(&map.required("metres").expect("metres"));
            let metres: Vec<_> = metres.into_iter().map(|[x, y]| PointOnGround { x, y }).collect();
            ground = Some(Ground::fit(&image, &metres).expect("a ground"));
            continue;
        }
        for (name, shape) in map.entries() {
            let shape = shape.map().expect("a map");
            let end = |key| point(pair(&shape.required(key).expect("a point")));
            let shape = if kind == "lines" {
                Shape::Line(Line { from: end("from"), to: end("to") })
            } else {
                let corners =
                    numbers(&shape.required("polygon").expect("a polygon")).into_iter().map(point).collect();
                Shape::Zone(Polygon { corners })
            };
            sites.push(Site { name: name.to_owned(), shape });
        }
    }
    sites.sort_by(|a, b| a.name.cmp(&b.name));
    (Geometry { sites }, ground)
}

fn numbers(field: &Field<'_>) -> Vec<[f64; 2]> {
    field.list().expect("points").iter().map(pair).collect()
}

fn pair(field: &Field<'_>) -> [f64; 2] {
    let numbers = field.list().expect("x and y");
    [0, 1].map(|axis| numbers[axis].number(-1e4..=1e4, "").expect("a number"))
}

fn point([x, y]: [f64; 2]) -> PointInImage {
    PointInImage { x: x as f32, y: y as f32 }
}
