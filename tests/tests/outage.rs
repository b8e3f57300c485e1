//! Three days without a gateway at the rates of the example sites, and then one.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use common::city::City;
use common::root;
use kerbside_config::{CameraSettings, Catalogue, UplinkSettings, load_camera};
use kerbside_core::camera::CameraState;
use kerbside_core::finding::{Finding, FindingKind};
use kerbside_core::incident::{Incident, IncidentUnit, Phase};
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_release::{
    CameraPlan, ClockQuality, FrameReport, Guarantee, HealthSample, IncidentSeed, MemoryLedger, NodeIdentity,
    Noise, Positions, Release, ReleasedBatch, Table,
};
use kerbside_runtime::{UplinkThread, plan};
use kerbside_uplink::{Item, Reader, Spool, SpoolSettings, Value, column_names, rows};

const NODE: &str = "cabinet";
const MINUTE: Duration = Duration::from_secs(60);
const OUTAGE_MINUTES: u64 = 72 * 60;
/// Some time in 2024, at midnight.
const START_SECS: u64 = 20_000 * 86_400;
const CAP_BYTES: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(300);

/// Table, epoch and number.
type Key = (String, u64, u64);
type Rows = BTreeMap<Key, Vec<Value>>;

#[test]
fn f_38_after_three_days_without_a_gateway_the_city_has_every_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings {
        folder: folder.path().join("spool"),
        max_bytes: CAP_BYTES,
        sync_interval: Duration::from_secs(1),
        keep: Duration::from_secs(30 * 86_400),
        node: Some(NODE.to_owned()),
    };
    let mut site = Site::new(settings);
    let city = City::start(&[NODE], "");
    // For three days nobody listens where the node sends.
    let nobody = uplink(&city, common::free_port());
    let (down, status) = UplinkThread::start(nobody, folder.path().join("spool"), site.spool.feed()).unwrap();
    let since = Instant::now();
    for _ in 0..OUTAGE_MINUTES {
        site.minute();
        assert!(site.spool.status().bytes <= CAP_BYTES, "the spool outgrows its cap");
    }
    println!(
        "three days made in {:?}, {} rows, {} bytes",
        since.elapsed(),
        site.made.len(),
        site.spool.status().bytes
    );
    assert_eq!(site.spool.status().dropped_rows, 0);
    assert!(!status.is_connected() && status.failures() > 0);
    down.stop(Instant::now() + PATIENCE).join().unwrap();

    // The gateway is there again, and the days go on.
    let feed = site.spool.feed();
    let live = uplink(&city, city.address.port());
    let (up, status) = UplinkThread::start(live, folder.path().join("spool"), feed.clone()).unwrap();
    let since = Instant::now();
    let mut newer = Vec::new();
    while feed.waiting().rows > 0 || newer.len() < 30 {
        assert!(
            since.elapsed() < PATIENCE,
            "{} rows wait: {:?}\n{}",
            feed.waiting().rows,
            status.trouble(),
            city.log()
        );
        if newer.len() < 30 {
            let stored = status.stored_rows(Table::Health);
            site.minute();
            newer.push(stored);
        }
        site.spool.maybe_sync(site.now).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("caught up within {:?}, {} bytes on the wire", since.elapsed(), status.sent_bytes());
    up.stop(Instant::now() + PATIENCE).join().unwrap();
    assert_eq!((status.wrong_answers(), status.lost_rows()), (0, 0));
    // What was acknowledged is deleted, but for what is still being written.
    site.spool.maybe_sync(site.now + Duration::from_secs(700)).unwrap();
    assert!(site.spool.status().bytes < 1 << 20, "{} bytes are left", site.spool.status().bytes);

    let mut stored = Rows::new();
    for item in Reader::open(city.landing()).unwrap() {
        let Item::Batch { table, batch } = item.unwrap() else { panic!("damage or gaps in the landing") };
        let names = column_names(&batch);
        for row in rows(&batch) {
            assert_eq!(stored.insert(key(table, &names, &row), row), None, "a row is stored twice");
        }
    }
    assert_eq!(stored.len(), site.made.len(), "rows are lost");
    assert!(stored == site.made, "rows are not as they were released");
}

fn uplink(city: &City, port: u16) -> UplinkSettings {
    let certificates = city.folder.path().join("certificates");
    UplinkSettings {
        gateway_host: "127.0.0.1".to_owned(),
        gateway_port: port,
        certificate: certificates.join(format!("{NODE}.pem")),
        key: certificates.join(format!("{NODE}.key")),
        authority: certificates.join("authority.pem"),
        revoked: None,
    }
}

