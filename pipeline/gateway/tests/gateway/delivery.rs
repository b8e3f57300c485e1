//! Rows arrive once, whatever is sent again, and are acknowledged when they are stored.

use kerbside_release::Table;
use kerbside_uplink::wire::{self, GapReason, Refusal, Said};

use crate::common::*;

#[tokio::test(flavor = "multi_thread")]
async fn all_tables_of_two_nodes_are_stored_as_they_were_released() {
    let city = City::new();
    let gateway = city.start().await;
    let mut sent = Vec::new();
    for name in ["cabinet-a", "cabinet-b"] {
        let files = city.issue(Role::Node, name);
        let mut cabinet = Cabinet::new(name, 7);
        let mut batches: Vec<_> = (0..16).flat_map(|_| cabinet.minute()).collect();
        batches.push(cabinet.incident());
        let mut token = 0;
        for table in Table::ALL {
            let of_table: Vec<_> = batches.iter().filter(|batch| batch.table() == table).cloned().collect();
            token = deliver(gateway.address(), &files, token, &of_table).await;
        }
        sent.extend(batches);
    }
    for table in Table::ALL {
        let of_table: Vec<_> = sent.iter().filter(|batch| batch.table() == table).collect();
        assert!(!of_table.is_empty());
        assert_eq!(landed(&city.landing(), table.name()), expected(of_table), "{table}");
    }
    let rows = metric(&gateway, "kerbside_gateway_rows_stored_total{table=\"health.v1\"}");
    assert_eq!(rows, 64.0);
    assert!(metric(&gateway, "kerbside_gateway_node_stored_timestamp_seconds{node=\"cabinet-a\"}") > 1.7e9);
    assert_eq!(metric(&gateway, "kerbside_gateway_decoder_panics_total"), 0.0);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f_40_rows_that_come_again_in_other_pieces_are_stored_once() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "cabinet");
    let mut cabinet = Cabinet::new("cabinet", 7);
    let batches = cabinet.agg(12);
    let whole =
        arrow_select::concat::concat_batches(&batches[0].get().schema(), batches.iter().map(|batch| batch.get()))
            .unwrap();
    let rows = whole.num_rows();
    // The middle first, then an overlap at both of its ends, the newest, the rest, and all of it twice more.
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut client, 0, vec![position(Table::Agg, 7, rows as u64)]).await.unwrap();
    assert!(reply.stored.is_empty());
    let mut upload = Upload::open(&mut client, reply.token, &encode(&whole)).await;
    let mut next = Vec::new();
    for (from, to) in [(10, 20), (8, 22), (rows - 3, rows), (0, 9), (0, rows), (5, rows)] {
        upload.rows(&encode(&whole.slice(from, to - from)));
        let ack = upload.ack().await.unwrap();
        assert_eq!((ack.epoch, ack.first_seq, ack.last_seq, ack.refusal), (7, from as u64, to as u64 - 1, 0));
        next.push(ack.next_seq);
    }
    let rows = rows as u64;
    assert_eq!(next, [0, 0, 0, 22, rows, rows]);
    assert_eq!(landed(&city.landing(), "agg.v1"), expected(&batches));
    assert_eq!(metric(&gateway, "kerbside_gateway_rows_stored_total{table=\"agg.v1\"}"), rows as f64);
    assert!(metric(&gateway, "kerbside_gateway_rows_duplicate_total{table=\"agg.v1\"}") > 0.0);
    // A connection that begins anew is told.
    let reply = resume(&mut client, reply.token, vec![position(Table::Agg, 7, rows)]).await.unwrap();
    assert_eq!(reply.stored.len(), 1);
    assert_eq!(reply.stored[0].ranges, [wire::Range { first_seq: 0, last_seq: rows - 1 }]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_will_never_come_are_listed_and_acknowledged_over() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "cabinet");
    let batches = Cabinet::new("cabinet", 9).agg(4);
    let encoded: Vec<_> = batches.iter().map(|batch| encode(batch.get())).collect();
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut client, 0, vec![position(Table::Agg, 9, 100)]).await.unwrap();
    let mut upload = Upload::open(&mut client, reply.token, &encoded[0]).await;
    upload.rows(&encoded[0]);
    assert_eq!(upload.ack().await.unwrap().next_seq, encoded[1].first_seq);
    // The second is lost, the third stands for twice its numbers, and the fourth is among those.
    upload.gap(encoded[1].first_seq, encoded[1].last_seq, GapReason::Damaged);
    assert_eq!(upload.ack().await.unwrap().next_seq, encoded[2].first_seq);
    let coarse = wire::Rows { last_seq: encoded[3].last_seq, ..numbers(&encoded[2]) };
    upload.send(flight(&encoded[2].rows, Some(Said::Rows(coarse))));
    assert_eq!(upload.ack().await.unwrap().next_seq, encoded[3].last_seq + 1);
    upload.rows(&encoded[3]);
    upload.gap(0, encoded[3].last_seq + 2, GapReason::Dropped);
    let acks = upload.finish().await.unwrap();
    assert_eq!(acks.last().unwrap().next_seq, encoded[3].last_seq + 3);
    assert_eq!(landed(&city.landing(), "agg.v1"), expected([&batches[0], &batches[2]]));
    let gaps = landed(&city.landing(), "gap.v1");
    let found: Vec<Vec<&str>> = gaps.iter().map(|gap| gap.split(' ').skip(1).take(6).collect()).collect();
    assert_eq!(found.len(), 3, "{gaps:#?}");
    assert!(gaps.iter().any(|gap| gap.contains(" damaged ")), "{gaps:#?}");
    assert!(gaps.iter().any(|gap| gap.contains(" coarsened ")), "{gaps:#?}");
    assert!(gaps.iter().any(|gap| gap.contains(" 2 dropped ")), "{gaps:#?}");
    let rows = |reason: &str| {
        metric(&gateway, &format!("kerbside_gateway_gap_rows_total{{reason=\"{reason}\",table=\"agg.v1\"}}"))
    };
    assert_eq!((rows("dropped"), rows("damaged")), (2.0, (encoded[1].last_seq - encoded[1].first_seq + 1) as f64));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn coarse_rows_whose_numbers_are_stored_in_part_are_not_counted_twice() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "cabinet");
    let batches = Cabinet::new("cabinet", 9).agg(3);
    let encoded: Vec<_> = batches.iter().map(|batch| encode(batch.get())).collect();
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut client, 0, vec![position(Table::Agg, 9, 100)]).await.unwrap();
    let mut upload = Upload::open(&mut client, reply.token, &encoded[0]).await;
    upload.rows(&encoded[1]);
    assert_eq!(upload.ack().await.unwrap().next_seq, 0);
    let coarse = wire::Rows { last_seq: encoded[2].last_seq, ..numbers(&encoded[0]) };
    upload.send(flight(&encoded[0].rows, Some(Said::Rows(coarse))));
    let ack = upload.ack().await.unwrap();
    assert_eq!((ack.next_seq, ack.refusal), (encoded[2].last_seq + 1, Refusal::None as i32));
    assert_eq!(landed(&city.landing(), "agg.v1"), expected([&batches[1]]));
    assert_eq!(landed(&city.landing(), "gap.v1").len(), 2, "what is missing on both sides is listed");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f_41_one_bad_batch_does_not_hold_up_those_behind_it() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "cabinet");
    let batches = Cabinet::new("cabinet", 9).agg(3);
    let encoded: Vec<_> = batches.iter().map(|batch| encode(batch.get())).collect();
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut client, 0, vec![position(Table::Agg, 9, 100)]).await.unwrap();
    let upload = Upload::open(&mut client, reply.token, &encoded[0]).await;
    upload.rows(&encoded[0]);
    let wrong = wire::Rows { crc: numbers(&encoded[1]).crc ^ 1, ..numbers(&encoded[1]) };
    upload.send(flight(&encoded[1].rows, Some(Said::Rows(wrong))));
    upload.rows(&encoded[2]);
    let mut acks = upload.finish().await.unwrap();
    acks.sort_by_key(|ack| ack.first_seq);
    let refusals: Vec<i32> = acks.iter().map(|ack| ack.refusal).collect();
    assert_eq!(refusals, [0, Refusal::Checksum as i32, 0]);
    assert_eq!((acks[1].first_seq, acks[1].last_seq), (encoded[1].first_seq, encoded[1].last_seq));
    assert_eq!(acks[2].next_seq, encoded[1].first_seq, "what was refused is not acknowledged");
    assert_eq!(refused(&gateway, "checksum"), 1.0);
    assert_eq!(landed(&city.landing(), "agg.v1"), expected([&batches[0], &batches[2]]));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f_41_more_than_a_node_may_send_is_refused_for_now_and_others_go_on() {
    let mut city = City::new();
    city.settings.limits.rows_per_minute = 10;
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "greedy");
    let batches = Cabinet::new("greedy", 9).agg(8);
    let encoded: Vec<_> = batches.iter().map(|batch| encode(batch.get())).collect();
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut client, 0, vec![position(Table::Agg, 9, 100)]).await.unwrap();
    let upload = Upload::open(&mut client, reply.token, &encoded[0]).await;
    encoded.iter().for_each(|encoded| upload.rows(encoded));
    let status = upload.finish().await.unwrap_err();
    assert_eq!((status.code(), refusal(&status)), (tonic::Code::ResourceExhausted, Some(Refusal::Quota)));
    assert_eq!(refused(&gateway, "quota"), 1.0);
    let other = Cabinet::new("modest", 9).agg(2);
    deliver(gateway.address(), &city.issue(Role::Node, "modest"), 0, &other).await;
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_stop_is_stored_and_acknowledged() {
    let mut city = City::new();
    city.settings.commit_interval = std::time::Duration::from_secs(3);
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "cabinet");
    let batches = Cabinet::new("cabinet", 9).agg(3);
    let encoded: Vec<_> = batches.iter().map(|batch| encode(batch.get())).collect();
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut client, 0, vec![position(Table::Agg, 9, 100)]).await.unwrap();
    let mut upload = Upload::open(&mut client, reply.token, &encoded[0]).await;
    encoded.iter().for_each(|encoded| upload.rows(encoded));
    // The first acknowledgement says that the gateway has read them; the commit holds all.
    let reader = tokio::spawn(async move {
        let mut acks = Vec::new();
        while acks.len() < 3 {
            acks.push(upload.ack().await.unwrap());
        }
        (upload, acks)
    });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    gateway.stop().await.unwrap();
    let (_, acks) = reader.await.unwrap();
    assert_eq!(acks.last().unwrap().next_seq, encoded[2].last_seq + 1);
    assert_eq!(landed(&city.landing(), "agg.v1"), expected(&batches));
}
