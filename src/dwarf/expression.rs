//! Location expressions: one expression in, the places that it names out (DWARF 5, 2.5 and 2.6).
//!
//! Nothing is computed that needs the program's state: an expression whose result is not a register, a stack slot, a fixed address,
//! what one of these points to, or a constant is reported as not understood, never approximated.

use gimli::{AttributeValue, Encoding, Expression, Operation, UnitOffset, constants as dw};

use super::function::{FrameBase, Piece, Place};
use super::units::{DieRef, Slice, Units};
use crate::address::Svma;

/// Pieces of one value at the most.
const MAX_PIECES: usize = 64;
/// Operations of one expression at the most.
const MAX_OPERATIONS: usize = 1 << 12;
/// Bytes of a pointer.
const WORD_BYTES: u64 = 8;
const WORD_BITS: u32 = 64;

/// Where a pointer lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pointer {
    Register(u16, i64),
    Cfa(i64),
    Frame(i64),
}

impl Pointer {
    fn place(self) -> Place {
        match self {
            Self::Register(register, offset) => Place::RegisterOffset(register, offset),
            Self::Cfa(offset) => Place::CfaOffset(offset),
            Self::Frame(offset) => Place::FrameOffset(offset),
        }
    }
}

/// A value that an expression computes, as far as it is known without the program's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    Constant(i64),
    /// `DW_OP_addr`: moves with the file.
    Address(u64),
    Register(u16, i64),
    /// Bits of a register: from this one on, so many.
    Bits(u16, u32, u32),
    Cfa(i64),
    Frame(i64),
    /// That far behind the pointer that lies there.
    Behind(Pointer, i64),
    /// Only the caller may know it (`DW_OP_GNU_parameter_ref`).
    Nowhere,
}

impl Operand {
    fn plus(self, offset: i64) -> Result<Self, String> {
        Ok(match self {
            Self::Constant(value) => Self::Constant(value.wrapping_add(offset)),
            Self::Address(address) => Self::Address(address.wrapping_add_signed(offset)),
            Self::Register(register, before) => Self::Register(register, before.wrapping_add(offset)),
            Self::Cfa(before) => Self::Cfa(before.wrapping_add(offset)),
            Self::Frame(before) => Self::Frame(before.wrapping_add(offset)),
            Self::Behind(pointer, before) => Self::Behind(pointer, before.wrapping_add(offset)),
            Self::Bits(..) => return Err("its location is computed from a part of a register".to_owned()),
            Self::Nowhere => Self::Nowhere,
        })
    }

    /// The low bits of a value: what clang and rustc say of a `bool`.
    fn low_bits(self, bits: u32) -> Result<Self, String> {
        match self {
            Self::Register(register, 0) if bits < WORD_BITS => Ok(Self::Bits(register, 0, bits)),
            Self::Bits(register, from, before) => Ok(Self::Bits(register, from, before.min(bits))),
            whole if bits >= WORD_BITS => Ok(whole),
            _ => Err("its value is computed".to_owned()),
        }
    }

    /// The value without its lowest bits: what clang and rustc say of a member that shares a register with others.
    fn without_low_bits(self, distance: i64) -> Result<Self, String> {
        let (register, from, bits) = match self {
            Self::Register(register, 0) => (register, 0, WORD_BITS),
            Self::Bits(register, from, bits) => (register, from, bits),
            _ => return Err("its value is computed".to_owned()),
        };
        match u32::try_from(distance).ok().filter(|&distance| distance < bits) {
            Some(distance) => Ok(Self::Bits(register, from + distance, bits - distance)),
            None => Err("its value is computed".to_owned()),
        }
    }

