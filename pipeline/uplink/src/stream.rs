//! One table's folder of segments, as the writer sees it.
//!
//! Frames stay in memory until they are known to be on the disk. When a write or a sync fails, the
//! segment is given up, its file handle with it, and the frames go into a new segment at the next try:
//! after a failed sync the kernel may count lost pages as clean, so the old handle would lie.
//!
//! Invariant: from the first sync on, the folder holds at least one segment of the current epoch, so
//! that the next process knows where the row numbers continue.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMillisecondType;
use kerbside_core::time::WallTime;
use kerbside_release::{ReleasedBatch, Table};

use crate::coarse::Coarse;
use crate::codec::Encoder;
use crate::disk::{self, File};
use crate::error::SpoolError;
use crate::format::{FRAME_HEADER, FrameKind, MAX_PAYLOAD, SegmentHeader, encode_frame};
use crate::segment::{Active, Pending};
use crate::shared::{Known, Mark, View};

/// Unsynced bytes at which a sync does not wait any longer.
const SYNC_BYTES: usize = 256 << 10;
/// Bytes that are kept in memory while nothing can be written.
const VOLATILE_BYTES: usize = 4 << 20;
/// The age at which a segment is sealed.
const ROLL_AGE: Duration = Duration::from_secs(600);

/// A segment that is written no more.
#[derive(Debug)]
pub(crate) struct Closed {
    /// What the sender knows of it. Its bytes are those that are durable; there may be more that are not.
    pub(crate) known: Known,
    /// Bytes on the disk.
    pub(crate) bytes: u64,
    /// When its newest rows were, about.
    pub(crate) newest: Option<WallTime>,
    /// Another node's: it is kept for a time, and not sent.
    pub(crate) foreign: bool,
    /// There is nothing to gain by summing its rows up.
    pub(crate) is_final: bool,
    /// Its footer says that its rows stand for more numbers than they are.
    pub(crate) is_coarse: bool,
}

/// One table's segments.
pub(crate) struct Stream {
    pub(crate) table: Table,
    pub(crate) folder: PathBuf,
    pub(crate) epoch: u32,
    pub(crate) next_seq: u64,
    /// The size at which a segment is sealed.
    pub(crate) roll_bytes: u64,
    pub(crate) active: Option<Active>,
    /// Oldest first.
    pub(crate) closed: VecDeque<Closed>,
    encoder: Option<Encoder>,
    /// Not known to be on the disk; the first `written` of them are in the active segment.
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) written: usize,
    waiting_since: Option<Instant>,
    pub(crate) synced_rows: u64,
    pub(crate) dropped_rows: u64,
    pub(crate) coarsened_rows: u64,
    pub(crate) failed_syncs: u64,
    /// Names in the folder that may not be on the disk yet.
    pub(crate) folder_changed: bool,
    /// Files that go once the names are: a coarse segment says what they say. With their bytes.
    leftovers: Vec<(Arc<Path>, u64)>,
    /// The number after that of the last durable row.
    pub(crate) durable_next_seq: u64,
    /// Whether `closed` is not as the feeds know it.
    pub(crate) closed_changed: bool,
    /// When rows came that have become durable since the feeds were told.
    marks: Vec<Mark>,
}

impl Stream {
    pub(crate) fn new(table: Table, folder: PathBuf, epoch: u32, next_seq: u64, roll_bytes: u64) -> Self {
        Self {
            table,
            folder,
            epoch,
            next_seq,
            roll_bytes,
            active: None,
            closed: VecDeque::new(),
            encoder: None,
            pending: VecDeque::new(),
            written: 0,
            waiting_since: None,
            synced_rows: 0,
            dropped_rows: 0,
            coarsened_rows: 0,
            failed_syncs: 0,
            folder_changed: true,
            leftovers: Vec::new(),
            durable_next_seq: next_seq,
            closed_changed: true,
            marks: Vec::new(),
        }
    }

    /// Says where the numbers of an epoch continue.
    pub(crate) fn continue_at(&mut self, epoch: u32, next_seq: u64) {
        self.epoch = epoch;
        self.next_seq = next_seq;
        self.durable_next_seq = next_seq;
    }

