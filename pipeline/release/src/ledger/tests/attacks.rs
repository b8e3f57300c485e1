//! A14: budget abuse. Each attack is played against the ledger and against a ledger without the part that answers it,
//! which it must beat: an attack that beats nothing shows nothing.

use super::*;
use crate::ledger::memory::Accounts;
use crate::ledger::text::Book;

/// Opens a ledger in a cabinet at a moment.
type Opener = fn(&Cabinet, WallTime) -> Option<Box<dyn Ledger>>;

/// Plays an attack: how many bins it got a second time.
type Attack = fn(Opener) -> usize;

fn real(cabinet: &Cabinet, now: WallTime) -> Option<Box<dyn Ledger>> {
    let ledger = FileLedger::open(&cabinet.ledger_folder(), &cabinet.spool(), now);
    ledger.ok().map(|ledger| Box::new(ledger) as Box<dyn Ledger>)
}

/// A ledger on disk with neither witness nor lock: what is there is believed.
#[derive(Debug)]
struct Careless {
    file: PathBuf,
    book: Book,
}

fn careless(cabinet: &Cabinet, now: WallTime) -> Option<Box<dyn Ledger>> {
    fs::create_dir_all(cabinet.ledger_folder()).unwrap();
    let file = cabinet.ledger_file();
    let found = fs::read(&file).ok().and_then(|bytes| Book::read(&bytes).ok());
    Some(Box::new(Careless { file, book: found.unwrap_or_else(|| Book::new(now)) }))
}

impl Ledger for Careless {
    fn debit(&mut self, debits: &[Debit]) -> Vec<Verdict> {
        let verdicts = debits.iter().map(|debit| self.book.accounts.debit(debit)).collect();
        fs::write(&self.file, self.book.text()).unwrap();
        verdicts
    }

    fn would_grant(&self, debit: &Debit) -> bool {
        self.book.accounts.would_grant(debit)
    }
}

/// A ledger that begins each day anew when the clock says so, as a counter with a reset does.
#[derive(Debug, Default)]
struct Daily {
    accounts: Accounts,
    day: Option<WallTime>,
}

fn daily(_: &Cabinet, _: WallTime) -> Option<Box<dyn Ledger>> {
    Some(Box::<Daily>::default())
}

impl Ledger for Daily {
    fn debit(&mut self, debits: &[Debit]) -> Vec<Verdict> {
        debits.iter().map(|debit| self.debit_one(debit)).collect()
    }

    fn would_grant(&self, debit: &Debit) -> bool {
        self.accounts.would_grant(debit)
    }
}

impl Daily {
    fn debit_one(&mut self, debit: &Debit) -> Verdict {
        let day = debit.from.bin_start(DAY);
        if self.day != Some(day) {
            *self = Self { day: Some(day), ..Self::default() };
        }
        self.accounts.debit(debit)
    }
}

/// How many of the debits are granted.
fn granted(ledger: Option<Box<dyn Ledger>>, debits: &[Debit]) -> usize {
    let Some(mut ledger) = ledger else { return 0 };
    ledger.debit(debits).iter().filter(|verdict| **verdict == Verdict::Granted).count()
}

/// A morning's work: the bins before `until`, each granted.
fn work(cabinet: &Cabinet, open: Opener, until: u32) {
    let mut ledger = open(cabinet, morning()).unwrap();
    for number in 0..until {
        assert_eq!(ledger.debit(&bins(number)), [Verdict::Granted; 2], "bin {number}");
    }
    cabinet.release_rows();
}

/// The clock runs on into the next day, is set back by one, and the day is lived again.
fn clock_back(open: Opener) -> usize {
    let cabinet = Cabinet::new();
    let mut ledger = open(&cabinet, morning()).unwrap();
    for number in [0, 1, 96, 97] {
        assert_eq!(ledger.debit(&bins(number)), [Verdict::Granted; 2], "bin {number}");
    }
    let again = (0..96).flat_map(bins);
    again.filter(|debit| granted_by(&mut ledger, debit)).count()
}

fn granted_by(ledger: &mut Box<dyn Ledger>, debit: &Debit) -> bool {
    ledger.debit(&[*debit]) == [Verdict::Granted]
}

/// The ledger's folder is deleted and the clock set back.
fn delete(open: Opener) -> usize {
    let cabinet = Cabinet::new();
    work(&cabinet, open, 4);
    fs::remove_dir_all(cabinet.ledger_folder()).unwrap();
    granted(open(&cabinet, morning()), &bins(3))
}

