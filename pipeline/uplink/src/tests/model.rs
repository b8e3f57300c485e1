//! The spool against a model of it: any order of appends, syncs, stops, kills, torn tails and failures, of rows that are
//! handed out and confirmed, and of a spool that is full.

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
    /// A cursor gives so many parcels.
    HandOut(u8),
    /// The gateway has all that was handed out but so many rows.
    Confirm(u8),
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
        3 => (1u8..6).prop_map(Act::HandOut),
        2 => (0u8..9).prop_map(Act::Confirm),
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
    /// What a cursor gave since the process began, of `agg.v1`.
    offered: Vec<Row>,
    /// The same of earlier processes.
    offered_before: Vec<Row>,
    confirmed: std::collections::BTreeSet<(Table, u32, u64)>,
    /// Rows that are counted as dropped or summed up, of this process and of those before it.
    gone: u64,
    gone_before: u64,
}

struct Run {
    folder: tempfile::TempDir,
    spool: Option<Spool>,
    node: Node,
    at: Instant,
    model: Model,
    max_bytes: u64,
    place: crate::Place,
}

impl Run {
    fn new(max_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = Self::open(folder.path(), max_bytes);
        let node = Node::of(&spool);
        let place = crate::Place::default();
        Self { folder, spool: Some(spool), node, at: now(), model: Model::default(), max_bytes, place }
    }

    fn open(folder: &Path, max_bytes: u64) -> Spool {
        Spool::open(SpoolSettings { max_bytes, ..settings(folder) }, WallTime::UNIX_EPOCH).unwrap().0
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    fn restart(&mut self) {
        fail(Operation::Sync, 0, io::ErrorKind::Other);
        let spool = Self::open(self.folder.path(), self.max_bytes);
        self.node = Node::of(&spool);
        self.spool = Some(spool);
        self.model.gone_before += std::mem::take(&mut self.model.gone);
        self.model.offered_before.append(&mut self.model.offered);
        self.place = crate::Place::default();
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
            Act::HandOut(count) => {
                let mut cursor = self.spool().feed().cursor(Table::Agg, self.place);
                for _ in 0..count {
                    let Some(parcel) = cursor.next().unwrap() else { break };
                    let (_, first, last) = parcel.span();
                    let mut fed = super::feed::Fed::default();
                    fed.take(Table::Agg, parcel);
                    // Coarse rows are renumbered and are checked elsewhere.
                    if fed.rows.len() as u64 == last - first + 1 {
                        self.model.offered.extend(fed.rows);
                    }
                }
                self.place = cursor.place();
            }
            Act::Confirm(less) => {
                let end = self.model.offered.len().saturating_sub(usize::from(less));
                let feed = self.spool().feed();
                for row in &self.model.offered[..end] {
                    feed.confirm(row.0, row.1, row.2, row.2);
                    self.model.confirmed.insert((row.0, row.1, row.2));
                }
            }
            Act::FailWrites(times) => fail(Operation::Write, u32::from(times), io::ErrorKind::Other),
        }
    }

    /// A spool that has room: nothing is lost that was synced or handed out.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let content = read(self.folder.path());
        let there: std::collections::BTreeSet<Row> = content.rows.iter().copied().collect();
        prop_assert_eq!(there.len(), content.rows.len(), "a row came twice");
        let is_confirmed = |row: &&Row| self.model.confirmed.contains(&(row.0, row.1, row.2));
        let offered = self.model.offered.iter().chain(&self.model.offered_before);
        for row in self.model.synced.iter().chain(offered).filter(|row| !is_confirmed(row)) {
            prop_assert!(there.contains(row), "synced or handed out, and lost: {:?}", row);
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

    /// A spool that is small: what is lost is counted, and what is summed up was handed out to nobody.
    fn check_full(&mut self) -> Result<(), TestCaseError> {
        let status = self.spool().status();
        self.model.gone = status.dropped_rows + status.coarsened_rows;
        // One that is being written may be larger; more than that is never there.
        prop_assert!(status.bytes <= self.max_bytes, "{:?}", status);
        let content = read(self.folder.path());
        let numbers: Vec<_> = content.rows.iter().map(|row| (row.0, row.1, row.2)).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "in order, and none twice");
        let there: std::collections::BTreeSet<Row> = content.rows.iter().copied().collect();
        let missing = |row: &&Row| !there.contains(*row) && !self.model.confirmed.contains(&(row.0, row.1, row.2));
        let lost = self.model.synced.iter().filter(missing).count() as u64;
        // A coarse row is another row under an old number, so each of them makes one more that is not there as it was.
        let changed = content.rows.iter().filter(|row| !self.model.sent.contains(row)).count() as u64;
        prop_assert!(lost <= self.model.gone + self.model.gone_before + changed, "{} lost, {:?}", lost, status);
        let mut lost_offered = self.model.offered.iter().filter(missing);
        prop_assert!(
            status.dropped_rows > 0 || lost_offered.next().is_none(),
            "handed out, and summed up after it"
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn synced_rows_survive_anything_and_no_row_is_made_up_or_repeated(acts in proptest::collection::vec(act(), 1..40)) {
        let mut run = Run::new(64 << 20);
        for act in acts {
            run.act(act);
            run.check()?;
        }
        fail(Operation::Sync, 0, io::ErrorKind::Other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_full_spool_counts_what_it_loses_and_sums_up_nothing_that_was_handed_out(
        acts in proptest::collection::vec(act(), 20..100),
    ) {
        let mut run = Run::new(80 << 10);
        for act in acts.into_iter().filter(|act| !matches!(act, Act::FailWrites(_) | Act::FailSyncs(_))) {
            run.act(act);
            run.check_full()?;
        }
    }
}
