//! `incident.v1`: words about situations as rows.
//!
//! What an operator says is made coarse here, so that a row tells the situation and not the object: times are
//! quanta, severity and confidence steps, and the number is random. It is drawn when an incident begins and
//! forgotten when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Int32Array, RecordBatch, UInt8Array, UInt32Array};
use arrow_schema::SchemaRef;
use kerbside_core::finding::Finding;
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{Incident, IncidentKind, Phase};
use kerbside_core::time::WallTime;
use sha2::{Digest, Sha256};

use crate::columns::{Common, words8, words16};
use crate::error::ReleaseError;
use crate::plan::{IncidentSeed, StreamPosition};
use crate::table::{ClockQuality, Rule};
use crate::vocabulary::{Vocabulary, class_key};

/// The time quantum of incidents about people and bicycles.
const PERSONAL_QUANTUM_NANOS: u64 = 10_000_000_000;
/// The time quantum of all other incidents.
const QUANTUM_NANOS: u64 = 1_000_000_000;
const SEVERITY_STEP: u8 = 10;
const CONFIDENCE_STEP: u8 = 5;

/// The incidents that have begun and not ended, and the numbers that the city knows them by.
#[derive(Debug)]
pub(crate) struct Numbers {
    seed: IncidentSeed,
    drawn: u64,
    open: BTreeMap<Key, Open>,
}

/// A camera's incident: its place, kind, site and its operator's number.
type Key = (usize, IncidentKind, SiteId, u32);

#[derive(Clone, Copy, Debug)]
struct Open {
    number: u32,
    since: u64,
}

impl Numbers {
    pub(crate) fn new(seed: IncidentSeed) -> Self {
        Self { seed, drawn: 0, open: BTreeMap::new() }
    }

    /// The next number: a hash of the seed and a counter, so that numbers of one node neither repeat in practice
    /// nor tell how many there were.
    fn draw(&mut self) -> u32 {
        self.drawn += 1;
        let hash = Sha256::new().chain_update(self.seed.0).chain_update(self.drawn.to_le_bytes()).finalize();
        hash.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
    }
}

/// The columns of one batch of `incident.v1`.
#[derive(Debug, Default)]
pub(crate) struct IncidentRows {
    common: Common,
    kind: Vec<u8>,
    phase: Vec<u8>,
    incident: Vec<u32>,
    site: Vec<u16>,
    class: Vec<u8>,
    severity: Vec<u8>,
    confidence: Vec<u8>,
    value: Vec<i32>,
    unit: Vec<u8>,
    duration_s: Vec<Option<u32>>,
}

impl IncidentRows {
    /// Appends a word about a situation, at `at` nanoseconds of wall time. False, and nothing is appended, where it
    /// goes on or ends without having begun: then its beginning was in another life of the node.
    pub(crate) fn push(
        &mut self,
        words: &Vocabulary,
        numbers: &mut Numbers,
        camera: usize,
        (finding, incident): (&Finding, &Incident),
        at: u64,
        clock: ClockQuality,
    ) -> bool {
        let key = (camera, incident.kind, finding.site, incident.number);
        let quantum = if finding.class.is_some_and(|class| class.is_personal()) {
            PERSONAL_QUANTUM_NANOS
        } else {
            QUANTUM_NANOS
        };
        let at = at / quantum * quantum;
        let open = match incident.phase {
            Phase::Begin => {
                let open = Open { number: numbers.draw(), since: at };
                numbers.open.insert(key, open);
                Some(open)
            }
            Phase::Update => numbers.open.get(&key).copied(),
            Phase::End => numbers.open.remove(&key),
        };
        let Some(open) = open else { return false };
        // A clock that was set back while it lasted must not give a row that ends before it begins.
        let at = at.max(open.since);
        let moment = |nanos| WallTime::from_unix_nanos(nanos);
        let duration = (incident.phase == Phase::End).then(|| ((at - open.since) / 1_000_000_000) as u32);
        self.common.push(words, camera, (moment(at), moment(at.saturating_add(quantum))), clock);
        self.kind.push(incident.kind as u8);
        self.phase.push(incident.phase as u8);
        self.incident.push(open.number);
        self.site.push(words.site_key(camera, finding.site, None));
        self.class.push(class_key(finding.class));
        self.severity.push(stepped(incident.severity, SEVERITY_STEP));
        self.confidence.push(stepped(incident.confidence, CONFIDENCE_STEP));
        let step = incident.unit.step();
        self.value.push((incident.value + incident.value.signum() * step / 2) / step * step);
        self.unit.push(incident.unit as u8);
        self.duration_s.push(duration);
        true
    }

    pub(crate) fn rows(&self) -> usize {
        self.common.rows()
    }

    pub(crate) fn finish(
        self,
        words: &Vocabulary,
        schema: &SchemaRef,
        at: StreamPosition,
        config_revision: u32,
        rule: Rule,
    ) -> Result<RecordBatch, ReleaseError> {
        let mut columns = self.common.finish(words, at, config_revision, rule)?;
        columns.extend([
            words8(self.kind, &words.kind)?,
            words8(self.phase, &words.phase)?,
            Arc::new(UInt32Array::from(self.incident)),
            words16(self.site, &words.site)?,
            words8(self.class, &words.class)?,
            Arc::new(UInt8Array::from(self.severity)),
            Arc::new(UInt8Array::from(self.confidence)),
            Arc::new(Int32Array::from(self.value)),
            words8(self.unit, &words.incident_unit)?,
            Arc::new(UInt32Array::from(self.duration_s)),
        ]);
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

/// To the nearest step of 0 to 100.
fn stepped(value: u8, step: u8) -> u8 {
    (value.min(100) + step / 2) / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_and_follow_from_the_seed_alone() {
        let draw = |seed: u8| {
            let mut numbers = Numbers::new(IncidentSeed([seed; 16]));
            [numbers.draw(), numbers.draw(), numbers.draw()]
        };
        assert_eq!(draw(1), draw(1));
        let [a, b, c] = draw(1);
        assert!(a != b && b != c && a != c && draw(1) != draw(2));
    }

    #[test]
    fn shares_are_rounded_to_their_steps() {
        assert_eq!([0, 4, 5, 94, 95, 100, 255].map(|share| stepped(share, 10)), [0, 0, 10, 90, 100, 100, 100]);
        assert_eq!([0, 2, 3, 97, 98].map(|share| stepped(share, 5)), [0, 0, 5, 95, 100]);
    }
}