/// Ledger and witness are deleted; the rows that were released still lie there.
fn delete_both(open: Opener) -> usize {
    let cabinet = Cabinet::new();
    work(&cabinet, open, 4);
    fs::remove_dir_all(cabinet.ledger_folder()).unwrap();
    let _ = fs::remove_file(cabinet.witness_file());
    granted(open(&cabinet, morning()), &bins(3))
}

/// The ledger of two bins ago is put back.
fn restore(open: Opener) -> usize {
    let cabinet = Cabinet::new();
    work(&cabinet, open, 2);
    let backup = cabinet.root.path().join("backup");
    copy_files(&cabinet.ledger_folder(), &backup);
    let mut ledger = open(&cabinet, morning()).unwrap();
    assert_eq!(ledger.debit(&bins(2)), [Verdict::Granted; 2]);
    assert_eq!(ledger.debit(&bins(3)), [Verdict::Granted; 2]);
    drop(ledger);
    copy_files(&backup, &cabinet.ledger_folder());
    granted(open(&cabinet, morning()), &bins(3))
}

/// The same, one write back, and the witness deleted with it.
fn restore_without_witness(open: Opener) -> usize {
    let cabinet = Cabinet::new();
    work(&cabinet, open, 3);
    let backup = cabinet.root.path().join("backup");
    copy_files(&cabinet.ledger_folder(), &backup);
    let mut ledger = open(&cabinet, morning()).unwrap();
    assert_eq!(ledger.debit(&bins(3)), [Verdict::Granted; 2]);
    drop(ledger);
    copy_files(&backup, &cabinet.ledger_folder());
    let _ = fs::remove_file(cabinet.witness_file());
    granted(open(&cabinet, morning()), &bins(3))
}

/// Two processes keep the same ledger and both release a bin.
fn two_processes(open: Opener) -> usize {
    let cabinet = Cabinet::new();
    let first = open(&cabinet, morning());
    let second = open(&cabinet, morning());
    (granted(first, &bins(0)) + granted(second, &bins(0))) - 2
}

/// The same, after the lock was removed under the first one's feet.
fn two_processes_without_lock_file(open: Opener) -> usize {
    let cabinet = Cabinet::new();
    let first = open(&cabinet, morning());
    let _ = fs::remove_file(cabinet.ledger_folder().join("lock"));
    let second = open(&cabinet, morning());
    (granted(second, &bins(0)) + granted(first, &bins(0))) - 2
}

/// Another node's ledger, in which nothing is debited yet, is put in place of this one's.
fn swap(open: Opener) -> usize {
    let (cabinet, other) = (Cabinet::new(), Cabinet::new());
    let mut others = open(&other, morning() + Duration::from_secs(1)).unwrap();
    for number in 0..20 {
        assert_eq!(others.debit(&[bin(CameraUid([9; 16]), number)]), [Verdict::Granted]);
    }
    drop(others);
    work(&cabinet, open, 4);
    copy_files(&other.ledger_folder(), &cabinet.ledger_folder());
    granted(open(&cabinet, morning()), &bins(3))
}

/// A byte of the ledger is damaged.
fn damage(open: Opener) -> usize {
    let cabinet = Cabinet::new();
    work(&cabinet, open, 4);
    let mut bytes = fs::read(cabinet.ledger_file()).unwrap();
    let last = bytes.len() / 2;
    bytes[last] ^= 1;
    fs::write(cabinet.ledger_file(), bytes).unwrap();
    granted(open(&cabinet, morning()), &bins(3))
}

/// A camera's times are changed by hand in the ledger's text.
fn edit(open: Opener) -> usize {
    let cabinet = Cabinet::new();
    work(&cabinet, open, 4);
    let mut book = Book::read(&fs::read(cabinet.ledger_file()).unwrap()).unwrap();
    book.accounts.list.remove(&(PLAZA, Account::Person));
    fs::write(cabinet.ledger_file(), book.text()).unwrap();
    granted(open(&cabinet, morning()), &bins(3))
}

/// With the ledger that each must beat.
const ATTACKS: [(&str, Attack, Opener); 10] = [
    ("clock back", clock_back, daily),
    ("delete", delete, careless),
    ("delete both", delete_both, careless),
    ("restore", restore, careless),
    ("restore without witness", restore_without_witness, careless),
    ("two processes", two_processes, careless),
    ("two processes without lock file", two_processes_without_lock_file, careless),
    ("swap", swap, careless),
    ("damage", damage, careless),
    ("edit", edit, careless),
];

