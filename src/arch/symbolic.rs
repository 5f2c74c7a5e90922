//! The first instructions of a function, executed on symbols instead of numbers: each byte knows where it was at the entry.
//!
//! An unoptimized function keeps its parameters in its frame, and its debug info says only that. At the entry the frame is not
//! filled yet. The prologue's stores prove which register each parameter came in:
//!
//! ```text
//! DW_AT_location: DW_OP_fbreg -28       mov %edx, %eax       bytes of rax are now bytes 0.. of rdx at the entry
//!                                       mov %al, -12(%rbp)   so CFA-28 gets byte 0 of rdx at the entry
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use crate::address::Svma;

/// Where a byte was when the function was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In an integer register.
    Register {
        /// Its DWARF number.
        register: u16,
        /// Which byte of it, from the lowest.
        byte: u8,
    },
    /// In a vector register.
    Vector {
        /// Its DWARF number.
        register: u16,
        /// Which byte of it, from the lowest.
        byte: u8,
    },
    /// In memory at CFA + this: an argument on the stack.
    Memory(i64),
    /// It is a constant, or was computed: not known.
    Unknown,
}

/// A byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Byte {
    /// Where it was.
    pub origin: Origin,
    /// All bits but the lowest were cleared since. A C `bool` is 0 or 1 anyway (psABI section 3.1.2): for it, nothing has changed.
    pub low_bit_only: bool,
}

impl Byte {
    /// A byte of which nothing is known.
    pub const UNKNOWN: Self = Self::from(Origin::Unknown);

    /// The byte that was there.
    #[must_use]
    pub const fn from(origin: Origin) -> Self {
        Self { origin, low_bit_only: false }
    }
}

/// What an address in the frame counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// The canonical frame address: the stack pointer before the call instruction.
    Cfa,
    /// A stack pointer that was rounded down: below the CFA, but not known how far. Each rounding makes a new one.
    Aligned(u8),
}

/// An address in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Counted from here.
    pub base: Base,
    /// In bytes.
    pub offset: i64,
}

impl Address {
    /// CFA + `offset`.
    #[must_use]
    pub const fn cfa(offset: i64) -> Self {
        Self { base: Base::Cfa, offset }
    }

    /// This address + `distance`, in the arithmetic of the processor.
    #[must_use]
    pub const fn plus(self, distance: i64) -> Self {
        Self { base: self.base, offset: self.offset.wrapping_add(distance) }
    }
}

/// Bytes of a general register.
pub const WORD_BYTES: usize = 8;

/// What a general register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// An address in the frame.
    Address(Address),
    /// Something else, byte by byte from the lowest.
    Bytes([Byte; WORD_BYTES]),
}

impl Value {
    /// A value of which nothing is known.
    pub const UNKNOWN: Self = Self::Bytes([Byte::UNKNOWN; WORD_BYTES]);

    /// What the register with this DWARF number held at the entry.
    #[must_use]
    pub fn at_entry(register: u16) -> Self {
        Self::Bytes(std::array::from_fn(|byte| Byte::from(Origin::Register { register, byte: byte as u8 })))
    }

    /// The register whose whole value this was at the entry.
    #[must_use]
    pub fn register_at_entry(self) -> Option<u16> {
        match self.bytes()[0].origin {
            Origin::Register { register, byte: 0 } if self == Self::at_entry(register) => Some(register),
            _ => None,
        }
    }

    /// Its bytes; those of an address are not known.
    #[must_use]
    pub fn bytes(self) -> [Byte; WORD_BYTES] {
        match self {
            Self::Address(_) => [Byte::UNKNOWN; WORD_BYTES],
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// A byte was written to the stack.
#[derive(Clone, Copy, Debug)]
struct Store {
    by: Svma,
    byte: Byte,
    /// To save a register, or only to make room: what it pushes is no parameter in its slot.
    is_push: bool,
}

/// The stack around the frame.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    stores: BTreeMap<Address, Vec<Store>>,
    /// Something was written that may have been anywhere, first by this instruction.
    forgotten: Option<Svma>,
    /// Something was written that is, or may be, outside of the frame, first by this instruction.
    wrote_outside: Option<Svma>,
}

impl Frame {
    /// The instruction at `by` writes bytes.
    pub fn store(&mut self, by: Svma, to: Address, bytes: &[Byte]) {
        self.write(by, to, bytes, false);
    }

    /// The instruction at `by` pushes bytes, which become the ones at `to`.
    pub fn push(&mut self, by: Svma, to: Address, bytes: &[Byte]) {
        self.write(by, to, bytes, true);
    }

    fn write(&mut self, by: Svma, to: Address, bytes: &[Byte], is_push: bool) {
        for (distance, &byte) in bytes.iter().enumerate() {
            self.stores.entry(to.plus(distance as i64)).or_default().push(Store { by, byte, is_push });
        }
    }

    /// Reads a byte. What nobody wrote is an argument if it lies at or above the CFA (psABI section 3.2.2), and garbage below.
    #[must_use]
    pub fn load(&self, from: Address) -> Byte {
        match self.stores.get(&from).and_then(|stores| stores.last()) {
            _ if self.forgotten.is_some() => Byte::UNKNOWN,
            Some(store) => store.byte,
            None if from.base == Base::Cfa && from.offset >= 0 => Byte::from(Origin::Memory(from.offset)),
            None => Byte::UNKNOWN,
        }
    }

    /// Whether anything may have been written to the frame below this address.
    #[must_use]
    pub fn may_hold_below(&self, address: Address) -> bool {
        let is_below = |written: &Address| written.base != address.base || written.offset < address.offset;
        self.forgotten.is_some() || self.stores.keys().any(is_below)
    }

    /// The instruction at `by` writes to an unknown place: what is loaded from now on is not known.
    pub fn forget(&mut self, by: Svma) {
        self.forgotten.get_or_insert(by);
        self.write_outside(by);
    }

    /// The instruction at `by` writes to a variable that is certainly outside of the frame.
    pub fn write_outside(&mut self, by: Svma) {
        self.wrote_outside.get_or_insert(by);
    }
}

/// A register was set.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// By this instruction.
    pub by: Svma,
    /// To this.
    pub value: Value,
}

/// What the entry block has shown: the instructions from the entry on that every call executes once and in this order.
#[derive(Clone, Debug)]
pub struct EntryBlock {
    /// The stack pointer behind the prologue, where it is certain.
    pub stack_pointer: Option<Address>,
    /// The stack.
    pub frame: Frame,
    /// How many instructions of the whole function set each register, by DWARF number; what calls do to them is not counted.
    pub times_set: BTreeMap<u16, usize>,
    /// What each register was set to, by DWARF number.
    pub history: BTreeMap<u16, Vec<Change>>,
    /// The entry, and the first instruction that was not executed.
    pub executed: Range<Svma>,
}

impl EntryBlock {
    /// What was stored at `address` first: the parameter that lives there.
    #[must_use]
    pub fn first_stored(&self, address: Address) -> Option<Byte> {
        self.frame.stores.get(&address)?.iter().find(|store| !store.is_push).map(|store| store.byte)
    }

