//! From where debug info says a value is, to where it can be read at the entry probe.
//!
//! Comes in: a [`Place`] and what the code of the entry block proves. Goes out: spans of registers and memory. Where debug info
//! means a part of the frame that is filled only behind the probe, the stores that fill it say where the bytes are before. A store
//! that was not found is never replaced by what a calling convention would suggest.

use super::shape::Meaning;
use crate::address::Svma;
use crate::arch::Architecture;
use crate::arch::symbolic::{Address, Base, Byte, EntryBlock, Origin, Value, WORD_BYTES};
use crate::dwarf::function::{FrameBase, Place};

const UNKNOWN_FRAME: &str = "its frame could not be followed";
const SLOT_NOT_FILLED: &str = "its stack slot is not yet filled at the entry";
const LOCATED_LATER: &str = "the debug info says only later where it is";
const TOO_FEW_REGISTERS: &str = "in more registers than the debug info names";
const REGISTER_SET: &str = "whether its register is filled at the entry or behind it cannot be told";
const REGISTER_NOT_FILLED: &str = "its register is not yet filled at the entry";

/// Bytes that can be read in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// How many.
    pub size: u32,
    /// Where they are.
    pub spot: Spot,
}

/// Where bytes are at the entry probe. Registers by their DWARF number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    /// In a register, from byte `skip` of it on.
    Register {
        /// Which.
        register: u16,
        /// Lower bytes to leave out.
        skip: u32,
    },
    /// In memory at register + offset.
    Memory {
        /// Which.
        register: u16,
        /// In bytes.
        offset: i64,
    },
    /// In a vector register, from byte `skip` of it on: only code that moves it elsewhere makes it readable.
    Vector {
        /// Which.
        register: u16,
        /// Lower bytes to leave out.
        skip: u32,
    },
    /// Known.
    Constant(Vec<u8>),
    /// Nowhere.
    OptimizedOut,
    /// Where it cannot be read, and why.
    Unavailable(String),
}

/// What of a value lies in one place.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What each byte is.
    pub bytes: &'a [Meaning],
}

impl Part<'_> {
    fn size(&self) -> u32 {
        self.bytes.len() as u32
    }
}

/// A pointer.
const POINTER: Part<'static> = Part { bytes: &[Meaning::Value; WORD_BYTES] };

/// Finds the values of one function.
#[derive(Clone, Copy)]
pub struct Locator<'a> {
    /// The architecture of the code.
    pub arch: &'a dyn Architecture,
    /// What the code proves.
    pub entry: &'a EntryBlock,
    /// What frame offsets count from.
    pub frame_base: Option<FrameBase>,
    /// CFA minus stack pointer at the probe.
    pub cfa_offset: i64,
}

