//! The bytes of a number in; JSON out. Bytes are little-endian: so are all architectures that lastwords knows.

use serde_json::{Number, Value as Json};

use super::text::hex;
use crate::report::{State, Value};

/// Integers of a larger magnitude are strings: many readers of JSON keep numbers as doubles (RFC 8259, section 6).
const LARGEST_EXACT: u128 = 1 << 53;

/// An integer of up to 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integer {
    /// With a sign.
    Signed(i128),
    /// Without.
    Unsigned(u128),
}

impl Integer {
    /// `None` for more than 16 bytes.
    pub fn new(bytes: &[u8], signed: bool) -> Option<Self> {
        let mut wide = [0; 16];
        wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let number = u128::from_le_bytes(wide);
        let unused_bits = 128 - 8 * bytes.len() as u32;
        Some(match signed {
            // Shifted up and down again, the sign fills the unused bits.
            true if unused_bits < 128 => Self::Signed((number << unused_bits) as i128 >> unused_bits),
            true => Self::Signed(0),
            false => Self::Unsigned(number),
        })
    }

    /// As an enumerator is stored. An unsigned number beyond its range is none of them.
    pub fn to_i128(self) -> Option<i128> {
        match self {
            Self::Signed(number) => Some(number),
            Self::Unsigned(number) => i128::try_from(number).ok(),
        }
    }

    /// A number where every reader keeps it exact, a string of digits elsewhere.
    pub fn to_json(self) -> Json {
        match self.to_i128() {
            Some(number) if number.unsigned_abs() <= LARGEST_EXACT => Json::from(number as i64),
            _ => Json::String(self.to_string()),
        }
    }
}

impl std::fmt::Display for Integer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signed(number) => number.fmt(f),
            Self::Unsigned(number) => number.fmt(f),
        }
    }
}

/// An integer; `value` has its name and type already, as in all functions below.
pub fn integer(value: Value, bytes: &[u8], signed: bool) -> Value {
    match Integer::new(bytes, signed) {
        Some(number) => Value { value: number.to_json(), ..value },
        None => undecoded(value, bytes, format!("an integer of {} bytes is not decoded", bytes.len())),
    }
}

/// Bits of `bytes`, counted from the lowest one of the first byte, as a number of 16 bytes.
pub fn some_bits(bytes: &[u8], skip: u64, bits: u64, signed: bool) -> Option<[u8; 16]> {
    let mut wide = [0; 16];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let unused = 128u64.checked_sub(skip.checked_add(bits)?).filter(|_| bits > 0)?;
    let top = u128::from_le_bytes(wide) << unused;
    let down = unused + skip;
    let number = if signed { (top as i128 >> down) as u128 } else { top >> down };
    Some(number.to_le_bytes())
}

/// A boolean.
pub fn boolean(value: Value, bytes: &[u8]) -> Value {
    match Integer::new(bytes, false) {
        Some(Integer::Unsigned(0)) => Value { value: false.into(), ..value },
        Some(Integer::Unsigned(1)) => Value { value: true.into(), ..value },
        Some(number) => {
            let reason = Some(format!("neither false (0) nor true (1), but {number}"));
            Value { value: number.to_json(), reason, ..value }
        }
        None => undecoded(value, bytes, format!("a boolean of {} bytes is not decoded", bytes.len())),
    }
}

/// A character of C: a number that may look like something.
pub fn character(value: Value, bytes: &[u8], signed: bool) -> Value {
    let text = match bytes {
        [byte] if byte.is_ascii_graphic() || *byte == b' ' => Some(format!("'{}'", char::from(*byte))),
        _ => None,
    };
    Value { text, ..integer(value, bytes, signed) }
}

/// C's `wchar_t`: a code point, in all C libraries of Linux.
pub fn wide_character(value: Value, bytes: &[u8], signed: bool) -> Value {
    let number = Integer::new(bytes, signed).and_then(Integer::to_i128);
    let character = number.and_then(|number| char::from_u32(u32::try_from(number).ok()?));
    let text = character.filter(|character| !character.is_control()).map(|character| format!("'{character}'"));
    Value { text, ..integer(value, bytes, signed) }
}

