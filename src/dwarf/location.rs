//! Where a value is: `DW_AT_location`, `DW_AT_const_value` and `DW_AT_frame_base` in, places at one address out.

use gimli::{AttributeValue, Operation};

use super::expression::Evaluator;
use super::function::{FrameBase, Location, Piece, Place};
use super::location_list::{Scope, Stated};
use super::units::{Slice, Units, Value};
use crate::address::Svma;

/// clang describes a parameter by what is assigned to it before its first instruction, as if it had been passed.
const MAY_BE_ASSIGNED: &str = "the debug info gives a constant, and the caller need not have passed it";

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
            Ok(location) => self.trusted(unit, location),
            // Nothing is said of this address, and the help from behind it is none.
            Err(_) if is_later => Location::OptimizedOut,
            Err(reason) => Location::Unsupported(reason),
        }
    }

    /// The location of a parameter that always has this value (`DW_AT_const_value`).
    pub(super) fn constant(&self, unit: u32, value: Value<'a>) -> Location {
        let bytes = match value {
            AttributeValue::Block(bytes) => bytes.slice().to_vec(),
            AttributeValue::Sdata(value) => value.to_le_bytes().to_vec(),
            AttributeValue::Data16(value) => value.to_le_bytes().to_vec(),
            value => match value.udata_value() {
                Some(value) => value.to_le_bytes().to_vec(),
                None => return Location::Unsupported("its value has an unknown form".to_owned()),
            },
        };
        self.trusted(unit, Location::Pieces(vec![Piece { size: None, place: Place::Constant(bytes) }]))
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
        let in_register = if stated.scope == Scope::Everywhere { Place::HomeRegister } else { Place::Register };
        let mut evaluator = Evaluator::new(self, unit, base, in_register);
        let pieces = evaluator.evaluate(stated.expression)?;
        if pieces.iter().all(|piece| piece.place == Place::OptimizedOut) {
            return Ok(Location::OptimizedOut);
        }
        match stated.scope {
            Scope::Everywhere | Scope::Here => Ok(Location::Pieces(pieces)),
            // What a register held at the entry is to be looked for there, whatever else is meant for later.
            Scope::From(_) if evaluator.used_entry_value && pieces.len() == 1 => Ok(Location::Pieces(pieces)),
            Scope::From(_) if evaluator.used_entry_value => Err("its parts are of different times".to_owned()),
            Scope::From(from) => Ok(Location::Later { from, pieces }),
        }
    }

    /// gcc tells what holds before the first assignment from what holds after it; of others, a constant need not be what was passed.
    fn trusted(&self, unit: u32, location: Location) -> Location {
        let pieces = match &location {
            Location::Pieces(pieces) | Location::Later { pieces, .. } => &pieces[..],
            _ => &[],
        };
        let has_constant = pieces.iter().any(|piece| matches!(piece.place, Place::Constant(_)));
        match has_constant && !self.get(unit).is_by_gcc {
            true => Location::Unsupported(MAY_BE_ASSIGNED.to_owned()),
            false => location,
        }
    }
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
