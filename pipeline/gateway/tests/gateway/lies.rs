//! Messages whose description is not that of their body.

use kerbside_uplink::wire::Refusal;

use crate::common::*;
use crate::hostile::answer;

/// What describes a batch.
struct Described {
    length: i64,
    nodes: Vec<arrow_ipc::FieldNode>,
    buffers: Vec<arrow_ipc::Buffer>,
    is_compressed: bool,
}

type Lie = fn(&mut Described);

/// The same message with another description.
fn described_anew(rows: &Message, change: Lie) -> Message {
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
    let lies: [(&str, Lie, Refusal); 12] = [
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
