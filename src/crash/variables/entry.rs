//! Frames and recorded calls of a thread joined: what a function was called with, beside what is left of it.

use crate::report::{Call, Frame, State, Value};

/// Gives the frames of recorded calls their arguments at entry, and those calls the numbers of their frames.
pub fn join(frames: &mut [Frame], calls: &mut [Call]) {
    for frame in frames {
        let Some(number) = frame.call else { continue };
        let Some(call) = calls.iter_mut().find(|call| call.n == number) else { continue };
        call.frame = frame.n;
        for (index, recorded) in call.args.iter().enumerate() {
            add(&mut frame.args, index, recorded);
        }
    }
}

/// Adds what argument number `index` was at entry.
fn add(args: &mut Vec<Value>, index: usize, recorded: &Value) {
    let by_name = args.iter().position(|now| now.name.is_some() && now.name == recorded.name);
    let nameless = || args.get(index).filter(|now| now.name.is_none() || recorded.name.is_none()).map(|_| index);
    match by_name.or_else(nameless).and_then(|at| args.get_mut(at)) {
        Some(now) => {
            let tells_more = is_known(recorded) && !says_the_same(now, recorded);
            now.at_entry = tells_more.then(|| Box::new(recorded.clone()));
        }
        None if is_known(recorded) => args.push(Value {
            name: recorded.name.clone(),
            ty: recorded.ty.clone(),
            state: State::Unavailable,
            reason: Some("no debug info says where it is".into()),
            at_entry: Some(Box::new(recorded.clone())),
            ..Value::default()
        }),
        None => {}
    }
}

/// Whether there is anything to tell.
fn is_known(value: &Value) -> bool {
    match value.state {
        State::Exact | State::Truncated | State::Late | State::Guessed => true,
        State::Unreadable | State::OptimizedOut | State::Unavailable | State::Redacted | State::Other => {
            value.address.is_some() || value.members.iter().any(is_known)
        }
    }
}

/// Whether a value is known now, and is what it was.
fn says_the_same(now: &Value, then: &Value) -> bool {
    match (now.state, then.state) {
        (State::Exact, State::Exact) => {
            now.address == then.address
                && now.number == then.number
                && now.value == then.value
                && now.bytes == then.bytes
        }
        // Texts are cut where the limit is, or where less was captured.
        (State::Exact | State::Truncated, State::Exact | State::Truncated) => {
            let text = |value: &Value| value.value.as_str().map(str::to_owned);
            let (now_text, then_text) = (text(now).unwrap_or_default(), text(then).unwrap_or_default());
            let is_text = now.value.is_string() && then.value.is_string();
            is_text
                && now.address == then.address
                && (now_text.starts_with(&then_text) || then_text.starts_with(&now_text))
        }
        // What could not be read then cannot be read now.
        (State::Unreadable | State::Unavailable, State::Unreadable | State::Unavailable) => {
            now.address.is_some() && now.address == then.address
        }
        _ => !now.members.is_empty() && now.members.len() == then.members.len() && parts_agree(now, then),
    }
}

fn parts_agree(now: &Value, then: &Value) -> bool {
    now.members.iter().zip(&then.members).all(|(now, then)| says_the_same(now, then))
}