impl Locator<'_> {
    /// Where a part of a value is at the probe.
    #[must_use]
    pub fn locate(&self, place: &Place, part: Part<'_>) -> Vec<Span> {
        match place {
            Place::Register(register) => self.in_register(*register, part),
            Place::HomeRegister(register) => self.in_home_register(*register, part),
            Place::RegisterOffset(register, offset) => self.at_register(*register, *offset, part),
            Place::HomeRegisterOffset(register, offset) => self.at_home_register(*register, *offset, part),
            Place::CfaOffset(_) | Place::FrameOffset(_) => self.in_slot(self.slot(place), part),
            Place::Indirect { pointer, offset } if !matches!(**pointer, Place::Indirect { .. }) => {
                self.behind(&self.locate(pointer, POINTER), *offset, part)
            }
            Place::Indirect { .. } => unavailable(part, "behind more than one pointer"),
            Place::UpperPart { of, skip } => self.in_upper_part(of, *skip, part),
            Place::Address(_) => unavailable(part, "at a fixed address"),
            Place::Constant(bytes) => unavailable(part, &only_constant(bytes, part)),
            Place::OptimizedOut => vec![Span { size: part.size(), spot: Spot::OptimizedOut }],
        }
    }

    /// The same for a place that debug info names only from a later instruction on: it is known at the entry if what has been
    /// executed in between is, and leads back to there.
    #[must_use]
    pub fn locate_later(&self, from: Svma, place: &Place, part: Part<'_>) -> Vec<Span> {
        let value = |register| self.entry.value_at(register, from);
        match place {
            _ if !self.entry.reaches(from) => vec![Span { size: part.size(), spot: Spot::OptimizedOut }],
            Place::Register(register) if self.arch.register_word(*register).is_some() => match value(*register) {
                Some(value) => self.bytes_of(value, part, LOCATED_LATER),
                None => unavailable(part, LOCATED_LATER),
            },
            Place::RegisterOffset(register, offset) => match value(*register) {
                Some(Value::Address(address)) => self.in_slot_later(from, Some(address.plus(*offset)), part),
                Some(value) => match value.register_at_entry() {
                    Some(register) => self.at_address_in(register, *offset, part),
                    None => unavailable(part, LOCATED_LATER),
                },
                None => unavailable(part, LOCATED_LATER),
            },
            Place::Indirect { pointer, offset } if !matches!(**pointer, Place::Indirect { .. }) => {
                self.behind(&self.locate_later(from, pointer, POINTER), *offset, part)
            }
            Place::CfaOffset(_) | Place::FrameOffset(_) => self.in_slot_later(from, self.slot(place), part),
            place => self.locate(place, part),
        }
    }

    /// What a pointer leads to that is itself in these places.
    fn behind(&self, pointer: &[Span], offset: i64, part: Part<'_>) -> Vec<Span> {
        match pointer {
            [Span { spot: Spot::Register { register, skip: 0 }, .. }] => self.at_address_in(*register, offset, part),
            [Span { spot: Spot::Unavailable(reason), .. }] => unavailable(part, reason),
            _ => unavailable(part, "behind a pointer that is not in a register"),
        }
    }

    /// A register that debug info names for the entry. Arguments arrive in some registers only; for the others, debug info means
    /// the time behind the prologue.
    fn in_register(&self, register: u16, part: Part<'_>) -> Vec<Span> {
        match self.unreadable(register) {
            Some(_) if self.arch.is_vector(register) => {
                vec![Span { size: part.size(), spot: Spot::Vector { register, skip: 0 } }]
            }
            Some(reason) => unavailable(part, &reason),
            None if self.is_for_arguments(register) => {
                self.bytes_of(Value::at_entry(register), part, TOO_FEW_REGISTERS)
            }
            None => self.in_home_register(register, part),
        }
    }

    /// A register that may be filled by the function itself. What fills it need not be the first instruction that sets it, so there
    /// may be no other; registers to save for the caller are not used for anything else in between.
    fn in_home_register(&self, register: u16, part: Part<'_>) -> Vec<Span> {
        if let Some(reason) = self.unreadable(register) {
            return unavailable(part, &reason);
        }
        let is_for_arguments = self.is_for_arguments(register);
        let value = match self.entry.times_set(register) {
            _ if is_for_arguments && self.entry.keeps(register, part.bytes.len()) => Some(Value::at_entry(register)),
            _ if self.arch.is_callee_saved(register) => self.entry.only_value(register),
            1 if !is_for_arguments => self.entry.only_value(register),
            _ => None,
        };
        match value {
            Some(value) => self.bytes_of(value, part, REGISTER_NOT_FILLED),
            None => unavailable(part, REGISTER_SET),
        }
    }

    /// The bytes of a register behind the lowest ones.
    fn in_upper_part(&self, of: &Place, skip: u32, part: Part<'_>) -> Vec<Span> {
        if !matches!(of, Place::Register(_) | Place::HomeRegister(_)) {
            return unavailable(part, "in a part of something that is no register");
        }
        let bytes: Vec<_> = std::iter::repeat_n(&Meaning::Value, skip as usize).chain(part.bytes).copied().collect();
        let mut rest = skip;
        let spans = self.locate(of, Part { bytes: &bytes }).into_iter().filter_map(|Span { size, spot }| {
            let dropped = rest.min(size);
            rest -= dropped;
            let spot = match spot {
                Spot::Register { register, skip } => Spot::Register { register, skip: skip + dropped },
                Spot::Vector { register, skip } => Spot::Vector { register, skip: skip + dropped },
                spot => spot,
            };
            (size > dropped).then_some(Span { size: size - dropped, spot })
        });
        spans.collect()
    }

    fn is_for_arguments(&self, register: u16) -> bool {
        self.arch.argument_registers().contains(&register)
    }

    /// Why a register cannot be read, if it cannot.
    fn unreadable(&self, register: u16) -> Option<String> {
        match (self.arch.register_name(register), self.arch.register_word(register)) {
            (Some(_), Some(_)) => None,
            (Some(name), None) => Some(format!("in register {name}")),
            (None, _) => Some(format!("in register {register}, which is not known")),
        }
    }

    fn bytes_of(&self, value: Value, part: Part<'_>, missing: &str) -> Vec<Span> {
        let bytes = value.bytes();
        self.merge((0..part.bytes.len()).map(|byte| bytes.get(byte).copied()), part, missing)
    }

    fn at_register(&self, register: u16, offset: i64, part: Part<'_>) -> Vec<Span> {
        if self.is_for_arguments(register) {
            return self.at_address_in(register, offset, part);
        }
        self.in_slot(self.frame_register(register).map(|address| address.plus(offset)), part)
    }

    fn at_home_register(&self, register: u16, offset: i64, part: Part<'_>) -> Vec<Span> {
        match self.frame_register(register) {
            Some(address) => self.in_slot(Some(address.plus(offset)), part),
            None => self.behind(&self.in_home_register(register, POINTER), offset, part),
        }
    }

    /// What a register is once the frame is set up, if it then points into the frame. Compilers count from there, even where they
    /// say that they mean the entry.
    fn frame_register(&self, register: u16) -> Option<Address> {
        match register == self.arch.stack_pointer() {
            true => self.entry.stack_pointer,
            false => self.entry.frame_pointer(register),
        }
    }

    /// What a pointer in a register leads to.
    fn at_address_in(&self, register: u16, offset: i64, part: Part<'_>) -> Vec<Span> {
        match self.arch.register_word(register) {
            Some(_) => vec![Span { size: part.size(), spot: Spot::Memory { register, offset } }],
            None => unavailable(part, "relative to a register that cannot be read"),
        }
    }

    /// Where the frame base is behind the prologue.
    fn frame_base(&self) -> Option<Address> {
        match self.frame_base? {
            FrameBase::Cfa(distance) => Some(Address::cfa(distance)),
            FrameBase::Register(register) => self.frame_register(register),
        }
    }

    /// Where in the stack a place in the frame lies.
    fn slot(&self, place: &Place) -> Option<Address> {
        match place {
            Place::CfaOffset(offset) => Some(Address::cfa(*offset)),
            Place::FrameOffset(offset) => self.frame_base().map(|address| address.plus(*offset)),
            _ => None,
        }
    }

    /// A part of the frame: an argument on the stack is there before the call, anything else comes from elsewhere.
    fn in_slot(&self, address: Option<Address>, part: Part<'_>) -> Vec<Span> {
        let Some(address) = address else { return unavailable(part, UNKNOWN_FRAME) };
        if address.base != Base::Cfa || address.offset < 0 {
            let bytes = (0..part.bytes.len()).map(|byte| self.entry.first_stored(address.plus(byte as i64)));
            return self.merge(bytes, part, SLOT_NOT_FILLED);
        }
        if self.may_be_shadow_space(address, part) {
            return unavailable(part, "whether it came in a register or on the stack cannot be told");
        }
        vec![Span { size: part.size(), spot: self.argument_at(address.offset) }]
    }

    /// What the code in front of `from` has put into a part of the frame; an argument on the stack is there all the time.
    fn in_slot_later(&self, from: Svma, address: Option<Address>, part: Part<'_>) -> Vec<Span> {
        let Some(address) = address else { return unavailable(part, UNKNOWN_FRAME) };
        let stored = |byte: usize| self.entry.stored_before(address.plus(byte as i64), from);
        if address.base == Base::Cfa && address.offset >= 0 && (0..part.bytes.len()).all(|byte| stored(byte).is_none())
        {
            return self.in_slot(Some(address), part);
        }
        self.merge((0..part.bytes.len()).map(stored), part, LOCATED_LATER)
    }

    /// Functions with Windows' calling convention (`ms_abi`) store their first arguments above the return address, where others
    /// have arguments on the stack. Such a store of a register that is kept nowhere else could also be an assignment.
    fn may_be_shadow_space(&self, address: Address, part: Part<'_>) -> bool {
        (0..part.bytes.len()).any(|byte| match self.entry.first_stored(address.plus(byte as i64)) {
            Some(Byte { origin: Origin::Register { register, .. }, .. }) => !self.entry.has_stored_in_frame(register),
            Some(Byte { origin: Origin::Vector { .. }, .. }) => true,
            _ => false,
        })
    }

    fn argument_at(&self, cfa_offset: i64) -> Spot {
        match self.cfa_offset.checked_add(cfa_offset) {
            Some(offset) => Spot::Memory { register: self.arch.stack_pointer(), offset },
            None => Spot::Unavailable("outside the address space".into()),
        }
    }

    fn merge(&self, bytes: impl Iterator<Item = Option<Byte>>, part: Part<'_>, missing: &str) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for (byte, &meaning) in bytes.zip(part.bytes) {
            let known = byte.filter(|byte| !byte.low_bit_only || meaning == Meaning::OneBit);
            let spot = match known.map(|byte| byte.origin) {
                _ if meaning == Meaning::Padding => None,
                // What a function saves for its caller is no argument, even where debug info names it too early or too late.
                Some(Origin::Register { register, .. }) if self.arch.is_callee_saved(register) => {
                    Some(Spot::Unavailable(missing.into()))
                }
                Some(Origin::Register { register, byte }) => Some(Spot::Register { register, skip: byte.into() }),
                Some(Origin::Memory(offset)) => Some(self.argument_at(offset)),
                Some(Origin::Vector { register, byte }) => Some(Spot::Vector { register, skip: byte.into() }),
                Some(Origin::Unknown) | None => Some(Spot::Unavailable(missing.into())),
            };
            append(&mut spans, spot);
        }
        spans
    }
}

