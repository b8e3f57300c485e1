//! What one node may send, counted in memory: a restart of the gateway begins anew.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use kerbside_uplink::wire::Refusal;

use crate::refused::Refused;
use crate::settings::Limits;

const MINUTE_SECS: f64 = 60.0;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Tables and days that a node's rows of one day may lie in: a node has three tables and keeps rows for a month. Each is a
/// folder in the landing and a file in a commit.
const DAYS_A_DAY: usize = 400;
/// Epochs of which nothing was stored before: a spool begins one when it cannot trust its numbers.
const EPOCHS_A_DAY: usize = 64;

/// The use that all nodes make of their limits.
#[derive(Debug)]
pub(crate) struct Quotas {
    limits: Limits,
    nodes: Mutex<HashMap<String, Usage>>,
}

#[derive(Debug)]
struct Usage {
    /// Rows that may still come: a bucket of one minute that fills evenly.
    rows: f64,
    filled: Instant,
    day: i64,
    bytes: u64,
    vocabularies: u64,
    days: BTreeSet<(String, i64)>,
    epochs: BTreeSet<u32>,
}

impl Quotas {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, nodes: Mutex::default() }
    }

    /// Takes a batch of that many rows and bytes.
    pub(crate) fn take(&self, node: &str, rows: u64, bytes: u64, now: (Instant, i64)) -> Result<(), Refused> {
        self.with(node, now, |usage, limits| {
            if usage.rows < rows as f64 {
                return Err(Refused::new(Refusal::Quota, "more rows in a minute than a node may send"));
            }
            if usage.bytes.saturating_add(bytes) > limits.bytes_per_day {
                return Err(Refused::new(Refusal::Quota, "more bytes in a day than a node may send"));
            }
            usage.rows -= rows as f64;
            usage.bytes += bytes;
            Ok(())
        })
    }

    /// Takes a vocabulary that was not seen before.
    pub(crate) fn take_vocabulary(&self, node: &str, now: (Instant, i64)) -> Result<(), Refused> {
        self.with(node, now, |usage, limits| {
            if usage.vocabularies >= limits.new_vocabularies_per_day {
                return Err(Refused::new(Refusal::Quota, "more new vocabularies in a day than a node may have"));
            }
            usage.vocabularies += 1;
            Ok(())
        })
    }

    /// Takes rows of these days of a table.
    pub(crate) fn take_days(
        &self,
        node: &str,
        table: &str,
        days: Vec<i64>,
        now: (Instant, i64),
    ) -> Result<(), Refused> {
        self.with(node, now, |usage, _| {
            for day in days {
                let place = (table.to_owned(), day);
                if usage.days.len() >= DAYS_A_DAY && !usage.days.contains(&place) {
                    return Err(Refused::new(Refusal::Quota, "rows of more days than a node has"));
                }
                usage.days.insert(place);
            }
            Ok(())
        })
    }

    /// Takes an epoch of which nothing is stored yet.
    pub(crate) fn take_epoch(&self, node: &str, epoch: u32, now: (Instant, i64)) -> Result<(), Refused> {
        self.with(node, now, |usage, _| {
            if usage.epochs.len() >= EPOCHS_A_DAY && !usage.epochs.contains(&epoch) {
                return Err(Refused::new(Refusal::Quota, "more new epochs in a day than a node may have"));
            }
            usage.epochs.insert(epoch);
            Ok(())
        })
    }

    fn with<T>(
        &self,
        node: &str,
        (now, millis): (Instant, i64),
        take: impl FnOnce(&mut Usage, &Limits) -> T,
    ) -> T {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let most = self.limits.rows_per_minute as f64;
        let day = millis.div_euclid(DAY_MILLIS);
        if !nodes.contains_key(node) {
            let (days, epochs) = (BTreeSet::new(), BTreeSet::new());
            let usage = Usage { rows: most, filled: now, day, bytes: 0, vocabularies: 0, days, epochs };
            nodes.insert(node.to_owned(), usage);
        }
        let usage = nodes.get_mut(node).expect("it was put there if it was missing");
        let passed = now.saturating_duration_since(usage.filled).as_secs_f64();
        usage.rows = (usage.rows + passed / MINUTE_SECS * most).min(most);
        usage.filled = usage.filled.max(now);
        if usage.day != day {
            (usage.day, usage.bytes, usage.vocabularies) = (day, 0, 0);
            usage.days.clear();
            usage.epochs.clear();
        }
        take(usage, &self.limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_node_has_its_own_minute_and_day() {
        let limits = Limits { rows_per_minute: 60, bytes_per_day: 1000, new_vocabularies_per_day: 1 };
        let quotas = Quotas::new(limits);
        let start = Instant::now();
        let after = |secs: u64| (start + Duration::from_secs(secs), secs as i64 * 1000);
        assert!(quotas.take("a", 60, 10, after(0)).is_ok());
        assert_eq!(quotas.take("a", 1, 10, after(0)).unwrap_err().refusal, Refusal::Quota);
        assert!(quotas.take("b", 60, 10, after(0)).is_ok());
        assert!(quotas.take("a", 10, 10, after(10)).is_ok());
        assert!(quotas.take("a", 1, 10, after(10)).is_err());
        assert!(quotas.take("a", 1, 981, after(100)).is_err());
        assert!(quotas.take_vocabulary("a", after(100)).is_ok());
        assert!(quotas.take_vocabulary("a", after(101)).is_err());
        let many: Vec<i64> = (0..400).collect();
        assert!(quotas.take_days("a", "agg.v1", many.clone(), after(102)).is_ok());
        assert!(quotas.take_days("a", "agg.v1", many, after(103)).is_ok(), "the same ones");
        assert!(quotas.take_days("b", "agg.v1", vec![500], after(103)).is_ok(), "another node");
        let more = quotas.take_days("a", "health.v1", vec![0], after(104));
        assert_eq!(more.unwrap_err().refusal, Refusal::Quota, "another table");
        assert!((0..64).all(|epoch| quotas.take_epoch("a", epoch, after(105)).is_ok()));
        assert!(quotas.take_epoch("a", 63, after(105)).is_ok() && quotas.take_epoch("a", 64, after(105)).is_err());
        let day = 24 * 60 * 60;
        assert!(quotas.take_epoch("a", 64, after(day)).is_ok());
        assert!(quotas.take_days("a", "agg.v1", vec![500], after(day)).is_ok());
        assert!(quotas.take("a", 1, 1000, after(day)).is_ok());
        assert!(quotas.take_vocabulary("a", after(day)).is_ok());
    }
}
