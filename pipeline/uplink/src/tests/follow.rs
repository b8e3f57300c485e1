//! Reading while another process writes.

use std::fs;

use super::*;
use crate::Follower;

#[test]
fn new_rows_come_once_also_over_sealed_segments_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut follower = Follower::open(folder.path()).unwrap();
    let mut node = Node::of(&spool);
    let (mut came, mut sent) = (Vec::new(), Vec::new());
    let mut at = now();
    for round in 0..12u64 {
        sent.push(node.agg());
        spool.append(sent.last().unwrap(), at).unwrap();
        at += Duration::from_secs(400);
        spool.maybe_sync(at).unwrap();
        if round == 7 {
            kill(spool);
            spool = open(folder.path());
            node = Node::of(&spool);
        }
        if round % 3 != 1 {
            let content = sorted_out(follower.poll().unwrap());
            assert_eq!((content.damages, content.gaps), (vec![], vec![]));
            came.extend(content.rows);
        }
    }
    assert!(segments(folder.path(), Table::Agg).len() > 3);
    came.extend(sorted_out(follower.poll().unwrap()).rows);
    assert_eq!(came, released_rows(&sent));
    assert_eq!(follower.poll().unwrap(), []);
}

#[test]
fn a_frame_on_its_way_is_waited_for_and_one_left_behind_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let sent = [node.agg(), node.agg(), node.agg()];
    spool.append(&sent[0], now()).unwrap();
    let path = segments(folder.path(), Table::Agg).remove(0);
    let before = fs::metadata(&path).unwrap().len() as usize;
    spool.append(&sent[1], now()).unwrap();
    let whole = fs::read(&path).unwrap();
    kill(spool);
    let mut follower = Follower::open(folder.path()).unwrap();
    for len in [before + 1, before + 32, before + 500, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        let content = sorted_out(follower.poll().unwrap());
        assert_eq!(content.damages, [], "{len}");
        assert_eq!(content.rows.len(), if len == before + 1 { 3 } else { 0 });
    }
    // The writer never came back, but another one began a new segment.
    let next = folder.path().join("agg.v1").join(crate::format::file_name(u32::MAX, 0));
    fs::write(&next, b"").unwrap();
    let content = sorted_out(follower.poll().unwrap());
    assert_eq!(content.damages.len(), 1, "{content:?}");
    assert_eq!(content.damages[0].offset, before as u64);
    assert_eq!(follower.poll().unwrap(), [], "a segment without its header is just being made");
}

#[test]
fn segments_dropped_while_following_show_as_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut follower = Follower::open(folder.path().join("agg.v1")).unwrap();
    let mut node = Node::of(&spool);
    let mut at = now();
    for _ in 0..3 {
        spool.append(&node.agg(), at).unwrap();
        at += Duration::from_secs(700);
        spool.maybe_sync(at).unwrap();
        if follower.poll().unwrap().is_empty() {
            panic!("rows were appended");
        }
    }
    spool.append(&node.agg(), at).unwrap();
    spool.maybe_sync(at + Duration::from_secs(700)).unwrap();
    let dropped = segments(folder.path(), Table::Agg).pop().unwrap();
    fs::remove_file(dropped).unwrap();
    spool.append(&node.agg(), at).unwrap();
    let content = sorted_out(follower.poll().unwrap());
    assert_eq!(content.gaps.len(), 1);
    assert_eq!((content.gaps[0].first_seq, content.gaps[0].last_seq), (9, 11));
    assert_eq!(content.rows.len(), 3);
}

#[test]
fn a_replay_is_followed_by_reading_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = StreamPosition { epoch: 0, next_seq: 0 };
    let batches = [Node::at(at, at).agg()];
    crate::write_tables(folder.path(), &batches).unwrap();
    let mut follower = Follower::open(folder.path()).unwrap();
    assert_eq!(sorted_out(follower.poll().unwrap()).rows, released_rows(&batches));
    assert_eq!(follower.poll().unwrap(), []);
}
