//! Where the tensors of a quantised network lie, and the steps that fill them.
//!
//! One arena holds everything. Tensors that a concat joins are written into the joined one from the start. A
//! buffer lives from its first writer to its last reader, and buffers whose lives do not overlap share memory:
//! the largest are placed first, each as low as possible (greedy by size, arXiv 2001.03288).
//! Around a tensor there are as many pixels as its readers' windows reach beyond it; they hold the zero point.

use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{Convolution, Graph, Layer, Made, Quantisation, TensorId, Wanted, Work};
use super::kernels::{Kernels, PackedWeights};
use super::steps::{self, Activation, Finish, Operand, Output, Place, Step, Surround, Window};

/// Buffers begin at multiples of this many bytes.
const ALIGNMENT: usize = 64;
/// What reading whole vectors may touch beyond the last tensor.
const SLACK: usize = 64;
/// Channels that convolutions read at a time; pixels are a multiple of it apart.
const GROUP: usize = 4;

/// A network's steps and the places of what goes in and out.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The layer that each step belongs to; `None` for filling what lies around an input.
    pub(super) layer_of_step: Vec<Option<usize>>,
    pub(super) arena_bytes: usize,
    /// In the order of [`Graph::inputs`].
    pub(super) inputs: Vec<Place>,
    /// In the order of [`Graph::outputs`].
    pub(super) outputs: Vec<OutputPlace>,
}

/// Where an output lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum OutputPlace {
    Bytes(Place),
    /// Floats without gaps, channels last.
    Floats {
        offset: usize,
        shape: [usize; 3],
    },
}

/// Weights packed for the processor, by the name of their layer: the same for every shape of picture.
pub(super) type PackedByName = HashMap<String, Arc<PackedWeights>>;

/// Lays a network out for these kernels.
pub(super) fn plan(graph: &Graph, kernels: Kernels, packed: &mut PackedByName) -> Plan {
    let joined = Joined::of(graph);
    let mut buffers = Buffers::of(graph, &joined);
    let arena_bytes = buffers.place();
    let mut planner = Planner { graph, joined: &joined, buffers: &buffers, kernels, packed, steps: Vec::new() };
    for input in &graph.inputs {
        let (tensor, zero) = (planner.place(*input), graph.tensors[*input].quantisation.zero);
        if tensor.halo > 0 {
            planner.steps.push((Step::Surround(Surround { tensor, zero }), None));
        }
    }
    for (index, layer) in graph.layers.iter().enumerate() {
        planner.layer(index, layer);
    }
    let inputs = graph.inputs.iter().map(|input| planner.place(*input)).collect();
    let outputs = graph.outputs.iter().map(|output| planner.output(*output)).collect();
    let (steps, layer_of_step) = planner.steps.into_iter().unzip();
    Plan { steps, layer_of_step, arena_bytes, inputs, outputs }
}

/// Which tensors lie inside which joined ones.
struct Joined {
    /// The outermost tensor and the channel at which this one begins there.
    roots: Vec<(TensorId, usize)>,
}

impl Joined {
    fn of(graph: &Graph) -> Self {
        let mut parents: Vec<Option<(TensorId, usize)>> = vec![None; graph.tensors.len()];
        for layer in &graph.layers {
            let (Work::Concat { inputs }, Made::Bytes(joined)) = (&layer.work, layer.made) else { continue };
            let mut channel = 0;
            for input in inputs {
                let tensor = graph.tensors[*input];
                let same = tensor.quantisation == graph.tensors[joined].quantisation;
                // Convolutions read whole groups of channels: what begins within one would be read by those who
                // write it.
                let begins_a_group = channel % GROUP == 0;
                // Whoever writes an input knows of no other channels between its pixels.
                let is_input = graph.inputs.contains(input);
                if parents[*input].is_none() && same && begins_a_group && !is_input {
                    parents[*input] = Some((joined, channel));
                }
                channel += tensor.channels;
            }
        }
        let roots = (0..graph.tensors.len()).map(|mut id| {
            let mut channel = 0;
            while let Some((parent, at)) = parents[id] {
                (id, channel) = (parent, channel + at);
            }
            (id, channel)
        });
        Self { roots: roots.collect() }
    }

