//! What the sender sees of a spool, and what it says to it.

use std::fs;
use std::future::Future as _;
use std::os::unix::fs::FileExt as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::*;
use crate::codec::Decoder;
use crate::wire::{GapReason, take_apart};
use crate::{Cursor, Feed, Parcel, Place, StreamEnd, read_segment};

/// What a cursor gave.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fed {
    pub(super) rows: Vec<Row>,
    /// Epoch, first and last number, reason.
    pub(super) gaps: Vec<(u32, u64, u64, GapReason)>,
}

impl Fed {
    pub(super) fn take(&mut self, table: Table, parcel: Parcel) {
        match parcel {
            Parcel::Rows { epoch, first_seq, last_seq, rows, opening, payload } => {
                assert!(take_apart(opening.payload.clone()).is_some_and(|messages| messages.len() > 1));
                assert!(take_apart(payload.clone()).is_some_and(|messages| messages.len() == 1));
                let mut decoder = Decoder::new(opening.payload.to_vec()).unwrap();
                assert_eq!(decoder.table(), table);
                let rows_of = rows_of(table, &decoder.decode(payload.to_vec()).unwrap());
                assert_eq!(rows_of.len(), rows as usize);
                assert_eq!((rows_of[0].1, rows_of[0].2), (epoch, first_seq));
                assert!(rows_of[0].2 + u64::from(rows) - 1 <= last_seq);
                self.rows.extend(rows_of);
            }
            Parcel::Gap { epoch, first_seq, last_seq, reason } => {
                self.gaps.push((epoch, first_seq, last_seq, reason))
            }
        }
    }
}

/// All that a cursor gives now; its place never goes back.
pub(super) fn drain(cursor: &mut Cursor, table: Table) -> Fed {
    let mut fed = Fed::default();
    loop {
        let before = cursor.place();
        let Some(parcel) = cursor.next().unwrap() else { return fed };
        let (epoch, first, last) = parcel.span();
        assert!(first <= last && before <= cursor.place());
        assert_eq!(cursor.place(), Place { epoch, seq: last + 1 });
        fed.take(table, parcel);
    }
}

pub(super) fn from_the_start(feed: &Feed, table: Table) -> Fed {
    drain(&mut feed.cursor(table, Place::default()), table)
}

fn rows(batches: &[ReleasedBatch]) -> Fed {
    Fed { rows: released_rows(batches), gaps: Vec::new() }
}

fn is_ready(feed: &Feed) -> bool {
    let changed = pin!(feed.changed());
    changed.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
}

/// Appends so many batches of `agg.v1` and syncs them.
fn append(spool: &mut Spool, node: &mut Node, count: usize, at: Instant) -> Vec<ReleasedBatch> {
    let batches: Vec<ReleasedBatch> = (0..count).map(|_| node.agg()).collect();
    for batch in &batches {
        spool.append(batch, at).unwrap();
    }
    spool.sync().unwrap();
    batches
}

/// Seals the active segments by their age.
fn roll(spool: &mut Spool, at: Instant) -> Instant {
    let later = at + Duration::from_secs(601);
    spool.maybe_sync(later).unwrap();
    later
}

