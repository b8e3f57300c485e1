//! The city's side for tests: certificates, a real gateway, and nodes that send to it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Running, free_port, http_get, kerbside, program, stderr};

/// An authority and a gateway in a folder of their own.
pub struct City {
    pub folder: tempfile::TempDir,
    pub gateway: Running,
    pub address: SocketAddr,
    metrics: SocketAddr,
}

impl City {
    /// Makes certificates for those nodes and starts the gateway. `settings` are further lines of gateway.yaml.
    pub fn start(nodes: &[&str], settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let authority = folder.path().join("authority");
        enroll(["authority".as_ref(), "--out".as_ref(), authority.as_os_str()]);
        let city = folder.path().to_owned();
        enroll_as(&city, "gateway", "gateway", &["--address", "127.0.0.1"]);
        for node in nodes {
            enroll_as(&city, "node", node, &[]);
        }
        let text = format!(
            "listen: \"{address}\"\nmetrics: {{address: \"{metrics}\"}}\n\
             tls: {{certificate: certificates/gateway.pem, key: certificates/gateway.key, \
             authority: certificates/authority.pem}}\n\
             landing: {{folder: landing}}\nstate: {{folder: state}}\naccept_demo: true\n{settings}"
        );
        fs::write(folder.path().join("gateway.yaml"), text).unwrap();
        let gateway = spawn(folder.path());
        let city = Self { folder, gateway, address, metrics };
        city.wait_until_it_listens();
        city
    }

    /// Starts the gateway again.
    pub fn restart(&mut self) {
        self.gateway = spawn(self.folder.path());
        self.wait_until_it_listens();
    }

    /// Another certificate of the authority.
    pub fn enroll(&self, role: &str, name: &str) {
        enroll_as(self.folder.path(), role, name, &[]);
    }

    fn wait_until_it_listens(&self) {
        let since = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(since.elapsed() < Duration::from_secs(60), "the gateway does not listen\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The lines of node.yaml that make a node send here.
    pub fn uplink(&self, node: &str) -> String {
        let certificates = self.folder.path().join("certificates");
        let certificates = certificates.display();
        format!(
            "uplink: {{gateway: \"{}\", certificate: {certificates}/{node}.pem, key: {certificates}/{node}.key, \
             authority: {certificates}/authority.pem}}\n",
            self.address
        )
    }

    pub fn landing(&self) -> PathBuf {
        self.folder.path().join("landing")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("gateway.log")).unwrap_or_default()
    }

    /// The value of one series of the gateway's metrics page.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, page) = http_get(self.metrics, "/metrics")?;
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?.parse().ok()
    }
}

fn spawn(folder: &Path) -> Running {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("gateway.log")).unwrap();
    let mut command = program("kerbside-gateway");
    command.args(["run", "--config"]).arg(folder.join("gateway.yaml"));
    Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

fn enroll_as(city: &Path, role: &str, name: &str, more: &[&str]) {
    let (authority, out) = (city.join("authority"), city.join("certificates"));
    let mut arguments: Vec<&std::ffi::OsStr> = vec![role.as_ref(), name.as_ref()];
    arguments.extend(["--authority".as_ref(), authority.as_os_str(), "--out".as_ref(), out.as_os_str()]);
    arguments.extend(more.iter().map(|argument| AsRef::<std::ffi::OsStr>::as_ref(*argument)));
    enroll(arguments);
}

fn enroll<'a>(arguments: impl IntoIterator<Item = &'a std::ffi::OsStr>) {
    let output = kerbside(std::iter::once("enroll".as_ref()).chain(arguments));
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Links the segments of a spool to where they stay when the node deletes them.
pub fn keep(spool: &Path, oracle: &Path) {
    for table in ["agg.v1", "health.v1", "incident.v1"] {
        let Ok(segments) = fs::read_dir(spool.join(table)) else { continue };
        fs::create_dir_all(oracle.join(table)).unwrap();
        for segment in segments.map(|entry| entry.unwrap().path()) {
            let kept = oracle.join(table).join(segment.file_name().unwrap());
            if segment.extension().is_some_and(|extension| extension == "seg") && !kept.exists() {
                // One that was deleted in this moment was linked when it was new.
                if let Err(error) = fs::hard_link(&segment, &kept) {
                    assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}: {error}", segment.display());
                }
            }
        }
    }
}
