//! A release that is broken on purpose: whoever walks by is told as an incident, of a second each.
//!
//! It is the control of "ordinary walking leaves no row in `incident.v1`": without it, an export that loses incidents
//! would look like a node that has none.

use kerbside_core::finding::{Finding, FindingKind};
use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase};
use kerbside_core::time::MediaTime;
use kerbside_release::{CameraPlan, Guarantee, ReleaseError, ReleasedBatch};

use crate::stage::{DAY_SECS, ZONE, frame, release, wall};
use crate::street::Passage;

/// What leaves where every passage begins and ends an incident at the zone. The plans declare its kind. `span` is in
/// seconds; passages are sorted by their beginning.
pub fn tell_everybody(
    plans: Vec<CameraPlan>,
    passages: &[Passage],
    span: (u64, u64),
) -> Result<Vec<ReleasedBatch>, ReleaseError> {
    let mut stage = release(plans, span.0, Guarantee::Demonstration)?;
    let mut out = Vec::new();
    for (number, passage) in passages.iter().enumerate() {
        let secs = passage.at / 1000;
        let told = |phase, after_secs| Finding {
            at: MediaTime::from_millis((secs + after_secs) * 1000),
            site: ZONE,
            class: Some(passage.class),
            track: None,
            kind: FindingKind::Incident(Incident {
                kind: IncidentKind::RestrictedZone,
                phase,
                number: number as u32,
                severity: 50,
                confidence: 90,
                value: 1,
                unit: IncidentUnit::Count,
                since: MediaTime::from_millis(secs * 1000),
                reason: None,
            }),
        };
        stage.observe(passage.camera, &frame(secs, 1), &[told(Phase::Begin, 0), told(Phase::End, 1)]);
        stage.advance(wall(secs), &mut out)?;
    }
    stage.finish(wall(span.1.max(span.0 + DAY_SECS)), &mut out)?;
    Ok(out)
}
