//! The memory of a dying thread: its stack from the stack pointer up, and windows of what its registers and the top of its stack
//! point to. Nothing can be faulted in here: a page that is not resident is not copied.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_loop, bpf_probe_read_user};
use lastwords_abi::layout::{
    AS_IN_MEMORY, CHUNK_BYTES, MemoryHeader, PoolHeader, RETURN_ADDRESS, SLOT_ENDED, WINDOW_BEFORE_BYTES, WINDOW_BYTES,
    WINDOW_STACK_WORDS,
};
use lastwords_abi::{Counter, REGISTER_WORDS, ThreadState};

use crate::kernel::read;
use crate::maps::{CHUNKS, FREE_CHUNKS, FREE_WINDOWS, WINDOWS, config, count};
use crate::pool;
use crate::registers::Registers;
use crate::slot::Ids;

pub const PAGE_BYTES: u64 = 4096;
/// Return probes of one thread that are open at the same time: the kernel's own bound (`MAX_URETPROBE_DEPTH`).
const MAX_RETURNS: u32 = 64;
/// Pages at the end of a stack.
const END_PAGES: u64 = 3;
/// Below is the page of the null pointer, above the kernel.
const LOWEST_ADDRESS: u64 = 0x1_0000;
const HIGHEST_ADDRESS: u64 = 1 << 47;
/// Words of the set of places that have a window already.
const SEEN_WORDS: usize = 8;

/// What the copying loops share.
struct Copier {
    state: *const ThreadState,
    pid: u64,
    tid: u64,
    /// Where the stack begins.
    start: u64,
    /// Up to where it has been copied.
    end: u64,
    /// Pages of it that have been.
    copied: u64,
    /// The return probe that is looked at: `struct return_instance`.
    instance: u64,
    /// What the kernel puts in the place of return addresses that it watches; 0 where that is not known.
    trampoline: u64,
    /// Which blocks of memory have a window: bits by the block's hash.
    seen: [u64; SEEN_WORDS],
}

/// Copies what can be had of the current thread.
#[inline(always)]
pub unsafe fn copy(ids: Ids, state: *const ThreadState) {
    // SAFETY: the caller's struct in a map.
    let start = unsafe { (*state).registers[Registers::STACK_POINTER_WORD] }.wrapping_sub(Registers::RED_ZONE_BYTES);
    let mut copier = Copier {
        state,
        pid: u64::from(ids.pid),
        tid: u64::from(ids.tid),
        start,
        end: start,
        copied: 0,
        instance: 0,
        trampoline: 0,
        seen: [0; SEEN_WORDS],
    };
    let pages = config!(stack_bytes) / PAGE_BYTES as u32 + 1;
    let words = Registers::POINTER_WORDS + WINDOW_STACK_WORDS;
    // SAFETY: the callbacks get `copier`, which outlives the loops.
    unsafe {
        let task = bpf_get_current_task();
        let utask: u64 = read(task, config!(offsets.task_utask)).unwrap_or(0);
        copier.instance = if utask == 0 { 0 } else { read(utask, config!(offsets.utask_returns)).unwrap_or(0) };
        copier.trampoline = trampoline(task);
        bpf_loop(MAX_RETURNS, copy_return as *mut c_void, (&raw mut copier).cast(), 0);
        bpf_loop(pages, copy_page as *mut c_void, (&raw mut copier).cast(), 0);
        bpf_loop(words, open_window as *mut c_void, (&raw mut copier).cast(), 0);
        if ids.pid == ids.tid {
            // What called `main` and what main called first, for stacks that are too deep to be copied whole.
            let mm: u64 = read(task, config!(offsets.task_mm)).unwrap_or(0);
            let end: u64 = read(mm, config!(offsets.mm_start_stack)).unwrap_or(0);
            copier.start = (end & !(PAGE_BYTES - 1)).wrapping_sub(END_PAGES * PAGE_BYTES);
            if end != 0 && copier.start >= copier.end {
                copier.end = copier.start;
                bpf_loop(END_PAGES as u32 + 1, copy_page as *mut c_void, (&raw mut copier).cast(), 0);
            }
        }
    }
}

/// Where the current process has the kernel's return trampoline (`uprobe_get_trampoline_vaddr`).
#[inline(always)]
fn trampoline(task: u64) -> u64 {
    if config!(offsets.mm_xol_area) == 0 {
        return 0;
    }
    let mm: u64 = read(task, config!(offsets.task_mm)).unwrap_or(0);
    let area: u64 = read(mm, config!(offsets.mm_xol_area)).unwrap_or(0);
    if area == 0 { 0 } else { read(area, config!(offsets.xol_area_address)).unwrap_or(0) }
}

