//! Addresses as strings: JSON numbers are exact up to 2^53 only (RFC 8259, section 6), and nobody reads an address in decimal.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::Avma;

/// An address in the process that died: `"0x7ffd1234"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u64);

impl From<Avma> for Address {
    fn from(address: Avma) -> Self {
        Self(address.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        digits
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| D::Error::custom(format_args!("expected an address like \"0x7ffd1234\", found {text:?}")))
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An address in the process that died, in hexadecimal.",
            "type": "string",
            "pattern": "^0x[0-9a-f]{1,16}$",
        })
    }
}

/// The general registers by name, in the order of the architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers(pub Vec<(String, Address)>);

impl Serialize for Registers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Registers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

/// Takes the entries of a map as they come.
struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Registers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("registers by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Registers, A::Error> {
        let mut registers = Vec::new();
        while let Some(entry) = map.next_entry()? {
            registers.push(entry);
        }
        Ok(Registers(registers))
    }
}

impl JsonSchema for Registers {
    fn schema_name() -> Cow<'static, str> {
        "Registers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The general registers by name, in the order of the architecture.",
            "type": "object",
            "additionalProperties": generator.subschema_for::<Address>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against an address as a JSON number, which a reader may round.
    #[test]
    fn an_address_is_a_string_of_lower_case_hexadecimal() {
        assert_eq!(serde_json::to_string(&Address(u64::MAX)).unwrap(), r#""0xffffffffffffffff""#);
        assert_eq!(serde_json::from_str::<Address>(r#""0xffffffffffffffff""#).unwrap(), Address(u64::MAX));
        for wrong in [r#""0x""#, r#""0x+1""#, r#""12""#, r#""0x10000000000000000""#, "12", r#""0xé""#] {
            assert!(serde_json::from_str::<Address>(wrong).is_err(), "{wrong}");
        }
    }

    /// Guards against registers in alphabetical order: r10 before r8, rip far from rsp.
    #[test]
    fn registers_keep_their_order() {
        let text = r#"{"rsp":"0x1","rip":"0x2","r8":"0x3","r10":"0x4"}"#;
        let registers: Registers = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&registers).unwrap(), text);
    }
}
