//! The spool and the streams make trouble, and the connection goes on.

use super::*;
use crate::format::encode_frame;

impl Stage {
    /// Seals the segment of `agg.v1` by its age.
    fn roll(&mut self) {
        self.spool.maybe_sync(now() + Duration::from_secs(601)).unwrap();
    }

    fn segments(&self) -> Vec<PathBuf> {
        segments(&self.folder.path().join("spool"), Table::Agg)
    }

    /// First and last number and reason of what the gateway was told to be gone.
    fn gaps(&self) -> Vec<(u64, u64, i32)> {
        self.fake.books().gaps.iter().map(|(_, _, gap)| (gap.first_seq, gap.last_seq, gap.reason)).collect()
    }
}

#[test]
fn f_31_a_segment_that_cannot_be_read_is_given_up_on_the_same_connection() {
    let mut stage = Stage::new();
    stage.release(1);
    stage.roll();
    stage.release(2);
    let first = stage.segments().remove(0);
    std::fs::remove_file(&first).unwrap();
    std::fs::create_dir(&first).unwrap();
    let sending = stage.send();
    stage.wait_for("all told", &sending.status, |stage| stage.spool.feed().waiting().rows == 0);
    assert_eq!(stage.gaps(), [(0, 2, GapReason::Damaged.into())]);
    assert_eq!((sending.status.stored_rows(Table::Agg), sending.status.lost_rows()), (6, 3));
    assert_eq!(sending.status.failures(), 0);
    sending.stop();
    assert_eq!(stage.fake.books().connections, 1);
}

#[test]
fn a_stream_that_the_gateway_ends_is_begun_anew_on_the_same_connection() {
    let mut stage = Stage::new();
    let sending = stage.send();
    stage.wait_for("connected", &sending.status, |_| sending.status.is_connected());
    stage.fake.play([Trick::StoreAndEnd, Trick::Store, Trick::StoreAndEnd]);
    for _ in 0..4 {
        stage.release(1);
        stage.arrives(&sending);
        // The end comes after the answer: it is waited for by asking for something else.
        let health = stage.node.health();
        stage.spool.append(&health, now()).unwrap();
        stage.spool.sync().unwrap();
        stage.released.push(health);
        stage.arrives(&sending);
    }
    assert_eq!((sending.status.failures(), sending.status.stored_rows(Table::Agg)), (0, 12));
    sending.stop();
    assert_eq!(stage.fake.books().connections, 1);
}

#[test]
fn f_41_a_batch_that_was_held_back_long_enough_is_tried_again_on_the_same_connection() {
    let mut stage = Stage::new();
    stage.fake.play([Trick::Refuse(Refusal::Value)]);
    stage.release(1);
    let uplink = stage.uplink(stage.fake.address.port(), stage.files.clone());
    // Longer than it takes from one refusal to the next.
    let sending = Stage::run(uplink.holding_for(Duration::from_secs(8)));
    for refusals in [2, 3] {
        stage.wait_for("a refusal", &sending.status, |_| {
            sending.status.refused_rows(Refusal::Value) == 3 * (refusals - 1)
        });
        stage.fake.play([Trick::Refuse(Refusal::Value)]);
    }
    stage.wait_for("the third", &sending.status, |_| sending.status.refused_rows(Refusal::Value) == 9);
    stage.arrives(&sending);
    assert_eq!(sending.status.failures(), 0);
    sending.stop();
    assert_eq!(stage.fake.books().connections, 1);
}

#[test]
fn f_41_gaps_are_not_told_on_an_opening_that_is_held_back() {
    let mut stage = Stage::new();
    stage.release(2);
    stage.fake.play([Trick::Break(Refusal::Vocabulary); 3]);
    let sending = stage.send();
    stage.wait_for("held back", &sending.status, |_| sending.status.connections() == 4);
    // On the next connection a gap comes before the rows that are held back.
    let first = stage.segments().remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[first_batch(&first) + 100] ^= 0xff;
    std::fs::write(&first, &bytes).unwrap();
    stage.fake.play([Trick::Die]);
    let health = stage.node.health();
    stage.spool.append(&health, now()).unwrap();
    stage.spool.sync().unwrap();
    // Its lane is looked at after that of the counts.
    stage.wait_for("health", &sending.status, |_| sending.status.stored_rows(Table::Health) == 1);
    assert_eq!((stage.gaps(), sending.status.connections()), (vec![], 5));
    sending.stop();
}

#[test]
fn rows_that_cannot_be_sent_are_told_as_damaged() {
    let mut stage = Stage::new();
    stage.release(2);
    let path = stage.segments().remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = first_batch(&path);
    // A whole frame, whose payload is no Arrow.
    let (mut scanner, _) = Scanner::new(File::open(&path).unwrap()).unwrap();
    let header = loop {
        match scanner.step().unwrap() {
            Step::Frame { offset, header, .. } if offset as usize == at => break header,
            _ => {}
        }
    };
    let frame = encode_frame(FrameKind::Batch, header.first_seq, header.rows, &vec![7; header.len as usize]);
    bytes[at..at + frame.len()].copy_from_slice(&frame);
    std::fs::write(&path, &bytes).unwrap();
    let sending = stage.send();
    stage.wait_for("all told", &sending.status, |stage| stage.spool.feed().waiting().rows == 0);
    assert_eq!(stage.gaps(), [(0, 2, GapReason::Damaged.into())]);
    assert_eq!((sending.status.stored_rows(Table::Agg), sending.status.failures()), (3, 0));
    sending.stop();
    assert_eq!(stage.fake.books().connections, 1);
}