/// A code point.
pub fn code_point(value: Value, bytes: &[u8]) -> Value {
    let number = Integer::new(bytes, false).and_then(Integer::to_i128);
    let character = number.and_then(|number| char::from_u32(u32::try_from(number).ok()?));
    match character {
        Some(character) => Value { value: character.to_string().into(), text: Some(format!("'{character}'")), ..value },
        None => Value { reason: Some("no Unicode character".into()), ..integer(value, bytes, false) },
    }
}

/// A named number. One that has no name may be several flags together.
pub fn enumerator(value: Value, bytes: &[u8], signed: bool, names: &[(String, i128)]) -> Value {
    let Some(integer) = Integer::new(bytes, signed) else {
        return undecoded(value, bytes, format!("an enumeration of {} bytes is not decoded", bytes.len()));
    };
    let number = Some(integer.to_json());
    let name = integer.to_i128().and_then(|number| name_of(number, names).or_else(|| flags_of(number, names)));
    match name {
        Some(name) => Value { value: name.into(), number, ..value },
        None => Value {
            value: integer.to_json(),
            number,
            reason: Some(format!("{integer} is none of the enumerators")),
            ..value
        },
    }
}

fn name_of(number: i128, names: &[(String, i128)]) -> Option<String> {
    names.iter().find(|(_, value)| *value == number).map(|(name, _)| name.clone())
}

/// `A|B` for a number that is made of single bits which all have a name.
fn flags_of(number: i128, names: &[(String, i128)]) -> Option<String> {
    let mut rest = number;
    let mut found = Vec::new();
    for (name, value) in names {
        if *value > 0 && value.count_ones() == 1 && rest & value != 0 {
            rest &= !value;
            found.push(name.as_str());
        }
    }
    (rest == 0 && found.len() > 1).then(|| found.join("|"))
}

/// A float: IEEE 754 of 2, 4 or 8 bytes, or x87's extended format.
pub fn float(value: Value, bytes: &[u8]) -> Value {
    match *bytes {
        [a, b] if value.ty != "__bf16" => Value { value: float_to_json(half(u16::from_le_bytes([a, b]))), ..value },
        [a, b, c, d] => {
            let number = f32::from_le_bytes([a, b, c, d]);
            // The shortest decimal that means this `f32`: 0.1 and not 0.10000000149011612.
            Value { value: float_to_json(number.to_string().parse().unwrap_or(f64::from(number))), ..value }
        }
        [a, b, c, d, e, f, g, h] => {
            Value { value: float_to_json(f64::from_le_bytes([a, b, c, d, e, f, g, h])), ..value }
        }
        _ if is_extended(bytes, &value.ty) => extended(value, bytes),
        _ => {
            let reason = format!("a float `{}` of {} bytes is not decoded", value.ty, bytes.len());
            undecoded(value, bytes, reason)
        }
    }
}

/// JSON has no infinities and no NaN: these are strings.
fn float_to_json(number: f64) -> Json {
    Number::from_f64(number).map_or_else(|| number.to_string().into(), Json::Number)
}

/// IEEE 754 binary16: 1 bit of sign, 5 of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (fraction + 1024.0) * 2f64.powi(exponent - 25),
    }
}

/// x87's extended format is padded to 12 bytes on i386 and 16 on x86-64, where IEEE's format of 16 bytes has other names.
fn is_extended(bytes: &[u8], ty: &str) -> bool {
    const LONG_DOUBLE_IS_EXTENDED: bool = cfg!(target_arch = "x86_64");
    matches!(bytes.len(), 10 | 12) || bytes.len() == 16 && LONG_DOUBLE_IS_EXTENDED && ty.contains("long double")
}

