//! What a city loses while its gateway is away, measured as `tests/peers` measures clients of an MQTT broker: the table of
//! `pipeline/uplink/README.md`. It takes as long as the longest outage, so `cargo xtask peer-outage --kerbside` runs it.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::city::{City, keep};
use common::{Node, camera_file, cameras, free_port, rows, target, vtest};
use rustix::process::Signal;

const NAME: &str = "cabinet-1";
/// As `tests/peers/mqtt_outage.py`.
const CAMERAS: usize = 16;
const BEFORE: Duration = Duration::from_secs(30);
const HANG: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(30);
/// Cameras of a few cells each give in bins of so long about as many rows a minute as 67 cells do in bins of a minute.
const ARGUMENTS: [&str; 2] = ["--bin", "4s"];
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
#[ignore = "takes as long as the outages: cargo xtask peer-outage --kerbside"]
fn no_row_is_lost_while_the_gateway_is_away() {
    let minutes = std::env::var("KERBSIDE_OUTAGE_MINUTES").unwrap_or_else(|_| "0".to_owned());
    let minutes: Vec<f64> = minutes.split(',').map(|number| number.parse().unwrap()).collect();
    let measured: Vec<Measured> = thread::scope(|scope| {
        let runs: Vec<_> = minutes.iter().map(|minutes| scope.spawn(|| measure(*minutes))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let mut lines = String::new();
    for one in &measured {
        let Measured { minutes, made, arrived, lost, twice, back_after, caught_up_after } = one;
        println!(
            "| {minutes} min | Kerbside | {made} | {arrived} | {lost} | {twice} | | {:.0} s, all caught up after {:.0} s |",
            back_after.as_secs_f64(),
            caught_up_after.as_secs_f64()
        );
        let line = serde_json::json!({
            "outage_minutes": minutes, "application": "kerbside", "produced": made, "arrived": arrived, "lost": lost,
            "twice": twice, "back_after_secs": back_after.as_secs_f64(),
            "caught_up_after_secs": caught_up_after.as_secs_f64(),
        });
        lines.push_str(&format!("{line}\n"));
    }
    fs::create_dir_all(target().join("peers")).unwrap();
    fs::write(target().join("peers/kerbside.jsonl"), lines).unwrap();
    for one in &measured {
        assert_eq!((one.lost, one.twice), (0, 0), "{} minutes", one.minutes);
        assert!(one.made > 400, "too few rows to say anything: {}", one.made);
    }
}

/// One outage. Counts are rows; times count from the gateway's return.
struct Measured {
    minutes: f64,
    made: usize,
    arrived: usize,
    lost: usize,
    twice: usize,
    back_after: Duration,
    caught_up_after: Duration,
}

fn measure(minutes: f64) -> Measured {
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let mut city = City::start(&[NAME], "");
    // One camera is real; nobody answers for the others, whose bins are released all the same.
    let files: Vec<(String, String)> = (0..CAMERAS)
        .map(|number| {
            let nobody = || format!("rtsp://127.0.0.1:{}/none", free_port());
            let source = urls.get(number).cloned().unwrap_or_else(nobody);
            (format!("camera-{number}"), camera_file(&source, 1.0))
        })
        .collect();
    let files: Vec<(&str, String)> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    let mut node = Node::start_as(NAME, &files, &ARGUMENTS, &city.uplink(NAME));
    let oracle = node.folder.path().join("oracle");
    let (spool, is_over) = (node.spool(), AtomicBool::new(false));
    let (back_after, caught_up_after) = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                keep(&spool, &oracle);
                thread::sleep(Duration::from_millis(50));
            }
        });
        // Told to end also when something fails, since the scope waits for it.
        let times =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| outage(&mut city, &mut node, minutes)));
        is_over.store(true, Ordering::Release);
        times.unwrap_or_else(|failure| std::panic::resume_unwind(failure))
    });
    keep(&spool, &oracle);
    assert!(city.gateway.terminate().success(), "{}", city.log());

    let made = counted(&oracle);
    let stored = counted(&city.landing());
    let strangers: Vec<_> = stored.keys().filter(|row| !made.contains_key(*row)).collect();
    assert!(strangers.is_empty(), "rows arrived that were never released: {:?}", strangers.first());
    Measured {
        minutes,
        made: made.len(),
        arrived: stored.len(),
        lost: made.keys().filter(|row| !stored.contains_key(*row)).count(),
        twice: stored.values().filter(|times| **times > 1).count(),
        back_after,
        caught_up_after,
    }
}

/// From the first row to the end of the node.
fn outage(city: &mut City, node: &mut Node, minutes: f64) -> (Duration, Duration) {
    node.wait_for("rows at the city", PATIENCE, |node| stored_rows(node) > 0.0);
    thread::sleep(BEFORE);
    city.gateway.signal(Signal::STOP);
    thread::sleep(HANG);
    city.gateway.kill();
    thread::sleep(Duration::from_secs_f64(minutes * 60.0));
    let before = stored_rows(node);
    city.restart();
    let since = Instant::now();
    node.wait_for("rows at the city again", PATIENCE, |node| stored_rows(node) > before);
    let back_after = since.elapsed();
    node.wait_for("nothing waits", PATIENCE, |node| node.metric("kerbside_uplink_waiting_rows") == Some(0.0));
    let caught_up_after = since.elapsed();
    thread::sleep(AFTER);
    assert!(node.running.terminate().success(), "{}", node.log());
    (back_after, caught_up_after)
}

fn stored_rows(node: &Node) -> f64 {
    node.metric("kerbside_uplink_stored_rows_total{table=\"agg.v1\"}").unwrap_or_default()
}

/// How often each row is there, by all that it says: a row that came out changed is another row.
fn counted(path: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for row in rows(path) {
        *found.entry(row.to_string()).or_default() += 1;
    }
    found
}