/// Adds one byte: to the last span if it continues that, or as a new one. Padding (`None`) continues anything; on its own it is zero.
fn append(spans: &mut Vec<Span>, spot: Option<Spot>) {
    if let Some(last) = spans.last_mut() {
        let size = i64::from(last.size);
        let continues = match (&mut last.spot, &spot) {
            (Spot::Register { skip, .. }, None) => *skip + last.size < WORD_BYTES as u32,
            (Spot::Constant(bytes), None) => {
                bytes.push(0);
                true
            }
            (_, None) => true,
            (Spot::Register { register: a, skip: from }, Some(Spot::Register { register: b, skip: to })) => {
                a == b && *from + last.size == *to
            }
            (Spot::Vector { register: a, skip: from }, Some(Spot::Vector { register: b, skip: to })) => {
                a == b && *from + last.size == *to
            }
            (Spot::Memory { register: a, offset: from }, Some(Spot::Memory { register: b, offset: to })) => {
                a == b && from.checked_add(size) == Some(*to)
            }
            (Spot::Unavailable(a), Some(Spot::Unavailable(b))) => a == b,
            _ => false,
        };
        if continues {
            last.size += 1;
            return;
        }
    }
    spans.push(Span { size: 1, spot: spot.unwrap_or_else(|| Spot::Constant(vec![0])) });
}

fn unavailable(part: Part<'_>, reason: &str) -> Vec<Span> {
    vec![Span { size: part.size(), spot: Spot::Unavailable(reason.into()) }]
}

/// Optimizers describe a parameter by the constant that is assigned to it, as if that had been passed.
fn only_constant(bytes: &[u8], part: Part<'_>) -> String {
    let known = bytes.iter().take(part.bytes.len()).rev().skip_while(|byte| **byte == 0);
    let digits: String = known.map(|byte| format!("{byte:02x}")).collect();
    let digits = digits.trim_start_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    format!("the debug info says 0x{digits}, which may have been assigned and not passed")
}
