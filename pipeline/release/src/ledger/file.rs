//! The ledger on disk.
//!
//! `<folder>/ledger.txt` holds all accounts and is replaced as a whole by each debit; `<folder>/lock` keeps a second
//! process out. `<witness folder>/ledger-witness.txt` holds the generation and the hash of the newest ledger: it shows
//! when the ledger was deleted or an old one put back. The witness lies in the spool's folder, so that what was released
//! and what was debited are judged together.
//!
//! A debit writes the ledger, waits for the disk, writes the witness, waits again, and is granted after that. So whatever
//! was granted is in the ledger that the witness knows. A crash in between leaves a ledger that is newer than its
//! witness: it is taken, and what it debited without an answer is lost. A ledger that is older than its witness never
//! comes from a crash.
//!
//! It cannot see that the ledger and the spool were set back together, to the same older moment. The numbers of that
//! time are gone by then, so this alone releases nothing twice; with a clock that is set back as well it would.
//! No more does it see that two nodes with folders of their own look through the same camera.

use std::path::Path;

use kerbside_core::time::WallTime;

use super::error::LedgerError;
use super::lock::Lock;
use super::state::{Distrust, Found, LedgerState, Places, content_of, find, next_midnight};
use super::text::{Book, Witness};
use super::{Debit, Ledger, Verdict, disk};

/// More accounts than this are not kept one by one: 64 cameras have 256.
const MOST_ACCOUNTS: usize = 1024;

/// What becomes of stretches that begin after the moment of a renewal: the clock was ahead when they were debited, or
/// it is behind now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// They stay debited: until the clock has passed them, nothing is released.
    Keep,
    /// They are forgotten: a person says that the clock was ahead then and is right now.
    Forget,
}

/// The ledger on disk, open. One process at a time.
#[derive(Debug)]
pub struct FileLedger {
    places: Places,
    book: Book,
    state: LedgerState,
    /// Whether there may be no witness yet. Nothing is debited before there is one: a ledger with debits and without a
    /// witness is not trusted.
    is_unwitnessed: bool,
    /// Why the last write failed; what was asked for then is in the book and not yet on the disk.
    trouble: Option<LedgerError>,
    lock: Lock,
}

impl FileLedger {
    /// Opens the ledger in `folder`, or begins it where nothing was ever released. Folders are made if need be.
    ///
    /// To be called before a spool is opened in `witness_folder`: a spool without a ledger is taken for evidence that the
    /// ledger was deleted. A ledger that cannot be trusted is no error; see [`FileLedger::state`].
    pub fn open(folder: &Path, witness_folder: &Path, now: WallTime) -> Result<Self, LedgerError> {
        let places = Places::new(folder, witness_folder);
        let lock = prepare(&places)?;
        let Found { state, book, witness } = find(&places);
        let book = book.filter(|_| state != LedgerState::New).unwrap_or_else(|| Book::new(now));
        let is_unwitnessed = state == LedgerState::New;
        let mut ledger = Self { places, book, state, is_unwitnessed, trouble: None, lock };
        let known = witness.map_or(0, |witness| witness.generation);
        if ledger.is_unwitnessed {
            ledger.trouble = ledger.first_write().err();
        } else if ledger.book.generation > known && !matches!(ledger.state, LedgerState::Refusing(_)) {
            ledger.trouble = ledger.write().err();
        }
        // A disk that refuses is tried again by the first debit.
        Ok(ledger)
    }

    /// Begins a new ledger where the old one cannot be trusted. Everything is spent until the next midnight of UTC
    /// after `now`, and longer where what is left of the old one says so: what may have been released is not released
    /// again, whatever the camera. Refused while the ledger is in use, and where there is nothing to cure.
    pub fn renew(folder: &Path, witness_folder: &Path, now: WallTime, ahead: Ahead) -> Result<Self, LedgerError> {
        let places = Places::new(folder, witness_folder);
        let lock = prepare(&places)?;
        let Found { state, book, witness } = find(&places);
        let midnight = next_midnight(now);
        let old = book.unwrap_or_else(|| Book::new(now));
        let is_ahead = content_of(&old).ahead_of(now).is_some();
        let is_cured = is_ahead && ahead == Ahead::Forget;
        if !matches!(state, LedgerState::Refusing(_)) && !is_cured {
            return Err(LedgerError::NothingToRenew(places.ledger()));
        }
        let seen = witness.map_or((0, 0), |witness| (witness.generation, witness.renewals));
        let mut accounts = old.accounts;
        if ahead == Ahead::Forget {
            accounts.list.retain(|_, balance| balance.from <= now);
            accounts.spent_before = midnight;
        }
        accounts.spent_before = accounts.spent_before.max(midnight);
        let book = Book {
            begun: now,
            generation: old.generation.max(seen.0),
            renewals: old.renewals.max(seen.1).saturating_add(1),
            accounts,
        };
        let mut ledger =
            Self { places, book, state: LedgerState::Sound, is_unwitnessed: false, trouble: None, lock };
        ledger.write()?;
        Ok(ledger)
    }

