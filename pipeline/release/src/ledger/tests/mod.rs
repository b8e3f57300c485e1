//! The ledger on disk under crashes, failing disks, set-back clocks and people who want to release twice.

mod attacks;
mod crash;
mod faults;
mod sequences;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kerbside_core::time::WallTime;
use tempfile::TempDir;

use super::*;

pub(super) const PLAZA: CameraUid = CameraUid([1; 16]);
pub(super) const BRIDGE: CameraUid = CameraUid([2; 16]);
pub(super) const QUARTER: Duration = Duration::from_secs(900);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A Monday morning, at the beginning of a bin.
pub(super) fn morning() -> WallTime {
    WallTime::parse_rfc3339("2026-11-23T08:00:00Z").unwrap()
}

/// The bin of people's counts that begins so many bins after [`morning`].
pub(super) fn bin(camera: CameraUid, number: u32) -> Debit {
    let from = morning() + QUARTER * number;
    Debit { camera, account: Account::Person, from, to: from + QUARTER, most: 1 }
}

/// One bin of both cameras, as they are closed together.
pub(super) fn bins(number: u32) -> [Debit; 2] {
    [bin(PLAZA, number), bin(BRIDGE, number)]
}

/// A cabinet's folders.
pub(super) struct Cabinet {
    pub(super) root: TempDir,
}

impl Cabinet {
    pub(super) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(super) fn ledger_folder(&self) -> PathBuf {
        self.root.path().join("ledger")
    }

    pub(super) fn spool(&self) -> PathBuf {
        self.root.path().join("spool")
    }

    pub(super) fn ledger_file(&self) -> PathBuf {
        self.ledger_folder().join("ledger.txt")
    }

    pub(super) fn witness_file(&self) -> PathBuf {
        self.spool().join("ledger-witness.txt")
    }

    pub(super) fn open_at(&self, now: WallTime) -> FileLedger {
        FileLedger::open(&self.ledger_folder(), &self.spool(), now).unwrap()
    }

    pub(super) fn open(&self) -> FileLedger {
        self.open_at(morning())
    }

    pub(super) fn renew(&self, now: WallTime, ahead: Ahead) -> Result<FileLedger, LedgerError> {
        FileLedger::renew(&self.ledger_folder(), &self.spool(), now, ahead)
    }

    /// As the release stage leaves it: rows of counts in the spool.
    pub(super) fn release_rows(&self) {
        let folder = self.spool().join("agg.v1");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("00000001-00000000000000000000.seg"), b"rows").unwrap();
    }
}

/// Copies the files of a folder, as a backup does.
pub(super) fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn pc_9_a_bin_is_granted_once_and_a_restart_remembers_it() {
    let cabinet = Cabinet::new();
    let mut ledger = cabinet.open();
    assert_eq!(ledger.state(), &LedgerState::New);
    assert_eq!(ledger.debit(&bins(0)), [Verdict::Granted; 2]);
    assert_eq!(ledger.debit(&bins(0)), [Verdict::Spent; 2]);
    assert!(!ledger.would_grant(&bin(PLAZA, 0)) && ledger.would_grant(&bin(PLAZA, 1)));
    drop(ledger);

    let mut ledger = cabinet.open();
    assert_eq!(ledger.state(), &LedgerState::Sound);
    assert!(!ledger.would_grant(&bin(PLAZA, 0)));
    assert_eq!(ledger.debit(&[bin(PLAZA, 0), bin(PLAZA, 1), bin(PLAZA, 1)]), {
        [Verdict::Spent, Verdict::Granted, Verdict::Spent]
    });
    assert_eq!(ledger.trouble(), None);
}

