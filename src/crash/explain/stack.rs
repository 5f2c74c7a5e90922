//! A stack without room.

use super::scene::{Scene, bytes};
use super::{Explanation, known, told};
use crate::address::Avma;
use crate::report::{Cause, Finding};

const PAGE_BYTES: u64 = 4096;
/// How far from the stack pointer one function's frame may reach.
const MAX_REACH: u64 = 1 << 20;
/// How far behind the failed access the captured stack may begin: pages that were never touched lie in between.
const MAX_GAP: u64 = 1 << 20;

/// What happened, if the stack has no memory where the thread used it.
pub fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let address = told::address(scene.fault)?;
    let sp = scene.stack_pointer()?;
    let is_near = address.abs_diff(sp.0) <= MAX_REACH && sp.0 > MAX_REACH;
    // A jump that fails has its own address, which is the program counter.
    if !is_near || address == scene.pc.0 || !is_of_stack(scene) {
        return None;
    }
    let page = address & !(PAGE_BYTES - 1);
    let captured = |from: u64| scene.memory.range_around(Avma(from)).is_some();
    let pages = (1..=MAX_GAP / PAGE_BYTES).map(|page_number| page.saturating_add(page_number * PAGE_BYTES));
    if captured(address) || !pages.into_iter().any(captured) {
        return None;
    }
    let function = scene.frames().iter().find_map(|frame| frame.function.as_deref());
    let who = function.map_or("it".into(), |function| format!("`{function}`"));
    let sentence = format!("overflowed its stack: {who} needed memory at {address:#x}, below the end of the stack");
    Some(Explanation::new(Cause::StackOverflow, sentence).with(recursion(scene)).with([pointer_finding(scene, sp)]))
}

/// Whether the instruction goes through the stack or the frame pointer, or the address cannot be anything else.
fn is_of_stack(scene: &Scene<'_, '_>) -> bool {
    let arch = scene.code.arch;
    let Some(culprit) = scene.culprit() else { return true };
    match culprit.access.base {
        Some(base) if base == arch.stack_pointer() || base == arch.frame_pointer() => true,
        // Optimized code may have the address of a large array in any register.
        Some(base) => {
            let value = scene.registers.get(base);
            scene
                .stack_pointer()
                .zip(value)
                .is_some_and(|(sp, value)| value >= sp.0 && value.abs_diff(sp.0) <= MAX_REACH)
        }
        None => false,
    }
}

/// The functions that call each other again and again.
fn recursion(scene: &Scene<'_, '_>) -> Option<Finding> {
    let frames = scene.frames();
    let at = frames.iter().position(|frame| frame.repeats.is_some())?;
    let repeats = frames[at].repeats?;
    let round = frames.get(at..at.checked_add(usize::try_from(repeats.frames).ok()?)?)?;
    let mut names: Vec<&str> = round.iter().filter_map(|frame| frame.function.as_deref()).collect();
    names.dedup();
    let seen = repeats.frames.saturating_mul(repeats.times);
    let gap = frames.iter().filter_map(|frame| frame.gap.as_ref()).find(|gap| gap.bytes.is_some());
    let beyond = match gap.map(|gap| (gap.frames, gap.bytes)) {
        Some((Some(frames), _)) => format!(", and about {frames} more that were not captured"),
        Some((None, Some(missing))) => format!(", and more in {} of it that were not captured", bytes(missing)),
        _ => String::new(),
    };
    Some(known(format!("a recursion fills the stack: {seen} frames of `{}`{beyond}", names.join("`, `"))))
}

fn pointer_finding(scene: &Scene<'_, '_>, sp: Avma) -> Finding {
    let name = scene.register_name(scene.code.arch.stack_pointer());
    known(format!("the stack pointer ({name}) was {sp}"))
}
