//! What keeps the promise about numbers: noise, budgets, and names of tracks that are forgotten.

use std::collections::BTreeSet;

use kerbside_core::observation::TrackId;
use kerbside_core::time::WallTime;

use crate::ledger::{Account, CameraUid, Debit, Ledger, Verdict};
use crate::noise::Noise;
use crate::passages::Names;
use crate::pseudonym::Pseudonyms;

/// What keeps the promise about numbers.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) noise: Noise,
    pub(crate) ledger: Box<dyn Ledger>,
    pub(crate) pseudonyms: Pseudonyms,
}

impl Keeper {
    pub(crate) fn names(&self, camera: usize, track: TrackId) -> Names {
        let Self { pseudonyms, .. } = self;
        Names { now: pseudonyms.current(camera, track), before: pseudonyms.previous(camera, track) }
    }
}

/// Which accounts may release the bin that begins at the moment, and how many may not.
pub(crate) fn ask(ledger: &mut dyn Ledger, debits: &[Debit]) -> (BTreeSet<(CameraUid, Account, WallTime)>, u64) {
    if debits.is_empty() {
        return (BTreeSet::new(), 0);
    }
    let verdicts = ledger.debit(debits);
    let granted: BTreeSet<_> = debits
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| **verdict == Verdict::Granted)
        .map(|(debit, _)| (debit.camera, debit.account, debit.from))
        .collect();
    let refused = debits.len() - granted.len();
    (granted, refused as u64)
}