    /// Whether the tensor is written straight to where the concat wants it, at this channel.
    fn lies_in(&self, tensor: TensorId, joined: TensorId, channel: usize) -> bool {
        let (root, at) = self.roots[joined];
        self.roots[tensor] == (root, at + channel)
    }
}

/// One piece of memory and the steps of the layers during which it is needed.
#[derive(Clone, Copy, Debug)]
struct Buffer {
    bytes: usize,
    first: usize,
    last: usize,
    offset: usize,
    halo: usize,
}

/// The buffers of all outermost tensors and of all floats.
struct Buffers {
    of_tensor: HashMap<TensorId, Buffer>,
    of_floats: HashMap<usize, Buffer>,
}

impl Buffers {
    fn of(graph: &Graph, joined: &Joined) -> Self {
        let mut halos = vec![0; graph.tensors.len()];
        // Time 0 is before the first layer; the layer at place i runs at time i + 1.
        let end = graph.layers.len() + 1;
        let mut lives: HashMap<TensorId, (usize, usize)> = HashMap::new();
        let mut live = |tensor: TensorId, from: usize, to: usize| {
            let life = lives.entry(joined.roots[tensor].0).or_insert((from, to));
            *life = (life.0.min(from), life.1.max(to));
        };
        for input in &graph.inputs {
            live(*input, 0, 0);
        }
        let mut of_floats = HashMap::new();
        for (index, layer) in graph.layers.iter().enumerate() {
            let now = index + 1;
            for input in layer.inputs() {
                live(input, now, now);
            }
            match layer.made {
                Made::Bytes(made) => live(made, now, now),
                Made::Floats(shape) => {
                    let bytes = shape.iter().product::<usize>() * size_of::<f32>();
                    of_floats.insert(index, Buffer { bytes, first: now, last: end, offset: 0, halo: 0 });
                }
            }
            if let Work::Convolution(Convolution { input, window, .. }) = &layer.work {
                let (root, _) = joined.roots[*input];
                let [height, width, _] = graph.shape(layer);
                let tensor = graph.tensors[*input];
                let reach = reach(window, [tensor.height, tensor.width], [height, width]);
                halos[root] = reach.max(halos[root]);
            }
        }
        for output in &graph.outputs {
            if let Wanted::Bytes(tensor) = output {
                live(*tensor, end, end);
            }
        }
        let of_tensor = lives.into_iter().map(|(id, (first, last))| {
            let tensor = graph.tensors[id];
            let halo = halos[id];
            let pixels = (tensor.height + 2 * halo) * (tensor.width + 2 * halo);
            let bytes = pixels * tensor.channels.next_multiple_of(GROUP);
            (id, Buffer { bytes, first, last, offset: 0, halo })
        });
        Self { of_tensor: of_tensor.collect(), of_floats }
    }

    /// Gives every buffer its place; returns how many bytes the arena has.
    fn place(&mut self) -> usize {
        let mut all: Vec<((bool, usize), &mut Buffer)> = Vec::new();
        all.extend(self.of_tensor.iter_mut().map(|(id, buffer)| ((false, *id), buffer)));
        all.extend(self.of_floats.iter_mut().map(|(id, buffer)| ((true, *id), buffer)));
        // By place in the graph where sizes are the same, so that a plan is the same every time.
        all.sort_by_key(|(id, buffer)| (std::cmp::Reverse(buffer.bytes), *id));
        let mut placed: Vec<Buffer> = Vec::new();
        for (_, buffer) in all {
            let mut neighbours: Vec<&Buffer> =
                placed.iter().filter(|other| other.first <= buffer.last && buffer.first <= other.last).collect();
            neighbours.sort_by_key(|other| other.offset);
            let mut offset = 0;
            for other in neighbours {
                if offset + buffer.bytes <= other.offset {
                    break;
                }
                offset = offset.max((other.offset + other.bytes).next_multiple_of(ALIGNMENT));
            }
            buffer.offset = offset;
            placed.push(*buffer);
        }
        let end = placed.iter().map(|buffer| buffer.offset + buffer.bytes).max().unwrap_or(0);
        (end + SLACK).next_multiple_of(ALIGNMENT)
    }
}

