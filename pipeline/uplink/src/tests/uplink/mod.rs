//! The uplink against a gateway that behaves badly: faults F39 to F42 as a node sees them.

mod fake;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use kerbside_core::time::WallTime;
use tokio::sync::watch;

use super::*;
use crate::Feed;
use crate::client::{Uplink, UplinkSettings, UplinkStatus};
use crate::disk::File;
use crate::enroll::{DevAuthority, Request};
use crate::format::FrameKind;
use crate::scan::{Scanner, Step};
use crate::tls::{Role, TlsFiles};
use crate::wire::{GapReason, Refusal};
use fake::{Fake, Trick};

/// Long enough for a loaded machine; nothing here measures speed.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Certificates, a gateway, and a node that sends to it.
struct Stage {
    folder: tempfile::TempDir,
    authority: DevAuthority,
    files: TlsFiles,
    fake: Fake,
    spool: Spool,
    node: Node,
    released: Vec<ReleasedBatch>,
}

struct Sending {
    status: Arc<UplinkStatus>,
    stop: watch::Sender<Option<tokio::time::Instant>>,
    thread: JoinHandle<()>,
}

fn issue(authority: &DevAuthority, role: Role, name: &str, out: &Path) -> TlsFiles {
    let now = WallTime::from(std::time::SystemTime::now());
    let addresses = if role == Role::Gateway { vec!["127.0.0.1".to_owned()] } else { Vec::new() };
    let (not_before, not_after) = (now - DAY, now + 30 * DAY);
    let request = Request { role, name: name.to_owned(), addresses, not_before, not_after };
    authority.write(&authority.issue(&request).unwrap(), out).unwrap()
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = WallTime::from(std::time::SystemTime::now());
        let authority = DevAuthority::create(&folder.path().join("authority"), now - DAY, now + 30 * DAY).unwrap();
        let certificates = folder.path().join("certificates");
        let of_gateway = issue(&authority, Role::Gateway, "gateway", &certificates);
        let files = issue(&authority, Role::Node, "cabinet", &certificates);
        let fake = Fake::start(&of_gateway);
        let spool = open(&folder.path().join("spool"));
        let node = Node::of(&spool);
        Self { folder, authority, files, fake, spool, node, released: Vec::new() }
    }

    fn send(&self) -> Sending {
        self.send_with(self.fake.address.port(), self.files.clone())
    }

    fn send_with(&self, port: u16, tls: TlsFiles) -> Sending {
        Self::run(self.uplink(port, tls))
    }

    fn uplink(&self, port: u16, tls: TlsFiles) -> Uplink {
        let spool = self.folder.path().join("spool");
        let settings = UplinkSettings { host: "127.0.0.1".to_owned(), port, tls, spool };
        Uplink::new(settings, self.spool.feed()).unwrap()
    }

    fn run(uplink: Uplink) -> Sending {
        let status = uplink.status();
        let (stop, asked) = watch::channel(None);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(uplink.run(asked));
        });
        Sending { status, stop, thread }
    }

    /// Releases so many batches of three rows and brings them to the disk.
    fn release(&mut self, batches: usize) {
        for _ in 0..batches {
            let batch = self.node.agg();
            self.spool.append(&batch, now()).unwrap();
            self.released.push(batch);
        }
        self.spool.sync().unwrap();
    }

    fn wait_for(&self, what: &str, status: &UplinkStatus, so: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !so(self) {
            assert!(since.elapsed() < PATIENCE, "{what}: {:?}", status.trouble());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until nothing waits, and compares what the gateway has with what was released.
    fn arrives(&self, sending: &Sending) {
        self.wait_for("all rows stored", &sending.status, |stage| stage.spool.feed().waiting().rows == 0);
        let mut stored = BTreeMap::new();
        for (table, epoch, rows, stream) in &self.fake.books().batches {
            let mut decoder = StreamDecoder::new();
            let mut bytes = Buffer::from_vec(stream.clone());
            let mut found = Vec::new();
            while let Some(batch) = decoder.decode(&mut bytes).unwrap() {
                found.extend(rows_of(*table, &batch));
            }
            assert_eq!(found.first().map(|row| (row.1, row.2)), Some((*epoch, rows.first_seq)));
            assert_eq!(found.last().map(|row| row.2), Some(rows.last_seq));
            for row in found {
                assert_eq!(stored.insert((row.0, row.1, row.2), row), None, "stored twice: {row:?}");
            }
        }
        let released = released_rows(&self.released);
        let expected: BTreeMap<_, _> = released.into_iter().map(|row| ((row.0, row.1, row.2), row)).collect();
        assert_eq!(stored, expected);
    }
}

impl Sending {
    fn stop(self) {
        self.stop.send(Some(tokio::time::Instant::now())).unwrap();
        self.thread.join().unwrap();
    }
}

#[test]
fn rows_arrive_once_and_what_is_new_follows() {
    let mut stage = Stage::new();
    stage.release(3);
    let health = stage.node.health();
    stage.spool.append(&health, now()).unwrap();
    stage.spool.sync().unwrap();
    stage.released.push(health);
    let sending = stage.send();
    stage.arrives(&sending);
    stage.release(4);
    stage.arrives(&sending);
    assert_eq!(sending.status.stored_rows(Table::Agg), 21);
    assert_eq!(sending.status.stored_rows(Table::Health), 1);
    assert!(sending.status.is_connected() && sending.status.trouble().is_none());
    assert!(sending.status.sent_bytes() > 1000 && sending.status.received_bytes() > 1000);
    sending.stop();
    assert_eq!(stage.fake.books().connections, 1);
}

#[test]
fn f_40_answers_that_are_lost_late_wrong_or_ahead_change_nothing_and_are_counted() {
    let mut stage = Stage::new();
    stage.fake.play([Trick::StoreSilently, Trick::StoreAndBabble, Trick::Store, Trick::StoreAndBabble]);
    let sending = stage.send();
    stage.wait_for("connected", &sending.status, |_| sending.status.is_connected());
    for _ in 0..6 {
        stage.release(1);
    }
    // The answer to the first batch never comes by itself; the next one is cumulative.
    stage.arrives(&sending);
    assert_eq!(sending.status.wrong_answers(), 10);
    sending.stop();
    assert_eq!(stage.fake.books().connections, 1);
}

#[test]
fn f_41_a_gateway_that_dies_between_commit_and_answer_stores_no_row_twice() {
    let mut stage = Stage::new();
    stage.fake.play([Trick::StoreAndDie, Trick::Die, Trick::Store, Trick::StoreAndDie]);
    stage.release(6);
    let sending = stage.send();
    stage.arrives(&sending);
    assert!(sending.status.connections() >= 4 && sending.status.failures() >= 3);
    sending.stop();
    let books = stage.fake.books();
    let tokens = &books.tokens;
    assert_eq!(tokens[0], 0);
    assert!(tokens.windows(2).all(|pair| pair[1] == pair[0] + 1000), "each time with the last token: {tokens:?}");
}

#[test]
fn f_41_a_gateway_that_is_full_is_left_alone_for_a_while() {
    let mut stage = Stage::new();
    stage.fake.play([Trick::Break(Refusal::Quota)]);
    stage.release(1);
    let sending = stage.send();
    stage.wait_for("refused", &sending.status, |_| sending.status.trouble().is_some());
    assert!(sending.status.trouble().unwrap().contains("quota"), "{:?}", sending.status.trouble());
    sending.stop();
    assert_eq!(stage.fake.books().connections, 1, "it is not asked again at once");
}

#[test]
fn f_41_a_batch_that_is_refused_is_held_back_and_the_others_go_on() {
    let mut stage = Stage::new();
    stage.fake.play([Trick::Store]);
    stage.release(1);
    let sending = stage.send();
    stage.arrives(&sending);
    stage.fake.play([Trick::Refuse(Refusal::Value)]);
    stage.release(1);
    stage.wait_for("a refusal", &sending.status, |_| sending.status.refused_rows(Refusal::Value) == 3);
    stage.release(2);
    stage.wait_for("the others", &sending.status, |_| sending.status.stored_rows(Table::Agg) == 9);
    // Its next try comes after a while, and is taken.
    stage.arrives(&sending);
    sending.stop();
}

#[test]
fn what_the_city_has_already_is_not_sent_and_what_is_gone_is_told() {
    let mut stage = Stage::new();
    stage.release(8);
    let epoch = stage.released[0].epoch();
    // Another connection brought the batches in the middle.
    let middle = (9, 14);
    stage.fake.books().stored.entry((Table::Agg, epoch)).or_default().insert(middle.0, middle.1);
    // The first one is lost: its bytes on the disk are damaged.
    let first = segments(&stage.folder.path().join("spool"), Table::Agg).remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[first_batch(&first) + 100] ^= 0xff;
    std::fs::write(&first, &bytes).unwrap();
    let sending = stage.send();
    stage.wait_for("all told", &sending.status, |stage| stage.spool.feed().waiting().rows == 0);
    let books = stage.fake.books();
    let sent: Vec<u64> = books.order.iter().map(|(_, first)| *first).collect();
    assert!(sent.iter().all(|first| !(middle.0..=middle.1).contains(first)), "{sent:?}");
    let told: u64 = books.gaps.iter().map(|(_, _, gap)| gap.last_seq - gap.first_seq + 1).sum();
    assert_eq!(told, 3, "one frame of three rows is damaged: {:?}", books.gaps);
    assert!(books.gaps.iter().all(|(_, _, gap)| gap.reason == i32::from(GapReason::Damaged)));
    drop(books);
    assert_eq!(sending.status.lost_rows(), 3);
    sending.stop();
}

#[test]
fn f_38_the_newest_rows_do_not_wait_for_a_backlog() {
    let mut stage = Stage::new();
    // More than a connection takes without a lane of its own.
    stage.release(700);
    let backlog = stage.spool.feed().waiting_of(Table::Agg);
    assert!(backlog.bytes > 256 << 10, "{backlog:?}");
    let sending = stage.send();
    stage.wait_for("connected", &sending.status, |stage| !stage.fake.books().order.is_empty());
    let before = stage.released.len();
    stage.release(5);
    stage.arrives(&sending);
    sending.stop();
    let books = stage.fake.books();
    let newest = 3 * before as u64;
    let came_at = books.order.iter().position(|(_, first)| *first == newest).unwrap();
    let last_of_backlog = books.order.iter().rposition(|(_, first)| *first < newest).unwrap();
    assert!(came_at < last_of_backlog, "row {newest} came at {came_at}, the backlog ended at {last_of_backlog}");
}

#[test]
fn f_42_the_wrong_peers_get_no_row_and_new_certificates_are_taken_up() {
    let mut stage = Stage::new();
    stage.release(2);
    // Somebody else's authority, and a node's certificate that poses as the gateway.
    let elsewhere = tempfile::tempdir().unwrap();
    let now = WallTime::from(std::time::SystemTime::now());
    let other = DevAuthority::create(&elsewhere.path().join("authority"), now - DAY, now + DAY).unwrap();
    let stranger = issue(&other, Role::Node, "cabinet", &elsewhere.path().join("out"));
    let sending = stage.send_with(stage.fake.address.port(), stranger);
    stage.wait_for("refused", &sending.status, |_| sending.status.failures() > 0);
    assert!(sending.status.trouble().unwrap().contains("secure"), "{:?}", sending.status.trouble());
    sending.stop();
    assert_eq!(stage.fake.books().connections, 0);

    // Missing certificates keep nobody from counting; once they are there, rows go.
    let late = TlsFiles { certificate: stage.folder.path().join("late.pem"), ..stage.files.clone() };
    let sending = stage.send_with(stage.fake.address.port(), late.clone());
    stage.wait_for("missing", &sending.status, |_| sending.status.failures() > 0);
    assert!(sending.status.trouble().unwrap().contains("late.pem"), "{:?}", sending.status.trouble());
    std::fs::copy(&stage.files.certificate, &late.certificate).unwrap();
    stage.arrives(&sending);
    assert!(sending.status.certificate_expires().unwrap() > now.as_unix_millis() / 1000);
    let _ = &stage.authority;
    sending.stop();
}

/// Where a segment's first frame of rows begins, in bytes.
fn first_batch(segment: &Path) -> usize {
    let (mut scanner, _) = Scanner::new(File::open(segment).unwrap()).unwrap();
    loop {
        match scanner.step().unwrap() {
            Step::Frame { offset, header, .. } if header.kind == FrameKind::Batch => return offset as usize,
            Step::Frame { .. } => {}
            other => panic!("no frame of rows: {other:?}"),
        }
    }
}

fn _feed_can_be_shared(feed: &Feed) -> &(impl Clone + Send + Sync) {
    feed
}
