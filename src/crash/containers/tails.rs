//! The elements behind a structure, in an array without a size that is its last member (C's flexible array member).
//!
//! How many there are, a member says that is called as a length, or that the user has named: a number that may be damaged, so only what was
//! captured is told. Without one, characters are a text up to a NUL, which is a guess and says so.

use super::Place;
use super::elements::{list_at, text_at};
use crate::crash::decode::{missing, unavailable};
use crate::crash::scalar::Integer;
use crate::dwarf::types::TypeId;
use crate::plan::tails::{NamedTail, Tail, TailCount, tail_of};
use crate::report::{Address, State, Value};

/// The elements of the array that is to be at `place`, if it is the tail of `structure`, which lies at `start`.
pub fn decode(place: Place<'_>, value: &Value, structure: TypeId, start: Address) -> Option<Value> {
    let NamedTail { tail, path, counted_by } = tail_of(structure, place.decoder.types)?;
    (tail.array == place.id && usize::try_from(tail.at) == Ok(place.at)).then_some(())?;
    let address = Address(start.0.wrapping_add(tail.at.into()));
    let remedy = format!("`--len FUNCTION:POINTER{path}=MEMBER` says what counts it");
    Some(match tail.count {
        Some(count) => {
            let counted = counted(place, value.clone(), tail, count, address);
            let by = counted_by.filter(|_| !count.is_said && counted.state == State::Exact);
            Value {
                reason: by.map(|member| format!("as many as its member `{member}` says")).or(counted.reason),
                ..counted
            }
        }
        None if tail.is_text(place.decoder.types) => guessed(place.behind.c_string(value.clone(), address), &remedy),
        None => unavailable(value.clone(), format!("its length is not known: {remedy}")),
    })
}

fn counted(place: Place<'_>, value: Value, tail: Tail, count: TailCount, address: Address) -> Value {
    let number = match place.decoder.bytes.get(count.at as usize, count.size.into()) {
        Ok(bytes) => Integer::new(bytes, count.signed).and_then(Integer::to_i128),
        Err(gap) => return missing(value, gap),
    };
    let Some(number) = number.and_then(|number| u64::try_from(number).ok()) else {
        return unavailable(value, "its length is negative".into());
    };
    match tail.is_text(place.decoder.types) {
        true => text_at(&place, &value, address, number),
        false => list_at(&place, &value, tail.of, address, number),
    }
}

/// A text of which nobody says that it is one.
fn guessed(text: Value, remedy: &str) -> Value {
    let guess = format!("its length is not known, this is what stands before a NUL: {remedy}");
    match (text.state, &text.reason) {
        (State::Exact, _) => Value { state: State::Guessed, reason: Some(guess), ..text },
        (State::Truncated, Some(reason)) => Value { reason: Some(format!("{reason}; {guess}")), ..text },
        _ => text,
    }
}
