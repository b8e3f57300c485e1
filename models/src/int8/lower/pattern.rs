//! The patterns of nodes that are one layer.

use std::sync::Arc;

use tract_onnx::prelude::{DatumType, TypedNode};
use tract_onnx::tract_core::internal::OutletId;
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PoolSpec};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Add, Max, Min, Mul};
use tract_onnx::tract_core::ops::nn::{DataFormat, HardSwish, LeakyRelu, Sigmoid};
use tract_onnx::tract_core::ops::quant::DequantizeLinearF32;

use super::super::graph::{Convolution, Layer, Made, Quantisation, TensorId, Weights, Work};
use super::super::steps::{Activation, LARGEST_FACTOR, Resampling, Window};
use super::constants::{constant, number, slice, weights};
use super::{FoundLayer, Search, element_wise, is_binary, probe, quantising};

/// How many element-wise nodes a table may stand for.
const LONGEST_CHAIN: usize = 24;
/// Pixels under a window, along one axis, those between its places included. Around a picture there is memory for
/// as many, so a file with nothing but large numbers in it must not ask for more.
const WIDEST_WINDOW: usize = 129;

/// The name of the node that does the main work, and the work.
type Named = (String, Work);

/// A value with an activation on top, and what is below it.
struct Activated {
    activation: Activation,
    below: OutletId,
}

impl<'a> Search<'a> {
    /// The layer whose last node is this one.
    pub(super) fn layer_ending_at(&mut self, id: usize) -> Option<FoundLayer> {
        let node = self.model.node(id);
        if quantising(node).is_some() {
            return self.bytes(node);
        }
        if node.op_is::<DequantizeLinearF32>() {
            return self.dequantised_head(node);
        }
        node.op_is::<Conv>().then(|| self.floats(node)).flatten()
    }

    /// The layer that ends in a quantising node.
    fn bytes(&mut self, node: &TypedNode) -> Option<FoundLayer> {
        let output = self.quantised(node)?;
        let source = node.inputs[0];
        let quantisation = self.tensors[output].quantisation;
        let (name, work) = None
            .or_else(|| self.convolution_below(source, quantisation))
            .or_else(|| self.max_pool(source, quantisation))
            .or_else(|| self.concat(source))
            .or_else(|| self.sum(source, quantisation))
            .or_else(|| self.table(node))?;
        let layer = Layer { name, work, made: Made::Bytes(output) };
        Some(FoundLayer { layer, output: OutletId::new(node.id, 0) })
    }

    fn convolution_below(&mut self, source: OutletId, made: Quantisation) -> Option<Named> {
        let Activated { activation, below } = self.activated(source)?;
        let node = self.maker(below)?;
        let convolution = self.convolution(node, activation)?;
        let step = f64::from(self.tensors[convolution.input].quantisation.scale) / f64::from(made.scale);
        are_factors(&convolution.weights.scales, step).then(|| (node.name.clone(), Work::Convolution(convolution)))
    }

    /// A convolution whose result stays a float, with the sigmoid that may follow it and the two nodes that put
    /// its channels last.
    fn floats(&mut self, node: &TypedNode) -> Option<FoundLayer> {
        let mut output = OutletId::new(node.id, 0);
        let after = self.only_reader(output);
        // The pattern of the quantising node that follows finds it.
        if after.is_some_and(|after| quantising(after).is_some()) {
            return None;
        }
        let mut activation = Activation::None;
        if let Some(sigmoid) = after.filter(|after| element_wise::<Sigmoid>(after).is_some()) {
            activation = Activation::Sigmoid;
            output = OutletId::new(sigmoid.id, 0);
        }
        let shape = self.picture(OutletId::new(node.id, 0))?;
        let output = self.channels_last(output, shape, None).unwrap_or(output);
        let work = Work::Convolution(self.convolution(node, activation)?);
        let layer = Layer { name: node.name.clone(), work, made: Made::Floats(shape) };
        Some(FoundLayer { layer, output })
    }

