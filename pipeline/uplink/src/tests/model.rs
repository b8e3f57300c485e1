//! The spool against a model of it: any order of appends, syncs, stops, kills, torn tails and failures.

use std::fs;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::disk::faults::{Operation, fail};

#[derive(Clone, Copy, Debug)]
enum Act {
    Append,
    AppendHealth,
    Sync,
    Wait(u16),
    Stop,
    Kill,
    /// A kill that leaves only some of what was not synced, as a power cut does.
    PowerCut(u16),
    FailSyncs(u8),
    FailWrites(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => Just(Act::Append),
        3 => Just(Act::AppendHealth),
        3 => Just(Act::Sync),
        2 => (0u16..700).prop_map(Act::Wait),
        1 => Just(Act::Stop),
        1 => Just(Act::Kill),
        2 => any::<u16>().prop_map(Act::PowerCut),
        1 => (1u8..5).prop_map(Act::FailSyncs),
        1 => (1u8..5).prop_map(Act::FailWrites),
    ]
}

/// What the spool must hold.
#[derive(Default)]
struct Model {
    /// All rows that were ever given to it.
    sent: Vec<Row>,
    /// Of these: what it said is synced.
    synced: Vec<Row>,
    unsynced: Vec<Row>,
}

struct Run {
    folder: tempfile::TempDir,
    spool: Option<Spool>,
    node: Node,
    at: Instant,
    model: Model,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path());
        let node = Node::of(&spool);
        Self { folder, spool: Some(spool), node, at: now(), model: Model::default() }
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    fn restart(&mut self) {
        fail(Operation::Sync, 0, io::ErrorKind::Other);
        let spool = open(self.folder.path());
        self.node = Node::of(&spool);
        self.spool = Some(spool);
        // What was not synced and is not there any more is lost, as promised; its numbers may come again.
        let there = read(self.folder.path()).rows;
        let kept: Vec<Row> = self.model.unsynced.drain(..).filter(|row| there.contains(row)).collect();
        self.model.synced.extend(kept);
    }

    fn append(&mut self, batch: &ReleasedBatch) {
        let rows = released_rows([batch]);
        let at = self.at;
        self.spool().append(batch, at).unwrap();
        self.model.sent.extend(&rows);
        self.model.unsynced.extend(rows);
    }

    fn settle(&mut self) {
        if self.spool().status().unsynced_rows == 0 {
            self.model.synced.append(&mut self.model.unsynced);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Append => {
                let batch = self.node.agg();
                self.append(&batch);
            }
            Act::AppendHealth => {
                let batch = self.node.health();
                self.append(&batch);
            }
            Act::Sync => {
                // Whether it works is seen in the status.
                let _ = self.spool().sync();
                self.settle();
            }
            Act::Wait(seconds) => {
                self.at += Duration::from_secs(u64::from(seconds));
                let at = self.at;
                let _ = self.spool().maybe_sync(at);
                self.settle();
            }
            Act::Stop => {
                fail(Operation::Sync, 0, io::ErrorKind::Other);
                self.spool.take().unwrap().close().unwrap();
                self.model.synced.append(&mut self.model.unsynced);
                self.restart();
            }
            Act::Kill => {
                kill(self.spool.take().unwrap());
                self.restart();
            }
            Act::PowerCut(kept) => {
                let durable: Vec<(PathBuf, u64)> = self.spool().durable_lengths();
                kill(self.spool.take().unwrap());
                for (path, durable) in durable {
                    let len = fs::metadata(&path).unwrap().len();
                    let lost = (len - durable) * u64::from(kept) / u64::from(u16::MAX);
                    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len - lost).unwrap();
                }
                self.restart();
            }
            Act::FailSyncs(times) => fail(Operation::Sync, u32::from(times), io::ErrorKind::Other),
            Act::FailWrites(times) => fail(Operation::Write, u32::from(times), io::ErrorKind::Other),
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let content = read(self.folder.path());
        let there: std::collections::BTreeSet<Row> = content.rows.iter().copied().collect();
        prop_assert_eq!(there.len(), content.rows.len(), "a row came twice");
        for row in &self.model.synced {
            prop_assert!(there.contains(row), "synced and lost: {:?}", row);
        }
        for row in &content.rows {
            prop_assert!(self.model.sent.contains(row), "made up: {:?}", row);
        }
        let mut numbers: Vec<_> = content.rows.iter().map(|row| (row.0, row.1, row.2)).collect();
        let in_order = numbers.clone();
        numbers.sort_unstable();
        prop_assert_eq!(&numbers, &in_order);
        numbers.dedup();
        prop_assert_eq!(numbers.len(), in_order.len(), "a number was given twice");
        prop_assert_eq!(content.gaps, []);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn synced_rows_survive_anything_and_no_row_is_made_up_or_repeated(acts in proptest::collection::vec(act(), 1..40)) {
        let mut run = Run::new();
        for act in acts {
            run.act(act);
            run.check()?;
        }
        fail(Operation::Sync, 0, io::ErrorKind::Other);
    }
}
