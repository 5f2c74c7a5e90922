//! A pointer in a frame in; what it pointed to at the death out, as far as that memory is known.

use super::image::Image;
use crate::address::Avma;
use crate::crash::decode::{Decoder, Pointees, Symbols};
use crate::crash::dynamic::{is_vtable, object_at, symbol_for};
use crate::crash::memory::Unknown;
use crate::crash::pieces::Bytes;
use crate::crash::text::Text;
use crate::crash::wide;
use crate::dwarf::types::{Type, TypeKind};
use crate::plan::shape::is_c_string;
use crate::report::{Address, State, Value};

/// Elements of an array that are shown.
const MAX_ELEMENTS: u64 = 64;

/// Memory that pointers are followed into.
#[derive(Clone, Copy)]
pub struct Behind<'i, 'm> {
    /// The memory.
    pub image: Image<'i, 'm>,
    /// How many pointers to something else than text are followed, one after the other.
    pub levels: u32,
    /// Bytes of a text at the most.
    pub text_bytes: usize,
}

impl Pointees for Behind<'_, '_> {
    fn pointer(&self, decoder: &Decoder<'_>, value: Value, ty: &Type, address: Address) -> Value {
        if is_c_string(ty, decoder.types) {
            return self.c_string(value, address);
        }
        if let Some(text) = wide::until_nul(self, decoder, &value, ty, address).filter(|_| address.0 != 0) {
            return text;
        }
        let value = match address.0 {
            0 => return value,
            _ => Value { value: address.to_string().into(), ..value },
        };
        let TypeKind::Pointer { to, .. } = ty.kind else { return value };
        let resolved = decoder.types.resolve(to);
        let symbol = symbol_for(self.symbols(), ty, address);
        let is_named = symbol.is_some();
        let value = Value { symbol, ..value };
        let size = resolved.size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
        let is_followed = self.levels > 0 && is_shown(&resolved.kind) && !(is_named && is_vtable(ty));
        let Some(size) = size.filter(|_| is_followed) else { return value };
        if decoder.is_within(address, to) {
            return Value { reason: Some("it leads back to what it is in".into()), ..value };
        }
        let object = object_at(decoder, self, to, size, address);
        let bytes = self.bytes(Avma(object.at.0), object.size);
        if bytes.known_part(0, object.size).is_empty() {
            return value;
        }
        let behind = Self { levels: self.levels - 1, ..*self };
        let target = decoder.value_inside(&bytes, &behind, object.at, object.ty, 1);
        let target = Value { reason: target.reason.or(object.note), ..target };
        Value { target: Some(Box::new(target)), ..value }
    }

    fn bytes(&self, at: Avma, size: usize) -> Bytes {
        let mut bytes = Bytes::default();
        self.add(&mut bytes, at, size);
        bytes
    }

    fn counted_text(&self, value: Value, address: Address, length: u64) -> Value {
        let value = Value { address: Some(address), length: Some(length), ..value };
        let limit = usize::try_from(length).unwrap_or(usize::MAX).min(self.text_bytes);
        let known = self.image.known_part(Avma(address.0), limit);
        match known.len() as u64 {
            known_bytes if known_bytes == length => shown(value, known),
            known_bytes if known_bytes == limit as u64 => {
                cut(value, known, format!("only its first {limit} bytes are shown"))
            }
            _ => self.broken(value, known, address.0, ""),
        }
    }

    fn c_string(&self, value: Value, address: Address) -> Value {
        if address.0 == 0 {
            return value;
        }
        let known = self.image.known_part(Avma(address.0), self.text_bytes.saturating_add(1));
        match known.iter().position(|&byte| byte == 0) {
            Some(end) => Value { length: Some(end as u64), ..shown(value, &known[..end]) },
            None if known.len() > self.text_bytes => {
                let reason = format!("only its first {} bytes are shown", self.text_bytes);
                cut(value, &known[..self.text_bytes], reason)
            }
            None => self.broken(value, known, address.0, " without a NUL"),
        }
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(self.image.code())
    }

    fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    fn max_elements(&self) -> u64 {
        MAX_ELEMENTS
    }
}

impl Behind<'_, '_> {
    /// A text of which only `known` is there.
    fn broken(&self, value: Value, known: &[u8], address: u64, note: &str) -> Value {
        let unknown = self.image.why_unknown(Avma(address.wrapping_add(known.len() as u64)));
        let count = known.len();
        match unknown {
            Unknown::NotCaptured(_) if count > 0 => {
                cut(value, known, format!("only its first {count} bytes were captured"))
            }
            _ if count > 0 => cut(value, known, format!("memory ends after {count} bytes{note}")),
            Unknown::NotCaptured(_) => Value { state: State::Unavailable, reason: Some(unknown.to_string()), ..value },
            _ => Value { state: State::Unreadable, reason: Some(unknown.to_string()), ..value },
        }
    }

    /// Appends `size` bytes of the memory from `at` on.
    pub fn add(&self, bytes: &mut Bytes, at: Avma, size: usize) {
        let size = bytes.room(size);
        let known = self.image.known_part(at, size);
        if known.len() == size {
            return bytes.push(known, size, State::Exact, "");
        }
        let unknown = self.image.why_unknown(Avma(at.0.wrapping_add(known.len() as u64)));
        let state = match unknown {
            Unknown::NotCaptured(_) => State::Unavailable,
            _ => State::Unreadable,
        };
        bytes.push(known, size, state, &unknown.to_string());
    }
}

/// Whether what a pointer points to says more than its address.
fn is_shown(kind: &TypeKind) -> bool {
    match kind {
        TypeKind::Void | TypeKind::Function | TypeKind::Unsupported(_) => false,
        TypeKind::Aggregate(aggregate) => !aggregate.is_declaration,
        _ => true,
    }
}

fn shown(value: Value, bytes: &[u8]) -> Value {
    let text = Text::new(bytes);
    Value { value: text.text.into(), bytes: text.bytes, ..value }
}

fn cut(value: Value, bytes: &[u8], reason: String) -> Value {
    Value { state: State::Truncated, reason: Some(reason), ..shown(value, bytes) }
}
