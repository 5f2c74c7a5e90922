//! Signals: which of them is a death, and which fault may become one because its handler gives up.
//!
//! ```text
//! signal_generate       who sends it          -> WATCHED (the sender may be gone when anybody asks)
//! signal_deliver        a handler takes it    -> HANDLED: the fault, kept as long as its thread may still die of it
//!                       nobody takes it       -> FAULTS, and a snapshot of each thread
//! end of the thread     where it stood        -> HANDLED: evidence of whether it was still in the handler
//! ```

use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf, bpf_get_current_uid_gid, bpf_get_stack,
    bpf_probe_read_kernel, bpf_probe_read_user, bpf_task_pt_regs,
};
use aya_ebpf::programs::RawTracePointContext;
use lastwords_abi::layout::OOM_STACK_WORDS;
use lastwords_abi::record::{self, INFO_KERNEL, INFO_NONE, INFO_PRESENT, SIGNAL_BITS};
use lastwords_abi::{
    COMM_BYTES, Counter, Event, Fault, MAX_ARGS_BYTES, SignalSender, SlotHeader, ThreadState, Watched,
};

use crate::kernel::read;
use crate::mapping;
use crate::maps::{EMPTY_FAULT, FAULTS, HANDLED, OOM_STACKS, SURVIVED, WATCHED, add, config, count, send};
use crate::memory::{self, Kept};
use crate::process::now;
use crate::recent;
use crate::registers::Registers;
use crate::slot::{self, Ids};
use crate::streams;

const SIGKILL: i32 = 9;
/// ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS: what an instruction, or `abort`, raises.
const FAULT_SIGNALS: u64 = bit(4) | bit(5) | bit(6) | bit(7) | bit(8) | bit(11) | bit(31);
/// CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH: their default action kills nobody (signal(7)).
const HARMLESS_SIGNALS: u64 = bit(17) | bit(18) | bit(19) | bit(20) | bit(21) | bit(22) | bit(23) | bit(28);
/// `SIG_DFL` and `SIG_IGN`.
const DEFAULT_ACTION: u64 = 0;
const IGNORED: u64 = 1;
/// `SEND_SIG_NOINFO` and `SEND_SIG_PRIV` stand where a pointer to a siginfo would (include/linux/sched/signal.h).
const LAST_STAND_IN: u64 = 1;
/// `SIGNAL_GROUP_EXIT` of `signal_struct.flags`.
pub const GROUP_EXIT: u32 = 4;
/// `SA_NODEFER`: the handler's own signal is not blocked while it runs.
const NO_DEFER: u64 = 0x4000_0000;
/// Memory is copied at handled faults once in this time: a program that lives on faults stays fast.
const COPY_INTERVAL_NS: u64 = 10_000_000;

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

/// Which fault is meant, for functions that the verifier looks at apart from their callers: those take numbers only.
const NONE: u32 = 0;
/// The entry of the current process in `FAULTS`.
const FATAL: u32 = 1;
/// The entry of the current thread in `HANDLED`.
const KEPT: u32 = 2;

/// What is to be done about a signal: the fault to fill in, and the signal that it is.
struct Work {
    fault: u32,
    signal: i32,
}

/// The fault that is meant.
#[inline(always)]
fn fault_of(which: u32) -> Option<*mut Fault> {
    match which {
        FATAL => FAULTS.get_ptr_mut(Ids::current().pid),
        KEPT => HANDLED.get_ptr_mut(Ids::current().tid),
        _ => None,
    }
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

/// Copies the memory of the current thread, for a kept fault or for its death. As the two that follow a function that the verifier looks
/// at once: what its callers know would have it walk through all of this for each way that leads here. It also has a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_memory(which: u32) -> u32 {
    let Some(header) = slot::existing() else { return 0 };
    // SAFETY: the slot of the current thread, and a fault of its own.
    unsafe {
        let kept = if which == KEPT { fault_of(KEPT) } else { None }.unwrap_or(core::ptr::null_mut());
        let moment_ns = if kept.is_null() { 0 } else { (*kept).at_ns };
        let ids = Ids::current();
        let mut copied = memory::copy(ids, header, moment_ns);
        if which != NONE {
            copied.windows = recent::copy(ids, header, moment_ns, copied.windows);
        }
        if !kept.is_null() {
            (*kept).chunks = copied.chunks;
            (*kept).windows = copied.windows;
            (*kept).has_memory = 1;
        }
    }
    0
}

/// Copies what the process that dies has not written yet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_streams() -> u32 {
    if let Some(fault) = fault_of(FATAL) {
        // SAFETY: an entry of the current process.
        unsafe {
            let streams::Copied { list, abort_message } = streams::copy(Ids::current()).unwrap_or_default();
            ((*fault).stream_list, (*fault).abort_message) = (list, abort_message);
        }
    }
    0
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

#[inline(always)]
fn new_fault(ids: Ids) -> Option<u32> {
    FAULTS.insert(ids.pid, &EMPTY_FAULT, 0).ok()?;
    Some(FATAL)
}

