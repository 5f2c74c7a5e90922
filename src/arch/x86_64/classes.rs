//! Instructions by what kernels do with them under a probe (arch/x86/kernel/uprobes.c: `branch_setup_insn`, `push_setup_insn`).

use iced_x86::{Code as Opcode, Instruction, Mnemonic};

use crate::arch::cost::{ClassId, ProbeClass, SINGLE_STEPPED};

/// What a probe with a second trap costs, roughly: see docs/performance.md.
const STEPPED_NS: u32 = 13_000;

const fn class(name: &'static str, default_ns: u32, sample: &'static [u8]) -> ProbeClass {
    ProbeClass { name, default_ns, sample }
}

/// All classes. What follows the first instruction of a sample puts back what that has changed, and returns.
pub const ALL: [ProbeClass; 10] = [
    class("mov and others", STEPPED_NS, &[0x48, 0x89, 0xf8, 0xc3]), // mov %rdi, %rax; ret
    class("push", 900, &[0x50, 0x58, 0xc3]),                        // push %rax; pop %rax; ret
    class("1-byte nop", 900, &[0x90, 0xc3]),
    class("5-byte nop", STEPPED_NS, &[0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3]),
    class("other nops", STEPPED_NS, &[0x0f, 0x1f, 0x40, 0x00, 0xc3]),
    class("jmp", 900, &[0xeb, 0x00, 0xc3]), // jmp .+2; ret
    class("jcc", 900, &[0x74, 0x00, 0xc3]), // je .+2; ret
    class("call", 900, &[0xe8, 0x01, 0x00, 0x00, 0x00, 0xc3, 0xc3]), // call 1f; ret; 1: ret
    class("endbr64", STEPPED_NS, &[0xf3, 0x0f, 0x1e, 0xfa, 0xc3]),
    class("ret", STEPPED_NS, &[0xc3]),
];

/// The class of `push`.
pub const PUSH: ClassId = ClassId(1);
/// The class of nops that are as long as a call.
pub const NOP_OF_CALL_SIZE: ClassId = ClassId(3);
/// The class of `ret`.
pub const RETURN: ClassId = ClassId(9);

/// The class of an instruction with these bytes.
pub fn of(instruction: &Instruction, bytes: &[u8]) -> ClassId {
    let id = match instruction.code() {
        Opcode::Push_r64 => 1,
        _ if instruction.mnemonic() == Mnemonic::Nop => match instruction.len() {
            1 => 2,
            5 => 3,
            _ => 4,
        },
        // The kernel does not follow branches with this prefix: processors do not agree what it means.
        _ if bytes.first() == Some(&0x66) => return SINGLE_STEPPED,
        Opcode::Jmp_rel8_64 | Opcode::Jmp_rel32_64 => 5,
        _ if instruction.is_jcc_short_or_near() => 6,
        Opcode::Call_rel32_64 => 7,
        Opcode::Endbr64 => 8,
        _ if instruction.mnemonic() == Mnemonic::Ret => 9,
        _ => return SINGLE_STEPPED,
    };
    ClassId(id)
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::*;

    fn class_of(bytes: &[u8]) -> &'static str {
        let instruction = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
        ALL[usize::from(of(&instruction, bytes).0)].name
    }

    /// Guards against a sample that measures another class than its own.
    #[test]
    fn samples_begin_with_an_instruction_of_their_class() {
        for class in &ALL {
            assert_eq!(class_of(class.sample), class.name);
        }
    }

    /// Guards against expecting an emulation of what only looks like an emulated instruction.
    #[test]
    fn only_plain_forms_are_told_apart() {
        assert_eq!(class_of(&[0x41, 0x54]), "push"); // push %r12
        assert_eq!(class_of(&[0xff, 0x37]), "mov and others"); // push (%rdi)
        assert_eq!(class_of(&[0x6a, 0x01]), "mov and others"); // push $1
        assert_eq!(class_of(&[0xff, 0xd0]), "mov and others"); // call *%rax
        assert_eq!(class_of(&[0xe3, 0x00]), "mov and others"); // jrcxz
        assert_eq!(class_of(&[0x0f, 0x84, 0, 0, 0, 0]), "jcc");
        assert_eq!(class_of(&[0x66, 0x90]), "other nops");
        assert_eq!(class_of(&[0x66, 0x74, 0x00]), "mov and others");
        assert_eq!(class_of(&[0xf2, 0xe9, 0, 0, 0, 0]), "jmp"); // bnd jmp
        assert_eq!(class_of(&[0xc2, 0x08, 0x00]), "ret");
    }
}
