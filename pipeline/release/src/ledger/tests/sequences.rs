//! Random lives of a ledger: no moment of an account is ever granted twice.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use proptest::prelude::*;

use super::disk::steps;
use super::*;

/// What can happen to a node.
#[derive(Clone, Debug)]
enum Event {
    /// A bin of a length in minutes of some of the cameras and accounts is closed or cut short.
    Close { minutes: u64, cameras: u8, accounts: u8 },
    /// Alerts are asked for.
    Alert { camera: u8 },
    /// Time passes, in seconds; the clock is set back or forward.
    Clock(i64),
    /// The node is started again.
    Restart,
    /// The node is killed before some step of closing a bin.
    Kill { step: usize },
    /// One step of closing a bin fails.
    Fail { step: usize },
    /// A backup is taken.
    Backup,
    /// The node is stopped, the newest backup put back, the node started; then a person renews the ledger.
    Restore,
    /// The same, with ledger and witness deleted.
    Forget,
}

fn event() -> impl Strategy<Value = Event> {
    let minutes = prop::sample::select(vec![15u64, 30, 60, 240]);
    prop_oneof![
        8 => (minutes, 1u8..8, 1u8..8).prop_map(|(minutes, cameras, accounts)| {
            Event::Close { minutes, cameras, accounts }
        }),
        2 => (0u8..3).prop_map(|camera| Event::Alert { camera }),
        6 => (0i64..7200).prop_map(Event::Clock),
        3 => (-100_000i64..100_000).prop_map(Event::Clock),
        2 => Just(Event::Restart),
        1 => (0usize..16).prop_map(|step| Event::Kill { step }),
        1 => (0usize..16).prop_map(|step| Event::Fail { step }),
        1 => Just(Event::Backup),
        1 => Just(Event::Restore),
        1 => Just(Event::Forget),
    ]
}

/// A node's life, and what it was granted.
struct Life {
    cabinet: Cabinet,
    ledger: Option<FileLedger>,
    now: WallTime,
    /// The latest that the clock has shown: a renewal at that moment keeps the rest of its day spent.
    furthest: WallTime,
    granted: BTreeMap<(CameraUid, Account), Vec<(WallTime, WallTime)>>,
}

impl Life {
    fn start(&mut self) {
        self.ledger = None;
        self.ledger = Some(self.cabinet.open_at(self.now));
    }

    fn debit(&mut self, debits: &[Debit]) {
        let ledger = self.ledger.as_mut().unwrap();
        let trusted = !matches!(ledger.state(), LedgerState::Refusing(_));
        let foretold: Vec<bool> = debits.iter().map(|debit| ledger.would_grant(debit)).collect();
        let verdicts = ledger.debit(debits);
        for ((debit, verdict), foretold) in debits.iter().zip(verdicts).zip(foretold) {
            assert!(foretold || verdict != Verdict::Granted);
            let stretches = self.granted.entry((debit.camera, debit.account)).or_default();
            if verdict == Verdict::Granted {
                assert!(trusted);
                let again = stretches.iter().filter(|(from, to)| debit.from < *to && *from < debit.to);
                let again: Vec<_> = again.collect();
                let is_repeated = again.iter().all(|stretch| **stretch == (debit.from, debit.to));
                assert!(is_repeated && again.len() < debit.most as usize, "{debit:?} was granted: {again:?}");
                stretches.push((debit.from, debit.to));
            }
        }
    }

    fn close(&mut self, minutes: u64, cameras: u8, accounts: u8) {
        let length = Duration::from_secs(60 * minutes);
        let from = self.now.bin_start(length);
        let chosen = |mask: u8, place: usize| mask & 1 << place != 0;
        let debits: Vec<Debit> = (0..3)
            .filter(|camera| chosen(cameras, *camera))
            .flat_map(|camera| {
                let accounts = (0..3).filter(|account| chosen(accounts, *account)).map(|n| Account::ALL[n]);
                let camera = CameraUid([camera as u8; 16]);
                accounts.map(move |account| Debit { camera, account, from, to: from + length, most: 1 })
            })
            .collect();
        self.debit(&debits);
    }

    fn live(&mut self, event: &Event) {
        self.furthest = self.furthest.max(self.now);
        match *event {
            Event::Close { minutes, cameras, accounts } => self.close(minutes, cameras, accounts),
            Event::Alert { camera } => {
                let from = self.now.bin_start(DAY);
                let camera = CameraUid([camera; 16]);
                self.debit(&[Debit { camera, account: Account::Alert, from, to: from + DAY, most: 3 }]);
            }
            Event::Clock(seconds) => {
                let by = Duration::from_secs(seconds.unsigned_abs());
                self.now = if seconds < 0 { self.now - by } else { self.now + by };
            }
            Event::Restart => self.start(),
            Event::Kill { step } => {
                steps::plan(step..usize::MAX, ErrorKind::Interrupted);
                self.close(15, 7, 7);
                self.ledger = None;
                steps::heal();
                self.start();
            }
            Event::Fail { step } => {
                steps::plan(step..step + 1, ErrorKind::StorageFull);
                self.close(15, 7, 7);
                steps::heal();
            }
            Event::Backup => copy_files(&self.cabinet.ledger_folder(), &self.backup()),
            Event::Restore | Event::Forget => {
                self.ledger = None;
                if self.backup().exists() {
                    copy_files(&self.backup(), &self.cabinet.ledger_folder());
                }
                if matches!(event, Event::Forget) {
                    fs::remove_file(self.cabinet.witness_file()).unwrap();
                    fs::remove_file(self.cabinet.ledger_file()).unwrap();
                }
                self.start();
                self.close(15, 7, 7);
                self.ledger = None;
                // A renewal knows what is left of the ledger and the clock, so who renews sets the clock right first.
                self.now = self.latest().max(self.now);
                drop(self.cabinet.renew(self.now, Ahead::Keep));
                self.start();
            }
        }
    }

    /// The end of the latest stretch that was granted.
    fn latest(&self) -> WallTime {
        self.granted.values().flatten().map(|(_, to)| *to).max().unwrap_or_default()
    }

    fn backup(&self) -> PathBuf {
        self.cabinet.root.path().join("backup")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn pc_10_whatever_happens_no_moment_of_an_account_is_granted_twice(
        events in prop::collection::vec(event(), 1..60),
    ) {
        steps::wait_for_no_disk();
        let mut life = Life { cabinet: Cabinet::new(), ledger: None, now: morning(), furthest: morning(), granted: BTreeMap::new() };
        life.start();
        life.cabinet.release_rows();
        for event in &events {
            life.live(event);
        }
        // It is not safe by granting nothing: days after all that a bin is free.
        life.now = life.latest().max(life.now).max(life.furthest) + DAY * 3;
        life.start();
        let free = Debit { from: life.now.bin_start(QUARTER) + QUARTER, ..bin(PLAZA, 0) };
        let free = Debit { to: free.from + QUARTER, ..free };
        prop_assert_eq!(life.ledger.as_mut().unwrap().debit(&[free]), [Verdict::Granted]);
    }
}
