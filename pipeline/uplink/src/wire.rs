//! What a node and a gateway say to each other, beside the rows: Arrow Flight, with these messages in
//! the fields that Flight leaves to its users.
//!
//! ```text
//! DoAction  "kerbside.resume.v1"   ResumeRequest → ResumeReply: the first call of a connection
//! DoPut     descriptor PATH [table]
//!           first message          the schema, and Open in app_metadata; then the dictionaries
//!           each record batch      Rows in app_metadata
//!           no Arrow message       Gap in app_metadata: rows that will never come
//!        ←  PutResult              Ack in app_metadata, only after the gateway's own commit
//!
//! DoAction  "kerbside.import.v1"            ImportRequest → ImportReply: a courier shows what a node has exported
//! DoAction  "kerbside.import-segment.v1"    the bytes of one of its segments → SegmentReply, once all is stored
//! ```
//!
//! Rows may come in any order, since the newest go first: what is stored is a set of ranges. `Ack` is
//! cumulative as well: every row before `next_seq` is stored, or known never to come.
//!
//! **Coarse rows.** Where `Rows::last_seq` is larger than the number of rows asks for, the rows stand for all
//! numbers up to it: a full spool has summed them up. Such a message is stored only when none of its
//! numbers is stored yet.
//!
//! **Tokens.** A gateway gives every node a token with each [`ResumeReply`], and the node keeps it beside its spool before
//! it uses it. Who comes with an older one is a copy of the node, and is refused. A node whose spool was lost
//! has none and comes with an epoch that the gateway does not know.
//!
//! Rule PC-4 of the privacy contract: the messages hold integers only, and [`decode`] refuses whatever a message would
//! not be written as, so that nothing rides along in unknown fields.
//!
//! The messages are protocol buffers (proto3); the numbers beside the fields are their tags.

use bytes::Bytes;
use kerbside_release::Table;
use prost::Message;

/// The Flight action that begins a connection.
pub const RESUME: &str = "kerbside.resume.v1";
/// The Flight action that begins a transfer by hand.
pub const IMPORT: &str = "kerbside.import.v1";
/// The Flight action that takes in one exported segment.
pub const IMPORT_SEGMENT: &str = "kerbside.import-segment.v1";

/// The largest gRPC message that either side takes, in bytes: one frame of the spool is below it.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// The largest `app_metadata`, in bytes (rule PC-4).
pub const MAX_METADATA_BYTES: usize = 256;
/// Ranges of one stream and epoch that a [`ResumeReply`] lists at most; what is missing from it is sent again
/// and found to be stored.
pub const MAX_RANGES: usize = 1024;

/// The number of a table in messages and in segments.
pub const fn table_number(table: Table) -> u32 {
    match table {
        Table::Agg => 1,
        Table::Health => 2,
        Table::Incident => 3,
    }
}

/// The table of that number.
pub fn table_of_number(number: u32) -> Option<Table> {
    Table::ALL.into_iter().find(|table| table_number(*table) == number)
}

/// A node's first words.
#[derive(Clone, PartialEq, Message)]
pub struct ResumeRequest {
    /// The token of the last reply; 0 when there was none.
    #[prost(fixed64, tag = "1")]
    pub token: u64,
    /// A random number of this process.
    #[prost(fixed64, tag = "2")]
    pub instance: u64,
    /// Every stream and epoch that the spool has or will number rows of.
    #[prost(message, repeated, tag = "3")]
    pub streams: Vec<Position>,
}

/// How far a node's numbers have come.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Position {
    /// [`table_number`].
    #[prost(uint32, tag = "1")]
    pub table: u32,
    /// The spool's epoch.
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    /// The number after that of the last row that is on the node's disk.
    #[prost(uint64, tag = "3")]
    pub next_seq: u64,
}

/// What the gateway has.
#[derive(Clone, PartialEq, Message)]
pub struct ResumeReply {
    /// The token to come with from now on.
    #[prost(fixed64, tag = "1")]
    pub token: u64,
    /// Of every stream and epoch that was asked about and of which something is stored.
    #[prost(message, repeated, tag = "2")]
    pub stored: Vec<Stored>,
}

/// What is stored of a stream and epoch.
#[derive(Clone, PartialEq, Message)]
pub struct Stored {
    /// [`table_number`].
    #[prost(uint32, tag = "1")]
    pub table: u32,
    /// The spool's epoch.
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    /// The row numbers, in order.
    #[prost(message, repeated, tag = "3")]
    pub ranges: Vec<Range>,
}

