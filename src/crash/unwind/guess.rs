//! The caller where no call frame information says how to find it.

use super::{Caller, End, FoundBy, RawFrame, Registers, Stop, Walk};
use crate::address::Avma;

/// Bytes of a word on the stack.
const WORD_BYTES: u64 = 8;
/// Words of the stack that are looked at for a return address.
const MAX_SCANNED_WORDS: u64 = 128;

impl Walk<'_, '_> {
    /// The frame that called `frame`, from the surest way to the least sure.
    pub(super) fn caller_by_guess(&self, frame: &RawFrame) -> Result<Caller, Stop> {
        if let Some(saved) = self.code.arch.signal_return(self.code.bytes_at(frame.pc)) {
            return self.interrupted(frame, saved);
        }
        let sp = frame.registers.stack_pointer(self.code.arch).ok_or(End::NoRegisters)?;
        // Code that has just been called has not touched the stack: a jump through a bad pointer, a leaf, an entry of a PLT.
        if !frame.is_return_address {
            match self.return_address_at(sp) {
                Some(pc) => return Ok(self.caller_above(frame, sp, pc, FoundBy::ReturnAddress)),
                None if !self.code.is_code(frame.pc) => return Err(self.why_wild(sp).into()),
                None => {}
            }
        }
        if let Some(caller) = self.by_frame_pointer(frame, sp) {
            return Ok(caller);
        }
        // psABI, section 3.4.1: the outermost frame has a frame pointer of zero.
        if frame.is_return_address && frame.registers.get(self.code.arch.frame_pointer()) == Some(0) {
            return Err(End::Outermost.into());
        }
        let words = (0..MAX_SCANNED_WORDS).filter_map(|word| Some(Avma(sp.0.checked_add(word * WORD_BYTES)?)));
        let found = words.filter_map(|at| Some((at, self.return_address_at(at)?))).next();
        match found {
            Some((at, pc)) => Ok(self.caller_above(frame, at, pc, FoundBy::Scan)),
            None => Err(self.why_no_table(frame, sp).into()),
        }
    }

    /// The return address at `at`, if there is one.
    pub(super) fn return_address_at(&self, at: Avma) -> Option<Avma> {
        let pc = Avma(self.stack.memory.word(at).ok()?);
        (self.code.is_code(pc) && self.code.follows_call(pc) == Some(true)).then_some(pc)
    }

    /// The caller whose return address is at `slot`. What it kept in registers may still be there.
    fn caller_above(&self, frame: &RawFrame, slot: Avma, pc: Avma, found_by: FoundBy) -> Caller {
        let arch = self.code.arch;
        let cfa = Avma(slot.0.wrapping_add(WORD_BYTES));
        let mut registers = Registers::default();
        for number in Registers::numbers().filter(|number| arch.is_callee_saved(*number)) {
            registers.set(number, frame.registers.get(number));
        }
        registers.set(arch.stack_pointer(), Some(cfa.0));
        registers.set(arch.program_counter(), Some(pc.0));
        Caller { cfa, registers, found_by, left_signal_frame: false }
    }

    /// The caller whose frame pointer and return address lie at the frame pointer (psABI, figure 3.3).
    fn by_frame_pointer(&self, frame: &RawFrame, sp: Avma) -> Option<Caller> {
        let arch = self.code.arch;
        let pointer = frame.registers.get(arch.frame_pointer())?;
        if pointer < sp.0 || pointer % WORD_BYTES != 0 {
            return None;
        }
        let outer = self.stack.memory.word(Avma(pointer)).ok()?;
        let slot = Avma(pointer.checked_add(WORD_BYTES)?);
        let pc = self.return_address_at(slot)?;
        let mut registers = Registers::default();
        registers.set(arch.frame_pointer(), Some(outer));
        registers.set(arch.stack_pointer(), Some(slot.0.checked_add(WORD_BYTES)?));
        registers.set(arch.program_counter(), Some(pc.0));
        Some(Caller {
            cfa: registers.stack_pointer(arch)?,
            registers,
            found_by: FoundBy::FramePointer,
            left_signal_frame: false,
        })
    }

    /// What a signal interrupted, whose handler returns to `frame`.
    fn interrupted(&self, frame: &RawFrame, saved: &[(u16, u64)]) -> Result<Caller, Stop> {
        let sp = frame.registers.stack_pointer(self.code.arch).ok_or(End::NoRegisters)?;
        let mut registers = Registers::default();
        for (number, distance) in saved {
            let word = self.stack.memory.word(Avma(sp.0.wrapping_add(*distance))).map_err(End::Memory)?;
            registers.set(*number, Some(word));
        }
        let cfa = registers.stack_pointer(self.code.arch).ok_or(End::NoRegisters)?;
        Ok(Caller { cfa, registers, found_by: FoundBy::Signal, left_signal_frame: true })
    }

    fn why_wild(&self, sp: Avma) -> End {
        match self.stack.memory.word(sp) {
            Ok(_) => End::Wild,
            Err(unknown) => End::Memory(unknown),
        }
    }

    fn why_no_table(&self, frame: &RawFrame, sp: Avma) -> End {
        match (self.code.problem_at(frame.pc), self.stack.memory.word(sp)) {
            (Some(problem), _) => End::NoFile(problem.clone()),
            (None, Err(unknown)) => End::Memory(unknown),
            (None, Ok(_)) => End::NoTable,
        }
    }
}
