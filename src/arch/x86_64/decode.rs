//! Decoding, DWARF numbers of decoded registers, and which instructions the kernel agrees to probe.

use iced_x86::{Decoder, DecoderOptions, OpAccess, Register};

use super::{FIRST_HIGH_VECTOR, FIRST_VECTOR};
use crate::address::Svma;
use crate::arch::code::{Code, CodeRange};

/// A decoder for one range.
pub fn decoder<'a>(range: &CodeRange<'a>) -> Decoder<'a> {
    Decoder::with_ip(64, range.bytes, range.address.0, DecoderOptions::NONE)
}

/// The code from `address` to the end of its range; nothing if it is in none.
pub fn bytes_at<'a>(code: &Code<'a>, address: Svma) -> &'a [u8] {
    code.ranges()
        .iter()
        .find_map(|range| range.bytes.get(usize::try_from(address.0.checked_sub(range.address.0)?).ok()?..))
        .unwrap_or_default()
}

/// The DWARF number of a general register, whichever part of it is named.
pub fn general(register: Register) -> Option<u16> {
    Some(match register.full_register() {
        Register::RAX => 0,
        Register::RDX => 1,
        Register::RCX => 2,
        Register::RBX => 3,
        Register::RSI => 4,
        Register::RDI => 5,
        Register::RBP => 6,
        Register::RSP => 7,
        Register::R8 => 8,
        Register::R9 => 9,
        Register::R10 => 10,
        Register::R11 => 11,
        Register::R12 => 12,
        Register::R13 => 13,
        Register::R14 => 14,
        Register::R15 => 15,
        _ => return None,
    })
}

/// Which byte of the full register the named part begins with.
pub fn first_byte(register: Register) -> usize {
    usize::from(matches!(register, Register::AH | Register::BH | Register::CH | Register::DH))
}

/// Whether an access may change what is there.
pub fn is_write(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// The DWARF number of a vector register.
pub fn vector(register: Register) -> Option<u16> {
    let number = u16::try_from(register.number()).ok()?;
    register
        .is_vector_register()
        .then(|| if number < 16 { FIRST_VECTOR + number } else { FIRST_HIGH_VECTOR + number - 16 })
}

/// Opcodes of one byte that the kernel does not probe (`good_insns_64`, arch/x86/kernel/uprobes.c). It looks up the opcode
/// byte of VEX instructions in the same table, whatever their map: `vpxor` (0xef) is refused, and `vmovdqa` (0x6f).
const REFUSED: [u8; 40] = [
    0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x62, 0x6c, 0x6d, 0x6e, 0x6f, 0x82,
    0x9a, 0xcc, 0xcd, 0xce, 0xcf, 0xd4, 0xd5, 0xd6, 0xe4, 0xe5, 0xe6, 0xe7, 0xea, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf4,
    0xfa, 0xfb,
];

/// The same for opcodes behind 0x0f (`good_2byte_insns`).
const REFUSED_AFTER_0F: [u8; 15] =
    [0x00, 0x01, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x30, 0x34, 0x35, 0x37, 0x78, 0x79, 0xae];

/// Whether the kernel agrees to probe the instruction that begins here. One refusal makes it refuse all probes of a link.
pub fn is_probeable(instruction: &[u8]) -> bool {
    let mut bytes = instruction.iter().copied();
    loop {
        let Some(byte) = bytes.next() else { return false };
        match byte {
            // Segment overrides but fs and gs, and lock: `is_prefix_bad`.
            0x26 | 0x2e | 0x36 | 0x3e | 0xf0 => return false,
            0x64..=0x67 | 0xf2 | 0xf3 | 0x40..=0x4f => {}
            0x0f => return bytes.next().is_some_and(|opcode| !REFUSED_AFTER_0F.contains(&opcode)),
            0xc5 => return bytes.nth(1).is_some_and(|opcode| !REFUSED.contains(&opcode)),
            0xc4 => return bytes.nth(2).is_some_and(|opcode| !REFUSED.contains(&opcode)),
            // `mov %.., %ss` holds back the next trap: `insn_masking_exception`.
            0x8e => return bytes.next().is_some_and(|modrm| (modrm >> 3) & 7 != 2),
            opcode => return !REFUSED.contains(&opcode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a plan that the kernel refuses as a whole for one function's first instruction.
    #[test]
    fn instructions_that_the_kernel_refuses_are_known() {
        let probeable: [&[u8]; 6] = [
            &[0x55],                   // push %rbp
            &[0xf3, 0x0f, 0x1e, 0xfa], // endbr64
            &[0x48, 0x83, 0xec, 0x28], // sub $0x28, %rsp
            &[0x66, 0x0f, 0xef, 0xc0], // pxor %xmm0, %xmm0
            &[0xc5, 0xfa, 0x58, 0xc1], // vaddss %xmm1, %xmm0, %xmm0
            &[0xf3, 0xc3],             // rep ret
        ];
        let refused: [&[u8]; 7] = [
            &[0xc5, 0xf9, 0xef, 0xc0],             // vpxor %xmm0, %xmm0, %xmm0
            &[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1], // vaddps %zmm1, %zmm0, %zmm0
            &[0xf0, 0x48, 0xff, 0x07],             // lock incq (%rdi)
            &[0x0f, 0x05],                         // syscall
            &[0x0f, 0x0b],                         // ud2
            &[0x3e, 0xff, 0xe0],                   // notrack jmp *%rax
            &[],
        ];
        assert_eq!(probeable.map(is_probeable), [true; 6]);
        assert_eq!(refused.map(is_probeable), [false; 7]);
    }
}
