//! How segments go: the oldest for room, the old by the clock, and those that the gateway has.
//!
//! One always stays to say where the row numbers continue; where all of them go, an empty one is begun first.

use kerbside_core::time::WallTime;
use kerbside_release::Table;

use crate::disk;
use crate::error::SpoolError;
use crate::shared::{Known, Shared, index};
use crate::stream::{Closed, Stream};

impl Stream {
    /// Removes the oldest closed segment. `None` when the only segment left is the one that remembers
    /// where the numbers continue.
    pub(crate) fn drop_oldest(&mut self) -> Option<Result<Closed, SpoolError>> {
        if self.closed.len() < if self.active.is_some() { 1 } else { 2 } {
            return None;
        }
        self.drop_at(0)
    }

    /// Removes a closed segment that is not needed to know where the numbers continue.
    fn drop_at(&mut self, place: usize) -> Option<Result<Closed, SpoolError>> {
        let closed = self.closed.remove(place)?;
        if let Err(source) = disk::remove(&closed.known.path)
            && source.kind() != std::io::ErrorKind::NotFound
        {
            let path = closed.known.path.to_path_buf();
            self.closed.insert(place, closed);
            return Some(Err(SpoolError::Io { action: "removed", path, source }));
        }
        self.folder_changed = true;
        self.closed_changed = true;
        Some(Ok(closed))
    }

    /// Removes every closed segment whose newest rows are of before `limit`, and gives up such rows that never got to
    /// the disk. How many rows that were that the gateway had not confirmed; they are counted as dropped.
    pub(crate) fn expire(&mut self, limit: WallTime, now: WallTime, shared: &Shared) -> Result<u64, SpoolError> {
        let (mut rows, table) = (0, self.table);
        while self.written == 0 && self.pending.front().is_some_and(|pending| pending.at < limit) {
            rows += self.pending.pop_front().map_or(0, |pending| u64::from(pending.rows));
        }
        let is_old = |closed: &Closed| closed.newest.is_some_and(|newest| newest < limit);
        let removed = self.remove_where(is_old, now, |closed| rows += unconfirmed_rows(shared, table, closed));
        self.dropped_rows += rows;
        removed?;
        if rows > 0 {
            self.sync_folder()?;
        }
        Ok(rows)
    }

    /// Removes every closed segment all of whose rows the gateway has.
    pub(crate) fn remove_confirmed(&mut self, shared: &Shared) -> Result<(), SpoolError> {
        let confirmed: Vec<u64> = {
            let view = &shared.views()[index(self.table)];
            let is_confirmed = |known: &&Known| view.is_confirmed(known.epoch, known.first_seq, known.next_seq);
            self.closed.iter().map(|closed| &closed.known).filter(is_confirmed).map(|known| known.id).collect()
        };
        if confirmed.is_empty() {
            return Ok(());
        }
        // A segment that must be begun has the age of the rows before it.
        let now = self.closed.iter().filter_map(|closed| closed.newest).max().unwrap_or(WallTime::UNIX_EPOCH);
        self.remove_where(|closed| confirmed.contains(&closed.known.id), now, |_| ())
    }

    /// Removes closed segments. Where none would be left to say where the numbers continue, one is begun first, or, as
    /// long as rows wait that will begin one, the last stays.
    fn remove_where(
        &mut self,
        goes: impl Fn(&Closed) -> bool,
        now: WallTime,
        mut gone: impl FnMut(&Closed),
    ) -> Result<(), SpoolError> {
        let mut place = 0;
        while let Some(closed) = self.closed.get(place) {
            if !goes(closed) {
                place += 1;
                continue;
            }
            if self.active.is_none() && place + 1 == self.closed.len() {
                if !self.pending.is_empty() {
                    break;
                }
                self.begin(now)?;
            }
            if let Some(dropped) = self.drop_at(place) {
                gone(&dropped?);
            }
        }
        Ok(())
    }
}

/// Rows of a segment that the gateway has not confirmed.
pub(crate) fn unconfirmed_rows(shared: &Shared, table: Table, closed: &Closed) -> u64 {
    let Known { epoch, first_seq, next_seq, rows, .. } = closed.known;
    if closed.foreign || next_seq <= first_seq {
        return rows;
    }
    let (numbers, _) = shared.views()[index(table)].unconfirmed(epoch, first_seq, next_seq);
    numbers.min(rows)
}
