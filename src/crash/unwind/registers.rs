//! The registers of one frame, by DWARF number.

use std::fmt;

use crate::address::Avma;
use crate::arch::Architecture;

/// DWARF numbers of general registers: 0 to 16 on x86-64, 0 to 32 on aarch64.
const COUNT: usize = 33;

/// What is known of a frame's registers.
#[derive(Clone, PartialEq, Eq)]
pub struct Registers([Option<u64>; COUNT]);

impl Default for Registers {
    fn default() -> Self {
        Self([None; COUNT])
    }
}

impl Registers {
    /// The registers that the kernel saved, in the order of the architecture's `pt_regs`.
    #[must_use]
    pub fn from_words(words: &[u64], arch: &dyn Architecture) -> Self {
        Self(std::array::from_fn(|number| {
            let word = arch.register_word(u16::try_from(number).ok()?)?;
            words.get(usize::from(word)).copied()
        }))
    }

    /// The register with this DWARF number.
    #[must_use]
    pub fn get(&self, number: u16) -> Option<u64> {
        self.0.get(usize::from(number)).copied().flatten()
    }

    /// Sets the register with this DWARF number.
    pub fn set(&mut self, number: u16, value: Option<u64>) {
        if let Some(register) = self.0.get_mut(usize::from(number)) {
            *register = value;
        }
    }

    /// DWARF numbers of all registers that there may be.
    pub fn numbers() -> impl Iterator<Item = u16> {
        0..COUNT as u16
    }

    /// The program counter.
    #[must_use]
    pub fn program_counter(&self, arch: &dyn Architecture) -> Option<Avma> {
        self.get(arch.program_counter()).map(Avma)
    }

    /// The stack pointer.
    #[must_use]
    pub fn stack_pointer(&self, arch: &dyn Architecture) -> Option<Avma> {
        self.get(arch.stack_pointer()).map(Avma)
    }
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.iter().enumerate().filter_map(|(number, value)| Some((number, (*value)?)));
        f.debug_map().entries(known.map(|(number, value)| (number, format!("{value:#x}")))).finish()
    }
}
