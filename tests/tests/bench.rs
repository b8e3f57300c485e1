//! `kerbside bench detect`, `models explain` and `--engine`: what they say of engines, layers and themselves. How long
//! anything takes is nobody's business here.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{kerbside, program, stderr, stdout};
use kerbside_models::EngineChoice;
use serde_json::Value;

/// One line of JSON of a command that succeeds.
fn json(arguments: &[&str]) -> Value {
    let output = kerbside(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn bench(more: &[&str]) -> Value {
    json(&[&["bench", "detect", "--runs", "2", "--json"], more].concat())
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key}: {value}"))
}

fn macs(layers: &Value) -> u64 {
    layers.as_array().unwrap().iter().map(|layer| layer["macs"].as_u64().unwrap()).sum()
}

fn is_near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * expected.abs()
}

/// Whether each layer has a time.
fn timed(measured: &Value) -> Vec<bool> {
    measured["layers"].as_array().unwrap().iter().map(|layer| !layer["median_us"].is_null()).collect()
}

#[test]
fn what_bench_measures_fits_together() {
    let measured = bench(&["--layers", "--threads", "2", "--detectors", "2", "--shape", "720x1280"]);
    assert_eq!(measured["model"].as_str().unwrap().split('@').next(), Some("nanodet-g"));
    assert_eq!((&measured["picture"], &measured["network_shape"]), (&"720x1280".into(), &"256x416".into()));
    assert_eq!(
        (&measured["threads"], &measured["detectors"], &measured["runs"]),
        (&2.into(), &2.into(), &2.into())
    );
    for (least, median) in [("min_ms", "median_ms"), ("network_min_ms", "network_median_ms")] {
        assert!(0.0 < number(&measured, least) && number(&measured, least) <= number(&measured, median));
    }
    assert!(number(&measured, "network_min_ms") < number(&measured, "min_ms"), "the network is a part of it");
    for key in ["load_ms", "input_median_ms", "head_median_ms", "frames_per_second"] {
        assert!(number(&measured, key) > 0.0, "{key}: {measured}");
    }
    // At least the weights; what one detector may take, and not a machine's whole memory.
    assert!((4.0..4000.0).contains(&number(&measured, "resident_mb")), "{measured}");
    if !measured["engine"].as_str().unwrap().contains("tract") {
        assert!((4.0..40.0).contains(&number(&measured, "detector_mb")), "{measured}");
    }

    let engine = measured["engine"].as_str().unwrap();
    assert!(engine.starts_with("int8 "), "{engine}");
    assert!(macs(&measured["layers"]) > 100_000_000, "{measured}");
    if !engine.contains("tract") {
        let speed = macs(&measured["layers"]) as f64 / number(&measured, "network_median_ms") / 1e6;
        assert!(is_near(number(&measured, "gmacs_per_second"), speed), "{speed} {measured}");
        assert!(timed(&measured).into_iter().all(|timed| timed), "{measured}");
    }
    for layer in measured["layers"].as_array().unwrap() {
        let multiplies = layer["macs"].as_u64().unwrap() > 0;
        if layer["median_us"].as_f64().is_some_and(|time| time > 0.0) && multiplies {
            let speed = layer["macs"].as_f64().unwrap() / number(layer, "median_us") / 1e3;
            assert!(is_near(number(layer, "gmacs_per_second"), speed), "{layer}");
            if let Some(peak) = measured["peak_gmacs_per_second"].as_f64() {
                assert!(is_near(number(layer, "share_of_peak"), speed / peak), "{peak} {layer}");
            }
        } else {
            assert!(layer["gmacs_per_second"].is_null() && layer["share_of_peak"].is_null(), "{layer}");
        }
    }
}

#[test]
fn the_engine_is_the_one_that_was_asked_for() {
    let tract = bench(&["--engine", "tract", "--layers"]);
    assert_eq!(tract["engine"], "tract");
    assert!(tract["peak_gmacs_per_second"].is_null() && tract["gmacs_per_second"].as_f64() > Some(0.0), "{tract}");
    assert!(timed(&tract).into_iter().all(|timed| !timed), "{tract}");

    let portable = bench(&["--engine", "portable"]);
    assert!(portable["engine"].as_str().unwrap().starts_with("int8 portable"), "{portable}");
    assert!(portable["peak_gmacs_per_second"].is_null(), "it has no instruction for it: {portable}");
    assert!(portable.get("layers").is_none(), "nobody asked");

    let output = program("kerbside")
        .args(["bench", "detect", "--runs", "1", "--layers"])
        .env("KERBSIDE_ENGINE", "tract")
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(text.lines().any(|line| line.starts_with("engine ") && line.ends_with(" tract")), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("layers: ")).count(), 1, "{text}");
}

#[test]
fn an_engine_that_is_not_there_is_refused_with_those_that_are() {
    let commands: [&[&str]; 5] = [
        &["bench", "detect"],
        &["models", "verify"],
        &["models", "explain", "nanodet-g"],
        &["run", "--config", "deploy/config/site"],
        &["replay", "no-clip.avi", "--camera", "deploy/config/examples/campus-path.yaml"],
    ];
    let allowed = EngineChoice::available().join(", ");
    for command in commands {
        let output = kerbside([command, &["--engine", "abacus"]].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let words = stderr(&output);
        assert!(words.contains("'abacus' is no engine") && words.contains(&allowed), "{command:?}: {words}");
    }
}

#[test]
fn explain_shows_every_layer_and_sums_them_up() {
    let explained = json(&["models", "explain", "nanodet-g", "--json", "--shape", "576x768"]);
    assert_eq!(explained["network_shape"], "320x416");
    let (layers, summary) = (explained["layers"].as_array().unwrap(), &explained["summary"]);
    assert_eq!(summary["layers"].as_u64(), Some(layers.len() as u64));
    let by_int8 = layers.iter().filter(|layer| layer["path"].as_str().unwrap().starts_with("int8 ")).count();
    assert!(by_int8 > 0);
    assert_eq!(summary["int8_layers"].as_u64(), Some(by_int8 as u64));
    assert_eq!(summary["tract_nodes"].as_array().unwrap().len(), layers.len() - by_int8);
    assert_eq!(summary["engine"], bench(&[])["engine"], "both say the same of the same network");

    let output = kerbside(["models", "explain", "nanodet-g", "--shape", "576x768"]);
    let text = stdout(&output);
    for layer in layers {
        let (name, kind) = (layer["name"].as_str().unwrap(), layer["kind"].as_str().unwrap());
        let its = |line: &str| line.split_whitespace().next() == Some(name) && line.contains(kind);
        assert!(text.lines().any(its), "{name}\n{text}");
    }
    assert!(text.contains("network 320x416"), "{text}");

    let tract = json(&["models", "explain", "nanodet-g", "--engine", "tract", "--json"]);
    assert_eq!((&tract["summary"]["engine"], &tract["summary"]["int8_layers"]), (&"tract".into(), &0.into()));
    assert!(tract["layers"].as_array().unwrap().iter().all(|layer| layer["path"] == "tract"));

    let output = kerbside(["models", "explain", "nanodet-h"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("nanodet-g"), "{}", stderr(&output));
}
