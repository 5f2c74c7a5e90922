//! The interpreter of capture plans.
//!
//! Every bound is given to the verifier twice: where to write (the cursor) and how much. See `MAX_OUTPUT_BYTES` for why the two
//! need not be related.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_copy_from_user, bpf_loop, bpf_probe_read_user, bpf_probe_read_user_str};
use lastwords_abi::layout::ring_offset;
use lastwords_abi::record::{RECORD_BYTES, RESULT_BYTES};
use lastwords_abi::step::{
    COUNTED, ELEMENTS, FAULT, FOLLOW, MEMORY, NOT_IN_MEMORY, NULL, OUTCOME_BYTES, PARTIAL, PLACES, READ, REGISTER,
    RING, STRING, TRUNCATED, WORD,
};
use lastwords_abi::{Function, MAX_COPY_BYTES, MAX_STEPS, Outcome, REGISTER_WORDS, SlotHeader, Step, align8};

use crate::maps::{STEPS, config};
use crate::memory::bounded;

const PAGE_BYTES: u64 = 4096;

/// Where the interpreter is. All 64-bit: that is what the verifier follows through the stack.
struct Interpreter {
    header: *mut SlotHeader,
    /// Where in the slot the offsets of the steps count from.
    data: u64,
    /// Bytes of data so far.
    cursor: u64,
    first_step: u64,
}

/// Leading steps that only copy a register and are not worth a loop of the kernel's, whose rounds are calls through a pointer.
const SIMPLE_STEPS: u32 = 6;

/// The steps of one event of a function.
#[derive(Clone, Copy)]
pub struct Run {
    /// Index of the first of them.
    pub first_step: u32,
    /// How many there are.
    pub step_count: u32,
    /// How many of the first only copy a register.
    pub register_steps: u32,
    /// Bytes of the record's data in front of their output.
    pub behind: u32,
}

impl Run {
    /// The steps at the entry of a function, whose records' data begin with this room for what its return will add.
    #[inline(always)]
    pub fn of_entry(function: &Function, room: u32) -> Self {
        Self {
            first_step: function.first_step,
            step_count: u32::from(function.step_count),
            register_steps: u32::from(function.register_steps),
            behind: room,
        }
    }
}

/// Runs the steps of an entry; the output lands behind the record at `in_ring`. Returns the bytes of its data.
#[inline(always)]
pub unsafe fn run_entry(header: *mut SlotHeader, in_ring: u32, run: Run) -> u32 {
    // SAFETY: the caller's slot.
    unsafe { interpret(header, in_ring + RECORD_BYTES, run) }
}

/// Runs the steps of a return; the output lands in the room that the record at `in_ring` has for it, behind the results.
#[inline(always)]
pub unsafe fn run_exit(header: *mut SlotHeader, in_ring: u32, run: Run) {
    // SAFETY: the caller's slot.
    unsafe { interpret(header, in_ring + RECORD_BYTES - RESULT_BYTES, run) };
}

/// Runs steps whose offsets count from this place in the ring.
#[inline(always)]
unsafe fn interpret(header: *mut SlotHeader, in_ring: u32, run: Run) -> u32 {
    let ring = ring_offset(config!(index_entries), config!(open_sets));
    let data = u64::from(ring) + u64::from(in_ring);
    let simple = run.register_steps.min(SIMPLE_STEPS);
    for number in 0..SIMPLE_STEPS {
        if number >= simple {
            break;
        }
        let Some(step) = STEPS.get(run.first_step + number) else { return run.behind };
        let at = data as usize + run.behind as usize + number as usize * 8;
        // SAFETY: the slack behind the ring has room for more than these.
        unsafe { *header.byte_add(at).cast() = register(header, step.register) };
    }
    let left = run.step_count.min(MAX_STEPS).saturating_sub(simple);
    let cursor = run.behind + simple * 8;
    if left == 0 || cursor > config!(data_bytes) {
        return cursor.min(config!(data_bytes));
    }
    // By way of memory, where the verifier forgets which of the rounds above there were: it would walk on from each of them, and Linux 6.1
    // even from those that cannot be. No step reads the last of the saved registers, the processor's flags.
    // SAFETY: a word of the caller's slot.
    let cursor = unsafe {
        let forgotten = &raw mut (*header).registers[REGISTER_WORDS - 1];
        core::ptr::write_volatile(forgotten, cursor.into());
        core::ptr::read_volatile(forgotten)
    };
    let cursor = u64::from(bounded(cursor, config!(data_bytes)));
    let first_step = u64::from(run.first_step) + u64::from(simple);
    let mut state = Interpreter { header, data, cursor, first_step };
    // SAFETY: the callback gets `state`, which outlives the loop.
    unsafe {
        if left == 1 {
            if let Some(end) = text_in_memory(&state) {
                return end.min(config!(data_bytes));
            }
            step(0, (&raw mut state).cast());
        } else {
            bpf_loop(left, step as *mut c_void, (&raw mut state).cast(), 0);
        }
    }
    (state.cursor as u32).min(config!(data_bytes))
}

