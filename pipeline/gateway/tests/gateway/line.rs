//! What a node says over the line: a batch as its messages, a connection, a stream of rows.

#![allow(dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, FlightData, FlightDescriptor, PutResult};
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use bytes::Bytes;
use kerbside_release::{ReleasedBatch, Table};
use kerbside_uplink::tls::{TlsFiles, client_config};
use kerbside_uplink::wire::{
    self, Ack, Gap, GapReason, Open, Position, ResumeReply, ResumeRequest, Rows, Said, Up,
};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request as Call, Status, Streaming};

use crate::common::PATIENCE;

/// One encapsulated message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) header: Bytes,
    pub(crate) body: Bytes,
}

/// A batch as its messages.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) table: String,
    pub(crate) epoch: u32,
    pub(crate) schema: Message,
    pub(crate) dictionaries: Vec<Message>,
    pub(crate) rows: Message,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

pub(crate) fn encode(batch: &RecordBatch) -> Encoded {
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5).unwrap();
    encode_with(batch, &options)
}

pub(crate) fn encode_with(batch: &RecordBatch, options: &IpcWriteOptions) -> Encoded {
    let message = |data: arrow_ipc::writer::EncodedData| Message {
        header: data.ipc_message.into(),
        body: data.arrow_data.into(),
    };
    let mut tracker = DictionaryTracker::new(false);
    let generator = IpcDataGenerator::default();
    let schema = generator.schema_to_bytes_with_dictionary_tracker(&batch.schema(), &mut tracker, options);
    let mut context = IpcWriteContext::default();
    let (dictionaries, rows) = generator.encode(batch, &mut tracker, options, &mut context).unwrap();
    let number = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<UInt64Type>().values().clone();
    let seq = number("seq");
    Encoded {
        table: batch.schema().metadata()["table"].clone(),
        epoch: batch.column_by_name("epoch").unwrap().as_primitive::<UInt32Type>().value(0),
        schema: message(schema),
        dictionaries: dictionaries.into_iter().map(message).collect(),
        rows: message(rows),
        first_seq: seq[0],
        last_seq: seq[seq.len() - 1],
    }
}

pub(crate) fn numbers(encoded: &Encoded) -> Rows {
    let crc = wire::checksum(&encoded.rows.header, &encoded.rows.body);
    Rows { first_seq: encoded.first_seq, last_seq: encoded.last_seq, crc }
}

pub(crate) fn flight(message: &Message, said: Option<Said>) -> FlightData {
    let app_metadata = said.map(|said| Up { said: Some(said) }.encode_to_vec().into()).unwrap_or_default();
    FlightData {
        flight_descriptor: None,
        data_header: message.header.clone(),
        app_metadata,
        data_body: message.body.clone(),
    }
}

pub(crate) fn opening(encoded: &Encoded, token: u64) -> Vec<FlightData> {
    let mut first = flight(&encoded.schema, Some(Said::Open(Open { token, epoch: encoded.epoch })));
    first.flight_descriptor = Some(FlightDescriptor::new_path(vec![encoded.table.clone()]));
    std::iter::once(first).chain(encoded.dictionaries.iter().map(|message| flight(message, None))).collect()
}

pub(crate) type Client = FlightServiceClient<Channel>;

/// A connection; the error is that of the handshake or of the first byte after it.
pub(crate) async fn connect(address: SocketAddr, files: &TlsFiles) -> Result<Client, tonic::transport::Error> {
    let channel = channel(address, files).await?;
    Ok(FlightServiceClient::new(channel).max_decoding_message_size(64 << 20).max_encoding_message_size(usize::MAX))
}

/// The same for one's own HTTP.
pub(crate) async fn connect_raw(address: SocketAddr, files: &TlsFiles) -> Channel {
    channel(address, files).await.unwrap()
}

async fn channel(address: SocketAddr, files: &TlsFiles) -> Result<Channel, tonic::transport::Error> {
    let connector = Connector { address, config: client_config(files).unwrap() };
    Endpoint::from_static("http://gateway").connect_with_connector(connector).await
}

#[derive(Clone)]
struct Connector {
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
}

type Connected = hyper_util::rt::TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;

