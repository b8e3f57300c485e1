//! Following a spool while another process writes to it.
//!
//! [`Follower::poll`] gives what is new. A frame that is not whole yet is no damage as long as its
//! segment is the newest of its table; it is looked at again at the next call.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use kerbside_release::Table;

use crate::disk::{self, File, ReadAt as _};
use crate::error::ReadError;
use crate::format::SEGMENT_HEADER;
use crate::read::{Expected, Item, Reader, SegmentReader, Source, recognise, segments_in};
use crate::stream::folder_of;

/// Reads what is there, and then what is added.
pub struct Follower {
    tails: Vec<Tail>,
    /// A source that does not grow, read once.
    still: Option<Reader>,
}

/// One table's segments.
struct Tail {
    place: Place,
    current: Option<SegmentReader>,
    expected: Expected,
}

enum Place {
    Folder(PathBuf),
    Segment(PathBuf),
}

impl Follower {
    /// Opens what [`Reader::open`] opens. Table files do not grow: their rows come once.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let path = path.as_ref();
        let mut tails = Vec::new();
        if disk::is_folder(path).map_err(ReadError::io(path))? {
            let folders: Vec<PathBuf> = Table::ALL.map(|table| folder_of(path, table)).into();
            if folders.iter().any(|folder| disk::is_folder(folder).unwrap_or(false)) {
                tails.extend(folders.into_iter().map(|folder| Tail::new(Place::Folder(folder))));
            } else if !segments_in(path)?.is_empty() {
                tails.push(Tail::new(Place::Folder(path.to_owned())));
            }
        } else if let Source::Segment(path) = recognise(path)? {
            tails.push(Tail::new(Place::Segment(path)));
        }
        let still = if tails.is_empty() { Some(Reader::open(path)?) } else { None };
        Ok(Self { tails, still })
    }

    /// All that is new since the last call, in order.
    pub fn poll(&mut self) -> Result<Vec<Item>, ReadError> {
        let mut items = Vec::new();
        if let Some(reader) = self.still.take() {
            for item in reader {
                items.push(item?);
            }
        }
        for tail in &mut self.tails {
            tail.poll(&mut items)?;
        }
        Ok(items)
    }
}

impl Tail {
    fn new(place: Place) -> Self {
        Self { place, current: None, expected: Expected::default() }
    }

    fn poll(&mut self, items: &mut Vec<Item>) -> Result<(), ReadError> {
        // Listed before reading: a segment that has a successor in the list gets no more frames.
        let mut successors = self.successors()?;
        loop {
            let complete = !successors.is_empty();
            if let Some(segment) = &mut self.current {
                while let Some(item) = segment.next(&mut self.expected, complete)? {
                    items.push(item);
                }
            }
            let Some(next) = successors.pop_front() else { return Ok(()) };
            if successors.is_empty() && is_begun(&next) {
                // Just made: its header is on the way.
                return Ok(());
            }
            match SegmentReader::open(&next) {
                Ok(segment) => self.current = Some(segment),
                // Dropped since the list was made: the next segment shows what is missing.
                Err(ReadError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The segments after the one that is being read.
    fn successors(&self) -> Result<VecDeque<PathBuf>, ReadError> {
        let folder = match (&self.place, &self.current) {
            (Place::Segment(_), Some(_)) => return Ok(VecDeque::new()),
            (Place::Segment(path), None) => return Ok(VecDeque::from([path.clone()])),
            (Place::Folder(folder), _) => folder,
        };
        let mut segments = match segments_in(folder) {
            Ok(segments) => segments,
            // Not made yet.
            Err(ReadError::Missing(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        if let Some(current) = &self.current {
            segments.retain(|path| path.file_name() > current.path.file_name());
        }
        Ok(segments.into())
    }
}

/// Whether a segment's header is not whole yet.
fn is_begun(path: &Path) -> bool {
    File::open(path).and_then(|file| file.len()).is_ok_and(|len| len < SEGMENT_HEADER as u64)
}
