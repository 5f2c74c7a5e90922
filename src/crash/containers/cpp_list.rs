//! C++'s lists whose elements lie next to each other.

use super::Place;
use super::bits;
use super::elements::list_at;
use crate::crash::decode::unavailable;
use crate::report::Value;

/// `std::vector`.
pub fn vector(place: Place<'_>, value: &Value) -> Option<Value> {
    if place.find("_M_offset").is_some() {
        return bits::vector(place, value);
    }
    let [start, end, room] = ["_M_start", "_M_finish", "_M_end_of_storage"].map(|name| place.find(name));
    let (start, of) = (start?, start?.pointee()?);
    let (first, end, room) = (start.address()?, end?.address()?, room?.address()?);
    let size = place.decoder.types.resolve(of).size.filter(|size| *size > 0)?;
    let bytes = end.0.checked_sub(first.0).filter(|bytes| end.0 <= room.0 && bytes % size == 0);
    let Some(bytes) = bytes else {
        let reason =
            format!("its elements lie from {first} to {end}, with room to {room}: it is damaged, or not set yet");
        return Some(unavailable(Value { address: Some(first), ..value.clone() }, reason));
    };
    Some(list_at(&place, value, of, first, bytes / size))
}

/// `std::array`.
pub fn array(place: Place<'_>, value: &Value) -> Option<Value> {
    Some(place.member("_M_elems")?.as_value(value))
}

/// `std::span`; the length of a fixed one is in its name alone.
pub fn span(place: Place<'_>, value: &Value) -> Option<Value> {
    let pointer = place.member("_M_ptr")?;
    let in_name = || {
        let digits = place.ty().name.trim_end_matches([' ', '>']).rsplit([',', ' ']).next()?;
        digits.trim_end_matches(['u', 'l', 'U', 'L']).parse().ok()
    };
    let count = place.find("_M_extent_value").and_then(|count| count.number()).or_else(in_name)?;
    Some(list_at(&place, value, pointer.pointee()?, pointer.address()?, count))
}
