//! Which layers go together to a program, and what is left to tract.
//!
//! Every node of the graph gets a level: tract's nodes even ones, layers odd ones, each not below the levels
//! that it reads. All layers of one level can then run as one program, since no path between two of them leaves
//! the level. Where all that a network's outputs need is one program behind the quantised input, the network
//! runs without tract.

use std::collections::{BTreeMap, HashMap, HashSet};

use tract_onnx::prelude::TypedModel;
use tract_onnx::tract_core::internal::OutletId;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::source::TypedSource;

use crate::engine::Weights;

use super::graph::{Graph, Made, TensorId, Wanted};
use super::lower::{Found, FoundLayer, quantising};

/// A graph, divided.
pub(super) struct Partition {
    /// In the order in which they run, tract's nodes of lower levels before them.
    pub(super) regions: Vec<Region>,
    /// tract's nodes that are needed, by the number of regions that run before them, in the graph's order.
    pub(super) tract_nodes: BTreeMap<usize, Vec<usize>>,
    /// Whether all but quantising the input is one region, whose outputs are those of the network.
    pub(super) is_whole: bool,
}

/// Layers that run as one program.
pub(super) struct Region {
    pub(super) graph: Graph,
    /// Where the inputs are in tract's graph, in the order of [`Graph::inputs`].
    pub(super) inputs: Vec<OutletId>,
    /// The same for the outputs.
    pub(super) outputs: Vec<OutletId>,
}

/// Divides a graph; `None` where there is no convolution to gain from.
pub(super) fn partition(model: &TypedModel, found: Found, weights: &Weights) -> Option<Partition> {
    let order = model.eval_order().ok()?;
    let makers: HashMap<OutletId, usize> =
        found.layers.iter().enumerate().map(|(at, layer)| (layer.output, at)).collect();
    let needs = Needs::of(model, &found, &makers, weights);
    let is_convolution = |layer: &usize| found.layers[*layer].layer.kind().contains("convolution");
    if !needs.layers.iter().any(is_convolution) {
        return None;
    }

    let mut levels: HashMap<usize, usize> = HashMap::new();
    let mut by_level: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut tract_nodes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for id in order {
        let layer = makers.get(&OutletId::new(id, 0)).filter(|layer| needs.layers.contains(layer));
        let read: Vec<usize> = match layer {
            Some(layer) => inputs_of(&found, *layer).iter().map(|outlet| outlet.node).collect(),
            None if needs.nodes.contains(&id) => model.node(id).inputs.iter().map(|outlet| outlet.node).collect(),
            None => continue,
        };
        let least = read.iter().filter_map(|node| levels.get(node)).copied().max().unwrap_or(0);
        let odd = usize::from(layer.is_some());
        let level = least + usize::from(least % 2 != odd);
        levels.insert(id, level);
        match layer {
            Some(layer) => by_level.entry(level).or_default().push(*layer),
            None => tract_nodes.entry(level).or_default().push(id),
        }
    }

    // Levels without layers are passed over.
    let region_levels: Vec<usize> = by_level.keys().copied().collect();
    let regions: Vec<Region> = by_level
        .iter()
        .map(|(level, layers)| region(model, &found, layers, &needs, &levels, *level, &makers))
        .collect();
    let mut nodes_by_region: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (level, nodes) in tract_nodes {
        let before = region_levels.iter().filter(|region| **region < level).count();
        nodes_by_region.entry(before).or_default().extend(nodes);
    }
    let is_whole = is_whole(model, &found, &regions, &nodes_by_region);
    Some(Partition { regions, tract_nodes: nodes_by_region, is_whole })
}

/// What the network's outputs need.
struct Needs {
    layers: HashSet<usize>,
    /// tract's nodes.
    nodes: HashSet<usize>,
    /// Outlets that tract's nodes or the network's outputs read.
    read_by_tract: HashSet<OutletId>,
}

