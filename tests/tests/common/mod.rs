//! The real programs, started and ended by the tests, on free loopback ports.

// Each test file uses its own part of this, and a failure here is a failure of the test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

pub mod city;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kerbside_channel::{Receiver, WhenFull, edge};
use kerbside_core::frame::Frame;
use kerbside_core::time::WallTime;
use kerbside_ingest::{CameraHandle, CameraSource, CameraStatus, Pace, Source};
use kerbside_telemetry::{CameraMetrics, Door, Telemetry};
use rustix::process::{Pid, Signal, kill_process};

/// The repository's root: tests of several crates use this file.
pub fn root() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    crates.into_iter().find(|folder| folder.join("Cargo.lock").is_file()).unwrap().to_owned()
}

/// The folder of the profile that this test was built with, such as target/debug.
fn profile() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    profile().parent().unwrap().to_owned()
}

/// The real clip.
pub fn vtest() -> PathBuf {
    let clip = target().join("clips/vtest.avi");
    assert!(clip.is_file(), "{} is missing: run sh deploy/setup/clips.sh", clip.display());
    clip
}

/// One of the workspace's programs, to be run in the repository's root.
pub fn program(name: &str) -> Command {
    let path = profile().join(name);
    assert!(path.is_file(), "{} is missing: run cargo build -p kerbside -p kerbside-camera", path.display());
    let mut command = Command::new(path);
    command.current_dir(root());
    for variable in ["KERBSIDE_MODELS", "KERBSIDE_ENGINE", "KERBSIDE_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// The Python with what `tests/NAME/requirements.txt` names, made when it is missing.
pub fn python(name: &str) -> PathBuf {
    let output = Command::new("sh")
        .arg("deploy/setup/python.sh")
        .args([name, &format!("tests/{name}/requirements.txt")])
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    PathBuf::from(stdout(&output).trim_end())
}

/// Runs `kerbside` to its end.
pub fn kerbside<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    program("kerbside").args(arguments).output().unwrap()
}

/// What it printed on standard output.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it printed on standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A program that does not outlive its test.
pub struct Running(pub Child);

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Ends it without a chance to clean up.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Asks it to end, and waits.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let since = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "it did not end after SIGTERM");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves clips as RTSP cameras; gives back their addresses.
pub fn cameras(clips: &[&Path], port: u16) -> (Running, Vec<String>) {
    let mut child = program("kerbside-camera")
        .args(clips)
        .args(["--port", &port.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let running = Running(child);
    let urls: Vec<String> = BufReader::new(out)
        .lines()
        .map(Result::unwrap)
        .filter(|line| line.starts_with("rtsp://"))
        .take(clips.len())
        .collect();
    assert_eq!(urls.len(), clips.len(), "kerbside-camera ended early");
    (running, urls)
}

/// A loopback port that nobody listens on at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A camera's file for a stream of people on a path.
pub fn camera_file(source: &str, analyse_fps: f64) -> String {
    format!(
        "source: {source}\nanalyse_fps: {analyse_fps}\ndetector: {{model: nanodet-g, min_score: 0.5}}\n\
         classes: [person]\ngeometry:\n  lines:\n    crossing: {{from: [0.5, 0.3], to: [0.5, 0.66]}}\n  zones:\n    \
         square: {{polygon: [[0.1, 0.3], [0.9, 0.3], [0.9, 0.9], [0.1, 0.9]]}}\noperators:\n  \
         count_line: [{{line: crossing}}]\n  measure_occupancy: [{{zone: square}}]\n"
    )
}

/// A node with its own folder, spool and metrics port.
pub struct Node {
    pub running: Running,
    pub folder: tempfile::TempDir,
    metrics: SocketAddr,
}

impl Node {
    /// Starts a node with those cameras (name and file content).
    pub fn start(cameras: &[(&str, String)], arguments: &[&str]) -> Self {
        Self::start_as("test-node", cameras, arguments, "")
    }

    /// Starts a node of that name; `settings` are further lines of node.yaml.
    pub fn start_as(name: &str, cameras: &[(&str, String)], arguments: &[&str], settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        write_site(folder.path(), name, metrics, cameras, settings);
        let running = Self::spawn(folder.path(), arguments);
        let node = Self { running, folder, metrics };
        node.wait_for("the metrics page", Duration::from_secs(60), |node| node.get("/metrics").is_some());
        node
    }

    /// Starts the same node again.
    pub fn restart(&mut self, arguments: &[&str]) {
        self.running = Self::spawn(self.folder.path(), arguments);
        self.wait_for("the metrics page", Duration::from_secs(60), |node| node.get("/metrics").is_some());
    }

    /// Starts the node that is configured in a folder, and waits for nothing.
    pub fn spawn(folder: &Path, arguments: &[&str]) -> Running {
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("node.log")).unwrap();
        Running(
            program("kerbside")
                // A developer's machine may have swap.
                .args(["run", "--insecure-dev", "--config"])
                .arg(folder.join("site"))
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap(),
        )
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("node.log")).unwrap()
    }

    /// Where the status page is.
    pub fn address(&self) -> SocketAddr {
        self.metrics
    }

    /// A page of the status server: the code and the body.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        http_get(self.metrics, path)
    }

    /// The value of one series of the metrics page.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, page) = self.get("/metrics")?;
        let line =
            page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))?;
        line.parse().ok()
    }

    pub fn is_in_state(&self, camera: &str, state: &str) -> bool {
        self.metric(&format!("kerbside_camera_state{{camera=\"{camera}\",state=\"{state}\"}}")) == Some(1.0)
    }

    pub fn analysed(&self, camera: &str) -> f64 {
        self.metric(&format!("kerbside_frames_analysed_total{{camera=\"{camera}\"}}")).unwrap_or_default()
    }

    /// Waits until something is so; fails with the node's log when it does not become so.
    pub fn wait_for(&self, what: &str, limit: Duration, so: impl Fn(&Self) -> bool) -> Duration {
        let since = Instant::now();
        while !so(self) {
            assert!(since.elapsed() < limit, "{what}: not within {limit:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        since.elapsed()
    }
}

/// Writes the configuration of a node into `site` below a folder; spool and all else lie beside it.
pub fn write_site(folder: &Path, name: &str, metrics: SocketAddr, cameras: &[(&str, String)], settings: &str) {
    fs::create_dir_all(folder.join("site/cameras")).unwrap();
    let (spool, learned) = (folder.join("spool"), folder.join("learned"));
    let has_spool = settings.lines().any(|line| line.starts_with("spool:"));
    let spool = match has_spool {
        true => String::new(),
        false => format!("spool: {{folder: \"{}\", max_bytes: 64MiB}}\n", spool.display()),
    };
    let node = format!(
        "name: {name}\nmetrics: {{address: \"{metrics}\"}}\n{spool}learned: {{folder: \"{}\"}}\n{settings}",
        learned.display()
    );
    fs::write(folder.join("site/node.yaml"), node).unwrap();
    for (name, text) in cameras {
        fs::write(folder.join(format!("site/cameras/{name}.yaml")), text).unwrap();
    }
}

/// A page of a program's status server: the code and the body.
pub fn http_get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    Door::Address(address).ask(path).ok()
}

