//! What the spool and its feeds know together: which rows are durable, where they lie, and which of them
//! the gateway has confirmed or a cursor has handed out.
//!
//! One mutex, held for looking things up and for changing them, never during I/O.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kerbside_core::time::WallTime;
use kerbside_release::Table;
use tokio::sync::Notify;

use crate::ranges::RangeSet;
use crate::wire::GapReason;

/// Times of durable rows that are remembered for each table. Beyond it a backlog's age is that of its segment.
const MARKS: usize = 4096;

/// A segment as the sender sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Of this file and no other within the process, also when a file takes another's name.
    pub(crate) id: u64,
    pub(crate) epoch: u32,
    pub(crate) first_seq: u64,
    /// The number after that of the last durable row.
    pub(crate) next_seq: u64,
    pub(crate) path: Arc<Path>,
    /// How many of its bytes are durable.
    pub(crate) bytes: u64,
    /// Durable rows.
    pub(crate) rows: u64,
    /// When the bin of its first rows ended.
    pub(crate) since: Option<WallTime>,
    /// Its end was found damaged, so that there may have been more rows.
    pub(crate) torn: bool,
}

/// When rows came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) epoch: u32,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) at: WallTime,
}

/// One table.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The current epoch.
    pub(crate) epoch: u32,
    /// The number after that of its last durable row.
    pub(crate) next_seq: u64,
    pub(crate) segments: BTreeMap<(u32, u64), Known>,
    pub(crate) confirmed: BTreeMap<u32, RangeSet>,
    /// What cursors have handed out.
    pub(crate) offered: BTreeMap<u32, RangeSet>,
    /// Segments that are being replaced: they can neither be read nor missed for the moment.
    pub(crate) held: Vec<u64>,
    marks: std::collections::VecDeque<Mark>,
}

/// What stands at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// Nothing yet.
    Nothing,
    /// The gateway has everything before that number.
    Confirmed(u64),
    /// No segment has the numbers before that one, or their bytes are damaged.
    Missing(u64, GapReason),
    /// The epoch has come to its end; the next one.
    NextEpoch(u32),
    /// It is to be found there.
    In(Known),
}

impl View {
    pub(crate) fn spot(&self, epoch: u32, seq: u64) -> Spot {
        let confirmed = self.confirmed.get(&epoch);
        if let Some(set) = confirmed.filter(|set| set.contains(seq, seq)) {
            let end = set.iter().find(|(first, last)| (*first..=*last).contains(&seq));
            return Spot::Confirmed(end.map_or(seq, |(_, last)| last).saturating_add(1));
        }
        let before = self.segments.range((epoch, 0)..=(epoch, seq)).rev();
        if let Some((_, known)) = before.into_iter().find(|(_, known)| known.next_seq > seq) {
            return if self.held.contains(&known.id) { Spot::Nothing } else { Spot::In(known.clone()) };
        }
        match self.segments.range((epoch, seq)..).map(|(key, _)| *key).find(|key| *key > (epoch, seq)) {
            Some((of, first_seq)) if of == epoch => {
                let until =
                    confirmed.and_then(|set| set.iter().map(|(first, _)| first).find(|first| *first > seq));
                let before = self.segments.range((epoch, 0)..(epoch, seq)).next_back();
                let is_torn = before.is_some_and(|(_, known)| known.torn && known.next_seq == seq);
                let reason = if is_torn { GapReason::Damaged } else { GapReason::Dropped };
                Spot::Missing(until.map_or(first_seq, |until| until.min(first_seq)), reason)
            }
            Some((next, _)) => Spot::NextEpoch(next),
            None if epoch < self.epoch => Spot::NextEpoch(self.epoch),
            None => Spot::Nothing,
        }
    }

    /// Whether a segment is still what it was, and is not being replaced.
    pub(crate) fn has(&self, known: &Known) -> bool {
        let now = self.segments.get(&(known.epoch, known.first_seq));
        now.is_some_and(|now| now.id == known.id) && !self.held.contains(&known.id)
    }

