//! The captured bytes of a call and its plan in; typed values out.
//!
//! A value is never made up: where some of its bytes are missing, it has the state and the reason of the gap.

use std::cell::Cell;

use serde_json::Value as Json;

use super::containers::{self, Place};
use super::follow::Reached;
use super::pieces::{Bytes, Gap};
use super::recent::Moment;
use super::recorded::{Held, Recorded};
use super::text::{Text, hex};
use super::{follow, pair, recent, scalar, tuples, variants};
use crate::address::{Avma, Svma};
use crate::dwarf::types::{Aggregate, Type, TypeId, TypeKind, TypeTable};
use crate::plan::outputs::{Output, split};
use crate::plan::{ArgumentPlan, Followed, FunctionPlan};
use crate::report::{Address, State, Value, object_of};

/// Values within values within values: damaged debug info may have types that contain themselves.
const MAX_DEPTH: u32 = 32;
/// Parts of one value, for the same reason.
const MAX_PARTS: u32 = 10_000;
/// Bytes of an object of which all parts are shown.
const MAX_OBJECT_BYTES: usize = 1 << 20;
/// Elements of an array that are shown.
const MAX_ELEMENTS: u64 = 1_024;

/// What is known of the addresses in a process.
pub trait Symbols {
    /// The function or variable at an address.
    fn symbol_at(&self, at: Avma) -> Option<String>;
    /// Where what is at an address lies in its file.
    fn address_in_file(&self, at: Avma) -> Option<Svma>;
    /// The word that a file has at an address. The loader, or the program, may have changed it since.
    fn word_in_file(&self, at: Avma) -> Option<u64>;
}

/// What captured bytes are read with.
#[derive(Clone, Copy)]
pub struct Meaning<'a> {
    /// Types of the plan.
    pub types: &'a TypeTable,
    /// Names for addresses, where the modules of the process are known.
    pub symbols: Option<&'a dyn Symbols>,
}

/// The arguments of a call, whose record holds `data`.
#[must_use]
pub fn arguments(plan: &FunctionPlan, meaning: Meaning<'_>, data: &[u8]) -> Vec<Value> {
    let types = meaning.types;
    let data = plan.entry_data(data);
    let outputs = split(&plan.steps, data);
    let recorded = Recorded::new(&plan.steps, data, &outputs);
    let reached = Reached::new(&recorded, plan.limits, meaning.symbols);
    (0..plan.arguments.len()).map(|index| argument(&plan.arguments, index, types, &outputs, &reached)).collect()
}

/// The same, and what their pointers lead to in the memory at the moment of death, where that is something else.
#[must_use]
pub fn arguments_then_and_now(
    plan: &FunctionPlan,
    meaning: Meaning<'_>,
    data: &[u8],
    moment: Moment<'_>,
) -> Vec<Value> {
    let outputs = split(&plan.steps, plan.entry_data(data));
    let (types, reached) = (meaning.types, Reached::new(moment.memory, plan.limits, meaning.symbols));
    let then = arguments(plan, meaning, data).into_iter().enumerate();
    then.map(|(index, mut then)| {
        recent::mark(&mut then, argument(&plan.arguments, index, types, &outputs, &reached), moment);
        then
    })
    .collect()
}

