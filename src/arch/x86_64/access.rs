//! One instruction's accesses, targets and effects.

use iced_x86::{
    CodeSize, Decoder, DecoderOptions, EncodingKind, FlowControl, Formatter, Instruction as Raw,
    InstructionInfoFactory, IntelFormatter, Mnemonic, OpAccess, OpKind, Register, UsedMemory,
};

use super::decode::{first_byte, general, is_write};
use crate::address::Avma;
use crate::arch::instruction::{Divide, Instruction, InstructionKind, MemoryAccess, Operand, Origin, Target};

/// DWARF numbers of rax and rdx, which a division divides.
const DIVIDEND: [u16; 2] = [0, 1];

/// The instruction that these bytes begin with, at `address`.
pub fn decode(bytes: &[u8], address: Avma) -> Option<Instruction> {
    let raw = Decoder::with_ip(64, bytes, address.0, DecoderOptions::NONE).decode();
    (!raw.is_invalid()).then(|| describe(&raw))
}

/// Instructions of `code`, which begins at `start`, that ran one after the other right before `end`: there is no way into the middle of them.
pub fn straight_line(code: &[u8], start: Avma, end: Avma) -> Vec<Instruction> {
    let all: Vec<Raw> = Decoder::with_ip(64, code, start.0, DecoderOptions::NONE).into_iter().collect();
    let Ok(position) = all.binary_search_by_key(&end.0, Raw::ip) else { return Vec::new() };
    let targets: std::collections::BTreeSet<u64> =
        all.iter().filter(|raw| raw.op0_kind() == OpKind::NearBranch64).map(Raw::near_branch64).collect();
    // Somebody may have jumped to `end` itself: then nothing is known of what ran before.
    let mut first = position;
    while first > 0 && !targets.contains(&all[first].ip()) {
        let before = &all[first - 1];
        let goes_on = !matches!(
            before.flow_control(),
            FlowControl::UnconditionalBranch
                | FlowControl::IndirectBranch
                | FlowControl::Return
                | FlowControl::Exception
        );
        if before.is_invalid() || !goes_on {
            break;
        }
        first -= 1;
    }
    all[first..position].iter().map(describe).collect()
}

fn describe(raw: &Raw) -> Instruction {
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(raw);
    let alignment = |size: u32| if needs_alignment(raw, size) { size } else { 1 };
    let accesses: Vec<MemoryAccess> = info
        .used_memory()
        .iter()
        .filter_map(access)
        .map(|it| MemoryAccess { alignment: alignment(it.size), ..it })
        .collect();
    let mut sets: Vec<u16> = info
        .used_registers()
        .iter()
        .filter(|used| is_write(used.access()))
        .filter_map(|used| general(used.register()))
        .collect();
    sets.sort_unstable();
    sets.dedup();
    Instruction {
        address: Avma(raw.ip()),
        length: raw.len(),
        text: text(raw),
        kind: kind(raw, &accesses),
        fills: fills(raw, &accesses),
        accesses,
        sets,
    }
}

fn text(raw: &Raw) -> String {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    options.set_branch_leading_zeros(false);
    options.set_rip_relative_addresses(false);
    let mut text = String::new();
    formatter.format(raw, &mut text);
    text
}

fn access(used: &UsedMemory) -> Option<MemoryAccess> {
    let (reads, writes) = match used.access() {
        OpAccess::Read | OpAccess::CondRead => (true, false),
        OpAccess::Write | OpAccess::CondWrite => (false, true),
        OpAccess::ReadWrite | OpAccess::ReadCondWrite => (true, true),
        OpAccess::None | OpAccess::NoMemAccess => return None,
    };
    let (base, index) = (used.base(), used.index());
    let is_code_relative = matches!(base, Register::RIP | Register::EIP);
    let known = |register: Register| register == Register::None || general(register).is_some();
    let is_thread_local = used.segment() == Register::FS;
    Some(MemoryAccess {
        base: if is_code_relative { None } else { general(base) },
        index: general(index),
        scale: u8::try_from(used.scale()).unwrap_or(1),
        displacement: used.displacement(),
        is_thread_local,
        is_opaque: used.segment() == Register::GS
            || used.address_size() != CodeSize::Code64
            || !(known(base) || is_code_relative)
            || !known(index),
        size: u32::try_from(used.memory_size().size()).unwrap_or(0),
        reads,
        writes,
        alignment: 1,
    })
}

