//! What gives way when the spool or the disk is full.
//!
//! In this order, one step at a time, until there is room: what the gateway has anyway; the oldest `health`; old `agg`
//! summed up to hours ([`kerbside_release::coarsen()`]); the oldest `agg`; the oldest `incident`. What goes is counted.

use std::io;

use kerbside_release::Table;

use crate::coarse::{MOST_BYTES, Outcome, coarsen_oldest};
use crate::error::SpoolError;
use crate::removal::unconfirmed_rows;
use crate::shared::index;
use crate::spool::Spool;
use crate::stream::Stream;

/// What is done for room, in this order.
const STEPS: [Step; 5] = [
    Step::RemoveConfirmed,
    Step::Drop(Table::Health),
    Step::Coarsen,
    Step::Drop(Table::Agg),
    Step::Drop(Table::Incident),
];

/// The least that is worth summing up by itself, in bytes of segments.
const LEAST_BYTES: u64 = 32 << 10;

#[derive(Clone, Copy)]
enum Step {
    RemoveConfirmed,
    Coarsen,
    Drop(Table),
}

impl Spool {
    /// Does it again after something gave way, for as long as the disk is full and anything does.
    pub(crate) fn with_room(
        &mut self,
        place: usize,
        mut act: impl FnMut(&mut Stream) -> Result<(), SpoolError>,
    ) -> Result<(), SpoolError> {
        loop {
            match act(&mut self.streams[place]) {
                Err(error) if is_full(&error) && self.give_way()? => {}
                result => return result,
            }
        }
    }

    /// Keeps the spool within its size.
    pub(crate) fn make_room(&mut self) -> Result<(), SpoolError> {
        while self.occupied() > self.settings.max_bytes && self.give_way()? {}
        Ok(())
    }

    fn occupied(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes() + stream.unsynced_bytes() as u64).sum()
    }

    /// Takes the first step that makes any room. Whether there was one.
    fn give_way(&mut self) -> Result<bool, SpoolError> {
        for step in STEPS {
            let before = self.occupied();
            match step {
                Step::RemoveConfirmed => {
                    self.streams.iter_mut().try_for_each(|stream| stream.remove_confirmed(&self.shared))?;
                }
                Step::Coarsen => self.coarsen()?,
                Step::Drop(table) => {
                    let stream = &mut self.streams[index(table)];
                    if let Some(dropped) = stream.drop_oldest() {
                        stream.dropped_rows += unconfirmed_rows(&self.shared, table, &dropped?);
                        return Ok(true);
                    }
                }
            }
            if self.occupied() < before {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sums up old counts. On a disk that is full to the last byte the sum itself has no room: then fewer segments are
    /// taken at a time, and at last the oldest one is given up for the others.
    fn coarsen(&mut self) -> Result<(), SpoolError> {
        let stream = &mut self.streams[index(Table::Agg)];
        let mut has_given = false;
        let mut most_bytes = MOST_BYTES;
        while coarsen_oldest(stream, &self.shared, most_bytes)? == Outcome::NoRoom {
            if most_bytes > LEAST_BYTES {
                most_bytes /= 4;
                continue;
            }
            if has_given {
                break;
            }
            let Some(dropped) = stream.drop_oldest() else { break };
            stream.dropped_rows += unconfirmed_rows(&self.shared, Table::Agg, &dropped?);
            has_given = true;
            most_bytes = MOST_BYTES;
        }
        Ok(())
    }
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &SpoolError) -> bool {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    matches!(error, SpoolError::Io { source, .. } if kinds.contains(&source.kind()))
}
