//! The durable log of released rows: what the release thread writes into.
//!
//! `<folder>/<table>/<epoch>-<first_seq>.seg`, beside `<folder>/epoch` and `<folder>/lock`.
//! A process that dies loses nothing that reached the kernel; a power cut loses what was not synced,
//! at most [`SpoolSettings::sync_interval`] or 256 KiB a table.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kerbside_core::time::WallTime;
use kerbside_release::{ReleasedBatch, StreamPosition, Table};

use crate::disk;
use crate::epoch;
use crate::error::{Damage, SpoolError};
use crate::format::{BadHeader, parse_file_name};
use crate::scan::Scanner;
use crate::segment::{Active, Found, examine};
use crate::stream::{Closed, Stream, folder_of};

/// The largest segment, in bytes.
const SEGMENT_BYTES: u64 = 8 << 20;
/// The smallest size at which a segment is sealed.
const LEAST_SEGMENT_BYTES: u64 = 16 << 10;
/// In which order tables give way when the spool is full.
const DROP_ORDER: [Table; 3] = [Table::Health, Table::Agg, Table::Incident];

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
}

/// What was found when the spool was opened.
#[derive(Debug, Default)]
pub struct Recovery {
    damages: Vec<(Table, Damage)>,
    new_epoch: Option<&'static str>,
}

impl Recovery {
    /// What was damaged in the newest segments. Damage at a segment's end has been cut off.
    pub fn damages(&self) -> impl Iterator<Item = &Damage> {
        self.damages.iter().map(|(_, damage)| damage)
    }

    /// The same, by table.
    pub fn damages_of(&self, table: Table) -> impl Iterator<Item = &Damage> {
        self.damages.iter().filter(move |(of, _)| *of == table).map(|(_, damage)| damage)
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
    /// Syncs that failed since the spool was opened.
    pub failed_syncs: u64,
}

/// An open spool. One process at a time.
pub struct Spool {
    settings: SpoolSettings,
    streams: [Stream; Table::ALL.len()],
    /// Trouble that [`Spool::append`] met; the next [`Spool::maybe_sync`] returns it.
    trouble: Option<SpoolError>,
    /// The last moment that was told.
    now: Option<Instant>,
    /// Held for as long as the spool is open.
    _lock: File,
}

impl Spool {
    /// Opens the spool in the folder, takes the lock, and repairs what a crash left behind.
    pub fn open(settings: SpoolSettings, now: WallTime) -> Result<(Self, Recovery), SpoolError> {
        let folder = settings.folder.clone();
        let unusable = |source| SpoolError::Folder { folder: folder.clone(), source };
        disk::create_folder(&folder).map_err(unusable)?;
        let lock = lock(&folder)?;
        let roll_bytes = (settings.max_bytes / 8).clamp(LEAST_SEGMENT_BYTES, SEGMENT_BYTES);
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
            match position.filter(|position| Some(position.epoch) == stored) {
                Some(position) => stream.next_seq = position.next_seq,
                None => trusted = false,
            }
            streams.push(stream);
        }
        // Rows that were cut off may have been read by someone already: their numbers are not given again.
        trusted &= recovery.damages.is_empty();
        if !trusted {
            recovery.new_epoch = Some(match (stored, known_epochs.is_empty()) {
                (_, true) => "the spool is new",
                (None, false) => "the file 'epoch' is missing or damaged",
                (Some(_), false) => "the newest rows are missing or damaged",
            });
            let epoch = epoch::next(known_epochs.into_iter())?;
            // The file first: a crash in between leads to the same place again, one epoch later.
            epoch::store(&folder, epoch)?;
            for stream in &mut streams {
                forget_empty(stream)?;
                stream.epoch = epoch;
                stream.next_seq = 0;
                stream.begin(now)?;
            }
            disk::sync_folder(&folder).map_err(SpoolError::io("synced", &folder))?;
        }
        let Ok(streams) = <[Stream; Table::ALL.len()]>::try_from(streams) else {
            unreachable!("one stream for each table")
        };
        Ok((Self { settings, streams, trouble: None, now: None, _lock: lock }, recovery))
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
        if let Err(error) = self.make_room().and_then(|()| self.flush(place, now)) {
            self.trouble = Some(error);
        }
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
        let mut rows = 0;
        for stream in &mut self.streams {
            rows += stream.expire(limit, now, rows_in)?;
        }
        Ok(rows)
    }

