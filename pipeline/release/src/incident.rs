//! `incident.v1`: words about situations as rows.
//!
//! What an operator says is made coarse here, so that a row tells the situation and not the object: times are
//! quanta, severity, confidence and value steps ([`Incident::coarse`]), and the number is random. Class, quantum and
//! number are decided when an incident begins and hold until it ends. A word that says what the row before said
//! is no row, and a camera has so many rows a day and no more: updates give way first, then whole incidents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{Int32Array, RecordBatch, UInt8Array, UInt32Array};
use arrow_schema::SchemaRef;
use kerbside_core::detection::Class;
use kerbside_core::finding::Finding;
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{Incident, IncidentKind, Phase};
use kerbside_core::privacy::IncidentLimits;
use kerbside_core::time::WallTime;
use sha2::{Digest, Sha256};

use crate::bins::nanos;
use crate::columns::{Common, words8, words16};
use crate::error::ReleaseError;
use crate::plan::{CameraPlan, IncidentSeed, Seat, StreamPosition};
use crate::table::{ClockQuality, Rule};
use crate::vocabulary::{Vocabulary, class_key};

/// The share of a day's rows that a camera may release at once: what it has saved up.
const BURST: f64 = 1.0 / 6.0;
/// A beginning pays for the end as well, so that no end is ever missing.
const BEGIN_COSTS: f64 = 2.0;

/// What became of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is a row.
    Row,
    /// It says what the row before said.
    Again,
    /// The camera has released as many rows as it may.
    Limited,
    /// No operator of the camera reports this, or it goes on or ends without having begun.
    Unplanned,
}

/// The incidents that have begun and not ended, and the numbers that the city knows them by.
#[derive(Debug)]
pub(crate) struct Numbers {
    seed: IncidentSeed,
    drawn: u64,
    open: BTreeMap<Key, Open>,
    cameras: Vec<OfCamera>,
}

/// What a camera may report.
#[derive(Debug)]
struct OfCamera {
    planned: BTreeSet<(IncidentKind, SiteId)>,
    limits: IncidentLimits,
    bucket: Bucket,
}

impl OfCamera {
    fn new(plan: &CameraPlan, start: u64) -> Self {
        let limits = plan.privacy.incidents;
        let planned = plan.incidents.iter().copied().collect();
        Self { planned, limits, bucket: Bucket::new(&limits, start) }
    }
}

/// A camera's incident: its place, kind, site and its operator's number.
type Key = (usize, IncidentKind, SiteId, u32);

/// What was decided when an incident began holds until it ends.
#[derive(Clone, Copy, Debug)]
struct Open {
    number: u32,
    since: u64,
    quantum: u64,
    /// What the incident is about, which decides how coarsely it is told.
    class: Option<Class>,
    /// What is told of that.
    told_class: Option<Class>,
    /// The severity and value that were told last.
    told: (u8, i32),
    /// There was no room for its beginning: nothing is told of it.
    is_muted: bool,
}

/// Rows that a camera may still release: a bucket that fills evenly through the day.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rows: f64,
    a_day: f64,
    /// The latest moment that it was filled for. A clock that is set back fills nothing twice.
    filled_to: u64,
}

impl Bucket {
    fn new(limits: &IncidentLimits, start: u64) -> Self {
        let a_day = f64::from(limits.max_per_day);
        // With a few rows a day there is still one for a beginning and its end.
        Self { rows: (a_day * BURST).max(BEGIN_COSTS).min(a_day), a_day, filled_to: start }
    }

    fn take(&mut self, at: u64, rows: f64) -> bool {
        if at > self.filled_to {
            let days = (at - self.filled_to) as f64 / 86_400e9;
            let most = (self.a_day * BURST).max(BEGIN_COSTS).min(self.a_day);
            self.rows = (self.rows + days * (self.a_day - most)).min(most);
            self.filled_to = at;
        }
        let enough = self.rows >= rows;
        if enough {
            self.rows -= rows;
        }
        enough
    }
}

impl Numbers {
    /// Nothing has begun yet.
    pub(crate) fn new(seed: IncidentSeed, plans: &[CameraPlan], start: u64) -> Self {
        let cameras = plans.iter().map(|plan| OfCamera::new(plan, start)).collect();
        Self { seed, drawn: 0, open: BTreeMap::new(), cameras }
    }

    /// Goes on with another list of cameras, of which some were in the list before, each at its place. What a camera that
    /// is changed may still tell in this day is what it might before.
    pub(crate) fn rearrange(&mut self, plans: &[(CameraPlan, Seat)], start: u64) {
        let mut before: Vec<Option<OfCamera>> = self.cameras.drain(..).map(Some).collect();
        let mut place_of = BTreeMap::new();
        for (place, (plan, seat)) in plans.iter().enumerate() {
            let had = seat.place().and_then(|place| before.get_mut(place)).and_then(Option::take);
            self.cameras.push(match (seat, had) {
                (Seat::Kept(from), Some(had)) => {
                    place_of.insert(*from, place);
                    had
                }
                (_, Some(had)) => OfCamera { bucket: had.bucket, ..OfCamera::new(plan, start) },
                (_, None) => OfCamera::new(plan, start),
            });
        }
        let open = std::mem::take(&mut self.open);
        self.open = open
            .into_iter()
            .filter_map(|((camera, kind, site, number), open)| {
                Some(((*place_of.get(&camera)?, kind, site, number), open))
            })
            .collect();
    }

