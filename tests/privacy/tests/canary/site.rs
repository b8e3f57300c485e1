//! A node in a box: one folder is all that it may write to, one proxy is all that it may talk to.
//!
//! The folder is its home, its place for temporary files and its working directory too, so whatever it leaves
//! anywhere it leaves there; what it holds open for writing and whom it is connected to is read from `/proc` while it
//! runs. All that it sends to a camera goes through a [`Tap`], which keeps it; all that its status server answers is
//! fetched and kept by [`Site::fetch`].

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::clip::FILES;
use crate::common::{Running, free_port, kerbside, program, root};
use crate::scan::Piece;

/// Long enough for a loaded machine; nothing here measures speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A relay to a camera that keeps what the node sends. Its threads end with their connections.
pub struct Tap {
    pub port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    pub fn before(camera: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sent);
        thread::spawn(move || {
            for node in listener.incoming().map_while(Result::ok) {
                let Ok(camera) = TcpStream::connect((Ipv4Addr::LOCALHOST, camera)) else { continue };
                let (from_camera, to_node) = (camera.try_clone().unwrap(), node.try_clone().unwrap());
                let kept = Arc::clone(&kept);
                thread::spawn(move || relay(node, camera, |bytes| kept.lock().unwrap().extend_from_slice(bytes)));
                thread::spawn(move || relay(from_camera, to_node, |_| {}));
            }
        });
        Self { port, sent }
    }

    pub fn sent(&self) -> Vec<u8> {
        self.sent.lock().unwrap().clone()
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        keep(&piece[..count]);
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The folder of a node, and the node while it runs.
pub struct Site {
    pub folder: tempfile::TempDir,
    pub metrics: SocketAddr,
    pub running: Option<Running>,
    answers: Mutex<Vec<u8>>,
}

impl Site {
    /// A node that has those cameras (name and file content) and does not run yet.
    pub fn new(cameras: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["site/cameras", "home", "tmp", "work"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let node = format!(
            "name: test-node\nmetrics: {{address: \"{metrics}\"}}\nmodels: {}\nspool: {{folder: ../spool, max_bytes: \
             64MiB}}\nlearned: {{folder: ../learned}}\ndetect: {{threads: 1}}\n",
            root().join("models").display()
        );
        fs::write(folder.path().join("site/node.yaml"), node).unwrap();
        for (name, text) in cameras {
            fs::write(folder.path().join(format!("site/cameras/{name}.yaml")), text).unwrap();
        }
        Self { folder, metrics, running: None, answers: Mutex::new(Vec::new()) }
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self, arguments: &[&str]) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("node.log")).unwrap();
        let mut command = program("kerbside");
        for variable in ["GST_DEBUG", "GST_REGISTRY", "XDG_RUNTIME_DIR"] {
            command.env_remove(variable);
        }
        for variable in ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
            command.env(variable, self.path("home"));
        }
        let files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.path("work"))
            // A developer's machine may have swap; all else is sealed as in a cabinet.
            .args(["run", "--insecure-dev", "--config"])
            .arg(self.path("site"))
            .args(arguments)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        drop(files);
        self.running = Some(Running(child));
        self.wait_for("the metrics page", |site| site.fetch("/metrics").is_some());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("node.log")).unwrap_or_default()).into_owned()
    }

    /// A page of the status server. All that came over the wire is kept.
    pub fn fetch(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.metrics, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        self.answers.lock().unwrap().extend_from_slice(&bytes);
        String::from_utf8(bytes).ok()
    }

    /// The value of one series of the metrics page.
    pub fn metric(&self, series: &str) -> f64 {
        let page = self.fetch("/metrics").unwrap_or_default();
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    pub fn released(&self, table: &str) -> f64 {
        self.metric(&format!("kerbside_released_rows_total{{table=\"{table}\"}}"))
    }

    /// Waits until something is so; fails with the node's log when it does not become so.
    pub fn wait_for(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !so(self) {
            assert!(self.runs(), "{what}: the node has ended\n{}", self.log());
            assert!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn runs(&self) -> bool {
        let process = self.running.as_ref().map(|running| Pid::from_child(&running.0));
        let exited = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        process.is_some_and(|process| waitid(WaitId::Pid(process), exited).unwrap().is_none())
    }

    pub fn terminate(&mut self) {
        let status = self.running.take().unwrap().terminate();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Everything that left: the files but the configuration, the log, the answers, and `events` in every format.
    pub fn egress(&self) -> Vec<Piece> {
        let mut pieces = self.files();
        for path in ["/livez", "/readyz", "/metrics", "/", "/setup", "/setup/background.png", "/debug"] {
            self.fetch(path);
        }
        pieces.push(Piece::new("answers of the status server", self.answers.lock().unwrap().clone()));
        for format in ["table", "csv", "json"] {
            let spool = self.path("spool");
            let output = kerbside(["events".as_ref(), spool.as_os_str(), "--format".as_ref(), format.as_ref()]);
            pieces.push(Piece::new(format!("events --format {format}"), [output.stdout, output.stderr].concat()));
        }
        pieces
    }

    /// Every file of the volume but the configuration.
    pub fn files(&self) -> Vec<Piece> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.folder.path()).unwrap().map(Result::unwrap) {
            if entry.file_name() != "site" {
                collect(&entry.path(), self.folder.path(), &mut found);
            }
        }
        found
    }

    /// Whom the node could tell something, and what it could write to, beyond what it is allowed to. Reading this of
    /// a process takes the same user, and root's rights where the process protects itself; `None` without.
    pub fn outlets(&self, cameras: &[u16]) -> Option<Vec<String>> {
        let process = PathBuf::from(format!("/proc/{}", self.running.as_ref().unwrap().0.id()));
        let sockets = sockets(&process);
        let mut found = Vec::new();
        for entry in fs::read_dir(process.join("fd")).ok()? {
            let entry = entry.ok()?;
            // It may be closed meanwhile.
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            let info = fs::read_to_string(process.join("fdinfo").join(entry.file_name())).unwrap_or_default();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0").trim();
            let written = u32::from_str_radix(flags, 8).unwrap_or_default() & 3 != 0;
            if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                match sockets.iter().find(|(number, _)| number == inode).map(|(_, socket)| socket) {
                    Some(Socket::Tcp { local, remote }) => {
                        let status = *local == self.metrics.port();
                        if !status && !cameras.contains(remote) {
                            found.push(format!("a connection from port {local} to {remote}"));
                        }
                    }
                    Some(Socket::Unnamed) => {}
                    Some(Socket::Other(what)) => found.push(what.clone()),
                    // Closed between the two looks.
                    None => {}
                }
            } else if written && target.starts_with('/') && !self.may_write(&target) {
                found.push(format!("{target} is open for writing"));
            }
        }
        Some(found)
    }

    fn may_write(&self, path: &str) -> bool {
        // Memory that has a name; the bit bucket; the test's own log and folders.
        path.starts_with("/memfd:") || path == "/dev/null" || Path::new(path).starts_with(self.folder.path())
    }
}