    /// The word of memory at this address (`DW_OP_deref`).
    fn loaded(self) -> Result<Self, String> {
        let pointer = match self {
            Self::Register(register, offset) => Pointer::Register(register, offset),
            Self::Cfa(offset) => Pointer::Cfa(offset),
            Self::Frame(offset) => Pointer::Frame(offset),
            Self::Nowhere => return Ok(Self::Nowhere),
            Self::Behind(..) => return Err("its location is behind more than one pointer".to_owned()),
            Self::Constant(_) | Self::Address(_) | Self::Bits(..) => {
                return Err("its location reads memory (DW_OP_deref)".to_owned());
            }
        };
        Ok(Self::Behind(pointer, 0))
    }

    /// The memory at this address.
    fn memory(self) -> Result<Place, String> {
        Ok(match self {
            Self::Constant(_) | Self::Bits(..) => {
                return Err("it lies at an address that is no part of the file".to_owned());
            }
            Self::Address(address) => Place::Address(Svma(address)),
            Self::Register(register, offset) => Place::RegisterOffset(register, offset),
            Self::Cfa(offset) => Place::CfaOffset(offset),
            Self::Frame(offset) => Place::FrameOffset(offset),
            Self::Behind(pointer, offset) => Place::Indirect { pointer: Box::new(pointer.place()), offset },
            Self::Nowhere => Place::OptimizedOut,
        })
    }

    /// This value itself (`DW_OP_stack_value`).
    fn value(self) -> Result<Piece, String> {
        match self {
            Self::Constant(value) => Ok(whole(Place::Constant(value.to_le_bytes().to_vec()))),
            Self::Register(register, 0) => Ok(whole(Place::Register(register))),
            Self::Nowhere => Ok(whole(Place::OptimizedOut)),
            // The one bit of a boolean: the other seven of its byte are zero (x86-64 psABI, 3.2.3; AAPCS64, 10.1).
            Self::Bits(register, from, bits) if from % 8 == 0 && (bits == 1 || bits % 8 == 0) => {
                let of = Place::Register(register);
                let place = if from == 0 { of } else { Place::UpperPart { of: Box::new(of), skip: from / 8 } };
                Ok(Piece { size: Some(u64::from(bits.div_ceil(8))), place })
            }
            Self::Bits(..) => Err("its value is a part of a byte".to_owned()),
            Self::Behind(pointer, 0) => Ok(Piece { size: Some(WORD_BYTES), place: pointer.place() }),
            Self::Behind(..) | Self::Register(..) | Self::Address(_) | Self::Cfa(_) | Self::Frame(_) => {
                Err("its value would have to be computed from an address".to_owned())
            }
        }
    }
}

/// Evaluates one expression.
pub(super) struct Evaluator<'e, 'a> {
    units: &'e Units<'a>,
    unit: u32,
    base: Option<FrameBase>,
    stack: Vec<Operand>,
    /// A register of the result is meant as it was at the entry (`DW_OP_entry_value`).
    pub(super) used_entry_value: bool,
}

impl<'e, 'a> Evaluator<'e, 'a> {
    /// For an expression of `unit`.
    pub(super) fn new(units: &'e Units<'a>, unit: u32, base: Option<FrameBase>) -> Self {
        Self { units, unit, base, stack: Vec::new(), used_entry_value: false }
    }

    /// The pieces that the expression names; at least one.
    pub(super) fn evaluate(&mut self, expression: Expression<Slice<'a>>) -> Result<Vec<Piece>, String> {
        let mut operations = expression.operations(self.encoding());
        let mut pieces = Vec::new();
        let mut place = None;
        for _ in 0..MAX_OPERATIONS {
            let operation = operations.next().map_err(|_| "its location is damaged".to_owned())?;
            let Some(operation) = operation else {
                return self.finish(pieces, place);
            };
            match operation {
                Operation::Piece { size_in_bits, bit_offset } => {
                    pieces.push(self.piece(place.take(), size_in_bits, bit_offset)?);
                    if pieces.len() > MAX_PIECES {
                        return Err(format!("it lies in more than {MAX_PIECES} pieces"));
                    }
                }
                _ if place.is_some() => return Err("its location goes on after its end".to_owned()),
                Operation::Register { register } => place = Some(whole(Place::Register(register.0))),
                Operation::ImplicitValue { data } => place = Some(whole(Place::Constant(data.slice().to_vec()))),
                Operation::StackValue => place = Some(self.pop()?.value()?),
                operation => self.step(operation)?,
            }
        }
        Err(format!("its location has more than {MAX_OPERATIONS} operations"))
    }

