//! Divisions that have no result.

use super::name::Expression;
use super::scene::Scene;
use super::{Explanation, known};
use crate::arch::instruction::{Divide, InstructionKind, Operand};
use crate::report::Cause;

/// What happened, if the instruction divides.
pub fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let instruction = scene.instruction.as_ref()?;
    let InstructionKind::Divide(divide) = &instruction.kind else { return None };
    let (number, bits) = divisor(scene, divide)?;
    let name = name(scene, &divide.divisor);
    let what = match (&name, &divide.divisor) {
        (Some(name), _) => name.with_type(),
        (None, Operand::Register { number, .. }) => format!("the divisor in {}", scene.register_name(*number)),
        (None, Operand::Memory(_)) => "the divisor in memory".into(),
    };
    let operation = known(format!("the instruction is `{}`", instruction.text));
    if number == 0 {
        let sentence = format!("divided an integer by zero: {what} is 0");
        return Some(Explanation::new(Cause::DivisionByZero, sentence).with([operation]));
    }
    let is_minus_one = divide.is_signed && number == u64::MAX >> (64 - bits);
    let sentence = if is_minus_one {
        format!("divided the smallest integer of {bits} bits by -1, whose quotient is too large: {what} is -1")
    } else {
        format!("divided an integer by {number}, and the quotient was too large for {bits} bits: {what} is {number}")
    };
    Some(Explanation::new(Cause::DivisionOverflow, sentence).with([operation]))
}

/// What it divided by, and of how many bits.
fn divisor(scene: &Scene<'_, '_>, divide: &Divide) -> Option<(u64, u32)> {
    let (number, bytes) = match &divide.divisor {
        Operand::Register { number, first_byte, bytes } => {
            (scene.registers.get(*number)? >> (u32::from(*first_byte) * 8), u32::from(*bytes))
        }
        Operand::Memory(access) => {
            let size = u8::try_from(access.size).ok().filter(|size| (1..=8).contains(size))?;
            (scene.memory.unsigned(scene.address_of(access)?, size).ok()?, access.size)
        }
    };
    let bits = bytes.checked_mul(8).filter(|bits| (8..=64).contains(bits))?;
    Some((number & u64::MAX >> (64 - bits), bits))
}

fn name(scene: &Scene<'_, '_>, divisor: &Operand) -> Option<Expression> {
    match divisor {
        Operand::Register { number, .. } => scene.name_of_register(*number),
        Operand::Memory(access) => scene.name_of_access(access),
    }
}
