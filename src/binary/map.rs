//! Files as memory: a file in, its bytes out, without reading what nobody looks at.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// The whole file, as it was when it was opened.
pub(super) fn map(file: &File) -> io::Result<Arc<Mmap>> {
    // SAFETY: the mapping is private and read-only. A program that is being executed cannot be written to (ETXTBSY); somebody who
    // truncates another file while we read it ends us by SIGBUS, which is all that can happen: no reference outlives the mapping,
    // and nothing is derived from the bytes that a change of them would make unsound.
    let map = unsafe { Mmap::map(file)? };
    Ok(Arc::new(map))
}

/// The bytes of a section: a part of the file, or what was decompressed from one.
#[derive(Clone, Debug)]
pub enum SectionBytes {
    /// A part of the file. The range lies within the mapping.
    Mapped(Arc<Mmap>, Range<usize>),
    /// Decompressed.
    Owned(Vec<u8>),
}

impl Deref for SectionBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map, range) => map.get(range.clone()).unwrap_or_default(),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Default for SectionBytes {
    fn default() -> Self {
        Self::Owned(Vec::new())
    }
}
