//! A city on loopback: an authority, a gateway over real TLS, and nodes with a release stage each.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, FlightData, FlightDescriptor, PutResult};
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::DataType;
use bytes::Bytes;
use kerbside_core::camera::CameraState;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Finding, FindingKind, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{Incident, IncidentKind, IncidentUnit, Phase};
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_core::time::{MediaTime, WallTime};
use kerbside_gateway::settings::{LandingSettings, Limits};
use kerbside_gateway::{Gateway, Settings, landing};
use kerbside_release::{
    CameraPlan, CameraUid, ClockQuality, FrameReport, Guarantee, HealthSample, IncidentSeed, MemoryLedger,
    NodeIdentity, Noise, Positions, Release, ReleasedBatch, StreamPosition, Table,
};
use kerbside_uplink::enroll::{DevAuthority, Request};
use kerbside_uplink::tls::client_config;
pub(crate) use kerbside_uplink::tls::{Role, TlsFiles};
use kerbside_uplink::wire::{
    self, Ack, Gap, GapReason, Open, Position, ResumeReply, ResumeRequest, Rows, Said, Up,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request as Call, Status, Streaming};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// 2026-03-29T10:00:00Z.
pub(crate) const START: WallTime = WallTime::from_unix_millis(1_774_778_400_000);
/// Longer than any step of a test takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn now() -> WallTime {
    WallTime::from_unix_nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
}

/// An authority and a gateway's settings in a folder of their own.
pub(crate) struct City {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) authority: DevAuthority,
    pub(crate) settings: Settings,
}

impl City {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::create(&folder.path().join("ca"), now() - DAY, now() + DAY).unwrap();
        let issued = authority.issue(&request(Role::Gateway, "city", now() + DAY)).unwrap();
        let tls = authority.write(&issued, &folder.path().join("gateway")).unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = Settings {
            listen: free,
            metrics_address: free,
            tls,
            landing: LandingSettings::Folder(folder.path().join("landing")),
            state: folder.path().join("state"),
            commit_interval: Duration::from_millis(20),
            limits: Limits::default(),
            nodes: None,
            accept_demo: false,
            retention: BTreeMap::new(),
            compact_after: Duration::from_secs(3600),
        };
        Self { folder, authority, settings }
    }

    pub(crate) fn issue(&self, role: Role, name: &str) -> TlsFiles {
        self.issue_until(role, name, now() + DAY)
    }

    pub(crate) fn issue_until(&self, role: Role, name: &str, until: WallTime) -> TlsFiles {
        let issued = self.authority.issue(&request(role, name, until)).unwrap();
        self.authority.write(&issued, &self.folder.path().join(name)).unwrap()
    }

    pub(crate) async fn start(&self) -> Gateway {
        Gateway::start(&self.settings).await.unwrap()
    }

    pub(crate) fn landing(&self) -> PathBuf {
        self.folder.path().join("landing")
    }
}

fn request(role: Role, name: &str, not_after: WallTime) -> Request {
    let addresses = if role == Role::Gateway { vec!["127.0.0.1".to_owned()] } else { Vec::new() };
    Request { role, name: name.to_owned(), addresses, not_before: now() - DAY, not_after }
}

