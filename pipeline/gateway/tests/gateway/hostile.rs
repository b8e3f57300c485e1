//! Broken messages are refused by name, and nobody else notices.

use std::sync::Arc;

use arrow_array::types::UInt16Type;
use arrow_array::{ArrayRef, DictionaryArray, StringArray, UInt16Array};
use kerbside_gateway::Gateway;
use kerbside_release::Table;
use kerbside_uplink::wire::{Refusal, Rows, Said};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::codegen::Service as _;

use crate::common::*;
use crate::forgeries::with_column;

/// A node that delivers batch by batch, each on a connection of its own, until it is told to stop.
pub(crate) struct Neighbour {
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<Vec<kerbside_release::ReleasedBatch>>,
}

impl Neighbour {
    pub(crate) fn start(city: &City, gateway: &Gateway) -> Self {
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
    pub(crate) async fn undisturbed(self, city: &City) {
        self.stop.send_replace(true);
        let sent = self.task.await.unwrap();
        let landed = landed(&city.landing(), "agg.v1");
        assert_eq!(landed, expected(&sent));
    }
}

/// Opens a stream with a batch's schema and words and sends its rows; what the gateway says, of the stream or of the batch.
pub(crate) async fn answer(gateway: &Gateway, files: &TlsFiles, encoded: &Encoded, token: &mut u64) -> Refusal {
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
