#![doc = include_str!("measure_occupancy.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::{Polygon, SiteId};
use kerbside_core::observation::Observation;
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::options;
use crate::per_track::PerTrack;
use crate::seen::{foot_in_picture, is_fresh, is_gap};

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "measure_occupancy",
    summary: "Measures how many people and vehicles are in a zone, and for how long anyone is.",
    manual: include_str!("measure_occupancy.md"),
    options: &[
        OptionDoc { name: "zone", takes: "name of a zone, required", meaning: "Which zone." },
        options::CLASSES,
    ],
    example: "\
geometry:
  zones:
    square: {polygon: [[0.1, 0.4], [0.9, 0.4], [0.9, 0.95], [0.1, 0.95]]}
operators:
  measure_occupancy: [{zone: square, classes: [person]}]
",
    configure,
};

/// How long an object stays present after its last detection.
const HOLD: Duration = Duration::from_millis(500);

struct Settings {
    site: SiteId,
    zone: Polygon,
    classes: Vec<Class>,
}

struct MeasureOccupancy {
    settings: Settings,
    last_detected: PerTrack<Option<MediaTime>>,
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let zone = options::zone(reader, surroundings);
    let classes = options::classes(reader, surroundings);
    reader.finish();
    let ((site, zone), classes) = (zone?, classes?);
    let cells = classes
        .iter()
        .flat_map(|&class| {
            [Measure::OccupancyTime, Measure::PresenceMean].map(|measure| Cell::new(site, measure, Some(class)))
        })
        .collect();
    let settings = Settings { site, zone, classes };
    Some(Configured::counting(MeasureOccupancy { settings, last_detected: PerTrack::new() }, cells))
}

impl Operator for MeasureOccupancy {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        let Settings { site, zone, classes } = &self.settings;
        let seen = !is_gap(observation);
        self.last_detected.follow(observation.tracks, |track, last_detected| {
            if track.detected {
                *last_detected = Some(observation.at);
            }
            let fresh = is_fresh(observation.at, *last_detected, HOLD);
            if seen
                && fresh
                && classes.contains(&track.class)
                && zone.contains(foot_in_picture(&track.box_in_image))
            {
                findings.push(Finding {
                    at: observation.at,
                    site: *site,
                    class: Some(track.class),
                    track: Some(track.id),
                    kind: FindingKind::Presence { lasted: observation.step },
                });
            }
        });
    }

    fn advance(&mut self, _upto: MediaTime, _findings: &mut Findings) {}

    fn finish(&mut self, _findings: &mut Findings) {
        self.last_detected.clear();
    }
}