/// Where the data end, if what is left to do is to copy a text whose pages are in memory: the usual case, without a call.
#[inline(always)]
fn text_in_memory(state: &Interpreter) -> Option<u32> {
    let step = STEPS.get(state.first_step as u32).filter(|step| step.op == STRING)?;
    // SAFETY: as in `step`.
    let to = unsafe { state.header.byte_add(state.data as usize + state.cursor as usize).cast::<u8>() };
    let output = Output { header: state.header, data: state.data, to };
    let (base, limit) = output.text(step);
    let (status, length) = output.read_string(limit, address(base, step)).filter(|_| base != 0)?;
    Some(state.cursor as u32 + output.string_end(status, length))
}

/// One step; 1 ends the loop.
unsafe extern "C" fn step(number: u32, state: *mut c_void) -> i64 {
    let state = state.cast::<Interpreter>();
    // SAFETY: `run` passed its state.
    let (header, data, cursor, first) =
        unsafe { ((*state).header, (*state).data, (*state).cursor, (*state).first_step) };
    if cursor > u64::from(config!(data_bytes)) {
        return 1;
    }
    let Some(step) = STEPS.get(first as u32 + number) else { return 1 };
    // SAFETY: `data` plus the largest cursor and output lie in the slot, see `slot_bytes`.
    let to = unsafe { header.byte_add(data as usize + cursor as usize).cast::<u8>() };
    let output = Output { header, data, to };
    let written = match step.op {
        REGISTER => output.register(step),
        MEMORY => output.fixed(step, register(header, step.register)),
        FOLLOW => output.fixed(step, captured(header, data, step.base)),
        STRING => output.string(step),
        COUNTED | ELEMENTS | PLACES | RING => output.counted(step),
        WORD => output.word(step),
        _ => return 1,
    };
    // SAFETY: as above.
    unsafe { (*state).cursor = cursor + u64::from(written) };
    0
}

/// Where a step writes.
struct Output {
    header: *mut SlotHeader,
    data: u64,
    to: *mut u8,
}

impl Output {
    #[inline(always)]
    fn register(&self, step: &Step) -> u32 {
        // SAFETY: 8 of the `MAX_OUTPUT_BYTES` that follow `to`.
        unsafe { *self.to.cast() = register(self.header, step.register) };
        8
    }

    /// A pointer or a length that was captured before.
    #[inline(always)]
    fn word(&self, step: &Step) -> u32 {
        // SAFETY: 8 of the `MAX_OUTPUT_BYTES` that follow `to`.
        unsafe { *self.to.cast() = captured(self.header, self.data, step.base & !7) };
        8
    }

    /// Memory of a size that the plan knows.
    #[inline(always)]
    fn fixed(&self, step: &Step, base: u64) -> u32 {
        let size = u32::from(step.size).min(MAX_COPY_BYTES);
        let null = step.op == FOLLOW && base == 0;
        let (status, length) = if null { (NULL, self.clear(size)) } else { self.copy(size, address(base, step)) };
        self.outcome(status, length);
        OUTCOME_BYTES + align8(size)
    }

