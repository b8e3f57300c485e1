//! A4: how many bytes a camera can tell in a day, whatever happens and whoever programmed it.
//!
//! All that a row holds but its number follows from the configuration and the clock, so a row of `agg.v1` is worth the
//! four bytes of its value. A row of `incident.v1` is taken for 24 bytes: kind, phase, number, site, class, severity,
//! confidence, value, unit, duration and time. What Arrow and the spool add is shown beside it.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use kerbside_config::{Catalogue, load_camera};
use kerbside_core::detection::Class;
use kerbside_core::finding::{Finding, FindingKind};
use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase};
use kerbside_core::privacy::{Bins, Privacy, Profile};
use kerbside_core::time::MediaTime;
use kerbside_release::{CameraPlan, Guarantee, ReleasedBatch, Table};

use crate::attacks::broken;
use crate::outcome::{Outcome, Size};
use crate::stage::{
    DAY_SECS, LINE, SECOND, frame, fresh, plan, release, release_from, sixty_seven_cells, spool, wall,
};
use crate::street::{Pace, Traffic, arrivals, play};

const START_SECS: u64 = 20_000 * DAY_SECS;
/// PC-18: 67 cells, 96 bins, 4 bytes.
const STRICT_BYTES: u64 = 25_728;
/// PC-18: 67 cells, 1440 bins, 4 bytes.
const MINUTES_BYTES: u64 = 385_920;
/// PC-18.
const INCIDENT_ROWS: u64 = 600;
const INCIDENT_ROW_BYTES: u64 = 24;
const VALUE_BYTES: u64 = 4;

/// The attack and its controls.
pub fn attack(_: Size) -> Vec<Outcome> {
    let strict = Privacy::of(Profile::Strict);
    let standard = Privacy::of(Profile::Standard);
    let mut shortened = strict;
    shortened.bins = Bins::all(Duration::from_secs(60));
    let walkers = sixty_seven_cells(Class::Person, Class::Bicycle);
    let mut rows = Vec::new();
    match example() {
        Ok(plan) => rows.push(day("the example site campus-path, 24 h", plan, fresh(), STRICT_BYTES)),
        Err(error) => rows.push(broken("A4", "the example site", "", error)),
    }
    rows.push(day("67 cells, strict, 24 h", plan(0, walkers.clone(), strict), fresh(), STRICT_BYTES));
    let vehicles = sixty_seven_cells(Class::Car, Class::Truck);
    rows.push(day(
        "67 vehicle cells by the minute, standard, 24 h",
        plan(0, vehicles, standard),
        fresh(),
        MINUTES_BYTES,
    ));
    rows.push(incidents("an incident every second of 24 h", strict));
    let short = plan(0, walkers, shortened);
    rows.push(
        day("67 cells in bins of a minute (a demonstration)", short, Guarantee::Demonstration, STRICT_BYTES)
            .control(),
    );
    let mut talkative = strict;
    talkative.incidents.max_per_day *= 10;
    rows.push(incidents("an incident every second, ten times the limit", talkative).control());
    rows
}

/// The plan of the example site, from its own file.
fn example() -> Result<CameraPlan, Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/examples/campus-path.yaml");
    let models = ["nanodet-g".to_owned()];
    let camera = load_camera(&file, &Catalogue { operators: kerbside_operators::TABLE, models: &models })?;
    let configured = || camera.operators.iter().map(|named| &named.configured);
    Ok(CameraPlan {
        sites: camera.geometry.sites.iter().map(|site| site.name.clone()).collect(),
        incidents: configured().flat_map(|it| it.incidents.iter().copied()).collect(),
        ..plan(0, configured().flat_map(|it| it.cells.iter().copied()).collect(), camera.privacy)
    })
}

/// What a busy day of a camera is worth in bytes.
fn day(tried: &str, plan: CameraPlan, guarantee: Guarantee, most: u64) -> Outcome {
    let cells = plan.cells.len();
    let limit = format!("<= {most} B (PC-18)");
    match busy_day(plan, guarantee) {
        Ok((rows, spool_bytes)) => {
            let bytes = rows * VALUE_BYTES;
            let figure = format!("{bytes} B ({rows} values of {cells} cells; {spool_bytes} B in the spool)");
            Outcome::real("A4", tried, figure, limit, bytes <= most)
        }
        Err(error) => broken("A4", tried, &limit, error),
    }
}

/// The rows of `agg.v1` of a busy day, and the bytes of the spool's segments.
fn busy_day(plan: CameraPlan, guarantee: Guarantee) -> Result<(u64, u64), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (mut spool, at) = spool(folder.path(), START_SECS)?;
    let mut stage = release_from(at, vec![plan], START_SECS, guarantee)?;
    let traffic = [
        Traffic { class: Class::Person, least: 20.0, most: 400.0, speed: 5.0 },
        Traffic { class: Class::Car, least: 20.0, most: 200.0, speed: 40.0 },
    ];
    let span = (START_SECS, START_SECS + DAY_SECS);
    let passages = arrivals(&mut fastrand::Rng::with_seed(4), 0, &traffic, span);
    let out = play(&mut stage, &passages, 1, span, Pace { step: 10_000, is_steady: true })?;
    let rows = out.iter().filter(|batch| batch.table() == Table::Agg).map(ReleasedBatch::rows).sum();
    for batch in &out {
        spool.append(batch, Instant::now())?;
    }
    spool.sync()?;
    Ok((rows, spool.status().bytes))
}

/// How many rows of `incident.v1` leave on the worst day.
fn incidents(tried: &str, privacy: Privacy) -> Outcome {
    let limit = format!("<= {INCIDENT_ROWS} rows (PC-18)");
    match incident_rows(privacy) {
        Ok(rows) => {
            let figure = format!("{rows} rows, {} B", rows * INCIDENT_ROW_BYTES);
            Outcome::real("A4", tried, figure, limit, rows <= INCIDENT_ROWS)
        }
        Err(error) => broken("A4", tried, &limit, error),
    }
}

fn incident_rows(privacy: Privacy) -> Result<u64, Box<dyn Error>> {
    let kinds = vec![(IncidentKind::WrongWay, LINE)];
    let plan = CameraPlan { incidents: kinds, ..plan(0, sixty_seven_cells(Class::Car, Class::Truck), privacy) };
    let mut stage = release(vec![plan], START_SECS, fresh())?;
    let mut out = Vec::new();
    for second in 0..DAY_SECS {
        let at = START_SECS + second;
        let told = |phase, severity| Finding {
            at: MediaTime::from_nanos(at * SECOND),
            site: LINE,
            class: Some(Class::Car),
            track: None,
            kind: FindingKind::Incident(Incident {
                kind: IncidentKind::WrongWay,
                phase,
                number: second as u32,
                severity,
                confidence: 90,
                value: 40 + (second % 40) as i32,
                unit: IncidentUnit::KmPerHour,
                since: MediaTime::from_nanos(at * SECOND),
                reason: None,
            }),
        };
        let words = [told(Phase::Begin, 50), told(Phase::Update, 70), told(Phase::End, 70)];
        stage.observe(0, &frame(at, 1), &words);
        if second % 60 == 59 {
            stage.advance(wall(at), &mut out)?;
        }
    }
    stage.finish(wall(START_SECS + DAY_SECS), &mut out)?;
    Ok(out.iter().filter(|batch| batch.table() == Table::Incident).map(ReleasedBatch::rows).sum())
}
