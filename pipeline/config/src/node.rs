//! `node.yaml`: what concerns the node as a whole, and defaults for all cameras.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kerbside_core::tree::{Field, Reader};

use crate::Catalogue;
use crate::files;
use crate::privacy::refuse_labels;
use crate::reading::{loopback, path};
use crate::settings::{DetectSettings, NodeSettings, SpoolSettings};
use crate::shared::Shared;
use crate::uplink;

const METRICS_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9600);
/// What Linux has room for in the address of a socket, with its end.
const MAX_SOCKET_PATH: usize = 107;
/// Rule PC-17 of the privacy contract.
const SETUP_AT_MOST: RangeInclusive<Duration> = Duration::from_secs(5 * 60)..=Duration::from_secs(60 * 60);
const SPOOL_FOLDER: &str = "/var/lib/kerbside/spool";
const SPOOL_MAX_BYTES: u64 = 512 << 20;
const SPOOL_SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The longest that rule PC-19 of the privacy contract allows.
const SPOOL_KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Beside the spool.
const LEARNED_FOLDER: &str = "learned";
/// Beside the spool.
const LEDGER_FOLDER: &str = "ledger";
/// What paths lead to.
const FOLDER: &str = "a folder";
const MAX_THREADS: u64 = 256;
const THREADS_PER_FRAME: usize = 1;
const MAX_THREADS_PER_FRAME: u64 = 64;

/// Reads the node's settings and the cameras' defaults from `file`. The settings are `None` only when there
/// is a problem in the report.
pub(crate) fn read(reader: &Reader<'_>, file: &Path, catalogue: &Catalogue<'_>) -> (Option<NodeSettings>, Shared) {
    let name = reader.required("name").and_then(|field| field.name().map(str::to_owned));
    let (metrics_address, metrics_socket) = status_pages(reader, file);
    let setup = reader.optional("setup").and_then(|field| {
        let map = field.map()?;
        let at_most = map.required("at_most").and_then(|field| field.duration(SETUP_AT_MOST));
        map.finish();
        at_most
    });
    let spool = spool(reader.optional("spool").as_ref(), file);
    let learned_folder = reader
        .optional("learned")
        .and_then(|field| {
            let map = field.map()?;
            let folder = map.optional("folder").and_then(|field| path(&field, file, FOLDER));
            map.finish();
            folder
        })
        .unwrap_or_else(|| spool.folder.with_file_name(LEARNED_FOLDER));
    let ledger_folder = ledger_folder(reader, file, &spool.folder, &learned_folder);
    let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
    let detect = detect(reader.optional("detect").as_ref(), parallelism);
    let models = reader.optional("models").and_then(|field| folder(&field, file));
    let uplink = reader.optional("uplink").and_then(|field| uplink::read(&field, file));
    let mut defaults = Shared::built_in(catalogue);
    if let Some(map) = reader.optional("defaults").as_ref().and_then(Field::map) {
        defaults = defaults.overlaid(&map, catalogue);
        map.finish();
    }
    refuse_labels(reader);
    reader.finish();
    let settings = name.map(|name| NodeSettings {
        name,
        metrics_address,
        metrics_socket,
        setup,
        spool,
        learned_folder,
        ledger_folder,
        detect,
        models,
        uplink,
    });
    (settings, defaults)
}

/// Where the status page and metrics are served.
pub(crate) fn status_pages(reader: &Reader<'_>, file: &Path) -> (SocketAddr, Option<PathBuf>) {
    let Some(map) = reader.optional("metrics").as_ref().and_then(Field::map) else {
        return (METRICS_ADDRESS, None);
    };
    let address = map.optional("address").and_then(|field| loopback(&field)).unwrap_or(METRICS_ADDRESS);
    let socket = map.optional("socket").and_then(|field| {
        let path = path(&field, file, "a Unix socket")?;
        let length = path.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            let what = format!("{} has {length} bytes", path.display());
            field.problem(what, format!("the path of a Unix socket has at most {MAX_SOCKET_PATH} bytes"));
            return None;
        }
        Some(path)
    });
    map.finish();
    (address, socket)
}

