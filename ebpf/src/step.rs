//! The capture plan as the kernel sees it: per function a few steps, each a fixed 16 bytes.

use crate::align8;

/// Copies the low `size` bytes of a saved register (always 8 bytes of output, no [`Outcome`]).
pub const REGISTER: u8 = 1;
/// Copies `size` bytes from user memory at register + `offset`.
pub const MEMORY: u8 = 2;
/// Copies `size` bytes from user memory at pointer + `offset`; the pointer lies at `base` in the data captured so far. What cannot be
/// read is zero there: pointers in it lead nowhere.
pub const FOLLOW: u8 = 3;
/// Copies a NUL-terminated string of at most `size` bytes (NUL not counted) from pointer + `offset`.
pub const STRING: u8 = 4;
/// Copies as many elements of `element` bytes as the integer of `count_size` bytes at `count` says, `size` bytes at the most.
pub const COUNTED: u8 = 5;
/// The same into a place of `size` bytes: what no element fills is zero, so that pointers of elements that are not there lead nowhere.
pub const ELEMENTS: u8 = 6;
/// Like [`ELEMENTS`], but the elements lie in front of the pointer, and there is one more than the integer at `count` says: the places of
/// a hash table, of which that is the mask.
pub const PLACES: u8 = 7;
/// Like [`ELEMENTS`], but the first one is that whose index was captured before: a queue in a ring, or in blocks. See [`Step::first_at`].
pub const RING: u8 = 8;
/// Copies the 8 bytes at `base` of what was captured at the entry: at the return, to follow the pointers of the arguments again (no
/// [`Outcome`]).
pub const WORD: u8 = 9;

/// One instruction of a capture plan.
///
/// Outputs follow each other in the record's data in the order of the steps, each aligned to 8 bytes. The steps whose output
/// has a fixed size stand before those whose output has not ([`STRING`], [`COUNTED`]), so that `base` and `count` are constants.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Debug, PartialOrd, Ord))]
pub struct Step {
    /// One of the constants above.
    pub op: u8,
    /// Word of the saved registers (see `lastwords::arch`).
    pub register: u8,
    /// Bytes to copy; the limit for what has no fixed size.
    pub size: u16,
    /// Where in the record's data the pointer to follow lies.
    pub base: u16,
    /// Where in the record's data the number of elements lies.
    pub count: u16,
    /// Added to the register or the pointer; for [`RING`], [`Step::ring_offset`].
    pub offset: i32,
    /// Bytes of an element; 0 if what lies at `count` is no number but the address where the copy ends.
    pub element: u16,
    /// Bytes of the integer at `count`: 1, 2, 4 or 8.
    pub count_size: u16,
}

impl Step {
    /// Bytes of output: all that the step will write, or at the most, its [`Outcome`] included.
    #[must_use]
    pub const fn output_bytes(&self) -> u32 {
        match self.op {
            REGISTER | WORD => 8,
            // One byte more than the limit: the NUL that tells a whole string from a truncated one.
            STRING => OUTCOME_BYTES + align8(self.size as u32 + 1),
            _ => OUTCOME_BYTES + align8(self.size as u32),
        }
    }

    /// The `offset` of a [`RING`] whose first element's index lies at `first_at` in the record's data. That many elements which count too lie
    /// elsewhere, in front of those that the pointer leads to: where the index is one of theirs, the first element here is the first that is read.
    #[must_use]
    pub const fn ring_offset(first_at: u16, in_front: u16) -> i32 {
        (((in_front as u32) << 16) | first_at as u32).cast_signed()
    }

    /// Of a [`RING`], where in the record's data the index of the first element lies.
    #[must_use]
    pub const fn first_at(&self) -> u16 {
        (self.offset.cast_unsigned() & 0xffff) as u16
    }

    /// Of a [`RING`], how many elements lie elsewhere, in front of those that the pointer leads to.
    #[must_use]
    pub const fn elements_in_front(&self) -> u16 {
        (self.offset.cast_unsigned() >> 16) as u16
    }

    /// Whether it copies what a pointer leads to that was captured before.
    #[must_use]
    pub const fn follows(&self) -> bool {
        matches!(self.op, FOLLOW | STRING | COUNTED | ELEMENTS | PLACES | RING)
    }

