//! A city on loopback: an authority, a gateway over real TLS, and what is in its landing.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_schema::DataType;
use bytes::Bytes;
use kerbside_core::time::WallTime;
use kerbside_gateway::settings::{LandingSettings, Limits};
use kerbside_gateway::{Gateway, Settings, landing};
use kerbside_release::ReleasedBatch;
use kerbside_uplink::enroll::{DevAuthority, Request};
pub(crate) use kerbside_uplink::tls::{Role, TlsFiles};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

pub(crate) use crate::cabinet::Cabinet;
pub(crate) use crate::line::*;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// 2026-03-29T10:00:00Z.
pub(crate) const START: WallTime = WallTime::from_unix_millis(1_774_778_400_000);
/// Longer than any step of a test takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn now() -> WallTime {
    WallTime::from_unix_nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
}

/// An authority and a gateway's settings in a folder of their own.
pub(crate) struct City {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) authority: DevAuthority,
    pub(crate) settings: Settings,
}

impl City {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::create(&folder.path().join("ca"), now() - DAY, now() + DAY).unwrap();
        let issued = authority.issue(&request(Role::Gateway, "city", now() + DAY)).unwrap();
        let tls = authority.write(&issued, &folder.path().join("gateway")).unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = Settings {
            listen: free,
            metrics_address: free,
            tls,
            landing: LandingSettings::Folder(folder.path().join("landing")),
            state: folder.path().join("state"),
            commit_interval: Duration::from_millis(20),
            limits: Limits::default(),
            nodes: None,
            accept_demo: false,
            retention: BTreeMap::new(),
            compact_after: Duration::from_secs(3600),
        };
        Self { folder, authority, settings }
    }

    pub(crate) fn issue(&self, role: Role, name: &str) -> TlsFiles {
        self.issue_until(role, name, now() + DAY)
    }

    pub(crate) fn issue_until(&self, role: Role, name: &str, until: WallTime) -> TlsFiles {
        let issued = self.authority.issue(&request(role, name, until)).unwrap();
        self.authority.write(&issued, &self.folder.path().join(name)).unwrap()
    }

    pub(crate) async fn start(&self) -> Gateway {
        Gateway::start(&self.settings).await.unwrap()
    }

    pub(crate) fn landing(&self) -> PathBuf {
        self.folder.path().join("landing")
    }
}

fn request(role: Role, name: &str, not_after: WallTime) -> Request {
    let addresses = if role == Role::Gateway { vec!["127.0.0.1".to_owned()] } else { Vec::new() };
    Request { role, name: name.to_owned(), addresses, not_before: now() - DAY, not_after }
}

/// The value of a metric, with its labels as they are rendered.
pub(crate) fn metric(gateway: &Gateway, name: &str) -> f64 {
    let page = gateway.render_metrics();
    let line = page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

pub(crate) fn refused(gateway: &Gateway, reason: &str) -> f64 {
    metric(gateway, &format!("kerbside_gateway_refused_total{{reason=\"{reason}\"}}"))
}

pub(crate) fn shaken_off(gateway: &Gateway, reason: &str) -> f64 {
    metric(gateway, &format!("kerbside_gateway_handshakes_refused_total{{reason=\"{reason}\"}}"))
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

/// The rows of a table in a landing, each as text, in order.
pub(crate) fn landed(landing: &Path, table: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for file in parquet_files(&landing.join(table)) {
        let bytes = Bytes::from(std::fs::read(&file).unwrap());
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            rows.extend(texts(&batch.unwrap()));
        }
    }
    rows.sort();
    rows
}

pub(crate) fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries.map(Result::unwrap) {
        if entry.path().is_dir() {
            files.extend(parquet_files(&entry.path()));
        } else if entry.path().extension().is_some_and(|extension| extension == "parquet") {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

/// Rows as text: node, epoch and number first, so that they sort.
pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let columns: Vec<Vec<String>> = batch
        .columns()
        .iter()
        .map(|column| {
            // Moments as numbers: zones are not needed here.
            let plain = match column.data_type() {
                DataType::Timestamp(..) => arrow_cast::cast(column, &DataType::Int64).unwrap(),
                _ => Arc::clone(column),
            };
            let column = arrow_cast::cast(&plain, &DataType::Utf8).unwrap();
            column.as_string::<i32>().iter().map(|text| text.unwrap_or("-").to_owned()).collect()
        })
        .collect();
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let place = |name: &str| names.iter().position(|known| known == name);
    let number = |row: usize| match (place("epoch"), place("seq")) {
        (Some(epoch), Some(seq)) => format!("{:>10} {:>10} ", columns[epoch][row], columns[seq][row]),
        _ => String::new(),
    };
    let line = |row: usize| columns.iter().map(|column| column[row].as_str()).collect::<Vec<_>>().join(" ");
    (0..batch.num_rows()).map(|row| format!("{}{}{}", columns[0][row], number(row), line(row))).collect()
}

/// What the landing must hold of some batches.
pub(crate) fn expected<'a>(batches: impl IntoIterator<Item = &'a ReleasedBatch>) -> Vec<String> {
    let mut rows: Vec<String> = batches.into_iter().flat_map(|batch| texts(batch.get())).collect();
    rows.sort();
    rows
}

/// Opens a landing for a test that wraps it.
pub(crate) fn store(city: &City) -> landing::Store {
    landing::open_folder(&city.landing()).unwrap()
}
