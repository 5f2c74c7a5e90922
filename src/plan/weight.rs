//! How much a function's probes cost, and how much its calls tell: which functions to do without where all of them cost too much.

use super::{EntrySite, Exits};
use crate::address::{Avma, Svma};
use crate::arch::Architecture;
use crate::arch::code::{Code, CodeRange};
use crate::arch::instruction::{Instruction, InstructionKind, Target};

/// What a probe costs on an instruction that the kernel emulates, the recorder's own part included (docs/design-notes.md). Nanoseconds.
const EMULATED_NS: u32 = 1_000;
/// What it costs on any other one, which the kernel executes out of line.
const STEPPED_NS: u32 = 14_000;
/// What the kernel's return trampoline costs.
const TRAMPOLINE_NS: u32 = 600;
/// A function whose code is no longer than this, and calls nothing, is minor.
const MINOR_CODE_BYTES: usize = 32;
/// Names, or beginnings of them, of functions that mostly hand out a member or compare two.
const MINOR_NAMES: [&str; 2] = ["operator", "get_"];

/// What to judge a function by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Expected cost of a call, entry and return together, in nanoseconds.
    pub cost_ns: u32,
    /// A tiny leaf function, an accessor or an operator: where two functions cost the same, this one is dropped first.
    pub is_minor: bool,
}

impl Default for Weight {
    fn default() -> Self {
        Self { cost_ns: EMULATED_NS + TRAMPOLINE_NS, is_minor: false }
    }
}

/// The weight of the function with this name and code, whose probes stand there.
#[must_use]
pub fn weight(name: &str, code: &Code<'_>, entry: &EntrySite, exits: &Exits, arch: &dyn Architecture) -> Weight {
    Weight { cost_ns: cost_ns(code, entry, exits, arch), is_minor: is_minor(name, code, arch) }
}

/// What a call costs. Until what is cheap has been measured on the running kernel, it is what all kernels since 5.12 emulate.
fn cost_ns(code: &Code<'_>, entry: &EntrySite, exits: &Exits, arch: &dyn Architecture) -> u32 {
    let at_entry = match instruction_at(code, entry.address, arch) {
        Some(instruction) if is_emulated(&instruction) => EMULATED_NS,
        _ => STEPPED_NS,
    };
    let at_exit = match exits {
        Exits::Trampoline => TRAMPOLINE_NS,
        Exits::Instructions(exits) if exits.iter().all(|exit| exit.tail_jump) => EMULATED_NS,
        Exits::Instructions(_) => STEPPED_NS,
        Exits::Unseen(_) => 0,
    };
    at_entry + at_exit
}

/// Whether the kernel has a function that does the same (`branch_setup_xol_ops` and `push_setup_xol_ops` in arch/x86/kernel/uprobes.c).
fn is_emulated(instruction: &Instruction) -> bool {
    match instruction.kind {
        InstructionKind::Call(Target::Direct(_))
        | InstructionKind::Jump(Target::Direct(_))
        | InstructionKind::Branch(_) => true,
        InstructionKind::Other => {
            instruction.text.starts_with("nop") || (instruction.text.starts_with("push ") && instruction.length <= 2)
        }
        _ => false,
    }
}

/// Whether its calls tell little. That it is called in loops is not known beforehand.
fn is_minor(name: &str, code: &Code<'_>, arch: &dyn Architecture) -> bool {
    let name = name.rsplit("::").next().unwrap_or(name);
    MINOR_NAMES.iter().any(|start| name.starts_with(start)) || is_tiny_leaf(code, arch)
}

fn is_tiny_leaf(code: &Code<'_>, arch: &dyn Architecture) -> bool {
    let [range] = code.ranges() else { return false };
    let end = range.address.0.saturating_add(range.bytes.len() as u64);
    if range.bytes.len() > MINOR_CODE_BYTES {
        return false;
    }
    let mut at = range.address;
    while at.0 < end {
        let Some(instruction) = instruction_at(code, at, arch) else { return false };
        if matches!(instruction.kind, InstructionKind::Call(_)) {
            return false;
        }
        at = Svma(at.0.saturating_add(instruction.length.max(1) as u64));
    }
    true
}

fn instruction_at(code: &Code<'_>, address: Svma, arch: &dyn Architecture) -> Option<Instruction> {
    let of_range = |range: &CodeRange<'_>| {
        let distance = usize::try_from(address.0.checked_sub(range.address.0)?).ok()?;
        arch.decode(range.bytes.get(distance..)?, Avma(address.0))
    };
    code.ranges().iter().find_map(of_range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::FileOffset;
    use crate::arch;
    use crate::plan::ExitSite;

    fn weigh(name: &str, bytes: &[u8], exits: &Exits) -> Weight {
        let address = Svma(0x1000);
        let range = address..Svma(0x1000 + bytes.len() as u64);
        let code = Code::read(&[range], |_| Some((FileOffset(0), bytes))).unwrap();
        let entry = EntrySite { offset: FileOffset(0), address, cfa_offset: 8 };
        weight(name, &code, &entry, exits, arch::host())
    }

    fn cost(bytes: &[u8], exits: &Exits) -> u32 {
        weigh("f", bytes, exits).cost_ns
    }

    /// Guards against a budget that is kept on paper only: a single-stepped instruction costs fourteen times as much as an emulated one.
    #[test]
    fn the_cost_depends_on_the_instructions_that_are_probed() {
        let unseen = Exits::Unseen(String::new());
        let push: &[u8] = &[0x55, 0xc3];
        for emulated in [push, &[0x41, 0x57, 0xc3], &[0x90, 0xc3], &[0xeb, 0x00, 0xc3], &[0xe8, 0, 0, 0, 0, 0xc3]] {
            assert_eq!(cost(emulated, &unseen), EMULATED_NS, "{emulated:x?}");
        }
        // mov, endbr64, a jump through memory, a push of a constant
        let stepped: [&[u8]; 4] = [&[0x89, 0xf8, 0xc3], &[0xf3, 0x0f, 0x1e, 0xfa], &[0xff, 0x27], &[0x68, 1, 0, 0, 0]];
        for stepped in stepped {
            assert_eq!(cost(stepped, &unseen), STEPPED_NS, "{stepped:x?}");
        }
        assert_eq!(cost(push, &Exits::Trampoline), EMULATED_NS + TRAMPOLINE_NS);
        let exits = |tail_jump| Exits::Instructions(vec![ExitSite { offset: FileOffset(1), tail_jump }]);
        assert_eq!(cost(push, &exits(false)), EMULATED_NS + STEPPED_NS);
        assert_eq!(cost(push, &exits(true)), 2 * EMULATED_NS);
    }

    /// Guards against a function that says much and goes first, because it is short or sounds like an accessor.
    #[test]
    fn accessors_operators_and_tiny_leaves_are_minor() {
        let leaf: &[u8] = &[0x8b, 0x07, 0xc3];
        let caller: &[u8] = &[0x50, 0xe8, 0, 0, 0, 0, 0x58, 0xc3];
        let long = [[0x90; 40].as_slice(), &[0xc3]].concat();
        let is_minor = |name, bytes| weigh(name, bytes, &Exits::Trampoline).is_minor;

        assert!(is_minor("work", leaf));
        assert!(!is_minor("work", caller) && !is_minor("work", &long));
        assert!(is_minor("Shape::operator==", &long) && is_minor("shop::get_price", &long));
        assert!(!is_minor("widget", &long) && !is_minor("operators::run", &long));
    }
}
