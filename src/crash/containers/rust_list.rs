//! Rust's lists: `Vec`, and slices behind any kind of pointer.

use super::Place;
use super::cpp_nodes::each_at;
use super::elements::{check, list_at, text_at};
use crate::crash::decode::unavailable;
use crate::dwarf::types::TypeId;
use crate::plan::shape::{TextKind, text_behind};
use crate::report::{Address, Value};

/// What a `Vec` is made of.
pub struct Parts {
    /// The type of its elements.
    pub of: TypeId,
    /// Where they are.
    pub address: Address,
    /// How many there are.
    pub length: u64,
    /// How many there is room for.
    pub capacity: u64,
}

/// The parts of the `Vec` here.
pub fn parts_of_vec(vec: &Place<'_>) -> Option<Parts> {
    let buffer = vec.member("buf")?;
    Some(Parts {
        of: vec.parameter(0)?,
        address: buffer.find("ptr")?.address()?,
        length: vec.member("len")?.number()?,
        // A number, or a type around one that leaves out the upper half of all numbers.
        capacity: number_in(buffer.find("cap")?)?,
    })
}

fn number_in(place: Place<'_>) -> Option<u64> {
    match place.members().next() {
        None => place.number(),
        Some((_, inner)) => inner.number(),
    }
}

/// `Vec<T>`.
pub fn vec(place: Place<'_>, value: &Value) -> Option<Value> {
    let parts = parts_of_vec(&place)?;
    let is_empty_type = place.decoder.types.resolve(parts.of).size == Some(0);
    if parts.length > parts.capacity && !is_empty_type {
        let Parts { length, capacity, address, .. } = parts;
        let reason = format!("{length} elements where there is room for {capacity}: it is damaged, or not set yet");
        return Some(unavailable(Value { address: Some(address), ..value.clone() }, reason));
    }
    Some(list_at(&place, value, parts.of, parts.address, parts.length))
}

/// `VecDeque<T>`: a list in a ring.
pub fn queue(place: Place<'_>, value: &Value) -> Option<Value> {
    let (head, count, buffer) = (place.member("head")?.number()?, place.member("len")?.number()?, place.member("buf")?);
    let (of, address) = (place.parameter(0)?, buffer.find("ptr")?.address()?);
    let room = number_in(buffer.find("cap")?)?;
    let size = place.decoder.types.resolve(of).size?;
    let value = Value { address: Some(address), length: Some(count), ..value.clone() };
    if size == 0 {
        return Some(list_at(&place, &value, of, address, count));
    }
    if count > room || head > room || check(address, room, size).is_err() {
        let reason = format!("{count} elements where there is room for {room}: it is damaged, or not set yet");
        return Some(unavailable(value, reason));
    }
    let at = |index: u64| Some(Address(address.0 + (head + index) % room * size));
    Some(each_at(&place, value, of, count, at))
}

/// `&[T]`, `&str`, `Box<[T]>`, `*const Path`: rustc describes all of them as a pair of `data_ptr` and `length`.
pub fn slice(place: Place<'_>, value: &Value) -> Option<Value> {
    let (pointer, length) = (place.member("data_ptr")?, place.member("length")?);
    let (address, length) = (pointer.address()?, length.number()?);
    let of = pointer.pointee()?;
    match text_behind(&place.ty().name) {
        Some(TextKind::Counted) => return Some(text_at(&place, value, address, length)),
        // The NUL counts.
        Some(TextKind::WithNul) => return Some(text_at(&place, value, address, length.saturating_sub(1))),
        None => {}
    }
    Some(list_at(&place, value, of, address, length))
}
