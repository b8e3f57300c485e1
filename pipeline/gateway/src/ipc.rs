//! A reader of Arrow messages that trusts nothing.
//!
//! Arrow's own reader is for data of friends: it slices buffers by the lengths that a message gives, expands what is
//! compressed, and knows every type there is. A released table has eight types, so this reader knows those
//! and nothing else: every count and place is checked against the columns and the bytes that are there, and
//! memory is taken for values that were found to be in the body, never for a number that a message names.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Int32Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, DictionaryArray, PrimitiveArray, StringArray};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_ipc::{Endianness, Message, MessageHeader, MetadataVersion, Type, root_as_message};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use kerbside_release::{Table, check_contract};
use kerbside_uplink::wire::Refusal;

use crate::refused::Refused;

/// The longest description of a message, in bytes. That of a table with 30 columns has some 6,000.
const MAX_HEADER_BYTES: usize = 32 << 10;
/// The most rows of one batch.
pub(crate) const MAX_ROWS: usize = 1 << 16;
/// The most bytes that a writer leaves free between two buffers, one less than the widest alignment there is.
const MAX_PADDING: usize = 63;
/// The most bytes of a word: two names of a turn and what stands between them.
const MAX_WORD_BYTES: usize = 65;

/// What the first message of a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) table: Table,
    /// The hash of the vocabulary, as the node gives it: 64 hexadecimal digits.
    pub(crate) vocabulary: String,
    /// By column: the number of its dictionary.
    pub(crate) dictionaries: Vec<Option<i64>>,
}

fn malformed(why: impl Into<String>) -> Refused {
    Refused::new(Refusal::Malformed, why)
}

fn parse<'a>(header: &'a [u8], body: &[u8]) -> Result<Message<'a>, Refused> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(Refused::new(Refusal::Size, format!("{} bytes describe a message", header.len())));
    }
    let message = root_as_message(header).map_err(|_| malformed("no Arrow message"))?;
    if message.version() != MetadataVersion::V5 {
        return Err(malformed("another version of Arrow's format than 5"));
    }
    if usize::try_from(message.bodyLength()).ok() != Some(body.len()) {
        return Err(malformed("the body is not as long as the message says"));
    }
    if message.custom_metadata().is_some_and(|metadata| !metadata.is_empty()) {
        return Err(malformed("the message carries metadata"));
    }
    Ok(message)
}

/// Reads the message with the schema.
pub(crate) fn read_schema(header: &[u8], body: &[u8]) -> Result<Opening, Refused> {
    let schema_refused = |why: String| Refused::new(Refusal::Schema, why);
    let message = parse(header, body)?;
    let schema = message.header_as_schema().ok_or_else(|| malformed("the first message is no schema"))?;
    if !body.is_empty() || schema.endianness() != Endianness::Little {
        return Err(malformed("a schema with a body, or of another byte order"));
    }
    if schema.features().is_some_and(|features| !features.is_empty()) {
        return Err(schema_refused("it asks for features of the format".to_owned()));
    }
    let mut metadata = std::collections::HashMap::new();
    for pair in schema.custom_metadata().into_iter().flatten() {
        let (Some(key), Some(value)) = (pair.key(), pair.value()) else {
            return Err(schema_refused("metadata without key or value".to_owned()));
        };
        if metadata.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(schema_refused("the same metadata twice".to_owned()));
        }
    }
    let table = metadata.get("table").and_then(|name| Table::from_name(name));
    let table = table.ok_or_else(|| schema_refused("it names no table that is known".to_owned()))?;
    let Some(vocabulary) = metadata.get("vocabulary").cloned() else {
        return Err(schema_refused("it names no vocabulary".to_owned()));
    };
    let columns = table.columns();
    let fields = schema.fields().ok_or_else(|| malformed("a schema without columns"))?;
    if fields.len() != columns.len() {
        return Err(schema_refused(format!("{} columns where {table} has {}", fields.len(), columns.len())));
    }
    let mut found = Vec::with_capacity(columns.len());
    let mut dictionaries: Vec<Option<i64>> = Vec::with_capacity(columns.len());
    for (field, column) in fields.into_iter().zip(&columns) {
        let (read, dictionary) = read_field(&field).ok_or_else(|| {
            schema_refused(format!("the column at the place of {} has no type that is known", column.name()))
        })?;
        if read != *column {
            return Err(schema_refused(format!("the column at the place of {} is another", column.name())));
        }
        if dictionary.is_some() && dictionaries.contains(&dictionary) {
            return Err(schema_refused("two columns share a dictionary".to_owned()));
        }
        found.push(read);
        dictionaries.push(dictionary);
    }
    check_contract(table, &Schema::new(found).with_metadata(metadata))
        .map_err(|error| schema_refused(error.to_string()))?;
    Ok(Opening { table, vocabulary, dictionaries })
}

