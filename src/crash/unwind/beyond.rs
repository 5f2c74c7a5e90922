//! The outermost frames of a stack that is too large to be captured as a whole: the recursion that overflowed it began somewhere.

use super::super::memory::Unknown;
use super::{Beyond, End, FoundBy, RawFrame, Registers, Walk};
use crate::address::Avma;

/// Steps that may be taken to try words as return addresses.
const MAX_STEPS: usize = 1 << 16;
/// Bytes of a word on the stack.
const WORD_BYTES: usize = 8;

impl Walk<'_, '_> {
    /// The frames below the end of the stack, if the walk has ended because the stack was cut.
    ///
    /// Where a frame begins there is not known. Each word that looks like a return address is tried, the lowest first; the first one from
    /// which call frame information leads to the outermost frame is taken.
    pub(super) fn outermost(&self, frames: &[RawFrame], end: &End) -> Option<Beyond> {
        let (End::Memory(Unknown::NotCaptured(cut)), Some(stack_end)) = (end, self.stack.end) else { return None };
        let range = self.stack.memory.range_around(Avma(stack_end.0.checked_sub(1)?))?;
        let last = frames.last()?.registers.stack_pointer(self.code.arch)?;
        if range.start <= *cut || last >= range.start {
            return None;
        }
        let mut steps = MAX_STEPS;
        let slots = (range.start.0.next_multiple_of(WORD_BYTES as u64)..range.end.0).step_by(WORD_BYTES).map(Avma);
        for slot in slots {
            let Some(pc) = self.return_address_at(slot) else { continue };
            let (found, end) = self.follow(self.frame_above(slot, pc), steps);
            let is_sure = found.iter().skip(1).all(|frame| matches!(frame.found_by, FoundBy::Cfi | FoundBy::Signal));
            if end == End::Outermost && is_sure {
                return Some(Beyond { missing_bytes: slot.0.saturating_sub(last.0), frames: found, end });
            }
            steps = steps.saturating_sub(found.len());
            if steps == 0 {
                break;
            }
        }
        None
    }

    /// The frame to which the return address at `slot` leads. What it called has saved its frame pointer right below, if it did so at all.
    fn frame_above(&self, slot: Avma, pc: Avma) -> RawFrame {
        let arch = self.code.arch;
        let mut registers = Registers::default();
        registers.set(arch.program_counter(), Some(pc.0));
        registers.set(arch.stack_pointer(), Some(slot.0.wrapping_add(WORD_BYTES as u64)));
        let saved = self.stack.memory.word(Avma(slot.0.wrapping_sub(WORD_BYTES as u64))).ok();
        registers.set(arch.frame_pointer(), saved.filter(|pointer| *pointer > slot.0));
        RawFrame { pc, is_return_address: true, cfa: None, registers, found_by: FoundBy::Scan, is_signal_frame: false }
    }
}
