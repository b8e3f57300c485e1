//! Files that make no sense: an error, or what tract makes of them, never a panic or a run that leaves its memory.

use kerbside_core::frame::PictureSize;

use crate::engine::{EngineChoice, Network};
use crate::int8::tests::onnx::{Attribute, Data, Onnx, Weights};
use crate::int8::tests::{Runs, engines, path, picture, write};

const SIZE: PictureSize = PictureSize { width: 11, height: 9 };

/// A convolution of the picture with something wrong in it.
struct Convolution<'a> {
    input_scale: f32,
    output_scale: f32,
    weights: Weights,
    bias: Option<Vec<f32>>,
    attributes: Vec<(&'a str, Attribute<'a>)>,
}

impl Default for Convolution<'_> {
    fn default() -> Self {
        let values = (0..216).map(|at| (at * 37 % 256) as u8 as i8).collect();
        Self {
            input_scale: 1.0 / 64.0,
            output_scale: 0.03,
            weights: Weights { shape: vec![8, 3, 3, 3], values, scales: vec![0.002; 8] },
            bias: None,
            attributes: Vec::new(),
        }
    }
}

impl Convolution<'_> {
    fn file(self) -> (Vec<u8>, String) {
        let mut onnx = Onnx::default();
        let input = onnx.rounded("image", self.input_scale, 128);
        let mut inputs = vec![input, onnx.weights(&self.weights)];
        if let Some(bias) = &self.bias {
            inputs.push(onnx.constant(&[bias.len() as i64], Data::Floats(bias)));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let value = onnx.node("Conv", &inputs, &self.attributes);
        let output = onnx.rounded(&value, self.output_scale, 120);
        (onnx.file(SIZE, &[&output]), output)
    }
}

/// What runs the network; `None` where there is an error.
fn outcome(onnx: &[u8], output: &str, engine: EngineChoice) -> Option<Runs> {
    let plan =
        Network::parse("broken", onnx, "image", &[output], engine).and_then(|network| network.plan(SIZE)).ok()?;
    let mut session = plan.session(1).ok()?;
    write(&mut session, &picture(SIZE), SIZE);
    session.run(&mut |_| ()).ok()?;
    Some(path(&plan, &session).0)
}

fn weights(shape: &[i64], scales: &[f32]) -> Weights {
    let count = shape.iter().product::<i64>();
    Weights {
        shape: shape.to_vec(),
        values: (0..count).map(|at| (at % 100) as i8).collect(),
        scales: scales.to_vec(),
    }
}