/// A column and the number of its dictionary; `None` for a type that no released table has.
fn read_field(field: &arrow_ipc::Field<'_>) -> Option<(Field, Option<i64>)> {
    if field.children().is_some_and(|children| !children.is_empty())
        || field.custom_metadata().is_some_and(|metadata| !metadata.is_empty())
    {
        return None;
    }
    let plain = match field.type_type() {
        Type::Bool => DataType::Boolean,
        Type::Int => integer(&field.type_as_int()?)?,
        Type::FloatingPoint => match field.type_as_floating_point()?.precision() {
            arrow_ipc::Precision::SINGLE => DataType::Float32,
            _ => return None,
        },
        Type::Timestamp => {
            let timestamp = field.type_as_timestamp()?;
            if timestamp.unit() != arrow_ipc::TimeUnit::MILLISECOND {
                return None;
            }
            DataType::Timestamp(TimeUnit::Millisecond, Some(timestamp.timezone()?.into()))
        }
        Type::Utf8 => DataType::Utf8,
        _ => return None,
    };
    let (data_type, dictionary) = match field.dictionary() {
        None => (plain, None),
        Some(dictionary) if !dictionary.isOrdered() => {
            let key = integer(&dictionary.indexType()?)?;
            (DataType::Dictionary(Box::new(key), Box::new(plain)), Some(dictionary.id()))
        }
        Some(_) => return None,
    };
    Some((Field::new(field.name()?, data_type, field.nullable()), dictionary))
}

fn integer(int: &arrow_ipc::Int<'_>) -> Option<DataType> {
    match (int.bitWidth(), int.is_signed()) {
        (8, false) => Some(DataType::UInt8),
        (16, false) => Some(DataType::UInt16),
        (32, false) => Some(DataType::UInt32),
        (64, false) => Some(DataType::UInt64),
        (32, true) => Some(DataType::Int32),
        _ => None,
    }
}

/// Reads a message with the words of one dictionary; says which.
pub(crate) fn read_dictionary(header: &[u8], body: &[u8]) -> Result<(i64, StringArray), Refused> {
    let message = parse(header, body)?;
    let dictionary = message.header_as_dictionary_batch().ok_or_else(|| malformed("no dictionary"))?;
    if dictionary.isDelta() {
        return Err(malformed("a dictionary that adds to another"));
    }
    let data = dictionary.data().ok_or_else(|| malformed("a dictionary without words"))?;
    let mut buffers = Buffers::new(&data, body, 1, 3)?;
    let rows = buffers.rows;
    if rows == 0 || rows > MAX_ROWS {
        return Err(Refused::new(Refusal::Size, format!("a dictionary of {rows} words")));
    }
    if buffers.validity(false)?.is_some() {
        return Err(malformed("a word that is null"));
    }
    let offsets: Vec<i32> = buffers.values(rows + 1)?;
    let text = buffers.rest()?;
    buffers.finish()?;
    let mut words = Vec::with_capacity(rows);
    for pair in offsets.windows(2) {
        let (from, to) = (usize::try_from(pair[0]), usize::try_from(pair[1]));
        let bytes = match (from, to) {
            (Ok(from), Ok(to)) => text.get(from..to),
            _ => None,
        };
        let bytes = bytes.ok_or_else(|| malformed("a word outside of its text"))?;
        if bytes.is_empty() || bytes.len() > MAX_WORD_BYTES {
            return Err(Refused::new(Refusal::Vocabulary, format!("a word of {} bytes", bytes.len())));
        }
        words.push(std::str::from_utf8(bytes).map_err(|_| malformed("a word that is not UTF-8"))?);
    }
    let mut sorted = words.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refused::new(Refusal::Vocabulary, "a word is twice in a dictionary"));
    }
    Ok((dictionary.id(), StringArray::from_iter_values(words)))
}

/// What kind of message it is; `None` for bytes that are none.
pub(crate) fn kind(header: &[u8]) -> Option<MessageHeader> {
    (header.len() <= MAX_HEADER_BYTES).then_some(())?;
    root_as_message(header).ok().map(|message| message.header_type())
}