/// How many pixels a window reaches beyond a picture, on the side where that is most.
fn reach(window: &Window, input: [usize; 2], output: [usize; 2]) -> usize {
    let beyond = |axis: usize| {
        let last = (output[axis] - 1) * window.stride[axis] + (window.size[axis] - 1) * window.dilation[axis];
        let after = (last + 1).saturating_sub(window.padding[axis] + input[axis]);
        after.max(window.padding[axis])
    };
    beyond(0).max(beyond(1))
}

struct Planner<'a> {
    graph: &'a Graph,
    joined: &'a Joined,
    buffers: &'a Buffers,
    kernels: Kernels,
    packed: &'a mut PackedByName,
    steps: Vec<(Step, Option<usize>)>,
}

impl Planner<'_> {
    fn place(&self, id: TensorId) -> Place {
        let (root, channel) = self.joined.roots[id];
        let (outer, tensor) = (self.graph.tensors[root], self.graph.tensors[id]);
        let Buffer { offset, halo, .. } = self.buffers.of_tensor[&root];
        let pixel = outer.channels.next_multiple_of(GROUP);
        let row = (outer.width + 2 * halo) * pixel;
        Place {
            offset: offset + halo * (row + pixel) + channel,
            row,
            pixel,
            height: tensor.height,
            width: tensor.width,
            channels: tensor.channels,
            halo,
        }
    }

    fn output(&self, output: Wanted) -> OutputPlace {
        match output {
            Wanted::Bytes(id) => OutputPlace::Bytes(self.place(id)),
            Wanted::Floats { layer } => {
                let shape = self.graph.shape(&self.graph.layers[layer]);
                OutputPlace::Floats { offset: self.buffers.of_floats[&layer].offset, shape }
            }
        }
    }

    fn layer(&mut self, index: usize, layer: &Layer) {
        let step = match (&layer.work, layer.made) {
            (Work::Convolution(convolution), made) => self.convolution(index, layer, convolution, made),
            (Work::Concat { inputs }, Made::Bytes(joined)) => return self.concat(index, inputs, joined),
            (Work::MaxPool { input, window }, Made::Bytes(made)) => {
                let zero = self.quantisation(made).zero;
                let (input, output) = (self.place(*input), self.place(made));
                Step::MaxPool(steps::MaxPool { input, window: *window, output, zero })
            }
            (Work::Sum { operands, activation }, Made::Bytes(made)) => {
                let quantisation = self.quantisation(made);
                let operands = operands.iter().map(|(input, resampling)| {
                    let Quantisation { scale, zero } = self.quantisation(*input);
                    Operand {
                        input: self.place(*input),
                        ratio: (f64::from(scale) / f64::from(quantisation.scale)) as f32,
                        zero: f32::from(zero),
                        resampling: resampling.clone(),
                    }
                });
                let (operands, output) = (operands.collect(), self.place(made));
                Step::Sum(steps::Sum { operands, activation: *activation, output, zero: quantisation.zero })
            }
            (Work::Table { input, table }, Made::Bytes(made)) => self.table(*input, table.clone(), made),
            (Work::Dequantise { input, table }, Made::Floats(_)) => Step::Dequantise(steps::Dequantise {
                input: self.place(*input),
                table: table.clone(),
                offset: self.buffers.of_floats[&index].offset,
            }),
            (work, made) => unreachable!("no layer makes {made:?} by {work:?}"),
        };
        self.steps.push((step, Some(index)));
    }

    fn quantisation(&self, id: TensorId) -> Quantisation {
        self.graph.tensors[id].quantisation
    }

    fn table(&self, input: TensorId, table: Arc<[u8; 256]>, made: TensorId) -> Step {
        let zero = self.quantisation(made).zero;
        Step::Table(steps::Table { input: self.place(input), table, output: self.place(made), zero })
    }

    /// Copies what could not be written to its place at once.
    fn concat(&mut self, index: usize, inputs: &[TensorId], joined: TensorId) {
        let whole = self.place(joined);
        let mut channel = 0;
        for input in inputs {
            let tensor = self.graph.tensors[*input];
            if !self.joined.lies_in(*input, joined, channel) {
                let output = Place { offset: whole.offset + channel, channels: tensor.channels, ..whole };
                let made = self.quantisation(joined);
                let table = Arc::new(requantised(tensor.quantisation, made));
                let step = steps::Table { input: self.place(*input), table, output, zero: made.zero };
                self.steps.push((Step::Table(step), Some(index)));
            }
            channel += tensor.channels;
        }
    }

    fn convolution(&mut self, index: usize, layer: &Layer, convolution: &Convolution, made: Made) -> Step {
        let Convolution { input, window, weights, bias, activation } = convolution;
        let from = self.quantisation(*input);
        let per_step = |unit: f64| -> Arc<[f32]> {
            weights.scales.iter().map(|scale| (f64::from(from.scale) * f64::from(*scale) / unit) as f32).collect()
        };
        let (scale, activation, output) = match made {
            Made::Floats([height, width, channels]) => {
                let offset = self.buffers.of_floats[&index].offset;
                (per_step(1.0), *activation, Output::Floats { offset, height, width, channels })
            }
            Made::Bytes(made) => {
                let to = self.quantisation(made);
                let (unit, rescale) = (f64::from(to.scale), (1.0 / f64::from(to.scale)) as f32);
                let place = self.place(made);
                // Where the activation lets it, values are computed in steps of the output's scale at once.
                let (unit, activation, rescale) = match *activation {
                    Activation::None | Activation::LeakyRelu { .. } => (unit, *activation, 1.0),
                    Activation::Clamp { low, high } => {
                        (unit, Activation::Clamp { low: to.steps(low), high: to.steps(high) }, 1.0)
                    }
                    _ => (1.0, *activation, rescale),
                };
                (per_step(unit), activation, Output::Bytes { place, rescale, zero: to.zero })
            }
        };
        let sums = weights
            .values
            .chunks_exact(weights.depth())
            .map(|values| values.iter().map(|value| i32::from(*value)).sum::<i32>());
        let bias = bias.iter().zip(sums).map(|(bias, sum)| bias - i32::from(from.zero) * sum).collect();
        let finish = Finish { bias, scale, activation, output };
        let (input, window) = (self.place(*input), *window);
        if weights.depthwise {
            let [rows, columns] = weights.window;
            let channels = weights.output_channels();
            let at = |tap: usize, channel: usize| weights.values[channel * rows * columns + tap];
            let weights = (0..rows * columns).flat_map(|tap| (0..channels).map(move |channel| at(tap, channel)));
            return Step::Depthwise(steps::Depthwise { input, window, weights: weights.collect(), finish });
        }
        let kernels = self.kernels;
        let packed = self.packed.entry(layer.name.clone()).or_insert_with(|| {
            Arc::new(kernels.pack(
                &weights.values,
                weights.output_channels(),
                weights.input_channels,
                weights.window,
            ))
        });
        Step::Convolution(steps::Convolution { input, window, weights: packed.clone(), finish })
    }
}

/// What each byte becomes in a tensor of another scale.
fn requantised(from: Quantisation, to: Quantisation) -> [u8; 256] {
    std::array::from_fn(|byte| {
        let real = (byte as f32 - f32::from(from.zero)) * from.scale;
        let steps = (real * to.scale.recip()).round_ties_even();
        (steps + f32::from(to.zero)).clamp(0.0, 255.0) as u8
    })
}
