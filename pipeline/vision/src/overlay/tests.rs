use std::sync::Arc;
use std::time::Instant;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, FindingKind};
use kerbside_core::frame::{FrameHeader, OwnedPlanes, PixelFormat};
use kerbside_core::geometry::{Line, Polygon, Site};

use super::*;

fn frame(width: u32, height: u32, format: PixelFormat, millis: u64) -> Frame {
    let size = PictureSize { width, height };
    let mut planes = OwnedPlanes::flat(size, format, 60, 9);
    for (y, row) in planes.planes[0].0.chunks_mut(width as usize + 9).enumerate() {
        row.iter_mut().enumerate().for_each(|(x, pixel)| *pixel = (60 + (x * 7 + y * 13) % 90) as u8);
    }
    let header = FrameHeader::of_picture(size, format, Instant::now());
    let header = FrameHeader { media_time: MediaTime::from_millis(millis), ..header };
    Frame::new(header, Arc::new(planes)).unwrap()
}

fn analysed<'a>(frame: &'a Frame, tracks: &'a [Track], findings: &'a [Finding]) -> Analysed<'a> {
    const OPERATORS: [u16; 8] = [0; 8];
    let operators = &OPERATORS[..findings.len()];
    Analysed { frame, confirmed: tracks, candidates: &[], trusted: true, findings, operators }
}

fn geometry() -> Geometry {
    let point = |x, y| PointInImage { x, y };
    let corners = [(0.1, 0.5), (0.3, 0.5), (0.3, 0.9), (0.1, 0.9)].map(|(x, y)| point(x, y)).to_vec();
    let line = Shape::Line(Line { from: point(0.7, 0.9), to: point(0.7, 0.6) });
    let zone = Shape::Zone(Polygon { corners });
    let site = |name: &str, shape| Site { name: name.to_owned(), shape };
    Geometry { sites: vec![site("line", line), site("zone", zone)] }
}

fn track(left: f32) -> Track {
    let box_in_image = BoxInImage { left, top: 0.4, right: left + 0.1, bottom: 0.6 };
    Track {
        id: TrackId(3),
        class: Class::Car,
        score: 0.8,
        box_in_image,
        first_box: box_in_image,
        detected: true,
        since: MediaTime::ZERO,
    }
}

/// Luma at a place of the picture.
fn luma(overlay: &Overlay, x: f32, y: f32) -> u8 {
    let PictureSize { width, height } = overlay.size();
    let (x, y) = ((x * width as f32) as usize, (y * height as f32) as usize);
    overlay.plane(0).unwrap().row(y, width as usize)[x]
}

#[test]
fn what_is_not_drawn_on_keeps_its_bytes() {
    for format in [PixelFormat::I420, PixelFormat::Nv12] {
        let frame = frame(640, 480, format, 0);
        let mut overlay = Overlay::new(Geometry::default(), Vec::new());
        overlay.draw(&analysed(&frame, &[], &[])).unwrap();
        assert_eq!(overlay.size(), frame.size);
        // Below the header.
        for y in 60..480 {
            assert_eq!(overlay.plane(0).unwrap().row(y, 640), frame.luma().row(y, 640), "{format:?} row {y}");
            assert!(overlay.plane(1).unwrap().row(y / 2, 320).iter().all(|chroma| *chroma == 128));
        }
        assert!((0..20).any(|y| overlay.plane(0).unwrap().row(y, 640) != frame.luma().row(y, 640)));
    }
}

#[test]
fn a_picture_of_odd_size_is_drawn_with_its_last_row_and_column_twice() {
    let frame = frame(321, 241, PixelFormat::Nv12, 0);
    let mut overlay = Overlay::new(geometry(), Vec::new());
    overlay.draw(&analysed(&frame, &[track(0.95)], &[])).unwrap();
    assert_eq!(overlay.size(), PictureSize { width: 322, height: 242 });
    let plane = overlay.plane(0).unwrap();
    assert_eq!(plane.row(241, 322), plane.row(240, 322));
    assert_eq!(plane.row(230, 322)[321], frame.luma().row(230, 321)[320]);
}

#[test]
fn boxes_lines_and_paths_are_where_they_should_be() {
    let frames = [frame(640, 480, PixelFormat::I420, 0), frame(640, 480, PixelFormat::I420, 500)];
    let mut overlay = Overlay::new(geometry(), Vec::new());
    overlay.draw(&analysed(&frames[0], &[track(0.4)], &[])).unwrap();
    overlay.draw(&analysed(&frames[1], &[track(0.5)], &[])).unwrap();
    let source = |x: f32, y: f32| frames[1].luma().row((y * 480.0) as usize, 640)[(x * 640.0) as usize];
    for (x, y, drawn) in [
        (0.5, 0.5, true),    // the box's left side
        (0.55, 0.5, false),  // its inside
        (0.47, 0.6, true),   // the path from the foot before
        (0.7, 0.65, true),   // the line
        (0.72, 0.75, true),  // its arrow, to the right of someone who walks up
        (0.68, 0.75, false), // the other side
        (0.1, 0.7, true),    // the zone's outline
        (0.2, 0.8, false),   // its inside
    ] {
        assert_eq!(luma(&overlay, x, y) != source(x, y), drawn, "{x}, {y}");
    }
}

#[test]
fn a_zone_changes_its_colour_while_someone_is_in_it_and_lights_up_for_an_event() {
    let mut overlay = Overlay::new(geometry(), vec!["measure_occupancy".to_owned()]);
    let finding = |kind| Finding {
        at: MediaTime::ZERO,
        site: SiteId(1),
        class: Some(Class::Car),
        track: Some(TrackId(3)),
        kind,
    };
    let presence = finding(FindingKind::Presence { lasted: Duration::from_millis(100) });
    let turn = finding(FindingKind::Turn { toward: SiteId(1) });
    let mut seen =
        [vec![presence], vec![], vec![turn], vec![], vec![]].into_iter().zip(0..).map(|(findings, n)| {
            // Only the last comes when the event before it is over.
            let frame = frame(640, 480, PixelFormat::I420, if n == 4 { 5000 } else { 100 * n });
            overlay.draw(&analysed(&frame, &[], &findings)).unwrap();
            (luma(&overlay, 0.1, 0.7), luma(&overlay, 0.2, 0.8))
        });
    let [present, empty, event, after, over] = std::array::from_fn(|_| seen.next().unwrap());
    assert_ne!(present.0, empty.0, "the outline");
    assert_eq!(present.1, empty.1, "the inside");
    assert_ne!(event.1, empty.1);
    assert_eq!((event, over), (after, empty));
}

#[test]
fn far_boxes_and_many_events_do_no_harm() {
    let frame = frame(64, 48, PixelFormat::I420, 0);
    let mut overlay = Overlay::new(geometry(), vec!["count_line".to_owned()]);
    let far = BoxInImage { left: -1e9, top: -3.0, right: 1e9, bottom: f32::MAX };
    let tracks =
        [Track { box_in_image: far, ..track(0.1) }, Track { detected: false, box_in_image: far, ..track(0.2) }];
    let crossing = |place| Finding {
        at: MediaTime::ZERO,
        site: SiteId(place),
        class: None,
        track: None,
        kind: FindingKind::Crossing { direction: Direction::Backward },
    };
    let findings = [0, 1, 9, SiteId::PICTURE.0, 0, 0, 0, 0].map(crossing);
    for _ in 0..3 {
        overlay.draw(&analysed(&frame, &tracks, &findings)).unwrap();
    }
}