/// Reads a message with rows. `words` are the dictionaries by column.
pub(crate) fn read_rows(
    columns: &[Field],
    words: &[Option<Arc<StringArray>>],
    header: &[u8],
    body: &[u8],
) -> Result<Vec<ArrayRef>, Refused> {
    let message = parse(header, body)?;
    let data = message.header_as_record_batch().ok_or_else(|| malformed("no rows"))?;
    let mut buffers = Buffers::new(&data, body, columns.len(), columns.len() * 2)?;
    let mut arrays = Vec::with_capacity(columns.len());
    for (column, words) in columns.iter().zip(words) {
        arrays.push(read_column(&mut buffers, column, words.as_ref())?);
    }
    buffers.finish()?;
    Ok(arrays)
}

fn read_column(
    buffers: &mut Buffers<'_>,
    column: &Field,
    words: Option<&Arc<StringArray>>,
) -> Result<ArrayRef, Refused> {
    let nulls = buffers.validity(column.is_nullable())?;
    let array: ArrayRef = match column.data_type() {
        DataType::Boolean => {
            let bits = buffers.bits()?;
            Arc::new(BooleanArray::new(bits, nulls))
        }
        DataType::UInt8 => primitive::<UInt8Type>(buffers, nulls)?,
        DataType::UInt16 => primitive::<UInt16Type>(buffers, nulls)?,
        DataType::UInt32 => primitive::<UInt32Type>(buffers, nulls)?,
        DataType::UInt64 => primitive::<UInt64Type>(buffers, nulls)?,
        DataType::Int32 => primitive::<Int32Type>(buffers, nulls)?,
        DataType::Float32 => primitive::<Float32Type>(buffers, nulls)?,
        DataType::Timestamp(..) => {
            let values: Vec<i64> = buffers.values(buffers.rows)?;
            let times = PrimitiveArray::<TimestampMillisecondType>::new(values.into(), nulls);
            Arc::new(times.with_data_type(column.data_type().clone()))
        }
        DataType::Dictionary(key, _) => {
            let words = words.ok_or_else(|| malformed(format!("rows before the words of {}", column.name())))?;
            match key.as_ref() {
                DataType::UInt8 => {
                    let keys: Vec<u8> = buffers.values(buffers.rows)?;
                    within(column, keys.iter().copied().max().map(usize::from), words)?;
                    let keys = PrimitiveArray::<UInt8Type>::new(keys.into(), nulls);
                    Arc::new(DictionaryArray::try_new(keys, Arc::clone(words) as ArrayRef).map_err(odd)?)
                }
                _ => {
                    let keys: Vec<u16> = buffers.values(buffers.rows)?;
                    within(column, keys.iter().copied().max().map(usize::from), words)?;
                    let keys = PrimitiveArray::<UInt16Type>::new(keys.into(), nulls);
                    Arc::new(DictionaryArray::try_new(keys, Arc::clone(words) as ArrayRef).map_err(odd)?)
                }
            }
        }
        other => return Err(Refused::new(Refusal::Schema, format!("a column of type {other}"))),
    };
    Ok(array)
}

fn odd(error: arrow_schema::ArrowError) -> Refused {
    malformed(error.to_string())
}

fn within(column: &Field, largest: Option<usize>, words: &StringArray) -> Result<(), Refused> {
    match largest {
        Some(key) if key >= words.len() => {
            let why = format!("{}: word {key} of {}", column.name(), words.len());
            Err(Refused::new(Refusal::Vocabulary, why))
        }
        _ => Ok(()),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    buffers: &mut Buffers<'_>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Refused>
where
    T::Native: FromLittleEndian,
{
    let values: Vec<T::Native> = buffers.values(buffers.rows)?;
    Ok(Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls)))
}

/// The buffers of one message, taken one after the other.
struct Buffers<'a> {
    body: &'a [u8],
    nodes: Vec<arrow_ipc::FieldNode>,
    buffers: Vec<arrow_ipc::Buffer>,
    rows: usize,
    node: usize,
    buffer: usize,
    /// Where the last one ended.
    end: usize,
}

