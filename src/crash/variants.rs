//! An enum of Rust: its discriminant in, the variant that it says out.

use serde_json::{Value as Json, json};

use super::decode::{Decoder, missing};
use super::pieces::Gap;
use super::scalar::{Integer, undecoded};
use crate::dwarf::types::{Discriminant, Type, Variant, VariantPart};
use crate::report::Value;

/// The value of type `ty`, at byte `at`, by its variant.
pub fn decode(decoder: &Decoder<'_>, value: Value, ty: &Type, part: &VariantPart, at: usize, depth: u32) -> Value {
    let size = ty.size.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    let damaged = |reason: String| undecoded(value.clone(), decoder.bytes.known_part(at, size), reason);
    let chosen = match part.discriminant {
        None => only(part),
        Some(discriminant) => match read(decoder, discriminant, at) {
            Err(gap) => return missing(value, gap),
            Ok(number) => match choose(part, number, discriminant.size) {
                Some(variant) => Some(variant),
                None => return damaged(format!("its discriminant {number} is that of no variant")),
            },
        },
    };
    let place = chosen.and_then(|variant| {
        Some((&variant.member, usize::try_from(variant.member.offset).ok().and_then(|offset| at.checked_add(offset))?))
    });
    match place {
        Some((member, at)) => {
            of_variant(value.clone(), &member.name, decoder.value(None, member.ty, at, depth + 1), ty)
        }
        None => damaged("its variants are not described".into()),
    }
}

/// The one variant of a type that has no discriminant.
fn only(part: &VariantPart) -> Option<&Variant> {
    match &part.variants[..] {
        [only] => Some(only),
        _ => None,
    }
}

/// The variant with this discriminant, or the one for all others: in it, there is something else in the discriminant's place.
fn choose(part: &VariantPart, number: u128, size: u64) -> Option<&Variant> {
    let mask = u128::MAX >> (128 - 8 * size.clamp(1, 16));
    // The range may run over the end of the numbers: from -1 to 1.
    let has = |(first, last): &(u128, u128)| (number.wrapping_sub(*first) & mask) <= (last.wrapping_sub(*first) & mask);
    let stated = part.variants.iter().find(|variant| variant.values.iter().any(has));
    stated.or_else(|| part.variants.iter().find(|variant| variant.values.is_empty()))
}

fn read(decoder: &Decoder<'_>, discriminant: Discriminant, at: usize) -> Result<u128, Gap> {
    let offset = usize::try_from(discriminant.offset).unwrap_or(usize::MAX);
    let bytes = decoder.bytes.get(at.saturating_add(offset), discriminant.size as usize)?;
    match Integer::new(bytes, false) {
        Some(Integer::Unsigned(number)) => Ok(number),
        _ => Ok(0),
    }
}

/// The value that is the variant `name` with the members that `inner` has.
fn of_variant(value: Value, name: &str, inner: Value, ty: &Type) -> Value {
    let payload = match &inner.members[..] {
        [] if inner.value.as_object().is_some_and(serde_json::Map::is_empty) => None,
        [only] if inner.value.is_array() => Some(only.value.clone()),
        _ => Some(inner.value.clone()),
    };
    let is_option = ty.name.starts_with("core::option::Option<");
    let json = match payload {
        None if is_option => Json::Null,
        None => name.into(),
        // `Some(None)` is something else than `None`.
        Some(payload) if is_option && !payload.is_null() => payload,
        Some(payload) => json!({ name: payload }),
    };
    let Value { state, reason, members, .. } = inner;
    Value { value: json, variant: Some(name.to_owned()), state, reason, members, ..value }
}
