//! One instruction as an explanation of a fault needs it: what it accesses, where it leads, what it puts into registers.

use crate::address::Avma;

/// A decoded instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Where it is.
    pub address: Avma,
    /// Its bytes.
    pub length: usize,
    /// As an assembler would write it.
    pub text: String,
    /// What kind of instruction it is.
    pub kind: InstructionKind,
    /// The memory that it accesses, what it does to the stack included.
    pub accesses: Vec<MemoryAccess>,
    /// DWARF numbers of the general registers that it may change.
    pub sets: Vec<u16>,
    /// The register that it fills with something that can be told, and what that is.
    pub fills: Option<(u16, Origin)>,
}

/// What an instruction does, as far as it matters to a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstructionKind {
    /// Computes, or moves data.
    Other,
    /// Calls a function.
    Call(Target),
    /// Jumps, whatever the state.
    Jump(Target),
    /// Jumps, or does not.
    Branch(Target),
    /// Returns to what the top of the stack says.
    Return,
    /// Divides integers.
    Divide(Divide),
    /// Raises the exception for an instruction that does not exist, on purpose: `ud2`.
    Undefined,
    /// Raises the exception for debuggers: `int3`.
    Breakpoint,
    /// Asks the kernel for something.
    SystemCall,
    /// Is for the kernel only.
    Privileged,
}

/// Where a call or a jump leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this address.
    Direct(Avma),
    /// To what a register holds.
    Register(u16),
    /// To what memory holds.
    Memory(MemoryAccess),
    /// To somewhere else.
    Unknown,
}

/// A division of integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divide {
    /// What it divides by.
    pub divisor: Operand,
    /// Whether the numbers have signs.
    pub is_signed: bool,
    /// The parts of the dividend, the low one first: DWARF numbers of registers.
    pub dividend: [u16; 2],
}

/// A number that an instruction uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Part of a register.
    Register {
        /// DWARF number.
        number: u16,
        /// The byte of the register that it begins with.
        first_byte: u8,
        /// Its bytes.
        bytes: u8,
    },
    /// Memory.
    Memory(MemoryAccess),
}

/// An access to memory: `segment + base + index * scale + displacement`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryAccess {
    /// DWARF number of the register that it is relative to.
    pub base: Option<u16>,
    /// DWARF number of the register that counts elements.
    pub index: Option<u16>,
    /// Bytes of an element.
    pub scale: u8,
    /// Constant part; for code-relative addresses all of it.
    pub displacement: u64,
    /// Whether it is relative to the thread's own storage.
    pub is_thread_local: bool,
    /// Its address cannot be computed from the registers that are known (another segment, a vector of indexes).
    pub is_opaque: bool,
    /// Bytes; 0 where that is not known.
    pub size: u32,
    /// Whether it reads.
    pub reads: bool,
    /// Whether it writes.
    pub writes: bool,
    /// What the address must be a multiple of.
    pub alignment: u32,
}

impl MemoryAccess {
    /// Which memory it is, for these registers by DWARF number and this base of the thread's own storage.
    #[must_use]
    pub fn address(&self, registers: impl Fn(u16) -> Option<u64>, tls_base: u64) -> Option<Avma> {
        if self.is_opaque || (self.is_thread_local && tls_base == 0) {
            return None;
        }
        let of = |number: Option<u16>| number.map_or(Some(0), &registers);
        let index = of(self.index)?.wrapping_mul(u64::from(self.scale));
        let segment = if self.is_thread_local { tls_base } else { 0 };
        Some(Avma(of(self.base)?.wrapping_add(index).wrapping_add(self.displacement).wrapping_add(segment)))
    }
}

/// Where the value that an instruction puts into a register comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From memory.
    Load(MemoryAccess),
    /// From another register.
    Copy(u16),
    /// From two registers: their sum.
    Sum(u16, u16),
    /// From a register, plus a constant.
    Offset {
        /// DWARF number.
        from: u16,
        /// The constant, modulo 2^64.
        by: u64,
    },
}
