//! C++'s texts, as libstdc++ has them.

use super::Place;
use super::elements::text_at;
use crate::report::Value;

/// `std::string`: both of libstdc++'s.
pub fn string(place: Place<'_>, value: &Value) -> Option<Value> {
    let pointer = place.find("_M_p").filter(points_to_bytes)?;
    let address = pointer.number().map(crate::report::Address)?;
    match place.member("_M_string_length") {
        Some(length) => Some(text_at(&place, value, address, length.number()?)),
        // Before C++11, the length lay in front of the text; debug info of the string does not say where. A NUL is there for certain.
        None => Some(place.behind.c_string(Value { address: Some(address), ..value.clone() }, address)),
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
