//! Disks that fail while the process goes on.

use std::io;

use super::feed::{Fed, drain, from_the_start};
use super::power::{FOLDER, Life, Oracle, fed_values, small};
use super::simulated::{Op, PowerCut, Simulated};
use super::*;
use crate::wire::GapReason;
use crate::{Parcel, Place};

#[test]
fn f_27_after_a_failed_sync_no_row_is_handed_out_that_a_power_cut_takes_back() {
    // The n-th sync of a file fails, for every n there is; then the power goes.
    let mut failures = 0;
    for failing in 0..12 {
        let disk = Simulated::new();
        let _entered = disk.enter();
        let mut oracle = Oracle::default();
        let mut life = Life::begin(&disk, &mut oracle, 64 << 20).unwrap();
        let mut count = 0;
        disk.plan(move |_, op| {
            count += u64::from(op == Op::Sync);
            (op == Op::Sync && count == failing + 1).then_some(io::ErrorKind::Other)
        });
        for round in 0..4 {
            life.agg();
            life.sync();
            life.hand_out(Table::Agg, 10);
            life.agg();
            life.hand_out(Table::Agg, 10);
            if round == 1 {
                // Where the seal's own sync fails the caller hears of it, and the next one works.
                let _ = life.tick();
            }
        }
        failures += life.spool.status().failed_syncs;
        drop(life);
        for end in [PowerCut::Nothing, PowerCut::Torn(failing), PowerCut::Everything] {
            let fork = disk.fork();
            fork.cut_power(end);
            let _entered = fork.enter();
            let (spool, _) = Spool::open(small(64 << 20), WallTime::UNIX_EPOCH).unwrap();
            let (rows, _) = fed_values(&spool, "failed sync");
            for number in oracle.offered.iter().chain(&oracle.synced) {
                assert_eq!(rows.get(number), oracle.given.get(number), "sync {failing}, {end:?}: {number:?}");
            }
        }
    }
    assert!(failures >= 5, "{failures}: the syncs of four rounds and of a seal");
}

#[test]
fn f_28_a_disk_that_becomes_read_only_leaves_a_spool_in_memory_that_is_bounded_and_told() {
    let disk = Simulated::new();
    let _entered = disk.enter();
    let (mut spool, _) = Spool::open(small(64 << 20), WallTime::UNIX_EPOCH).unwrap();
    let mut node = Node::of(&spool);
    let feed = spool.feed();
    let before = node.agg();
    spool.append(&before, now()).unwrap();
    spool.sync().unwrap();
    disk.read_only();
    let mut at = now();
    let mut given = 3;
    while spool.status().dropped_rows == 0 {
        spool.append(&node.agg(), at).unwrap();
        given += 3;
        assert!(given < 60_000, "some megabytes at most");
        if given % 300 == 0 {
            at += Duration::from_secs(2);
            assert!(spool.maybe_sync(at).is_err(), "the caller hears of it each time");
        }
    }
    let held = spool.status().unsynced_rows;
    for _ in 0..100 {
        spool.append(&node.agg(), at).unwrap();
    }
    assert!(spool.status().unsynced_rows <= held + 3, "memory is bounded");
    // What is durable can still be sent; what is in memory cannot.
    assert_eq!(from_the_start(&feed, Table::Agg), Fed { rows: released_rows([&before]), gaps: vec![] });
    assert_eq!(feed.end(Table::Agg).seq, 3);
    disk.heal();
    assert!(spool.maybe_sync(at + Duration::from_secs(2)).is_err(), "what the last batch met");
    spool.maybe_sync(at + Duration::from_secs(4)).unwrap();
    let status = spool.status();
    assert_eq!(status.unsynced_rows, 0);
    let fed = from_the_start(&feed, Table::Agg);
    assert_eq!(fed.rows.len() as u64 + status.dropped_rows, given + 300);
    assert_eq!(fed.gaps, [(before.epoch(), 3, 2 + status.dropped_rows, GapReason::Dropped)]);
}

#[test]
fn f_26_on_a_full_disk_health_goes_first_then_counts_are_summed_up_then_dropped() {
    let disk = Simulated::new();
    let _entered = disk.enter();
    let (mut spool, _) = Spool::open(small(64 << 20), WallTime::UNIX_EPOCH).unwrap();
    let mut node = Node::of(&spool);
    disk.capacity(200 << 10);
    let mut at = now();
    let (mut order, mut given) = (Vec::new(), 0_u64);
    for _ in 0..400 {
        let before = (spool.status(), rows_left(Table::Health), rows_left(Table::Agg));
        spool.append(&node.agg(), at).unwrap();
        spool.append(&node.health(), at).unwrap();
        given += 4;
        // Whether it worked is seen below: there is always something that gives way.
        spool.sync().unwrap();
        at += Duration::from_secs(200);
        spool.maybe_sync(at).unwrap();
        let after = (spool.status(), rows_left(Table::Health), rows_left(Table::Agg));
        assert!(disk.used() <= 200 << 10);
        if after.1 < before.1 {
            order.push("health");
        }
        if after.0.coarsened_rows > before.0.coarsened_rows {
            order.push("coarsened");
        }
        if after.0.dropped_rows - before.0.dropped_rows > before.1.saturating_sub(after.1) + 1 {
            order.push("agg");
        }
    }
    let first =
        |word: &str| order.iter().position(|found| *found == word).unwrap_or_else(|| panic!("{word}: {order:?}"));
    assert!(first("health") < first("coarsened") && first("coarsened") < first("agg"), "{order:?}");
    let status = spool.status();
    assert_eq!(status.unsynced_rows, 0);
    let left = rows_left(Table::Health) + rows_left(Table::Agg);
    assert_eq!(left + status.dropped_rows + status.coarsened_rows, given, "every row is accounted for");
    // With room again, nothing is lost any more.
    disk.heal();
    spool.append(&node.agg(), at).unwrap();
    spool.sync().unwrap();
    assert_eq!(spool.status().dropped_rows, status.dropped_rows);
    assert_eq!(rows_left(Table::Agg) + rows_left(Table::Health), left + 3);
}

/// How many rows of a table are on the disk.
fn rows_left(table: Table) -> u64 {
    read(&Path::new(FOLDER).join(table.name())).rows.len() as u64
}

#[test]
fn a_block_that_cannot_be_read_does_not_hold_up_the_rows_after_it() {
    let disk = Simulated::new();
    let _entered = disk.enter();
    let (mut spool, _) = Spool::open(small(64 << 20), WallTime::UNIX_EPOCH).unwrap();
    let mut node = Node::of(&spool);
    let at = now();
    spool.append(&node.agg(), at).unwrap();
    spool.maybe_sync(at + Duration::from_secs(601)).unwrap();
    let after = node.agg();
    spool.append(&after, at).unwrap();
    spool.sync().unwrap();
    disk.bad_blocks(&crate::format::file_name(after.epoch(), 0));
    let mut cursor = spool.feed().cursor(Table::Agg, Place::default());
    let mut failures = 0;
    let parcel = loop {
        match cursor.next() {
            Ok(parcel) => break parcel.unwrap(),
            Err(error) => {
                assert_eq!(
                    kerbside_core::error::Classified::kind(&error),
                    kerbside_core::error::ErrorKind::Transient
                );
                failures += 1;
            }
        }
    };
    assert_eq!(failures, 2);
    let gap = Parcel::Gap { epoch: after.epoch(), first_seq: 0, last_seq: 2, reason: GapReason::Damaged };
    assert_eq!(parcel, gap);
    assert_eq!(drain(&mut cursor, Table::Agg).rows, released_rows([&after]));
}