    /// Tells the feeds what is durable and where. Whether that was news.
    pub(crate) fn publish(&mut self, view: &mut View) -> bool {
        let mut news = (view.epoch, view.next_seq) != (self.epoch, self.durable_next_seq);
        (view.epoch, view.next_seq) = (self.epoch, self.durable_next_seq);
        let key = |known: &Known| (known.epoch, known.first_seq);
        if self.closed_changed {
            self.closed_changed = false;
            news = true;
            let closed = self.closed.iter().filter(|closed| !closed.foreign);
            view.segments = closed.map(|closed| (key(&closed.known), closed.known.clone())).collect();
            view.tidy();
        }
        if let Some(active) = &self.active {
            let known = active.known();
            view.segments.insert(key(&known), known);
        }
        view.mark(self.marks.drain(..));
        news
    }

    /// Makes the first segment of an epoch, without rows, to remember where the numbers begin.
    pub(crate) fn begin(&mut self, now: WallTime) -> Result<(), SpoolError> {
        let header = self.header(self.next_seq, now);
        let mut active = Active::create(&self.folder, &header).map_err(|(path, source)| SpoolError::Io {
            action: "written",
            path,
            source,
        })?;
        active.sync().map_err(SpoolError::io("synced", &active.path))?;
        self.active = Some(active);
        self.folder_changed = true;
        self.sync_folder()
    }

    /// Takes a batch in. It is safe only after a sync. What cannot be written now stays in memory and
    /// is tried again with the next sync. Gives back the bytes of its frame.
    pub(crate) fn push(&mut self, batch: &ReleasedBatch, now: Instant) -> Result<u64, SpoolError> {
        if batch.epoch() != self.epoch || batch.first_seq() < self.next_seq {
            return Err(SpoolError::Position {
                table: self.table,
                epoch: self.epoch,
                seq: self.next_seq,
                found_epoch: batch.epoch(),
                found_seq: batch.first_seq(),
            });
        }
        let pending = self.encode(batch)?;
        let bytes = pending.frame.len() as u64;
        self.next_seq = pending.next_seq();
        self.waiting_since.get_or_insert(now);
        self.pending.push_back(pending);
        while self.written == 0 && self.pending.len() > 1 && self.pending_bytes() > VOLATILE_BYTES {
            let lost = self.pending.pop_front().map_or(0, |pending| u64::from(pending.rows));
            self.dropped_rows += lost;
        }
        Ok(bytes)
    }

    fn encode(&mut self, batch: &ReleasedBatch) -> Result<Pending, SpoolError> {
        let table = self.table;
        let failed = |source| SpoolError::Encode { table, source };
        let rows = batch.get();
        let known = match &mut self.encoder {
            Some(encoder) => encoder.encode(rows).map_err(failed)?.map(|payload| (encoder.opening(), payload)),
            None => None,
        };
        let (opening, payload) = match known {
            Some((opening, payload)) => (opening.clone(), payload),
            None => {
                let encoder = self.encoder.insert(Encoder::new(rows).map_err(failed)?);
                let payload = encoder.encode(rows).map_err(failed)?;
                (encoder.opening().clone(), payload.expect("an encoder takes the batch that it was made for"))
            }
        };
        let bytes = payload.len().max(opening.len());
        if bytes > MAX_PAYLOAD {
            return Err(SpoolError::TooLarge { table, bytes, most: MAX_PAYLOAD });
        }
        let count = u32::try_from(batch.rows()).unwrap_or(u32::MAX);
        let ends =
            rows.column_by_name("t1").and_then(|column| column.as_primitive_opt::<TimestampMillisecondType>());
        let millis = ends.map_or(0, |ends| u64::try_from(ends.value(0)).unwrap_or_default());
        Ok(Pending {
            first_seq: batch.first_seq(),
            rows: count,
            at: WallTime::from_unix_millis(millis),
            frame: encode_frame(FrameKind::Batch, batch.first_seq(), count, &payload),
            opening,
        })
    }

