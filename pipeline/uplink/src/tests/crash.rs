//! What a crash leaves behind, and what cannot be trusted any more.

use std::fs;

use super::*;
use crate::codec::Encoder;
use crate::format::{FrameKind, SegmentHeader, encode_frame};
use crate::segment::{Active, Pending};

/// A spool that died with its last frame torn after `kept` of its bytes; what was whole before it.
fn torn(folder: &Path, kept: u64) -> Vec<Row> {
    let mut spool = open(folder);
    let mut node = Node::of(&spool);
    let whole = [node.agg(), node.agg()];
    for batch in &whole {
        spool.append(batch, now()).unwrap();
    }
    spool.append(&node.health(), now()).unwrap();
    spool.sync().unwrap();
    let path = segments(folder, Table::Agg).remove(0);
    let before = fs::metadata(&path).unwrap().len();
    spool.append(&node.agg(), now()).unwrap();
    kill(spool);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(before + kept).unwrap();
    released_rows(&whole)
}

fn agg_rows(content: &Content) -> Vec<Row> {
    content.rows.iter().filter(|row| row.0 == Table::Agg).copied().collect()
}

#[test]
fn a_torn_tail_is_reported_then_cut_and_costs_no_synced_row() {
    for kept in [1, 31, 32, 33, 200, 1000] {
        let folder = tempfile::tempdir().unwrap();
        let whole = torn(folder.path(), kept);
        let content = read(folder.path());
        assert_eq!(agg_rows(&content), whole, "kept {kept}");
        let [damage] = &content.damages[..] else { panic!("kept {kept}: {:?}", content.damages) };
        assert_eq!((damage.bytes, damage.what), (kept, "the last frame is incomplete"));
        assert_eq!(damage.offset + kept, fs::metadata(&damage.file).unwrap().len());

        let (mut spool, recovery) = Spool::open(settings(folder.path()), WallTime::UNIX_EPOCH).unwrap();
        assert_eq!(recovery.damages().collect::<Vec<_>>(), [damage]);
        assert_eq!(recovery.damages_of(Table::Health).count(), 0);
        // Someone may have read the rows that were cut off, so their numbers are not given again.
        assert_eq!(recovery.new_epoch(), Some("the newest rows are missing or damaged"));
        assert_eq!(spool.position(Table::Agg).next_seq, 0);
        let next = Node::of(&spool).agg();
        spool.append(&next, now()).unwrap();
        let content = read(folder.path());
        assert_eq!(agg_rows(&content), [whole, released_rows([&next])].concat());
        assert_eq!((content.damages, content.gaps), (vec![], vec![]));
    }
}

#[test]
fn numbers_after_rows_that_went_bad_are_never_given_again() {
    let folder = tempfile::tempdir().unwrap();
    torn(folder.path(), 100_000);
    let path = segments(folder.path(), Table::Agg).remove(0);
    // The file was made longer than it was: the tail is zeros, as after a power cut.
    let epoch = read(folder.path()).rows[0].1;
    let (spool, recovery) = Spool::open(settings(folder.path()), WallTime::UNIX_EPOCH).unwrap();
    assert_eq!(recovery.new_epoch(), Some("the newest rows are missing or damaged"));
    let position = spool.position(Table::Agg);
    assert_eq!((position.epoch, position.next_seq), (epoch + 1, 0));
    assert_eq!(spool.position(Table::Health).epoch, epoch + 1);
    drop(spool);
    assert_eq!(recovery.damages().next().unwrap().file, path);
    assert_eq!(read(folder.path()).damages, []);
}