/// 64 bits of fraction with the leading one, 15 of exponent, one of sign (Intel SDM volume 1, section 4.2.2).
fn extended(value: Value, bytes: &[u8]) -> Value {
    let Some((fraction, rest)) = bytes.split_first_chunk::<8>() else {
        return undecoded(value, bytes, "too short".into());
    };
    let (fraction, sign_and_exponent) = (u64::from_le_bytes(*fraction), u16::from_le_bytes([rest[0], rest[1]]));
    let (sign, exponent) = (if sign_and_exponent >> 15 == 1 { -1.0 } else { 1.0 }, sign_and_exponent & 0x7fff);
    if exponent == 0x7fff {
        let number = if fraction << 1 == 0 { sign * f64::INFINITY } else { f64::NAN };
        return Value { value: float_to_json(number), bytes: Some(hex(&bytes[..10])), ..value };
    }
    let scale = i32::from(exponent.max(1)) - 16383 - 63;
    // In two steps: either alone may leave the range of a double while the product does not.
    let number = sign * fraction as f64 * 2f64.powi(scale / 2) * 2f64.powi(scale - scale / 2);
    let is_exact = fraction.trailing_zeros() >= 11 && number.is_normal() || fraction == 0;
    let reason = (!is_exact).then(|| "rounded to a double".into());
    Value { value: float_to_json(number), bytes: Some(hex(&bytes[..10])), reason, ..value }
}

/// A register of a function without debug info: nobody says what its bits mean, so they are shown as bits.
pub fn guessed(value: Value, bytes: &[u8]) -> Value {
    match Integer::new(bytes, false) {
        Some(Integer::Unsigned(bits)) => Value {
            value: format!("{bits:#x}").into(),
            state: State::Guessed,
            reason: Some("no debug info: what a register held".into()),
            ..value
        },
        _ => value,
    }
}

