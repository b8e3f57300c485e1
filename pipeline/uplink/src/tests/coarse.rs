//! Old counts that are summed up to hours when the spool is full.

use std::fs;

use super::feed::{Fed, drain, from_the_start};
use super::*;
use crate::coarse::{MOST_BYTES, Outcome, coarsen_oldest};
use crate::shared::index;
use crate::wire::GapReason;
use crate::{Parcel, Place};

/// A spool with so many sealed segments of two batches each, and one that is being written; and all batches.
fn with_segments(folder: &Path, count: usize) -> (Spool, Node, Vec<ReleasedBatch>, Instant) {
    let mut spool = open(folder);
    let mut node = Node::of(&spool);
    let mut at = now();
    let mut all = Vec::new();
    for _ in 0..count {
        for _ in 0..2 {
            all.push(node.agg());
            spool.append(all.last().unwrap(), at).unwrap();
        }
        at += Duration::from_secs(601);
        spool.maybe_sync(at).unwrap();
    }
    all.push(node.agg());
    spool.append(all.last().unwrap(), at).unwrap();
    spool.sync().unwrap();
    assert_eq!(segments(folder, Table::Agg).len(), count + 1);
    (spool, node, all, at)
}

fn coarsen(spool: &mut Spool) -> Outcome {
    coarsen_oldest(&mut spool.streams[index(Table::Agg)], &spool.shared, MOST_BYTES).unwrap()
}

/// Values by cell, of which there are three in each batch, in their order.
fn sums(rows: &[Row]) -> [i64; 3] {
    let mut sums = [0; 3];
    rows.iter().enumerate().for_each(|(at, row)| sums[at % 3] += row.3);
    sums
}

#[test]
fn an_hour_becomes_one_row_a_cell_that_stands_for_all_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _, all, _) = with_segments(folder.path(), 4);
    let before = spool.status();
    assert_eq!(coarsen(&mut spool), Outcome::Done);
    let status = spool.status();
    assert_eq!((status.coarsened_rows, status.dropped_rows), (21, 0));
    assert_eq!(status.segments, 4, "one of each other table");
    assert!(status.bytes * 4 <= before.bytes * 3, "{} of {}", status.bytes, before.bytes);
    let on_disk: u64 = Table::ALL
        .iter()
        .flat_map(|table| segments(folder.path(), *table))
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(status.bytes, on_disk);
    // Whoever reads finds neither damage nor a gap, and the same sums.
    let content = read(folder.path());
    assert_eq!((content.damages.len(), content.gaps.len(), content.rows.len()), (0, 0, 6));
    assert_eq!(sums(&content.rows), sums(&released_rows(&all)));
    assert_eq!(content.rows.iter().map(|row| row.2).collect::<Vec<_>>(), [0, 1, 2, 24, 25, 26]);
    // The sender is told for how many numbers they stand.
    let feed = spool.feed();
    assert_eq!(feed.waiting().rows, 6);
    let mut cursor = feed.cursor(Table::Agg, Place::default());
    let epoch = all[0].epoch();
    let Some(Parcel::Rows { first_seq: 0, last_seq: 23, rows: 3, .. }) = cursor.next().unwrap() else { panic!() };
    assert_eq!(drain(&mut cursor, Table::Agg).rows, released_rows(&all[8..]));
    // Who has some of the numbers cannot use the sum.
    let fed = drain(&mut feed.cursor(Table::Agg, Place { epoch, seq: 4 }), Table::Agg);
    assert_eq!(fed.gaps, [(epoch, 4, 23, GapReason::Dropped)]);
    assert_eq!(coarsen(&mut spool), Outcome::NothingToGain, "once");
    // It is the same after a restart, and goes like any other segment.
    kill(spool);
    let (mut spool, recovery) = Spool::open(settings(folder.path()), WallTime::UNIX_EPOCH).unwrap();
    assert_eq!((recovery.new_epoch(), spool.position(Table::Agg).next_seq), (None, 27));
    assert_eq!(read(folder.path()), content);
    assert_eq!(coarsen(&mut spool), Outcome::NotWorthIt, "a segment alone");
    assert_eq!(coarsen(&mut spool), Outcome::NothingToGain, "the sum is not looked at again");
    let feed = spool.feed();
    feed.confirm(Table::Agg, epoch, 0, 23);
    spool.maybe_sync(now()).unwrap();
    assert_eq!(from_the_start(&feed, Table::Agg), Fed { rows: released_rows(&all[8..]), gaps: vec![] });
    assert_eq!(segments(folder.path(), Table::Agg).len(), 1);
}

#[test]
fn what_was_handed_out_or_confirmed_is_never_summed_up() {
    for handed_out in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _, all, _) = with_segments(folder.path(), 5);
        let feed = spool.feed();
        let epoch = all[0].epoch();
        // A batch of the third segment, and one of the first.
        for (first_seq, last_seq) in [(12, 14), (3, 5)] {
            if handed_out {
                let mut cursor = feed.cursor(Table::Agg, Place { epoch, seq: first_seq });
                assert_eq!(cursor.next().unwrap().unwrap().span(), (epoch, first_seq, last_seq));
            } else {
                feed.confirm(Table::Agg, epoch, first_seq, last_seq);
            }
        }
        // The second stands alone and the next two make one.
        let mut outcomes = Vec::new();
        while outcomes.last() != Some(&Outcome::NothingToGain) {
            outcomes.push(coarsen(&mut spool));
        }
        let rows = read(folder.path()).rows;
        let kept = released_rows(all[..2].iter().chain(&all[4..6]));
        assert!(kept.iter().all(|row| rows.contains(row)), "{handed_out}: {rows:?}");
        assert!(spool.status().coarsened_rows > 0);
        assert_eq!(sums(&rows), sums(&released_rows(&all)));
        let fed = from_the_start(&feed, Table::Agg);
        assert_eq!(fed.gaps, []);
        assert_eq!(fed.rows.len(), rows.len() - if handed_out { 0 } else { 6 });
    }
}