    fn finish(&mut self, mut pieces: Vec<Piece>, place: Option<Piece>) -> Result<Vec<Piece>, String> {
        let last = self.described(place)?;
        if pieces.is_empty() {
            if matches!(last.place, Place::UpperPart { .. }) {
                // No member of anything: a value that was shifted.
                return Err("its value is computed".to_owned());
            }
            pieces.push(last);
        } else if last.place != Place::OptimizedOut {
            return Err("its last piece has no size".to_owned());
        }
        Ok(pieces)
    }

    /// What a location description that ends here says: a place that was named, or memory at the top of the stack.
    fn described(&mut self, place: Option<Piece>) -> Result<Piece, String> {
        match (place, self.stack.pop()) {
            (Some(piece), _) => Ok(piece),
            (None, Some(operand)) => Ok(whole(operand.memory()?)),
            (None, None) => Ok(whole(Place::OptimizedOut)),
        }
    }

    fn piece(&mut self, place: Option<Piece>, size_in_bits: u64, bit_offset: Option<u64>) -> Result<Piece, String> {
        if !size_in_bits.is_multiple_of(8) || bit_offset.is_some_and(|offset| offset != 0) {
            return Err("a piece of it does not begin and end at a byte".to_owned());
        }
        let size = size_in_bits / 8;
        let mut piece = self.described(place)?;
        if let Place::Constant(bytes) = &mut piece.place {
            bytes.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        }
        if piece.size.is_some_and(|known| known < size) {
            return Err("a piece of it is a part of a register".to_owned());
        }
        Ok(Piece { size: Some(size), ..piece })
    }

    /// An operation that works on the stack.
    fn step(&mut self, operation: Operation<Slice<'a>>) -> Result<(), String> {
        let operand = match operation {
            Operation::UnsignedConstant { value } => Operand::Constant(value.cast_signed()),
            Operation::SignedConstant { value } => Operand::Constant(value),
            Operation::RegisterOffset { register, offset, .. } => Operand::Register(register.0, offset),
            Operation::FrameOffset { offset } => self.frame()?.plus(offset)?,
            Operation::CallFrameCFA => Operand::Cfa(0),
            Operation::Address { address } => Operand::Address(address),
            Operation::AddressIndex { index } => {
                let unit = &self.units.get(self.unit).unit;
                let address = self.units.dwarf_of(self.unit).address(unit, index);
                Operand::Address(address.map_err(|_| "its location is damaged")?)
            }
            Operation::EntryValue { expression } => self.entry_value(Expression(expression))?,
            Operation::PlusConstant { value } => self.pop()?.plus(value.cast_signed())?,
            Operation::Plus => self.add()?,
            Operation::Minus => match (self.pop()?, self.pop()?) {
                (Operand::Constant(value), left) => left.plus(value.wrapping_neg())?,
                _ => return Err("its location is a difference of addresses".to_owned()),
            },
            Operation::ParameterRef { .. } => Operand::Nowhere,
            Operation::And => self.and()?,
            Operation::Shr | Operation::Shra => match (self.pop()?, self.pop()?) {
                (Operand::Constant(distance), left) => left.without_low_bits(distance)?,
                _ => return Err("its value is computed".to_owned()),
            },
            Operation::Convert { base_type } => self.convert(base_type)?,
            Operation::Deref { base_type: UnitOffset(0), size: 8, space: false } => self.pop()?.loaded()?,
            Operation::Nop => return Ok(()),
            operation => return Err(unsupported(&operation)),
        };
        self.stack.push(operand);
        Ok(())
    }

