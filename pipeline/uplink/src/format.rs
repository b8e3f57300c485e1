//! The bytes of a segment.
//!
//! ```text
//! segment   header (128 B) · frames
//! header    magic 8 · version u32 · stream u32 · epoch u32 · 0 u32 · first_seq u64 · created u64 (ms since
//!           1970) · schema_hash 32 · 0… · crc32c u32 over the 124 bytes before it
//! frame     header (32 B) · payload · zeros up to a multiple of 64 B
//! header    magic u32 · len u32 · first_seq u64 · nrows u32 · kind u8 · flags u8 · 0 u16 ·
//!           crc32c(payload) u32 · crc32c u32 over the 28 bytes before it
//! schema    payload: the encapsulated Arrow messages of the schema and all dictionaries; written twice, so
//!           that no single damaged place costs more than one frame of rows
//! batch     payload: one encapsulated Arrow record batch, readable with the schema frame alone
//! coarse    payload: last_seq u64 · one such record batch, whose rows stand for all from first_seq to last_seq
//! footer    payload: next_seq u64 · rows u64 · frames u32 · 0 u32; the segment is sealed
//! ```
//!
//! All numbers are little-endian. The checksum is CRC-32C (Castagnoli).

use kerbside_release::Table;

use crate::wire::{MAX_MESSAGE_BYTES, table_number, table_of_number};

/// What a segment begins with. The last byte is no text, so that a transfer as text shows.
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"KERBSEG\x1a";
/// The version of the layout in this file.
pub(crate) const VERSION: u32 = 1;
/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER: usize = 128;
/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER: usize = 32;
/// Frames begin on multiples of this, in bytes.
pub(crate) const ALIGN: u64 = 64;
/// The largest payload, in bytes: a bound on what a reader allocates for a length that it was told, and within what
/// a message to the gateway may be, since each frame of rows is sent as one.
pub(crate) const MAX_PAYLOAD: usize = 15 << 20;
const _: () = assert!(MAX_PAYLOAD < MAX_MESSAGE_BYTES);
/// The segments' file extension.
pub(crate) const EXTENSION: &str = "seg";

const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"KFRM");
const FOOTER: usize = 24;
/// Bytes of the last number before the rows of a coarse frame.
const COARSE_LAST: usize = 8;
/// Bytes of a footer's frame.
pub(crate) const FOOTER_FRAME: u64 = frame_size(FOOTER as u64);

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) table: Table,
    pub(crate) epoch: u32,
    pub(crate) first_seq: u64,
    pub(crate) created_millis: u64,
}

/// What is wrong with a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Not the magic, or not the checksum.
    Damaged,
    /// Whole, but of another version, stream or schema.
    Version(u32),
    /// Whole, but of a table or a version of it that is unknown.
    Table,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        let mut put = Put { bytes: &mut bytes, at: 0 };
        put.all(&SEGMENT_MAGIC);
        put.all(&VERSION.to_le_bytes());
        put.all(&table_number(self.table).to_le_bytes());
        put.all(&self.epoch.to_le_bytes());
        put.all(&0u32.to_le_bytes());
        put.all(&self.first_seq.to_le_bytes());
        put.all(&self.created_millis.to_le_bytes());
        put.all(&self.table.schema_hash());
        let crc = crc32c::crc32c(&bytes[..SEGMENT_HEADER - 4]);
        bytes[SEGMENT_HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER]) -> Result<Self, BadHeader> {
        let mut take = Take(bytes);
        let crc = crc32c::crc32c(&bytes[..SEGMENT_HEADER - 4]);
        let stored = Take(&bytes[SEGMENT_HEADER - 4..]).u32();
        if take.all::<8>() != SEGMENT_MAGIC || stored != crc {
            return Err(BadHeader::Damaged);
        }
        let version = take.u32();
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        let stream = take.u32();
        let epoch = take.u32();
        take.u32();
        let first_seq = take.u64();
        let created_millis = take.u64();
        let hash = take.all::<32>();
        let table = table_of_number(stream);
        match table.filter(|table| table.schema_hash() == hash) {
            Some(table) => Ok(Self { table, epoch, first_seq, created_millis }),
            None => Err(BadHeader::Table),
        }
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// The schema and all dictionaries.
    Schema,
    /// One record batch.
    Batch,
    /// The seal.
    Footer,
    /// One record batch whose rows stand for more rows than they are.
    Coarse,
}

impl FrameKind {
    const fn number(self) -> u8 {
        match self {
            Self::Schema => 1,
            Self::Batch => 2,
            Self::Footer => 3,
            Self::Coarse => 4,
        }
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    pub(crate) first_seq: u64,
    pub(crate) rows: u32,
    pub(crate) len: u32,
    pub(crate) payload_crc: u32,
}

impl FrameHeader {
    /// The frame's size with header and padding, in bytes.
    pub(crate) fn frame_size(&self) -> u64 {
        frame_size(u64::from(self.len))
    }

    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER]) -> Option<Self> {
        let crc = crc32c::crc32c(&bytes[..FRAME_HEADER - 4]);
        let mut take = Take(bytes);
        let magic = take.u32();
        let len = take.u32();
        let first_seq = take.u64();
        let rows = take.u32();
        let [kind, flags, pad_a, pad_b] = take.all();
        let payload_crc = take.u32();
        let stored = take.u32();
        let kind = match kind {
            1 => FrameKind::Schema,
            2 => FrameKind::Batch,
            3 => FrameKind::Footer,
            4 => FrameKind::Coarse,
            _ => return None,
        };
        let whole = magic == FRAME_MAGIC && stored == crc && [flags, pad_a, pad_b] == [0; 3];
        (whole && len as usize <= MAX_PAYLOAD).then_some(Self { kind, first_seq, rows, len, payload_crc })
    }

    /// The last number that a frame of rows stands for, and where in the payload its record batch begins. `None` where
    /// the frame is none of rows, or its numbers make no sense.
    pub(crate) fn stands_for(&self, payload: &[u8]) -> Option<(u64, usize)> {
        let own_last = self.first_seq.checked_add(u64::from(self.rows.checked_sub(1)?))?;
        let (last, begin) = match self.kind {
            FrameKind::Batch => (own_last, 0),
            FrameKind::Coarse => (u64::from_le_bytes(*payload.first_chunk::<COARSE_LAST>()?), COARSE_LAST),
            FrameKind::Schema | FrameKind::Footer => return None,
        };
        // There is always a number after it.
        (last >= own_last && last < u64::MAX).then_some((last, begin))
    }
}