/// The value of a metric, with its labels as they are rendered.
pub(crate) fn metric(gateway: &Gateway, name: &str) -> f64 {
    let page = gateway.render_metrics();
    let line = page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

pub(crate) fn refused(gateway: &Gateway, reason: &str) -> f64 {
    metric(gateway, &format!("kerbside_gateway_refused_total{{reason=\"{reason}\"}}"))
}

pub(crate) fn shaken_off(gateway: &Gateway, reason: &str) -> f64 {
    metric(gateway, &format!("kerbside_gateway_handshakes_refused_total{{reason=\"{reason}\"}}"))
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

/// A release stage.
pub(crate) struct Cabinet {
    release: Release,
    minute: u64,
    incidents: u32,
}

impl Cabinet {
    pub(crate) fn new(name: &str, epoch: u32) -> Self {
        Self::with_site(name, "crossing", epoch)
    }

    pub(crate) fn with_site(name: &str, site: &str, epoch: u32) -> Self {
        let guarantee =
            Guarantee::Private { noise: Noise::from_key([3; 32]), ledger: Box::new(MemoryLedger::new()) };
        Self::with(name, site, StreamPosition { epoch, next_seq: 0 }, guarantee)
    }

    pub(crate) fn with(name: &str, site: &str, at: StreamPosition, guarantee: Guarantee) -> Self {
        let identity = NodeIdentity {
            node: name.to_owned(),
            software: "0.1.0".to_owned(),
            config_revision: 1,
            incident_seed: IncidentSeed([0; 16]),
        };
        let cell =
            |class, direction| Cell::new(SiteId(0), Measure::CrossingCount, Some(class)).directed(direction);
        let plan = |camera: &str| CameraPlan {
            camera: camera.to_owned(),
            model: "nanodet-g".to_owned(),
            sites: vec![site.to_owned(), "square".to_owned()],
            cells: vec![
                cell(Class::Car, Direction::Forward),
                cell(Class::Bus, Direction::Forward),
                cell(Class::Person, Direction::Forward),
            ],
            incidents: vec![
                (IncidentKind::StoppedVehicle, SiteId(0)),
                (IncidentKind::TamperCovered, SiteId::PICTURE),
            ],
            watched: Vec::new(),
            alerts: Vec::new(),
            uid: CameraUid([0; 16]),
            privacy: Privacy::of(Profile::Standard),
        };
        let positions = Positions { agg: at, health: at, incident: at };
        let cameras = vec![plan("north"), plan("south")];
        let release = Release::new(identity, cameras, positions, START, guarantee).unwrap();
        Self { release, minute: 0, incidents: 0 }
    }

    /// What is released in the next minute: two rows a camera, and three every quarter of an hour.
    pub(crate) fn minute(&mut self) -> Vec<ReleasedBatch> {
        let at = MediaTime::from_millis(self.minute * 60_000 + 1000);
        let frame = FrameReport {
            media: at,
            wall: WallTime::from_unix_nanos(START.as_unix_nanos() + at.as_nanos()),
            step: Duration::from_millis(100),
            trusted: true,
            clock: ClockQuality::Synced,
        };
        for _ in 0..=self.minute % 7 {
            self.release.observe(0, &frame, &[]);
        }
        self.minute += 1;
        let mut out = Vec::new();
        let to = self.now();
        self.release.advance(to, &mut out).unwrap();
        let sample = HealthSample { fps_in: Some(self.minute as f32), ..HealthSample::new(CameraState::Up) };
        self.release.health(to - MINUTE, to, ClockQuality::Synced, &[sample, sample], &mut out).unwrap();
        out
    }

    /// Rows of `agg.v1` of the next minutes, one batch each.
    pub(crate) fn agg(&mut self, minutes: usize) -> Vec<ReleasedBatch> {
        (0..minutes).flat_map(|_| self.minute()).filter(|batch| batch.table() == Table::Agg).collect()
    }

    /// A batch of `incident.v1`: something begins and ends.
    pub(crate) fn incident(&mut self) -> ReleasedBatch {
        self.incidents += 1;
        let at = MediaTime::from_millis(self.minute * 60_000 + 2000);
        let frame = FrameReport {
            media: at,
            wall: WallTime::from_unix_nanos(START.as_unix_nanos() + at.as_nanos()),
            step: Duration::from_millis(100),
            trusted: true,
            clock: ClockQuality::Synced,
        };
        let word = |phase| {
            let incident = Incident {
                kind: IncidentKind::StoppedVehicle,
                phase,
                number: self.incidents,
                since: at,
                severity: 40,
                confidence: 90,
                value: 20,
                unit: IncidentUnit::Seconds,
                reason: None,
            };
            let kind = FindingKind::Incident(incident);
            Finding { at, site: SiteId(0), class: Some(Class::Car), track: None, kind }
        };
        self.release.observe(0, &frame, &[word(Phase::Begin), word(Phase::End)]);
        let mut out = Vec::new();
        self.release.advance(self.now(), &mut out).unwrap();
        out.retain(|batch| batch.table() == Table::Incident);
        out.remove(0)
    }

    fn now(&self) -> WallTime {
        WallTime::from_unix_millis(START.as_unix_millis() as u64 + self.minute * 60_000)
    }
}

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

/// The rows of a table in a landing, each as text, in order.
pub(crate) fn landed(landing: &Path, table: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for file in parquet_files(&landing.join(table)) {
        let bytes = Bytes::from(std::fs::read(&file).unwrap());
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            rows.extend(texts(&batch.unwrap()));
        }
    }
    rows.sort();
    rows
}

pub(crate) fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries.map(Result::unwrap) {
        if entry.path().is_dir() {
            files.extend(parquet_files(&entry.path()));
        } else if entry.path().extension().is_some_and(|extension| extension == "parquet") {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

/// Rows as text: node, epoch and number first, so that they sort.
pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let columns: Vec<Vec<String>> = batch
        .columns()
        .iter()
        .map(|column| {
            // Moments as numbers: zones are not needed here.
            let plain = match column.data_type() {
                DataType::Timestamp(..) => arrow_cast::cast(column, &DataType::Int64).unwrap(),
                _ => Arc::clone(column),
            };
            let column = arrow_cast::cast(&plain, &DataType::Utf8).unwrap();
            column.as_string::<i32>().iter().map(|text| text.unwrap_or("-").to_owned()).collect()
        })
        .collect();
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let place = |name: &str| names.iter().position(|known| known == name);
    let number = |row: usize| match (place("epoch"), place("seq")) {
        (Some(epoch), Some(seq)) => format!("{:>10} {:>10} ", columns[epoch][row], columns[seq][row]),
        _ => String::new(),
    };
    let line = |row: usize| columns.iter().map(|column| column[row].as_str()).collect::<Vec<_>>().join(" ");
    (0..batch.num_rows()).map(|row| format!("{}{}{}", columns[0][row], number(row), line(row))).collect()
}

/// What the landing must hold of some batches.
pub(crate) fn expected<'a>(batches: impl IntoIterator<Item = &'a ReleasedBatch>) -> Vec<String> {
    let mut rows: Vec<String> = batches.into_iter().flat_map(|batch| texts(batch.get())).collect();
    rows.sort();
    rows
}

/// Opens a landing for a test that wraps it.
pub(crate) fn store(city: &City) -> landing::Store {
    landing::open_folder(&city.landing()).unwrap()
}
