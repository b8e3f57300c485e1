//! `manifest.json`: what belongs to an export.

use std::collections::HashSet;
use std::fmt::Write as _;

use kerbside_core::time::WallTime;
use kerbside_core::tree::is_name;
use kerbside_release::Table;
use serde::{Deserialize, Serialize};

use super::{ExportError, MAX_MANIFEST_BYTES, Scheme};
use crate::format::file_name;

/// The version of the layout.
const VERSION: u32 = 1;

/// What belongs to an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The node's name.
    pub node: String,
    /// When the export was made, by the node's clock.
    pub created: WallTime,
    /// How it is signed.
    pub scheme: Scheme,
    /// The segments; no two have the same table, epoch and first row.
    pub segments: Vec<ExportedSegment>,
}

/// One segment of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedSegment {
    /// Its table.
    pub table: Table,
    /// Its epoch.
    pub epoch: u32,
    /// The number of its first row.
    pub first_seq: u64,
    /// Its size, in bytes.
    pub bytes: u64,
    /// The SHA-256 of it.
    pub sha256: [u8; 32],
}

impl ExportedSegment {
    /// Where it lies, from the export's folder on. It follows from the other fields, so that no manifest leads out of
    /// the folder.
    pub fn file(&self) -> String {
        format!("{}/{}", self.table.name(), file_name(self.epoch, self.first_seq))
    }
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    node: String,
    created: String,
    signature: String,
    segments: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    table: String,
    file: String,
    bytes: u64,
    sha256: String,
    epoch: u32,
    first_seq: u64,
}

impl Manifest {
    /// As JSON.
    ///
    /// # Errors
    /// It would be larger than is read.
    pub fn encode(&self) -> Result<Vec<u8>, ExportError> {
        let entry = |segment: &ExportedSegment| Entry {
            table: segment.table.name().to_owned(),
            file: segment.file(),
            bytes: segment.bytes,
            sha256: hex(&segment.sha256),
            epoch: segment.epoch,
            first_seq: segment.first_seq,
        };
        let document = Document {
            version: VERSION,
            node: self.node.clone(),
            created: self.created.to_string(),
            signature: self.scheme.name().to_owned(),
            segments: self.segments.iter().map(entry).collect(),
        };
        let mut bytes = serde_json::to_vec_pretty(&document).map_err(|error| refused(error.to_string()))?;
        bytes.push(b'\n');
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(refused(format!("{} segments are too many for one export", self.segments.len())));
        }
        Ok(bytes)
    }

    /// Reads what [`Manifest::encode`] has written. That it is signed is not looked at here.
    ///
    /// # Errors
    /// It is anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, ExportError> {
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(refused(format!("it has more than {MAX_MANIFEST_BYTES} bytes")));
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
        let Document { version, node, created, signature, segments } = document;
        if version != VERSION {
            return Err(refused(format!("it has version {version}; this program reads version {VERSION}")));
        }
        if !is_name(&node) {
            return Err(refused("its node has no name".to_owned()));
        }
        let created =
            WallTime::parse_rfc3339(&created).ok_or_else(|| refused("its time is none of RFC 3339".to_owned()))?;
        let scheme = Scheme::from_name(&signature)
            .ok_or_else(|| refused("it is signed in a way that this program does not know".to_owned()))?;
        let mut seen = HashSet::new();
        let segments = (1..)
            .zip(&segments)
            .map(|(number, entry)| {
                segment(entry)
                    .filter(|_| seen.insert(entry.file.as_str()))
                    .ok_or_else(|| refused(format!("entry {number} is damaged, unknown here or a repetition")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { node, created, scheme, segments })
    }
}

fn segment(entry: &Entry) -> Option<ExportedSegment> {
    let Entry { table, file, bytes, sha256, epoch, first_seq } = entry;
    let table = Table::ALL.into_iter().find(|known| known.name() == table)?;
    let segment =
        ExportedSegment { table, epoch: *epoch, first_seq: *first_seq, bytes: *bytes, sha256: from_hex(sha256)? };
    (segment.file() == *file).then_some(segment)
}

fn refused(what: String) -> ExportError {
    ExportError::Manifest(what)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes whatever is written to it");
        text
    })
}

/// Lower-case digits only, so that there is one way to write a hash.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}
