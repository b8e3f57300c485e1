//! What running code sees: resolved, in SI units or types that carry theirs, nothing left to default.
//! The doc comments are the manual of the keys; defaults and ranges stand beside the code that reads them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::diagnostics::Note;
use kerbside_core::finding::Cell;
use kerbside_core::geometry::{Geometry, PointInImage};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::operator::Configured;
use kerbside_core::privacy::Privacy;
use url::Url;

use crate::outflow;
use crate::secret::Secret;
use crate::time_zone::TimeZone;

/// The whole configuration of a node.
#[derive(Debug)]
pub struct Settings {
    /// `node.yaml`.
    pub node: NodeSettings,
    /// `cameras/*.yaml`, sorted by name; at least one.
    pub cameras: Vec<CameraSettings>,
    /// CRC-32C over the names and texts of all files: it changes when any of them does. It goes into
    /// the `cfg_rev` column of released rows. What secret files hold is not in it.
    pub revision: u32,
}

/// What concerns the node as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSettings {
    /// `name`: the node's name in the released tables.
    pub name: String,
    /// `metrics.address`: where the status page and Prometheus metrics are served. Loopback only.
    pub metrics_address: SocketAddr,
    /// `metrics.socket`: a Unix socket on which the same is served, for whoever the folder's rights let in; none if
    /// `None`.
    pub metrics_socket: Option<PathBuf>,
    /// `setup.at_most`: for how long at a time an installer may see a camera's background on the status page; never if
    /// `None`.
    pub setup: Option<Duration>,
    /// `spool`: the durable log of released batches.
    pub spool: SpoolSettings,
    /// `learned.folder`: what operators have learned of their streets, kept for the next start; beside the
    /// spool by default. It need not exist yet.
    pub learned_folder: PathBuf,
    /// `ledger.folder`: the privacy ledger, which keeps what has been released with noise; beside the spool by
    /// default. It need not exist yet, and lies apart from the spool's folder and from what was learned.
    pub ledger_folder: PathBuf,
    /// `detect`: how many threads look for objects.
    pub detect: DetectSettings,
    /// `models`: the folder with the detectors; where the program looks by itself if `None`.
    pub models: Option<PathBuf>,
    /// `uplink`: where the rows go; they stay in the spool if `None`.
    pub uplink: Option<UplinkSettings>,
}

impl NodeSettings {
    /// The keys of `node.yaml` that differ from those in `other` and are read only when a node starts.
    pub fn fixed_keys_changed(&self, other: &Self) -> Vec<&'static str> {
        let fixed = [
            ("name", self.name != other.name),
            ("metrics.address", self.metrics_address != other.metrics_address),
            ("metrics.socket", self.metrics_socket != other.metrics_socket),
            ("spool.folder", self.spool.folder != other.spool.folder),
            ("learned.folder", self.learned_folder != other.learned_folder),
            ("ledger.folder", self.ledger_folder != other.ledger_folder),
            ("detect", self.detect != other.detect),
            ("models", self.models != other.models),
            ("uplink", self.uplink != other.uplink),
        ];
        fixed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
    }
}

/// Which gateway takes the rows. The connection is always TLS 1.3 with certificates on both sides. The files may be
/// missing here: they are read when the node connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkSettings {
    /// `uplink.gateway`, before the port: a host name in lower case or an IP address, without brackets. The
    /// gateway's certificate must name it.
    pub gateway_host: String,
    /// `uplink.gateway`, after the colon; not 0.
    pub gateway_port: u16,
    /// `uplink.certificate`: the node's certificate and those between it and its authority, in PEM. Its one name is
    /// the URI `kerbside:node:NAME`, with the node's `name`.
    pub certificate: PathBuf,
    /// `uplink.key`: its private key in PEM, not encrypted. Only its owner and group may read it.
    pub key: PathBuf,
    /// `uplink.authority`: the certificates that the gateway's must lead to, in PEM.
    pub authority: PathBuf,
    /// `uplink.revoked`: lists of revoked certificates in PEM, one for each issuer in the gateway's chain. No list is
    /// asked if `None`.
    pub revoked: Option<PathBuf>,
}

/// How many threads look for objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectSettings {
    /// `detect.threads`: frames at once, each in a detector of its own. Where the file says 0, as many as the
    /// machine's parallelism has room for.
    pub threads: usize,
    /// `detect.threads_per_frame`: threads that split one frame.
    pub threads_per_frame: usize,
}

/// The durable log of released batches.
#[derive(Clone, Debug, PartialEq)]
pub struct SpoolSettings {
    /// `spool.folder`. It need not exist yet.
    pub folder: PathBuf,
    /// `spool.max_bytes`: how much it may hold.
    pub max_bytes: u64,
    /// `spool.sync_interval`: how long a batch may wait before it is safe from a power cut.
    pub sync_interval: Duration,
    /// `spool.keep`: how long rows stay in it at most, also where nobody fetches them.
    pub keep: Duration,
}

