//! What the gateway has refused often enough that it is left alone for a while.
//!
//! It stays in the spool and is tried once more after an hour, since a newer gateway may take it. Rows after it go on: the
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

impl Subject {
    pub(super) fn table(&self) -> Table {
        match self {
            Self::Batch(table, ..) | Self::Opening(table, _) => *table,
        }
    }
}

/// Refusals by subject. It outlives connections.
#[derive(Debug)]
pub(super) struct Held {
    refusals: BTreeMap<Subject, (u32, Instant)>,
    hold: Duration,
}

impl Default for Held {
    fn default() -> Self {
        Self::holding_for(HOLD)
    }
}

impl Held {
    /// One that holds back for another time.
    pub(super) fn holding_for(hold: Duration) -> Self {
        Self { refusals: BTreeMap::new(), hold }
    }

    /// Notes a refusal. Whether the subject is held back from now on.
    pub(super) fn refused(&mut self, subject: Subject, now: Instant) -> bool {
        let (count, last) = self.refusals.entry(subject).or_insert((0, now));
        *count = count.saturating_add(1);
        *last = now;
        *count >= TRIES
    }

    /// Whether it is to be left alone now.
    pub(super) fn holds(&self, subject: Subject, now: Instant) -> bool {
        let refused = self.refusals.get(&subject);
        refused.is_some_and(|(count, last)| *count >= TRIES && now.saturating_duration_since(*last) < self.hold)
    }

    /// What was held back long enough, each once: it gets one more try, and a further refusal holds it for as long again.
    pub(super) fn release_due(&mut self, now: Instant) -> Vec<Subject> {
        let mut due = Vec::new();
        let hold = self.hold;
        self.refusals.retain(|subject, (count, last)| {
            if now.saturating_duration_since(*last) < hold {
                return true;
            }
            // What was not refused again since, and not taken either, is gone from the spool.
            let was_held = *count >= TRIES;
            if was_held {
                due.push(*subject);
                (*count, *last) = (TRIES - 1, now);
            }
            was_held
        });
        due
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
        assert_eq!(held.release_due(now + HOLD / 2), []);
        let later = now + HOLD;
        assert!(!held.holds(one, later), "one more try");
        assert_eq!((held.release_due(later), held.release_due(later)), (vec![one], vec![]), "once");
        assert!(held.refused(one, later) && held.holds(one, later));
        assert_eq!(held.release_due(later + HOLD), [one]);
        held.taken(one);
        assert!(!held.refused(one, later));
        assert_eq!(held.release_due(later + HOLD), [], "what was refused once is forgotten in an hour");
        assert!(!held.refused(one, later + HOLD) && !held.refused(one, later + HOLD));
    }
}
