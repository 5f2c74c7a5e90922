//! The end of a process and its faults that went to handlers in; which of them it died of out.
//!
//! A thread that is still in the handler of a fault has the kernel's signal frame on its stack, with the program counter and the stack
//! pointer of that very fault in it. A handler that was left, by `siglongjmp` or by its return, has not.

use lastwords_abi::Fault;
use lastwords_abi::record::{SIGNAL_BITS, ThreadState};
use nix::libc;

use super::code::Code;
use super::memory::Memory;
use super::signal::signal_name;
use super::unwind::{self, Backtrace, End, FoundBy};
use super::{ThreadHistory, explain, frames};
use crate::address::Avma;
use crate::arch;
use crate::probe::MemoryRange;
use crate::report::{self, Address, EndedBy, EndedWhen, Handler};

/// A handled fault that the process died of.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The fault.
    pub fault: Fault,
    /// How far its handler had come.
    pub when: EndedWhen,
    /// The stack did not tell.
    pub inferred: bool,
    /// Where its thread stood at the end, if that was seen.
    pub end: Option<ThreadState>,
}

/// What is known of the end of a process.
pub struct Ending<'a> {
    /// As `wait(2)` reports it.
    pub exit_code: u32,
    /// What was delivered, or [`Fault::ZERO`].
    pub last: &'a Fault,
    /// The state of each thread at its end, by kernel-global id.
    pub threads: &'a [(u32, ThreadState)],
    /// Memory as it was at the end.
    pub memory: &'a Memory,
    /// The code of the process, where it is known.
    pub code: Option<&'a Code<'a>>,
}

impl Ending<'_> {
    /// The first of the handled faults that the process died of.
    #[must_use]
    pub fn chain(&self, handled: &[Fault]) -> Option<Chain> {
        if self.exit_code == 0 {
            return None;
        }
        handled.iter().find_map(|fault| self.died_of(fault))
    }

    fn died_of(&self, fault: &Fault) -> Option<Chain> {
        let chain = |when, inferred, end| Some(Chain { fault: *fault, when, inferred, end });
        let end = self.state_of(fault);
        if let Some(state) = end
            && self.last.signal != 0
            && self.last.tid == fault.tid
            && self.is_same_place(&fault.thread, state)
        {
            return chain(EndedWhen::AfterHandler, false, end.copied());
        }
        let walked = end.and_then(|state| self.backtrace(state));
        match walked.map(|backtrace| self.is_on_stack(fault, &backtrace)) {
            Some(Some(true)) => chain(EndedWhen::InHandler, false, end.copied()),
            Some(Some(false)) => None,
            Some(None) | None if looks_inside(fault) => chain(EndedWhen::InHandler, true, end.copied()),
            Some(None) | None => None,
        }
    }

    /// The state of a fault's thread after it.
    fn state_of(&self, fault: &Fault) -> Option<&ThreadState> {
        if self.last.tid == fault.tid && self.last.at_ns > fault.at_ns {
            return Some(&self.last.thread);
        }
        // What a thread's slot holds is from the fault itself until its end overwrites it.
        let state = self.threads.iter().find(|(tid, _)| *tid == fault.tid).map(|(_, state)| state);
        state.filter(|state| state.at_ns > fault.thread.at_ns)
    }

    /// Frames of a thread at the end; `None` where nothing of its stack is known.
    fn backtrace(&self, state: &ThreadState) -> Option<Backtrace> {
        let code = self.code?;
        let registers = unwind::Registers::from_words(&state.registers, code.arch);
        self.memory.word(registers.stack_pointer(code.arch)?).ok()?;
        Some(unwind::unwind(unwind::Stack { registers: &registers, memory: self.memory, end: None }, code))
    }

    /// Whether the frame that the kernel made for the fault is on this stack; `None` if the stack could not be walked far enough.
    fn is_on_stack(&self, fault: &Fault, backtrace: &Backtrace) -> Option<bool> {
        let arch = self.code?.arch;
        let interrupted = unwind::Registers::from_words(&fault.thread.registers, arch);
        let is_found = backtrace.frames.iter().any(|frame| {
            frame.found_by == FoundBy::Signal
                && Some(frame.pc) == interrupted.program_counter(arch)
                && frame.registers.stack_pointer(arch) == interrupted.stack_pointer(arch)
        });
        match backtrace.end {
            _ if is_found => Some(true),
            End::Outermost => Some(false),
            _ => None,
        }
    }

    /// Whether the thread is about to execute the instruction that faulted, in the same frame.
    fn is_same_place(&self, before: &ThreadState, after: &ThreadState) -> bool {
        let Some(code) = self.code else { return before.registers == after.registers };
        let [before, after] = [before, after].map(|state| unwind::Registers::from_words(&state.registers, code.arch));
        before == after
    }

    /// The frames at the end of the thread of this chain, as a report has them.
    #[must_use]
    pub fn frames(&self, chain: &Chain) -> Vec<report::Frame> {
        let Some((code, backtrace)) = self.code.zip(chain.end.as_ref().and_then(|state| self.backtrace(state))) else {
            return Vec::new();
        };
        frames::report(&frames::place(&backtrace, code), code, &[], &crate::plan::Plan::default())
    }

    /// The report's part about the end.
    #[must_use]
    pub fn ended_by(&self, chain: &Chain, pid: u32, started_ns: u64) -> EndedBy {
        let killed_by = (self.exit_code & SIGNAL_BITS).cast_signed();
        let last =
            (self.last.signal == killed_by && killed_by != 0).then(|| explain::by_signal(self.last, pid, started_ns));
        let seen = self.last.at_ns.max(chain.end.map_or(0, |state| state.at_ns));
        EndedBy {
            signal: (killed_by != 0).then(|| signal_name(killed_by)),
            signal_number: (killed_by != 0).then_some(killed_by),
            status: (killed_by == 0).then_some((self.exit_code >> 8 & 0xff).cast_signed()),
            address: last.as_ref().and_then(|last| last.address),
            thread: last.as_ref().map(|last| last.thread),
            sender: last.and_then(|last| last.sender),
            when: chain.when,
            inferred: chain.inferred,
            at_ns: (seen != 0).then(|| seen.saturating_sub(started_ns)),
            frames: self.frames(chain),
        }
    }
}

