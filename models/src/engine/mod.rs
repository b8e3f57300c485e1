//! The engine: an ONNX graph, made runnable for one input shape at a time.
//!
//! [`Network`] is the parsed graph, [`Plan`] the graph made ready for one shape (shared by all who run that shape;
//! packed weights are shared by all shapes), [`Session`] what one worker needs to run a plan: memory that is used
//! again for every frame.
//!
//! tract parses the file and works out its shapes. Quantised graphs (QDQ) then go to the int8 engine
//! ([`crate::int8`]); tract runs what that does not cover, and networks of floats. There, each pair of
//! quantising and dequantising becomes one rounding step ([`fake_quantise`]), since tract multiplies floats
//! faster than bytes; what is left of dequantising is hidden from tract's own tables ([`dequantise`]).
//!
//! tract panics on some graphs that make no sense; while a graph is parsed or optimised, that becomes an
//! error of this model.

mod choice;
mod dequantise;
mod fake_quantise;
#[allow(unsafe_code)]
mod registers;
mod weights;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kerbside_core::frame::PictureSize;
use tract_onnx::prelude::{
    Datum, Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, IntoTValue, TValue, TVec,
    Tensor, TractResult, TypedModel, tvec,
};
use tract_onnx::tract_core::internal::format_err;
use tract_onnx::tract_core::model::{TypedRunnableModel, TypedSimpleState};
use tract_onnx::tract_core::plan::eval;
use tract_onnx::tract_hir::infer::Factoid;

use crate::error::{EngineError, ModelError};
use crate::int8::{self, Lowered, PackedCache, PackedInput, Runner, Whole};
use crate::report::LayerReport;
pub use choice::{EngineChoice, NoSuchEngine, peak_macs};
pub(crate) use weights::{Bytes, Weights};

/// A parsed graph with one picture as input, ready to be made runnable for any shape it takes.
pub(crate) struct Network {
    model: String,
    graph: InferenceModel,
    fixed_input: Option<PictureSize>,
    output_names: Vec<String>,
    engine: EngineChoice,
    weights: Weights,
    pub(crate) packed: PackedCache,
}

impl Network {
    /// Parses a graph and selects its outputs, in the given order.
    pub(crate) fn parse(
        model: &str,
        onnx: impl AsRef<[u8]>,
        input: &str,
        outputs: &[&str],
        engine: EngineChoice,
    ) -> Result<Self, ModelError> {
        let (mut graph, weights) = guarded(model, "reading it as ONNX", || {
            let parser = tract_onnx::onnx();
            let mut proto = parser.proto_model_for_read(&mut onnx.as_ref())?;
            drop(onnx);
            let weights = proto.graph.as_mut().map(Weights::detach).transpose()?.unwrap_or_default();
            Ok((parser.model_for_proto_model(&proto)?, weights))
        })?;
        let mismatch = |what: String| ModelError::Mismatch { model: model.to_owned(), what };

        let found: Vec<&str> = graph
            .inputs
            .iter()
            .map(|at| graph.node(at.node).name.as_str())
            .filter(|name| weights.get(name).is_none())
            .collect();
        if found != [input] {
            let found = found.join(", ");
            return Err(mismatch(format!("its inputs are {found}; one input named {input} is expected")));
        }
        let mut selected = Vec::new();
        for name in outputs {
            let outlet = graph.outputs.iter().find(|at| graph.outlet_label(**at) == Some(*name));
            selected.push(*outlet.ok_or_else(|| {
                let found: Vec<&str> = graph.outputs.iter().filter_map(|at| graph.outlet_label(*at)).collect();
                mismatch(format!("there is no output '{name}'; its outputs are {}", found.join(", ")))
            })?);
        }
        let fixed_input = input_size(&graph).map_err(mismatch)?;
        graph.outputs = selected;
        let output_names = outputs.iter().map(|name| (*name).to_owned()).collect();
        let packed = PackedCache::default();
        Ok(Self { model: model.to_owned(), graph, fixed_input, output_names, engine, weights, packed })
    }

    /// The input's size when the file fixes it; such a network takes no other.
    pub(crate) fn fixed_input(&self) -> Option<PictureSize> {
        self.fixed_input
    }

    /// The shapes of the outputs for an input of this size.
    pub(crate) fn output_shapes(&self, input: PictureSize) -> Result<Vec<Vec<usize>>, ModelError> {
        let typed = guarded(&self.model, "working out its shapes", || self.typed(input))?;
        self.shapes_of(&typed)
    }

