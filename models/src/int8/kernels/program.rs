//! Steps that have been checked and made ready, and their running.

use super::Kernels;
use super::arena::Arena;
use super::check;
use super::convolution::Prepared;
use super::team::Team;
use crate::int8::steps::Step;

/// A checked step in the form in which it runs.
#[derive(Debug)]
pub(super) enum Ready {
    Convolution(Prepared),
    Other(Step),
}

/// Steps for one kind of kernels and one size of arena. Shared by any number of threads, each with its own arena.
#[derive(Debug)]
pub(crate) struct Program {
    kernels: Kernels,
    steps: Vec<Ready>,
    arena_length: usize,
}

impl Program {
    /// Checks everything that the kernels rely on: afterwards no run can touch a byte outside of an arena of
    /// `arena_length` bytes, whatever the arena holds.
    ///
    /// # Errors
    /// The first thing that is wrong, with the number of its step.
    pub(crate) fn new(kernels: Kernels, steps: Vec<Step>, arena_length: usize) -> Result<Self, String> {
        for (number, step) in steps.iter().enumerate() {
            check::step(step, kernels, arena_length)
                .map_err(|problem| format!("step {number} ({}): {problem}", check::name(step)))?;
        }
        let steps = steps
            .into_iter()
            .map(|step| match step {
                // The reference runs the steps as they are.
                Step::Convolution(step) if kernels != Kernels::REFERENCE => {
                    Ready::Convolution(Prepared::new(&step))
                }
                step => Ready::Other(step),
            })
            .collect();
        Ok(Self { kernels, steps, arena_length })
    }

    /// Runs all steps in order, each on all members of the team. `finished` is called on this thread after each.
    /// Allocates nothing.
    ///
    /// # Panics
    /// When the arena is smaller than the program was made for.
    pub(crate) fn run(&self, arena: &mut Arena, team: &mut Team, finished: &mut dyn FnMut(usize)) {
        assert!(arena.len() >= self.arena_length, "an arena of {} bytes is too small", arena.len());
        let memory = arena.memory();
        team.run(
            self.steps.len(),
            &|step, part| {
                // SAFETY: the step has passed the checks for an arena of this size. The arena is borrowed for the run,
                // and the team does one step at a time, each part of it once.
                unsafe { self.kernels.run(memory, &self.steps[step], part) }
            },
            finished,
        );
    }
}