#[test]
fn an_epoch_ends_when_its_file_or_its_rows_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let reason = |change: &dyn Fn(&Path)| {
        let mut spool = open(folder.path());
        let mut node = Node::of(&spool);
        spool.append(&node.agg(), now()).unwrap();
        spool.append(&node.health(), now()).unwrap();
        let before = spool.position(Table::Agg).epoch;
        spool.close().unwrap();
        change(folder.path());
        let (spool, recovery) = Spool::open(settings(folder.path()), WallTime::UNIX_EPOCH).unwrap();
        let after = spool.position(Table::Agg).epoch;
        assert_eq!(after != before, recovery.new_epoch().is_some());
        assert!(after >= before, "epochs grow");
        spool.close().unwrap();
        recovery.new_epoch()
    };
    assert_eq!(reason(&|_| {}), None);
    assert_eq!(
        reason(&|path| fs::remove_file(path.join("epoch")).unwrap()),
        Some("the file 'epoch' is missing or damaged")
    );
    assert_eq!(
        reason(&|path| fs::write(path.join("epoch"), "7").unwrap()),
        Some("the file 'epoch' is missing or damaged")
    );
    let rows_gone = Some("the newest rows are missing or damaged");
    assert_eq!(reason(&|path| fs::remove_dir_all(path.join("agg.v1")).unwrap()), rows_gone);
    assert_eq!(reason(&|path| fs::remove_file(segments(path, Table::Health).pop().unwrap()).unwrap()), rows_gone);
    let swapped = |path: &Path| {
        let newest = segments(path, Table::Agg).pop().unwrap();
        fs::copy(segments(path, Table::Health).pop().unwrap(), newest).unwrap();
    };
    assert_eq!(reason(&swapped), rows_gone, "a segment of another table is not continued");
    let garbled =
        |path: &Path| fs::write(segments(path, Table::Agg).pop().unwrap(), b"no segment at all").unwrap();
    assert_eq!(reason(&garbled), rows_gone);
}

#[test]
fn what_cannot_be_read_is_kept_for_the_readers_to_report() {
    let folder = tempfile::tempdir().unwrap();
    kill(open(folder.path()));
    let path = segments(folder.path(), Table::Agg).remove(0);
    fs::write(&path, b"something else").unwrap();
    let spool = open(folder.path());
    assert_eq!(fs::read(&path).unwrap(), b"something else");
    assert_eq!(spool.status().segments, 4);
    let content = read(folder.path());
    assert_eq!(content.damages.len(), 1, "{content:?}");
}

/// A spool whose second segment repeats some of the first one's rows, as when a sync failed and the
/// first segment could not be cut. `first` and `second` are places in the list of batches.
fn overlapping(
    folder: &Path,
    first: std::ops::Range<usize>,
    second: std::ops::Range<usize>,
) -> Vec<ReleasedBatch> {
    let mut spool = open(folder);
    let mut node = Node::of(&spool);
    let all: Vec<ReleasedBatch> = (0..3).map(|_| node.agg()).collect();
    for batch in &all[first] {
        spool.append(batch, now()).unwrap();
    }
    kill(spool);
    let repeated = &all[second];
    let header = SegmentHeader {
        table: Table::Agg,
        epoch: repeated[0].epoch(),
        first_seq: repeated[0].first_seq(),
        created_millis: 0,
    };
    let mut active = Active::create(&folder.join("agg.v1"), &header).unwrap();
    let mut encoder = Encoder::new(repeated[0].get()).unwrap();
    for batch in repeated {
        let payload = encoder.encode(batch.get()).unwrap().unwrap();
        let rows = batch.rows() as u32;
        let pending = Pending {
            first_seq: batch.first_seq(),
            rows,
            at: WallTime::UNIX_EPOCH,
            frame: encode_frame(FrameKind::Batch, batch.first_seq(), rows, &payload),
            opening: encoder.opening().clone(),
        };
        active.append(&pending, now()).unwrap();
    }
    all
}

#[test]
fn rows_written_a_second_time_after_a_failed_sync_are_read_once() {
    for (first, second) in [(0..2, 1..3), (0..3, 1..2)] {
        let folder = tempfile::tempdir().unwrap();
        let all = overlapping(folder.path(), first, second);
        let expected = Content { rows: released_rows(&all), ..Content::default() };
        assert_eq!(read(folder.path()), expected);
        let mut spool = open(folder.path());
        assert_eq!(spool.position(Table::Agg).next_seq, 9, "after the last row of either segment");
        let next = Node::of(&spool).agg();
        spool.append(&next, now()).unwrap();
        assert_eq!(read(folder.path()).rows, [expected.rows, released_rows([&next])].concat());
    }
}