    /// What was stored at `address` last before the instruction at `before` was executed.
    #[must_use]
    pub fn stored_before(&self, address: Address, before: Svma) -> Option<Byte> {
        if self.frame.forgotten.is_some_and(|by| by < before) {
            return Some(Byte::UNKNOWN);
        }
        let earlier = self.frame.stores.get(&address)?.iter().take_while(|store| store.by < before);
        earlier.filter(|store| !store.is_push).last().map(|store| store.byte)
    }

    /// What lies at `address` before the instruction at `before` is executed, whatever it is there for.
    #[must_use]
    pub fn byte_at(&self, address: Address, before: Svma) -> Byte {
        let stores = self.frame.stores.get(&address).map_or(&[][..], Vec::as_slice);
        match stores.iter().take_while(|store| store.by < before).last() {
            _ if self.frame.forgotten.is_some_and(|by| by < before) => Byte::UNKNOWN,
            Some(store) => store.byte,
            None if address.base == Base::Cfa && address.offset >= 0 => Byte::from(Origin::Memory(address.offset)),
            None => Byte::UNKNOWN,
        }
    }

    /// Where the frame was written to in front of the instruction at `before`.
    pub fn written_before(&self, before: Svma) -> impl Iterator<Item = Address> {
        let is_early = move |stores: &Vec<Store>| stores.first().is_some_and(|store| store.by < before);
        self.frame.stores.iter().filter(move |(_, stores)| is_early(stores)).map(|(address, _)| *address)
    }

    /// Whether nothing but the frame was written to in front of the instruction at `before`: what pointers lead to is as it was.
    #[must_use]
    pub fn leaves_memory_until(&self, before: Svma) -> bool {
        self.frame.wrote_outside.is_none_or(|by| by >= before)
    }

    /// What a register was set to first, if that is an address in the frame: it is a frame pointer.
    #[must_use]
    pub fn frame_pointer(&self, register: u16) -> Option<Address> {
        match self.first_value(register) {
            Some(Value::Address(address)) => Some(address),
            _ => None,
        }
    }

    /// What a register was set to first, if it was.
    #[must_use]
    pub fn first_value(&self, register: u16) -> Option<Value> {
        self.history.get(&register)?.first().map(|change| change.value)
    }

    /// What a register was set to by the only instruction in the entry block that sets it.
    #[must_use]
    pub fn only_value(&self, register: u16) -> Option<Value> {
        match self.history.get(&register)?[..] {
            [change] => Some(change.value),
            _ => None,
        }
    }

    /// Whether the low bytes of a register stay what they were at the entry, in all of the function: it may be widened in place.
    #[must_use]
    pub fn keeps(&self, register: u16, bytes: usize) -> bool {
        let changes = self.history.get(&register).map_or(&[][..], Vec::as_slice);
        let entry = Value::at_entry(register).bytes();
        let kept = |change: &Change| change.value.bytes().iter().zip(entry).take(bytes).all(|(now, then)| *now == then);
        changes.len() == self.times_set(register) && changes.iter().all(kept)
    }

    /// How many instructions of the whole function set a register.
    #[must_use]
    pub fn times_set(&self, register: u16) -> usize {
        self.times_set.get(&register).copied().unwrap_or(0)
    }

    /// Whether all in front of the instruction at `address` was executed.
    #[must_use]
    pub fn reaches(&self, address: Svma) -> bool {
        self.executed.contains(&address) || address == self.executed.end
    }

    /// What a register held before the instruction at `address` was executed. `None` beyond the entry block.
    #[must_use]
    pub fn value_at(&self, register: u16, address: Svma) -> Option<Value> {
        let changes = self.history.get(&register).map_or(&[][..], Vec::as_slice);
        let last = changes.iter().take_while(|change| change.by < address).last();
        self.reaches(address).then(|| last.map_or(Value::at_entry(register), |change| change.value))
    }

    /// Whether a byte that was in `register` at the entry was stored anywhere below the CFA.
    #[must_use]
    pub fn has_stored_in_frame(&self, register: u16) -> bool {
        let below = self.frame.stores.iter().filter(|(at, _)| at.base != Base::Cfa || at.offset < 0);
        let first = below.filter_map(|(at, _)| self.first_stored(*at));
        first.into_iter().any(|byte| matches!(byte.origin, Origin::Register { register: from, .. } if from == register))
    }
}