/// Notes a return address in whose place the kernel has put its trampoline; 1 ends the loop.
unsafe extern "C" fn copy_return(_number: u32, copier: *mut c_void) -> i64 {
    let copier = copier.cast::<Copier>();
    // SAFETY: `copy` passed its copier; the window is ours until it is labelled.
    unsafe {
        let instance = (*copier).instance;
        if instance == 0 {
            return 1;
        }
        let at: u64 = read(instance, config!(offsets.return_stack)).unwrap_or(0);
        (*copier).instance = read(instance, config!(offsets.return_next)).unwrap_or(0);
        // Where the program has overwritten it, that is what the program had.
        let mut word = 0u64;
        bpf_probe_read_user((&raw mut word).cast(), 8, at as *const c_void);
        if (*copier).trampoline != 0 && word != (*copier).trampoline {
            return 0;
        }
        let Some((_, window)) = pool::pop::<{ pool::FEW_TRIES }, _>(&WINDOWS, &FREE_WINDOWS) else {
            count(Counter::MEMORY_LOST);
            return 1;
        };
        *(&raw mut (*window).bytes).cast::<u64>() = read(instance, config!(offsets.return_address)).unwrap_or(0);
        (*window).header.kind = RETURN_ADDRESS;
        label(&raw mut (*window).header, (*copier).pid, (*copier).tid, at, 8);
    }
    0
}

/// Copies up to the end of a page of the stack; 1 ends the loop.
unsafe extern "C" fn copy_page(_number: u32, copier: *mut c_void) -> i64 {
    let copier = copier.cast::<Copier>();
    // SAFETY: `copy` passed its copier; the chunk is ours until it is pushed or marked.
    unsafe {
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
            // A stack that has overflowed begins a little above the stack pointer; any other ends here.
            (*copier).end = from + length;
            return i64::from((*copier).copied != 0);
        }
        (*copier).copied += 1;
        (*chunk).header.kind = AS_IN_MEMORY;
        label(&raw mut (*chunk).header, (*copier).pid, (*copier).tid, from, length);
        (*copier).end = from + length;
    }
    0
}

/// Opens a window on what a register or a word of the stack points to.
unsafe extern "C" fn open_window(number: u32, copier: *mut c_void) -> i64 {
    let copier = copier.cast::<Copier>();
    // SAFETY: `copy` passed its copier; the window is ours until it is pushed or marked.
    unsafe {
        let Some(address) = candidate(number, copier) else { return 0 };
        let on_stack = address >= (*copier).start && address < (*copier).end;
        if !(LOWEST_ADDRESS..HIGHEST_ADDRESS).contains(&address) || on_stack || was_seen(copier, address) {
            return 0;
        }
        let Some((index, window)) = pool::pop::<{ pool::FEW_TRIES }, _>(&WINDOWS, &FREE_WINDOWS) else {
            count(Counter::MEMORY_LOST);
            return 1;
        };
        let to = (&raw mut (*window).bytes).cast();
        let around = address - WINDOW_BEFORE_BYTES;
        if bpf_probe_read_user(to, WINDOW_BYTES as u32, around as *const c_void) == 0 {
            (*window).header.kind = AS_IN_MEMORY;
            label(&raw mut (*window).header, (*copier).pid, (*copier).tid, around, WINDOW_BYTES as u64);
            return 0;
        }
        // Something at the edge of what is mapped: only what is on the same page.
        let left = PAGE_BYTES - (address & (PAGE_BYTES - 1));
        let length = if left > WINDOW_BYTES as u64 { WINDOW_BYTES as u64 } else { left };
        if bpf_probe_read_user(to, bounded(length, WINDOW_BYTES as u32), address as *const c_void) == 0 {
            (*window).header.kind = AS_IN_MEMORY;
            label(&raw mut (*window).header, (*copier).pid, (*copier).tid, address, length);
        } else {
            pool::push::<{ pool::FEW_TRIES }>(&FREE_WINDOWS, index, window.cast());
        }
    }
    0
}

/// The address that window `number` is for.
#[inline(always)]
unsafe fn candidate(number: u32, copier: *mut Copier) -> Option<u64> {
    // SAFETY: the caller's copier, an index below the bound.
    unsafe {
        if number < Registers::POINTER_WORDS {
            let word = bounded(Registers::pointer_word(number), REGISTER_WORDS as u32 - 1);
            return (*(*copier).state).registers.get(word as usize).copied();
        }
        let mut word = 0u64;
        let at = ((*copier).start & !7) + u64::from(number - Registers::POINTER_WORDS) * 8;
        let failed = bpf_probe_read_user((&raw mut word).cast(), 8, at as *const c_void);
        (failed == 0).then_some(word)
    }
}

/// Whether the block of 128 bytes has, or may have, a window already; marks it.
#[inline(always)]
unsafe fn was_seen(copier: *mut Copier, address: u64) -> bool {
    let hash = ((address >> 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32;
    let (word, bit) = (hash as usize & (SEEN_WORDS - 1), hash >> 3 & 63);
    // SAFETY: masked into the array.
    unsafe {
        let seen = (*copier).seen[word] >> bit & 1 == 1;
        (*copier).seen[word] |= 1 << bit;
        seen
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

/// `length`, bounded where the verifier can see it: see `bounded` in `steps`.
#[inline(always)]
pub fn bounded(length: u64, most: u32) -> u32 {
    let mut length = length as u32;
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) length, options(pure, nomem, nostack, preserves_flags)) };
    if length > most { most } else { length }
}

const _: () = assert!(size_of::<PoolHeader>() == 8);
