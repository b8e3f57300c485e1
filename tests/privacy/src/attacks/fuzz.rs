//! A1: whatever the configuration and the findings are, what comes out has one of three shapes.
//!
//! Every case is a random node: names, also such as somebody would choose to carry a message, cells of all measures,
//! incidents, profiles and bins; and random findings. Each batch that comes out is walked by [`walk`], which was
//! written without looking at the check in the release stage itself: types, names, metadata, the hash of the schema,
//! and every word of every dictionary, used or not.

use std::collections::BTreeSet;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use fastrand::Rng;
use kerbside_core::camera::CameraState;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase};
use kerbside_core::observation::TrackId;
use kerbside_core::operator::Alert;
use kerbside_core::privacy::{Bins, Privacy, Profile};
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_release::{
    CameraPlan, ClockQuality, FrameReport, Guarantee, HealthSample, NodeIdentity, Release, ReleasedBatch, Table,
};
use sha2::{Digest, Sha256};

use crate::outcome::{Outcome, Size};
use crate::stage::{fresh, from_zero, identity, uid};

/// SHA-256 of the published schemas, by the names of their tables. A change is a new version with a new name.
const SCHEMAS: [(&str, &str); 3] = [
    ("agg.v1", "eeeb6459c20f97659b645c7f95ce49fbb2cfc19d44114c47d6d996d9e7dab3cc"),
    ("health.v1", "f6bdad676a573b49bff8c9ea161bfecfe9d6a2d4df934a4ad6d6cadb5b5c9148"),
    ("incident.v1", "2f708ccd7f703430ba124fbd1209f8b5233bd6a5ed73af6f552d21b4b97f59ec"),
];

/// The words of all columns whose words the configuration does not choose.
const WORDS: &[(&str, &[&str])] = &[
    ("clock_q", &["synced", "holdover", "unsynced"]),
    ("release", &["agg_dp", "agg_exact", "incident", "health", "demo"]),
    (
        "measure",
        &[
            "crossing_count",
            "occupancy_time",
            "presence_mean",
            "dwell_hist",
            "speed_hist",
            "queue_len",
            "stopped_count",
            "density_level",
            "turn_count",
            "headway_hist",
            "queue_reach",
            "loitering_count",
            "flow_score",
        ],
    ),
    ("class", &["person", "bicycle", "motorcycle", "car", "bus", "truck", "other", "all"]),
    ("dir", &["none", "forward", "backward"]),
    ("unit", &["count", "s", "permille", "dm/s", "m", "none", "km/h", "p/100m2", "ds"]),
    ("state", &["up", "connecting", "auth_failed", "codec_unsupported", "stalled", "tampered", "disabled"]),
    (
        "kind",
        &[
            "wrong_way",
            "stopped_vehicle",
            "queue_spillback",
            "restricted_zone",
            "crowd_density",
            "crowd_movement",
            "object_left",
            "person_down",
            "smoke_fire",
            "near_miss",
            "tamper_covered",
            "tamper_moved",
            "tamper_defocus",
            "tamper_frozen",
            "signal_loss",
            "scene_anomaly",
            "tamper_dark",
            "tamper_bright",
        ],
    ),
    ("phase", &["begin", "update", "end"]),
];

/// The attack and its control.
pub fn attack(size: Size) -> Vec<Outcome> {
    let cases = size.pick(1_500, 100_000);
    let mut found = Found::default();
    for case in 0..cases as u64 {
        found.case(&mut Rng::with_seed(case));
    }
    let Found { batches, rows, refused, wrong, first } = found;
    let figure = match first {
        Some(first) => format!("{wrong} wrong, such as {first}"),
        None => format!("0 wrong in {batches} batches, {rows} rows; {refused} configurations refused"),
    };
    let tried = format!("{cases} random nodes with random findings; schema, words and hash of every batch");
    // Neither may all be refused nor none: the generator would be blind to one side.
    let is_alive = batches > cases as u64 && refused > 0;
    let real = Outcome::real("A1", tried, figure, "0 forbidden", wrong == 0 && is_alive);
    let mutants = size.pick(300, 3_000);
    let passed = (0..mutants as u64).filter(|seed| mutant_passes(*seed)).count();
    let tried = format!("{mutants} batches with a forbidden column, word or metadata");
    let control =
        Outcome::real("A1", tried, format!("{} caught", mutants - passed), "none caught", passed == mutants);
    let mut rows = vec![real, control.control()];
    if passed > 0 {
        rows.push(Outcome::real("A1", "forbidden batches that were not caught", passed.to_string(), "0", false));
    }
    rows
}

