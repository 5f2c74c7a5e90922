//! Types as their source spells them: an entry in, `int (*)(const char *, struct rec *)` out.
//!
//! C declares as it uses: what a type is made of is written around what stands for the name, the declarator, from the outside in.

use std::collections::HashMap;

use gimli::{DwTag, constants as dw};

use super::function::Language;
use super::names::Scopes;
use super::units::{DieRef, Entry, Units};

/// Entries that one spelling may look at; what comes after is left out.
const MAX_ENTRIES: usize = 256;

/// Spells types; remembers the namespaces of the units that it has seen.
pub(super) struct Speller<'s, 'a> {
    units: &'s Units<'a>,
    scopes: HashMap<u32, Scopes>,
    left: usize,
}

impl<'s, 'a> Speller<'s, 'a> {
    pub(super) fn new(units: &'s Units<'a>) -> Self {
        Self { units, scopes: HashMap::new(), left: 0 }
    }

    /// The type at `die` as its language writes it.
    pub(super) fn spell(&mut self, die: DieRef) -> String {
        self.left = MAX_ENTRIES;
        self.declare(Some(die), String::new())
    }

    /// The type at `die` around `declarator`; no entry is `void`.
    fn declare(&mut self, die: Option<DieRef>, declarator: String) -> String {
        let Some(die) = die else { return join("void", &declarator) };
        let Some(left) = self.left.checked_sub(1) else { return join("...", &declarator) };
        self.left = left;
        let Some(entry) = self.units.entry(die) else { return join("?", &declarator) };
        let language = self.units.get(die.unit).language;
        let target = || self.units.type_of(die.unit, &entry);
        match entry.tag {
            // Rust names its pointers itself: `*const u8`, `&mut Circle`.
            tag if is_pointer(tag) => match self.units.name_of(die.unit, &entry) {
                Some(name) => join(name, &declarator),
                None => self.pointer(tag, target(), declarator),
            },
            tag if qualifier(tag).is_some() => self.qualified(qualifier(tag).unwrap_or_default(), target(), declarator),
            dw::DW_TAG_array_type if language == Language::Rust => join(&self.rust_array(die, target()), &declarator),
            dw::DW_TAG_array_type => {
                let counts = self.units.array_counts(die);
                let brackets = counts.iter().map(|count| count.map_or("[]".to_owned(), |count| format!("[{count}]")));
                self.declare(target(), declarator + &brackets.collect::<String>())
            }
            dw::DW_TAG_subroutine_type => {
                let parameters = self.parameters(die, &entry, language);
                self.declare(target(), format!("{declarator}({parameters})"))
            }
            dw::DW_TAG_ptr_to_member_type => {
                let class =
                    entry.attr_value(dw::DW_AT_containing_type).and_then(|value| self.units.resolve(die.unit, value));
                let class = self.declare(class, String::new());
                self.declare(target(), format!("{class}::*{declarator}"))
            }
            _ => join(&self.named(die, &entry, language), &declarator),
        }
    }

    fn pointer(&mut self, tag: DwTag, target: Option<DieRef>, declarator: String) -> String {
        let sign = match tag {
            dw::DW_TAG_reference_type => "&",
            dw::DW_TAG_rvalue_reference_type => "&&",
            _ => "*",
        };
        // `int (*)[4]` points to an array, `int *[4]` is one of pointers.
        let target_tag = target.and_then(|target| self.units.entry(target)).map(|entry| entry.tag);
        let binds_weaker = matches!(target_tag, Some(dw::DW_TAG_array_type | dw::DW_TAG_subroutine_type));
        let pointer = format!("{sign}{declarator}");
        self.declare(target, if binds_weaker { format!("({pointer})") } else { pointer })
    }

    fn qualified(&mut self, word: &str, target: Option<DieRef>, declarator: String) -> String {
        if self.is_behind_qualifiers(target) {
            return self.declare(target, join(word, &declarator));
        }
        format!("{word} {}", self.declare(target, declarator))
    }

