//! The memory of a dying thread: its stack from the stack pointer up, and windows of what its registers and the top of its stack
//! point to. Nothing can be faulted in here: a page that is not resident is not copied.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_loop, bpf_probe_read_user};
use lastwords_abi::exception::STACK_WORDS_BELOW;
use lastwords_abi::layout::{
    AS_IN_MEMORY, CHUNK_BYTES, MemoryHeader, PoolHeader, RETURN_ADDRESS, SLOT_ENDED, WINDOW_BEFORE_BYTES, WINDOW_BYTES,
    WINDOW_STACK_WORDS, Window,
};
use lastwords_abi::{Counter, REGISTER_WORDS, SlotHeader};

use crate::exceptions;
use crate::kernel::read;
use crate::maps::{CHUNKS, FREE_CHUNKS, FREE_WINDOWS, WINDOWS, config, count};
use crate::pool;
use crate::registers::Registers;
use crate::slot::Ids;
use crate::stack_end;

pub const PAGE_BYTES: u64 = 4096;
/// Return probes of one thread that are open at the same time: the kernel's own bound (`MAX_URETPROBE_DEPTH`).
const MAX_RETURNS: u32 = 64;
/// Pages at the end of a stack.
const END_PAGES: u64 = 3;
/// Below is the page of the null pointer, above the kernel.
const LOWEST_ADDRESS: u64 = 0x1_0000;
const HIGHEST_ADDRESS: u64 = 1 << 47;
/// Words of an alternate stack that are looked through for what was interrupted.
const MAX_ALT_STACK_WORDS: u32 = 32 * 1024;
/// Chunks and windows of one handled fault at the most.
const MAX_KEPT: u32 = 1024;
/// Blocks of memory that are remembered to have a window already: a power of two.
const SEEN_BLOCKS: usize = 16;

/// What the copying loops share. It lies in the slot and not on the stack: the verifier keeps account of what it knows of each word of
/// a stack, and would walk through the loops once more for each combination.
#[repr(C)]
pub struct Copier {
    pid: u64,
    tid: u64,
    /// The handled fault that it is for, or 0.
    moment_ns: u64,
    /// The last chunk and the last window that were copied for it, plus 1: each leads to the one before.
    chunks: u32,
    windows: u32,
    /// The thread's alternate signal stack, and what is looked at in it.
    alt_stack: u64,
    alt_stack_bytes: u64,
    looked_at: u64,
    /// Where the stack begins.
    start: u64,
    /// Up to where it has been copied.
    end: u64,
    /// The return probe that is looked at: `struct return_instance`.
    instance: u64,
    /// Blocks of memory that have a window: of each hash, the last one.
    seen: [u64; SEEN_BLOCKS],
}

/// The chunks and windows that were copied for a handled fault, as `Fault::chunks` and `Fault::windows` have them.
pub struct Kept {
    pub chunks: u32,
    pub windows: u32,
}

/// Copies what can be had of the current thread: for a handled fault at that time, or for its death (0). If it `aborts`, its exceptions, too.
#[inline(always)]
pub unsafe fn copy(ids: Ids, header: *mut SlotHeader, moment_ns: u64, aborts: bool) -> Kept {
    let mut context = header;
    let context: *mut c_void = (&raw mut context).cast();
    let below = if aborts { u64::from(STACK_WORDS_BELOW) * 8 } else { Registers::RED_ZONE_BYTES };
    let pages = config!(stack_bytes) / PAGE_BYTES as u32 + 1 + (below / PAGE_BYTES) as u32;
    let words = Registers::POINTER_WORDS + WINDOW_STACK_WORDS;
    // SAFETY: the slot of the current thread; the callbacks get a pointer to it that outlives the loops.
    unsafe {
        let copier = scratch(header);
        let pointer = stack_pointer(header);
        let start = pointer.wrapping_sub(below);
        let task = bpf_get_current_task();
        (*copier).pid = u64::from(ids.pid);
        (*copier).tid = u64::from(ids.tid);
        (*copier).moment_ns = moment_ns;
        (*copier).chunks = 0;
        (*copier).windows = 0;
        (*copier).start = start;
        (*copier).end = start;
        (*copier).seen = [0; SEEN_BLOCKS];
        let utask: u64 = read(task, config!(offsets.task_utask)).unwrap_or(0);
        (*copier).instance = if utask == 0 { 0 } else { read(utask, config!(offsets.utask_returns)).unwrap_or(0) };
        bpf_loop(MAX_RETURNS, copy_return as *mut c_void, context, 0);
        bpf_loop(pages, copy_page as *mut c_void, context, 0);
        bpf_loop(words, open_window as *mut c_void, context, 0);
        let end = (*copier).end;
        if aborts {
            exceptions::copy(header);
        }

        (*copier).alt_stack = read(task, config!(offsets.task_alt_stack)).unwrap_or(0);
        (*copier).alt_stack_bytes = read(task, config!(offsets.task_alt_stack_bytes)).unwrap_or(0);
        if pointer.wrapping_sub((*copier).alt_stack) < (*copier).alt_stack_bytes {
            (*copier).looked_at = pointer & !7;
            (*copier).start = 0;
            bpf_loop(MAX_ALT_STACK_WORDS, find_interrupted as *mut c_void, context, 0);
            if (*copier).start != 0 {
                bpf_loop(pages, copy_page as *mut c_void, context, 0);
            }
        }
        let copied_to = if (*copier).end > end { (*copier).end } else { end };
        // What called the thread's first function and what that called, for stacks that are too deep to be copied whole.
        let end = stack_end::find(ids, &raw mut (*header).death, copied_to);
        if end != 0 {
            let first = (end & !(PAGE_BYTES - 1)).wrapping_sub(END_PAGES * PAGE_BYTES);
            (*copier).start = if first < copied_to { copied_to } else { first };
            (*copier).end = (*copier).start;
            bpf_loop(END_PAGES as u32 + 1, copy_page as *mut c_void, context, 0);
        }
        Kept { chunks: (*copier).chunks, windows: (*copier).windows }
    }
}

