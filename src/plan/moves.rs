//! Where at an instruction of the entry block the bytes are that were elsewhere at the entry.
//!
//! Comes in: spans of the state at the entry, and what the code in front of the instruction proves. Goes out: the same bytes in the
//! registers and the memory of that moment. `mov %rdi, %rbx` leaves them in both; `movsd %xmm0, -8(%rbp)` makes a float readable.

use super::locate::{Span, Spot};
use super::shape::Meaning;
use crate::arch::symbolic::{Address, Base, Byte, EntryBlock, Origin, Value, WORD_BYTES};
use crate::arch::{Architecture, Candidate};

const OVERWRITTEN: &str = "overwritten in front of the instruction that is probed";

/// A byte that is looked for.
struct Wanted {
    origin: Origin,
    meaning: Meaning,
}

impl Wanted {
    fn is(&self, byte: Byte) -> bool {
        match self.meaning {
            Meaning::Padding => true,
            Meaning::Value => byte == Byte::from(self.origin),
            // It may have lost all bits but the lowest: a C `bool` is 0 or 1 anyway.
            Meaning::OneBit => byte.origin == self.origin,
        }
    }
}

/// What has become of the state at the entry when one instruction is about to be executed.
#[derive(Clone, Copy)]
pub struct Moves<'a> {
    /// The architecture of the code.
    pub arch: &'a dyn Architecture,
    /// What the code proves.
    pub entry: &'a EntryBlock,
    /// CFA minus stack pointer at the entry, which spans on the stack count from.
    pub entry_cfa_offset: i64,
    /// The instruction.
    pub at: Candidate,
}

impl Moves<'_> {
    /// The bytes of one argument, of which `meanings` says what they are.
    #[must_use]
    pub fn find_all(&self, spans: &[Span], meanings: &[Meaning]) -> Vec<Span> {
        let mut rest = meanings;
        let find = |span: &Span| {
            let (meanings, behind) = rest.split_at_checked(span.size as usize).unwrap_or((rest, &[]));
            rest = behind;
            Span { size: span.size, spot: self.find(span, meanings) }
        };
        spans.iter().map(find).collect()
    }

    fn find(&self, Span { size, spot }: &Span, meanings: &[Meaning]) -> Spot {
        let stack_pointer = self.arch.stack_pointer();
        let found = match *spot {
            Spot::Register { register, skip } => self.search(*size, meanings, |byte| {
                Some(Origin::Register { register, byte: u8::try_from(u32::from(byte) + skip).ok()? })
            }),
            Spot::Vector { register, skip } => {
                let found = self.search(*size, meanings, |byte| {
                    Some(Origin::Vector { register, byte: u8::try_from(u32::from(byte) + skip).ok()? })
                });
                let name = self.arch.register_name(register).unwrap_or("?");
                return found.unwrap_or_else(|| Spot::Unavailable(format!("in register {name}")));
            }
            Spot::Memory { register, offset } if register == stack_pointer => self.on_stack(*size, meanings, offset),
            // The pointer has to be in a register still.
            Spot::Memory { register, offset } => {
                let word =
                    self.search(WORD_BYTES as u32, &[], |byte| Some(Origin::Register { register, byte: byte as u8 }));
                match word {
                    Some(Spot::Register { register, skip: 0 }) => Some(Spot::Memory { register, offset }),
                    _ => None,
                }
            }
            Spot::Constant(_) | Spot::OptimizedOut | Spot::Unavailable(_) => return spot.clone(),
        };
        found.unwrap_or_else(|| Spot::Unavailable(OVERWRITTEN.into()))
    }

    /// An argument on the stack: it stays where it is, and the stack pointer moves away from it.
    fn on_stack(&self, size: u32, meanings: &[Meaning], offset: i64) -> Option<Spot> {
        let start = offset.checked_sub(self.entry_cfa_offset)?;
        let origin = |byte: u16| start.checked_add(byte.into()).map(Origin::Memory);
        let is_there = |address: Address| {
            (0..u16::try_from(size).unwrap_or(u16::MAX)).all(|byte| {
                let meaning = meanings.get(usize::from(byte)).copied().unwrap_or(Meaning::Value);
                let now = self.entry.byte_at(address.plus(byte.into()), self.at.address);
                origin(byte).is_some_and(|origin| Wanted { origin, meaning }.is(now))
            })
        };
        match is_there(Address::cfa(start)) {
            true => self.memory(Address::cfa(start)),
            false => self.search(size, meanings, origin),
        }
    }

    /// Where `size` bytes are that were in these places at the entry: in one register, or one behind the other in the frame.
    fn search(&self, size: u32, meanings: &[Meaning], origin: impl Fn(u16) -> Option<Origin>) -> Option<Spot> {
        let size = u16::try_from(size).ok().filter(|&size| size > 0)?;
        let wanted = |byte: u16| {
            let meaning = meanings.get(usize::from(byte)).copied().unwrap_or(Meaning::Value);
            Some(Wanted { origin: origin(byte)?, meaning })
        };
        let wanted: Vec<Wanted> = (0..size).map(wanted).collect::<Option<_>>()?;
        // Where it was, if it was in a register.
        let home = match wanted[0].origin {
            Origin::Register { register, .. } => Some(register),
            _ => None,
        };
        let registers = home.into_iter().chain(self.arch.general_registers());
        let in_register = |register| Some(Spot::Register { register, skip: self.skip_in(register, &wanted)? });
        registers.filter(|&register| register != self.arch.stack_pointer()).find_map(in_register).or_else(|| {
            let before = self.at.address;
            let is_at = |address: &Address| {
                (0i64..).zip(&wanted).all(|(byte, wanted)| wanted.is(self.entry.byte_at(address.plus(byte), before)))
            };
            let slot = self.entry.written_before(before).filter(|address| address.base == Base::Cfa).find(is_at)?;
            self.memory(slot)
        })
    }

    /// From which byte on a register has these bytes.
    fn skip_in(&self, register: u16, wanted: &[Wanted]) -> Option<u32> {
        let Value::Bytes(bytes) = self.entry.value_at(register, self.at.address)? else { return None };
        let is_here = |window: &[Byte]| window.iter().zip(wanted).all(|(byte, wanted)| wanted.is(*byte));
        let skip = bytes.windows(wanted.len()).position(is_here)?;
        u32::try_from(skip).ok()
    }

    fn memory(&self, address: Address) -> Option<Spot> {
        let offset = address.offset.checked_add(self.at.cfa_offset)?;
        Some(Spot::Memory { register: self.arch.stack_pointer(), offset })
    }
}