/// One camera.
#[derive(Debug)]
pub struct CameraSettings {
    /// The camera's name: its file's name without `.yaml`.
    pub name: String,
    /// `source`, with `transport`, `tls` and `credentials`.
    pub source: Source,
    /// `analyse_fps`: at most so many frames a second are analysed; the rest is dropped before detection.
    pub analyse_fps: f64,
    /// `detector`.
    pub detector: DetectorSettings,
    /// `classes`: what is looked for, in the order of [`Class::ALL`]; at least one.
    pub classes: Vec<Class>,
    /// `geometry.lines` and `geometry.zones`.
    pub geometry: Geometry,
    /// `geometry.ground`: where the picture's points lie on the street, in metres.
    pub ground: Option<Ground>,
    /// The points by which the ground was given; empty without one.
    pub ground_points: Vec<(PointInImage, PointOnGround)>,
    /// `operators`, in the order of the operator table, then of the file; at least one.
    pub operators: Vec<NamedOperator>,
    /// `privacy`: how counts and incidents are anonymised.
    pub privacy: Privacy,
    /// What its file allows and its writer may not expect, sorted by place.
    pub notes: Vec<Note>,
    /// `time_zone`: which clocks schedules and daily patterns follow.
    pub time_zone: TimeZone,
    /// CRC-32C over the camera's name, its file's text and the defaults that `node.yaml` gives it: it
    /// changes when anything does that this camera's work depends on, except what secret files hold.
    pub revision: u32,
}

impl CameraSettings {
    /// Whether a camera that runs by `revision` and `source` need not be touched to run by these settings. The source
    /// holds what the revision leaves out: the content of secret files.
    pub fn is_as(&self, revision: u32, source: &Source) -> bool {
        self.revision == revision && self.source == *source
    }

    /// The counters that leave: those of all operators but what the privacy profile keeps back.
    pub fn released_cells(&self) -> impl Iterator<Item = &Cell> {
        let cells = self.operators.iter().flat_map(|named| &named.configured.cells);
        cells.filter(|cell| self.privacy.profile.releases(cell))
    }

    /// How many numbers the camera releases in a day, each of [`crate::BYTES_PER_NUMBER`].
    pub fn numbers_per_day(&self) -> u64 {
        outflow::numbers_per_day(self.released_cells(), &self.privacy)
    }
}

/// Where frames come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A network camera: `rtsp://` or `rtsps://`.
    Rtsp(RtspSource),
    /// A clip on disk: a path or `file:///`.
    File(FileSource),
}

/// A network camera.
#[derive(Clone, PartialEq)]
pub struct RtspSource {
    /// The address, without user name and password.
    pub url: Url,
    /// `transport`: how media packets travel.
    pub transport: Transport,
    /// `credentials`; `None` also where they were not read, as for `replay`.
    pub credentials: Option<Credentials>,
    /// `tls.ca`: the certificates that an `rtsps` camera's certificate must lead to; the system's where `None`.
    pub tls_ca: Option<PathBuf>,
}

impl fmt::Debug for RtspSource {
    /// Scheme and host alone: some cameras take passwords in the path or query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtspSource")
            .field("url", &format_args!("{}://{}/…", self.url.scheme(), self.url.host_str().unwrap_or_default()))
            .field("transport", &self.transport)
            .field("credentials", &self.credentials)
            .field("tls_ca", &self.tls_ca)
            .finish()
    }
}

/// How media packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `tcp`: inside the RTSP connection. Passes firewalls, loses nothing.
    Tcp,
    /// `udp`: beside it. A little less delay, lost packets show as broken frames.
    Udp,
}

/// What a camera asks for before it streams.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    /// `credentials.username`.
    pub username: String,
    /// The content of the file at `credentials.password.file`.
    pub password: Secret,
}

/// A clip on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// The clip. Where files were checked, without symbolic links.
    pub path: PathBuf,
}

/// How objects are found.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorSettings {
    /// `detector.model`: a name from [`crate::Catalogue::models`].
    pub model: String,
    /// `detector.min_score`: detections that are less sure than this are dropped, 0..1.
    pub min_score: f32,
}

/// One entry under `operators`.
pub struct NamedOperator {
    /// The operator's name.
    pub name: &'static str,
    /// The operator itself, ready to run, with the counters that it feeds.
    pub configured: Configured,
}

impl fmt::Debug for NamedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedOperator")
            .field("name", &self.name)
            .field("cells", &self.configured.cells)
            .finish_non_exhaustive()
    }
}
