//! A record of a call that has returned in; its result, and what its arguments led to by then, out.

use lastwords_abi::record::RETURNED;

use super::decode::Meaning;
use super::follow::Reached;
use super::recorded::Recorded;
use super::{RawCall, decode, recent};
use crate::plan::outputs::split;
use crate::plan::{ArgumentPlan, FunctionPlan, ReturnPlan};
use crate::report::{State, Value};

/// The result of a call that has returned.
pub fn result(call: &RawCall, function: &FunctionPlan, returns: &ReturnPlan, meaning: Meaning<'_>) -> Value {
    if !is_as_expected(call, function, returns) {
        return Value {
            ty: meaning.types.get(returns.value.ty).name.clone(),
            state: State::Unavailable,
            reason: Some("whether it came back in registers or in memory is not known".into()),
            ..Value::default()
        };
    }
    let results = std::slice::from_ref(&returns.value);
    values(call, function, results, meaning).swap_remove(0)
}

/// The arguments with what their pointers led to when the call returned, where that is something else.
pub fn with_changes(mut args: Vec<Value>, call: &RawCall, function: &FunctionPlan, meaning: Meaning<'_>) -> Vec<Value> {
    let plans = &function.exit.after;
    if call.record.flags & RETURNED != 0 && plans.iter().any(|plan| !plan.follows.is_empty()) {
        let later = values(call, function, plans, meaning).into_iter().zip(plans);
        let told = args.iter_mut().zip(later).filter(|(_, (_, plan))| !plan.follows.is_empty());
        told.for_each(|(then, (after, _))| recent::mark_after(then, after));
    }
    args
}

/// Values that are put together from what was captured at the return.
fn values(call: &RawCall, function: &FunctionPlan, plans: &[ArgumentPlan], meaning: Meaning<'_>) -> Vec<Value> {
    let registers = call.record.value.iter().flat_map(|word| word.to_le_bytes());
    let room = (function.exit.room_bytes() as usize).min(call.data.len());
    let data: Vec<u8> = registers.chain(call.data[..room].iter().copied()).collect();
    let outputs = split(&function.exit.steps, &data);
    let recorded = Recorded::new(&function.exit.steps, &data, &outputs);
    let reached = Reached::new(&recorded, function.limits, meaning.symbols);
    (0..plans.len()).map(|index| decode::argument(plans, index, meaning.types, &outputs, &reached)).collect()
}

/// Whether the result is where the plan looks for it: the first result register tells, if the caller was to provide memory.
fn is_as_expected(call: &RawCall, function: &FunctionPlan, returns: &ReturnPlan) -> bool {
    returns.condition.is_none_or(|condition| {
        let outputs = split(&function.steps, function.entry_data(&call.data));
        let hidden = outputs.get(condition.step).and_then(|output| output.bytes.first_chunk());
        hidden.is_some_and(|hidden| (u64::from_le_bytes(*hidden) == call.record.value[0]) == condition.in_memory)
    })
}
