//! `std::function`: which function, or which lambda, it calls.

use super::Place;
use crate::address::Avma;
use crate::report::Value;

/// The function's name as the value; `nullopt`'s like, `empty`, where it calls nothing.
pub fn function(place: Place<'_>, value: &Value) -> Option<Value> {
    let manager = place.find("_M_manager")?.address()?;
    let invoker = place.find("_M_invoker")?.address()?;
    if manager.0 == 0 {
        return Some(Value { variant: Some("empty".into()), ..value.clone() });
    }
    let functor = place.find("_M_functor")?;
    let symbol = |at: u64| place.behind.symbol_at(Avma(at));
    let by = symbol(invoker.0)?;
    // A plain function's address is all that there is to keep of it. The types before it say whether it is one.
    let is_plain = by.contains("(*)(");
    let target = functor.decoder.bytes.get(functor.at, 8).ok().and_then(|word| word.try_into().ok());
    let target = target.map(u64::from_le_bytes).filter(|_| is_plain);
    let called = target.and_then(symbol).unwrap_or_else(|| callee(&by).to_owned());
    let address = target.unwrap_or(invoker.0);
    let address = crate::report::Address(address);
    Some(Value { value: address.to_string().into(), address: Some(address), symbol: Some(called), ..value.clone() })
}

/// `main::{lambda(int)#1}` of `std::_Function_handler<int (int), main::{lambda(int)#1}>::_M_invoke`.
fn callee(invoker: &str) -> &str {
    let given = invoker.strip_prefix("std::_Function_handler<").and_then(|rest| rest.rsplit_once(">::_M_invoke"));
    let Some((given, _)) = given else { return invoker };
    let mut depth = 0;
    let comma = given.char_indices().find(|(_, character)| {
        depth += i32::from(matches!(character, '<' | '(' | '{'));
        depth -= i32::from(matches!(character, '>' | ')' | '}'));
        *character == ',' && depth == 0
    });
    comma.map_or(invoker, |(at, _)| given[at + 1..].trim_start())
}
