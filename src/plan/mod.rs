//! What to record of each function, decided before the program starts: which functions, at which instruction, and what to read there.
//!
//! Comes in: functions and types from [`crate::dwarf`], the file from [`crate::binary`]. Goes out: a [`Plan`], whose steps the kernel
//! side interprets, and which later says what the recorded bytes mean.

mod behind;
pub mod build;
mod candidates;
pub mod capture;
pub mod containers;
mod contradiction;
pub mod describe;
#[cfg(test)]
mod described;
mod exit;
#[cfg(test)]
mod fixture;
pub mod fragments;
pub mod layout;
mod libcxx;
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

use self::nodes::Node;
use self::tails::Tail;
use crate::address::{FileOffset, Svma};
use crate::dwarf::function::SourceLine;
use crate::dwarf::types::{TypeId, TypeTable};

use crate::arch::cost::ClassId;

pub use capture::Limits;
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

/// What a pointer was followed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Followed {
    /// A NUL-terminated string.
    CString,
    /// Bytes of a length that the value holds at this offset (Rust's `&str` and `String`, C++'s `std::string`).
    Str {
        /// Where in the value's bytes the length lies, 8 bytes.
        length_at: u32,
    },
    /// As many elements as a number in the same value says.
    Counted {
        /// Where in the value that number lies, 8 bytes.
        length_at: u32,
        /// Bytes of an element.
        element: u16,
        /// Its type.
        of: TypeId,
    },
    /// What lies between the pointer and an end that the same value holds (C++'s `std::vector`).
    Until {
        /// Where in the value the end lies.
        end_at: u32,
        /// Bytes of an element.
        element: u16,
        /// Its type.
        of: TypeId,
    },
    /// As many elements as another argument says: a pointer and its length.
    Paired {
        /// Index of that argument in [`FunctionPlan::arguments`].
        length: usize,
        /// Bytes of an element.
        element: u16,
        /// Its type.
        of: TypeId,
    },
    /// A queue in a ring: as many elements as the value says, from the one on whose index it holds too (Rust's `VecDeque`).
    Ring {
        /// Where in the value that index lies, 8 bytes.
        first_at: u32,
        /// Where in the value the number of elements lies, 8 bytes.
        length_at: u32,
        /// Bytes of an element.
        element: u16,
        /// Its type.
        of: TypeId,
    },
    /// The places of a hash table, in front of the pointer (Rust's `HashMap`).
    Places {
        /// Where in the value their number lies, 8 bytes, minus 1.
        mask_at: u32,
        /// Bytes of a place.
        element: u16,
        /// What is in one that is not empty.
        of: TypeId,
    },
    /// So many bytes.
    Bytes(u16),
    /// A node of a container (C++'s `std::map`).
    Node(Node),
    /// A value of this type.
    Value(TypeId),
    /// Pointers to texts, the last of which is NULL (`argv`).
    Texts,
    /// The elements behind a structure: no pointer of their own leads to them.
    Tail(Tail),
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

impl Followed {
    /// The same, if it is found in a value that begins at byte `at` of another one. `None` for what is not there.
    #[must_use]
    pub fn moved(self, at: u32) -> Option<Self> {
        let moved = |offset: u32| offset.checked_add(at);
        Some(match self {
            Self::Str { length_at } => Self::Str { length_at: moved(length_at)? },
            Self::Counted { length_at, element, of } => Self::Counted { length_at: moved(length_at)?, element, of },
            Self::Until { end_at, element, of } => Self::Until { end_at: moved(end_at)?, element, of },
            Self::Ring { first_at, length_at, element, of } => {
                Self::Ring { first_at: moved(first_at)?, length_at: moved(length_at)?, element, of }
            }
            Self::Places { mask_at, element, of } => Self::Places { mask_at: moved(mask_at)?, element, of },
            Self::CString
            | Self::Paired { .. }
            | Self::Value(_)
            | Self::Texts
            | Self::Bytes(_)
            | Self::Node(_)
            | Self::Tail(_) => self,
        })
    }

    /// The last of the words beside the pointer that it needs.
    #[must_use]
    pub fn last_word(self) -> Option<u32> {
        match self {
            Self::Str { length_at } | Self::Counted { length_at, .. } => Some(length_at),
            Self::Until { end_at, .. } => Some(end_at),
            Self::Ring { first_at, length_at, .. } => Some(first_at.max(length_at)),
            Self::Places { mask_at, .. } => Some(mask_at),
            _ => None,
        }
    }

    /// Elements that lie next to each other: their type, and the bytes of each.
    #[must_use]
    pub fn elements(self) -> Option<(TypeId, u16)> {
        match self {
            Self::Counted { element, of, .. }
            | Self::Until { element, of, .. }
            | Self::Paired { element, of, .. }
            | Self::Ring { element, of, .. }
            | Self::Places { element, of, .. }
            | Self::Tail(Tail { element, of, count: Some(_), .. }) => Some((of, element)),
            _ => None,
        }
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