/// The part of a slot that probes use while they run: none does while its thread dies or takes a signal.
#[inline(always)]
pub unsafe fn scratch(header: *mut SlotHeader) -> *mut Copier {
    // SAFETY: the caller's slot.
    unsafe { (&raw mut (*header).registers).cast() }
}

const _: () = assert!(size_of::<Copier>() <= 8 * REGISTER_WORDS);

/// Gives the entries of a handled fault back: nobody died of it.
#[inline(always)]
pub unsafe fn release(kept: Kept) {
    let mut kept = kept;
    // SAFETY: the callback gets `kept`, which outlives the loop.
    unsafe { bpf_loop(MAX_KEPT, release_one as *mut c_void, (&raw mut kept).cast(), 0) };
}

unsafe extern "C" fn release_one(_number: u32, kept: *mut c_void) -> i64 {
    let kept = kept.cast::<Kept>();
    // SAFETY: `release` passed it; the entries of its chains are owned by the fault.
    unsafe {
        if let Some(index) = (*kept).chunks.checked_sub(1)
            && let Some(chunk) = CHUNKS.get_ptr_mut(index)
        {
            (*kept).chunks = (*chunk).header.pool.next_free;
            pool::push::<{ pool::FEW_TRIES }>(&FREE_CHUNKS, index, chunk.cast());
            return 0;
        }
        if let Some(index) = (*kept).windows.checked_sub(1)
            && let Some(window) = WINDOWS.get_ptr_mut(index)
        {
            (*kept).windows = (*window).header.pool.next_free;
            pool::push::<{ pool::FEW_TRIES }>(&FREE_WINDOWS, index, window.cast());
            return 0;
        }
    }
    1
}

/// Looks at the next word of the alternate stack: where the kernel has saved that stack's own bounds (`uc_stack`), it has saved the
/// interrupted stack pointer behind them. 1 ends the loop.
unsafe extern "C" fn find_interrupted(_number: u32, context: *mut c_void) -> i64 {
    // SAFETY: `copy` passed a pointer to a slot; the helpers write eight bytes to locals of eight bytes, and check addresses.
    unsafe {
        let header = *context.cast::<*mut SlotHeader>();
        let copier = scratch(header);
        let at = (*copier).looked_at;
        (*copier).looked_at = at + 8;
        if at.wrapping_sub((*copier).alt_stack) >= (*copier).alt_stack_bytes {
            return 1;
        }
        if user_word(at) != Some((*copier).alt_stack) || user_word(at + 16) != Some((*copier).alt_stack_bytes) {
            return 0;
        }
        let interrupted = user_word(at + Registers::SAVED_STACK_POINTER_BEHIND_UC_STACK).unwrap_or(0);
        if interrupted.wrapping_sub((*copier).alt_stack) < (*copier).alt_stack_bytes {
            return 0; // a signal that interrupted another handler on this stack
        }
        (*copier).start = interrupted;
        (*copier).end = interrupted;
    }
    1
}

