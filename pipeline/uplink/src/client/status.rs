//! How the uplink is, for whoever shows it. Only the uplink writes, anyone reads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use kerbside_release::Table;

use crate::wire::Refusal;

/// Counters since the start, and the state of now.
#[derive(Debug, Default)]
pub struct UplinkStatus {
    connected: AtomicBool,
    connections: AtomicU64,
    failures: AtomicU64,
    stored_rows: [AtomicU64; Table::ALL.len()],
    refused_rows: [AtomicU64; Refusal::ALL.len()],
    lost_rows: AtomicU64,
    wrong_answers: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    /// Seconds since 1970; 0 while it is not known.
    certificate_expires: AtomicI64,
    trouble: Mutex<Option<String>>,
}

impl UplinkStatus {
    /// Whether the gateway has answered on the connection that is open now.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Connections on which the gateway has answered.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that could not be made, were lost, or were refused.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Rows of that table that the gateway has stored.
    pub fn stored_rows(&self, table: Table) -> u64 {
        self.stored_rows[table as usize].load(Ordering::Relaxed)
    }

    /// Rows that the gateway refused for that reason, each time it did.
    pub fn refused_rows(&self, refusal: Refusal) -> u64 {
        place(refusal).map_or(0, |place| self.refused_rows[place].load(Ordering::Relaxed))
    }

    /// Rows of which the gateway was told that they will never come.
    pub fn lost_rows(&self) -> u64 {
        self.lost_rows.load(Ordering::Relaxed)
    }

    /// Answers that fit nothing that was sent; they change nothing.
    pub fn wrong_answers(&self) -> u64 {
        self.wrong_answers.load(Ordering::Relaxed)
    }

    /// Bytes that went to the gateway's socket, encryption and protocol included.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that came from it.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// When the node's own certificate expires, in seconds since 1970, if that is known.
    pub fn certificate_expires(&self) -> Option<i64> {
        Some(self.certificate_expires.load(Ordering::Relaxed)).filter(|seconds| *seconds != 0)
    }

    /// What is wrong now, in words; `None` while all is well.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().expect("no holder of the words panics").clone()
    }

    pub(super) fn answered(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connected.store(true, Ordering::Release);
        self.set_trouble(None);
    }

    pub(super) fn ended(&self) {
        self.connected.store(false, Ordering::Release);
    }

    pub(super) fn failed(&self, words: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.set_trouble(Some(words));
    }

    pub(super) fn stored(&self, table: Table, rows: u64) {
        self.stored_rows[table as usize].fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, refusal: Refusal, rows: u64) {
        if let Some(place) = place(refusal) {
            self.refused_rows[place].fetch_add(rows, Ordering::Relaxed);
        }
    }

    pub(super) fn lost(&self, rows: u64) {
        self.lost_rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn wrong_answer(&self) {
        self.wrong_answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn expires(&self, seconds: i64) {
        self.certificate_expires.store(seconds, Ordering::Relaxed);
    }

    fn set_trouble(&self, words: Option<String>) {
        *self.trouble.lock().expect("no holder of the words panics") = words;
    }
}

fn place(refusal: Refusal) -> Option<usize> {
    Refusal::ALL.iter().position(|one| *one == refusal)
}
