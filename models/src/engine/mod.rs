//! The engine: an ONNX graph, made runnable for one input shape at a time, by tract.
//!
//! [`Network`] is the parsed graph, [`Plan`] the graph optimised for one shape (weights packed for the processor;
//! shared by all who run that shape), [`Session`] what one thread needs to run a plan: its input tensor,
//! which is used again for every frame.
//!
//! Quantised graphs (QDQ) keep the numbers of the int8 model: weights are constants that tract folds, and
//! each pair of quantising and dequantising becomes one rounding step ([`fake_quantise`]), since tract
//! multiplies floats faster than bytes.
//!
//! tract panics on some graphs that make no sense; while a graph is parsed or optimised, that becomes an
//! error of this model.

mod fake_quantise;
#[allow(unsafe_code)]
mod registers;

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

/// The engine's name and the version that `Cargo.toml` asks for.
pub(crate) const NAME: &str = "tract 0.23";

/// A parsed graph with one picture as input, ready to be made runnable for any shape it takes.
pub(crate) struct Network {
    model: String,
    graph: InferenceModel,
    fixed_input: Option<PictureSize>,
    output_names: Vec<String>,
}

impl Network {
    /// Parses a graph and selects its outputs, in the given order.
    pub(crate) fn parse(model: &str, onnx: &[u8], input: &str, outputs: &[&str]) -> Result<Self, ModelError> {
        let mut graph = guarded(model, "reading it as ONNX", || {
            tract_onnx::onnx().model_for_read(&mut std::io::Cursor::new(onnx))
        })?;
        let mismatch = |what: String| ModelError::Mismatch { model: model.to_owned(), what };

        let found: Vec<&str> = graph.inputs.iter().map(|at| graph.node(at.node).name.as_str()).collect();
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
        Ok(Self { model: model.to_owned(), graph, fixed_input, output_names })
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

    /// The graph optimised for an input of this size.
    pub(crate) fn plan(&self, input: PictureSize) -> Result<Plan, ModelError> {
        let typed = guarded(&self.model, "working out its shapes", || self.typed(input))?;
        let shapes = self.shapes_of(&typed)?;
        let runnable = guarded(&self.model, "optimising it", || {
            let mut typed = typed;
            fake_quantise::join_pairs(&mut typed)?;
            typed.into_decluttered()?.into_optimized()?.into_runnable()
        })?;
        Ok(Plan { input, runnable, shapes, output_names: self.output_names.clone() })
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

/// A network optimised for one input size.
pub(crate) struct Plan {
    input: PictureSize,
    runnable: Arc<TypedRunnableModel>,
    shapes: Vec<Vec<usize>>,
    output_names: Vec<String>,
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

    /// What one thread needs to run this plan.
    pub(crate) fn session(&self) -> Result<Session, EngineError> {
        let shape = [1, 3, self.input.height as usize, self.input.width as usize];
        let input = Arc::new(Tensor::zero::<f32>(&shape)?);
        Ok(Session { state: self.runnable.spawn()?, input })
    }
}

/// Runs a plan on one thread.
pub(crate) struct Session {
    state: TypedSimpleState,
    input: Arc<Tensor>,
}

impl Session {
    /// Lets `write` fill the input tensor. What it held before is still there.
    pub(crate) fn with_input<R>(&mut self, write: impl FnOnce(&mut [f32]) -> R) -> Result<R, EngineError> {
        // After a run nobody else holds the tensor, so this copies nothing.
        let input = Arc::make_mut(&mut self.input);
        let mut values = input.try_as_plain_ram_mut()?;
        Ok(write(values.as_slice_mut::<f32>()?))
    }

    /// Runs the network on the input.
    pub(crate) fn run(&mut self) -> Result<Outputs, EngineError> {
        let inputs = tvec!(self.input.clone().into_tvalue());
        // Between steps, so that the engine's own portable steps profit too.
        let outputs = self.state.run_plan_with_eval(inputs, |context, state, node, inputs| {
            let values = eval(context, state, node, inputs);
            registers::clear_upper_halves();
            values
        });
        Ok(Outputs(outputs?))
    }
}

/// A network's outputs.
pub(crate) struct Outputs(TVec<TValue>);

impl Outputs {
    /// All outputs' values, in the order in which they were selected.
    pub(crate) fn values(&self) -> Result<TVec<&[f32]>, EngineError> {
        let slices: TractResult<_> =
            self.0.iter().map(|value| value.try_as_plain_ram()?.as_slice::<f32>()).collect();
        Ok(slices?)
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
        let network = Network::parse("tiny", onnx, "image", &["output"]).unwrap();
        let plan = network.plan(PictureSize { width: 64, height: 32 }).unwrap();
        assert_eq!(plan.output_shapes(), [[1, 40, 8]]);
        let mut session = plan.session().unwrap();
        let first = session.with_input(|values| values.as_ptr()).unwrap();
        for _ in 0..3 {
            session.run().unwrap();
            assert_eq!(session.with_input(|values| values.as_ptr()).unwrap(), first);
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
