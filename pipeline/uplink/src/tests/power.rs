//! Death and power cuts at every single operation on the disk.

use std::collections::{BTreeMap, BTreeSet};

use super::feed::{Fed, drain, from_the_start};
use super::simulated::{PowerCut, Simulated};
use super::*;
use crate::{Parcel, Place};

pub(super) const FOLDER: &str = "/disk/spool";
/// What a crash may leave.
const ENDS: [Option<PowerCut>; 6] = [
    None,
    Some(PowerCut::Nothing),
    Some(PowerCut::Everything),
    Some(PowerCut::Torn(1)),
    Some(PowerCut::Torn(2)),
    Some(PowerCut::Torn(3)),
];

pub(super) type Number = (Table, u32, u64);

/// What happened before a crash.
#[derive(Default)]
pub(super) struct Oracle {
    /// All rows that were ever given to the spool, with their values.
    pub(super) given: BTreeMap<Number, i64>,
    /// Of these, what it said is synced.
    pub(super) synced: BTreeSet<Number>,
    /// What a cursor handed out.
    pub(super) offered: BTreeSet<Number>,
    confirmed: BTreeSet<Number>,
    coarsened_rows: u64,
    dropped_rows: u64,
}

/// A process that writes to a spool until the disk dies.
pub(super) struct Life<'a> {
    disk: &'a Simulated,
    oracle: &'a mut Oracle,
    pub(super) spool: Spool,
    node: Node,
    at: Instant,
    places: BTreeMap<Table, Place>,
}

impl<'a> Life<'a> {
    pub(super) fn begin(disk: &'a Simulated, oracle: &'a mut Oracle, max_bytes: u64) -> Option<Self> {
        let (spool, _) = Spool::open(small(max_bytes), WallTime::UNIX_EPOCH).ok().filter(|_| !disk.is_dead())?;
        let node = Node::of(&spool);
        // What was there before and is durable now may be handed out.
        Some(Self { disk, oracle, spool, node, at: now(), places: BTreeMap::new() })
    }

    pub(super) fn agg(&mut self) {
        let batch = self.node.agg();
        self.append(&batch);
    }

    pub(super) fn health(&mut self) {
        let batch = self.node.health();
        self.append(&batch);
    }

    fn append(&mut self, batch: &ReleasedBatch) {
        if self.disk.is_dead() {
            return;
        }
        let rows = released_rows([batch]);
        self.oracle.given.extend(rows.iter().map(|row| ((row.0, row.1, row.2), row.3)));
        self.spool.append(batch, self.at).unwrap();
        self.note();
    }

    pub(super) fn sync(&mut self) {
        let synced = self.spool.sync();
        if !self.disk.is_dead() {
            synced.unwrap();
            self.oracle.synced.extend(self.oracle.given.keys());
        }
        self.note();
    }

    /// Time passes, and old segments are sealed.
    pub(super) fn roll(&mut self) {
        let ticked = self.tick();
        if !self.disk.is_dead() {
            ticked.unwrap();
        }
        self.note();
    }

    pub(super) fn tick(&mut self) -> Result<(), crate::SpoolError> {
        self.at += Duration::from_secs(601);
        self.spool.maybe_sync(self.at)
    }

    fn note(&mut self) {
        let status = self.spool.status();
        self.oracle.coarsened_rows = self.oracle.coarsened_rows.max(status.coarsened_rows);
        self.oracle.dropped_rows = self.oracle.dropped_rows.max(status.dropped_rows);
    }

    /// Hands out so many parcels of a table.
    pub(super) fn hand_out(&mut self, table: Table, count: usize) {
        if self.disk.is_dead() {
            return;
        }
        let place = self.places.entry(table).or_default();
        let mut cursor = self.spool.feed().cursor(table, *place);
        for _ in 0..count {
            if let Some(Parcel::Rows { epoch, first_seq, last_seq, .. }) = cursor.next().unwrap() {
                self.oracle.offered.extend((first_seq..=last_seq).map(|seq| (table, epoch, seq)));
            }
        }
        *place = cursor.place();
    }

