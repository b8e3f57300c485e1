//! Whether a ledger that is found on disk may be trusted.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kerbside_core::time::WallTime;

use super::memory::Balance;
use super::text::{Book, Witness};
use super::{Account, CameraUid, disk};
use crate::table::Table;

const LEDGER_FILE: &str = "ledger.txt";
const WITNESS_FILE: &str = "ledger-witness.txt";
const DAY: Duration = Duration::from_secs(86_400);

/// Where the ledger and its witness are.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The ledger's folder.
    pub(super) folder: PathBuf,
    /// The witness's folder, which is the spool's.
    pub(super) witness_folder: PathBuf,
}

impl Places {
    pub(super) fn new(folder: &Path, witness_folder: &Path) -> Self {
        Self { folder: folder.to_owned(), witness_folder: witness_folder.to_owned() }
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.folder.join(LEDGER_FILE)
    }

    pub(super) fn witness(&self) -> PathBuf {
        self.witness_folder.join(WITNESS_FILE)
    }
}

/// How a ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerState {
    /// Nothing was there, and nothing has been released here before.
    New,
    /// It is the newest, and whole.
    Sound,
    /// It cannot be trusted: everything is [`crate::Verdict::Unavailable`] until a person renews it.
    Refusing(Distrust),
}

/// Why a ledger cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// There is no ledger, though rows were released from here.
    Missing {
        /// Where it should be.
        ledger: PathBuf,
        /// What shows that there was one.
        evidence: PathBuf,
    },
    /// There is a ledger and nothing that shows that it is the newest.
    NoWitness {
        /// The ledger.
        ledger: PathBuf,
        /// Where its witness should be.
        witness: PathBuf,
    },
    /// A file cannot be read.
    Damaged {
        /// The ledger or its witness.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The ledger is older than one that was here.
    Older {
        /// The ledger.
        ledger: PathBuf,
        /// Its generation.
        generation: u64,
        /// The generation of the newest.
        newest: u64,
    },
    /// The ledger is not the one that the witness belongs to.
    Other {
        /// The ledger.
        ledger: PathBuf,
        /// The witness.
        witness: PathBuf,
    },
    /// Another process may keep the ledger as well: its lock was removed or replaced while it was held.
    LockLost(PathBuf),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { ledger, evidence } => {
                let (ledger, evidence) = (ledger.display(), evidence.display());
                write!(
                    f,
                    "the privacy ledger {ledger} is missing, though {evidence} shows that rows were released"
                )?;
            }
            Self::NoWitness { ledger, witness } => {
                let (ledger, witness) = (ledger.display(), witness.display());
                write!(
                    f,
                    "{witness} is missing, so that nothing shows that {ledger} is the newest privacy ledger"
                )?;
            }
            Self::Damaged { file, why } => write!(f, "{} is damaged: {why}", file.display())?,
            Self::Older { ledger, generation, newest } => {
                let ledger = ledger.display();
                write!(
                    f,
                    "the privacy ledger {ledger} is an old one: generation {generation}, and {newest} was here"
                )?;
            }
            Self::Other { ledger, witness } => {
                let (ledger, witness) = (ledger.display(), witness.display());
                write!(f, "the privacy ledger {ledger} and its witness {witness} do not belong together")?;
            }
            Self::LockLost(lock) => {
                let lock = lock.display();
                return write!(
                    f,
                    "{lock} was removed or replaced while this process held it, so another may keep the privacy ledger \
                     too; nothing with noise is released until the node is started again"
                );
            }
        }
        write!(f, "; nothing with noise is released until it is renewed: stop the node, kerbside ledger --renew")
    }
}

/// One account of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountReport {
    /// Of which camera.
    pub camera: CameraUid,
    /// Which account.
    pub account: Account,
    /// The beginning of the stretch that was debited last.
    pub from: WallTime,
    /// Its end: nothing that begins earlier is released again.
    pub to: WallTime,
    /// How often that stretch was debited.
    pub times: u32,
}

/// A ledger as it lies on the disk.
#[derive(Clone, Debug)]
pub struct LedgerReport {
    /// Whether it can be trusted.
    pub state: LedgerState,
    /// The ledger's file.
    pub file: PathBuf,
    /// What it says, if it can be read.
    pub content: Option<LedgerContent>,
}

