//! A pointer in; what was found behind it, at the entry of a call or at the moment of death, out.
//!
//! Four things that look alike elsewhere are kept apart here: a null pointer (`null`, exact), a pointer to no readable memory
//! (unreadable), a text that ends where its memory does (truncated), and an empty text (`""`, exact).

use super::decode::{Decoder, Pointees, Symbols};
use super::dynamic::{is_vtable, object_at, symbol_for};
use super::pieces::Bytes;
use super::recorded::{End, Held};
use super::scalar::{Integer, undecoded};
use super::text::Text;
use super::wide;
use crate::address::Avma;
use crate::dwarf::types::{Type, TypeId, TypeKind};
use crate::plan::Limits;
use crate::plan::pointers::{followable, is_list_of_texts};
use crate::plan::shape::is_c_string;
use crate::report::{Address, State, Value};

/// Elements of an array that are shown.
const MAX_ELEMENTS: u64 = 1_024;
/// Entries of a list that ends with a NULL.
const MAX_ENTRIES: u64 = 64;

/// A pointer with these bytes.
pub fn pointer(decoder: &Decoder<'_>, value: Value, ty: &Type, bytes: &[u8]) -> Value {
    let Some(address) = address_of(bytes) else {
        return undecoded(value, bytes, format!("a pointer of {} bytes is not decoded", bytes.len()));
    };
    let value = Value { address: Some(address), ..value };
    match decoder.behind {
        Some(behind) => behind.pointer(decoder, value, ty, address),
        None => bare(value, address),
    }
}

/// The address in the bytes of a pointer.
pub fn address_of(bytes: &[u8]) -> Option<Address> {
    match Integer::new(bytes, false)? {
        Integer::Unsigned(number) => u64::try_from(number).ok().map(Address),
        Integer::Signed(_) => None,
    }
}

/// A pointer that was not followed.
pub fn bare(value: Value, address: Address) -> Value {
    match address.0 {
        0 => value,
        _ => Value { value: address.to_string().into(), ..value },
    }
}

/// Memory that the plan of a call leads into.
pub struct Reached<'a, H> {
    /// The memory.
    pub held: &'a H,
    /// The bounds of the plan.
    pub limits: Limits,
    /// How many pointers more it follows, one after the other.
    pub levels: u32,
    /// Names for addresses, where the modules of the process are known.
    pub symbols: Option<&'a dyn Symbols>,
}

impl<'a, H: Held> Reached<'a, H> {
    /// What the arguments of a call lead to.
    pub fn new(held: &'a H, limits: Limits, symbols: Option<&'a dyn Symbols>) -> Self {
        Self { held, limits, levels: limits.depth, symbols }
    }

    /// A NUL-terminated text.
    fn c_string(&self, value: Value, address: Address) -> Value {
        let limit = self.limits.string_bytes as usize;
        let known = self.held.known_part(Avma(address.0), limit + 1);
        match known.iter().position(|&byte| byte == 0) {
            Some(end) => Value { length: Some(end as u64), ..shown(value, &known[..end]) },
            None if known.len() > limit => self.broken(value, &known[..limit], None, address, ""),
            None => {
                let end = self.held.end_at(Avma(address.0.wrapping_add(known.len() as u64)));
                self.broken(value, known, end, address, " without a NUL")
            }
        }
    }

    /// Bytes of a known length that are shown as text.
    pub fn text(&self, value: Value, address: Address, length: u64) -> Value {
        let value = Value { address: Some(address), length: Some(length), ..value };
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        let known = self.held.known_part(Avma(address.0), wanted.min(self.limits.string_bytes as usize));
        match () {
            () if known.len() == wanted => shown(value, known),
            () if address.0 == 0 => value,
            () if known.len() == self.limits.string_bytes as usize => self.broken(value, known, None, address, ""),
            () => {
                let end = self.held.end_at(Avma(address.0.wrapping_add(known.len() as u64)));
                self.broken(value, known, end, address, "")
            }
        }
    }

    /// A text of which only `known` is there.
    fn broken(&self, value: Value, known: &[u8], end: Option<End>, address: Address, note: &str) -> Value {
        if end.is_none() && known.is_empty() {
            return Value { state: State::Unavailable, reason: Some(self.held.missed(self.limits)), ..value };
        }
        let (state, reason) = End::of(end, Avma(address.0), known.len(), self.held);
        let note = if end == Some(End::Unreadable) && !known.is_empty() { note } else { "" };
        let value = if known.is_empty() { value } else { shown(value, known) };
        Value { state, reason: Some(reason + note), ..value }
    }

