//! Old segments of `agg.v1` become one of coarse rows, for the sake of room.
//!
//! The new segment takes the name of the oldest one that it replaces, so that after a crash there is either the old one
//! or the new one. The others go once that is on the disk; until then they repeat what the new one says, and whoever
//! reads knows the numbers.
//!
//! Never touched: what the gateway confirmed or a cursor handed out, since who has one of the rows cannot use their sum;
//! and what is damaged, since a sum must not hide what is missing.

use std::io;
use std::sync::Arc;

use arrow_array::RecordBatch;
use kerbside_release::{Table, coarsen};

use crate::codec::{Decoder, Encoder};
use crate::disk::{self, File};
use crate::error::SpoolError;
use crate::feed::is_of;
use crate::format::{Footer, FrameKind, MAX_PAYLOAD, SEGMENT_HEADER, SegmentHeader, coarse_payload, encode_frame};
use crate::parcel::{Frames, Opening, Parcel};
use crate::room::is_full;
use crate::scan::Scanner;
use crate::segment::new_id;
use crate::shared::{Known, Shared, index};
use crate::stream::{Closed, Stream};

/// Bytes of segments that are read into memory at a time.
pub(crate) const MOST_BYTES: u64 = 8 << 20;
/// Rows that become one frame: on a line of 64 kbit/s half a megabyte takes a minute, and an answer may take 90 s. Where
/// one ends and the next begins, an hour stays in two parts.
const GROUP_ROWS: usize = 1 << 13;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is more room.
    Done,
    /// Nothing can be summed up.
    NothingToGain,
    /// The oldest that could be are not worth it; the next call takes those after them. Each is read into memory, and
    /// whoever stores rows waits meanwhile.
    NotWorthIt,
    /// There is no room on the disk for the new segment, which must be there before the old ones go.
    NoRoom,
}

/// Replaces the oldest segments that can be, of up to `most_bytes` together, if it makes them a quarter smaller at least.
pub(crate) fn coarsen_oldest(
    stream: &mut Stream,
    shared: &Shared,
    most_bytes: u64,
) -> Result<Outcome, SpoolError> {
    let Some((begin, end)) = hold(stream, shared, most_bytes) else { return Ok(Outcome::NothingToGain) };
    let run: Vec<&Closed> = stream.closed.range(begin..end).collect();
    let replaced = replace(stream.table, &run);
    let views = || shared.views();
    match replaced {
        Ok(Some(coarse)) => {
            stream.replace(begin, coarse);
            let mut views = views();
            let view = &mut views[index(stream.table)];
            view.held.clear();
            stream.publish(view);
            drop(views);
            shared.changed.notify_one();
            stream.sync_folder()?;
            Ok(Outcome::Done)
        }
        Ok(None) => {
            views()[index(stream.table)].held.clear();
            if most_bytes < MOST_BYTES {
                // Together with more of them there may be something to gain.
                return Ok(Outcome::NoRoom);
            }
            stream.closed.range_mut(begin..end).for_each(|closed| closed.is_final = true);
            Ok(Outcome::NotWorthIt)
        }
        Err(error) => {
            views()[index(stream.table)].held.clear();
            if is_full(&error) { Ok(Outcome::NoRoom) } else { Err(error) }
        }
    }
}

/// The oldest run of segments that may be replaced; from now on no cursor reads them.
fn hold(stream: &Stream, shared: &Shared, most_bytes: u64) -> Option<(usize, usize)> {
    let mut views = shared.views();
    let view = &mut views[index(stream.table)];
    let may_go = |closed: &Closed| {
        let Known { epoch, first_seq, next_seq, .. } = closed.known;
        let touches = |sets: &std::collections::BTreeMap<u32, crate::ranges::RangeSet>| {
            sets.get(&epoch).is_some_and(|set| set.intersects(first_seq, next_seq - 1))
        };
        let is_plain = !closed.is_final && !closed.foreign && next_seq > first_seq;
        is_plain && !touches(&view.confirmed) && !touches(&view.offered)
    };
    let begin = stream.closed.iter().position(may_go)?;
    let mut end = begin;
    let mut bytes = 0;
    let mut last: Option<&Known> = None;
    for closed in stream.closed.range(begin..) {
        let known = &closed.known;
        let follows = last.is_none_or(|last| (last.epoch, last.next_seq) == (known.epoch, known.first_seq));
        bytes += closed.bytes;
        if !follows || !may_go(closed) || (end > begin && bytes > most_bytes) {
            break;
        }
        last = Some(known);
        end += 1;
    }
    view.held.extend(stream.closed.range(begin..end).map(|closed| closed.known.id));
    Some((begin, end))
}

