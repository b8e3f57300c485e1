//! What a gateway must not forget: which rows are stored, in which files, and who may go on.
//!
//! One redb file, with one writer: redb locks it, so that two gateways cannot work on one state. Every method
//! that changes something is one transaction that is on the disk when it returns. All of it is small enough to be
//! read at the start, and what is asked often is kept in memory beside.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kerbside_uplink::ranges::RangeSet;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::error::GatewayError;

const FILE: &str = "state.redb";
const FORMAT: u64 = 1;

const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// Node, table and epoch to the ranges of stored numbers: pairs of 64-bit numbers, little-endian.
const STORED: TableDefinition<'_, (&str, &str, u32), &[u8]> = TableDefinition::new("stored");
const INTENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("intents");
/// Table, day and object to what it holds.
const FILES: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("files");
const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens");
/// Node, hash and table to the checksum of the words.
const VOCABULARIES: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("vocabularies");

/// One stream of numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamKey {
    /// The node.
    pub node: String,
    /// The table's name.
    pub table: String,
    /// The spool's epoch.
    pub epoch: u32,
}

/// A file of the landing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LandingFile {
    /// Its name in the landing.
    pub key: String,
    /// The table's name.
    pub table: String,
    /// The day of its rows, `YYYY-MM-DD` in UTC.
    pub day: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub written: i64,
    /// How many rounds of merging made it.
    #[serde(default)]
    pub merged: u32,
}

/// Something that is being done and is finished or undone after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// Files are written that hold rows of these numbers.
    Commit {
        /// The files.
        files: Vec<LandingFile>,
        /// The numbers that are stored, or known never to come, once all of the files are there.
        ranges: Vec<(StreamKey, Vec<(u64, u64)>)>,
    },
    /// Files are written that take the place of others.
    Merge {
        /// The new ones.
        targets: Vec<LandingFile>,
        /// The old ones.
        sources: Vec<LandingFile>,
    },
    /// Files are deleted that the index does not list any more.
    Delete {
        /// Their names.
        keys: Vec<String>,
    },
}

/// Who a node's last connection was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// The token that was given last.
    pub current: u64,
    /// The one before; 0 once the current one was used.
    pub previous: u64,
    /// The process that was given the current one.
    pub instance: u64,
}

/// What is kept in memory as well.
#[derive(Debug, Default)]
struct Memory {
    stored: HashMap<StreamKey, RangeSet>,
    tokens: HashMap<String, Tokens>,
    vocabularies: HashMap<(String, String, String), [u8; 32]>,
    files: BTreeMap<(String, String), Vec<LandingFile>>,
}

/// The state.
#[derive(Debug)]
pub struct State {
    database: Database,
    /// A random number of this life of the state: see [`State::life`].
    life: u32,
    memory: Mutex<Memory>,
}

