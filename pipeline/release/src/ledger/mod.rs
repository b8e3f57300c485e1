//! The budget ledger: what has been released of which camera and wall-clock bin.
//!
//! A budget belongs to a camera and a stretch of wall time, not to a line, a configuration or a process. Each stretch
//! can be debited once; an account only moves forward, so neither a clock that is set back nor a new configuration buys
//! anything. Who asks is told so before any noise is drawn, and a ledger that cannot be sure says no.
//!
//! [`FileLedger`] keeps accounts across restarts and is the one place of this crate that touches files; [`MemoryLedger`]
//! is for a clip. Neither reads a clock or starts a thread.

mod disk;
mod error;
mod file;
mod lock;
mod memory;
mod state;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

use kerbside_core::detection::Class;
use kerbside_core::time::WallTime;

pub use error::LedgerError;
pub use file::{Ahead, FileLedger};
pub use memory::MemoryLedger;
pub use state::{AccountReport, Distrust, LedgerContent, LedgerReport, LedgerState, inspect_ledger};

/// Who a budget belongs to: a camera, by what it looks through and not by its name or its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CameraUid(pub [u8; 16]);

impl fmt::Display for CameraUid {
    /// In hexadecimal digits, as in the ledger's file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One account of a camera. An object is of one class, so the accounts of classes do not add up for anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Counts of people on foot.
    Person,
    /// Counts of bicycles.
    Bicycle,
    /// Counts of all other classes.
    Vehicle,
    /// Alerts on a number of people.
    Alert,
}

impl Account {
    /// Every account, in the order of the ledger's file.
    pub const ALL: [Self; 4] = [Self::Person, Self::Bicycle, Self::Vehicle, Self::Alert];

    /// The account's name in the ledger's file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Bicycle => "bicycle",
            Self::Vehicle => "vehicle",
            Self::Alert => "alert",
        }
    }

    /// Which account counts of a class are debited from; `None` stands for all vehicles together.
    pub const fn of(class: Option<Class>) -> Self {
        match class {
            Some(Class::Person) => Self::Person,
            Some(Class::Bicycle) => Self::Bicycle,
            Some(Class::Motorcycle | Class::Car | Class::Bus | Class::Truck | Class::Other) | None => {
                Self::Vehicle
            }
        }
    }
}

/// A wish to release numbers about the time from `from` to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debit {
    /// Of which camera.
    pub camera: CameraUid,
    /// From which account.
    pub account: Account,
    /// The beginning of the stretch.
    pub from: WallTime,
    /// Its end, later than its beginning.
    pub to: WallTime,
    /// How often the same stretch may be debited: 1 for bins, the number of alerts a day for [`Account::Alert`],
    /// whose stretches are days of UTC.
    pub most: u32,
}

/// What the ledger says to a debit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is debited, and that is on the disk.
    Granted,
    /// All or a part of the stretch, or a later one, has been debited before.
    Spent,
    /// The ledger cannot be trusted or written.
    Unavailable,
}

/// Keeps what has been debited.
pub trait Ledger: fmt::Debug + Send {
    /// Debits each stretch that is still free and puts that on the disk before it returns: one verdict each, in order.
    /// Where that fails, nothing is granted, and what was asked for may count as spent from then on.
    fn debit(&mut self, debits: &[Debit]) -> Vec<Verdict>;

    /// Whether [`Ledger::debit`] would grant this now. It changes nothing.
    fn would_grant(&self, debit: &Debit) -> bool;

    /// Why the ledger answers [`Verdict::Unavailable`] at present, for the log: which file, and what to do.
    fn trouble(&self) -> Option<String> {
        None
    }
}