/// Frames of the new segment.
#[derive(Default)]
struct Built {
    frames: Vec<Vec<u8>>,
    rows: u64,
    next_seq: u64,
}

/// Writes the coarse segment over the first of the run, as far as that has one opening. `None` where it is not worth it.
fn replace(table: Table, run: &[&Closed]) -> Result<Option<Coarse>, SpoolError> {
    let Some(first) = run.first() else { return Ok(None) };
    let Some(content) = read(table, run)? else { return Ok(None) };
    let replaced = &run[..content.segments];
    let failed = |source| SpoolError::Encode { table, source };
    let mut built = Built::default();
    let opening = &content.opening.payload;
    for _ in 0..2 {
        built.frames.push(encode_frame(FrameKind::Schema, first.known.first_seq, 0, opening));
    }
    let mut decoder = match Decoder::new(opening.to_vec()) {
        Ok(decoder) => decoder,
        Err(_) => return Ok(None),
    };
    for group in content.groups() {
        let batches: Vec<RecordBatch> = group.iter().map(|frame| frame.batch.clone()).collect();
        let coarse = coarsen(&batches).map_err(|source| SpoolError::Coarsen(Box::new(source)))?;
        let (Some(begin), Some(end)) = (group.first(), group.last()) else { continue };
        let Some(coarse) = coarse else {
            for frame in group {
                let rows = frame.batch.num_rows() as u32;
                built.rows += u64::from(rows);
                built.frames.push(match frame.coarse_last {
                    Some(last) => encode_frame(
                        FrameKind::Coarse,
                        frame.first_seq,
                        rows,
                        &coarse_payload(last, &frame.payload),
                    ),
                    None => encode_frame(FrameKind::Batch, frame.first_seq, rows, &frame.payload),
                });
            }
            built.next_seq = end.last_seq + 1;
            continue;
        };
        let payload = Encoder::new(&coarse).and_then(|mut encoder| encoder.encode(&coarse)).map_err(failed)?;
        // The opening stays the old one, so it must be the one that this is decoded with.
        let Some(payload) = payload.filter(|payload| decoder.decode(payload.clone()).as_ref() == Ok(&coarse))
        else {
            return Ok(None);
        };
        let rows = coarse.num_rows() as u32;
        let payload = coarse_payload(end.last_seq, &payload);
        if payload.len() > MAX_PAYLOAD {
            return Ok(None);
        }
        built.rows += u64::from(rows);
        built.next_seq = end.last_seq + 1;
        built.frames.push(encode_frame(FrameKind::Coarse, begin.first_seq, rows, &payload));
    }
    let frames = u32::try_from(built.frames.len()).unwrap_or(u32::MAX);
    built.frames.push(Footer { next_seq: built.next_seq, rows: built.rows, frames }.encode());
    let bytes = SEGMENT_HEADER as u64 + built.frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
    let old_bytes: u64 = replaced.iter().map(|closed| closed.bytes).sum();
    if bytes * 4 > old_bytes * 3 {
        return Ok(None);
    }
    let Known { epoch, first_seq, ref path, since, .. } = first.known;
    let created_millis = since.map_or(0, |since| u64::try_from(since.as_unix_millis()).unwrap_or_default());
    let header = SegmentHeader { table, epoch, first_seq, created_millis }.encode();
    let newest = replaced.iter().filter_map(|closed| closed.newest).max();
    disk::put_in_place(path, newest, |file| {
        file.append(&header)?;
        built.frames.iter().try_for_each(|frame| file.append(frame))
    })
    .map_err(SpoolError::io("written", path))?;
    let known = Known {
        id: new_id(),
        epoch,
        first_seq,
        next_seq: built.next_seq,
        path: Arc::clone(path),
        bytes,
        rows: built.rows,
        since,
        torn: false,
    };
    let closed = Closed { known, bytes, newest, foreign: false, is_final: true, is_coarse: true };
    Ok(Some(Coarse { closed, segments: replaced.len() }))
}

