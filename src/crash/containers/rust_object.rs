//! Rust's objects of a trait: `&dyn Trait`, `Box<dyn Trait>`, which are pairs of a pointer and a table of methods.

use super::Place;
use crate::crash::dynamic::{type_with_table, value_at};
use crate::plan::containers::trait_object;
use crate::report::Value;

/// A pointer to what it really points to. Where that is not known, the two words.
pub fn object(place: Place<'_>, value: &Value) -> Option<Value> {
    let (_, object) = trait_object(place.aggregate()?, place.decoder.types)?;
    let (address, table) = (place.member("pointer")?.address()?, place.member("vtable")?.address()?);
    let (ty, size) = type_with_table(place.decoder, place.behind.symbols()?, object, table)?;
    let told = Value { address: Some(address), value: address.to_string().into(), ..value.clone() };
    // A closure that has captured nothing, or a type without members, is nowhere.
    let target = value_at(place.decoder, place.behind, ty, address, size)?;
    Some(Value { target: Some(Box::new(target)), ..told })
}
