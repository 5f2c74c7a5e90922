//! What the last calls of a dying thread pointed to, as it is now: copied from the pointers that were recorded, for user space to compare.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user};
use lastwords_abi::layout::{AS_IN_MEMORY, RECENT_CALLS, UNREADABLE, WINDOW_BYTES, ring_offset};
use lastwords_abi::record::RECORD_BYTES;
use lastwords_abi::step::{PLACES, RING};
use lastwords_abi::{Counter, SlotHeader};

use crate::calls::record_of;
use crate::maps::{FREE_WINDOWS, FUNCTIONS, STEPS, WINDOWS, config, count};
use crate::memory::{PAGE_BYTES, bounded, label};
use crate::pool;
use crate::slot::Ids;
use crate::steps::captured;

/// Steps of all those calls together: what is beyond is not copied.
const MAX_ROUNDS: u32 = 2048;

/// Where the loop is, in the interpreter's scratch registers, which nobody needs any more: what comes from a map is any number to the verifier,
/// and it walks through the loop once. On the stack it would follow each value round by round.
const SEQUENCE: usize = 0;
const CALLS: usize = 1;
const STEP: usize = 2;
/// The last window that was copied for a handled fault, plus 1, and that fault's time: see [`crate::memory::Kept`].
const WINDOWS_KEPT: usize = 3;
const MOMENT: usize = 4;

/// What the loop needs.
struct Walker {
    header: *mut SlotHeader,
    pid: u64,
    tid: u64,
}

/// Copies what the last calls of the current thread pointed to: for a handled fault at that time, of which `windows` are kept so far, or for
/// its death (0). Returns which windows are kept then.
#[inline(always)]
pub unsafe fn copy(ids: Ids, header: *mut SlotHeader, moment_ns: u64, windows: u32) -> u32 {
    let mut walker = Walker { header, pid: u64::from(ids.pid), tid: u64::from(ids.tid) };
    // SAFETY: the slot of the current thread; the callback gets `walker`, which outlives the loop.
    unsafe {
        let recorded = (*header).calls - (*header).first;
        // The newest call comes first.
        (*header).registers[SEQUENCE] = (*header).calls.wrapping_sub(1);
        (*header).registers[CALLS] =
            if recorded < u64::from(RECENT_CALLS) { recorded } else { u64::from(RECENT_CALLS) };
        (*header).registers[STEP] = 0;
        (*header).registers[WINDOWS_KEPT] = u64::from(windows);
        (*header).registers[MOMENT] = moment_ns;
        bpf_loop(MAX_ROUNDS, look_at_step as *mut c_void, (&raw mut walker).cast(), 0);
        (*header).registers[WINDOWS_KEPT] as u32
    }
}

/// Copies what one step read, or goes on to the call before; 1 ends the loop.
unsafe extern "C" fn look_at_step(_number: u32, walker: *mut c_void) -> i64 {
    let walker = walker.cast::<Walker>();
    // SAFETY: `copy` passed its walker.
    unsafe {
        let header = (*walker).header;
        let calls = (*header).registers[CALLS];
        if calls == 0 {
            return 1;
        }
        let step = (*header).registers[STEP];
        (*header).registers[STEP] = step + 1;
        if copy_step(walker, header, step as u32).is_none() {
            (*header).registers[CALLS] = calls - 1;
            (*header).registers[SEQUENCE] = (*header).registers[SEQUENCE].wrapping_sub(1);
            (*header).registers[STEP] = 0;
        }
    }
    0
}

/// `None` where the call has no such step.
#[inline(always)]
unsafe fn copy_step(walker: *mut Walker, header: *mut SlotHeader, number: u32) -> Option<()> {
    // SAFETY: the walker's slot; `record_of` masks the position of the record into the ring, and `captured` bounds the offset.
    unsafe {
        let (record, in_ring) = record_of(header, (*header).registers[SEQUENCE])?;
        let function = FUNCTIONS.get_ptr((*record).function)?;
        if number >= u32::from((*function).step_count) {
            return None;
        }
        let step = STEPS.get((*function).first_step + number)?;
        // Tables and queues would cost more words than they are worth: then is told of them, and not now.
        if !step.follows() || step.op == PLACES || step.op == RING {
            return Some(());
        }
        let ring = ring_offset(config!(index_entries), config!(open_sets));
        let data = u64::from(ring) + u64::from(in_ring) + u64::from(RECORD_BYTES);
        let base = captured(header, data, step.base);
        if base != 0 {
            window(walker, base.wrapping_add_signed(i64::from(step.offset)), u64::from(step.size));
        }
    }
    Some(())
}

/// Copies up to a window's size. Where that is not all there, what is on the first page; where nothing is, it says so.
#[inline(always)]
unsafe fn window(walker: *mut Walker, from: u64, wanted: u64) {
    let Some((index, window)) = pool::pop::<{ pool::FEW_TRIES }, _>(&WINDOWS, &FREE_WINDOWS) else {
        count(Counter::MEMORY_LOST);
        return;
    };
    let on_page = PAGE_BYTES - (from & (PAGE_BYTES - 1));
    // SAFETY: the window is ours until it is labelled.
    unsafe {
        let to = (&raw mut (*window).bytes).cast();
        let mut length = bounded(wanted, WINDOW_BYTES as u32);
        let mut kind = AS_IN_MEMORY;
        if bpf_probe_read_user(to, length, from as *const c_void) != 0 {
            length = bounded(on_page, length);
            if bpf_probe_read_user(to, bounded(u64::from(length), WINDOW_BYTES as u32), from as *const c_void) != 0 {
                kind = UNREADABLE;
            }
        }
        (*window).header.kind = kind;
        let header = (*walker).header;
        (*window).header.moment_ns = (*header).registers[MOMENT];
        if (*window).header.moment_ns != 0 {
            (*window).header.pool.next_free = (*header).registers[WINDOWS_KEPT] as u32;
            (*header).registers[WINDOWS_KEPT] = u64::from(index + 1);
        }
        let length = if kind == UNREADABLE { on_page } else { u64::from(length) };
        label(&raw mut (*window).header, (*walker).pid, (*walker).tid, from, length);
    }
}
