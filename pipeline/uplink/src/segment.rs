//! One segment that is being written, and what is left of one after a crash.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use kerbside_core::time::WallTime;
use kerbside_release::Table;

use crate::disk::{self, AppendFile, File, ReadAt as _};
use crate::error::Damage;
use crate::format::{
    BadHeader, FOOTER_FRAME, FRAME_HEADER, Footer, FrameHeader, FrameKind, SEGMENT_HEADER, SegmentHeader,
    encode_frame, file_name,
};
use crate::scan::{Scanner, Step};
use crate::shared::Known;

/// A frame of rows that is not known to be on the disk yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) first_seq: u64,
    pub(crate) rows: u32,
    /// The end of the bin of its first row.
    pub(crate) at: WallTime,
    pub(crate) frame: Vec<u8>,
    /// The payload of the schema frame that it needs.
    pub(crate) opening: Arc<Vec<u8>>,
}

impl Pending {
    pub(crate) fn next_seq(&self) -> u64 {
        self.first_seq + u64::from(self.rows)
    }
}

/// A segment that is open for writing.
#[derive(Debug)]
pub(crate) struct Active {
    file: AppendFile,
    /// Of this file and no other within the process.
    pub(crate) id: u64,
    pub(crate) epoch: u32,
    pub(crate) first_seq: u64,
    pub(crate) path: Arc<Path>,
    pub(crate) len: u64,
    pub(crate) created: WallTime,
    /// The end of the newest bin that has a row in it.
    pub(crate) newest: WallTime,
    pub(crate) rows: u64,
    pub(crate) next_seq: u64,
    frames: u32,
    opening: Option<Arc<Vec<u8>>>,
    /// When the first rows came.
    pub(crate) opened: Option<Instant>,
    /// How much of it is known to be on the disk.
    pub(crate) durable_len: u64,
    pub(crate) durable_rows: u64,
    /// The number after that of the last row that is.
    pub(crate) durable_next_seq: u64,
}

impl Active {
    /// A new segment in `folder`, with its header.
    pub(crate) fn create(folder: &Path, header: &SegmentHeader) -> Result<Self, (PathBuf, io::Error)> {
        let path = folder.join(file_name(header.epoch, header.first_seq));
        let begin = |path: &Path| {
            let mut file = AppendFile::create(path)?;
            file.append(&header.encode())?;
            Ok(file)
        };
        match begin(&path) {
            Ok(file) => Ok(Self::with(file, path, header)),
            Err(error) => Err((path, error)),
        }
    }

    /// A segment without rows, to be filled.
    pub(crate) fn continue_empty(path: &Path, header: &SegmentHeader) -> io::Result<Self> {
        let file = AppendFile::reopen(path, SEGMENT_HEADER as u64)?;
        file.sync()?;
        Ok(Self::with(file, path.to_owned(), header))
    }

    fn with(file: AppendFile, path: PathBuf, header: &SegmentHeader) -> Self {
        let created = WallTime::from_unix_millis(header.created_millis);
        let next_seq = header.first_seq;
        Self {
            file,
            id: new_id(),
            epoch: header.epoch,
            first_seq: next_seq,
            path: path.into(),
            len: SEGMENT_HEADER as u64,
            created,
            newest: created,
            rows: 0,
            next_seq,
            frames: 0,
            opening: None,
            opened: None,
            durable_len: 0,
            durable_rows: 0,
            durable_next_seq: next_seq,
        }
    }

    /// Whether a frame with that opening can be appended.
    pub(crate) fn takes(&self, opening: &Arc<Vec<u8>>) -> bool {
        self.opening.as_ref().is_none_or(|own| Arc::ptr_eq(own, opening))
    }

    pub(crate) fn append(&mut self, pending: &Pending, now: Instant) -> io::Result<()> {
        if self.opening.is_none() {
            // Twice: a damaged place may cost one frame, and must not cost the key to all the others.
            let frame = encode_frame(FrameKind::Schema, pending.first_seq, 0, &pending.opening);
            self.put(&frame)?;
            self.put(&frame)?;
            self.opening = Some(Arc::clone(&pending.opening));
            self.opened = Some(now);
            if self.rows == 0 {
                self.created = self.created.max(pending.at);
            }
        }
        self.put(&pending.frame)?;
        self.newest = self.newest.max(pending.at);
        self.rows += u64::from(pending.rows);
        self.next_seq = pending.next_seq();
        Ok(())
    }

    fn put(&mut self, frame: &[u8]) -> io::Result<()> {
        self.file.append(frame)?;
        self.len += frame.len() as u64;
        self.frames += 1;
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.durable_len = self.len;
        self.durable_rows = self.rows;
        self.durable_next_seq = self.next_seq;
        Ok(())
    }