/// Whether the processor refuses addresses of an operand of `size` bytes that are not a multiple of that (Intel SDM volume 1, section 14.9).
fn needs_alignment(raw: &Raw, size: u32) -> bool {
    use Mnemonic as M;
    if matches!(
        raw.mnemonic(),
        M::Movaps
            | M::Movapd
            | M::Movdqa
            | M::Movntps
            | M::Movntpd
            | M::Movntdq
            | M::Movntdqa
            | M::Vmovaps
            | M::Vmovapd
            | M::Vmovdqa
            | M::Vmovdqa32
            | M::Vmovdqa64
            | M::Vmovntps
            | M::Vmovntpd
            | M::Vmovntdq
            | M::Vmovntdqa
            | M::Cmpxchg16b
    ) {
        return true;
    }
    let is_exempt = matches!(
        raw.mnemonic(),
        M::Movups | M::Movupd | M::Movdqu | M::Lddqu | M::Pcmpestri | M::Pcmpestrm | M::Pcmpistri | M::Pcmpistrm
    );
    let uses_vectors = (0..raw.op_count()).any(|operand| raw.op_register(operand).is_xmm());
    raw.encoding() == EncodingKind::Legacy && size == 16 && uses_vectors && !is_exempt
}

fn kind(raw: &Raw, accesses: &[MemoryAccess]) -> InstructionKind {
    match raw.mnemonic() {
        Mnemonic::Div | Mnemonic::Idiv => return divide(raw, accesses),
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => return InstructionKind::Undefined,
        Mnemonic::Int3 => return InstructionKind::Breakpoint,
        Mnemonic::Syscall | Mnemonic::Sysenter => return InstructionKind::SystemCall,
        _ if raw.is_privileged() => return InstructionKind::Privileged,
        _ => {}
    }
    match raw.flow_control() {
        FlowControl::Call | FlowControl::IndirectCall => InstructionKind::Call(target(raw, accesses)),
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => InstructionKind::Jump(target(raw, accesses)),
        FlowControl::ConditionalBranch => InstructionKind::Branch(target(raw, accesses)),
        FlowControl::Return => InstructionKind::Return,
        _ => InstructionKind::Other,
    }
}

fn target(raw: &Raw, accesses: &[MemoryAccess]) -> Target {
    match raw.op0_kind() {
        OpKind::NearBranch64 => Target::Direct(Avma(raw.near_branch64())),
        OpKind::Register => general(raw.op0_register()).map_or(Target::Unknown, Target::Register),
        OpKind::Memory => explicit(raw, accesses).map_or(Target::Unknown, Target::Memory),
        _ => Target::Unknown,
    }
}

fn divide(raw: &Raw, accesses: &[MemoryAccess]) -> InstructionKind {
    let register = raw.op0_register();
    let divisor = match (raw.op0_kind(), general(register), explicit(raw, accesses)) {
        (OpKind::Register, Some(number), _) => Operand::Register {
            number,
            first_byte: u8::from(first_byte(register) != 0),
            bytes: u8::try_from(register.size()).unwrap_or(8),
        },
        (_, _, Some(access)) => Operand::Memory(access),
        _ => return InstructionKind::Other,
    };
    InstructionKind::Divide(Divide { divisor, is_signed: raw.mnemonic() == Mnemonic::Idiv, dividend: DIVIDEND })
}

/// The access that the instruction's own memory operand makes.
fn explicit(raw: &Raw, accesses: &[MemoryAccess]) -> Option<MemoryAccess> {
    let base = if raw.is_ip_rel_memory_operand() { None } else { general(raw.memory_base()) };
    let displacement = raw.memory_displacement64();
    accesses
        .iter()
        .find(|access| {
            (access.base, access.index, access.displacement) == (base, general(raw.memory_index()), displacement)
        })
        .copied()
}

