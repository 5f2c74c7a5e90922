//! The second half of a record in; what became of the call out.

use lastwords_abi::Record;
use lastwords_abi::record::{LEFT_BY_TAIL_CALL, RETURN_UNKNOWN, RETURNED};

use super::decode::Meaning;
use super::{RawCall, at_return, scalar};
use crate::plan::{Exits, FunctionPlan};
use crate::report::{ReturnState, Returned, Value};

/// What became of a call; `None` if it had not returned. `is_left` says that its frame is known to be gone, see [`left_frames`].
#[must_use]
pub fn returned(call: &RawCall, plan: &FunctionPlan, meaning: Meaning<'_>, is_left: bool) -> Option<Returned> {
    let record = &call.record;
    let duration_ns = record.returned_ns.checked_sub(record.entered_ns);
    let not_known = |state, reason: &str| Returned { state, reason: Some(reason.into()), ..Returned::default() };
    if record.flags & RETURNED != 0 {
        let value = match &plan.returns {
            Some(returns) => Some(at_return::result(call, plan, returns, meaning)),
            // `null` would say that it returns nothing.
            None if !plan.has_debug_info => Some(guessed_result(record)),
            None => None,
        };
        let value = value.map(Box::new);
        return Some(Returned { state: ReturnState::Returned, value, duration_ns, reason: None });
    }
    if record.flags & LEFT_BY_TAIL_CALL != 0 {
        return Some(Returned { state: ReturnState::TailCall, duration_ns, ..Returned::default() });
    }
    if let Exits::Unseen(reason) = &plan.exits {
        return Some(not_known(ReturnState::Unseen, reason));
    }
    if record.flags & RETURN_UNKNOWN != 0 {
        return Some(not_known(ReturnState::Unknown, "too many calls were open at once to watch this one"));
    }
    if let Some(reason) = &plan.unseen_exits {
        return Some(not_known(ReturnState::Unknown, reason));
    }
    is_left.then(|| {
        let reason = "its return was not seen, but its stack frame is gone: it returned, or was left by a jump or an exception \
                      (unless it runs on a stack of its own)";
        not_known(ReturnState::Unknown, reason)
    })
}

/// That a call seems to be running means nothing, for this reason. Where returns are not watched anyway, that stays the reason.
pub fn forget(returned: &mut Option<Returned>, state: ReturnState, reason: &str) {
    if returned.as_ref().is_none_or(|returned| returned.state == ReturnState::Unknown) {
        *returned = Some(Returned { state, reason: Some(reason.into()), ..Returned::default() });
    }
}

/// Without debug info: the first result register.
fn guessed_result(record: &Record) -> Value {
    scalar::guessed(Value { ty: "register".into(), ..Value::default() }, &record.value[0].to_le_bytes())
}

