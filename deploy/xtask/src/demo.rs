//! The demo: two cameras, the node, a gateway and a live summary, all real programs on loopback.
//!
//! The summary shows what the city sees, rows out of the gateway's landing (counts per line and zone), beside the
//! node's own metrics (state, frame rate, latency). Bins are shortened to ten seconds, and the rows are stamped for it.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::live::Reading;
use crate::shell::{cargo, run as run_command, target};
use crate::tally::Tally;

/// The cameras' names; each shows the same clip.
const CAMERAS: [&str; 2] = ["campus-north", "campus-south"];
/// The node's name.
const NODE: &str = "demo";
/// What a camera's file looks like.
const CAMERA_FILE: &str = include_str!("demo-camera.yaml");
/// How long bins are.
const BIN: &str = "10s";
/// How long the programs may take to start.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long the clip's demo may last; the clip itself has 79.5 s.
const ONCE_LIMIT: Duration = Duration::from_secs(150);
/// How long a program may take to end after it was told to.
const STOP_LIMIT: Duration = Duration::from_secs(15);

pub(crate) fn run(once: bool) -> anyhow::Result<()> {
    run_command(&mut cargo(&["build", "--workspace", "--locked"]))?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }

    let folder = target().join("demo");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be emptied", folder.display()))?;
    }
    fs::create_dir_all(folder.join("site/cameras"))?;

    println!("starting two RTSP cameras from vtest.avi");
    let (cameras, urls) = start_cameras(&folder, once)?;
    let metrics = free_address()?;
    println!("making certificates for trying it out, and starting a gateway with them");
    let gateway_address = free_address()?;
    let gateway = start_gateway(&folder, gateway_address)?;
    write_site(&folder, &urls, metrics, gateway_address)?;
    println!("starting the node; its log is {}", folder.join("node.log").display());
    let node = start_node(&folder)?;
    let mut demo =
        Demo { folder, metrics, cameras, node, gateway, tally: Tally::default(), began: Instant::now() };
    let watched = demo.watch(once, &stop);
    let stopped = demo.end();
    watched?;
    stopped?;
    let tally = read_all(&demo.folder.join("landing"))?;
    println!("\nwhat the city has of the whole run:\n\n{}", tally.table());
    run_command(gateway_program().arg("summary").arg("--landing").arg(demo.folder.join("landing")))?;
    ensure!(tally.rows > 0, "no row has arrived at the gateway");
    Ok(())
}

struct Demo {
    folder: PathBuf,
    metrics: SocketAddr,
    cameras: Program,
    node: Program,
    gateway: Program,
    /// What the city had when it was last looked at.
    tally: Tally,
    began: Instant,
}

