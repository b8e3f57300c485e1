//! Reading released rows back: a spool, one table's folder, one segment, the tables of a replay, or a gateway's landing.
//!
//! Rows come in the order of their numbers, table by table. What is damaged or missing comes as an
//! item at its place. A row whose checksum is wrong never comes.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use kerbside_release::Table;

use crate::codec::Decoder;
use crate::disk::{self, File, ReadAt as _};
use crate::error::{Damage, Gap, ReadError};
use crate::format::{BadHeader, FrameHeader, FrameKind, SEGMENT_HEADER, SEGMENT_MAGIC, VERSION, parse_file_name};
use crate::parquet_file::{self, ParquetFile};
use crate::scan::{Scanner, Step};
use crate::stream::folder_of;
use crate::table_file::{self, TableFile};

/// What a reader finds.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Rows of a table.
    Batch {
        /// The table.
        table: Table,
        /// The rows.
        batch: RecordBatch,
    },
    /// Bytes from which no row could be taken.
    Damage(Damage),
    /// Rows that are not there though later ones are.
    Gap(Gap),
}

/// Reads all there is, once.
pub struct Reader {
    sources: VecDeque<Source>,
    current: Option<Current>,
    expected: Expected,
}

/// A file to read. The names of segments tell their age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    Segment(PathBuf),
    Table(PathBuf),
    Parquet(PathBuf),
}

enum Current {
    Segment(SegmentReader),
    Table(TableFile),
    Parquet(ParquetFile),
}

impl Reader {
    /// Opens a spool's folder, a table's folder in it, a segment, a replay's output or one of its files, a gateway's landing or
    /// one of its files.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let path = path.as_ref();
        let is_folder = disk::is_folder(path).map_err(ReadError::io(path))?;
        let sources = if is_folder { sources_in(path)? } else { vec![recognise(path)?] };
        Ok(Self { sources: sources.into(), current: None, expected: Expected::default() })
    }

    fn next_item(&mut self) -> Result<Option<Item>, ReadError> {
        loop {
            let item = match &mut self.current {
                None => {
                    let Some(source) = self.sources.pop_front() else { return Ok(None) };
                    self.current = match source {
                        Source::Segment(path) => match SegmentReader::open(&path) {
                            Ok(segment) => Some(Current::Segment(segment)),
                            // The writer may drop old segments while we read.
                            Err(ReadError::Missing(_)) => None,
                            Err(error) => return Err(error),
                        },
                        Source::Table(path) => Some(Current::Table(TableFile::open(&path)?)),
                        Source::Parquet(path) => match ParquetFile::open(&path) {
                            Ok(file) => Some(Current::Parquet(file)),
                            // A gateway may merge small files while we read.
                            Err(ReadError::Missing(_)) => None,
                            Err(error) => return Err(error),
                        },
                    };
                    continue;
                }
                Some(Current::Segment(segment)) => segment.next(&mut self.expected, true)?,
                Some(Current::Table(table)) => table.next_item()?,
                Some(Current::Parquet(file)) => file.next_item(),
            };
            match item {
                Some(item) => return Ok(Some(item)),
                None => self.current = None,
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Item, ReadError>;

    /// After an error nothing comes any more.
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.next_item().transpose();
        if matches!(item, Some(Err(_))) {
            self.sources.clear();
            self.current = None;
        }
        item
    }
}

/// The files in a folder, in the order in which they are read.
fn sources_in(folder: &Path) -> Result<Vec<Source>, ReadError> {
    let mut sources = Vec::new();
    let mut is_spool = false;
    for table in Table::ALL {
        let of_table = folder_of(folder, table);
        if disk::is_folder(&of_table).unwrap_or(false) {
            is_spool = true;
            sources.extend(segments_in(&of_table)?.into_iter().map(Source::Segment));
            sources.extend(parquet_file::files_below(&of_table)?.into_iter().map(Source::Parquet));
        }
    }
    if is_spool {
        return Ok(sources);
    }
    sources.extend(segments_in(folder)?.into_iter().map(Source::Segment));
    if sources.is_empty() {
        let files = Table::ALL.map(|table| table_file::path_of(folder, table));
        sources.extend(files.into_iter().filter(|file| file.is_file()).map(Source::Table));
        sources.extend(parquet_file::files_below(folder)?.into_iter().map(Source::Parquet));
    }
    if sources.is_empty() { Err(ReadError::NothingThere(folder.to_owned())) } else { Ok(sources) }
}

/// The segments in a table's folder, oldest first.
pub(crate) fn segments_in(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut segments = Vec::new();
    for name in disk::names_in(folder).map_err(ReadError::io(folder))? {
        if let Some(key) = parse_file_name(&name) {
            segments.push((key, folder.join(name)));
        }
    }
    segments.sort();
    Ok(segments.into_iter().map(|(_, path)| path).collect())
}

/// What a file is, by its first bytes; by its name where those are damaged.
pub(crate) fn recognise(path: &Path) -> Result<Source, ReadError> {
    let mut start = [0; 8];
    let read = File::open(path).and_then(|file| file.read_at(0, &mut start));
    let found = read.map_err(ReadError::io(path))?;
    let named =
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| parse_file_name(name).is_some());
    if start == SEGMENT_MAGIC || named {
        return Ok(Source::Segment(path.to_owned()));
    }
    if start.starts_with(table_file::MAGIC) {
        return Ok(Source::Table(path.to_owned()));
    }
    if start.starts_with(parquet_file::MAGIC) {
        return Ok(Source::Parquet(path.to_owned()));
    }
    let found = if found == 0 { "it is empty" } else { "its first bytes are unknown" };
    Err(ReadError::Unknown { path: path.to_owned(), found: found.to_owned() })
}

