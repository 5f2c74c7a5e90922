//! Values that have parts: what stands before, behind and between these.

use serde_json::Value as Json;

use super::escape::plain;
use crate::report::{State, Value};

/// Bytes of a list of them that are shown.
const SHOWN_BYTES: usize = 8;
/// Lists of bytes up to this length are shown as numbers.
const FEW_BYTES: usize = 16;

/// A value as its source writes it.
pub struct Composite<'v> {
    /// `rec {`, `Some(`, `[`.
    pub open: String,
    /// What stands in between.
    pub parts: &'v [Value],
    /// `}`, `)`, `]`.
    pub close: &'static str,
    /// Whether there are more parts than these.
    pub is_cut: bool,
}

/// The parts of a value, if it has any.
#[must_use]
pub fn composite(value: &Value) -> Option<Composite<'_>> {
    let parts = &value.members[..];
    if parts.is_empty() {
        return None;
    }
    let is_tuple = parts.iter().all(|part| part.name.as_deref().is_some_and(is_number));
    let (open, close) = match value.value {
        _ if value.variant.is_some() && is_tuple => (format!("{}(", variant_name(value)), ")"),
        _ if value.variant.is_some() => (format!("{} {{", variant_name(value)), "}"),
        _ if parts.iter().all(|part| part.key.is_some()) => ("{".into(), "}"),
        Json::Array(_) if is_tuple => (format!("{}(", short_name_of_tuple(&value.ty)), ")"),
        Json::Array(_) => ("[".into(), "]"),
        Json::Object(_) => (named_brace(short_name(&value.ty)), "}"),
        _ => return None,
    };
    let shown = parts.len() as u64;
    let is_cut = value.state == State::Truncated && value.length.is_none_or(|length| length > shown);
    let is_list = value.value.is_array() || value.length.is_some();
    Some(Composite { open, parts, close, is_cut: is_cut && is_list })
}

fn named_brace(name: &str) -> String {
    if name.is_empty() { "{".into() } else { format!("{} {{", plain(name)) }
}

/// `Some`, `Shape::Circle`: those that Rust's prelude has are written without their type, and so are C++'s.
#[must_use]
pub fn variant_name(value: &Value) -> String {
    let variant = plain(value.variant.as_deref().unwrap_or_default());
    let ty = told_type(&value.ty);
    let has_bare_variants =
        |ty: &str| ["core::option::Option<", "core::result::Result<", "std::"].iter().any(|of| ty.starts_with(of));
    let is_bare = has_bare_variants(ty) || value.ty.starts_with("std::optional<");
    match short_name(ty) {
        name if is_bare || name.is_empty() => variant,
        name => format!("{}::{variant}", plain(name)),
    }
}

/// The type whose value is told for one of these: what they hold, as if they were not there.
fn told_type(ty: &str) -> &str {
    let holders = [
        "core::cell::Cell<",
        "core::cell::UnsafeCell<",
        "core::cell::RefCell<",
        "core::mem::manually_drop::ManuallyDrop<",
        "core::mem::maybe_dangling::MaybeDangling<",
        "core::pin::Pin<",
        "std::sync::poison::mutex::Mutex<",
        "std::sync::poison::rwlock::RwLock<",
        "std::optional<",
        "std::atomic<",
    ];
    let mut told = ty;
    while let Some(held) = holders.iter().find_map(|holder| told.strip_prefix(holder)) {
        told = held;
    }
    told
}

/// `rec` of `const struct rec`, `Shape` of `geometry::Shape<f64>`; nothing for a type without a name.
#[must_use]
pub fn short_name(ty: &str) -> &str {
    let words = ["const ", "volatile ", "struct ", "class ", "union ", "enum "];
    let mut name = told_type(ty);
    while let Some(rest) = words.iter().find_map(|word| name.strip_prefix(word)) {
        name = rest;
    }
    let base = name.split(['<', '{', '>']).next().unwrap_or(name);
    let last = base.rsplit("::").next().unwrap_or(base);
    let is_tuple = name.starts_with('(') && !name.contains(")::");
    let is_name = !is_tuple && last.starts_with(|first: char| first.is_alphabetic() || first == '_');
    if is_name && !name.starts_with(['&', '*', '[']) { last } else { "" }
}

/// The same, but that tuples have no name: neither Rust's nor C++'s.
fn short_name_of_tuple(ty: &str) -> &str {
    let ty = told_type(ty);
    if ty.starts_with('(') || ty.starts_with("std::") || ty.starts_with("const std::") { "" } else { short_name(ty) }
}

/// Whether a member's name is the number of a tuple's element.
#[must_use]
pub fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// A long list of bytes, by its beginning.
#[must_use]
pub fn bytes_of(ty: &str, elements: &[Json]) -> Option<String> {
    let spellings = ["[u8", "Vec<u8", "unsigned char", "uint8_t", "std::byte"];
    if elements.len() <= FEW_BYTES || !spellings.iter().any(|spelling| ty.contains(spelling)) {
        return None;
    }
    let byte = |element: &Json| element.as_u64().and_then(|byte| u8::try_from(byte).ok());
    let bytes: Vec<u8> = elements.iter().map(byte).collect::<Option<_>>()?;
    let shown: Vec<String> = bytes.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
    Some(format!("<{} bytes: {} …>", bytes.len(), shown.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against names that nobody would write, and against a type without a name that gets one.
    #[test]
    fn types_are_called_as_in_conversation() {
        let of = |names: [&'static str; 4]| names.map(short_name);
        assert_eq!(
            of(["const struct rec", "geometry::Shape<f64>", "union {...}", "(u8, a::B)"]),
            ["rec", "Shape", "", ""]
        );
        assert_eq!(
            of(["program::main::{closure_env#0}", "struct {...}", "std::map<int, int>", "&[u8]"]),
            ["", "", "map", ""]
        );
    }

    /// Guards against a cell that is told by its own name, with the members of what it holds.
    #[test]
    fn what_holds_one_value_is_looked_through() {
        assert_eq!(short_name("core::cell::RefCell<program::Rec<u8>>"), "Rec");
        assert_eq!(short_name("std::optional<Point>"), "Point");
        let ty = "std::optional<int>".to_owned();
        assert_eq!(variant_name(&Value { ty, variant: Some("nullopt".into()), ..Value::default() }), "nullopt");
    }

    /// Guards against pages of bytes, and against few bytes that are hidden.
    #[test]
    fn only_long_lists_of_bytes_are_cut() {
        let list = |count: u8| (0..count).map(Json::from).collect::<Vec<_>>();
        assert_eq!(bytes_of("[u8; 128]", &list(128)).as_deref(), Some("<128 bytes: 00 01 02 03 04 05 06 07 …>"));
        assert_eq!(bytes_of("[u8; 16]", &list(16)), None);
        assert_eq!(bytes_of("int[128]", &list(128)), None);
    }
}
