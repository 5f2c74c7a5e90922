//! The memory of a dead process, from everywhere: what was copied of it, and what its files say that nobody could change.

use crate::address::Avma;
use crate::crash::code::Code;
use crate::crash::memory::{Memory, Unknown};

/// Memory by address.
#[derive(Clone, Copy)]
pub struct Image<'i, 'm> {
    memory: &'i Memory,
    code: &'i Code<'m>,
}

impl<'i, 'm> Image<'i, 'm> {
    /// What was copied, and the files of the code.
    pub fn new(memory: &'i Memory, code: &'i Code<'m>) -> Self {
        Self { memory, code }
    }

    /// The code.
    pub fn code(&self) -> &'i Code<'m> {
        self.code
    }

    /// As many of `length` bytes from `at` on as are known.
    pub fn known_part(&self, at: Avma, length: usize) -> &'i [u8] {
        let copied = self.memory.known_part(at, length);
        if copied.len() == length {
            return copied;
        }
        // A literal is seldom in a copy as a whole.
        let constant = self.code.constant_at(at, length);
        if constant.len() > copied.len() { constant } else { copied }
    }

    /// Why the byte at `at` is not known.
    pub fn why_unknown(&self, at: Avma) -> Unknown {
        self.memory.bytes(at, 1).err().unwrap_or(Unknown::NotCaptured(at))
    }

    /// The number of `size` bytes, at most 8, at `at`.
    pub fn unsigned(&self, at: Avma, size: u8) -> Result<u64, String> {
        let mut word = [0; 8];
        let size = usize::from(size).min(word.len());
        let known = self.known_part(at, size);
        if known.len() < size {
            return Err(self.why_unknown(Avma(at.0.wrapping_add(known.len() as u64))).to_string());
        }
        word[..size].copy_from_slice(known);
        Ok(u64::from_le_bytes(word))
    }
}
