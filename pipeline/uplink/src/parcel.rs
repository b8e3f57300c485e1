//! A segment as parcels: rows as they may be sent, undecoded, and what is missing between them.
//!
//! One reader for the sender, which reads files that are still written, and for whoever takes in an
//! exported segment, whose bytes may be anybody's.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kerbside_release::Table;
use sha2::{Digest as _, Sha256};

use crate::disk::ReadAt;
use crate::error::ReadError;
use crate::format::{BadHeader, Footer, FrameKind, SegmentHeader, VERSION};
use crate::scan::{Scanner, Step};
use crate::wire::GapReason;

/// The schema and all dictionaries that rows need to be decoded: `wire::take_apart` takes it apart.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The encapsulated Arrow messages.
    pub payload: Bytes,
    /// Their SHA-256: equal exactly when the bytes are.
    pub id: [u8; 32],
}

impl Opening {
    pub(crate) fn new(payload: Bytes) -> Self {
        let id = Sha256::digest(&payload).into();
        Self { payload, id }
    }
}

impl PartialEq for Opening {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Opening {}

/// What a sender has to say next of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// One batch of rows.
    Rows {
        /// The spool's epoch.
        epoch: u32,
        /// The number of the first row.
        first_seq: u64,
        /// The last number that the rows stand for. Where that is more than `rows` asks for the rows are coarse: a full
        /// spool summed up what was there. Then they are worth something only to who has none of these numbers.
        last_seq: u64,
        /// How many rows there are; at least one.
        rows: u32,
        /// What they need to be decoded.
        opening: Arc<Opening>,
        /// One encapsulated Arrow record batch.
        payload: Bytes,
    },
    /// Rows that will never come.
    Gap {
        /// The spool's epoch.
        epoch: u32,
        /// The first.
        first_seq: u64,
        /// The last.
        last_seq: u64,
        /// Whether their bytes are there, but damaged, or no segment has them.
        reason: GapReason,
    },
}

impl Parcel {
    /// The epoch, and the first and last number that it is about.
    pub fn span(&self) -> (u32, u64, u64) {
        match self {
            Self::Rows { epoch, first_seq, last_seq, .. } | Self::Gap { epoch, first_seq, last_seq, .. } => {
                (*epoch, *first_seq, *last_seq)
            }
        }
    }
}

/// The segment of an exported spool, read from memory. The bytes need not be ours: nothing in them is decoded
/// beyond frames and checksums, nothing is believed that was not compared with what is there, and no more is
/// allocated at a time than they are long.
///
/// As an iterator it gives the parcels in the order of their numbers, none twice.
#[derive(Debug)]
pub struct SegmentContent {
    header: SegmentHeader,
    frames: Frames<Bytes>,
    place: u64,
    len: u64,
}

/// Reads an exported segment. An error says that the bytes are no segment of a known version and table; what is
/// damaged behind a good header comes as a gap.
pub fn read_segment(bytes: Bytes) -> Result<SegmentContent, ReadError> {
    // Errors name a file; here there is none.
    let path = PathBuf::from("the segment");
    let len = bytes.len() as u64;
    let (scanner, header) = Scanner::new(bytes).map_err(ReadError::io(&path))?;
    let header = header.map_err(|bad| match bad {
        BadHeader::Version(found) => ReadError::Version { path: path.clone(), found, known: VERSION },
        BadHeader::Table => ReadError::Unknown {
            path: path.clone(),
            found: "its table, or the version of it, is unknown".to_owned(),
        },
        BadHeader::Damaged => ReadError::Unknown { path: path.clone(), found: "its header is damaged".to_owned() },
    })?;
    let frames = Frames::new(scanner);
    Ok(SegmentContent { header, frames, place: header.first_seq, len })
}

impl SegmentContent {
    /// The table of the rows, by the header. The opening may say otherwise in a segment that is not ours.
    pub fn table(&self) -> Table {
        self.header.table
    }

    /// The epoch of the rows.
    pub fn epoch(&self) -> u32 {
        self.header.epoch
    }

    /// The number of the first row.
    pub fn first_seq(&self) -> u64 {
        self.header.first_seq
    }
}

impl Iterator for SegmentContent {
    type Item = Parcel;

    fn next(&mut self) -> Option<Parcel> {
        // Memory does not fail to be read, and an opening is judged by who decodes it.
        let piece =
            self.frames.next(self.place, self.len, |payload| Some(Arc::new(Opening::new(payload)))).ok()?;
        let next_seq = self.frames.told_next_seq();
        let (parcel, next) = piece.into_parcel(self.header.epoch, self.place, next_seq)?;
        self.place = next;
        Some(parcel)
    }
}

