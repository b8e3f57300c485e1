//! F-31, every byte: a small log of all kinds of frames, of which each byte in turn is another, and which ends at
//! each byte in turn.

use std::collections::BTreeSet;

use super::power::FOLDER;
use super::simulated::Simulated;
use super::*;
use crate::coarse::{MOST_BYTES, Outcome, coarsen_oldest};
use crate::shared::index;
use crate::{Parcel, Place};

/// A log of three segments: one of sums, one that is sealed, one that is being written.
struct Log {
    disk: Simulated,
    spool: Spool,
    /// Of each parcel the numbers and the values.
    truth: Vec<Told>,
    paths: Vec<PathBuf>,
}

/// What a parcel of rows says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    first_seq: u64,
    last_seq: u64,
    values: Vec<i64>,
}

impl Log {
    fn new() -> Self {
        let disk = Simulated::new();
        let entered = disk.enter();
        let (mut spool, _) = Spool::open(settings(Path::new(FOLDER)), WallTime::UNIX_EPOCH).unwrap();
        let mut node = Node::of(&spool);
        let mut at = now();
        let mut segment = |spool: &mut Spool, batches: usize, seal: bool| {
            for _ in 0..batches {
                spool.append(&node.agg(), at).unwrap();
            }
            spool.sync().unwrap();
            if seal {
                at += Duration::from_secs(601);
                spool.maybe_sync(at).unwrap();
            }
        };
        segment(&mut spool, 2, true);
        segment(&mut spool, 2, true);
        let stream = &mut spool.streams[index(Table::Agg)];
        assert_eq!(coarsen_oldest(stream, &spool.shared, MOST_BYTES).unwrap(), Outcome::Done);
        segment(&mut spool, 2, true);
        segment(&mut spool, 1, false);
        let paths = segments(Path::new(FOLDER), Table::Agg);
        assert_eq!(paths.len(), 3);
        let (truth, gaps) = told(&spool);
        assert_eq!((truth.len(), gaps), (4, vec![]));
        drop(entered);
        Self { disk, spool, truth, paths }
    }

    fn numbers(&self) -> BTreeSet<u64> {
        (0..=self.truth.last().unwrap().last_seq).collect()
    }

    /// What the cursor and the reader say of a log with one bad place.
    fn check(&self, spool: &Spool, case: &str) {
        let (parcels, gaps) = told(spool);
        assert!(parcels.iter().all(|parcel| self.truth.contains(parcel)), "{case}: a wrong row: {parcels:?}");
        let spans = parcels.iter().map(|parcel| (parcel.first_seq, parcel.last_seq)).chain(gaps.iter().copied());
        let said: Vec<u64> = spans.flat_map(|(first, last)| first..=last).collect();
        assert_eq!(said.len(), self.numbers().len(), "{case}: {parcels:?} {gaps:?}");
        assert_eq!(said.into_iter().collect::<BTreeSet<_>>(), self.numbers(), "{case}: a loss without a word");
    }

    fn check_reader(&self, case: &str) -> usize {
        let content = read(Path::new(FOLDER));
        let true_rows: Vec<(u64, i64)> = self
            .truth
            .iter()
            .flat_map(|told| {
                told.values.iter().enumerate().map(|(at, value)| (told.first_seq + at as u64, *value))
            })
            .collect();
        for row in &content.rows {
            assert!(true_rows.contains(&(row.2, row.3)), "{case}: a wrong row {row:?}");
        }
        if content.rows.len() < true_rows.len() {
            assert!(!content.damages.is_empty() || !content.gaps.is_empty(), "{case}: a loss without a word");
        }
        true_rows.len() - content.rows.len()
    }
}

/// Parcels of rows, and gaps.
fn told(spool: &Spool) -> (Vec<Told>, Vec<(u64, u64)>) {
    let mut cursor = spool.feed().cursor(Table::Agg, Place::default());
    let (mut parcels, mut gaps) = (Vec::new(), Vec::new());
    while let Some(parcel) = cursor.next().unwrap() {
        let (_, first_seq, last_seq) = parcel.span();
        if matches!(parcel, Parcel::Gap { .. }) {
            gaps.push((first_seq, last_seq));
            continue;
        }
        let mut fed = super::feed::Fed::default();
        fed.take(Table::Agg, parcel);
        parcels.push(Told { first_seq, last_seq, values: fed.rows.iter().map(|row| row.3).collect() });
    }
    (parcels, gaps)
}

#[test]
fn f_31_no_flipped_byte_of_any_kind_of_frame_makes_a_wrong_row_or_a_silent_loss() {
    let log = Log::new();
    let _entered = log.disk.enter();
    for path in &log.paths {
        let len = log.disk.with_bytes(path, |bytes| bytes.len());
        for place in 0..len {
            let flip = |bytes: &mut Vec<u8>| bytes[place] ^= 1 << (place % 8);
            log.disk.with_bytes(path, flip);
            let case = format!("byte {place} of {}", path.display());
            log.check(&log.spool, &case);
            let (parcels, _) = told(&log.spool);
            assert!(parcels.len() + 1 >= log.truth.len(), "{case}: more than one frame is lost");
            // The reader goes through the same frames by the same scanner: every few bytes will do.
            if place % 7 == 0 {
                assert!(log.check_reader(&case) <= 3, "{case}");
            }
            log.disk.with_bytes(path, flip);
        }
    }
    log.check(&log.spool, "unharmed");
}

#[test]
fn f_31_no_cut_makes_a_wrong_row_or_a_silent_loss() {
    let log = Log::new();
    let _entered = log.disk.enter();
    for path in &log.paths {
        let whole = log.disk.with_bytes(path, |bytes| bytes.clone());
        for len in (0..whole.len()).step_by(3).chain((0..whole.len()).step_by(64)) {
            log.disk.with_bytes(path, |bytes| bytes.truncate(len));
            log.check(&log.spool, &format!("{} cut at {len}", path.display()));
            log.disk.with_bytes(path, |bytes| bytes.clone_from(&whole));
        }
    }
}

#[test]
fn f_31_a_process_that_begins_on_a_bad_log_tells_no_wrong_row_and_counts_on() {
    let log = Log::new();
    for (number, path) in log.paths.iter().enumerate() {
        let len = log.disk.with_bytes(path, |bytes| bytes.len());
        for place in (0..len).step_by(23) {
            for cut in [false, true] {
                let fork = log.disk.fork();
                let _entered = fork.enter();
                fork.with_bytes(path, |bytes| match cut {
                    true => bytes.truncate(place),
                    false => bytes[place] ^= 0x40,
                });
                let case = format!("byte {place} of {}, cut: {cut}", path.display());
                let (spool, recovery) = Spool::open(settings(Path::new(FOLDER)), WallTime::UNIX_EPOCH).unwrap();
                let (parcels, gaps) = told(&spool);
                assert!(parcels.iter().all(|parcel| log.truth.contains(parcel)), "{case}: a wrong row");
                let old_epoch = log.spool.position(Table::Agg);
                let position = spool.position(Table::Agg);
                let is_last = number + 1 == log.paths.len();
                // At the very end nothing but the damage itself tells of a loss, and the numbers are not given again.
                let is_told = if is_last { recovery.new_epoch().is_some() } else { !gaps.is_empty() };
                assert!(parcels.len() == log.truth.len() || is_told, "{case}: a loss without a word: {parcels:?}");
                let goes_on = position.epoch > old_epoch.epoch || position.next_seq >= old_epoch.next_seq;
                assert!(goes_on, "{case}: numbers are given again");
            }
        }
    }
}
