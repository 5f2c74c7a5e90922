//! What a dying process has mapped where it has failed.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_find_vma, bpf_get_current_task_btf, bpf_probe_read_kernel_str};
use lastwords_abi::Fault;
use lastwords_abi::record::{FILE_NAME_BYTES, MAPPING_FOUND, MAPPING_NONE, MAPPING_UNKNOWN, Mapping};

use crate::kernel::read;
use crate::maps::config;
use crate::memory::PAGE_BYTES;

const SIGBUS: i32 = 7;
const SIGSEGV: i32 = 11;
/// `si_code` of SIGSEGV where nothing is mapped.
const SEGV_MAPERR: i32 = 1;
/// `si_code` that no instruction caused.
const SI_KERNEL: i32 = 0x80;
const ENOENT: i64 = -2;

/// What the callback gets.
struct Found {
    mapping: *mut Mapping,
}

/// Looks up the mapping at the address of a fault; where nothing is mapped, the one whose end that may be. Only one can be asked for: the lock
/// that the kernel takes for it is given back after the signal (`bpf_mmap_unlock_get_irq_work`, Linux 5.17).
#[inline(always)]
pub unsafe fn find(fault: *mut Fault) {
    // SAFETY: the caller's struct in a map.
    unsafe {
        let (signal, code) = ((*fault).signal, (*fault).code);
        if !(signal == SIGSEGV || signal == SIGBUS) || code <= 0 || code >= SI_KERNEL {
            return;
        }
        let address = (*fault).address;
        let asked = if signal == SIGSEGV && code == SEGV_MAPERR {
            (address & !(PAGE_BYTES - 1)).wrapping_sub(1)
        } else {
            address
        };
        let mapping = &raw mut (*fault).mapping;
        (*mapping).asked = asked;
        let mut found = Found { mapping };
        let failed = bpf_find_vma(bpf_get_current_task_btf(), asked, copy as *mut c_void, (&raw mut found).cast(), 0);
        (*mapping).state = match failed {
            0 => MAPPING_FOUND,
            ENOENT => MAPPING_NONE,
            _ => MAPPING_UNKNOWN,
        };
    }
}

/// Copies what is known of a mapping.
unsafe extern "C" fn copy(_task: *mut c_void, area: *mut c_void, found: *mut c_void) -> i64 {
    let area = area as u64;
    // SAFETY: `find` passed a `Found`.
    unsafe {
        let mapping = (*found.cast::<Found>()).mapping;
        (*mapping).start = read(area, config!(offsets.vma_start)).unwrap_or(0);
        (*mapping).end = read(area, config!(offsets.vma_end)).unwrap_or(0);
        (*mapping).flags = read(area, config!(offsets.vma_flags)).unwrap_or(0);
        let file: u64 = read(area, config!(offsets.vma_file)).unwrap_or(0);
        if file != 0 {
            (*mapping).is_file = 1;
            (*mapping).page_offset = read(area, config!(offsets.vma_page_offset)).unwrap_or(0);
            let inode = read(file, config!(offsets.file_inode)).unwrap_or(0);
            (*mapping).file_bytes = read(inode, config!(offsets.inode_bytes)).unwrap_or(0);
            let entry = read(file, config!(offsets.file_dentry)).unwrap_or(0);
            let name: u64 = read(entry, config!(offsets.dentry_name)).unwrap_or(0);
            let to = (&raw mut (*mapping).name).cast();
            bpf_probe_read_kernel_str(to, FILE_NAME_BYTES as u32, name as *const c_void);
        }
    }
    0
}
