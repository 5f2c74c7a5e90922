//! The recorder: the programs that run in the kernel while the target runs. Their maps are in `maps`, what they write is in the
//! library of this crate.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(internal_features, reason = "the only way to atomic operations on this target")]

mod calls;
mod exceptions;
mod fault;
mod handled;
mod kernel;
mod mapping;
mod maps;
mod memory;
mod pool;
mod process;
mod recent;
mod registers;
mod signal;
mod sites;
mod slot;
mod stack_end;
mod steps;
mod streams;

use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_get_attach_cookie;
use aya_ebpf::macros::{kprobe, raw_tracepoint, uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RawTracePointContext, RetProbeContext};
use lastwords_abi::record::{LEFT_BY_TAIL_CALL, RETURNED};
use lastwords_abi::{KFUNC_SESSION_IS_RETURN, cookie};
use registers::Registers;

/// The entry of a function, or an instruction that leaves it.
#[uprobe(sleepable)]
pub fn probe(context: ProbeContext) -> u32 {
    happened(context.as_ptr(), false);
    0
}

/// The return of a function, through the kernel's trampoline.
#[uretprobe(sleepable)]
pub fn probe_return(context: RetProbeContext) -> u32 {
    happened(context.as_ptr(), true);
    0
}

/// Both, from one link (Linux 6.13).
#[uprobe(sleepable)]
pub fn probe_session(context: ProbeContext) -> u32 {
    // SAFETY: user space has put the kernel function's id where the placeholder is. It takes no argument (Linux 6.13 to 6.18) or the
    // context (later); passing it serves both.
    let is_return = unsafe {
        let is_return: unsafe extern "C" fn(*mut c_void) -> bool = core::mem::transmute(KFUNC_SESSION_IS_RETURN);
        is_return(context.as_ptr())
    };
    let recorded = happened(context.as_ptr(), is_return);
    // 1: the return of this call is not wanted.
    u32::from(!is_return && recorded.is_none())
}

/// Nothing: what the kernel itself costs, for benchmarks to measure against.
#[uprobe(sleepable)]
pub fn probe_nothing(_context: ProbeContext) -> u32 {
    0
}

/// What a probe's cookie says has happened; or, at the kernel's trampoline, that the function has returned. `None` if there was nothing to
/// record.
#[inline(always)]
fn happened(context: *mut c_void, is_return: bool) -> Option<()> {
    // SAFETY: the context of this program.
    let cookie = unsafe { bpf_get_attach_cookie(context) };
    let registers = Registers::of_probe(context);
    let is_shared = cookie::event(cookie) == cookie::BY_ADDRESS;
    let cookie = match (is_shared, is_return) {
        (false, _) => cookie,
        (true, false) => sites::meaning(registers, cookie)?,
        (true, true) => sites::of_return(cookie)?,
    };
    let index = cookie::function(cookie);
    let event = if is_return { cookie::RETURN } else { cookie::event(cookie) };
    if event == cookie::ENTRY {
        return calls::enter(registers, cookie);
    }
    if event >= cookie::TURN {
        let is_taken = event == cookie::TURN || registers.holds(event & cookie::CONDITION);
        return if is_taken { calls::turn(registers, index) } else { None };
    }
    let header = slot::existing()?;
    if event != cookie::RETURN {
        calls::count_exit(index)?;
    }
    // At an instruction that leaves a function the stack pointer is at the return address again; at the trampoline, that has been popped.
    let popped = if event == cookie::RETURN { 0 } else { Registers::RETURN_ADDRESS_BYTES };
    let flag = if event == cookie::TAIL_JUMP { LEFT_BY_TAIL_CALL } else { RETURNED };
    calls::leave(header, registers, index, registers.stack_pointer() + popped, flag)
}

/// The kernel's `do_group_exit`: a process ends of its own accord.
#[kprobe]
pub fn process_leaves(context: ProbeContext) -> u32 {
    process::leaves(&context);
    0
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(context: RawTracePointContext) -> i32 {
    process::forked(&context);
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(context: RawTracePointContext) -> i32 {
    process::executed(&context);
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(context: RawTracePointContext) -> i32 {
    process::exited(&context);
    0
}

#[raw_tracepoint(tracepoint = "signal_deliver")]
pub fn signal_deliver(context: RawTracePointContext) -> i32 {
    signal::delivered(&context);
    0
}

#[raw_tracepoint(tracepoint = "signal_generate")]
pub fn signal_generate(context: RawTracePointContext) -> i32 {
    signal::generated(&context);
    0
}

#[raw_tracepoint(tracepoint = "mark_victim")]
pub fn mark_victim(context: RawTracePointContext) -> i32 {
    signal::chosen_for_memory(&context);
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