/// The number of the row that must come next. It spans segments, and finds gaps and repetitions.
#[derive(Debug, Default)]
pub(crate) struct Expected(Option<(Table, u32, u64)>);

impl Expected {
    /// What is missing before row `first_seq`, if anything.
    fn gap_before(&self, table: Table, epoch: u32, first_seq: u64) -> Option<Gap> {
        match self.0 {
            Some((of, in_epoch, next)) if (of, in_epoch) == (table, epoch) && next < first_seq => {
                Some(Gap { table, epoch, first_seq: next, last_seq: first_seq - 1 })
            }
            _ => None,
        }
    }

    /// Whether all rows before `next_seq` have come already.
    fn has(&self, table: Table, epoch: u32, next_seq: u64) -> bool {
        self.0.is_some_and(|(of, in_epoch, next)| (of, in_epoch) == (table, epoch) && next_seq <= next)
    }

    fn came(&mut self, table: Table, epoch: u32, next_seq: u64) {
        self.0 = Some((table, epoch, next_seq));
    }
}

/// One segment, frame by frame.
pub(crate) struct SegmentReader {
    pub(crate) path: PathBuf,
    scanner: Scanner<File>,
    epoch: u32,
    decoder: Option<Decoder>,
    /// Items that come before the next step.
    queue: VecDeque<Item>,
    ended: bool,
}

impl SegmentReader {
    /// Opens a segment. A damaged header costs nothing but a message, since the frames and the file's
    /// name say the same; a file that has neither header nor frames is an error.
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let failed = |source| ReadError::io(path)(source);
        let file = File::open(path).map_err(failed)?;
        let (scanner, header) = Scanner::new(file).map_err(failed)?;
        let named = path.file_name().and_then(|name| name.to_str()).and_then(parse_file_name);
        let mut queue = VecDeque::new();
        let epoch = match (header, named) {
            (Ok(header), _) => header.epoch,
            (Err(BadHeader::Version(found)), _) => {
                return Err(ReadError::Version { path: path.to_owned(), found, known: VERSION });
            }
            (Err(BadHeader::Table), _) => {
                let found = "its table, or the version of it, is unknown".to_owned();
                return Err(ReadError::Unknown { path: path.to_owned(), found });
            }
            (Err(BadHeader::Damaged), Some((epoch, _))) => {
                let bytes = scanner.len().map_err(failed)?.min(SEGMENT_HEADER as u64);
                let what = "the segment's header is damaged";
                queue.push_back(Item::Damage(Damage { file: path.to_owned(), offset: 0, bytes, what }));
                epoch
            }
            (Err(BadHeader::Damaged), None) => {
                let found = "its header is damaged and its name is not a segment's".to_owned();
                return Err(ReadError::Unknown { path: path.to_owned(), found });
            }
        };
        Ok(Self { path: path.to_owned(), scanner, epoch, decoder: None, queue, ended: false })
    }

    /// The next item. `complete` says that nothing will be appended any more: only then an unfinished
    /// frame at the end is damage, otherwise `None` comes and the next call looks again.
    pub(crate) fn next(&mut self, expected: &mut Expected, complete: bool) -> Result<Option<Item>, ReadError> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                return Ok(Some(item));
            }
            if self.ended {
                return Ok(None);
            }
            match self.scanner.step().map_err(ReadError::io(&self.path))? {
                Step::Frame { offset, header, payload } => match header.kind {
                    FrameKind::Schema => self.opening(offset, header.frame_size(), payload),
                    FrameKind::Batch | FrameKind::Coarse => match self.decode(&header, payload) {
                        Some((table, last_seq, _)) if expected.has(table, self.epoch, last_seq + 1) => {}
                        Some((table, last_seq, batch)) => {
                            let gap = expected.gap_before(table, self.epoch, header.first_seq);
                            self.queue.extend(gap.map(Item::Gap));
                            self.queue.push_back(Item::Batch { table, batch });
                            expected.came(table, self.epoch, last_seq + 1);
                        }
                        None => self.damage(offset, header.frame_size(), "the rows cannot be decoded"),
                    },
                    FrameKind::Footer => {}
                },
                Step::Damaged { offset, bytes, what } => self.damage(offset, bytes, what),
                Step::Tail { offset, bytes, torn } => {
                    if !complete {
                        return Ok(None);
                    }
                    self.ended = true;
                    self.damage(offset, bytes, if torn { Step::TORN } else { Step::SPOILT });
                }
                Step::End => return Ok(None),
            }
        }
    }

    fn opening(&mut self, offset: u64, bytes: u64, payload: Vec<u8>) {
        if self.decoder.is_some() {
            return;
        }
        match Decoder::new(payload) {
            Ok(decoder) => self.decoder = Some(decoder),
            Err(_) => self.damage(offset, bytes, "the schema cannot be decoded, or is of no released table"),
        }
    }

    /// The rows of a frame and the last number that they stand for.
    fn decode(&mut self, header: &FrameHeader, mut payload: Vec<u8>) -> Option<(Table, u64, RecordBatch)> {
        let decoder = self.decoder.as_mut()?;
        let (last_seq, begin) = header.stands_for(&payload)?;
        let batch = decoder.decode(payload.split_off(begin)).ok()?;
        (batch.num_rows() == header.rows as usize).then_some((decoder.table(), last_seq, batch))
    }

    fn damage(&mut self, offset: u64, bytes: u64, what: &'static str) {
        self.queue.push_back(Item::Damage(Damage { file: self.path.clone(), offset, bytes, what }));
    }
}
