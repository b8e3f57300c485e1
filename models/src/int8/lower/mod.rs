//! From tract's graph of a QDQ model to fused layers.
//!
//! In such a graph every activation that is stored in 8 bits passes a `QuantizeLinear` and every reader takes it
//! through a `DequantizeLinear`; what lies between the two is written in floats. [`layers`] walks back from each
//! quantising node to the tensors that it is made of and, where it knows the way, makes one layer of it.
//! The same is done for convolutions whose result stays a float: the heads.
//!
//! tract has worked out all shapes before. Weights stand in the graph as inputs that are dequantised; their
//! integers are kept beside it ([`Weights`]). What a resize or a chain of element-wise nodes does is not
//! guessed from attributes: tract's own operator is asked ([`probe`]).
//!
//! Not here: which layers go together to a program and what tract runs ([`super::partition`]).

mod constants;
mod pattern;
mod probe;

use std::collections::HashMap;
use std::ops::RangeInclusive;

use tract_onnx::prelude::{DatumType, TypedModel, TypedNode};
use tract_onnx::tract_core::internal::{OutletId, TypedOp};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8};

use crate::engine::Weights;

use super::graph::{Layer, Quantisation, Tensor, TensorId};

/// The scales of tensors that the engine takes: the ratio of two of them is a factor that the kernels allow. Others are
/// those of broken files.
const SCALES: RangeInclusive<f32> = 1.0 / 65536.0..=65536.0;

/// What was found in a graph: layers, and the tensors between them.
pub(super) struct Found {
    /// All pictures of bytes in the graph that a layer reads or writes.
    pub(super) tensors: Vec<Tensor>,
    /// Where each tensor is in tract's graph.
    pub(super) outlets: Vec<OutletId>,
    /// In the order of the graph.
    pub(super) layers: Vec<FoundLayer>,
}

/// A layer, and where what it makes is.
pub(super) struct FoundLayer {
    pub(super) layer: Layer,
    /// What it makes, in tract's graph. For floats, how their axes are to be ordered there follows from its shape.
    pub(super) output: OutletId,
}

/// Finds all layers of a graph whose shapes are known.
pub(super) fn layers(model: &TypedModel, weights: &Weights) -> Found {
    let mut search = Search {
        model,
        tensors: Vec::new(),
        outlets: Vec::new(),
        by_outlet: HashMap::new(),
        layers: Vec::new(),
        table_bases: HashMap::new(),
        weights,
    };
    // An order always exists: tract has just gone through the graph.
    for id in model.eval_order().unwrap_or_default() {
        if let Some(layer) = search.layer_ending_at(id) {
            search.layers.push(layer);
        }
    }
    Found { tensors: search.tensors, outlets: search.outlets, layers: search.layers }
}

/// The state of the walk over a graph.
struct Search<'a> {
    model: &'a TypedModel,
    tensors: Vec<Tensor>,
    outlets: Vec<OutletId>,
    by_outlet: HashMap<OutletId, TensorId>,
    layers: Vec<FoundLayer>,
    /// Tensors that are a table of another one.
    table_bases: HashMap<OutletId, OutletId>,
    weights: &'a Weights,
}

impl<'a> Search<'a> {
    /// The tensor of bytes whose real values an outlet holds: it is the result of a dequantising node.
    fn dequantised(&mut self, outlet: OutletId) -> Option<TensorId> {
        let (bytes, quantisation) = self.dequantising(outlet)?;
        self.tensor(bytes, quantisation)
    }

    /// The bytes that an outlet is the dequantised form of, and what they mean.
    fn dequantising(&self, outlet: OutletId) -> Option<(OutletId, Quantisation)> {
        let node = self.model.node(outlet.node);
        let op = node.op_as::<DequantizeLinearF32>()?;
        let bytes = node.inputs[0];
        let shift = self.shift(bytes)?;
        let zero = u8::try_from(op.zero_point + shift).ok()?;
        Some((bytes, Quantisation { scale: op.scale, zero }))
    }

