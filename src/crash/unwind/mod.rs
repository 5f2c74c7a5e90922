//! One thread's registers and stack in; its frames out, the innermost first.
//!
//! ```text
//!                      call frame information         table::caller     -> Cfi, or Signal behind a signal handler
//! registers, memory -> none at this instruction       guess::caller     -> ReturnAddress, FramePointer, Scan
//!                      the stack was cut in between   beyond::outermost -> Scan, then Cfi
//! ```
//!
//! Nothing is taken for a frame that does not lie in code; where that ends the walk, [`End`] says why.

mod beyond;
mod end;
mod guess;
mod registers;
mod table;

use std::collections::HashSet;

pub use end::End;
pub use registers::Registers;

use super::code::Code;
use super::memory::Memory;
use crate::address::Avma;

/// Frames that are walked at the most: recursion fills 1 MiB of stack with fewer.
const MAX_FRAMES: usize = 1 << 16;

/// What a thread left behind.
#[derive(Clone, Copy)]
pub struct Stack<'a> {
    /// Its registers.
    pub registers: &'a Registers,
    /// The memory of its process.
    pub memory: &'a Memory,
    /// Where its stack ends: what lies right below is captured even if something before is not. `None` where that is not known.
    pub end: Option<Avma>,
}

/// The frames of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backtrace {
    /// Frames, the innermost first.
    pub frames: Vec<RawFrame>,
    /// Why there are no more.
    pub end: End,
    /// The outermost frames, if the walk did not get there.
    pub beyond: Option<Beyond>,
}

/// Frames behind a part of the stack that was not captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// The bytes of the stack in between.
    pub missing_bytes: u64,
    /// Frames, the innermost first.
    pub frames: Vec<RawFrame>,
    /// Why there are no more.
    pub end: End,
}

/// A frame without names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// The instruction that was to run next in it.
    pub pc: Avma,
    /// It is a return address: what is being executed is the call before it.
    pub is_return_address: bool,
    /// The stack pointer before the call that made the frame pushed its return address; `None` where the walk ended before it was known.
    pub cfa: Option<Avma>,
    /// The registers as they were in it, as far as they are known.
    pub registers: Registers,
    /// How it was found.
    pub found_by: FoundBy,
    /// It is the kernel's: a signal handler returns to it.
    pub is_signal_frame: bool,
}

/// How a frame was found, from the surest to the least sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// The thread's own program counter.
    InstructionPointer,
    /// Call frame information of the frame that it called.
    Cfi,
    /// The registers that the kernel saved when a signal interrupted it.
    Signal,
    /// The word at the top of the stack, where a call had just put it.
    ReturnAddress,
    /// The chain of frame pointers.
    FramePointer,
    /// A word on the stack that looks like a return address.
    Scan,
}

/// What one step of the walk found.
struct Caller {
    cfa: Avma,
    registers: Registers,
    found_by: FoundBy,
    /// The frame that was stepped out of is the kernel's.
    left_signal_frame: bool,
}

/// Why one step of the walk found nothing, and the frame's own CFA if that is known all the same.
struct Stop {
    cfa: Option<Avma>,
    end: End,
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self { cfa: None, end }
    }
}

impl RawFrame {
    /// The address to look up: for a return address, one within the call.
    #[must_use]
    pub fn lookup_address(&self) -> Avma {
        Avma(self.pc.0.wrapping_sub(u64::from(self.is_return_address)))
    }
}

/// Walks a thread's stack.
#[must_use]
pub fn unwind(stack: Stack<'_>, code: &Code<'_>) -> Backtrace {
    let walk = Walk { stack, code };
    let Some(pc) = stack.registers.program_counter(code.arch) else {
        return Backtrace { frames: Vec::new(), end: End::NoRegisters, beyond: None };
    };
    let first = RawFrame {
        pc,
        is_return_address: false,
        cfa: None,
        registers: stack.registers.clone(),
        found_by: FoundBy::InstructionPointer,
        is_signal_frame: false,
    };
    let (frames, end) = walk.follow(first, MAX_FRAMES);
    let beyond = walk.outermost(&frames, &end);
    Backtrace { frames, end, beyond }
}

/// A thread's stack, and the code that made it.
struct Walk<'w, 'm> {
    stack: Stack<'w>,
    code: &'w Code<'m>,
}

impl Walk<'_, '_> {
    /// Goes from `first` outwards, at most `limit` frames.
    fn follow(&self, first: RawFrame, limit: usize) -> (Vec<RawFrame>, End) {
        let mut frames = Vec::new();
        let mut frame = first;
        // Stack pointers of the kernel's frames that were left.
        let mut signals = HashSet::new();
        while frames.len() < limit {
            let next = self.step(&mut frame, &mut signals);
            frames.push(frame);
            frame = match next {
                Ok(next) => next,
                Err(end) => return (frames, end),
            };
        }
        (frames, End::TooMany)
    }

    /// The caller of `frame`, which learns its CFA.
    fn step(&self, frame: &mut RawFrame, signals: &mut HashSet<Option<Avma>>) -> Result<RawFrame, End> {
        let caller = self.caller(frame).map_err(|stop| {
            frame.cfa = stop.cfa;
            stop.end
        })?;
        frame.cfa = Some(caller.cfa);
        frame.is_signal_frame = caller.left_signal_frame;
        match caller.left_signal_frame {
            // A signal may have interrupted code on another stack: only there may the walk lead down, and only once.
            true if !signals.insert(frame.registers.stack_pointer(self.code.arch)) => return Err(End::Loop),
            true => {}
            false => self.check(frame, &caller)?,
        }
        Ok(RawFrame {
            pc: caller.registers.program_counter(self.code.arch).ok_or(End::NoRegisters)?,
            is_return_address: !caller.left_signal_frame,
            cfa: None,
            found_by: caller.found_by,
            registers: caller.registers,
            is_signal_frame: false,
        })
    }

    fn caller(&self, frame: &RawFrame) -> Result<Caller, Stop> {
        match self.code.unwind_row_at(frame.lookup_address()) {
            Some(row) => self.caller_by_table(frame, &row),
            None => self.caller_by_guess(frame),
        }
    }

    /// Whether what was found can be the caller.
    fn check(&self, frame: &RawFrame, caller: &Caller) -> Result<(), End> {
        let arch = self.code.arch;
        let (below, above) = (frame.registers.stack_pointer(arch), caller.registers.stack_pointer(arch));
        // The innermost function may not have pushed anything where a call pushes nothing.
        let may_stay = frame.found_by == FoundBy::InstructionPointer && arch.entry_cfa_offset() == 0;
        if below.is_some_and(|below| above.is_none_or(|above| above < below || (above == below && !may_stay))) {
            return Err(End::Loop);
        }
        match caller.registers.program_counter(arch) {
            Some(pc) if !self.code.is_code(pc) => Err(End::NoCode { return_address: pc }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
pub(in crate::crash) mod tests;
