//! What the release stage is told once, when it is built.

use kerbside_core::finding::Cell;
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::IncidentKind;
use kerbside_core::operator::Alert;
use kerbside_core::privacy::Privacy;

use crate::ledger::{CameraUid, Ledger};
use crate::noise::Noise;

/// Who sends the rows.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// The node's name.
    pub node: String,
    /// The version of the software, for `health.v1`.
    pub software: String,
    /// Which revision of the configuration is running.
    pub config_revision: u32,
    /// What the numbers of incidents are drawn from.
    pub incident_seed: IncidentSeed,
}

/// What makes the numbers of incidents: they must not follow from a track, a time or each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncidentSeed(pub [u8; 16]);

/// What is released of one camera.
#[derive(Clone, Debug)]
pub struct CameraPlan {
    /// The camera's name.
    pub camera: String,
    /// The id of the detector's manifest.
    pub model: String,
    /// The names of its lines and zones; a `SiteId` is a place in this list.
    pub sites: Vec<String>,
    /// Every counter that its operators can feed. The same cell from two operators is one cell.
    pub cells: Vec<Cell>,
    /// Every kind of incident that its operators can report, with its site.
    pub incidents: Vec<(IncidentKind, SiteId)>,
    /// Which of the cells [`crate::Release::closed_bins`] tells of.
    pub watched: Vec<Cell>,
    /// On which numbers of people it reports incidents.
    pub alerts: Vec<Alert>,
    /// Who its budget belongs to.
    pub uid: CameraUid,
    /// How its numbers are anonymised.
    pub privacy: Privacy,
}

/// Where a camera of a changed plan was in the plan before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// At this place, and nothing about it has changed: its open bins go on.
    Kept(usize),
    /// At this place, with other settings: its bins are closed and it begins anew.
    Changed(usize),
    /// Nowhere.
    New,
}

impl Seat {
    /// The place of a camera that goes on as it was.
    pub fn kept(self) -> Option<usize> {
        match self {
            Self::Kept(place) => Some(place),
            Self::Changed(_) | Self::New => None,
        }
    }

    /// The place, if it had one.
    pub fn place(self) -> Option<usize> {
        match self {
            Self::Kept(place) | Self::Changed(place) => Some(place),
            Self::New => None,
        }
    }
}

/// What the stage promises about its numbers.
#[derive(Debug)]
pub enum Guarantee {
    /// Noise and budgets, as the cameras' profiles ask.
    Private {
        /// Where noise comes from.
        noise: Noise,
        /// Where budgets are kept.
        ledger: Box<dyn Ledger>,
    },
    /// None: bins may have any length, all numbers are exact, and every row of `agg.v1` and `incident.v1` is stamped
    /// `demo`, so that whoever receives it can refuse it.
    Demonstration,
}

/// Where the row numbers of all tables continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Of `agg.v1`.
    pub agg: StreamPosition,
    /// Of `health.v1`.
    pub health: StreamPosition,
    /// Of `incident.v1`.
    pub incident: StreamPosition,
}

/// Where a table's row numbers continue. The spool knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// The incarnation of the spool.
    pub epoch: u32,
    /// The number that the next row gets.
    pub next_seq: u64,
}
