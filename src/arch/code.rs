//! The bytes of a function's code, with where they lie.

use std::ops::Range;

use crate::address::{FileOffset, Svma};
use crate::binary::Binary;

/// More code than this in one function is damage, or nothing that anybody wrote.
const MAX_CODE_BYTES: u64 = 16 << 20;

/// A stretch of a function's code.
#[derive(Clone, Copy, Debug)]
pub struct CodeRange<'a> {
    /// Where it begins.
    pub address: Svma,
    /// Where that is in the file.
    pub offset: FileOffset,
    /// The code.
    pub bytes: &'a [u8],
}

impl CodeRange<'_> {
    /// How far behind the start of this range `address` lies, if it lies in it.
    fn distance_to(&self, address: Svma) -> Option<u64> {
        address.0.checked_sub(self.address.0).filter(|&distance| distance < self.bytes.len() as u64)
    }
}

/// All code of one function. The first range begins with its entry; others are parts that the compiler moved away (`.cold`).
#[derive(Clone, Debug)]
pub struct Code<'a> {
    ranges: Vec<CodeRange<'a>>,
    file: Option<&'a Binary>,
}

/// Why a function's code could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// There is none.
    #[error("it has no code")]
    Empty,
    /// The address is in no segment that comes from the file.
    #[error("its code at {0} is not in the file")]
    NotInFile(Svma),
    /// The bound above.
    #[error("its code is larger than {MAX_CODE_BYTES} bytes")]
    TooLarge,
}

impl<'a> Code<'a> {
    /// Collects the code of a function with these ranges; `bytes_of` says where a range lies in the file, and its bytes.
    pub fn read(
        ranges: &[Range<Svma>],
        mut bytes_of: impl FnMut(&Range<Svma>) -> Option<(FileOffset, &'a [u8])>,
    ) -> Result<Self, CodeError> {
        let mut code = Vec::new();
        let mut total = 0u64;
        for range in ranges {
            if range.start >= range.end {
                continue;
            }
            let (offset, bytes) = bytes_of(range).ok_or(CodeError::NotInFile(range.start))?;
            total = total.saturating_add(bytes.len() as u64);
            if total > MAX_CODE_BYTES {
                return Err(CodeError::TooLarge);
            }
            code.push(CodeRange { address: range.start, offset, bytes });
        }
        if code.is_empty() || code[0].bytes.is_empty() {
            return Err(CodeError::Empty);
        }
        Ok(Self { ranges: code, file: None })
    }

    /// With the file that it is in, where its constants are.
    #[must_use]
    pub fn in_file(self, file: &'a Binary) -> Self {
        Self { file: Some(file), ..self }
    }

    /// The file that it is in, where that is known.
    #[must_use]
    pub fn file(&self) -> Option<&'a Binary> {
        self.file
    }

    /// The ranges; there is at least one.
    #[must_use]
    pub fn ranges(&self) -> &[CodeRange<'a>] {
        &self.ranges
    }

    /// The address of the first instruction.
    #[must_use]
    pub fn entry(&self) -> Svma {
        self.ranges[0].address
    }

    /// Whether `address` is in this code.
    #[must_use]
    pub fn contains(&self, address: Svma) -> bool {
        self.file_offset_of(address).is_some()
    }

    /// Where `address` lies in the file, if it is in this code.
    #[must_use]
    pub fn file_offset_of(&self, address: Svma) -> Option<FileOffset> {
        self.ranges.iter().find_map(|range| Some(FileOffset(range.offset.0.checked_add(range.distance_to(address)?)?)))
    }
}
