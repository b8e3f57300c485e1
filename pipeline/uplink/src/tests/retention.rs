//! Rows that have been kept for long enough go, whoever has or has not read them.

use std::fs;

use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn hourly(folder: &Path) -> SpoolSettings {
    SpoolSettings { keep: HOUR, ..settings(folder) }
}

fn minutes(count: u64) -> WallTime {
    WallTime::from_unix_millis(count * 60_000)
}

#[test]
fn pc_19_rows_are_deleted_once_they_are_older_than_they_may_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(hourly(folder.path()), WallTime::UNIX_EPOCH).unwrap().0;
    let mut node = Node::of(&spool);
    let begin = now();
    // A bin a minute: minute 1 to 30, then 31 to 60, with the seal by age between them.
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for minute in 0..30_u64 {
        first.push(node.agg());
        spool.append(&first[minute as usize], begin).unwrap();
    }
    spool.maybe_sync(begin + Duration::from_secs(601)).unwrap();
    for minute in 0..30_u64 {
        second.push(node.agg());
        spool.append(&second[minute as usize], begin + Duration::from_secs(602)).unwrap();
    }
    spool.sync().unwrap();
    assert_eq!(segments(folder.path(), Table::Agg).len(), 2);

    assert_eq!(
        spool.expire(minutes(60 + 30)).unwrap(),
        0,
        "the newest row of the first is an hour old, not older"
    );
    assert_eq!(read(folder.path()).rows.len(), 180);
    assert_eq!(spool.expire(minutes(60 + 31)).unwrap(), 90);
    assert_eq!(read(folder.path()).rows, released_rows(&second), "what is gone is gone from the disk");
    assert_eq!(spool.status().dropped_rows, 90);
    // The segment that is being written goes too, once its age has sealed it.
    assert_eq!(spool.expire(minutes(1000)).unwrap(), 0);
    spool.maybe_sync(begin + Duration::from_secs(1300)).unwrap();
    assert_eq!(spool.expire(minutes(1000)).unwrap(), 90);
    assert!(read(folder.path()).rows.is_empty());
    // No number is given twice after it.
    assert_eq!(spool.position(Table::Agg).next_seq, 180);
    kill(spool);
    let (mut spool, recovery) = Spool::open(hourly(folder.path()), minutes(1001)).unwrap();
    assert_eq!((recovery.new_epoch(), spool.position(Table::Agg).next_seq), (None, 180));
    spool.append(&node.agg(), now()).unwrap();
    spool.close().unwrap();
    assert_eq!(read(folder.path()).rows.len(), 3);
}

#[test]
fn pc_19_a_spool_that_was_left_alone_for_long_is_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(hourly(folder.path()), WallTime::UNIX_EPOCH).unwrap().0;
    let mut node = Node::of(&spool);
    for _ in 0..5 {
        spool.append(&node.agg(), now()).unwrap();
    }
    spool.close().unwrap();
    let written =
        WallTime::from(fs::metadata(&segments(folder.path(), Table::Agg)[0]).unwrap().modified().unwrap());

    let (mut spool, recovery) = Spool::open(hourly(folder.path()), written + 2 * HOUR).unwrap();
    assert_eq!(
        (recovery.new_epoch(), read(folder.path()).rows.len()),
        (None, 15),
        "not before the clock is trusted"
    );
    assert_eq!(spool.expire(written).unwrap(), 0);
    assert_eq!(spool.expire(written + 2 * HOUR).unwrap(), 15);
    assert!(read(folder.path()).rows.is_empty());
    assert_eq!(spool.position(Table::Agg).next_seq, 15);
    spool.close().unwrap();
}

#[test]
fn pc_19_rows_that_no_disk_takes_do_not_stay_in_memory_for_longer_either() {
    use crate::disk::faults::{Operation, fail};
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(hourly(folder.path()), WallTime::UNIX_EPOCH).unwrap().0;
    let mut node = Node::of(&spool);
    fail(Operation::Write, 100, std::io::ErrorKind::StorageFull);
    spool.append(&node.agg(), now()).unwrap();
    assert_eq!(spool.status().unsynced_rows, 3);
    assert_eq!(spool.expire(minutes(100)).unwrap(), 3);
    assert_eq!(spool.status().unsynced_rows, 0);
}
