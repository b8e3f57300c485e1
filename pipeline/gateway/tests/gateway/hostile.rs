//! Who does not keep to the rules is refused by name, and nobody else notices.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{UInt8Type, UInt16Type};
use arrow_array::{
    Array as _, ArrayRef, BinaryArray, DictionaryArray, Float32Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema};
use kerbside_gateway::Gateway;
use kerbside_release::{Guarantee, StreamPosition, Table};
use kerbside_uplink::wire::{Refusal, Rows, Said};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::codegen::Service as _;

use crate::common::*;

/// A node that delivers batch by batch, each on a connection of its own, until it is told to stop.
struct Neighbour {
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<Vec<kerbside_release::ReleasedBatch>>,
}

impl Neighbour {
    fn start(city: &City, gateway: &Gateway) -> Self {
        let (stop, told) = tokio::sync::watch::channel(false);
        let (address, files) = (gateway.address(), city.issue(Role::Node, "neighbour"));
        let task = tokio::spawn(async move {
            let mut cabinet = Cabinet::new("neighbour", 3);
            let (mut token, mut sent) = (0, Vec::new());
            while !*told.borrow() || sent.is_empty() {
                let batches = cabinet.agg(2);
                token = deliver(address, &files, token, &batches).await;
                sent.extend(batches);
            }
            sent
        });
        Self { stop, task }
    }

    /// Nothing but its rows is in the landing, and all of them are.
    async fn undisturbed(self, city: &City) {
        self.stop.send_replace(true);
        let sent = self.task.await.unwrap();
        let landed = landed(&city.landing(), "agg.v1");
        assert_eq!(landed, expected(&sent));
    }
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let place = batch.schema().index_of(name).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[place] = column;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn with_words(batch: &RecordBatch, name: &str, words: &[&str]) -> RecordBatch {
    let words: ArrayRef = Arc::new(StringArray::from_iter_values(words));
    let column = batch.column_by_name(name).unwrap();
    let column: ArrayRef = match column.data_type() {
        DataType::Dictionary(key, _) if key.as_ref() == &DataType::UInt8 => {
            Arc::new(DictionaryArray::<UInt8Type>::new(column.as_dictionary::<UInt8Type>().keys().clone(), words))
        }
        _ => Arc::new(DictionaryArray::<UInt16Type>::new(
            column.as_dictionary::<UInt16Type>().keys().clone(),
            words,
        )),
    };
    with_column(batch, name, column)
}

fn times(batch: &RecordBatch, millis: i64) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(vec![millis; batch.num_rows()]).with_timezone("UTC"))
}

/// Opens a stream with a batch's schema and words and sends its rows; what the gateway says, of the stream or of the batch.
async fn answer(gateway: &Gateway, files: &TlsFiles, encoded: &Encoded, token: &mut u64) -> Refusal {
    let mut client = connect(gateway.address(), files).await.unwrap();
    let table = Table::from_name(&encoded.table).unwrap_or(Table::Agg);
    let reply = resume(&mut client, *token, vec![position(table, encoded.epoch, 1 << 40)]).await.unwrap();
    *token = reply.token;
    let upload = match Upload::begin(&mut client, opening(encoded, reply.token)).await {
        Ok(upload) => upload,
        Err(status) => return refusal(&status).unwrap(),
    };
    upload.rows(encoded);
    match upload.finish().await {
        Ok(acks) => Refusal::try_from(acks[0].refusal).unwrap(),
        Err(status) => refusal(&status).unwrap_or_else(|| panic!("{status}")),
    }
}

type Forge = fn(&RecordBatch) -> RecordBatch;

