//! Location expressions at any instruction of a frame: registers and memory of a dead process in, places of a variable's parts out
//! (DWARF 5, 2.5 and 2.6).

use std::cell::Cell;

use gimli::{
    DieReference, EndianSlice, EvaluationResult, Expression, LittleEndian, Operation, Register, UnitOffset, ValueType,
    constants as dw,
};

use super::super::DebugInfo;
use super::super::units::{DieRef, Slice};
use super::super::unwind::CfaRule;
use super::{Described, Description, Variable};
use crate::address::{Avma, LoadBias, Svma};

/// Operations of one expression at the most, with those that it calls.
const MAX_OPERATIONS: u32 = 1 << 12;
/// Pieces of one value at the most.
const MAX_PARTS: usize = 256;
/// Expressions that need the value of another expression, within each other: a value at the entry of a caller of a caller.
const MAX_NESTED: u32 = 8;
/// Expressions that are evaluated for one variable: each may need many others, and those as many again.
const MAX_EVALUATIONS: u32 = 64;

/// What is known of one frame of a process.
pub trait FrameState<'a> {
    /// The register with this DWARF number.
    fn register(&self, number: u16) -> Option<u64>;
    /// The number of `size` bytes at an address, or why it is not known.
    fn memory(&self, at: Avma, size: u8) -> Result<u64, String>;
    /// The canonical frame address.
    fn cfa(&self) -> Option<Avma>;
    /// What the loader added to the addresses of the file with the frame's code.
    fn bias(&self) -> LoadBias;
    /// The frame that called this one; `None` where it is not known, or where a signal came in between.
    fn caller(&self) -> Option<CallerFrame<'_, 'a>>;
}

/// The frame that made a call.
pub struct CallerFrame<'f, 'a> {
    /// The debug info of its code.
    pub info: &'f DebugInfo<'a>,
    /// Where the call returns to, as that file has it.
    pub return_address: Svma,
    /// Its registers.
    pub state: Box<dyn FrameState<'a> + 'f>,
}

/// A part of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes of it; `None` for all of the variable.
    pub size: Option<u64>,
    /// Where it is.
    pub spot: Spot,
}

/// Where a part of a variable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    /// In a register, by its DWARF number, from byte `skip` of it on.
    Register {
        /// The register, whose value the [`FrameState`] may not know.
        number: u16,
        /// Lower bytes of it that are not meant.
        skip: u32,
    },
    /// In memory.
    Memory(Avma),
    /// Nowhere, but this is its value: the lowest byte first. There may be more bytes than the part has.
    Value(Vec<u8>),
    /// It is not known.
    Missing(Missing),
}

/// Why it is not known where a variable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The compiler kept it nowhere.
    OptimizedOut,
    /// Only its value when the function was called is known to the compiler, and that cannot be told, because of this.
    AtEntry(String),
    /// Its place is computed from this register, whose value is not known in the frame.
    Register(u16),
    /// Any other reason.
    Because(String),
}

/// A variable in one place, or in none.
pub(super) fn whole(spot: Spot) -> Vec<Part> {
    vec![Part { size: None, spot }]
}

fn because(reason: impl Into<String>) -> Missing {
    Missing::Because(reason.into())
}

impl<'a> Variable<'a> {
    /// It has one place on the stack for all of its function, whether it has a value yet or not.
    #[must_use]
    pub fn has_stack_slot(&self) -> bool {
        let Described::By(description) = &self.described else { return false };
        // So does the place of a static variable begin (DWARF 5, 2.5.1.1).
        let first = description.expression.0.first().copied().map(gimli::DwOp);
        description.is_everywhere && !matches!(first, Some(dw::DW_OP_addr | dw::DW_OP_addrx))
    }

    /// The one register that holds all of it, or that is its address, by DWARF number.
    #[must_use]
    pub fn register(&self, info: &DebugInfo<'a>) -> Option<u16> {
        let Described::By(description) = &self.described else { return None };
        let encoding = info.units.get(description.unit).unit.encoding();
        let mut operations = description.expression.operations(encoding);
        let register = match operations.next().ok()?? {
            Operation::Register { register } | Operation::RegisterOffset { register, offset: 0, .. } => register,
            _ => return None,
        };
        matches!(operations.next().ok()?, None | Some(Operation::StackValue)).then_some(register.0)
    }
}

