//! A pointer and its length, which are two arguments, in; what the pointer leads to, as far as the length says, out.

use super::decode::Decoder;
use super::follow::{Reached, address_of, bare};
use super::pieces::Bytes;
use super::recorded::Held;
use super::scalar::Integer;
use super::text::hex;
use crate::address::Avma;
use crate::dwarf::types::{TypeId, TypeKind, TypeTable};
use crate::report::{State, Value};

/// Elements that are shown.
const MAX_ELEMENTS: u64 = 256;

/// `value`, a pointer of type `ty` with these bytes, to as many elements of `element` bytes as the number in `length` says.
pub fn value<H: Held>(
    value: Value,
    ty: TypeId,
    bytes: &Bytes,
    (length, length_ty, element): (&Bytes, TypeId, u16),
    types: &TypeTable,
    reached: &Reached<'_, H>,
) -> Option<Value> {
    let TypeKind::Pointer { to, .. } = types.resolve(ty).kind else { return None };
    let address = address_of(bytes.get(0, size_of::<u64>()).ok()?)?;
    let number = types.resolve(length_ty);
    let signed = matches!(number.kind, TypeKind::Integer { signed: true });
    let count = match Integer::new(length.get(0, usize::try_from(number.size?).ok()?).ok()?, signed)? {
        Integer::Signed(count) => u64::try_from(count).ok(),
        Integer::Unsigned(count) => u64::try_from(count).ok(),
    };
    let value = bare(Value { address: Some(address), ..value }, address);
    if address.0 == 0 {
        return Some(value);
    }
    let Some(count) = count else {
        return Some(Value { reason: Some("its length is negative".into()), ..value });
    };
    if element == 1 {
        let text = reached.text(Value { value: serde_json::Value::Null, ..value }, address, count);
        return Some(with_bytes(text, address.0, count, reached));
    }
    let mut elements = Vec::new();
    for index in 0..count.min(MAX_ELEMENTS) {
        let at = Avma(address.0.wrapping_add(index * u64::from(element)));
        if reached.held.known_part(at, element.into()).len() < usize::from(element) {
            break;
        }
        let bytes = reached.bytes(at, element.into());
        elements.push(Decoder::in_memory(types, &bytes, reached, MAX_ELEMENTS as u32).value(None, to, 0, 1));
    }
    let shown = elements.len() as u64;
    let list: Vec<_> = elements.iter().map(|element| element.value.clone()).collect();
    let name = format!("{}[{count}]", types.get(to).name);
    let (state, reason) = match shown == count {
        true => (State::Exact, None),
        false => (State::Truncated, Some(format!("only its first {shown} of {count} elements were recorded"))),
    };
    let target = Value { ty: name, value: list.into(), state, reason, members: elements, ..Value::default() };
    Some(Value { target: Some(Box::new(target)), ..value })
}

/// The bytes too, where they are not a text that can be printed.
fn with_bytes<H: Held>(value: Value, address: u64, count: u64, reached: &Reached<'_, H>) -> Value {
    let limit = usize::try_from(count).unwrap_or(usize::MAX).min(reached.limits.string_bytes as usize);
    let known = reached.held.known_part(Avma(address), limit);
    let is_printable = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    match known.iter().all(is_printable) {
        true => value,
        false => Value { bytes: Some(hex(known)), ..value },
    }
}
