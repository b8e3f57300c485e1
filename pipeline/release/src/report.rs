//! What the release stage is told frame by frame, and what it says of its work.

use std::time::Duration;

use kerbside_core::finding::Cell;
use kerbside_core::time::{MediaTime, WallTime};

use crate::table::ClockQuality;

/// One analysed frame, without its picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameReport {
    /// When it was taken, on the camera's clock. Findings are placed in UTC by it and `wall`.
    pub media: MediaTime,
    /// The same moment in UTC.
    pub wall: WallTime,
    /// How long it stands for; zero for the first frame of a run.
    pub step: Duration,
    /// Whether the picture can be trusted.
    pub trusted: bool,
    /// How far the node's clock can be trusted.
    pub clock: ClockQuality,
}

/// What was not released, and why. Nothing is left out silently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReleaseCounts {
    /// Findings that fell, at least in part, into bins that were closed already.
    pub late_findings: u64,
    /// Frames that fell into bins that were closed already, counted once for each length of bin.
    pub late_frames: u64,
    /// Findings that feed no cell of their camera's plan, and words about situations that are not in it or that go on
    /// without having begun.
    pub unplanned_findings: u64,
    /// Empty bins that were left out after a jump of the clock, counted once for each camera and length.
    pub skipped_bins: u64,
    /// Words about situations that were more than a camera may tell in a day.
    pub limited_incidents: u64,
    /// Findings that name no track, so that nothing bounds how much one object adds (rule PC-8).
    pub unbounded_findings: u64,
    /// Bins of one account whose numbers were not released because the ledger did not grant it (rule PC-9).
    pub refused_bins: u64,
    /// Alerts that were not armed because the ledger did not grant it (rule PC-14).
    pub refused_alerts: u64,
}

impl ReleaseCounts {
    /// What was refused, by the rule of the privacy contract. Where the number would be one of things seen, it is 1 from
    /// the first on.
    pub fn refused(&self) -> [(&'static str, u64); 4] {
        [
            ("PC-8", self.unbounded_findings.min(1)),
            ("PC-9", self.refused_bins),
            ("PC-14", self.refused_alerts),
            ("PC-18", self.limited_incidents.min(1)),
        ]
    }

    /// Releases that the ledger refused: none of them depends on anything seen.
    pub fn refused_releases(&self) -> u64 {
        self.refused_bins + self.refused_alerts
    }
}

/// A number that was released, for whoever looks at the series of them on the node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReleasedBin {
    /// The camera's place in the plan.
    pub camera: usize,
    /// The counter.
    pub cell: Cell,
    /// Where the bin begins.
    pub from: WallTime,
    /// Where it ends.
    pub to: WallTime,
    /// The number, as it was released.
    pub value: i32,
    /// The share of the bin with frames that can be trusted, 0..1.
    pub coverage: f32,
}

/// The number of a counter's last released bin, for a page on the node: never below zero, and nothing where it is too
/// small to be shown (rule PC-13 of the privacy contract).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShownBin {
    /// The counter.
    pub cell: Cell,
    /// Where the bin begins.
    pub from: WallTime,
    /// Where it ends.
    pub to: WallTime,
    /// The number, in the unit of its measure; `None` where it is too small.
    pub value: Option<i32>,
    /// The scale of its noise in the same unit; 0 without.
    pub noise_b: f32,
    /// The share of the bin with frames that can be trusted, 0..1.
    pub coverage: f32,
}
