//! The captured bytes of a call and its plan in; typed values out.
//!
//! A value is never made up: where some of its bytes are missing, it has the state and the reason of the gap.

use std::cell::Cell;

use serde_json::{Map, Value as Json};

use super::follow::Reached;
use super::memory::Memory;
use super::pieces::{Bytes, Gap};
use super::recorded::{Held, Recorded};
use super::text::{Text, hex};
use super::{follow, pair, recent, scalar};
use crate::dwarf::types::{Aggregate, Type, TypeId, TypeKind, TypeTable};
use crate::plan::outputs::{Output, split};
use crate::plan::{Followed, FunctionPlan};
use crate::report::{Address, State, Value};

/// Values within values within values: damaged debug info may have types that contain themselves.
const MAX_DEPTH: u32 = 32;
/// Parts of one value, for the same reason.
const MAX_PARTS: u32 = 10_000;
/// Elements of an array that are shown.
const MAX_ELEMENTS: u64 = 1_024;

/// The arguments of a call, whose record holds `data`.
#[must_use]
pub fn arguments(plan: &FunctionPlan, types: &TypeTable, data: &[u8]) -> Vec<Value> {
    let outputs = split(&plan.steps, data);
    let recorded = Recorded::new(&plan.steps, data, &outputs);
    let reached = Reached::new(&recorded, plan.limits);
    (0..plan.arguments.len()).map(|index| argument(plan, index, types, &outputs, &reached)).collect()
}

/// The same, and what their pointers lead to in the memory at the moment of death, where that is something else.
#[must_use]
pub fn arguments_then_and_now(plan: &FunctionPlan, types: &TypeTable, data: &[u8], memory: &Memory) -> Vec<Value> {
    let outputs = split(&plan.steps, data);
    let reached = Reached::new(memory, plan.limits);
    let then = arguments(plan, types, data).into_iter().enumerate();
    then.map(|(index, mut then)| {
        recent::mark(&mut then, argument(plan, index, types, &outputs, &reached));
        then
    })
    .collect()
}

