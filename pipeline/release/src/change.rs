//! Another configuration while the stage works: cameras that are added, changed or removed.
//!
//! A camera that is as it was goes on within its open bins, with its budgets, its pseudonyms and its open incidents. One
//! that is removed or changed ends as with [`Release::finish`]: its open bins leave with a coverage below 1. One that is
//! new begins as with [`Release::new`]; where it is a changed one, the ledger holds its numbers with noise back until the
//! bin is over in which it was changed, since part of it has left.

use std::collections::BTreeSet;

use kerbside_core::time::WallTime;

use crate::camera::Camera;
use crate::error::ReleaseError;
use crate::plan::{CameraPlan, NodeIdentity, Seat};
use crate::release::{Release, Schemas};
use crate::sealed::ReleasedBatch;
use crate::vocabulary::Vocabulary;

impl Release {
    /// Whether [`Release::change`] would take these plans.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(
        identity: &NodeIdentity,
        plans: &[CameraPlan],
        is_demonstration: bool,
    ) -> Result<(), ReleaseError> {
        Schemas::of(&Vocabulary::new(identity, plans)?)?;
        plans.iter().try_for_each(|plan| Camera::new(plan, WallTime::UNIX_EPOCH, is_demonstration).map(|_| ()))
    }

    /// Goes on with these cameras, in this order. Rows until now are those of the configuration before; they are appended
    /// to `out`. [`Release::closed_bins`] should have been asked before: what it has to tell of cameras that end is lost.
    ///
    /// # Errors
    /// A plan is wrong, which [`Release::check`] tells beforehand; or there are no random numbers or no locked memory for
    /// new keys. Nothing has changed then. Or a bin could not be closed, and the stage cannot go on.
    pub fn change(
        &mut self,
        config_revision: u32,
        plans: Vec<(CameraPlan, Seat)>,
        now: WallTime,
        out: &mut Vec<ReleasedBatch>,
    ) -> Result<(), ReleaseError> {
        let identity = NodeIdentity { config_revision, ..self.identity.clone() };
        let (only_plans, seats): (Vec<CameraPlan>, Vec<Seat>) = plans.iter().cloned().unzip();
        let words = Vocabulary::new(&identity, &only_plans)?;
        let schemas = Schemas::of(&words)?;
        let kept: Vec<Option<usize>> = seats.iter().map(|seat| seat.kept()).collect();
        let pseudonyms = self.keeper.as_ref().map(|keeper| keeper.pseudonyms.rearranged(&kept)).transpose()?;
        let is_demonstration = self.keeper.is_none();
        let fresh = |(plan, place): (&CameraPlan, &Option<usize>)| match place {
            Some(_) => Ok(None),
            None => Camera::new(plan, now, is_demonstration).map(Some),
        };
        let fresh = only_plans.iter().zip(&kept).map(fresh).collect::<Result<Vec<_>, _>>()?;

        let stay: BTreeSet<usize> = kept.iter().flatten().copied().collect();
        self.end(now, |place| !stay.contains(&place), out)?;

        let mut before: Vec<Option<Camera>> = self.cameras.drain(..).map(Some).collect();
        for (fresh, place) in fresh.into_iter().zip(&kept) {
            let had = place.and_then(|place| before.get_mut(place)).and_then(Option::take);
            self.cameras.push(had.or(fresh).expect("a camera goes on or is new"));
        }
        self.closed.retain_mut(|bin| {
            let place = kept.iter().position(|place| *place == Some(bin.camera));
            bin.camera = place.unwrap_or_default();
            place.is_some()
        });
        self.numbers.rearrange(&plans, now.as_unix_nanos());
        if let Some((keeper, pseudonyms)) = self.keeper.as_mut().zip(pseudonyms) {
            keeper.pseudonyms = pseudonyms;
        }
        (self.identity, self.words, self.schemas) = (identity, words, schemas);
        Ok(())
    }

    /// Emits what the cameras at these places still have, their open bins included, and what waits of all others.
    fn end(
        &mut self,
        now: WallTime,
        is_over: impl Fn(usize) -> bool,
        out: &mut Vec<ReleasedBatch>,
    ) -> Result<(), ReleaseError> {
        for (_, camera) in self.cameras.iter_mut().enumerate().filter(|(place, _)| is_over(*place)) {
            for counters in &mut camera.counters {
                counters.series.due = counters.series.last_end(now.as_unix_nanos());
            }
        }
        self.end_alerts(now, is_over);
        // The words that wait are those of the vocabulary before.
        self.emit_incidents(out)?;
        self.close_due(out)
    }
}
