//! Bytes that are not what was written: every flipped byte, every cut, and files of other kinds.

use std::fs;
use std::os::unix::fs::FileExt as _;

use kerbside_core::error::{Classified as _, ErrorKind};
use proptest::prelude::*;

use super::*;
use crate::ReadError;

/// A sealed segment with a few frames, and its rows.
fn small_segment(folder: &Path) -> (PathBuf, Vec<Row>) {
    let mut spool = open(folder);
    let mut node = Node::of(&spool);
    let batches = [node.agg(), node.agg(), node.agg()];
    for batch in &batches {
        spool.append(batch, now()).unwrap();
    }
    spool.close().unwrap();
    (segments(folder, Table::Agg).remove(0), released_rows(&batches))
}

/// Whether rows are some of the true ones, in order, each once.
fn are_true(rows: &[Row], truth: &[Row]) -> bool {
    let mut rest = truth.iter();
    rows.iter().all(|row| rest.any(|true_row| true_row == row))
}

#[test]
fn no_flipped_byte_makes_a_wrong_row_and_each_costs_one_frame_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let (path, truth) = small_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    let mut harmless = 0;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for (place, &byte) in whole.iter().enumerate() {
        // One bit, another one at each place, or all of them.
        for mask in [1 << (place % 8), 0xff].into_iter().take(1 + usize::from(place % 16 == 0)) {
            file.write_all_at(&[byte ^ mask], place as u64).unwrap();
            let content = read(&path);
            assert!(are_true(&content.rows, &truth), "byte {place}: {:?}", content.rows);
            assert!(content.rows.len() + 3 >= truth.len(), "byte {place}: more than one frame is lost");
            if content.damages.is_empty() {
                // Padding between frames holds nothing.
                assert_eq!(content.rows, truth, "byte {place}: loss without a word");
                assert_eq!(byte, 0, "byte {place}");
                harmless += 1;
            } else {
                let covered = content
                    .damages
                    .iter()
                    .any(|damage| (damage.offset..damage.offset + damage.bytes).contains(&(place as u64)));
                assert!(covered, "byte {place}: {:?}", content.damages);
            }
        }
        file.write_all_at(&[byte], place as u64).unwrap();
    }
    assert_eq!(read(&path).rows, truth);
    assert!(harmless < 2 * 6 * 64, "{harmless}");
}

#[test]
fn no_cut_makes_a_wrong_row_and_whole_frames_before_it_are_all_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, truth) = small_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    let mut readable = 0;
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let content = read(&path);
        assert!(truth.starts_with(&content.rows), "cut at {len}: {:?}", content.rows);
        assert!(content.rows.len() >= readable, "cut at {len}: fewer rows than from a shorter file");
        readable = content.rows.len();
        if len % 64 != 0 {
            assert_eq!(content.damages.len(), 1, "cut at {len}: {:?}", content.damages);
        }
    }
    assert_eq!(readable, truth.len());
}

#[test]
fn a_node_starts_on_every_cut_and_its_rows_stay_true() {
    let folder = tempfile::tempdir().unwrap();
    let (path, truth) = small_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    for len in (0..whole.len()).step_by(61) {
        let copy = tempfile::tempdir().unwrap();
        for table in Table::ALL {
            fs::create_dir(copy.path().join(table.name())).unwrap();
            for segment in segments(folder.path(), table) {
                let name = segment.file_name().unwrap();
                fs::copy(&segment, copy.path().join(table.name()).join(name)).unwrap();
            }
        }
        fs::copy(folder.path().join("epoch"), copy.path().join("epoch")).unwrap();
        let segment = copy.path().join("agg.v1").join(path.file_name().unwrap());
        fs::write(&segment, &whole[..len]).unwrap();
        let before = read(copy.path());
        let mut spool = open(copy.path());
        let position = spool.position(Table::Agg);
        let last = before.rows.last().map(|row| (row.1, row.2));
        assert!(last < Some((position.epoch, position.next_seq)), "cut at {len}: a number is given twice");
        let next = Node::of(&spool).agg();
        spool.append(&next, now()).unwrap();
        let after = read(copy.path());
        assert!(truth.starts_with(&before.rows));
        assert_eq!(after.rows, [before.rows, released_rows([&next])].concat(), "cut at {len}");
    }
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = small_segment(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    // A frame header with a right checksum that promises the largest payload there is.
    let len = crate::format::MAX_PAYLOAD as u32;
    bytes[128 + 4..128 + 8].copy_from_slice(&len.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[128..156]);
    bytes[156..160].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let content = read(&path);
    assert_eq!(content.rows, []);
    assert_eq!(content.damages.len(), 1);
    assert_eq!(content.damages[0].bytes, bytes.len() as u64 - 128);
    // One byte more than allowed is no frame header at all; the frames after it are found again.
    bytes[128 + 4..128 + 8].copy_from_slice(&(len + 1).to_le_bytes());
    let crc = crc32c::crc32c(&bytes[128..156]);
    bytes[156..160].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    assert_eq!(read(&path).rows.len(), 9);
}

#[test]
fn what_is_no_spool_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let refused = |path: &Path| {
        let error = Reader::open(path).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.starts_with(&path.display().to_string()), "{text}");
        text[path.display().to_string().len()..].to_owned()
    };
    assert_eq!(refused(&path("gone")), " does not exist");
    fs::create_dir(path("empty")).unwrap();
    assert_eq!(refused(&path("empty")), " is no spool and no replay output: no *.seg and no *.arrow files in it");
    let kind = |bytes: &[u8]| {
        fs::write(path("file"), bytes).unwrap();
        refused(&path("file"))
    };
    let neither = " is neither a spool segment nor a table of kerbside: ";
    assert_eq!(kind(b""), format!("{neither}it is empty"));
    fs::write(path("file"), b"PAR1....").unwrap();
    let content = read(&path("file"));
    assert_eq!(
        content.damages.iter().map(|damage| damage.what).collect::<Vec<_>>(),
        ["the footer cannot be decoded"]
    );
    assert_eq!(kind(b"\x00\x01garbage"), format!("{neither}its first bytes are unknown"));

    let (segment, _) = small_segment(&path("spool"));
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..124]);
    bytes[124..128].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, &bytes).unwrap();
    let version = Reader::open(&segment).unwrap().next().unwrap().unwrap_err();
    assert!(matches!(version, ReadError::Version { found: 9, known: 1, .. }), "{version}");
}

#[test]
fn a_fresh_spool_is_readable_and_has_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    kill(open(folder.path()));
    assert_eq!(read(folder.path()), Content::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn garbage_is_never_rows_and_never_a_panic(
        garbage in proptest::collection::vec(any::<u8>(), 0..2000),
        magic in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(crate::format::file_name(1, 0));
        let mut bytes = if magic { crate::format::SEGMENT_MAGIC.to_vec() } else { Vec::new() };
        bytes.extend(garbage);
        fs::write(&path, bytes).unwrap();
        let content = read(&path);
        prop_assert_eq!(content.rows, []);
        prop_assert!(!content.damages.is_empty());
    }

    #[test]
    fn several_bad_places_at_once_make_no_wrong_row(
        places in proptest::collection::vec((0.0f64..1.0, 1u8..=255), 1..12),
        cut in 0.3f64..1.0,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, truth) = small_segment(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate((bytes.len() as f64 * cut) as usize);
        let len = bytes.len();
        for (place, mask) in places {
            bytes[(len as f64 * place) as usize] ^= mask;
        }
        fs::write(&path, bytes).unwrap();
        prop_assert!(are_true(&read(&path).rows, &truth));
    }
}
