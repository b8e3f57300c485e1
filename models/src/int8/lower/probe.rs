//! What an operator does, found by letting tract do it.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::{DatumType, Tensor, TypedModel, TypedNode, tvec};
use tract_onnx::tract_core::internal::{IntoTValue, OutletId, TValue};

use super::super::steps::{Resampling, Taps};
use super::constants::slice;

/// How far a probed weight may be from what the taps compute, in a picture of values up to one.
const TOLERANCE: f32 = 1e-5;

/// The taps of a node that resizes rows and columns one after the other, each output pixel from at most two
/// neighbours an axis; `None` where it does anything else.
pub(super) fn resampling(
    model: &TypedModel,
    node: &TypedNode,
    [height, width, channels]: [usize; 3],
    [output_height, output_width]: [usize; 2],
) -> Option<Arc<Resampling>> {
    let resized = |input: &[f32]| -> Option<Vec<f32>> {
        let tensor = Tensor::from_shape(&[1, channels, height, width], input).ok()?;
        let mut inputs = tvec!(tensor.into_tvalue());
        for outlet in &node.inputs[1..] {
            inputs.push(super::constants::constant(model, *outlet)?.clone().into_tvalue());
        }
        let output = node.op.eval_out_of_plan(inputs).ok()??;
        let output = output.first()?;
        let fits = *output.shape() == [1, channels, output_height, output_width];
        fits.then(|| slice::<f32>(output).map(<[f32]>::to_vec)).flatten()
    };
    // A picture that is one in a single row shows that row's weight in every output row.
    let rows = weights(height, output_height, channels, |marked| {
        let input = picture(channels, height, width, |channel, y, _| f32::from(marked(channel) == y));
        let output = resized(&input)?;
        Some(
            (0..channels)
                .map(|c| (0..output_height).map(|y| output[(c * output_height + y) * output_width]).collect())
                .collect(),
        )
    })?;
    let columns = weights(width, output_width, channels, |marked| {
        let input = picture(channels, height, width, |channel, _, x| f32::from(marked(channel) == x));
        let output = resized(&input)?;
        Some((0..channels).map(|c| output[c * output_height * output_width..][..output_width].to_vec()).collect())
    })?;
    let resampling = Resampling { rows, columns };

    // Whether that is all: a picture of many values.
    let input = picture(channels, height, width, |c, y, x| ((c * 31 + y * 17 + x * 7) % 64) as f32 / 64.0);
    let output = resized(&input)?;
    let agrees = (0..channels).all(|c| {
        let input = &input[c * height * width..][..height * width];
        let output = &output[c * output_height * output_width..][..output_height * output_width];
        let expected = resampling.rows.iter().flat_map(|row| {
            resampling.columns.iter().map(move |column| {
                let across = |y: usize| {
                    input[y * width + column.at[0]] * column.weights[0]
                        + input[y * width + column.at[1]] * column.weights[1]
                };
                across(row.at[0]) * row.weights[0] + across(row.at[1]) * row.weights[1]
            })
        });
        output.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < TOLERANCE)
    });
    agrees.then(|| Arc::new(resampling))
}

fn picture(channels: usize, height: usize, width: usize, at: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
    let places = (0..channels).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))));
    places.map(|(c, y, x)| at(c, y, x)).collect()
}

/// The taps of one axis. `probe` marks one input line a channel and gives the output lines of each channel.
fn weights(
    inputs: usize,
    outputs: usize,
    channels: usize,
    probe: impl Fn(&dyn Fn(usize) -> usize) -> Option<Vec<Vec<f32>>>,
) -> Option<Vec<Taps>> {
    let mut found: Vec<Vec<(usize, f32)>> = vec![Vec::new(); outputs];
    for first in (0..inputs).step_by(channels) {
        let lines = probe(&|channel| first + channel)?;
        for (line, output) in lines.iter().enumerate().take(inputs - first) {
            for (taps, weight) in found.iter_mut().zip(output) {
                if *weight != 0.0 {
                    taps.push((first + line, *weight));
                }
            }
        }
    }
    found
        .into_iter()
        .map(|taps| match *taps.as_slice() {
            [(at, weight)] => Some(Taps { at: [at, at], weights: [weight, 0.0] }),
            [(first, one), (second, other)] => Some(Taps { at: [first, second], weights: [one, other] }),
            _ => None,
        })
        .collect()
}

/// What element-wise nodes make of every byte that `base` can hold: the values of `outlet`, in the order of the
/// bytes' unsigned form.
pub(super) fn values_of_every_byte(model: &TypedModel, base: OutletId, outlet: OutletId) -> Option<Tensor> {
    let bytes: Tensor = match model.outlet_fact(base).ok()?.datum_type {
        DatumType::U8 => Tensor::from_shape(&[1, 1, 1, 256], &(0..=u8::MAX).collect::<Vec<u8>>()).ok()?,
        DatumType::I8 => Tensor::from_shape(&[1, 1, 1, 256], &(i8::MIN..=i8::MAX).collect::<Vec<i8>>()).ok()?,
        _ => return None,
    };
    let mut known = HashMap::from([(base, bytes.into_tvalue())]);
    evaluate(model, outlet, &mut known).map(|value| (*value).clone())
}

/// Only called on outlets whose way back to the base is short: see [`super::pattern`].
fn evaluate(model: &TypedModel, outlet: OutletId, known: &mut HashMap<OutletId, TValue>) -> Option<TValue> {
    if let Some(value) = known.get(&outlet) {
        return Some(value.clone());
    }
    let node = model.node(outlet.node);
    let value = match super::constants::constant(model, outlet) {
        Some(constant) => constant.clone().into_tvalue(),
        None => {
            let mut inputs = tvec!();
            for input in &node.inputs {
                inputs.push(evaluate(model, *input, known)?);
            }
            node.op.eval_out_of_plan(inputs).ok()??.into_iter().nth(outlet.slot)?
        }
    };
    known.insert(outlet, value.clone());
    Some(value)
}