impl State {
    /// Opens or makes the state in `folder`.
    ///
    /// # Errors
    /// [`GatewayError::StateInUse`] where another gateway has it.
    pub fn open(folder: &Path) -> Result<Self, GatewayError> {
        fs::create_dir_all(folder).map_err(GatewayError::io(format!("the folder {}", folder.display())))?;
        let database = match Database::create(folder.join(FILE)) {
            Ok(database) => database,
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                return Err(GatewayError::StateInUse(folder.to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        let memory = load(&database)?;
        Ok(Self { database, life: getrandom::u32()?, memory: Mutex::new(memory) })
    }

    /// A random number of this opening, for names of files: a state that came out of a backup gives the numbers of
    /// [`State::begin`] a second time, and what they named the first time is still there.
    pub fn life(&self) -> u32 {
        self.life
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Whoever panicked left it whole: it is changed in single steps, after the disk.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers that are stored of a stream.
    pub fn stored(&self, key: &StreamKey) -> RangeSet {
        self.memory().stored.get(key).cloned().unwrap_or_default()
    }

    /// The largest number that is stored of a stream.
    pub fn last_stored(&self, key: &StreamKey) -> Option<u64> {
        self.memory().stored.get(key).and_then(RangeSet::last)
    }

    /// The least number of a stream that is not stored.
    pub fn next_seq(&self, key: &StreamKey) -> u64 {
        self.memory().stored.get(key).map_or(0, RangeSet::next)
    }

    /// The epochs of a node of which something is stored.
    pub fn epochs(&self, node: &str) -> Vec<u32> {
        let memory = self.memory();
        let mut epochs: Vec<u32> =
            memory.stored.keys().filter(|key| key.node == node).map(|key| key.epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// The tokens of a node that was here before.
    pub fn tokens(&self, node: &str) -> Option<Tokens> {
        self.memory().tokens.get(node).copied()
    }

    /// Remembers a node's tokens.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn set_tokens(&self, node: &str, tokens: Tokens) -> Result<(), GatewayError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(TOKENS)?.insert(node, written(&tokens)?.as_slice())?;
        transaction.commit()?;
        self.memory().tokens.insert(node.to_owned(), tokens);
        Ok(())
    }

    /// The checksum of the words that a node has under a vocabulary's hash.
    pub fn vocabulary(&self, node: &str, hash: &str, table: &str) -> Option<[u8; 32]> {
        self.memory().vocabularies.get(&(node.to_owned(), hash.to_owned(), table.to_owned())).copied()
    }

    /// Remembers it.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn set_vocabulary(
        &self,
        node: &str,
        hash: &str,
        table: &str,
        digest: [u8; 32],
    ) -> Result<(), GatewayError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(VOCABULARIES)?.insert((node, hash, table), digest.as_slice())?;
        transaction.commit()?;
        self.memory().vocabularies.insert((node.to_owned(), hash.to_owned(), table.to_owned()), digest);
        Ok(())
    }

    /// The files of a table and day, in the order in which they were written.
    pub fn files(&self, table: &str, day: &str) -> Vec<LandingFile> {
        self.memory().files.get(&(table.to_owned(), day.to_owned())).cloned().unwrap_or_default()
    }

    /// Every table and day of which there are files.
    pub fn days(&self) -> Vec<(String, String)> {
        self.memory().files.keys().cloned().collect()
    }

    /// Files and bytes of a table.
    pub fn size(&self, table: &str) -> (u64, u64) {
        let memory = self.memory();
        let files = memory.files.iter().filter(|((of, _), _)| of == table).flat_map(|(_, files)| files);
        files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.bytes))
    }

    /// Begins something that is to be finished or undone. Its number was never given before and never is again, so that
    /// files can be named by it, together with [`State::life`].
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn begin(&self, intent: impl FnOnce(u64) -> Intent) -> Result<(u64, Intent), GatewayError> {
        let transaction = self.database.begin_write()?;
        let number = next_number(&transaction)?;
        let intent = intent(number);
        transaction.open_table(INTENTS)?.insert(number, written(&intent)?.as_slice())?;
        transaction.commit()?;
        Ok((number, intent))
    }

    /// What was begun and is neither finished nor undone.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn open_intents(&self) -> Result<Vec<(u64, Intent)>, GatewayError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(INTENTS)?;
        let mut intents = Vec::new();
        for entry in table.iter()? {
            let (number, bytes) = entry?;
            intents.push((number.value(), read(bytes.value())?));
        }
        Ok(intents)
    }

