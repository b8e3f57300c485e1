//! One step for a pair of quantising and dequantising.
//!
//! A QDQ graph rounds an activation to 8 bits and turns it back into a float before the next convolution. tract
//! runs that as two passes over memory with a tensor of bytes between them. [`FakeQuantise`] rounds the floats in
//! place instead, to exactly the same values: `(clamp(round(x / scale) + zero, 0, 255) - zero) * scale`.

use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::prelude::{TValue, TVec, TractResult, TypedFact, TypedModel, tvec};
use tract_onnx::tract_core::internal::{
    AxesMapping, AxisChangeConsequence, AxisOp, EvalContext, EvalOp, InOut, IntoTensor, Op, OutletId, StaticName,
    TypedModelPatch, TypedNode, TypedOp,
};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8};
use tract_onnx::tract_core::{as_op, op_as_typed_op, op_out_of_plan};

/// Replaces every quantising step that is followed by the dequantising step with the same parameters.
pub(super) fn join_pairs(model: &mut TypedModel) -> TractResult<()> {
    let mut joined = Vec::new();
    for node in model.nodes() {
        let Some(dequantise) = node.op_as::<DequantizeLinearF32>() else { continue };
        if let Some(step) = FakeQuantise::of(model.node(node.inputs[0].node), dequantise) {
            joined.push((node.id, step));
        }
    }
    for (id, step) in joined {
        // Asked for now: it may be the result of a step that has just been put in.
        let from = model.node(model.node(id).inputs[0].node).inputs[0];
        let name = model.node(id).name.clone();
        let to = OutletId::new(id, 0);
        let patch = TypedModelPatch::rewire(model, &[from], &[to], &|patch, taps| {
            patch.wire_node(format!("{name}.rounded"), step.clone(), taps)
        })?;
        patch.apply(model)?;
    }
    Ok(())
}

/// Rounds floats to the values that 8 bits of a scale and a zero point can hold.
#[derive(Clone, Debug, PartialEq)]
struct FakeQuantise {
    /// One over the scale as tract's quantising step has it.
    inverse_scale: f32,
    scale: f32,
    /// The range of the rounded value, before the scale and without the zero point: whole numbers.
    low: f32,
    high: f32,
}

// The parameters are never NaN: tract would have refused them as constants of a quantising step.
impl Eq for FakeQuantise {}

impl FakeQuantise {
    fn of(quantising: &TypedNode, dequantise: &DequantizeLinearF32) -> Option<Self> {
        let op = &quantising.op_as::<ElementWiseOp>()?.0;
        let (inverse_scale, zero, least, most) = if let Some(op) = op.downcast_ref::<QuantizeLinearU8>() {
            (op.scale, i32::from(op.zero_point), 0, 255)
        } else {
            let op = op.downcast_ref::<QuantizeLinearI8>()?;
            (op.scale, i32::from(op.zero_point), -128, 127)
        };
        let same = dequantise.zero_point == zero && dequantise.scale.recip() == inverse_scale;
        let (low, high) = ((least - zero) as f32, (most - zero) as f32);
        same.then_some(Self { inverse_scale, scale: dequantise.scale, low, high })
    }

    /// The same as `round_ties_even`, which is a call and not an instruction on the oldest x86-64, for the range of
    /// whole numbers that is left after the cut: adding 1.5 · 2²³ leaves no bits for a fraction.
    fn round(&self, value: f32) -> f32 {
        const WHOLE: f32 = 12_582_912.0;
        let cut = (value * self.inverse_scale).max(self.low).min(self.high);
        ((cut + WHOLE) - WHOLE) * self.scale
    }
}

impl Op for FakeQuantise {
    fn name(&self) -> StaticName {
        "FakeQuantise".into()
    }

    op_as_typed_op!();
}

impl EvalOp for FakeQuantise {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext<'_>, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = inputs.remove(0);
        if input.is_exclusive() {
            let mut tensor = input.into_tensor();
            for value in tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()? {
                *value = self.round(*value);
            }
            return Ok(tvec!(tensor.into()));
        }
        let values = input.try_as_plain_ram()?.as_slice::<f32>()?;
        let rounded = values.iter().map(|value| self.round(*value)).collect();
        Ok(tvec!(ArrayD::from_shape_vec(input.shape(), rounded)?.into_tensor().into()))
    }
}

impl TypedOp for FakeQuantise {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].clone().without_value()))
    }

    fn axes_mapping(&self, inputs: &[&TypedFact], outputs: &[&TypedFact]) -> TractResult<AxesMapping> {
        AxesMapping::natural(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        _io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        Ok(Some(AxisChangeConsequence::new(model, node, None, change)))
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use tract_onnx::prelude::{Datum, DatumTypeExt, IntoRunnable, SpecialOps, tensor1};
    use tract_onnx::tract_core::ops::quant::{quantize_linear_i8, quantize_linear_u8};

    use super::*;

    fn pair(quantise: ElementWiseOp, scale: f32, zero_point: i32) -> TypedModel {
        let mut model = TypedModel::default();
        let source = model.add_source("x", f32::datum_type().fact([1000])).unwrap();
        let bytes = model.wire_node("q", quantise, &[source]).unwrap();
        let floats = model.wire_node("dq", DequantizeLinearF32::new(scale, zero_point), &bytes).unwrap();
        model.select_output_outlets(&floats).unwrap();
        model
    }

    fn run(model: TypedModel) -> Vec<u32> {
        // From far below to far above the range, with every tie between two values.
        let values: Vec<f32> = (0..1000).map(|i| (i as f32 - 500.0) * 0.125).collect();
        let outputs = model.into_runnable().unwrap().run(tvec!(tensor1(&values).into())).unwrap();
        outputs[0]
            .try_as_plain_ram()
            .unwrap()
            .as_slice::<f32>()
            .unwrap()
            .iter()
            .map(|value| value.to_bits())
            .collect()
    }

    #[test]
    fn the_joined_step_gives_the_pairs_numbers_bit_for_bit() {
        for scale in [0.25f32, 0.1, 0.018_67, 3.0] {
            for zero_point in [0u8, 1, 114, 255] {
                let signed = zero_point.wrapping_sub(128) as i8;
                let pairs = [
                    pair(quantize_linear_u8(scale.recip(), zero_point), scale, i32::from(zero_point)),
                    pair(quantize_linear_i8(scale.recip(), signed), scale, i32::from(signed)),
                ];
                for model in pairs {
                    let mut joined = model.clone();
                    join_pairs(&mut joined).unwrap();
                    let steps = joined.nodes().iter().filter(|node| node.op_is::<FakeQuantise>()).count();
                    assert_eq!(steps, 1);
                    // Minus zero is zero for all that follows.
                    let plain =
                        |bits: Vec<u32>| bits.into_iter().map(|bits| if bits == 1 << 31 { 0 } else { bits });
                    assert!(plain(run(joined)).eq(plain(run(model))), "{scale} {zero_point}");
                }
            }
        }
    }

    #[test]
    fn a_pair_with_different_parameters_stays_apart() {
        let mut model = pair(quantize_linear_u8(4.0, 7), 0.5, 7);
        join_pairs(&mut model).unwrap();
        assert!(!model.nodes().iter().any(|node| node.op_is::<FakeQuantise>()));
    }
}