fn key(table: Table, names: &[String], row: &[Value]) -> Key {
    let number = |name: &str| {
        let place = names.iter().position(|found| found == name).unwrap();
        let Value::Unsigned(number) = row[place] else { panic!("{name} is no number") };
        number
    };
    (table.name().to_owned(), number("epoch"), number("seq"))
}

/// The example sites' cameras in one cabinet, whose clock goes by the minute.
struct Site {
    release: Release,
    spool: Spool,
    plans: Vec<CameraPlan>,
    random: fastrand::Rng,
    minutes: u64,
    now: Instant,
    made: Rows,
}

impl Site {
    fn new(settings: SpoolSettings) -> Self {
        let start = WallTime::from_unix_nanos(START_SECS * 1_000_000_000);
        let (spool, _) = Spool::open(settings, start).unwrap();
        let plans: Vec<CameraPlan> = ["campus-path", "signalled-junction", "car-park"].map(example).into();
        let identity = NodeIdentity {
            node: NODE.to_owned(),
            software: "kerbside 0.1.0".to_owned(),
            config_revision: 1,
            incident_seed: IncidentSeed([7; 16]),
        };
        let [agg, health, incident] =
            [Table::Agg, Table::Health, Table::Incident].map(|table| spool.position(table));
        let guarantee =
            Guarantee::Private { noise: Noise::from_os().unwrap(), ledger: Box::new(MemoryLedger::new()) };
        let positions = Positions { agg, health, incident };
        let release = Release::new(identity, plans.clone(), positions, start, guarantee).unwrap();
        let random = fastrand::Rng::with_seed(38);
        Self { release, spool, plans, random, minutes: 0, now: Instant::now(), made: Rows::new() }
    }

    /// One minute of every camera: a situation now and then, a health row, and whatever bins end.
    fn minute(&mut self) {
        let at = |minutes: u64| WallTime::from_unix_nanos((START_SECS + 60 * minutes) * 1_000_000_000);
        let (from, to) = (at(self.minutes), at(self.minutes + 1));
        let mut out = Vec::new();
        for camera in 0..self.plans.len() {
            let media = MediaTime::from_millis(60_000 * self.minutes + 30_000);
            let findings = self.situation(camera, media);
            let wall = from + MINUTE / 2;
            let frame = FrameReport { media, wall, step: MINUTE / 60, trusted: true, clock: ClockQuality::Synced };
            self.release.observe(camera, &frame, &findings);
        }
        let samples =
            vec![HealthSample { fps_in: Some(10.0), ..HealthSample::new(CameraState::Up) }; self.plans.len()];
        self.release.advance(to, &mut out).unwrap();
        self.release.health(from, to, ClockQuality::Synced, &samples, &mut out).unwrap();
        self.minutes += 1;
        self.now += MINUTE;
        for batch in &out {
            self.note(batch);
            self.spool.append(batch, self.now).unwrap();
        }
        self.spool.maybe_sync(self.now).unwrap();
        self.spool.sync().unwrap();
    }

    fn note(&mut self, batch: &ReleasedBatch) {
        let names = column_names(batch.get());
        for row in rows(batch.get()) {
            assert_eq!(self.made.insert(key(batch.table(), &names, &row), row), None, "a number is given twice");
        }
    }

    /// About once in two hours a camera that can report something does, begin and end.
    fn situation(&mut self, camera: usize, at: MediaTime) -> Vec<Finding> {
        let kinds = &self.plans[camera].incidents;
        if kinds.is_empty() || self.random.u32(..120) > 0 {
            return Vec::new();
        }
        let (kind, site) = kinds[self.random.usize(..kinds.len())];
        let told = |phase| Finding {
            at,
            site,
            class: Some(kerbside_core::detection::Class::Car),
            track: None,
            kind: FindingKind::Incident(Incident {
                kind,
                phase,
                number: 0,
                since: at,
                severity: 50,
                confidence: 90,
                value: 0,
                unit: IncidentUnit::None,
                reason: None,
            }),
        };
        vec![told(Phase::Begin), told(Phase::End)]
    }
}

fn example(name: &str) -> CameraPlan {
    let models = ["nanodet-g".to_owned()];
    let file = root().join(Path::new("deploy/config/examples")).join(format!("{name}.yaml"));
    let catalogue = Catalogue { operators: kerbside_operators::TABLE, models: &models };
    let camera: CameraSettings = load_camera(&file, &catalogue).unwrap();
    plan(&camera, "nanodet-g", None)
}
