//! Address spaces, one type each: a number from one cannot slip into another.

use std::fmt;

/// Stated virtual memory address: an address as written in the ELF file (`st_value`, `DW_AT_low_pc`), before the loader adds its bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Svma(pub u64);

/// Actual virtual memory address: an address in a running process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Avma(pub u64);

/// An offset from the start of a file, in bytes: what a uprobe is placed at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileOffset(pub u64);

/// What the loader added: AVMA minus SVMA, modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadBias(pub u64);

impl LoadBias {
    /// Where `address` is in the process.
    #[must_use]
    pub fn to_avma(self, address: Svma) -> Avma {
        Avma(address.0.wrapping_add(self.0))
    }

    /// Where `address` is in the file.
    #[must_use]
    pub fn to_svma(self, address: Avma) -> Svma {
        Svma(address.0.wrapping_sub(self.0))
    }
}

macro_rules! display_in_hex {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )*};
}

display_in_hex!(Svma Avma FileOffset LoadBias);