/// One of a call's arguments, whose pointers lead into some memory.
pub fn argument<H: Held>(
    arguments: &[ArgumentPlan],
    index: usize,
    types: &TypeTable,
    outputs: &[Output<'_>],
    reached: &Reached<'_, H>,
) -> Value {
    let plan = &arguments[index];
    let bytes = Bytes::assemble(&plan.pieces, outputs);
    if let Some(Followed::Paired { length, element, .. }) = plan.follows.first().map(|follow| follow.what)
        && let Some(counter) = arguments.get(length)
    {
        let count = Bytes::assemble(&counter.pieces, outputs);
        let ty = types.get(plan.ty).name.clone();
        let blank = Value { name: plan.name.clone(), ty, state: State::Exact, ..Value::default() };
        if let Some(value) = pair::value(blank, plan.ty, &bytes, (&count, counter.ty, element), types, reached) {
            return value;
        }
    }
    let decoder = Decoder::in_memory(types, &bytes, reached, MAX_PARTS);
    let value = decoder.value(plan.name.clone(), plan.ty, 0, 0);
    match bytes.get(0, size_of::<u64>()) {
        Ok(register) if plan.guessed => scalar::guessed(value, register),
        _ => value,
    }
}

/// Memory that is known by its addresses: that of a dead process, or what a call's record kept of it.
pub trait Pointees {
    /// `value`, a pointer of type `ty` to `address`, with what is there.
    fn pointer(&self, decoder: &Decoder<'_>, value: Value, ty: &Type, address: Address) -> Value;
    /// The memory from `at` on.
    fn bytes(&self, at: Avma, size: usize) -> Bytes;
    /// `value`, a text of `length` bytes at `address`.
    fn counted_text(&self, value: Value, address: Address, length: u64) -> Value;
    /// `value`, a text at `address` that a NUL ends.
    fn c_string(&self, value: Value, address: Address) -> Value;
    /// Names for addresses, where the modules of the process are known.
    fn symbols(&self) -> Option<&dyn Symbols>;
    /// The function or variable at an address.
    fn symbol_at(&self, at: Avma) -> Option<String> {
        self.symbols()?.symbol_at(at)
    }
    /// The 8 bytes at an address.
    fn word(&self, at: u64) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(Avma(at), 8).get(0, 8).ok()?.try_into().ok()?))
    }
    /// Bytes of a text that are shown.
    fn text_bytes(&self) -> usize;
    /// Elements of an array that are shown.
    fn max_elements(&self) -> u64;
}

/// All that the parts of one value have in common.
pub struct Decoder<'a> {
    /// Types of the plan.
    pub types: &'a TypeTable,
    /// The memory that pointers in the value are followed into.
    pub behind: Option<&'a dyn Pointees>,
    /// The value's own bytes.
    pub bytes: &'a Bytes,
    /// Parts decoded so far.
    pub parts: Cell<u32>,
    /// The pointers that led here.
    pub trail: Option<Trail<'a>>,
}

/// What pointers were followed to, the last one first.
pub struct Trail<'a> {
    address: Address,
    ty: TypeId,
    before: Option<&'a Trail<'a>>,
}

impl<'a> Decoder<'a> {
    /// For a value that consists of `bytes`, and whose pointers lead into memory. It may have `parts` parts.
    pub fn in_memory(types: &'a TypeTable, bytes: &'a Bytes, behind: &'a dyn Pointees, parts: u32) -> Self {
        let used = Cell::new(MAX_PARTS.saturating_sub(parts));
        Self { types, behind: Some(behind), bytes, parts: used, trail: None }
    }

    /// For what a pointer in this value leads to: `bytes` at `address`, of type `ty`. The parts of both count together.
    pub fn inside<'b>(
        &'b self,
        bytes: &'b Bytes,
        behind: &'b dyn Pointees,
        address: Address,
        ty: TypeId,
    ) -> Decoder<'b> {
        let trail = Some(Trail { address, ty, before: self.trail.as_ref() });
        let parts = Cell::new(self.parts.get());
        Decoder { types: self.types, behind: Some(behind), bytes, parts, trail }
    }

    /// The value that a pointer in this one leads to, as for [`Self::inside`], in `depth` others.
    pub fn value_inside(
        &self,
        bytes: &Bytes,
        behind: &dyn Pointees,
        address: Address,
        ty: TypeId,
        depth: u32,
    ) -> Value {
        let inner = self.inside(bytes, behind, address, ty);
        let value = inner.value(None, ty, 0, depth);
        self.parts.set(inner.parts.get());
        value
    }

    /// Whether this is a part of what lies at `address`: whoever follows a pointer to it walks in a circle.
    pub fn is_within(&self, address: Address, ty: TypeId) -> bool {
        let trail = std::iter::successors(self.trail.as_ref(), |trail| trail.before);
        trail.take(MAX_DEPTH as usize).any(|trail| trail.address == address && trail.ty == ty)
    }

    /// Parts that the value may still have.
    pub fn parts_left(&self) -> u32 {
        MAX_PARTS.saturating_sub(self.parts.get())
    }
}

