//! x86-64 with the System V ABI. "psABI" is its specification, version 1.0.

mod access;
mod calibration;
mod classes;
mod decode;
mod flow;
mod machine;
mod prologue;
mod result;
mod stack;
mod targets;

use lastwords_abi::record::RESULT_WORDS;

use super::code::Code;
use super::cost::{Calibration, ClassId, ProbeClass};
use super::instruction::Instruction;
use super::{Architecture, InspectError, Inspection, ReturnPlace};
use crate::address::Avma;
use crate::dwarf::function::Language;
use crate::dwarf::types::{TypeId, TypeTable};

/// The architecture.
#[derive(Clone, Copy, Debug)]
pub struct X86_64;

/// DWARF numbers (psABI figure 3.36).
const RAX: u16 = 0;
const RDX: u16 = 1;
const RBP: u16 = 6;
const RSP: u16 = 7;
/// The return address, in call frame information.
const RIP: u16 = 16;
const FIRST_VECTOR: u16 = 17;

/// rdi, rsi, rdx, rcx, r8, r9: psABI section 3.2.3.
const SYSTEM_V_ORDER: [u16; 6] = [5, 4, 1, 2, 8, 9];
/// rcx, rdx, r8, r9: functions with the attribute `ms_abi`.
const WINDOWS_ORDER: [u16; 4] = [2, 1, 8, 9];

/// DWARF number to name, and to the word of `struct pt_regs` (arch/x86/include/asm/ptrace.h): r15 comes first there.
const GENERAL: [(&str, u8); 17] = [
    ("rax", 10),
    ("rdx", 12),
    ("rcx", 11),
    ("rbx", 5),
    ("rsi", 13),
    ("rdi", 14),
    ("rbp", 4),
    ("rsp", 19),
    ("r8", 9),
    ("r9", 8),
    ("r10", 7),
    ("r11", 6),
    ("r12", 3),
    ("r13", 2),
    ("r14", 1),
    ("r15", 0),
    ("rip", 16),
];

/// DWARF numbers 17 to 48: `xmm0` to `xmm15`, `st0` to `st7`, `mm0` to `mm7`.
const VECTORS: [&str; 32] = [
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
    "xmm14", "xmm15", "st0", "st1", "st2", "st3", "st4", "st5", "st6", "st7", "mm0", "mm1", "mm2", "mm3", "mm4", "mm5",
    "mm6", "mm7",
];

/// DWARF numbers 67 to 82.
const HIGH_VECTORS: [&str; 16] = [
    "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
    "xmm28", "xmm29", "xmm30", "xmm31",
];
const FIRST_HIGH_VECTOR: u16 = 67;

const REPORT: [(&str, u8); 18] = [
    ("rax", 10),
    ("rbx", 5),
    ("rcx", 11),
    ("rdx", 12),
    ("rsi", 13),
    ("rdi", 14),
    ("rbp", 4),
    ("rsp", 19),
    ("r8", 9),
    ("r9", 8),
    ("r10", 7),
    ("r11", 6),
    ("r12", 3),
    ("r13", 2),
    ("r14", 1),
    ("r15", 0),
    ("rip", 16),
    ("rflags", 18),
];

impl Architecture for X86_64 {
    fn name(&self) -> &'static str {
        "x86_64"
    }

    fn register_name(&self, dwarf: u16) -> Option<&'static str> {
        let index = usize::from(dwarf);
        let vector = index.checked_sub(usize::from(FIRST_VECTOR)).and_then(|index| VECTORS.get(index));
        let high = index.checked_sub(usize::from(FIRST_HIGH_VECTOR)).and_then(|index| HIGH_VECTORS.get(index));
        GENERAL.get(index).map(|(name, _)| *name).or(vector.copied()).or(high.copied())
    }

    fn register_word(&self, dwarf: u16) -> Option<u8> {
        GENERAL.get(usize::from(dwarf)).map(|(_, word)| *word)
    }

    fn is_vector(&self, dwarf: u16) -> bool {
        // xmm0 to xmm15; kernels and compilers agree that the others hold no argument.
        (FIRST_VECTOR..FIRST_VECTOR + 16).contains(&dwarf)
    }

    fn general_registers(&self) -> std::ops::Range<u16> {
        RAX..RIP
    }

    fn argument_registers(&self) -> &'static [u16] {
        &SYSTEM_V_ORDER
    }

    fn argument_orders(&self) -> &'static [&'static [u16]] {
        &[&SYSTEM_V_ORDER, &WINDOWS_ORDER]
    }

    fn is_callee_saved(&self, dwarf: u16) -> bool {
        // rbx, rbp, rsp, r12 to r15: psABI figure 3.4.
        matches!(dwarf, 3 | RBP | RSP | 12..=15)
    }

    fn stack_pointer(&self) -> u16 {
        RSP
    }

    fn program_counter(&self) -> u16 {
        RIP
    }

    fn frame_pointer(&self) -> u16 {
        RBP
    }

    fn signal_return(&self, code: &[u8]) -> Option<&'static [(u16, u64)]> {
        stack::signal_return(code)
    }

    fn ends_with_call(&self, code: &[u8]) -> bool {
        stack::ends_with_call(code)
    }

    fn decode(&self, bytes: &[u8], address: Avma) -> Option<Instruction> {
        access::decode(bytes, address)
    }

    fn straight_line(&self, code: &[u8], start: Avma, end: Avma) -> Vec<Instruction> {
        access::straight_line(code, start, end)
    }

    fn result_register(&self) -> u16 {
        RAX
    }

    fn result_registers(&self) -> [u16; RESULT_WORDS] {
        [RAX, RDX]
    }

    fn hidden_result_register(&self) -> u16 {
        SYSTEM_V_ORDER[0]
    }

    fn address_bits(&self) -> u32 {
        // With five-level page tables it would be 56, but the kernel gives such addresses to those only who ask for them (mmap(2) hints).
        47
    }

    fn system_call_name(&self, number: u32, abi: u32) -> Option<&'static str> {
        /// `AUDIT_ARCH_X86_64` (include/uapi/linux/audit.h).
        const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
        let number = usize::try_from(number).ok()?;
        (abi == AUDIT_ARCH_X86_64).then(|| syscalls::x86_64::Sysno::new(number).map(|call| call.name()))?
    }

    fn report_registers(&self) -> &'static [(&'static str, u8)] {
        &REPORT
    }

    fn program_counter_word(&self) -> u8 {
        16
    }

    fn entry_cfa_offset(&self) -> i64 {
        8
    }

    fn return_place(&self, ty: TypeId, language: Language, types: &TypeTable) -> Option<ReturnPlace> {
        result::return_place(ty, language, types)
    }

    fn probe_classes(&self) -> &'static [ProbeClass] {
        &classes::ALL
    }

    fn calibration(&self) -> Calibration {
        calibration::program()
    }

    fn trampoline_sample_class(&self) -> ClassId {
        classes::PUSH
    }

    fn return_class(&self) -> ClassId {
        classes::RETURN
    }

    fn inspect(&self, code: &Code<'_>, cfa_offset: i64) -> Result<Inspection, InspectError> {
        let flow = flow::scan(code);
        let (entry, candidates) = prologue::run(code, cfa_offset, &flow)?;
        if candidates.is_empty() {
            return Err(InspectError::NotProbeable(code.entry()));
        }
        let has_unknown_targets = flow.has_unknown_targets;
        let exits = match flow.error {
            Some(error) => Err(error),
            None => Ok(flow.exits),
        };
        Ok(Inspection { entry, candidates, turns: flow.turns, has_unknown_targets, exits })
    }
}
