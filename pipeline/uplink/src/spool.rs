//! The durable log of released rows: what the release thread writes into.
//!
//! `<folder>/<table>/<epoch>-<first_seq>.seg`, beside `<folder>/epoch` and `<folder>/lock`.
//! A process that dies loses nothing that reached the kernel; a power cut loses what was not synced,
//! at most [`SpoolSettings::sync_interval`] or 256 KiB a table.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kerbside_core::time::WallTime;
use kerbside_release::{ReleasedBatch, StreamPosition, Table};

use crate::disk::{self, Lock};
use crate::epoch;
use crate::error::{Damage, SpoolError};
use crate::feed::Feed;
use crate::recover::{find_foreign, forget_empty, list, lock, recover};
use crate::shared::{Shared, index};
use crate::stream::{Stream, folder_of};

/// The largest segment, in bytes.
const SEGMENT_BYTES: u64 = 8 << 20;
/// The smallest size at which a segment is sealed.
const LEAST_SEGMENT_BYTES: u64 = 16 << 10;

/// Where the spool is and what it may cost.
#[derive(Clone, Debug)]
pub struct SpoolSettings {
    /// The folder; it is made if need be.
    pub folder: PathBuf,
    /// How large all segments together may be, in bytes.
    pub max_bytes: u64,
    /// How long a row may wait for its sync.
    pub sync_interval: Duration,
    /// How long rows are kept (rule PC-19 of the privacy contract). A segment goes once its newest rows are older, so
    /// that no row stays for more than a segment's time longer: ten minutes and the length of a bin.
    pub keep: Duration,
    /// The node's name, as it stands in its rows. Segments that hold rows of another are not sent: somebody
    /// swapped folders. `None` does not look.
    pub node: Option<String>,
}

/// What a spool that is open may cost from now on: see [`SpoolSettings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// See [`SpoolSettings::max_bytes`].
    pub max_bytes: u64,
    /// See [`SpoolSettings::sync_interval`].
    pub sync_interval: Duration,
    /// See [`SpoolSettings::keep`].
    pub keep: Duration,
}

/// What was found when the spool was opened.
#[derive(Debug, Default)]
pub struct Recovery {
    pub(crate) damages: Vec<(Table, Damage)>,
    /// The first segment of each epoch whose rows are another node's.
    pub(crate) foreign: Vec<(Table, Damage)>,
    new_epoch: Option<&'static str>,
}

impl Recovery {
    /// What was damaged in the newest segments, and where rows begin that are another node's. Damage at a segment's end
    /// has been cut off.
    pub fn damages(&self) -> impl Iterator<Item = &Damage> {
        self.damages.iter().chain(&self.foreign).map(|(_, damage)| damage)
    }

    /// The same, by table.
    pub fn damages_of(&self, table: Table) -> impl Iterator<Item = &Damage> {
        self.damages.iter().chain(&self.foreign).filter(move |(of, _)| *of == table).map(|(_, damage)| damage)
    }

    /// Why a new epoch was begun, if it was.
    pub fn new_epoch(&self) -> Option<&'static str> {
        self.new_epoch
    }
}

/// How the spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Segments.
    pub segments: usize,
    /// When the oldest rows' bin ended, about; `None` when there is no row.
    pub oldest: Option<WallTime>,
    /// Rows synced since the spool was opened.
    pub synced_rows: u64,
    /// Rows that a power cut would lose now.
    pub unsynced_rows: u64,
    /// Rows given up since the spool was opened, because the spool or the memory was full.
    pub dropped_rows: u64,
    /// Rows of `agg.v1` that are rows no more since the spool was opened, because the spool was full and they were
    /// summed up to hours.
    pub coarsened_rows: u64,
    /// Syncs that failed since the spool was opened.
    pub failed_syncs: u64,
}

/// An open spool. One process at a time.
pub struct Spool {
    pub(crate) settings: SpoolSettings,
    pub(crate) streams: [Stream; Table::ALL.len()],
    /// Trouble that [`Spool::append`] met; the next [`Spool::maybe_sync`] returns it.
    trouble: Option<SpoolError>,
    /// The last moment that was told.
    now: Option<Instant>,
    pub(crate) shared: Arc<Shared>,
    /// Held for as long as the spool is open.
    _lock: Lock,
}