    /// Finishes a commit: its files are listed and its numbers are stored.
    ///
    /// # Errors
    /// The state cannot be written; nothing has changed.
    pub fn finish_commit(
        &self,
        number: u64,
        files: &[LandingFile],
        ranges: &[(StreamKey, Vec<(u64, u64)>)],
    ) -> Result<(), GatewayError> {
        let mut changed: Vec<(StreamKey, RangeSet)> = Vec::with_capacity(ranges.len());
        for (key, added) in ranges {
            let mut set = self.stored(key);
            added.iter().for_each(|(first, last)| set.insert(*first, *last));
            changed.push((key.clone(), set));
        }
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(STORED)?;
            for (key, set) in &changed {
                let bytes: Vec<u8> = set
                    .iter()
                    .flat_map(|(first, last)| [first.to_le_bytes(), last.to_le_bytes()])
                    .flatten()
                    .collect();
                table.insert((key.node.as_str(), key.table.as_str(), key.epoch), bytes.as_slice())?;
            }
        }
        list(&transaction, files)?;
        transaction.open_table(INTENTS)?.remove(number)?;
        transaction.commit()?;
        let mut memory = self.memory();
        memory.stored.extend(changed);
        memory.add_files(files);
        Ok(())
    }

    /// Ends an intent of which nothing is left to do.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn drop_intent(&self, number: u64) -> Result<(), GatewayError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(INTENTS)?.remove(number)?;
        transaction.commit()?;
        Ok(())
    }

    /// Puts `targets` into the list in place of `sources`, whose files are now to be deleted: the intent of that number
    /// becomes one to delete them, or a new one is made.
    ///
    /// # Errors
    /// The state cannot be written; nothing has changed.
    pub fn replace_files(
        &self,
        number: Option<u64>,
        targets: &[LandingFile],
        sources: &[LandingFile],
    ) -> Result<u64, GatewayError> {
        let transaction = self.database.begin_write()?;
        let number = match number {
            Some(number) => number,
            None => next_number(&transaction)?,
        };
        {
            let mut table = transaction.open_table(FILES)?;
            for file in sources {
                table.remove((file.table.as_str(), file.day.as_str(), file.key.as_str()))?;
            }
        }
        list(&transaction, targets)?;
        let intent = Intent::Delete { keys: sources.iter().map(|file| file.key.clone()).collect() };
        transaction.open_table(INTENTS)?.insert(number, written(&intent)?.as_slice())?;
        transaction.commit()?;
        let mut memory = self.memory();
        for file in sources {
            let place = (file.table.clone(), file.day.clone());
            if let Some(files) = memory.files.get_mut(&place) {
                files.retain(|known| known.key != file.key);
                if files.is_empty() {
                    memory.files.remove(&place);
                }
            }
        }
        memory.add_files(targets);
        Ok(number)
    }
}

impl Memory {
    fn add_files(&mut self, files: &[LandingFile]) {
        for file in files {
            self.files.entry((file.table.clone(), file.day.clone())).or_default().push(file.clone());
        }
    }
}

fn next_number(transaction: &redb::WriteTransaction) -> Result<u64, GatewayError> {
    let mut table = transaction.open_table(NUMBERS)?;
    let number = table.get("next")?.map_or(1, |number| number.value());
    table.insert("next", number + 1)?;
    Ok(number)
}

fn list(transaction: &redb::WriteTransaction, files: &[LandingFile]) -> Result<(), GatewayError> {
    let mut table = transaction.open_table(FILES)?;
    for file in files {
        table.insert((file.table.as_str(), file.day.as_str(), file.key.as_str()), written(file)?.as_slice())?;
    }
    Ok(())
}

fn load(database: &Database) -> Result<Memory, GatewayError> {
    let transaction = database.begin_write()?;
    let mut memory = Memory::default();
    {
        let mut numbers = transaction.open_table(NUMBERS)?;
        let format = numbers.get("format")?.map(|format| format.value());
        match format {
            Some(FORMAT) => {}
            Some(other) => {
                return Err(GatewayError::StateContent(format!(
                    "format {other}, where this version writes {FORMAT}"
                )));
            }
            None => {
                numbers.insert("format", FORMAT)?;
            }
        }
        for entry in transaction.open_table(STORED)?.iter()? {
            let (key, bytes) = entry?;
            let (node, table, epoch) = key.value();
            let key = StreamKey { node: node.to_owned(), table: table.to_owned(), epoch };
            memory.stored.insert(key, ranges(bytes.value())?);
        }
        for entry in transaction.open_table(TOKENS)?.iter()? {
            let (node, bytes) = entry?;
            memory.tokens.insert(node.value().to_owned(), read(bytes.value())?);
        }
        for entry in transaction.open_table(VOCABULARIES)?.iter()? {
            let (key, bytes) = entry?;
            let (node, hash, table) = key.value();
            let digest = bytes.value().try_into();
            let digest =
                digest.map_err(|_| GatewayError::StateContent("a checksum of another length".to_owned()))?;
            memory.vocabularies.insert((node.to_owned(), hash.to_owned(), table.to_owned()), digest);
        }
        let mut files = Vec::new();
        for entry in transaction.open_table(FILES)?.iter()? {
            files.push(read::<LandingFile>(entry?.1.value())?);
        }
        memory.add_files(&files);
        transaction.open_table(INTENTS)?;
    }
    transaction.commit()?;
    Ok(memory)
}