#[test]
fn a_row_is_handed_out_once_it_is_synced_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let feed = spool.feed();
    let mut cursor = feed.cursor(Table::Agg, Place::default());
    assert_eq!(cursor.next().unwrap(), None);
    // What the opening told is taken.
    let _ = is_ready(&feed);
    assert!(!is_ready(&feed), "nothing has happened since");
    let batch = node.agg();
    spool.append(&batch, now()).unwrap();
    assert_eq!(read(folder.path()).rows.len(), 3, "it is in the file");
    assert_eq!((cursor.next().unwrap(), is_ready(&feed)), (None, false));
    assert_eq!(feed.waiting(), crate::Waiting { bytes: 0, rows: 0, oldest: None });
    spool.sync().unwrap();
    assert!(is_ready(&feed) && !is_ready(&feed));
    let epoch = batch.epoch();
    let end = Place { epoch, seq: 3 };
    assert_eq!(feed.end(Table::Agg), end);
    let waiting = feed.waiting_of(Table::Agg);
    assert_eq!((waiting.rows, waiting.oldest), (3, Some(WallTime::from_unix_millis(60_000))));
    assert_eq!(waiting.bytes, fs::metadata(&segments(folder.path(), Table::Agg)[0]).unwrap().len());
    assert_eq!(feed.waiting_of(Table::Health).rows, 0);
    assert_eq!(drain(&mut cursor, Table::Agg), rows(&[batch]));
    // One that begins at the end sees only what comes after.
    let mut live = feed.cursor(Table::Agg, end);
    let more = append(&mut spool, &mut node, 2, now());
    assert_eq!(drain(&mut live, Table::Agg), rows(&more));
    assert_eq!(drain(&mut cursor, Table::Agg), rows(&more));
    let ends: Vec<StreamEnd> = feed.streams();
    assert_eq!(ends.len(), 3);
    assert_eq!(ends[0], StreamEnd { table: Table::Agg, epoch, next_seq: 9 });
    spool.close().unwrap();
    assert!(is_ready(&feed), "the end is told");
    assert_eq!(from_the_start(&feed, Table::Agg).rows.len(), 9);
}

#[test]
fn what_a_killed_process_left_is_handed_out_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let mut all = append(&mut spool, &mut node, 3, now());
    all.push(node.agg());
    spool.append(&all[3], now()).unwrap();
    kill(spool);
    let spool = open(folder.path());
    assert_eq!(from_the_start(&spool.feed(), Table::Agg), rows(&all));
    assert_eq!(spool.feed().end(Table::Agg).seq, 12);
}

#[test]
fn pc_19_what_the_gateway_has_is_deleted_and_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let feed = spool.feed();
    let begin = now();
    append(&mut spool, &mut node, 2, begin);
    let later = roll(&mut spool, begin);
    append(&mut spool, &mut node, 2, later);
    let epoch = spool.position(Table::Agg).epoch;
    assert_eq!(segments(folder.path(), Table::Agg).len(), 2);

    feed.confirm(Table::Agg, epoch, 0, 2);
    spool.maybe_sync(later).unwrap();
    assert_eq!(segments(folder.path(), Table::Agg).len(), 2, "half of a segment is not enough");
    assert_eq!((feed.waiting().rows, feed.waiting().oldest), (9, Some(WallTime::from_unix_millis(120_000))));
    feed.confirm(Table::Agg, epoch, 3, 5);
    // A gateway that confirms what was never sent confirms nothing.
    feed.confirm(Table::Agg, epoch, 12, u64::MAX);
    spool.maybe_sync(later).unwrap();
    let left = segments(folder.path(), Table::Agg);
    assert_eq!(left.len(), 1);
    let fed = from_the_start(&feed, Table::Agg);
    assert_eq!((fed.rows.len(), fed.gaps), (6, vec![]), "what is confirmed is neither given nor missed");
    // The last one goes when it is sealed by its age, and another one says where the numbers continue.
    feed.confirm(Table::Agg, epoch, 6, 11);
    spool.maybe_sync(later).unwrap();
    assert_eq!(segments(folder.path(), Table::Agg), left);
    assert_eq!(feed.waiting(), crate::Waiting::default());
    let later = roll(&mut spool, later);
    spool.maybe_sync(later).unwrap();
    assert!(!left[0].exists());
    assert_eq!(segments(folder.path(), Table::Agg).len(), 1);
    assert_eq!(spool.status().dropped_rows, 0);
    kill(spool);
    let (mut spool, recovery) = Spool::open(settings(folder.path()), WallTime::UNIX_EPOCH).unwrap();
    assert_eq!(recovery.new_epoch(), None);
    assert_eq!(spool.position(Table::Agg).next_seq, 12);
    // What was confirmed is unknown to the new process: to it, the rows are gone.
    let more = append(&mut spool, &mut node, 1, later);
    let fed = from_the_start(&spool.feed(), Table::Agg);
    assert_eq!(fed, Fed { rows: released_rows(&more), gaps: vec![(epoch, 0, 11, GapReason::Dropped)] });
}

