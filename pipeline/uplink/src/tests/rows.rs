//! Rows as plain values.

use super::*;
use crate::{Value, column_names, rows};

#[test]
fn every_column_of_every_table_has_a_value() {
    let at = StreamPosition { epoch: 7, next_seq: 40 };
    let mut node = Node::at(at, at);
    let agg = node.agg();
    let word = |text: &str| Value::Text(text.to_owned());
    let expected = [
        ("node", word("cabinet")),
        ("camera", word("north")),
        ("epoch", Value::Unsigned(7)),
        ("seq", Value::Unsigned(40)),
        ("t0", Value::Moment(WallTime::UNIX_EPOCH)),
        ("t1", Value::Moment(WallTime::from_unix_millis(60_000))),
        ("clock_q", word("synced")),
        ("model", word("nanodet-g")),
        ("cfg_rev", Value::Unsigned(1)),
        ("release", word("demo")),
        ("site", word("crossing")),
        ("measure", word("crossing_count")),
        ("class", word("car")),
        ("dir", word("forward")),
        ("bucket", Value::Unsigned(0)),
        ("value", Value::Integer(1)),
        ("unit", word("count")),
        ("noise_b", Value::Number(0.0)),
        ("coverage", Value::Number(0.1 / 60.0)),
        ("n_frames", Value::Unsigned(1)),
        ("suppressed", Value::Truth(true)),
    ];
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(column_names(agg.get()), names);
    let found = rows(agg.get());
    assert_eq!(found.len(), 3);
    assert_eq!(found[0], expected.map(|(_, value)| value));

    let health = node.health();
    let found = rows(health.get()).remove(0);
    let names = column_names(health.get());
    let measured: Vec<&str> = names
        .iter()
        .zip(&found)
        .filter(|(_, value)| **value != Value::Null)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(measured[10..], ["fps_in", "state", "sw"]);
}
