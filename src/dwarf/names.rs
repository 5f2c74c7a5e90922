//! Names: what a linker calls a function in, what a person calls it out.

use gimli::{AttributeValue, DebuggingInformationEntry, constants as dw};

use super::function::Language;
use super::units::{Entry, Units};

/// The demangled name, with namespaces and classes, without parameters and without Rust's hash; `None` for a name that no compiler mangled.
#[must_use]
pub fn demangle(symbol: &str) -> Option<String> {
    if symbol.starts_with("_R") || is_legacy_rust(symbol) {
        let demangled = rustc_demangle::try_demangle(symbol).ok()?;
        return Some(without_impl_brackets(format!("{demangled:#}")));
    }
    if !symbol.starts_with("_Z") {
        return None;
    }
    let parsed = cpp_demangle::BorrowedSymbol::with_tail(symbol.as_bytes()).ok()?.0;
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    let name = parsed.demangle_with_options(&options).ok()?;
    Some(without_qualifiers(&name).to_owned()).filter(|name| !name.is_empty())
}

/// A method's qualifiers belong to its parameters, which are left out: `Shape::area() const`.
fn without_qualifiers(mut name: &str) -> &str {
    while let Some(shorter) = [" const", " volatile", " &", " &&"].iter().find_map(|word| name.strip_suffix(word)) {
        name = shorter;
    }
    name
}

/// Rust's first mangling looks like C++'s, except for its end: a hash of 16 digits (`17h0123456789abcdefE`).
fn is_legacy_rust(symbol: &str) -> bool {
    let hash = symbol.rfind("17h").and_then(|at| symbol.get(at + 3..at + 20));
    symbol.starts_with("_ZN")
        && hash.is_some_and(|hash| hash.ends_with('E') && hash.bytes().take(16).all(|byte| byte.is_ascii_hexdigit()))
}

/// `<geometry::Circle>::new`, as the v0 mangling has it, is `geometry::Circle::new` in the source. Not so `<A as B>::new` and `<[T]>::len`.
fn without_impl_brackets(name: String) -> String {
    let Some(rest) = name.strip_prefix('<') else { return name };
    let Some(end) = closing_bracket(rest) else { return name };
    let inner = &rest[..end];
    let is_path = inner.starts_with(|first: char| first.is_alphabetic() || first == '_') && !inner.contains(" as ");
    if is_path && !inner.starts_with("dyn ") { format!("{inner}{}", &rest[end + 1..]) } else { name }
}

/// Where the bracket closes that was opened before `text`.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut depth = 1;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '<' => depth += 1,
            // Not the one of `->`.
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        before = character;
    }
    None
}

/// Which namespaces and classes the entries of one unit are in.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    /// Entries with a name, by offset, each with the index of what it is in.
    entries: Vec<(usize, u32)>,
    paths: Vec<String>,
}

impl Scopes {
    /// Walks a whole unit once. Damage ends the walk; what comes after has no scope.
    pub(super) fn of_unit(units: &Units, unit: u32) -> Self {
        let mut scopes = Self { entries: Vec::new(), paths: vec![String::new()] };
        let separator = match units.get(unit).language {
            Language::Cpp | Language::Rust | Language::Other => "::",
            _ => return scopes,
        };
        let parsed = &units.get(unit).unit;
        let Ok(mut raw) = parsed.entries_raw(None) else { return scopes };
        let mut open: Vec<(isize, u32)> = Vec::new();
        let mut entry = DebuggingInformationEntry::null();
        while !raw.is_empty() {
            let depth = raw.next_depth();
            let Ok(is_entry) = raw.read_entry(&mut entry) else { break };
            open.truncate(open.partition_point(|&(opened_at, _)| opened_at < depth));
            if !is_entry || !is_scope_or_scoped(entry.tag) {
                continue;
            }
            let around = open.last().map_or(0, |&(_, path)| path);
            let current = scopes.declared_scope(&entry).unwrap_or(around);
            scopes.entries.push((entry.offset.0, current));
            if !entry.has_children {
                continue;
            }
            let is_inline = entry.tag == dw::DW_TAG_namespace && entry.has_attr(dw::DW_AT_export_symbols);
            let name = match units.name_of(unit, &entry) {
                Some(name) if !is_inline => name,
                None if entry.tag == dw::DW_TAG_namespace => "(anonymous namespace)",
                _ => continue,
            };
            let outer = &scopes.paths[current as usize];
            let path = if outer.is_empty() { name.to_owned() } else { format!("{outer}{separator}{name}") };
            if path.len() <= MAX_SCOPE_BYTES {
                open.push((depth, u32::try_from(scopes.paths.len()).unwrap_or(0)));
                scopes.paths.push(path);
            }
        }
        scopes
    }