    /// The next number: a hash of the seed and a counter, so that numbers of one node neither repeat in practice
    /// nor tell how many there were.
    fn draw(&mut self) -> u32 {
        self.drawn += 1;
        let hash = Sha256::new().chain_update(self.seed.0).chain_update(self.drawn.to_le_bytes()).finalize();
        hash.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    /// Decides what becomes of a word; where it is told, under which number.
    fn decide(&mut self, key: Key, classes: Classes, incident: &Incident, at: u64) -> Result<Open, Told> {
        let (camera, kind, site, _) = key;
        let Some(OfCamera { planned, limits, .. }) = self.cameras.get(camera) else { return Err(Told::Unplanned) };
        if !planned.contains(&(kind, site)) {
            return Err(Told::Unplanned);
        }
        let Classes { class, told_class } = classes;
        let quantum = if kind.is_personal(class) { limits.person_quantum } else { limits.vehicle_quantum };
        let quantum = nanos(quantum).max(1);
        let told = (incident.severity, incident.value);
        match incident.phase {
            // An operator's mistake; the one that lasts keeps its end.
            Phase::Begin if self.open.contains_key(&key) => Err(Told::Unplanned),
            Phase::Begin => {
                let number = self.draw();
                let is_muted = !self.take(camera, at, BEGIN_COSTS);
                let since = at / quantum * quantum;
                let open = Open { number, since, quantum, class, told_class, told, is_muted };
                self.open.insert(key, open);
                if is_muted { Err(Told::Limited) } else { Ok(open) }
            }
            Phase::Update => {
                let open = *self.open.get(&key).ok_or(Told::Unplanned)?;
                if open.is_muted {
                    return Err(Told::Limited);
                }
                if open.told == told {
                    return Err(Told::Again);
                }
                if !self.take(camera, at, 1.0) {
                    return Err(Told::Limited);
                }
                let open = Open { told, ..open };
                self.open.insert(key, open);
                Ok(open)
            }
            Phase::End => {
                let open = self.open.remove(&key).ok_or(Told::Unplanned)?;
                if open.is_muted { Err(Told::Limited) } else { Ok(open) }
            }
        }
    }

    fn take(&mut self, camera: usize, at: u64, rows: f64) -> bool {
        self.cameras.get_mut(camera).is_some_and(|of_camera| of_camera.bucket.take(at, rows))
    }
}

/// What an incident is about, and what may be told of that.
#[derive(Clone, Copy, Debug)]
struct Classes {
    class: Option<Class>,
    told_class: Option<Class>,
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
    /// Appends a word about a situation, at `at` nanoseconds of wall time, if it is to be told. `told` is the class under
    /// which an incident about the finding's class may begin at this moment.
    pub(crate) fn push(
        &mut self,
        words: &Vocabulary,
        numbers: &mut Numbers,
        camera: usize,
        (finding, incident): (&Finding, &Incident),
        (at, clock): (u64, ClockQuality),
        told: impl FnOnce(Class) -> Class,
    ) -> Told {
        let key = (camera, incident.kind, finding.site, incident.number);
        let classes = match numbers.open.get(&key) {
            Some(open) => Classes { class: open.class, told_class: open.told_class },
            None => Classes { class: finding.class, told_class: finding.class.map(told) },
        };
        let incident = incident.coarse(classes.class);
        let open = match numbers.decide(key, classes, &incident, at) {
            Ok(open) => open,
            Err(told) => return told,
        };
        // A clock that was set back while it lasted must not give a row that ends before it begins.
        let at = (at / open.quantum * open.quantum).max(open.since);
        let moment = |nanos| WallTime::from_unix_nanos(nanos);
        let duration = (incident.phase == Phase::End).then(|| ((at - open.since) / 1_000_000_000) as u32);
        self.common.push(words, camera, (moment(at), moment(at.saturating_add(open.quantum))), clock);
        self.kind.push(incident.kind as u8);
        self.phase.push(incident.phase as u8);
        self.incident.push(open.number);
        self.site.push(words.site_key(camera, finding.site, None));
        self.class.push(class_key(open.told_class));
        self.severity.push(incident.severity);
        self.confidence.push(incident.confidence);
        self.value.push(incident.value);
        self.unit.push(incident.unit as u8);
        self.duration_s.push(duration);
        Told::Row
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
        let rules = vec![rule; self.common.rows()];
        let mut columns = self.common.finish(words, at, config_revision, rules)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use kerbside_core::privacy::{Privacy, Profile};

    #[test]
    fn numbers_differ_and_follow_from_the_seed_alone() {
        let draw = |seed: u8| {
            let mut numbers = Numbers::new(IncidentSeed([seed; 16]), &[], 0);
            [numbers.draw(), numbers.draw(), numbers.draw()]
        };
        assert_eq!(draw(1), draw(1));
        let [a, b, c] = draw(1);
        assert!(a != b && b != c && a != c && draw(1) != draw(2));
    }

    #[test]
    fn pc_18_no_day_has_more_rows_than_it_may() {
        let mut bucket = Bucket::new(&Privacy::of(Profile::Strict).incidents, 0);
        let minute = 60_000_000_000;
        let taken: u64 =
            (0..1440).map(|at| (0..10).filter(|_| bucket.take(at * minute, 1.0)).count() as u64).sum();
        assert!((590..=600).contains(&taken), "{taken}");
        // A clock that runs back fills nothing.
        assert_eq!((0..10).filter(|_| bucket.take(0, 1.0)).count(), 0);
        assert_eq!((0..1000).filter(|_| bucket.take(900 * 1440 * minute, 1.0)).count(), 100);
    }
}