#[test]
fn a_cursor_that_reads_a_segment_when_it_is_summed_up_gets_the_sum_or_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _, all, _) = with_segments(folder.path(), 4);
    let epoch = all[0].epoch();
    let feed = spool.feed();
    let mut cursor = feed.cursor(Table::Agg, Place { epoch, seq: 6 });
    // It stands within a segment that it has open, and looks for what was not handed out.
    assert_eq!(cursor.next().unwrap().unwrap().span(), (epoch, 6, 8));
    let mut second = feed.cursor(Table::Agg, Place { epoch, seq: 0 });
    // Segments that are being replaced are neither there nor missing.
    let ids: Vec<u64> = spool.streams[0].closed.iter().map(|closed| closed.known.id).collect();
    spool.shared.views()[0].held = ids;
    assert_eq!((cursor.next().unwrap(), second.next().unwrap()), (None, None));
    spool.shared.views()[0].held.clear();
    assert_eq!(coarsen(&mut spool), Outcome::NotWorthIt, "the first stands alone");
    assert_eq!(coarsen(&mut spool), Outcome::Done);
    assert_eq!(drain(&mut cursor, Table::Agg).gaps, []);
    assert_eq!(drain(&mut second, Table::Agg).gaps, []);
}

#[test]
fn what_a_crash_left_beside_the_sum_goes_and_is_not_counted_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _, all, _) = with_segments(folder.path(), 3);
    let second = segments(folder.path(), Table::Agg)[1].clone();
    let bytes = fs::read(&second).unwrap();
    assert_eq!(coarsen(&mut spool), Outcome::Done);
    assert!(!second.exists());
    kill(spool);
    fs::write(&second, bytes).unwrap();
    let expected = read(folder.path());
    assert_eq!(sums(&expected.rows), sums(&released_rows(&all)), "a reader takes it once");
    let spool = open(folder.path());
    assert!(!second.exists());
    assert_eq!(spool.status().dropped_rows, 0);
    assert_eq!(read(folder.path()), expected);
}

#[test]
fn what_is_damaged_is_not_hidden_in_a_sum() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _, all, _) = with_segments(folder.path(), 3);
    let path = segments(folder.path(), Table::Agg)[1].clone();
    let mut bytes = fs::read(&path).unwrap();
    // Within the first frame of rows: the second one from the end is the last of them.
    let at = bytes.len() - 64 - 1000;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    while coarsen(&mut spool) != Outcome::NothingToGain {}
    let fed = from_the_start(&spool.feed(), Table::Agg);
    let [(epoch, first, last, reason)] = fed.gaps[..] else { panic!("{:?}", fed.gaps) };
    assert_eq!((epoch, last - first, reason), (all[0].epoch(), 2, GapReason::Damaged));
}

#[test]
fn pc_19_a_sum_is_as_old_as_its_newest_row() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _, _, _) = with_segments(folder.path(), 3);
    assert_eq!(coarsen(&mut spool), Outcome::Done);
    let path = segments(folder.path(), Table::Agg)[0].clone();
    let modified = WallTime::from(fs::metadata(path).unwrap().modified().unwrap());
    assert_eq!(modified, WallTime::from_unix_millis(6 * 60_000), "by the rows, not by the clock");
    kill(spool);
    let mut spool = open(folder.path());
    let keep = settings(folder.path()).keep;
    assert_eq!(spool.expire(modified + keep).unwrap(), 0);
    assert_eq!(spool.expire(modified + keep + MINUTE).unwrap(), 3);
}

#[test]
fn f_26_a_full_spool_lets_health_go_first_then_sums_up_and_then_drops() {
    let folder = tempfile::tempdir().unwrap();
    let max_bytes = 96 << 10;
    let small = SpoolSettings { max_bytes, ..settings(folder.path()) };
    let (mut spool, _) = Spool::open(small, WallTime::UNIX_EPOCH).unwrap();
    let mut node = Node::of(&spool);
    let (mut at, mut given) = (now(), Vec::new());
    let mut seen = Vec::new();
    for _ in 0..400 {
        let before = spool.status();
        let health_before = spool.streams[1].dropped_rows;
        for batch in [node.health(), node.agg()] {
            spool.append(&batch, at).unwrap();
            given.extend(released_rows([&batch]));
            assert!(spool.status().bytes <= max_bytes);
        }
        at += Duration::from_secs(250);
        spool.maybe_sync(at).unwrap();
        let after = spool.status();
        let steps = [
            ("health", spool.streams[1].dropped_rows > health_before),
            ("sum", after.coarsened_rows > before.coarsened_rows),
            ("agg", after.dropped_rows - before.dropped_rows > spool.streams[1].dropped_rows - health_before),
        ];
        seen.extend(steps.into_iter().filter(|(_, happened)| *happened).map(|(step, _)| step));
    }
    let first =
        |step: &str| seen.iter().position(|seen| *seen == step).unwrap_or_else(|| panic!("{step}: {seen:?}"));
    assert!(first("health") < first("sum") && first("sum") < first("agg"), "{seen:?}");
    spool.sync().unwrap();
    let status = spool.status();
    let content = read(folder.path());
    assert_eq!((content.damages, content.gaps), (vec![], vec![]));
    let accounted = content.rows.len() as u64 + status.dropped_rows + status.coarsened_rows;
    assert_eq!((accounted, status.synced_rows), (given.len() as u64, given.len() as u64));
}