/// What a ledger's file says.
#[derive(Clone, Debug)]
pub struct LedgerContent {
    /// When it was begun.
    pub begun: WallTime,
    /// How often it was written.
    pub generation: u64,
    /// How often it was renewed.
    pub renewals: u32,
    /// Nothing that begins earlier is released, whatever the account.
    pub spent_before: WallTime,
    /// Its accounts, by camera.
    pub accounts: Vec<AccountReport>,
}

impl LedgerContent {
    /// See [`crate::FileLedger::ahead_of`].
    pub fn ahead_of(&self, now: WallTime) -> Option<WallTime> {
        let early = self.accounts.iter().filter(|account| account.from > now).map(|account| account.to);
        let renewed = Some(self.spent_before).filter(|spent_before| *spent_before > next_midnight(now));
        early.chain(renewed).max()
    }
}

/// The next midnight of UTC after a moment.
pub(super) fn next_midnight(now: WallTime) -> WallTime {
    now.bin_start(DAY) + DAY
}

/// Reads a ledger and changes nothing. It may be in use: it is then as it was at some moment of the reading.
pub fn inspect_ledger(folder: &Path, witness_folder: &Path) -> LedgerReport {
    let places = Places::new(folder, witness_folder);
    let Found { state, book, .. } = find(&places);
    LedgerReport { state, file: places.ledger(), content: book.as_ref().map(content_of) }
}

/// What a book says, for those who look from outside.
pub(super) fn content_of(book: &Book) -> LedgerContent {
    let Book { begun, generation, renewals, ref accounts } = *book;
    let reports = accounts.list.iter().map(|(&(camera, account), balance)| {
        let Balance { from, to, times } = *balance;
        AccountReport { camera, account, from, to, times }
    });
    LedgerContent { begun, generation, renewals, spent_before: accounts.spent_before, accounts: reports.collect() }
}

/// What lies on the disk.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) state: LedgerState,
    /// The ledger, if it can be read, trusted or not.
    pub(super) book: Option<Book>,
    /// The witness, if it can be read.
    pub(super) witness: Option<Witness>,
}

/// Looks at what is there and judges it.
pub(super) fn find(places: &Places) -> Found {
    let (ledger, witness) = (places.ledger(), places.witness());
    // The witness first: it is written last, so a ledger that is being written is never older than it.
    let witness_found = read(&witness, Witness::read);
    let book_found = read(&ledger, Book::read);
    let state = match (&book_found, &witness_found) {
        (Err(why), _) => refusing(Distrust::Damaged { file: ledger, why: why.clone() }),
        (Ok(_), Err(why)) => refusing(Distrust::Damaged { file: witness, why: why.clone() }),
        (Ok(None), Ok(Some(_))) => refusing(Distrust::Missing { ledger, evidence: witness }),
        (Ok(None), Ok(None)) => match released_rows(places) {
            Some(evidence) => refusing(Distrust::Missing { ledger, evidence }),
            None => LedgerState::New,
        },
        // A first start that broke off between the two files leaves this behind.
        (Ok(Some(book)), Ok(None)) if book.is_blank() && released_rows(places).is_none() => LedgerState::New,
        (Ok(Some(_)), Ok(None)) => refusing(Distrust::NoWitness { ledger, witness }),
        (Ok(Some(book)), Ok(Some(seen))) => {
            let (generation, newest) = (book.generation, seen.generation);
            if generation < newest {
                refusing(Distrust::Older { ledger, generation, newest })
            } else if book.begun != seen.begun
                || (generation == newest && Witness::of(book, &book.text()) != *seen)
            {
                refusing(Distrust::Other { ledger, witness })
            } else {
                LedgerState::Sound
            }
        }
    };
    Found { state, book: book_found.unwrap_or_default(), witness: witness_found.unwrap_or_default() }
}

fn refusing(why: Distrust) -> LedgerState {
    LedgerState::Refusing(why)
}

fn read<T>(path: &Path, parse: fn(&[u8]) -> Result<T, &'static str>) -> Result<Option<T>, String> {
    match disk::read(path) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => parse(&bytes).map(Some).map_err(str::to_owned),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether rows of counts lie where the witness should: then a ledger was there too.
fn released_rows(places: &Places) -> Option<PathBuf> {
    let folder = places.witness_folder.join(Table::Agg.name());
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(_) => return Some(folder),
    };
    for entry in entries {
        // What cannot be listed may be a segment.
        let Ok(entry) = entry else { return Some(folder) };
        if entry.path().extension().is_some_and(|extension| extension == "seg") {
            return Some(entry.path());
        }
    }
    None
}
