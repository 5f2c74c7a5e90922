//! What differs between architectures, behind one interface: register numbering, the saved registers, the calling convention, the code.
//!
//! Comes in: DWARF register numbers, types, code bytes. Goes out: names, words of the saved registers, and what a function's code
//! proves about where values are. Nothing outside this module may assume a particular architecture.

pub mod code;
pub mod cost;
pub mod instruction;
pub mod symbolic;
pub mod x86_64;

use lastwords_abi::record::RESULT_WORDS;

use crate::address::{Avma, Svma};
use crate::dwarf::function::Language;
use crate::dwarf::types::{TypeId, TypeTable};
use code::Code;
use cost::{Calibration, ClassId, ProbeClass};
use instruction::Instruction;
use symbolic::EntryBlock;

/// One architecture.
pub trait Architecture: Sync {
    /// As `uname -m` spells it.
    fn name(&self) -> &'static str;

    /// What a register is called, by its DWARF number: every register that debug info may name, `xmm0` included.
    fn register_name(&self, dwarf: u16) -> Option<&'static str>;

    /// Which word of the saved registers holds it; `None` for a register that a probe cannot see.
    fn register_word(&self, dwarf: u16) -> Option<u8>;

    /// Whether it is a register for vectors and floats, whose value code may move to where a probe can read it.
    fn is_vector(&self, dwarf: u16) -> bool;

    /// DWARF numbers of the general registers.
    fn general_registers(&self) -> std::ops::Range<u16>;

    /// DWARF numbers of the registers for integer arguments, in order.
    fn argument_registers(&self) -> &'static [u16];

    /// The orders in which calling conventions hand out the integer registers; [`Self::argument_registers`] is one of them.
    fn argument_orders(&self) -> &'static [&'static [u16]];

    /// Whether a function must give this register back as it found it: no argument arrives in it.
    fn is_callee_saved(&self, dwarf: u16) -> bool;

    /// DWARF number of the stack pointer.
    fn stack_pointer(&self) -> u16;

    /// DWARF number of the program counter.
    fn program_counter(&self) -> u16;

    /// DWARF number of the frame pointer.
    fn frame_pointer(&self) -> u16;

    /// Where the registers of the interrupted code lie, if `code` is what signal handlers return to: DWARF numbers, and distances from
    /// the stack pointer.
    fn signal_return(&self, code: &[u8]) -> Option<&'static [(u16, u64)]>;

    /// Whether the last instruction of `code` may be a call: so does the code before a return address end.
    fn ends_with_call(&self, code: &[u8]) -> bool;

    /// The instruction that `bytes` begin with, at `address`.
    fn decode(&self, bytes: &[u8], address: Avma) -> Option<Instruction>;

    /// Instructions of a function's `code`, which lies at `start`, that ran one after the other right before `end`: no branch of the
    /// function leads into the middle of them.
    fn straight_line(&self, code: &[u8], start: Avma, end: Avma) -> Vec<Instruction>;

    /// DWARF number of the register that an integer result comes back in.
    fn result_register(&self) -> u16;

    /// DWARF numbers of the registers that integer results come back in: those that a record keeps.
    fn result_registers(&self) -> [u16; RESULT_WORDS];

    /// DWARF number of the register in which a function is told where to put a result that does not fit into registers.
    fn hidden_result_register(&self) -> u16;

    /// Bits of an address in a program: where the ones above are not zero, no memory can ever be.
    fn address_bits(&self) -> u32;

    /// The name of a system call; `abi` is `si_arch` of the signal.
    fn system_call_name(&self, number: u32, abi: u32) -> Option<&'static str>;

    /// The registers of a report: name and word of the saved registers.
    fn report_registers(&self) -> &'static [(&'static str, u8)];

    /// Word of the saved registers that holds the program counter.
    fn program_counter_word(&self) -> u8;

    /// CFA minus stack pointer at the first instruction of a function: the bytes that a call pushes.
    fn entry_cfa_offset(&self) -> i64;

    /// How a result of this type comes back; `None` where there is nothing to come back.
    fn return_place(&self, ty: TypeId, language: Language, types: &TypeTable) -> Option<ReturnPlace>;

    /// Kinds of instructions that kernels treat differently under a probe; a [`ClassId`] is an index.
    fn probe_classes(&self) -> &'static [ProbeClass];

    /// A program to measure what probes cost on instructions of each class.
    fn calibration(&self) -> Calibration;

    /// The class of the last sample of [`Self::calibration`], which returns through the trampoline.
    fn trampoline_sample_class(&self) -> ClassId;

    /// The class of the instruction that returns from a function.
    fn return_class(&self) -> ClassId;

    /// What the code of a function says. Fails where no probe may stand on its entry.
    fn inspect(&self, code: &Code<'_>, cfa_offset: i64) -> Result<Inspection, InspectError>;
}