impl Decoder<'_> {
    /// The value of type `ty` that begins at byte `at`.
    pub fn value(&self, name: Option<String>, ty: TypeId, at: usize, depth: u32) -> Value {
        let resolved = self.types.resolve(ty);
        let value = Value { name, ty: self.types.get(ty).name.clone(), state: State::Exact, ..Value::default() };
        if self.is_too_much(depth) {
            return unavailable(value, "it has too many parts".into());
        }
        match &resolved.kind {
            TypeKind::Aggregate(aggregate) => self.aggregate(value, ty, aggregate, at, depth),
            TypeKind::Array { of, counts } => match self.tail(&value, ty, at, depth) {
                Some(tail) => tail,
                None => self.array(value, *of, counts, at, depth),
            },
            TypeKind::VirtualBase { of, before } => self.virtual_base(value, *of, *before, at, depth),
            _ => self.scalar(value, resolved, at),
        }
    }

    /// The array at byte `at`, if it is one that goes on behind what a pointer led to.
    fn tail(&self, value: &Value, id: TypeId, at: usize, depth: u32) -> Option<Value> {
        let Trail { address, ty, .. } = *self.trail.as_ref()?;
        let place = Place { decoder: self, behind: self.behind?, id, at, depth };
        containers::tails::decode(place, value, ty, address)
    }

    /// A virtual base of the object at byte `at`. No loader changes its offset: it is the same wherever the program is loaded.
    fn virtual_base(&self, value: Value, of: TypeId, before: u64, at: usize, depth: u32) -> Value {
        let table = match self.bytes.get(at, size_of::<u64>()) {
            Ok(word) => follow::address_of(word),
            Err(gap) => return missing(value, gap),
        };
        let slot = table.and_then(|table| table.0.checked_sub(before)).map(Avma);
        let offset = slot.and_then(|slot| self.behind?.symbols()?.word_in_file(slot));
        let start = offset.and_then(|offset| at.checked_add(usize::try_from(offset).ok()?));
        match start.filter(|start| *start < MAX_OBJECT_BYTES) {
            Some(start) => self.value(value.name, of, start, depth + 1),
            None => unavailable(value, "its place is in a table that is not known".into()),
        }
    }

    /// Counts one more part; whether that is one too many, or too deep.
    fn is_too_much(&self, depth: u32) -> bool {
        self.parts.set(self.parts.get().saturating_add(1));
        depth > MAX_DEPTH || self.parts.get() > MAX_PARTS
    }

    /// A value without parts.
    fn scalar(&self, value: Value, ty: &Type, at: usize) -> Value {
        let size = match (&ty.kind, ty.size) {
            (TypeKind::Void | TypeKind::Function, _) => return unavailable(value, "its type has no values".into()),
            (_, Some(size)) => usize::try_from(size).unwrap_or(usize::MAX),
            (TypeKind::Pointer { .. }, None) => size_of::<u64>(),
            (_, None) => return unavailable(value, "its size is not known".into()),
        };
        let bytes = match self.bytes.get(at, size) {
            Ok(bytes) => bytes,
            Err(gap) => return missing(value, gap),
        };
        match &ty.kind {
            TypeKind::Integer { signed } if value.ty.ends_with("wchar_t") => {
                scalar::wide_character(value, bytes, *signed)
            }
            TypeKind::Integer { signed } => scalar::integer(value, bytes, *signed),
            TypeKind::Bool => scalar::boolean(value, bytes),
            TypeKind::Character { unicode: true, .. } => scalar::code_point(value, bytes),
            TypeKind::Character { unicode: false, signed } => scalar::character(value, bytes, *signed),
            TypeKind::Float => scalar::float(value, bytes),
            TypeKind::Enumeration { signed, enumerators } => scalar::enumerator(value, bytes, *signed, enumerators),
            TypeKind::BitField { of, skip, bits } => self.bit_field(value, *of, bytes, *skip, *bits),
            TypeKind::Pointer { .. } => follow::pointer(self, value, ty, bytes),
            TypeKind::Unsupported(reason) => scalar::undecoded(value, bytes, reason.clone()),
            // A chain of typedefs that does not end.
            _ => scalar::undecoded(value, bytes, "its type is damaged".into()),
        }
    }

    /// Some bits of a number, which has a sign if its type has.
    fn bit_field(&self, value: Value, of: TypeId, bytes: &[u8], skip: u64, bits: u64) -> Value {
        let kind = &self.types.resolve(of).kind;
        let signed = match kind {
            TypeKind::Integer { signed }
            | TypeKind::Character { signed, .. }
            | TypeKind::Enumeration { signed, .. } => *signed,
            _ => false,
        };
        let Some(number) = scalar::some_bits(bytes, skip, bits, signed) else {
            return scalar::undecoded(value, bytes, format!("it is a bit-field of {bits} bits"));
        };
        match kind {
            TypeKind::Bool => scalar::boolean(value, &number),
            TypeKind::Enumeration { enumerators, .. } => scalar::enumerator(value, &number, signed, enumerators),
            TypeKind::Integer { .. } | TypeKind::Character { .. } => scalar::integer(value, &number, signed),
            _ => scalar::undecoded(value, bytes, "a bit-field of such a type is not decoded".into()),
        }
    }

    /// A struct, class or union; or a pair of pointer and length that is a text.
    fn aggregate(&self, value: Value, id: TypeId, aggregate: &Aggregate, at: usize, depth: u32) -> Value {
        let ty = self.types.resolve(id);
        let container = |behind| containers::decode(Place { decoder: self, behind, id, at, depth }, &value);
        if let Some(text) = self.behind.and_then(container) {
            return text;
        }
        let size = ty.size.and_then(|size| usize::try_from(size).ok());
        if let Some(part) = &aggregate.variants {
            return variants::decode(self, value, ty, part, at, depth);
        }
        if aggregate.is_declaration || size.is_none() {
            return unavailable(value, "its type is only declared".into());
        }
        let members = self.members(aggregate, at, depth);
        if tuples::is_tuple(&members) {
            return tuples::decode(value, members);
        }
        with_parts(Value { value: object_of(&members), ..value }, members)
    }

    /// The members of an aggregate at byte `at`.
    pub fn members(&self, aggregate: &Aggregate, at: usize, depth: u32) -> Vec<Value> {
        let mut members = Vec::new();
        for member in &aggregate.members {
            let Some(offset) = usize::try_from(member.offset).ok().and_then(|offset| at.checked_add(offset)) else {
                continue;
            };
            let name = (!member.name.is_empty()).then(|| member.name.clone());
            members.push(self.value(name, member.ty, offset, depth + 1));
            if self.parts.get() > MAX_PARTS {
                break;
            }
        }
        members
    }

    /// An array of one or more dimensions.
    fn array(&self, value: Value, of: TypeId, counts: &[Option<u64>], at: usize, depth: u32) -> Value {
        let element = self.types.resolve(of);
        let Some((count, inner)) = counts.split_first() else { return self.value(value.name, of, at, depth + 1) };
        let stride = inner.iter().try_fold(element.size.unwrap_or(0), |size, count| size.checked_mul((*count)?));
        let (Some(count), Some(stride)) = (*count, stride.and_then(|stride| usize::try_from(stride).ok())) else {
            return unavailable(value, "its length is not known".into());
        };
        let is_char = element.name == "char" && matches!(element.kind, TypeKind::Character { unicode: false, .. });
        if inner.is_empty() && stride == 1 && is_char {
            return self.characters(value, at, count);
        }
        let mut elements = Vec::new();
        let most = self.behind.map_or(MAX_ELEMENTS, Pointees::max_elements);
        for index in 0..count.min(most) as usize {
            let Some(offset) = index.checked_mul(stride).and_then(|offset| at.checked_add(offset)) else { break };
            let row = Value { state: State::Exact, ty: element.name.clone(), ..Value::default() };
            elements.push(match inner {
                [] => self.value(None, of, offset, depth + 1),
                _ if self.is_too_much(depth) => unavailable(row, "it has too many parts".into()),
                _ => self.array(row, of, inner, offset, depth + 1),
            });
            if self.parts.get() > MAX_PARTS {
                break;
            }
        }
        list(value, elements, count)
    }

    /// An array of C's characters: a text up to its first NUL, if it is one.
    fn characters(&self, value: Value, at: usize, count: u64) -> Value {
        if let Some(behind) = self.behind {
            return self.buffer(value, at, count, behind.text_bytes());
        }
        let bytes = match self.bytes.get(at, usize::try_from(count).unwrap_or(usize::MAX)) {
            Ok(bytes) => bytes,
            Err(gap) => return missing(value, gap),
        };
        let text = Text::until_nul(bytes);
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let has_more = bytes[end..].iter().any(|&byte| byte != 0);
        let all = has_more.then(|| hex(bytes));
        Value { value: text.text.into(), bytes: all.or(text.bytes), length: Some(end as u64), ..value }
    }

    /// The same in memory, where what is behind the NUL is a left-over more often than not.
    fn buffer(&self, value: Value, at: usize, count: u64, limit: usize) -> Value {
        let size = usize::try_from(count).unwrap_or(usize::MAX);
        let known = self.bytes.known_part(at, size);
        if let Some(end) = known.iter().take(limit.saturating_add(1)).position(|&byte| byte == 0) {
            let text = Text::new(&known[..end]);
            return Value { value: text.text.into(), bytes: text.bytes, length: Some(end as u64), ..value };
        }
        match self.bytes.get(at, size) {
            Err(gap) if known.len() <= limit => missing(value, gap),
            Ok(bytes) if bytes.len() <= limit => {
                let text = Text::new(bytes);
                Value { value: text.text.into(), bytes: text.bytes, length: Some(count), ..value }
            }
            _ => {
                let text = Text::new(&known[..limit.min(known.len())]);
                let reason = Some(format!("only its first {limit} bytes are shown"));
                Value { value: text.text.into(), bytes: text.bytes, state: State::Truncated, reason, ..value }
            }
        }
    }
}