/// What came out of the cases so far.
#[derive(Default)]
struct Found {
    batches: u64,
    rows: u64,
    refused: u64,
    wrong: u64,
    first: Option<String>,
}

impl Found {
    fn case(&mut self, random: &mut Rng) {
        let node = Node::random(random);
        let names = node.names();
        let Some(batches) = node.run(random) else {
            self.refused += 1;
            return;
        };
        for batch in batches {
            self.batches += 1;
            self.rows += batch.rows();
            if let Err(why) = walk(batch.table(), batch.get(), &names) {
                self.wrong += 1;
                self.first.get_or_insert(why);
            }
        }
    }
}

/// Checks a batch as a receiver does who trusts nobody. `names` are the words that the configuration chose.
pub fn walk(table: Table, batch: &RecordBatch, names: &BTreeSet<String>) -> Result<(), String> {
    let schema = batch.schema();
    let mut metadata: Vec<(&str, &str)> =
        schema.metadata().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    metadata.sort_unstable();
    match metadata.as_slice() {
        [("table", name), ("vocabulary", hash)]
            if *name == table.name() && hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()) => {}
        other => return Err(format!("metadata {other:?}")),
    }
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if !field.metadata().is_empty() {
            return Err(format!("metadata of {}", field.name()));
        }
        walk_type(field.data_type()).map_err(|what| format!("{what} in {}", field.name()))?;
        walk_words(field.name(), column, names)?;
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(format!("nulls in {}", field.name()));
        }
    }
    let hash: String =
        Sha256::digest(canonical(table, &schema)).iter().map(|byte| format!("{byte:02x}")).collect();
    if SCHEMAS.contains(&(table.name(), hash.as_str())) {
        Ok(())
    } else {
        Err(format!("{} has the schema {hash}", table.name()))
    }
}

/// Numbers of fixed width, moments, and dictionaries of text: nothing that can hold anything else, at any depth.
fn walk_type(data_type: &DataType) -> Result<(), String> {
    match data_type {
        DataType::Boolean | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Ok(()),
        DataType::Int32 | DataType::Float32 => Ok(()),
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) if &**zone == "UTC" => Ok(()),
        DataType::Dictionary(key, value) => match (key.as_ref(), value.as_ref()) {
            (DataType::UInt8 | DataType::UInt16, DataType::Utf8) => Ok(()),
            (key, value) => Err(format!("a dictionary of {key} to {value}")),
        },
        other => Err(other.to_string()),
    }
}

fn walk_words(column: &str, array: &ArrayRef, names: &BTreeSet<String>) -> Result<(), String> {
    let Some(dictionary) = array.as_any_dictionary_opt() else { return Ok(()) };
    let words = dictionary.values().as_string_opt::<i32>().ok_or_else(|| format!("no text in {column}"))?;
    let fixed = WORDS.iter().find(|(of, _)| *of == column).map(|(_, words)| *words);
    for word in words.iter() {
        let word = word.ok_or_else(|| format!("a null word in {column}"))?;
        let is_known = match fixed {
            Some(fixed) => fixed.contains(&word),
            None => names.contains(word),
        };
        if !is_known {
            return Err(format!("the word '{word}' in {column}"));
        }
    }
    let most = dictionary.normalized_keys().into_iter().max();
    match most {
        Some(key) if key >= words.len() => Err(format!("a key beyond the words of {column}")),
        _ => Ok(()),
    }
}

/// The form of a schema that is hashed.
fn canonical(table: Table, schema: &Schema) -> String {
    fn spelled(data_type: &DataType) -> String {
        match data_type {
            DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) => format!("Timestamp(ms, {zone})"),
            DataType::Dictionary(key, value) => format!("Dictionary({}, {})", spelled(key), spelled(value)),
            other => format!("{other:?}"),
        }
    }
    let line = |field: &Field| {
        let null = if field.is_nullable() { "nullable" } else { "required" };
        format!("{}: {}, {null}\n", field.name(), spelled(field.data_type()))
    };
    format!("{}\n{}", table.name(), schema.fields().iter().map(|field| line(field)).collect::<String>())
}