/// A coarse segment that is on the disk, and how many of the run's first segments it stands for.
pub(crate) struct Coarse {
    pub(crate) closed: Closed,
    pub(crate) segments: usize,
}

/// A frame of rows, decoded and not.
struct Frame {
    first_seq: u64,
    last_seq: u64,
    /// Where the frame is coarse already.
    coarse_last: Option<u64>,
    payload: bytes::Bytes,
    batch: RecordBatch,
}

struct Content {
    opening: Arc<Opening>,
    frames: Vec<Frame>,
    /// How many of the segments have this opening and are whole.
    segments: usize,
}

impl Content {
    /// Frames that become one. Those that are coarse already stay by themselves.
    fn groups(&self) -> impl Iterator<Item = &[Frame]> {
        let mut rows = 0;
        self.frames.chunk_by(move |before, after| {
            rows += before.batch.num_rows();
            let together = before.coarse_last.is_none()
                && after.coarse_last.is_none()
                && rows + after.batch.num_rows() <= GROUP_ROWS;
            if !together {
                rows = 0;
            }
            together
        })
    }
}

/// The rows of the first segments that are whole and have one opening.
fn read(table: Table, run: &[&Closed]) -> Result<Option<Content>, SpoolError> {
    let mut content: Option<Content> = None;
    for closed in run {
        let known = &closed.known;
        let failed = |source: io::Error| SpoolError::io("read", &known.path)(source);
        let (scanner, _) = Scanner::new(File::open(&known.path).map_err(failed)?).map_err(failed)?;
        let mut frames = Frames::new(scanner);
        let accepts = |payload| is_of(&payload, table, None).then(|| Arc::new(Opening::new(payload)));
        let mut place = known.first_seq;
        let mut of_segment = Vec::new();
        let mut decoder: Option<(Arc<Opening>, Decoder)> = None;
        loop {
            let piece = frames.next(place, known.bytes, accepts).map_err(failed)?;
            match piece.into_parcel(known.epoch, place, Some(known.next_seq)) {
                Some((Parcel::Rows { first_seq, last_seq, rows, opening, payload, .. }, next)) => {
                    if first_seq != place {
                        return Ok(content);
                    }
                    if decoder.is_none() {
                        let new = Decoder::new(opening.payload.to_vec());
                        decoder = new.ok().map(|decoder| (Arc::clone(&opening), decoder));
                    }
                    let Some((_, decoder)) = &mut decoder else { return Ok(content) };
                    let Ok(batch) = decoder.decode(payload.to_vec()) else { return Ok(content) };
                    if batch.num_rows() != rows as usize {
                        return Ok(content);
                    }
                    let coarse_last = (last_seq - first_seq >= u64::from(rows)).then_some(last_seq);
                    of_segment.push(Frame { first_seq, last_seq, coarse_last, payload, batch });
                    place = next;
                }
                Some((Parcel::Gap { .. }, _)) => return Ok(content),
                None => break,
            }
        }
        let Some((opening, _)) = decoder else { return Ok(content) };
        match &mut content {
            Some(content) if content.opening != opening => break,
            Some(content) => {
                content.frames.append(&mut of_segment);
                content.segments += 1;
            }
            none => *none = Some(Content { opening, frames: of_segment, segments: 1 }),
        }
    }
    Ok(content)
}
