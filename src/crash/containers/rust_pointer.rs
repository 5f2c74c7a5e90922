//! Rust's counting pointers: `Rc` and `Arc`.

use serde_json::Value as Json;

use super::Place;
use super::elements::{list_at, text_at};
use crate::address::Avma;
use crate::dwarf::types::TypeId;
use crate::report::{Address, Value};

/// Bytes of a shared value that are read at the most.
const MAX_BYTES: u64 = 4096;

/// What is shared, behind the two counters.
pub fn counted(place: Place<'_>, value: &Value) -> Option<Value> {
    let pointer = place.member("ptr")?.first_pointer()?;
    let (address, to) = (pointer.number().map(Address)?, pointer.pointee()?);
    let size = place.decoder.types.resolve(to).size.filter(|size| *size <= MAX_BYTES)?;
    let value = Value { address: Some(address), value: address.to_string().into(), ..value.clone() };
    let bytes = place.behind.bytes(Avma(address.0), size as usize);
    let inner = place.decoder.inside(&bytes, place.behind, address, to);
    let shared = Place { decoder: &inner, behind: place.behind, id: to, at: 0, depth: place.depth + 1 };
    let data = shared.member("value").or_else(|| shared.member("data"))?;
    if let Some(length) = place.find("length") {
        let start = Address(address.0.checked_add(data.at as u64)?);
        return unsized_data(&place, &value, data.id, start, length.number()?);
    }
    if place.decoder.is_within(address, to) {
        return Some(Value { reason: Some("it leads back to what it is in".into()), ..value });
    }
    let target = (!bytes.known_part(0, size as usize).is_empty()).then(|| Box::new(data.named(None)));
    place.decoder.parts.set(inner.parts.get());
    Some(Value { target, ..value })
}

/// `Weak`: what was shared, as long as somebody else has it.
pub fn weak(place: Place<'_>, value: &Value) -> Option<Value> {
    let pointer = place.member("ptr")?.first_pointer()?;
    let address = pointer.number().map(Address)?;
    let value = Value { address: Some(address), value: address.to_string().into(), ..value.clone() };
    // `Weak::new()`: the highest address is nobody's.
    if address.0 == u64::MAX {
        return Some(Value { value: Json::Null, variant: Some("dangling".into()), ..value });
    }
    let strong = place.behind.bytes(Avma(address.0), size_of::<u64>());
    match strong.get(0, size_of::<u64>()) {
        Ok(counter) if counter.iter().all(|byte| *byte == 0) => {
            Some(Value { variant: Some("dropped".into()), ..value })
        }
        _ => counted(place, &value),
    }
}

/// `Rc<str>` and `Rc<[T]>`: the length is beside the pointer.
fn unsized_data(place: &Place<'_>, value: &Value, of: TypeId, start: Address, length: u64) -> Option<Value> {
    let is_text = place.ty().name.contains("<str,") || place.ty().name.contains("<str>");
    match is_text {
        true => Some(text_at(place, value, start, length)),
        false => Some(list_at(place, value, of, start, length)),
    }
}
