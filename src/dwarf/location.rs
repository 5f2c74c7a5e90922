//! Where a value is: `DW_AT_location`, `DW_AT_const_value` and `DW_AT_frame_base` in, places at one address out.

use gimli::{AttributeValue, Operation};

use super::expression::Evaluator;
use super::function::{FrameBase, Location, Piece, Place};
use super::location_list::{Scope, Stated};
use super::units::{Compiler, Slice, Units, Value};
use crate::address::Svma;

impl<'a> Units<'a> {
    /// The location that `value` (`DW_AT_location`) gives at `address`.
    pub(super) fn location_at(&self, unit: u32, value: Value<'a>, base: Option<FrameBase>, address: Svma) -> Location {
        let stated = match self.stated_at(unit, value, address) {
            Ok(Some(stated)) => stated,
            Ok(None) => return Location::OptimizedOut,
            Err(reason) => return Location::Unsupported(reason.to_owned()),
        };
        let is_later = matches!(stated.scope, Scope::From(_));
        match self.evaluate(unit, base, stated) {
            Ok(location) => location,
            // Nothing is said of this address, and the help from behind it is none.
            Err(_) if is_later => Location::OptimizedOut,
            Err(reason) => Location::Unsupported(reason),
        }
    }

    /// The location of a parameter that always has this value (`DW_AT_const_value`).
    pub(super) fn constant(value: Value<'a>) -> Location {
        let bytes = match value {
            AttributeValue::Block(bytes) => bytes.slice().to_vec(),
            AttributeValue::Sdata(value) => value.to_le_bytes().to_vec(),
            AttributeValue::Data16(value) => value.to_le_bytes().to_vec(),
            value => match value.udata_value() {
                Some(value) => value.to_le_bytes().to_vec(),
                None => return Location::Unsupported("its value has an unknown form".to_owned()),
            },
        };
        Location::Pieces(vec![Piece { size: None, place: Place::Constant(bytes) }])
    }

    /// `DW_AT_frame_base` at `address`, where it is one that we understand.
    pub(super) fn frame_base_at(&self, unit: u32, value: Value<'a>, address: Svma) -> Option<FrameBase> {
        let Stated { expression, scope: Scope::Everywhere | Scope::Here } =
            self.stated_at(unit, value, address).ok()??
        else {
            return None;
        };
        let mut operations = expression.operations(self.get(unit).unit.encoding());
        match operations.next().ok()?? {
            Operation::CallFrameCFA => Some(FrameBase::Cfa(distance(operations)?)),
            Operation::Register { register } if operations.next().ok()?.is_none() => {
                Some(FrameBase::Register(register.0))
            }
            _ => None,
        }
    }

    fn evaluate(&self, unit: u32, base: Option<FrameBase>, stated: Stated<'a>) -> Result<Location, String> {
        let mut evaluator = Evaluator::new(self, unit, base);
        let mut pieces = evaluator.evaluate(stated.expression)?;
        // gcc writes a list with one entry so, if it has followed the value: which it does not if that needs two registers.
        let compiler = self.get(unit).compiler;
        let is_list =
            compiler == Compiler::GccOptimizing && matches!(pieces[..], [Piece { place: Place::Register(_), .. }]);
        if stated.scope == Scope::Everywhere && !evaluator.used_entry_value && !is_list {
            pieces.iter_mut().for_each(|piece| name_home(&mut piece.place));
        }
        if pieces.iter().all(|piece| piece.place == Place::OptimizedOut) {
            return Ok(Location::OptimizedOut);
        }
        match stated.scope {
            Scope::Everywhere | Scope::Here => Ok(Location::Pieces(pieces)),
            Scope::From(from) if compiler == Compiler::Other && pieces.iter().all(lies_behind_register) => {
                Ok(Location::Later { from, pieces })
            }
            Scope::From(_) => Ok(Location::OptimizedOut),
        }
    }
}

/// A register for all of a function need not be one that the value comes in: the function may fill it.
fn name_home(place: &mut Place) {
    match *place {
        Place::Register(register) => *place = Place::HomeRegister(register),
        Place::RegisterOffset(register, offset) => *place = Place::HomeRegisterOffset(register, offset),
        Place::Indirect { pointer: ref mut inner, .. } | Place::UpperPart { of: ref mut inner, .. } => name_home(inner),
        _ => {}
    }
}

/// Whether later debug info still tells where a value was at the entry: in the memory that it lies in. A later register or constant
/// may be what was assigned to it, and gcc names registers before they are filled.
fn lies_behind_register(piece: &Piece) -> bool {
    matches!(piece.place, Place::RegisterOffset(..) | Place::Indirect { .. })
}

/// What is added to the CFA by the rest of a frame base: rustc counts large frames from
/// `DW_OP_call_frame_cfa, DW_OP_consts N, DW_OP_plus`.
fn distance(mut operations: gimli::OperationIter<Slice<'_>>) -> Option<i64> {
    let distance = match operations.next().ok()? {
        None => return Some(0),
        Some(Operation::PlusConstant { value }) => value.cast_signed(),
        Some(Operation::SignedConstant { value }) => added(&mut operations, value)?,
        Some(Operation::UnsignedConstant { value }) => added(&mut operations, value.cast_signed())?,
        Some(_) => return None,
    };
    operations.next().ok()?.is_none().then_some(distance)
}

fn added(operations: &mut gimli::OperationIter<Slice<'_>>, value: i64) -> Option<i64> {
    matches!(operations.next().ok()?, Some(Operation::Plus)).then_some(value)
}
