//! Frame by frame through the bytes of a segment, whatever they are and wherever they lie.
//!
//! A frame is handed out only when its checksums are right. A payload that does not fit its checksum is
//! stepped over by the length in its header; a header that does not fit its own is stepped over by
//! looking for the next one that does. Memory is bounded: a payload is allocated only when the file is
//! long enough to hold it, and never beyond [`MAX_PAYLOAD`].

use std::io;

use crate::disk::ReadAt;
use crate::format::{ALIGN, BadHeader, FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader};

/// What stands at one place of a segment.
#[derive(Debug)]
pub(crate) enum Step {
    /// A frame whose checksums are right.
    Frame { offset: u64, header: FrameHeader, payload: Vec<u8> },
    /// Bytes that are no frame, with more frames after them.
    Damaged { offset: u64, bytes: u64, what: &'static str },
    /// Bytes at the end that are no frame.
    Tail { offset: u64, bytes: u64, torn: bool },
    /// The end of the file.
    End,
}

impl Step {
    /// What is wrong with a tail, in words.
    pub(crate) const TORN: &'static str = "the last frame is incomplete";
    /// The same for one that is long enough.
    pub(crate) const SPOILT: &'static str = "the checksum is wrong";
}

/// A place in a segment.
#[derive(Debug)]
pub(crate) struct Scanner<S> {
    source: S,
    offset: u64,
}

impl<S: ReadAt> Scanner<S> {
    /// Stands after the segment's header, which is read and checked. The inner error is the header's.
    pub(crate) fn new(source: S) -> io::Result<(Self, Result<SegmentHeader, BadHeader>)> {
        let mut bytes = [0; SEGMENT_HEADER];
        let header = match source.read_at(0, &mut bytes)? {
            SEGMENT_HEADER => SegmentHeader::decode(&bytes),
            _ => Err(BadHeader::Damaged),
        };
        Ok((Self { source, offset: SEGMENT_HEADER as u64 }, header))
    }

    /// Where the next step begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        self.source.len()
    }

    /// Reads on. After a [`Step::Tail`] the place stays, so that a file that is still being written can
    /// be looked at again.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        self.step_within(u64::MAX)
    }

    /// The same as if the file ended at `limit`.
    pub(crate) fn step_within(&mut self, limit: u64) -> io::Result<Step> {
        let len = self.len()?.min(limit);
        let offset = self.offset;
        let rest = len.saturating_sub(offset);
        if rest == 0 {
            return Ok(Step::End);
        }
        let Some(header) = self.header_at(offset)? else {
            return match self.next_header(offset + ALIGN, len)? {
                Some(next) => {
                    self.offset = next;
                    let what = "a frame's header is damaged";
                    Ok(Step::Damaged { offset, bytes: next - offset, what })
                }
                None => Ok(Step::Tail { offset, bytes: rest, torn: rest < FRAME_HEADER as u64 }),
            };
        };
        let size = header.frame_size();
        if size > rest {
            // A header that lies about its length would need a right checksum: the file is cut off.
            return Ok(Step::Tail { offset, bytes: rest, torn: true });
        }
        let mut payload = vec![0; header.len as usize];
        let found = self.source.read_at(offset + FRAME_HEADER as u64, &mut payload)?;
        if found < payload.len() {
            return Ok(Step::Tail { offset, bytes: rest, torn: true });
        }
        if crc32c::crc32c(&payload) != header.payload_crc {
            if size == rest {
                return Ok(Step::Tail { offset, bytes: rest, torn: false });
            }
            self.offset = offset + size;
            return Ok(Step::Damaged { offset, bytes: size, what: Step::SPOILT });
        }
        self.offset = offset + size;
        Ok(Step::Frame { offset, header, payload })
    }

    fn header_at(&self, offset: u64) -> io::Result<Option<FrameHeader>> {
        let mut bytes = [0; FRAME_HEADER];
        let found = self.source.read_at(offset, &mut bytes)?;
        Ok(if found == FRAME_HEADER { FrameHeader::decode(&bytes) } else { None })
    }

    /// The first place from `from` on at which a whole header stands.
    fn next_header(&self, from: u64, len: u64) -> io::Result<Option<u64>> {
        const BLOCK: usize = 64 << 10;
        let mut block = vec![0; BLOCK];
        let mut at = from;
        while at < len {
            let found = self.source.read_at(at, &mut block)?;
            for start in (0..found).step_by(ALIGN as usize) {
                let header = block.get(start..found).and_then(|rest| rest.first_chunk());
                if header.and_then(FrameHeader::decode).is_some() {
                    return Ok(Some(at + start as u64));
                }
            }
            at += BLOCK as u64;
        }
        Ok(None)
    }
}