    /// Bytes that become floats and whose channels are put last: a head that was quantised to its end.
    fn dequantised_head(&mut self, node: &TypedNode) -> Option<FoundLayer> {
        let outlet = OutletId::new(node.id, 0);
        let input = self.dequantised(outlet)?;
        let quantisation = self.tensors[input].quantisation;
        let shape = self.picture(outlet)?;
        let output = self.channels_last(outlet, shape, Some(quantisation))?;
        let value = |byte: usize| (byte as f32 - f32::from(quantisation.zero)) * quantisation.scale;
        let table = Arc::new(std::array::from_fn(value));
        let work = Work::Dequantise { input, table };
        Some(FoundLayer { layer: Layer { name: node.name.clone(), work, made: Made::Floats(shape) }, output })
    }

    /// Where a picture's values are in the shape `[1, pixels, channels]`, if the two nodes that bring them there are
    /// all that read it. Rounding them to the steps that they have already changes nothing and is passed over.
    fn channels_last(
        &self,
        outlet: OutletId,
        [height, width, channels]: [usize; 3],
        steps: Option<Quantisation>,
    ) -> Option<OutletId> {
        let flat = self.only_reader(outlet)?;
        // A side of one pixel is only left out.
        let is_flat = matches!(flat.op_as::<AxisOp>(), Some(AxisOp::Reshape(..) | AxisOp::Rm(_)))
            && self.is_shaped(flat, &[1, channels, height * width]);
        let flat = self.past_rounding(OutletId::new(flat.id, 0), steps);
        let moved = self.only_reader(flat).filter(|_| is_flat)?;
        let is_moved = matches!(moved.op_as::<AxisOp>(), Some(AxisOp::Move(1, 2) | AxisOp::Move(2, 1)));
        is_moved.then(|| self.past_rounding(OutletId::new(moved.id, 0), steps))
    }

    /// The same values behind a quantising and a dequantising node of these steps, if these alone read them.
    fn past_rounding(&self, outlet: OutletId, steps: Option<Quantisation>) -> OutletId {
        let same = || -> Option<OutletId> {
            let steps = steps?;
            let rounding = self.only_reader(outlet)?;
            let (inverse_scale, zero) = quantising(rounding)?;
            let back = OutletId::new(self.only_reader(OutletId::new(rounding.id, 0))?.id, 0);
            let (_, found) = self.dequantising(back)?;
            (found == steps && zero == steps.zero && inverse_scale == steps.scale.recip()).then_some(back)
        };
        same().unwrap_or(outlet)
    }

