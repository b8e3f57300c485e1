//! Segments whose checksums are made right, for tests and fuzzing: without that hardly a changed byte gets past them, and
//! what they guard is never tried.

use bytes::Bytes;

use crate::format::{FRAME_HEADER, SEGMENT_HEADER, frame_size};
use crate::parcel::{Parcel, read_segment};

/// Where a frame's header has the length and the checksum of its payload, and its own checksum.
const LEN: usize = 4;
const PAYLOAD_CRC: usize = 24;
const CRC: usize = FRAME_HEADER - 4;

/// The parcels of foreign bytes as a segment, as [`read_segment`] gives them once every checksum was made right.
pub fn read_forged_segment(bytes: &[u8]) -> Vec<Parcel> {
    let mut bytes = bytes.to_vec();
    mend(&mut bytes);
    read_segment(Bytes::from(bytes)).map(Iterator::collect).unwrap_or_default()
}

fn mend(bytes: &mut [u8]) {
    let Some((header, mut rest)) = bytes.split_at_mut_checked(SEGMENT_HEADER) else { return };
    seal(header);
    while let Some((header, after)) = rest.split_at_mut_checked(FRAME_HEADER) {
        let len = header[LEN..].first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
        if let Some(payload) = usize::try_from(len).ok().and_then(|len| after.get(..len)) {
            header[PAYLOAD_CRC..CRC].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        }
        seal(header);
        let next = usize::try_from(frame_size(u64::from(len))).unwrap_or(usize::MAX);
        rest = after.get_mut(next - FRAME_HEADER..).unwrap_or_default();
    }
}

/// Puts the checksum of all before them into the last four bytes.
fn seal(header: &mut [u8]) {
    let end = header.len() - 4;
    let crc = crc32c::crc32c(&header[..end]);
    header[end..].copy_from_slice(&crc.to_le_bytes());
}
