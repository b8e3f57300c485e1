//! Opening a spool: the lock, and what an earlier process left behind.
//!
//! What is found counts as durable once it was synced here: a process that was killed leaves in the kernel's memory
//! what it had not synced, and the next power cut would take it.

use std::io;
use std::path::{Path, PathBuf};

use kerbside_core::time::WallTime;
use kerbside_release::{StreamPosition, Table};

use crate::codec::node_of;
use crate::disk::{self, File, Lock, NotLocked, ReadAt as _};
use crate::error::{Damage, SpoolError};
use crate::format::{BadHeader, FrameKind, SEGMENT_HEADER, SEGMENT_MAGIC, parse_file_name};
use crate::scan::{Scanner, Step};
use crate::segment::{Active, Found, examine, footer_of, new_id};
use crate::shared::Known;
use crate::spool::Recovery;
use crate::stream::{Closed, Stream};

/// Takes the lock of a spool.
pub(crate) fn lock(folder: &Path) -> Result<Lock, SpoolError> {
    let path = folder.join("lock");
    disk::lock(&path, &std::process::id().to_string()).map_err(|failed| match failed {
        NotLocked::Open(source) => SpoolError::Folder { folder: folder.to_owned(), source },
        NotLocked::Other(source) => SpoolError::io("locked", &path)(source),
        NotLocked::Held(owner) => {
            let known = !owner.is_empty() && owner.bytes().all(|byte| byte.is_ascii_digit());
            let owner = if known { format!(" (number {owner})") } else { String::new() };
            SpoolError::InUse { folder: folder.to_owned(), owner }
        }
    })
}

/// A segment's file in a folder.
pub(crate) struct Listed {
    pub(crate) epoch: u32,
    first_seq: u64,
    path: PathBuf,
}

/// The segments in a folder, oldest first. What an interrupted replacement left is removed.
pub(crate) fn list(folder: &Path) -> Result<Vec<Listed>, SpoolError> {
    let unusable = |source| SpoolError::Folder { folder: folder.to_owned(), source };
    let mut listed = Vec::new();
    for name in disk::names_in(folder).map_err(unusable)? {
        let path = folder.join(&name);
        if let Some((epoch, first_seq)) = parse_file_name(&name) {
            listed.push(Listed { epoch, first_seq, path });
        } else if name.ends_with(".tmp") {
            disk::remove(&path).map_err(SpoolError::io("removed", &path))?;
        }
    }
    listed.sort_by_key(|segment| (segment.epoch, segment.first_seq));
    Ok(listed)
}

/// Takes the segments of earlier processes into the stream and repairs the newest. Says where the
/// numbers continue, if that can be trusted.
pub(crate) fn recover(
    stream: &mut Stream,
    mut listed: Vec<Listed>,
    recovery: &mut Recovery,
) -> Result<Option<StreamPosition>, SpoolError> {
    while let Some(newest) = listed.last()
        && is_unborn(&newest.path)
    {
        // It is told nevertheless: on a disk that lies about what it synced there may have been rows.
        let what = "the segment's header is incomplete";
        recovery.damages.push((stream.table, Damage { file: newest.path.clone(), offset: 0, bytes: 0, what }));
        disk::remove(&newest.path).map_err(SpoolError::io("removed", &newest.path))?;
        listed.pop();
    }
    let Some(newest) = listed.pop() else { return Ok(None) };
    for segment in listed {
        take_in(stream, closed(stream.table, &segment)?)?;
    }
    // A segment whose sync failed may hold more rows than its successor got to repeat.
    let before = stream.closed.back().map(|closed| &closed.known).filter(|last| last.epoch == newest.epoch);
    let before = before.map(|last| last.next_seq).unwrap_or_default();
    let path = newest.path.clone();
    let found = match examine(&path) {
        Ok(found) => found,
        Err(_) => {
            let damage = Damage { file: path, offset: 0, bytes: 0, what: "it cannot be read" };
            recovery.damages.push((stream.table, damage));
            stream.closed.push_back(closed(stream.table, &newest)?);
            return Ok(None);
        }
    };
    recovery.damages.extend(found.damages.iter().map(|damage| (stream.table, damage.clone())));
    let position = position(&found, stream.table, newest.epoch, newest.first_seq);
    let Some(position) = position else {
        // Whatever it is, it is not ours to cut. It stays, and readers report it.
        stream.closed.push_back(closed(stream.table, &newest)?);
        return Ok(None);
    };
    let repaired = |source| SpoolError::Io { action: "repaired", path: path.clone(), source };
    if found.sealed {
        disk::sync_file(&path).map_err(SpoolError::io("synced", &path))?;
        take_in(stream, closed(stream.table, &newest)?)?;
    } else if found.rows > 0 {
        found.repair(&path, stream.table).map_err(repaired)?;
        stream.closed.push_back(closed(stream.table, &newest)?);
    } else if let Ok(header) = found.header {
        stream.active = Some(Active::continue_empty(&path, &header).map_err(repaired)?);
    }
    let next_seq = position.next_seq.max(before);
    Ok((!found.spoilt).then_some(StreamPosition { next_seq, ..position }))
}