#[test]
fn rows_that_go_before_they_are_sent_are_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let feed = spool.feed();
    let mut at = now();
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(append(&mut spool, &mut node, 2, at));
        at = roll(&mut spool, at);
    }
    all.push(append(&mut spool, &mut node, 1, at));
    let epoch = spool.position(Table::Agg).epoch;
    // Within the first segment, which then goes.
    let mut cursor = feed.cursor(Table::Agg, Place::default());
    let mut fed = Fed::default();
    fed.take(Table::Agg, cursor.next().unwrap().unwrap());
    feed.confirm(Table::Agg, epoch, 6, 11);
    spool.maybe_sync(at).unwrap();
    let day_of_expiry = WallTime::from_unix_millis(3 * 60_000) + settings(folder.path()).keep;
    assert_eq!(spool.expire(day_of_expiry).unwrap(), 6, "nobody confirmed what was handed out");
    assert_eq!(spool.status().dropped_rows, 6);
    assert_eq!(segments(folder.path(), Table::Agg).len(), 2);
    let rest = drain(&mut cursor, Table::Agg);
    fed.rows.extend(rest.rows);
    assert_eq!(rest.gaps, [(epoch, 3, 5, GapReason::Dropped)]);
    let numbers: Vec<u64> = fed.rows.iter().map(|row| row.2).collect();
    assert_eq!(numbers, [0, 1, 2].into_iter().chain(12..21).collect::<Vec<_>>(), "6 to 11 are confirmed");
}

