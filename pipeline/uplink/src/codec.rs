//! Record batches to the payloads of frames and back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{StreamDecoder, read_dictionary};
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message};
use arrow_ipc::{MetadataVersion, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use kerbside_release::Table;

use crate::wire::take_apart;

/// Buffers in a payload begin on multiples of this: enough for every type that may leave, and far
/// less padding than Arrow's usual 64 in batches of some dozen rows.
pub(crate) const BUFFER_ALIGN: usize = 8;

/// How batches are written: uncompressed, without version-4 relics.
pub(crate) fn options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::try_new(BUFFER_ALIGN, false, MetadataVersion::V5)
}

/// Encodes batches that share one schema and one set of dictionaries.
pub(crate) struct Encoder {
    schema: SchemaRef,
    /// The payload of the schema frame.
    opening: Arc<Vec<u8>>,
    options: IpcWriteOptions,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
}

impl Encoder {
    /// An encoder for batches like `first`.
    pub(crate) fn new(first: &RecordBatch) -> Result<Self, ArrowError> {
        let options = options()?;
        let mut dictionaries = DictionaryTracker::new(false);
        let mut context = IpcWriteContext::default();
        let generator = IpcDataGenerator::default();
        let schema = first.schema();
        let message = generator.schema_to_bytes_with_dictionary_tracker(&schema, &mut dictionaries, &options);
        let mut opening = Vec::new();
        write_message(&mut opening, message, &options)?;
        let (words, _) = generator.encode(&first.slice(0, 0), &mut dictionaries, &options, &mut context)?;
        for message in words {
            write_message(&mut opening, message, &options)?;
        }
        Ok(Self { schema, opening: Arc::new(opening), options, dictionaries, context })
    }

    /// The payload of the schema frame.
    pub(crate) fn opening(&self) -> &Arc<Vec<u8>> {
        &self.opening
    }

    /// The payload of one batch. `None` when it has another schema or other dictionaries: then it takes
    /// another encoder, and another segment.
    pub(crate) fn encode(&mut self, batch: &RecordBatch) -> Result<Option<Vec<u8>>, ArrowError> {
        if batch.schema() != self.schema {
            return Ok(None);
        }
        let generator = IpcDataGenerator::default();
        let (words, rows) = generator.encode(batch, &mut self.dictionaries, &self.options, &mut self.context)?;
        if !words.is_empty() {
            return Ok(None);
        }
        let mut payload = Vec::with_capacity(rows.arrow_data.len() + 4096);
        write_message(&mut payload, rows, &self.options)?;
        Ok(Some(payload))
    }
}

/// Decodes batches of one segment. Feed it nothing whose checksum was not found right.
pub(crate) struct Decoder {
    table: Table,
    opening: Buffer,
    decoder: StreamDecoder,
}

/// A payload is not what its frame says, though its checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecodable;

impl Decoder {
    /// A decoder from the payload of a schema frame.
    pub(crate) fn new(opening: Vec<u8>) -> Result<Self, Undecodable> {
        let opening = Buffer::from_vec(opening);
        let decoder = started(&opening)?;
        let schema = decoder.schema().ok_or(Undecodable)?;
        let table = table_of(&schema).ok_or(Undecodable)?;
        Ok(Self { table, opening, decoder })
    }

    pub(crate) fn table(&self) -> Table {
        self.table
    }

    /// The batch in a payload.
    pub(crate) fn decode(&mut self, payload: Vec<u8>) -> Result<RecordBatch, Undecodable> {
        let mut buffer = Buffer::from_vec(payload);
        match self.decoder.decode(&mut buffer) {
            Ok(Some(batch)) if buffer.is_empty() => Ok(batch),
            _ => {
                // The decoder may be stuck within a message: begin again for the next payload.
                self.decoder = started(&self.opening)?;
                Err(Undecodable)
            }
        }
    }
}

/// The one node whose rows an opening can name; `None` where it is not one.
pub(crate) fn node_of(opening: &Bytes) -> Option<String> {
    let messages = take_apart(opening.clone())?;
    let schema = root_as_message(&messages.first()?.header).ok()?;
    let (version, schema) = (schema.version(), schema.header_as_schema()?);
    let fields = schema.fields()?;
    let node = fields.iter().find(|field| field.name() == Some("node"))?.dictionary()?.id();
    let schema = try_fb_to_schema(schema).ok()?;
    for message in &messages {
        let words = root_as_message(&message.header).ok()?.header_as_dictionary_batch();
        let Some(words) = words.filter(|words| words.id() == node) else { continue };
        let mut found = HashMap::new();
        let body = Buffer::from_vec(message.body.to_vec());
        read_dictionary(&body, words, &schema, &mut found, &version).ok()?;
        let words = found.get(&node)?.as_string_opt::<i32>()?;
        return (words.len() == 1).then(|| words.value(0).to_owned());
    }
    None
}

fn started(opening: &Buffer) -> Result<StreamDecoder, Undecodable> {
    let mut decoder = StreamDecoder::new();
    let mut rest = opening.clone();
    match decoder.decode(&mut rest) {
        Ok(None) if rest.is_empty() => Ok(decoder),
        _ => Err(Undecodable),
    }
}

/// The released table of that schema: by its name, and with exactly its columns.
pub(crate) fn table_of(schema: &SchemaRef) -> Option<Table> {
    let table = Table::from_name(schema.metadata().get("table")?)?;
    let columns = table.columns();
    let same = schema.fields().len() == columns.len()
        && schema.fields().iter().zip(&columns).all(|(found, column)| {
            found.name() == column.name()
                && found.data_type() == column.data_type()
                && found.is_nullable() == column.is_nullable()
        });
    same.then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::any_agg;

    #[test]
    fn an_opening_tells_whose_rows_follow() {
        let batch = any_agg();
        let mut encoder = Encoder::new(batch.get()).unwrap();
        let payload = encoder.encode(batch.get()).unwrap().unwrap();
        let opening = Bytes::from(encoder.opening().to_vec());
        assert_eq!(node_of(&opening).as_deref(), Some("cabinet"));
        assert_eq!(node_of(&Bytes::from(payload)), None);
        assert_eq!(node_of(&opening.slice(..opening.len() - 8)), None);
    }
}
