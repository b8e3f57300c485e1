//! The networks of `tests/data/make_int8.py`: a case is a file and its rows in a table.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kerbside_core::frame::PictureSize;

use crate::engine::{EngineChoice, Network};
use crate::int8::tests::{Runs, apart, bits, engines, network, path, run};

/// One network and what is expected of it.
struct Case {
    runs: Runs,
    layers: Vec<String>,
    outputs: Vec<Output>,
}

struct Output {
    name: String,
    /// How far a value may be from another engine's.
    tolerance: f32,
    /// How far nearly all are.
    near: f32,
    count: usize,
    /// Every so many-th value, evenly.
    values: Vec<f32>,
}

/// At most so many values an output are in the table.
const KEPT: usize = 16;

/// The share of values that another rounding may have moved.
const MOVED: f32 = 0.02;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/int8")
}

fn cases() -> BTreeMap<String, Case> {
    let table = std::fs::read_to_string(folder().join("cases.csv")).unwrap();
    let mut cases = BTreeMap::new();
    for row in table.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let [name, runs, layers, output, tolerance, near, count, values] = cells[..] else { panic!("{row}") };
        let case = cases.entry(name.to_owned()).or_insert_with(|| Case {
            runs: match runs {
                "whole" => Runs::Whole,
                "mixed" => Runs::Mixed,
                _ => Runs::Tract,
            },
            layers: layers.split('+').filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
            outputs: Vec::new(),
        });
        case.outputs.push(Output {
            name: output.to_owned(),
            tolerance: tolerance.parse().unwrap(),
            near: near.parse().unwrap(),
            count: count.parse().unwrap(),
            values: values.split(' ').map(|value| value.parse().unwrap()).collect(),
        });
    }
    cases
}

impl Case {
    fn size(&self, name: &str, network: &Network) -> PictureSize {
        // A network of any size is judged at one; see the generator.
        network.fixed_input().unwrap_or_else(|| {
            assert!(name.contains("dynamic"), "{name}");
            PictureSize { width: 12, height: 8 }
        })
    }

    fn names(&self) -> Vec<&str> {
        self.outputs.iter().map(|output| output.name.as_str()).collect()
    }

    /// What is wrong with the engines' results, one line each.
    fn problems(&self, name: &str) -> Vec<String> {
        let onnx = std::fs::read(folder().join(format!("{name}.onnx"))).unwrap();
        let tract = network(&onnx, &self.names(), EngineChoice::Tract);
        let size = self.size(name, &tract);
        let expected = match tract.plan(size) {
            Ok(plan) => run(&plan, size),
            Err(error) => return vec![format!("{name}: tract: {}", in_full(&error))],
        };
        let mut problems = Vec::new();
        let mut first: Option<Vec<Vec<f32>>> = None;
        for engine in engines() {
            let plan = match network(&onnx, &self.names(), engine).plan(size) {
                Ok(plan) => plan,
                Err(error) => return vec![format!("{name}: {}", in_full(&error))],
            };
            let (runs, layers) = path(&plan, &plan.session(1).unwrap());
            if (runs, &layers) != (self.runs, &self.layers) {
                problems
                    .push(format!("{name}: {runs:?} with {layers:?}, not {:?} with {:?}", self.runs, self.layers));
            }
            let found = run(&plan, size);
            match &first {
                Some(first) if bits(first) != bits(&found) => {
                    problems.push(format!("{name}: {} makes other bytes than the first", engine.name()));
                }
                Some(_) => {}
                None => {
                    for ((output, found), expected) in self.outputs.iter().zip(&found).zip(&expected) {
                        problems.extend(output.problem(found, expected).map(|what| format!("{name}: {what}")));
                    }
                    first = Some(found);
                }
            }
        }
        problems.dedup();
        problems
    }
}

fn in_full(error: &dyn std::error::Error) -> String {
    let source = error.source().map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

impl Output {
    fn problem(&self, found: &[f32], tract: &[f32]) -> Option<String> {
        let step = self.count.div_ceil(KEPT);
        let sample: Vec<f32> = found.iter().copied().step_by(step).collect();
        let sampled: Vec<f32> = tract.iter().copied().step_by(step).collect();
        let (farthest, moved) = apart(found, tract, self.near);
        let (farthest_kept, moved_kept) = apart(&sample, &self.values, self.near);
        let (tract_kept, _) = apart(&sampled, &self.values, self.near);
        // Of few values one is more than the share.
        let one = 1.0 / self.values.len() as f32;
        let good = found.len() == self.count
            && farthest <= self.tolerance
            && moved <= MOVED
            && farthest_kept <= self.tolerance
            && moved_kept <= MOVED.max(one);
        (!good).then(|| {
            format!(
                "{}: {farthest} from tract ({moved} moved), {farthest_kept} from onnxruntime ({moved_kept} moved), \
                 tract {tract_kept}; {} are allowed, {} near",
                self.name, self.tolerance, self.near
            )
        })
    }
}

#[test]
fn every_network_gives_the_same_bytes_with_all_kernels_and_nearly_those_of_other_engines() {
    let cases = cases();
    assert!(cases.len() > 100);
    let problems: Vec<String> = cases.iter().flat_map(|(name, case)| case.problems(name)).collect();
    assert!(problems.is_empty(), "\n{}\n{} problems", problems.join("\n"), problems.len());
}

#[test]
fn a_second_shape_uses_the_packed_weights_of_the_first() {
    let cases = cases();
    let case = &cases["heads_dynamic"];
    let onnx = std::fs::read(folder().join("heads_dynamic.onnx")).unwrap();
    for engine in engines() {
        let network = network(&onnx, &case.names(), engine);
        let packed = || {
            let packed = network.packed.0.lock().unwrap();
            let mut all: Vec<_> =
                packed.iter().map(|(name, weights)| (name.clone(), Arc::as_ptr(weights))).collect();
            all.sort();
            all
        };
        let small = PictureSize { width: 12, height: 8 };
        let plan = network.plan(small).unwrap();
        let first = packed();
        assert_eq!(first.len(), 3);
        let large = PictureSize { width: 36, height: 20 };
        let other = network.plan(large).unwrap();
        assert_eq!(packed(), first);
        // The cache holds each, and so does each of the two plans.
        let held = |weights: &Arc<_>| Arc::strong_count(weights) >= 3;
        assert!(network.packed.0.lock().unwrap().values().all(held));
        let tract = Network::parse("test", &onnx, "image", &case.names(), EngineChoice::Tract).unwrap();
        let expected = run(&tract.plan(large).unwrap(), large);
        let Output { tolerance, near, .. } = case.outputs[0];
        let (farthest, moved) = apart(&run(&other, large)[0], &expected[0], near);
        assert!(farthest <= tolerance && moved <= MOVED, "{farthest} {moved}");
        drop(plan);
    }
}
