//! What lies at an address that is no code: sections, variables, and the bytes that the file has there.

use std::ops::Range;

use goblin::elf::section_header::{SHT_DYNSYM, SHT_SYMTAB};

use super::Binary;
use crate::address::Svma;

impl Binary {
    /// Whether `address` is loaded at all, from the file or as zeros.
    #[must_use]
    pub fn is_loaded(&self, address: Svma) -> bool {
        self.segments.iter().any(|segment| {
            address.0.checked_sub(segment.start.0).is_some_and(|distance| distance < segment.memory_size)
        })
    }

    /// The bytes at `range` as they are in the file; `None` unless all of them are loaded from it.
    #[must_use]
    pub fn contents(&self, range: Range<Svma>) -> Option<&[u8]> {
        self.data.get(self.segments.iter().find_map(|segment| segment.file_range_of(&range))?)
    }

    /// The loaded section that `address` is in: its name and its addresses.
    #[must_use]
    pub fn section_around(&self, address: Svma) -> Option<(&str, Range<Svma>)> {
        let section = self.sections.iter().find(|section| {
            let distance = address.0.checked_sub(section.address.0);
            section.is_loaded && distance.is_some_and(|distance| distance < section.size)
        })?;
        let end = Svma(section.address.0.checked_add(section.size)?);
        Some((&section.name, section.address..end))
    }

    /// The variable that `address` is in, as the linker calls it, and how far into it that is.
    #[must_use]
    pub fn variable_around(&self, address: Svma) -> Option<(&str, u64)> {
        [SHT_SYMTAB, SHT_DYNSYM].into_iter().find_map(|kind| self.symbol_table(kind)?.variable_around(address))
    }
}
