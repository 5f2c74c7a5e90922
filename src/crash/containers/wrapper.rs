//! Types that hold one other value, and are told as that.

use super::Place;
use crate::report::Value;

/// Rust's cells: `value`, whose own wrapper is looked through in turn.
pub fn value(place: Place<'_>, outer: &Value) -> Option<Value> {
    let inner = place.member("value").or_else(|| place.member("v"))?;
    Some(inner.as_value(outer))
}

/// Rust's locks: what they guard.
pub fn data(place: Place<'_>, outer: &Value) -> Option<Value> {
    Some(place.member("data")?.as_value(outer))
}

/// A Rust type of one member.
pub fn only_member(place: Place<'_>, outer: &Value) -> Option<Value> {
    let mut members = place.members().filter(|(_, member)| member.ty().size != Some(0));
    let (_, only) = members.next()?;
    members.next().is_none().then(|| only.as_value(outer))
}

/// `AtomicBool` is a byte inside.
pub fn flag(place: Place<'_>, outer: &Value) -> Option<Value> {
    let byte = place.find_by(&mut |_, member| member.ty().size == Some(1) && member.number().is_some())?.number()?;
    match byte {
        0 | 1 => Some(Value { value: (byte == 1).into(), ..outer.clone() }),
        _ => None,
    }
}

/// C++'s smart pointers: the pointer in them.
pub fn pointer(place: Place<'_>, outer: &Value) -> Option<Value> {
    let pointer = ["_M_head_impl", "_M_ptr", "_M_data"]
        .into_iter()
        .find_map(|name| place.find_by(&mut |of, member| of == name && member.pointee().is_some()))?;
    Some(pointer.as_value(outer))
}

/// `std::atomic`.
pub fn atomic(place: Place<'_>, outer: &Value) -> Option<Value> {
    let inner = place.find("_M_i").or_else(|| place.find("_M_p")).or_else(|| place.find("_M_fp"))?;
    Some(inner.as_value(outer))
}

/// C++'s adaptors: the container in them.
pub fn adapted(place: Place<'_>, outer: &Value) -> Option<Value> {
    Some(place.member("c")?.as_value(outer))
}