/// A random node.
struct Node {
    identity: NodeIdentity,
    plans: Vec<CameraPlan>,
    is_demonstration: bool,
}

impl Node {
    fn random(random: &mut Rng) -> Self {
        let plans = (0..random.usize(1..=3)).map(|number| camera(random, number)).collect();
        let identity = NodeIdentity {
            node: name(random, "node"),
            software: name(random, "0.1.0"),
            config_revision: random.u32(..),
            ..identity()
        };
        Self { identity, plans, is_demonstration: random.u8(..8) == 0 }
    }

    /// Every word that this configuration may bring into a table: its names, as far as the rule of names allows them.
    fn names(&self) -> BTreeSet<String> {
        let is_name = |text: &&String| {
            (1..=32).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
        };
        let is_version = |text: &&String| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" .-_+@".contains(&b))
        };
        let mut names = BTreeSet::from(["*".to_owned()]);
        let versions = self.plans.iter().map(|plan| &plan.model).chain([&self.identity.software]);
        names.extend(versions.filter(is_version).cloned());
        names.extend(Some(&self.identity.node).filter(is_name).cloned());
        for plan in &self.plans {
            names.extend(Some(&plan.camera).filter(is_name).cloned());
            let sites: Vec<&String> = plan.sites.iter().filter(is_name).collect();
            for from in &sites {
                names.insert((*from).clone());
                names.extend(sites.iter().map(|to| format!("{from}>{to}")));
            }
        }
        names
    }

    /// Everything that it releases; `None` where it is refused.
    fn run(&self, random: &mut Rng) -> Option<Vec<ReleasedBatch>> {
        let guarantee = if self.is_demonstration { Guarantee::Demonstration } else { fresh() };
        let start = WallTime::from_unix_millis(random.u64(0..2_000_000_000_000));
        let mut stage =
            Release::new(self.identity.clone(), self.plans.clone(), from_zero(), start, guarantee).ok()?;
        let mut out = Vec::new();
        let mut wall = start;
        let mut media = MediaTime::ZERO;
        for _ in 0..random.usize(1..12) {
            let step = Duration::from_millis(random.u64(0..400_000));
            (wall, media) = (wall + step, media + step);
            let camera = random.usize(..self.plans.len());
            let clock = ClockQuality::ALL[random.usize(..ClockQuality::ALL.len())];
            let report = FrameReport { media, wall, step, trusted: random.bool(), clock };
            let tracks: Vec<_> =
                (0..random.usize(..4)).map(|_| (TrackId(random.u64(..9)), class(random))).collect();
            stage.follow(camera, media, wall, tracks.into_iter());
            let plan = &self.plans[camera];
            let findings: Vec<_> = (0..random.usize(..6)).map(|_| finding(random, plan, media)).collect();
            stage.observe(camera, &report, &findings);
            // A clock may be set back, too.
            let now = if random.u8(..5) == 0 { wall - Duration::from_secs(4000) } else { wall };
            stage.advance(now, &mut out).ok()?;
        }
        let samples: Vec<_> = self.plans.iter().map(|_| health(random)).collect();
        stage.health(wall, wall, ClockQuality::Synced, &samples, &mut out).ok()?;
        stage.finish(wall, &mut out).ok()?;
        Some(out)
    }
}

fn camera(random: &mut Rng, number: usize) -> CameraPlan {
    let sites: Vec<String> = (0..random.usize(1..4)).map(|site| name(random, &format!("site-{site}"))).collect();
    let site = |random: &mut Rng| SiteId(random.u16(..sites.len() as u16));
    let mut privacy = Privacy::of(Profile::ALL[random.usize(..Profile::ALL.len())]);
    if random.bool() {
        privacy.bins = Bins::all(Duration::from_secs([60, 900, 1800, 3600, 86_400][random.usize(..5)]));
    }
    let cells = (0..random.usize(..14)).map(|_| {
        let measure = Measure::ALL[random.usize(..Measure::ALL.len())];
        Cell {
            site: site(random),
            toward: (measure == Measure::TurnCount).then(|| site(random)),
            measure,
            class: if random.u8(..8) == 0 { None } else { Some(class(random)) },
            direction: Direction::ALL[random.usize(..3)],
            bucket: random.u8(measure.buckets()),
        }
    });
    let cells = cells.collect();
    let incidents = (0..random.usize(..4)).map(|_| (kind(random), site(random))).collect();
    let alerts = (0..random.usize(..2)).map(|_| Alert {
        site: site(random),
        kind: IncidentKind::CrowdDensity,
        class: Class::Person,
        from_milli: random.u32(..9000),
        until_milli: random.u32(..4000),
        value: random.i32(0..100),
        unit: IncidentUnit::Count,
    });
    let alerts = alerts.collect();
    CameraPlan {
        camera: name(random, &format!("camera-{number}")),
        model: name(random, "nanodet-g"),
        cells,
        incidents,
        watched: Vec::new(),
        alerts,
        uid: uid(number as u64),
        privacy,
        sites,
    }
}

