#![doc = include_str!("count_line.md")]

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::observation::Observation;
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::crossing::{Approach, CrossingWatch, DEFAULT_HYSTERESIS, Passage};
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

struct Settings {
    site: SiteId,
    watch: CrossingWatch,
    classes: Vec<Class>,
}

struct CountLine {
    settings: Settings,
    approaches: PerTrack<Approach>,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let line = options::line(reader, surroundings);
    let classes = options::classes(reader, surroundings);
    let hysteresis = options::number_or(reader, "hysteresis", 0.0..=1.0, "box heights", DEFAULT_HYSTERESIS);
    reader.finish();
    let ((site, line), classes, hysteresis) = (line?, classes?, hysteresis? as f32);
    let watch = CrossingWatch::new(line, hysteresis);
    let cells = classes
        .iter()
        .flat_map(|&class| {
            let cell = Cell::new(site, Measure::CrossingCount, Some(class));
            [Direction::Forward, Direction::Backward].map(|direction| cell.directed(direction))
        })
        .collect();
    let settings = Settings { site, watch, classes };
    Some(Configured::counting(CountLine { settings, approaches: PerTrack::new() }, cells))
}

impl Operator for CountLine {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        if !observation.trusted {
            self.settings.watch.distrust(observation.at);
            self.approaches.clear();
            return;
        }
        let Settings { site, watch, classes } = &self.settings;
        let aspect = observation.picture.aspect();
        self.approaches.follow(observation.tracks, |track, approach| {
            let passage = watch.follow(aspect, observation.at, track, approach);
            if let Some(Passage { direction, .. }) = passage.filter(|_| classes.contains(&track.class)) {
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
        self.approaches.clear();
    }
}
