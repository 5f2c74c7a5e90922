//! C++ exceptions at a `std::terminate`: found by the class that the unwinder's header has, from what registers and the top of the stack point
//! to, and copied with their types and what they point to.
//!
//! The runtime's own list is thread-local storage in whatever way the library was built: as a variable, as a key of the C library, in a static
//! program. What handles an exception has a pointer to it on the stack in all of them. User space tells those that live from those that do not.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use lastwords_abi::exception::{
    CLASSES, Class, DEPENDENT, MAX_EXCEPTIONS, OBJECT_WORDS, POINTERS, STACK_WORDS, STACK_WORDS_BELOW, TYPES, before,
};
use lastwords_abi::layout::{CHUNK_BYTES, WINDOW_BEFORE_BYTES, WINDOW_BYTES};
use lastwords_abi::{Counter, SlotHeader};

use crate::maps::{CHUNKS, FREE_CHUNKS, count};
use crate::memory::{
    below_stack_pointer, bounded, candidate, copy_window, is_pointer, scratch, stack_pointer, user_word,
};
use crate::pool;
use crate::registers::Registers;

/// Windows for all exceptions together.
const MAX_WANTED: usize = MAX_EXCEPTIONS * 20;

/// What the loops share.
struct Finder {
    header: *mut SlotHeader,
    found: *mut Found,
}

/// What was found, in a borrowed chunk: as for streams, what comes from a map is any number to the verifier.
#[repr(C)]
struct Found {
    /// Addresses of exception objects, and which class each has.
    objects: [[u64; 2]; MAX_EXCEPTIONS],
    count: u64,
    /// The object that is looked at.
    object: u64,
    /// What windows are wanted for, and how many have been copied.
    wanted: [u64; MAX_WANTED],
    wanted_count: u64,
    copied: u64,
}

const _: () = assert!(size_of::<Found>() <= CHUNK_BYTES);

/// Copies the exceptions that the words of the current thread lead to, while its slot has the copier that begins at its stack pointer.
#[inline(always)]
pub unsafe fn copy(header: *mut SlotHeader) {
    let Some((index, chunk)) = pool::pop::<{ pool::FEW_TRIES }, _>(&CHUNKS, &FREE_CHUNKS) else {
        count(Counter::MEMORY_LOST);
        return;
    };
    // SAFETY: the chunk is ours until it is pushed, has room for `Found`, and is aligned to 8; the callbacks get `finder`, which outlives
    // the loops.
    unsafe {
        let found: *mut Found = (&raw mut (*chunk).bytes).cast();
        (*found).count = 0;
        (*found).object = 0;
        (*found).wanted_count = 0;
        (*found).copied = 0;
        let mut finder = Finder { header, found };
        let context: *mut c_void = (&raw mut finder).cast();
        let words = Registers::POINTER_WORDS + STACK_WORDS + STACK_WORDS_BELOW;
        bpf_loop(words, look_at_word as *mut c_void, context, 0);
        bpf_loop(MAX_EXCEPTIONS as u32, look_at_object as *mut c_void, context, 0);
        bpf_loop(MAX_WANTED as u32, copy_wanted as *mut c_void, context, 0);
    }
    pool::push::<{ pool::FEW_TRIES }>(&FREE_CHUNKS, index, chunk.cast());
}

/// Does this word lead to an exception?
unsafe extern "C" fn look_at_word(number: u32, finder: *mut c_void) -> i64 {
    let finder = finder.cast::<Finder>();
    // SAFETY: `copy` passed it, with a slot.
    unsafe {
        let header = (*finder).header;
        let in_use = Registers::POINTER_WORDS + STACK_WORDS;
        let word =
            if number < in_use { candidate(number, header) } else { below_stack_pointer(number - in_use, header) };
        let Some(word) = word else { return 0 };
        let lowest = (stack_pointer(header) & !7).wrapping_sub(u64::from(STACK_WORDS_BELOW) * 8);
        if !is_pointer(word) || word.wrapping_sub(lowest) < u64::from(STACK_WORDS_BELOW + STACK_WORDS) * 8 {
            return 0;
        }
        for distance in POINTERS {
            let object = word.wrapping_add(distance);
            if let Some(class) = class_of(object) {
                note(finder, object, class);
                return 0;
            }
        }
    }
    0
}

