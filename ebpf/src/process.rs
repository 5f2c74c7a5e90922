//! Processes: which are watched, how they begin, and how they die.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf, bpf_get_current_uid_gid, bpf_ktime_get_ns,
    bpf_probe_read_kernel, bpf_probe_read_user, bpf_task_pt_regs,
};
use aya_ebpf::programs::RawTracePointContext;
use lastwords_abi::layout::SLOT_ENDED;
use lastwords_abi::record::{INFO_KERNEL, INFO_NONE, INFO_PRESENT};
use lastwords_abi::{COMM_BYTES, Counter, Event, Fault, MAX_ARGS_BYTES, NO_SLOT, ThreadState, Watched};

use crate::kernel::read;
use crate::mapping;
use crate::maps::{EMPTY_FAULT, FAULTS, SLOTS, TARGET, THREADS, WATCHED, config, count, send};
use crate::memory;
use crate::registers::Registers;
use crate::slot::{self, Ids};
use crate::streams;

const SIGKILL: i32 = 9;
/// `SIG_DFL` and `SIG_IGN`.
const DEFAULT_ACTION: u64 = 0;
const IGNORED: u64 = 1;
/// `SEND_SIG_NOINFO` and `SEND_SIG_PRIV` stand where a pointer to a siginfo would (include/linux/sched/signal.h).
const LAST_STAND_IN: u64 = 1;

/// `sched_process_fork(parent, child)`: the child of a watched process is watched.
#[inline(always)]
pub fn forked(context: &RawTracePointContext) -> Option<()> {
    let child: u64 = context.arg(1);
    let parent_pid = Ids::current().pid;
    let (child_pid, child_tid) =
        (read::<u32>(child, config!(offsets.task_tgid))?, read::<u32>(child, config!(offsets.task_pid))?);
    if child_pid != child_tid {
        return None; // a thread of the same process
    }
    // SAFETY: the value is copied at once.
    let parent: Watched = unsafe { *WATCHED.get(parent_pid)? };
    let child = Watched { started_ns: now(), ns_pid: 0, ..parent };
    if WATCHED.insert(child_pid, child, 0).is_err() {
        count(Counter::PROCESSES_NOT_WATCHED);
    }
    Some(())
}

/// `sched_process_exec(task, old_pid, bprm)`: the first exec of the first process begins it all; any other starts a new program.
#[inline(always)]
pub fn executed(context: &RawTracePointContext) -> Option<()> {
    let old_tid: u32 = context.arg(1);
    let binprm: u64 = context.arg(2);
    let ids = Ids::current();
    let target = TARGET.get_ptr_mut(0)?;
    let file: u64 = read(binprm, config!(offsets.binprm_file))?;
    let inode: u64 = read(file, config!(offsets.file_inode))?;
    let number: u64 = read(inode, config!(offsets.inode_number))?;
    let super_block: u64 = read(inode, config!(offsets.inode_super_block))?;
    let device: u32 = read(super_block, config!(offsets.super_block_device))?;
    let named = Ids::in_namespace();

    // SAFETY: a plain struct in a map; its one writer besides user space is the exec of the first process.
    unsafe {
        if (*target).known == 0 && named.pid != 0 && named.pid == (*target).ns_pid {
            (*target).inode = number;
            (*target).device = device;
            (*target).known = 1;
        } else {
            WATCHED.get(ids.pid)?;
        }
        forget_thread(ids.tid);
        forget_thread(old_tid);
        let mm: u64 = read(bpf_get_current_task(), config!(offsets.task_mm)).unwrap_or(0);
        let watched = Watched {
            started_ns: now(),
            start_code: read(mm, config!(offsets.mm_start_code)).unwrap_or(0),
            ns_pid: named.pid,
            executes_target: u32::from((*target).inode == number && (*target).device == device),
        };
        if WATCHED.insert(ids.pid, watched, 0).is_err() {
            count(Counter::PROCESSES_NOT_WATCHED);
        }
    }
    Some(())
}

/// `signal_deliver(sig, info, action)`: the default action of a signal that counts is a death; the SIGKILL that follows reaches each
/// other thread in its own context.
#[inline(always)]
pub fn signalled(context: &RawTracePointContext) -> Option<()> {
    let signal: i32 = context.arg(0);
    let ids = Ids::current();
    // SAFETY: a plain number in a map value.
    if unsafe { WATCHED.get(ids.pid)?.executes_target } != 1 {
        return None;
    }
    if signal == SIGKILL {
        FAULTS.get_ptr(ids.pid)?;
    } else {
        if !is_death(signal, context.arg(2))? {
            return None;
        }
        // Another thread may have been faster. (The same thread again: the first signal did not kill, as for the init of a namespace.)
        // SAFETY: a plain number in a map value.
        let is_first = FAULTS.get_ptr(ids.pid).is_none_or(|fault| unsafe { (*fault).tid } == ids.tid);
        if is_first {
            record_fault(ids, signal, context.arg(1))?;
        }
    }
    // One place for all: the verifier walks through it once.
    snapshot(ids)
}

