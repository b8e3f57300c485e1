//! Dequantising nodes that tract leaves as they are.
//!
//! tract makes one table of bytes of all that lies between a dequantising and a quantising node, where what is
//! there keeps the shape. A softmax keeps it too and is no function of single values: its table is wrong (tract
//! 0.23.9). Tables are the int8 engine's work here, so nothing is lost by hiding these nodes from tract.

use tract_onnx::prelude::{TValue, TVec, TractResult, TypedFact, TypedModel};
use tract_onnx::tract_core::internal::{
    AxesMapping, AxisChangeConsequence, AxisOp, EvalContext, EvalOp, InOut, Op, StaticName, TypedNode, TypedOp,
};
use tract_onnx::tract_core::ops::quant::DequantizeLinearF32;
use tract_onnx::tract_core::{as_op, op_as_typed_op, op_out_of_plan};

/// Hides the nodes that dequantise what is computed; constants stay for tract to compute.
pub(super) fn hide(model: &mut TypedModel) -> TractResult<()> {
    for id in 0..model.nodes().len() {
        let node = model.node(id);
        let Some(op) = node.op_as::<DequantizeLinearF32>().cloned() else { continue };
        if model.outlet_fact(node.inputs[0])?.konst.is_none() {
            model.node_mut(id).op = Box::new(Dequantise(op));
        }
    }
    Ok(())
}

/// Bytes to floats, as tract's node does it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dequantise(DequantizeLinearF32);

impl Op for Dequantise {
    fn name(&self) -> StaticName {
        "Dequantise".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Dequantise {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.eval(context, inputs)
    }
}

impl TypedOp for Dequantise {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
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
