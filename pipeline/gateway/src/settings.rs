//! `gateway.yaml` to settings without options left open.
//!
//! Readers do not stop at the first problem: [`load`] reports all of them, each with its place and what is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kerbside_config::reading::{self, loopback, path, pem_file};
use kerbside_config::{ConfigError, Secret};
use kerbside_core::diagnostics::Problems;
use kerbside_core::tree::{Field, Reader};
use kerbside_core::yaml;
use kerbside_release::Table;
use kerbside_uplink::tls::TlsFiles;

use crate::error::GatewayError;

const METRICS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9601);
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// A node takes an answer that is later than some seconds for a slow line, and sends less at a time.
const MOST_COMMIT_INTERVAL: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const COMPACT_AFTER: Duration = HOUR;
/// Rule PC-19 of the privacy contract: rows about single situations are kept for so long where nothing else is written.
const KEEP_INCIDENTS: Duration = Duration::from_secs(72 * 60 * 60);
const MOST_KEPT: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Everything that a gateway is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where nodes and readers connect.
    pub listen: SocketAddr,
    /// Where metrics are served: loopback only, since it is without encryption or password.
    pub metrics_address: SocketAddr,
    /// The gateway's identity, and whom it trusts.
    pub tls: TlsFiles,
    /// Where rows are stored.
    pub landing: LandingSettings,
    /// The folder of the gateway's own memory: what is stored, and who may go on.
    pub state: PathBuf,
    /// For how long rows are gathered before they are stored together.
    pub commit_interval: Duration,
    /// What one node may send.
    pub limits: Limits,
    /// The nodes that may send; `None` for every node with a certificate of the authority.
    pub nodes: Option<BTreeSet<String>>,
    /// Whether exact counts for demonstrations are stored.
    pub accept_demo: bool,
    /// For how long days of a table are kept; for ever where it is not listed.
    pub retention: BTreeMap<Table, Duration>,
    /// Small files are merged when they are so old.
    pub compact_after: Duration,
}

/// Where rows are stored.
#[derive(Clone, Debug)]
pub enum LandingSettings {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket of a store that speaks S3.
    S3(S3Settings),
}

/// A bucket of a store that speaks S3.
#[derive(Clone)]
pub struct S3Settings {
    /// Its name.
    pub bucket: String,
    /// What the names of all objects begin with.
    pub prefix: Option<String>,
    /// Its region.
    pub region: String,
    /// Where it is, if not at Amazon.
    pub endpoint: Option<String>,
    /// Who asks.
    pub access_key: Secret,
    /// The secret that goes with it.
    pub secret_key: Secret,
}

impl std::fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The keys stay out of logs.
        f.debug_struct("S3Settings")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What one node may send. The defaults are far above what a node with 64 cameras has to send, and leave room for a
/// node that catches up after weeks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows a minute, told gaps included.
    pub rows_per_minute: u64,
    /// Bytes of batches a day.
    pub bytes_per_day: u64,
    /// Vocabularies that were not seen before, each counted once a table, a day.
    pub new_vocabularies_per_day: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_per_minute: 12_000_000, bytes_per_day: 64 << 30, new_vocabularies_per_day: 300 }
    }
}

/// Reads `file`.
///
/// # Errors
/// [`GatewayError::Config`] with everything that is wrong.
pub fn load(file: &Path) -> Result<Settings, GatewayError> {
    let problems = Problems::in_file(file);
    let settings = reading::read_text(file, &problems).and_then(|text| parse(&text, file, &problems));
    let found = problems.into_sorted();
    match settings {
        Some(settings) if found.is_empty() => Ok(settings),
        _ => Err(ConfigError::Problems(found).into()),
    }
}

/// The settings in a text. `None` only when there is a problem in the report.
fn parse(text: &str, file: &Path, problems: &Problems) -> Option<Settings> {
    let value = yaml::parse_despite_duplicates(text, problems)?;
    let reader = Reader::root(&value, problems)?;
    let listen = reader.required("listen").and_then(|field| address(&field));
    let metrics_address = reader.optional("metrics").and_then(|field| {
        let map = field.map()?;
        let address = map.optional("address").and_then(|field| loopback(&field));
        map.finish();
        address
    });
    let tls = reader.required("tls").and_then(|field| tls(&field, file));
    let landing = reader.required("landing").and_then(|field| landing(&field, file));
    let state = reader.required("state").and_then(|field| {
        let map = field.map()?;
        let folder = map.required("folder").and_then(|field| path(&field, file, "a folder"));
        map.finish();
        folder
    });
    let commit_interval =
        reader.optional("commit_interval").and_then(|field| field.duration(Duration::ZERO..=MOST_COMMIT_INTERVAL));
    let limits = reader.optional("limits").and_then(|field| limits(&field)).unwrap_or_default();
    let nodes = reader.optional("nodes").and_then(|field| {
        Some(field.list()?.iter().filter_map(|name| name.name().map(str::to_owned)).collect::<BTreeSet<_>>())
    });
    let accept_demo = reader.optional("accept_demo").and_then(|field| field.boolean()).unwrap_or(false);
    let retention = retention(reader.optional("retention").as_ref());
    let compact_after = reader.optional("compaction").and_then(|field| {
        let map = field.map()?;
        let after = map.optional("after").and_then(|field| field.duration(Duration::from_secs(60)..=30 * DAY));
        map.finish();
        after
    });
    reader.finish();
    if let (Some(LandingSettings::Folder(folder)), Some(state)) = (&landing, &state)
        && (state.starts_with(folder) || folder.starts_with(state))
    {
        let what = format!("{} and the landing's folder, {}, are not apart", state.display(), folder.display());
        reader.problem(what, "a folder for the state alone is expected as state.folder");
    }
    Some(Settings {
        listen: listen?,
        metrics_address: metrics_address.unwrap_or(METRICS_ADDRESS),
        tls: tls?,
        landing: landing?,
        state: state?,
        commit_interval: commit_interval.unwrap_or(COMMIT_INTERVAL),
        limits,
        nodes,
        accept_demo,
        retention,
        compact_after: compact_after.unwrap_or(COMPACT_AFTER),
    })
}