/// Flips a byte at a place that is counted from the end if it is negative.
fn spoil(path: &Path, at: i64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let at = if at < 0 { file.metadata().unwrap().len() as i64 + at } else { at } as u64;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// Where the frames of a segment begin, and its end.
fn frames_of(path: &Path) -> Vec<i64> {
    let (mut scanner, _) = crate::scan::Scanner::new(crate::disk::File::open(path).unwrap()).unwrap();
    let mut places = vec![scanner.offset() as i64];
    while !matches!(scanner.step().unwrap(), crate::scan::Step::End) {
        places.push(scanner.offset() as i64);
    }
    places
}

#[test]
fn f_31_damage_is_a_gap_that_says_so_and_costs_one_frame() {
    // Frames: schema, schema, three of rows, footer.
    for (frame, lost) in [(0, None), (1, None), (2, Some((0, 2))), (3, Some((3, 5))), (4, Some((6, 8))), (5, None)]
    {
        for into in [8, 40] {
            let folder = tempfile::tempdir().unwrap();
            let mut spool = open(folder.path());
            let mut node = Node::of(&spool);
            let all = append(&mut spool, &mut node, 3, now());
            spool.close().unwrap();
            let path = segments(folder.path(), Table::Agg).remove(0);
            let frames = frames_of(&path);
            // While the process runs, and when it has begun anew after a newer segment came.
            let mut spool = open(folder.path());
            let mut node = Node::of(&spool);
            let more = append(&mut spool, &mut node, 1, now());
            spoil(&path, frames[frame] + into);
            let expected: Vec<Row> = released_rows(all.iter().chain(&more))
                .into_iter()
                .filter(|row| lost.is_none_or(|(first, last)| row.2 < first || row.2 > last))
                .collect();
            let epoch = all[0].epoch();
            let gaps: Vec<_> = lost.iter().map(|(a, b)| (epoch, *a, *b, GapReason::Damaged)).collect();
            let expected = Fed { rows: expected, gaps };
            assert_eq!(from_the_start(&spool.feed(), Table::Agg), expected, "frame {frame} + {into}");
            spool.close().unwrap();
            let spool = open(folder.path());
            assert_eq!(from_the_start(&spool.feed(), Table::Agg), expected, "frame {frame} + {into}, anew");
            // Whoever reads the segment alone knows the end by its footer alone.
            let content = read_segment(Bytes::from(fs::read(&path).unwrap())).unwrap();
            assert_eq!((content.table(), content.epoch(), content.first_seq()), (Table::Agg, epoch, 0));
            let mut fed = Fed::default();
            content.for_each(|parcel| fed.take(Table::Agg, parcel));
            assert_eq!(fed.rows, expected.rows[..expected.rows.len() - 3]);
            assert_eq!(fed.gaps, expected.gaps);
        }
    }
}

#[test]
fn the_end_of_an_old_epoch_leads_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let old = append(&mut spool, &mut node, 2, now());
    spool.close().unwrap();
    fs::remove_file(folder.path().join("epoch")).unwrap();
    let mut spool = open(folder.path());
    let epoch = spool.position(Table::Agg).epoch;
    assert_eq!(epoch, old[0].epoch() + 1);
    let mut cursor = spool.feed().cursor(Table::Agg, Place::default());
    assert_eq!(drain(&mut cursor, Table::Agg), rows(&old));
    let mut node = Node::of(&spool);
    let new = append(&mut spool, &mut node, 2, now());
    assert_eq!(drain(&mut cursor, Table::Agg), rows(&new));
    let of_agg: Vec<_> = spool.feed().streams().into_iter().filter(|end| end.table == Table::Agg).collect();
    assert_eq!(
        of_agg.iter().map(|end| (end.epoch, end.next_seq)).collect::<Vec<_>>(),
        [(epoch - 1, 6), (epoch, 6)]
    );
    // An epoch that is confirmed and gone is no stream any more.
    let feed = spool.feed();
    feed.confirm(Table::Agg, epoch - 1, 0, 5);
    spool.maybe_sync(now()).unwrap();
    assert_eq!(feed.streams().len(), 3);
    assert_eq!(from_the_start(&feed, Table::Agg), rows(&new));
}

#[test]
fn f_32_rows_of_another_node_are_never_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let theirs = append(&mut spool, &mut node, 2, now());
    spool.close().unwrap();
    let other = || SpoolSettings { node: Some("plaza".to_owned()), ..settings(folder.path()) };
    for round in 0..2 {
        let (spool, recovery) = Spool::open(other(), WallTime::UNIX_EPOCH).unwrap();
        let reason = (round == 0).then_some("the rows are another node's");
        assert_eq!(recovery.new_epoch(), reason, "once");
        let damages: Vec<_> = recovery.damages().map(|damage| damage.what).collect();
        assert_eq!(damages, ["the rows are another node's"], "told each time");
        assert_eq!(spool.position(Table::Agg).epoch, theirs[0].epoch() + 1);
        assert_eq!(from_the_start(&spool.feed(), Table::Agg), Fed::default());
        assert_eq!(spool.feed().streams().len(), 3);
        spool.close().unwrap();
    }
}

