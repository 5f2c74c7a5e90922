//! C++'s types that hold a few values, or one of several: `optional`, `variant`, `pair`, `tuple`.

use serde_json::{Value as Json, json};

use super::Place;
use crate::crash::decode::with_parts;
use crate::report::{State, Value};

/// `std::optional`: its value, or `nullopt`.
pub fn optional(place: Place<'_>, value: &Value) -> Option<Value> {
    let (engaged, payload) = (place.find("_M_engaged")?.number()?, place.find("_M_value")?);
    match engaged {
        0 => Some(Value { variant: Some("nullopt".into()), value: Json::Null, ..value.clone() }),
        1 => {
            let inner = payload.as_value(value);
            let is_hidden = inner.value.is_null() && inner.state == State::Exact;
            Some(if is_hidden { Value { value: json!({ "value": null }), ..inner } } else { inner })
        }
        _ => None,
    }
}

/// `std::variant`: the value of the one type that it holds.
pub fn variant(place: Place<'_>, value: &Value) -> Option<Value> {
    let of = |names: [&str; 2]| names.into_iter().find_map(|name| place.find(name));
    let (index, storage) = (of(["_M_index", "__index"])?, of(["_M_u", "__data"])?);
    let nothing = u64::MAX >> (64 - 8 * index.ty().size.filter(|size| (1..=8).contains(size))?);
    let number = index.number()?;
    if number == nothing {
        return Some(Value { variant: Some("valueless_by_exception".into()), value: Json::Null, ..value.clone() });
    }
    let id = place.parameter(usize::try_from(number).ok()?)?;
    let inner = Place { id, ..storage }.named(Some("0".into()));
    let (json, name) = (inner.value.clone(), usual_name(&inner.ty).to_owned());
    Some(with_parts(Value { variant: Some(name), value: json, ..value.clone() }, vec![inner]))
}

/// A type's name as people write it.
fn usual_name(ty: &str) -> &str {
    let strings = ["std::__cxx11::basic_string<char,", "std::__1::basic_string<char,", "std::basic_string<char,"];
    if strings.iter().any(|string| ty.starts_with(string)) { "std::string" } else { ty }
}

/// `std::pair`.
pub fn pair(place: Place<'_>, value: &Value) -> Option<Value> {
    let parts = [place.member("first")?, place.member("second")?];
    Some(in_parentheses(&parts, value))
}

/// `std::tuple`: a base class for each element, which says the element's number in its name.
pub fn tuple(place: Place<'_>, value: &Value) -> Option<Value> {
    let (mut heads, mut levels) = (Vec::new(), 0);
    place.find_by(&mut |name, base| {
        levels += usize::from(name.starts_with("std::_Tuple_impl<"));
        let digits =
            name.strip_prefix("std::_Head_base<").and_then(|rest| rest.split(|it: char| !it.is_ascii_digit()).next());
        let number = digits.and_then(|digits| digits.parse().ok());
        if let (Some(number), Some(head)) = (number, base.member("_M_head_impl")) {
            heads.push((number, head));
        }
        false
    });
    heads.sort_by_key(|(number, _): &(usize, _)| *number);
    let is_complete = heads.iter().enumerate().all(|(index, (number, _))| index == *number);
    let parts: Vec<Place<'_>> = heads.into_iter().map(|(_, head)| head).collect();
    // An empty class has no member to be found.
    let is_complete = is_complete && levels == parts.len();
    (is_complete && !parts.is_empty()).then(|| in_parentheses(&parts, value))
}

/// Parts without names.
pub fn in_parentheses(parts: &[Place<'_>], value: &Value) -> Value {
    let parts: Vec<Value> = parts.iter().enumerate().map(|(index, part)| part.named(Some(index.to_string()))).collect();
    let list: Vec<Json> = parts.iter().map(|part| part.value.clone()).collect();
    with_parts(Value { value: list.into(), ..value.clone() }, parts)
}
