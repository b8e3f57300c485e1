//! The accounts themselves, and a ledger that keeps them in memory alone.

use std::collections::BTreeMap;

use kerbside_core::time::WallTime;

use super::{Account, CameraUid, Debit, Ledger, Verdict};

/// How far an account has been debited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Balance {
    /// The stretch that was debited last.
    pub(super) from: WallTime,
    /// Where it ends: nothing that begins before this is granted, except the same stretch again.
    pub(super) to: WallTime,
    /// How often that stretch was debited.
    pub(super) times: u32,
}

/// All accounts of all cameras.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    pub(super) list: BTreeMap<(CameraUid, Account), Balance>,
    /// Nothing that begins before this is granted, whatever the account.
    pub(super) spent_before: WallTime,
}

impl Accounts {
    pub(super) fn would_grant(&self, debit: &Debit) -> bool {
        let Debit { camera, account, from, to, most } = *debit;
        from < to
            && from >= self.spent_before
            && self
                .list
                .get(&(camera, account))
                .is_none_or(|last| from >= last.to || (from == last.from && to == last.to && last.times < most))
            && most > 0
    }

    pub(super) fn debit(&mut self, debit: &Debit) -> Verdict {
        if !self.would_grant(debit) {
            return Verdict::Spent;
        }
        let Debit { camera, account, from, to, .. } = *debit;
        let balance = self.list.entry((camera, account)).or_insert(Balance { from, to, times: 0 });
        if balance.from == from && balance.to == to {
            balance.times += 1;
        } else {
            *balance = Balance { from, to, times: 1 };
        }
        Verdict::Granted
    }

    /// Forgets accounts that say no more than [`Accounts::spent_before`] does, and where there are more than `most` the
    /// ones that ended first, for which that moves forward instead. Nothing becomes free by it.
    pub(super) fn fold(&mut self, most: usize) {
        if self.list.len() > most {
            let mut ends: Vec<WallTime> = self.list.values().map(|balance| balance.to).collect();
            ends.sort_unstable();
            self.spent_before = self.spent_before.max(ends[ends.len() - most - 1]);
        }
        let spent_before = self.spent_before;
        self.list.retain(|_, balance| balance.to > spent_before);
    }
}

/// A ledger that ends with its process: for a clip, which has no life beyond its replay, and for tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    accounts: Accounts,
}

impl MemoryLedger {
    /// A ledger in which nothing is debited.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Ledger for MemoryLedger {
    fn debit(&mut self, debits: &[Debit]) -> Vec<Verdict> {
        debits.iter().map(|debit| self.accounts.debit(debit)).collect()
    }

    fn would_grant(&self, debit: &Debit) -> bool {
        self.accounts.would_grant(debit)
    }
}