#[test]
fn f_32_a_segment_of_another_node_among_ours_is_a_gap() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut spool = open(ours.path());
    let at = spool.position(Table::Agg);
    let mut node = Node::of(&spool);
    let begin = now();
    let first = append(&mut spool, &mut node, 1, begin);
    let later = roll(&mut spool, begin);
    append(&mut spool, &mut node, 1, later);
    let later = roll(&mut spool, later);
    let last = append(&mut spool, &mut node, 1, later);
    let path = segments(ours.path(), Table::Agg)[1].clone();
    spool.close().unwrap();

    // The same numbers from a node of another name.
    let next = StreamPosition { next_seq: 3, ..at };
    let mut other = Node::named("plaza", "crossing", next, next);
    let mut active = crate::segment::Active::create(
        theirs.path(),
        &crate::format::SegmentHeader { table: Table::Agg, epoch: at.epoch, first_seq: 3, created_millis: 0 },
    )
    .unwrap();
    let batch = other.agg();
    let mut encoder = crate::codec::Encoder::new(batch.get()).unwrap();
    let payload = encoder.encode(batch.get()).unwrap().unwrap();
    let frame = crate::format::encode_frame(crate::format::FrameKind::Batch, 3, 3, &payload);
    let opening = encoder.opening().clone();
    let pending = crate::segment::Pending { first_seq: 3, rows: 3, at: WallTime::UNIX_EPOCH, frame, opening };
    active.append(&pending, later).unwrap();
    active.seal().unwrap();
    fs::copy(&active.path, &path).unwrap();

    let spool = open(ours.path());
    let expected =
        Fed { rows: released_rows(first.iter().chain(&last)), gaps: vec![(at.epoch, 3, 5, GapReason::Damaged)] };
    assert_eq!(from_the_start(&spool.feed(), Table::Agg), expected);
}

#[test]
fn a_segment_that_somebody_removed_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let begin = now();
    append(&mut spool, &mut node, 1, begin);
    let later = roll(&mut spool, begin);
    let rest = append(&mut spool, &mut node, 1, later);
    fs::remove_file(&segments(folder.path(), Table::Agg)[0]).unwrap();
    let epoch = rest[0].epoch();
    let expected = Fed { rows: released_rows(&rest), gaps: vec![(epoch, 0, 2, GapReason::Dropped)] };
    assert_eq!(from_the_start(&spool.feed(), Table::Agg), expected);
}

#[test]
fn f_32_a_folder_that_is_removed_while_the_node_runs_costs_what_was_in_it_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut node = Node::of(&spool);
    let lost = append(&mut spool, &mut node, 1, now());
    fs::remove_dir_all(folder.path()).unwrap();
    let kept = append(&mut spool, &mut node, 2, now());
    let expected = Fed { rows: released_rows(&kept), gaps: vec![(lost[0].epoch(), 0, 2, GapReason::Dropped)] };
    assert_eq!(from_the_start(&spool.feed(), Table::Agg), expected);
    assert_eq!(read(folder.path()).rows, released_rows(&kept));
    spool.close().unwrap();
    // The next process cannot know how far the numbers came.
    let (spool, recovery) = Spool::open(settings(folder.path()), WallTime::UNIX_EPOCH).unwrap();
    assert_eq!(recovery.new_epoch(), Some("the file 'epoch' is missing or damaged"));
    assert_eq!(spool.position(Table::Agg).epoch, lost[0].epoch() + 1);
    assert_eq!(from_the_start(&spool.feed(), Table::Agg), expected, "what is old is still sent");
}

proptest::proptest! {
    #[test]
    fn anything_can_be_given_as_a_segment(
        garbage in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..3000),
        places in proptest::collection::vec((0usize..9000, 1u8..=255), 0..8),
        cut in 0usize..9000,
    ) {
        if let Ok(content) = read_segment(Bytes::from(garbage)) {
            assert_eq!(content.count(), 0);
        }
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path());
        let mut node = Node::of(&spool);
        append(&mut spool, &mut node, 3, now());
        spool.close().unwrap();
        let mut bytes = fs::read(&segments(folder.path(), Table::Agg)[0]).unwrap();
        bytes.truncate(cut.max(200));
        for (place, mask) in places {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= mask;
            }
        }
        if let Ok(content) = read_segment(Bytes::from(bytes)) {
            let mut next = content.first_seq();
            for parcel in content {
                let (_, first, last) = parcel.span();
                assert!(first == next && first <= last);
                next = last + 1;
            }
        }
    }
}