impl Spool {
    /// Opens the spool in the folder, takes the lock, and repairs what a crash left behind.
    pub fn open(settings: SpoolSettings, now: WallTime) -> Result<(Self, Recovery), SpoolError> {
        let folder = settings.folder.clone();
        let unusable = |source| SpoolError::Folder { folder: folder.clone(), source };
        disk::create_folder(&folder).map_err(unusable)?;
        let lock = lock(&folder)?;
        let roll_bytes = roll_bytes(settings.max_bytes);
        let mut recovery = Recovery::default();
        let mut known_epochs = Vec::new();
        let stored = epoch::load(&folder);
        known_epochs.extend(stored);
        let mut trusted = stored.is_some();
        let mut streams = Vec::new();
        for table in Table::ALL {
            let folder = folder_of(&folder, table);
            disk::create_folder(&folder).map_err(unusable)?;
            let mut stream = Stream::new(table, folder, stored.unwrap_or_default(), 0, roll_bytes);
            let listed = list(&stream.folder)?;
            known_epochs.extend(listed.iter().map(|segment| segment.epoch));
            let position = recover(&mut stream, listed, &mut recovery)?;
            find_foreign(&mut stream, settings.node.as_deref(), &mut recovery);
            match position.filter(|position| Some(position.epoch) == stored) {
                Some(position) => stream.continue_at(position.epoch, position.next_seq),
                None => trusted = false,
            }
            streams.push(stream);
        }
        // Rows that were cut off may have been read by someone already: their numbers are not given again.
        trusted &= recovery.damages.is_empty();
        let ours = streams
            .iter()
            .flat_map(|stream| &stream.closed)
            .all(|closed| !closed.foreign || Some(closed.known.epoch) != stored);
        if !trusted || !ours {
            recovery.new_epoch = Some(match (stored, known_epochs.is_empty()) {
                (_, true) => "the spool is new",
                (None, false) => "the file 'epoch' is missing or damaged",
                (Some(_), false) if !ours => "the rows are another node's",
                (Some(_), false) => "the newest rows are missing or damaged",
            });
            let epoch = epoch::next(known_epochs.into_iter())?;
            // The file first: a crash in between leads to the same place again, one epoch later.
            epoch::store(&folder, epoch)?;
            for stream in &mut streams {
                forget_empty(stream)?;
                stream.continue_at(epoch, 0);
                stream.begin(now)?;
            }
            disk::sync_folder(&folder).map_err(SpoolError::io("synced", &folder))?;
        }
        for stream in &mut streams {
            // What an earlier process left in the folder counts as durable from now on.
            stream.sync_folder()?;
        }
        let Ok(streams) = <[Stream; Table::ALL.len()]>::try_from(streams) else {
            unreachable!("one stream for each table")
        };
        let shared = Arc::new(Shared::default());
        let mut spool = Self { settings, streams, trouble: None, now: None, shared, _lock: lock };
        spool.publish();
        Ok((spool, recovery))
    }

    /// The sender's side.
    pub fn feed(&self) -> Feed {
        Feed::new(Arc::clone(&self.shared), self.settings.node.as_deref())
    }