    /// The graph made ready for an input of this size.
    pub(crate) fn plan(&self, input: PictureSize) -> Result<Plan, ModelError> {
        let typed = guarded(&self.model, "working out its shapes", || self.typed(input))?;
        let shapes = self.shapes_of(&typed)?;
        let (runnable, layers) = guarded(&self.model, "making it runnable", || self.runnable(typed))?;
        Ok(Plan { input, runnable, layers, shapes, output_names: self.output_names.clone() })
    }

    fn runnable(&self, typed: TypedModel) -> TractResult<(Runnable, Vec<LayerReport>)> {
        let (mut typed, layers) = match self.engine.kernels() {
            None => {
                let layers = int8::tract_layers(&typed, 0..typed.nodes().len());
                (typed, layers)
            }
            Some(kernels) => match int8::lower(typed, &self.weights, kernels, &self.packed) {
                (Lowered::Whole(whole), layers) => return Ok((Runnable::Int8(whole), layers)),
                (Lowered::Graph(typed), layers) => (typed, layers),
            },
        };
        self.weights.restore(&mut typed)?;
        fake_quantise::join_pairs(&mut typed)?;
        dequantise::hide(&mut typed)?;
        Ok((Runnable::Tract(typed.into_decluttered()?.into_optimized()?.into_runnable()?), layers))
    }

    fn typed(&self, input: PictureSize) -> TractResult<TypedModel> {
        let mut graph = self.graph.clone();
        let shape = [1, 3, input.height as usize, input.width as usize];
        graph.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?;
        graph.into_typed()
    }

    fn shapes_of(&self, typed: &TypedModel) -> Result<Vec<Vec<usize>>, ModelError> {
        let mismatch = |what: String| ModelError::Mismatch { model: self.model.clone(), what };
        let mut shapes = Vec::new();
        for (outlet, name) in typed.outputs.iter().zip(&self.output_names) {
            let fact = typed.outlet_fact(*outlet).map_err(|error| ModelError::Network {
                model: self.model.clone(),
                what: "working out its shapes",
                source: error.into(),
            })?;
            if fact.datum_type != f32::datum_type() {
                let found = fact.datum_type;
                return Err(mismatch(format!("output '{name}' holds {found:?}; 32-bit floats are expected")));
            }
            let shape = fact.shape.as_concrete();
            let shape =
                shape.ok_or_else(|| mismatch(format!("the shape of output '{name}' depends on its values")))?;
            shapes.push(shape.to_vec());
        }
        Ok(shapes)
    }
}

/// The input's size if the graph fixes it. It must be one picture of three channels, channels first.
fn input_size(graph: &InferenceModel) -> Result<Option<PictureSize>, String> {
    let shape = graph.input_fact(0).map(|fact| fact.shape.clone()).map_err(|error| error.to_string())?;
    let sides: Vec<Option<usize>> =
        shape.dims().map(|side| side.concretize().and_then(|side| side.as_i64()?.try_into().ok())).collect();
    match sides.as_slice() {
        [None | Some(1), None | Some(3), height, width] => Ok(height.zip(*width).and_then(|(height, width)| {
            Some(PictureSize { width: width.try_into().ok()?, height: height.try_into().ok()? })
        })),
        // Nothing is said about the shape.
        [] => Ok(None),
        _ => Err(format!("its input has the shape {shape:?}; 1, 3, height, width is expected")),
    }
}

/// A network made ready for one input size.
pub(crate) struct Plan {
    input: PictureSize,
    runnable: Runnable,
    layers: Vec<LayerReport>,
    shapes: Vec<Vec<usize>>,
    output_names: Vec<String>,
}

enum Runnable {
    Tract(Arc<TypedRunnableModel>),
    Int8(Arc<Whole>),
}

impl Plan {
    /// The outputs' shapes, in the order in which they were selected.
    pub(crate) fn output_shapes(&self) -> &[Vec<usize>] {
        &self.shapes
    }

    /// The outputs' names, in the same order.
    pub(crate) fn output_names(&self) -> &[String] {
        &self.output_names
    }

    /// The layers and what runs each.
    pub(crate) fn layers(&self) -> &[LayerReport] {
        &self.layers
    }

    /// Whether more than one thread can split a frame.
    pub(crate) fn splits_frames(&self) -> bool {
        matches!(self.runnable, Runnable::Int8(_))
    }