/// The architecture that this program runs on.
#[must_use]
#[cfg(target_arch = "x86_64")]
pub fn host() -> &'static dyn Architecture {
    &x86_64::X86_64
}

/// Where a result is when a function returns (psABI section 3.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReturnPlace {
    /// In registers.
    Registers {
        /// Its parts, from the lowest byte up.
        parts: Vec<ResultPart>,
        /// `false` where it may also be in memory, by what debug info says.
        certain: bool,
    },
    /// In memory that the caller provides, the address of which comes in [`Architecture::hidden_result_register`]. (The psABI wants it in the
    /// first result register in the end, but LLVM does not care for functions that it knows all callers of.)
    Memory {
        /// Bytes of it.
        size: u64,
        /// `false` where it may also be in registers.
        certain: bool,
    },
    /// Where it cannot be read, and why: "in register xmm0".
    Unavailable(String),
}

/// Some bytes of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultPart {
    /// How many.
    pub size: u32,
    /// Where they are.
    pub spot: ResultSpot,
}

/// Where some bytes of a result are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultSpot {
    /// The lowest ones of a result register: 0 for the first of [`Architecture::result_registers`].
    Word(usize),
    /// Where they cannot be read, and why.
    Unavailable(String),
}

/// What the code of a function says.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// What its first instructions prove about its parameters.
    pub entry: EntryBlock,
    /// Where a probe for the entry may stand, in the order of execution: instructions that each call executes once, at which the frame's
    /// place is known. There is at least one.
    pub candidates: Vec<Candidate>,
    /// Where its own code comes back to its first instruction, so that a call may execute any candidate more than once. `None` where that
    /// cannot be told from a call.
    pub turns: Option<Vec<Turn>>,
    /// It may execute other instructions of its first block more than once, for it has indirect jumps that may lead anywhere in it.
    pub has_unknown_targets: bool,
    /// Where it is left, or why that is not known.
    pub exits: Result<CodeExits, InspectError>,
}

/// An instruction where a probe may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is.
    pub address: Svma,
    /// What the kernel has to do for a probe there.
    pub class: ClassId,
    /// CFA minus stack pointer before it is executed.
    pub cfa_offset: i64,
}

/// The instructions that leave a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeExits {
    /// Those that certainly do, whenever they are executed.
    pub certain: Vec<CodeExit>,
    /// The first one that may or may not: a conditional jump out of the function, an indirect jump that may be no switch.
    pub uncertain: Option<Svma>,
}

/// One instruction that leaves a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeExit {
    /// Where it is.
    pub address: Svma,
    /// `true` for a jump to another function, `false` for a return.
    pub tail_jump: bool,
    /// What the kernel has to do for a probe there.
    pub class: ClassId,
}

/// A jump back to the first instruction of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Where it is.
    pub address: Svma,
    /// On which condition it is taken, as the architecture numbers them; `None` if it always is.
    pub condition: Option<u8>,
    /// What the kernel has to do for a probe there.
    pub class: ClassId,
}

/// Why code could not be made sense of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Bytes that are no instruction.
    #[error("its code could not be decoded at {0}")]
    Undecodable(Svma),
    /// A branch into an instruction: what was decoded there was no code, or not this code.
    #[error("its code could not be decoded: a branch leads to {0}, where no instruction begins")]
    BrokenBranch(Svma),
    /// The kernel refuses a probe there.
    #[error("the kernel cannot probe the instruction at {0}")]
    NotProbeable(Svma),
}