    /// Writes what is in memory only. An error gives the segment up and loses nothing.
    pub(crate) fn flush(&mut self, now: Instant) -> Result<(), SpoolError> {
        while let Some(pending) = self.pending.get(self.written) {
            if self.active.as_ref().is_some_and(|active| !active.takes(&pending.opening)) {
                self.seal()?;
                continue;
            }
            let active = match &mut self.active {
                Some(active) => active,
                none => {
                    let header = SegmentHeader {
                        table: self.table,
                        epoch: self.epoch,
                        first_seq: pending.first_seq,
                        created_millis: u64::try_from(pending.at.as_unix_millis()).unwrap_or_default(),
                    };
                    self.folder_changed = true;
                    let created = Active::create(&self.folder, &header).or_else(|(path, source)| {
                        // Somebody may have removed the folder.
                        if source.kind() != io::ErrorKind::NotFound || disk::create_folder(&self.folder).is_err() {
                            return Err((path, source));
                        }
                        Active::create(&self.folder, &header)
                    });
                    let failed = |(path, source)| SpoolError::Io { action: "written", path, source };
                    none.insert(created.map_err(failed)?)
                }
            };
            if let Err(source) = active.append(pending, now) {
                let path = active.path.to_path_buf();
                self.give_up();
                return Err(SpoolError::Io { action: "written", path, source });
            }
            self.written += 1;
            if active.len >= self.roll_bytes {
                self.seal()?;
            }
        }
        Ok(())
    }

    /// Writes and syncs everything. After a failed sync it is tried once more with a new segment.
    pub(crate) fn sync(&mut self, now: Instant) -> Result<(), SpoolError> {
        if self.try_sync(now).is_ok() {
            return Ok(());
        }
        self.try_sync(now)
    }

    fn try_sync(&mut self, now: Instant) -> Result<(), SpoolError> {
        let result = self.flush(now).and_then(|()| self.sync_written());
        if result.is_err() {
            // The next try waits its turn.
            self.waiting_since = (!self.pending.is_empty()).then_some(now);
        }
        result
    }

    fn sync_written(&mut self) -> Result<(), SpoolError> {
        self.notice_removal()?;
        self.sync_folder()?;
        if self.written > 0
            && let Some(active) = &mut self.active
        {
            if let Err(source) = active.sync() {
                let path = active.path.to_path_buf();
                self.failed_syncs += 1;
                self.give_up();
                return Err(SpoolError::Io { action: "synced", path, source });
            }
            self.settled();
        }
        Ok(())
    }