/// A clip's frames, as ingest reads them.
pub struct Frames {
    frames: Option<Receiver<Frame>>,
    camera: Option<CameraHandle>,
}

/// Decodes a clip.
pub fn frames(path: &Path) -> Frames {
    let telemetry = Telemetry::new();
    let metrics = CameraMetrics::new(&telemetry, "clip");
    let (sender, frames) = edge(&telemetry, "clip/slot", 2, WhenFull::Block);
    let pace = Pace::AsFastAsPossible { first_frame_at: WallTime::UNIX_EPOCH };
    let source = Source::File { path: path.to_owned(), pace };
    let source = CameraSource { name: "clip".to_owned(), source, analyse_fps: 60.0 };
    let camera = kerbside_ingest::start(source, sender, metrics, Arc::new(CameraStatus::new())).unwrap();
    Frames { frames: Some(frames), camera: Some(camera) }
}

impl Iterator for Frames {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        self.frames.as_ref()?.receive()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        drop(self.frames.take());
        if let Some(camera) = self.camera.take() {
            camera.stop();
            let _ = camera.join();
        }
    }
}

/// Rows that `kerbside events --format json` prints of a path that has no damage.
pub fn rows(path: &Path) -> Vec<serde_json::Value> {
    let output = events(path);
    assert!(output.status.success(), "{}", stderr(&output));
    parsed(&output)
}

/// The rows around what is damaged.
pub fn rows_despite_damage(path: &Path) -> Vec<serde_json::Value> {
    parsed(&events(path))
}

fn events(path: &Path) -> Output {
    program("kerbside").arg("events").arg(path).args(["--format", "json"]).output().unwrap()
}

fn parsed(output: &Output) -> Vec<serde_json::Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