/// Whether a file is what is left where a crash came before its header was on the disk: nothing, zeros, or the beginning
/// of a header. Where disks are honest no row of it was ever durable.
fn is_unborn(path: &Path) -> bool {
    let Ok(bytes) = disk::read(path) else { return false };
    let begin = &bytes[..bytes.len().min(SEGMENT_MAGIC.len())];
    let is_cut = bytes.len() < SEGMENT_HEADER && SEGMENT_MAGIC.starts_with(begin);
    is_cut || (bytes.len() < disk::SMALL as usize && bytes.iter().all(|byte| *byte == 0))
}

/// Takes a segment in, unless it only repeats what a coarse one before it stands for: then a crash came between the two
/// and it goes.
fn take_in(stream: &mut Stream, closed: Closed) -> Result<(), SpoolError> {
    let own = &closed.known;
    let is_said = stream.closed.back().is_some_and(|before| {
        let known = &before.known;
        before.is_coarse && known.epoch == own.epoch && own.next_seq <= known.next_seq
    });
    if is_said {
        return disk::remove(&own.path).map_err(SpoolError::io("removed", &own.path));
    }
    stream.closed.push_back(closed);
    Ok(())
}

/// Where the numbers continue after a segment whose header and name agree.
fn position(found: &Found, table: Table, epoch: u32, first_seq: u64) -> Option<StreamPosition> {
    let header = found.header.ok()?;
    let agrees = (header.table, header.epoch, header.first_seq) == (table, epoch, first_seq);
    let next_seq = found.next_seq.unwrap_or(first_seq);
    (agrees && next_seq >= first_seq).then_some(StreamPosition { epoch, next_seq })
}

/// A segment that is written no more, as its header and its footer tell it; without a footer it is read through. One bad
/// block must not keep the node from starting: what cannot be read is as if it were damaged.
fn closed(table: Table, segment: &Listed) -> Result<Closed, SpoolError> {
    let Listed { epoch, first_seq, ref path } = *segment;
    let failed = |source| SpoolError::io("read", path)(source);
    let file = File::open(path).map_err(failed)?;
    let bytes = file.len().map_err(failed)?;
    let modified = file.modified().ok();
    let footer = footer_of(&file).unwrap_or(None);
    let header = Scanner::new(file).map_or(Err(BadHeader::Damaged), |(_, header)| header);
    let (next_seq, rows, torn) = match footer {
        Some(footer) => (Some(footer.next_seq), footer.rows, false),
        None => {
            examine(path).map_or((None, 0, true), |found| (found.next_seq, found.rows, !found.damages.is_empty()))
        }
    };
    // Of another table's segment under this name nothing is known.
    let is_ours =
        header.map_or(true, |header| (header.table, header.epoch, header.first_seq) == (table, epoch, first_seq));
    let next_seq = next_seq.filter(|next_seq| is_ours && *next_seq >= first_seq).unwrap_or(first_seq);
    let created = header.ok().map(|header| WallTime::from_unix_millis(header.created_millis));
    // Nothing was written into it after its newest rows. The header knows of the oldest alone.
    let newest = modified.max(created);
    let path = path.as_path().into();
    let known = Known { id: new_id(), epoch, first_seq, next_seq, path, bytes, rows, since: created, torn };
    let is_coarse = footer.is_some() && rows < next_seq - first_seq;
    // A sum is not summed up again: to look at all of them once more would keep the writer from its work.
    Ok(Closed { known, bytes, newest, foreign: false, is_final: is_coarse, is_coarse })
}

/// Finds epochs whose rows are another node's, by the first segment of each that has rows.
pub(crate) fn find_foreign(stream: &mut Stream, node: Option<&str>, recovery: &mut Recovery) {
    let Some(node) = node else { return };
    let mut judged: Option<(u32, bool)> = None;
    for closed in &mut stream.closed {
        let epoch = closed.known.epoch;
        if judged.is_none_or(|(of, _)| of != epoch) {
            // One that cannot be read says nothing, and the cursor looks at each opening again.
            if let Some(is_ours) = names(&closed.known, node).unwrap_or(None) {
                judged = Some((epoch, is_ours));
                if !is_ours {
                    let what = "the rows are another node's";
                    let damage =
                        Damage { file: closed.known.path.to_path_buf(), offset: 0, bytes: closed.bytes, what };
                    recovery.foreign.push((stream.table, damage));
                }
            }
        }
        closed.foreign = judged == Some((epoch, false));
    }
}

/// Whether the first opening in a segment is of that node; `None` where there is none that says so.
fn names(known: &Known, node: &str) -> io::Result<Option<bool>> {
    let (mut scanner, _) = Scanner::new(File::open(&known.path)?)?;
    loop {
        match scanner.step()? {
            Step::Frame { header, payload, .. } if header.kind == FrameKind::Schema => {
                if let Some(found) = node_of(&payload.into()) {
                    return Ok(Some(found == node));
                }
            }
            Step::Frame { .. } | Step::Damaged { .. } => {}
            Step::Tail { .. } | Step::End => return Ok(None),
        }
    }
}

/// Removes a segment without rows of an epoch that ends.
pub(crate) fn forget_empty(stream: &mut Stream) -> Result<(), SpoolError> {
    match stream.active.take() {
        Some(active) => disk::remove(&active.path).map_err(SpoolError::io("removed", &active.path)),
        None => Ok(()),
    }
}