#[test]
fn pc_10_a_budget_is_of_the_camera_and_the_time_whatever_the_bins_are_now() {
    let cabinet = Cabinet::new();
    let mut ledger = cabinet.open();
    assert_eq!(ledger.debit(&bins(4)), [Verdict::Granted; 2]);
    drop(ledger);
    let mut ledger = cabinet.open();
    let hour = Debit { to: morning() + QUARTER * 8, ..bin(PLAZA, 4) };
    let overlapping = Debit { from: morning() + QUARTER * 4 + Duration::from_millis(1), ..hour };
    assert_eq!(ledger.debit(&[hour, overlapping, bin(PLAZA, 3)]), [Verdict::Spent; 3]);
    let others = [Account::Bicycle, Account::Vehicle].map(|account| Debit { account, ..hour });
    assert_eq!(ledger.debit(&others), [Verdict::Granted; 2]);
}

#[test]
fn pc_14_a_day_of_alerts_is_debited_as_often_as_is_allowed_across_restarts() {
    let cabinet = Cabinet::new();
    let from = morning().bin_start(DAY);
    let alert = Debit { camera: PLAZA, account: Account::Alert, from, to: from + DAY, most: 3 };
    for expected in [Verdict::Granted, Verdict::Granted, Verdict::Granted, Verdict::Spent] {
        assert_eq!(cabinet.open().debit(&[alert]), [expected]);
    }
    let tomorrow = Debit { from: from + DAY, to: from + DAY * 2, ..alert };
    assert_eq!(cabinet.open().debit(&[tomorrow, alert]), [Verdict::Granted, Verdict::Spent]);
}

#[test]
fn pc_9_each_answer_is_on_the_disk_and_one_write_serves_all_debits_of_a_call() {
    let cabinet = Cabinet::new();
    let mut ledger = cabinet.open();
    let many: Vec<Debit> = (0..64)
        .flat_map(|camera| Account::ALL.map(|account| Debit { account, ..bin(CameraUid([camera; 16]), 0) }))
        .collect();
    disk::steps::heal();
    assert!(ledger.debit(&many).iter().all(|verdict| *verdict == Verdict::Granted));
    let done = disk::steps::heal();
    let renames: Vec<_> = done.iter().filter(|step| matches!(step, disk::steps::Done::Rename(..))).collect();
    assert_eq!(renames.len(), 2, "{renames:?}");
    let content = inspect_ledger(&cabinet.ledger_folder(), &cabinet.spool()).content.unwrap();
    assert_eq!(content.accounts.len(), 256);
    // Refused debits cost no write.
    ledger.debit(&many);
    assert_eq!(disk::steps::heal(), []);
}

#[test]
fn pc_10_cameras_that_come_and_go_do_not_make_the_ledger_grow_or_forget() {
    let cabinet = Cabinet::new();
    let mut ledger = cabinet.open();
    let of = |number: u32| bin(CameraUid(u128::from(number).to_be_bytes()), number);
    let all: Vec<Debit> = (0..1500).map(of).collect();
    for some in all.chunks(300) {
        assert_eq!(ledger.debit(some), [Verdict::Granted; 300]);
    }
    drop(ledger);
    let content = inspect_ledger(&cabinet.ledger_folder(), &cabinet.spool()).content.unwrap();
    assert_eq!(content.accounts.len(), 1024);
    assert!(fs::metadata(cabinet.ledger_file()).unwrap().len() < 200_000);
    let mut ledger = cabinet.open();
    assert_eq!(ledger.debit(&all), [Verdict::Spent; 1500]);
    assert_eq!(ledger.debit(&[Debit { camera: of(7).camera, ..of(1500) }]), [Verdict::Granted]);
}

#[test]
fn the_first_start_makes_the_folders_and_a_new_node_can_begin() {
    let cabinet = Cabinet::new();
    let report = inspect_ledger(&cabinet.ledger_folder(), &cabinet.spool());
    assert_eq!((report.state, report.content.is_none()), (LedgerState::New, true));
    assert!(!cabinet.ledger_folder().exists(), "looking makes nothing");
    drop(cabinet.open());
    let report = inspect_ledger(&cabinet.ledger_folder(), &cabinet.spool());
    assert_eq!(report.state, LedgerState::Sound);
    let content = report.content.unwrap();
    assert_eq!((content.begun, content.generation, content.renewals), (morning(), 1, 0));
}
