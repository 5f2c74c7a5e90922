//! A record of a call that has returned in; its result, and what its arguments led to by then, out.

use lastwords_abi::record::RETURNED;

use super::decode::Meaning;
use super::follow::Reached;
use super::recorded::Recorded;
use super::text::Text;
use super::{RawCall, decode, recent};
use crate::plan::outputs::split;
use crate::plan::{ArgumentPlan, Followed, FunctionPlan, ReturnPlan};
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
        let returned = bytes_returned(call, function, meaning);
        told.for_each(|(then, (after, plan))| match (plan.follows.first().map(|follow| follow.what), returned) {
            (Some(Followed::Paired { element: 1, .. }), Some(count)) => mark_written(then, after, count),
            _ => recent::mark_after(then, after),
        });
    }
    args
}

/// How many bytes a function like `read` says that it has written: POSIX has a type for such numbers.
fn bytes_returned(call: &RawCall, function: &FunctionPlan, meaning: Meaning<'_>) -> Option<usize> {
    let ty = &meaning.types.get(function.returns.as_ref()?.value.ty).name;
    matches!(ty.as_str(), "ssize_t" | "__ssize_t").then(|| usize::try_from(call.record.value[0].cast_signed()).ok())?
}

/// Marks what has become of a buffer, as far as the call says that it has filled it: what lies behind is a left-over.
fn mark_written(then: &mut Value, after: Value, count: usize) {
    let bytes = after.text_bytes().unwrap_or_default();
    let is_part = after.length.is_some_and(|length| count as u64 <= length) && count <= bytes.len();
    if !is_part {
        return recent::mark_after(then, after);
    }
    let text = Text::new(&bytes[..count]);
    let is_same =
        then.address == after.address && then.text_bytes().is_some_and(|then| then.starts_with(&bytes[..count]));
    if !is_same {
        let reason = Some("as many bytes as it returned".into());
        let (value, length) = (text.text.into(), Some(count as u64));
        then.after = Some(Box::new(Value {
            name: None,
            value,
            bytes: text.bytes,
            length,
            state: State::Exact,
            reason,
            ..after
        }));
    }
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