impl Needs {
    fn of(model: &TypedModel, found: &Found, makers: &HashMap<OutletId, usize>, weights: &Weights) -> Self {
        let mut needs = Self { layers: HashSet::new(), nodes: HashSet::new(), read_by_tract: HashSet::new() };
        let mut open: Vec<OutletId> = model.outputs.to_vec();
        needs.read_by_tract.extend(&open);
        while let Some(outlet) = open.pop() {
            if let Some(layer) = makers.get(&outlet) {
                if needs.layers.insert(*layer) {
                    open.extend(inputs_of(found, *layer));
                }
            } else if needs.nodes.insert(outlet.node) {
                let inputs = &model.node(outlet.node).inputs;
                needs.read_by_tract.extend(inputs);
                open.extend(inputs);
            }
        }
        // The network's input stays its input.
        let pictures = model.inputs.iter().filter(|input| !weights.holds(model, **input));
        needs.nodes.extend(pictures.map(|input| input.node));
        needs
    }
}

fn inputs_of(found: &Found, layer: usize) -> Vec<OutletId> {
    found.layers[layer].layer.inputs().iter().map(|tensor| found.outlets[*tensor]).collect()
}

fn region(
    model: &TypedModel,
    found: &Found,
    layers: &[usize],
    needs: &Needs,
    levels: &HashMap<usize, usize>,
    level: usize,
    makers: &HashMap<OutletId, usize>,
) -> Region {
    let mut region = Region {
        graph: Graph { tensors: found.tensors.clone(), ..Graph::default() },
        inputs: Vec::new(),
        outputs: Vec::new(),
    };
    let mine: HashSet<OutletId> = layers.iter().map(|layer| found.layers[*layer].output).collect();
    // A layer of a later level that reads a tensor of this one.
    let later: HashSet<OutletId> = makers
        .iter()
        .filter(|(outlet, layer)| needs.layers.contains(layer) && levels[&outlet.node] != level)
        .flat_map(|(_, layer)| inputs_of(found, *layer))
        .collect();
    for layer in layers {
        let FoundLayer { layer, output, .. } = &found.layers[*layer];
        for tensor in layer.inputs() {
            let outlet = found.outlets[tensor];
            if !mine.contains(&outlet) && !region.graph.inputs.contains(&tensor) {
                region.graph.inputs.push(tensor);
                region.inputs.push(outlet);
            }
        }
        let wanted = match layer.made {
            Made::Bytes(tensor) => Wanted::Bytes(tensor),
            Made::Floats(_) => Wanted::Floats { layer: region.graph.layers.len() },
        };
        region.graph.layers.push(layer.clone());
        if needs.read_by_tract.contains(output) || later.contains(output) {
            region.graph.outputs.push(wanted);
            region.outputs.push(*output);
        }
    }
    // The network's own outputs first and in their order, for a region that is the whole network.
    let place = |outlet: &OutletId| model.outputs.iter().position(|output| output == outlet).unwrap_or(usize::MAX);
    let mut sorted: Vec<(OutletId, Wanted)> =
        region.outputs.iter().copied().zip(region.graph.outputs.iter().copied()).collect();
    sorted.sort_by_key(|(outlet, _)| place(outlet));
    (region.outputs, region.graph.outputs) = sorted.into_iter().unzip();
    region
}

/// Whether one region does it all: it reads nothing but the quantised input, and its floats are the outputs as
/// they lie in memory.
fn is_whole(
    model: &TypedModel,
    found: &Found,
    regions: &[Region],
    tract_nodes: &BTreeMap<usize, Vec<usize>>,
) -> bool {
    let [region] = regions else { return false };
    let &[input] = region.inputs.as_slice() else { return false };
    let quantiser = model.node(input.node);
    let reads_the_input = quantising(quantiser).is_some() && model.inputs.first() == quantiser.inputs.first();
    let only_quantises = tract_nodes.values().flatten().all(|id| {
        let node = model.node(*id);
        *id == quantiser.id || node.op_is::<TypedSource>() || node.op_is::<Const>()
    });
    let outputs_lie_right = region.outputs.as_slice() == model.outputs.as_slice()
        && region.outputs.iter().zip(&region.graph.outputs).all(|(outlet, wanted)| match wanted {
            Wanted::Bytes(_) => false,
            Wanted::Floats { layer } => {
                let [height, width, channels] = region.graph.shape(&region.graph.layers[*layer]);
                let shape = model.outlet_fact(*outlet).ok().and_then(|fact| fact.shape.as_concrete());
                shape == Some(&[1, height * width, channels])
            }
        });
    reads_the_input && only_quantises && outputs_lie_right && found.tensors[region.graph.inputs[0]].channels == 3
}

/// The input tensor of a region that is the whole network.
pub(super) fn only_input(region: &Region) -> TensorId {
    region.graph.inputs[0]
}