fn collect(path: &Path, base: &Path, found: &mut Vec<Piece>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
            collect(&entry.path(), base, found);
        }
    } else if let Ok(bytes) = fs::read(path) {
        found.push(Piece::new(path.strip_prefix(base).unwrap().to_string_lossy(), bytes));
    }
}

enum Socket {
    Tcp {
        local: u16,
        remote: u16,
    },
    /// Within the process, or to the kernel.
    Unnamed,
    Other(String),
}

/// The sockets of the node's network by inode.
fn sockets(process: &Path) -> Vec<(String, Socket)> {
    let lines = |name: &str| -> Vec<Vec<String>> {
        let text = fs::read_to_string(process.join("net").join(name)).unwrap_or_default();
        text.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let port =
        |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap_or_default(), 16).unwrap_or(0);
    let mut found = Vec::new();
    for fields in ["tcp", "tcp6"].into_iter().flat_map(lines).filter(|fields| fields.len() > 9) {
        found.push((fields[9].clone(), Socket::Tcp { local: port(&fields[1]), remote: port(&fields[2]) }));
    }
    for kind in ["udp", "udp6", "udplite", "raw", "raw6", "icmp"] {
        for fields in lines(kind).into_iter().filter(|fields| fields.len() > 9) {
            found
                .push((fields[9].clone(), Socket::Other(format!("a {kind} socket: {} {}", fields[1], fields[2]))));
        }
    }
    for fields in lines("packet").into_iter().filter(|fields| fields.len() > 8) {
        found.push((fields[8].clone(), Socket::Other("a packet socket".to_owned())));
    }
    for fields in lines("unix").into_iter().filter(|fields| fields.len() > 6) {
        let socket = match fields.get(7) {
            None => Socket::Unnamed,
            Some(path) => Socket::Other(format!("a unix socket: {path}")),
        };
        found.push((fields[6].clone(), socket));
    }
    for fields in lines("netlink").into_iter().filter(|fields| fields.len() > 9) {
        found.push((fields[9].clone(), Socket::Unnamed));
    }
    found
}