/// A list of `count` elements, the first of which are these.
pub fn list(value: Value, elements: Vec<Value>, count: u64) -> Value {
    let shown = elements.len() as u64;
    let list: Vec<Json> = elements.iter().map(|element| element.value.clone()).collect();
    let is_plain = elements.iter().all(is_plain);
    let mut value = with_parts(Value { value: list.into(), ..value }, elements);
    if is_plain {
        value.members.clear();
    }
    if shown < count && value.state == State::Exact {
        value.state = State::Truncated;
        value.reason = Some(format!("only its first {shown} of {count} elements are shown"));
    }
    value
}

/// Whether its JSON tells all of it, but for what a number looks like as a character: what is text there, and what is a name or an address, cannot be told apart.
pub fn is_plain(value: &Value) -> bool {
    value.state == State::Exact
        && value.reason.is_none()
        && value.members.is_empty()
        && (value.value.is_number() || value.value.is_boolean() || value.value.is_array())
}

/// A value whose parts decide about its state: the first one that is not exact.
pub fn with_parts(mut value: Value, parts: Vec<Value>) -> Value {
    if let Some((index, part)) = parts.iter().enumerate().find(|(_, part)| part.state != State::Exact) {
        value.state = part.state;
        let name = part.name.clone().unwrap_or_else(|| format!("part {index}"));
        value.reason = Some(format!("`{name}`: {}", part.reason.as_deref().unwrap_or("not exact")));
    }
    value.members = parts;
    value
}

/// A value that cannot be told, and why.
pub fn unavailable(value: Value, reason: String) -> Value {
    Value { state: State::Unavailable, reason: Some(reason), ..value }
}

/// A value whose bytes are missing.
pub fn missing(value: Value, gap: Gap) -> Value {
    Value { state: gap.state, reason: Some(gap.reason), ..value }
}

#[cfg(test)]
mod tests;
