//! `std::function`: which function, or which lambda, it calls.

use super::Place;
use crate::address::Avma;
use crate::crash::dynamic::class_by_table;
use crate::plan::libcxx::callee;
use crate::report::{Address, Value};

/// That of libstdc++: the function's name as the value; `nullopt`'s like, `empty`, where it calls nothing.
pub fn function(place: Place<'_>, value: &Value) -> Option<Value> {
    let manager = place.find("_M_manager")?.address()?;
    let invoker = place.find("_M_invoker")?.address()?;
    if manager.0 == 0 {
        return Some(empty(value));
    }
    let functor = place.find("_M_functor")?;
    let by = place.behind.symbol_at(Avma(invoker.0))?;
    let given = by.strip_prefix("std::_Function_handler<").and_then(|rest| rest.rsplit_once(">::_M_invoke"));
    let called = given.and_then(|(given, _)| argument(given, 1)).unwrap_or(&by);
    // A plain function's address is all that there is to keep of it. The types before it say whether it is one.
    let target = functor.word(0).filter(|_| is_plain(&by));
    Some(told(&place, value, called, target, invoker))
}

/// That of libc++, which keeps what it calls in an object of a class that is named after it.
pub fn function_of_libcxx(place: Place<'_>, value: &Value) -> Option<Value> {
    /// Where in the object a function's address is: right behind the pointer to the table of methods (Itanium C++ ABI, 2.4).
    const POINTER_AT: u64 = 8;
    let object = place.word(callee(place.aggregate()?, place.decoder.types)?.at)?;
    if object == 0 {
        return Some(empty(value));
    }
    let (class, table) = class_by_table(place.behind, Address(object))?;
    let given = class.strip_prefix("std::__1::__function::__func<")?.strip_suffix('>')?;
    let called = argument(given, 0)?;
    let target = object.checked_add(POINTER_AT).filter(|_| is_plain(called)).and_then(|at| place.behind.word(at));
    Some(told(&place, value, called, target, Address(table)))
}

fn empty(value: &Value) -> Value {
    Value { variant: Some("empty".into()), ..value.clone() }
}

/// A type that is a pointer to a function.
fn is_plain(ty: &str) -> bool {
    ty.contains("(*)(")
}

/// The function at `target`, if it is a plain one; else what the type of the callee is called, and where its code or table is.
fn told(place: &Place<'_>, value: &Value, called: &str, target: Option<u64>, code: Address) -> Value {
    let symbol = target.and_then(|target| place.behind.symbol_at(Avma(target)));
    let (symbol, address) = (symbol.unwrap_or_else(|| called.to_owned()), target.map_or(code, Address));
    Value { value: address.to_string().into(), address: Some(address), symbol: Some(symbol), ..value.clone() }
}

/// One of the arguments of a template: `main::{lambda(int)#1}`, the second of `int (int), main::{lambda(int)#1}`.
fn argument(given: &str, number: usize) -> Option<&str> {
    let mut depth = 0;
    let mut parts = given.split(|character| {
        depth += i32::from(matches!(character, '<' | '(' | '{'));
        depth -= i32::from(matches!(character, '>' | ')' | '}'));
        character == ',' && depth == 0
    });
    parts.nth(number).map(str::trim)
}
