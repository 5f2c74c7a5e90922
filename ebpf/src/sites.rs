//! Probes that share a cookie: what one of them means, by where it stands.
//!
//! Before Linux 6.6, one event may have many probes, and has one cookie. Waiting for each of them to be closed would take a grace period each.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use lastwords_abi::cookie;
use lastwords_abi::step::MUTED;

use crate::calls::ANY_FUNCTION;
use crate::kernel::read;
use crate::maps::{FUNCTIONS, SITES, config};
use crate::registers::Registers;

/// The cookie that a probe would have for itself; `shared` says of which generation it is.
#[inline(always)]
pub fn meaning(registers: &Registers, shared: u64) -> Option<u64> {
    let own = at(registers.program_counter())?;
    Some(cookie::new(cookie::event(own), cookie::function(own), cookie::generation(shared)))
}

/// The same at the trampoline, which does not say whose return it is: the open call in the frame that has ended is meant, whichever function it is
/// of. But not if the kernel's own note of that return names a function that is not recorded any more.
#[inline(always)]
pub fn of_return(shared: u64) -> Option<u64> {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let utask: u64 = read(task, config!(offsets.task_utask))?;
    let instance: u64 = read(utask, config!(offsets.utask_returns))?;
    let entry = read(instance, config!(offsets.return_function)).and_then(at);
    if let Some(function) = entry.and_then(|entry| FUNCTIONS.get_ptr(cookie::function(entry))) {
        // SAFETY: a plain number in a map value.
        if unsafe { core::ptr::read_volatile(&raw const (*function).generation) } == MUTED {
            return None;
        }
    }
    Some(cookie::new(cookie::RETURN, ANY_FUNCTION, cookie::generation(shared)))
}

/// What [`SITES`] says of an address.
#[inline(always)]
fn at(address: u64) -> Option<u64> {
    // SAFETY: the helper has no preconditions.
    let mm: u64 = read(unsafe { bpf_get_current_task() }, config!(offsets.task_mm))?;
    let start_code: u64 = read(mm, config!(offsets.mm_start_code))?;
    // SAFETY: the value is copied at once.
    unsafe { SITES.get(address.wrapping_sub(start_code)).copied() }
}