    /// A NUL-terminated string.
    #[inline(always)]
    fn string(&self, step: &Step) -> u32 {
        let (base, limit) = self.text(step);
        let (status, length) = if base == 0 { (NULL, 0) } else { self.copy_string(limit, address(base, step)) };
        self.string_end(status, length)
    }

    /// The pointer to a string, and how much of it is wanted.
    #[inline(always)]
    fn text(&self, step: &Step) -> (u64, u32) {
        (captured(self.header, self.data, step.base), u32::from(step.size).min(MAX_COPY_BYTES))
    }

    /// Says how a string was read; its bytes with that.
    #[inline(always)]
    fn string_end(&self, status: u16, length: u32) -> u32 {
        self.outcome(status, length);
        OUTCOME_BYTES + align8(length.min(MAX_COPY_BYTES))
    }

    /// Elements whose number was captured before.
    #[inline(always)]
    fn counted(&self, step: &Step) -> u32 {
        let limit = u32::from(step.size).min(MAX_COPY_BYTES);
        let base = captured(self.header, self.data, step.base);
        let count = captured(self.header, self.data, step.count) & mask_of(step.count_size);
        let first = if step.op == RING { captured(self.header, self.data, step.first_at()) } else { 0 };
        // No element is smaller than a byte: more than the limit is too much whatever its size.
        let wanted = match step.element {
            // Up to an address. One before the beginning is as far as can be.
            0 => count.wrapping_sub(base),
            element => (count.min(u64::from(MAX_COPY_BYTES) + 1) + u64::from(step.op == PLACES)) * u64::from(element),
        };
        let size = wanted.min(u64::from(limit)) as u32;
        let is_fixed = step.op != COUNTED;
        if is_fixed {
            self.clear(limit);
        }
        let (status, length) = if size == 0 {
            (READ, 0)
        } else if base == 0 {
            (NULL, 0)
        } else {
            self.copy(size, step.address(base, count, first))
        };
        let cut = status == READ && wanted > u64::from(size);
        self.outcome(if cut { TRUNCATED } else { status }, length);
        OUTCOME_BYTES + align8(if is_fixed { limit } else { length.min(MAX_COPY_BYTES) })
    }

    /// Copies `size` bytes. Where that faults, with page faults allowed; where that fails too, what lies before the next page.
    #[inline(always)]
    fn copy(&self, size: u32, from: u64) -> (u16, u32) {
        let to = self.bytes();
        let size = copyable(size);
        // SAFETY: `size` bytes follow `to`, see `MAX_OUTPUT_BYTES`; the helpers check the user address.
        unsafe {
            if bpf_probe_read_user(to, size, from as *const c_void) == 0 || read_waiting(to, size, from) {
                return (READ, size);
            }
            let before_next_page = (PAGE_BYTES - (from & (PAGE_BYTES - 1))) as u32;
            if before_next_page < size {
                let part = copyable(before_next_page);
                if read_waiting(to, part, from) {
                    return (PARTIAL, part);
                }
            }
        }
        (FAULT, 0)
    }

    /// Zeroes `size` bytes, so that pointers in them are not followed; says that none is valid. The helper does that where it cannot read
    /// (`bpf_probe_read_user_common`), and refuses this address without a try.
    #[inline(always)]
    fn clear(&self, size: u32) -> u32 {
        // SAFETY: as in `copy`.
        unsafe { bpf_probe_read_user(self.bytes(), copyable(size), u64::MAX as *const c_void) };
        0
    }

    /// Copies a string: first without page faults, then after touching its first page, then after touching its second.
    #[inline(always)]
    fn copy_string(&self, limit: u32, from: u64) -> (u16, u32) {
        if let Some(done) = self.read_string(limit, from) {
            return done;
        }
        if !self.touch(from) {
            return (FAULT, 0);
        }
        if let Some(done) = self.read_string(limit, from) {
            return done;
        }
        let before_next_page = PAGE_BYTES - (from & (PAGE_BYTES - 1));
        if before_next_page <= u64::from(limit) {
            if self.touch(from + before_next_page) {
                if let Some(done) = self.read_string(limit, from) {
                    return done;
                }
            }
            let (status, length) = self.copy(before_next_page as u32, from);
            return if status == READ { (PARTIAL, length) } else { (FAULT, 0) };
        }
        (FAULT, 0)
    }

