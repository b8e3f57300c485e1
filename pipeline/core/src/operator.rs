//! The operator contract: pure logic that turns observations into findings.

use crate::detection::Class;
use crate::finding::{Cell, Findings};
use crate::geometry::Geometry;
use crate::observation::Observation;
use crate::time::MediaTime;
use crate::tree::Reader;

/// One camera's analytic. No clock, no I/O, no lock, no thread: the same observations give the same
/// findings, bit for bit.
pub trait Operator: Send {
    /// Takes in one frame's observation.
    fn observe(&mut self, observation: &Observation<'_>, findings: &mut Findings);

    /// Nothing older than `upto` will come: close windows here.
    fn advance(&mut self, upto: MediaTime, findings: &mut Findings);

    /// Nothing more will come; called once. Tracks seen until now do not continue.
    fn finish(&mut self, findings: &mut Findings);
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
    /// Every counter that it can feed. The release stage emits all of them in every bin.
    pub cells: Vec<Cell>,
}

/// What an operator may know of its camera when it is configured.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The camera's lines and zones.
    pub geometry: &'a Geometry,
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