/// What we cannot decode: its bytes, and why.
pub fn undecoded(value: Value, bytes: &[u8], reason: String) -> Value {
    Value { value: Json::Null, state: State::Unavailable, bytes: Some(hex(bytes)), reason: Some(reason), ..value }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_type(ty: &str) -> Value {
        Value { ty: ty.into(), state: State::Exact, ..Value::default() }
    }

    fn json_of(bytes: &[u8], signed: bool) -> Json {
        integer(of_type("int"), bytes, signed).value
    }

    /// Guards against a lost sign, a lost high half, and numbers that a reader rounds.
    #[test]
    fn integers_of_all_sizes_and_signs_are_exact() {
        assert_eq!(json_of(&[0xff], true), json!(-1));
        assert_eq!(json_of(&[0xff], false), json!(255));
        assert_eq!(json_of(&[0x00, 0x80], true), json!(-32768));
        assert_eq!(json_of(&[0, 0, 0x80], true), json!(-8_388_608));
        assert_eq!(json_of(&[0xff; 4], false), json!(4_294_967_295u32));
        assert_eq!(json_of(&(1u64 << 53).to_le_bytes(), false), json!(9_007_199_254_740_992u64));
        assert_eq!(json_of(&((1u64 << 53) + 1).to_le_bytes(), false), json!("9007199254740993"));
        assert_eq!(json_of(&i64::MIN.to_le_bytes(), true), json!("-9223372036854775808"));
        assert_eq!(json_of(&u64::MAX.to_le_bytes(), false), json!("18446744073709551615"));
        assert_eq!(json_of(&(-7i128).to_le_bytes(), true), json!(-7));
        assert_eq!(json_of(&i128::MIN.to_le_bytes(), true), json!("-170141183460469231731687303715884105728"));
        assert_eq!(json_of(&u128::MAX.to_le_bytes(), false), json!("340282366920938463463374607431768211455"));
        assert_eq!(json_of(&[], true), json!(0));
        assert_eq!(integer(of_type("_BitInt(136)"), &[0; 17], true).state, State::Unavailable);
    }

    /// Guards against a bool of 2 shown as true.
    #[test]
    fn a_bool_that_is_neither_says_so() {
        assert_eq!(boolean(of_type("bool"), &[0]).value, json!(false));
        assert_eq!(boolean(of_type("bool"), &[1]).value, json!(true));
        let odd = boolean(of_type("bool"), &[2]);
        assert_eq!((odd.value, odd.reason.as_deref()), (json!(2), Some("neither false (0) nor true (1), but 2")));
    }

    /// Guards against characters that lose their number, and control characters that pass for text.
    #[test]
    fn a_character_is_a_number_with_a_look() {
        let of = |byte: u8, signed| {
            let value = character(of_type("char"), &[byte], signed);
            (value.value, value.text)
        };
        assert_eq!(of(b'a', true), (json!(97), Some("'a'".into())));
        assert_eq!(of(0x1b, true), (json!(27), None));
        assert_eq!(of(0xe9, true), (json!(-23), None));
        assert_eq!(of(0xe9, false), (json!(233), None));
        assert_eq!(code_point(of_type("char"), &0x1f4a5u32.to_le_bytes()).value, json!("💥"));
        let surrogate = code_point(of_type("char"), &0xd800u32.to_le_bytes());
        assert_eq!((surrogate.value, surrogate.reason.as_deref()), (json!(0xd800), Some("no Unicode character")));
    }

    /// Guards against a number without a name that is shown as a name, and the other way round.
    #[test]
    fn enumerators_have_names_and_flags_are_joined() {
        let names: Vec<(String, i128)> =
            [("NONE", 0), ("READ", 1), ("WRITE", 2), ("BOTH", 3), ("EXECUTE", 4), ("ERROR", -1)]
                .map(|(name, value)| (name.to_owned(), value))
                .into();
        let of = |number: i32| {
            let value = enumerator(of_type("enum mode"), &number.to_le_bytes(), true, &names);
            (value.value, value.number.unwrap(), value.reason.is_some())
        };
        assert_eq!(of(0), (json!("NONE"), json!(0), false));
        assert_eq!(of(3), (json!("BOTH"), json!(3), false));
        assert_eq!(of(5), (json!("READ|EXECUTE"), json!(5), false));
        assert_eq!(of(-1), (json!("ERROR"), json!(-1), false));
        assert_eq!(of(9), (json!(9), json!(9), true));
        assert_eq!(of(-2), (json!(-2), json!(-2), true));
    }

    /// Guards against digits that the program's float never had, and against NaN becoming null.
    #[test]
    fn floats_are_shortest_and_never_null() {
        let of = |ty: &str, bytes: &[u8]| float(of_type(ty), bytes).value;
        assert_eq!(of("float", &0.1f32.to_le_bytes()), json!(0.1));
        assert_eq!(of("float", &f32::MAX.to_le_bytes()), json!(3.4028235e38));
        assert_eq!(of("double", &(-1.25f64).to_le_bytes()), json!(-1.25));
        assert_eq!(of("double", &f64::NAN.to_le_bytes()), json!("NaN"));
        assert_eq!(of("double", &f64::NEG_INFINITY.to_le_bytes()), json!("-inf"));
        assert_eq!(of("_Float16", &0x3c01u16.to_le_bytes()), json!(1.0009765625));
        assert_eq!(of("_Float16", &0x0001u16.to_le_bytes()), json!(2f64.powi(-24)));
        assert_eq!(of("_Float16", &0xfc00u16.to_le_bytes()), json!("-inf"));
        assert_eq!(float(of_type("__bf16"), &[0, 0]).state, State::Unavailable);
        assert_eq!(float(of_type("_Float128"), &[0; 16]).state, State::Unavailable);
    }

    /// Guards against a `long double` that is silently rounded. The bytes are gcc's for 1.5L, 0.1L, -0.0L, LDBL_MAX and LDBL_MIN.
    #[test]
    fn an_extended_float_says_when_it_is_rounded() {
        let of = |fraction: u64, sign_and_exponent: u16| {
            let bytes = [&fraction.to_le_bytes()[..], &sign_and_exponent.to_le_bytes()].concat();
            let value = float(of_type("long double"), &bytes);
            (value.value, value.reason)
        };
        let rounded = Some("rounded to a double".to_owned());
        assert_eq!(of(0xc000_0000_0000_0000, 0x3fff), (json!(1.5), None));
        assert_eq!(of(0xcccc_cccc_cccc_cccd, 0x3ffb), (json!(0.1), rounded.clone()));
        assert_eq!(of(0, 0x8000), (json!(-0.0), None));
        assert_eq!(of(u64::MAX, 0x7ffe), (json!("inf"), rounded.clone()));
        assert_eq!(of(0x8000_0000_0000_0000, 0x0001), (json!(0.0), rounded));
        assert_eq!(of(0x8000_0000_0000_0000, 0xffff), (json!("-inf"), None));
        assert_eq!(of(0xc000_0000_0000_0000, 0x7fff), (json!("NaN"), None));
    }
}