    /// What one worker needs to run this plan. More than one thread splits a frame where the whole network runs in
    /// the int8 engine; tract uses one.
    pub(crate) fn session(&self, threads: usize) -> Result<Session, EngineError> {
        Ok(match &self.runnable {
            Runnable::Tract(runnable) => {
                let shape = [1, 3, self.input.height as usize, self.input.width as usize];
                let input = Arc::new(Tensor::zero::<f32>(&shape)?);
                Session::Tract { state: runnable.spawn()?, input, outputs: TVec::new() }
            }
            Runnable::Int8(whole) => Session::Int8(Runner::new(whole.clone(), threads)?),
        })
    }
}

/// Runs a plan on one thread, or on one and its helpers.
pub(crate) enum Session {
    Tract { state: TypedSimpleState, input: Arc<Tensor>, outputs: TVec<TValue> },
    Int8(Runner),
}

/// Where a picture is to be written. What was there before may still be there.
pub(crate) enum Input<'a> {
    /// Three planes of floats.
    Planar(&'a mut [f32]),
    /// Quantised pixels.
    Packed(PackedInput<'a>),
}

impl Session {
    /// Lets `write` fill the input.
    pub(crate) fn with_input<R>(&mut self, write: impl FnOnce(Input<'_>) -> R) -> Result<R, EngineError> {
        match self {
            Self::Int8(runner) => Ok(write(Input::Packed(runner.input()))),
            Self::Tract { input, .. } => {
                // After a run nobody else holds the tensor, so this copies nothing.
                let mut values = Arc::make_mut(input).try_as_plain_ram_mut()?;
                Ok(write(Input::Planar(values.as_slice_mut::<f32>()?)))
            }
        }
    }

    /// Runs the network on the input. The int8 engine calls `finished` with a layer's place in [`Plan::layers`] at
    /// the end of each of its steps.
    pub(crate) fn run(&mut self, finished: &mut dyn FnMut(usize)) -> Result<(), EngineError> {
        match self {
            Self::Int8(runner) => runner.run(finished),
            Self::Tract { state, input, outputs } => {
                let inputs = tvec!(input.clone().into_tvalue());
                // Between steps, so that the engine's own portable steps profit too.
                *outputs = state.run_plan_with_eval(inputs, |context, state, node, inputs| {
                    let values = eval(context, state, node, inputs);
                    registers::clear_upper_halves();
                    values
                })?;
            }
        }
        Ok(())
    }

    /// All outputs' values of the last run, in the order in which they were selected.
    pub(crate) fn outputs(&self) -> Result<TVec<&[f32]>, EngineError> {
        Ok(match self {
            Self::Int8(runner) => (0..runner.outputs()).map(|at| runner.output(at)).collect(),
            Self::Tract { outputs, .. } => {
                let slices: TractResult<_> =
                    outputs.iter().map(|value| value.try_as_plain_ram()?.as_slice::<f32>()).collect();
                slices?
            }
        })
    }
}

fn guarded<T>(model: &str, what: &'static str, work: impl FnOnce() -> TractResult<T>) -> Result<T, ModelError> {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format_err!("the engine panicked: {}", words.unwrap_or("without words")))
    });
    result.map_err(|error| ModelError::Network { model: model.to_owned(), what, source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_tensor_is_used_again_for_every_frame() {
        let onnx = include_bytes!("../../tests/data/tiny-yolox.onnx");
        let network = Network::parse("tiny", onnx, "image", &["output"], EngineChoice::Auto).unwrap();
        let plan = network.plan(PictureSize { width: 64, height: 32 }).unwrap();
        assert_eq!(plan.output_shapes(), [[1, 40, 8]]);
        let mut session = plan.session(1).unwrap();
        let place = |session: &mut Session| {
            session.with_input(|input| match input {
                Input::Planar(values) => values.as_ptr(),
                Input::Packed(_) => panic!("a network of floats"),
            })
        };
        let first = place(&mut session).unwrap();
        for _ in 0..3 {
            session.run(&mut |_| ()).unwrap();
            assert_eq!(place(&mut session).unwrap(), first);
        }
    }

    #[test]
    fn an_engine_that_panics_makes_an_error() {
        let result: Result<(), _> = guarded("tiny", "reading it as ONNX", || panic!("shape {}", 7));
        let error = result.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "the engine panicked: shape 7");
    }
}