    /// Gives the active segment up where somebody removed its file: what is written to it then is lost without an error.
    fn notice_removal(&mut self) -> Result<(), SpoolError> {
        let Some(active) = &self.active else { return Ok(()) };
        match File::open(&active.path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                let path = active.path.to_path_buf();
                self.failed_syncs += 1;
                self.give_up();
                Err(SpoolError::Io { action: "found again", path, source })
            }
            // Any other trouble shows when it is written to.
            _ => Ok(()),
        }
    }

    pub(crate) fn sync_folder(&mut self) -> Result<(), SpoolError> {
        if self.folder_changed {
            let synced = disk::sync_folder(&self.folder).or_else(|source| match source.kind() {
                // Somebody removed it. There is nothing in it to lose any more.
                io::ErrorKind::NotFound => {
                    disk::create_folder(&self.folder)?;
                    disk::sync_folder(&self.folder)
                }
                _ => Err(source),
            });
            synced.map_err(SpoolError::io("synced", &self.folder))?;
            self.folder_changed = false;
        }
        while let Some((path, _)) = self.leftovers.last() {
            match disk::remove(path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(SpoolError::io("removed", path)(source));
                }
                _ => drop(self.leftovers.pop()),
            }
        }
        Ok(())
    }

    /// Puts a coarse segment, which has the first one's name, in the place of the segments that it stands for.
    pub(crate) fn replace(&mut self, begin: usize, coarse: Coarse) {
        let Coarse { closed, segments } = coarse;
        let rows: u64 = self.closed.range(begin..begin + segments).map(|closed| closed.known.rows).sum();
        self.coarsened_rows += rows.saturating_sub(closed.known.rows);
        let mut replaced = self.closed.drain(begin..begin + segments);
        replaced.next();
        self.leftovers.extend(replaced.map(|closed| (closed.known.path, closed.bytes)));
        self.closed.insert(begin, closed);
        self.closed_changed = true;
        self.folder_changed = true;
    }

    /// Syncs and seals what is due.
    pub(crate) fn tick(&mut self, now: Instant, interval: Duration) -> Result<(), SpoolError> {
        let waited = self.waiting_since.is_some_and(|since| now.saturating_duration_since(since) >= interval);
        if waited || self.written_bytes() >= SYNC_BYTES {
            self.sync(now)?;
        }
        let opened = self.active.as_ref().and_then(|active| active.opened);
        if opened.is_some_and(|opened| now.saturating_duration_since(opened) >= ROLL_AGE) {
            self.sync(now)?;
            self.seal()?;
        }
        Ok(())
    }

    /// Closes the active segment for good, if it has rows.
    pub(crate) fn seal(&mut self) -> Result<(), SpoolError> {
        if self.active.as_ref().is_none_or(|active| active.rows == 0) {
            return Ok(());
        }
        self.notice_removal()?;
        self.sync_folder()?;
        let Some(active) = &mut self.active else { return Ok(()) };
        if let Err(source) = active.seal() {
            let path = active.path.to_path_buf();
            self.failed_syncs += 1;
            self.give_up();
            return Err(SpoolError::Io { action: "synced", path, source });
        }
        self.settled();
        self.retire();
        Ok(())
    }

    /// What was written is on the disk.
    fn settled(&mut self) {
        for pending in self.pending.drain(..self.written) {
            self.synced_rows += u64::from(pending.rows);
            let (first_seq, next_seq) = (pending.first_seq, pending.next_seq());
            self.durable_next_seq = next_seq;
            self.marks.push(Mark { epoch: self.epoch, first_seq, last_seq: next_seq - 1, at: pending.at });
        }
        self.written = 0;
        if self.pending.is_empty() {
            self.waiting_since = None;
        }
    }

    fn retire(&mut self) {
        if let Some(active) = self.active.take() {
            self.close(active.known(), active.len, active.newest);
        }
    }

    fn close(&mut self, known: Known, bytes: u64, newest: WallTime) {
        self.closed.push_back(Closed {
            known,
            bytes,
            newest: Some(newest),
            foreign: false,
            is_final: false,
            is_coarse: false,
        });
        self.closed_changed = true;
    }

    /// Leaves a segment whose writing failed. Only what was synced stays in it.
    fn give_up(&mut self) {
        self.written = 0;
        let Some(active) = self.active.take() else { return };
        self.folder_changed = true;
        self.closed_changed = true;
        let known = active.known();
        if known.rows == 0 {
            // All its frames are still in memory and go into a new file. If this one cannot be removed,
            // readers find a torn segment, which is true.
            let _ = disk::remove(&known.path);
            return;
        }
        // A failure here leaves frames that are stored a second time in the next segment; readers know
        // their numbers and take them once.
        let bytes = if disk::cut(&known.path, known.bytes).is_ok() { known.bytes } else { active.len };
        self.close(known, bytes, active.newest);
    }

    pub(crate) fn bytes(&self) -> u64 {
        let active = self.active.as_ref().map_or(0, |active| active.len);
        let leftovers = self.leftovers.iter().map(|(_, bytes)| bytes).sum::<u64>();
        self.closed.iter().map(|closed| closed.bytes).sum::<u64>() + active + leftovers
    }

    pub(crate) fn segments(&self) -> usize {
        self.closed.len() + usize::from(self.active.is_some())
    }

    pub(crate) fn oldest(&self) -> Option<WallTime> {
        let with_rows = self.active.as_ref().filter(|active| active.rows > 0).map(|active| active.created);
        self.closed.iter().find_map(|closed| closed.known.since).or(with_rows)
    }

    pub(crate) fn unsynced_rows(&self) -> u64 {
        self.pending.iter().map(|pending| u64::from(pending.rows)).sum()
    }

    pub(crate) fn unsynced_bytes(&self) -> usize {
        self.pending_bytes()
    }

    fn pending_bytes(&self) -> usize {
        self.pending.iter().map(|pending| pending.frame.len() + FRAME_HEADER).sum()
    }

    fn written_bytes(&self) -> usize {
        self.pending.iter().take(self.written).map(|pending| pending.frame.len()).sum()
    }

    fn header(&self, first_seq: u64, now: WallTime) -> SegmentHeader {
        let created_millis = u64::try_from(now.as_unix_millis()).unwrap_or_default();
        SegmentHeader { table: self.table, epoch: self.epoch, first_seq, created_millis }
    }
}

/// The folder of a table within a spool.
pub(crate) fn folder_of(spool: &Path, table: Table) -> PathBuf {
    spool.join(table.name())
}
