//! The map `FUNCTIONS` while the program runs: the kernel's own memory, mapped. Reading hits and muting a function needs no system call.

use std::mem::offset_of;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use lastwords_abi::Function;
use lastwords_abi::step::MUTED;
use memmap2::{MmapOptions, MmapRaw};

use super::ProbeError;
use super::governor::Used;
use super::parts::Part;

/// What both sides tell each other about each function.
pub struct Live {
    entries: MmapRaw,
    count: usize,
}

impl Live {
    /// Maps the map behind this descriptor, which has `count` entries.
    pub fn map(entries: RawFd, count: usize) -> Result<Self, ProbeError> {
        let mapped = MmapOptions::new().len(count.max(1) * size_of::<Function>()).map_raw(entries);
        let entries = mapped.map_err(|error| ProbeError::Map { map: "FUNCTIONS", source: Box::new(error) })?;
        Ok(Self { entries, count })
    }

    /// Calls of the function with this index by threads that are watched, as long as it was.
    pub fn hits(&self, index: usize) -> u64 {
        self.counted(index, offset_of!(Function, hits))
    }

    /// What this part has taken so far.
    pub fn used(&self, part: Part) -> Used {
        match part {
            Part::Function(index) => {
                Used { hits: self.hits(index), extra_ns: self.counted(index, offset_of!(Function, extra_ns)) }
            }
            Part::Returns(index) => Used { hits: self.counted(index, offset_of!(Function, exit_hits)), extra_ns: 0 },
        }
    }

    /// From now on, this part is recorded by this generation of probes and older ones; by none if that is `MUTED`. Returns have no generation:
    /// they are expected, or not.
    pub fn set_generation(&self, part: Part, generation: u32) {
        let (offset, number) = match part {
            Part::Function(_) => (offset_of!(Function, generation), generation),
            Part::Returns(_) => (offset_of!(Function, returns), (generation != MUTED).into()),
        };
        // SAFETY: four bytes of an entry, aligned, which only this side writes.
        unsafe { AtomicU32::from_ptr(self.at(part.function(), offset).cast()) }.store(number, Ordering::SeqCst);
    }

    /// What the kernel side has counted there.
    fn counted(&self, index: usize, offset: usize) -> u64 {
        // SAFETY: eight bytes of an entry, aligned, which the kernel side adds to atomically.
        unsafe { AtomicU64::from_ptr(self.at(index, offset).cast()) }.load(Ordering::Relaxed)
    }

    fn at(&self, index: usize, offset: usize) -> *mut u8 {
        assert!(index < self.count, "function {index} of {}", self.count);
        // SAFETY: checked above.
        unsafe { self.entries.as_mut_ptr().add(index * size_of::<Function>() + offset) }
    }
}
