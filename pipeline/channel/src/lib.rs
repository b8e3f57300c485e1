//! Edges between stages: bounded, named, with a stated policy for when they are full, and counted.
//!
//! The only user of `crossbeam-channel`. An edge ends when all its senders or all its receivers are gone:
//! closing is dropping. Threads: any number of senders and receivers on any thread.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel as channel;
use kerbside_telemetry::{EdgeMetrics, Telemetry};
use thiserror::Error;

/// What a sender does when the edge is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Waits: nothing is lost, the source slows down.
    Block,
    /// Throws the oldest item away, counts it, and never waits: for live frames.
    DropOldest,
}

/// The other end is gone; the item comes back.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the receiving stage has ended")]
pub struct Closed<T>(pub T);

/// Why nothing was received.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Empty {
    /// Nothing came in time.
    #[error("nothing came in time")]
    Timeout,
    /// Every sender is gone and nothing is left.
    #[error("the sending stage has ended")]
    Closed,
}

/// Makes an edge of `capacity` items.
///
/// # Panics
/// When `capacity` is zero: an edge holds at least one item.
pub fn edge<T>(
    telemetry: &Telemetry,
    name: &str,
    capacity: usize,
    when_full: WhenFull,
) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "edge {name} has no room");
    let (sender, receiver) = channel::bounded(capacity);
    let metrics = EdgeMetrics::new(telemetry, name);
    let readers = Arc::new(AtomicUsize::new(1));
    let oldest = match when_full {
        WhenFull::Block => None,
        WhenFull::DropOldest => Some(receiver.clone()),
    };
    (
        Sender { sender, oldest, readers: Arc::clone(&readers), metrics: metrics.clone() },
        Receiver { receiver, readers, metrics },
    )
}

/// The way back for one answer to one question. It is not measured: it holds one item at most, for someone
/// who is waiting for it. When the question is lost, so is its [`Reply`], and the wait ends.
pub fn reply<T>() -> (Reply<T>, Awaited<T>) {
    let (sender, receiver) = channel::bounded(1);
    (Reply(sender), Awaited(receiver))
}

/// Where the answer goes in.
pub struct Reply<T>(channel::Sender<T>);

impl<T> Reply<T> {
    /// Gives the answer. Whoever asked may be gone; then nobody misses it.
    pub fn give(self, answer: T) {
        let _ = self.0.send(answer);
    }
}

/// Where the answer comes out.
pub struct Awaited<T>(channel::Receiver<T>);

impl<T> Awaited<T> {
    /// Waits for at most `limit`.
    pub fn wait_within(&self, limit: Duration) -> Result<T, Empty> {
        self.0.recv_timeout(limit).map_err(|error| match error {
            channel::RecvTimeoutError::Timeout => Empty::Timeout,
            channel::RecvTimeoutError::Disconnected => Empty::Closed,
        })
    }

    /// Waits for the answer. `None` when the question was lost.
    pub fn wait(self) -> Option<T> {
        self.0.recv().ok()
    }
}

/// The end that items go into.
pub struct Sender<T> {
    sender: channel::Sender<T>,
    /// Where the policy is [`WhenFull::DropOldest`], the way to the oldest item.
    oldest: Option<channel::Receiver<T>>,
    /// Receivers that are alive. The channel itself cannot tell, since `oldest` is one of its receivers.
    readers: Arc<AtomicUsize>,
    metrics: EdgeMetrics,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            oldest: self.oldest.clone(),
            readers: Arc::clone(&self.readers),
            metrics: self.metrics.clone(),
        }
    }
}

impl<T> Sender<T> {
    /// Puts an item in by the edge's policy. Gives back the item that had to make room, if one had to,
    /// so that the caller can count it with its own reason.
    pub fn send(&self, item: T) -> Result<Option<T>, Closed<T>> {
        let result = match &self.oldest {
            None => self.send_blocking(item).map(|()| None),
            Some(oldest) => self.send_newest(item, oldest),
        };
        self.metrics.depth.set(self.sender.len() as f64);
        result
    }

    fn send_blocking(&self, item: T) -> Result<(), Closed<T>> {
        let item = match self.sender.try_send(item) {
            Ok(()) => return Ok(()),
            Err(channel::TrySendError::Disconnected(item)) => return Err(Closed(item)),
            Err(channel::TrySendError::Full(item)) => item,
        };
        let since = Instant::now();
        let sent = self.sender.send(item);
        self.metrics.blocked.add_time(since.elapsed());
        sent.map_err(|error| Closed(error.into_inner()))
    }

    fn send_newest(&self, mut item: T, oldest: &channel::Receiver<T>) -> Result<Option<T>, Closed<T>> {
        let mut replaced = None;
        loop {
            if self.readers.load(Ordering::Acquire) == 0 {
                return Err(Closed(item));
            }
            match self.sender.try_send(item) {
                Ok(()) => return Ok(replaced),
                Err(channel::TrySendError::Disconnected(back)) => return Err(Closed(back)),
                Err(channel::TrySendError::Full(back)) => {
                    item = back;
                    if let Ok(old) = oldest.try_recv() {
                        self.metrics.dropped.increment();
                        replaced = Some(old);
                    }
                }
            }
        }
    }

