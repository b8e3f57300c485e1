//! Nodes and a gateway are killed again and again, and an oracle says what must have arrived.
//!
//! The oracle is made of hard links to the nodes' segments, taken each time a node has been killed: what was in a spool
//! then stays readable when the node deletes it later. In the end the city must have every row that any spool ever
//! held, once, with the same content, and no other.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::city::{City, keep};
use common::{Node, camera_file, cameras, free_port, http_get, rows, rows_despite_damage, vtest, write_site};

/// How often nodes are killed, all together; `KERBSIDE_KILLS` says otherwise.
const KILLS: usize = 200;
const NODES: [&str; 5] = ["north", "east", "south", "west", "centre"];
/// Rows leave about four seconds after their bin has ended, so a node lives longer than that, or not.
const LIFE_MILLIS: std::ops::Range<u64> = 3500..8000;
const GATEWAY_LIFE_MILLIS: std::ops::Range<u64> = 300..5000;
const ARGUMENTS: [&str; 2] = ["--bin", "1s"];
/// How long the last rows may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn f_29_no_row_is_lost_or_stored_twice_however_often_nodes_and_gateway_are_killed() {
    let kills: usize = std::env::var("KERBSIDE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let mut city = City::start(&NODES, "commit_interval: 200ms\n");
    let folder = tempfile::tempdir().unwrap();
    let seed = std::env::var("KERBSIDE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("KERBSIDE_SEED={seed}");
    let is_over = AtomicBool::new(false);
    let metrics = NODES.map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
    for (place, name) in NODES.into_iter().enumerate() {
        // One camera is real; nobody answers for the others, whose bins are released all the same.
        let source = if place == 0 { urls[0].clone() } else { format!("rtsp://127.0.0.1:{}/none", free_port()) };
        let home = folder.path().join(name);
        let spool = home.join("spool");
        let settings = format!(
            "spool: {{folder: \"{}\", max_bytes: 64MiB, sync_interval: 100ms}}\n{}",
            spool.display(),
            city.uplink(name)
        );
        write_site(&home, name, metrics[place], &[("plaza", camera_file(&source, 1.0))], &settings);
    }
    let gateway_kills = thread::scope(|scope| {
        let is_over = &is_over;
        let nodes: Vec<_> = NODES
            .into_iter()
            .enumerate()
            .map(|(place, name)| {
                let home = folder.path().join(name);
                let share = kills / NODES.len() + usize::from(place < kills % NODES.len());
                let mut random = fastrand::Rng::with_seed(seed ^ place as u64);
                scope.spawn(move || {
                    for _ in 0..share {
                        let mut node = Node::spawn(&home, &ARGUMENTS);
                        thread::sleep(Duration::from_millis(random.u64(LIFE_MILLIS)));
                        assert!(node.0.try_wait().unwrap().is_none(), "{name} ended by itself\n{}", log(&home));
                        node.kill();
                        keep(&home.join("spool"), &home.join("oracle"));
                    }
                })
            })
            .collect();
        let gateway = scope.spawn({
            let city = &mut city;
            move || {
                let mut random = fastrand::Rng::with_seed(seed ^ 99);
                let mut killed = 0;
                while !is_over.load(Ordering::Acquire) {
                    thread::sleep(Duration::from_millis(random.u64(GATEWAY_LIFE_MILLIS)));
                    assert!(city.gateway.0.try_wait().unwrap().is_none(), "the gateway ended\n{}", city.log());
                    city.gateway.kill();
                    killed += 1;
                    city.restart();
                }
                killed
            }
        });
        let ended: Vec<_> = nodes.into_iter().map(|node| node.join()).collect();
        is_over.store(true, Ordering::Release);
        let gateway_kills = gateway.join().unwrap();
        ended.into_iter().for_each(|node| node.unwrap());
        gateway_kills
    });
    // What the spools held so far must all arrive now. What a node makes meanwhile may still wait when it is killed.
    let expected = in_spools(folder.path());
    for (name, metrics) in NODES.into_iter().zip(metrics) {
        let home = folder.path().join(name);
        let mut node = Node::spawn(&home, &ARGUMENTS);
        let since = Instant::now();
        while !has_sent_all(metrics) {
            assert!(since.elapsed() < PATIENCE, "{name} does not send what waits\n{}\n{}", log(&home), city.log());
            thread::sleep(Duration::from_millis(50));
        }
        node.kill();
        keep(&home.join("spool"), &home.join("oracle"));
        let words = log(&home);
        assert!(!words.contains("panicked"), "{words}");
    }
    assert!(city.gateway.terminate().success(), "{}", city.log());
    let released = in_spools(folder.path());

    let mut stored = BTreeMap::new();
    for row in rows(&city.landing()) {
        assert_eq!(stored.insert(key(&row), row.clone()), None, "stored twice: {row}");
    }
    let lost: Vec<_> = expected.keys().filter(|key| !stored.contains_key(*key)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} rows are lost: {:?}",
        lost.len(),
        expected.len(),
        &lost[..lost.len().min(20)]
    );
    for (key, row) in &stored {
        assert_eq!(Some(row), released.get(key), "another row is stored than was released");
    }
    println!(
        "{kills} kills of nodes, {gateway_kills} of the gateway: {} rows, 0 lost, 0 stored twice, all equal",
        stored.len()
    );
    assert!(stored.len() >= kills, "too few rows to say anything: {}", stored.len());
}

/// All rows that the oracle has kept. A frame that a kill has torn is no row.
fn in_spools(folder: &Path) -> BTreeMap<Key, serde_json::Value> {
    let mut kept = BTreeMap::new();
    for name in NODES {
        for row in rows_despite_damage(&folder.join(name).join("oracle")) {
            assert_eq!(kept.insert(key(&row), row.clone()), None, "twice in a spool: {row}");
        }
    }
    kept
}

/// Node, table, epoch and number.
type Key = (String, String, u64, u64);

fn key(row: &serde_json::Value) -> Key {
    let text = |key: &str| row[key].as_str().unwrap().to_owned();
    (text("node"), text("table"), row["epoch"].as_u64().unwrap(), row["seq"].as_u64().unwrap())
}

/// Whether the gateway has all that the node has on its disk, and has it from this life too.
fn has_sent_all(metrics: SocketAddr) -> bool {
    let Some((200, page)) = http_get(metrics, "/metrics") else { return false };
    let value = |series: &str| -> Option<f64> {
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?.parse().ok()
    };
    value("kerbside_uplink_stored_rows_total{table=\"agg.v1\"}").is_some_and(|rows| rows > 0.0)
        && value("kerbside_uplink_waiting_rows") == Some(0.0)
        && value("kerbside_spool_unsynced_rows") == Some(0.0)
}

fn log(home: &Path) -> String {
    fs::read_to_string(home.join("node.log")).unwrap_or_default()
}
