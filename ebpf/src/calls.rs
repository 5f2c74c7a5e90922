//! Calls: a record at entry, its completion at return.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use lastwords_abi::layout::{INDEX_OFFSET, OPEN_WAYS, OpenCall, open_offset, open_set, ring_offset};
use lastwords_abi::record::{RECORD_BYTES, RESULT_BYTES, RETURN_UNKNOWN, RETURNED, Record};
use lastwords_abi::step::MUTED;
use lastwords_abi::{Function, SlotHeader, align8, cookie};

use crate::maps::{FUNCTIONS, add, config};
use crate::registers::Registers;
use crate::slot::{self, Caller};
use crate::steps::{self, Run};

/// In the place of a function's index: the newest call in a frame, whichever function it is of.
pub const ANY_FUNCTION: u32 = u32::MAX;

/// What one call is charged for following pointers at the most, in nanoseconds: if it took longer, the thread had to wait meanwhile.
const LONGEST_NS: u64 = 1 << 16;
/// Of so many calls, one is timed for what following pointers takes, and stands for all of them: the clock takes as long as reading a short text.
const CALLS_A_TIMED_ONE: u64 = 8;

/// Records that the function in this cookie was entered. `None` if it is not recorded: not any more, not by this generation of probes, or not
/// of this thread.
#[inline(always)]
pub fn enter(registers: &Registers, cookie: u64) -> Option<()> {
    let index = cookie::function(cookie);
    let live = FUNCTIONS.get_ptr_mut(index)?;
    // SAFETY: plain numbers in a map value; user space writes the generation alone, the kernel side the hits.
    let function = unsafe { core::ptr::read_volatile(live) };
    if function.generation < cookie::generation(cookie) {
        if function.generation == MUTED && slot::existing().is_some() {
            // SAFETY: a field of a map value.
            add(unsafe { &raw mut (*live).extra_ns }, function.entry_ns.into());
        }
        return None;
    }
    let header = match slot::of_call() {
        Caller::Recorded(header) => header,
        Caller::WithoutSlot => {
            add_hit(live);
            return None;
        }
        Caller::Other => return None,
    };
    // SAFETY: only the current thread writes to its slot.
    unsafe {
        let last = (*header).last_entry;
        if cookie::function(last) == index && cookie::generation(last) > cookie::generation(cookie) {
            return None;
        }
        (*header).last_entry = cookie;
    }
    let cfa = registers.stack_pointer().wrapping_add_signed(i64::from(function.cfa_offset));
    // SAFETY: plain numbers in map values; only the current thread writes to its slot.
    unsafe {
        if function.turn_ns != 0 && (*header).turn_function == u64::from(index) + 1 {
            (*header).turn_function = 0;
            if (*header).turn_cfa == cfa {
                add(&raw mut (*live).extra_ns, function.turn_ns.into());
                return None;
            }
        }
    }
    add_hit(live);
    let entered_ns = now();

    // SAFETY: only the current thread writes to its slot. `head` is masked to lie in the ring, and the slack behind the ring
    // has room for the largest record.
    unsafe {
        let sequence = (*header).calls;
        let position = (*header).head;
        let in_ring = position as u32 & (config!(ring_bytes) - 1);
        let room = function.exit_bytes.min(config!(data_bytes));
        let mut data_bytes = room;
        if function.step_count != 0 {
            registers.save(&raw mut (*header).registers);
            data_bytes = steps::run_entry(header, in_ring, Run::of_entry(&function, room));
        }

        let record = record_at(header, in_ring);
        (*record).sequence = sequence;
        (*record).entered_ns = entered_ns;
        (*record).returned_ns = 0;
        (*record).cfa = cfa;
        (*record).function = index;
        (*record).data_bytes = data_bytes;
        (*record).flags = 0;
        (*record).reserved = 0;

        *index_entry(header, sequence) = position;
        (*header).head = next_position(position, in_ring + RECORD_BYTES + align8(data_bytes));
        (*header).calls = sequence + 1;
        if function.returns != 0 {
            open(header, cfa, sequence, index);
        }
        if function.step_count > function.register_steps && is_timed(sequence) {
            charge(live, entered_ns);
        }
    }
    Some(())
}