    /// The node that alone reads an outlet.
    fn only_reader(&self, outlet: OutletId) -> Option<&'a TypedNode> {
        let reader = self.model.node(outlet.node).outputs[outlet.slot].successors.first()?;
        self.has_one_reader(outlet).then(|| self.model.node(reader.node))
    }

    fn is_shaped(&self, node: &TypedNode, shape: &[usize]) -> bool {
        node.outputs[0].fact.shape.as_concrete() == Some(shape)
    }

    /// A convolution of bytes with weights of 8 bits.
    fn convolution(&mut self, node: &TypedNode, activation: Activation) -> Option<Convolution> {
        let op = node.op_as::<Conv>()?;
        if op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW {
            return None;
        }
        let input = self.dequantised(node.inputs[0])?;
        let window = self.window(&op.pool_spec, input, OutletId::new(node.id, 0))?;
        let (bytes, scales) = weights(self.model, self.weights, node.inputs[1])?;
        let &[outputs, inputs, rows, columns] = bytes.shape.as_slice() else { return None };
        let channels = self.tensors[input].channels;
        let depthwise = op.group > 1;
        if depthwise && !(op.group == channels && outputs == channels && inputs == 1)
            || !depthwise && inputs != channels
        {
            return None;
        }
        if [rows, columns] != window.size {
            return None;
        }
        if !are_factors(&scales, f64::from(self.tensors[input].quantisation.scale)) {
            return None;
        }
        let values = bytes.values.clone();
        let weights = Weights { values, scales, input_channels: channels, window: window.size, depthwise };
        let bias = self.bias(node, &weights, self.tensors[input].quantisation)?;
        Some(Convolution { input, window, weights: Arc::new(weights), bias, activation })
    }

    /// The bias in steps of the input's scale times the channel's weight scale. `None` where sums of 32 bits could
    /// overflow.
    fn bias(&self, node: &TypedNode, weights: &Weights, input: Quantisation) -> Option<Vec<i32>> {
        let channels = weights.output_channels();
        let floats = match node.inputs.get(2) {
            None => vec![0.0; channels],
            Some(outlet) => match *slice::<f32>(constant(self.model, *outlet)?)? {
                [one] => vec![one; channels],
                ref many if many.len() == channels => many.to_vec(),
                _ => return None,
            },
        };
        let largest_sum = weights.depth() as f64 * 255.0 * 128.0;
        let steps = floats.iter().zip(&weights.scales).map(|(bias, scale)| {
            let steps = (f64::from(*bias) / (f64::from(input.scale) * f64::from(*scale))).round();
            (steps.abs() + 2.0 * largest_sum < f64::from(i32::MAX)).then_some(steps as i32)
        });
        steps.collect()
    }

    /// The window of a convolution or pool on pictures; `None` where it is none, or where it lies beside the picture
    /// for some pixels of the output.
    fn window(&self, spec: &PoolSpec, input: TensorId, output: OutletId) -> Option<Window> {
        let &[rows, columns] = spec.kernel_shape.as_slice() else { return None };
        if spec.data_format != DataFormat::NCHW {
            return None;
        }
        let (stride, dilation) = (pair(spec.strides.as_deref())?, pair(spec.dilations.as_deref())?);
        let tensor = self.tensors[input];
        let (size, sides) = ([rows, columns], [tensor.height, tensor.width]);
        let before = |axis: usize| {
            let padded = spec.padding.compute_one(axis, &sides[axis], size[axis], dilation[axis], stride[axis]);
            padded.pad_before
        };
        let padding = [before(0), before(1)];
        let [height, width, _] = self.picture(output)?;
        let lies_on = |axis: usize, outputs: usize| {
            let wide = size[axis].checked_sub(1)?.checked_mul(dilation[axis])?.checked_add(1)?;
            let last = (outputs - 1).checked_mul(stride[axis])?;
            let on = padding[axis] < wide && last < sides[axis] + padding[axis] && wide <= WIDEST_WINDOW;
            on.then_some(())
        };
        lies_on(0, height)?;
        lies_on(1, width)?;
        Some(Window { size, stride, dilation, padding })
    }

    fn max_pool(&mut self, source: OutletId, made: Quantisation) -> Option<Named> {
        let node = self.maker(source).filter(|_| self.has_one_reader(source))?;
        let op = node.op_as::<MaxPool>()?;
        let input = self.dequantised(node.inputs[0])?;
        if op.with_index_outputs.is_some() || self.tensors[input].quantisation != made {
            return None;
        }
        let window = self.window(&op.pool_spec, input, OutletId::new(node.id, 0))?;
        (window.dilation == [1, 1]).then(|| (node.name.clone(), Work::MaxPool { input, window }))
    }

    fn concat(&mut self, source: OutletId) -> Option<Named> {
        let node = self.maker(source).filter(|_| self.has_one_reader(source))?;
        if node.op_as::<TypedConcat>()?.axis != 1 {
            return None;
        }
        let inputs: Option<Vec<TensorId>> = node.inputs.iter().map(|input| self.dequantised(*input)).collect();
        Some((node.name.clone(), Work::Concat { inputs: inputs? }))
    }

    /// One resized tensor, or two tensors of which any may be resized, added.
    fn sum(&mut self, source: OutletId, made: Quantisation) -> Option<Named> {
        let Activated { activation, below } = self.activated(source)?;
        // The sum is computed in steps of the result's scale.
        let activation = match activation {
            Activation::None | Activation::LeakyRelu { .. } => activation,
            Activation::Clamp { low, high } => Activation::Clamp { low: made.steps(low), high: made.steps(high) },
            _ => return None,
        };
        let node = self.maker(below)?;
        let mut operands = Vec::new();
        if is_binary::<Add>(node) {
            let shape = self.picture(below)?;
            for input in &node.inputs {
                if self.picture(*input)? != shape {
                    return None;
                }
                operands.push(self.operand(*input)?);
            }
        } else {
            // A tensor that is only quantised anew is a table.
            let (input, resampling) = self.operand(below)?;
            operands.push((input, Some(resampling?)));
        }
        Some((node.name.clone(), Work::Sum { operands, activation }))
    }

    /// A dequantised tensor, or one that is resized first.
    fn operand(&mut self, outlet: OutletId) -> Option<(TensorId, Option<Arc<Resampling>>)> {
        if let Some(tensor) = self.dequantised(outlet) {
            return Some((tensor, None));
        }
        let node = self.maker(outlet).filter(|_| self.has_one_reader(outlet))?;
        if node.op.name() != "Resize" {
            return None;
        }
        let input = self.dequantised(*node.inputs.first()?)?;
        let [height, width, channels] = self.picture(outlet)?;
        let tensor = self.tensors[input];
        if tensor.channels != channels {
            return None;
        }
        let from = [tensor.height, tensor.width, channels];
        let taps = probe::resampling(self.model, node, from, [height, width])?;
        Some((input, Some(taps)))
    }

    /// Element-wise nodes between a dequantising and this quantising node: each byte makes one byte.
    fn table(&mut self, node: &TypedNode) -> Option<Named> {
        let source = node.inputs[0];
        let mut bases = Vec::new();
        let mut nodes = Vec::new();
        self.trace(source, &mut bases, &mut nodes)?;
        // An operand may itself be a table of the other: x · sigmoid(x).
        let base = match *bases.as_slice() {
            [base] => base,
            [one, other] if self.table_bases.get(&one) == Some(&other) => other,
            [one, other] if self.table_bases.get(&other) == Some(&one) => one,
            _ => return None,
        };
        let input = self.tensor_read_through(base)?;
        let output = OutletId::new(node.id, 0);
        let values = probe::values_of_every_byte(self.model, base, output)?;
        let table = match values.datum_type() {
            DatumType::U8 => slice::<u8>(&values)?.to_vec(),
            _ => slice::<i8>(&values)?.iter().map(|value| (i16::from(*value) + 128) as u8).collect(),
        };
        let table: [u8; 256] = table.try_into().ok()?;
        self.table_bases.insert(output, base);
        let name = nodes.last().map_or(&node.name, |id| &self.model.node(*id).name).clone();
        Some((name, Work::Table { input, table: Arc::new(table) }))
    }

    /// The tensor at an outlet of bytes, as its dequantising nodes read it.
    fn tensor_read_through(&mut self, bytes: OutletId) -> Option<TensorId> {
        let readers = &self.model.node(bytes.node).outputs[bytes.slot].successors;
        readers.iter().find_map(|reader| self.dequantised(OutletId::new(reader.node, 0)))
    }

    /// Walks from a float back to the bytes that it is made of, as long as every node on the way works on single
    /// values.
    fn trace(&self, outlet: OutletId, bases: &mut Vec<OutletId>, nodes: &mut Vec<usize>) -> Option<()> {
        let node = self.maker(outlet)?;
        if node.op_is::<DequantizeLinearF32>() {
            let base = node.inputs[0];
            if !bases.contains(&base) {
                bases.push(base);
            }
            return Some(());
        }
        if nodes.contains(&node.id) {
            return Some(());
        }
        let single = node.op_is::<ElementWiseOp>() || node.op_is::<TypedBinOp>();
        if !single || nodes.len() >= LONGEST_CHAIN {
            return None;
        }
        // Before going on, so that the chain's length bounds the depth.
        nodes.push(node.id);
        for input in &node.inputs {
            if number(self.model, *input).is_none() {
                self.trace(*input, bases, nodes)?;
            }
        }
        Some(())
    }

    /// Takes an activation off a value. All of its nodes and the value below are read by nobody else.
    fn activated(&self, outlet: OutletId) -> Option<Activated> {
        let node = self.maker(outlet).filter(|_| self.has_one_reader(outlet))?;
        let plain = |activation| {
            let below = node.inputs[0];
            self.has_one_reader(below).then_some(Activated { activation, below })
        };
        if let Some(op) = element_wise::<LeakyRelu>(node) {
            // Beyond this the larger of the two branches is not the right one.
            return (0.0..=1.0)
                .contains(&op.alpha)
                .then(|| plain(Activation::LeakyRelu { slope: op.alpha.abs() }))?;
        }
        if element_wise::<HardSwish>(node).is_some() {
            return plain(Activation::HardSwish);
        }
        if element_wise::<Sigmoid>(node).is_some() {
            return plain(Activation::Sigmoid);
        }
        if let Some(below) = self.times_its_sigmoid(node) {
            return Some(Activated { activation: Activation::Silu, below });
        }
        if let Some((below, low)) = self.bound::<Max>(node) {
            let activation = match low {
                0.0 => Activation::LeakyRelu { slope: 0.0 },
                low => Activation::Clamp { low, high: f32::MAX },
            };
            return self.has_one_reader(below).then_some(Activated { activation, below });
        }
        if let Some((inner, high)) = self.bound::<Min>(node) {
            let lower = self.maker(inner).filter(|_| self.has_one_reader(inner))?;
            let (below, low) = self.bound::<Max>(lower).unwrap_or((inner, f32::MIN));
            // Where the bounds are in the wrong order, the upper one holds.
            let activation = Activation::Clamp { low: low.min(high), high };
            return self.has_one_reader(below).then_some(Activated { activation, below });
        }
        Some(Activated { activation: Activation::None, below: outlet })
    }

    /// The value and the number of which a node takes the larger or the smaller.
    fn bound<Op: tract_onnx::tract_core::ops::binary::BinMiniOp>(
        &self,
        node: &TypedNode,
    ) -> Option<(OutletId, f32)> {
        if !is_binary::<Op>(node) {
            return None;
        }
        let &[one, other] = node.inputs.as_slice() else { return None };
        let bound = |at: OutletId| number(self.model, at).filter(|bound| !bound.is_nan());
        bound(other).map(|bound| (one, bound)).or_else(|| bound(one).map(|bound| (other, bound)))
    }

    /// The value that a node multiplies by its own sigmoid, read by these two alone.
    fn times_its_sigmoid(&self, node: &TypedNode) -> Option<OutletId> {
        if !is_binary::<Mul>(node) {
            return None;
        }
        let &[one, other] = node.inputs.as_slice() else { return None };
        [(one, other), (other, one)].into_iter().find_map(|(value, gate)| {
            let gate_node = self.maker(gate)?;
            let matches = element_wise::<Sigmoid>(gate_node).is_some()
                && gate_node.inputs[0] == value
                && self.has_one_reader(gate)
                && self.model.node(value.node).outputs[value.slot].successors.len() == 2
                && !self.model.outputs.contains(&value);
            matches.then_some(value)
        })
    }
}

/// Whether each scale, in steps of this size, is a factor that the kernels allow.
fn are_factors(scales: &[f32], step: f64) -> bool {
    // Written so that NaN is none.
    scales.iter().all(|scale| (f64::from(*scale) * step).abs() <= f64::from(LARGEST_FACTOR))
}

fn pair(values: Option<&[usize]>) -> Option<[usize; 2]> {
    match values {
        None => Some([1, 1]),
        Some(&[vertical, horizontal]) => Some([vertical, horizontal]),
        Some(_) => None,
    }
}
