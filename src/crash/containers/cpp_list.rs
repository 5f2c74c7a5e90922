//! C++'s lists whose elements lie next to each other.

use super::Place;
use super::elements::list_at;
use crate::crash::decode::{list, missing, unavailable};
use crate::report::{State, Value};

/// `std::vector`.
pub fn vector(place: Place<'_>, value: &Value) -> Option<Value> {
    if place.find("_M_offset").is_some() {
        return bits(place, value);
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

/// `std::vector<bool>`: bits of words, from the one that `_M_offset` counts on.
fn bits(place: Place<'_>, value: &Value) -> Option<Value> {
    let (start, end) = (place.find("_M_start")?, place.find("_M_finish")?);
    let bit_of = |place: &Place<'_>| Some((place.find("_M_p")?.address()?, place.find("_M_offset")?.number()?));
    let ((first, skip), (last, end)) = (bit_of(&start)?, bit_of(&end)?);
    let value = Value { address: Some(first), ..value.clone() };
    let words = last.0.checked_sub(first.0).and_then(|bytes| bytes.checked_mul(8)?.checked_add(end)?.checked_sub(skip));
    let Some(count) = words.filter(|bits| *bits < 1 << 47) else {
        return Some(unavailable(value, "it is damaged, or not set yet".into()));
    };
    let shown = count.min(place.behind.max_elements());
    let wanted = (skip.checked_add(shown)?).div_ceil(8) as usize;
    let bytes = place.behind.bytes(crate::address::Avma(first.0), wanted);
    let known = match bytes.get(0, wanted) {
        Ok(known) => known,
        Err(gap) => return Some(missing(Value { length: Some(count), ..value }, gap)),
    };
    let bit = |bit: u64| known.get((bit / 8) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
    let elements = (skip..skip + shown).map(|at| Value {
        ty: "bool".into(),
        state: State::Exact,
        value: bit(at).into(),
        ..Value::default()
    });
    Some(list(Value { length: Some(count), ..value }, elements.collect(), count))
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