/// For each of a thread's calls, oldest first, whether its frame is known to be gone at the end.
///
/// A stack grows down: while a call runs, every later call of its thread has a lower frame, and so has the thread's stack pointer in the
/// end. A call that is still open although the stack has been higher since was left in a way that was not seen: by `longjmp`, by an
/// exception, or by a return that the kernel did not report (it follows 64 nested returns at the most, `MAX_URETPROBE_DEPTH`).
/// `return_address_bytes` is what a call pushes: so much lower than the frame's CFA the stack is at least while the call runs.
#[must_use]
pub fn left_frames(calls: &[RawCall], stack_pointer: Option<u64>, return_address_bytes: u64) -> Vec<bool> {
    let mut highest_since = stack_pointer.unwrap_or(0);
    let mut left: Vec<bool> = calls
        .iter()
        .rev()
        .map(|call| {
            let is_left = highest_since > call.record.cfa.saturating_sub(return_address_bytes);
            highest_since = highest_since.max(call.record.cfa);
            is_left
        })
        .collect();
    left.reverse();
    left
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{function, in_first_register, int};
    use super::*;
    use crate::dwarf::types::TypeTable;
    use crate::plan::Source;
    use crate::report::State;

    fn record(flags: u32) -> RawCall {
        let value = [0xffff_ffff_0000_0007, 0];
        let record = Record { entered_ns: 100, returned_ns: 350, value, flags, ..Record::default() };
        RawCall { record, data: Vec::new() }
    }

    fn returning_int() -> (FunctionPlan, TypeTable) {
        let mut types = TypeTable::default();
        let ty = int(&mut types);
        let returns = Some(in_first_register(ty, 4));
        (FunctionPlan { returns, ..function("f") }, types)
    }

    /// Guards against `null` for anything but a call that had not returned.
    #[test]
    fn null_means_that_the_call_had_not_returned() {
        let (plan, types) = returning_int();
        let unseen = FunctionPlan { exits: Exits::Unseen("it never returns by itself".into()), ..plan.clone() };
        let state = |flags, plan, is_left| {
            returned(&record(flags), plan, Meaning { types: &types, symbols: None }, is_left)
                .map(|returned| (returned.state, returned.duration_ns))
        };

        assert_eq!(state(0, &plan, false), None);
        assert_eq!(state(RETURNED, &plan, false), Some((ReturnState::Returned, Some(250))));
        assert_eq!(state(RETURNED, &plan, true), Some((ReturnState::Returned, Some(250))));
        assert_eq!(state(LEFT_BY_TAIL_CALL, &plan, false), Some((ReturnState::TailCall, Some(250))));
        assert_eq!(state(RETURN_UNKNOWN, &plan, false), Some((ReturnState::Unknown, None)));
        assert_eq!(state(0, &plan, true), Some((ReturnState::Unknown, None)));
        let may_leave = FunctionPlan { unseen_exits: Some("it may jump through a table".into()), ..plan.clone() };
        assert_eq!(state(0, &may_leave, false), Some((ReturnState::Unknown, None)));
        assert_eq!(state(RETURNED, &may_leave, false), Some((ReturnState::Returned, Some(250))));
        assert_eq!(state(0, &unseen, false), Some((ReturnState::Unseen, None)));
    }

    /// Guards against the unused half of a result register in a result, and against a result of a function without one.
    #[test]
    fn the_result_has_its_type() {
        let (plan, types) = returning_int();
        let value = |plan: &FunctionPlan| {
            returned(&record(RETURNED), plan, Meaning { types: &types, symbols: None }, false).unwrap().value
        };

        assert_eq!(value(&plan).unwrap().value, json!(7));
        let nothing = FunctionPlan { returns: None, ..plan.clone() };
        assert_eq!(value(&nothing), None);
        let guess = value(&FunctionPlan { has_debug_info: false, ..nothing }).unwrap();
        assert_eq!((guess.state, guess.value), (State::Guessed, json!("0xffffffff00000007")));
        let mut returns = plan.returns.clone();
        returns.as_mut().unwrap().value.pieces[0].source = Source::Unavailable("in register xmm0".into());
        let unreadable = value(&FunctionPlan { returns, ..plan }).unwrap();
        assert_eq!((unreadable.state, unreadable.reason.as_deref()), (State::Unavailable, Some("in register xmm0")));
    }

    /// Guards against calls that look unfinished for ever after a longjmp out of them.
    #[test]
    fn a_frame_below_a_later_one_is_gone() {
        let left = |cfas: &[u64], stack_pointer| {
            let call = |&cfa| RawCall { record: Record { cfa, ..Record::default() }, data: Vec::new() };
            left_frames(&cfas.iter().map(call).collect::<Vec<_>>(), stack_pointer, 8)
        };
        // Nested calls, the innermost of which crashed.
        assert_eq!(left(&[0x900, 0x800, 0x700], Some(0x6f0)), [false, false, false]);
        // The second and third were left, and the fourth was called by the first.
        assert_eq!(left(&[0x900, 0x800, 0x700, 0x800], Some(0x7e0)), [false, true, true, false]);
        // All of them were left: the stack pointer is that of their caller.
        assert_eq!(left(&[0x900, 0x800], Some(0x900)), [true, true]);
        assert_eq!(left(&[0x900, 0x800], None), [false, false]);
        assert_eq!(left(&[0, 3], Some(u64::MAX)), [true, true]);
    }
}
