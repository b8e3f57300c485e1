//! Rows that a courier brings.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow_flight::Action;
use kerbside_release::{ReleasedBatch, Table};
use kerbside_uplink::export::{CERTIFICATE, MANIFEST, SIGNATURE, export};
use kerbside_uplink::wire::{self, ImportReply, ImportRequest, Refusal, SegmentReply};
use kerbside_uplink::{Spool, SpoolSettings};
use prost::Message as _;
use tonic::Status;

use crate::common::*;

/// An export of a node's spool, and what is in it.
fn exported(city: &City, node: &str, files: &TlsFiles) -> (PathBuf, Vec<ReleasedBatch>) {
    let folder = city.folder.path().join(format!("{node}-spool"));
    let settings = SpoolSettings {
        folder: folder.clone(),
        max_bytes: 64 << 20,
        sync_interval: Duration::from_secs(1),
        keep: Duration::from_secs(30 * 24 * 3600),
        node: Some(node.to_owned()),
    };
    let (mut spool, _) = Spool::open(settings, START).unwrap();
    let guarantee = kerbside_release::Guarantee::Private {
        noise: kerbside_release::Noise::from_key([3; 32]),
        ledger: Box::new(kerbside_release::MemoryLedger::new()),
    };
    let mut cabinet = Cabinet::with(node, "crossing", spool.position(Table::Agg), guarantee);
    let batches: Vec<_> =
        (0..16).flat_map(|_| cabinet.minute()).filter(|batch| batch.table() == Table::Agg).collect();
    for batch in &batches {
        spool.append(batch, Instant::now()).unwrap();
    }
    spool.close().unwrap();
    let out = city.folder.path().join(format!("{node}-stick"));
    let done = export(&folder, node, files, &out, now()).unwrap();
    assert!(done.segments >= 1, "{done:?}");
    (out, batches)
}

async fn act<M: prost::Message + Default>(client: &mut Client, action: &str, body: Vec<u8>) -> Result<M, Status> {
    let action = Action { r#type: action.to_owned(), body: body.into() };
    let mut results = client.do_action(action).await?.into_inner();
    Ok(wire::decode(&results.message().await?.expect("one reply").body).unwrap())
}

async fn show(client: &mut Client, stick: &Path) -> Result<ImportReply, Status> {
    let read = |name: &str| fs::read(stick.join(name)).unwrap().into();
    let request =
        ImportRequest { manifest: read(MANIFEST), signature: read(SIGNATURE), certificate: read(CERTIFICATE) };
    act(client, wire::IMPORT, request.encode_to_vec()).await
}

fn segments(stick: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(stick.join("agg.v1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_handed_in_twice_is_stored_once() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "remote");
    let (stick, batches) = exported(&city, "remote", &files);
    // Some of it came over the line before.
    let token = deliver(gateway.address(), &files, 0, &batches[..2]).await;
    let mut client = connect(gateway.address(), &city.issue(Role::Courier, "bicycle")).await.unwrap();
    for _ in 0..2 {
        let reply = show(&mut client, &stick).await.unwrap();
        assert_eq!((reply.node.as_str(), reply.segments as usize >= segments(&stick).len()), ("remote", true));
        for segment in segments(&stick) {
            let reply: SegmentReply =
                act(&mut client, wire::IMPORT_SEGMENT, fs::read(segment).unwrap()).await.unwrap();
            assert_eq!((reply.refused, reply.refusal), (0, 0));
            assert!(reply.settled > 0);
        }
    }
    assert_eq!(landed(&city.landing(), "agg.v1"), expected(&batches));
    // The node goes on where it is.
    let last = encode(batches.last().unwrap().get()).last_seq;
    let mut node = connect(gateway.address(), &files).await.unwrap();
    let epoch = batches[0].epoch();
    let reply = resume(&mut node, token, vec![position(Table::Agg, epoch, last + 1)]).await.unwrap();
    assert_eq!(reply.stored[0].ranges, [wire::Range { first_seq: 0, last_seq: last }]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_has_not_signed_is_refused() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "remote");
    let (stick, _) = exported(&city, "remote", &files);
    let segment = fs::read(&segments(&stick)[0]).unwrap();
    let mut client = connect(gateway.address(), &city.issue(Role::Courier, "bicycle")).await.unwrap();
    let refused_as = |result: Result<SegmentReply, Status>| refusal(&result.unwrap_err()).unwrap();
    let early = act(&mut client, wire::IMPORT_SEGMENT, segment.clone()).await;
    assert_eq!(refused_as(early), Refusal::Malformed, "before its manifest");
    show(&mut client, &stick).await.unwrap();
    let mut changed = segment.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(refused_as(act(&mut client, wire::IMPORT_SEGMENT, changed).await), Refusal::Identity);

    // A manifest that was changed, and one that another node has signed.
    let manifest = fs::read_to_string(stick.join(MANIFEST)).unwrap();
    fs::write(stick.join(MANIFEST), manifest.replace("\"remote\"", "\"plaza\"")).unwrap();
    assert_eq!(refusal(&show(&mut client, &stick).await.unwrap_err()), Some(Refusal::Identity));
    fs::write(stick.join(MANIFEST), manifest).unwrap();
    let other = city.issue(Role::Node, "plaza");
    fs::copy(&other.certificate, stick.join(CERTIFICATE)).unwrap();
    assert_eq!(refusal(&show(&mut client, &stick).await.unwrap_err()), Some(Refusal::Identity));

    // A node is no courier, and a courier no node.
    let mut node = connect(gateway.address(), &files).await.unwrap();
    assert_eq!(refused_as(act(&mut node, wire::IMPORT_SEGMENT, segment).await), Refusal::Role);
    let status = resume(&mut client, 0, Vec::new()).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::Role));
    assert!(landed(&city.landing(), "agg.v1").is_empty());
    gateway.stop().await.unwrap();
}
