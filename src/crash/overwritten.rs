//! Return addresses that were overwritten, where the kernel had kept them: a return probe puts the address of its trampoline in their
//! places on the stack, and anything else that lies there came from the program.

use std::path::Path;

use super::code::Code;
use super::memory::Memory;
use super::modules::{Module, UPROBES};
use crate::address::Avma;
use crate::report::{Address, FoundBy, Frame, FrameKind};

/// Notes which frames have lost their return address, and how their callers are known all the same.
pub fn mark(frames: &mut [Frame], memory: &Memory, code: &Code<'_>) {
    let mut lost_before = false;
    for frame in frames.iter_mut().filter(|frame| frame.kind != FrameKind::Inlined) {
        if lost_before {
            frame.found_by = FoundBy::ReturnProbe;
        }
        let place = frame.cfa.and_then(|cfa| cfa.0.checked_add_signed(-code.arch.entry_cfa_offset()));
        frame.overwritten = place.and_then(|place| overwritten(Avma(place), memory, code)).map(Address);
        lost_before = frame.overwritten.is_some();
    }
}

/// The word that a return takes from here: what the program has put there, or else what the call had.
#[must_use]
pub fn return_address_at(place: Avma, memory: &Memory, code: &Code<'_>) -> Option<u64> {
    overwritten(place, memory, code).or_else(|| memory.word(place).ok())
}

/// What lies in the place of a return address, unless it is the trampoline's address.
fn overwritten(place: Avma, memory: &Memory, code: &Code<'_>) -> Option<u64> {
    let word = memory.in_place_of_return_address(place)?;
    let is_of_kernel = |module: &Module| module.mapped.path == Path::new(UPROBES);
    let is_trampoline = match code.module_at(Avma(word)) {
        Some((module, _)) => is_of_kernel(module),
        // Nobody has told where the trampoline is.
        None => !code.modules.modules().iter().any(is_of_kernel),
    };
    (!is_trampoline).then_some(word)
}