    /// Whether `die` is a pointer with or without qualifiers: those of a pointer stand behind its star.
    fn is_behind_qualifiers(&self, mut die: Option<DieRef>) -> bool {
        for _ in 0..8 {
            let Some((at, entry)) = die.and_then(|die| Some((die, self.units.entry(die)?))) else { return false };
            if qualifier(entry.tag).is_none() {
                return is_pointer(entry.tag) && self.units.name_of(at.unit, &entry).is_none();
            }
            die = self.units.type_of(at.unit, &entry);
        }
        false
    }

    fn rust_array(&mut self, die: DieRef, target: Option<DieRef>) -> String {
        let element = self.declare(target, String::new());
        let counts = self.units.array_counts(die);
        counts.iter().rev().fold(element, |inner, count| match count {
            Some(count) => format!("[{inner}; {count}]"),
            None => format!("[{inner}]"),
        })
    }

    fn parameters(&mut self, die: DieRef, entry: &Entry<'a>, language: Language) -> String {
        let children = self.units.children(die);
        let parameters: Vec<String> = children
            .iter()
            .filter_map(|(_, child)| match child.tag {
                dw::DW_TAG_formal_parameter => Some(self.declare(self.units.type_of(die.unit, child), String::new())),
                dw::DW_TAG_unspecified_parameters => Some("...".to_owned()),
                _ => None,
            })
            .collect();
        // In C, `()` says nothing about the parameters.
        let is_prototyped = super::listing::is_flag_set(entry, dw::DW_AT_prototyped);
        if parameters.is_empty() && language == Language::C && is_prototyped {
            "void".to_owned()
        } else {
            parameters.join(", ")
        }
    }

    fn named(&mut self, die: DieRef, entry: &Entry<'a>, language: Language) -> String {
        let keyword = match entry.tag {
            dw::DW_TAG_structure_type => "struct",
            dw::DW_TAG_class_type => "class",
            dw::DW_TAG_union_type => "union",
            dw::DW_TAG_enumeration_type => "enum",
            _ => "",
        };
        let Some(name) = self.units.name_of(die.unit, entry) else {
            return if keyword.is_empty() { "?".to_owned() } else { format!("{keyword} {{...}}") };
        };
        match language {
            _ if entry.tag == dw::DW_TAG_base_type => base_name(name).to_owned(),
            Language::Cpp | Language::Rust => {
                let units = self.units;
                self.scopes
                    .entry(die.unit)
                    .or_insert_with(|| Scopes::of_unit(units, die.unit))
                    .qualify(die.offset, name)
            }
            _ if keyword.is_empty() => name.to_owned(),
            _ => format!("{keyword} {name}"),
        }
    }
}

fn join(base: &str, declarator: &str) -> String {
    match declarator.chars().next() {
        None => base.to_owned(),
        Some('[') => format!("{base}{declarator}"),
        Some(_) => format!("{base} {declarator}"),
    }
}

/// Whether entries of this tag are pointers or references.
pub(super) fn is_pointer(tag: DwTag) -> bool {
    matches!(tag, dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type)
}

/// The word for a qualifier's tag.
pub(super) fn qualifier(tag: DwTag) -> Option<&'static str> {
    match tag {
        dw::DW_TAG_const_type => Some("const"),
        dw::DW_TAG_volatile_type => Some("volatile"),
        dw::DW_TAG_restrict_type => Some("restrict"),
        dw::DW_TAG_atomic_type => Some("_Atomic"),
        _ => None,
    }
}

/// gcc writes all words of C's integer types, in an order of its own; people and clang do not.
fn base_name(name: &str) -> &str {
    match name {
        "short int" => "short",
        "short unsigned int" => "unsigned short",
        "long int" => "long",
        "long unsigned int" => "unsigned long",
        "long long int" => "long long",
        "long long unsigned int" => "unsigned long long",
        name => name,
    }
}