    /// Notes that rows are handed out. Not where their segment has gone in the meantime.
    pub(crate) fn offer(&mut self, known: &Known, first_seq: u64, last_seq: u64) -> bool {
        if !self.has(known) {
            return false;
        }
        self.offered.entry(known.epoch).or_default().insert(first_seq, last_seq);
        true
    }

    pub(crate) fn confirm(&mut self, epoch: u32, first_seq: u64, last_seq: u64) {
        // What was never durable cannot have been sent.
        let next_seq = match epoch == self.epoch {
            true => self.next_seq,
            false => self.end_of(epoch),
        };
        let Some(last) = next_seq.checked_sub(1) else { return };
        self.confirmed.entry(epoch).or_default().insert(first_seq, last_seq.min(last));
        let View { marks, confirmed, .. } = self;
        let is_confirmed = |mark: &Mark| {
            confirmed.get(&mark.epoch).is_some_and(|set| set.contains(mark.first_seq, mark.last_seq))
        };
        // From the front alone: to look at each mark with each answer would hold up whoever stores rows.
        while marks.front().is_some_and(is_confirmed) {
            marks.pop_front();
        }
    }

    /// The number after the last one of an epoch that any segment has.
    fn end_of(&self, epoch: u32) -> u64 {
        self.segments
            .range((epoch, 0)..=(epoch, u64::MAX))
            .map(|(_, known)| known.next_seq)
            .max()
            .unwrap_or_default()
    }

    /// Whether the gateway has all rows of these numbers, of which there are some.
    pub(crate) fn is_confirmed(&self, epoch: u32, first_seq: u64, next_seq: u64) -> bool {
        let set = self.confirmed.get(&epoch);
        next_seq > first_seq && set.is_some_and(|set| set.contains(first_seq, next_seq - 1))
    }

    /// How many of these numbers the gateway has not confirmed, and the first of them.
    pub(crate) fn unconfirmed(&self, epoch: u32, first_seq: u64, next_seq: u64) -> (u64, Option<u64>) {
        let Some(last) = next_seq.checked_sub(1).filter(|last| *last >= first_seq) else { return (0, None) };
        let Some(set) = self.confirmed.get(&epoch) else { return (next_seq - first_seq, Some(first_seq)) };
        let missing = set.missing(first_seq, last);
        (missing.iter().map(|(first, last)| last - first + 1).sum(), missing.first().map(|(first, _)| *first))
    }

    /// When the row of that number came, if it is remembered.
    pub(crate) fn came(&self, epoch: u32, seq: u64) -> Option<WallTime> {
        let covers = |mark: &&Mark| mark.epoch == epoch && (mark.first_seq..=mark.last_seq).contains(&seq);
        self.marks.iter().find(covers).map(|mark| mark.at)
    }

    pub(crate) fn mark(&mut self, marks: impl IntoIterator<Item = Mark>) {
        self.marks.extend(marks);
        while self.marks.len() > MARKS {
            self.marks.pop_front();
        }
    }

    /// Forgets the sets of epochs that are over and gone.
    pub(crate) fn tidy(&mut self) {
        let Self { epoch, segments, confirmed, offered, .. } = self;
        let is_there = |of: &u32| of == epoch || segments.range((*of, 0)..=(*of, u64::MAX)).next().is_some();
        confirmed.retain(|of, _| is_there(of));
        offered.retain(|of, _| is_there(of));
    }
}

/// Shared between the spool and its feeds.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    views: Mutex<[View; Table::ALL.len()]>,
    pub(crate) changed: Notify,
}

impl Shared {
    /// The tables, for a moment.
    pub(crate) fn views(&self) -> MutexGuard<'_, [View; Table::ALL.len()]> {
        // Whoever panicked did so with whole values: each change under the lock is one assignment or insertion.
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table's place in arrays.
pub(crate) const fn index(table: Table) -> usize {
    match table {
        Table::Agg => 0,
        Table::Health => 1,
        Table::Incident => 2,
    }
}
