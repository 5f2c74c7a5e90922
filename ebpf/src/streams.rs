//! What the C library has not written yet: its streams (`FILE`) and their pending bytes, found through the loader's list of modules in
//! the dying process. User space reads the copies with the same offsets.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_loop, bpf_probe_read_user, bpf_probe_read_user_str};
use lastwords_abi::Counter;
use lastwords_abi::layout::{AS_IN_MEMORY, CHUNK_BYTES, STREAM_HEADS, WINDOW_BYTES};

use crate::kernel::read;
use crate::maps::{CHUNKS, FREE_CHUNKS, FREE_WINDOWS, WINDOWS, config, count};
use crate::memory::{PAGE_BYTES, bounded, label, user_word};
use crate::pool;
use crate::slot::Ids;

/// `struct r_debug`: `r_map`. `struct link_map`: `l_addr`, `l_name`, `l_next` (link.h).
const R_MAP: u64 = 8;
const L_ADDR: u64 = 0;
const L_NAME: u64 = 8;
const L_NEXT: u64 = 24;

/// Bytes of a module's name that are compared: [`Config::library_name_end`](lastwords_abi::Config::library_name_end).
const NAME_END_BYTES: usize = 8;
/// Bytes of a module's name that are read; longer ones are not recognized.
const NAME_BYTES: usize = 256;
/// Modules that are looked through for the C library: it is one of the first.
const MAX_MODULES: u32 = 64;
/// Streams that are copied, and heads of lists that are looked at, at the most.
const MAX_STREAMS: u32 = 16 + STREAM_HEADS as u32;
/// Pages of pending bytes, of all streams together.
const MAX_PAGES: u32 = 64;
/// Streams with pending bytes.
const MAX_PENDING: usize = 8;

/// What the loops share.
struct Walker {
    pid: u64,
    tid: u64,
    progress: *mut Progress,
}

/// Where the loops are, in a borrowed chunk. What comes from a map is any number to the verifier; on the stack, Linux 6.1 takes what the first
/// round finds for what all rounds find, and removes the rest of the loop. (And it counts 512 bytes of stack for all callers together.)
#[repr(C)]
struct Progress {
    /// The module that is looked at.
    module: u64,
    /// Where the C library was loaded, plus 1; 0 while it is not known.
    found: u64,
    /// What leads to lists of streams, and how many of them have been looked at.
    heads: [u64; STREAM_HEADS],
    head: u64,
    /// The stream that is looked at; 0 at the end of a list.
    stream: u64,
    /// Where pending bytes begin and end, of how many streams, and which of them is being copied.
    pending: [[u64; 2]; MAX_PENDING],
    pending_count: u64,
    copying: u64,
    /// The module's name.
    name: [u8; NAME_BYTES],
}

const _: () = assert!(size_of::<Progress>() <= CHUNK_BYTES);

/// What was copied of the C library.
#[derive(Default)]
pub struct Copied {
    /// Where the list of its streams is.
    pub list: u64,
    /// Where its pointer to the message of an abort is.
    pub abort_message: u64,
}

/// Copies the streams of the current process, and what glibc says of an abort.
#[inline(always)]
pub unsafe fn copy(ids: Ids) -> Option<Copied> {
    if config!(stream_heads)[0] == 0 {
        return None;
    }
    let (index, chunk) = pool::pop::<{ pool::FEW_TRIES }, _>(&CHUNKS, &FREE_CHUNKS)?;
    // SAFETY: the chunk is ours until it is pushed, has room for `Progress`, and is aligned to 8.
    let progress: *mut Progress = unsafe { (&raw mut (*chunk).bytes).cast() };
    let mut walker = Walker { pid: u64::from(ids.pid), tid: u64::from(ids.tid), progress };
    // SAFETY: the caller's context, and the chunk.
    let copied = unsafe { walk(&raw mut walker) };
    pool::push::<{ pool::FEW_TRIES }>(&FREE_CHUNKS, index, chunk.cast());
    copied
}