    /// Syncs what has waited long enough and seals segments that are old enough. Call it a few times
    /// in each [`SpoolSettings::sync_interval`].
    pub fn maybe_sync(&mut self, now: Instant) -> Result<(), SpoolError> {
        self.now = Some(now);
        let interval = self.settings.sync_interval;
        let mut result = self.trouble.take().map_or(Ok(()), Err);
        for place in 0..self.streams.len() {
            let ticked = self.with_room(place, |stream| stream.tick(now, interval));
            result = result.and(ticked);
        }
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
        result
    }

    /// Syncs everything, seals the segments and gives the lock back.
    pub fn close(mut self) -> Result<(), SpoolError> {
        self.sync()?;
        self.streams.iter_mut().try_for_each(Stream::seal)
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
            status.failed_syncs += stream.failed_syncs;
        }
        status
    }

    /// The segments being written, and how much of each would survive a power cut.
    #[cfg(test)]
    pub(crate) fn durable_lengths(&self) -> Vec<(PathBuf, u64)> {
        let active = self.streams.iter().filter_map(|stream| stream.active.as_ref());
        active.map(|active| (active.path.clone(), active.durable_len)).collect()
    }

    fn flush(&mut self, place: usize, now: Instant) -> Result<(), SpoolError> {
        self.with_room(place, |stream| stream.flush(now))
    }

    /// Does it again after old segments were dropped, for as long as the disk is full and there are any.
    fn with_room(
        &mut self,
        place: usize,
        mut act: impl FnMut(&mut Stream) -> Result<(), SpoolError>,
    ) -> Result<(), SpoolError> {
        loop {
            match act(&mut self.streams[place]) {
                Err(error) if is_full(&error) && self.drop_oldest()? => {}
                result => return result,
            }
        }
    }

    /// Keeps the spool within its size.
    fn make_room(&mut self) -> Result<(), SpoolError> {
        while self.occupied() > self.settings.max_bytes && self.drop_oldest()? {}
        Ok(())
    }

    fn occupied(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes() + stream.unsynced_bytes() as u64).sum()
    }

    /// Drops one segment, of the table that gives way first. Whether there was one.
    fn drop_oldest(&mut self) -> Result<bool, SpoolError> {
        for table in DROP_ORDER {
            let stream = &mut self.streams[index(table)];
            let rows = stream.closed.front().map(|oldest| rows_in(&oldest.path));
            if let Some(dropped) = stream.drop_oldest() {
                dropped?;
                stream.dropped_rows += rows.unwrap_or_default();
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn index(table: Table) -> usize {
    match table {
        Table::Agg => 0,
        Table::Health => 1,
        Table::Incident => 2,
    }
}

fn is_full(error: &SpoolError) -> bool {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    matches!(error, SpoolError::Io { source, .. } if kinds.contains(&source.kind()))
}

/// Rows in a segment that is about to go; none where it cannot be read any more.
fn rows_in(path: &Path) -> u64 {
    examine(path).map_or(0, |found| found.rows)
}

fn lock(folder: &Path) -> Result<File, SpoolError> {
    let path = folder.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(|source| SpoolError::Folder { folder: folder.to_owned(), source })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // The number is a courtesy: without it the message is still right.
            let read = (&mut file).take(20).read_to_string(&mut owner).is_ok();
            let known = read && !owner.is_empty() && owner.bytes().all(|byte| byte.is_ascii_digit());
            let owner = if known { format!(" (number {owner})") } else { String::new() };
            return Err(SpoolError::InUse { folder: folder.to_owned(), owner });
        }
        Err(TryLockError::Error(source)) => return Err(SpoolError::io("locked", &path)(source)),
    }
    let noted = file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
    noted.map_err(SpoolError::io("written", &path))?;
    Ok(file)
}

/// A segment's file in a folder.
struct Listed {
    epoch: u32,
    first_seq: u64,
    path: PathBuf,
}

/// The segments in a folder, oldest first.
fn list(folder: &Path) -> Result<Vec<Listed>, SpoolError> {
    let unusable = |source| SpoolError::Folder { folder: folder.to_owned(), source };
    let mut listed = Vec::new();
    for entry in fs::read_dir(folder).map_err(unusable)? {
        let entry = entry.map_err(unusable)?;
        if let Some((epoch, first_seq)) = entry.file_name().to_str().and_then(parse_file_name) {
            listed.push(Listed { epoch, first_seq, path: entry.path() });
        }
    }
    listed.sort_by_key(|segment| (segment.epoch, segment.first_seq));
    Ok(listed)
}

/// Takes the segments of earlier processes into the stream and repairs the newest. Says where the
/// numbers continue, if that can be trusted.
fn recover(
    stream: &mut Stream,
    mut listed: Vec<Listed>,
    recovery: &mut Recovery,
) -> Result<Option<StreamPosition>, SpoolError> {
    let Some(newest) = listed.pop() else { return Ok(None) };
    // A segment whose sync failed may hold more rows than its successor got to repeat.
    let before = match listed.last() {
        Some(last) if last.epoch == newest.epoch => {
            examine(&last.path).map_err(SpoolError::io("read", &last.path))?.next_seq
        }
        _ => None,
    };
    for Listed { path, .. } in listed {
        let read = SpoolError::io("read", &path);
        let closed = closed(path.clone()).map_err(read)?;
        stream.closed.push_back(closed);
    }
    let path = newest.path;
    let found = examine(&path).map_err(SpoolError::io("read", &path))?;
    recovery.damages.extend(found.damages.iter().map(|damage| (stream.table, damage.clone())));
    let position = position(&found, stream.table, newest.epoch, newest.first_seq);
    let Some(position) = position else {
        // Whatever it is, it is not ours to cut. It stays, and readers report it.
        stream.closed.push_back(closed(path.clone()).map_err(SpoolError::io("read", &path))?);
        return Ok(None);
    };
    let repaired = |source| SpoolError::Io { action: "repaired", path: path.clone(), source };
    if found.sealed {
        stream.closed.push_back(closed(path.clone()).map_err(repaired)?);
    } else if found.rows > 0 {
        found.repair(&path, stream.table).map_err(repaired)?;
        stream.closed.push_back(closed(path.clone()).map_err(repaired)?);
    } else if let Ok(header) = found.header {
        stream.active = Some(Active::continue_empty(&path, &header).map_err(repaired)?);
    }
    let next_seq = position.next_seq.max(before.unwrap_or_default());
    Ok((!found.spoilt).then_some(StreamPosition { next_seq, ..position }))
}

/// Where the numbers continue after a segment whose header and name agree.
fn position(found: &Found, table: Table, epoch: u32, first_seq: u64) -> Option<StreamPosition> {
    let header = found.header.ok()?;
    let agrees = (header.table, header.epoch, header.first_seq) == (table, epoch, first_seq);
    let next_seq = found.next_seq.unwrap_or(first_seq);
    (agrees && next_seq >= first_seq).then_some(StreamPosition { epoch, next_seq })
}

fn closed(path: PathBuf) -> io::Result<Closed> {
    let file = File::open(&path)?;
    let metadata = file.metadata()?;
    let bytes = metadata.len();
    let (_, header): (_, Result<_, BadHeader>) = Scanner::new(file)?;
    let created = header.ok().map(|header| WallTime::from_unix_millis(header.created_millis));
    // Nothing was written into it after its newest rows. The header knows of the oldest alone.
    let newest = metadata.modified().ok().map(WallTime::from).max(created);
    Ok(Closed { path, bytes, created, newest })
}

/// Removes a segment without rows of an epoch that ends.
fn forget_empty(stream: &mut Stream) -> Result<(), SpoolError> {
    match stream.active.take() {
        Some(active) => fs::remove_file(&active.path).map_err(SpoolError::io("removed", &active.path)),
        None => Ok(()),
    }
}