    fn confirm(&mut self, table: Table, first_seq: u64, last_seq: u64) {
        if self.disk.is_dead() {
            return;
        }
        let epoch = self.spool.position(table).epoch;
        self.spool.feed().confirm(table, epoch, first_seq, last_seq);
        self.oracle.confirmed.extend((first_seq..=last_seq).map(|seq| (table, epoch, seq)));
    }

    fn close(self) {
        let closed = self.spool.close();
        if !self.disk.is_dead() {
            closed.unwrap();
            self.oracle.synced.extend(self.oracle.given.keys());
        }
    }
}

pub(super) fn small(max_bytes: u64) -> SpoolSettings {
    SpoolSettings { max_bytes, ..settings(Path::new(FOLDER)) }
}

/// Appends, syncs, seals, rolls, confirms, is killed, continues, and begins a new epoch.
fn daily_life(disk: &Simulated, oracle: &mut Oracle) {
    let Some(mut life) = Life::begin(disk, oracle, 64 << 20) else { return };
    for round in 0..4 {
        life.agg();
        life.health();
        life.sync();
        life.hand_out(Table::Agg, 1);
        life.agg();
        if round % 2 == 1 {
            life.roll();
            life.hand_out(Table::Health, 1);
        }
        if round == 2 {
            life.confirm(Table::Agg, 0, 11);
            life.roll();
        }
    }
    life.roll();
    life.close();
    if disk.is_dead() {
        return;
    }
    let Some(mut life) = Life::begin(disk, oracle, 64 << 20) else { return };
    life.agg();
    life.sync();
    life.agg();
    // Killed, and begun anew without a power cut.
    drop(life);
    if disk.is_dead() {
        return;
    }
    disk.kill();
    let Some(mut life) = Life::begin(disk, oracle, 64 << 20) else { return };
    life.hand_out(Table::Agg, 100);
    life.agg();
    life.close();
    // The epoch is lost.
    if disk.is_dead() || disk.remove(&Path::new(FOLDER).join("epoch")).is_err() || disk.is_dead() {
        return;
    }
    let Some(mut life) = Life::begin(disk, oracle, 64 << 20) else { return };
    life.agg();
    life.health();
    life.sync();
    life.hand_out(Table::Agg, 100);
}

/// Fills a small spool with counts until the old ones have to be summed up.
fn full_life(disk: &Simulated, oracle: &mut Oracle) {
    let Some(mut life) = Life::begin(disk, oracle, FULL) else { return };
    for round in 0..5 {
        life.agg();
        life.agg();
        life.sync();
        if round == 0 {
            life.hand_out(Table::Agg, 1);
        }
        life.roll();
    }
    life.agg();
    life.sync();
}

/// Room for some segments of two batches, and for all of them once they were summed up.
const FULL: u64 = 58 << 10;

/// How many operations the script takes.
fn length_of(script: fn(&Simulated, &mut Oracle)) -> (u64, Oracle) {
    let disk = Simulated::new();
    let _entered = disk.enter();
    let mut oracle = Oracle::default();
    script(&disk, &mut oracle);
    (disk.operations().len() as u64, oracle)
}

/// Lets the script die at every operation, with every end, and looks at what is left.
fn die_everywhere(script: fn(&Simulated, &mut Oracle)) {
    let (operations, _) = length_of(script);
    assert!(operations > 40, "{operations}");
    for operation in 0..operations {
        for happens in [false, true] {
            let disk = Simulated::new();
            let mut oracle = Oracle::default();
            {
                let _entered = disk.enter();
                disk.die_at(operation, happens);
                script(&disk, &mut oracle);
            }
            assert!(disk.is_dead(), "the script is the same each time");
            for (number, end) in ENDS.into_iter().enumerate() {
                let fork = disk.fork();
                match end {
                    None => fork.kill(),
                    Some(left) => fork.cut_power(left),
                }
                let _entered = fork.enter();
                let op = disk.operations().last().copied();
                let case = format!("operation {operation} {op:?}, happens: {happens}, end {number}");
                check(&fork, &oracle, matches!(end, Some(PowerCut::Torn(_))), &case);
            }
        }
    }
}