#[test]
fn nonsense_in_a_convolution_is_an_error_or_tracts() {
    let whole = Convolution::default;
    let pads = |pad: i64| Box::leak(Box::new([pad; 4])).as_slice();
    let cases: Vec<(&str, Convolution<'_>)> = vec![
        ("no weights", Convolution { weights: weights(&[0, 3, 3, 3], &[0.1]), ..whole() }),
        ("no window", Convolution { weights: weights(&[8, 3, 0, 3], &[0.1]), ..whole() }),
        ("weights of rank 2", Convolution { weights: weights(&[8, 27], &[0.1]), ..whole() }),
        ("weights of rank 3", Convolution { weights: weights(&[8, 3, 9], &[0.1]), ..whole() }),
        ("weights of rank 5", Convolution { weights: weights(&[8, 3, 3, 3, 1], &[0.1]), ..whole() }),
        ("other channels", Convolution { weights: weights(&[8, 4, 3, 3], &[0.1]), ..whole() }),
        ("scales of some channels", Convolution { weights: weights(&[8, 3, 3, 3], &[0.1, 0.2, 0.3]), ..whole() }),
        ("a bias of some channels", Convolution { bias: Some(vec![1.0; 5]), ..whole() }),
        ("a bias that is no number", Convolution { bias: Some(vec![f32::NAN; 8]), ..whole() }),
        ("an endless bias", Convolution { bias: Some(vec![f32::INFINITY; 8]), ..whole() }),
        ("a bias beyond 32 bits", Convolution { bias: Some(vec![1e9; 8]), ..whole() }),
        ("weights' scale NaN", Convolution { weights: weights(&[8, 3, 3, 3], &[f32::NAN; 8]), ..whole() }),
        (
            "weights' scale infinite",
            Convolution { weights: weights(&[8, 3, 3, 3], &[f32::INFINITY; 8]), ..whole() },
        ),
        ("weights' scale zero", Convolution { weights: weights(&[8, 3, 3, 3], &[0.0; 8]), ..whole() }),
        ("weights' scale large", Convolution { weights: weights(&[8, 3, 3, 3], &[1e30; 8]), ..whole() }),
        ("output scale NaN", Convolution { output_scale: f32::NAN, ..whole() }),
        ("output scale zero", Convolution { output_scale: 0.0, ..whole() }),
        ("output scale negative", Convolution { output_scale: -0.1, ..whole() }),
        ("output scale tiny", Convolution { output_scale: 1e-38, ..whole() }),
        ("output scale huge", Convolution { output_scale: 1e38, ..whole() }),
        ("input scale NaN", Convolution { input_scale: f32::NAN, ..whole() }),
        ("input scale zero", Convolution { input_scale: 0.0, ..whole() }),
        ("input scale negative", Convolution { input_scale: -0.1, ..whole() }),
        ("input scale infinite", Convolution { input_scale: f32::INFINITY, ..whole() }),
        ("padding of windows", Convolution { attributes: vec![("pads", Attribute::Ints(pads(3)))], ..whole() }),
        (
            "padding far beyond",
            Convolution {
                attributes: vec![
                    ("pads", Attribute::Ints(pads(1 << 9))),
                    ("strides", Attribute::Ints(&[1 << 9, 1 << 9])),
                ],
                ..whole()
            },
        ),
        ("negative padding", Convolution { attributes: vec![("pads", Attribute::Ints(pads(-1)))], ..whole() }),
        (
            "far apart",
            Convolution {
                attributes: vec![
                    ("pads", Attribute::Ints(pads(1 << 9))),
                    ("dilations", Attribute::Ints(&[1 << 9, 1 << 9])),
                ],
                ..whole()
            },
        ),
        ("no stride", Convolution { attributes: vec![("strides", Attribute::Ints(&[0, 0]))], ..whole() }),
        ("no groups", Convolution { attributes: vec![("group", Attribute::Int(0))], ..whole() }),
        (
            "windows larger than the picture",
            Convolution { weights: weights(&[8, 3, 20, 20], &[0.1; 8]), ..whole() },
        ),
    ];
    for (name, convolution) in cases {
        let (onnx, output) = convolution.file();
        let by_tract = outcome(&onnx, &output, EngineChoice::Tract);
        for engine in engines() {
            let found = outcome(&onnx, &output, engine);
            assert!(!matches!(found, Some(Runs::Whole | Runs::Mixed)), "{name}: {found:?}");
            // What tract can run stays runnable.
            assert!(found.is_some() || by_tract.is_none(), "{name}: {found:?}, {by_tract:?} by tract");
        }
    }
    let (onnx, output) = whole().file();
    assert!(engines().into_iter().all(|engine| outcome(&onnx, &output, engine) == Some(Runs::Mixed)));
}

/// A convolution, then this; the output is rounded.
fn after_a_convolution(more: impl FnOnce(&mut Onnx, String) -> String) -> (Vec<u8>, String) {
    let mut onnx = Onnx::default();
    let input = onnx.rounded("image", 1.0 / 64.0, 128);
    let weights = onnx.weights(&Convolution::default().weights);
    let value = onnx.node("Conv", &[&input, &weights], &[]);
    let value = onnx.rounded(&value, 0.03, 120);
    let value = more(&mut onnx, value);
    let output = onnx.rounded(&value, 0.03, 120);
    (onnx.file(SIZE, &[&output]), output)
}

/// A graph after a convolution.
type More = Box<dyn FnOnce(&mut Onnx, String) -> String>;