    /// What is completed here belongs where it was declared, which is earlier in the unit.
    fn declared_scope(&self, entry: &Entry) -> Option<u32> {
        let Some(AttributeValue::UnitRef(declared)) = entry.attr_value(dw::DW_AT_specification) else { return None };
        let index = self.entries.binary_search_by_key(&declared.0, |&(at, _)| at).ok()?;
        Some(self.entries[index].1)
    }

    /// `name` with what the entry at `offset` is in before it.
    pub(super) fn qualify(&self, offset: usize, name: &str) -> String {
        let index = self.entries.binary_search_by_key(&offset, |&(at, _)| at);
        let path = index.map_or("", |index| &self.paths[self.entries[index].1 as usize]);
        if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") }
    }
}

/// Bytes of a qualified name at the most: deeper nesting is damage.
const MAX_SCOPE_BYTES: usize = 4096;

fn is_scope_or_scoped(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_namespace
            | dw::DW_TAG_module
            | dw::DW_TAG_class_type
            | dw::DW_TAG_structure_type
            | dw::DW_TAG_union_type
            | dw::DW_TAG_enumeration_type
            | dw::DW_TAG_typedef
            | dw::DW_TAG_subprogram
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against names that nobody would type: with parameters, hashes or the brackets of the mangling.
    #[test]
    fn demangled_names_are_those_of_the_source() {
        let cases = [
            ("_ZNK8geometry5Shape4areaEd", "geometry::Shape::area"),
            ("_ZN8geometry5ShapeC1Ei", "geometry::Shape::Shape"),
            ("_ZN8geometry5ShapeD2Ev", "geometry::Shape::~Shape"),
            ("_Z3maxIiET_S0_S0_", "max<int>"),
            ("_ZN12_GLOBAL__N_16helperEv", "(anonymous namespace)::helper"),
            ("_ZN1AclEi", "A::operator()"),
            ("_ZN1AixEi", "A::operator[]"),
            ("_ZZ4mainENKUliE_clEi", "main::{lambda(int)#1}::operator()"),
            ("_Z4nameB5cxx11v", "name[abi:cxx11]"),
            ("_ZN8geometry6Circle3new17h0123456789abcdefE", "geometry::Circle::new"),
            (
                "_ZN52_$LT$geometry..Circle$u20$as$u20$geometry..Shape$GT$4area17h0123456789abcdefE",
                "<geometry::Circle as geometry::Shape>::area",
            ),
            ("_RNvMCs1234_8geometryNtB2_6Circle3new", "geometry::Circle::new"),
            ("_RINvCs1234_8geometry7largestlEB2_", "geometry::largest::<i32>"),
            ("_ZN3foo3barEv.constprop.0", "foo::bar"),
        ];
        for (symbol, name) in cases {
            assert_eq!(demangle(symbol).as_deref(), Some(name), "{symbol}");
        }
    }

    /// Guards against making up a name for what no compiler mangled.
    #[test]
    fn plain_names_stay() {
        for symbol in ["main", "_Zebra", "_Ready", "", "_Z", "_ZN", "_R"] {
            assert_eq!(demangle(symbol), None, "{symbol}");
        }
    }
}
