//! What to record of each function, decided before the program starts: which functions, at which instruction, and what to read there.
//!
//! Comes in: functions and types from [`crate::dwarf`], the file from [`crate::binary`]. Goes out: a [`Plan`], whose steps the kernel
//! side interprets, and which later says what the recorded bytes mean.

mod behind;
pub mod blocks;
pub mod build;
mod candidates;
pub mod capture;
pub mod containers;
mod contradiction;
mod counted;
pub mod describe;
#[cfg(test)]
mod described;
pub mod edges;
mod exit;
#[cfg(test)]
mod fixture;
mod followed;
pub mod fragments;
pub mod layout;
pub mod libcxx;
pub mod locate;
mod moves;
pub mod nodes;
pub mod outputs;
pub mod pairs;
pub mod placement;
pub mod pointers;
mod reach;
pub mod returns;
pub mod runs;
pub mod select;
pub mod shape;
#[cfg(test)]
mod sites;
pub mod steps;
pub mod tails;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traps;
pub mod weight;

use std::fmt;
use std::path::PathBuf;

use lastwords_abi::Step;
use lastwords_abi::record::RESULT_WORDS;

use crate::address::{FileOffset, Svma};
use crate::dwarf::function::SourceLine;
use crate::dwarf::types::{TypeId, TypeTable};

use crate::arch::cost::ClassId;

pub use capture::Limits;
pub use followed::Followed;
pub use weight::Weight;

/// All that is probed in one run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The ELF files that hold the functions; the main executable is the first.
    pub objects: Vec<PathBuf>,
    /// The functions; the index is the one in the probes' cookies.
    pub functions: Vec<FunctionPlan>,
    /// The types of their parameters and results.
    pub types: TypeTable,
    /// What was asked for and is not probed.
    pub skipped: Vec<Skipped>,
}

/// A function that was asked for and is not probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its demangled name.
    pub function: String,
    /// Why, as a clause: "its code could not be decoded at 0x1234".
    pub reason: String,
}

/// What to record of one function.
#[derive(Clone, Debug)]
pub struct FunctionPlan {
    /// Demangled, without parameters.
    pub name: String,
    /// The linker's name.
    pub symbol: String,
    /// Where it is declared.
    pub declared: Option<SourceLine>,
    /// Index in [`Plan::objects`].
    pub object: usize,
    /// The address of its first instruction.
    pub address: Svma,
    /// Where to stand at entry.
    pub entry: EntrySite,
    /// How its return is seen.
    pub exits: Exits,
    /// It may also leave in a way that `exits` does not see, and which: a call without a return is then not known to be running.
    pub unseen_exits: Option<String>,
    /// Where its loop comes back to its first instruction: the entry is then executed again, and that is no call.
    pub turns: Vec<TurnSite>,
    /// What the kernel does at entry, in the order of [`lastwords_abi::step`].
    pub steps: Vec<Step>,
    /// What the captured bytes mean, one for each parameter.
    pub arguments: Vec<ArgumentPlan>,
    /// `None` for a function that returns nothing.
    pub returns: Option<ReturnPlan>,
    /// What is captured when it returns.
    pub exit: ExitPlan,
    /// Debug info described it: if not, the arguments are the guessed integer registers.
    pub has_debug_info: bool,
    /// The bounds of what was planned.
    pub limits: Limits,
    /// What its probes cost and its calls tell.
    pub weight: Weight,
}

impl FunctionPlan {
    /// Whether a call that is about to execute the instruction at `address` has not come to its probe yet.
    #[must_use]
    pub fn is_before_probe(&self, address: Svma) -> bool {
        (self.address..self.entry.address).contains(&address)
    }
}

impl FunctionPlan {
    /// Of a record's data, what was captured at the entry.
    #[must_use]
    pub fn entry_data<'d>(&self, data: &'d [u8]) -> &'d [u8] {
        data.get(self.exit.room_bytes() as usize..).unwrap_or_default()
    }
}

/// The instruction at which a function's arguments are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntrySite {
    /// Where the kernel places the uprobe.
    pub offset: FileOffset,
    /// The same place as an address.
    pub address: Svma,
    /// CFA minus stack pointer there, in bytes.
    pub cfa_offset: i32,
    /// What the kernel has to do for a probe there.
    pub class: ClassId,
    /// Why it is not a cheap one, if it is not.
    pub obstacle: Option<Obstacle>,
}

