//! What a node sends, checked against everything that is known about it, before it is stored.
//!
//! One [`Checker`] serves one stream: it is opened with the schema, given the words, then the rows. Nothing leaves it
//! that a release stage of this version could not have made: columns, words, lengths of bins, steps and ranges are those
//! of the privacy contract. That the numbers are true it cannot know.

use std::sync::Arc;

use arrow_array::{Array as _, RecordBatch, StringArray};
use arrow_schema::{Field, Schema, SchemaRef};
use kerbside_release::Table;
use kerbside_uplink::wire::{self, Refusal};
use sha2::{Digest as _, Sha256};

use crate::ipc::{self, Opening};
use crate::refused::Refused;
use crate::values::Rules;

/// Checks one stream of one node.
#[derive(Debug)]
pub struct Checker {
    node: Arc<str>,
    opening: Opening,
    epoch: u32,
    accept_demo: bool,
    columns: Vec<Field>,
    schema: SchemaRef,
    words: Vec<Option<Arc<StringArray>>>,
    /// What the words mean for the values; known once all of them are there.
    rules: Option<Rules>,
}

impl Checker {
    /// Opens a stream with the message of its schema. `table` is the name that the stream was opened under.
    ///
    /// # Errors
    /// The whole stream is to be refused.
    pub fn open(
        node: &str,
        epoch: u32,
        accept_demo: bool,
        table: &str,
        header: &[u8],
        body: &[u8],
    ) -> Result<Self, Refused> {
        let opening = ipc::read_schema(header, body)?;
        if opening.table.name() != table {
            return Err(Refused::new(Refusal::Schema, "the stream's name is not that of its table"));
        }
        let columns = opening.table.columns();
        let schema = Arc::new(Schema::new(columns.clone()));
        let words = vec![None; columns.len()];
        Ok(Self { node: node.into(), opening, epoch, accept_demo, columns, schema, words, rules: None })
    }

    /// The table.
    pub fn table(&self) -> Table {
        self.opening.table
    }

    /// The hash of the vocabulary, as the node gives it.
    pub fn vocabulary(&self) -> &str {
        &self.opening.vocabulary
    }

    /// Takes in the words of one column.
    ///
    /// # Errors
    /// The whole stream is to be refused.
    pub fn dictionary(&mut self, header: &[u8], body: &[u8]) -> Result<(), Refused> {
        let (id, words) = ipc::read_dictionary(header, body)?;
        let place = self.opening.dictionaries.iter().position(|known| *known == Some(id));
        let (Some(column), Some(slot)) =
            (place.and_then(|place| self.columns.get(place)), place.and_then(|place| self.words.get_mut(place)))
        else {
            return Err(Refused::new(Refusal::Malformed, "the words of no column"));
        };
        if slot.is_some() {
            return Err(Refused::new(Refusal::Malformed, format!("the words of {} twice", column.name())));
        }
        let name = column.name();
        if name == "node" {
            if words.len() != 1 || words.value(0) != &*self.node {
                return Err(Refused::new(Refusal::Identity, "the rows are of another node than the certificate"));
            }
        } else if let Some(word) =
            (0..words.len()).find(|word| !self.opening.table.is_word(name, words.value(*word)))
        {
            return Err(Refused::new(Refusal::Vocabulary, format!("word {word} of {name} may not stand there")));
        }
        *slot = Some(Arc::new(words));
        let is_complete =
            self.words.iter().zip(&self.opening.dictionaries).all(|(words, id)| words.is_some() || id.is_none());
        if is_complete {
            self.rules = Some(Rules::new(self.opening.table, &self.columns, &self.words));
        }
        Ok(())
    }

    /// A checksum of all words of the stream, once they are there: under one hash of a vocabulary there must always be
    /// the same.
    pub fn vocabulary_digest(&self) -> Option<[u8; 32]> {
        self.rules.as_ref()?;
        let mut digest = Sha256::new();
        for (column, words) in self.columns.iter().zip(&self.words) {
            let Some(words) = words else { continue };
            digest.update(column.name());
            digest.update([0]);
            for word in (0..words.len()).map(|word| words.value(word)) {
                digest.update(word);
                digest.update([0]);
            }
            digest.update([1]);
        }
        Some(digest.finalize().into())
    }

    /// Checks a batch of rows and gives it, its columns typed and its words as a dictionary. `now` is in milliseconds
    /// since 1970.
    ///
    /// # Errors
    /// This batch alone is to be refused.
    pub fn rows(
        &self,
        header: &[u8],
        body: &[u8],
        numbers: &wire::Rows,
        now: i64,
    ) -> Result<RecordBatch, Refused> {
        if header.len() + body.len() > wire::MAX_MESSAGE_BYTES {
            return Err(Refused::new(Refusal::Size, format!("a batch of {} bytes", header.len() + body.len())));
        }
        if wire::checksum(header, body) != numbers.crc {
            return Err(Refused::new(Refusal::Checksum, "the checksum of a batch is wrong"));
        }
        let Some(rules) = &self.rules else {
            return Err(Refused::new(Refusal::Malformed, "rows before all words are known"));
        };
        let arrays = ipc::read_rows(&self.columns, &self.words, header, body)?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|error| Refused::new(Refusal::Malformed, error.to_string()))?;
        let rows = batch.num_rows() as u64;
        let last = numbers.first_seq.checked_add(rows.saturating_sub(1));
        if rows == 0 || last.is_none_or(|last| numbers.last_seq < last) || numbers.last_seq == u64::MAX {
            return Err(Refused::new(Refusal::Malformed, "the numbers do not fit the rows"));
        }
        rules.check(&batch, self.epoch, numbers.first_seq, self.accept_demo, now)?;
        Ok(batch)
    }
}

/// Reads the messages of a stream out of foreign bytes, as the gateway reads those of a stream: the schema first, then
/// words and rows, each as two lengths of 32 bits, little-endian, its header and its body. Gives the batches that would
/// be stored. For tests and fuzzing: checksums and numbers are taken as given, and no day is too late.
pub fn read_messages(node: &str, epoch: u32, table: &str, mut bytes: &[u8]) -> Vec<RecordBatch> {
    let mut checker: Option<Checker> = None;
    let mut batches = Vec::new();
    let mut first_seq = 0;
    while let Some((header, body, rest)) = take_message(bytes) {
        bytes = rest;
        let Some(known) = &mut checker else {
            match Checker::open(node, epoch, false, table, header, body) {
                Ok(opened) => checker = Some(opened),
                Err(_) => return batches,
            }
            continue;
        };
        if ipc::kind(header) == Some(arrow_ipc::MessageHeader::DictionaryBatch) {
            if known.dictionary(header, body).is_err() {
                return batches;
            }
            continue;
        }
        let crc = wire::checksum(header, body);
        let numbers = wire::Rows { first_seq, last_seq: first_seq + ipc::MAX_ROWS as u64, crc };
        if let Ok(batch) = known.rows(header, body, &numbers, i64::MAX) {
            first_seq += batch.num_rows() as u64;
            batches.push(batch);
        }
    }
    batches
}

fn take_message(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (header_len, rest) = bytes.split_first_chunk::<4>()?;
    let (body_len, rest) = rest.split_first_chunk::<4>()?;
    let (header, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*header_len)).ok()?)?;
    let (body, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*body_len)).ok()?)?;
    Some((header, body, rest))
}