#[inline(always)]
unsafe fn walk(walker: *mut Walker) -> Option<Copied> {
    // SAFETY: the callbacks get `walker`, which outlives the loops, and its chunk.
    unsafe {
        let progress = (*walker).progress;
        (*progress).module = 0;
        (*progress).found = 0;
        (*progress).head = 0;
        (*progress).stream = 0;
        (*progress).pending_count = 0;
        (*progress).copying = 0;
        let mm: u64 = read(bpf_get_current_task(), config!(offsets.task_mm))?;
        let start_code: u64 = read(mm, config!(offsets.mm_start_code))?;
        let bias = start_code.wrapping_sub(config!(lowest_code));
        let base = if config!(debug_slot) == 0 {
            bias
        } else {
            let debug = user_word(bias.wrapping_add(config!(debug_slot)))?;
            (*progress).module = user_word(debug + R_MAP)?;
            base_of_libc(walker)?
        };
        let offsets = config!(stream_heads);
        for (head, offset) in (*progress).heads.iter_mut().zip(offsets) {
            *head = if offset == 0 { 0 } else { base.wrapping_add(offset) };
        }
        let list = (*progress).heads[0];
        let abort_message = if config!(abort_message) == 0 { 0 } else { base.wrapping_add(config!(abort_message)) };
        note_message(progress, abort_message);
        bpf_loop(MAX_STREAMS, copy_stream as *mut c_void, walker.cast(), 0);
        bpf_loop(MAX_PAGES, copy_pending as *mut c_void, walker.cast(), 0);
        Some(Copied { list, abort_message })
    }
}

/// Has the message of an abort copied with what is pending: it begins a page of its own (`__libc_message`, glibc 2.36) or is on the heap,
/// and what lies on its first page is enough.
#[inline(always)]
unsafe fn note_message(progress: *mut Progress, at: u64) {
    let message = if at == 0 { 0 } else { user_word(at).unwrap_or(0) };
    if message != 0 {
        // SAFETY: the caller's chunk.
        unsafe {
            (*progress).pending[0] = [at, at + 8];
            (*progress).pending[1] = [message, (message | (PAGE_BYTES - 1)) + 1];
            (*progress).pending_count = 2;
        }
    }
}

/// What the loader added to the C library's addresses.
#[inline(always)]
unsafe fn base_of_libc(walker: *mut Walker) -> Option<u64> {
    // SAFETY: the caller's walker.
    unsafe {
        bpf_loop(MAX_MODULES, look_at_module as *mut c_void, walker.cast(), 0);
        (*(*walker).progress).found.checked_sub(1)
    }
}

/// Is this module the C library? 1 ends the loop.
unsafe extern "C" fn look_at_module(_number: u32, walker: *mut c_void) -> i64 {
    // SAFETY: the walker, and the chunk that it borrowed.
    unsafe {
        let progress = (*walker.cast::<Walker>()).progress;
        let module = (*progress).module;
        if module == 0 {
            return 1;
        }
        let name: *mut u8 = (&raw mut (*progress).name).cast();
        let path = user_word(module + L_NAME).unwrap_or(0);
        let read = bpf_probe_read_user_str(name.cast(), NAME_BYTES as u32, path as *const c_void);
        // The name with its NUL.
        if read > NAME_END_BYTES as i64 && ends_as_wanted(name, read as u64) {
            (*progress).found = user_word(module + L_ADDR).map_or(0, |base| base.wrapping_add(1));
            return 1;
        }
        (*progress).module = user_word(module + L_NEXT).unwrap_or(0);
    }
    0
}

#[inline(always)]
unsafe fn ends_as_wanted(name: *const u8, length: u64) -> bool {
    let begin = bounded(length - 1 - NAME_END_BYTES as u64, (NAME_BYTES - 16) as u32) as usize;
    let mut end = 0;
    for index in 0..NAME_END_BYTES {
        // SAFETY: `begin` plus eight is in the name's bytes.
        end |= u64::from(unsafe { core::ptr::read_volatile(name.add(begin + index)) }) << (8 * index);
    }
    end == config!(library_name_end)
}

