//! A `std::type_info` in; the name of its type, and of the classes that it inherits from, out (Itanium C++ ABI, 2.9.4 and 2.9.5).

use super::Scope;
use crate::address::{Avma, Svma};
use crate::crash::code::Code;
use crate::crash::text::Text;
use crate::crash::variables::Image;

/// Bytes of a type's mangled name that are read.
const MAX_NAME_BYTES: u64 = 512;
/// Classes that are looked at: damaged ones may inherit from themselves.
const MAX_CLASSES: usize = 64;
/// Bases of one class that are looked at.
const MAX_BASES: u64 = 16;
/// `__base_class_type_info`: the mask of its flags, and that of a virtual base, whose place lies in the object's table.
const BASE_BYTES: u64 = 16;
const OFFSET_SHIFT: u32 = 8;
const VIRTUAL: u64 = 1;

/// A type that was thrown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    /// As the source spells it.
    pub name: String,
    /// The class itself, and those that it inherits from and whose place in it is fixed.
    pub classes: Vec<BaseClass>,
}

/// A class, and where in the object it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseClass {
    pub name: String,
    pub at: u64,
}

impl TypeInfo {
    /// The type whose `std::type_info` lies at `at`; else why its name is not known.
    pub fn read(scope: Scope<'_, '_>, at: Avma) -> Result<Self, String> {
        let name = name_of(scope, at).ok_or_else(|| format!("the name of its type at {at} was not captured"))?;
        let mut classes = vec![BaseClass { name: name.clone(), at: 0 }];
        let mut open = vec![(at, 0)];
        while let Some((class, offset)) = open.pop() {
            for (base, inner) in bases_of(scope, class) {
                let Some(at) = u64::checked_add(offset, inner) else { continue };
                if classes.len() < MAX_CLASSES
                    && let Some(name) = name_of(scope, base)
                {
                    classes.push(BaseClass { name, at });
                    open.push((base, at));
                }
            }
        }
        Ok(Self { name, classes })
    }
}

/// What a class inherits from, and where that lies in it. Which of the two kinds of class it is, its own table of methods tells by its symbol;
/// where there is none, the first word does: a pointer, or a few flags and a small number.
fn bases_of(scope: Scope<'_, '_>, class: Avma) -> Vec<(Avma, u64)> {
    let word = |offset: u64| scope.memory.word(Avma(class.0.checked_add(offset)?)).ok();
    let symbol = word(0).and_then(|methods| scope.code.symbol_at(Avma(methods.checked_sub(8)?)));
    let is = |kind: &str| symbol.as_deref().is_some_and(|symbol| symbol.contains(kind));
    let Some(first) = word(16) else { return Vec::new() };
    let is_pointer = first >> 32 > MAX_BASES;
    if is("__si_class_type_info") || (symbol.is_none() && is_pointer) {
        return vec![(Avma(first), 0)];
    }
    if !is("__vmi_class_type_info") && (symbol.is_some() || is_pointer) {
        return Vec::new();
    }
    let base = |number: u64| {
        let (base, flags) = (word(24 + BASE_BYTES * number)?, word(32 + BASE_BYTES * number)?);
        (flags & VIRTUAL == 0).then_some((Avma(base), flags >> OFFSET_SHIFT))
    };
    (0..(first >> 32).min(MAX_BASES)).filter_map(base).collect()
}

/// The name of the type with this `std::type_info`: by its symbol, or else by the mangled name that it points to.
fn name_of(scope: Scope<'_, '_>, type_info: Avma) -> Option<String> {
    type_with_info(scope.code, type_info).or_else(|| {
        let name = scope.memory.word(Avma(type_info.0.checked_add(8)?)).ok()?;
        // gcc marks names that are unique to their file by a star in front.
        let text = text_at(scope, Avma(name))?;
        spelled(text.strip_prefix('*').unwrap_or(&text))
    })
}

/// The type whose `std::type_info` the linker has put at an address.
#[must_use]
pub fn type_with_info(code: &Code<'_>, at: Avma) -> Option<String> {
    let (binary, svma) = code.module_around(at)?;
    // Symbol tables are large: only where such objects are.
    binary
        .section_around(svma)
        .filter(|(section, _)| section.starts_with(".data") || section.starts_with(".rodata"))?;
    let (symbol, offset) = binary.variable_around(svma)?;
    (offset == 0).then(|| spelled(symbol.strip_prefix("_ZTI")?))?
}

/// `shop::out_of_stock`, from `N4shop12out_of_stockE`.
fn spelled(mangled: &str) -> Option<String> {
    // A function with one parameter of that type.
    let demangled = cpp_demangle::Symbol::new(format!("_Z1f{mangled}")).ok()?.demangle().ok()?;
    Some(demangled.strip_prefix("f(")?.strip_suffix(')')?.to_owned())
}

fn text_at(scope: Scope<'_, '_>, at: Avma) -> Option<String> {
    let length = usize::try_from(MAX_NAME_BYTES).ok()?;
    let mut known = Image::new(scope.memory, scope.code).known_part(at, length);
    if known.is_empty() {
        let (binary, svma) = scope.code.module_around(at)?;
        let whole = |length: u64| binary.contents(svma..Svma(svma.0.checked_add(length)?));
        known = whole(MAX_NAME_BYTES).or_else(|| whole(MAX_NAME_BYTES / 8))?;
    }
    known.contains(&0).then(|| Text::until_nul(known).text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against names that are shown as the linker has them.
    #[test]
    fn names_are_those_of_the_source() {
        let names = ["i", "PKc", "N4shop12out_of_stockE", "St13runtime_error", "NSt8ios_base7failureB5cxx11E"];
        let names: Vec<_> = names.iter().filter_map(|name| spelled(name)).collect();
        assert_eq!(
            names,
            ["int", "char const*", "shop::out_of_stock", "std::runtime_error", "std::ios_base::failure[abi:cxx11]"]
        );
        assert_eq!((spelled(""), spelled("N4")), (None, None));
    }
}
