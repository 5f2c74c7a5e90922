//! libc++'s types. Where what they hold lies is found as for a plan; here is how much it is.

use super::Place;
use super::bits;
use super::cpp_choice::in_parentheses;
use super::cpp_nodes::{Walk, as_map, as_set};
use super::cpp_text::text;
use super::elements::list_at;
use crate::crash::decode::{missing, unavailable};
use crate::crash::text::Text;
use crate::dwarf::types::TypeKind;
use crate::plan::Followed;
use crate::plan::containers::{leads, without_version};
use crate::plan::pointers::base_name;
use crate::plan::shape::wide_character;
use crate::report::{Address, State, Value};

/// What is held, in the container here or in the member that is an `inner`.
fn lead<'p>(place: &Place<'p>, inner: &str) -> Option<(Place<'p>, u64, Followed)> {
    let is_inner = |place: &Place<'_>| without_version(base_name(&place.ty().name)) == inner;
    let inner = if is_inner(place) { *place } else { place.find_by(&mut |_, member| is_inner(member))? };
    let (pointer_at, followed) = leads(inner.ty(), inner.aggregate()?, place.decoder.types)?.into_iter().next()?;
    Some((inner, pointer_at, followed))
}

/// The first of these members.
fn size(place: &Place<'_>, names: &[&str]) -> Option<u64> {
    number_in(&names.iter().find_map(|name| place.member(name))?)
}

/// A size itself, or the number in it: sizes share their place with objects that have no size.
pub fn number_in(size: &Place<'_>) -> Option<u64> {
    size.number().or_else(|| size.find("__value_")?.number())
}

fn nodes(place: Place<'_>, inner: &str, sizes: &[&str]) -> Option<Walk> {
    let (inner, pointer_at, followed) = lead(&place, inner)?;
    let Followed::Node(node) = followed else { return None };
    Walk::from(inner, inner.word(pointer_at)?, &node, size(&inner, sizes)?)
}

/// `std::map`.
pub fn map(place: Place<'_>, value: &Value) -> Option<Value> {
    Some(nodes(place, "std::__tree", &["__size_", "__pair3_"])?.told(as_map, value))
}

/// `std::set`.
pub fn set(place: Place<'_>, value: &Value) -> Option<Value> {
    Some(nodes(place, "std::__tree", &["__size_", "__pair3_"])?.told(as_set, value))
}

/// `std::unordered_map`.
pub fn hash_map(place: Place<'_>, value: &Value) -> Option<Value> {
    Some(nodes(place, "std::__hash_table", &["__size_", "__p2_"])?.told(as_map, value))
}

/// `std::unordered_set`.
pub fn hash_set(place: Place<'_>, value: &Value) -> Option<Value> {
    Some(nodes(place, "std::__hash_table", &["__size_", "__p2_"])?.told(as_set, value))
}

/// `std::list`, whose size is in a base class.
pub fn list(place: Place<'_>, value: &Value) -> Option<Value> {
    let (inner, pointer_at, followed) = lead(&place, "std::list")?;
    let Followed::Node(node) = followed else { return None };
    let size = place.find("__size_alloc_").or_else(|| place.find("__size_"))?;
    let count = number_in(&size)?;
    Some(Walk::from(inner, inner.word(pointer_at)?, &node, count)?.told(as_set, value))
}

/// `std::forward_list`.
pub fn forward_list(place: Place<'_>, value: &Value) -> Option<Value> {
    let (inner, pointer_at, followed) = lead(&place, "std::forward_list")?;
    let Followed::Node(node) = followed else { return None };
    Some(Walk::from(inner, inner.word(pointer_at)?, &node, u64::MAX)?.told_without_count(place, value))
}

/// `std::vector`.
pub fn vector(place: Place<'_>, value: &Value) -> Option<Value> {
    let (_, pointer_at, followed) = lead(&place, "std::vector")?;
    let Followed::Until { end_at, element, of } = followed else { return bits::vector_of_libcxx(place, value) };
    let (first, end) = (place.word(pointer_at)?, place.word(end_at.into())?);
    let address = Address(first);
    match end.checked_sub(first).filter(|bytes| bytes % u64::from(element) == 0) {
        Some(bytes) => Some(list_at(&place, value, of, address, bytes / u64::from(element))),
        None => {
            let reason = format!("its elements lie from {address} to {}: it is damaged, or not set yet", Address(end));
            Some(unavailable(Value { address: Some(address), ..value.clone() }, reason))
        }
    }
}

