//! Constants and weights of a graph.

use tract_onnx::prelude::{Tensor, TypedModel};
use tract_onnx::tract_core::internal::OutletId;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::math::{Mul, Sub};
use tract_onnx::tract_core::ops::quant::DequantizeLinearF32;

use crate::engine::{Bytes, Weights};

use super::is_binary;

/// The weights whose dequantised form an outlet holds, and the scale of each output channel (the first axis).
/// `None` where they have a zero point other than 0.
pub(super) fn weights<'a>(
    model: &TypedModel,
    weights: &'a Weights,
    outlet: OutletId,
) -> Option<(&'a Bytes, Vec<f32>)> {
    let node = model.node(outlet.node);
    if let Some(op) = node.op_as::<DequantizeLinearF32>() {
        let bytes = weights.get(&model.node(node.inputs[0].node).name)?;
        return (op.zero_point == 0).then(|| (bytes, vec![op.scale; bytes.shape[0]]));
    }
    // One scale a channel: tract writes out (float(bytes) - zero) * scale.
    let [difference, scales] = *node.inputs.as_slice() else { return None };
    let scales = constant(model, scales).filter(|_| is_binary::<Mul>(node))?;
    let node = model.node(difference.node);
    let [floats, zeros] = *node.inputs.as_slice() else { return None };
    let zeros = slice::<f32>(constant(model, zeros).filter(|_| is_binary::<Sub>(node))?)?;
    let node = model.node(floats.node);
    let source = node.op_as::<Cast>().and(node.inputs.first())?;
    let bytes = weights.get(&model.node(source.node).name)?;
    let channels = *bytes.shape.first()?;
    let per_channel = scales.shape().first() == Some(&channels) && scales.len() == channels;
    (per_channel && zeros.iter().all(|zero| *zero == 0.0))
        .then(|| Some((bytes, slice::<f32>(scales)?.to_vec())))?
}

/// The constant at an outlet, looked for behind casts that change nothing.
pub(super) fn constant(model: &TypedModel, outlet: OutletId) -> Option<&Tensor> {
    let node = model.node(outlet.node);
    if let Some(constant) = node.op_as::<Const>() {
        return Some(constant.val());
    }
    let cast = node.op_as::<Cast>()?;
    let tensor = constant(model, node.inputs[0])?;
    (tensor.datum_type() == cast.to).then_some(tensor)
}

/// The constant at an outlet as a single number.
pub(super) fn number(model: &TypedModel, outlet: OutletId) -> Option<f32> {
    match slice::<f32>(constant(model, outlet)?)? {
        [number] => Some(*number),
        _ => None,
    }
}

/// A tensor's values, if they are of this type.
pub(super) fn slice<T: tract_onnx::prelude::Datum>(tensor: &Tensor) -> Option<&[T]> {
    tensor.try_as_plain_ram().ok()?.as_slice::<T>().ok()
}
