//! Signals: which of them is a death, and which fault may become one because its handler gives up.
//!
//! ```text
//! signal_generate       who sends it          -> WATCHED (the sender may be gone when anybody asks)
//! signal_deliver        a handler takes it    -> HANDLED: the fault, kept as long as its thread may still die of it
//!                       nobody takes it       -> FAULTS, and a snapshot of each thread
//! end of the thread     where it stood        -> HANDLED: evidence of whether it was still in the handler
//! ```

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_get_current_task, bpf_get_current_uid_gid, bpf_get_stack,
};
use aya_ebpf::programs::RawTracePointContext;
use lastwords_abi::layout::OOM_STACK_WORDS;
use lastwords_abi::record::{INFO_NONE, SIGNAL_BITS};
use lastwords_abi::{COMM_BYTES, Counter, SignalSender, Watched};

use crate::fault::{
    FATAL, KEPT, LAST_STAND_IN, NONE, copy_memory, copy_streams, fault_of, fill, new_fault, thread_state,
};
use crate::handled::{handled, may_copy};
use crate::kernel::read;
use crate::maps::{FAULTS, HANDLED, OOM_STACKS, WATCHED, config, count};
use crate::slot::{self, Ids};

const SIGKILL: i32 = 9;
/// ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS: what an instruction, or `abort`, raises.
const FAULT_SIGNALS: u64 = bit(4) | bit(5) | bit(6) | bit(7) | bit(8) | bit(11) | bit(31);
/// CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH: their default action kills nobody (signal(7)).
const HARMLESS_SIGNALS: u64 = bit(17) | bit(18) | bit(19) | bit(20) | bit(21) | bit(22) | bit(23) | bit(28);
/// `SIG_DFL` and `SIG_IGN`.
const DEFAULT_ACTION: u64 = 0;
const IGNORED: u64 = 1;
/// `SIGNAL_GROUP_EXIT` of `signal_struct.flags`.
pub const GROUP_EXIT: u32 = 4;

const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// `signal_generate(sig, info, task, group, result)`: runs in the context of who sends it.
#[inline(always)]
pub fn generated(context: &RawTracePointContext) -> Option<()> {
    let signal: i32 = context.arg(0);
    let info: u64 = context.arg(1);
    if signal != SIGKILL && !is_chosen(signal) {
        return None;
    }
    let pid: u32 = read(context.arg(2), config!(offsets.task_tgid))?;
    let watched = WATCHED.get_ptr_mut(pid)?;
    // From user space: without details, or with a code that is not the kernel's.
    let is_sent = if info > LAST_STAND_IN { read::<i32>(info, 8)? <= 0 } else { info != LAST_STAND_IN };
    if !is_sent {
        return None;
    }
    let mut sender = SignalSender {
        signal,
        ns_pid: Ids::in_namespace().pid,
        pid: Ids::current().pid,
        // SAFETY: the helper has no preconditions.
        uid: unsafe { bpf_get_current_uid_gid() } as u32,
        comm: [0; COMM_BYTES],
    };
    // SAFETY: the helper writes as much as the field holds; a value in a map, whose readers are through with it later.
    unsafe {
        bpf_get_current_comm((&raw mut sender.comm).cast(), COMM_BYTES as u32);
        (*watched).sender = sender;
    }
    Some(())
}

/// `mark_victim(pid)`, since Linux 6.9 `mark_victim(task, uid)`: the kernel kills for lack of memory.
#[inline(always)]
pub fn chosen_for_memory(context: &RawTracePointContext) -> Option<()> {
    let victim: u64 = context.arg(0);
    let pid = if victim > u64::from(u32::MAX) { read(victim, config!(offsets.task_tgid))? } else { victim as u32 };
    let watched = WATCHED.get_ptr_mut(pid)?;
    // SAFETY: a value in a map.
    unsafe { (*watched).is_oom_victim = 1 };
    let mut stack = [0u64; OOM_STACK_WORDS];
    // SAFETY: the context of this program; the helper writes as much as the array holds.
    let bytes = unsafe { bpf_get_stack(context.as_ptr(), (&raw mut stack).cast(), size_of_val(&stack) as u32, 0) };
    if bytes > 0 {
        let _ = OOM_STACKS.insert(pid, &stack, 0);
    }
    Some(())
}

/// What is to be done about a signal: the fault to fill in, and the signal that it is.
struct Work {
    fault: u32,
    signal: i32,
}

