//! Appending, syncing, rolling, the lock, the size, and a disk that fails.

use std::fs;
use std::io;

use kerbside_core::error::{Classified as _, ErrorKind};

use super::*;
use crate::SpoolError;
use crate::disk::faults::{Operation, fail};

#[test]
fn what_is_appended_is_read_back_in_order_table_by_table() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let (mut agg, mut health) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        agg.push(node.agg());
        spool.append(agg.last().unwrap(), now()).unwrap();
        health.push(node.health());
        spool.append(health.last().unwrap(), now()).unwrap();
    }
    assert_eq!(spool.status().unsynced_rows, 20);
    let expected = released_rows(agg.iter().chain(&health));
    assert_eq!(read(folder.path()).rows, expected, "rows reach the kernel at once");
    spool.sync().unwrap();
    let status = spool.status();
    assert_eq!((status.synced_rows, status.unsynced_rows, status.segments), (20, 0, 3));
    assert_eq!(status.oldest, Some(WallTime::from_unix_millis(60_000)));
    let on_disk: u64 =
        Table::ALL.iter().flat_map(|t| segments(folder.path(), *t)).map(|p| fs::metadata(p).unwrap().len()).sum();
    assert_eq!(status.bytes, on_disk);
    spool.close().unwrap();
    assert_eq!(read(folder.path()), Content { rows: expected, ..Content::default() });
    // A table's folder and a segment can be read by themselves.
    assert_eq!(read(&folder.path().join("health.v1")).rows, released_rows(&health));
    assert_eq!(read(&segments(folder.path(), Table::Agg)[0]).rows, released_rows(&agg));
}

#[test]
fn numbers_continue_without_a_gap_after_a_stop_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    let mut epochs = Vec::new();
    for round in 0..6 {
        let (mut spool, recovery) = Spool::open(settings(folder.path()), WallTime::UNIX_EPOCH).unwrap();
        assert_eq!(recovery.new_epoch().is_some(), round == 0, "{:?}", recovery.new_epoch());
        assert_eq!(recovery.damages().count(), 0);
        assert_eq!(spool.position(Table::Agg).next_seq, 3 * all.len() as u64);
        epochs.push(spool.position(Table::Agg).epoch);
        let mut node = Node::of(&spool);
        if round != 3 {
            // In round 3 the node dies before it has anything to say.
            all.push(node.agg());
            spool.append(all.last().unwrap(), now()).unwrap();
        }
        if round % 2 == 0 { spool.close().unwrap() } else { kill(spool) }
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1);
    assert_eq!(read(folder.path()), Content { rows: released_rows(&all), ..Content::default() });
}

#[test]
fn a_second_process_is_refused_and_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let Err(refused) = Spool::open(settings(folder.path()), WallTime::UNIX_EPOCH) else { panic!("it was let in") };
    assert_eq!(refused.kind(), ErrorKind::Config);
    let owner = format!("is in use by another process (number {})", std::process::id());
    assert!(refused.to_string().ends_with(&owner), "{refused}");
    drop(first);
    open(folder.path());
}

#[test]
fn rows_that_do_not_follow_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let at = spool.position(Table::Agg);
    let mut node = Node::of(&spool);
    let batch = node.agg();
    spool.append(&batch, now()).unwrap();
    assert!(matches!(spool.append(&batch, now()), Err(SpoolError::Position { seq: 3, found_seq: 0, .. })));
    let other = StreamPosition { epoch: at.epoch ^ 1, next_seq: 100 };
    let foreign = Node::at(other, other).agg();
    assert!(matches!(spool.append(&foreign, now()), Err(SpoolError::Position { .. })));
    let later = StreamPosition { next_seq: 10, ..at };
    spool.append(&Node::at(later, later).agg(), now()).unwrap();
    let content = read(folder.path());
    assert_eq!(content.rows.len(), 6);
    assert_eq!(content.gaps, [Gap { table: Table::Agg, epoch: at.epoch, first_seq: 3, last_seq: 9 }]);
}

#[test]
fn syncs_come_after_their_time_or_size_and_segments_are_sealed_when_old() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let start = now();
    spool.append(&node.agg(), start).unwrap();
    spool.maybe_sync(start + Duration::from_millis(999)).unwrap();
    assert_eq!(spool.status().synced_rows, 0);
    spool.maybe_sync(start + Duration::from_millis(1000)).unwrap();
    assert_eq!(spool.status().synced_rows, 3);
    let mut appended = 0;
    while spool.status().synced_rows == 3 {
        spool.append(&node.agg(), start).unwrap();
        spool.maybe_sync(start).unwrap();
        appended += 1;
        assert!(appended < 1000, "256 KiB are far less");
    }
    assert_eq!(spool.status().unsynced_rows, 0);

    assert_eq!(segments(folder.path(), Table::Agg).len(), 1);
    spool.maybe_sync(start + Duration::from_secs(600)).unwrap();
    spool.append(&node.agg(), start + Duration::from_secs(601)).unwrap();
    assert_eq!(segments(folder.path(), Table::Agg).len(), 2);
}

