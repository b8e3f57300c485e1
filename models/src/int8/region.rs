//! A program as one node of tract's graph, for networks of which tract runs the rest.
//!
//! tract's tensors have the channels before rows and columns, a program's after them: what passes the border is
//! put in the other order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::{DatumType, IntoTValue, TValue, TVec, Tensor, TractResult, TypedFact, TypedModel, tvec};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, OutletId, SpecialOps, StaticName, TypedOp, bail, format_err,
};
use tract_onnx::tract_core::{op_as_typed_op, op_out_of_plan};

use super::kernels::{Arena, Kernels, Program, Team};
use super::partition::{Partition, Region};
use super::plan::{self, OutputPlace, PackedByName};
use super::steps::Place;

/// The same graph with each region as one node.
pub(super) fn rewrite(
    model: &TypedModel,
    partition: &Partition,
    kernels: Kernels,
    packed: &mut PackedByName,
) -> TractResult<TypedModel> {
    let mut made = TypedModel { symbols: model.symbols.clone(), ..TypedModel::default() };
    let mut outlets: HashMap<OutletId, OutletId> = HashMap::new();
    for at in 0..=partition.regions.len() {
        for id in partition.tract_nodes.get(&at).into_iter().flatten() {
            let node = model.node(*id);
            let new = if model.inputs.contains(&OutletId::new(*id, 0)) {
                tvec!(made.add_source(&node.name, node.outputs[0].fact.clone())?)
            } else {
                let inputs: TVec<OutletId> = node.inputs.iter().map(|input| outlets[input]).collect();
                made.wire_node(&node.name, node.op.clone(), &inputs)?
            };
            outlets.extend(new.iter().enumerate().map(|(slot, new)| (OutletId::new(*id, slot), *new)));
        }
        let Some(region) = partition.regions.get(at) else { continue };
        let op = RegionOp::new(model, region, kernels, packed)?;
        let inputs: TVec<OutletId> = region.inputs.iter().map(|input| outlets[input]).collect();
        let new = made.wire_node(format!("int8.{at}"), op, &inputs)?;
        outlets.extend(region.outputs.iter().copied().zip(new));
    }
    let selected: Vec<OutletId> = model.outputs.iter().map(|output| outlets[output]).collect();
    made.select_output_outlets(&selected)?;
    Ok(made)
}

/// Runs a program on tract's tensors.
#[derive(Clone)]
struct RegionOp(Arc<Inner>);

struct Inner {
    program: Program,
    arena_bytes: usize,
    inputs: Vec<Place>,
    outputs: Vec<(OutputPlace, TypedFact)>,
    /// Memory of runs that are over. As many as there ever ran at once.
    idle: Mutex<Vec<(Arena, Team)>>,
}

impl RegionOp {
    fn new(model: &TypedModel, region: &Region, kernels: Kernels, packed: &mut PackedByName) -> TractResult<Self> {
        let plan = plan::plan(&region.graph, kernels, packed);
        let program = Program::new(kernels, plan.steps, plan.arena_bytes).map_err(|what| format_err!("{what}"))?;
        let facts: TractResult<Vec<TypedFact>> =
            region.outputs.iter().map(|outlet| Ok(model.outlet_fact(*outlet)?.without_value())).collect();
        let inner = Inner {
            program,
            arena_bytes: plan.arena_bytes,
            inputs: plan.inputs,
            outputs: plan.outputs.into_iter().zip(facts?).collect(),
            idle: Mutex::default(),
        };
        Ok(Self(Arc::new(inner)))
    }
}

impl std::fmt::Debug for RegionOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegionOp").field("arena_bytes", &self.0.arena_bytes).finish_non_exhaustive()
    }
}

impl PartialEq for RegionOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for RegionOp {}

impl Op for RegionOp {
    fn name(&self) -> StaticName {
        "Int8Region".into()
    }

    op_as_typed_op!();
}

impl EvalOp for RegionOp {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Inner { program, arena_bytes, inputs: places, outputs, idle } = &*self.0;
        // A panic elsewhere leaves whole arenas behind: a run writes all that it reads.
        let waiting = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (mut arena, mut team) = match waiting {
            Some(waiting) => waiting,
            None => (Arena::new(*arena_bytes), Team::new(1)?),
        };
        for (place, value) in places.iter().zip(&inputs) {
            write(place, value, arena.bytes_mut())?;
        }
        program.run(&mut arena, &mut team, &mut |_| ());
        let made: TractResult<TVec<TValue>> =
            outputs.iter().map(|(place, fact)| Ok(read(place, fact, &arena)?.into_tvalue())).collect();
        idle.lock().unwrap_or_else(PoisonError::into_inner).push((arena, team));
        made
    }
}

impl TypedOp for RegionOp {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.0.outputs.iter().map(|(_, fact)| fact.clone()).collect())
    }

    tract_onnx::tract_core::internal::as_op!();
}

/// Signed bytes are held with 128 added, which is their highest bit turned.
const SIGN: u8 = 0x80;

fn write(place: &Place, value: &Tensor, arena: &mut [u8]) -> TractResult<()> {
    let plane = place.pixels();
    let expected = plane * place.channels;
    let mut put = |bytes: &mut dyn Iterator<Item = u8>| {
        for (at, byte) in bytes.enumerate() {
            let (channel, pixel) = (at / plane, at % plane);
            arena[place.at(pixel / place.width, pixel % place.width) + channel] = byte;
        }
    };
    let plain = value.try_as_plain_ram()?;
    match value.datum_type() {
        DatumType::U8 if value.len() == expected => put(&mut plain.as_slice::<u8>()?.iter().copied()),
        DatumType::I8 if value.len() == expected => {
            put(&mut plain.as_slice::<i8>()?.iter().map(|value| *value as u8 ^ SIGN));
        }
        found => bail!("{} values of {found:?} where {expected} bytes are expected", value.len()),
    }
    Ok(())
}

fn read(place: &OutputPlace, fact: &TypedFact, arena: &Arena) -> TractResult<Tensor> {
    let Some(shape) = fact.shape.as_concrete() else { bail!("a shape that is not known") };
    match *place {
        OutputPlace::Bytes(place) => {
            let bytes = arena.bytes();
            let plane = place.pixels();
            let sign = if fact.datum_type == DatumType::I8 { SIGN } else { 0 };
            let values = (0..plane * place.channels).map(|at| {
                let (channel, pixel) = (at / plane, at % plane);
                bytes[place.at(pixel / place.width, pixel % place.width) + channel] ^ sign
            });
            if fact.datum_type == DatumType::I8 {
                return Tensor::from_shape(shape, &values.map(|byte| byte as i8).collect::<Vec<i8>>());
            }
            Tensor::from_shape(shape, &values.collect::<Vec<u8>>())
        }
        OutputPlace::Floats { offset, shape: [height, width, channels] } => {
            let plane = height * width;
            let floats = arena.floats(offset, plane * channels);
            if *shape == [1, plane, channels] {
                return Tensor::from_shape(shape, floats);
            }
            let planar = (0..plane * channels).map(|at| floats[at % plane * channels + at / plane]);
            Tensor::from_shape(shape, &planar.collect::<Vec<f32>>())
        }
    }
}
