//! Small files are merged and old days let go, and no row is lost, doubled or changed by it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use kerbside_gateway::landing::{self, Store};
use kerbside_gateway::{Gateway, summary};
use kerbside_release::{ReleasedBatch, Table};

use crate::common::*;
use crate::crash::{Breaking, Breaks};
use crate::reading::get;

const HOUR: i64 = 60 * 60 * 1000;

/// Commits of one batch each, of two nodes.
async fn fill(city: &City, gateway: &Gateway) -> Vec<ReleasedBatch> {
    let mut sent = Vec::new();
    for (name, site) in [("cabinet-b", "crossing"), ("cabinet-a", "bridge")] {
        let files = city.issue(Role::Node, name);
        let mut token = 0;
        let mut cabinet = Cabinet::with_site(name, site, 7);
        for _ in 0..4 {
            let batches = cabinet.agg(1);
            token = deliver(gateway.address(), &files, token, &batches).await;
            sent.extend(batches);
        }
    }
    sent
}

fn soon() -> i64 {
    now().as_unix_millis() + 2 * HOUR
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_day_has_the_same_rows_in_order() {
    let city = City::new();
    let gateway = city.start().await;
    let sent = fill(&city, &gateway).await;
    assert_eq!(parquet_files(&city.landing()).len(), 8);
    gateway.compact(now().as_unix_millis()).await.unwrap();
    assert_eq!(parquet_files(&city.landing()).len(), 8, "they are too new");
    gateway.compact(soon()).await.unwrap();
    assert_eq!(parquet_files(&city.landing()).len(), 1);
    assert_eq!(landed(&city.landing(), "agg.v1"), expected(&sent));
    assert_eq!(metric(&gateway, "kerbside_gateway_compactions_total{table=\"agg.v1\"}"), 1.0);
    assert_eq!(metric(&gateway, "kerbside_gateway_landing_files{table=\"agg.v1\"}"), 1.0);
    let mut reader = connect(gateway.address(), &city.issue(Role::Reader, "planner")).await.unwrap();
    let batches = get(&mut reader, "agg.v1/2026-03-29").await.unwrap();
    let rows: Vec<String> = batches.iter().flat_map(texts).collect();
    assert_eq!(rows.len(), expected(&sent).len());
    let order: Vec<(&str, &str)> = rows.iter().map(|row| row.split_at(9)).collect();
    assert!(order.windows(2).all(|pair| pair[0].0 <= pair[1].0), "by node");
    gateway.stop().await.unwrap();
    let gateway = city.start().await;
    let mut reader = connect(gateway.address(), &city.issue(Role::Reader, "planner-b")).await.unwrap();
    let again: Vec<String> = get(&mut reader, "agg.v1/2026-03-29").await.unwrap().iter().flat_map(texts).collect();
    assert_eq!(again, rows);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_merging_loses_and_doubles_nothing() {
    for breaks in [Breaks::Before(8), Breaks::After(8)] {
        let city = City::new();
        let broken: Store = Arc::new(Breaking { inner: store(&city), breaks, puts: AtomicUsize::new(0) });
        let gateway = Gateway::start_over(&city.settings, broken).await.unwrap();
        let sent = fill(&city, &gateway).await;
        assert!(gateway.compact(soon()).await.is_err(), "{breaks:?}");
        gateway.stop().await.unwrap();
        let gateway = city.start().await;
        assert_eq!(landed(&city.landing(), "agg.v1"), expected(&sent), "{breaks:?}: undone at the start");
        gateway.compact(soon()).await.unwrap();
        assert_eq!(landed(&city.landing(), "agg.v1"), expected(&sent), "{breaks:?}");
        assert_eq!(parquet_files(&city.landing()).len(), 1);
        gateway.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_somebody_reads_are_deleted_later() {
    let city = City::new();
    let gateway = city.start().await;
    let sent = fill(&city, &gateway).await;
    let mut client = connect(gateway.address(), &city.issue(Role::Reader, "planner")).await.unwrap();
    let ticket = arrow_flight::Ticket { ticket: "agg.v1/2026-03-29".into() };
    let pinned = gateway.pin("agg.v1", "2026-03-29");
    gateway.compact(soon()).await.unwrap();
    assert_eq!(parquet_files(&city.landing()).len(), 9, "the merged one beside those that are read");
    let stream = client.do_get(ticket).await.unwrap().into_inner();
    let batches: Vec<_> = futures::TryStreamExt::try_collect::<Vec<_>>(stream).await.unwrap();
    assert!(!batches.is_empty());
    drop(pinned);
    gateway.compact(soon()).await.unwrap();
    assert_eq!(parquet_files(&city.landing()).len(), 1);
    assert_eq!(landed(&city.landing(), "agg.v1"), expected(&sent));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pc_19_days_are_deleted_when_they_were_kept_long_enough() {
    let mut city = City::new();
    city.settings.retention = [(Table::Incident, std::time::Duration::from_secs(72 * 3600))].into();
    let gateway = city.start().await;
    let files = city.issue(Role::Node, "cabinet");
    let mut cabinet = Cabinet::new("cabinet", 7);
    let token = deliver(gateway.address(), &files, 0, &[cabinet.incident()]).await;
    let agg = cabinet.agg(1);
    let token = deliver(gateway.address(), &files, token, &agg).await;
    let end_of_day = (START.as_unix_millis() / (24 * HOUR) + 1) * 24 * HOUR;
    gateway.compact(end_of_day + 72 * HOUR - 1).await.unwrap();
    assert_eq!(landed(&city.landing(), "incident.v1").len(), 2);
    gateway.compact(end_of_day + 72 * HOUR).await.unwrap();
    assert!(landed(&city.landing(), "incident.v1").is_empty());
    assert_eq!(landed(&city.landing(), "agg.v1"), expected(&agg));
    // They were stored, and are not asked for again.
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut client, token, vec![position(Table::Incident, 7, 2)]).await.unwrap();
    assert_eq!((reply.stored[0].ranges[0].first_seq, reply.stored[0].ranges[0].last_seq), (0, 1));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pc_19_a_file_that_cannot_be_read_keeps_no_other_day_from_its_end() {
    let mut city = City::new();
    city.settings.retention = [(Table::Incident, std::time::Duration::from_secs(72 * 3600))].into();
    let gateway = city.start().await;
    let sent = fill(&city, &gateway).await;
    let files = city.issue(Role::Node, "cabinet-c");
    let mut cabinet = Cabinet::new("cabinet-c", 7);
    let token = deliver(gateway.address(), &files, 0, &[cabinet.incident()]).await;
    let health: Vec<_> = cabinet.minute().into_iter().filter(|batch| batch.table() == Table::Health).collect();
    let token = deliver(gateway.address(), &files, token, &health).await;
    let more: Vec<_> = cabinet.minute().into_iter().filter(|batch| batch.table() == Table::Health).collect();
    deliver(gateway.address(), &files, token, &more).await;
    // The counts come before the others in any order of names.
    let spoilt = parquet_files(&city.landing().join("agg.v1")).remove(0);
    let whole = std::fs::read(&spoilt).unwrap();
    std::fs::write(&spoilt, b"no Parquet").unwrap();
    let late = (START.as_unix_millis() / (24 * HOUR) + 5) * 24 * HOUR;
    assert!(gateway.compact(soon().max(late)).await.is_err());
    assert!(landed(&city.landing(), "incident.v1").is_empty());
    assert_eq!(parquet_files(&city.landing().join("health.v1")).len(), 1);
    assert_eq!(parquet_files(&city.landing().join("agg.v1")).len(), 8);
    std::fs::write(&spoilt, whole).unwrap();
    gateway.compact(soon()).await.unwrap();
    assert_eq!(landed(&city.landing(), "agg.v1"), expected(&sent));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_says_what_the_city_has() {
    let city = City::new();
    let gateway = city.start().await;
    let sent = fill(&city, &gateway).await;
    let files = city.issue(Role::Node, "cabinet-c");
    let batch = Cabinet::new("cabinet-c", 7).agg(1).remove(0);
    let encoded = encode(batch.get());
    let mut client = connect(gateway.address(), &files).await.unwrap();
    let reply = resume(&mut client, 0, vec![position(Table::Agg, 7, 100)]).await.unwrap();
    let mut upload = Upload::open(&mut client, reply.token, &encoded).await;
    upload.gap(40, 49, kerbside_uplink::wire::GapReason::Dropped);
    upload.ack().await.unwrap();
    gateway.stop().await.unwrap();
    let landing = landing::open_folder(&city.landing()).unwrap();
    let said = summary(&landing).await.unwrap();
    let rows: Vec<(&str, &str, u64)> =
        said.days.iter().map(|day| (day.node.as_str(), day.day.as_str(), day.rows)).collect();
    let each = expected(&sent).len() as u64 / 2;
    assert_eq!(rows, [("cabinet-a", "2026-03-29", each), ("cabinet-b", "2026-03-29", each)]);
    assert_eq!(said.days[0].newest, "2026-03-29T10:04:00.000Z");
    assert_eq!(
        (said.gaps[0].node.as_str(), said.gaps[0].reason.as_str(), said.gaps[0].rows),
        ("cabinet-c", "dropped", 10)
    );
    assert_eq!(said.files, 9);
    // Rows that lie twice, as they do while they are merged, count once.
    let one = parquet_files(&city.landing().join("agg.v1")).remove(0);
    std::fs::copy(&one, one.with_file_name("999999999999-0.parquet")).unwrap();
    let again = summary(&landing).await.unwrap();
    assert_eq!((again.days, again.files), (said.days, 10));
}