#[test]
fn nonsense_after_a_convolution_does_not_panic() {
    let clip = |low: f32, high: f32| -> More {
        Box::new(move |onnx, value| {
            let (low, high) =
                (onnx.constant(&[], Data::Floats(&[low])), onnx.constant(&[], Data::Floats(&[high])));
            let sum = onnx.node("Add", &[&value, &value], &[]);
            onnx.node("Clip", &[&sum, &low, &high], &[])
        })
    };
    let pool = |pads: [i64; 4], size: i64| -> More {
        Box::new(move |onnx, value| {
            let attributes = [("kernel_shape", Attribute::Ints(&[size, size])), ("pads", Attribute::Ints(&pads))];
            onnx.node("MaxPool", &[&value], &attributes)
        })
    };
    let sized = |sides: [i64; 4]| -> More {
        Box::new(move |onnx, value| {
            let sides = onnx.constant(&[4], Data::I64(&sides));
            onnx.node("Resize", &[&value, "", "", &sides], &[("mode", Attribute::Text("linear"))])
        })
    };
    let scaled = |scale: f32, mode: &'static str| -> More {
        Box::new(move |onnx, value| {
            let scales = onnx.constant(&[4], Data::Floats(&[1.0, 1.0, scale, scale]));
            onnx.node("Resize", &[&value, "", &scales], &[("mode", Attribute::Text(mode))])
        })
    };
    let chain = |length: usize, kind: &'static str| -> More {
        Box::new(move |onnx, value| (0..length).fold(value, |value, _| onnx.node(kind, &[&value], &[])))
    };
    let cases: Vec<(&str, More)> = vec![
        ("bounds that are no numbers", clip(f32::NAN, f32::NAN)),
        ("bounds without end", clip(f32::NEG_INFINITY, f32::INFINITY)),
        ("bounds in the wrong order", clip(1.0, -1.0)),
        ("a pool of padding", pool([3; 4], 2)),
        ("a pool larger than the picture", pool([0; 4], 50)),
        ("a pool of nothing", pool([0; 4], 0)),
        ("resized to nothing", sized([1, 8, 0, 0])),
        ("resized in channels", sized([1, 16, 7, 9])),
        ("resized to a negative size", sized([1, 8, -4, 9])),
        ("scaled by nothing", scaled(0.0, "nearest")),
        ("scaled by no number", scaled(f32::NAN, "nearest")),
        ("scaled down to one pixel", scaled(0.15, "linear")),
        ("a chain of activations", chain(300, "Relu")),
        ("a chain of gates", chain(300, "Sigmoid")),
        (
            "a slope without end",
            Box::new(|onnx, value| {
                onnx.node("LeakyRelu", &[&value], &[("alpha", Attribute::Float(f32::INFINITY))])
            }),
        ),
        (
            "a slope that is no number",
            Box::new(|onnx, value| onnx.node("LeakyRelu", &[&value], &[("alpha", Attribute::Float(f32::NAN))])),
        ),
        (
            "a slope of minus zero",
            Box::new(|onnx, value| onnx.node("LeakyRelu", &[&value], &[("alpha", Attribute::Float(-0.0))])),
        ),
        (
            "an axis that is none",
            Box::new(|onnx, value| onnx.node("Concat", &[&value, &value], &[("axis", Attribute::Int(7))])),
        ),
    ];
    for (name, more) in cases {
        let (onnx, output) = after_a_convolution(more);
        let by_tract = outcome(&onnx, &output, EngineChoice::Tract);
        for engine in engines() {
            let found = outcome(&onnx, &output, engine);
            assert_eq!(found.is_some(), by_tract.is_some(), "{name}: {found:?}, {by_tract:?} by tract");
        }
    }
}

#[test]
fn files_cut_or_changed_anywhere_do_not_panic() {
    let (onnx, output) = after_a_convolution(|onnx, value| onnx.node("Relu", &[&value], &[]));
    let mut seen = [0; 2];
    for at in 0..onnx.len() {
        for change in 0..3 {
            let mut onnx = onnx.clone();
            match change {
                0 => onnx.truncate(at),
                1 => onnx[at] ^= 0x80,
                _ => onnx[at] = onnx[at].wrapping_add(1),
            }
            let found = outcome(&onnx, &output, EngineChoice::Auto);
            seen[usize::from(found.is_some())] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}
