//! C++'s texts, as libstdc++ has them.

use super::Place;
use super::elements::{check, text_at};
use crate::crash::decode::unavailable;
use crate::crash::wide;
use crate::dwarf::types::TypeId;
use crate::plan::containers::text_pointer;
use crate::plan::shape::wide_character;
use crate::report::{Address, Value};

/// `std::string`: both of libstdc++'s.
pub fn string(place: Place<'_>, value: &Value) -> Option<Value> {
    let (pointer_at, of) = text_pointer(place.aggregate()?, place.decoder.types)?;
    let size = bytes_of_character(&place, of)?;
    let address = place.word(pointer_at).map(Address)?;
    match place.member("_M_string_length") {
        Some(length) => Some(with_room(&place, value, address, length.number()?, size)),
        // Before C++11, the length lay in front of the text; debug info of the string does not say where. A NUL is there for certain.
        None if size > 1 => None,
        None => Some(place.behind.c_string(Value { address: Some(address), ..value.clone() }, address)),
    }
}

/// A short text lies in the string itself, in place of the number that says how much room a longer one has.
fn with_room(place: &Place<'_>, value: &Value, address: Address, length: u64, size: u64) -> Value {
    let own = place.find("_M_local_buf").and_then(|buffer| buffer.ty().size).unwrap_or(0) / size;
    let room = place.find("_M_allocated_capacity").and_then(|room| room.number()).filter(|_| length >= own);
    match room.filter(|room| *room < length) {
        Some(room) => {
            let reason = format!("{length} bytes where there is room for {room}: it is damaged, or not set yet");
            unavailable(Value { address: Some(address), ..value.clone() }, reason)
        }
        None => text(place, value, address, length, size),
    }
}

/// A text of characters of `size` bytes.
pub fn text(place: &Place<'_>, value: &Value, address: Address, length: u64, size: u64) -> Value {
    match size {
        1 => text_at(place, value, address, length),
        size => match check(address, length, size) {
            Ok(_) => wide::counted(place.behind, value.clone(), address, length, size as usize),
            Err(reason) => unavailable(Value { address: Some(address), ..value.clone() }, reason),
        },
    }
}

/// `std::string_view`.
pub fn view(place: Place<'_>, value: &Value) -> Option<Value> {
    let pointer = place.member("_M_str")?;
    let (size, length) = (bytes_of_character(&place, pointer.pointee()?)?, place.member("_M_len")?.number()?);
    Some(text(&place, value, pointer.address()?, length, size))
}

/// 1, or 2 or 4 for wide ones.
fn bytes_of_character(place: &Place<'_>, of: TypeId) -> Option<u64> {
    let size = place.decoder.types.resolve(of).size?;
    (size == 1 || wide_character(of, place.decoder.types) == u16::try_from(size).ok()).then_some(size)
}
