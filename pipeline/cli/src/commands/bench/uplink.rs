//! `kerbside bench uplink`: rows through the spool, TLS and a real gateway to Parquet.
//!
//! The rows are those of a release stage with 64 cameras of 67 counters each and bins of a minute, closed as fast as
//! they are stored: nothing is waited for but the disk and the gateway, which runs as a process of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use kerbside_config::UplinkSettings;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::privacy::{Bins, Privacy, Profile};
use kerbside_core::time::WallTime;
use kerbside_release::{
    CameraPlan, CameraUid, Guarantee, IncidentSeed, NodeIdentity, Positions, Release, ReleasedBatch, Table,
};
use kerbside_runtime::UplinkThread;
use kerbside_uplink::enroll::{DevAuthority, Request};
use kerbside_uplink::tls::Role;
use kerbside_uplink::{Spool, SpoolSettings};
use serde::Serialize;

use crate::Outcome;
use crate::output::say;

/// As large as nodes come.
const CAMERAS: usize = 64;
/// Lines of a camera; each has four classes in two directions.
const LINES: u16 = 8;
const MINUTE: Duration = Duration::from_secs(60);
/// Rows that may wait for the gateway, in bytes: the spool is to keep pace, not to fill.
const AHEAD: u64 = 32 << 20;
/// How often memory is looked at.
const GLANCE: Duration = Duration::from_millis(500);
/// How long the gateway may take to start, and the last rows to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
const NODE: &str = "bench";
/// How long its certificates are valid, before and after now.
const VALID: Duration = Duration::from_secs(7 * 86_400);