/// One argument, whose pointers lead into some memory.
fn argument<H: Held>(
    function: &FunctionPlan,
    index: usize,
    types: &TypeTable,
    outputs: &[Output<'_>],
    reached: &Reached<'_, H>,
) -> Value {
    let plan = &function.arguments[index];
    let bytes = Bytes::assemble(&plan.pieces, outputs);
    if let Some(Followed::Paired { length, element }) = plan.follows.first().map(|follow| follow.what)
        && let Some(counter) = function.arguments.get(length)
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

/// A value of this type whose bytes are just these, and which points to nothing that was read.
#[must_use]
pub fn plain(ty: TypeId, types: &TypeTable, bytes: &Bytes) -> Value {
    Decoder { types, behind: None, bytes, parts: Cell::new(0) }.value(None, ty, 0, 0)
}

/// Memory that is known by its addresses: that of a dead process, or what a call's record kept of it.
pub trait Pointees {
    /// `value`, a pointer of type `ty` to `address`, with what is there.
    fn pointer(&self, decoder: &Decoder<'_>, value: Value, ty: &Type, address: Address) -> Value;
    /// A pair of pointer and length that is a text (Rust's `&str`), at byte `at` of the decoder's value.
    fn str(&self, decoder: &Decoder<'_>, value: &Value, ty: &Type, aggregate: &Aggregate, at: usize) -> Option<Value>;
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
}

impl<'a> Decoder<'a> {
    /// For a value that consists of `bytes`, and whose pointers lead into memory. It may have `parts` parts.
    pub fn in_memory(types: &'a TypeTable, bytes: &'a Bytes, behind: &'a dyn Pointees, parts: u32) -> Self {
        let used = Cell::new(MAX_PARTS.saturating_sub(parts));
        Self { types, behind: Some(behind), bytes, parts: used }
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
            TypeKind::Aggregate(aggregate) => self.aggregate(value, resolved, aggregate, at, depth),
            TypeKind::Array { of, counts } => self.array(value, *of, counts, at, depth),
            _ => self.scalar(value, resolved, at),
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
            TypeKind::Integer { signed } => scalar::integer(value, bytes, *signed),
            TypeKind::Bool => scalar::boolean(value, bytes),
            TypeKind::Character { unicode: true, .. } => scalar::code_point(value, bytes),
            TypeKind::Character { unicode: false, signed } => scalar::character(value, bytes, *signed),
            TypeKind::Float => scalar::float(value, bytes),
            TypeKind::Enumeration { signed, enumerators } => scalar::enumerator(value, bytes, *signed, enumerators),
            TypeKind::Pointer { .. } => follow::pointer(self, value, ty, bytes),
            TypeKind::Unsupported(reason) => scalar::undecoded(value, bytes, reason.clone()),
            // A chain of typedefs that does not end.
            _ => scalar::undecoded(value, bytes, "its type is damaged".into()),
        }
    }

    /// A struct, class or union; or a pair of pointer and length that is a text.
    fn aggregate(&self, value: Value, ty: &Type, aggregate: &Aggregate, at: usize, depth: u32) -> Value {
        if let Some(text) = self.behind.and_then(|behind| behind.str(self, &value, ty, aggregate, at)) {
            return text;
        }
        let size = ty.size.and_then(|size| usize::try_from(size).ok());
        if aggregate.has_variants {
            let known = self.bytes.known_part(at, size.unwrap_or(0));
            return scalar::undecoded(value, known, "which of its variants it is, is not decoded yet".into());
        }
        if aggregate.is_declaration || size.is_none() {
            return unavailable(value, "its type is only declared".into());
        }
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
        let object: Map<String, Json> = members
            .iter()
            .map(|member| (member.name.clone().unwrap_or_else(|| "(anonymous)".into()), member.value.clone()))
            .collect();
        with_parts(Value { value: object.into(), ..value }, members)
    }

    /// An array of one or more dimensions.
    fn array(&self, value: Value, of: TypeId, counts: &[Option<u64>], at: usize, depth: u32) -> Value {
        let element = self.types.resolve(of);
        let Some((count, inner)) = counts.split_first() else { return self.value(value.name, of, at, depth + 1) };
        let stride = inner.iter().try_fold(element.size.unwrap_or(0), |size, count| size.checked_mul((*count)?));
        let (Some(count), Some(stride)) = (*count, stride.and_then(|stride| usize::try_from(stride).ok())) else {
            return unavailable(value, "its length is not known".into());
        };
        if inner.is_empty() && stride == 1 && matches!(element.kind, TypeKind::Character { unicode: false, .. }) {
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
        let shown = elements.len() as u64;
        let list: Vec<Json> = elements.iter().map(|element| element.value.clone()).collect();
        let all_exact = elements.iter().all(|element| element.state == State::Exact);
        let mut value = with_parts(Value { value: list.into(), ..value }, elements);
        if all_exact {
            value.members.clear();
            if shown < count {
                value.state = State::Truncated;
                value.reason = Some(format!("only its first {shown} of {count} elements are shown"));
            }
        }
        value
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

/// A value whose parts decide about its state: the first one that is not exact.
fn with_parts(mut value: Value, parts: Vec<Value>) -> Value {
    if let Some((index, part)) = parts.iter().enumerate().find(|(_, part)| part.state != State::Exact) {
        value.state = part.state;
        let name = part.name.clone().unwrap_or_else(|| format!("part {index}"));
        value.reason = Some(format!("`{name}`: {}", part.reason.as_deref().unwrap_or("not exact")));
    }
    value.members = parts;
    value
}

fn unavailable(value: Value, reason: String) -> Value {
    Value { state: State::Unavailable, reason: Some(reason), ..value }
}

fn missing(value: Value, gap: Gap) -> Value {
    Value { state: gap.state, reason: Some(gap.reason), ..value }
}

#[cfg(test)]
mod tests;
