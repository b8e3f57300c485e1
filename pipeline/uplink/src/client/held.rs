//! What the gateway has refused often enough that it is left alone for a while.
//!
//! It stays in the spool and is tried again after an hour, since a newer gateway may take it. Rows after it go on: the
//! gateway stores rows in any order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kerbside_release::Table;

/// Refusals in a row until something is held back.
const TRIES: u32 = 3;
/// How long it is held back then.
const HOLD: Duration = Duration::from_secs(3600);

/// What was refused: a batch by its table, epoch and first row, or a whole opening by its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Batch(Table, u32, u64),
    Opening(Table, [u8; 32]),
}

/// Refusals by subject. It outlives connections.
#[derive(Debug, Default)]
pub(super) struct Held {
    refusals: BTreeMap<Subject, (u32, Instant)>,
}

impl Held {
    /// Notes a refusal. Whether the subject is held back from now on.
    pub(super) fn refused(&mut self, subject: Subject, now: Instant) -> bool {
        let (count, last) = self.refusals.entry(subject).or_insert((0, now));
        *count = count.saturating_add(1);
        *last = now;
        *count >= TRIES
    }

    /// Whether it is to be left alone now.
    pub(super) fn holds(&mut self, subject: Subject, now: Instant) -> bool {
        match self.refusals.get(&subject) {
            Some((count, _)) if *count < TRIES => false,
            Some((_, last)) if now.saturating_duration_since(*last) < HOLD => true,
            Some(_) => {
                // One more try: a further refusal holds it for another hour.
                self.refusals.insert(subject, (TRIES - 1, now));
                false
            }
            None => false,
        }
    }

    /// It was taken after all.
    pub(super) fn taken(&mut self, subject: Subject) {
        self.refusals.remove(&subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_three_times_is_left_alone_for_an_hour() {
        let mut held = Held::default();
        let (one, other) = (Subject::Batch(Table::Agg, 7, 100), Subject::Opening(Table::Agg, [1; 32]));
        let now = Instant::now();
        assert!(!held.refused(one, now) && !held.refused(one, now) && !held.holds(one, now));
        assert!(held.refused(one, now) && held.holds(one, now) && !held.holds(other, now));
        let later = now + HOLD;
        assert!(!held.holds(one, later), "one more try");
        assert!(held.refused(one, later) && held.holds(one, later));
        held.taken(one);
        assert!(!held.refused(one, later));
    }
}