/// What comes next within a segment.
#[derive(Debug)]
pub(crate) enum Piece {
    Rows(RowsFrame),
    /// Numbers before this one are not there.
    MissingBefore(u64, GapReason),
    /// There is nothing more.
    End,
}

/// A whole frame of rows.
#[derive(Debug)]
pub(crate) struct RowsFrame {
    first_seq: u64,
    last_seq: u64,
    rows: u32,
    opening: Arc<Opening>,
    payload: Bytes,
}

impl RowsFrame {
    fn is_coarse(&self) -> bool {
        self.last_seq - self.first_seq >= u64::from(self.rows)
    }
}

impl Piece {
    /// The parcel, and the number after it. At the end there is one where numbers before `next_seq` did not come.
    pub(crate) fn into_parcel(self, epoch: u32, place: u64, next_seq: Option<u64>) -> Option<(Parcel, u64)> {
        let gap =
            |before: u64, reason| (Parcel::Gap { epoch, first_seq: place, last_seq: before - 1, reason }, before);
        match self {
            Self::Rows(RowsFrame { first_seq, last_seq, rows, opening, payload }) => {
                let parcel = Parcel::Rows { epoch, first_seq, last_seq, rows, opening, payload };
                Some((parcel, last_seq + 1))
            }
            Self::MissingBefore(before, reason) => Some(gap(before, reason)),
            Self::End => {
                let next_seq = next_seq.filter(|next_seq| *next_seq > place)?;
                Some(gap(next_seq, GapReason::Damaged))
            }
        }
    }
}

/// A segment's frames of rows, in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Frames<S> {
    scanner: Scanner<S>,
    opening: Option<Arc<Opening>>,
    /// Rows that come after a gap that was told first.
    stash: Option<RowsFrame>,
    /// Whether anything that could have been rows was stepped over since the last rows.
    stepped_over: bool,
    /// What the footer said.
    told_next_seq: Option<u64>,
}

impl<S: ReadAt> Frames<S> {
    /// From behind the segment's header.
    pub(crate) fn new(scanner: Scanner<S>) -> Self {
        Self { scanner, opening: None, stash: None, stepped_over: false, told_next_seq: None }
    }

    /// The number after the last row, if the footer was reached.
    pub(crate) fn told_next_seq(&self) -> Option<u64> {
        self.told_next_seq
    }

    /// What comes at `place` or after it, within the first `limit` bytes. Rows whose opening
    /// `accepts` refuses count as damaged. After [`Piece::End`] it may be asked again with a larger limit; after an error with the same.
    pub(crate) fn next(
        &mut self,
        place: u64,
        limit: u64,
        accepts: impl Fn(Bytes) -> Option<Arc<Opening>>,
    ) -> io::Result<Piece> {
        loop {
            if let Some(rows) = self.stash.take_if(|rows| rows.first_seq <= place) {
                if rows.last_seq < place {
                    continue;
                }
                if rows.first_seq < place && rows.is_coarse() {
                    // Some of what it sums up came already.
                    return Ok(Piece::MissingBefore(rows.last_seq + 1, GapReason::Dropped));
                }
                self.stepped_over = false;
                return Ok(Piece::Rows(rows));
            }
            if let Some(rows) = &self.stash {
                let reason = if self.stepped_over { GapReason::Damaged } else { GapReason::Dropped };
                self.stepped_over = false;
                return Ok(Piece::MissingBefore(rows.first_seq, reason));
            }
            match self.scanner.step_within(limit)? {
                Step::Frame { header, payload, .. } => {
                    let payload = Bytes::from(payload);
                    match header.kind {
                        FrameKind::Schema if self.opening.is_none() => self.opening = accepts(payload),
                        FrameKind::Schema => {}
                        FrameKind::Batch | FrameKind::Coarse => {
                            match (header.stands_for(&payload), self.opening.clone()) {
                                (Some((last_seq, begin)), Some(opening)) => {
                                    self.stash = Some(RowsFrame {
                                        first_seq: header.first_seq,
                                        last_seq,
                                        rows: header.rows,
                                        opening,
                                        payload: payload.slice(begin..),
                                    })
                                }
                                _ => self.stepped_over = true,
                            }
                        }
                        FrameKind::Footer => {
                            self.told_next_seq = Footer::decode(&payload).map(|footer| footer.next_seq);
                        }
                    }
                }
                Step::Damaged { .. } => self.stepped_over = true,
                Step::Tail { .. } => {
                    self.stepped_over = true;
                    return Ok(Piece::End);
                }
                Step::End => return Ok(Piece::End),
            }
        }
    }
}
