//! The operator contract: pure logic that turns observations into findings.

use crate::detection::Class;
use crate::finding::{Cell, Findings};
use crate::geometry::{Geometry, SiteId};
use crate::ground::Ground;
use crate::incident::{IncidentKind, IncidentUnit};
use crate::observation::Observation;
use crate::time::{LocalTime, MediaTime, WallTime};
use crate::tree::Reader;

/// One camera's analytic. No clock, no I/O, no lock, no thread: the same observations give the same
/// findings, bit for bit.
pub trait Operator: Send {
    /// Takes in one frame's observation.
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings);

    /// Nothing older than `upto` will come: what has lasted for too long without more of it ends here, in time. Called
    /// after every frame, and while a live camera is silent; how often changes no result.
    fn advance(&mut self, upto: MediaTime, findings: &mut Findings);

    /// Nothing more will come. Tracks seen until now do not continue, and incidents end. Called once; but where chunks
    /// of time must know nothing of each other, an operator that [counts](crate::finding::Measure::is_count) gets
    /// frames again, and finds in them what one that was made anew would find.
    fn finish(&mut self, findings: &mut Findings);

    /// Whether the picture can be trusted, as far as this operator can tell. Asked of guards only, after
    /// [`Operator::observe`].
    fn trusts(&self) -> bool {
        true
    }

    /// Takes in one bin of a released counter. Only operators over bins see any.
    fn observe_bin(&mut self, _bin: &ClosedBin, _findings: &mut Findings) {}

    /// Appends what has been learned, for [`Operator::recall`] of the next start. Nothing for an operator
    /// that learns nothing. The bytes carry their own version; they hold no track and no picture.
    fn remember(&self, _out: &mut Vec<u8>) {}

    /// Takes back what [`Operator::remember`] gave, before the first observation. An operator that refuses is as new.
    fn recall(&mut self, _bytes: &[u8]) -> Result<(), RecallError> {
        Ok(())
    }
}

/// Why learned bytes were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecallError {
    /// They were written by another version of the operator.
    #[error("it was written by version {found} of the operator, version {expected} is expected")]
    Version {
        /// The version that the bytes name.
        found: u32,
        /// The version that the operator reads.
        expected: u32,
    },
    /// They belong to other settings.
    #[error("it was learned with other settings")]
    Settings,
    /// They are not whole, or are something else.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// One closed bin of one released counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClosedBin {
    /// The counter.
    pub cell: Cell,
    /// Where the bin begins.
    pub from: WallTime,
    /// Where it ends.
    pub to: WallTime,
    /// Where it begins, as the clocks of the camera's town show it.
    pub local: LocalTime,
    /// The number that is released, with its noise.
    pub value: i32,
    /// The share of the bin in which the camera was seen and trusted, 0..1.
    pub coverage: f32,
}

/// What feeds an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Every frame's tracks, after the guards have spoken.
    #[default]
    Analytic,
    /// Every frame's scene, before it is tracked. Where it does not trust the picture, no object is
    /// counted from it, and the time is without coverage.
    Guard,
    /// The released bins of its camera, as [`ClosedBin`]. The clock of its findings is UTC:
    /// [`MediaTime`] counts from the Unix epoch.
    Bins,
}

/// One option of an operator, for the manual.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// The key in the YAML file.
    pub name: &'static str,
    /// What it takes: unit, range, default.
    pub takes: &'static str,
    /// What it does, in one sentence.
    pub meaning: &'static str,
}

/// An operator that was configured for one camera.
pub struct Configured {
    /// The logic with its settings.
    pub operator: Box<dyn Operator>,
    /// What it is fed with.
    pub role: Role,
    /// Every counter that it can feed. The release stage emits all of them in every bin.
    pub cells: Vec<Cell>,
    /// Every kind of incident that it can report, with its site.
    pub incidents: Vec<(IncidentKind, SiteId)>,
    /// Which counters an operator over bins looks at; another operator must feed them.
    pub watches: Vec<Cell>,
    /// On which numbers of people it reports an incident: where people are counted with noise, the release stage decides
    /// by a noisy number, and what the operator itself says of it stays in the node.
    pub alerts: Vec<Alert>,
}

/// An incident that is about how many objects of a class are in a zone at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alert {
    /// The zone.
    pub site: SiteId,
    /// What is reported.
    pub kind: IncidentKind,
    /// Of which class the objects are.
    pub class: Class,
    /// From how many objects on, in thousandths of one.
    pub from_milli: u32,
    /// Down to how many it lasts, in thousandths of one.
    pub until_milli: u32,
    /// What is told as the incident's number: the threshold, in `unit`.
    pub value: i32,
    /// What `value` is of.
    pub unit: IncidentUnit,
    /// What one object adds to the zone's [`crate::finding::Measure::DensityLevel`], in millionths of its unit; 0 where
    /// the zone's area is not known.
    pub share: u32,
}

impl Configured {
    /// An analytic that counts.
    pub fn counting(operator: impl Operator + 'static, cells: Vec<Cell>) -> Self {
        Self {
            operator: Box::new(operator),
            role: Role::Analytic,
            cells,
            incidents: Vec::new(),
            watches: Vec::new(),
            alerts: Vec::new(),
        }
    }

    /// The same, which reports these incidents as well.
    #[must_use]
    pub fn reporting(mut self, incidents: impl IntoIterator<Item = (IncidentKind, SiteId)>) -> Self {
        self.incidents.extend(incidents);
        self
    }

    /// The same, which reports by these numbers of people.
    #[must_use]
    pub fn alerting(mut self, alerts: impl IntoIterator<Item = Alert>) -> Self {
        self.alerts.extend(alerts);
        self
    }

    /// The same in another role.
    #[must_use]
    pub fn in_role(self, role: Role) -> Self {
        Self { role, ..self }
    }
}

/// What an operator may know of its camera when it is configured.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The camera's lines and zones.
    pub geometry: &'a Geometry,
    /// Where the picture's points lie on the street, where the camera's file says so.
    pub ground: Option<&'a Ground>,
    /// The classes that the camera looks for, in the order of [`Class::ALL`].
    pub classes: &'a [Class],
}

/// One row of the operator table.
#[derive(Clone, Copy)]
pub struct OperatorSpec {
    /// The operator's name: a verb and what it is about.
    pub name: &'static str,
    /// One sentence on what it measures.
    pub summary: &'static str,
    /// The operator's module documentation in full, for `kerbside operators NAME`.
    pub manual: &'static str,
    /// Its options.
    pub options: &'static [OptionDoc],
    /// A `geometry:` and an `operators:` block that a test parses, checks and runs.
    pub example: &'static str,
    /// Reads one entry under the operator's key. Problems go into the reader's report; `None` when any was found.
    pub configure: fn(&Reader<'_>, Surroundings<'_>) -> Option<Configured>,
}