impl tonic::codegen::Service<tonic::codegen::http::Uri> for Connector {
    type Response = Connected;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Connected>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::codegen::http::Uri) -> Self::Future {
        let Self { address, config } = self.clone();
        Box::pin(async move {
            let tcp = TcpStream::connect(address).await?;
            let name = rustls::pki_types::ServerName::from(address.ip()).to_owned();
            let tls = TlsConnector::from(config).connect(name, tcp).await?;
            Ok(hyper_util::rt::TokioIo::new(tls))
        })
    }
}

pub(crate) fn position(table: Table, epoch: u32, next_seq: u64) -> Position {
    Position { table: wire::table_number(table), epoch, next_seq }
}

pub(crate) async fn resume(
    client: &mut Client,
    token: u64,
    streams: Vec<Position>,
) -> Result<ResumeReply, Status> {
    let request = ResumeRequest { token, instance: 1, streams };
    let action = Action { r#type: wire::RESUME.to_owned(), body: request.encode_to_vec().into() };
    let mut results = client.do_action(Call::new(action)).await?.into_inner();
    let result = results.message().await?.expect("one reply");
    Ok(wire::decode(&result.body).unwrap())
}

/// A stream of rows.
pub(crate) struct Upload {
    sender: Option<mpsc::UnboundedSender<FlightData>>,
    acks: Streaming<PutResult>,
}

impl Upload {
    /// A stream whose first messages are these.
    pub(crate) async fn begin(client: &mut Client, messages: Vec<FlightData>) -> Result<Self, Status> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for message in messages {
            sender.send(message).unwrap();
        }
        let receiver = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
        let acks = client.do_put(Call::new(receiver)).await?.into_inner();
        Ok(Self { sender: Some(sender), acks })
    }

    pub(crate) async fn open(client: &mut Client, token: u64, encoded: &Encoded) -> Self {
        Self::begin(client, opening(encoded, token)).await.unwrap()
    }

    pub(crate) fn send(&self, message: FlightData) {
        // The stream may have ended; whoever waits for its acknowledgements is told why.
        let _ = self.sender.as_ref().unwrap().send(message);
    }

    pub(crate) fn rows(&self, encoded: &Encoded) {
        self.send(flight(&encoded.rows, Some(Said::Rows(numbers(encoded)))));
    }

    pub(crate) fn gap(&self, first_seq: u64, last_seq: u64, reason: GapReason) {
        let none = Message { header: Bytes::new(), body: Bytes::new() };
        self.send(flight(&none, Some(Said::Gap(Gap { first_seq, last_seq, reason: reason as i32 }))));
    }

    pub(crate) async fn ack(&mut self) -> Result<Ack, Status> {
        let message = tokio::time::timeout(PATIENCE, self.acks.message()).await.expect("an acknowledgement");
        message.map(|result| wire::decode(&result.expect("a stream that goes on").app_metadata).unwrap())
    }

    /// No more rows come; what the gateway says until it ends the stream too.
    pub(crate) async fn finish(mut self) -> Result<Vec<Ack>, Status> {
        self.sender = None;
        let mut acks = Vec::new();
        while let Some(result) = tokio::time::timeout(PATIENCE, self.acks.message()).await.expect("an end")? {
            acks.push(wire::decode(&result.app_metadata).unwrap());
        }
        Ok(acks)
    }
}

/// The refusal that a call or stream ended with.
pub(crate) fn refusal(status: &Status) -> Option<wire::Refusal> {
    wire::Refusal::from_name(status.metadata().get(wire::REFUSAL_TRAILER)?.to_str().ok()?)
}

/// Sends batches that share a schema over a connection of their own, and waits until they are stored.
pub(crate) async fn deliver(address: SocketAddr, files: &TlsFiles, token: u64, batches: &[ReleasedBatch]) -> u64 {
    let mut client = connect(address, files).await.unwrap();
    let encoded: Vec<Encoded> = batches.iter().map(|batch| encode(batch.get())).collect();
    let (table, epoch) = (batches[0].table(), batches[0].epoch());
    let next = encoded.last().unwrap().last_seq + 1;
    let reply = resume(&mut client, token, vec![position(table, epoch, next)]).await.unwrap();
    let upload = Upload::open(&mut client, reply.token, &encoded[0]).await;
    encoded.iter().for_each(|encoded| upload.rows(encoded));
    let acks = upload.finish().await.unwrap();
    assert_eq!(acks.len(), encoded.len());
    assert!(acks.iter().all(|ack| ack.refusal == 0), "{acks:?}");
    reply.token
}
