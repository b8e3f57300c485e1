//! What operators say, and the counters ("cells") of the released table that it feeds.

use std::time::Duration;

use crate::detection::Class;
use crate::geometry::SiteId;
use crate::incident::Incident;
use crate::observation::TrackId;
use crate::time::MediaTime;

/// What a released number measures. The names are the closed vocabulary of the `measure` column of `agg.v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Objects that crossed a line. Unit: count.
    CrossingCount,
    /// Time in which at least one object was in a zone. Unit: s.
    OccupancyTime,
    /// Mean number of objects in a zone. Unit: permille of one object.
    PresenceMean,
    /// Objects by how long they stayed. Unit: count.
    DwellHist,
    /// Objects by their speed. Unit: count.
    SpeedHist,
    /// The longest queue of standing traffic in the bin. Unit: count.
    QueueLen,
    /// Vehicles that stood where none should. Unit: count.
    StoppedCount,
    /// Mean density in a zone. Unit: permille of one person per square metre.
    DensityLevel,
    /// Objects that went from one zone to another. Unit: count.
    TurnCount,
    /// Objects by the time since the one before them. Unit: count.
    HeadwayHist,
    /// How far the longest queue in the bin reached. Unit: m.
    QueueReach,
    /// People who stayed in a place for longer than usual. Unit: count.
    LoiteringCount,
    /// How unusual a released number of the bin before was. Unit: permille; 500 is the threshold.
    FlowScore,
}

/// Where the buckets of [`Measure::DwellHist`] end, in seconds; the last is open.
const DWELL_EDGES_SECS: [u32; 4] = [5, 15, 60, 300];
/// Where the buckets of [`Measure::SpeedHist`] end, in km/h; the last is open.
const SPEED_EDGES_KMH: [u32; 12] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120];
/// Where the buckets of [`Measure::HeadwayHist`] end, in seconds; the last is open.
const HEADWAY_EDGES_SECS: [u32; 6] = [1, 2, 3, 5, 10, 30];

impl Measure {
    /// Every measure, in the order of the released dictionary.
    pub const ALL: [Self; 13] = [
        Self::CrossingCount,
        Self::OccupancyTime,
        Self::PresenceMean,
        Self::DwellHist,
        Self::SpeedHist,
        Self::QueueLen,
        Self::StoppedCount,
        Self::DensityLevel,
        Self::TurnCount,
        Self::HeadwayHist,
        Self::QueueReach,
        Self::LoiteringCount,
        Self::FlowScore,
    ];

    /// The measure's name in the released table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CrossingCount => "crossing_count",
            Self::OccupancyTime => "occupancy_time",
            Self::PresenceMean => "presence_mean",
            Self::DwellHist => "dwell_hist",
            Self::SpeedHist => "speed_hist",
            Self::QueueLen => "queue_len",
            Self::StoppedCount => "stopped_count",
            Self::DensityLevel => "density_level",
            Self::TurnCount => "turn_count",
            Self::HeadwayHist => "headway_hist",
            Self::QueueReach => "queue_reach",
            Self::LoiteringCount => "loitering_count",
            Self::FlowScore => "flow_score",
        }
    }

    /// Whether it counts objects, each when something has happened to it.
    pub const fn is_count(self) -> bool {
        match self {
            Self::CrossingCount | Self::StoppedCount | Self::TurnCount | Self::LoiteringCount => true,
            Self::OccupancyTime
            | Self::PresenceMean
            | Self::DwellHist
            | Self::SpeedHist
            | Self::QueueLen
            | Self::DensityLevel
            | Self::HeadwayHist
            | Self::QueueReach
            | Self::FlowScore => false,
        }
    }

    /// Where the measure's buckets end, in seconds or km/h: a bucket holds its lower edge and not its upper
    /// one, and one more bucket holds all above the last edge. Empty where the measure is no histogram.
    pub const fn edges(self) -> &'static [u32] {
        match self {
            Self::DwellHist => &DWELL_EDGES_SECS,
            Self::SpeedHist => &SPEED_EDGES_KMH,
            Self::HeadwayHist => &HEADWAY_EDGES_SECS,
            _ => &[],
        }
    }

    /// Whether it counts events, each of which adds one to one cell: no histogram, no level and no peak.
    pub const fn is_plain_count(self) -> bool {
        matches!(self, Self::CrossingCount | Self::TurnCount | Self::StoppedCount | Self::LoiteringCount)
    }

    /// Whether each object adds its time in a zone, alone or times a share of its own.
    pub const fn is_presence(self) -> bool {
        matches!(self, Self::OccupancyTime | Self::PresenceMean | Self::DensityLevel)
    }

    /// The places of the measure's buckets: 0 alone where it is no histogram.
    pub fn buckets(self) -> std::ops::RangeInclusive<u8> {
        0..=self.edges().len() as u8
    }

    /// The bucket that holds `value`, in the unit of [`Measure::edges`].
    pub fn bucket_of(self, value: f64) -> u8 {
        self.edges().iter().take_while(|edge| value >= f64::from(**edge)).count() as u8
    }
}

/// A direction over a line: forward is from its left side to its right side, seen from `from` to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The measure has no direction.
    None,
    /// Left to right.
    Forward,
    /// Right to left.
    Backward,
}

impl Direction {
    /// Every direction, in the order of the released dictionary.
    pub const ALL: [Self; 3] = [Self::None, Self::Forward, Self::Backward];