fn address(field: &Field<'_>) -> Option<SocketAddr> {
    let text = field.text()?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => return Some(address),
        Ok(_) => field.problem("port 0 is no fixed port", "a port from 1 to 65535 is expected"),
        Err(_) => field.problem(
            format!("'{text}' is not an address with a port"),
            "an address with its port is expected, such as 0.0.0.0:8443 or [::]:8443",
        ),
    }
    None
}

fn tls(field: &Field<'_>, file: &Path) -> Option<TlsFiles> {
    let map = field.map()?;
    let existing = |field: Option<Field<'_>>| -> Option<PathBuf> {
        let field = field?;
        let path = pem_file(&field, file)?;
        if path.is_file() {
            return Some(path);
        }
        field.problem(format!("there is no file {}", path.display()), "a PEM file is expected");
        None
    };
    let certificate = existing(map.required("certificate"));
    let key = existing(map.required("key"));
    let authority = existing(map.required("authority"));
    let revoked = map.optional("revoked");
    let has_revoked = revoked.is_some();
    let revoked = existing(revoked);
    map.finish();
    (revoked.is_some() == has_revoked).then_some(())?;
    Some(TlsFiles { certificate: certificate?, key: key?, authority: authority?, revoked })
}

fn landing(field: &Field<'_>, file: &Path) -> Option<LandingSettings> {
    let map = field.map()?;
    let folder = map.optional("folder");
    let s3_field = map.optional("s3");
    map.finish();
    match (folder, s3_field) {
        (Some(folder), None) => path(&folder, file, "a folder").map(LandingSettings::Folder),
        (None, Some(field)) => s3(&field, file).map(LandingSettings::S3),
        _ => {
            map.problem("one place is needed", "either folder or s3 is expected");
            None
        }
    }
}

fn s3(field: &Field<'_>, file: &Path) -> Option<S3Settings> {
    let map = field.map()?;
    let text = |key: &'static str| map.required(key).and_then(|field| filled(&field));
    let (bucket, region) = (text("bucket"), text("region"));
    let optional = |key: &'static str| map.optional(key).and_then(|field| filled(&field));
    let (prefix, endpoint) = (optional("prefix"), optional("endpoint"));
    let key = |key: &'static str| map.required(key).and_then(|field| secret(&field, file));
    let (access_key, secret_key) = (key("access_key"), key("secret_key"));
    map.finish();
    Some(S3Settings {
        bucket: bucket?,
        prefix,
        region: region?,
        endpoint,
        access_key: access_key?,
        secret_key: secret_key?,
    })
}

fn filled(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.is_empty() {
        field.problem("it is empty", "a text is expected");
        return None;
    }
    Some(text.to_owned())
}

/// A secret is a file of its own, so that its rights can be checked and the YAML file can be shown.
fn secret(field: &Field<'_>, file: &Path) -> Option<Secret> {
    let map = field.map()?;
    let field = map.required("file");
    map.finish();
    let field = field?;
    let path = path(&field, file, "a file with the secret")?;
    Secret::read(&path).map_err(|(what, allowed)| field.problem(what, allowed)).ok()
}

fn limits(field: &Field<'_>) -> Option<Limits> {
    let map = field.map()?;
    let mut limits = Limits::default();
    if let Some(rows) = map.optional("rows_per_minute").and_then(|field| field.integer(1..=1_000_000_000, "rows"))
    {
        limits.rows_per_minute = rows;
    }
    if let Some(bytes) = map.optional("bytes_per_day").and_then(|field| field.size(1 << 20..=1 << 50)) {
        limits.bytes_per_day = bytes;
    }
    let vocabularies = map.optional("new_vocabularies_per_day");
    if let Some(number) = vocabularies.and_then(|field| field.integer(1..=1_000_000, "vocabularies")) {
        limits.new_vocabularies_per_day = number;
    }
    map.finish();
    Some(limits)
}

fn retention(field: Option<&Field<'_>>) -> BTreeMap<Table, Duration> {
    let mut kept = BTreeMap::from([(Table::Incident, KEEP_INCIDENTS)]);
    let Some(map) = field.and_then(Field::map) else { return kept };
    for (key, table) in [("agg", Table::Agg), ("health", Table::Health), ("incident", Table::Incident)] {
        let Some(field) = map.optional(key) else { continue };
        if field.text() == Some("forever") {
            kept.remove(&table);
        } else if let Some(span) = field.duration(HOUR..=MOST_KEPT) {
            kept.insert(table, span);
        }
    }
    map.finish();
    kept
}

#[cfg(test)]
mod tests;
