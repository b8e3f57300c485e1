//! One node, one connection, one life of a spool.

use arrow_flight::{Criteria, FlightDescriptor, Ticket};
use kerbside_release::Table;
use kerbside_uplink::wire::{Refusal, Said};

use crate::common::*;

#[tokio::test(flavor = "multi_thread")]
async fn f_43_a_cloned_node_is_fenced_once_the_other_has_gone_on() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "cabinet");
    let batches = Cabinet::new("cabinet", 7).agg(4);
    let copied = deliver(gateway.address(), &files, 0, &batches[..2]).await;
    let token = deliver(gateway.address(), &files, copied, &batches[2..3]).await;
    // The card was copied when its token was the first one; the copy comes with all that it had.
    let mut copy = connect(gateway.address(), &files).await.unwrap();
    let next = encode(batches[1].get()).last_seq + 1;
    let status = resume(&mut copy, copied, vec![position(Table::Agg, 7, next)]).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::IdentityConflict));
    let status = resume(&mut copy, 0, vec![position(Table::Agg, 7, next)]).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::IdentityConflict), "without a token the epoch must be new");
    assert_eq!(refused(&gateway, "identity_conflict"), 2.0);
    // The node itself is not disturbed.
    deliver(gateway.address(), &files, token, &batches[3..]).await;
    assert_eq!(landed(&city.landing(), "agg.v1"), expected(&batches));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f_43_a_second_connection_takes_the_place_of_the_first_and_of_two_with_one_token_one_stays() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "cabinet");
    let batches = Cabinet::new("cabinet", 7).agg(3);
    let encoded: Vec<_> = batches.iter().map(|batch| encode(batch.get())).collect();
    let positions = || vec![position(Table::Agg, 7, 100)];
    let mut first = connect(gateway.address(), &files).await.unwrap();
    let first_reply = resume(&mut first, 0, positions()).await.unwrap();
    let mut upload = Upload::open(&mut first, first_reply.token, &encoded[0]).await;
    upload.rows(&encoded[0]);
    upload.ack().await.unwrap();
    let mut second = connect(gateway.address(), &files).await.unwrap();
    let second_reply = resume(&mut second, first_reply.token, positions()).await.unwrap();
    let status = upload.finish().await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::IdentityConflict));
    // The connection that was replaced is closed, and its token is good only until the new one is used.
    let mut again = connect(gateway.address(), &files).await.unwrap();
    let again_reply = resume(&mut again, first_reply.token, positions()).await.unwrap();
    assert_eq!(again_reply.token, second_reply.token, "the reply may have been lost, or the request heard twice");
    let mut upload = Upload::open(&mut again, again_reply.token, &encoded[0]).await;
    upload.rows(&encoded[1]);
    upload.ack().await.unwrap();
    let mut late = connect(gateway.address(), &files).await.unwrap();
    let status = resume(&mut late, first_reply.token, positions()).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::IdentityConflict));
    upload.rows(&encoded[2]);
    assert_eq!(upload.ack().await.unwrap().next_seq, encoded[2].last_seq + 1, "refused ones disturb nobody");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f_32_a_spool_that_was_lost_begins_anew_and_one_that_was_set_back_is_refused() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "cabinet");
    let batches = Cabinet::new("cabinet", 7).agg(2);
    let token = deliver(gateway.address(), &files, 0, &batches).await;
    let next = encode(batches[1].get()).last_seq + 1;
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let status = resume(&mut client, token, vec![position(Table::Agg, 7, next - 1)]).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::Replay));
    assert_eq!(refused(&gateway, "replay"), 1.0);
    let other = Cabinet::new("cabinet", 1000).agg(2);
    // Only once the node is gone, whose place it takes.
    eventually("gone", || metric(&gateway, "kerbside_gateway_nodes_connected") == 0.0).await;
    deliver(gateway.address(), &files, 0, &other).await;
    assert_eq!(landed(&city.landing(), "agg.v1"), expected(batches.iter().chain(&other)));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f_43_who_comes_without_a_token_puts_nobody_out() {
    let city = City::new();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "cabinet");
    let batches = Cabinet::new("cabinet", 7).agg(3);
    let encoded: Vec<_> = batches.iter().map(|batch| encode(batch.get())).collect();
    let mut node = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut node, 0, vec![position(Table::Agg, 7, 100)]).await.unwrap();
    let mut upload = Upload::open(&mut node, reply.token, &encoded[0]).await;
    upload.rows(&encoded[0]);
    upload.ack().await.unwrap();
    let mut stranger = connect(gateway.address(), &files).await.unwrap();
    for asked in [vec![], vec![position(Table::Agg, 1000, 0)]] {
        let status = resume(&mut stranger, 0, asked).await.unwrap_err();
        assert_eq!(refusal(&status), Some(Refusal::IdentityConflict));
    }
    upload.rows(&encoded[1]);
    upload.ack().await.unwrap();
    drop((upload, node));
    eventually("gone", || metric(&gateway, "kerbside_gateway_nodes_connected") == 0.0).await;
    // It may come while the node is away, as often as it likes: until it sends, the node's token is good.
    let mut given = Vec::new();
    for _ in 0..2 {
        given.push(resume(&mut stranger, 0, vec![position(Table::Agg, 1000, 0)]).await.unwrap().token);
    }
    assert_eq!(given[0], given[1]);
    deliver(gateway.address(), &files, reply.token, &batches[2..]).await;
    assert_eq!(landed(&city.landing(), "agg.v1"), expected(&batches));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_says_the_certificate() {
    let mut city = City::new();
    city.settings.nodes = Some(["cabinet".to_owned()].into());
    let gateway = city.start().await;
    let batches = Cabinet::new("stranger", 7).agg(1);
    let encoded = encode(batches[0].get());
    let mut reader = connect(gateway.address(), &city.issue(Role::Reader, "planner")).await.unwrap();
    let status = resume(&mut reader, 0, Vec::new()).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::Role));
    let status = Upload::begin(&mut reader, opening(&encoded, 1)).await.err().unwrap();
    assert_eq!(refusal(&status), Some(Refusal::Role));
    let mut stranger = connect(gateway.address(), &city.issue(Role::Node, "stranger")).await.unwrap();
    let status = resume(&mut stranger, 0, Vec::new()).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::Role), "not on the list");
    let mut node = connect(gateway.address(), &city.issue(Role::Node, "cabinet")).await.unwrap();
    assert_eq!(refused(&gateway, "role"), 3.0);
    // A stream before the first words, and one with somebody else's token.
    let own = encode(Cabinet::new("cabinet", 7).agg(1)[0].get());
    for token in [0, 5] {
        let upload = Upload::begin(&mut node, opening(&own, token)).await.unwrap();
        assert_eq!(refusal(&upload.finish().await.unwrap_err()), Some(Refusal::IdentityConflict));
    }
    let reply = resume(&mut node, 0, vec![position(Table::Agg, 7, 10)]).await.unwrap();
    let upload = Upload::begin(&mut node, opening(&own, reply.token)).await.unwrap();
    upload.send(flight(&own.rows, Some(Said::Rows(numbers(&own)))));
    assert_eq!(upload.finish().await.unwrap().len(), 1);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_reader_reads() {
    let city = City::new();
    let gateway = city.start().await;
    let batches = Cabinet::new("cabinet", 7).agg(1);
    deliver(gateway.address(), &city.issue(Role::Node, "cabinet"), 0, &batches).await;
    let ticket = || Ticket { ticket: "agg.v1/2026-03-29".into() };
    let place = || FlightDescriptor::new_path(vec!["agg.v1".to_owned(), "2026-03-29".to_owned()]);
    for (role, name) in [(Role::Node, "cabinet-b"), (Role::Courier, "bicycle"), (Role::Reader, "planner")] {
        let mut client = connect(gateway.address(), &city.issue(role, name)).await.unwrap();
        let answers = [
            client.do_get(ticket()).await.err(),
            client.list_flights(Criteria::default()).await.err(),
            client.get_flight_info(place()).await.err(),
            client.get_schema(place()).await.err(),
        ];
        for (place, status) in answers.iter().enumerate() {
            let expected = (role != Role::Reader).then_some(Refusal::Role);
            assert_eq!(status.as_ref().and_then(refusal), expected, "{name}, call {place}: {status:?}");
        }
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f_42_a_node_that_is_revoked_while_it_is_connected_is_put_out_and_others_come_back() {
    let mut city = City::new();
    city.settings.tls.revoked = Some(city.authority.revoke(&[], now()).unwrap().path);
    let gateway = city.start().await;
    let (stolen, other) = (city.issue(Role::Node, "stolen"), city.issue(Role::Node, "cabinet"));
    let batches = Cabinet::new("stolen", 7).agg(1);
    let encoded = encode(batches[0].get());
    let mut client = connect(gateway.address(), &stolen).await.unwrap();
    let reply = resume(&mut client, 0, vec![position(Table::Agg, 7, 100)]).await.unwrap();
    let mut upload = Upload::open(&mut client, reply.token, &encoded).await;
    upload.rows(&encoded);
    upload.ack().await.unwrap();
    city.authority.revoke(std::slice::from_ref(&stolen.certificate), now()).unwrap();
    // The list is looked at every ten seconds.
    assert!(upload.ack().await.is_err(), "the connection ends");
    eventually("it is refused", || {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                match connect(gateway.address(), &stolen).await {
                    Err(_) => true,
                    Ok(mut client) => resume(&mut client, reply.token, Vec::new()).await.is_err(),
                }
            })
        })
    })
    .await;
    // The node hears of it before it is counted.
    eventually("it is counted", || shaken_off(&gateway, "revoked") > 0.0).await;
    deliver(gateway.address(), &other, 0, &Cabinet::new("cabinet", 7).agg(1)).await;
    gateway.stop().await.unwrap();
}
