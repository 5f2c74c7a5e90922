//! Processes: which are watched, how they begin, and how they end.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_ktime_get_ns};
use aya_ebpf::programs::{ProbeContext, RawTracePointContext};
use lastwords_abi::layout::SLOT_ENDED;
use lastwords_abi::record::SIGNAL_BITS;
use lastwords_abi::{Counter, Event, NO_SLOT, SignalSender, Watched, record};

use crate::fault;
use crate::handled;
use crate::kernel::read;
use crate::maps::{FAULTS, SLOTS, TARGET, THREADS, WATCHED, config, count, send};
use crate::signal::GROUP_EXIT;
use crate::slot::{self, Ids};

const SIGKILL: u32 = 9;

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
    let child = Watched { started_ns: now(), ns_pid: 0, ..unburdened(parent) };
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
        forget_thread(ids, ids.tid);
        if old_tid != ids.tid {
            forget_thread(ids, old_tid);
        }
        let mm: u64 = read(bpf_get_current_task(), config!(offsets.task_mm)).unwrap_or(0);
        let watched = Watched {
            started_ns: now(),
            start_code: read(mm, config!(offsets.mm_start_code)).unwrap_or(0),
            ns_pid: named.pid,
            executes_target: u32::from((*target).inode == number && (*target).device == device),
            ..Watched::default()
        };
        if WATCHED.insert(ids.pid, watched, 0).is_err() {
            count(Counter::PROCESSES_NOT_WATCHED);
        }
    }
    Some(())
}

/// `do_group_exit(exit_code)`: the current thread makes its process exit. Before Linux 6.16, its memory is gone at `sched_process_exit`; but
/// not all kernels have probes for themselves.
#[inline(always)]
pub fn leaves(context: &ProbeContext) -> Option<()> {
    let exit_code: u32 = context.arg(0)?;
    let ids = Ids::current();
    // SAFETY: a plain number in a map value.
    let has_handled = unsafe { (*WATCHED.get_ptr(ids.pid)?).handled } != 0;
    if has_handled && is_failure(exit_code) {
        fault::exits(ids);
    }
    Some(())
}

/// `sched_process_exit(task)`: a thread ends. Its slot is free, unless its process dies of a fault: then user space reads it first.
#[inline(always)]
pub fn exited(_context: &RawTracePointContext) -> Option<()> {
    let ids = Ids::current();
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let signal: u64 = read(task, config!(offsets.task_signal))?;
    let is_last = read::<u32>(signal, config!(offsets.signal_live))? == 0;
    let with_process = is_last || read::<u32>(signal, config!(offsets.signal_flags))? & GROUP_EXIT != 0;
    let exit_code: u32 = read(task, config!(offsets.task_exit_code)).unwrap_or(0);
    // SAFETY: a plain number in a map value.
    let has_handled = WATCHED.get_ptr(ids.pid).is_some_and(|watched| unsafe { (*watched).handled } != 0);
    if has_handled {
        if !with_process {
            handled::forget(ids, ids.tid);
        } else {
            handled::note_end(ids);
            if is_failure(exit_code) {
                fault::exits(ids);
            }
        }
    }
    let dying = with_process && (has_handled || FAULTS.get_ptr(ids.pid).is_some());
    // SAFETY: the value is copied at once.
    if let Some(&slot) = unsafe { THREADS.get(ids.tid) } {
        let _ = THREADS.remove(ids.tid);
        if slot != NO_SLOT {
            end_slot(slot, dying);
        }
    }
    if !is_last {
        return None; // other threads live on
    }
    // SAFETY: the value is copied at once.
    let mut watched: Watched = unsafe { *WATCHED.get(ids.pid)? };
    let _ = WATCHED.remove(ids.pid);
    if dying || (exit_code & SIGNAL_BITS == SIGKILL && watched.executes_target == 1) {
        watched.ns_pid = if watched.ns_pid == 0 { Ids::in_namespace().pid } else { watched.ns_pid };
        let event = Event { pid: ids.pid, exit_code, kind: record::ENDED, tid: ids.tid, moment_ns: 0, watched };
        if !send(&event) {
            count(Counter::DEATHS_LOST);
        }
    }
    Some(())
}

/// Whether a process exits by itself, with another status than 0.
#[inline(always)]
fn is_failure(exit_code: u32) -> bool {
    exit_code & SIGNAL_BITS == 0 && exit_code != 0
}

/// What a fork takes over of its parent: not what happened to that one.
#[inline(always)]
fn unburdened(parent: Watched) -> Watched {
    Watched { handled: 0, copied_ns: 0, is_oom_victim: 0, sender: SignalSender::default(), ..parent }
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
fn forget_thread(ids: Ids, tid: u32) {
    handled::forget(ids, tid);
    // SAFETY: the value is copied at once.
    if let Some(&slot) = unsafe { THREADS.get(tid) } {
        let _ = THREADS.remove(tid);
        if slot != NO_SLOT {
            slot::release(slot);
        }
    }
}

#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}
