//! What the spool tells the sender, and what the sender tells the spool.
//!
//! The two are threads of one process. A [`Feed`] shows durable rows only: what a power cut could take
//! back is never handed out, because its numbers would be given to other rows. What the sender
//! [confirms](Feed::confirm) is deleted with the next [`crate::Spool::maybe_sync`].
//!
//! No lock is held while files are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kerbside_core::time::WallTime;
use kerbside_release::Table;

use crate::codec::{Decoder, node_of};
use crate::disk::File;
use crate::error::ReadError;
use crate::format::BadHeader;
use crate::parcel::{Frames, Opening, Parcel, Piece};
use crate::scan::Scanner;
use crate::shared::{Known, Shared, Spot, index};
use crate::wire::GapReason;

/// After so many failures in a row to read at one place, what cannot be read counts as damaged: else one bad block
/// would hold up all rows after it for ever.
const FAILURES: u32 = 3;

/// The sender's side of a spool.
#[derive(Clone, Debug)]
pub struct Feed {
    shared: Arc<Shared>,
    /// The node's name; openings with another are not handed out.
    node: Option<Arc<str>>,
}

/// How far the numbers of a table and epoch have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// The table.
    pub table: Table,
    /// The epoch.
    pub epoch: u32,
    /// The number after that of the last durable row.
    pub next_seq: u64,
}

/// What the gateway has not confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Bytes of the segments that hold such rows.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// When the bin of the oldest ended, about.
    pub oldest: Option<WallTime>,
}

/// A place in a table: that of the row of that number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The epoch.
    pub epoch: u32,
    /// The row's number.
    pub seq: u64,
}

impl Feed {
    pub(crate) fn new(shared: Arc<Shared>, node: Option<&str>) -> Self {
        Self { shared, node: node.map(Arc::from) }
    }

    /// Every table and epoch that has rows in the spool, and the current epoch of each table, in this order.
    pub fn streams(&self) -> Vec<StreamEnd> {
        let views = self.shared.views();
        let mut streams = Vec::new();
        for table in Table::ALL {
            let view = &views[index(table)];
            let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
            for known in view.segments.values().filter(|known| known.next_seq > known.first_seq) {
                let end = ends.entry(known.epoch).or_default();
                *end = known.next_seq.max(*end);
            }
            ends.insert(view.epoch, view.next_seq);
            streams.extend(ends.into_iter().map(|(epoch, next_seq)| StreamEnd { table, epoch, next_seq }));
        }
        streams
    }

    /// What is not confirmed, of all tables.
    pub fn waiting(&self) -> Waiting {
        self.waiting_in(&Table::ALL)
    }

    /// What is not confirmed, of one table.
    pub fn waiting_of(&self, table: Table) -> Waiting {
        self.waiting_in(&[table])
    }