/// Eight bytes of the process's memory.
#[inline(always)]
pub fn user_word(at: u64) -> Option<u64> {
    let mut word = 0u64;
    // SAFETY: the helper writes eight bytes to a local of eight bytes, and checks the address.
    let failed = unsafe { bpf_probe_read_user((&raw mut word).cast(), 8, at as *const c_void) };
    (failed == 0).then_some(word)
}

/// Notes a return address in whose place the kernel has put its trampoline; 1 ends the loop.
unsafe extern "C" fn copy_return(_number: u32, context: *mut c_void) -> i64 {
    // SAFETY: `copy` passed a pointer to a slot; the window is ours until it is labelled.
    unsafe {
        let header = *context.cast::<*mut SlotHeader>();
        let copier = scratch(header);
        let instance = (*copier).instance;
        if instance == 0 {
            return 1;
        }
        let at: u64 = read(instance, config!(offsets.return_stack)).unwrap_or(0);
        (*copier).instance = read(instance, config!(offsets.return_next)).unwrap_or(0);
        let Some((index, window)) = pool::pop::<{ pool::FEW_TRIES }, _>(&WINDOWS, &FREE_WINDOWS) else {
            count(Counter::MEMORY_LOST);
            return 1;
        };
        *(&raw mut (*window).bytes).cast::<u64>() = read(instance, config!(offsets.return_address)).unwrap_or(0);
        (*window).header.kind = RETURN_ADDRESS;
        keep_window(copier, index, &raw mut (*window).header, at, 8);
    }
    0
}

/// Copies up to the end of a page of the stack; 1 ends the loop.
unsafe extern "C" fn copy_page(_number: u32, context: *mut c_void) -> i64 {
    // SAFETY: `copy` passed a pointer to a slot; the chunk is ours until it is pushed or marked.
    unsafe {
        let header = *context.cast::<*mut SlotHeader>();
        let copier = scratch(header);
        let from = (*copier).end;
        let done = from - (*copier).start;
        let length = PAGE_BYTES - (from & (PAGE_BYTES - 1));
        if done + length > u64::from(config!(stack_bytes)) + PAGE_BYTES {
            return 1;
        }
        let Some((index, chunk)) = pool::pop::<{ pool::FEW_TRIES }, _>(&CHUNKS, &FREE_CHUNKS) else {
            count(Counter::MEMORY_LOST);
            return 1;
        };
        if bpf_probe_read_user(
            (&raw mut (*chunk).bytes).cast(),
            bounded(length, CHUNK_BYTES as u32),
            from as *const c_void,
        ) != 0
        {
            pool::push::<{ pool::FEW_TRIES }>(&FREE_CHUNKS, index, chunk.cast());
            // The stack may go on: of a large array, pages that nobody has touched are not there, nor is the guard page that a stack
            // pointer is in that has overflowed.
            (*copier).end = from + length;
            return 0;
        }
        (*chunk).header.kind = AS_IN_MEMORY;
        (*chunk).header.moment_ns = (*copier).moment_ns;
        if (*copier).moment_ns != 0 {
            (*chunk).header.pool.next_free = (*copier).chunks;
            (*copier).chunks = index + 1;
        }
        label(&raw mut (*chunk).header, (*copier).pid, (*copier).tid, from, length);
        (*copier).end = from + length;
    }
    0
}

/// Opens a window on what a register or a word of the stack points to.
unsafe extern "C" fn open_window(number: u32, context: *mut c_void) -> i64 {
    // SAFETY: `copy` passed a pointer to a slot.
    unsafe {
        let header = *context.cast::<*mut SlotHeader>();
        let copier = scratch(header);
        let Some(address) = candidate(number, header) else { return 0 };
        let on_stack = address >= (*copier).start && address < (*copier).end;
        if !is_pointer(address) || on_stack || was_seen(copier, address) {
            return 0;
        }
        copy_window(copier, address)
    }
}

/// Copies what is around an address into a window of its own. For a loop's callback: 1, which ends it, where there is no room.
#[inline(always)]
pub unsafe fn copy_window(copier: *mut Copier, address: u64) -> i64 {
    let Some((index, window)) = pool::pop::<{ pool::FEW_TRIES }, _>(&WINDOWS, &FREE_WINDOWS) else {
        count(Counter::MEMORY_LOST);
        return 1;
    };
    // SAFETY: the caller's copier; the window is ours until it is pushed or labelled.
    unsafe {
        match read_window(window, address) {
            Some((at, length)) => keep_window(copier, index, &raw mut (*window).header, at, length),
            None => pool::push::<{ pool::FEW_TRIES }>(&FREE_WINDOWS, index, window.cast()),
        }
    }
    0
}

