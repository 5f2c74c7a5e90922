//! All that is known of the moment of a fault, with what the explanations of several kinds ask for.

use lastwords_abi::Fault;
use nix::sys::signal::Signal;

use super::name::{Expression, Namer, Stand};
use super::{Evidence, Finding, calls_of, history, known, told};
use crate::address::Avma;
use crate::arch::instruction::{Instruction, MemoryAccess};
use crate::crash::code::Code;
use crate::crash::memory::Memory;
use crate::crash::signal::SI_KERNEL;
use crate::crash::text::hex;
use crate::crash::unwind::Registers;
use crate::crash::{RawCall, Snapshot};
use crate::plan::Plan;
use crate::report::{self, Access, Exception, Frame, Thread};

/// The moment of a fault.
pub struct Scene<'s, 'm> {
    pub fault: &'s Fault,
    pub pid: u32,
    pub code: &'s Code<'m>,
    pub memory: &'s Memory,
    pub registers: Registers,
    pub pc: Avma,
    pub instruction: Option<Instruction>,
    pub thread: Option<&'s Thread>,
    pub calls: &'s [RawCall],
    pub plan: &'s Plan,
    pub exceptions: &'s [Exception],
}

/// The access that failed.
#[derive(Clone, Copy, Debug)]
pub struct Culprit {
    pub access: MemoryAccess,
    /// Its first byte.
    pub address: Avma,
}

impl<'s, 'm> Scene<'s, 'm> {
    /// `None` where neither registers nor code are known.
    pub fn new(snapshot: &'s Snapshot, evidence: Evidence<'s, 'm>) -> Option<Self> {
        let (fault, code) = (&snapshot.fault, evidence.code?);
        let registers = Registers::from_words(&fault.thread.registers, code.arch);
        let pc = registers.program_counter(code.arch).filter(|_| fault.thread.at_ns != 0)?;
        let memory = &snapshot.memory;
        Some(Self {
            fault,
            pid: evidence.pid,
            code,
            memory,
            pc,
            instruction: code.arch.decode(bytes_at(code, memory, pc), pc),
            registers,
            thread: evidence.thread,
            calls: calls_of(snapshot),
            plan: evidence.plan,
            exceptions: evidence.exceptions,
        })
    }

    /// The instruction as a report has it.
    pub fn instruction_of_report(&self) -> Option<report::FaultInstruction> {
        let instruction = self.instruction.as_ref().filter(|_| self.is_of_instruction())?;
        let bytes = bytes_at(self.code, self.memory, self.pc).get(..instruction.length)?;
        Some(report::FaultInstruction { address: self.pc.into(), text: instruction.text.clone(), bytes: hex(bytes) })
    }

    /// Whether the signal is the fault of the instruction at the program counter: a general protection fault has no code of its own.
    pub fn is_of_instruction(&self) -> bool {
        let is_segv = self.fault.signal == Signal::SIGSEGV as i32;
        let is_trap = self.fault.signal == Signal::SIGTRAP as i32;
        (told::is_of_instruction(self.fault) && !is_trap) || (is_segv && told::code(self.fault) == Some(SI_KERNEL))
    }

