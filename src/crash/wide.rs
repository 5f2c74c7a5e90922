//! Texts of wide characters: memory that holds one in, what it says out.

use super::decode::{Decoder, Pointees};
use super::text::Text;
use crate::address::Avma;
use crate::dwarf::types::{Type, TypeKind};
use crate::plan::shape::wide_character;
use crate::report::{Address, State, Value};

/// What a pointer to wide characters points to, up to a NUL. `None` for a pointer to something else, or where nothing is known.
pub fn until_nul(
    behind: &dyn Pointees,
    decoder: &Decoder<'_>,
    value: &Value,
    ty: &Type,
    address: Address,
) -> Option<Value> {
    let TypeKind::Pointer { to, reference: false } = ty.kind else { return None };
    let size = usize::from(wide_character(to, decoder.types)?);
    let most = behind.text_bytes() / size * size;
    let bytes = behind.bytes(Avma(address.0), most.saturating_add(size));
    let known = bytes.known_part(0, most.saturating_add(size));
    let end = known.chunks_exact(size).position(|unit| unit.iter().all(|byte| *byte == 0));
    let value = Value { address: Some(address), ..value.clone() };
    Some(match end {
        Some(end) => Value { length: Some((end * size) as u64), ..shown(value, &known[..end * size], size) },
        None if known.len() < size => return None,
        None => cut(value, &known[..known.len().min(most)], size),
    })
}

/// The text of `length` characters of `size` bytes at `address`.
pub fn counted(behind: &dyn Pointees, value: Value, address: Address, length: u64, size: usize) -> Value {
    let all = usize::try_from(length).ok().and_then(|length| length.checked_mul(size)).unwrap_or(usize::MAX);
    let value = Value { address: Some(address), length: Some(all as u64), ..value };
    let wanted = all.min(behind.text_bytes() / size.max(1) * size);
    let bytes = behind.bytes(Avma(address.0), wanted);
    let known = bytes.known_part(0, wanted);
    match bytes.get(0, wanted) {
        Err(gap) if known.len() < size => super::decode::missing(value, gap),
        _ if known.len() == all => shown(value, known, size),
        _ => cut(value, known, size),
    }
}

/// A text of which no more than these bytes are known.
fn cut(value: Value, known: &[u8], size: usize) -> Value {
    let known = &known[..known.len() / size.max(1) * size];
    let reason = Some(format!("only its first {} bytes are known", known.len()));
    Value { state: State::Truncated, reason, ..shown(value, known, size) }
}

fn shown(value: Value, bytes: &[u8], size: usize) -> Value {
    let text = Text::wide(bytes, size);
    Value { value: text.text.into(), bytes: text.bytes, ..value }
}