/// Whether a signal counts as a crash, and its action is the default one.
#[inline(always)]
fn is_death(signal: i32, action: u64) -> Option<bool> {
    if !(1..=64).contains(&signal) || config!(signals) >> (signal - 1) & 1 == 0 {
        return Some(false);
    }
    let handler = read::<u64>(action, config!(offsets.action_handler))?;
    if handler != DEFAULT_ACTION && handler != IGNORED {
        count(Counter::HANDLED_FAULTS);
    }
    Some(handler == DEFAULT_ACTION)
}

#[inline(always)]
fn record_fault(ids: Ids, signal: i32, info: u64) -> Option<()> {
    FAULTS.insert(ids.pid, &EMPTY_FAULT, 0).ok()?;
    let fault: *mut Fault = FAULTS.get_ptr_mut(ids.pid)?;
    // SAFETY: a value in a map that only the threads of this process write to, and the others found it taken.
    unsafe {
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
        }
        if config!(has_fault_details) == 1 {
            let task = bpf_get_current_task();
            (*fault).error_code = read(task, config!(offsets.thread_error_code)).unwrap_or(0);
            (*fault).trap = read(task, config!(offsets.thread_trap)).unwrap_or(0);
            (*fault).fault_register = read(task, config!(offsets.thread_fault_register)).unwrap_or(0);
        }
        (*fault).uid = bpf_get_current_uid_gid() as u32;
        arguments(fault);
        thread_state(&raw mut (*fault).thread);
        let streams::Copied { list, abort_message } = streams::copy(ids).unwrap_or_default();
        ((*fault).stream_list, (*fault).abort_message) = (list, abort_message);
        mapping::find(fault);
    }
    Some(())
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

/// `sched_process_exit(task)`: a thread ends. Its slot is free, unless its process dies of a fault: then user space reads it first.
#[inline(always)]
pub fn exited(_context: &RawTracePointContext) -> Option<()> {
    let ids = Ids::current();
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let dying = FAULTS.get_ptr(ids.pid).is_some();
    // SAFETY: the value is copied at once.
    if let Some(&slot) = unsafe { THREADS.get(ids.tid) } {
        let _ = THREADS.remove(ids.tid);
        if slot != NO_SLOT {
            end_slot(slot, dying);
        }
    }
    let signal: u64 = read(task, config!(offsets.task_signal))?;
    if read::<u32>(signal, config!(offsets.signal_live))? != 0 {
        return None; // other threads live on
    }
    // SAFETY: the value is copied at once.
    let mut watched: Watched = unsafe { *WATCHED.get(ids.pid)? };
    let _ = WATCHED.remove(ids.pid);
    if dying {
        watched.ns_pid = if watched.ns_pid == 0 { Ids::in_namespace().pid } else { watched.ns_pid };
        let exit_code = read(task, config!(offsets.task_exit_code)).unwrap_or(0);
        if !send(&Event { pid: ids.pid, exit_code, watched }) {
            count(Counter::DEATHS_LOST);
        }
    }
    Some(())
}

#[inline(always)]
fn end_slot(slot: u32, dying: bool) {
    if !dying {
        slot::release(slot);
    } else if let Some(header) = SLOTS.get_ptr_mut(slot) {
        // SAFETY: the slot of the current thread.
        unsafe { core::ptr::write_volatile(&raw mut (*header).pool.state, SLOT_ENDED) };
    }
}

/// A thread's history belongs to a program that is no more.
#[inline(always)]
fn forget_thread(tid: u32) {
    // SAFETY: the value is copied at once.
    if let Some(&slot) = unsafe { THREADS.get(tid) } {
        let _ = THREADS.remove(tid);
        if slot != NO_SLOT {
            slot::release(slot);
        }
    }
}

/// Takes the state of the current thread into its slot.
#[inline(always)]
fn snapshot(ids: Ids) -> Option<()> {
    let header = slot::for_death(ids)?;
    // SAFETY: the slot of the current thread.
    unsafe {
        thread_state(&raw mut (*header).death);
        memory::copy(ids, &raw const (*header).death);
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
        bpf_get_current_comm((&raw mut (*to).comm).cast(), COMM_BYTES as u32);
        (*to).at_ns = now();
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}
