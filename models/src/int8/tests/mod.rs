//! Networks through the whole engine, each kind of kernels against the others, against tract and against what other
//! people's programs make of them.

mod broken;
mod conformance;
mod onnx;
mod random;

use kerbside_core::frame::PictureSize;

use crate::engine::{EngineChoice, Input, Network, Plan, Session};
use crate::int8::kernels::Kernels;
use crate::report::Path;

/// Every kind of kernels that this processor has, as an engine.
fn engines() -> Vec<EngineChoice> {
    Kernels::available().into_iter().map(EngineChoice::Int8).collect()
}

/// What runs a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs {
    Whole,
    Mixed,
    Tract,
}

/// What runs it, and the kinds of the int8 layers, sorted.
fn path(plan: &Plan, session: &Session) -> (Runs, Vec<String>) {
    let int8 = plan.layers().iter().filter(|layer| layer.path != Path::Tract);
    let mut kinds: Vec<String> = int8.map(|layer| layer.kind.clone()).collect();
    kinds.sort();
    let runs = match session {
        Session::Int8(_) => Runs::Whole,
        Session::Tract { .. } if kinds.is_empty() => Runs::Tract,
        Session::Tract { .. } => Runs::Mixed,
    };
    (runs, kinds)
}

/// The values of the input, `(byte - 128) / 64` in planes: the same as in `tests/data/make_int8.py`.
fn picture(size: PictureSize) -> Vec<f32> {
    let mut state = 1_u32;
    let values = (0..3 * size.width * size.height).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 24) as f32 - 128.0) / 64.0
    });
    values.collect()
}

/// Writes a picture of floats as whatever the session takes.
fn write(session: &mut Session, picture: &[f32], size: PictureSize) {
    let (width, plane) = (size.width as usize, (size.width * size.height) as usize);
    session
        .with_input(|input| match input {
            Input::Planar(values) => values.copy_from_slice(picture),
            Input::Packed(input) => {
                let (scale, zero) = input.quantisation;
                for (at, value) in picture.iter().enumerate() {
                    let (channel, pixel) = (at / plane, at % plane);
                    let byte = (value / scale).round_ties_even() + f32::from(zero);
                    input.bytes[pixel / width * input.row_stride + pixel % width * 4 + channel] = byte as u8;
                }
                // The fourth byte of a pixel is nobody's.
                for pixel in 0..plane {
                    input.bytes[pixel / width * input.row_stride + pixel % width * 4 + 3] = 0xA5;
                }
            }
        })
        .unwrap();
}

/// All outputs' values for the test's picture, the same in two runs and with a team of three.
fn run(plan: &Plan, size: PictureSize) -> Vec<Vec<f32>> {
    let results = [1, 3].map(|threads| {
        let mut session = plan.session(threads).unwrap();
        let mut runs = [Vec::new(), Vec::new()];
        for outputs in &mut runs {
            write(&mut session, &picture(size), size);
            session.run(&mut |_| ()).unwrap();
            *outputs = session.outputs().unwrap().iter().map(|values| values.to_vec()).collect::<Vec<_>>();
            // Another picture in between leaves nothing behind.
            write(&mut session, &vec![1.5; picture(size).len()], size);
            session.run(&mut |_| ()).unwrap();
        }
        let [first, second] = runs;
        assert_eq!(bits(&first), bits(&second));
        first
    });
    let [one, three] = results;
    assert_eq!(bits(&one), bits(&three));
    one
}

fn bits(outputs: &[Vec<f32>]) -> Vec<Vec<u32>> {
    outputs.iter().map(|values| values.iter().map(|value| value.to_bits()).collect()).collect()
}

/// How far apart values are: the largest difference, and the share of those that are not `near`.
fn apart(found: &[f32], expected: &[f32], near: f32) -> (f32, f32) {
    assert_eq!(found.len(), expected.len());
    let differences = || found.iter().zip(expected).map(|(one, other)| (one - other).abs());
    assert!(differences().all(|difference| difference.is_finite()));
    let far = differences().filter(|difference| *difference > near).count();
    (differences().fold(0.0, f32::max), far as f32 / found.len() as f32)
}

/// A network for an engine; its outputs are found in the file.
fn network(onnx: &[u8], outputs: &[&str], engine: EngineChoice) -> Network {
    Network::parse("test", onnx, "image", outputs, engine).unwrap()
}

/// The scales of the committed model are such that all sums are exact in floats too: tract's outputs, which are ONNX
/// Runtime's, differ by no more than the rounding of a sigmoid.
#[test]
fn the_outputs_of_the_committed_model_are_those_of_float_arithmetic() {
    let onnx = include_bytes!("../../../nanodet-g/nanodet-g-int8.onnx");
    let names = ["scores_8", "scores_16", "scores_32", "boxes_8", "boxes_16", "boxes_32"];
    let size = PictureSize { width: 96, height: 64 };
    let outputs = |engine| run(&network(onnx, &names, engine).plan(size).unwrap(), size);
    let (found, expected) = (outputs(EngineChoice::Auto), outputs(EngineChoice::Tract));
    for ((name, found), expected) in names.iter().zip(&found).zip(&expected) {
        let (largest, _) = apart(found, expected, 0.0);
        println!("{name}: at most {largest:e} apart");
        assert!(expected.iter().any(|value| *value != expected[0]), "{name} shows nothing");
        assert!(largest <= 5e-7, "{name}: {largest:e} apart");
    }
}
