//! The int8 engine: quantised networks on bytes, near what the processor can do.
//!
//! tract reads a network and works out its shapes. [`lower`] finds in its graph the convolutions, pools, sums
//! and tables that work on bytes, [`partition`] says which of them run as one program, [`plan`] gives their tensors
//! places in one arena, and [`kernels`] runs the program with the widest instructions that the processor has. What
//! is not covered stays with tract, and a program is then one node of tract's graph ([`region`]).
//!
//! Sums are exact: bytes times signed bytes into 32 bits, never saturated. What follows a sum is a fixed order
//! of 32-bit float operations. So every processor and every number of threads gives the same bytes.
//!
//! Not here: networks of floats, which tract runs alone; reading the clock; choosing threads.

mod graph;
#[allow(unsafe_code)]
pub(crate) mod kernels;
mod lower;
mod partition;
mod plan;
mod region;
mod steps;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::{TypedModel, TypedNode};
use tract_onnx::tract_core::ops::cnn::Conv;

use crate::engine::Weights;
use crate::error::EngineError;
use crate::report::{LayerReport, Path};
use graph::Quantisation;
use kernels::{Arena, Kernels, Program, Team};
use partition::Partition;
use plan::{OutputPlace, PackedByName};
use steps::Place;

/// Packed weights of one network, shared by the programs for all of its shapes.
#[derive(Default)]
pub(crate) struct PackedCache(Mutex<PackedByName>);

/// What became of a network.
pub(crate) enum Lowered {
    /// The whole network is one program.
    Whole(Arc<Whole>),
    /// tract's graph, in which nodes may be programs.
    Graph(TypedModel),
}

/// A network that is one program.
pub(crate) struct Whole {
    program: Program,
    arena_bytes: usize,
    input: Place,
    quantisation: Quantisation,
    outputs: Vec<OutputPlace>,
    layer_of_step: Vec<Option<usize>>,
}

/// Turns what it can of a network of known shapes into programs.
pub(crate) fn lower(
    model: TypedModel,
    weights: &Weights,
    kernels: Kernels,
    packed: &PackedCache,
) -> (Lowered, Vec<LayerReport>) {
    if let Some(partition) = partition::partition(&model, lower::layers(&model, weights), weights) {
        match programs(&model, &partition, kernels, packed) {
            Ok(lowered) => return (lowered, report(&model, &partition, kernels)),
            Err(error) => tracing::warn!(error, "the int8 engine refuses its own program; tract runs the network"),
        }
    }
    let report = tract_layers(&model, model.nodes().iter().map(|node| node.id));
    (Lowered::Graph(model), report)
}

fn programs(
    model: &TypedModel,
    partition: &Partition,
    kernels: Kernels,
    packed: &PackedCache,
) -> Result<Lowered, EngineError> {
    // A panic while weights were packed left whole entries behind.
    let mut packed = packed.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let ([region], true) = (partition.regions.as_slice(), partition.is_whole) {
        let plan = plan::plan(&region.graph, kernels, &mut packed);
        let program = Program::new(kernels, plan.steps, plan.arena_bytes)?;
        let input = partition::only_input(region);
        let whole = Whole {
            program,
            arena_bytes: plan.arena_bytes,
            input: plan.inputs[0],
            quantisation: region.graph.tensors[input].quantisation,
            outputs: plan.outputs,
            layer_of_step: plan.layer_of_step,
        };
        return Ok(Lowered::Whole(Arc::new(whole)));
    }
    Ok(Lowered::Graph(region::rewrite(model, partition, kernels, &mut packed)?))
}

fn report(model: &TypedModel, partition: &Partition, kernels: Kernels) -> Vec<LayerReport> {
    let mut lines = Vec::new();
    for at in 0..=partition.regions.len() {
        lines.extend(tract_layers(model, partition.tract_nodes.get(&at).into_iter().flatten().copied()));
        if let Some(region) = partition.regions.get(at) {
            lines.extend(region.graph.layers.iter().map(|layer| of_layer(&region.graph, layer, kernels)));
        }
    }
    // In a whole network the quantising of the input is part of writing it.
    if partition.is_whole {
        lines.retain(|line| line.path != Path::Tract);
    }
    lines
}

fn of_layer(graph: &graph::Graph, layer: &graph::Layer, kernels: Kernels) -> LayerReport {
    LayerReport {
        name: layer.name.clone(),
        kind: layer.kind().to_owned(),
        shape: graph.shape(layer).to_vec(),
        macs: graph.macs(layer),
        path: Path::Int8(kernels.name()),
    }
}

/// tract's nodes that compute something.
pub(crate) fn tract_layers(model: &TypedModel, nodes: impl Iterator<Item = usize>) -> Vec<LayerReport> {
    use tract_onnx::tract_core::ops::{konst::Const, source::TypedSource};
    let nodes = nodes.map(|id| model.node(id));
    let working = nodes.filter(|node| !node.op_is::<Const>() && !node.op_is::<TypedSource>());
    let report = working.map(|node| LayerReport {
        name: node.name.clone(),
        kind: node.op.name().into_owned(),
        shape: node.outputs.first().and_then(|output| output.fact.shape.as_concrete()).unwrap_or(&[]).to_vec(),
        macs: tract_macs(node),
        path: Path::Tract,
    });
    report.collect()
}

/// Multiplications of one run of a convolution; 0 for all else, which is little beside them.
fn tract_macs(node: &TypedNode) -> u64 {
    let values = node.outputs.first().and_then(|output| output.fact.shape.as_concrete()).unwrap_or(&[]);
    node.op_as::<Conv>().map_or(0, |convolution| {
        let window: usize = convolution.pool_spec.kernel_shape.iter().product();
        let depth = window * convolution.input_channels() / convolution.group.max(1);
        values.iter().product::<usize>() as u64 * depth as u64
    })
}

/// Where the input is to be written, and how.
pub(crate) struct PackedInput<'a> {
    /// From the first pixel on.
    pub(crate) bytes: &'a mut [u8],
    pub(crate) row_stride: usize,
    pub(crate) quantisation: (f32, u8),
}

/// Runs a whole network on one thread and its team.
pub(crate) struct Runner {
    whole: Arc<Whole>,
    arena: Arena,
    team: Team,
}

impl Runner {
    pub(crate) fn new(whole: Arc<Whole>, threads: usize) -> std::io::Result<Self> {
        let arena = Arena::new(whole.arena_bytes);
        Ok(Self { whole, arena, team: Team::new(threads)? })
    }

    pub(crate) fn input(&mut self) -> PackedInput<'_> {
        let Whole { input, quantisation, .. } = &*self.whole;
        PackedInput {
            bytes: &mut self.arena.bytes_mut()[input.offset..],
            row_stride: input.row,
            quantisation: (quantisation.scale, quantisation.zero),
        }
    }

    /// Calls `finished` with a layer's place in the report at the end of each of its steps.
    pub(crate) fn run(&mut self, finished: &mut dyn FnMut(usize)) {
        let Self { whole, arena, team } = self;
        whole.program.run(arena, team, &mut |step| {
            if let Some(layer) = whole.layer_of_step[step] {
                finished(layer);
            }
        });
    }

    /// The values of an output of the last run.
    pub(crate) fn output(&self, at: usize) -> &[f32] {
        match self.whole.outputs[at] {
            OutputPlace::Floats { offset, shape } => self.arena.floats(offset, shape.iter().product()),
            OutputPlace::Bytes(_) => unreachable!("the outputs of a whole network are floats"),
        }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.whole.outputs.len()
    }
}
