//! Which path each layer of a network takes, for people who want to know where the time goes.

use std::fmt;

/// What runs a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The int8 engine, with these kernels.
    Int8(&'static str),
    /// tract.
    Tract,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int8(kernels) => write!(f, "int8 {kernels}"),
            Self::Tract => write!(f, "tract"),
        }
    }
}

/// One layer of a network made for one shape of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerReport {
    /// The name of the node that does its main work, as the file has it.
    pub name: String,
    /// What it does: `convolution`, `max-pool`, …; for tract's nodes the name of the operator.
    pub kind: String,
    /// The shape of what it makes: height, width, channels in the int8 engine, as in the file in tract.
    pub shape: Vec<usize>,
    /// Multiplications of one run; 0 where they are not counted.
    pub macs: u64,
    /// What runs it.
    pub path: Path,
}

/// Who runs a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Layers that the int8 engine runs.
    pub int8_layers: usize,
    /// Nodes that tract runs.
    pub tract_nodes: usize,
    /// The int8 engine's kernels, if it runs anything.
    pub kernels: Option<&'static str>,
}

impl Summary {
    /// Counts the layers of a network.
    pub fn of(layers: &[LayerReport]) -> Self {
        let kernels = layers.iter().find_map(|layer| match layer.path {
            Path::Int8(kernels) => Some(kernels),
            Path::Tract => None,
        });
        let tract_nodes = layers.iter().filter(|layer| layer.path == Path::Tract).count();
        Self { int8_layers: layers.len() - tract_nodes, tract_nodes, kernels }
    }

    /// The engines, as `int8 avx2`, `tract` or `int8 avx2 + tract`.
    pub fn engine(&self) -> String {
        match self.kernels {
            None => Path::Tract.to_string(),
            Some(kernels) if self.tract_nodes == 0 => Path::Int8(kernels).to_string(),
            Some(kernels) => format!("{} + {}", Path::Int8(kernels), Path::Tract),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { int8_layers, tract_nodes, .. } = self;
        write!(f, "{} ({int8_layers} int8 layers, {tract_nodes} nodes in tract)", self.engine())
    }
}