/// Opens what is left and holds it against the oracle.
fn check(disk: &Simulated, oracle: &Oracle, is_torn: bool, case: &str) {
    let (mut spool, _) =
        Spool::open(small(64 << 20), WallTime::UNIX_EPOCH).unwrap_or_else(|error| panic!("{case}: {error}"));
    let content = read(Path::new(FOLDER));
    // Where blocks in the middle were lost, what is around them stays and the damage is told.
    assert!(is_torn || content.damages.is_empty(), "{case}: {:?}", content.damages);
    let (rows, sums) = fed_values(&spool, case);
    let there: BTreeMap<Number, i64> = content.rows.iter().map(|row| ((row.0, row.1, row.2), row.3)).collect();
    assert_eq!(there.len(), content.rows.len(), "{case}: a row came twice");
    for number in oracle.synced.iter().chain(&oracle.offered).filter(|number| !oracle.confirmed.contains(*number))
    {
        let is_summed_up = sums.iter().any(|sum| sum.covers(number));
        assert!(there.contains_key(number) || is_summed_up, "{case}: {number:?} was synced and is lost");
        assert!(rows.contains_key(number) || is_summed_up, "{case}: {number:?} was synced and is not handed out");
    }
    for (number, value) in &rows {
        assert_eq!(oracle.given.get(number), Some(value), "{case}: {number:?} was never given");
        assert_eq!(there.get(number), Some(value), "{case}: {number:?} is handed out, but not read");
    }
    for sum in &sums {
        let parts: i64 =
            oracle.given.iter().filter(|(number, _)| sum.covers(number)).map(|(_, value)| value).sum();
        assert_eq!(parts, sum.value, "{case}: a sum is wrong");
    }
    // No number is given again to what somebody may have.
    for table in Table::ALL {
        let at = spool.position(table);
        let last =
            oracle.offered.iter().filter(|number| number.0 == table).map(|number| (number.1, number.2)).max();
        assert!(last < Some((at.epoch, at.next_seq)), "{case}: {last:?} is given again");
    }
    // And it goes on.
    let mut node = Node::of(&spool);
    let next = node.agg();
    let begin = spool.feed().end(Table::Agg);
    spool.append(&next, now()).unwrap();
    spool.sync().unwrap();
    let fed = drain(&mut spool.feed().cursor(Table::Agg, begin), Table::Agg);
    assert_eq!(fed, Fed { rows: released_rows([&next]), gaps: vec![] }, "{case}");
    let last = (next.epoch(), next.last_seq());
    assert!(read(Path::new(FOLDER)).rows.iter().any(|row| (row.1, row.2) == last), "{case}");
    drop(spool);
    disk.kill();
    let (again, recovery) = Spool::open(small(64 << 20), WallTime::UNIX_EPOCH).unwrap();
    assert_eq!(recovery.new_epoch(), None, "{case}: what was mended stays so");
    assert_eq!(again.position(Table::Agg).next_seq, last.1 + 1, "{case}");
}

/// Rows that stand for more than they are.
pub(super) struct Sum {
    table: Table,
    epoch: u32,
    first_seq: u64,
    last_seq: u64,
    value: i64,
}

impl Sum {
    fn covers(&self, number: &Number) -> bool {
        (number.0, number.1) == (self.table, self.epoch) && (self.first_seq..=self.last_seq).contains(&number.2)
    }
}

