//! An argument as it was at the call, and what the same pointers lead to at the moment of death, in; the argument with what has changed out.
//!
//! The kernel side has copied that memory for the last calls of the thread that crashed (`ebpf/src/recent.rs`). Only what is known on both
//! sides is compared: a beginning that is the same says nothing of the rest.

use super::memory::Memory;
use crate::report::{Address, State, Value};

/// The memory in which to follow pointers again.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'m> {
    /// What was copied of it.
    pub memory: &'m Memory,
    /// The stack pointer of the thread that crashed.
    pub stack_pointer: Option<u64>,
}

impl Moment<'_> {
    /// Whether this was on a part of the stack that had been left: what lies there now is something else, and no news.
    fn is_left(&self, address: Address) -> bool {
        self.stack_pointer
            .and_then(|top| top.checked_sub(address.0))
            .is_some_and(|below| (1..LEFT_BYTES).contains(&below))
    }
}

/// How far below the stack pointer frames are looked for that were left.
const LEFT_BYTES: u64 = 1 << 20;

/// Marks in `then` what is something else `now`. Both are of the same type, and the argument itself is the same.
pub fn mark(then: &mut Value, now: Value, moment: Moment<'_>) {
    compare(then, now, &|address| moment.is_left(address), |value| &mut value.now);
}

/// The same of what was read when the call returned.
pub fn mark_after(then: &mut Value, after: Value) {
    compare(then, after, &|_| false, |value| &mut value.after);
}