    fn waiting_in(&self, tables: &[Table]) -> Waiting {
        let views = self.shared.views();
        let mut waiting = Waiting::default();
        for table in tables {
            let view = &views[index(*table)];
            for known in view.segments.values() {
                let (rows, first) = view.unconfirmed(known.epoch, known.first_seq, known.next_seq);
                let Some(first) = first else { continue };
                waiting.bytes += known.bytes;
                // The rows of a coarse segment are fewer than their numbers.
                waiting.rows += rows.min(known.rows);
                let since = view.came(known.epoch, first).or(known.since);
                waiting.oldest = match (waiting.oldest, since) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
        waiting
    }

    /// A cursor over a table from a place on.
    pub fn cursor(&self, table: Table, from: Place) -> Cursor {
        Cursor { feed: self.clone(), table, place: from, open: None, opening: None, failures: 0 }
    }

    /// Where a cursor stands that sees only what becomes durable from now on.
    pub fn end(&self, table: Table) -> Place {
        let view = &self.shared.views()[index(table)];
        Place { epoch: view.epoch, seq: view.next_seq }
    }

    /// Says that the gateway has stored these rows, or knows that they will never come. Numbers that no row has yet
    /// are ignored.
    pub fn confirm(&self, table: Table, epoch: u32, first_seq: u64, last_seq: u64) {
        self.shared.views()[index(table)].confirm(epoch, first_seq, last_seq);
    }

    /// Resolves when something became durable or was dropped, or the spool was closed, since the last call. Only one
    /// caller at a time is woken.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

/// Goes through the durable rows of one table in the order of their numbers, epoch by epoch, and never back.
///
/// Rows that are confirmed already are stepped over. A batch that begins before the place at which the cursor was put is
/// given whole; a coarse one is given as a gap, since who has some of its numbers cannot use it.
#[derive(Debug)]
pub struct Cursor {
    feed: Feed,
    table: Table,
    place: Place,
    open: Option<Segment>,
    /// The last one, so that segments with the same share it.
    opening: Option<Arc<Opening>>,
    failures: u32,
}

/// A segment that is being read.
#[derive(Debug)]
struct Segment {
    id: u64,
    frames: Frames<File>,
}

impl Cursor {
    /// Where it stands: the number of the row that is looked for next.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The next parcel. `Ok(None)`: nothing more is durable now; call it again later.
    ///
    /// An error is one of reading a file, and may pass: call it again. Where it does not, the rows are given up as
    /// damaged after some calls.
    #[expect(clippy::should_implement_trait, reason = "an iterator ends, and this goes on")]
    pub fn next(&mut self) -> Result<Option<Parcel>, ReadError> {
        loop {
            let Place { epoch, seq } = self.place;
            let spot = self.feed.shared.views()[index(self.table)].spot(epoch, seq);
            match spot {
                Spot::Nothing => return Ok(None),
                Spot::Confirmed(next) => self.place.seq = next,
                Spot::NextEpoch(epoch) => self.place = Place { epoch, seq: 0 },
                Spot::Missing(next, reason) => return Ok(Some(self.gap(next, reason))),
                Spot::In(known) => match self.read(&known) {
                    Ok(piece) => {
                        self.failures = 0;
                        if let Some(parcel) = self.take(&known, piece) {
                            return Ok(Some(parcel));
                        }
                    }
                    Err(ReadError::Missing(_)) => {
                        self.open = None;
                        // Gone since it was looked up, or somebody removed it.
                        if self.feed.shared.views()[index(self.table)].spot(epoch, seq) == Spot::In(known.clone())
                        {
                            return Ok(Some(self.gap(known.next_seq, GapReason::Dropped)));
                        }
                    }
                    Err(error) => {
                        self.open = None;
                        if is_shortage(&error) {
                            return Err(error);
                        }
                        self.failures += 1;
                        if self.failures < FAILURES {
                            return Err(error);
                        }
                        self.failures = 0;
                        if self.feed.shared.views()[index(self.table)].has(&known) {
                            return Ok(Some(self.gap(known.next_seq, GapReason::Damaged)));
                        }
                    }
                },
            }
        }
    }

    /// A gap from here up to a number, and steps over it.
    fn gap(&mut self, next: u64, reason: GapReason) -> Parcel {
        let Place { epoch, seq } = self.place;
        self.place.seq = next;
        Parcel::Gap { epoch, first_seq: seq, last_seq: next - 1, reason }
    }

    /// The parcel of what was read, if the segment is still what it was; else it is looked for anew.
    fn take(&mut self, known: &Known, piece: Piece) -> Option<Parcel> {
        let (parcel, next) = piece.into_parcel(known.epoch, self.place.seq, Some(known.next_seq))?;
        let (_, first, last) = parcel.span();
        let view = &mut self.feed.shared.views()[index(self.table)];
        let is_still_so = match &parcel {
            Parcel::Rows { .. } => view.offer(known, first, last),
            // What takes a segment's place may have what was missed in it.
            Parcel::Gap { .. } => view.has(known),
        };
        if !is_still_so {
            self.open = None;
            return None;
        }
        if let Parcel::Rows { opening, .. } = &parcel {
            self.opening = Some(Arc::clone(opening));
        }
        self.place.seq = next;
        Some(parcel)
    }

    fn read(&mut self, known: &Known) -> Result<Piece, ReadError> {
        let failed = |source| ReadError::io(&known.path)(source);
        let segment = match &mut self.open {
            Some(segment) if segment.id == known.id => segment,
            other => {
                let (scanner, header) = Scanner::new(File::open(&known.path).map_err(failed)?).map_err(failed)?;
                let agrees = header.map(|header| {
                    (header.table, header.epoch, header.first_seq) == (self.table, known.epoch, known.first_seq)
                });
                // A damaged header costs nothing: the frames and the file's name say the same.
                if !matches!(agrees, Ok(true) | Err(BadHeader::Damaged)) {
                    return Ok(Piece::End);
                }
                other.insert(Segment { id: known.id, frames: Frames::new(scanner) })
            }
        };
        let (table, node) = (self.table, self.feed.node.as_deref());
        let last = self.opening.take();
        let accepts = |payload: Bytes| match &last {
            Some(last) if last.payload == payload => Some(Arc::clone(last)),
            _ => is_of(&payload, table, node).then(|| Arc::new(Opening::new(payload))),
        };
        let piece = segment.frames.next(self.place.seq, known.bytes, accepts);
        self.opening = last;
        piece.map_err(failed)
    }
}

/// Whether the process or the system has no room for one more open file: that says nothing of the rows.
fn is_shortage(error: &ReadError) -> bool {
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    let ReadError::Io { source, .. } = error else { return false };
    source.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code))
}

/// Whether an opening is of that table, and of that node where one is asked for.
pub(crate) fn is_of(opening: &Bytes, table: Table, node: Option<&str>) -> bool {
    let Ok(decoder) = Decoder::new(opening.to_vec()) else { return false };
    decoder.table() == table && node.is_none_or(|node| node_of(opening).is_some_and(|found| found == node))
}