impl Demo {
    /// Shows what happens until it is over.
    fn watch(&mut self, once: bool, stop: &AtomicBool) -> anyhow::Result<()> {
        let terminal = std::io::stdout().is_terminal();
        let mut last = [0.0; CAMERAS.len()];
        let mut last_at = Instant::now();
        let mut was_up = [false; CAMERAS.len()];
        let mut beat: u64 = 0;
        while !stop.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(500));
            if let Some(status) = self.node.ended()? {
                bail!("the node ended with {status}; see {}", self.folder.join("node.log").display());
            }
            let Some(reading) = Reading::take(self.metrics) else {
                ensure!(self.began.elapsed() < START_LIMIT, "the node does not answer on {}", self.metrics);
                continue;
            };
            if let Some(status) = self.gateway.ended()? {
                bail!("the gateway ended with {status}; see {}", self.folder.join("gateway.log").display());
            }
            beat += 1;
            if beat.is_multiple_of(4) {
                self.tally = read_all(&self.folder.join("landing"))?;
            }
            if beat.is_multiple_of(2) {
                let now = CAMERAS.map(|camera| reading.analysed(camera));
                let seconds = last_at.elapsed().as_secs_f64();
                let rates = [0, 1].map(|index| (now[index] - last[index]) / seconds);
                (last, last_at) = (now, Instant::now());
                // In a pipe there is no screen to refresh: a summary every ten seconds will do.
                if terminal {
                    print!("\x1b[2J\x1b[H{}", self.summary(&reading, rates));
                } else if beat.is_multiple_of(20) {
                    println!("{}", self.summary(&reading, rates));
                }
            }
            let up = CAMERAS.map(|camera| reading.state(camera) == "up");
            let over = was_up == [true; 2] && up == [false; 2];
            for (was, is) in was_up.iter_mut().zip(up) {
                *was |= is;
            }
            if once && (over || self.cameras.ended()?.is_some()) {
                break;
            }
            ensure!(!once || self.began.elapsed() < ONCE_LIMIT, "the clip did not end within {ONCE_LIMIT:?}");
        }
        Ok(())
    }

    fn summary(&self, reading: &Reading, rates: [f64; 2]) -> String {
        let mut text = String::from("Kerbside demo: Ctrl-C ends it\n\n");
        let _ = writeln!(text, "{:<14} {:<12} {:>8} {:>11}", "camera", "state", "frames/s", "latency ms");
        for (camera, rate) in CAMERAS.iter().zip(rates) {
            let _ = writeln!(
                text,
                "{camera:<14} {:<12} {rate:>8.1} {:>11.0}",
                reading.state(camera),
                reading.latency_secs(camera) * 1e3
            );
        }
        let memory = reading.value("kerbside_process_resident_bytes ").unwrap_or_default() / 1e6;
        let _ = writeln!(text, "\nnode: {memory:.0} MB, http://{}/metrics", self.metrics);
        let number = |series: &str| reading.value(series).unwrap_or_default();
        let _ = writeln!(
            text,
            "uplink: {}, {:.0} rows wait, {:.1} kB sent\n\nthe city has:\n",
            if number("kerbside_uplink_connected ") == 1.0 { "connected" } else { "not connected" },
            number("kerbside_uplink_waiting_rows "),
            number("kerbside_uplink_bytes_total{direction=\"sent\"} ") / 1e3
        );
        text.push_str(&self.tally.table());
        text
    }

    fn end(&mut self) -> anyhow::Result<()> {
        let node = self.node.end();
        self.cameras.end()?;
        let status = node?;
        ensure!(status.success(), "the node ended with {status}; see {}", self.folder.join("node.log").display());
        let status = self.gateway.end()?;
        let log = self.folder.join("gateway.log");
        ensure!(status.success(), "the gateway ended with {status}; see {}", log.display());
        Ok(())
    }
}

