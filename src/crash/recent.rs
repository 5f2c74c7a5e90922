//! An argument as it was at the call, and what the same pointers lead to at the moment of death, in; the argument with what has changed out.
//!
//! The kernel side has copied that memory for the last calls of the thread that crashed (`ebpf/src/recent.rs`). Only what is known on both
//! sides is compared: a beginning that is the same says nothing of the rest.

use crate::report::{State, Value};

/// Marks in `then` what is something else `now`. Both are of the same type, and the argument itself is the same.
pub fn mark(then: &mut Value, now: Value) {
    if is_gone(&now) && !is_gone(then) && is_known(then) {
        then.now = Some(Box::new(without_name(now)));
        return;
    }
    if differs(then, &now) {
        then.now = Some(Box::new(without_name(now)));
        return;
    }
    if let (Some(then), Some(now)) = (&mut then.target, now.target) {
        mark(then, *now);
    }
    if then.members.len() == now.members.len() {
        for (then, now) in then.members.iter_mut().zip(now.members) {
            mark(then, now);
        }
    }
}

/// Whether a value without parts, or a list whose parts are all in its value, is known to be another one.
fn differs(then: &Value, now: &Value) -> bool {
    let (Some(then_address), Some(now_address)) = (then.address, now.address) else {
        let has_parts = !then.members.is_empty() || !now.members.is_empty();
        return !has_parts && then.state == State::Exact && now.state == State::Exact && !is_same(then, now);
    };
    // What lies behind another pointer is another thing, whether it is known or not.
    then_address != now_address || text_differs(then, now)
}

fn is_same(then: &Value, now: &Value) -> bool {
    then.value == now.value && then.number == now.number && then.bytes == now.bytes
}

/// The same of two texts at one address. Either may be cut.
fn text_differs(then: &Value, now: &Value) -> bool {
    let is_text =
        |value: &Value| value.value.is_string() && (value.length.is_some() || value.state == State::Truncated);
    if then.state == State::Unreadable {
        return is_text(now) && is_known(now);
    }
    if !is_text(then) || !is_text(now) || !is_known(then) || !is_known(now) {
        return false;
    }
    // Bytes are told where they are no text.
    let content =
        |value: &Value| value.bytes.clone().or_else(|| value.value.as_str().map(str::to_owned)).unwrap_or_default();
    let (then_content, now_content) = (content(then), content(now));
    let is_whole = |value: &Value| value.state == State::Exact;
    if then.bytes.is_some() != now.bytes.is_some() {
        return is_whole(then) && is_whole(now);
    }
    match (then_content.starts_with(&now_content), now_content.starts_with(&then_content)) {
        (true, true) => false,
        (true, false) => is_whole(now),
        (false, true) => is_whole(then),
        (false, false) => true,
    }
}

fn is_known(value: &Value) -> bool {
    matches!(value.state, State::Exact | State::Truncated)
}

/// Whether none of it can be read.
fn is_gone(value: &Value) -> bool {
    value.state == State::Unreadable && value.members.iter().all(is_gone)
}

/// What is told beside what was: that has the name, and the parts of what is gone say no more than the whole.
fn without_name(now: Value) -> Value {
    if is_gone(&now) {
        let reason = now.members.first().map_or(now.reason, |part| part.reason.clone());
        return Value { name: None, reason, value: serde_json::Value::Null, members: Vec::new(), ..now };
    }
    Value { name: None, ..now }
}