/// Puts what is something else `later` into a field of the part that it is about. What lies in memory that has been left is no news.
fn compare(
    then: &mut Value,
    later: Value,
    is_left: &impl Fn(Address) -> bool,
    field: fn(&mut Value) -> &mut Option<Box<Value>>,
) {
    if is_gone(&later) && !is_gone(then) && is_known(then) || differs(then, &later) {
        *field(then) = Some(Box::new(without_name(later)));
        return;
    }
    if then.address.is_some_and(is_left) {
        return;
    }
    if let (Some(then), Some(later)) = (&mut then.target, later.target) {
        compare(then, *later, is_left, field);
    }
    if then.members.len() == later.members.len() {
        for (then, later) in then.members.iter_mut().zip(later.members) {
            compare(then, later, is_left, field);
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
    then_address != now_address || text_differs(then, now) || list_differs(then, now)
}

/// The same of two lists at one address, whose elements are numbers, or are more or fewer than they were.
fn list_differs(then: &Value, now: &Value) -> bool {
    let are_lists = then.value.is_array() && now.value.is_array();
    if !are_lists || then.state != State::Exact || now.state != State::Exact {
        return false;
    }
    then.members.len() != now.members.len() || then.members.is_empty() && !is_same(then, now)
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

#[cfg(test)]
mod tests {
    use lastwords_abi::Step;
    use lastwords_abi::step::{FAULT, FOLLOW, NULL, PARTIAL, READ, REGISTER, STRING, TRUNCATED};
    use serde_json::json;

    use super::super::decode::{Meaning, arguments_then_and_now};
    use super::super::tests::{char_type, function, output, pointer, string_output};
    use super::*;
    use crate::address::Avma;
    use crate::dwarf::types::{TypeId, TypeTable};
    use crate::plan::{ArgumentPlan, FunctionPlan, Limits, PieceSource, Source};

    const TEXT: u64 = 0x5000;

    /// An argument of type `const char *` or, with one more star, of a pointer to one.
    fn argument(stars: usize, steps: &[Step], data: &[u8], memory: &Memory) -> Value {
        let mut types = TypeTable::default();
        let char_type = char_type(&mut types);
        let ty: TypeId = (0..stars).fold(char_type, |to, _| pointer(&mut types, "a pointer", to));
        let pieces = vec![PieceSource { size: 8, source: Source::Step { step: 0, skip: 0 } }];
        let argument = ArgumentPlan { name: None, ty, pieces, follows: Vec::new(), guessed: false };
        let limits = Limits { string_bytes: 8, ..Limits::default() };
        let plan = FunctionPlan { arguments: vec![argument], steps: steps.to_vec(), limits, ..function("f") };
        arguments_then_and_now(
            &plan,
            Meaning { types: &types, symbols: None },
            data,
            Moment { memory, stack_pointer: None },
        )
        .remove(0)
    }

    fn step(op: u8, base: u16) -> Step {
        Step { op, size: 8, base, ..Step::default() }
    }

    /// What the text that was recorded like this is said to be now, if the memory holds these bytes in its place.
    fn now(status: u16, then: &[u8], memory: &Memory) -> Option<Value> {
        let address = if status == NULL { 0 } else { TEXT };
        let data = [&address.to_le_bytes()[..], &string_output(status, then)].concat();
        argument(1, &[step(REGISTER, 0), step(STRING, 0)], &data, memory).now.map(|now| *now)
    }

    fn differs(status: u16, then: &[u8], bytes: &[u8]) -> bool {
        let mut memory = Memory::default();
        memory.insert(Avma(TEXT), bytes);
        now(status, then, &memory).is_some()
    }

    /// Guards against a change that is only a tail which nobody knows, on either side.
    #[test]
    fn only_what_is_known_then_and_now_is_compared() {
        assert!(!differs(READ, b"alice", b"alice\0xyz"));
        assert!(differs(READ, b"alice", b"alicf\0"));
        assert!(differs(READ, b"alice", b"ali\0"));
        assert!(differs(READ, b"ali", b"alice"));
        // The rest was not captured now, or not recorded then.
        assert!(!differs(READ, b"alice", b"ali"));
        assert!(differs(READ, b"alice", b"bli"));
        assert!(!differs(TRUNCATED, b"alicealx", b"alicealxyz\0"));
        assert!(!differs(PARTIAL, b"ali", b"alice\0"));
        assert!(differs(TRUNCATED, b"alicealx", b"alice\0"));
        assert!(!differs(READ, b"alice", b""));
        assert!(differs(FAULT, b"", b"a\0"));
    }

    /// Guards against memory that is said to be gone although nobody looked.
    #[test]
    fn unreadable_is_what_could_not_be_read() {
        let mut memory = Memory::default();
        assert_eq!(now(READ, b"alice", &memory), None);
        memory.mark_unreadable(Avma(TEXT)..Avma(TEXT + 16));
        assert_eq!(now(READ, b"alice", &memory).unwrap().state, State::Unreadable);
        assert_eq!(now(FAULT, b"", &memory), None);
        assert_eq!(now(NULL, b"", &memory), None);
    }

    /// Guards against following an old pointer where there is a new one, or where nobody knows whether there is.
    #[test]
    fn pointers_behind_pointers_are_those_of_now() {
        let steps = [step(REGISTER, 0), step(FOLLOW, 0), step(STRING, 16)];
        let followed = output(READ, 8, &0x6000_u64.to_le_bytes());
        let data = [&TEXT.to_le_bytes()[..], &followed, &string_output(READ, b"old")].concat();
        let behind = |memory: &Memory| {
            let target = *argument(2, &steps, &data, memory).target.unwrap();
            assert_eq!(target.value, "old");
            target.now.map(|now| (now.value, now.state))
        };
        let mut memory = Memory::default();
        memory.insert(Avma(0x6000), b"other\0");
        assert_eq!(behind(&memory), None, "it is not known where the pointer leads now");

        memory.insert(Avma(TEXT), &0x7000_u64.to_le_bytes());
        assert_eq!(behind(&memory), Some((json!(null), State::Unavailable)));
        memory.insert(Avma(0x7000), b"new\0");
        assert_eq!(behind(&memory), Some((json!("new"), State::Exact)));

        let mut memory = Memory::default();
        memory.insert(Avma(TEXT), &[0; 8]);
        assert_eq!(behind(&memory), Some((json!(null), State::Exact)));
    }
}
