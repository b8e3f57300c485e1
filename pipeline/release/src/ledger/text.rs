//! The ledger's file and its witness, as texts that a person can read.
//!
//! ```text
//! kerbside privacy ledger, version 1
//! begun 2026-11-23T08:00:00.000Z
//! generation 17
//! renewals 0
//! spent before 1970-01-01T00:00:00.000Z
//! account 9f86d081884c7d659a2feaa0c55ad015 person from 2026-11-23T10:00:00.000Z to 2026-11-23T10:15:00.000Z times 1
//! sha256 ...
//! ```
//!
//! The last line is the SHA-256 of all lines before it. A text is read only where writing what was read gives the same
//! text again, so nothing in it can be overlooked.

use std::fmt::Write as _;
use std::time::Duration;

use kerbside_core::time::WallTime;
use sha2::{Digest as _, Sha256};

use super::memory::{Accounts, Balance};
use super::{Account, CameraUid};

const LEDGER: &str = "kerbside privacy ledger, version ";
const WITNESS: &str = "kerbside privacy ledger, witness, version ";
const VERSION: &str = "1";
const LEDGER_WORDS: &str = "\
# Of which camera and time numbers have left, so that none leaves twice. It holds no counts, tracks or pictures.
# Who changes, deletes or restores it stops the release of numbers with noise. `kerbside ledger` shows and renews it.
";
const WITNESS_WORDS: &str = "\
# Shows whether the privacy ledger was deleted or replaced by an older one. It belongs to the ledger.
";

/// What the ledger's file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Book {
    /// When this ledger was begun: tells one ledger from another.
    pub(super) begun: WallTime,
    /// How often it has been written; it goes on counting when the ledger is renewed.
    pub(super) generation: u64,
    /// How often a person has renewed it.
    pub(super) renewals: u32,
    pub(super) accounts: Accounts,
}

/// What the witness knows of the ledger's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) begun: WallTime,
    pub(super) generation: u64,
    pub(super) renewals: u32,
    /// SHA-256 of the ledger's file of that generation.
    pub(super) ledger: [u8; 32],
}

impl Book {
    /// A ledger that was never written.
    pub(super) fn new(begun: WallTime) -> Self {
        Self { begun, generation: 0, renewals: 0, accounts: Accounts::default() }
    }

    /// Whether nothing was ever debited, and nobody has renewed it.
    pub(super) fn is_blank(&self) -> bool {
        self.accounts == Accounts::default() && self.renewals == 0
    }

    /// What is written of it.
    pub(super) fn text(&self) -> String {
        let Self { begun, generation, renewals, accounts } = self;
        let mut text = format!("{LEDGER}{VERSION}\n{LEDGER_WORDS}");
        text += &head(*begun, *generation, *renewals);
        text += &format!("spent before {}\n", exact(accounts.spent_before));
        for ((camera, account), balance) in &accounts.list {
            let (from, to) = (exact(balance.from), exact(balance.to));
            let (account, times) = (account.name(), balance.times);
            text += &format!("account {camera} {account} from {from} to {to} times {times}\n");
        }
        sealed(text)
    }

    /// Reads the file, or says what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let body = opened(bytes, LEDGER)?;
        let book = Self::from_body(body).ok_or("it holds what no ledger holds")?;
        if book.text().as_bytes() == bytes { Ok(book) } else { Err("it is not as a ledger is written") }
    }

    fn from_body(body: &str) -> Option<Self> {
        let mut lines = body.lines().skip(1).filter(|line| !line.starts_with('#'));
        let (begun, generation, renewals) = read_head(&mut lines)?;
        let spent_before = WallTime::parse_rfc3339(lines.next()?.strip_prefix("spent before ")?)?;
        let mut accounts = Accounts { spent_before, ..Accounts::default() };
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let ["account", camera, account, "from", from, "to", to, "times", times] = words[..] else {
                return None;
            };
            let account = Account::ALL.into_iter().find(|known| known.name() == account)?;
            let (from, to) = (WallTime::parse_rfc3339(from)?, WallTime::parse_rfc3339(to)?);
            let balance = Balance { from, to, times: times.parse().ok()? };
            accounts.list.insert((CameraUid(from_hex(camera)?), account), balance);
        }
        Some(Self { begun, generation, renewals, accounts })
    }
}

impl Witness {
    /// The witness of a ledger of which that text was written.
    pub(super) fn of(book: &Book, text: &str) -> Self {
        let Book { begun, generation, renewals, .. } = *book;
        Self { begun, generation, renewals, ledger: Sha256::digest(text.as_bytes()).into() }
    }

    /// What is written of it.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{WITNESS}{VERSION}\n{WITNESS_WORDS}");
        text += &head(self.begun, self.generation, self.renewals);
        text += &format!("ledger {}\n", hex(&self.ledger));
        sealed(text)
    }

    /// Reads the file, or says what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let body = opened(bytes, WITNESS)?;
        let witness = Self::from_body(body).ok_or("it holds what no witness holds")?;
        if witness.text().as_bytes() == bytes { Ok(witness) } else { Err("it is not as a witness is written") }
    }

    fn from_body(body: &str) -> Option<Self> {
        let mut lines = body.lines().skip(1).filter(|line| !line.starts_with('#'));
        let (begun, generation, renewals) = read_head(&mut lines)?;
        let ledger = from_hex(lines.next()?.strip_prefix("ledger ")?)?;
        Some(Self { begun, generation, renewals, ledger })
    }
}