    /// One try without page faults. Two bytes more than the limit are asked for, so that a string of just that length differs from
    /// a longer one.
    #[inline(always)]
    fn read_string(&self, limit: u32, from: u64) -> Option<(u16, u32)> {
        let room = copyable(limit) + 2;
        // SAFETY: `room` bytes follow `to`, see `MAX_OUTPUT_BYTES`.
        let read = unsafe { bpf_probe_read_user_str(self.bytes(), room, from as *const c_void) };
        if read < 0 {
            return None;
        }
        // The NUL is counted; by Linux 6.1 not that of an empty string.
        let length = (read as u32).saturating_sub(1);
        Some(if length > limit { (TRUNCATED, limit) } else { (READ, length) })
    }

    /// Faults the page in; false if there is nothing to read.
    #[inline(always)]
    fn touch(&self, address: u64) -> bool {
        // SAFETY: one byte follows `to`.
        unsafe { read_waiting(self.bytes(), 1, address) }
    }

    /// Behind the outcome.
    #[inline(always)]
    fn bytes(&self) -> *mut c_void {
        // SAFETY: in the slot, see `MAX_OUTPUT_BYTES`.
        unsafe { self.to.add(OUTCOME_BYTES as usize).cast() }
    }

    #[inline(always)]
    fn outcome(&self, status: u16, length: u32) {
        let is_short = status == FAULT || status == PARTIAL;
        let status = if is_short && config!(waits_for_pages) == 0 { NOT_IN_MEMORY } else { status };
        // SAFETY: 8 of the bytes that follow `to`, aligned to 8 as every output is.
        unsafe { *self.to.cast() = Outcome { status, reserved: 0, length } };
    }
}

/// A size that may be copied at once.
#[inline(always)]
fn copyable(size: u32) -> u32 {
    bounded(size.into(), MAX_COPY_BYTES)
}

/// A saved register; 0 for one that does not exist.
#[inline(always)]
fn register(header: *mut SlotHeader, word: u8) -> u64 {
    if usize::from(word) >= REGISTER_WORDS {
        return 0;
    }
    // SAFETY: checked above.
    unsafe { (*header).registers[usize::from(word)] }
}

/// What was captured at this offset, as an integer of up to eight bytes that is aligned to its size: plans promise that.
#[inline(always)]
pub fn captured(header: *mut SlotHeader, data: u64, offset: u16) -> u64 {
    let offset = u32::from(offset).min(config!(data_bytes));
    let (word, byte) = (offset & !7, offset & 7);
    // SAFETY: in the slot: `data` is in the ring, and the slack has room for the largest record.
    let value: u64 = unsafe { *header.byte_add(data as usize + word as usize).cast() };
    value >> (byte * 8)
}

#[inline(always)]
fn address(base: u64, step: &Step) -> u64 {
    base.wrapping_add_signed(i64::from(step.offset))
}

/// The bits of an integer of `bytes` bytes.
#[inline(always)]
fn mask_of(bytes: u16) -> u64 {
    match bytes {
        1 => 0xff,
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

/// Copies memory, and waits for its pages if they are not there; where programs may not wait (before Linux 6.0), as far as they are. The verifier
/// knows which of the two this kernel is, and does not see the other.
#[inline(always)]
unsafe fn read_waiting(to: *mut c_void, size: u32, from: u64) -> bool {
    // SAFETY: the caller's place has room for as much; the helpers check the address.
    unsafe {
        if config!(waits_for_pages) == 1 {
            bpf_copy_from_user(to, size, from as *const c_void) == 0
        } else {
            bpf_probe_read_user(to, size, from as *const c_void) == 0
        }
    }
}
