//! Where in a function its indirect jumps may lead.
//!
//! A `switch` reads a table of offsets that lies with the constants, a computed `goto` addresses of labels; the code names the place
//! of either. So all that it names is read as a table for as long as the entries lead into the function. That may be too much, where
//! tables follow each other, and is never too little.

use std::collections::BTreeSet;

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use crate::address::Svma;
use crate::arch::code::Code;
use crate::binary::Binary;

/// Bytes of a table at the most.
const MAX_TABLE_BYTES: usize = 1 << 16;

/// The indirect jumps of a function, without those that certainly leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Indirect {
    /// There is none.
    None,
    /// They read tables of offsets.
    Switch,
    /// They may lead anywhere.
    Any,
}

/// The addresses that an instruction names, and numbers that may be some.
pub fn references(instruction: &Instruction) -> impl Iterator<Item = u64> {
    let has_memory = (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory);
    let is_fixed = matches!(instruction.memory_base(), Register::RIP | Register::None);
    let memory = (has_memory && is_fixed).then(|| instruction.memory_displacement64());
    let number = (instruction.mnemonic() == Mnemonic::Mov).then(|| instruction.try_immediate(1).ok()).flatten();
    memory.into_iter().chain(number)
}

/// Where the indirect jumps lead in `code`, whose instructions name these addresses; `None` where that is not all.
pub fn of_indirect_jumps(code: &Code<'_>, references: &BTreeSet<u64>, jumps: Indirect) -> Option<BTreeSet<u64>> {
    let mut targets = BTreeSet::new();
    if jumps == Indirect::None {
        return Some(targets);
    }
    let file = code.file()?;
    for &address in references {
        if code.contains(Svma(address)) {
            // A label of a computed `goto`. Where there is none, it is the function itself, handed to another one.
            if jumps == Indirect::Any {
                targets.insert(address);
            }
        } else if jumps == Indirect::Any && is_variable(file, Svma(address)) {
            // The loader fills tables of addresses in position-independent programs: the file does not say with what.
            return None;
        } else if !file.is_code(Svma(address)) {
            targets.extend(in_table(code, address, file.constant_at(Svma(address), MAX_TABLE_BYTES)));
        }
    }
    (jumps == Indirect::Any || !targets.is_empty()).then_some(targets)
}

fn is_variable(file: &Binary, address: Svma) -> bool {
    file.segments()
        .iter()
        .filter(|segment| segment.is_writable)
        .any(|segment| address.0.checked_sub(segment.start.0).is_some_and(|distance| distance < segment.memory_size))
}

/// The entries of a table, of offsets from its start or of addresses.
fn in_table(code: &Code<'_>, start: u64, table: &[u8]) -> Vec<u64> {
    let is_target = |target: &u64| code.contains(Svma(*target));
    let offsets = table.as_chunks().0.iter().map(|entry| start.wrapping_add_signed(i32::from_le_bytes(*entry).into()));
    let addresses = table.as_chunks().0.iter().map(|entry| u64::from_le_bytes(*entry));
    offsets.take_while(is_target).chain(addresses.take_while(is_target)).collect()
}