/// Notes that the function with this index is about to come back to its first instruction, in the frame whose return address lies at the
/// stack pointer.
#[inline(always)]
pub fn turn(registers: &Registers, index: u32) -> Option<()> {
    let header = slot::existing()?;
    // SAFETY: only the current thread writes to its slot.
    unsafe {
        (*header).turn_cfa = registers.stack_pointer() + Registers::RETURN_ADDRESS_BYTES;
        (*header).turn_function = u64::from(index) + 1;
    }
    Some(())
}

/// Counts a hit of an instruction that leaves the function with this index, by a thread that is watched. `None` if the function is not recorded
/// any more.
#[inline(always)]
pub fn count_exit(index: u32) -> Option<()> {
    let function = FUNCTIONS.get_ptr_mut(index)?;
    // SAFETY: plain numbers in a map value.
    unsafe {
        add(&raw mut (*function).exit_hits, 1);
        (core::ptr::read_volatile(&raw const (*function).generation) != MUTED).then_some(())
    }
}

/// Records that the current thread's call of the function with this index, in the frame that is about to end or has just ended, returned.
/// `header` is that of its own slot, and `flag` is `RETURNED` or `LEFT_BY_TAIL_CALL`.
#[inline(always)]
pub fn leave(header: *mut SlotHeader, registers: &Registers, index: u32, cfa: u64, flag: u32) -> Option<()> {
    let returned_ns = now();
    let set = open_set(cfa, config!(open_sets));
    let number = if index == ANY_FUNCTION { newest(header, set, cfa) } else { 0 };
    for way in 0..OPEN_WAYS {
        // SAFETY: `set` and `way` are in bounds, and only the current thread writes to its slot.
        unsafe {
            let open = open_entry(header, set, way);
            let is_it = if index == ANY_FUNCTION { (*open).number == number } else { (*open).function == index };
            if (*open).cfa != cfa || !is_it || (*open).number == 0 {
                continue;
            }
            let index = (*open).function;
            let sequence = (*open).number - 1;
            (*open).number = 0;
            if let Some((record, in_ring)) = record_of(header, sequence).filter(|_| sequence >= (*header).first) {
                (*record).returned_ns = returned_ns;
                if flag == RETURNED {
                    (*record).value = registers.results();
                    capture(header, in_ring, sequence, index, returned_ns);
                }
                (*record).flags |= flag;
            }
            return Some(());
        }
    }
    None
}

/// The highest number of an open call in this frame; 0 if there is none. Of calls that share a frame, the last one returns first.
#[inline(always)]
fn newest(header: *mut SlotHeader, set: u32, cfa: u64) -> u64 {
    let mut newest = 0;
    for way in 0..OPEN_WAYS {
        // SAFETY: `set` and `way` are in bounds, and only the current thread writes to its slot.
        unsafe {
            let open = open_entry(header, set, way);
            if (*open).cfa == cfa && (*open).number > newest {
                newest = (*open).number;
            }
        }
    }
    newest
}

/// What there is to capture when the function returns.
#[inline(always)]
unsafe fn capture(header: *mut SlotHeader, in_ring: u32, sequence: u64, index: u32, returned_ns: u64) -> Option<()> {
    // SAFETY: plain numbers in a map value that nobody writes after the start; the caller's slot and record.
    unsafe {
        let function = FUNCTIONS.get_ptr_mut(index)?;
        let step_count = (*function).exit_step_count;
        if step_count != 0 {
            let first_step = (*function).first_step + u32::from((*function).step_count);
            let run = Run { first_step, step_count, register_steps: 0, behind: RESULT_BYTES };
            steps::run_exit(header, in_ring, run);
            if is_timed(sequence) {
                charge(function, returned_ns);
            }
        }
    }
    Some(())
}