    /// The direction's name in the released table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }
}

/// One counter of the released table. The set of a camera's cells is fixed by its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The line or zone; where an object came from, for [`Measure::TurnCount`].
    pub site: SiteId,
    /// Where it went to, for [`Measure::TurnCount`].
    pub toward: Option<SiteId>,
    /// What is measured.
    pub measure: Measure,
    /// Of which class; `None` for all that the operator looks at together, which are vehicles.
    pub class: Option<Class>,
    /// In which direction.
    pub direction: Direction,
    /// Which bucket of a histogram; 0 where the measure is none.
    pub bucket: u8,
}

impl Cell {
    /// A counter without direction, destination or buckets.
    pub const fn new(site: SiteId, measure: Measure, class: Option<Class>) -> Self {
        Self { site, toward: None, measure, class, direction: Direction::None, bucket: 0 }
    }

    /// The same for one direction.
    #[must_use]
    pub const fn directed(self, direction: Direction) -> Self {
        Self { direction, ..self }
    }

    /// One cell for each bucket of the measure.
    pub fn histogram(self) -> impl Iterator<Item = Self> {
        self.measure.buckets().map(move |bucket| Self { bucket, ..self })
    }
}

/// What happened at one site, often to one object. It never leaves the node as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// When, on the camera's clock.
    pub at: MediaTime,
    /// Where; [`SiteId::PICTURE`] for the picture as a whole.
    pub site: SiteId,
    /// To what; `None` where it is not about objects of one class.
    pub class: Option<Class>,
    /// To which track, if to one: the release stage bounds what one track may contribute.
    pub track: Option<TrackId>,
    /// What.
    pub kind: FindingKind,
}

impl Finding {
    /// The counters that it feeds, if the camera has them: none for an incident.
    pub fn feeds(&self) -> impl Iterator<Item = Cell> {
        let cell = |measure| Cell::new(self.site, measure, self.class);
        let cells = match self.kind {
            FindingKind::Crossing { direction } => [Some(cell(Measure::CrossingCount).directed(direction)), None],
            FindingKind::Presence { .. } => {
                [Some(cell(Measure::PresenceMean)), Some(cell(Measure::OccupancyTime))]
            }
            FindingKind::Turn { toward } => {
                [Some(Cell { toward: Some(toward), ..cell(Measure::TurnCount) }), None]
            }
            FindingKind::Counted { measure, direction, bucket } => {
                [Some(Cell { direction, bucket, ..cell(measure) }), None]
            }
            FindingKind::Peak { measure, .. } | FindingKind::Level { measure, .. } => [Some(cell(measure)), None],
            FindingKind::Incident(_) => [None, None],
        };
        cells.into_iter().flatten()
    }
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FindingKind {
    /// The object crossed the line. Feeds [`Measure::CrossingCount`].
    Crossing {
        /// Forward or backward.
        direction: Direction,
    },
    /// The object was in the zone during the `lasted` before [`Finding::at`].
    /// Feeds [`Measure::OccupancyTime`] and [`Measure::PresenceMean`].
    Presence {
        /// For how long; one step from frame to frame.
        lasted: Duration,
    },
    /// The object went from the finding's zone to another. Feeds [`Measure::TurnCount`].
    Turn {
        /// Where to.
        toward: SiteId,
    },
    /// One object more in a counter or in a histogram's bucket.
    Counted {
        /// Of which measure: one whose unit is a count.
        measure: Measure,
        /// In which direction.
        direction: Direction,
        /// In which bucket; see [`Measure::bucket_of`].
        bucket: u8,
    },
    /// The level reached `amount` at this moment: a bin keeps its highest. For [`Measure::QueueLen`],
    /// [`Measure::QueueReach`] and [`Measure::FlowScore`].
    Peak {
        /// Of which measure.
        measure: Measure,
        /// In the measure's unit.
        amount: u32,
    },
    /// The object was in the zone during the `lasted` before [`Finding::at`] and added `share` to a level: a bin keeps
    /// the mean over all of its length. For [`Measure::DensityLevel`], and for alerts on the number of objects in the
    /// zone, where the share does not matter.
    Level {
        /// Of which measure.
        measure: Measure,
        /// In millionths of the measure's unit, the same for every object in the zone.
        share: u32,
        /// For how long; one step from frame to frame.
        lasted: Duration,
    },
    /// A situation began, changed or ended.
    Incident(Incident),
}

/// Where operators put their findings. It is reused from frame to frame.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding.
    pub fn push(&mut self, finding: Finding) {
        self.list.push(finding);
    }

    /// What has been found since the last [`Findings::clear`].
    pub fn as_slice(&self) -> &[Finding] {
        &self.list
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_lower_edge() {
        for (speed, bucket) in [(0.0, 0), (9.99, 0), (10.0, 1), (119.9, 11), (120.0, 12), (400.0, 12)] {
            assert_eq!(Measure::SpeedHist.bucket_of(speed), bucket, "{speed} km/h");
        }
        assert_eq!(Measure::SpeedHist.buckets(), 0..=12);
        assert_eq!(Measure::CrossingCount.buckets(), 0..=0);
        assert_eq!(Measure::CrossingCount.bucket_of(7.0), 0);
    }

    #[test]
    fn a_measure_is_at_its_place_in_the_list() {
        for (place, measure) in Measure::ALL.into_iter().enumerate() {
            assert_eq!(measure as usize, place, "{}", measure.name());
        }
    }
}