/// What a forger does to a batch of `agg.v1`, and why it is refused.
fn forgeries() -> Vec<(&'static str, Forge, Refusal)> {
    fn add_faces(batch: &RecordBatch) -> RecordBatch {
        let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(Field::new("faces", DataType::Binary, true));
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(BinaryArray::from_iter_values(vec![[7_u8; 900]; batch.num_rows()])));
        let schema = Schema::new(fields).with_metadata(batch.schema().metadata().clone());
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }
    fn change_metadata(batch: &RecordBatch, change: fn(&mut HashMap<String, String>)) -> RecordBatch {
        let mut metadata: HashMap<String, String> =
            batch.schema().metadata().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        change(&mut metadata);
        let schema = Schema::new(batch.schema().fields().clone()).with_metadata(metadata);
        RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).unwrap()
    }
    fn rename(batch: &RecordBatch, name: &str, to: &str) -> RecordBatch {
        let fields: Vec<Field> =
            batch
                .schema()
                .fields()
                .iter()
                .map(|field| {
                    if field.name() == name {
                        field.as_ref().clone().with_name(to)
                    } else {
                        field.as_ref().clone()
                    }
                })
                .collect();
        let schema = Schema::new(fields).with_metadata(batch.schema().metadata().clone());
        RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).unwrap()
    }
    fn floats(batch: &RecordBatch, value: f32) -> ArrayRef {
        Arc::new(Float32Array::from(vec![value; batch.num_rows()]))
    }
    vec![
        ("a column of bytes", add_faces, Refusal::Schema),
        ("a column of another name", |batch| rename(batch, "bucket", "age"), Refusal::Schema),
        (
            "a note in the metadata",
            |batch| {
                change_metadata(batch, |metadata| {
                    metadata.insert("note".to_owned(), "hello".to_owned());
                })
            },
            Refusal::Schema,
        ),
        (
            "no vocabulary",
            |batch| {
                change_metadata(batch, |metadata| {
                    metadata.remove("vocabulary");
                })
            },
            Refusal::Schema,
        ),
        (
            "a hash that is none",
            |batch| {
                change_metadata(batch, |metadata| {
                    metadata.insert("vocabulary".to_owned(), "x".repeat(64));
                })
            },
            Refusal::Schema,
        ),
        ("another node's rows", |batch| with_words(batch, "node", &["neighbour"]), Refusal::Identity),
        ("two nodes", |batch| with_words(batch, "node", &["hostile", "neighbour"]), Refusal::Identity),
        ("a name of somebody", |batch| with_words(batch, "camera", &["Jane Doe", "south"]), Refusal::Vocabulary),
        ("the same word twice", |batch| with_words(batch, "camera", &["north", "north"]), Refusal::Vocabulary),
        ("an empty word", |batch| with_words(batch, "camera", &["", "north"]), Refusal::Vocabulary),
        (
            "a long word",
            |batch| with_words(batch, "site", &["*", &"x".repeat(4000), "square"]),
            Refusal::Vocabulary,
        ),
        (
            "an unknown measure",
            |batch| {
                let words: Vec<String> = (0..13).map(|place| format!("faces_{place}")).collect();
                with_words(batch, "measure", &words.iter().map(String::as_str).collect::<Vec<_>>())
            },
            Refusal::Vocabulary,
        ),
        (
            "other numbers",
            |batch| {
                let rows = batch.num_rows() as u64;
                with_column(batch, "seq", Arc::new(UInt64Array::from_iter_values((0..rows).map(|row| row * 2))))
            },
            Refusal::Value,
        ),
        (
            "another epoch in a row",
            |batch| {
                let mut epochs = vec![7; batch.num_rows()];
                *epochs.last_mut().unwrap() = 8;
                with_column(batch, "epoch", Arc::new(UInt32Array::from(epochs)))
            },
            Refusal::Value,
        ),
        ("an end before the beginning", |batch| with_column(batch, "t1", times(batch, 0)), Refusal::Value),
        (
            "no time at all",
            |batch| {
                let start = batch.column_by_name("t0").unwrap().clone();
                with_column(batch, "t1", start)
            },
            Refusal::Value,
        ),
        (
            "the year 1971",
            |batch| {
                with_column(
                    &with_column(batch, "t0", times(batch, 31_536_000_000)),
                    "t1",
                    times(batch, 31_536_060_000),
                )
            },
            Refusal::Value,
        ),
        (
            "half a minute",
            |batch| {
                let start = START.as_unix_millis();
                with_column(&with_column(batch, "t0", times(batch, start)), "t1", times(batch, start + 30_000))
            },
            Refusal::Value,
        ),
        (
            "people by the minute",
            |batch| {
                with_column(batch, "class", {
                    let words =
                        batch.column_by_name("class").unwrap().as_dictionary::<UInt8Type>().values().clone();
                    let keys = UInt8Array::from(vec![0; batch.num_rows()]);
                    Arc::new(DictionaryArray::<UInt8Type>::new(keys, words))
                })
            },
            Refusal::Value,
        ),
        ("a share that is none", |batch| with_column(batch, "coverage", floats(batch, 1.5)), Refusal::Value),
        ("not a number", |batch| with_column(batch, "coverage", floats(batch, f32::NAN)), Refusal::Value),
        ("noise without end", |batch| with_column(batch, "noise_b", floats(batch, f32::INFINITY)), Refusal::Value),
        ("noise that is called none", |batch| with_column(batch, "noise_b", floats(batch, 3.0)), Refusal::Value),
        (
            "a bucket of no histogram",
            |batch| with_column(batch, "bucket", Arc::new(UInt8Array::from(vec![9; batch.num_rows()]))),
            Refusal::Value,
        ),
        (
            "rows of a demonstration",
            |batch| {
                with_column(batch, "release", {
                    let words =
                        batch.column_by_name("release").unwrap().as_dictionary::<UInt8Type>().values().clone();
                    Arc::new(DictionaryArray::<UInt8Type>::new(UInt8Array::from(vec![4; batch.num_rows()]), words))
                })
            },
            Refusal::Value,
        ),
        ("no row", |batch| batch.slice(0, 0), Refusal::Malformed),
        (
            "more rows than a batch has",
            |batch| {
                let mut columns = Vec::new();
                for column in batch.columns() {
                    let indices = UInt32Array::from(vec![0; 70_000]);
                    columns.push(arrow_select::take::take(column, &indices, None).unwrap());
                }
                RecordBatch::try_new(batch.schema(), columns).unwrap()
            },
            Refusal::Size,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn pc_2_to_pc_6_forged_rows_are_refused_by_name_beside_a_neighbour_who_is_not_disturbed() {
    let city = City::new();
    let gateway = city.start().await;
    let neighbour = Neighbour::start(&city, &gateway);
    let files = city.issue(Role::Node, "hostile");
    let honest = Cabinet::new("hostile", 7).agg(1).remove(0);
    let mut token = 0;
    let mut told: HashMap<&str, f64> = HashMap::new();
    for (what, forge, expected) in forgeries() {
        let forged = forge(honest.get());
        let mut encoded = if forged.num_rows() == 0 { encode(honest.get()) } else { encode(&forged) };
        if forged.num_rows() == 0 {
            encoded.rows = encode_with_dictionaries(&forged);
        }
        let refusal = answer(&gateway, &files, &encoded, &mut token).await;
        assert_eq!(refusal, expected, "{what}");
        *told.entry(expected.name()).or_default() += 1.0;
    }
    for (reason, times) in told {
        assert_eq!(refused(&gateway, reason), times, "{reason}");
    }
    assert_eq!(metric(&gateway, "kerbside_gateway_decoder_panics_total"), 0.0);
    neighbour.undisturbed(&city).await;
    gateway.stop().await.unwrap();
}

/// The message of a batch without rows: a first slice of it would give no words.
fn encode_with_dictionaries(batch: &RecordBatch) -> Message {
    use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
    let options = IpcWriteOptions::try_new(8, false, arrow_ipc::MetadataVersion::V5).unwrap();
    let mut tracker = DictionaryTracker::new(false);
    let generator = IpcDataGenerator::default();
    generator.schema_to_bytes_with_dictionary_tracker(&batch.schema(), &mut tracker, &options);
    let (_, rows) = generator.encode(batch, &mut tracker, &options, &mut IpcWriteContext::default()).unwrap();
    Message { header: rows.ipc_message.into(), body: rows.arrow_data.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn pc_4_broken_messages_are_refused_by_name() {
    let city = City::new();
    let gateway = city.start().await;
    let neighbour = Neighbour::start(&city, &gateway);
    let files = city.issue(Role::Node, "hostile");
    let honest = encode(Cabinet::new("hostile", 7).agg(1)[0].get());
    let mut token = 0;
    // A word beyond those that were given: rows of two cameras, words of one.
    let one_camera = {
        let batch = Cabinet::new("hostile", 7).agg(1).remove(0);
        let keys = UInt16Array::from(vec![0; batch.get().num_rows()]);
        let words: ArrayRef = Arc::new(StringArray::from_iter_values(["north"]));
        with_column(batch.get(), "camera", Arc::new(DictionaryArray::<UInt16Type>::new(keys, words)))
    };
    let beyond = Encoded { dictionaries: encode(&one_camera).dictionaries, ..honest.clone() };
    assert_eq!(answer(&gateway, &files, &beyond, &mut token).await, Refusal::Vocabulary);
    let mut cut = honest.clone();
    cut.rows.body = cut.rows.body.slice(..cut.rows.body.len() - 64);
    assert_eq!(answer(&gateway, &files, &cut, &mut token).await, Refusal::Malformed);
    cut.rows = Message { header: honest.rows.header.slice(..honest.rows.header.len() / 2), ..honest.rows.clone() };
    assert_eq!(answer(&gateway, &files, &cut, &mut token).await, Refusal::Malformed);
    let mut no_words = honest.clone();
    no_words.dictionaries.pop();
    assert_eq!(answer(&gateway, &files, &no_words, &mut token).await, Refusal::Malformed);
    let mut twice = honest.clone();
    twice.dictionaries.push(honest.dictionaries[0].clone());
    assert_eq!(answer(&gateway, &files, &twice, &mut token).await, Refusal::Malformed);
    let other_name = Encoded { table: "health.v1".to_owned(), ..honest.clone() };
    assert_eq!(answer(&gateway, &files, &other_name, &mut token).await, Refusal::Schema);
    let numbered = Encoded { first_seq: 5, last_seq: 5 + honest.last_seq, ..honest.clone() };
    assert_eq!(answer(&gateway, &files, &numbered, &mut token).await, Refusal::Value);
    assert_eq!(refused(&gateway, "malformed"), 4.0);

    // Something of one's own beside the rows.
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut client, token, vec![position(Table::Agg, 7, 100)]).await.unwrap();
    let upload = Upload::open(&mut client, reply.token, &honest).await;
    let mut smuggled = flight(&honest.rows, Some(Said::Rows(numbers(&honest))));
    smuggled.app_metadata = [&smuggled.app_metadata[..], &[0x7a, 4, b'f', b'a', b'c', b'e']].concat().into();
    upload.send(smuggled);
    assert_eq!(refusal(&upload.finish().await.unwrap_err()), Some(Refusal::Malformed));
    let upload = Upload::open(&mut client, reply.token, &honest).await;
    let mut long = flight(&honest.rows, None);
    long.app_metadata = vec![8; 300].into();
    upload.send(long);
    assert_eq!(refusal(&upload.finish().await.unwrap_err()), Some(Refusal::Size));
    let upload = Upload::open(&mut client, reply.token, &honest).await;
    let numbers = Rows { last_seq: u64::MAX, ..numbers(&honest) };
    upload.send(flight(&honest.rows, Some(Said::Rows(numbers))));
    assert_eq!(upload.finish().await.unwrap()[0].refusal, Refusal::Malformed as i32);
    assert_eq!(metric(&gateway, "kerbside_gateway_decoder_panics_total"), 0.0);
    neighbour.undisturbed(&city).await;
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_too_large_are_refused_before_there_is_room_for_them() {
    let city = City::new();
    let gateway = city.start().await;
    let neighbour = Neighbour::start(&city, &gateway);
    let files = city.issue(Role::Node, "hostile");
    let honest = encode(Cabinet::new("hostile", 7).agg(1)[0].get());
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut client, 0, vec![position(Table::Agg, 7, 100)]).await.unwrap();
    let upload = Upload::open(&mut client, reply.token, &honest).await;
    let mut large = flight(&honest.rows, Some(Said::Rows(numbers(&honest))));
    large.data_body = vec![0; 17 << 20].into();
    upload.send(large);
    assert_eq!(refusal(&upload.finish().await.unwrap_err()), Some(Refusal::Size));
    // A gigabyte that is announced and never comes.
    let connector = connect_raw(gateway.address(), &files).await;
    let mut channel = connector;
    let mut body = vec![0, 0x40, 0, 0, 0];
    body.extend_from_slice(&[0; 1024]);
    let call = tonic::codegen::http::Request::post("http://gateway/arrow.flight.protocol.FlightService/DoPut")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(axum::body::Body::from(body)))
        .unwrap();
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let response = channel.call(call).await.unwrap();
    assert_eq!(response.status(), 200);
    eventually("both were refused for their size", || refused(&gateway, "size") == 2.0).await;
    let resident = metric_after_scrape(&gateway).await;
    assert!(resident < 1.5e9, "{resident}");
    neighbour.undisturbed(&city).await;
    gateway.stop().await.unwrap();
}

async fn metric_after_scrape(gateway: &Gateway) -> f64 {
    let mut stream = TcpStream::connect(gateway.metrics_address()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    metric(gateway, "kerbside_process_resident_bytes")
}

#[tokio::test(flavor = "multi_thread")]
async fn pc_3_under_one_hash_there_is_one_vocabulary() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "hostile");
    let honest = Cabinet::with_site("hostile", "crossing", 7).agg(1).remove(0);
    let token = deliver(gateway.address(), &files, 0, std::slice::from_ref(&honest)).await;
    let other = Cabinet::with_site("hostile", "bridge", 8).agg(1).remove(0);
    let schema =
        Schema::new(other.get().schema().fields().clone()).with_metadata(honest.get().schema().metadata().clone());
    let forged = RecordBatch::try_new(Arc::new(schema), other.get().columns().to_vec()).unwrap();
    let mut token = token;
    assert_eq!(answer(&gateway, &files, &encode(&forged), &mut token).await, Refusal::Vocabulary);
    assert_eq!(answer(&gateway, &files, &encode(other.get()), &mut token).await, Refusal::None);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_demonstration_are_stored_only_where_that_is_wanted() {
    let mut city = City::new();
    let at = StreamPosition { epoch: 7, next_seq: 0 };
    let mut demo = Cabinet::with("demo", "crossing", at, Guarantee::Demonstration);
    let batch = demo.agg(1).remove(0);
    let files = city.issue(Role::Node, "demo");
    let gateway = city.start().await;
    assert_eq!(answer(&gateway, &files, &encode(batch.get()), &mut 0).await, Refusal::Value);
    gateway.stop().await.unwrap();
    city.settings.accept_demo = true;
    let gateway = city.start().await;
    assert_eq!(answer(&gateway, &files, &encode(batch.get()), &mut 0).await, Refusal::None);
    assert_eq!(landed(&city.landing(), "agg.v1"), expected([&batch]));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f_42_who_has_no_valid_certificate_is_told_apart_by_reason() {
    let mut city = City::new();
    let revoked = city.issue(Role::Node, "revoked-one");
    let list = city.authority.revoke(&[revoked.certificate.clone()], now()).unwrap();
    city.settings.tls.revoked = Some(list.path);
    let gateway = city.start().await;
    let neighbour = Neighbour::start(&city, &gateway);
    let address = gateway.address();

    let expired = city.issue_until(Role::Node, "expired-one", now() - MINUTE);
    assert!(refused_at_the_door(address, &expired).await);
    eventually("expired", || shaken_off(&gateway, "expired") > 0.0).await;

    assert!(refused_at_the_door(address, &revoked).await);
    eventually("revoked", || shaken_off(&gateway, "revoked") > 0.0).await;

    let elsewhere = City::new();
    let mut foreign = elsewhere.issue(Role::Node, "hostile");
    foreign.authority.clone_from(&city.settings.tls.authority);
    assert!(refused_at_the_door(address, &foreign).await);
    eventually("unknown authority", || shaken_off(&gateway, "unknown_authority") > 0.0).await;

    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut rest = Vec::new();
    let closed = plain.read_to_end(&mut rest).await;
    assert!(closed.is_err() || rest.is_empty(), "nothing is answered: {rest:?}");
    eventually("plaintext", || shaken_off(&gateway, "plaintext") == 1.0).await;

    let mut old = TcpStream::connect(address).await.unwrap();
    old.write_all(&client_hello_of_tls_1_2()).await.unwrap();
    let mut rest = Vec::new();
    let _ = old.read_to_end(&mut rest).await;
    eventually("TLS 1.2", || shaken_off(&gateway, "tls_version") == 1.0).await;

    neighbour.undisturbed(&city).await;
    gateway.stop().await.unwrap();
}

/// Whether a connection fails at once or at its first call: with TLS 1.3 a client hears of it after its own handshake.
async fn refused_at_the_door(address: std::net::SocketAddr, files: &TlsFiles) -> bool {
    match connect(address, files).await {
        Err(_) => true,
        Ok(mut client) => resume(&mut client, 0, Vec::new()).await.is_err(),
    }
}

/// A client hello that knows nothing newer than TLS 1.2.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[7; 32]);
    // No session; two suites; no compression.
    hello.extend_from_slice(&[0, 0, 4, 0xc0, 0x2f, 0xc0, 0x2b, 1, 0]);
    // Groups, formats of points, algorithms of signatures.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4];
    hello.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    hello.extend_from_slice(&extensions);
    let mut record = vec![1, 0];
    record.extend_from_slice(&(hello.len() as u16).to_be_bytes());
    record.extend_from_slice(&hello);
    let mut bytes = vec![22, 3, 1];
    bytes.extend_from_slice(&(record.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&record);
    bytes
}

/// What describes a batch.
struct Described {
    length: i64,
    nodes: Vec<arrow_ipc::FieldNode>,
    buffers: Vec<arrow_ipc::Buffer>,
    is_compressed: bool,
}

/// The same message with another description.
fn described_anew(rows: &Message, change: fn(&mut Described)) -> Message {
    use arrow_ipc::{
        BodyCompression, BodyCompressionArgs, BodyCompressionMethod, CompressionType, Message as Described_,
        MessageArgs, MessageHeader, MetadataVersion, RecordBatch as Batch, RecordBatchArgs, root_as_message,
    };
    let message = root_as_message(&rows.header).unwrap();
    let batch = message.header_as_record_batch().unwrap();
    let mut described = Described {
        length: batch.length(),
        nodes: batch.nodes().unwrap().iter().copied().collect(),
        buffers: batch.buffers().unwrap().iter().copied().collect(),
        is_compressed: false,
    };
    change(&mut described);
    let mut builder = flatbuffers::FlatBufferBuilder::new();
    let nodes = Some(builder.create_vector(&described.nodes));
    let buffers = Some(builder.create_vector(&described.buffers));
    let compression = described.is_compressed.then(|| {
        let args =
            BodyCompressionArgs { codec: CompressionType::LZ4_FRAME, method: BodyCompressionMethod::BUFFER };
        BodyCompression::create(&mut builder, &args)
    });
    let args =
        RecordBatchArgs { length: described.length, nodes, buffers, compression, variadicBufferCounts: None };
    let batch = Batch::create(&mut builder, &args);
    let args = MessageArgs {
        version: MetadataVersion::V5,
        header_type: MessageHeader::RecordBatch,
        header: Some(batch.as_union_value()),
        bodyLength: rows.body.len() as i64,
        custom_metadata: None,
    };
    let message = Described_::create(&mut builder, &args);
    builder.finish(message, None);
    Message { header: builder.finished_data().to_vec().into(), body: rows.body.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_that_lie_about_their_body_are_refused() {
    use arrow_ipc::{Buffer, FieldNode};
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "hostile");
    let honest = encode(Cabinet::new("hostile", 7).agg(1)[0].get());
    let lies: [(&str, fn(&mut Described), Refusal); 12] = [
        ("nothing", |_| {}, Refusal::None),
        ("a body to be unpacked", |told| told.is_compressed = true, Refusal::Malformed),
        ("a million million rows", |told| told.length = 1 << 40, Refusal::Size),
        ("fewer than no rows", |told| told.length = -1, Refusal::Malformed),
        ("a column too few", |told| told.nodes.truncate(told.nodes.len() - 1), Refusal::Malformed),
        ("a buffer too many", |told| told.buffers.push(Buffer::new(0, 0)), Refusal::Malformed),
        ("a longer column", |told| told.nodes[3] = FieldNode::new(1 << 50, 0), Refusal::Malformed),
        ("nulls that are not there", |told| told.nodes[3] = FieldNode::new(told.length, 1), Refusal::Value),
        ("fewer nulls than none", |told| told.nodes[3] = FieldNode::new(told.length, -1), Refusal::Value),
        ("a buffer beyond the body", |told| told.buffers[5] = Buffer::new(i64::MAX - 3, 8), Refusal::Malformed),
        ("a buffer before it", |told| told.buffers[5] = Buffer::new(-64, 64), Refusal::Malformed),
        (
            "the same bytes for all",
            |told| {
                let all = told.buffers[5];
                told.buffers.iter_mut().for_each(|buffer| *buffer = all);
            },
            Refusal::Malformed,
        ),
    ];
    let mut token = 0;
    for (what, lie, expected) in lies {
        let told = Encoded { rows: described_anew(&honest.rows, lie), ..honest.clone() };
        assert_eq!(answer(&gateway, &files, &told, &mut token).await, expected, "{what}");
    }
    assert_eq!(metric(&gateway, "kerbside_gateway_decoder_panics_total"), 0.0);
    gateway.stop().await.unwrap();
}
