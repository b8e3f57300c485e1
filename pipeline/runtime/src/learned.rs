//! What operators have learned of their streets, kept on disk from one start to the next.
//!
//! One file an operator, `<folder>/<camera>/<operator>-<n>.learned`, where n counts the entries of one operator
//! from 0. A file is replaced as a whole: written beside, synced, renamed. It is a header (magic, length,
//! CRC-32C) and the operator's own bytes, which hold statistics and neither tracks nor pictures.
//!
//! A file that is missing, damaged or of another version costs what was learned and nothing else: the operator
//! begins anew, and the log says so.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kerbside_core::operator::Operator;
use tracing::{info, warn};

/// How often what was learned is written: a power cut costs no more than this.
pub(crate) const REMEMBER_EVERY: Duration = Duration::from_secs(600);

const MAGIC: [u8; 8] = *b"KERBLRN1";
const HEADER: usize = MAGIC.len() + 8 + 4;
/// The most that one operator may keep.
const MAX_BYTES: u64 = 64 << 20;

/// What one operator has learned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    camera: String,
    operator: String,
    bytes: Vec<u8>,
}

impl Memory {
    /// Whose operator has learned it.
    pub(crate) fn camera(&self) -> &str {
        &self.camera
    }

    /// Whether both are of the same operator.
    pub(crate) fn is_of_same(&self, other: &Self) -> bool {
        (&self.camera, &self.operator) == (&other.camera, &other.operator)
    }
}

/// One operator with the name that its memory has.
pub(crate) struct Named {
    camera: String,
    name: String,
    pub(crate) operator: Box<dyn Operator>,
}

impl Named {
    /// Names the operators of a camera, in their order.
    pub(crate) fn all(
        camera: &str,
        operators: impl IntoIterator<Item = (&'static str, Box<dyn Operator>)>,
    ) -> Vec<Self> {
        let mut named: Vec<Self> = Vec::new();
        for (name, operator) in operators {
            let number =
                (0..).find(|n| named.iter().all(|other| other.name != format!("{name}-{n}"))).unwrap_or(0);
            named.push(Self { camera: camera.to_owned(), name: format!("{name}-{number}"), operator });
        }
        named
    }

    /// The operator's name in the table, without the number of its entry.
    pub(crate) fn kind(&self) -> &str {
        self.name.rsplit_once('-').map_or(self.name.as_str(), |(kind, _)| kind)
    }

    /// What it has learned, if it learns.
    pub(crate) fn remember(&self) -> Option<Memory> {
        let mut bytes = Vec::new();
        self.operator.remember(&mut bytes);
        let Self { camera, name, .. } = self;
        (!bytes.is_empty()).then(|| Memory { camera: camera.clone(), operator: name.clone(), bytes })
    }

    /// Gives it what the last start has left.
    pub(crate) fn recall(&mut self, folder: &Path) {
        if self.remember().is_none() {
            return;
        }
        let path = path_of(folder, &self.camera, &self.name);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                warn!(file = %path.display(), %error, "what was learned cannot be read: it is learned anew");
                return;
            }
        };
        match self.operator.recall(&bytes) {
            Ok(()) => info!(camera = self.camera, operator = self.name, "goes on from what was learned"),
            Err(error) => {
                warn!(file = %path.display(), %error, "what was learned does not fit: it is learned anew");
            }
        }
    }
}

/// Replaces the file of a memory.
pub(crate) fn store(folder: &Path, memory: &Memory) -> io::Result<()> {
    let path = path_of(folder, &memory.camera, &memory.operator);
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent)?;
    let beside = path.with_extension("new");
    write(&beside, &memory.bytes).and_then(|()| fs::rename(&beside, &path)).inspect_err(|_| {
        // On a full disk it would only be in the way.
        let _ = fs::remove_file(&beside);
    })?;
    File::open(parent)?.sync_all()
}

/// Whether anything can be kept in the folder, which is made if need be.
pub(crate) fn try_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let probe = folder.join("probe.new");
    let tried = write(&probe, b"probe");
    tried.and_then(|()| fs::remove_file(&probe))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&MAGIC)?;
    file.write_all(&(bytes.len() as u64).to_le_bytes())?;
    file.write_all(&crc32c::crc32c(bytes).to_le_bytes())?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn path_of(folder: &Path, camera: &str, operator: &str) -> PathBuf {
    folder.join(camera).join(format!("{operator}.learned"))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let damaged = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if fs::metadata(path)?.len() > MAX_BYTES {
        return damaged("it is too large");
    }
    let bytes = fs::read(path)?;
    let Some((header, payload)) = bytes.split_at_checked(HEADER) else { return damaged("it is cut off") };
    let (magic, rest) = header.split_at(MAGIC.len());
    let (length, checksum) = rest.split_at(8);
    if magic != MAGIC {
        return damaged("it is no file of learned statistics");
    }
    if length != (payload.len() as u64).to_le_bytes() || checksum != crc32c::crc32c(payload).to_le_bytes() {
        return damaged("its checksum is wrong");
    }
    Ok(payload.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerbside_core::finding::Findings;
    use kerbside_core::observation::Observation;
    use kerbside_core::operator::RecallError;
    use kerbside_core::time::MediaTime;

    struct Learner(Vec<u8>);

    impl Operator for Learner {
        fn observe(&mut self, _observation: &Observation<'_>, _findings: &mut Findings) {}
        fn advance(&mut self, _upto: MediaTime, _findings: &mut Findings) {}
        fn finish(&mut self, _findings: &mut Findings) {}
        fn remember(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(&self.0);
        }
        fn recall(&mut self, bytes: &[u8]) -> Result<(), RecallError> {
            self.0 = bytes.to_vec();
            Ok(())
        }
    }

    fn learners(knowledge: [&[u8]; 2]) -> Vec<Named> {
        let boxed = knowledge.map(|known| ("detect", Box::new(Learner(known.to_vec())) as Box<dyn Operator>));
        Named::all("north", boxed)
    }

    fn known(named: &Named) -> Vec<u8> {
        named.remember().map(|memory| memory.bytes).unwrap_or_default()
    }

    #[test]
    fn two_entries_of_one_operator_remember_their_own() {
        let folder = tempfile::tempdir().unwrap();
        for named in learners([b"first", b"second"]) {
            store(folder.path(), &named.remember().unwrap()).unwrap();
        }
        let mut after = learners([b"new", b"new"]);
        for named in &mut after {
            named.recall(folder.path());
        }
        assert_eq!([known(&after[0]), known(&after[1])], [b"first".to_vec(), b"second".to_vec()]);
        assert!(learners([b"", b""])[0].remember().is_none(), "who learns nothing leaves no file");
    }

    #[test]
    fn a_damaged_file_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let named = &mut learners([b"what a street is like", b""])[0];
        store(folder.path(), &named.remember().unwrap()).unwrap();
        let path = folder.path().join("north/detect-0.learned");
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 0x10;
            fs::write(&path, &flipped).unwrap();
            assert!(read(&path).is_err(), "byte {place}");
            fs::write(&path, &whole[..place]).unwrap();
            assert!(read(&path).is_err(), "cut at {place}");
        }
        let mut anew = learners([b"new", b"new"]);
        anew[0].recall(folder.path());
        assert_eq!(known(&anew[0]), b"new");
    }
}