fn fills(raw: &Raw, accesses: &[MemoryAccess]) -> Option<(u16, Origin)> {
    let is_register = raw.op_count() >= 2 && raw.op0_kind() == OpKind::Register;
    let to = general(raw.op0_register()).filter(|_| is_register)?;
    let is_whole = raw.op0_register().size() == 8;
    match (raw.mnemonic(), raw.op1_kind()) {
        (Mnemonic::Mov | Mnemonic::Movsxd | Mnemonic::Movsx | Mnemonic::Movzx, OpKind::Memory) => {
            Some((to, Origin::Load(explicit(raw, accesses)?)))
        }
        (Mnemonic::Mov, OpKind::Register) if raw.op0_register().size() >= 4 => {
            Some((to, Origin::Copy(general(raw.op1_register())?)))
        }
        (Mnemonic::Lea, OpKind::Memory) if is_whole && raw.memory_index() == Register::None => {
            let from = general(raw.memory_base())?;
            Some((to, Origin::Offset { from, by: raw.memory_displacement64() }))
        }
        (Mnemonic::Add, OpKind::Register) if is_whole => Some((to, Origin::Sum(to, general(raw.op1_register())?))),
        (Mnemonic::Add, kind) if is_whole && is_immediate(kind) => {
            Some((to, Origin::Offset { from: to, by: raw.immediate(1) }))
        }
        (Mnemonic::Sub, kind) if is_whole && is_immediate(kind) => {
            Some((to, Origin::Offset { from: to, by: raw.immediate(1).wrapping_neg() }))
        }
        _ => None,
    }
}