    /// Pointers to texts, up to the NULL that ends them.
    fn texts(&self, decoder: &Decoder<'_>, value: Value, of: TypeId, address: Address) -> Value {
        let blank = Value { ty: decoder.types.get(of).name.clone(), state: State::Exact, ..Value::default() };
        let mut texts = Vec::new();
        let mut target = Value { ty: format!("{}[]", blank.ty), state: State::Exact, ..Value::default() };
        for entry in 0..MAX_ENTRIES {
            let at = Avma(address.0.wrapping_add(entry * 8));
            let known = self.held.known_part(at, 8);
            let Some(text) = address_of(known).filter(|_| known.len() == 8) else {
                let (state, reason) = match End::of(self.held.end_at(at), at, 0, self.held) {
                    (State::Truncated, _) => {
                        (State::Truncated, format!("only its first {entry} elements were recorded"))
                    }
                    other => other,
                };
                (target.state, target.reason) = (state, Some(reason));
                break;
            };
            if text.0 == 0 {
                break;
            }
            texts.push(self.c_string(Value { address: Some(text), ..blank.clone() }, text));
        }
        target.value = texts.iter().map(|text| text.value.clone()).collect::<Vec<_>>().into();
        target.members = texts;
        Value { target: Some(Box::new(target)), ..value }
    }

    /// What a pointer points to, or why it was not followed.
    fn target(&self, decoder: &Decoder<'_>, to: TypeId, size: usize, address: Address) -> Value {
        let blank = Value { ty: decoder.types.get(to).name.clone(), ..Value::default() };
        let not_followed = |reason| Value { state: State::Unavailable, reason: Some(reason), ..blank.clone() };
        if self.levels == 0 {
            return not_followed(format!("it is deeper than --depth {}", self.limits.depth));
        }
        let at = Avma(address.0);
        if self.held.known_part(at, 1).is_empty() {
            return match self.held.end_at(at) {
                None => not_followed(self.held.missed(self.limits)),
                end => {
                    let (state, reason) = End::of(end, at, 0, self.held);
                    Value { state, reason: Some(reason), ..blank }
                }
            };
        }
        if decoder.is_within(address, to) {
            return not_followed("it leads back to what it is in".into());
        }
        let object = object_at(decoder, self, to, size, address);
        let bytes = self.bytes(Avma(object.at.0), object.size);
        let behind = Self { levels: self.levels - 1, ..*self };
        let value = decoder.value_inside(&bytes, &behind, object.at, object.ty, 1);
        Value { reason: value.reason.or(object.note), ..value }
    }

    /// The memory from `at` on.
    pub fn bytes(&self, at: Avma, size: usize) -> Bytes {
        let mut bytes = Bytes::default();
        let size = bytes.room(size);
        let known = self.held.known_part(at, size);
        let end = self.held.end_at(Avma(at.0.wrapping_add(known.len() as u64)));
        let (state, reason) = match End::of(end, at, known.len(), self.held) {
            _ if end.is_none() && known.is_empty() => (State::Unavailable, self.held.missed(self.limits)),
            // What lies behind the end of the memory was not cut.
            (State::Truncated, reason) if end.is_some() => (State::Unreadable, format!("its {reason}")),
            other => other,
        };
        bytes.push(known, size, state, &reason);
        bytes
    }
}

impl<H: Held> Pointees for Reached<'_, H> {
    fn pointer(&self, decoder: &Decoder<'_>, value: Value, ty: &Type, address: Address) -> Value {
        if address.0 == 0 {
            return value;
        }
        if is_c_string(ty, decoder.types) {
            return self.c_string(value, address);
        }
        if let Some(text) = wide::until_nul(self, decoder, &value, ty, address) {
            return text;
        }
        let value = Value { symbol: symbol_for(self.symbols, ty, address), ..bare(value, address) };
        let TypeKind::Pointer { to, .. } = ty.kind else { return value };
        if is_list_of_texts(value.name.as_deref().unwrap_or_default(), ty, decoder.types) {
            return self.texts(decoder, value, to, address);
        }
        match followable(to, decoder.types).and_then(|size| usize::try_from(size).ok()) {
            Some(size) if !is_vtable(ty) => {
                Value { target: Some(Box::new(self.target(decoder, to, size, address))), ..value }
            }
            _ => value,
        }
    }

    fn bytes(&self, at: Avma, size: usize) -> Bytes {
        self.bytes(at, size)
    }

    fn counted_text(&self, value: Value, address: Address, length: u64) -> Value {
        self.text(value, address, length)
    }

    fn c_string(&self, value: Value, address: Address) -> Value {
        if address.0 == 0 { value } else { self.c_string(value, address) }
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        self.symbols
    }

    fn text_bytes(&self) -> usize {
        self.limits.string_bytes as usize
    }

    fn max_elements(&self) -> u64 {
        MAX_ELEMENTS
    }
}

fn shown(value: Value, bytes: &[u8]) -> Value {
    let text = Text::new(bytes);
    Value { value: text.text.into(), bytes: text.bytes, ..value }
}