impl<'a> DebugInfo<'a> {
    /// Where the parts of `variable` are in a frame that stands at `address`, from its lowest byte up; at least one. `address` must be the
    /// one that the variable was listed for.
    pub fn locate(&self, variable: &Variable<'a>, address: Svma, frame: &dyn FrameState<'a>) -> Vec<Part> {
        match &variable.described {
            Described::Constant(bytes) => whole(Spot::Value(bytes.clone())),
            Described::OptimizedOut => whole(Spot::Missing(Missing::OptimizedOut)),
            Described::Unsupported(reason) => whole(Spot::Missing(because(reason.clone()))),
            Described::By(description) => {
                let fuel = Cell::new(MAX_EVALUATIONS);
                let context = Context { info: self, address, frame, description, depth: 0, fuel: &fuel };
                context.parts().unwrap_or_else(|missing| whole(Spot::Missing(missing)))
            }
        }
    }
}

/// What an expression is evaluated in.
#[derive(Clone, Copy)]
pub(super) struct Context<'e, 'a> {
    pub(super) info: &'e DebugInfo<'a>,
    pub(super) address: Svma,
    pub(super) frame: &'e dyn FrameState<'a>,
    pub(super) description: &'e Description<'a>,
    pub(super) depth: u32,
    /// How many more expressions may be evaluated.
    pub(super) fuel: &'e Cell<u32>,
}

type Evaluation<'a> = gimli::Evaluation<Slice<'a>>;

