//! A8 for PC-14: how much an alert on a number of people tells about one of them.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Finding, FindingKind, Measure};
use kerbside_core::incident::{IncidentKind, IncidentUnit};
use kerbside_core::operator::Alert;
use kerbside_core::privacy::Privacy;
use kerbside_core::time::MediaTime;
use kerbside_release::{CameraPlan, ReleaseError};

use super::{ALPHA, CAMERAS, EPSILON, START_SECS};
use crate::outcome::Outcome;
use crate::stage::{ZONE, finding, frame, fresh, incident_rows, plan, release, wall};
use crate::statistics::{share_at_least, share_at_most};

/// The bound for the event that an alert is told while somebody stays for five minutes, beside somebody who stays
/// anyway: the threshold is two people.
pub(super) fn alert(what: &str, privacy: Privacy, runs: usize) -> Outcome {
    let tried = format!("{what}; {runs} runs with and {runs} without");
    let limit = format!("<= {EPSILON} (PC-14)");
    let told = |is_there| alerts(privacy, runs, is_there);
    match told(true).and_then(|with| Ok((with, told(false)?))) {
        Ok((with, without)) => {
            let all = runs.div_ceil(CAMERAS) as u64 * CAMERAS as u64;
            let bound = |likely, unlikely| {
                let (low, high) =
                    (share_at_least(likely, all, ALPHA / 2.0), share_at_most(unlikely, all, ALPHA / 2.0));
                if low > 0.0 { f64::ln(low / high) } else { 0.0 }
            };
            let epsilon = bound(with, without).max(bound(all - without, all - with)).max(0.0);
            let figure = format!("eps >= {epsilon:.3} at 1 - 1e-6; told {with} and {without} times");
            Outcome::real("A8", tried, figure, limit, epsilon <= EPSILON && with > 0)
        }
        Err(error) => Outcome::real("A8", tried, format!("cannot be run: {error}"), limit, false),
    }
}

/// In how many runs the alert begins.
fn alerts(privacy: Privacy, runs: usize, is_there: bool) -> Result<u64, ReleaseError> {
    const STEP_SECS: u64 = 20;
    let person = Class::Person;
    let alert = Alert {
        site: ZONE,
        kind: IncidentKind::CrowdDensity,
        class: person,
        from_milli: 2000,
        until_milli: 1000,
        value: 2,
        unit: IncidentUnit::Count,
        share: 0,
    };
    let mut told = 0;
    for _ in 0..runs.div_ceil(CAMERAS) {
        let plans = (0..CAMERAS).map(|number| CameraPlan {
            alerts: vec![alert],
            incidents: vec![(alert.kind, alert.site)],
            ..plan(number, Vec::new(), privacy)
        });
        let mut stage = release(plans.collect(), START_SECS, fresh())?;
        for turn in 1..=240 / STEP_SECS {
            let at = START_SECS + turn * STEP_SECS;
            let stay = |track| Finding {
                at: MediaTime::from_millis(at * 1000 - 1),
                ..finding(
                    at,
                    ZONE,
                    person,
                    track,
                    FindingKind::Level {
                        measure: Measure::DensityLevel,
                        share: 0,
                        lasted: Duration::from_millis(STEP_SECS * 1000 - 1),
                    },
                )
            };
            let found: Vec<Finding> = (1..=1 + u64::from(is_there)).map(stay).collect();
            let report = frame(at, STEP_SECS);
            for camera in 0..CAMERAS {
                stage.follow(camera, &report, found.iter().filter_map(|finding| Some((finding.track?, person))));
                stage.observe(camera, &report, &found);
            }
            let mut out = Vec::new();
            stage.advance(wall(at), &mut out)?;
            told += incident_rows(&out).iter().filter(|(_, _, _, phase, _)| phase == "begin").count() as u64;
        }
    }
    Ok(told)
}
