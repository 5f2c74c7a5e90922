//! Faults that a handler takes: kept as long as their thread may still die of them, given back when it goes on.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs};
use lastwords_abi::{Counter, Event, Fault, SlotHeader, ThreadState, Watched, record};

use crate::fault::LAST_STAND_IN;
use crate::kernel::read;
use crate::maps::{EMPTY_FAULT, HANDLED, SURVIVED, WATCHED, add, config, count, counted, send};
use crate::memory::{self, Kept};
use crate::registers::Registers;
use crate::slot::Ids;

/// `SA_NODEFER`: the handler's own signal is not blocked while it runs.
const NO_DEFER: u64 = 0x4000_0000;
/// Memory is copied at handled faults once in this time: a program that lives on faults stays fast.
const COPY_INTERVAL_NS: u64 = 10_000_000;

/// Makes room for a fault that a handler takes. False if it happened in the handler of the one that is kept.
#[inline(always)]
pub unsafe fn handled(ids: Ids, watched: *mut Watched, header: *mut SlotHeader, info: u64) -> Option<bool> {
    // SAFETY: entries of the current thread.
    unsafe {
        let Some(kept) = HANDLED.get_ptr_mut(ids.tid) else {
            HANDLED.insert(ids.tid, &EMPTY_FAULT, 0).ok()?;
            add(&raw mut (*watched).handled, 1);
            return Some(true);
        };
        let address = if info > LAST_STAND_IN { read(info, 16).unwrap_or(0) } else { 0 };
        if !header.is_null() {
            if (*kept).address == address && is_same_state(kept, header) {
                // The handler returned and changed nothing; or the program went on and came here again, which looks the same. So the
                // later one is kept: what is told of it is never out of date.
                (*kept).repeated += 1;
                give_back(ids.tid);
                return Some(true);
            }
            if is_in_handler(kept, (*header).death.registers[Registers::STACK_POINTER_WORD], blocked()) {
                return Some(false);
            }
        }
        survived(ids.tid);
        Some(true)
    }
}

/// Whether the thread is where it was at the kept fault, with the same registers and no call in between.
#[inline(always)]
unsafe fn is_same_state(kept: *const Fault, header: *const SlotHeader) -> bool {
    // SAFETY: entries of the current thread, constant indexes.
    unsafe {
        let mut differ = (*kept).calls ^ (*header).calls;
        for word in 0..Registers::GENERAL_WORDS as usize {
            differ |= register(&raw const (*kept).thread, word) ^ register(&raw const (*header).death, word);
        }
        for word in [Registers::PROGRAM_COUNTER_WORD, Registers::STACK_POINTER_WORD] {
            differ |= register(&raw const (*kept).thread, word) ^ register(&raw const (*header).death, word);
        }
        differ == 0
    }
}

#[inline(always)]
unsafe fn register(state: *const ThreadState, word: usize) -> u64 {
    // SAFETY: the caller's struct, an index in bounds.
    unsafe { core::ptr::read_volatile((&raw const (*state).registers).cast::<u64>().add(word)) }
}

/// Whether a thread with this stack pointer and these blocked signals runs in the handler of the kept fault, as far as that tells.
#[inline(always)]
unsafe fn is_in_handler(kept: *const Fault, stack_pointer: u64, blocked: u64) -> bool {
    // SAFETY: the entry of the current thread.
    unsafe {
        let interrupted = (*kept).thread.registers[Registers::STACK_POINTER_WORD];
        let on_alt_stack = stack_pointer.wrapping_sub((*kept).alt_stack) < (*kept).alt_stack_bytes;
        let is_blocked = blocked >> (((*kept).signal - 1) & 63) & 1 == 1;
        (*kept).handler_flags & NO_DEFER == 0 && is_blocked && (on_alt_stack || stack_pointer < interrupted)
    }
}

/// The signals that the current thread blocks.
#[inline(always)]
fn blocked() -> u64 {
    // SAFETY: the helper has no preconditions.
    read(unsafe { bpf_get_current_task() }, config!(offsets.task_blocked)).unwrap_or(0)
}

/// Whether memory may be copied at a handled fault now: each time as long as user space wants to be told of it, else now and then.
#[inline(always)]
pub unsafe fn may_copy(watched: *mut Watched, now_ns: u64) -> bool {
    // SAFETY: the entry of this process.
    unsafe {
        let is_due = now_ns.wrapping_sub((*watched).copied_ns) >= COPY_INTERVAL_NS;
        if is_due {
            (*watched).copied_ns = now_ns;
        }
        is_due || counted(Counter::SURVIVED_TOLD) < u64::from(config!(survived_told))
    }
}

/// The program went on after the kept fault: user space is told, if it wants to be; what was copied is given back otherwise.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn survived(tid: u32) -> u32 {
    let ids = Ids::current();
    let Some(watched) = WATCHED.get_ptr_mut(ids.pid) else { return 0 };
    let Some(kept) = HANDLED.get_ptr_mut(tid) else { return 0 };
    // SAFETY: entries of this process.
    unsafe {
        if config!(survived_told) != 0 {
            if counted(Counter::SURVIVED_TOLD) < u64::from(config!(survived_told))
                && SURVIVED.insert((*kept).at_ns, &*kept, 0).is_ok()
            {
                count(Counter::SURVIVED_TOLD);
                let event = Event {
                    pid: ids.pid,
                    exit_code: 0,
                    kind: record::SURVIVED,
                    tid: ids.tid,
                    moment_ns: (*kept).at_ns,
                    watched: *watched,
                };
                if send(&event) {
                    // The memory is user space's now.
                    (*kept).chunks = 0;
                    (*kept).windows = 0;
                }
            } else {
                count(Counter::SURVIVED_NOT_TOLD);
            }
        }
        (*kept).repeated = 0;
    }
    give_back(tid)
}

/// Gives back what was copied with the kept fault of a thread.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn give_back(tid: u32) -> u32 {
    let Some(kept) = HANDLED.get_ptr_mut(tid) else { return 0 };
    // SAFETY: an entry of the current process.
    unsafe {
        memory::release(Kept { chunks: (*kept).chunks, windows: (*kept).windows });
        (*kept).chunks = 0;
        (*kept).windows = 0;
        (*kept).has_memory = 0;
    }
    0
}

/// A thread ends, or executes another program, and its process lives on: it has not died of its fault.
#[inline(always)]
pub fn forget(ids: Ids, tid: u32) {
    let Some(watched) = WATCHED.get_ptr_mut(ids.pid) else { return };
    if HANDLED.get_ptr(tid).is_none() {
        return;
    }
    survived(tid);
    // SAFETY: the entry of this process.
    unsafe {
        add(&raw mut (*watched).handled, u64::MAX);
    }
    let _ = HANDLED.remove(tid);
}

/// A thread ends with its process: where it stands tells whether it is still in the handler of its fault.
#[inline(always)]
pub fn note_end(ids: Ids) {
    let Some(kept) = HANDLED.get_ptr_mut(ids.tid) else { return };
    // SAFETY: the entry of the current thread.
    unsafe {
        let saved = bpf_task_pt_regs(bpf_get_current_task_btf()) as u64;
        (*kept).end_stack_pointer = read(saved, Registers::STACK_POINTER_WORD as u32 * 8).unwrap_or(0);
        (*kept).end_blocked = blocked();
    }
}