/// What keeps the entry of a function from being recorded on an instruction that the kernel emulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Its first block has none.
    None,
    /// Where its indirect jumps lead is not known: it may execute them more than once.
    UnknownTargets,
    /// Memory that arguments point to may have changed by then.
    Memory,
    /// An argument is overwritten by then.
    Argument,
    /// The user wants the first instruction to be probed, or wants returns in any case.
    Asked,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no emulated instruction in its first block",
            Self::UnknownTargets => "where its indirect jumps lead is not known",
            Self::Memory => "memory is written to before the first emulated instruction",
            Self::Argument => "an argument is overwritten before the first emulated instruction",
            Self::Asked => "as it was asked for",
        })
    }
}

/// How the return of a function is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exits {
    /// The kernel replaces the return address at the entry. Cheap, and visible to whatever walks the stack.
    Trampoline,
    /// A probe on each instruction that leaves the function. The stack stays as it is.
    Instructions(Vec<ExitSite>),
    /// Not at all, and why.
    Unseen(String),
}

/// One instruction that leaves a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitSite {
    /// Where the kernel places the uprobe.
    pub offset: FileOffset,
    /// `true` for a jump to another function, `false` for a `ret`.
    pub tail_jump: bool,
    /// What the kernel has to do for a probe there.
    pub class: ClassId,
}

/// One jump back to the first instruction of its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnSite {
    /// Where the kernel places the uprobe.
    pub offset: FileOffset,
    /// On which condition it is taken: see [`crate::arch::Turn`].
    pub condition: Option<u8>,
    /// What the kernel has to do for a probe there.
    pub class: ClassId,
}

/// How to put one argument together again.
#[derive(Clone, Debug)]
pub struct ArgumentPlan {
    /// As in the source.
    pub name: Option<String>,
    /// Its type.
    pub ty: TypeId,
    /// Where its bytes come from, from the lowest byte up.
    pub pieces: Vec<PieceSource>,
    /// What is behind the pointers in it.
    pub follows: Vec<Follow>,
    /// No debug info: the calling convention's register, not a known value.
    pub guessed: bool,
}

/// Where a part of a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceSource {
    /// Bytes of this part.
    pub size: u32,
    /// Where they are.
    pub source: Source,
}

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The output of step `step` of the function, from byte `skip` of it on.
    Step {
        /// Index in [`FunctionPlan::steps`].
        step: usize,
        /// Bytes of the step's output (behind its `Outcome`, where it has one) to leave out.
        skip: u32,
    },
    /// Known from the debug info.
    Constant(Vec<u8>),
    /// DWARF says it is nowhere.
    OptimizedOut,
    /// It is in a place that cannot be read at the probe, and which: "in register xmm0".
    Unavailable(String),
}

/// What is behind a pointer in an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// Where in the argument's bytes the pointer lies; where a [`Followed::Tail`] begins.
    pub at: u32,
    /// Index in [`FunctionPlan::steps`] of the step that reads what is there.
    pub step: usize,
    /// What it is.
    pub what: Followed,
    /// What is behind the pointers in that: their `at` counts from its start.
    pub behind: Vec<Follow>,
}

/// What is captured when a function returns.
#[derive(Clone, Debug, Default)]
pub struct ExitPlan {
    /// What the kernel does then. The first steps are the result registers, which every record has room for: it begins behind them.
    pub steps: Vec<Step>,
    /// What the arguments lead to then, one for each of [`FunctionPlan::arguments`]; empty without `--after`. Those that are not read again have no
    /// pieces.
    pub after: Vec<ArgumentPlan>,
}

impl ExitPlan {
    /// What the kernel does beyond keeping the result registers.
    #[must_use]
    pub fn kernel_steps(&self) -> &[Step] {
        self.steps.get(RESULT_WORDS..).unwrap_or_default()
    }

    /// Bytes at the front of a record's data that are kept free for what these steps write.
    #[must_use]
    pub fn room_bytes(&self) -> u32 {
        let bytes: u32 = self.kernel_steps().iter().map(Step::output_bytes).sum();
        // A string may be read two bytes beyond its limit, which is one more than its output has.
        if bytes == 0 { 0 } else { bytes + 8 }
    }
}

/// How a result comes back.
#[derive(Clone, Debug)]
pub struct ReturnPlan {
    /// The result, put together from the steps of [`ExitPlan::steps`].
    pub value: ArgumentPlan,
    /// What must hold for that to be the result.
    pub condition: Option<ReturnCondition>,
}

/// What debug info leaves open can be told from the call: a function that was told where to put its result says in the end where it is, in the first
/// result register (psABI section 3.2.3). LLVM does not keep to that in functions all of whose callers it knows: there a result in memory is not confirmed,
/// and not told. (Of classes, clang's debug info leaves nothing open.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnCondition {
    /// Index in [`FunctionPlan::steps`] of the register in which a hidden argument comes.
    pub step: usize,
    /// Whether it must be in memory.
    pub in_memory: bool,
}
