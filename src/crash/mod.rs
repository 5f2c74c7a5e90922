//! What the recorder left behind in; a [`Report`](crate::report::Report) out.
//!
//! Nothing here fails: the process is dead, and what is missing is said in the report, with its reason.

pub mod assemble;
mod at_return;
pub mod code;
mod containers;
pub mod decode;
pub mod dropped;
mod dynamic;
pub mod exceptions;
pub mod explain;
pub mod fold;
mod follow;
pub mod frames;
pub mod handled;
pub mod mapped;
pub mod memory;
pub mod modules;
mod overwritten;
mod pair;
mod pieces;
pub mod recent;
pub mod recorded;
pub mod returned;
pub mod ring;
mod scalar;
mod signal;
pub mod source;
pub mod streams;
mod text;
mod tuples;
mod unprobed;
pub mod unwind;
pub mod variables;
mod variants;
mod wide;

use lastwords_abi::{Config, Counter, Event, Fault, Record, SlotHeader};

use crate::address::{LoadBias, Svma};
use crate::dwarf::function::SourceLine;
use crate::report;

pub use assemble::assemble;

/// What the kernel side knew of a process when it died.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The signal.
    pub fault: Fault,
    /// The death.
    pub event: Event,
    /// The threads that had a slot, in any order.
    pub threads: Vec<ThreadHistory>,
    /// The map `COUNTERS`, summed over the processors.
    pub counters: [u64; Counter::COUNT as usize],
    /// What was copied of its memory.
    pub memory: memory::Memory,
    /// The same without what was copied at a handled fault: for the other threads. `None` if there is no difference.
    pub memory_at_end: Option<memory::Memory>,
}

/// What one thread's slot held.
#[derive(Clone, Debug)]
pub struct ThreadHistory {
    /// Whose slot it was, and how much went through it.
    pub header: SlotHeader,
    /// The last calls, oldest first.
    pub calls: Vec<RawCall>,
}

/// A call as it was recorded.
#[derive(Clone, Debug)]
pub struct RawCall {
    /// The fixed part.
    pub record: Record,
    /// The captured bytes: outputs of the function's steps.
    pub data: Vec<u8>,
}

/// What is known of the process and the run from elsewhere.
pub struct Context<'a> {
    /// Ourselves.
    pub tool: report::Tool,
    /// The process. Its `pid` and `uptime_ns` are taken from the [`Snapshot`], and so are its `args` if they are there, and its `uid`
    /// unless it is here.
    pub process: report::Process,
    /// What the kernel side was told.
    pub config: Config,
    /// Calls to keep of each thread (`--calls`).
    pub calls_kept: u32,
    /// Bytes to keep of a string (`--string`).
    pub string_bytes: u32,
    /// What is probed, and what is not.
    pub probes: report::Probes,
    /// Functions that lost their probes on the way.
    pub dropped: Vec<crate::probe::Dropped>,
    /// The files that were mapped as code.
    pub modules: Vec<report::Module>,
    /// What the architecture calls the words of the saved registers.
    pub registers: RegisterNames<'a>,
    /// Where the main executable was loaded.
    pub bias: LoadBias,
    /// The code of the process, to walk its stacks with; `None` where it is not known what was mapped.
    pub code: Option<&'a code::Code<'a>>,
    /// What lies at an address of the main executable; `None` for an address elsewhere.
    pub symbolize: &'a dyn Fn(Svma) -> Option<Symbol>,
}

/// What the architecture calls the words of [`lastwords_abi::record::ThreadState::registers`].
#[derive(Clone, Copy, Debug)]
pub struct RegisterNames<'a> {
    /// Names and words of the general registers, in the order in which to show them.
    pub general: &'a [(&'a str, usize)],
    /// Word of the program counter.
    pub program_counter: usize,
    /// Word of the stack pointer.
    pub stack_pointer: usize,
    /// Bytes that a call pushes on the stack: 8 on x86-64, none on aarch64.
    pub return_address_bytes: u64,
}

/// What lies at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbol {
    /// The function's demangled name.
    pub name: String,
    /// The linker's name of it.
    pub symbol: String,
    /// The line of the source that the instruction was made from.
    pub line: Option<SourceLine>,
}

#[cfg(test)]
mod tests;