impl<'a> Buffers<'a> {
    fn new(
        data: &arrow_ipc::RecordBatch<'_>,
        body: &'a [u8],
        nodes: usize,
        buffers: usize,
    ) -> Result<Self, Refused> {
        if data.compression().is_some() {
            return Err(malformed("a compressed message"));
        }
        if data.variadicBufferCounts().is_some_and(|counts| !counts.is_empty()) {
            return Err(malformed("a message with buffers of no column"));
        }
        let (Some(found_nodes), Some(found_buffers)) = (data.nodes(), data.buffers()) else {
            return Err(malformed("a message without columns"));
        };
        if found_nodes.len() != nodes || found_buffers.len() != buffers {
            return Err(malformed("a message with more or fewer columns than its schema"));
        }
        let rows = usize::try_from(data.length()).map_err(|_| malformed("a negative number of rows"))?;
        if rows > MAX_ROWS {
            return Err(Refused::new(Refusal::Size, format!("{rows} rows at once")));
        }
        Ok(Self {
            body,
            nodes: found_nodes.into_iter().copied().collect(),
            buffers: found_buffers.into_iter().copied().collect(),
            rows,
            node: 0,
            buffer: 0,
            end: 0,
        })
    }

    /// The bytes of the next buffer: within the body, behind the one before, with no more than padding between.
    fn next(&mut self) -> Result<&'a [u8], Refused> {
        let buffer = self.buffers.get(self.buffer).ok_or_else(|| malformed("a buffer is missing"))?;
        self.buffer += 1;
        let (offset, len) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let (Ok(offset), Ok(len)) = (offset, len) else { return Err(malformed("a negative length")) };
        if len == 0 {
            return Ok(&[]);
        }
        if offset < self.end || offset - self.end > MAX_PADDING {
            return Err(malformed("a buffer at a strange place"));
        }
        let end = offset.checked_add(len).ok_or_else(|| malformed("a buffer without end"))?;
        let bytes = self.body.get(offset..end).ok_or_else(|| malformed("a buffer beyond the body"))?;
        self.end = end;
        Ok(bytes)
    }

    /// Exactly so many bytes of the next buffer, which may be padded.
    fn exactly(&mut self, needed: usize) -> Result<&'a [u8], Refused> {
        let bytes = self.next()?;
        match bytes.get(..needed) {
            Some(wanted) if bytes.len() - needed <= MAX_PADDING => Ok(wanted),
            _ => Err(malformed("a buffer of another length than its rows need")),
        }
    }

    fn bits(&mut self) -> Result<BooleanBuffer, Refused> {
        let bytes = self.exactly(self.rows.div_ceil(8))?;
        Ok(BooleanBuffer::new(bytes.to_vec().into(), 0, self.rows))
    }

    /// The next column's node and which of its rows are null.
    fn validity(&mut self, is_nullable: bool) -> Result<Option<NullBuffer>, Refused> {
        let node = self.nodes.get(self.node).ok_or_else(|| malformed("a column is missing"))?;
        let (length, null_count) = (node.length(), node.null_count());
        self.node += 1;
        if usize::try_from(length).ok() != Some(self.rows) {
            return Err(malformed("a column with more or fewer rows than the others"));
        }
        if null_count == 0 {
            // Many writers give the bits all the same.
            let bytes = self.next()?;
            if !bytes.is_empty() && bytes.len() > self.rows.div_ceil(8) + MAX_PADDING {
                return Err(malformed("more bits than rows"));
            }
            return Ok(None);
        }
        if !is_nullable {
            return Err(Refused::new(Refusal::Value, "a null in a column that has none"));
        }
        let nulls = NullBuffer::new(self.bits()?);
        if i64::try_from(nulls.null_count()).ok() != Some(null_count) {
            return Err(malformed("another number of nulls than the message says"));
        }
        Ok(Some(nulls))
    }

    fn values<T: FromLittleEndian>(&mut self, count: usize) -> Result<Vec<T>, Refused> {
        let bytes = self.exactly(count * size_of::<T>())?;
        Ok(bytes.chunks_exact(size_of::<T>()).map(T::read).collect())
    }

    /// All bytes of the next buffer.
    fn rest(&mut self) -> Result<&'a [u8], Refused> {
        self.next()
    }

    /// Nothing but padding may follow.
    fn finish(&self) -> Result<(), Refused> {
        if self.body.len() - self.end > MAX_PADDING {
            return Err(malformed("bytes that no column has"));
        }
        Ok(())
    }
}

/// A number from its bytes.
pub(crate) trait FromLittleEndian: ArrowNativeType {
    /// From exactly as many bytes as it has.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! little_endian {
    ($($number:ty),*) => {
        $(impl FromLittleEndian for $number {
            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map_or_else(|_| Self::default(), Self::from_le_bytes)
            }
        })*
    };
}

little_endian!(u8, u16, u32, u64, i32, i64, f32);