/// The `models` folder that `node.yaml` names, if it exists.
pub(crate) fn models_folder(reader: &Reader<'_>, file: &Path) -> Option<PathBuf> {
    Some(files::beside(file, Path::new(reader.optional("models")?.text()?))).filter(|path| path.is_dir())
}

/// `parallelism` is how many threads the machine runs at once.
fn detect(field: Option<&Field<'_>>, parallelism: usize) -> DetectSettings {
    let map = field.and_then(Field::map);
    let number = |key: &'static str, range: RangeInclusive<u64>| -> Option<usize> {
        map.as_ref()?.optional(key)?.integer(range, "threads")?.try_into().ok()
    };
    let threads = number("threads", 0..=MAX_THREADS).filter(|threads| *threads > 0);
    let threads_per_frame = number("threads_per_frame", 1..=MAX_THREADS_PER_FRAME).unwrap_or(THREADS_PER_FRAME);
    if let Some(map) = &map {
        map.finish();
    }
    let threads = threads.unwrap_or_else(|| (parallelism / threads_per_frame).max(1));
    DetectSettings { threads, threads_per_frame }
}

fn spool(field: Option<&Field<'_>>, file: &Path) -> SpoolSettings {
    let mut settings = SpoolSettings {
        folder: SPOOL_FOLDER.into(),
        max_bytes: SPOOL_MAX_BYTES,
        sync_interval: SPOOL_SYNC_INTERVAL,
        keep: SPOOL_KEEP,
    };
    let Some(map) = field.and_then(Field::map) else { return settings };
    if let Some(path) = map.optional("folder").and_then(|field| path(&field, file, FOLDER)) {
        settings.folder = path;
    }
    if let Some(bytes) = map.optional("max_bytes").and_then(|field| field.size(16 << 20..=1 << 40)) {
        settings.max_bytes = bytes;
    }
    let range = Duration::from_millis(100)..=Duration::from_secs(60);
    if let Some(interval) = map.optional("sync_interval").and_then(|field| field.duration(range)) {
        settings.sync_interval = interval;
    }
    let range = Duration::from_secs(60 * 60)..=SPOOL_KEEP;
    if let Some(keep) = map.optional("keep").and_then(|field| field.duration(range)) {
        settings.keep = keep;
    }
    map.finish();
    settings
}

/// The ledger's folder. What shows that the ledger was deleted lies in the spool's, so that neither may go with the
/// other; the spool and what was learned may be deleted, the ledger may not.
fn ledger_folder(reader: &Reader<'_>, file: &Path, spool: &Path, learned: &Path) -> PathBuf {
    let map = reader.optional("ledger").and_then(|field| field.map());
    let named = map.as_ref().and_then(|map| map.optional("folder"));
    if let Some(map) = &map {
        map.finish();
    }
    let folder = named.as_ref().and_then(|field| path(field, file, FOLDER));
    let folder = folder.unwrap_or_else(|| spool.with_file_name(LEDGER_FOLDER));
    for (other, whose) in [(spool, "the spool's folder"), (learned, "the folder of what was learned")] {
        if folder.starts_with(other) || other.starts_with(&folder) {
            let what = format!("{} and {whose}, {}, are not apart", folder.display(), other.display());
            let allowed = "a folder for the privacy ledger alone is expected as ledger.folder";
            match &named {
                Some(field) => field.problem(what, allowed),
                None => reader.problem(what, allowed),
            }
        }
    }
    folder
}

fn folder(field: &Field<'_>, file: &Path) -> Option<PathBuf> {
    let path = path(field, file, FOLDER)?;
    if path.is_dir() {
        return Some(path);
    }
    field.problem(format!("there is no folder {}", path.display()), "an existing folder is expected");
    None
}