/// Whether what the kernel knew at the end of the thread suggests that it was in the handler: the handler's own signal is blocked, and the
/// stack pointer is on the alternate stack or below what was interrupted.
fn looks_inside(fault: &Fault) -> bool {
    let is_blocked =
        u32::try_from(fault.signal - 1).is_ok_and(|bit| fault.end_blocked.checked_shr(bit).unwrap_or(0) & 1 == 1);
    let on_alt_stack = fault.end_stack_pointer.wrapping_sub(fault.alt_stack) < fault.alt_stack_bytes;
    let interrupted = unwind::Registers::from_words(&fault.thread.registers, arch::host()).stack_pointer(arch::host());
    let is_below =
        fault.end_stack_pointer != 0 && interrupted.is_some_and(|interrupted| fault.end_stack_pointer < interrupted.0);
    // A handler that does not block its own signal leaves only the alternate stack as a witness.
    let no_defer = fault.handler_flags & u64::from(libc::SA_NODEFER.cast_unsigned()) != 0;
    if no_defer { on_alt_stack } else { is_blocked && (on_alt_stack || is_below) }
}

/// The memory of a dead process as it was at the end; or at a handled fault, with what the end had left of the rest.
#[must_use]
pub fn memory_at(ranges: &[MemoryRange], fault: Option<&Fault>) -> Memory {
    let of_fault =
        |range: &&MemoryRange| fault.is_some_and(|fault| range.moment_ns == fault.at_ns && range.tid == fault.tid);
    let at_end = |range: &&MemoryRange| range.moment_ns == 0;
    let mut memory = Memory::default();
    for range in ranges.iter().filter(of_fault).chain(ranges.iter().filter(at_end)) {
        if range.is_return_address {
            memory.insert_return_address(range.address, &range.bytes);
        } else {
            memory.insert(range.address, &range.bytes);
            let end = range.address.0.saturating_add(range.unreadable_bytes);
            memory.mark_unreadable(range.address..Avma(end));
        }
    }
    memory
}

/// Takes away what came after a fault that was survived. False for the threads of which nothing was kept then: all others.
pub fn go_back_to(fault: &Fault, thread: &mut ThreadHistory) -> bool {
    let calls = fault.calls.saturating_sub(thread.header.first);
    thread.header.calls = thread.header.calls.min(calls);
    thread.calls.retain(|call| call.record.sequence < calls);
    thread.header.tid == fault.tid
}

/// The report's part about the handler; `None` for the default action.
#[must_use]
pub fn handler(fault: &Fault, code: Option<&Code<'_>>) -> Option<Handler> {
    const NAMES: [(i32, &str); 6] = [
        (libc::SA_SIGINFO, "SA_SIGINFO"),
        (libc::SA_ONSTACK, "SA_ONSTACK"),
        (libc::SA_RESTART, "SA_RESTART"),
        (libc::SA_NODEFER, "SA_NODEFER"),
        (libc::SA_RESETHAND, "SA_RESETHAND"),
        (libc::SA_NOCLDSTOP, "SA_NOCLDSTOP"),
    ];
    let is_set = |flag: i32| fault.handler_flags & u64::from(flag.cast_unsigned()) != 0;
    (fault.handler != 0).then(|| Handler {
        address: Address(fault.handler),
        function: code.and_then(|code| code.functions_at(Avma(fault.handler)).last()?.name.clone()),
        flags: NAMES.iter().filter(|(flag, _)| is_set(*flag)).map(|(_, name)| (*name).to_owned()).collect(),
        repeated: fault.repeated.into(),
        memory_is_of_fault: fault.has_memory == 1,
    })
}
