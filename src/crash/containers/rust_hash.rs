//! Rust's hash tables. Before the control bytes, one for each place, lie the elements, the first one nearest; the top bit of a control byte
//! says that its place is empty (<https://abseil.io/about/design/swisstables>, which hashbrown follows).

use serde_json::Value as Json;

use super::Place;
use super::cpp_nodes::{Entry, as_map, as_set};
use super::elements::check;
use crate::address::Avma;
use crate::crash::decode::unavailable;
use crate::report::{Address, Value};

/// Places that are looked at.
const MAX_PLACES: u64 = 1 << 12;

/// `HashMap<K, V>`.
pub fn map(place: Place<'_>, value: &Value) -> Option<Value> {
    elements(place, value, true)
}

/// `HashSet<T>`: a map to nothing.
pub fn set(place: Place<'_>, value: &Value) -> Option<Value> {
    elements(place, value, false)
}

fn elements(place: Place<'_>, value: &Value, has_values: bool) -> Option<Value> {
    let table = place.find_by(&mut |_, member| member.base_name() == "hashbrown::raw::RawTable")?;
    let pair = table.parameter(0)?;
    let size = place.decoder.types.resolve(pair).size.filter(|size| *size > 0)?;
    let control = table.find("ctrl")?.address()?;
    let (mask, count) = (table.find("bucket_mask")?.number()?, table.find("items")?.number()?);
    let value = Value { address: Some(control), length: Some(count), ..value.clone() };
    let places = mask.checked_add(1).filter(|places| places.is_power_of_two() && count <= *places);
    let Some(places) = places.filter(|places| check(Address(0), *places, size).is_ok()) else {
        return Some(unavailable(
            value,
            format!("{count} elements with a mask of {mask:#x}: it is damaged, or not set yet"),
        ));
    };
    let looked_at = places.min(MAX_PLACES) as usize;
    let flags = place.behind.bytes(Avma(control.0), looked_at);
    let full = flags.known_part(0, looked_at).iter().enumerate().filter(|(_, flag)| **flag & 0x80 == 0);
    let mut entries = Vec::new();
    for (index, _) in full.take(count.min(place.behind.max_elements()) as usize) {
        let Some(at) = (index as u64 + 1).checked_mul(size).and_then(|below| control.0.checked_sub(below)) else {
            break;
        };
        if let Some(entry) = Entry::read(&place, pair, Address(at), 0) {
            entries.push(entry);
        }
    }
    Some(if has_values { as_map(value, entries, count) } else { as_set(value, keys(entries), count) })
}

/// The keys of a map to nothing.
fn keys(entries: Vec<Entry>) -> Vec<Entry> {
    let key = |Entry(pair): Entry| {
        let first = pair.members.into_iter().next().unwrap_or_else(|| Value { value: Json::Null, ..Value::default() });
        Entry(Value { name: None, ..first })
    };
    entries.into_iter().map(key).collect()
}