/// Makes room for a fault that a handler takes. False if it happened in the handler of the one that is kept.
#[inline(always)]
unsafe fn handled(ids: Ids, watched: *mut Watched, header: *mut SlotHeader, info: u64) -> Option<bool> {
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
unsafe fn may_copy(watched: *mut Watched, now_ns: u64) -> bool {
    // SAFETY: the entry of this process.
    unsafe {
        let is_due = now_ns.wrapping_sub((*watched).copied_ns) >= COPY_INTERVAL_NS;
        if is_due {
            (*watched).copied_ns = now_ns;
        }
        is_due || crate::maps::counted(Counter::SURVIVED_TOLD) < u64::from(config!(survived_told))
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
            if crate::maps::counted(Counter::SURVIVED_TOLD) < u64::from(config!(survived_told))
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

/// The process exits, and this thread, which makes it do so, has a fault behind it: what is on its stack tells whether it is in
/// the handler.
#[inline(always)]
pub fn exits(ids: Ids) -> Option<()> {
    HANDLED.get_ptr(ids.tid)?;
    // SAFETY: the helper has no preconditions.
    let mm: u64 = read(unsafe { bpf_get_current_task() }, config!(offsets.task_mm))?;
    if mm == 0 || FAULTS.get_ptr(ids.pid).is_some() {
        return None;
    }
    let which = new_fault(ids)?;
    if let Some(header) = slot::for_death(ids) {
        // SAFETY: the slot of the current thread.
        unsafe { thread_state(&raw mut (*header).death) };
    }
    fill(which, 0, 0);
    copy_memory(which);
    copy_streams();
    Some(())
}

/// What is known of a signal and of the thread that it reaches.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fill(which: u32, signal: i32, info: u64) -> u32 {
    let ids = Ids::current();
    let Some(fault) = fault_of(which) else { return 0 };
    // SAFETY: a value in a map that only the threads of this process write to, and the others found it taken.
    unsafe {
        let task = bpf_get_current_task();
        (*fault).at_ns = now();
        (*fault).pid = ids.pid;
        (*fault).tid = ids.tid;
        (*fault).ns_tid = Ids::in_namespace().tid;
        (*fault).signal = signal;
        if info > LAST_STAND_IN {
            // siginfo_t: si_signo, si_errno, si_code, padding, then a union (include/uapi/asm-generic/siginfo.h)
            (*fault).info = INFO_PRESENT;
            (*fault).code = read(info, 8).unwrap_or(0);
            (*fault).address = read(info, 16).unwrap_or(0);
            (*fault).sender_pid = read(info, 16).unwrap_or(0);
            (*fault).sender_uid = read(info, 20).unwrap_or(0);
            (*fault).syscall = read(info, 24).unwrap_or(0);
            (*fault).syscall_arch = read(info, 28).unwrap_or(0);
        } else {
            (*fault).info = if info == LAST_STAND_IN { INFO_KERNEL } else { INFO_NONE };
            (*fault).code = 0;
            (*fault).address = 0;
        }
        if config!(has_fault_details) == 1 {
            (*fault).error_code = read(task, config!(offsets.thread_error_code)).unwrap_or(0);
            (*fault).trap = read(task, config!(offsets.thread_trap)).unwrap_or(0);
            (*fault).fault_register = read(task, config!(offsets.thread_fault_register)).unwrap_or(0);
        }
        (*fault).alt_stack = read(task, config!(offsets.task_alt_stack)).unwrap_or(0);
        (*fault).alt_stack_bytes = read(task, config!(offsets.task_alt_stack_bytes)).unwrap_or(0);
        (*fault).calls = slot::existing().map_or(0, |header| (*header).calls);
        if let Some(watched) = WATCHED.get_ptr(ids.pid) {
            (*fault).sender = (*watched).sender;
        }
        (*fault).uid = bpf_get_current_uid_gid() as u32;
        arguments(fault);
        thread_state(&raw mut (*fault).thread);
        mapping::find(fault);
    }
    0
}

/// Copies the program's arguments from its memory, as far as they are there: no page fault can be taken here.
#[inline(always)]
unsafe fn arguments(fault: *mut Fault) -> Option<()> {
    // SAFETY: the caller's struct in a map; the helpers write as much as its fields hold.
    unsafe {
        let mm: u64 = read(bpf_get_current_task(), config!(offsets.task_mm))?;
        let start: u64 = read(mm, config!(offsets.mm_arg_start))?;
        let end: u64 = read(mm, config!(offsets.mm_arg_end))?;
        let bytes = end.wrapping_sub(start);
        let copied = bytes.min(MAX_ARGS_BYTES as u64) as u32;
        let to = (&raw mut (*fault).args).cast();
        if bpf_probe_read_user(to, copied, start as *const c_void) == 0 {
            (*fault).args_bytes = bytes.min(u64::from(u32::MAX)) as u32;
        }
    }
    Some(())
}

#[inline(always)]
unsafe fn thread_state(to: *mut ThreadState) {
    // SAFETY: the caller's struct in a map; the helpers write as much as its fields hold.
    unsafe {
        let saved = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const c_void;
        bpf_probe_read_kernel((&raw mut (*to).registers).cast(), Registers::BYTES as u32, saved);
        if config!(thread_tls_base) != 0 {
            (*to).tls_base = read(bpf_get_current_task(), config!(thread_tls_base)).unwrap_or(0);
        }
        (*to).stack_end = 0;
        bpf_get_current_comm((&raw mut (*to).comm).cast(), COMM_BYTES as u32);
        (*to).at_ns = now();
    }
}