impl<'a> Context<'_, 'a> {
    /// The parts of the variable that the description is about.
    fn parts(&self) -> Result<Vec<Part>, Missing> {
        let evaluation = self.run(self.description.expression)?;
        let pieces = evaluation.as_result();
        if pieces.len() > MAX_PARTS {
            return Err(because(format!("it lies in more than {MAX_PARTS} pieces")));
        }
        let is_memory = |piece: &gimli::Piece<Slice<'a>>| matches!(piece.location, gimli::Location::Address { .. });
        if pieces.iter().any(is_memory) {
            self.check_prologue(pieces)?;
        }
        pieces.iter().map(|piece| self.part(piece)).collect()
    }

    /// What a description that holds for all of a function says of its frame is true from the end of the prologue on only.
    fn check_prologue(&self, pieces: &[gimli::Piece<Slice<'a>>]) -> Result<(), Missing> {
        let Description { is_everywhere, unit, body, expression } = self.description;
        let mut operations = expression.operations(self.info.units.get(*unit).unit.encoding());
        let is_static =
            matches!(operations.next(), Ok(Some(Operation::Address { .. } | Operation::AddressIndex { .. })));
        if !is_everywhere || is_static || !self.info.units.is_in_prologue(body.die.unit, body, self.address) {
            return Ok(());
        }
        // What the caller has put there is there: it lies beyond this frame.
        let is_callers = |piece: &gimli::Piece<Slice<'a>>| match piece.location {
            gimli::Location::Address { address } => self.frame.cfa().is_some_and(|cfa| address >= cfa.0),
            _ => true,
        };
        match pieces.iter().all(is_callers) && self.frame_register().is_none() {
            true => Ok(()),
            false => Err(because("its function has not put it there yet: it was still setting up its frame")),
        }
    }

    /// The register that the frame base is in, if it is one.
    fn frame_register(&self) -> Option<u16> {
        let expression = self.frame_base_expression().ok()?;
        match expression.operations(self.encoding()).next() {
            Ok(Some(Operation::Register { register } | Operation::RegisterOffset { register, .. })) => Some(register.0),
            _ => None,
        }
    }

    fn part(&self, piece: &gimli::Piece<Slice<'a>>) -> Result<Part, Missing> {
        let skip_bits = piece.bit_offset.unwrap_or(0);
        if piece.size_in_bits.is_some_and(|bits| !bits.is_multiple_of(8)) || !skip_bits.is_multiple_of(8) {
            return Err(because("a part of it does not begin and end at a byte"));
        }
        let skip = u32::try_from(skip_bits / 8).map_err(|_| because("its location is damaged"))?;
        let behind = |bytes: &[u8]| bytes.get(skip as usize..).unwrap_or_default().to_vec();
        let spot = match piece.location {
            gimli::Location::Empty => Spot::Missing(Missing::OptimizedOut),
            gimli::Location::Register { register } => Spot::Register { number: register.0, skip },
            gimli::Location::Address { address } => Spot::Memory(Avma(address.wrapping_add(skip.into()))),
            gimli::Location::Value { value } => Spot::Value(behind(&bytes_of(value))),
            gimli::Location::Bytes { value } => Spot::Value(behind(value.slice())),
            gimli::Location::ImplicitPointer { .. } => {
                Spot::Missing(because("the pointer was optimized out; only what it points to is known"))
            }
        };
        Ok(Part { size: piece.size_in_bits.map(|bits| bits / 8), spot })
    }

    /// The number that `expression` computes.
    pub(super) fn value_of(&self, expression: Expression<Slice<'a>>) -> Result<gimli::Value, Missing> {
        let evaluation = self.run(expression)?;
        let damaged = || because("its value is not computed as a number");
        match evaluation.as_result() {
            [piece] => match piece.location {
                gimli::Location::Address { address } => {
                    Ok(evaluation.value_result().unwrap_or(gimli::Value::Generic(address)))
                }
                gimli::Location::Value { value } => Ok(value),
                // `DW_OP_reg5` where a value is wanted: the value in it.
                gimli::Location::Register { register } => self.register(register).map(gimli::Value::Generic),
                _ => Err(damaged()),
            },
            _ => Err(damaged()),
        }
    }

    fn run(&self, expression: Expression<Slice<'a>>) -> Result<Evaluation<'a>, Missing> {
        let fuel = self.fuel.get();
        self.fuel.set(fuel.saturating_sub(1));
        if self.depth > MAX_NESTED || fuel == 0 {
            return Err(because("its location needs too many other values"));
        }
        let mut evaluation = expression.evaluation(self.encoding());
        evaluation.set_max_iterations(MAX_OPERATIONS);
        let mut state = evaluation.evaluate();
        loop {
            let wanted = match state {
                Ok(EvaluationResult::Complete) => return Ok(evaluation),
                Ok(wanted) => wanted,
                Err(error) => return Err(damage(error)),
            };
            state = self.answer(&mut evaluation, wanted)?;
        }
    }

    fn answer(
        &self,
        evaluation: &mut Evaluation<'a>,
        wanted: EvaluationResult<Slice<'a>>,
    ) -> Result<gimli::Result<EvaluationResult<Slice<'a>>>, Missing> {
        Ok(match wanted {
            EvaluationResult::RequiresRegister { register, base_type } => {
                let bits = self.register(register)?;
                evaluation.resume_with_register(typed(self.base_type(base_type)?, bits)?)
            }
            EvaluationResult::RequiresMemory { address, size, space: None, base_type } => {
                let bits = self.frame.memory(Avma(address), size).map_err(Missing::Because)?;
                evaluation.resume_with_memory(typed(self.base_type(base_type)?, bits)?)
            }
            EvaluationResult::RequiresFrameBase => evaluation.resume_with_frame_base(self.frame_base()?),
            EvaluationResult::RequiresCallFrameCfa => evaluation.resume_with_call_frame_cfa(self.cfa()?.0),
            EvaluationResult::RequiresEntryValue(expression) => {
                evaluation.resume_with_entry_value(self.entry_value(expression)?)
            }
            EvaluationResult::RequiresParameterRef(offset) => {
                evaluation.resume_with_parameter_ref(self.parameter_at_entry(offset)?)
            }
            EvaluationResult::RequiresRelocatedAddress(address) => {
                evaluation.resume_with_relocated_address(self.relocated(address))
            }
            EvaluationResult::RequiresIndexedAddress { index, relocate } => {
                let unit = self.description.unit;
                let units = &self.info.units;
                let address = units.dwarf_of(unit).address(&units.get(unit).unit, index).map_err(damage)?;
                evaluation.resume_with_indexed_address(if relocate { self.relocated(address) } else { address })
            }
            EvaluationResult::RequiresBaseType(offset) => evaluation.resume_with_base_type(self.base_type(offset)?),
            EvaluationResult::RequiresAtLocation(reference) => {
                evaluation.resume_with_at_location(self.called(reference)?.0)
            }
            EvaluationResult::RequiresTls(_) => return Err(because("it is thread-local, which is not looked up")),
            _ => return Err(because("its location is of a kind that is not known")),
        })
    }

    fn register(&self, register: Register) -> Result<u64, Missing> {
        self.frame.register(register.0).ok_or(Missing::Register(register.0))
    }

    fn cfa(&self) -> Result<Avma, Missing> {
        self.frame.cfa().ok_or_else(|| because("it lies in a frame whose address is not known"))
    }

    fn relocated(&self, address: u64) -> u64 {
        self.frame.bias().to_avma(Svma(address)).0
    }

    fn encoding(&self) -> gimli::Encoding {
        self.info.units.get(self.description.unit).unit.encoding()
    }

    fn frame_base_expression(&self) -> Result<Expression<Slice<'a>>, Missing> {
        let body = &self.description.body;
        let unknown = || because("it lies in a frame whose base is not known");
        let value = body.frame_base.ok_or_else(unknown)?;
        match self.info.units.expression_at(body.die.unit, value, self.address) {
            Ok(Some((expression, _))) => Ok(expression),
            _ => Err(unknown()),
        }
    }

    /// `DW_AT_frame_base`. One in a register is believed where the call frame information says that the frame has been set up.
    fn frame_base(&self) -> Result<u64, Missing> {
        let expression = self.frame_base_expression()?;
        let operation = expression.operations(self.encoding()).next();
        if let Ok(Some(Operation::Register { register } | Operation::RegisterOffset { register, .. })) = operation {
            let row = self.info.unwind_row_at(self.address);
            let is_set_up = row.is_none_or(|row| match row.cfa {
                CfaRule::Register(by, _) => by == register.0 || register.0 == self.info.stack_pointer(),
                CfaRule::Expression(_) => true,
            });
            if !is_set_up {
                return Err(because("its function's frame is not set up at this instruction"));
            }
        }
        // A frame base must not be relative to itself.
        let body = super::Body { frame_base: None, ..self.description.body };
        let nested = Description { unit: body.die.unit, body, ..*self.description };
        let context = Context { description: &nested, depth: self.depth + 1, ..*self };
        match context.value_of(expression)? {
            gimli::Value::Generic(base) | gimli::Value::U64(base) => Ok(base),
            _ => Err(because("it lies in a frame whose base is not known")),
        }
    }

    fn base_type(&self, offset: UnitOffset) -> Result<ValueType, Missing> {
        if offset.0 == 0 {
            return Ok(ValueType::Generic);
        }
        let entry = self.info.units.entry(DieRef { unit: self.description.unit, offset: offset.0 });
        let known = entry.and_then(|entry| ValueType::from_entry(&entry).ok().flatten());
        known.ok_or_else(|| because("its location is computed with a type that is not known"))
    }

    /// The expression of the entry that `DW_OP_call*` names; none counts as an empty one (DWARF 5, 2.5.1.5).
    fn called(&self, reference: DieReference<usize>) -> Result<Expression<Slice<'a>>, Missing> {
        let unit = self.description.unit;
        let value = match reference {
            DieReference::UnitRef(offset) => gimli::AttributeValue::UnitRef(offset),
            DieReference::DebugInfoRef(offset) => gimli::AttributeValue::DebugInfoRef(offset),
        };
        let unknown = || because("its location refers to one that is not there");
        let die = self.info.units.resolve(unit, value).ok_or_else(unknown)?;
        let entry = self.info.units.entry(die).ok_or_else(unknown)?;
        let Some(location) = entry.attr_value(dw::DW_AT_location) else {
            return Ok(Expression(EndianSlice::new(&[], LittleEndian)));
        };
        let found = self.info.units.expression_at(die.unit, location, self.address).map_err(because)?;
        found.map(|(expression, _)| expression).ok_or(Missing::OptimizedOut)
    }
}

