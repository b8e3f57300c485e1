//! What the gateway says of what is on its way, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use kerbside_release::Table;
use tokio::time::Instant;
use tracing::warn;

use super::{Sent, Session};
use crate::client::UplinkError;
use crate::client::held::Subject;
use crate::client::lane::{Kind, Load, What};
use crate::client::put::{Answer, Broken};
use crate::ranges::RangeSet;
use crate::wire::{Ack, Refusal};

/// How long something that was refused waits for its next try.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

impl Session<'_> {
    pub(super) fn take(&mut self, answer: Answer) -> Result<(), UplinkError> {
        let place = usize::try_from(answer.put).unwrap_or(usize::MAX);
        let Some((table, epoch, opening)) = self.puts.get(place) else { return Err(UplinkError::Answer) };
        let (table, epoch, opening) = (*table, *epoch, Arc::clone(opening));
        match answer.said {
            Ok(ack) => {
                self.acknowledged(table, epoch, ack);
                Ok(())
            }
            Err(Broken::Ended) => {
                if self.on_its_way.values().any(|sent| sent.put == answer.put) {
                    return Err(UplinkError::Lost("a stream ended before its answers came".to_owned()));
                }
                // The next rows begin another.
                for lane in &mut self.lanes {
                    lane.put.take_if(|put| put.number == answer.put);
                }
                Ok(())
            }
            Err(Broken::Unreadable) => {
                self.memory.status.wrong_answer();
                Err(UplinkError::Answer)
            }
            Err(Broken::Status(status)) => {
                let error = UplinkError::from_status(status);
                if let Some(refusal) = error.refusal()
                    && !matches!(
                        refusal,
                        Refusal::Quota | Refusal::IdentityConflict | Refusal::Role | Refusal::Replay
                    )
                {
                    let of_stream = self.on_its_way.values().filter(|sent| sent.put == answer.put);
                    let rows = of_stream.map(|sent| sent.load.rows()).sum();
                    self.memory.status.refused(refusal, rows);
                    let subject = Subject::Opening(table, opening.id);
                    if self.memory.held.refused(subject, std::time::Instant::now()) {
                        warn!(%table, epoch, reason = refusal.name(), "the gateway does not take this table's rows as they are; they wait in the spool");
                    }
                }
                Err(error)
            }
        }
    }

    fn acknowledged(&mut self, table: Table, epoch: u32, ack: Ack) {
        let reach = self.reach.get(&(table, epoch)).copied();
        let is_sane = ack.epoch == epoch
            && ack.first_seq <= ack.last_seq
            && reach.is_some_and(|reach| ack.last_seq <= reach && ack.next_seq <= reach.saturating_add(1));
        let Some(refusal) = Refusal::try_from(ack.refusal).ok().filter(|_| is_sane) else {
            self.memory.status.wrong_answer();
            return;
        };
        let from = ack.first_seq.min(if refusal == Refusal::None { 0 } else { ack.first_seq });
        let meant: Vec<u64> = self
            .on_its_way
            .range((table, epoch, from)..=(table, epoch, ack.last_seq.max(ack.next_seq)))
            .filter(|(_, sent)| {
                let Load { first_seq, last_seq, .. } = sent.load;
                let is_named = first_seq >= ack.first_seq && last_seq <= ack.last_seq;
                is_named || (refusal == Refusal::None && last_seq < ack.next_seq)
            })
            .map(|((_, _, first), _)| *first)
            .collect();
        let knows = |set: &RangeSet| set.contains(ack.first_seq, ack.last_seq);
        if meant.is_empty() && !self.stored.get(&(table, epoch)).is_some_and(knows) {
            self.memory.status.wrong_answer();
            return;
        }
        self.heard_at = Instant::now();
        for first in meant {
            let Some(sent) = self.on_its_way.remove(&(table, epoch, first)) else { continue };
            self.settle(&sent);
            if refusal == Refusal::None {
                self.stored(table, &sent.load);
            } else {
                self.refused(table, refusal, sent);
            }
        }
    }

    fn stored(&mut self, table: Table, load: &Load) {
        let Load { epoch, first_seq, last_seq, .. } = *load;
        self.was_useful = true;
        self.stored.entry((table, epoch)).or_default().insert(first_seq, last_seq);
        self.memory.feed.confirm(table, epoch, first_seq, last_seq);
        self.memory.held.taken(Subject::Batch(table, epoch, first_seq));
        match &load.what {
            What::Rows { opening, .. } => {
                self.memory.held.taken(Subject::Opening(table, opening.id));
                self.memory.status.stored(table, load.rows());
            }
            What::Gap(reason) => {
                let rows = last_seq - first_seq + 1;
                self.memory.status.lost(rows);
                warn!(%table, epoch, first_seq, last_seq, reason = reason.name(), "the gateway was told that rows will never come");
            }
        }
    }

    fn refused(&mut self, table: Table, refusal: Refusal, sent: Sent) {
        let Load { epoch, first_seq, .. } = sent.load;
        self.memory.status.refused(refusal, sent.load.rows());
        let subject = Subject::Batch(table, epoch, first_seq);
        if self.memory.held.refused(subject, std::time::Instant::now()) {
            warn!(%table, epoch, first_seq, reason = refusal.name(), "the gateway does not take these rows; they wait in the spool");
        } else {
            self.retries.push_back((Instant::now() + RETRY_PAUSE, sent.lane, sent.load));
        }
    }

    /// Something is no longer on its way.
    fn settle(&mut self, sent: &Sent) {
        let now = Instant::now();
        let kind = self.lanes[sent.lane].kind;
        let flow = self.flow(kind);
        flow.bytes -= sent.load.bytes();
        flow.loads -= 1;
        match kind {
            // Once for all that was on its way together.
            Kind::Live if sent.at >= flow.since => {
                flow.window.answered(now - sent.at, flow.was_full);
                flow.since = now;
            }
            Kind::Live => {}
            Kind::Backlog if flow.loads == 0 => {
                let took = now - flow.since;
                flow.window.answered(took, flow.was_full);
                self.backlog_rests_until = now + took;
            }
            Kind::Backlog => {}
        }
    }
}