/// Row numbers, both within.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Range {
    /// The first.
    #[prost(uint64, tag = "1")]
    pub first_seq: u64,
    /// The last.
    #[prost(uint64, tag = "2")]
    pub last_seq: u64,
}

/// What rides in `app_metadata` on the way up.
#[derive(Clone, PartialEq, Message)]
pub struct Up {
    /// Which of them.
    #[prost(oneof = "Said", tags = "1, 2, 3")]
    pub said: Option<Said>,
}

/// One of the words of [`Up`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Said {
    /// With the schema.
    #[prost(message, tag = "1")]
    Open(Open),
    /// With a record batch.
    #[prost(message, tag = "2")]
    Rows(Rows),
    /// Instead of one.
    #[prost(message, tag = "3")]
    Gap(Gap),
}

/// Begins a stream of rows of one epoch.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Open {
    /// The token of this connection's [`ResumeReply`].
    #[prost(fixed64, tag = "1")]
    pub token: u64,
    /// The spool's epoch.
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
}

/// The numbers of a record batch.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Rows {
    /// Of its first row.
    #[prost(uint64, tag = "1")]
    pub first_seq: u64,
    /// Of the last row that it stands for.
    #[prost(uint64, tag = "2")]
    pub last_seq: u64,
    /// CRC-32C over `data_header`, then `data_body`, as they left the spool.
    #[prost(fixed32, tag = "3")]
    pub crc: u32,
}

/// Rows that will never come.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Gap {
    /// The first.
    #[prost(uint64, tag = "1")]
    pub first_seq: u64,
    /// The last.
    #[prost(uint64, tag = "2")]
    pub last_seq: u64,
    /// Why.
    #[prost(enumeration = "GapReason", tag = "3")]
    pub reason: i32,
}

/// Why rows will never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum GapReason {
    /// Not said.
    Unknown = 0,
    /// Their bytes on the node's disk are damaged.
    Damaged = 1,
    /// The spool was full or they were too old, and they were dropped.
    Dropped = 2,
}

impl GapReason {
    /// The word in tables and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Damaged => "damaged",
            Self::Dropped => "dropped",
        }
    }
}

/// What the gateway says of rows.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Ack {
    /// The epoch of the stream.
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    /// Every row of it before this number is stored, or known never to come.
    #[prost(uint64, tag = "2")]
    pub next_seq: u64,
    /// The first row that this is about.
    #[prost(uint64, tag = "3")]
    pub first_seq: u64,
    /// The last.
    #[prost(uint64, tag = "4")]
    pub last_seq: u64,
    /// [`Refusal`]; 0 where the rows are stored.
    #[prost(enumeration = "Refusal", tag = "5")]
    pub refusal: i32,
}

/// A courier's first words about an export: three of its files, as they are. The gateway believes what the node has
/// signed, and the courier nothing.
#[derive(Clone, PartialEq, Message)]
pub struct ImportRequest {
    /// `manifest.json`.
    #[prost(bytes = "bytes", tag = "1")]
    pub manifest: Bytes,
    /// `manifest.sig`.
    #[prost(bytes = "bytes", tag = "2")]
    pub signature: Bytes,
    /// `node.pem`.
    #[prost(bytes = "bytes", tag = "3")]
    pub certificate: Bytes,
}

/// What the gateway makes of it: the segments of the manifest may be sent on this connection, until another manifest is.
#[derive(Clone, PartialEq, Message)]
pub struct ImportReply {
    /// The node that has signed.
    #[prost(string, tag = "1")]
    pub node: String,
    /// How many segments belong to it.
    #[prost(uint64, tag = "2")]
    pub segments: u64,
}

/// What became of a segment, after the gateway's own commit.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SegmentReply {
    /// Numbers of rows that are stored or known never to come, those included that were before.
    #[prost(uint64, tag = "1")]
    pub settled: u64,
    /// Batches that were refused.
    #[prost(uint64, tag = "2")]
    pub refused: u64,
    /// The first [`Refusal`] of a batch; 0 where none was refused.
    #[prost(enumeration = "Refusal", tag = "3")]
    pub refusal: i32,
}

