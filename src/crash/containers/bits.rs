//! Lists of bits: `std::vector<bool>`, of both libraries.

use super::Place;
use crate::address::Avma;
use crate::crash::decode::{list, missing, unavailable};
use crate::report::{Address, State, Value};

/// More bits than a process has memory for are no number of bits.
const MOST_BITS: u64 = 1 << 47;

/// That of libstdc++: bits of words, from the one that `_M_offset` counts on.
pub fn vector(place: Place<'_>, value: &Value) -> Option<Value> {
    let (start, end) = (place.find("_M_start")?, place.find("_M_finish")?);
    let bit_of = |place: &Place<'_>| Some((place.find("_M_p")?.address()?, place.find("_M_offset")?.number()?));
    let ((first, skip), (last, end)) = (bit_of(&start)?, bit_of(&end)?);
    let bits = last.0.checked_sub(first.0).and_then(|bytes| bytes.checked_mul(8)?.checked_add(end)?.checked_sub(skip));
    told(&place, value, first, skip, bits)
}

/// That of libc++: so many bits of words.
pub fn vector_of_libcxx(place: Place<'_>, value: &Value) -> Option<Value> {
    let (first, size) = (place.member("__begin_")?.address()?, place.member("__size_")?.number()?);
    told(&place, value, first, 0, Some(size))
}

/// The bits at `first` without the first few; `None` for how many there are where that is contradicted.
fn told(place: &Place<'_>, value: &Value, first: Address, skip: u64, count: Option<u64>) -> Option<Value> {
    let value = Value { address: Some(first), ..value.clone() };
    let Some(count) = count.filter(|bits| *bits < MOST_BITS) else {
        return Some(unavailable(value, "it is damaged, or not set yet".into()));
    };
    let shown = count.min(place.behind.max_elements());
    let wanted = usize::try_from(skip.checked_add(shown)?.div_ceil(8)).ok()?;
    let value = Value { length: Some(count), ..value };
    let bytes = place.behind.bytes(Avma(first.0), wanted);
    let (known, gap) = match bytes.get(0, wanted) {
        Ok(known) => (known, None),
        Err(gap) => (bytes.known_part(0, wanted), Some(gap)),
    };
    let known_bits = (known.len() as u64).saturating_mul(8).saturating_sub(skip).min(shown);
    if let Some(gap) = gap.filter(|_| known_bits == 0) {
        return Some(missing(value, gap));
    }
    let bit = |bit: u64| known.get((bit / 8) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
    let elements = (skip..skip + known_bits).map(|at| Value {
        ty: "bool".into(),
        state: State::Exact,
        value: bit(at).into(),
        ..Value::default()
    });
    let told = list(value, elements.collect(), count);
    Some(match known_bits < shown {
        true => {
            let reason = Some(format!("only its first {known_bits} of {count} elements were captured"));
            Value { state: State::Truncated, reason, ..told }
        }
        false => told,
    })
}