/// The payload of a coarse frame: rows that stand for all numbers up to `last_seq`.
pub(crate) fn coarse_payload(last_seq: u64, batch: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(COARSE_LAST + batch.len());
    payload.extend_from_slice(&last_seq.to_le_bytes());
    payload.extend_from_slice(batch);
    payload
}

/// A whole frame in bytes. The payload is at most [`MAX_PAYLOAD`] long.
pub(crate) fn encode_frame(kind: FrameKind, first_seq: u64, rows: u32, payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() <= MAX_PAYLOAD, "the caller has checked the size");
    let size = frame_size(payload.len() as u64) as usize;
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&first_seq.to_le_bytes());
    bytes.extend_from_slice(&rows.to_le_bytes());
    bytes.extend_from_slice(&[kind.number(), 0, 0, 0]);
    bytes.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(size, 0);
    bytes
}

/// What a sealed segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// The number after that of the last row.
    pub(crate) next_seq: u64,
    pub(crate) rows: u64,
    /// Frames before the footer.
    pub(crate) frames: u32,
}

impl Footer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = [0; FOOTER];
        let mut put = Put { bytes: &mut payload, at: 0 };
        put.all(&self.next_seq.to_le_bytes());
        put.all(&self.rows.to_le_bytes());
        put.all(&self.frames.to_le_bytes());
        encode_frame(FrameKind::Footer, self.next_seq, 0, &payload)
    }

    /// From the payload of a footer's frame, whose checksum was found right.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let payload: &[u8; FOOTER] = payload.try_into().ok()?;
        let mut take = Take(payload);
        let (next_seq, rows, frames, rest) = (take.u64(), take.u64(), take.u32(), take.u32());
        (rest == 0).then_some(Self { next_seq, rows, frames })
    }
}

/// A segment's file name. Names sort by age, since epochs only grow.
pub(crate) fn file_name(epoch: u32, first_seq: u64) -> String {
    format!("{epoch:010}-{first_seq:020}.{EXTENSION}")
}

/// The epoch and first row that a file name tells, if it is a segment's.
pub(crate) fn parse_file_name(name: &str) -> Option<(u32, u64)> {
    let (epoch, seq) = name.strip_suffix(EXTENSION)?.strip_suffix('.')?.split_once('-')?;
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(epoch, 10) && digits(seq, 20)).then_some(())?;
    Some((epoch.parse().ok()?, seq.parse().ok()?))
}

pub(crate) const fn frame_size(payload: u64) -> u64 {
    (FRAME_HEADER as u64 + payload).next_multiple_of(ALIGN)
}

/// Writes one field after the other.
struct Put<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Put<'_> {
    fn all(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }
}

/// Reads one field after the other. The callers' arrays are long enough by their types.
struct Take<'a>(&'a [u8]);

impl Take<'_> {
    fn all<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk::<N>().expect("the header's type holds all its fields");
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.all())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader =
        SegmentHeader { table: Table::Health, epoch: 7, first_seq: 1 << 40, created_millis: 1_700_000_000_000 };

    #[test]
    fn headers_come_back_and_no_flipped_bit_passes() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(HEADER));
        let frame = encode_frame(FrameKind::Batch, 5, 3, b"rows");
        let header: [u8; FRAME_HEADER] = frame[..FRAME_HEADER].try_into().unwrap();
        let decoded = FrameHeader::decode(&header).unwrap();
        assert_eq!((decoded.kind, decoded.first_seq, decoded.rows, decoded.len), (FrameKind::Batch, 5, 3, 4));
        assert_eq!((frame.len(), decoded.frame_size(), decoded.stands_for(b"rows")), (64, 64, Some((7, 0))));
        for bit in 0..8 * SEGMENT_HEADER {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), Err(BadHeader::Damaged), "bit {bit}");
        }
        for bit in 0..8 * FRAME_HEADER {
            let mut flipped = header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = HEADER.encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..SEGMENT_HEADER - 4]);
        bytes[SEGMENT_HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Version(2)));
    }

    #[test]
    fn file_names_come_back_and_others_are_none() {
        let name = file_name(u32::MAX, u64::MAX);
        assert_eq!(parse_file_name(&name), Some((u32::MAX, u64::MAX)));
        assert!(file_name(9, 99) < file_name(10, 0));
        for other in
            ["epoch", "1-2.seg", "0000000001-00000000000000000002.seg.tmp", "9999999999-00000000000000000002.seg"]
        {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }
}