    /// What must be added to an outlet's values to make them unsigned; `None` where it holds no bytes.
    fn shift(&self, outlet: OutletId) -> Option<i32> {
        match self.model.outlet_fact(outlet).ok()?.datum_type {
            DatumType::U8 => Some(0),
            DatumType::I8 => Some(128),
            _ => None,
        }
    }

    /// The tensor at an outlet of bytes, entered if it is new; `None` where it is no picture, or means something
    /// else to another reader.
    fn tensor(&mut self, outlet: OutletId, quantisation: Quantisation) -> Option<TensorId> {
        if let Some(id) = self.by_outlet.get(&outlet) {
            return (self.tensors[*id].quantisation == quantisation).then_some(*id);
        }
        if !SCALES.contains(&quantisation.scale) {
            return None;
        }
        let [height, width, channels] = self.picture(outlet)?;
        let id = self.tensors.len();
        self.tensors.push(Tensor { height, width, channels, quantisation });
        self.outlets.push(outlet);
        self.by_outlet.insert(outlet, id);
        Some(id)
    }

    /// Height, width and channels of an outlet of the shape `[1, channels, height, width]`.
    fn picture(&self, outlet: OutletId) -> Option<[usize; 3]> {
        match *self.model.outlet_fact(outlet).ok()?.shape.as_concrete()? {
            [1, channels, height, width] if channels * height * width > 0 => Some([height, width, channels]),
            _ => None,
        }
    }

    /// The tensor that a quantising node makes.
    fn quantised(&mut self, node: &TypedNode) -> Option<TensorId> {
        let (inverse_scale, zero) = quantising(node)?;
        let outlet = OutletId::new(node.id, 0);
        let readers = &node.outputs[0].successors;
        let read = readers.iter().find_map(|reader| self.dequantising(OutletId::new(reader.node, 0)));
        let quantisation = match read {
            Some((_, quantisation)) => quantisation,
            None => Quantisation { scale: inverse_scale.recip(), zero },
        };
        let same = quantisation.zero == zero && (quantisation.scale * inverse_scale - 1.0).abs() < 1e-6;
        if !same {
            return None;
        }
        self.tensor(outlet, quantisation)
    }

    /// Whether exactly one input of one node reads this outlet, and nothing outside the graph does.
    fn has_one_reader(&self, outlet: OutletId) -> bool {
        self.model.node(outlet.node).outputs[outlet.slot].successors.len() == 1
            && !self.model.outputs.contains(&outlet)
    }

    /// The node that makes an outlet, if it has no other outputs.
    fn maker(&self, outlet: OutletId) -> Option<&'a TypedNode> {
        let node = self.model.node(outlet.node);
        (node.outputs.len() == 1).then_some(node)
    }
}

/// One over the scale, and the zero point of a quantising node, as if it made unsigned bytes.
pub(super) fn quantising(node: &TypedNode) -> Option<(f32, u8)> {
    if let Some(op) = element_wise::<QuantizeLinearU8>(node) {
        return Some((op.scale, op.zero_point));
    }
    let op = element_wise::<QuantizeLinearI8>(node)?;
    Some((op.scale, (i16::from(op.zero_point) + 128) as u8))
}

/// The node's operator, if it is this element-wise one.
fn element_wise<Op: tract_onnx::tract_core::ops::element_wise::ElementWiseMiniOp>(
    node: &TypedNode,
) -> Option<&Op> {
    let op: &dyn TypedOp = node.op.as_ref();
    op.downcast_ref::<ElementWiseOp>()?.0.downcast_ref::<Op>()
}

/// Whether the node is this operator of two inputs.
fn is_binary<Op: tract_onnx::tract_core::ops::binary::BinMiniOp>(node: &TypedNode) -> bool {
    node.op_as::<TypedBinOp>().is_some_and(|op| op.0.downcast_ref::<Op>().is_some())
}
