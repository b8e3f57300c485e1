//! Segments that may be anybody's: the seeds of the fuzz target, and what becomes of them.

use std::fs;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::codec::Encoder;
use crate::format::{FrameKind, SegmentHeader, coarse_payload, encode_frame};
use crate::segment::{Active, Pending};
use crate::wire::take_apart;
use crate::{Parcel, read_forged_segment, read_segment};

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/seeds/segment");

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(SEEDS)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

/// What holds of the parcels of any bytes.
fn looked_at(first_seq: u64, parcels: impl IntoIterator<Item = Parcel>) -> (usize, usize) {
    let (mut next, mut rows, mut gaps) = (first_seq, 0, 0);
    for parcel in parcels {
        let (_, first, last) = parcel.span();
        assert!(first == next && first <= last, "{first} to {last} after {next}");
        next = last + 1;
        match parcel {
            Parcel::Rows { rows: count, payload, opening, .. } => {
                assert!(u64::from(count) <= last - first + 1);
                // Whoever takes it in does the same.
                let _ = (take_apart(payload), take_apart(opening.payload.clone()));
                rows += 1;
            }
            Parcel::Gap { .. } => gaps += 1,
        }
    }
    (rows, gaps)
}

fn first_of(parcels: &[Parcel]) -> u64 {
    parcels.first().map_or(0, |parcel| parcel.span().1)
}

#[test]
fn the_seeds_are_read_as_what_they_are() {
    let found: Vec<(String, (usize, usize))> = seeds()
        .into_iter()
        .map(|(name, bytes)| {
            let content = read_segment(Bytes::from(bytes)).unwrap();
            (name, looked_at(content.first_seq(), content))
        })
        .collect();
    let found: Vec<_> = found.iter().map(|(name, counts)| (name.as_str(), *counts)).collect();
    let expected = [
        ("coarse", (1, 0)),
        ("cut", (1, 0)),
        ("damaged", (1, 1)),
        ("health", (2, 0)),
        ("hole", (2, 1)),
        ("sealed", (2, 0)),
    ];
    assert_eq!(found, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn changed_seeds_with_right_checksums_are_read_in_order(
        seed in 0usize..6,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u64>(), 1usize..9), 1..6),
        cut in proptest::option::of((any::<prop::sample::Index>(), 0usize..256)),
    ) {
        let (_, mut bytes) = seeds().swap_remove(seed);
        for (place, value, len) in changes {
            // What is changed by lot is seldom a header: half of the places are within the frames' ones.
            let place = match place.index(2 * bytes.len()) {
                place if place < bytes.len() => place,
                place => (place - bytes.len()) / 64 * 64 + place % 32,
            };
            for (byte, new) in bytes.iter_mut().skip(place).zip(&value.to_le_bytes()[..len.min(8)]) {
                *byte = *new;
            }
        }
        if let Some((place, len)) = cut {
            let place = place.index(bytes.len());
            bytes.drain(place..(place + len).min(bytes.len()));
        }
        let parcels = read_forged_segment(&bytes);
        looked_at(first_of(&parcels), parcels);
    }
}

/// Writes the seeds anew, where the format has changed.
#[test]
#[ignore = "it writes into the tree"]
fn write_seeds() {
    let at = StreamPosition { epoch: 7, next_seq: 0 };
    let mut node = Node::named("cabinet", "crossing", at, at);
    let agg = [node.agg(), node.agg()];
    let health = [node.health(), node.health()];
    fs::create_dir_all(SEEDS).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(Path::new(SEEDS).join(name), bytes).unwrap();
    let sealed = segment(&agg, 0, |_, frame| frame);
    write("sealed", &sealed);
    write("health", &segment(&health, 0, |_, frame| frame));
    write("hole", &segment(&agg, 4, |_, frame| frame));
    write("cut", &sealed[..sealed.len() - 200]);
    let mut damaged = sealed.clone();
    let first = segment(&agg[..1], 0, |_, frame| frame);
    // Within the first frame of rows: before it both have the same, after it one has a footer.
    damaged[first.len() - 64 - 300] ^= 1;
    write("damaged", &damaged);
    let coarse = |first_seq, frame: Vec<u8>| {
        let payload_len = u32::from_le_bytes(*frame[4..].first_chunk().unwrap()) as usize;
        let payload = coarse_payload(first_seq + 100, &frame[32..32 + payload_len]);
        encode_frame(FrameKind::Coarse, first_seq, 3, &payload)
    };
    write("coarse", &segment(&agg[..1], 0, coarse));
}

/// A sealed segment of batches, with a hole before the second; each frame as `change` makes it.
fn segment(batches: &[ReleasedBatch], hole: u64, change: impl Fn(u64, Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let header = SegmentHeader { table: batches[0].table(), epoch: 7, first_seq: 0, created_millis: 0 };
    let mut active = Active::create(folder.path(), &header).unwrap();
    let mut encoder = Encoder::new(batches[0].get()).unwrap();
    let mut first_seq = 0;
    for batch in batches {
        let payload = encoder.encode(batch.get()).unwrap().unwrap();
        let rows = batch.rows() as u32;
        let frame = change(first_seq, encode_frame(FrameKind::Batch, first_seq, rows, &payload));
        let opening = encoder.opening().clone();
        let pending = Pending { first_seq, rows, at: WallTime::UNIX_EPOCH, frame, opening };
        active.append(&pending, now()).unwrap();
        first_seq += u64::from(rows) + hole;
    }
    active.seal().unwrap();
    fs::read(&active.path).unwrap()
}