/// All that cursors give: rows by their numbers, and sums. Every number is told in its order, once.
pub(super) fn fed_values(spool: &Spool, case: &str) -> (BTreeMap<Number, i64>, Vec<Sum>) {
    let (mut values, mut sums) = (BTreeMap::new(), Vec::new());
    for table in Table::ALL {
        let mut cursor = spool.feed().cursor(table, Place::default());
        let mut place = Place::default();
        while let Some(parcel) = cursor.next().unwrap() {
            let (epoch, first_seq, last_seq) = parcel.span();
            if epoch != place.epoch {
                place = Place { epoch, seq: 0 };
            }
            assert_eq!(place.seq, first_seq, "{case}: numbers without a word");
            place.seq = last_seq + 1;
            let is_sum = matches!(parcel, Parcel::Rows { rows, .. } if last_seq - first_seq >= u64::from(rows));
            let mut fed = Fed::default();
            fed.take(table, parcel);
            if is_sum {
                let value = fed.rows.iter().map(|row| row.3).sum();
                sums.push(Sum { table, epoch, first_seq, last_seq, value });
            } else {
                values.extend(fed.rows.iter().map(|row| ((row.0, row.1, row.2), row.3)));
            }
        }
        let end = spool.feed().end(table);
        assert!(place.epoch < end.epoch || place == end, "{case}: {place:?} is not the end {end:?}");
    }
    (values, sums)
}

#[test]
fn f_29_f_30_death_at_any_operation_costs_no_synced_row_and_repeats_none() {
    die_everywhere(daily_life);
}

#[test]
fn f_26_f_30_death_at_any_operation_of_summing_up_neither_loses_nor_repeats() {
    let (_, oracle) = length_of(full_life);
    assert!(oracle.coarsened_rows > 0, "the script sums up");
    assert_eq!(oracle.dropped_rows, 0, "and drops nothing");
    die_everywhere(full_life);
}

#[test]
fn f_30_a_power_cut_costs_the_commit_window_at_most_and_what_is_torn_is_told() {
    for seed in 0..200 {
        let disk = Simulated::new();
        let _entered = disk.enter();
        let (mut spool, _) = Spool::open(small(64 << 20), WallTime::UNIX_EPOCH).unwrap();
        let mut node = Node::of(&spool);
        let begin = now();
        let synced: Vec<ReleasedBatch> = (0..3).map(|_| node.agg()).collect();
        for batch in &synced {
            spool.append(batch, begin).unwrap();
        }
        spool.maybe_sync(begin + Duration::from_secs(1)).unwrap();
        let window: Vec<ReleasedBatch> = (0..3).map(|_| node.agg()).collect();
        for batch in &window {
            spool.append(batch, begin + Duration::from_secs(1)).unwrap();
        }
        drop(spool);
        disk.cut_power(PowerCut::Torn(seed));
        let before = read(Path::new(FOLDER));
        let (spool, recovery) = Spool::open(small(64 << 20), WallTime::UNIX_EPOCH).unwrap();
        let fed = from_the_start(&spool.feed(), Table::Agg);
        let all = released_rows(synced.iter().chain(&window));
        assert!(fed.rows.len() >= 9, "seed {seed}: {fed:?}");
        for (_, first, last, reason) in &fed.gaps {
            assert!((*first, *last) >= (9, 9) && *last <= 14, "seed {seed}: the window alone");
            assert_eq!(*reason, crate::wire::GapReason::Damaged, "seed {seed}");
        }
        assert!(fed.rows.iter().all(|row| all.contains(row)), "seed {seed}");
        assert_eq!(fed.rows[..9], released_rows(&synced), "seed {seed}");
        // Whatever was torn is told, and a new epoch leaves the numbers to those who may have read them.
        assert_eq!(before.damages.is_empty(), recovery.damages().next().is_none(), "seed {seed}");
        assert_eq!(recovery.new_epoch().is_some(), !before.damages.is_empty(), "seed {seed}");
    }
}
