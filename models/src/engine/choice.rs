//! Which engine a network is run with.

use std::str::FromStr;

use crate::int8::kernels::Kernels;

/// Which engine and which instructions run the networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The int8 engine for what it covers, with the best instructions of this processor; tract for the rest.
    #[default]
    Auto,
    /// tract for everything.
    Tract,
    /// The int8 engine with these instructions for what it covers; tract for the rest.
    Int8(Kernels),
}

/// There is no such engine here.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what}; allowed here are {}", EngineChoice::available().join(", "))]
pub struct NoSuchEngine {
    what: String,
}

impl EngineChoice {
    const AUTO: &'static str = "auto";
    const TRACT: &'static str = "tract";

    /// The names of the engines that this processor can run.
    pub fn available() -> Vec<&'static str> {
        [Self::AUTO, Self::TRACT].into_iter().chain(Kernels::available().into_iter().map(Kernels::name)).collect()
    }

    /// The engine's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => Self::AUTO,
            Self::Tract => Self::TRACT,
            Self::Int8(kernels) => kernels.name(),
        }
    }

    /// The int8 engine's kernels, where it is used.
    pub(crate) fn kernels(self) -> Option<Kernels> {
        match self {
            Self::Auto => Some(Kernels::best()),
            Self::Tract => None,
            Self::Int8(kernels) => Some(kernels),
        }
    }
}

impl FromStr for EngineChoice {
    type Err = NoSuchEngine;

    fn from_str(name: &str) -> Result<Self, NoSuchEngine> {
        if let Some(kernels) = Kernels::named(name) {
            return Ok(Self::Int8(kernels));
        }
        match name {
            Self::AUTO => Ok(Self::Auto),
            Self::TRACT => Ok(Self::Tract),
            _ if Kernels::NAMES.contains(&name) => {
                Err(NoSuchEngine { what: format!("this processor cannot run '{name}'") })
            }
            _ => Err(NoSuchEngine { what: format!("'{name}' is no engine") }),
        }
    }
}

/// Multiplies numbers in registers alone, `rounds` times over, with the instruction that the int8 engine uses for
/// its convolutions, and says how many multiplications that were. A caller with a clock learns what the processor can
/// do at most. `None` where the engine has no such instruction.
pub fn peak_macs(engine: EngineChoice, rounds: u64) -> Option<u64> {
    engine.kernels()?.peak_loop(rounds)
}
