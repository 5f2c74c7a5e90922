//! What the loader maps: program headers in, addresses and file offsets out.

use std::ops::Range;

use goblin::elf::program_header::{PF_W, PF_X, PT_LOAD, ProgramHeader};

use crate::address::{FileOffset, Svma};

/// A `PT_LOAD` segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadSegment {
    /// `p_vaddr`.
    pub start: Svma,
    /// `p_offset`.
    pub offset: FileOffset,
    /// `p_filesz`: bytes that come from the file.
    pub file_size: u64,
    /// `p_memsz`: bytes in memory.
    pub memory_size: u64,
    /// `PF_X`.
    pub is_executable: bool,
    /// `PF_W`.
    pub is_writable: bool,
}

impl LoadSegment {
    /// The segment of a `PT_LOAD` header.
    pub(super) fn parse(header: &ProgramHeader) -> Option<Self> {
        (header.p_type == PT_LOAD).then_some(Self {
            start: Svma(header.p_vaddr),
            offset: FileOffset(header.p_offset),
            file_size: header.p_filesz,
            memory_size: header.p_memsz,
            is_executable: header.p_flags & PF_X != 0,
            is_writable: header.p_flags & PF_W != 0,
        })
    }

    /// Where `address` lies in the file, or `None` outside the file-backed part of this segment (`p_filesz`).
    #[must_use]
    pub fn file_offset_of(&self, address: Svma) -> Option<FileOffset> {
        let distance = address.0.checked_sub(self.start.0)?;
        (distance < self.file_size).then_some(())?;
        self.offset.0.checked_add(distance).map(FileOffset)
    }

    /// Where the addresses of `range` lie in the file, or `None` unless all of them are in the file-backed part.
    #[must_use]
    pub(super) fn file_range_of(&self, range: &Range<Svma>) -> Option<Range<usize>> {
        let length = range.end.0.checked_sub(range.start.0)?;
        let last = Svma(range.start.0.checked_add(length.checked_sub(1)?)?);
        self.file_offset_of(last)?;
        let start = usize::try_from(self.file_offset_of(range.start)?.0).ok()?;
        Some(start..start.checked_add(usize::try_from(length).ok()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> LoadSegment {
        LoadSegment {
            start: Svma(0x1000),
            offset: FileOffset(0x200),
            file_size: 0x10,
            memory_size: 0x20,
            is_executable: true,
            is_writable: false,
        }
    }

    /// Guards against probes in `.bss`, which has addresses but no place in the file.
    #[test]
    fn only_the_part_from_the_file_has_offsets() {
        assert_eq!(segment().file_offset_of(Svma(0x0fff)), None);
        assert_eq!(segment().file_offset_of(Svma(0x1000)), Some(FileOffset(0x200)));
        assert_eq!(segment().file_offset_of(Svma(0x100f)), Some(FileOffset(0x20f)));
        assert_eq!(segment().file_offset_of(Svma(0x1010)), None);
    }

    /// Guards against arithmetic on a hostile file's addresses.
    #[test]
    fn ranges_that_do_not_fit_have_no_place() {
        assert_eq!(segment().file_range_of(&(Svma(0x1000)..Svma(0x1010))), Some(0x200..0x210));
        assert_eq!(segment().file_range_of(&(Svma(0x1000)..Svma(0x1011))), None);
        assert_eq!(segment().file_range_of(&(Svma(0x1008)..Svma(0x1004))), None);
        assert_eq!(segment().file_range_of(&(Svma(0x1008)..Svma(0x1008))), None);
        assert_eq!(segment().file_range_of(&(Svma(0x1008)..Svma(u64::MAX))), None);
    }
}
