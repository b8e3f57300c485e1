//! Disks that are full, fail, or are read-only: nothing is granted, and nothing that was asked for is granted later.

use std::io::ErrorKind;

use super::disk::steps;
use super::*;

#[test]
fn pc_9_a_disk_that_fails_at_any_step_grants_nothing_then_and_later() {
    steps::wait_for_no_disk();
    for kind in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem, ErrorKind::Other] {
        for step in 0.. {
            let cabinet = Cabinet::new();
            let mut ledger = cabinet.open();
            assert_eq!(ledger.debit(&bins(0)), [Verdict::Granted; 2]);
            steps::plan(step..step + 1, kind);
            let [first, second] = bins(1);
            let answer = ledger.debit(&[first, bin(PLAZA, 0)]);
            steps::heal();
            if answer[0] == Verdict::Granted {
                assert!(step > 10, "a debit has more steps than {step}");
                break;
            }
            assert_eq!(answer, [Verdict::Unavailable, Verdict::Spent], "{kind}, step {step}");
            assert!(ledger.trouble().unwrap().contains("could not be written"));
            assert_eq!(ledger.debit(&[first]), [Verdict::Spent], "{kind}, step {step}");
            assert_eq!(ledger.trouble(), None, "the disk works again");
            assert_eq!(ledger.debit(&[second]), [Verdict::Granted]);
            drop(ledger);
            let mut ledger = cabinet.open();
            assert_eq!(ledger.state(), &LedgerState::Sound, "{kind}, step {step}");
            assert_eq!(ledger.debit(&[first, second]), [Verdict::Spent; 2], "{kind}, step {step}");
        }
    }
}

#[test]
fn pc_9_a_disk_that_is_full_for_long_is_tried_again_at_each_call_and_recovers() {
    let cabinet = Cabinet::new();
    steps::plan(0..usize::MAX, ErrorKind::StorageFull);
    let mut ledger = cabinet.open();
    for number in 0..5 {
        assert_eq!(ledger.debit(&bins(number)), [Verdict::Unavailable; 2]);
        assert_eq!(ledger.debit(&bins(number)), [Verdict::Spent; 2]);
        assert!(ledger.trouble().is_some());
    }
    steps::heal();
    assert_eq!(ledger.debit(&bins(4)), [Verdict::Spent; 2]);
    assert_eq!(ledger.trouble(), None);
    assert_eq!(ledger.debit(&bins(5)), [Verdict::Granted; 2]);
    drop(ledger);
    assert_eq!(cabinet.open().debit(&bins(4)), [Verdict::Spent; 2], "asked for in vain, and on the disk by now");
}

#[test]
fn pc_9_a_first_start_on_a_spool_that_is_full_raises_no_alarm_after_a_restart() {
    let cabinet = Cabinet::new();
    // The ledger can be written and its witness cannot, as when they lie on two disks.
    fs::create_dir_all(cabinet.spool().join("ledger-witness.txt.new")).unwrap();
    let mut ledger = cabinet.open();
    assert_eq!(ledger.debit(&bins(0)), [Verdict::Unavailable; 2]);
    assert!(cabinet.ledger_file().exists() && !cabinet.witness_file().exists());
    drop(ledger);
    fs::remove_dir(cabinet.spool().join("ledger-witness.txt.new")).unwrap();
    let mut ledger = cabinet.open();
    assert_eq!(ledger.state(), &LedgerState::New);
    assert_eq!(ledger.debit(&bins(1)), [Verdict::Granted; 2]);
}

#[test]
fn pc_9_a_witness_that_fell_behind_is_brought_up_when_the_ledger_is_opened() {
    let cabinet = Cabinet::new();
    assert_eq!(cabinet.open().debit(&bins(0)), [Verdict::Granted; 2]);
    let old = fs::read(cabinet.witness_file()).unwrap();
    assert_eq!(cabinet.open().debit(&bins(1)), [Verdict::Granted; 2]);
    let backup = fs::read(cabinet.ledger_file()).unwrap();
    fs::write(cabinet.witness_file(), old).unwrap();
    let mut ledger = cabinet.open();
    assert_eq!(ledger.state(), &LedgerState::Sound);
    assert_eq!(ledger.debit(&bins(1)), [Verdict::Spent; 2]);
    drop(ledger);
    fs::write(cabinet.ledger_file(), backup).unwrap();
    assert!(matches!(cabinet.open().state(), LedgerState::Refusing(Distrust::Older { .. })));
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let cabinet = Cabinet::new();
    fs::write(cabinet.root.path().join("ledger"), "a file").unwrap();
    let error = FileLedger::open(&cabinet.ledger_folder(), &cabinet.spool(), morning()).unwrap_err();
    assert!(error.to_string().contains(&cabinet.ledger_folder().display().to_string()), "{error}");
}
