//! A program counter where no code is: which call or jump led there, and through what.

use super::scene::Scene;
use super::{Explanation, inferred, known, place, told};
use crate::address::Avma;
use crate::arch::instruction::{Instruction, InstructionKind, Target};
use crate::crash::overwritten::return_address_at;
use crate::crash::unwind::Registers;
use crate::report::{Access, Cause, FoundBy, Frame};

/// What happened, if the thread was to execute what is no code.
pub fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let pc = scene.pc;
    let is_fetch = told::access(scene.fault) == Some(Access::Execute);
    let is_wild = !scene.code.is_code(pc) && told::address(scene.fault).is_none_or(|address| address == pc.0);
    if !(is_fetch || is_wild && scene.instruction.is_none()) {
        return by_return(scene).or_else(|| refused(scene));
    }
    let why = why(scene, pc);
    let explanation = match caller(scene) {
        Some((call, frame)) => through(scene, &call, frame, pc, &why),
        None if has_returned(scene) => returned(scene, pc),
        None => Explanation::new(Cause::BadCodePointer, format!("jumped to address {pc}, {why}")),
    };
    Some(explanation)
}

/// Why there is nothing to execute.
fn why(scene: &Scene<'_, '_>, pc: Avma) -> String {
    match place::find(scene.code, pc) {
        _ if pc.0 == 0 => "a null pointer".into(),
        Some(place) => format!("which is no code: it is {}", place.describe()),
        None if told::is_forbidden(scene.fault) => match stack_distance(scene, pc) {
            true => "which is on the stack and may not be executed".into(),
            false => "which may not be executed".into(),
        },
        None => unmapped(scene, pc),
    }
}

/// Why there is no memory at an address.
fn unmapped(scene: &Scene<'_, '_>, address: Avma) -> String {
    match super::pointer::text_in(address.0) {
        Some(text) => format!("which is the text \"{text}\" and no address"),
        None if !scene.is_canonical(address) => "which no memory can have (it is not canonical)".into(),
        None => "where no memory is mapped".into(),
    }
}

fn stack_distance(scene: &Scene<'_, '_>, pc: Avma) -> bool {
    const NEAR: u64 = 1 << 20;
    scene.stack_pointer().is_some_and(|sp| sp.0.abs_diff(pc.0) < NEAR)
}

/// The frame that jumped there, and the call that it stands at.
fn caller<'s>(scene: &Scene<'s, '_>) -> Option<(Instruction, &'s Frame)> {
    let frame = scene.frames().iter().find(|frame| frame.address.0 != scene.pc.0)?;
    if frame.found_by != FoundBy::ReturnAddress {
        return None;
    }
    let return_address = Avma(frame.address.0);
    let (start, code) = scene.code.function_code_at(Avma(return_address.0.checked_sub(1)?))?;
    let before = scene.code.arch.straight_line(code, start, return_address);
    Some((before.last().filter(|call| matches!(call.kind, InstructionKind::Call(_)))?.clone(), frame))
}

/// The call, and the pointer that it went through.
fn through(scene: &Scene<'_, '_>, call: &Instruction, frame: &Frame, pc: Avma, why: &str) -> Explanation {
    let InstructionKind::Call(target) = &call.kind else {
        return Explanation::new(Cause::BadCodePointer, format!("jumped to address {pc}, {why}"));
    };
    // What was called has not run: all registers are still the caller's, but for the return address on the stack.
    let mut registers: Registers = scene.registers.clone();
    let arch = scene.code.arch;
    let sp = scene.stack_pointer().map(|sp| sp.0.wrapping_add(arch.entry_cfa_offset().cast_unsigned()));
    registers.set(arch.stack_pointer(), sp);
    let stand = scene.stand_at(call.address, registers, frame.cfa.map(|cfa| Avma(cfa.0)));
    let named = scene.name_in(stand, |namer| match target {
        Target::Register(number) => namer.register(*number),
        Target::Memory(access) => namer.access(access),
        Target::Direct(_) | Target::Unknown => None,
    });
    let caller = frame.function.as_deref().map_or(String::new(), |function| format!("`{function}` "));
    let pointer = match (&named, target) {
        (Some(named), _) => Some(named.with_type()),
        (None, Target::Register(number)) => Some(format!("the pointer in {}", scene.register_name(*number))),
        (None, _) => None,
    };
    let sentence = match (pointer, target) {
        (Some(pointer), _) if pc.0 == 0 => format!("{caller}called a null pointer: {pointer} is NULL"),
        (Some(pointer), _) => format!("{caller}called address {pc} through {pointer}, {why}"),
        (None, Target::Direct(_)) => format!("{caller}called a function that jumped to address {pc}, {why}"),
        (None, _) if pc.0 == 0 => format!("{caller}called a null pointer"),
        (None, _) => format!("{caller}called address {pc}, {why}"),
    };
    let finding = known(format!("the call is `{}` at {}", call.text, call.address));
    let explanation = Explanation::new(Cause::BadCodePointer, sentence).with([finding]);
    match target {
        Target::Direct(to) => explanation.with([inferred(format!("the call itself leads to {to}"))]),
        _ => explanation,
    }
}

/// A return to an address that cannot be.
fn by_return(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let instruction = scene.instruction.as_ref()?;
    let to = Avma(return_address_at(scene.stack_pointer()?, scene.memory, scene.code)?);
    if instruction.kind != InstructionKind::Return || told::address(scene.fault).is_some() || scene.is_canonical(to) {
        return None;
    }
    Some(returned(scene, to))
}

/// Whether the word below the stack pointer, which a return has just taken, is the program counter. (Some processors refuse the return itself, others
/// what it leads to.)
fn has_returned(scene: &Scene<'_, '_>) -> bool {
    let taken = || return_address_at(Avma(scene.stack_pointer()?.0.checked_sub(8)?), scene.memory, scene.code);
    scene.pc.0 != 0 && taken() == Some(scene.pc.0)
}

fn returned(scene: &Scene<'_, '_>, to: Avma) -> Explanation {
    let sentence = format!("returned to address {to}, {}: the stack was overwritten", unmapped(scene, to));
    Explanation::new(Cause::BadCodePointer, sentence)
}

/// A call or a jump to an address that cannot be: it is refused where it stands.
fn refused(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let (verb, target) = match &scene.instruction.as_ref()?.kind {
        InstructionKind::Call(target) => ("called", target),
        InstructionKind::Jump(target) => ("jumped to", target),
        _ => return None,
    };
    let (to, name) = match target {
        Target::Register(number) => (scene.registers.get(*number)?, scene.name_of_register(*number)),
        Target::Memory(access) => (scene.memory.word(scene.address_of(access)?).ok()?, scene.name_of_access(access)),
        Target::Direct(_) | Target::Unknown => return None,
    };
    if told::address(scene.fault).is_some() || scene.is_canonical(Avma(to)) {
        return None;
    }
    let through = name.map_or(String::new(), |name| format!(" through {}", name.with_type()));
    let who = scene.frames().first().and_then(|frame| frame.function.as_deref());
    let who = who.map_or(String::new(), |who| format!("`{who}` "));
    let to = Avma(to);
    Some(Explanation::new(Cause::BadCodePointer, format!("{who}{verb} address {to}{through}, {}", unmapped(scene, to))))
}
