//! A table's rows on their way to the gateway.
//!
//! Each table has two lanes: the live one begins with what became durable after the connection was made, the
//! backlog ends there. Where there is little to catch up with, the live lane begins with the oldest row and there
//! is no backlog.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use kerbside_release::Table;
use tokio::time::Instant;

use crate::error::ReadError;
use crate::feed::{Cursor, Place};
use crate::parcel::{Opening, Parcel};
use crate::wire::{Gap, GapReason};

use super::put::Put;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Live,
    Backlog,
}

/// Something to be sent.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) epoch: u32,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Rows { rows: u32, opening: Arc<Opening>, payload: Bytes },
    Gap(GapReason),
}

impl Load {
    /// What it costs of a window.
    pub(super) fn bytes(&self) -> usize {
        match &self.what {
            What::Rows { payload, .. } => payload.len(),
            What::Gap(_) => 0,
        }
    }

    /// The rows in it.
    pub(super) fn rows(&self) -> u64 {
        match &self.what {
            What::Rows { rows, .. } => u64::from(*rows),
            What::Gap(_) => 0,
        }
    }

    /// The message, where it is a gap.
    pub(super) fn gap(&self) -> Option<Gap> {
        let What::Gap(reason) = self.what else { return None };
        Some(Gap { first_seq: self.first_seq, last_seq: self.last_seq, reason: reason.into() })
    }
}

impl From<Parcel> for Load {
    fn from(parcel: Parcel) -> Self {
        match parcel {
            Parcel::Rows { epoch, first_seq, last_seq, rows, opening, payload } => {
                Self { epoch, first_seq, last_seq, what: What::Rows { rows, opening, payload } }
            }
            Parcel::Gap { epoch, first_seq, last_seq, reason } => {
                Self { epoch, first_seq, last_seq, what: What::Gap(reason) }
            }
        }
    }
}

/// One lane of one table.
pub(super) struct Lane {
    pub(super) table: Table,
    pub(super) kind: Kind,
    cursor: Cursor,
    /// Where it ends; `None` for one that goes on.
    end: Option<Place>,
    /// What comes before the cursor: what is to be sent once more, and what was put back.
    waiting: VecDeque<Load>,
    pub(super) put: Option<Put>,
    /// The last opening that was seen: a gap needs one to be told.
    pub(super) opening: Option<Arc<Opening>>,
    /// Gaps from before the first opening.
    pub(super) untold: Vec<Load>,
    /// Until then it is left alone.
    pub(super) blocked_until: Option<Instant>,
}

impl Lane {
    pub(super) fn new(table: Table, kind: Kind, cursor: Cursor, end: Option<Place>) -> Self {
        let (waiting, untold) = (VecDeque::new(), Vec::new());
        Self { table, kind, cursor, end, waiting, put: None, opening: None, untold, blocked_until: None }
    }

    /// The next thing to send; `None` when there is nothing now.
    pub(super) fn next(&mut self) -> Result<Option<Load>, ReadError> {
        if let Some(load) = self.waiting.pop_front() {
            return Ok(Some(load));
        }
        if self.is_over() {
            return Ok(None);
        }
        let Some(mut load) = self.cursor.next()?.map(Load::from) else { return Ok(None) };
        let Some(end) = self.end else { return Ok(Some(load)) };
        // The rest is the live lane's: rows lie on one side as a whole, a gap may reach over.
        if (Place { epoch: load.epoch, seq: load.first_seq }) >= end {
            self.end = Some(Place { epoch: 0, seq: 0 });
            return Ok(None);
        }
        if load.epoch == end.epoch && matches!(load.what, What::Gap(_)) {
            load.last_seq = load.last_seq.min(end.seq - 1);
        }
        Ok(Some(load))
    }

    /// Gives something back that could not be sent now: it is the next again.
    pub(super) fn put_back(&mut self, load: Load) {
        self.waiting.push_front(load);
    }

    /// Whether it is to be left alone now.
    pub(super) fn is_blocked(&self, now: Instant) -> bool {
        self.blocked_until.is_some_and(|until| now < until)
    }

    /// Whether nothing will come from it any more.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.end.is_some_and(|end| self.cursor.place() >= end)
    }
}
