//! A quantised network as a list of fused layers: what [`super::lower`] finds in tract's graph and
//! [`super::plan`] lays out in memory.
//!
//! A tensor is one picture of bytes with one scale and one zero point, whatever the order of its axes was in
//! the file. Tensors that the file holds as `int8` are shifted by 128 to `uint8`, scale unchanged. Layers stand in
//! an order in which each finds its inputs made.

use std::sync::Arc;

use super::steps::{Activation, Resampling, Window};

/// The place of a tensor in [`Graph::tensors`].
pub(super) type TensorId = usize;

/// A picture of bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) quantisation: Quantisation,
}

/// `real = scale * (byte - zero)`
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantisation {
    pub(crate) scale: f32,
    pub(crate) zero: u8,
}

impl Quantisation {
    /// A bound of values in steps of the scale, no further from zero than where it cuts no byte.
    pub(super) fn steps(self, bound: f32) -> f32 {
        (f64::from(bound) / f64::from(self.scale)).clamp(-512.0, 512.0) as f32
    }
}

/// Layers between given and wanted tensors.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    pub(super) tensors: Vec<Tensor>,
    /// Those that somebody else writes before the layers run.
    pub(super) inputs: Vec<TensorId>,
    pub(super) layers: Vec<Layer>,
    /// What somebody else reads when the layers have run.
    pub(super) outputs: Vec<Wanted>,
}

/// Something that is read after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A tensor of bytes.
    Bytes(TensorId),
    /// The floats of the layer at this place.
    Floats { layer: usize },
}

/// One fused layer.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// The name of the node in the file that does the main work.
    pub(super) name: String,
    pub(super) work: Work,
    pub(super) made: Made,
}

/// What a layer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Bytes(TensorId),
    /// Floats for the outside, channels last, of this height, width and number of channels.
    Floats([usize; 3]),
}

/// What a layer computes.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Convolution(Convolution),
    MaxPool {
        input: TensorId,
        window: Window,
    },
    /// The inputs' channels one after another.
    Concat {
        inputs: Vec<TensorId>,
    },
    /// One or two tensors, resized where need be, added.
    Sum {
        operands: Vec<(TensorId, Option<Arc<Resampling>>)>,
        activation: Activation,
    },
    /// Each byte by itself.
    Table {
        input: TensorId,
        table: Arc<[u8; 256]>,
    },
    /// Each byte by itself, as floats.
    Dequantise {
        input: TensorId,
        table: Arc<[f32; 256]>,
    },
}

/// A convolution with everything that follows it.
#[derive(Clone, Debug)]
pub(super) struct Convolution {
    pub(super) input: TensorId,
    pub(super) window: Window,
    pub(super) weights: Arc<Weights>,
    /// In steps of the input's scale times the channel's.
    pub(super) bias: Vec<i32>,
    pub(super) activation: Activation,
}

/// The weights of a convolution as the file holds them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights {
    /// `[output channel][input channel][row][column]`; one input channel when depthwise.
    pub(super) values: Arc<[i8]>,
    /// One an output channel.
    pub(super) scales: Vec<f32>,
    pub(super) input_channels: usize,
    pub(super) window: [usize; 2],
    pub(super) depthwise: bool,
}

impl Weights {
    pub(super) fn output_channels(&self) -> usize {
        self.scales.len()
    }

    /// Weights per output channel.
    pub(super) fn depth(&self) -> usize {
        self.window[0] * self.window[1] * if self.depthwise { 1 } else { self.input_channels }
    }
}

impl Layer {
    /// What the layer does, in the words of the field.
    pub(super) fn kind(&self) -> &'static str {
        match &self.work {
            Work::Convolution(convolution) if convolution.weights.depthwise => "depthwise convolution",
            Work::Convolution(_) => "convolution",
            Work::MaxPool { .. } => "max-pool",
            Work::Concat { .. } => "concat",
            Work::Sum { operands, .. } => {
                match (operands.len(), operands.iter().any(|(_, taps)| taps.is_some())) {
                    (1, _) => "resize",
                    (_, true) => "resize and add",
                    (_, false) => "add",
                }
            }
            Work::Table { .. } => "table",
            Work::Dequantise { .. } => "dequantise",
        }
    }

    pub(super) fn inputs(&self) -> Vec<TensorId> {
        match &self.work {
            Work::Convolution(Convolution { input, .. })
            | Work::MaxPool { input, .. }
            | Work::Table { input, .. }
            | Work::Dequantise { input, .. } => vec![*input],
            Work::Concat { inputs } => inputs.clone(),
            Work::Sum { operands, .. } => operands.iter().map(|(input, _)| *input).collect(),
        }
    }
}

impl Graph {
    /// Height, width and channels of what a layer makes.
    pub(super) fn shape(&self, layer: &Layer) -> [usize; 3] {
        match layer.made {
            Made::Floats(shape) => shape,
            Made::Bytes(id) => {
                let Tensor { height, width, channels, .. } = self.tensors[id];
                [height, width, channels]
            }
        }
    }

    /// Multiplications of one run.
    pub(super) fn macs(&self, layer: &Layer) -> u64 {
        match &layer.work {
            Work::Convolution(convolution) => {
                let values = self.shape(layer).iter().product::<usize>();
                values as u64 * convolution.weights.depth() as u64
            }
            _ => 0,
        }
    }
}
