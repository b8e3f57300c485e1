//! What readers get.

use arrow_array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::{Criteria, FlightDescriptor, Ticket};
use futures::TryStreamExt as _;
use kerbside_release::Table;

use crate::common::*;

pub(crate) async fn get(client: &mut Client, ticket: &str) -> Result<Vec<RecordBatch>, tonic::Status> {
    let ticket = Ticket { ticket: ticket.to_owned().into() };
    let stream = client.do_get(ticket).await?.into_inner();
    let batches = FlightRecordBatchStream::new_from_flight_data(stream.map_err(Into::into));
    Ok(batches.try_collect().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_the_days_that_were_put() {
    let city = City::new();
    let gateway = city.start().await;
    let mut sent = Vec::new();
    for (name, site) in [("cabinet-a", "crossing"), ("cabinet-b", "bridge")] {
        let batches = Cabinet::with_site(name, site, 7).agg(16);
        deliver(gateway.address(), &city.issue(Role::Node, name), 0, &batches).await;
        sent.extend(batches);
    }
    let mut client = connect(gateway.address(), &city.issue(Role::Reader, "planner")).await.unwrap();
    let batches = get(&mut client, "agg.v1/2026-03-29").await.unwrap();
    let mut rows: Vec<String> = batches.iter().flat_map(texts).collect();
    rows.sort();
    assert_eq!(rows, expected(&sent));
    assert_eq!(batches[0].schema().fields(), kerbside_gateway::landing::plain_schema(Table::Agg).fields());
    assert!(get(&mut client, "agg.v1/2026-03-30").await.unwrap().is_empty(), "a day without rows");
    for wrong in ["agg.v1", "faces.v1/2026-03-29", "agg.v1/../../x", "agg.v1/2026-02-30"] {
        assert_eq!(get(&mut client, wrong).await.unwrap_err().code(), tonic::Code::InvalidArgument, "{wrong}");
    }
    let infos: Vec<_> =
        client.list_flights(Criteria::default()).await.unwrap().into_inner().try_collect().await.unwrap();
    let paths: Vec<Vec<String>> = infos.iter().map(|info| info.flight_descriptor.clone().unwrap().path).collect();
    assert_eq!(paths, [["agg.v1", "2026-03-29"]]);
    assert_eq!(infos[0].total_records, rows.len() as i64);
    let descriptor = FlightDescriptor::new_path(vec!["agg.v1".to_owned(), "2026-03-29".to_owned()]);
    let info = client.get_flight_info(descriptor.clone()).await.unwrap().into_inner();
    assert_eq!(info.endpoint[0].ticket.as_ref().unwrap().ticket, "agg.v1/2026-03-29");
    assert!(client.get_schema(descriptor).await.is_ok());
    gateway.stop().await.unwrap();
}