/// All rows that the gateway has stored. Before the first there is no landing.
fn read_all(landing: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    if !landing.join("agg.v1").exists() {
        return Ok(tally);
    }
    let output = kerbside().arg("events").arg(landing).args(["--format", "json", "--table", "agg.v1"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in String::from_utf8(output.stdout)?.lines() {
        tally.add(line)?;
    }
    Ok(tally)
}

/// A child that does not outlive the demo. It is in a process group of its own, so that a Ctrl-C on the
/// terminal reaches the demo alone, which then ends its children in order.
struct Program {
    name: &'static str,
    child: Child,
}

impl Program {
    fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end, and waits.
    fn end(&mut self) -> anyhow::Result<ExitStatus> {
        let since = Instant::now();
        if self.ended()?.is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            ensure!(since.elapsed() < STOP_LIMIT, "{} did not end within {STOP_LIMIT:?}", self.name);
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kerbside() -> Command {
    Command::new(target().join("debug/kerbside"))
}

fn gateway_program() -> Command {
    Command::new(target().join("debug/kerbside-gateway"))
}

fn start_cameras(folder: &Path, once: bool) -> anyhow::Result<(Program, Vec<String>)> {
    let clip = target().join("clips/vtest.avi");
    let mut command = Command::new(target().join("debug/kerbside-camera"));
    command.args([&clip, &clip]).args(["--port", "0"]);
    if once {
        command.arg("--once");
    }
    let log = fs::File::create(folder.join("camera.log"))?;
    let mut child =
        command.process_group(0).stdout(Stdio::piped()).stderr(log).spawn().context("kerbside-camera")?;
    let lines = BufReader::new(child.stdout.take().context("kerbside-camera has no output")?).lines();
    let program = Program { name: "kerbside-camera", child };
    let urls: Vec<String> =
        lines.map_while(Result::ok).filter(|line| line.starts_with("rtsp://")).take(CAMERAS.len()).collect();
    ensure!(
        urls.len() == CAMERAS.len(),
        "kerbside-camera did not start; see {}",
        folder.join("camera.log").display()
    );
    Ok((program, urls))
}

fn write_site(folder: &Path, urls: &[String], metrics: SocketAddr, gateway: SocketAddr) -> anyhow::Result<()> {
    let node = format!(
        "name: {NODE}\nmetrics: {{address: \"{metrics}\"}}\nspool: {{folder: ../spool, max_bytes: 64MiB}}\n\
         uplink: {{gateway: \"{gateway}\", certificate: ../certificates/{NODE}.pem, \
         key: ../certificates/{NODE}.key, authority: ../certificates/authority.pem}}\n",
    );
    fs::write(folder.join("site/node.yaml"), node)?;
    for (camera, url) in CAMERAS.iter().zip(urls) {
        fs::write(folder.join(format!("site/cameras/{camera}.yaml")), CAMERA_FILE.replace("@SOURCE@", url))?;
    }
    Ok(())
}

/// Makes an authority with certificates for the gateway and the node, and starts the gateway.
fn start_gateway(folder: &Path, address: SocketAddr) -> anyhow::Result<Program> {
    let (authority, certificates) = (folder.join("authority"), folder.join("certificates"));
    let enroll = |arguments: &[&str]| {
        let mut command = kerbside();
        command.arg("enroll").args(arguments);
        // The warning that these are for trying it out only is for who makes them by hand.
        command.stderr(Stdio::null());
        command
    };
    run_command(enroll(&["authority", "--out"]).arg(&authority))?;
    let of_gateway: &[&str] = &["gateway", "gateway", "--address", "127.0.0.1"];
    for arguments in [of_gateway, &["node", NODE]] {
        run_command(enroll(arguments).arg("--authority").arg(&authority).arg("--out").arg(&certificates))?;
    }
    let metrics = free_address()?;
    let text = format!(
        "listen: \"{address}\"\nmetrics: {{address: \"{metrics}\"}}\n\
         tls: {{certificate: certificates/gateway.pem, key: certificates/gateway.key, \
         authority: certificates/authority.pem}}\n\
         landing: {{folder: landing}}\nstate: {{folder: state}}\n\
         # The demonstration's rows are exact and in short bins: a city's gateway refuses them.\n\
         accept_demo: true\n"
    );
    fs::write(folder.join("gateway.yaml"), text)?;
    let log = fs::File::create(folder.join("gateway.log"))?;
    let child = gateway_program()
        .arg("run")
        .arg("--config")
        .arg(folder.join("gateway.yaml"))
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("kerbside-gateway")?;
    let mut gateway = Program { name: "kerbside-gateway", child };
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        let log = folder.join("gateway.log");
        ensure!(gateway.ended()?.is_none(), "the gateway did not start; see {}", log.display());
        ensure!(began.elapsed() < START_LIMIT, "the gateway does not listen on {address}; see {}", log.display());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(gateway)
}

fn start_node(folder: &Path) -> anyhow::Result<Program> {
    let log = fs::File::create(folder.join("node.log"))?;
    let child = kerbside()
        .arg("run")
        .arg("--config")
        .arg(folder.join("site"))
        // The demonstration shows on any machine, also on one with swap; its clip is public.
        .args(["--bin", BIN, "--insecure-dev"])
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("kerbside")?;
    Ok(Program { name: "kerbside", child })
}

/// A loopback address that nobody listens on at this moment.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
