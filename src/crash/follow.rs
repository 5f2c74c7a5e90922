//! Pointers, and what was found behind them when the function was entered.
//!
//! Four things that look alike elsewhere are kept apart here: a null pointer (`null`, exact), a pointer to no readable memory
//! (unreadable), a text that ends where its memory does (truncated), and an empty text (`""`, exact).

use lastwords_abi::step::{FAULT, NULL, PARTIAL, READ, TRUNCATED};

use super::decode::{Decoder, plain};
use super::pieces::Bytes;
use super::scalar::{Integer, undecoded};
use super::text::Text;
use crate::dwarf::types::{Aggregate, Type, TypeId, TypeKind};
use crate::plan::{Follow, Followed};
use crate::report::{Address, State, Value};

/// A pointer at byte `at` of the argument, with these bytes.
pub fn pointer(decoder: &Decoder<'_>, value: Value, ty: &Type, bytes: &[u8], at: usize) -> Value {
    let Some(address) = address_of(bytes) else {
        return undecoded(value, bytes, format!("a pointer of {} bytes is not decoded", bytes.len()));
    };
    let value = Value { address: Some(address), ..value };
    if let Some(behind) = decoder.behind {
        return behind.pointer(decoder, value, ty, address);
    }
    match follow_at(decoder, at) {
        Some(Follow { what: Followed::Value(ty), step, .. }) => {
            let target = (address.0 != 0).then(|| Box::new(target(decoder, *step, *ty)));
            Value { target, ..bare(value, address) }
        }
        Some(follow) => text(decoder, value, follow, address),
        None => bare(value, address),
    }
}

/// A pair of pointer and length that was followed to a text (Rust's `&str`): it is shown as that text.
pub fn text_of_aggregate(decoder: &Decoder<'_>, value: &Value, aggregate: &Aggregate, at: usize) -> Option<Value> {
    let starts_at = |place: usize, matches: fn(&TypeKind) -> bool| {
        aggregate.members.iter().find(|member| {
            usize::try_from(member.offset).ok().and_then(|offset| at.checked_add(offset)) == Some(place)
                && matches(&decoder.types.resolve(member.ty).kind)
        })
    };
    let follow = decoder.follows.iter().find(|follow| {
        let Followed::Str { length_at } = follow.what else { return false };
        starts_at(follow.at as usize, |kind| matches!(kind, TypeKind::Pointer { .. })).is_some()
            && starts_at(length_at as usize, |kind| matches!(kind, TypeKind::Integer { .. })).is_some()
    })?;
    let address = address_of(decoder.bytes.get(follow.at as usize, size_of::<u64>()).ok()?)?;
    Some(text(decoder, Value { address: Some(address), ..value.clone() }, follow, address))
}

fn follow_at<'a>(decoder: &Decoder<'a>, at: usize) -> Option<&'a Follow> {
    decoder.follows.iter().find(|follow| follow.at as usize == at)
}

fn address_of(bytes: &[u8]) -> Option<Address> {
    match Integer::new(bytes, false)? {
        Integer::Unsigned(number) => u64::try_from(number).ok().map(Address),
        Integer::Signed(_) => None,
    }
}

/// A pointer that was not followed.
fn bare(value: Value, address: Address) -> Value {
    match address.0 {
        0 => value,
        _ => Value { value: address.to_string().into(), ..value },
    }
}

/// What a pointer points to. Pointers in it are not followed further: plans do not ask for it yet.
fn target(decoder: &Decoder<'_>, step: usize, ty: TypeId) -> Value {
    let output = decoder.outputs.get(step).copied().unwrap_or_default();
    let size = decoder.types.resolve(ty).size.unwrap_or(0);
    plain(ty, decoder.types, &Bytes::of_output(&output, usize::try_from(size).unwrap_or(usize::MAX)))
}

/// What a pointer to a text points to; `value` has the pointer's address already.
fn text(decoder: &Decoder<'_>, value: Value, follow: &Follow, address: Address) -> Value {
    let output = decoder.outputs.get(follow.step).copied().unwrap_or_default();
    let recorded = output.bytes.len();
    let expected = match follow.what {
        Followed::Str { length_at } => length_of(decoder, length_at),
        Followed::CString | Followed::Value(_) => None,
    };
    let value = Value { length: expected, ..value };
    let has_terminator = follow.what == Followed::CString;
    match output.outcome.map(|outcome| outcome.status) {
        Some(READ) => Value { length: Some(recorded as u64), ..shown(value, output.bytes) },
        Some(NULL) => value,
        Some(TRUNCATED) => {
            let reason = format!("only its first {recorded} bytes were recorded");
            Value { state: State::Truncated, reason: Some(reason), ..shown(value, output.bytes) }
        }
        Some(PARTIAL) => {
            let terminator = if has_terminator { " without a NUL" } else { "" };
            let reason = format!("memory ends after {recorded} bytes{terminator}");
            Value { state: State::Truncated, reason: Some(reason), ..shown(value, output.bytes) }
        }
        Some(FAULT) => {
            let reason = format!("no readable memory is mapped at {address}");
            Value { state: State::Unreadable, reason: Some(reason), ..value }
        }
        Some(status) => {
            let reason = format!("the recorder left it with the unknown status {status}");
            Value { state: State::Unavailable, reason: Some(reason), ..value }
        }
        None => Value { state: State::Unavailable, reason: Some("its record is damaged".into()), ..value },
    }
}

fn shown(value: Value, bytes: &[u8]) -> Value {
    let text = Text::new(bytes);
    Value { value: text.text.into(), bytes: text.bytes, ..value }
}

fn length_of(decoder: &Decoder<'_>, at: u32) -> Option<u64> {
    address_of(decoder.bytes.get(at as usize, size_of::<u64>()).ok()?).map(|length| length.0)
}