fn is_immediate(kind: OpKind) -> bool {
    matches!(kind, OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Avma = Avma(0x40_1000);

    fn decoded(bytes: &[u8]) -> Instruction {
        decode(bytes, AT).unwrap()
    }

    fn address(bytes: &[u8], registers: &[(u16, u64)]) -> Option<Avma> {
        let of = |number| registers.iter().find(|(known, _)| *known == number).map(|(_, value)| *value);
        decoded(bytes).accesses[0].address(of, 0x7000)
    }

    /// Guards against an address that is computed from the wrong parts.
    #[test]
    fn effective_addresses_are_those_of_the_processor() {
        // mov dword ptr [rax+0x18], 1
        assert_eq!(address(&[0xc7, 0x40, 0x18, 1, 0, 0, 0], &[(0, 0x1000)]), Some(Avma(0x1018)));
        // mov rcx, [rbx+rsi*8-8]
        assert_eq!(address(&[0x48, 0x8b, 0x4c, 0xf3, 0xf8], &[(3, 0x1000), (4, 2)]), Some(Avma(0x1008)));
        // mov eax, [rip+0x10]: behind the 6 bytes of the instruction
        assert_eq!(address(&[0x8b, 0x05, 0x10, 0, 0, 0], &[]), Some(Avma(0x40_1016)));
        // mov rax, fs:[0x28]
        assert_eq!(address(&[0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0], &[]), Some(Avma(0x7028)));
        // push rbp
        assert_eq!(address(&[0x55], &[(7, 0x2000)]), Some(Avma(0x1ff8)));
        // A register that is not known.
        assert_eq!(address(&[0xc7, 0x40, 0x18, 1, 0, 0, 0], &[]), None);
    }

    /// Guards against a read that is told as a write, and against sizes of registers for those of memory.
    #[test]
    fn accesses_have_a_direction_and_a_size() {
        let of = |bytes: &[u8]| {
            let access = decoded(bytes).accesses[0];
            (access.reads, access.writes, access.size, access.alignment)
        };
        assert_eq!(of(&[0xc6, 0x00, 1]), (false, true, 1, 1)); // mov byte ptr [rax], 1
        assert_eq!(of(&[0x83, 0x00, 1]), (true, true, 4, 1)); // add dword ptr [rax], 1
        assert_eq!(of(&[0x0f, 0xb6, 0x00]), (true, false, 1, 1)); // movzx eax, byte ptr [rax]
        assert_eq!(of(&[0x0f, 0x29, 0x07]), (false, true, 16, 16)); // movaps [rdi], xmm0
        assert_eq!(of(&[0x0f, 0x11, 0x07]), (false, true, 16, 1)); // movups [rdi], xmm0
        assert_eq!(of(&[0x66, 0x0f, 0xef, 0x07]), (true, false, 16, 16)); // pxor xmm0, [rdi]
        assert_eq!(of(&[0xc5, 0xf9, 0xef, 0x07]), (true, false, 16, 1)); // vpxor xmm0, xmm0, [rdi]
        assert_eq!(decoded(&[0x48, 0x8d, 0x40, 8]).accesses, []); // lea rax, [rax+8]
    }

    /// Guards against a division by the wrong number, and a call through the wrong pointer.
    #[test]
    fn kinds_name_their_operands() {
        let by_ecx = Operand::Register { number: 2, first_byte: 0, bytes: 4 };
        let divide = |divisor, is_signed| InstructionKind::Divide(Divide { divisor, is_signed, dividend: [0, 1] });
        assert_eq!(decoded(&[0xf7, 0xf9]).kind, divide(by_ecx.clone(), true));
        assert_eq!(decoded(&[0xf7, 0xf1]).kind, divide(by_ecx, false));
        let InstructionKind::Divide(Divide { divisor: Operand::Memory(access), .. }) =
            decoded(&[0xf7, 0x7d, 0xfc]).kind
        else {
            panic!("idiv dword ptr [rbp-4]")
        };
        assert_eq!((access.base, access.displacement, access.size), (Some(6), 4u64.wrapping_neg(), 4));

        assert_eq!(decoded(&[0xff, 0xd2]).kind, InstructionKind::Call(Target::Register(1)));
        assert_eq!(decoded(&[0xe8, 0, 0, 0, 0]).kind, InstructionKind::Call(Target::Direct(Avma(0x40_1005))));
        let InstructionKind::Call(Target::Memory(access)) = decoded(&[0xff, 0x50, 0x10]).kind else {
            panic!("call [rax+0x10]")
        };
        assert_eq!((access.base, access.displacement), (Some(0), 0x10));
        assert_eq!(decoded(&[0x0f, 0x0b]).kind, InstructionKind::Undefined);
        assert_eq!(decoded(&[0xcc]).kind, InstructionKind::Breakpoint);
        assert_eq!(decoded(&[0xf4]).kind, InstructionKind::Privileged);
        assert_eq!(decoded(&[0x0f, 0x05]).kind, InstructionKind::SystemCall);
        assert_eq!(decoded(&[0xc7, 0x40, 0x18, 1, 0, 0, 0]).text, "mov dword ptr [rax+0x18], 1");
    }

    /// Guards against a chain that leads back through code that did not run.
    #[test]
    fn only_what_certainly_ran_before_is_looked_at() {
        // 0: test eax, eax; 2: je 6; 4: mov ecx, eax; 6: mov rax, [rbp-8]; a: mov rax, [rax+0x10]; e: mov [rax], eax
        let code = [0x85, 0xc0, 0x74, 0x02, 0x89, 0xc1, 0x48, 0x8b, 0x45, 0xf8, 0x48, 0x8b, 0x40, 0x10, 0x89, 0x00];
        let before = straight_line(&code, AT, Avma(AT.0 + 0xe));

        assert_eq!(before.iter().map(|it| it.address.0 - AT.0).collect::<Vec<_>>(), [6, 10]);
        let Some((0, Origin::Load(access))) = before[1].fills else { panic!("a load into rax") };
        assert_eq!((access.base, access.displacement), (Some(0), 0x10));
        assert_eq!(before[1].sets, [0]);
        // In the middle of an instruction.
        assert_eq!(straight_line(&code, AT, Avma(AT.0 + 7)), []);
    }

    /// Guards against a panic on bytes that are no code.
    #[test]
    fn any_bytes_are_decoded_or_refused() {
        let mut number = 7_u64;
        let mut random = || {
            number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (number >> 56) as u8
        };
        for _ in 0..2_000 {
            let bytes: Vec<u8> = (0..24).map(|_| random()).collect();
            let _ = decode(&bytes, Avma(u64::MAX - 8));
            let _ = straight_line(&bytes, AT, Avma(AT.0 + 9));
        }
        assert_eq!(decode(&[], AT), None);
        assert_eq!(decode(&[0x0f], AT), None);
    }
}
