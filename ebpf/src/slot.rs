//! Which slot belongs to the current thread: finding it, taking one, giving it back.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_ns_current_pid_tgid;
use lastwords_abi::{Counter, NO_SLOT, SlotHeader};

use crate::maps::{FREE_SLOTS, SLOTS, THREADS, WATCHED, config, count};
use crate::pool;

/// The ids of the current thread, as the kernel counts them from the root namespace.
#[derive(Clone, Copy)]
pub struct Ids {
    pub pid: u32,
    pub tid: u32,
}

impl Ids {
    #[inline(always)]
    pub fn current() -> Self {
        let both = bpf_get_current_pid_tgid();
        Self { pid: (both >> 32) as u32, tid: both as u32 }
    }

    /// The same as lastwords' pid namespace sees them; 0 in a namespace that is not its own.
    #[inline(always)]
    pub fn in_namespace() -> Self {
        let mut ids = aya_ebpf::bindings::bpf_pidns_info { pid: 0, tgid: 0 };
        // SAFETY: the helper writes 8 bytes to a local of 8 bytes.
        let failed = unsafe {
            bpf_get_ns_current_pid_tgid(config!(namespace_device), config!(namespace_inode), &raw mut ids, 8)
        };
        if failed != 0 { Self { pid: 0, tid: 0 } } else { Self { pid: ids.tgid, tid: ids.pid } }
    }
}

/// Who makes a call.
pub enum Caller {
    /// A thread with this slot.
    Recorded(*mut SlotHeader),
    /// A thread of a watched process that has found no slot; that is counted.
    WithoutSlot,
    /// Somebody else.
    Other,
}

/// Who makes the call at whose probe this is. A thread takes its slot at its first call.
#[inline(always)]
pub fn of_call() -> Caller {
    let ids = Ids::current();
    // SAFETY: the value is copied at once.
    if let Some(&slot) = unsafe { THREADS.get(ids.tid) } {
        if slot == NO_SLOT {
            count(Counter::CALLS_WITHOUT_SLOT);
            return Caller::WithoutSlot;
        }
        return SLOTS.get_ptr_mut(slot).map_or(Caller::Other, Caller::Recorded);
    }
    // SAFETY: a plain number in a map value.
    match unsafe { WATCHED.get(ids.pid) } {
        Some(watched) if watched.executes_target == 1 => take(ids).map_or(Caller::WithoutSlot, Caller::Recorded),
        _ => {
            count(Counter::CALLS_OF_OTHERS);
            Caller::Other
        }
    }
}

/// The slot of the current thread, if it has one: a return without it belongs to a call that was not recorded.
#[inline(always)]
pub fn existing() -> Option<*mut SlotHeader> {
    // SAFETY: the value is copied at once.
    match unsafe { THREADS.get(Ids::current().tid) } {
        Some(&slot) if slot != NO_SLOT => SLOTS.get_ptr_mut(slot),
        _ => None,
    }
}

/// The slot of the current thread when it dies.
#[inline(always)]
pub fn for_death(ids: Ids) -> Option<*mut SlotHeader> {
    // SAFETY: the value is copied at once.
    match unsafe { THREADS.get(ids.tid) } {
        Some(&NO_SLOT) => None,
        Some(&slot) => SLOTS.get_ptr_mut(slot),
        None => take(ids),
    }
}

/// Takes a free slot for the current thread.
#[inline(always)]
fn take(ids: Ids) -> Option<*mut SlotHeader> {
    let Some((slot, header)) = pool::pop::<{ pool::TRIES }, _>(&SLOTS, &FREE_SLOTS) else {
        count(Counter::THREADS_WITHOUT_SLOT);
        count(Counter::CALLS_WITHOUT_SLOT);
        let _ = THREADS.insert(ids.tid, NO_SLOT, 0);
        return None;
    };
    let named = Ids::in_namespace();
    // SAFETY: the slot was free: nobody else writes to it now.
    unsafe {
        (*header).pid = ids.pid;
        (*header).tid = ids.tid;
        (*header).ns_pid = named.pid;
        (*header).ns_tid = named.tid;
        (*header).first = (*header).calls;
        (*header).death.at_ns = 0;
    }
    if THREADS.insert(ids.tid, slot, 0).is_err() {
        release(slot);
        count(Counter::CALLS_WITHOUT_SLOT);
        return None;
    }
    Some(header)
}

/// Gives a slot back.
#[inline(always)]
pub fn release(slot: u32) {
    if let Some(header) = SLOTS.get_ptr_mut(slot) {
        pool::push::<{ pool::TRIES }>(&FREE_SLOTS, slot, header.cast());
    }
}
