//! Recorded calls that had to do with the address that failed: as an argument, or as a result.

use lastwords_abi::record::RETURNED;

use super::scene::Scene;
use super::{Finding, inferred, known, told};
use crate::dwarf::types::{TypeId, TypeKind, TypeTable};
use crate::report::{Address, Call, ReturnState, Value};

/// A pointer below this identifies nothing.
const LOWEST_TELLING: u64 = 0x1_0000;
/// Findings at the most: the last calls are the most telling.
const MAX_FINDINGS: usize = 3;

/// What the thread's recorded calls say of the pointer that failed.
pub fn findings(scene: &Scene<'_, '_>) -> Vec<Finding> {
    let Some(thread) = scene.thread else { return Vec::new() };
    let culprit = scene.culprit();
    let base = culprit.and_then(|culprit| culprit.access.base).filter(|base| is_no_frame(scene, *base));
    let value = base.and_then(|base| scene.registers.get(base));
    let address = told::address(scene.fault).or(culprit.map(|culprit| culprit.address.0));
    let calls = &thread.calls;
    // The call that failed says nothing about itself. Others are counted from it.
    let own = scene.frames().first().and_then(|frame| frame.call);
    let now = calls.iter().position(|call| Some(call.n) == own).unwrap_or(calls.len());
    let mut found = Vec::new();
    if value == Some(0) {
        found.extend(last_null(scene, &calls[..now]));
    }
    let telling: Vec<u64> = [value, address].into_iter().flatten().filter(|value| *value >= LOWEST_TELLING).collect();
    for (number, call) in calls[..now].iter().enumerate().rev() {
        let ago = ago(now - number);
        found.extend(telling.iter().find_map(|&value| in_call(scene, call, value, &ago)));
        if found.len() >= MAX_FINDINGS {
            break;
        }
    }
    found
}

fn is_no_frame(scene: &Scene<'_, '_>, register: u16) -> bool {
    register != scene.code.arch.stack_pointer() && register != scene.code.arch.frame_pointer()
}

/// `3 calls earlier`
fn ago(calls: usize) -> String {
    if calls == 1 { "1 call earlier".into() } else { format!("{calls} calls earlier") }
}

/// What a call had to do with `value`.
fn in_call(scene: &Scene<'_, '_>, call: &Call, value: u64, ago: &str) -> Option<Finding> {
    let result = call.returned.as_ref().filter(|returned| returned.state == ReturnState::Returned);
    if let Some(result) = result.and_then(|returned| returned.value.as_deref())
        && result.address == Some(Address(value))
    {
        return Some(known(format!("{value:#x} came from {}() {ago}", call.function)));
    }
    let types = &scene.plan.types;
    let plan = scene.plan.functions.iter().find(|plan| plan.symbol == call.symbol)?;
    call.args.iter().zip(&plan.arguments).find_map(|(argument, planned)| {
        let start = argument.address?.0;
        let offset = value.checked_sub(start).filter(|_| start >= LOWEST_TELLING)?;
        let of = shown(call, argument);
        if offset == 0 {
            return Some(known(format!("{value:#x} was passed to {of} {ago}")));
        }
        let size = pointee_size(planned.ty, types)?;
        (offset < size).then(|| known(format!("{value:#x} lies {offset:#x} bytes into what was passed to {of} {ago}")))
    })
}

fn pointee_size(pointer: TypeId, types: &TypeTable) -> Option<u64> {
    match types.resolve(pointer).kind {
        TypeKind::Pointer { to, .. } => types.resolve(to).size,
        _ => None,
    }
}

/// `free_rec(p = 0x55d0)`
fn shown(call: &Call, argument: &Value) -> String {
    let name = argument.name.as_deref().unwrap_or("?");
    let address = argument.address.unwrap_or_default();
    format!("{}({name} = {address})", call.function)
}

/// The last recorded call that returned to the function that failed, if it returned NULL.
fn last_null(scene: &Scene<'_, '_>, calls: &[Call]) -> Option<Finding> {
    let sp = scene.stack_pointer()?.0;
    let cfa = scene.frames().iter().find_map(|frame| frame.cfa)?.0;
    let is_direct = |call: &Call| {
        let record = scene.calls.iter().map(|raw| &raw.record).find(|record| record.sequence == call.n);
        record.is_some_and(|record| record.flags & RETURNED != 0 && (sp..=cfa).contains(&record.cfa))
    };
    let (number, call) = calls.iter().enumerate().rev().find(|(_, call)| is_direct(call))?;
    let result = call.returned.as_ref()?.value.as_deref()?;
    (result.address == Some(Address(0))).then(|| {
        inferred(format!("the null pointer may come from {}() = NULL, {}", call.function, ago(calls.len() - number)))
    })
}