/// Mostly a proper name; now and then one that carries something, or that breaks what reads it.
fn name(random: &mut Rng, proper: &str) -> String {
    const HOSTILE: [&str; 8] =
        ["", "Gate 4: B-XY 1234", "../../etc/passwd", "a\nb", "\u{202e}gpj", "<script>", "ünïcode", "a,b>c*"];
    match random.u8(..40) {
        0 => HOSTILE[random.usize(..HOSTILE.len())].to_owned(),
        1 => (0..random.usize(33..1100)).map(|_| random.alphanumeric()).collect(),
        2 => (0..random.usize(1..40)).map(|_| random.char(..)).collect(),
        _ => proper.to_owned(),
    }
}

fn class(random: &mut Rng) -> Class {
    Class::ALL[random.usize(..Class::ALL.len())]
}

fn kind(random: &mut Rng) -> IncidentKind {
    IncidentKind::ALL[random.usize(..IncidentKind::ALL.len())]
}

/// Something that an operator may find, planned or not.
fn finding(random: &mut Rng, plan: &CameraPlan, now: MediaTime) -> Finding {
    let site =
        if random.u8(..9) == 0 { SiteId::PICTURE } else { SiteId(random.u16(..plan.sites.len() as u16 + 1)) };
    let lasted = Duration::from_millis(random.u64(..200_000));
    let measure = Measure::ALL[random.usize(..Measure::ALL.len())];
    let direction = Direction::ALL[random.usize(..3)];
    let kind = match random.u8(..8) {
        0 => FindingKind::Crossing { direction },
        1 => FindingKind::Presence { lasted },
        2 => FindingKind::Turn { toward: SiteId(random.u16(..3)) },
        3 => FindingKind::Counted { measure, direction, bucket: random.u8(..) },
        4 => FindingKind::Peak { measure, amount: random.u32(..) },
        5 => FindingKind::Level { measure, share: random.u32(..), lasted },
        _ => FindingKind::Incident(Incident {
            kind: plan.incidents.first().map_or(IncidentKind::NearMiss, |(kind, _)| *kind),
            phase: Phase::ALL[random.usize(..3)],
            number: random.u32(..3),
            since: MediaTime::from_nanos(random.u64(..1_000_000_000_000)),
            severity: random.u8(..),
            confidence: random.u8(..),
            value: random.i32(-100_000..100_000),
            unit: IncidentUnit::ALL[random.usize(..IncidentUnit::ALL.len())],
            reason: None,
        }),
    };
    let class = if random.u8(..8) == 0 { None } else { Some(class(random)) };
    let track = if random.u8(..8) == 0 { None } else { Some(TrackId(random.u64(..9))) };
    let at = if random.bool() { now } else { MediaTime::from_nanos(random.u64(..4_000_000_000_000)) };
    Finding { at, site, class, track, kind }
}

fn health(random: &mut Rng) -> HealthSample {
    let state = CameraState::ALL[random.usize(..CameraState::ALL.len())];
    HealthSample {
        fps_in: random.bool().then(|| f32::from_bits(random.u32(..))),
        last_frame_age_ms: random.bool().then(|| random.u32(..)),
        refused_total: random.bool().then(|| random.u64(..)),
        ..HealthSample::new(state)
    }
}

/// Whether a batch of the real stage still passes after something forbidden has been put in.
fn mutant_passes(seed: u64) -> bool {
    let random = &mut Rng::with_seed(seed);
    let (batch, names) = loop {
        let node = Node::random(random);
        let made = node.run(random).and_then(|batches| batches.into_iter().next());
        if let Some(batch) = made {
            break (batch, node.names());
        }
    };
    let table = batch.table();
    let mutant = crate::attacks::smuggle::mutated(random, batch.get());
    walk(table, &mutant, &names).is_ok()
}