#[test]
fn a_14_no_abuse_of_the_ledger_buys_a_bin_twice() {
    for (name, attack, _) in ATTACKS {
        assert_eq!(attack(real), 0, "{name}");
    }
}

#[test]
fn a_14_each_abuse_beats_a_ledger_without_the_part_that_answers_it() {
    for (name, attack, victim) in ATTACKS {
        assert!(attack(victim) > 0, "{name}");
    }
}

#[test]
fn a_14_a_clock_set_back_a_day_is_refused_until_it_has_passed_and_a_restart_says_so() {
    let cabinet = Cabinet::new();
    let ahead = morning() + DAY;
    let tomorrow = bins(96);
    assert_eq!(cabinet.open_at(ahead).debit(&tomorrow), [Verdict::Granted; 2]);
    let mut ledger = cabinet.open();
    assert_eq!(ledger.state(), &LedgerState::Sound);
    assert_eq!(ledger.ahead_of(morning()), Some(ahead + QUARTER));
    assert_eq!(ledger.ahead_of(ahead), None);
    for number in 0..97 {
        assert_eq!(ledger.debit(&bins(number)), [Verdict::Spent; 2], "{number}");
    }
    assert_eq!(ledger.debit(&bins(97)), [Verdict::Granted; 2]);
}

#[test]
fn a_14_what_is_distrusted_is_named_with_its_file_and_the_remedy() {
    let state = |spoil: &dyn Fn(&Cabinet)| {
        let cabinet = Cabinet::new();
        work(&cabinet, real, 3);
        spoil(&cabinet);
        let root = cabinet.root.path().display().to_string();
        let report = inspect_ledger(&cabinet.ledger_folder(), &cabinet.spool()).state;
        let mut ledger = cabinet.open();
        assert_eq!(ledger.state(), &report);
        assert_eq!(ledger.debit(&bins(50)), [Verdict::Unavailable; 2]);
        assert!(!ledger.would_grant(&bin(PLAZA, 50)));
        let trouble = ledger.trouble().unwrap().replace(&root, "DIR");
        drop(ledger);
        assert_eq!(cabinet.open().state(), &report, "it is so after a restart too");
        let (what, remedy) = trouble.split_once("; ").unwrap();
        assert_eq!(
            remedy,
            "nothing with noise is released until it is renewed: stop the node, kerbside ledger --renew"
        );
        what.to_owned()
    };
    assert_eq!(
        state(&|cabinet| fs::remove_file(cabinet.ledger_file()).unwrap()),
        "the privacy ledger DIR/ledger/ledger.txt is missing, though DIR/spool/ledger-witness.txt shows that rows were \
         released"
    );
    assert_eq!(
        state(&|cabinet| {
            fs::remove_file(cabinet.ledger_file()).unwrap();
            fs::remove_file(cabinet.witness_file()).unwrap();
        }),
        "the privacy ledger DIR/ledger/ledger.txt is missing, though \
         DIR/spool/agg.v1/00000001-00000000000000000000.seg shows that rows were released"
    );
    assert_eq!(
        state(&|cabinet| fs::remove_file(cabinet.witness_file()).unwrap()),
        "DIR/spool/ledger-witness.txt is missing, so that nothing shows that DIR/ledger/ledger.txt is the newest \
         privacy ledger"
    );
    assert_eq!(
        state(&|cabinet| fs::write(cabinet.ledger_file(), "").unwrap()),
        "DIR/ledger/ledger.txt is damaged: it is empty or something else"
    );
    assert_eq!(
        state(&|cabinet| fs::write(cabinet.witness_file(), "torn").unwrap()),
        "DIR/spool/ledger-witness.txt is damaged: it is empty or something else"
    );
    let set_back = |cabinet: &Cabinet| {
        let mut book = Book::read(&fs::read(cabinet.ledger_file()).unwrap()).unwrap();
        book.generation -= 1;
        fs::write(cabinet.ledger_file(), book.text()).unwrap();
    };
    assert_eq!(
        state(&set_back),
        "the privacy ledger DIR/ledger/ledger.txt is an old one: generation 3, and 4 was here"
    );
    let other = |cabinet: &Cabinet| {
        let mut book = Book::read(&fs::read(cabinet.ledger_file()).unwrap()).unwrap();
        (book.begun, book.generation) = (morning() - DAY, 70);
        fs::write(cabinet.ledger_file(), book.text()).unwrap();
    };
    assert_eq!(
        state(&other),
        "the privacy ledger DIR/ledger/ledger.txt and its witness DIR/spool/ledger-witness.txt do not belong together"
    );
}