/// Copies what is around an address, into a window that the caller owns. Returns where it begins, and how long it is.
#[inline(always)]
unsafe fn read_window(window: *mut Window, address: u64) -> Option<(u64, u64)> {
    // SAFETY: the helpers write as much as the window holds, and check addresses.
    unsafe {
        let to = (&raw mut (*window).bytes).cast();
        (*window).header.kind = AS_IN_MEMORY;
        let around = address - WINDOW_BEFORE_BYTES;
        if bpf_probe_read_user(to, WINDOW_BYTES as u32, around as *const c_void) == 0 {
            return Some((around, WINDOW_BYTES as u64));
        }
        // Something at the edge of what is mapped: only what is on the same page.
        let left = PAGE_BYTES - (address & (PAGE_BYTES - 1));
        let length = if left > WINDOW_BYTES as u64 { WINDOW_BYTES as u64 } else { left };
        let copied = bpf_probe_read_user(to, bounded(length, WINDOW_BYTES as u32), address as *const c_void) == 0;
        copied.then_some((address, length))
    }
}

/// Whether there can be memory of a program.
#[inline(always)]
pub fn is_pointer(address: u64) -> bool {
    (LOWEST_ADDRESS..HIGHEST_ADDRESS).contains(&address)
}

/// The `number`th word that may lead to something: of the registers first, then of the stack.
#[inline(always)]
pub unsafe fn candidate(number: u32, header: *mut SlotHeader) -> Option<u64> {
    // SAFETY: the caller's slot, an index below the bound.
    unsafe {
        if number < Registers::POINTER_WORDS {
            let word = bounded(Registers::pointer_word(number), REGISTER_WORDS as u32 - 1);
            return (*header).death.registers.get(word as usize).copied();
        }
        user_word((stack_pointer(header) & !7).wrapping_add(u64::from(number - Registers::POINTER_WORDS) * 8))
    }
}

/// The `number`th word below the stack pointer: what calls that have returned have left there.
#[inline(always)]
pub unsafe fn below_stack_pointer(number: u32, header: *mut SlotHeader) -> Option<u64> {
    // SAFETY: the caller's slot.
    user_word((unsafe { stack_pointer(header) } & !7).wrapping_sub(u64::from(number + 1) * 8))
}

/// The stack pointer of the current thread at its death, or at a handled fault.
#[inline(always)]
pub unsafe fn stack_pointer(header: *mut SlotHeader) -> u64 {
    // SAFETY: the caller's slot.
    unsafe { (*header).death.registers[Registers::STACK_POINTER_WORD] }
}

/// Whether the block of 128 bytes is known to have a window already; remembers it. One that another has taken the place of gets a second window:
/// that costs room, which is counted, and what is left out is lost without a word.
#[inline(always)]
unsafe fn was_seen(copier: *mut Copier, address: u64) -> bool {
    let block = address >> 7;
    let hash = (block.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize;
    // SAFETY: masked into the array.
    unsafe {
        let seen = &mut (*copier).seen[hash & (SEEN_BLOCKS - 1)];
        core::mem::replace(seen, block) == block
    }
}

/// Labels a window, and chains it where it may have to be given back.
#[inline(always)]
unsafe fn keep_window(copier: *mut Copier, index: u32, header: *mut MemoryHeader, address: u64, length: u64) {
    // SAFETY: the caller's entry and copier.
    unsafe {
        (*header).moment_ns = (*copier).moment_ns;
        if (*copier).moment_ns != 0 {
            (*header).pool.next_free = (*copier).windows;
            (*copier).windows = index + 1;
        }
        label(header, (*copier).pid, (*copier).tid, address, length);
    }
}

/// Says what an entry holds, and that it is complete.
#[inline(always)]
pub unsafe fn label(header: *mut MemoryHeader, pid: u64, tid: u64, address: u64, length: u64) {
    // SAFETY: the caller's entry.
    unsafe {
        (*header).pid = pid as u32;
        (*header).tid = tid as u32;
        (*header).address = address;
        (*header).length = length as u32;
        // Last, since user space looks at it first.
        core::ptr::write_volatile(&raw mut (*header).pool.state, SLOT_ENDED);
    }
}

/// `length`, bounded where the verifier can see it. The compiler often knows that it is small enough and would drop the check; Linux 6.1 cannot
/// follow its reasons, so they are hidden from it.
#[inline(always)]
pub fn bounded(length: u64, most: u32) -> u32 {
    let mut length = length as u32;
    // SAFETY: it changes nothing. It is an instruction, and not nothing: two lines of source at one instruction are refused.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) length, options(pure, nomem, nostack, preserves_flags)) };
    if length > most { most } else { length }
}

const _: () = assert!(size_of::<PoolHeader>() == 8);