    fn add(&mut self) -> Result<Operand, String> {
        match (self.pop()?, self.pop()?) {
            (Operand::Constant(value), other) | (other, Operand::Constant(value)) => other.plus(value),
            _ => Err("its location is a sum of addresses".to_owned()),
        }
    }

    /// A mask of low bits is understood, no other.
    fn and(&mut self) -> Result<Operand, String> {
        match (self.pop()?, self.pop()?) {
            (Operand::Constant(mask), other) | (other, Operand::Constant(mask))
                if mask != 0 && mask & mask.wrapping_add(1) == 0 =>
            {
                other.low_bits(mask.count_ones())
            }
            _ => Err("its value is computed".to_owned()),
        }
    }

    /// A conversion to an integer type keeps the low bits; what it puts above them is not used.
    fn convert(&mut self, base_type: UnitOffset) -> Result<Operand, String> {
        let operand = self.pop()?;
        if base_type.0 == 0 {
            return Ok(operand);
        }
        let entry = self.units.entry(DieRef { unit: self.unit, offset: base_type.0 });
        let integer = entry.filter(|entry| {
            let encoding = entry.attr_value(dw::DW_AT_encoding);
            let integers = [
                dw::DW_ATE_signed,
                dw::DW_ATE_unsigned,
                dw::DW_ATE_boolean,
                dw::DW_ATE_signed_char,
                dw::DW_ATE_unsigned_char,
            ];
            integers.iter().any(|known| encoding == Some(AttributeValue::Encoding(*known)))
        });
        let bytes = integer.and_then(|entry| entry.attr_value(dw::DW_AT_byte_size)?.udata_value());
        let bytes = bytes.ok_or("its value is converted to something that is no integer")?;
        operand.low_bits(u32::try_from(bytes.saturating_mul(8)).unwrap_or(u32::MAX))
    }

    fn frame(&self) -> Result<Operand, String> {
        match self.base {
            Some(FrameBase::Cfa(distance)) => Ok(Operand::Cfa(distance)),
            Some(FrameBase::Register(_)) => Ok(Operand::Frame(0)),
            None => Err("it lies in a frame whose base is not known".to_owned()),
        }
    }

    /// `DW_OP_entry_value`: what the register held at the entry, which is what it holds there.
    fn entry_value(&mut self, expression: Expression<Slice<'a>>) -> Result<Operand, String> {
        self.used_entry_value = true;
        let mut operations = expression.operations(self.encoding());
        match (operations.next(), operations.next()) {
            (Ok(Some(Operation::Register { register })), Ok(None)) => Ok(Operand::Register(register.0, 0)),
            (Ok(Some(Operation::RegisterOffset { register, offset: 0, .. })), Ok(None)) => {
                Ok(Operand::Register(register.0, 0))
            }
            _ => Err("its value at the entry is not that of a register".to_owned()),
        }
    }

    fn pop(&mut self) -> Result<Operand, String> {
        self.stack.pop().ok_or_else(|| "its location is damaged".to_owned())
    }

    fn encoding(&self) -> Encoding {
        self.units.get(self.unit).unit.encoding()
    }
}

fn whole(place: Place) -> Piece {
    Piece { size: None, place }
}

fn unsupported(operation: &Operation<Slice>) -> String {
    let what = match operation {
        Operation::ImplicitPointer { .. } => {
            return "the pointer was optimized out; only what it points to is known".to_owned();
        }
        Operation::Deref { .. } => "reads a part of a word (DW_OP_deref_size)",
        Operation::TLS => "is thread-local (DW_OP_form_tls_address)",
        Operation::Reinterpret { .. } | Operation::TypedLiteral { .. } => "uses typed values",
        Operation::Call { .. } | Operation::VariableValue { .. } => "calls another expression",
        Operation::Bra { .. } | Operation::Skip { .. } => "has branches",
        Operation::Uninitialized => "is not initialized (DW_OP_GNU_uninit)",
        _ => "is computed",
    };
    format!("its location {what}")
}