    /// Where it reads, if the pointer holds `base`, the integer at `count` is `count`, and the index of the first element is `first`.
    #[must_use]
    pub const fn address(&self, base: u64, count: u64, first: u64) -> u64 {
        match self.op {
            PLACES => {
                let room = (self.size as u64).wrapping_div(if self.element == 0 { 1 } else { self.element as u64 });
                let places = if count < room { count + 1 } else { room };
                base.wrapping_sub(places * self.element as u64)
            }
            RING => {
                let first = first.saturating_sub(self.elements_in_front() as u64);
                base.wrapping_add(first.wrapping_mul(self.element as u64))
            }
            _ => base.wrapping_add_signed(self.offset as i64),
        }
    }
}

/// Everything was read.
pub const READ: u16 = 1;
/// The limit was reached before the end: there is more of it.
pub const TRUNCATED: u16 = 2;
/// The pointer was NULL: nothing to read.
pub const NULL: u16 = 3;
/// Nothing could be read: no memory is mapped there, or it may not be read.
pub const FAULT: u16 = 4;
/// The first `length` bytes could be read, what follows them could not.
pub const PARTIAL: u16 = 5;
/// The first `length` bytes could be read. What follows them is not in memory, or not mapped: this kernel does not wait for pages (before Linux 6.0).
pub const NOT_IN_MEMORY: u16 = 6;

/// What became of a step that reads user memory; stands in front of its bytes.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct Outcome {
    /// One of the constants above.
    pub status: u16,
    /// Zero.
    pub reserved: u16,
    /// Bytes that are valid: of a string without its NUL.
    pub length: u32,
}

/// Bytes of an [`Outcome`] in a record.
pub const OUTCOME_BYTES: u32 = size_of::<Outcome>() as u32;

/// One entry of the map `FUNCTIONS`: the plan of the function with this index, and what both sides tell each other about it while it runs. The
/// steps at its return stand behind those at its entry.
///
/// The data of its records begin with room for what its return will add. Offsets (`base`, `count`) of the steps at the entry count from there;
/// those of the steps at the return count from [`Record::value`](crate::Record::value), which is right in front of it.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct Function {
    /// Index of its first step in the map `STEPS`.
    pub first_step: u32,
    /// How many there are, `MAX_STEPS` at the most.
    pub step_count: u16,
    /// How many of them, from the first on, only copy a register.
    pub register_steps: u16,
    /// CFA minus stack pointer at the entry probe: 8 on x86-64 while nothing has been pushed.
    pub cfa_offset: i32,
    /// Bytes of a record's data at the most.
    pub data_bytes: u32,
    /// Calls by threads that are watched, as long as the function is: counted by the kernel side.
    pub hits: u64,
    /// The newest [generation](crate::cookie::generation) of probes that is to record it, or [`MUTED`]: set by user space.
    pub generation: u32,
    /// 1 if its return is watched, 0 if not: set by user space.
    pub returns: u32,
    /// How many steps there are at its return, `MAX_STEPS` at the most.
    pub exit_step_count: u32,
    /// Bytes of a record's data that are left to them.
    pub exit_bytes: u32,
    /// Nanoseconds that it took on top of what each of its calls takes: following pointers, copying texts, turns of its loop, traps that are
    /// still there while nothing is recorded any more. Counted by the kernel side.
    pub extra_ns: u64,
    /// Hits of instructions that leave it, by threads that are watched: counted by the kernel side.
    pub exit_hits: u64,
    /// Nanoseconds that probes take at a [turn](crate::cookie::TURN) of its loop; 0 for a function whose code never comes back to its first
    /// instruction.
    pub turn_ns: u32,
    /// Nanoseconds that the trap at its entry takes.
    pub entry_ns: u32,
}

/// [`Function::generation`] of a function that is not recorded.
pub const MUTED: u32 = 0;
/// [`Function::generation`] at the start.
pub const FIRST_GENERATION: u32 = 1;

const _: () = assert!(size_of::<Step>() == 16);
const _: () = assert!(size_of::<Function>() == 64);
const _: () = assert!(size_of::<Outcome>() == 8);
