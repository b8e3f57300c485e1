#![doc = include_str!("count_line.md")]

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{BoxInImage, Line, PointInImage, SiteId};
use kerbside_core::observation::Observation;
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::options;
use crate::per_track::PerTrack;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "count_line",
    summary: "Counts what crosses a line, by class and direction.",
    manual: include_str!("count_line.md"),
    options: &[
        OptionDoc { name: "line", takes: "name of a line, required", meaning: "Which line." },
        options::CLASSES,
        OptionDoc {
            name: "hysteresis",
            takes: "0 to 1 box heights; default 0.1",
            meaning: "How far beyond the line an object must be to count as on that side.",
        },
    ],
    example: "\
geometry:
  lines:
    crossing: {from: [0.10, 0.62], to: [0.88, 0.55]}
operators:
  count_line: [{line: crossing, classes: [person, bicycle], hysteresis: 0.15}]
",
    configure,
};

/// Half the band's width where nothing else is configured, in box heights.
const DEFAULT_HYSTERESIS: f64 = 0.1;

struct Settings {
    site: SiteId,
    line: Line,
    classes: Vec<Class>,
    /// In heights of the object's box.
    hysteresis: f32,
}

struct CountLine {
    settings: Settings,
    passages: PerTrack<Passage>,
    /// The last frame that could not be trusted: what was before it is not known.
    untrusted_at: Option<MediaTime>,
}

/// What is remembered of a track.
#[derive(Clone, Copy, Debug, Default)]
struct Passage {
    /// Whether the track was here before.
    known: bool,
    last: Option<Seen>,
}

/// Where an object was when it was last beyond the band.
#[derive(Clone, Copy, Debug)]
struct Seen {
    side: Side,
    foot: PointInImage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let line = options::line(reader, surroundings);
    let classes = options::classes(reader, surroundings);
    let hysteresis = match reader.optional("hysteresis") {
        Some(field) => field.number(0.0..=1.0, "box heights"),
        None => Some(DEFAULT_HYSTERESIS),
    };
    reader.finish();
    let ((site, line), classes, hysteresis) = (line?, classes?, hysteresis? as f32);
    let cells = classes
        .iter()
        .flat_map(|&class| {
            let cell = Cell::new(site, Measure::CrossingCount, Some(class));
            [Direction::Forward, Direction::Backward].map(|direction| cell.directed(direction))
        })
        .collect();
    let settings = Settings { site, line, classes, hysteresis };
    let operator = CountLine { settings, passages: PerTrack::new(), untrusted_at: None };
    Some(Configured::counting(operator, cells))
}

impl Operator for CountLine {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        if !observation.trusted {
            self.untrusted_at = Some(observation.at);
            self.passages.clear();
            return;
        }
        let Settings { site, line, classes, hysteresis } = &self.settings;
        let aspect = observation.picture.aspect();
        let untrusted_at = self.untrusted_at;
        self.passages.follow(observation.tracks, |track, Passage { known, last }| {
            // A track is first shown here when it is confirmed; it may have crossed before.
            if !std::mem::replace(known, true) && untrusted_at.is_none_or(|at| track.since > at) {
                *last = beyond(line, aspect, *hysteresis, &track.first_box);
            }
            if !track.detected {
                return;
            }
            let Some(now) = beyond(line, aspect, *hysteresis, &track.box_in_image) else { return };
            let before = last.replace(now);
            let Some(before) = before.filter(|before| before.side != now.side) else { return };
            // Always from left to right, so that the way back is judged bit for bit like the way there.
            let (direction, left, right) = match now.side {
                Side::Right => (Direction::Forward, before.foot, now.foot),
                Side::Left => (Direction::Backward, now.foot, before.foot),
            };
            if classes.contains(&track.class) && passes_between_ends(line, aspect, left, right) {
                findings.push(Finding {
                    at: observation.at,
                    site: *site,
                    class: Some(track.class),
                    track: Some(track.id),
                    kind: FindingKind::Crossing { direction },
                });
            }
        });
    }

    fn advance(&mut self, _upto: MediaTime, _findings: &mut Findings) {}

    fn finish(&mut self, _findings: &mut Findings) {
        self.passages.clear();
    }
}

/// On which side of the band an object with this box is; `None` inside the band.
fn beyond(line: &Line, aspect: f32, hysteresis: f32, box_in_image: &BoxInImage) -> Option<Seen> {
    let foot = box_in_image.foot();
    let band = hysteresis * box_in_image.height();
    let offset = offset(line, aspect, foot);
    let side = if offset > 0.0 { Side::Right } else { Side::Left };
    (offset.abs() > band).then_some(Seen { side, foot })
}

/// The distance from the line, extended beyond its ends, in picture heights: positive to its right.
/// Image y points down, which makes the usual cross product positive on the right.
fn offset(line: &Line, aspect: f32, point: PointInImage) -> f32 {
    let (along_x, along_y) = ((line.to.x - line.from.x) * aspect, line.to.y - line.from.y);
    let (x, y) = ((point.x - line.from.x) * aspect, point.y - line.from.y);
    let length = along_x.hypot(along_y).max(f32::MIN_POSITIVE);
    (along_x * y - along_y * x) / length
}

/// Whether the straight way from a point on the left to one on the right meets the line between its ends.
fn passes_between_ends(line: &Line, aspect: f32, left: PointInImage, right: PointInImage) -> bool {
    let (offset_left, offset_right) = (offset(line, aspect, left), offset(line, aspect, right));
    let share = offset_left / (offset_left - offset_right);
    let (x, y) = (left.x + share * (right.x - left.x), left.y + share * (right.y - left.y));
    let (along_x, along_y) = ((line.to.x - line.from.x) * aspect, line.to.y - line.from.y);
    let along = (x - line.from.x) * aspect * along_x + (y - line.from.y) * along_y;
    (0.0..=along_x * along_x + along_y * along_y).contains(&along)
}