/// Why a gateway does not take something. Of a single batch in [`Ack`]; of a whole stream or connection in the trailer
/// `kerbside-refusal` by its name, beside the gRPC status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Refusal {
    /// It was taken.
    None = 0,
    /// The table, its columns, or the version of either are not those that are known.
    Schema = 1,
    /// A message is not what it should be: no Arrow, wrong lengths, wrong numbers, unknown fields.
    Malformed = 2,
    /// A checksum is wrong.
    Checksum = 3,
    /// A word is not of the vocabulary.
    Vocabulary = 4,
    /// A value is out of its range.
    Value = 5,
    /// The rows are another node's.
    Identity = 6,
    /// The message is too large, or has too many rows.
    Size = 7,
    /// The numbers were used before, by a spool that was set back or is a copy.
    Replay = 8,
    /// Another node came with this identity.
    IdentityConflict = 9,
    /// The node may not send more for now.
    Quota = 10,
    /// The identity may not do this.
    Role = 11,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Schema,
        Self::Malformed,
        Self::Checksum,
        Self::Vocabulary,
        Self::Value,
        Self::Identity,
        Self::Size,
        Self::Replay,
        Self::IdentityConflict,
        Self::Quota,
        Self::Role,
    ];

    /// The word in trailers, metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Schema => "schema",
            Self::Malformed => "malformed",
            Self::Checksum => "checksum",
            Self::Vocabulary => "vocabulary",
            Self::Value => "value",
            Self::Identity => "identity",
            Self::Size => "size",
            Self::Replay => "replay",
            Self::IdentityConflict => "identity_conflict",
            Self::Quota => "quota",
            Self::Role => "role",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.name() == name)
    }
}

/// The gRPC trailer that names a [`Refusal`].
pub const REFUSAL_TRAILER: &str = "kerbside-refusal";

/// A message is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no message of the protocol, or has fields that are unknown")]
pub struct NotCanonical;

/// A message from its bytes, only where writing it gives the same bytes again.
pub fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, NotCanonical> {
    let message = M::decode(bytes).map_err(|_| NotCanonical)?;
    if message.encode_to_vec() == bytes { Ok(message) } else { Err(NotCanonical) }
}

/// The checksum of [`Rows::crc`].
pub fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

/// One encapsulated Arrow message, taken apart as Flight sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encapsulated {
    /// The flat buffer that describes it.
    pub header: Bytes,
    /// Its buffers.
    pub body: Bytes,
}

/// Takes a sequence of encapsulated Arrow messages apart, without copying: what a frame of the spool holds.
/// `None` where the bytes are none. The bytes are the node's own and were checked by their checksum.
pub fn take_apart(mut payload: Bytes) -> Option<Vec<Encapsulated>> {
    let mut messages = Vec::new();
    while !payload.is_empty() {
        if payload.len() < 8 {
            return None;
        }
        let prefix = payload.split_to(8);
        let (continuation, len) = (prefix.first_chunk::<4>()?, prefix.last_chunk::<4>()?);
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        if *continuation != [0xff; 4] || len == 0 || len > payload.len() {
            return None;
        }
        let header = payload.split_to(len);
        let message = arrow_ipc::root_as_message(&header).ok()?;
        let body_len = usize::try_from(message.bodyLength()).ok()?;
        if body_len > payload.len() {
            return None;
        }
        let body = payload.split_to(body_len);
        messages.push(Encapsulated { header, body });
    }
    Some(messages)
}

/// The reverse of [`take_apart`], for whoever reads a message with a reader of Arrow streams.
pub fn put_together(header: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(header.len()).ok()?;
    let mut bytes = Vec::with_capacity(8 + header.len() + body.len());
    bytes.extend_from_slice(&[0xff; 4]);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(body);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pc_4_nothing_rides_along_in_unknown_fields() {
        let rows = Up { said: Some(Said::Rows(Rows { first_seq: 7, last_seq: 9, crc: 5 })) };
        let bytes = rows.encode_to_vec();
        assert!(bytes.len() <= MAX_METADATA_BYTES);
        assert_eq!(decode::<Up>(&bytes), Ok(rows));
        // Field 15 with four bytes of somebody's own.
        let smuggled = [bytes.as_slice(), &[0x7a, 4, b'f', b'a', b'c', b'e']].concat();
        assert!(Up::decode(smuggled.as_slice()).is_ok(), "a lenient reader takes it");
        assert_eq!(decode::<Up>(&smuggled), Err(NotCanonical));
        assert_eq!(decode::<Up>(b"\xff\xff"), Err(NotCanonical));
        // The same number, written longer than it needs to be.
        assert_eq!(decode::<Range>(&[0x08, 0x87, 0x00]), Err(NotCanonical));
    }

    #[test]
    fn numbers_and_names_come_back() {
        for table in Table::ALL {
            assert_eq!(table_of_number(table_number(table)), Some(table));
        }
        assert_eq!(table_of_number(0), None);
        for (number, refusal) in (1..).zip(Refusal::ALL) {
            assert_eq!(Refusal::from_name(refusal.name()), Some(refusal));
            assert_eq!(Refusal::try_from(number), Ok(refusal));
        }
    }
}
