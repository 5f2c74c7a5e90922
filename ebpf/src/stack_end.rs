//! Where the stack of a thread ends: there is what called its first function.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_loop, bpf_probe_read_user};
use lastwords_abi::ThreadState;

use crate::kernel::read;
use crate::maps::config;
use crate::memory::PAGE_BYTES;
use crate::slot::Ids;

/// Pages that are looked at: 64 MiB.
const MAX_PAGES: u32 = 1 << 14;

/// What the loop needs.
struct Search {
    state: *mut ThreadState,
    from: u64,
}

/// Finds the end of the current thread's stack, which has been copied up to `from`; 0 if it is not beyond, or not known. It is left in `state`.
#[inline(always)]
pub unsafe fn find(ids: Ids, state: *mut ThreadState, from: u64) -> u64 {
    // SAFETY: the caller's struct in a map; the callback gets `search`, which outlives the loop.
    unsafe {
        if ids.pid == ids.tid {
            let mm: u64 = read(bpf_get_current_task(), config!(offsets.task_mm)).unwrap_or(0);
            (*state).stack_end = read(mm, config!(offsets.mm_start_stack)).unwrap_or(0);
        } else {
            // The C libraries put a thread's own variables at the outer end of the stack that they give it.
            let mut search = Search { state, from };
            bpf_loop(MAX_PAGES, look_at_page as *mut c_void, (&raw mut search).cast(), 0);
        }
        // Through the map, the verifier forgets how it came by the number.
        let end = core::ptr::read_volatile(&raw const (*state).stack_end);
        if end <= from {
            (*state).stack_end = 0;
            return 0;
        }
        end
    }
}

/// Whether the next page is there. One that is not lies between two stacks: a thread may run on another one than its own; 1 ends the loop.
unsafe extern "C" fn look_at_page(number: u32, search: *mut c_void) -> i64 {
    let search = search.cast::<Search>();
    // SAFETY: `find` passed its search; a byte of a local.
    unsafe {
        let state = (*search).state;
        let at = (*search).from + u64::from(number) * PAGE_BYTES;
        if at >= (*state).tls_base {
            (*state).stack_end = (*state).tls_base;
            return 1;
        }
        let mut byte = 0u8;
        i64::from(bpf_probe_read_user((&raw mut byte).cast(), 1, at as *const c_void) != 0)
    }
}