/// Which of [`CLASSES`] the exception whose object this is would have.
#[inline(always)]
fn class_of(object: u64) -> Option<u64> {
    let class = user_word(object.wrapping_sub(before::UNWIND_HEADER))? & !0xff;
    if class == CLASSES[0].number {
        Some(0)
    } else if class == CLASSES[1].number {
        Some(1)
    } else {
        None
    }
}

/// Adds an object that is not there yet.
#[inline(always)]
unsafe fn note(finder: *mut Finder, object: u64, class: u64) {
    // SAFETY: the caller's finder, and an index below the bound.
    unsafe {
        let found = (*finder).found;
        let objects = (&raw mut (*found).objects).cast::<[u64; 2]>();
        let count = (*found).count;
        for index in 0..MAX_EXCEPTIONS {
            if (index as u64) < count && (*objects.add(index))[0] == object {
                return;
            }
        }
        if count < MAX_EXCEPTIONS as u64 {
            *objects.add(bounded(count, MAX_EXCEPTIONS as u32 - 1) as usize) = [object, class];
            (*found).count = count + 1;
        }
    }
}

/// Notes what windows the next object wants, and what it leads to; 1 ends the loop.
unsafe extern "C" fn look_at_object(_number: u32, finder: *mut c_void) -> i64 {
    let finder = finder.cast::<Finder>();
    // SAFETY: `copy` passed it; indices are bounded.
    unsafe {
        let found = (*finder).found;
        let number = (*found).object;
        if number >= (*found).count {
            return 1;
        }
        (*found).object = number + 1;
        let objects = (&raw const (*found).objects).cast::<[u64; 2]>();
        let [object, class] = *objects.add(bounded(number, MAX_EXCEPTIONS as u32 - 1) as usize);
        let Class { primary, header_bytes, .. } = if class == 0 { CLASSES[0] } else { CLASSES[1] };
        want(found, object.wrapping_sub(WINDOW_BYTES as u64 / 2) + WINDOW_BEFORE_BYTES);
        if user_word(object.wrapping_sub(before::UNWIND_HEADER)).unwrap_or(0) & 0xff == DEPENDENT {
            let referred = user_word(object.wrapping_sub(primary)).unwrap_or(0);
            if class_of(referred).is_some() {
                note(finder, referred, class);
            }
        }
        let next = user_word(object.wrapping_sub(before::NEXT)).unwrap_or(0).wrapping_add(header_bytes);
        if class_of(next).is_some() {
            note(finder, next, class);
        }
        for word in 0..OBJECT_WORDS {
            let to = user_word(object + 8 * word).unwrap_or(0);
            want(found, to);
            if word < 2 {
                // More of what may be a text.
                want(found, to.wrapping_add(WINDOW_BYTES as u64));
            }
        }
        let mut ty = user_word(object.wrapping_sub(before::TYPE)).unwrap_or(0);
        for _ in 0..TYPES {
            want(found, ty);
            want(found, user_word(ty.wrapping_add(8)).unwrap_or(0));
            // What it inherits from: for one base, a pointer; for several, first how many they are (Itanium C++ ABI, 2.9.5).
            let base = user_word(ty.wrapping_add(16)).unwrap_or(0);
            ty = if base >> 40 == 0 { user_word(ty.wrapping_add(24)).unwrap_or(0) } else { base };
        }
    }
    0
}

#[inline(always)]
unsafe fn want(found: *mut Found, address: u64) {
    // SAFETY: the caller's chunk, and an index below the bound.
    unsafe {
        let count = (*found).wanted_count;
        if is_pointer(address) && count < MAX_WANTED as u64 {
            let wanted = (&raw mut (*found).wanted).cast::<u64>();
            *wanted.add(bounded(count, MAX_WANTED as u32 - 1) as usize) = address;
            (*found).wanted_count = count + 1;
        }
    }
}

/// Copies the next window; 1 ends the loop.
unsafe extern "C" fn copy_wanted(_number: u32, finder: *mut c_void) -> i64 {
    let finder = finder.cast::<Finder>();
    // SAFETY: `copy` passed it, with a slot; the index is bounded.
    unsafe {
        let found = (*finder).found;
        let number = (*found).copied;
        if number >= (*found).wanted_count {
            return 1;
        }
        (*found).copied = number + 1;
        let wanted = (&raw const (*found).wanted).cast::<u64>();
        let address = *wanted.add(bounded(number, MAX_WANTED as u32 - 1) as usize);
        copy_window(scratch((*finder).header), address)
    }
}
