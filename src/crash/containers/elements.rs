//! Elements that lie next to each other somewhere in memory.

use super::Place;
use crate::address::Avma;
use crate::crash::decode::{list, missing, unavailable};
use crate::dwarf::types::TypeId;
use crate::report::{Address, State, Value};

/// No process has more memory than this (psABI, 3.3.3: 47 bits of addresses). A length that says so is no length: the object was overwritten, or is
/// not there yet.
const MEMORY_BYTES: u64 = 1 << 47;

/// Whether so much may lie at `address`; the reason, if not.
pub fn check(address: Address, count: u64, stride: u64) -> Result<u64, String> {
    let bytes = count.checked_mul(stride).filter(|bytes| *bytes < MEMORY_BYTES);
    let end = bytes.and_then(|bytes| address.0.checked_add(bytes));
    match (bytes, end) {
        (Some(bytes), Some(_)) => Ok(bytes),
        _ => Err(format!("{count} elements of {stride} bytes fit into no memory: it is damaged, or not set yet")),
    }
}

/// `value` as the list of `count` elements of type `of` at `address`.
pub fn list_at(place: &Place<'_>, value: &Value, of: TypeId, address: Address, count: u64) -> Value {
    let (decoder, behind) = (place.decoder, place.behind);
    let value = Value { address: Some(address), length: Some(count), ..value.clone() };
    let Some(stride) = decoder.types.resolve(of).size else {
        return unavailable(value, "the size of its elements is not known".into());
    };
    if let Err(reason) = check(address, count, stride) {
        return unavailable(value, reason);
    }
    if count > 0 && decoder.is_within(address, of) {
        return unavailable(value, "it leads back to what it is in".into());
    }
    let shown = count.min(behind.max_elements()).min(decoder.parts_left().into());
    // Both are far smaller than the memory.
    let (stride, shown) = (stride as usize, shown as usize);
    let bytes = behind.bytes(Avma(address.0), stride.saturating_mul(shown));
    let inner = decoder.inside(&bytes, behind, address, of);
    let mut elements = Vec::new();
    let mut gap = None;
    for index in 0..shown {
        let at = index.saturating_mul(stride);
        gap = bytes.get(at, stride).err().filter(|_| bytes.known_part(at, stride).is_empty() && stride > 0);
        if gap.is_some() {
            break;
        }
        elements.push(inner.value(None, of, at, place.depth + 1));
    }
    decoder.parts.set(inner.parts.get());
    let got = elements.len();
    match gap {
        Some(gap) if got == 0 => missing(value, gap),
        Some(gap) => {
            let listed = list(value, elements, count);
            let reason = match gap.state {
                // That the bytes were cut says no more than this.
                State::Truncated | State::Unavailable => {
                    format!("only its first {got} of {count} elements were captured")
                }
                _ => format!("only its first {got} of {count} elements: {}", gap.reason),
            };
            Value { state: State::Truncated, reason: Some(reason), ..listed }
        }
        None => list(value, elements, count),
    }
}

/// `value` as the text of `length` bytes at `address`.
pub fn text_at(place: &Place<'_>, value: &Value, address: Address, length: u64) -> Value {
    match check(address, length, 1) {
        Ok(_) => place.behind.counted_text(value.clone(), address, length),
        Err(reason) => unavailable(Value { address: Some(address), ..value.clone() }, reason),
    }
}
