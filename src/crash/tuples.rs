//! Members without names of their own (rustc calls them `__0`, `__1`) as what they are in the source: a list in parentheses.

use serde_json::Value as Json;

use super::decode::with_parts;
use crate::report::Value;

/// Whether the members are those of a tuple.
pub fn is_tuple(members: &[Value]) -> bool {
    let is_numbered = |(index, member): (usize, &Value)| member.name.as_deref() == Some(&format!("__{index}"));
    !members.is_empty() && members.iter().enumerate().all(is_numbered)
}

/// The tuple of these members: they are called `0`, `1`, as in `pair.0`.
pub fn decode(value: Value, mut members: Vec<Value>) -> Value {
    for (index, member) in members.iter_mut().enumerate() {
        member.name = Some(index.to_string());
    }
    let list: Vec<Json> = members.iter().map(|member| member.value.clone()).collect();
    with_parts(Value { value: list.into(), ..value }, members)
}
