//! The call that a thread died in before it came to the instruction at which such calls are recorded.
//!
//! That instruction need not be the first one (`crate::plan::placement`), and `int first(struct s *s)` dies of a null pointer before it.
//! Then the call is told from its frame, whose arguments debug info finds: nothing in front of the probe may have overwritten them.

use crate::address::Svma;
use crate::plan::{FunctionPlan, Plan};
use crate::report::{Call, FoundBy, FrameKind, Thread};

const REASON: &str = "it died in front of the instruction that is probed: told from its frame";

/// Adds the call of the innermost frame, if that has not come to its probe. It is the thread's last one.
pub fn add(thread: &mut Thread, plan: &Plan, at_ns: u64) {
    if thread.calls.iter().any(|call| call.by_handler) {
        return;
    }
    let Some(frame) = thread.frames.iter_mut().find(|frame| frame.kind != FrameKind::Inlined) else { return };
    let is_innermost = frame.found_by == FoundBy::InstructionPointer;
    let Some(offset) = frame.offset.filter(|_| is_innermost && frame.call.is_none()) else { return };
    let is_it = |function: &&FunctionPlan| {
        function.is_before_probe(Svma(offset.0)) && frame.symbol.as_ref() == Some(&function.symbol)
    };
    let (Some(function), Some(total)) = (plan.functions.iter().find(is_it), thread.calls_total) else { return };
    frame.call = Some(total);
    let (file, line) = super::assemble::file_and_line(function.declared.as_ref());
    thread.calls.push(Call {
        n: total,
        function: function.name.clone(),
        symbol: function.symbol.clone(),
        file,
        line,
        at_ns,
        args: frame.args.clone(),
        frame: frame.n,
        reason: Some(REASON.into()),
        ..Call::default()
    });
    thread.calls_total = total.checked_add(1);
}