/// Copies one `FILE`, and notes what is pending in it, or goes on to the next list; 1 ends the loop.
unsafe extern "C" fn copy_stream(_number: u32, walker: *mut c_void) -> i64 {
    let walker = walker.cast::<Walker>();
    // SAFETY: the walker, and indices below the bounds.
    unsafe {
        let progress = (*walker).progress;
        let stream = (*progress).stream;
        if stream == 0 {
            return next_list(walker, progress);
        }
        window(walker, stream, WINDOW_BYTES as u64);
        let begin = user_word(stream + u64::from(config!(stream.write_base))).unwrap_or(0);
        let end = user_word(stream + u64::from(config!(stream.write_pointer))).unwrap_or(0);
        let number = (*progress).pending_count;
        if end > begin && number < MAX_PENDING as u64 {
            *pair(progress, number) = [begin, end];
            (*progress).pending_count = number + 1;
        }
        (*progress).stream = user_word(stream + u64::from(config!(stream.chain))).unwrap_or(0);
    }
    0
}

/// Copies what leads to a list, and goes on to its first stream; 1 where there is no further list.
#[inline(always)]
unsafe fn next_list(walker: *mut Walker, progress: *mut Progress) -> i64 {
    // SAFETY: the caller's walker and chunk; the index is bounded.
    unsafe {
        let number = (*progress).head;
        let at = *(&raw mut (*progress).heads).cast::<u64>().add(bounded(number, STREAM_HEADS as u32 - 1) as usize);
        if at == 0 || number >= STREAM_HEADS as u64 {
            return 1;
        }
        window(walker, at, 8);
        (*progress).head = number + 1;
        (*progress).stream = user_word(at).unwrap_or(0);
    }
    0
}

/// Where pending bytes begin and end.
#[inline(always)]
unsafe fn pair(progress: *mut Progress, number: u64) -> *mut [u64; 2] {
    // SAFETY: an index below the array's length.
    unsafe { (&raw mut (*progress).pending).cast::<[u64; 2]>().add(bounded(number, MAX_PENDING as u32 - 1) as usize) }
}

/// Copies the next page of pending bytes; 1 ends the loop.
unsafe extern "C" fn copy_pending(_number: u32, walker: *mut c_void) -> i64 {
    let walker = walker.cast::<Walker>();
    // SAFETY: the walker, an index below the bound, a chunk that is ours until it is pushed or labelled.
    unsafe {
        let progress = (*walker).progress;
        let number = (*progress).copying;
        if number >= (*progress).pending_count || number >= MAX_PENDING as u64 {
            return 1;
        }
        let range = pair(progress, number);
        let [begin, end] = *range;
        if begin >= end {
            (*progress).copying = number + 1;
            return 0;
        }
        let on_page = PAGE_BYTES - (begin & (PAGE_BYTES - 1));
        let length = if end - begin < on_page { end - begin } else { on_page };
        (*range)[0] = begin + length;
        let Some((index, chunk)) = pool::pop::<{ pool::FEW_TRIES }, _>(&CHUNKS, &FREE_CHUNKS) else {
            count(Counter::MEMORY_LOST);
            return 1;
        };
        let to = (&raw mut (*chunk).bytes).cast();
        if bpf_probe_read_user(to, bounded(length, CHUNK_BYTES as u32), begin as *const c_void) == 0 {
            (*chunk).header.kind = AS_IN_MEMORY;
            (*chunk).header.moment_ns = 0;
            label(&raw mut (*chunk).header, (*walker).pid, (*walker).tid, begin, length);
        } else {
            pool::push::<{ pool::FEW_TRIES }>(&FREE_CHUNKS, index, chunk.cast());
        }
    }
    0
}

/// Copies up to a window's size.
#[inline(always)]
unsafe fn window(walker: *mut Walker, at: u64, length: u64) {
    let Some((index, entry)) = pool::pop::<{ pool::FEW_TRIES }, _>(&WINDOWS, &FREE_WINDOWS) else {
        count(Counter::MEMORY_LOST);
        return;
    };
    // SAFETY: the window is ours until it is pushed or labelled.
    unsafe {
        let to = (&raw mut (*entry).bytes).cast();
        if bpf_probe_read_user(to, bounded(length, WINDOW_BYTES as u32), at as *const c_void) == 0 {
            (*entry).header.kind = AS_IN_MEMORY;
            (*entry).header.moment_ns = 0;
            label(&raw mut (*entry).header, (*walker).pid, (*walker).tid, at, length);
        } else {
            pool::push::<{ pool::FEW_TRIES }>(&FREE_WINDOWS, index, entry.cast());
        }
    }
}