/// The bits as a value of this type.
fn typed(ty: ValueType, bits: u64) -> Result<gimli::Value, Missing> {
    match ty {
        ValueType::Generic => Ok(gimli::Value::Generic(bits)),
        ty => gimli::Value::parse(ty, EndianSlice::new(&bits.to_le_bytes(), LittleEndian)).map_err(damage),
    }
}

fn bytes_of(value: gimli::Value) -> Vec<u8> {
    use gimli::Value;
    match value {
        Value::Generic(value) | Value::U64(value) => value.to_le_bytes().to_vec(),
        Value::I8(value) => value.to_le_bytes().to_vec(),
        Value::U8(value) => value.to_le_bytes().to_vec(),
        Value::I16(value) => value.to_le_bytes().to_vec(),
        Value::U16(value) => value.to_le_bytes().to_vec(),
        Value::I32(value) => value.to_le_bytes().to_vec(),
        Value::U32(value) => value.to_le_bytes().to_vec(),
        Value::I64(value) => value.to_le_bytes().to_vec(),
        Value::F32(value) => value.to_le_bytes().to_vec(),
        Value::F64(value) => value.to_le_bytes().to_vec(),
    }
}

/// What went wrong, without the words of others.
fn damage(error: gimli::Error) -> Missing {
    because(match error {
        gimli::Error::TooManyIterations => "its location has too many operations",
        gimli::Error::UnsupportedEvaluation => "its location is of a kind that is not known",
        _ => "its location is damaged",
    })
}
