//! Pointers of recorded calls that were not followed in; what is known of the addresses they hold out: a function, a variable, a place in one.

use super::code::Code;
use crate::address::Avma;
use crate::report::{Call, Value};

/// Names the pointers in the arguments and results of calls.
pub fn name_pointers(calls: &mut [Call], code: &Code<'_>) {
    for call in calls {
        let result = call.returned.iter_mut().filter_map(|returned| returned.value.as_deref_mut());
        call.args.iter_mut().chain(result).for_each(|value| name(value, code));
    }
}

fn name(value: &mut Value, code: &Code<'_>) {
    let is_bare =
        value.target.is_none() && value.symbol.is_none() && value.length.is_none() && value.members.is_empty();
    // A pointer is told by its address.
    let address = value.address.filter(|address| is_bare && value.value.as_str() == Some(&address.to_string()));
    if let Some(address) = address {
        value.symbol = code.symbol_at(Avma(address.0));
    }
    let beside = [&mut value.target, &mut value.now, &mut value.after, &mut value.key];
    beside.into_iter().flatten().for_each(|it| name(it, code));
    value.members.iter_mut().for_each(|member| name(member, code));
}