    /// Throws away all that waits in an edge whose policy is [`WhenFull::DropOldest`]; how many items that were. For
    /// items that must not get old while their receiver hangs. An edge that blocks keeps all.
    pub fn discard(&self) -> usize {
        let gone = self.oldest.iter().flat_map(channel::Receiver::try_iter).count();
        self.metrics.depth.set(self.sender.len() as f64);
        gone
    }

    /// Whether anyone still listens.
    pub fn is_closed(&self) -> bool {
        self.readers.load(Ordering::Acquire) == 0
    }
}

/// The end that items come out of.
pub struct Receiver<T> {
    receiver: channel::Receiver<T>,
    readers: Arc<AtomicUsize>,
    metrics: EdgeMetrics,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.readers.fetch_add(1, Ordering::AcqRel);
        Self { receiver: self.receiver.clone(), readers: Arc::clone(&self.readers), metrics: self.metrics.clone() }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.readers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<T> Receiver<T> {
    /// The next item; waits for it. `None` when the edge has ended and is empty.
    pub fn receive(&self) -> Option<T> {
        let item = self.receiver.recv().ok();
        self.metrics.depth.set(self.receiver.len() as f64);
        item
    }

    /// The next item; waits no longer than `limit`.
    pub fn receive_within(&self, limit: Duration) -> Result<T, Empty> {
        let item = self.receiver.recv_timeout(limit).map_err(|error| match error {
            channel::RecvTimeoutError::Timeout => Empty::Timeout,
            channel::RecvTimeoutError::Disconnected => Empty::Closed,
        });
        self.metrics.depth.set(self.receiver.len() as f64);
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_newest_wins_edge_gives_the_oldest_back_and_counts_it() {
        let telemetry = Telemetry::new();
        let (sender, receiver) = edge(&telemetry, "slot", 1, WhenFull::DropOldest);
        assert_eq!(sender.send(1), Ok(None));
        assert_eq!(sender.send(2), Ok(Some(1)));
        assert_eq!(receiver.receive(), Some(2));
        assert!(telemetry.render().contains(r#"kerbside_queue_dropped_items_total{edge="slot"} 1"#));
    }

    #[test]
    fn what_waits_in_a_newest_wins_edge_can_be_thrown_away() {
        let telemetry = Telemetry::new();
        let (sender, receiver) = edge(&telemetry, "slot", 2, WhenFull::DropOldest);
        (1..=2).for_each(|item| assert_eq!(sender.send(item), Ok(None)));
        assert_eq!((sender.discard(), sender.discard()), (2, 0));
        assert_eq!(sender.send(3), Ok(None));
        assert_eq!(receiver.receive(), Some(3));
        let (sender, receiver) = edge(&telemetry, "findings", 2, WhenFull::Block);
        assert_eq!(sender.send(1), Ok(None));
        assert_eq!(sender.discard(), 0);
        assert_eq!(receiver.receive(), Some(1));
    }

    #[test]
    fn a_newest_wins_edge_notices_that_its_receivers_are_gone() {
        let telemetry = Telemetry::new();
        let (sender, receiver) = edge(&telemetry, "slot", 1, WhenFull::DropOldest);
        let second = receiver.clone();
        drop(receiver);
        assert_eq!(sender.send(1), Ok(None));
        drop(second);
        assert_eq!(sender.send(2), Err(Closed(2)));
        assert!(sender.is_closed());
    }

    #[test]
    fn a_blocking_edge_loses_nothing_and_ends_when_its_sender_is_gone() {
        let telemetry = Telemetry::new();
        let (sender, receiver) = edge(&telemetry, "findings", 2, WhenFull::Block);
        let worker = std::thread::spawn(move || {
            for item in 0..1000 {
                assert_eq!(sender.send(item), Ok(None));
            }
        });
        let received: Vec<i32> = std::iter::from_fn(|| receiver.receive()).collect();
        worker.join().unwrap();
        assert_eq!(received, (0..1000).collect::<Vec<_>>());
        assert_eq!(receiver.receive_within(Duration::ZERO), Err(Empty::Closed));
    }

    #[test]
    fn an_answer_comes_back_and_a_lost_question_ends_the_wait() {
        let (reply, answer) = super::reply();
        reply.give(7);
        assert_eq!(answer.wait(), Some(7));
        let (lost, answer) = super::reply::<u8>();
        drop(lost);
        assert_eq!(answer.wait(), None);
    }

    #[test]
    fn waiting_for_nothing_ends_in_time() {
        let telemetry = Telemetry::new();
        let (_sender, receiver) = edge::<u8>(&telemetry, "findings", 1, WhenFull::Block);
        assert_eq!(receiver.receive_within(Duration::from_millis(1)), Err(Empty::Timeout));
    }
}