    /// Whether it can be trusted, and why not.
    pub fn state(&self) -> &LedgerState {
        &self.state
    }

    /// When the latest stretch ends that was debited before its time came: then the clock was ahead, or it is behind
    /// now, and until it has passed that moment less is released than could be.
    pub fn ahead_of(&self, now: WallTime) -> Option<WallTime> {
        content_of(&self.book).ahead_of(now)
    }

    /// Writes the book.
    fn write(&mut self) -> Result<(), LedgerError> {
        if self.is_unwitnessed {
            self.first_write()?;
        }
        self.book.accounts.fold(MOST_ACCOUNTS);
        self.write_generation()
    }

    /// Writes the book without its accounts.
    fn first_write(&mut self) -> Result<(), LedgerError> {
        let accounts = std::mem::take(&mut self.book.accounts);
        let written = self.write_generation();
        self.book.accounts = accounts;
        self.is_unwitnessed = written.is_err();
        written
    }

    /// Writes the book as the next generation, then the witness of that.
    fn write_generation(&mut self) -> Result<(), LedgerError> {
        self.book.generation += 1;
        let text = self.book.text();
        let (ledger, witness) = (self.places.ledger(), self.places.witness());
        disk::replace(&ledger, text.as_bytes()).map_err(LedgerError::write(&ledger))?;
        let seen = Witness::of(&self.book, &text).text();
        disk::replace(&witness, seen.as_bytes()).map_err(LedgerError::write(&witness))
    }

    /// Whether this process alone keeps the ledger, as far as it can be seen.
    fn is_alone(&mut self) -> bool {
        match self.lock.is_held() {
            Ok(true) => true,
            Ok(false) => {
                self.state = LedgerState::Refusing(Distrust::LockLost(self.lock.path().to_owned()));
                false
            }
            Err(source) => {
                self.trouble = Some(LedgerError::write(self.lock.path())(source));
                false
            }
        }
    }
}

impl Ledger for FileLedger {
    fn debit(&mut self, debits: &[Debit]) -> Vec<Verdict> {
        if debits.is_empty() || matches!(self.state, LedgerState::Refusing(_)) || !self.is_alone() {
            return vec![Verdict::Unavailable; debits.len()];
        }
        let mut verdicts: Vec<Verdict> = debits.iter().map(|debit| self.book.accounts.debit(debit)).collect();
        if self.trouble.is_none() && !verdicts.contains(&Verdict::Granted) {
            return verdicts;
        }
        self.trouble = self.write().err();
        if self.trouble.is_some() {
            // It stays debited in the book: whether it reached the disk nobody knows.
            for verdict in verdicts.iter_mut().filter(|verdict| **verdict == Verdict::Granted) {
                *verdict = Verdict::Unavailable;
            }
        }
        verdicts
    }

    fn would_grant(&self, debit: &Debit) -> bool {
        !matches!(self.state, LedgerState::Refusing(_)) && self.book.accounts.would_grant(debit)
    }

    fn trouble(&self) -> Option<String> {
        match (&self.state, &self.trouble) {
            (LedgerState::Refusing(why), _) => Some(why.to_string()),
            (_, Some(error)) => {
                let source = std::error::Error::source(error).map(|source| format!(": {source}"));
                Some(format!("{error}{}", source.unwrap_or_default()))
            }
            _ => None,
        }
    }
}

/// Makes the folders and takes the lock.
fn prepare(places: &Places) -> Result<Lock, LedgerError> {
    for folder in [&places.folder, &places.witness_folder] {
        disk::create_folder(folder).map_err(LedgerError::folder(folder))?;
    }
    Lock::take(&places.folder)
}