    /// What is known to be on the disk, as the sender sees it.
    pub(crate) fn known(&self) -> Known {
        Known {
            id: self.id,
            epoch: self.epoch,
            first_seq: self.first_seq,
            next_seq: self.durable_next_seq,
            path: Arc::clone(&self.path),
            bytes: self.durable_len,
            rows: self.durable_rows,
            since: Some(self.created),
            torn: false,
        }
    }

    /// Writes the footer and syncs.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        let footer = Footer { next_seq: self.next_seq, rows: self.rows, frames: self.frames };
        self.put(&footer.encode())?;
        self.sync()
    }
}

/// A number for a file that no other gets within the process.
pub(crate) fn new_id() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// What was found in a segment of an earlier process.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) header: Result<SegmentHeader, BadHeader>,
    pub(crate) rows: u64,
    /// The number after that of the last row, if there is any.
    pub(crate) next_seq: Option<u64>,
    pub(crate) sealed: bool,
    frames: u32,
    /// Up to here there are whole frames, and damage between whole frames.
    pub(crate) good_len: u64,
    pub(crate) damages: Vec<Damage>,
    /// Whether anything was lost in a way that an interrupted write does not explain.
    pub(crate) spoilt: bool,
}

/// Looks through a segment without decoding its rows.
pub(crate) fn examine(path: &Path) -> io::Result<Found> {
    let (mut scanner, header) = Scanner::new(File::open(path)?)?;
    let mut found = Found {
        header,
        rows: 0,
        next_seq: None,
        sealed: false,
        frames: 0,
        good_len: SEGMENT_HEADER as u64,
        damages: Vec::new(),
        spoilt: header.is_err(),
    };
    if header.is_err() {
        let bytes = scanner.len()?.min(SEGMENT_HEADER as u64);
        found.note(path, 0, bytes, "the segment's header is damaged");
    }
    loop {
        match scanner.step()? {
            Step::Frame { header, payload, .. } => {
                found.good_len = scanner.offset();
                found.frames += 1;
                match header.kind {
                    FrameKind::Schema => {}
                    FrameKind::Batch | FrameKind::Coarse => {
                        if let Some((last_seq, _)) = header.stands_for(&payload) {
                            found.rows += u64::from(header.rows);
                            found.next_seq = found.next_seq.max(Some(last_seq + 1));
                        }
                    }
                    FrameKind::Footer => {
                        found.sealed = true;
                        // It knows of rows that are damaged, too.
                        let told = Footer::decode(&payload).filter(|footer| footer.rows > 0);
                        found.next_seq = found.next_seq.max(told.map(|footer| footer.next_seq));
                    }
                }
            }
            Step::Damaged { offset, bytes, what } => found.note(path, offset, bytes, what),
            Step::Tail { offset, bytes, torn } => {
                found.spoilt |= !torn;
                found.note(path, offset, bytes, if torn { Step::TORN } else { Step::SPOILT });
                return Ok(found);
            }
            Step::End => return Ok(found),
        }
    }
}

impl Found {
    fn note(&mut self, path: &Path, offset: u64, bytes: u64, what: &'static str) {
        self.damages.push(Damage { file: path.to_owned(), offset, bytes, what });
    }

    /// Writes the segment anew, without its damaged tail and with the footer that the interrupted process could not
    /// write. Nobody knows whether that process had a sync that failed, after which the kernel calls pages
    /// clean that never reached the disk; so nothing is taken from the old file but what is read from it.
    pub(crate) fn repair(&self, path: &Path, table: Table) -> io::Result<()> {
        debug_assert!(self.header.is_ok_and(|header| header.table == table), "checked by the caller");
        let next_seq = self.next_seq.unwrap_or_default();
        let footer = Footer { next_seq, rows: self.rows, frames: self.frames }.encode();
        disk::copy_anew(path, self.good_len, &footer)
    }
}

/// What the end of a sealed segment says; `None` where it does not end in a footer.
pub(crate) fn footer_of(file: &File) -> io::Result<Option<Footer>> {
    let len = file.len()?;
    let Some(offset) = len.checked_sub(FOOTER_FRAME) else { return Ok(None) };
    let mut bytes = [0; FOOTER_FRAME as usize];
    if file.read_at(offset, &mut bytes)? < bytes.len() {
        return Ok(None);
    }
    let (header, payload) = bytes.split_at(FRAME_HEADER);
    let header =
        header.first_chunk().and_then(FrameHeader::decode).filter(|header| header.kind == FrameKind::Footer);
    let payload = header.and_then(|header| {
        payload.get(..header.len as usize).filter(|payload| crc32c::crc32c(payload) == header.payload_crc)
    });
    Ok(payload.and_then(Footer::decode))
}
