//! A fault: what is known of a signal and of the thread that it struck, and what is copied of that thread's memory.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf, bpf_get_current_uid_gid,
    bpf_probe_read_kernel, bpf_probe_read_user, bpf_task_pt_regs,
};
use lastwords_abi::record::{INFO_KERNEL, INFO_NONE, INFO_PRESENT};
use lastwords_abi::{COMM_BYTES, Fault, MAX_ARGS_BYTES, ThreadState};

use crate::kernel::read;
use crate::mapping;
use crate::maps::{EMPTY_FAULT, FAULTS, HANDLED, WATCHED, config};
use crate::memory;
use crate::process::now;
use crate::recent;
use crate::registers::Registers;
use crate::slot::{self, Ids};
use crate::streams;

/// `SEND_SIG_NOINFO` and `SEND_SIG_PRIV` stand where a pointer to a siginfo would (include/linux/sched/signal.h).
pub const LAST_STAND_IN: u64 = 1;

const SIGABRT: i32 = 6;

/// Which fault is meant, for functions that the verifier looks at apart from their callers: those take numbers only.
pub const NONE: u32 = 0;
/// The entry of the current process in `FAULTS`.
pub const FATAL: u32 = 1;
/// The entry of the current thread in `HANDLED`.
pub const KEPT: u32 = 2;

/// The fault that is meant.
#[inline(always)]
pub fn fault_of(which: u32) -> Option<*mut Fault> {
    match which {
        FATAL => FAULTS.get_ptr_mut(Ids::current().pid),
        KEPT => HANDLED.get_ptr_mut(Ids::current().tid),
        _ => None,
    }
}

#[inline(always)]
pub fn new_fault(ids: Ids) -> Option<u32> {
    FAULTS.insert(ids.pid, &EMPTY_FAULT, 0).ok()?;
    Some(FATAL)
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
pub unsafe fn thread_state(to: *mut ThreadState) {
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
        let aborts = fault_of(which).is_some_and(|fault| (*fault).signal == SIGABRT);
        let mut copied = memory::copy(ids, header, moment_ns, aborts);
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
