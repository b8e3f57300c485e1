//! The tracker and the operators allocate nothing on the frame path once they are warm.
//! A test binary of its own with a single test: the counter sees the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use kerbside_core::detection::{Class, Detection};
use kerbside_core::diagnostics::Problems;
use kerbside_core::finding::Findings;
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::{BoxInImage, Geometry, Line, PointInImage, Polygon, Shape, Site};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::observation::{Observation, SceneStatistics, Standing};
use kerbside_core::operator::{Configured, Surroundings};
use kerbside_core::time::{LocalTime, MediaTime, WallTime};
use kerbside_core::tree::Reader;
use kerbside_core::yaml;
use kerbside_operators::tracker::{Tracker, TrackerSettings};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System`, since `alloc` takes it from there.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PICTURE: PictureSize = PictureSize { width: 1280, height: 720 };
const OPERATORS: &str = "\
count_line: {line: line}
count_turns: {zones: [east, zone], settle: 0s, u_turns: true}
detect_crowd: {zone: zone, at_least: 5}
detect_intrusion: {zone: zone}
detect_loitering: {zone: zone, after: 5s, within: 5}
detect_near_miss: {zone: zone, min_speed: 1, distance: 5}
detect_object_left: {zone: zone}
detect_stopped: {zone: zone, after: 5s}
detect_tamper: {}
detect_unusual_flow: {line: line}
detect_unusual_motion: {learn_for: 10m}
detect_wrong_way: {line: line, allowed: forward, min_distance: 1}
measure_dwell: {zone: zone, grace: 1s}
measure_headway: {line: line, classes: [person]}
measure_occupancy: {zone: zone}
measure_queue: {line: line, zone: zone, classes: [car], standing_below: 30, gap: 50, spillback_at: 5}
measure_speed: {line: line, classes: [person]}
";

/// A crowd of 50 that mills about the line; every frame some are missed and some are weak.
fn crowd(frame: u64, detections: &mut Vec<Detection>) {
    detections.clear();
    for index in 0..50u64 {
        let (column, row) = ((index % 10) as f32, (index / 10) as f32);
        let phase = frame as f32 / 20.0 + index as f32;
        let (left, top) = (0.02 + 0.095 * column + 0.02 * phase.sin(), 0.02 + 0.18 * row + 0.02 * phase.cos());
        if (frame + index).is_multiple_of(11) {
            continue;
        }
        let score = if (frame + index).is_multiple_of(7) { 0.3 } else { 0.8 };
        let box_in_image = BoxInImage { left, top, right: left + 0.04, bottom: top + 0.15 };
        // Every fifth is a car.
        let class = if index.is_multiple_of(5) { Class::Car } else { Class::Person };
        detections.push(Detection { class, score, box_in_image });
    }
}

fn operators() -> Vec<Configured> {
    let point = |x, y| PointInImage { x, y };
    let line = Line { from: point(0.0, 0.5), to: point(1.0, 0.55) };
    let corners = vec![point(0.1, 0.1), point(0.9, 0.1), point(0.9, 0.9)];
    let east = vec![point(0.75, 0.0), point(1.0, 0.0), point(1.0, 0.7)];
    let geometry = Geometry {
        sites: vec![
            Site { name: "east".to_owned(), shape: Shape::Zone(Polygon { corners: east }) },
            Site { name: "line".to_owned(), shape: Shape::Line(line) },
            Site { name: "zone".to_owned(), shape: Shape::Zone(Polygon { corners }) },
        ],
    };
    let image = [point(0.2, 0.3), point(0.8, 0.3), point(1.0, 1.0), point(0.0, 1.0)];
    let metres = [(0.0, 60.0), (60.0, 60.0), (60.0, 0.0), (0.0, 0.0)].map(|(x, y)| PointOnGround { x, y });
    let ground = Ground::fit(&image, &metres).expect("a ground");
    let problems = Problems::in_file("operators.yaml");
    let value = yaml::parse(OPERATORS, &problems).expect("valid YAML");
    let reader = Reader::root(&value, &problems).expect("a map");
    let surroundings =
        Surroundings { geometry: &geometry, ground: Some(&ground), classes: &[Class::Person, Class::Car] };
    reader
        .entries()
        .map(|(name, field)| {
            let spec = kerbside_operators::find(name).expect("a known operator");
            (spec.configure)(&field.map().expect("a map"), surroundings).expect("no problems")
        })
        .collect()
}

#[test]
fn a_warm_frame_path_does_not_allocate() {
    let mut tracker = Tracker::new(TrackerSettings::DEFAULT);
    let mut operators = operators();
    assert_eq!(operators.len(), kerbside_operators::TABLE.len(), "every operator is watched");
    let (mut detections, mut findings) = (Vec::with_capacity(50), Findings::new());
    let mut found = 0;
    let mut scene =
        SceneStatistics { luma_mean: 110.0, luma_deviation: 50.0, sharpness: 300.0, ..SceneStatistics::default() };
    let mut run = |frames: std::ops::Range<u64>| {
        for frame in frames {
            let at = MediaTime::from_millis(100 * frame);
            crowd(frame, &mut detections);
            tracker.update(at, PICTURE, &detections);
            // A view that is covered now and then, and things that come and go in it.
            let covered = frame % 200 >= 100;
            for (place, luma) in scene.luma.iter_mut().flatten().enumerate() {
                *luma = if covered { 90.0 } else { (place * place % 197) as f32 };
            }
            scene.edges_across = if covered { Default::default() } else { scene.luma };
            scene.standing[0] = (frame % 150 >= 50).then_some(Standing {
                box_in_image: BoxInImage { left: 0.4, top: 0.3, right: 0.45, bottom: 0.4 },
                since: at,
                area: 0.005,
            });
            let observation = Observation {
                at,
                step: Duration::from_millis(100),
                picture: PICTURE,
                tracks: tracker.confirmed(),
                wall: WallTime::from_unix_nanos(at.as_nanos()),
                local: LocalTime::utc(WallTime::from_unix_nanos(at.as_nanos())),
                scene: &scene,
                trusted: true,
            };
            findings.clear();
            for operator in &mut operators {
                operator.operator.observe(&observation, &mut findings);
                operator.operator.advance(at, &mut findings);
            }
            found += findings.as_slice().len();
        }
        assert!(tracker.confirmed().len() >= 45);
        ALLOCATIONS.with(Cell::get)
    };
    let warm = run(0..300);
    let after = run(300..1500);
    assert!(warm > 0, "the counter counts");
    assert_eq!(after - warm, 0, "allocations in 1200 warm frames");
    assert!(found > 1000, "the operators had work to do: {found}");
}