/// Measures how many rows a second go through spool, TLS and a gateway into Parquet.
#[derive(Args)]
pub(super) struct Uplink {
    /// How long rows are made, in seconds
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Where spool and landing lie; a temporary folder if it is not given. It must not exist
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The gateway's program; beside this one if it is not given
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// Prints one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Serialize)]
struct Measured {
    rows: u64,
    seconds: f64,
    rows_per_second: f64,
    /// On the wire, encryption and protocol included.
    wire_bytes_per_row: f64,
    node_cpu_seconds: f64,
    gateway_cpu_seconds: f64,
    /// Medians of the second and of the last quarter of the time.
    node_resident_mb: [f64; 2],
    gateway_resident_mb: [f64; 2],
    spool_peak_mb: f64,
    landing_files: u64,
    landing_mb: f64,
}

impl Uplink {
    pub(super) fn execute(self) -> anyhow::Result<Outcome> {
        let program = match &self.gateway {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("kerbside-gateway"),
        };
        ensure!(program.is_file(), "there is no program {}: name it with --gateway", program.display());
        let folder = Scratch::new(self.folder.as_deref())?;
        let measured = measure(&folder.path, &program, Duration::from_secs(self.seconds))?;
        say(&if self.json { serde_json::to_string(&measured)? + "\n" } else { measured.text() })?;
        Ok(Outcome::Done)
    }
}

fn measure(folder: &Path, program: &Path, time: Duration) -> anyhow::Result<Measured> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let gateway = Gateway::start(folder, program, address)?;
    let settings = SpoolSettings {
        folder: folder.join("spool"),
        max_bytes: 512 << 20,
        sync_interval: Duration::from_secs(1),
        keep: Duration::from_secs(30 * 24 * 60 * 60),
        node: Some(NODE.to_owned()),
    };
    let start = WallTime::from(std::time::SystemTime::now()).bin_start(MINUTE);
    let (mut spool, _) = Spool::open(settings, start)?;
    let mut release = release(&spool, start)?;
    let feed = spool.feed();
    let uplink = UplinkSettings {
        gateway_host: address.ip().to_string(),
        gateway_port: address.port(),
        certificate: folder.join("certificates/bench.pem"),
        key: folder.join("certificates/bench.key"),
        authority: folder.join("certificates/authority.pem"),
        revoked: None,
    };
    let (uplink, status) = UplinkThread::start(uplink, folder.join("spool"), feed.clone())?;
    let cpu_before = cpu_seconds(std::process::id())?;
    let mut memory = Vec::new();
    let (mut rows, mut spool_peak, mut glance_at) = (0, 0, Instant::now());
    let mut bin = start;
    let mut out: Vec<ReleasedBatch> = Vec::new();
    let began = Instant::now();
    let mut give_up_at = None;
    loop {
        let now = Instant::now();
        let is_filling = now - began < time;
        if is_filling && feed.waiting().bytes < AHEAD {
            bin = bin + MINUTE;
            release.advance(bin, &mut out)?;
            for batch in out.drain(..) {
                rows += batch.rows();
                spool.append(&batch, now)?;
            }
            spool.maybe_sync(now)?;
        } else {
            spool.sync()?;
            spool.maybe_sync(now)?;
            std::thread::sleep(Duration::from_millis(2));
        }
        if now >= glance_at {
            glance_at = now + GLANCE;
            memory.push((resident_mb(std::process::id())?, resident_mb(gateway.0.id())?));
            spool_peak = spool_peak.max(spool.status().bytes);
        }
        let stored = status.stored_rows(Table::Agg);
        if !is_filling && stored >= rows {
            break;
        }
        if !is_filling && now >= *give_up_at.get_or_insert(now + PATIENCE) {
            let trouble = status.trouble().unwrap_or_else(|| "no trouble is known".to_owned());
            bail!("{stored} of {rows} rows were stored: {trouble}");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let wire_bytes = status.sent_bytes();
    let node_cpu_seconds = cpu_seconds(std::process::id())? - cpu_before;
    let gateway_cpu_seconds = cpu_seconds(gateway.0.id())?;
    let ended = uplink.stop(Instant::now() + PATIENCE).join();
    ensure!(ended.is_ok(), "the uplink panicked");
    spool.close()?;
    let (landing_files, landing_bytes) = sizes(&folder.join("landing"))?;
    let quarters = |pick: fn(&(f64, f64)) -> f64| {
        let of: Vec<f64> = memory.iter().map(pick).collect();
        let quarter = (of.len() / 4).max(1);
        [median(of.get(quarter..2 * quarter).unwrap_or(&of)), median(of.get(3 * quarter..).unwrap_or(&of))]
    };
    Ok(Measured {
        rows,
        seconds,
        rows_per_second: rows as f64 / seconds,
        wire_bytes_per_row: wire_bytes as f64 / rows as f64,
        node_cpu_seconds,
        gateway_cpu_seconds,
        node_resident_mb: quarters(|(node, _)| *node),
        gateway_resident_mb: quarters(|(_, gateway)| *gateway),
        spool_peak_mb: spool_peak as f64 / 1e6,
        landing_files,
        landing_mb: landing_bytes as f64 / 1e6,
    })
}

impl Measured {
    fn text(&self) -> String {
        let [node_early, node_late] = self.node_resident_mb;
        let [gateway_early, gateway_late] = self.gateway_resident_mb;
        format!(
            "rows                     {} in {:.1} s, every one stored as Parquet and acknowledged\n\
             rows a second            {:.0}\n\
             bytes a row on the wire  {:.1}\n\
             processor                {:.1} s in the node, {:.1} s in the gateway\n\
             resident memory, node    {node_early:.1} MB early, {node_late:.1} MB late\n\
             resident memory, gateway {gateway_early:.1} MB early, {gateway_late:.1} MB late\n\
             spool at its largest     {:.1} MB\n\
             landing                  {} files, {:.1} MB\n",
            self.rows,
            self.seconds,
            self.rows_per_second,
            self.wire_bytes_per_row,
            self.node_cpu_seconds,
            self.gateway_cpu_seconds,
            self.spool_peak_mb,
            self.landing_files,
            self.landing_mb,
        )
    }
}

/// A stage whose bins are exact and empty: what is in a row makes no difference to its way.
fn release(spool: &Spool, start: WallTime) -> anyhow::Result<Release> {
    let classes = [Class::Car, Class::Bus, Class::Truck, Class::Motorcycle];
    let cells: Vec<Cell> = (0..LINES)
        .flat_map(|line| {
            classes.into_iter().flat_map(move |class| {
                [Direction::Forward, Direction::Backward].map(|direction| {
                    Cell::new(SiteId(line), Measure::CrossingCount, Some(class)).directed(direction)
                })
            })
        })
        .chain((0..3).map(|line| Cell::new(SiteId(line), Measure::QueueLen, Some(Class::Car))))
        .collect();
    let plan = |number: usize| {
        let mut uid = [0; 16];
        uid[..8].copy_from_slice(&(number as u64).to_le_bytes());
        CameraPlan {
            camera: format!("camera-{number}"),
            model: "nanodet-g".to_owned(),
            sites: (0..LINES).map(|line| format!("line-{line}")).collect(),
            cells: cells.clone(),
            incidents: Vec::new(),
            watched: Vec::new(),
            alerts: Vec::new(),
            uid: CameraUid(uid),
            privacy: Privacy { bins: Bins::all(MINUTE), ..Privacy::of(Profile::Standard) },
        }
    };
    let identity = NodeIdentity {
        node: NODE.to_owned(),
        software: format!("kerbside {}", env!("CARGO_PKG_VERSION")),
        config_revision: 1,
        incident_seed: IncidentSeed([0; 16]),
    };
    let [agg, health, incident] = [Table::Agg, Table::Health, Table::Incident].map(|table| spool.position(table));
    let positions = Positions { agg, health, incident };
    let plans = (0..CAMERAS).map(plan).collect();
    Ok(Release::new(identity, plans, positions, start, Guarantee::Demonstration)?)
}

/// The gateway's process; it does not outlive the benchmark.
struct Gateway(Child);

impl Gateway {
    fn start(folder: &Path, program: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let now = WallTime::from(std::time::SystemTime::now());
        let (not_before, not_after) = (now - VALID, now + VALID);
        let authority = DevAuthority::create(&folder.join("authority"), not_before, not_after)?;
        let issue = |role: Role, name: &str, addresses: Vec<String>| {
            let request = Request { role, name: name.to_owned(), addresses, not_before, not_after };
            authority.write(&authority.issue(&request)?, &folder.join("certificates"))
        };
        issue(Role::Gateway, "gateway", vec![address.ip().to_string()])?;
        issue(Role::Node, NODE, Vec::new())?;
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let config = folder.join("gateway.yaml");
        let text = format!(
            "listen: \"{address}\"\nmetrics: {{address: \"{metrics}\"}}\n\
             tls: {{certificate: certificates/gateway.pem, key: certificates/gateway.key, authority: certificates/authority.pem}}\n\
             landing: {{folder: landing}}\nstate: {{folder: state}}\naccept_demo: true\n\
             limits: {{rows_per_minute: 1000000000}}\n",
        );
        fs::write(&config, text)?;
        let log = fs::File::create(folder.join("gateway.log"))?;
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        let mut gateway = Self(child);
        let give_up_at = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let log = || {
                let lines = fs::File::open(folder.join("gateway.log")).map(BufReader::new);
                lines
                    .into_iter()
                    .flat_map(|lines| lines.lines().map_while(Result::ok))
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            if let Some(status) = gateway.0.try_wait()? {
                bail!("the gateway ended with {status}:\n{}", log());
            }
            ensure!(Instant::now() < give_up_at, "the gateway does not listen on {address}:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(gateway)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes with the benchmark, unless it was named.
struct Scratch {
    path: PathBuf,
    /// Deletes it.
    _temporary: Option<tempfile::TempDir>,
}

impl Scratch {
    fn new(named: Option<&Path>) -> anyhow::Result<Self> {
        let Some(named) = named else {
            let folder = tempfile::tempdir()?;
            return Ok(Self { path: folder.path().to_owned(), _temporary: Some(folder) });
        };
        fs::create_dir(named).with_context(|| format!("{} cannot be made", named.display()))?;
        Ok(Self { path: std::path::absolute(named)?, _temporary: None })
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn resident_mb(process: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages: f64 = text.split_whitespace().nth(1).context("statm has no second number")?.parse()?;
    Ok(pages * rustix::param::page_size() as f64 / 1e6)
}

/// Processor time of all threads, those that have ended too.
fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The program's name may hold blanks and brackets; it ends with the last one.
    let (_, rest) = text.rsplit_once(')').context("stat has no name")?;
    let ticks: Result<Vec<f64>, _> = rest.split_whitespace().skip(11).take(2).map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / rustix::param::clock_ticks_per_second() as f64)
}

/// Files below a folder, and their bytes.
fn sizes(folder: &Path) -> anyhow::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let (more, larger) = sizes(&entry.path())?;
            (files, bytes) = (files + more, bytes + larger);
        } else {
            (files, bytes) = (files + 1, bytes + entry.metadata()?.len());
        }
    }
    Ok((files, bytes))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
