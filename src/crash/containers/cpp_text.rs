//! C++'s texts, as libstdc++ has them.

use super::Place;
use super::elements::text_at;
use crate::crash::decode::unavailable;
use crate::report::{Address, Value};

/// `std::string`: both of libstdc++'s.
pub fn string(place: Place<'_>, value: &Value) -> Option<Value> {
    let pointer = place.find("_M_p").filter(points_to_bytes)?;
    let address = pointer.number().map(Address)?;
    match place.member("_M_string_length") {
        Some(length) => Some(with_room(&place, value, address, length.number()?)),
        // Before C++11, the length lay in front of the text; debug info of the string does not say where. A NUL is there for certain.
        None => Some(place.behind.c_string(Value { address: Some(address), ..value.clone() }, address)),
    }
}

/// A short text lies in the string itself, in place of the number that says how much room a longer one has.
fn with_room(place: &Place<'_>, value: &Value, address: Address, length: u64) -> Value {
    let own = place.find("_M_local_buf").and_then(|buffer| buffer.ty().size).unwrap_or(0);
    let room = place.find("_M_allocated_capacity").and_then(|room| room.number()).filter(|_| length >= own);
    match room.filter(|room| *room < length) {
        Some(room) => {
            let reason = format!("{length} bytes where there is room for {room}: it is damaged, or not set yet");
            unavailable(Value { address: Some(address), ..value.clone() }, reason)
        }
        None => text_at(place, value, address, length),
    }
}

/// `std::string_view`.
pub fn view(place: Place<'_>, value: &Value) -> Option<Value> {
    let pointer = place.member("_M_str").filter(points_to_bytes)?;
    let length = place.member("_M_len")?.number()?;
    Some(text_at(&place, value, pointer.address()?, length))
}

/// Texts of wider characters stay what they are.
fn points_to_bytes(pointer: &Place<'_>) -> bool {
    pointer.pointee().is_some_and(|to| pointer.decoder.types.resolve(to).size == Some(1))
}
