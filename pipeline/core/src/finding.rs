//! What operators say, and the counters ("cells") of the released table that it feeds.

use std::time::Duration;

use crate::detection::Class;
use crate::geometry::SiteId;
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
    /// Length of standing traffic. Unit: count.
    QueueLen,
    /// Vehicles that stood still. Unit: count.
    StoppedCount,
    /// Level of density in a zone. Unit: permille.
    DensityLevel,
}

impl Measure {
    /// Every measure, in the order of the released dictionary.
    pub const ALL: [Self; 8] = [
        Self::CrossingCount,
        Self::OccupancyTime,
        Self::PresenceMean,
        Self::DwellHist,
        Self::SpeedHist,
        Self::QueueLen,
        Self::StoppedCount,
        Self::DensityLevel,
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
        }
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
    /// The line or zone.
    pub site: SiteId,
    /// What is measured.
    pub measure: Measure,
    /// Of which class.
    pub class: Class,
    /// In which direction.
    pub direction: Direction,
    /// Which bucket of a histogram; 0 where the measure is none.
    pub bucket: u8,
}

/// What happened to one object at one site. It never leaves the node as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// When, on the camera's clock.
    pub at: MediaTime,
    /// Where.
    pub site: SiteId,
    /// To what.
    pub class: Class,
    /// To which track: the release stage bounds what one track may contribute.
    pub track: TrackId,
    /// What.
    pub kind: FindingKind,
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