    /// The frames of the thread, the innermost first.
    pub fn frames(&self) -> &'s [Frame] {
        self.thread.map_or(&[], |thread| &thread.frames)
    }

    /// What a register is called.
    pub fn register_name(&self, number: u16) -> &'static str {
        self.code.arch.register_name(number).unwrap_or("a register")
    }

    /// The stack pointer.
    pub fn stack_pointer(&self) -> Option<Avma> {
        self.registers.stack_pointer(self.code.arch)
    }

    /// Where an operand of the instruction lies.
    pub fn address_of(&self, access: &MemoryAccess) -> Option<Avma> {
        access.address(|number| self.registers.get(number), self.fault.thread.tls_base)
    }

    /// The access that failed: the one at the address that the signal tells; where it tells none, the one that cannot be.
    pub fn culprit(&self) -> Option<Culprit> {
        if !self.is_of_instruction() {
            return None;
        }
        let located = |access: &MemoryAccess| Some(Culprit { access: *access, address: self.address_of(access)? });
        let mut all = self.instruction.iter().flat_map(|instruction| &instruction.accesses).filter_map(located);
        match told::address(self.fault) {
            Some(address) => all.find(|culprit| {
                let distance = address.checked_sub(culprit.address.0);
                distance.is_some_and(|distance| distance < u64::from(culprit.access.size.max(1)))
            }),
            None => all.find(|culprit| !self.is_canonical(culprit.address) || self.is_misaligned(*culprit)),
        }
    }

    /// Whether the access is refused for its alignment.
    pub fn is_misaligned(&self, culprit: Culprit) -> bool {
        !culprit.address.0.is_multiple_of(u64::from(culprit.access.alignment.max(1)))
    }

    /// Whether there can be memory of a program or of the kernel.
    pub fn is_canonical(&self, address: Avma) -> bool {
        let beyond = address.0.cast_signed() >> self.code.arch.address_bits();
        beyond == 0 || beyond == -1
    }

    /// What was tried. The operand tells where the signal does not: the processor's details are lost where the instruction was a probed one,
    /// which the kernel runs elsewhere.
    pub fn access(&self) -> Option<Access> {
        let by_operand = || match self.culprit()?.access {
            MemoryAccess { writes: true, .. } => Some(Access::Write),
            MemoryAccess { reads: true, .. } => Some(Access::Read),
            _ => None,
        };
        told::access(self.fault).or_else(by_operand)
    }

    /// The same as a verb: `wrote to`.
    pub fn verb(&self) -> &'static str {
        told::verb(self.access())
    }

    /// Where the thread stood, to name things in.
    pub fn stand(&self) -> Stand<'_> {
        let cfa = self.frames().iter().find_map(|frame| frame.cfa).map(|cfa| Avma(cfa.0));
        self.stand_at(self.pc, self.registers.clone(), cfa)
    }

    /// A frame to name things in.
    pub fn stand_at(&self, pc: Avma, registers: Registers, cfa: Option<Avma>) -> Stand<'_> {
        let bias = self.code.module_at(pc).map(|(module, _)| module.mapped.bias).unwrap_or_default();
        Stand { pc, registers, cfa, bias, memory: self.memory, tls_base: self.fault.thread.tls_base }
    }

    /// Runs `ask` with what can name things where the thread stood.
    pub fn name<T>(&self, ask: impl FnOnce(&mut Namer<'_, 'm>) -> Option<T>) -> Option<T> {
        self.name_in(self.stand(), ask)
    }

    /// The same in another frame.
    pub fn name_in<T>(&self, stand: Stand<'_>, ask: impl FnOnce(&mut Namer<'_, 'm>) -> Option<T>) -> Option<T> {
        ask(&mut Namer::new(self.code, &stand))
    }

    /// What the operand is in the source.
    pub fn name_of_access(&self, access: &MemoryAccess) -> Option<Expression> {
        self.name(|namer| namer.access(access))
    }

    /// What the value of a register is in the source.
    pub fn name_of_register(&self, number: u16) -> Option<Expression> {
        self.name(|namer| namer.register(number))
    }

    /// Which recorded calls had to do with the address that failed.
    pub fn seen_by_somebody(&self) -> Vec<Finding> {
        history::findings(self)
    }

    /// How the operand's address came to be: `mov dword ptr [rax+0x18], 1` writes 4 bytes at rax + 0x18; rax was 0x0.
    pub fn operand(&self, culprit: Culprit) -> Finding {
        let access = culprit.access;
        let does = match (access.reads, access.writes) {
            (true, true) => "reads and writes",
            (false, true) => "writes",
            _ => "reads",
        };
        let size = if access.size == 0 { "memory".into() } else { bytes(access.size.into()) };
        let registers: Vec<String> = [access.base, access.index]
            .into_iter()
            .flatten()
            .filter_map(|number| Some(format!("{} was {:#x}", self.register_name(number), self.registers.get(number)?)))
            .collect();
        let text = self.instruction.as_ref().map(|instruction| instruction.text.as_str()).unwrap_or_default();
        let because = if registers.is_empty() { String::new() } else { format!("; {}", registers.join(", ")) };
        known(format!("`{text}` {does} {size} at {}{because}", culprit.address))
    }
}

/// `1 byte`, `4 bytes`
pub fn bytes(count: u64) -> String {
    if count == 1 { "1 byte".into() } else { format!("{count} bytes") }
}

/// The instruction at `pc`: from its file, or from memory for code that is in none.
fn bytes_at<'a, 'm: 'a>(code: &Code<'m>, memory: &'a Memory, pc: Avma) -> &'a [u8] {
    /// Bytes of the longest instruction (Intel SDM volume 2, section 2.3.11).
    const LONGEST: usize = 15;
    match code.bytes_at(pc) {
        [] => memory.known_part(pc, LONGEST),
        bytes => bytes,
    }
}
