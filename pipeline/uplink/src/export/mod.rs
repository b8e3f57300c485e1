//! A spool for the pocket: sealed segments, copied into a folder that somebody carries to the gateway.
//!
//! ```text
//! <folder>/agg.v1/<segment>.seg …   as they lie in the spool
//!          manifest.json            what belongs to it: node, sizes, SHA-256
//!          node.pem                 the node's certificate and those above it
//!          manifest.sig             a signature over manifest.json by the node's key; written last
//! ```
//!
//! The folder is signed and not encrypted: it holds released rows and nothing else. A spool is only read, also while
//! its node runs. Rows that are not in a sealed segment yet stay behind for the next time.
//!
//! [`verify_manifest`] is the other side. What comes in there may come from anybody.
//!
//! Clocks and threads: none; time comes in as a parameter.

mod error;
mod manifest;
mod signature;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use kerbside_core::time::WallTime;
use kerbside_release::Table;
use sha2::{Digest as _, Sha256};

use crate::disk::{self, AppendFile};
use crate::error::ReadError;
use crate::format::parse_file_name;
use crate::read::segments_in;
use crate::segment::examine;
use crate::tls::{Identity, Role, TlsError, TlsFiles, load, provider};

pub use error::ExportError;
pub use manifest::{ExportedSegment, Manifest};
pub use signature::{Scheme, verify_manifest};

/// The manifest's file.
pub const MANIFEST: &str = "manifest.json";
/// The file with the signature over it.
pub const SIGNATURE: &str = "manifest.sig";
/// The file with the certificate that the signature belongs to.
pub const CERTIFICATE: &str = "node.pem";
/// The largest manifest, in bytes: some 60 000 segments.
pub const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Segments in the folder.
    pub segments: usize,
    /// Their size, in bytes.
    pub bytes: u64,
    /// Segments that still grow: they stay behind.
    pub open: usize,
    /// Segments that the node has deleted meanwhile, since the gateway has them or they were too old.
    pub vanished: usize,
}

/// Copies the sealed segments of a spool into `out`, which must be empty or not there yet, and signs for them.
///
/// # Errors
/// The certificate is not that of the node of this name, `out` is not empty, or a file cannot be read or written.
/// What was copied until then has no signature.
pub fn export(
    spool: &Path,
    node: &str,
    files: &TlsFiles,
    out: &Path,
    created: WallTime,
) -> Result<Exported, ExportError> {
    // First, so that nothing is copied in vain.
    let key = load::own(files, &provider(), &[Role::Node])?;
    let identity = Identity { role: Role::Node, name: node.to_owned() };
    let found = key.end_entity_cert().map_err(TlsError::Setup).and_then(crate::tls::identity_of)?;
    if found != identity {
        return Err(ExportError::OtherNode {
            certificate: files.certificate.clone(),
            found,
            node: node.to_owned(),
        });
    }
    let signer = signature::signer(&key).ok_or_else(|| ExportError::KeyKind { key: files.key.clone() })?;
    let chain = fs::read(&files.certificate).map_err(ExportError::io("read", &files.certificate))?;
    empty_folder(out)?;

    let mut exported = Exported::default();
    let mut segments = Vec::new();
    for table in Table::ALL {
        for path in paths(&spool.join(table.name()))? {
            match sealed(&path)? {
                Some(true) => {}
                Some(false) => {
                    exported.open += 1;
                    continue;
                }
                None => {
                    exported.vanished += 1;
                    continue;
                }
            }
            let name = path.file_name().and_then(|name| name.to_str()).and_then(parse_file_name);
            let (epoch, first_seq) = name.expect("only names of segments are listed");
            let segment = ExportedSegment { table, epoch, first_seq, bytes: 0, sha256: [0; 32] };
            match copy(&path, &out.join(segment.file()))? {
                Some((bytes, sha256)) => {
                    exported.segments += 1;
                    exported.bytes += bytes;
                    segments.push(ExportedSegment { bytes, sha256, ..segment });
                }
                None => exported.vanished += 1,
            }
        }
    }
    let manifest = Manifest { node: node.to_owned(), created, scheme: signer.scheme, segments }.encode()?;
    let signature = signer.sign(&manifest)?;
    write(&out.join(CERTIFICATE), &chain)?;
    write(&out.join(MANIFEST), &manifest)?;
    write(&out.join(SIGNATURE), &signature)?;
    disk::sync_folder(out).map_err(ExportError::io("synced", out))?;
    Ok(exported)
}

/// Makes the folder; refuses one that holds something.
fn empty_folder(out: &Path) -> Result<(), ExportError> {
    disk::create_folder(out).map_err(ExportError::io("made", out))?;
    match fs::read_dir(out).map_err(ExportError::io("read", out))?.next() {
        None => Ok(()),
        Some(_) => Err(ExportError::NotEmpty(out.to_owned())),
    }
}

/// The segments of a table; none when it has no folder.
fn paths(folder: &Path) -> Result<Vec<std::path::PathBuf>, ExportError> {
    match segments_in(folder) {
        Err(ReadError::Missing(_)) => Ok(Vec::new()),
        other => Ok(other?),
    }
}

/// Whether a segment is sealed; `None` when it is gone.
fn sealed(path: &Path) -> Result<Option<bool>, ExportError> {
    match examine(path) {
        Ok(found) => Ok(Some(found.sealed)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ExportError::io("read", path)(error)),
    }
}

/// Copies a file; its size and hash, or `None` when it is gone.
fn copy(from: &Path, to: &Path) -> Result<Option<(u64, [u8; 32])>, ExportError> {
    let mut source = match File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ExportError::io("read", from)(error)),
    };
    let folder = to.parent().expect("a segment lies in its table's folder");
    disk::create_folder(folder).map_err(ExportError::io("made", folder))?;
    let mut target = AppendFile::create(to).map_err(ExportError::io("written", to))?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ExportError::io("read", from)(error)),
        };
        hash.update(&buffer[..count]);
        target.append(&buffer[..count]).map_err(ExportError::io("written", to))?;
        bytes += count as u64;
    }
    target.sync().map_err(ExportError::io("synced", to))?;
    disk::sync_folder(folder).map_err(ExportError::io("synced", folder))?;
    Ok(Some((bytes, hash.finalize().into())))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let mut file = AppendFile::create(path).map_err(ExportError::io("written", path))?;
    file.append(bytes).map_err(ExportError::io("written", path))?;
    file.sync().map_err(ExportError::io("synced", path))
}
