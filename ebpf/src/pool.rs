//! Entries of an array that are taken and given back without a lock: a stack of free entries whose top carries a tag against reuse
//! (ABA). User space pushes to the same stacks (`src/probe/pool.rs`).

use aya_ebpf::maps::Array;
use lastwords_abi::layout::{PoolHeader, SLOT_FREE, SLOT_LIVE};

use crate::maps::compare_exchange;

/// How often a change is tried: each failure means that another processor made progress.
pub const TRIES: u32 = 64;
/// The same for what is taken in loops: the verifier walks through each try of each round.
pub const FEW_TRIES: u32 = 4;

/// Takes an entry: its index, and itself. Every entry of a pool begins with a [`PoolHeader`].
#[inline(always)]
pub fn pop<const TRIES: u32, T>(entries: &Array<T>, top: &Array<u64>) -> Option<(u32, *mut T)> {
    let top = top.get_ptr_mut(0)?;
    for _ in 0..TRIES {
        // SAFETY: a pointer from a map lookup.
        let old = unsafe { core::ptr::read_volatile(top) };
        let index = (old as u32).checked_sub(1)?;
        let entry = entries.get_ptr_mut(index)?;
        let header: *mut PoolHeader = entry.cast();
        // SAFETY: a pointer from a map lookup; should another processor take the entry meanwhile, the tag has changed.
        let next = unsafe { core::ptr::read_volatile(&raw const (*header).next_free) };
        if compare_exchange(top, old, next_tag(old) | u64::from(next)) {
            // SAFETY: it is ours now.
            unsafe { (*header).state = SLOT_LIVE };
            return Some((index, entry));
        }
    }
    None
}

/// Gives an entry back.
#[inline(always)]
pub fn push<const TRIES: u32>(top: &Array<u64>, index: u32, header: *mut PoolHeader) {
    let Some(top) = top.get_ptr_mut(0) else { return };
    // SAFETY: the caller owns the entry.
    unsafe { (*header).state = SLOT_FREE };
    for _ in 0..TRIES {
        // SAFETY: pointers from map lookups.
        let old = unsafe {
            let old = core::ptr::read_volatile(top);
            (*header).next_free = old as u32;
            old
        };
        if compare_exchange(top, old, next_tag(old) | u64::from(index + 1)) {
            return;
        }
    }
}

/// The tag after that of `top`, in place.
#[inline(always)]
fn next_tag(top: u64) -> u64 {
    ((top >> 32) + 1) << 32
}