/// `signal_deliver(sig, info, action)`: the default action of a signal that counts is a death; the SIGKILL that follows reaches each
/// other thread in its own context.
#[inline(always)]
pub fn delivered(context: &RawTracePointContext) -> Option<()> {
    let signal: i32 = context.arg(0);
    let ids = Ids::current();
    let watched = WATCHED.get_ptr_mut(ids.pid)?;
    // SAFETY: a plain number in a map value.
    if unsafe { (*watched).executes_target } != 1 {
        return None;
    }
    let handler = read::<u64>(context.arg(2), config!(offsets.action_handler))?;
    let is_handled = handler != DEFAULT_ACTION;
    // SAFETY: the entry of this process.
    let work = unsafe {
        if signal == SIGKILL {
            killed(ids, watched)?
        } else if is_handled {
            if handler == IGNORED || !is_chosen(signal) {
                return None;
            }
            count(Counter::HANDLED_FAULTS);
            if FAULT_SIGNALS >> (signal - 1) & 1 == 0 {
                return None;
            }
            Work { fault: KEPT, signal }
        } else {
            fatal(ids, watched, signal)?
        }
    };
    let header = slot::for_death(ids).unwrap_or(core::ptr::null_mut());
    // One place for all: the verifier walks through it once.
    // SAFETY: entries of this process and the slot of the current thread.
    unsafe {
        if !header.is_null() {
            thread_state(&raw mut (*header).death);
        }
        if is_handled && !handled(ids, watched, header, context.arg(1))? {
            return None;
        }
    }
    fill(work.fault, work.signal, context.arg(1));
    if is_handled {
        let kept = fault_of(KEPT)?;
        // SAFETY: entries of this process and the current thread.
        unsafe {
            (*kept).handler = handler;
            (*kept).handler_flags = read(context.arg(2), config!(offsets.action_flags)).unwrap_or(0);
            if !may_copy(watched, (*kept).at_ns) {
                return None;
            }
        }
    }
    copy_memory(work.fault);
    if work.fault == FATAL {
        copy_streams();
    }
    Some(())
}

/// Whether a signal is one that counts as a crash.
#[inline(always)]
fn is_chosen(signal: i32) -> bool {
    (1..=64).contains(&signal) && config!(signals) >> (signal - 1) & 1 == 1
}

/// The default action of a signal: a death, if it is one that counts, or if the process has a fault behind it that it may be dying of.
#[inline(always)]
unsafe fn fatal(ids: Ids, watched: *mut Watched, signal: i32) -> Option<Work> {
    // SAFETY: plain numbers in map values.
    unsafe {
        let is_of_fault =
            (*watched).handled != 0 && (1..=64).contains(&signal) && HARMLESS_SIGNALS >> (signal - 1) & 1 == 0;
        if !is_chosen(signal) && !is_of_fault {
            return None;
        }
        // Another thread may have been faster. (The same thread again: the first signal did not kill, as for the init of a namespace.)
        let is_first = FAULTS.get_ptr(ids.pid).is_none_or(|fault| (*fault).tid == ids.tid);
        Some(Work { fault: if is_first { new_fault(ids)? } else { NONE }, signal })
    }
}

/// SIGKILL reaches each thread of a process that ends in any way. A signal whose default action is to end the process without a core
/// file does so by SIGKILL alone, sent when it was generated (`complete_signal` in kernel/signal.c): the exit code tells which.
#[inline(always)]
unsafe fn killed(ids: Ids, watched: *mut Watched) -> Option<Work> {
    let signal: u64 = read(unsafe { bpf_get_current_task() }, config!(offsets.task_signal))?;
    if read::<u32>(signal, config!(offsets.signal_flags))? & GROUP_EXIT == 0 {
        return None; // another thread executes another program
    }
    let by = (read::<u32>(signal, config!(offsets.signal_exit_code))? & SIGNAL_BITS) as i32;
    let snapshot = Work { fault: NONE, signal: by };
    // SAFETY: plain numbers in map values.
    unsafe {
        if let Some(fault) = FAULTS.get_ptr(ids.pid) {
            // No thread is struck more than the others: the main one stands for all, where it lives.
            let is_better = by != 0 && (*fault).info == INFO_NONE && (*fault).signal == by && ids.pid == ids.tid;
            return Some(Work { fault: if is_better { new_fault(ids)? } else { NONE }, ..snapshot });
        }
        if is_chosen(by) || HANDLED.get_ptr(ids.tid).is_some() {
            return Some(Work { fault: new_fault(ids)?, ..snapshot });
        }
        ((*watched).handled != 0).then_some(snapshot)
    }
}
