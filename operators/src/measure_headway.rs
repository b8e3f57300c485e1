#![doc = include_str!("measure_headway.md")]

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Findings, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::observation::{Observation, TrackId};
use kerbside_core::operator::{Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

use crate::crossing::{Approach, CrossingWatch, DEFAULT_HYSTERESIS};
use crate::options;
use crate::per_track::PerTrack;
use crate::seen::is_gap;

/// The row of the operator table.
pub const SPEC: OperatorSpec = OperatorSpec {
    name: "measure_headway",
    summary: "Measures the time between one vehicle and the next over a line.",
    manual: include_str!("measure_headway.md"),
    options: &[
        OptionDoc {
            name: "line",
            takes: "name of a line, required",
            meaning: "Over which line, best of one lane.",
        },
        options::VEHICLE_CLASSES,
        OptionDoc {
            name: "longest",
            takes: "1s to 1h; default 60s",
            meaning: "Up to which headway two vehicles belong to one flow; a longer one is not counted.",
        },
    ],
    example: "\
geometry:
  lines:
    lane: {from: [0.5, 0.38], to: [0.5, 0.22]}
operators:
  measure_headway: [{line: lane, classes: [car, bus, truck], longest: 2m}]
",
    configure,
};

const DEFAULT_LONGEST: Duration = Duration::from_secs(60);

struct Settings {
    site: SiteId,
    watch: CrossingWatch,
    classes: Vec<Class>,
    longest: Duration,
}

struct MeasureHeadway {
    settings: Settings,
    approaches: PerTrack<Approach>,
    /// Who was on the line last, and when: forward and backward.
    leaders: [Option<(TrackId, MediaTime)>; 2],
}

fn configure(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let line = options::line(reader, surroundings);
    let classes = options::vehicles(reader, surroundings);
    let range = Duration::from_secs(1)..=Duration::from_secs(3600);
    let longest = options::duration_or(reader, "longest", range, DEFAULT_LONGEST);
    reader.finish();
    let ((site, line), classes, longest) = (line?, classes?, longest?);
    let watch = CrossingWatch::new(line, DEFAULT_HYSTERESIS as f32);
    let directed = |class: &Class| {
        let cell = Cell::new(site, Measure::HeadwayHist, Some(*class));
        [Direction::Forward, Direction::Backward].map(|direction| cell.directed(direction))
    };
    let cells = classes.iter().flat_map(directed).flat_map(Cell::histogram).collect();
    let settings = Settings { site, watch, classes, longest };
    Some(Configured::counting(MeasureHeadway { settings, approaches: PerTrack::new(), leaders: [None; 2] }, cells))
}

impl Operator for MeasureHeadway {
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings) {
        if is_gap(observation) {
            // Someone may have passed whom nobody saw.
            self.leaders = [None; 2];
            self.approaches.clear();
        }
        if !observation.trusted {
            self.settings.watch.distrust(observation.at);
            return;
        }
        let Settings { site, watch, classes, longest } = &self.settings;
        let aspect = observation.picture.aspect();
        self.approaches.follow(observation.tracks, |track, approach| {
            let Some(passage) = watch.follow(aspect, observation.at, track, approach) else { return };
            if !classes.contains(&track.class) {
                return;
            }
            let leader = &mut self.leaders[usize::from(passage.direction == Direction::Backward)];
            let before = *leader;
            // Who is on the line first may be the second to leave it.
            let latest = before.map_or(MediaTime::ZERO, |(_, touched)| touched);
            *leader = Some((track.id, passage.touched.max(latest)));
            let Some((_, ahead)) = before.filter(|(id, _)| *id != track.id) else { return };
            let headway = passage.touched.since(ahead).max(ahead.since(passage.touched));
            if headway <= *longest {
                findings.push(Finding {
                    at: observation.at,
                    site: *site,
                    class: Some(track.class),
                    track: Some(track.id),
                    kind: FindingKind::Counted {
                        measure: Measure::HeadwayHist,
                        direction: passage.direction,
                        bucket: Measure::HeadwayHist.bucket_of(headway.as_secs_f64()),
                    },
                });
            }
        });
    }

    fn advance(&mut self, _upto: MediaTime, _findings: &mut Findings) {}

    fn finish(&mut self, _findings: &mut Findings) {
        self.approaches.clear();
    }
}
