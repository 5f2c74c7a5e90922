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
        frame.overwritten = frame.cfa.and_then(|cfa| overwritten(Avma(cfa.0), memory, code)).map(Address);
        lost_before = frame.overwritten.is_some();
    }
}

/// What lies in the place of the return address of the frame with this CFA, unless it is the trampoline's address.
fn overwritten(cfa: Avma, memory: &Memory, code: &Code<'_>) -> Option<u64> {
    let place = cfa.0.checked_add_signed(-code.arch.entry_cfa_offset())?;
    let word = memory.in_place_of_return_address(Avma(place))?;
    let is_of_kernel = |module: &Module| module.mapped.path == Path::new(UPROBES);
    let is_trampoline = match code.module_at(Avma(word)) {
        Some((module, _)) => is_of_kernel(module),
        // Nobody has told where the trampoline is.
        None => !code.modules.modules().iter().any(is_of_kernel),
    };
    (!is_trampoline).then_some(word)
}