#[test]
fn a_14_a_second_process_is_told_who_keeps_the_ledger() {
    let cabinet = Cabinet::new();
    let first = cabinet.open();
    for error in [
        FileLedger::open(&cabinet.ledger_folder(), &cabinet.spool(), morning()).unwrap_err(),
        cabinet.renew(morning(), Ahead::Keep).unwrap_err(),
    ] {
        let expected = format!(
            "the privacy ledger in {} is in use by another process (number {})",
            cabinet.ledger_folder().display(),
            std::process::id()
        );
        assert_eq!(error.to_string(), expected);
    }
    drop(first);
    cabinet.open();
}

#[test]
fn a_14_a_ledger_whose_lock_was_taken_away_stops_until_the_next_start() {
    let cabinet = Cabinet::new();
    let mut ledger = cabinet.open();
    let lock = cabinet.ledger_folder().join("lock");
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, "").unwrap();
    assert_eq!(ledger.debit(&bins(0)), [Verdict::Unavailable; 2]);
    assert_eq!(ledger.state(), &LedgerState::Refusing(Distrust::LockLost(lock)));
    assert!(ledger.trouble().unwrap().ends_with("until the node is started again"));
    drop(ledger);
    assert_eq!(cabinet.open().debit(&bins(0)), [Verdict::Granted; 2]);
}

#[test]
fn a_14_a_renewal_frees_nothing_of_its_day_for_any_camera() {
    let cabinet = Cabinet::new();
    work(&cabinet, real, 4);
    fs::remove_file(cabinet.ledger_file()).unwrap();
    let now = morning() + QUARTER * 4;
    let ledger = cabinet.renew(now, Ahead::Keep).unwrap();
    assert_eq!(ledger.state(), &LedgerState::Sound);
    drop(ledger);
    let content = inspect_ledger(&cabinet.ledger_folder(), &cabinet.spool()).content.unwrap();
    assert_eq!((content.begun, content.generation, content.renewals), (now, 6, 1));
    let mut ledger = cabinet.open_at(now);
    let stranger = CameraUid([77; 16]);
    for number in 0..64 {
        let debits = [bin(PLAZA, number), bin(stranger, number)];
        assert_eq!(ledger.debit(&debits), [Verdict::Spent; 2], "{number}");
    }
    assert_eq!(ledger.debit(&bins(64)), [Verdict::Granted; 2], "the first bin of the next day");
}

#[test]
fn a_14_a_renewal_with_the_clock_set_back_keeps_what_can_still_be_read() {
    let cabinet = Cabinet::new();
    let mut ledger = cabinet.open();
    assert_eq!(ledger.debit(&bins(96)), [Verdict::Granted; 2]);
    drop(ledger);
    fs::remove_file(cabinet.witness_file()).unwrap();
    let mut ledger = cabinet.renew(morning() - DAY, Ahead::Keep).unwrap();
    assert_eq!(ledger.debit(&bins(96)), [Verdict::Spent; 2]);
    assert_eq!(ledger.debit(&bins(97)), [Verdict::Granted; 2]);
}

#[test]
fn a_sound_ledger_is_renewed_only_to_forget_a_clock_that_was_ahead() {
    let cabinet = Cabinet::new();
    work(&cabinet, real, 2);
    for ahead in [Ahead::Keep, Ahead::Forget] {
        let error = cabinet.renew(morning() + QUARTER * 2, ahead).unwrap_err();
        assert!(matches!(error, LedgerError::NothingToRenew(_)), "{error}");
    }
    let years = DAY * 3650;
    let future = Debit { from: morning() + years, to: morning() + years + QUARTER, ..bin(PLAZA, 0) };
    assert_eq!(cabinet.open().debit(&[future]), [Verdict::Granted]);
    let now = morning() + QUARTER * 3;
    assert!(cabinet.renew(now, Ahead::Keep).is_err());
    assert_eq!(cabinet.open().debit(&[bin(PLAZA, 64)]), [Verdict::Spent]);
    let mut ledger = cabinet.renew(now, Ahead::Forget).unwrap();
    assert_eq!(ledger.debit(&bins(63)), [Verdict::Spent; 2]);
    assert_eq!(ledger.debit(&bins(64)), [Verdict::Granted; 2]);
}