fn head(begun: WallTime, generation: u64, renewals: u32) -> String {
    format!("begun {}\ngeneration {generation}\nrenewals {renewals}\n", exact(begun))
}

fn read_head<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Option<(WallTime, u64, u32)> {
    let begun = WallTime::parse_rfc3339(lines.next()?.strip_prefix("begun ")?)?;
    let generation = lines.next()?.strip_prefix("generation ")?.parse().ok()?;
    let renewals = lines.next()?.strip_prefix("renewals ")?.parse().ok()?;
    Some((begun, generation, renewals))
}

/// The text with its last line.
fn sealed(mut text: String) -> String {
    let hash = Sha256::digest(text.as_bytes());
    text += &format!("sha256 {}\n", hex(&hash));
    text
}

/// The text without its last line, if that is right.
fn opened<'a>(bytes: &'a [u8], kind: &str) -> Result<&'a str, &'static str> {
    let text = str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let version = text.strip_prefix(kind).and_then(|rest| rest.lines().next());
    match version {
        Some(VERSION) => {}
        Some(other) if other.bytes().all(|byte| byte.is_ascii_digit()) => return Err("it is of another version"),
        _ => return Err("it is empty or something else"),
    }
    let end = text.rfind("sha256 ").ok_or("it is cut off")?;
    let (body, _) = text.split_at(end);
    if sealed(body.to_owned()) == text { Ok(body) } else { Err("its checksum is wrong") }
}

/// RFC 3339 with nanoseconds where there are any: nothing is rounded.
fn exact(at: WallTime) -> String {
    let mut text = at.to_string();
    let nanos = at.as_unix_nanos() % Duration::from_millis(1).as_nanos() as u64;
    if nanos > 0 {
        text.pop();
        text += &format!("{nanos:06}Z");
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> WallTime {
        WallTime::parse_rfc3339(text).unwrap()
    }

    fn book() -> Book {
        let mut accounts = Accounts { spent_before: at("2026-11-24T00:00:00Z"), ..Accounts::default() };
        let balance =
            Balance { from: at("2026-11-24T10:00:00Z"), to: at("2026-11-24T10:15:00.000000001Z"), times: 3 };
        for account in Account::ALL {
            accounts.list.insert((CameraUid([0xa7; 16]), account), balance);
        }
        Book { begun: at("2026-11-23T08:00:00.123456789Z"), generation: 17, renewals: 2, accounts }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let book = book();
        assert_eq!(Book::read(book.text().as_bytes()), Ok(book.clone()));
        let witness = Witness::of(&book, &book.text());
        assert_eq!(Witness::read(witness.text().as_bytes()), Ok(witness));
    }

    #[test]
    fn a_person_can_read_it() {
        let text = book().text();
        assert!(text.starts_with("kerbside privacy ledger, version 1\n# "), "{text}");
        let lines = [
            "begun 2026-11-23T08:00:00.123456789Z",
            "generation 17",
            "renewals 2",
            "spent before 2026-11-24T00:00:00.000Z",
            "account a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7 person from 2026-11-24T10:00:00.000Z to \
             2026-11-24T10:15:00.000000001Z times 3",
        ];
        for line in lines {
            assert!(text.lines().any(|found| found == line), "{line}\nis missing in\n{text}");
        }
    }

    #[test]
    fn pc_9_no_flipped_bit_and_no_cut_off_file_is_taken_for_a_ledger() {
        let text = book().text().into_bytes();
        let witness = Witness::of(&book(), &book().text()).text().into_bytes();
        for place in 0..text.len() {
            for bit in 0..8 {
                let mut flipped = text.clone();
                flipped[place] ^= 1 << bit;
                assert!(Book::read(&flipped).is_err(), "bit {bit} of byte {place}");
            }
            assert!(Book::read(&text[..place]).is_err(), "cut at {place}");
        }
        for place in 0..witness.len() {
            let mut flipped = witness.clone();
            flipped[place] ^= 4;
            assert!(Witness::read(&flipped).is_err(), "byte {place}");
            assert!(Witness::read(&witness[..place]).is_err(), "cut at {place}");
        }
        assert!(Book::read(&witness).is_err() && Witness::read(&text).is_err());
    }

    #[test]
    fn what_the_checksum_covers_must_still_be_a_ledger() {
        let whole = book().text();
        let body = &whole[..whole.rfind("sha256 ").unwrap()];
        let account = body.lines().last().unwrap();
        for changed in [
            body.replace("times 3", "times 03"),
            body.replace("person", "cat"),
            body.replace("generation 17\n", ""),
            body.replace("version 1", "version 2"),
            body.replace("# Who", "# Nobody who"),
            format!("{body}{account}\n"),
            format!("{body}\n"),
        ] {
            assert_ne!(changed, body);
            assert!(Book::read(sealed(changed.clone()).as_bytes()).is_err(), "{changed}");
        }
        assert!(Book::read(sealed(body.to_owned()).as_bytes()).is_ok());
    }
}