/// Remembers that a call is open. Where its set is full, the oldest of it is forgotten, and its record says so.
#[inline(always)]
unsafe fn open(header: *mut SlotHeader, cfa: u64, sequence: u64, index: u32) {
    let set = open_set(cfa, config!(open_sets));
    // SAFETY: `set` and `way` are in bounds, and only the current thread writes to its slot.
    unsafe {
        let mut chosen = open_entry(header, set, 0);
        let mut oldest = u64::MAX;
        for way in 0..OPEN_WAYS {
            let open = open_entry(header, set, way);
            // A frame that comes again at the same address: the earlier call was left without returning.
            let number = if (*open).cfa == cfa && (*open).function == index { 0 } else { (*open).number };
            if number < oldest {
                oldest = number;
                chosen = open;
            }
        }
        let evicted = (*chosen).number;
        if evicted != 0 && !((*chosen).cfa == cfa && (*chosen).function == index) {
            if let Some((record, _)) = record_of(header, evicted - 1) {
                (*record).flags |= RETURN_UNKNOWN;
            }
        }
        (*chosen).cfa = cfa;
        (*chosen).number = sequence + 1;
        (*chosen).function = index;
    }
}

/// The position behind a record that ends at `end` in the ring: the next lap where it has reached into the slack.
#[inline(always)]
fn next_position(position: u64, end: u32) -> u64 {
    let ring = u64::from(config!(ring_bytes));
    let lap = position & !(ring - 1);
    if u64::from(end) >= ring { lap + ring } else { lap + u64::from(end) }
}

/// The record of call number `sequence` and its place in the ring, if it has not been overwritten.
#[inline(always)]
pub unsafe fn record_of(header: *mut SlotHeader, sequence: u64) -> Option<(*mut Record, u32)> {
    // SAFETY: masked into the ring.
    unsafe {
        if (*header).calls.wrapping_sub(sequence) > u64::from(config!(index_entries)) {
            return None;
        }
        let position = *index_entry(header, sequence);
        if (*header).head.wrapping_sub(position) > u64::from(config!(ring_bytes)) {
            return None;
        }
        let in_ring = position as u32 & (config!(ring_bytes) - 1);
        let record = record_at(header, in_ring);
        ((*record).sequence == sequence).then_some((record, in_ring))
    }
}

/// The record at this offset in the ring.
#[inline(always)]
unsafe fn record_at(header: *mut SlotHeader, in_ring: u32) -> *mut Record {
    let ring = ring_offset(config!(index_entries), config!(open_sets));
    // SAFETY: the caller masked the offset.
    unsafe { header.byte_add(ring as usize + in_ring as usize).cast() }
}

/// The index's entry for call number `sequence`.
#[inline(always)]
unsafe fn index_entry(header: *mut SlotHeader, sequence: u64) -> *mut u64 {
    let entry = sequence as u32 & (config!(index_entries) - 1);
    // SAFETY: masked into the index.
    unsafe { header.byte_add(INDEX_OFFSET as usize + entry as usize * 8).cast() }
}

/// One entry of the table of open calls.
#[inline(always)]
unsafe fn open_entry(header: *mut SlotHeader, set: u32, way: u32) -> *mut OpenCall {
    let entry = set * OPEN_WAYS + way;
    let table = open_offset(config!(index_entries));
    // SAFETY: `open_set` masks the set, and `way` is below `OPEN_WAYS`.
    unsafe { header.byte_add(table as usize + entry as usize * size_of::<OpenCall>()).cast() }
}

/// Counts a call, for user space to see which functions are called how often. Several threads may.
#[inline(always)]
fn add_hit(function: *mut Function) {
    // SAFETY: a field of a map value.
    add(unsafe { &raw mut (*function).hits }, 1);
}

/// Whether call number `sequence` of a thread is one of those that are timed. Their numbers are spread by Fibonacci hashing: functions that take turns
/// in whatever order have equal parts of them.
#[inline(always)]
fn is_timed(sequence: u64) -> bool {
    sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - CALLS_A_TIMED_ONE.ilog2()) == CALLS_A_TIMED_ONE - 1
}

/// Charges a function for what has happened since then, in this call and in those that are not timed: what following pointers takes, is not known
/// beforehand.
#[inline(always)]
fn charge(function: *mut Function, since_ns: u64) {
    let took_ns = (now() - since_ns).min(LONGEST_NS);
    // SAFETY: a field of a map value.
    add(unsafe { &raw mut (*function).extra_ns }, took_ns * CALLS_A_TIMED_ONE);
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}