    /// How large all segments together may be, in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.settings.max_bytes
    }

    /// Other limits from now on. Where the spool is larger than it may be, room is made with the next batch.
    pub fn set_limits(&mut self, limits: SpoolLimits) {
        let SpoolLimits { max_bytes, sync_interval, keep } = limits;
        let roll_bytes = roll_bytes(max_bytes);
        self.streams.iter_mut().for_each(|stream| stream.roll_bytes = roll_bytes);
        self.settings = SpoolSettings { max_bytes, sync_interval, keep, ..self.settings.clone() };
    }

    /// Where a table's row numbers continue.
    pub fn position(&self, table: Table) -> StreamPosition {
        let stream = &self.streams[index(table)];
        StreamPosition { epoch: stream.epoch, next_seq: stream.next_seq }
    }

    /// Takes a batch in; gives back the bytes of its rows. It reaches the kernel at once and the disk with the next sync.
    ///
    /// Trouble with the disk is no error here: the rows stay in memory, up to some megabytes, and the
    /// next [`Spool::maybe_sync`] or [`Spool::sync`] says what is wrong and tries again. An error means
    /// that the batch was refused and is not kept.
    pub fn append(&mut self, batch: &ReleasedBatch, now: Instant) -> Result<u64, SpoolError> {
        self.now = Some(now);
        let place = index(batch.table());
        let bytes = self.streams[place].push(batch, now)?;
        let flushed = self.make_room().and_then(|()| self.with_room(place, |stream| stream.flush(now)));
        // A new segment begins with its words.
        if let Err(error) = flushed.and_then(|()| self.make_room()) {
            self.trouble = Some(error);
        }
        self.publish();
        Ok(bytes)
    }

    /// Deletes what is older than [`SpoolSettings::keep`]; how many rows that were. Call it now and then: what is
    /// still being written is sealed by its age and goes later. They are among the rows of
    /// [`SpoolStatus::dropped_rows`].
    ///
    /// The clock alone decides: one that is ahead deletes what it makes too old, so a caller that has just started and
    /// cannot trust its clock waits.
    pub fn expire(&mut self, now: WallTime) -> Result<u64, SpoolError> {
        let limit = now - self.settings.keep;
        let mut result = Ok(0);
        for stream in &mut self.streams {
            let expired = stream.expire(limit, now, &self.shared);
            result = result.and_then(|rows| Ok(rows + expired?));
        }
        self.publish();
        result
    }

    /// Syncs what has waited long enough, seals segments that are old enough, and deletes what the gateway has confirmed
    /// (rule PC-19 of the privacy contract). Call it a few times in each [`SpoolSettings::sync_interval`].
    pub fn maybe_sync(&mut self, now: Instant) -> Result<(), SpoolError> {
        self.now = Some(now);
        let interval = self.settings.sync_interval;
        let mut result = self.trouble.take().map_or(Ok(()), Err);
        for place in 0..self.streams.len() {
            let ticked = self.with_room(place, |stream| stream.tick(now, interval));
            result = result.and(ticked).and(self.streams[place].remove_confirmed(&self.shared));
        }
        self.publish();
        result
    }

    /// Syncs everything now.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        self.trouble = None;
        // Without a moment there was no batch yet.
        let Some(now) = self.now else { return Ok(()) };
        let mut result = Ok(());
        for place in 0..self.streams.len() {
            let synced = self.with_room(place, |stream| stream.sync(now));
            result = result.and(synced);
        }
        self.publish();
        result
    }

    /// Syncs everything, seals the segments and gives the lock back. Feeds see what is there to the end, and nothing new.
    pub fn close(mut self) -> Result<(), SpoolError> {
        self.sync()?;
        let sealed = self.streams.iter_mut().try_for_each(Stream::seal);
        self.publish();
        sealed
    }

    /// Tells the feeds what is new.
    fn publish(&mut self) {
        let mut views = self.shared.views();
        let mut news = false;
        for (view, stream) in views.iter_mut().zip(&mut self.streams) {
            news |= stream.publish(view);
        }
        drop(views);
        if news {
            self.shared.changed.notify_one();
        }
    }

    /// How the spool is.
    pub fn status(&self) -> SpoolStatus {
        let mut status = SpoolStatus::default();
        for stream in &self.streams {
            status.bytes += stream.bytes();
            status.segments += stream.segments();
            status.oldest = match (status.oldest, stream.oldest()) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            status.synced_rows += stream.synced_rows;
            status.unsynced_rows += stream.unsynced_rows();
            status.dropped_rows += stream.dropped_rows;
            status.coarsened_rows += stream.coarsened_rows;
            status.failed_syncs += stream.failed_syncs;
        }
        status
    }

    /// The segments being written, and how much of each would survive a power cut.
    #[cfg(test)]
    pub(crate) fn durable_lengths(&self) -> Vec<(PathBuf, u64)> {
        let active = self.streams.iter().filter_map(|stream| stream.active.as_ref());
        active.map(|active| (active.path.to_path_buf(), active.durable_len)).collect()
    }
}

/// The size at which a segment is sealed.
fn roll_bytes(max_bytes: u64) -> u64 {
    (max_bytes / 8).clamp(LEAST_SEGMENT_BYTES, SEGMENT_BYTES)
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.changed.notify_one();
    }
}