fn ranges(bytes: &[u8]) -> Result<RangeSet, GatewayError> {
    let (pairs, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(GatewayError::StateContent("half a range".to_owned()));
    }
    let number = |pair: &[u8; 16], at: usize| {
        pair.iter().skip(at).take(8).rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    Ok(pairs.iter().map(|pair| (number(pair, 0), number(pair, 8))).collect())
}

fn written<T: Serialize>(value: &T) -> Result<Vec<u8>, GatewayError> {
    serde_json::to_vec(value).map_err(|error| GatewayError::StateContent(error.to_string()))
}

fn read<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, GatewayError> {
    serde_json::from_slice(bytes).map_err(|error| GatewayError::StateContent(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str) -> LandingFile {
        LandingFile {
            key: key.to_owned(),
            table: "agg.v1".to_owned(),
            day: "2026-01-02".to_owned(),
            rows: 3,
            bytes: 100,
            written: 0,
            merged: 0,
        }
    }

    #[test]
    fn what_was_stored_is_known_after_a_restart_and_the_state_has_one_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let key = StreamKey { node: "a".to_owned(), table: "agg.v1".to_owned(), epoch: 7 };
        let tokens = Tokens { current: u64::MAX, previous: 4, instance: 5 };
        let state = State::open(folder.path()).unwrap();
        assert!(matches!(State::open(folder.path()), Err(GatewayError::StateInUse(_))));
        let ranges = vec![(key.clone(), vec![(0, 4), (9, u64::MAX - 1)])];
        let intent = Intent::Commit { files: vec![file("x")], ranges: ranges.clone() };
        let (number, intent) = state.begin(|_| intent).unwrap();
        assert_eq!(state.open_intents().unwrap(), [(number, intent)]);
        assert!(state.stored(&key).is_empty() && state.files("agg.v1", "2026-01-02").is_empty());
        state.finish_commit(number, &[file("x")], &ranges).unwrap();
        state.set_tokens("a", tokens).unwrap();
        state.set_vocabulary("a", "h", "agg.v1", [3; 32]).unwrap();
        drop(state);
        let state = State::open(folder.path()).unwrap();
        assert!(state.open_intents().unwrap().is_empty());
        assert_eq!(state.stored(&key).iter().collect::<Vec<_>>(), [(0, 4), (9, u64::MAX - 1)]);
        assert_eq!((state.epochs("a"), state.epochs("b")), (vec![7], vec![]));
        assert_eq!(state.tokens("a"), Some(tokens));
        assert_eq!(state.vocabulary("a", "h", "agg.v1"), Some([3; 32]));
        assert_eq!(state.files("agg.v1", "2026-01-02"), [file("x")]);
        let delete = state.replace_files(None, &[file("y")], &[file("x")]).unwrap();
        assert!(delete > number);
        assert_eq!(state.open_intents().unwrap(), [(delete, Intent::Delete { keys: vec!["x".to_owned()] })]);
        drop(state);
        let state = State::open(folder.path()).unwrap();
        assert_eq!(state.files("agg.v1", "2026-01-02"), [file("y")]);
        assert_eq!(state.size("agg.v1"), (1, 100));
    }
}
