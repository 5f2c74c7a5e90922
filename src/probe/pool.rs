//! The pools of the recorder (slots, chunks of stacks, windows of memory) as user space sees them: the kernel's own memory, mapped.
//!
//! Every entry begins with a [`PoolHeader`] and the process id of its owner (`SlotHeader`, `MemoryHeader`).

use std::mem::offset_of;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use lastwords_abi::SlotHeader;
use lastwords_abi::layout::{MemoryHeader, PoolHeader, SLOT_ENDED, SLOT_FREE};
use memmap2::{MmapOptions, MmapRaw};

use super::ProbeError;

const STATE: usize = offset_of!(PoolHeader, state);
const NEXT_FREE: usize = offset_of!(PoolHeader, next_free);
const PID: usize = offset_of!(SlotHeader, pid);
const _: () = assert!(PID == offset_of!(MemoryHeader, pid));

/// One pool, and the stack of its free entries.
pub struct Pool {
    entries: MmapRaw,
    top: MmapRaw,
    count: u32,
    entry_bytes: usize,
}

impl Pool {
    /// Maps the maps behind these descriptors into memory, and puts every entry on the stack.
    pub fn map(entries: RawFd, top: RawFd, count: u32, entry_bytes: u32) -> Result<Self, ProbeError> {
        let entry_bytes = entry_bytes as usize;
        let too_large = || ProbeError::TooLarge { threads: count, slot_bytes: entry_bytes as u64 };
        let bytes = entry_bytes.checked_mul(count as usize).ok_or_else(too_large)?;
        let map = |fd: RawFd, bytes: usize| {
            let mapped = MmapOptions::new().len(bytes).map_raw(fd);
            mapped.map_err(|error| ProbeError::Map { map: "SLOTS", source: Box::new(error) })
        };
        let this = Self { entries: map(entries, bytes)?, top: map(top, 8)?, count, entry_bytes };
        for entry in (0..this.count).rev() {
            this.release(entry);
        }
        Ok(this)
    }

    /// The numbers of the entries that belong to the process with this kernel-global id.
    pub fn of_process(&self, pid: u32) -> Vec<u32> {
        let is_used = |&entry: &u32| self.word(entry, STATE) != SLOT_FREE;
        (0..self.count).filter(is_used).filter(|&entry| self.word(entry, PID) == pid).collect()
    }

    /// Whether the kernel side is through with the entry.
    pub fn has_ended(&self, entry: u32) -> bool {
        self.word(entry, STATE) == SLOT_ENDED
    }

    /// A copy of an entry. Its thread is past its last call: nothing writes to the part that is read.
    pub fn copy(&self, entry: u32) -> Vec<u8> {
        let mut bytes = vec![0; self.entry_bytes];
        // SAFETY: the entry lies in the mapping; the kernel may still write the header's `state`, which is a copy's own affair.
        unsafe { std::ptr::copy_nonoverlapping(self.entry(entry), bytes.as_mut_ptr(), self.entry_bytes) };
        bytes
    }

    /// A copy of the slot of a thread that lives on, if it is that of `tid`: its head is moved ahead to where the thread may be by now.
    pub fn copy_live(&self, slot: u32, tid: u32, margin: u64) -> Option<Vec<u8>> {
        if self.word(slot, offset_of!(SlotHeader, tid)) != tid {
            return None;
        }
        let mut bytes = self.copy(slot);
        let head = offset_of!(SlotHeader, head);
        // SAFETY: an aligned double word of the entry's header, in the mapping.
        let now = unsafe { self.entry(slot).add(head).cast::<u64>().read_volatile() };
        bytes.get_mut(head..head + 8)?.copy_from_slice(&(now + margin).to_ne_bytes());
        Some(bytes)
    }

    /// Gives an entry back, as the kernel side does (`ebpf/src/pool.rs`).
    pub fn release(&self, entry: u32) {
        self.set_word(entry, STATE, SLOT_FREE);
        self.set_word(entry, PID, 0);
        // SAFETY: eight bytes at the start of a mapping, aligned, that both sides change by compare and exchange only.
        let top = unsafe { AtomicU64::from_ptr(self.top.as_mut_ptr().cast()) };
        let mut old = top.load(Ordering::SeqCst);
        loop {
            self.set_word(entry, NEXT_FREE, old as u32);
            let new = ((old >> 32) + 1) << 32 | u64::from(entry + 1);
            match top.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    fn entry(&self, entry: u32) -> *mut u8 {
        assert!(entry < self.count, "entry {entry} of {}", self.count);
        // SAFETY: checked above.
        unsafe { self.entries.as_mut_ptr().add(entry as usize * self.entry_bytes) }
    }

    fn word(&self, entry: u32, offset: usize) -> u32 {
        // SAFETY: an aligned word of the entry's header, in the mapping.
        unsafe { self.entry(entry).add(offset).cast::<u32>().read_volatile() }
    }

    fn set_word(&self, entry: u32, offset: usize, value: u32) {
        // SAFETY: an aligned word of the entry's header, in the mapping.
        unsafe { self.entry(entry).add(offset).cast::<u32>().write_volatile(value) };
    }
}
