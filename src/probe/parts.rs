//! Functions in; what of them loses its probes on its own where they cost too much out.
//!
//! Where the kernel's trampoline must not be used or cannot be, the return of a call costs a second trap, or more than all the rest of it. Such a
//! function can lose what it returns, and keep its calls.

use crate::plan::{Exits, Plan, Weight};

/// What can lose its probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of the function with this index in the plan, but for what has a part of its own.
    Function(usize),
    /// The probes on the instructions that leave it.
    Returns(usize),
}

/// The parts of a plan's functions, by number: those of the functions have their indexes.
#[derive(Clone, Debug)]
pub struct Parts {
    functions: usize,
    /// Functions whose returns are a part.
    returns: Vec<usize>,
}

impl Parts {
    /// Those of this plan.
    pub fn of(plan: &Plan) -> Self {
        let has_returns = |&index: &usize| matches!(plan.functions[index].exits, Exits::Instructions(_));
        let functions = plan.functions.len();
        Self { functions, returns: (0..functions).filter(has_returns).collect() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.functions + self.returns.len()
    }

    /// The part with this number.
    pub fn get(&self, number: usize) -> Part {
        match number.checked_sub(self.functions) {
            Some(index) => Part::Returns(self.returns[index]),
            None => Part::Function(number),
        }
    }

    /// The number of the part that the returns of this function are, if they are one.
    pub fn returns_of(&self, function: usize) -> Option<usize> {
        self.returns.binary_search(&function).ok().map(|index| self.functions + index)
    }

    /// What the part with this number costs and tells.
    pub fn weight(&self, number: usize, plan: &Plan) -> Weight {
        match self.get(number) {
            Part::Function(index) => {
                let weight = plan.functions[index].weight;
                let returns_ns = if self.returns_of(index).is_some() { weight.exit_ns } else { 0 };
                Weight { cost_ns: weight.cost_ns.saturating_sub(returns_ns), ..weight }
            }
            // Of two that cost the same, results go before calls.
            Part::Returns(index) => {
                Weight { cost_ns: plan.functions[index].weight.exit_ns, is_minor: true, ..Weight::default() }
            }
        }
    }
}

impl Part {
    /// The index of its function.
    pub fn function(self) -> usize {
        match self {
            Self::Function(index) | Self::Returns(index) => index,
        }
    }
}