/// `std::string_view` and `std::span`.
pub fn view(place: Place<'_>, value: &Value) -> Option<Value> {
    let name = without_version(base_name(&place.ty().name));
    let (_, pointer_at, followed) = lead(&place, &name)?;
    let (address, pointer) = (Address(place.word(pointer_at)?), place.first_pointer()?);
    let of = pointer.pointee()?;
    match followed {
        Followed::Str { length_at } if name.ends_with("view") => {
            Some(text(&place, value, address, place.word(length_at.into())?, 1))
        }
        Followed::Str { length_at } => Some(list_at(&place, value, of, address, place.word(length_at.into())?)),
        Followed::Counted { length_at, element, .. } => {
            let count = place.word(length_at.into())?;
            match wide_character(of, place.decoder.types) {
                Some(_) if name.ends_with("view") => Some(text(&place, value, address, count, element.into())),
                _ => Some(list_at(&place, value, of, address, count)),
            }
        }
        _ => None,
    }
}

/// `std::string`: a long one with a pointer, or a short one in place of it. A bit says which; newer versions describe it as a bit-field.
pub fn string(place: Place<'_>, value: &Value) -> Option<Value> {
    let (short, long) = (place.find("__s")?, place.find("__l")?);
    let characters = short.find("__data_")?;
    let TypeKind::Array { of, .. } = characters.ty().kind else { return None };
    let unit = place.decoder.types.resolve(of).size.filter(|unit| matches!(unit, 1 | 2 | 4))?;
    let size = short.find("__size_")?;
    let bits = |place: Place<'_>| {
        let TypeKind::BitField { skip, bits, .. } = place.ty().kind else { return None };
        Some(place.decoder.bytes.get(place.at, 1).ok()?[0] >> skip & (0xff >> 8u64.checked_sub(bits)?))
    };
    let (is_long, length) = match short.find("__is_long_") {
        Some(flag) => (bits(flag)? == 1, bits(size)?),
        None => {
            let byte = u8::try_from(size.number()?).ok()?;
            // The flag is the lowest bit of the first byte, or the highest of the last one (`_LIBCPP_ABI_ALTERNATE_STRING_LAYOUT`).
            if size.at == place.at { (byte & 1 == 1, byte >> 1) } else { (byte & 0x80 != 0, byte & 0x7f) }
        }
    };
    if is_long {
        let (address, length) = (Address(long.find("__data_")?.number()?), long.find("__size_")?.number()?);
        return Some(text(&place, value, address, length, unit));
    }
    let bytes = usize::from(length) * unit as usize;
    let value = Value { length: Some(bytes as u64), ..value.clone() };
    if characters.ty().size.is_some_and(|room| room < bytes as u64) {
        return Some(unavailable(value, "it is damaged, or not set yet".into()));
    }
    Some(match place.decoder.bytes.get(characters.at, bytes) {
        Ok(bytes) => {
            let text = if unit == 1 { Text::new(bytes) } else { Text::wide(bytes, unit as usize) };
            Value { value: text.text.into(), bytes: text.bytes, ..value }
        }
        Err(gap) => missing(value, gap),
    })
}

/// `std::array`.
pub fn array(place: Place<'_>, value: &Value) -> Option<Value> {
    Some(place.member("__elems_")?.as_value(value))
}

/// `std::unique_ptr` and `std::shared_ptr`.
pub fn pointer(place: Place<'_>, value: &Value) -> Option<Value> {
    Some(place.member("__ptr_")?.first_pointer()?.as_value(value))
}

/// `std::optional`.
pub fn optional(place: Place<'_>, value: &Value) -> Option<Value> {
    match place.find("__engaged_")?.number()? {
        0 => Some(Value { variant: Some("nullopt".into()), value: serde_json::Value::Null, ..value.clone() }),
        1 => {
            let inner = place.find("__val_")?.as_value(value);
            let is_hidden = inner.value.is_null() && inner.state == State::Exact;
            Some(if is_hidden { Value { value: serde_json::json!({ "value": null }), ..inner } } else { inner })
        }
        _ => None,
    }
}

/// `std::tuple`: a base class for each element, in their order.
pub fn tuple(place: Place<'_>, value: &Value) -> Option<Value> {
    let base = place.member("__base_")?;
    let leaves = base
        .members()
        .filter(|(name, _)| name.starts_with("std::__tuple_leaf<") || name.starts_with("std::__1::__tuple_leaf<"));
    let parts: Option<Vec<_>> = leaves.map(|(_, leaf)| leaf.member("__value_")).collect();
    // An empty class has no member to be found.
    parts.filter(|parts| !parts.is_empty()).map(|parts| in_parentheses(&parts, value))
}
