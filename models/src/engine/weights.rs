//! The weights of 8 bits that a file holds, kept out of tract's hands.
//!
//! tract multiplies constants through while it builds a graph, which would make four bytes of each weight, for
//! every shape anew, long before anybody knows who runs the layer. So the file's `int8` constants become
//! inputs of the graph, as far as tract can see. The int8 engine takes them by name; where tract runs a layer
//! after all, [`Weights::restore`] puts the constants back.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::data_resolver::FopenDataResolver;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use tract_onnx::prelude::{IntoArcTensor, Tensor, TractResult, TypedFact, TypedModel};
use tract_onnx::tract_core::internal::OutletId;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::source::TypedSource;

/// Constants with fewer values stay in the graph.
const LEAST_VALUES: i64 = 2;

/// Constants by name.
#[derive(Default)]
pub(crate) struct Weights {
    by_name: HashMap<String, Bytes>,
}

/// One constant of signed bytes.
#[derive(Clone)]
pub(crate) struct Bytes {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Arc<[i8]>,
}

impl Weights {
    /// Takes out of a graph what only dequantising nodes read. The graph's own inputs stay the first ones.
    pub(super) fn detach(graph: &mut GraphProto) -> TractResult<Self> {
        let mut weights = Self::default();
        // The bodies of loops and branches read the constants of the graph around them.
        let has_bodies =
            |node: &NodeProto| node.attribute.iter().any(|given| given.g.is_some() || !given.graphs.is_empty());
        if graph.node.iter().any(has_bodies) {
            return Ok(weights);
        }
        for at in (0..graph.initializer.len()).rev() {
            if !is_weight(&graph.initializer[at], graph) {
                continue;
            }
            let constant = graph.initializer.swap_remove(at);
            let tensor = tract_onnx::tensor::load_tensor(&FopenDataResolver, &constant, None)?;
            let values = tensor.try_as_plain_ram()?.as_slice::<i8>()?.into();
            weights.by_name.insert(constant.name.clone(), Bytes { shape: tensor.shape().to_vec(), values });
            // Old files list their constants among the inputs.
            if !graph.input.iter().any(|input| input.name == constant.name) {
                graph.input.push(input_for(&constant));
            }
        }
        graph.input.sort_by_key(|input| weights.by_name.contains_key(&input.name));
        Ok(weights)
    }

    /// The constant of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Bytes> {
        self.by_name.get(name)
    }

    /// Whether an input of the graph is one of these constants.
    pub(crate) fn holds(&self, model: &TypedModel, input: OutletId) -> bool {
        self.by_name.contains_key(&model.node(input.node).name)
    }

    /// Makes constants again of the inputs that stand for them.
    pub(crate) fn restore(&self, model: &mut TypedModel) -> TractResult<()> {
        for id in 0..model.nodes().len() {
            let node = model.node_mut(id);
            let Some(bytes) = self.by_name.get(&node.name) else { continue };
            if !node.op_is::<TypedSource>() {
                continue;
            }
            let tensor = Tensor::from_shape(&bytes.shape, &bytes.values)?.into_arc_tensor();
            node.op = Box::new(Const::new(tensor.clone())?);
            node.outputs[0].fact = TypedFact::try_from(tensor)?;
        }
        let inputs = model.inputs.iter().copied().filter(|input| !self.holds(model, *input)).collect();
        model.inputs = inputs;
        Ok(())
    }
}

fn is_weight(constant: &TensorProto, graph: &GraphProto) -> bool {
    let read_as_weight_alone = || {
        graph.node.iter().all(|node| {
            node.input
                .iter()
                .enumerate()
                .all(|(at, input)| *input != constant.name || node.op_type == "DequantizeLinear" && at == 0)
        }) && graph.output.iter().all(|output| output.name != constant.name)
    };
    constant.data_type == DataType::Int8 as i32
        && constant.dims.iter().product::<i64>() >= LEAST_VALUES
        && read_as_weight_alone()
}

fn input_for(constant: &TensorProto) -> ValueInfoProto {
    let dimensions = constant
        .dims
        .iter()
        .map(|side| Dimension { value: Some(dimension::Value::DimValue(*side)), ..Dimension::default() });
    let tensor = type_proto::Tensor {
        elem_type: constant.data_type,
        shape: Some(TensorShapeProto { dim: dimensions.collect() }),
    };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: constant.name.clone(), r#type: Some(r#type), ..ValueInfoProto::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(name: &str) -> TensorProto {
        TensorProto {
            name: name.to_owned(),
            data_type: DataType::Int8 as i32,
            dims: vec![2, 3],
            raw_data: vec![1, 2, 3, 0xfd, 0xfe, 0xff],
            ..TensorProto::default()
        }
    }

    fn dequantising(input: &str) -> NodeProto {
        NodeProto { op_type: "DequantizeLinear".to_owned(), input: vec![input.to_owned()], ..NodeProto::default() }
    }

    fn graph(inputs: &[&str]) -> GraphProto {
        let input = |name: &&str| ValueInfoProto { name: (*name).to_owned(), ..ValueInfoProto::default() };
        GraphProto {
            input: inputs.iter().map(input).collect(),
            initializer: vec![constant("w")],
            node: vec![dequantising("w")],
            ..GraphProto::default()
        }
    }

    #[test]
    fn the_picture_stays_the_first_input_where_files_list_their_constants() {
        for inputs in [&["image"][..], &["w", "image"], &["image", "w"]] {
            let mut graph = graph(inputs);
            let weights = Weights::detach(&mut graph).unwrap();
            assert_eq!(*weights.get("w").unwrap().values, [1, 2, 3, -3, -2, -1]);
            let names: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
            assert_eq!((names, graph.initializer.len()), (vec!["image", "w"], 0), "{inputs:?}");
        }
    }

    #[test]
    fn what_others_read_or_could_read_stays_a_constant() {
        let mut read_twice = graph(&["image"]);
        read_twice.node.push(NodeProto {
            op_type: "Cast".to_owned(),
            input: vec!["w".to_owned()],
            ..NodeProto::default()
        });
        let mut with_a_body = graph(&["image"]);
        let body = tract_onnx::pb::AttributeProto { g: Some(GraphProto::default()), ..Default::default() };
        with_a_body.node.push(NodeProto {
            op_type: "If".to_owned(),
            attribute: vec![body],
            ..NodeProto::default()
        });
        for mut graph in [read_twice, with_a_body] {
            assert!(Weights::detach(&mut graph).unwrap().get("w").is_none());
            assert_eq!((graph.initializer.len(), graph.input.len()), (1, 1));
        }
    }
}
