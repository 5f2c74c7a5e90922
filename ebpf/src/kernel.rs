//! Reads from the kernel's own structures, at offsets that user space looked up in the kernel's BTF.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// A value at `base + offset` in kernel memory; `None` where that cannot be read.
#[inline(always)]
pub fn read<T: Copy>(base: u64, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper fills the value or fails, and it checks the address.
    unsafe {
        let from = (base + u64::from(offset)) as *const c_void;
        let failed = bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        (failed == 0).then(|| value.assume_init())
    }
}