#[test]
fn another_vocabulary_begins_another_segment() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut all = vec![Node::of(&spool).agg()];
    spool.append(&all[0], now()).unwrap();
    let next = spool.position(Table::Agg);
    let renamed = StreamPosition { next_seq: 3, ..next };
    all.push(Node::with_site("square", renamed, renamed).agg());
    spool.append(&all[1], now()).unwrap();
    assert_eq!(segments(folder.path(), Table::Agg).len(), 2);
    assert_eq!(read(folder.path()), Content { rows: released_rows(&all), ..Content::default() });
}

#[test]
fn a_failed_sync_moves_the_rows_to_a_new_file() {
    for failures in 1..=3 {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path());
        let mut node = Node::of(&spool);
        let mut all = vec![node.agg()];
        spool.append(&all[0], now()).unwrap();
        spool.sync().unwrap();
        all.push(node.agg());
        spool.append(&all[1], now()).unwrap();
        fail(Operation::Sync, failures, io::ErrorKind::Other);
        let first_try = spool.sync();
        assert_eq!(first_try.is_err(), failures > 1, "{failures}");
        assert_eq!(spool.status().unsynced_rows, if failures > 1 { 3 } else { 0 });
        fail(Operation::Sync, 0, io::ErrorKind::Other);
        all.push(node.agg());
        spool.append(&all[2], now()).unwrap();
        spool.sync().unwrap();
        assert_eq!(spool.status().synced_rows, 9);
        assert_eq!(spool.status().failed_syncs, u64::from(failures.min(2)) - u64::from(failures > 1));
        assert!(segments(folder.path(), Table::Agg).len() >= 2, "the old file is not used again");
        assert_eq!(read(folder.path()), Content { rows: released_rows(&all), ..Content::default() });
        kill(spool);
        assert_eq!(open(folder.path()).position(Table::Agg).next_seq, 9);
    }
}

#[test]
fn a_disk_that_takes_nothing_costs_no_row_while_memory_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let mut all = vec![node.agg()];
    spool.append(&all[0], now()).unwrap();
    fail(Operation::Write, u32::MAX, io::ErrorKind::StorageFull);
    let start = now();
    for second in 1..50 {
        all.push(node.agg());
        let at = start + Duration::from_secs(second);
        spool.append(all.last().unwrap(), at).unwrap();
        let said = spool.maybe_sync(at);
        assert!(matches!(said, Err(SpoolError::Io { .. })), "trouble is told every time");
    }
    assert_eq!(spool.status().unsynced_rows, 150);
    fail(Operation::Write, 0, io::ErrorKind::Other);
    spool.maybe_sync(start + Duration::from_secs(60)).unwrap();
    assert_eq!((spool.status().unsynced_rows, spool.status().dropped_rows), (0, 0));
    assert_eq!(read(folder.path()), Content { rows: released_rows(&all), ..Content::default() });
}

#[test]
fn memory_is_bounded_while_nothing_can_be_written_and_the_loss_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    spool.append(&node.agg(), now()).unwrap();
    spool.sync().unwrap();
    fail(Operation::Write, u32::MAX, io::ErrorKind::ReadOnlyFilesystem);
    let mut appended = 0;
    while spool.status().dropped_rows < 30 {
        spool.append(&node.agg(), now()).unwrap();
        appended += 3;
        assert!(appended < 30_000, "the bound is some megabytes");
    }
    let status = spool.status();
    assert_eq!(status.unsynced_rows + status.dropped_rows, appended);
    fail(Operation::Write, 0, io::ErrorKind::Other);
    spool.sync().unwrap();
    let content = read(folder.path());
    let epoch = spool.position(Table::Agg).epoch;
    let lost = Gap { table: Table::Agg, epoch, first_seq: 3, last_seq: 2 + status.dropped_rows };
    assert_eq!(content.gaps, [lost], "a reader sees what is missing");
    assert_eq!(content.rows.len() as u64, 3 + appended - status.dropped_rows);
}

#[test]
fn a_full_disk_makes_room_by_summing_up_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let start = now();
    spool.append(&node.agg(), start).unwrap();
    spool.maybe_sync(start + Duration::from_secs(700)).unwrap();
    spool.append(&node.agg(), start + Duration::from_secs(701)).unwrap();
    spool.sync().unwrap();
    assert_eq!(segments(folder.path(), Table::Agg).len(), 2);
    fail(Operation::Write, 1, io::ErrorKind::StorageFull);
    spool.append(&node.agg(), start + Duration::from_secs(702)).unwrap();
    spool.sync().unwrap();
    let status = spool.status();
    assert_eq!((status.coarsened_rows, status.dropped_rows, status.synced_rows), (3, 0, 9));
    let numbers: Vec<u64> = read(folder.path()).rows.iter().map(|row| row.2).collect();
    assert_eq!(numbers, [0, 1, 2, 6, 7, 8]);
}
