//! The rings as user space sees them: the kernel's own memory, mapped.

use std::sync::atomic::{AtomicU64, Ordering};

use lastwords_abi::layout::{SLOT_ENDED, SLOT_FREE};
use lastwords_abi::{Config, SlotHeader};
use memmap2::{MmapOptions, MmapRaw};
use std::mem::offset_of;
use std::os::fd::RawFd;

use super::ProbeError;

/// All slots, and the stack of free ones.
pub struct Slots {
    slots: MmapRaw,
    top: MmapRaw,
    count: u32,
    slot_bytes: usize,
}

impl Slots {
    /// Maps the two maps into memory and puts every slot on the stack.
    pub fn map(slots: RawFd, top: RawFd, config: &Config) -> Result<Self, ProbeError> {
        let slot_bytes = config.slot_bytes() as usize;
        let too_large = || ProbeError::TooLarge { threads: config.slots, slot_bytes: slot_bytes as u64 };
        let bytes = slot_bytes.checked_mul(config.slots as usize).ok_or_else(too_large)?;
        let map = |fd: RawFd, bytes: usize, map: &'static str| {
            MmapOptions::new().len(bytes).map_raw(fd).map_err(|error| ProbeError::Map { map, source: Box::new(error) })
        };
        let this = Self {
            slots: map(slots, bytes, "SLOTS")?,
            top: map(top, 8, "FREE_SLOTS")?,
            count: config.slots,
            slot_bytes,
        };
        for slot in (0..this.count).rev() {
            this.release(slot);
        }
        Ok(this)
    }

    /// The numbers of the slots whose threads belong to the process with this kernel-global id.
    pub fn of_process(&self, pid: u32) -> Vec<u32> {
        (0..self.count)
            .filter(|&slot| self.word(slot, offset_of!(SlotHeader, state)) != SLOT_FREE)
            .filter(|&slot| self.word(slot, offset_of!(SlotHeader, pid)) == pid)
            .collect()
    }

    /// Whether the slot's thread has ended, so that the kernel side is through with it.
    pub fn has_ended(&self, slot: u32) -> bool {
        self.word(slot, offset_of!(SlotHeader, state)) == SLOT_ENDED
    }

    /// A copy of a slot. Its thread is past its last call: nothing writes to the part that is read.
    pub fn copy(&self, slot: u32) -> Vec<u8> {
        let mut bytes = vec![0; self.slot_bytes];
        // SAFETY: the slot lies in the mapping; the kernel may still write the header's `state`, which is a copy's own affair.
        unsafe { std::ptr::copy_nonoverlapping(self.slot(slot), bytes.as_mut_ptr(), self.slot_bytes) };
        bytes
    }

    /// Gives a slot back, as the kernel side does (`ebpf/src/slot.rs`).
    pub fn release(&self, slot: u32) {
        self.set_word(slot, offset_of!(SlotHeader, state), SLOT_FREE);
        // SAFETY: eight bytes at the start of a mapping, aligned, that both sides change by compare and exchange only.
        let top = unsafe { AtomicU64::from_ptr(self.top.as_mut_ptr().cast()) };
        let mut old = top.load(Ordering::SeqCst);
        loop {
            self.set_word(slot, offset_of!(SlotHeader, next_free), old as u32);
            let new = ((old >> 32) + 1) << 32 | u64::from(slot + 1);
            match top.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    fn slot(&self, slot: u32) -> *mut u8 {
        assert!(slot < self.count, "slot {slot} of {}", self.count);
        // SAFETY: checked above.
        unsafe { self.slots.as_mut_ptr().add(slot as usize * self.slot_bytes) }
    }

    fn word(&self, slot: u32, offset: usize) -> u32 {
        // SAFETY: an aligned word of the slot's header, in the mapping.
        unsafe { self.slot(slot).add(offset).cast::<u32>().read_volatile() }
    }

    fn set_word(&self, slot: u32, offset: usize, value: u32) {
        // SAFETY: an aligned word of the slot's header, in the mapping.
        unsafe { self.slot(slot).add(offset).cast::<u32>().write_volatile(value) };
    }
}
